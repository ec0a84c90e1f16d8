"""The safetensors format: arrays by name behind a header in JSON, so that reading runs no code.

A file is the length of its header (8 bytes, little endian), the header, and the arrays without
gaps. The header has an entry ``{"dtype", "shape", "data_offsets"}`` for each array, and texts of
the writer's own under ``"__metadata__"``.
"""

import json
from math import prod
from typing import Any

import numpy as np

DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BOOL": "|b1",
    "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "|i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "|u1",
}  # fmt: skip
NAMES = {np.dtype(dtype): name for name, dtype in DTYPES.items()}


def to_bytes(arrays: dict[str, np.ndarray], metadata: dict[str, str]) -> bytes:
    """Arrays of the dtypes above, and texts, as a file."""
    header: dict[str, Any] = {"__metadata__": metadata}
    # The widest first: then each array starts at a multiple of its item's size.
    ordered = sorted(arrays.items(), key=lambda item: -item[1].itemsize)
    blocks, start = [], 0
    for name, array in ordered:
        dtype = array.dtype.newbyteorder("<")
        blocks.append(array.astype(dtype).tobytes())
        end = start + len(blocks[-1])
        header[name] = {
            "dtype": NAMES[dtype],
            "shape": list(array.shape),
            "data_offsets": [start, end],
        }
        start = end
    text = json.dumps(header, separators=(",", ":"), allow_nan=False).encode()
    text += b" " * (-len(text) % 8)
    return b"".join([len(text).to_bytes(8, "little"), text, *blocks])


def from_bytes(raw: bytes) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays, read-only, and the texts of a file; a ValueError if it is not a whole one."""
    n_header = int.from_bytes(raw[:8], "little")
    if len(raw) < 8 or n_header > len(raw) - 8:
        raise ValueError("the header is cut short")
    header = json.loads(raw[8 : 8 + n_header])
    if not isinstance(header, dict):
        raise ValueError("the header is not a table")
    metadata = header.pop("__metadata__", {})
    data = memoryview(raw)[8 + n_header :]
    arrays: dict[str, np.ndarray] = {}
    end = 0
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        dtype, shape = np.dtype(DTYPES[entry["dtype"]]), tuple(entry["shape"])
        if not all(type(size) is int and size >= 0 for size in shape):
            raise ValueError(f"the shape of {name!r} is {shape}")
        start, end = end, end + prod(shape) * dtype.itemsize
        if entry["data_offsets"] != [start, end] or end > len(data):
            raise ValueError(f"{name!r} is not where it should be")
        arrays[name] = np.frombuffer(data[start:end], dtype).reshape(shape)
    if end != len(data):
        raise ValueError("there is more than the header tells")
    return arrays, metadata
