"""The nodes and constants of graphs, as those of ONNX models."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .._graph.graph import Node
from .methods import Program

# Operators of this set are understood by onnxruntime 1.12 (2022) and later.
OPSET, ML_OPSET, IR_VERSION = 17, 3, 8

# onnxruntime computes these operations in single precision only.
SINGLE_PRECISION = {"Conv", "ConvTranspose", "Erf"}


def optional(name: str) -> Any:
    try:
        import onnx
        import skl2onnx
    except ImportError as error:
        raise ImportError(
            "Export to ONNX needs onnx and skl2onnx: `pip install onnx skl2onnx`."
        ) from error
    return {"onnx": onnx, "skl2onnx": skl2onnx}[name]


def cast(constant: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """A constant in the precision of the model, unless it is a size or an axis."""
    return constant if constant.dtype == np.int64 else constant.astype(dtype)


def typed_nodes(made: Program, rename: Callable[[str, str], str], kind: int) -> Iterator[Node]:
    """The nodes with `rename` applied to their names, and with casts around some of them."""
    double = kind == optional("onnx").TensorProto.DOUBLE
    for node in made.graph.nodes:
        inputs = tuple(rename(name, name) for name in node.inputs)
        output = rename(node.output, node.output)
        if not (double and node.operation in SINGLE_PRECISION):
            yield node._replace(inputs=inputs, output=output)
            continue
        single = tuple(f"{output}_{name}_single" for name in inputs)
        for name, cast in zip(inputs, single, strict=True):
            yield Node("Cast", (name,), cast, {"to": optional("onnx").TensorProto.FLOAT})
        yield Node(node.operation, single, f"{output}_single", node.attributes)
        yield Node("Cast", (f"{output}_single",), output, {"to": kind})


def outputs_of(node: Node) -> list[str]:
    """All outputs of an operation; only the first is used."""
    return [node.output, f"{node.output}_indices"] if node.operation == "TopK" else [node.output]
