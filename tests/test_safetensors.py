"""The safetensors format, beside the library that defines it."""

import json

import numpy as np
import pytest

from skae._safetensors import DTYPES, from_bytes, to_bytes


def test_the_library_of_the_format_reads_our_files_and_we_read_its():
    library = pytest.importorskip("safetensors.numpy")
    rng = np.random.RandomState(0)
    arrays = {
        name: rng.uniform(0, 9, size=(2, i)).astype(dtype)
        for i, (name, dtype) in enumerate(DTYPES.items())
    } | {"number": np.array(2.5), "ü": np.zeros((0, 3)), "turned": np.arange(6.0).reshape(2, 3).T}
    theirs = library.load(to_bytes(arrays, {"a": "b"}))
    ours, metadata = from_bytes(library.save(arrays, {"a": "b"}))
    assert metadata == {"a": "b"}
    assert theirs.keys() == ours.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(theirs[name], array, strict=True)
    for name in set(arrays) - {"turned"}:  # which the library's writer has in another order
        np.testing.assert_array_equal(ours[name], arrays[name], strict=True)


def entry(**changes):
    return {"dtype": "F64", "shape": [2], "data_offsets": [0, 16]} | changes


@pytest.mark.parametrize(
    "header",
    [
        [],
        {},  # 16 bytes that belong to nothing
        {"a": entry(shape=[1])},
        {"a": entry(shape=[-1, -2])},
        {"a": entry(shape=[2.0])},
        {"a": entry(shape=[True, 2])},
        {"a": entry(dtype="O")},
        {"a": entry(data_offsets=[8, 24])},
        {"a": entry(data_offsets=[0, 24], shape=[3])},
        {"a": entry(), "b": entry()},
        {"a": 3},
    ],
    ids=str,
)
def test_a_header_that_does_not_fit_the_data_is_refused(header):
    def file(header):
        text = json.dumps(header).encode()
        return len(text).to_bytes(8, "little") + text + bytes(16)

    from_bytes(file({"a": entry()}))
    with pytest.raises((ValueError, TypeError, KeyError)):
        from_bytes(file(header))


@pytest.mark.parametrize("raw", [b"", b"\x80\x04", b"\xff" * 8, b"\xff" * 100, bytes(7)])
def test_what_is_no_file_of_the_format_is_refused(raw):
    with pytest.raises(ValueError):
        from_bytes(raw)
