"""Lists of ONNX operations, which onnxruntime or NumPy can run without torch.

The losses and the layers add their operations to a `Graph`. Inputs, constants and results have
names.
"""

from typing import Any, NamedTuple, TypeAlias

import numpy as np
from torch import Tensor

# The name of an input or a result, or a value that becomes a constant.
Operand: TypeAlias = str | float | np.ndarray | Tensor


class Node(NamedTuple):
    """One ONNX operation with one result."""

    operation: str
    inputs: tuple[str, ...]
    output: str
    attributes: dict[str, Any]


class Graph:
    """Operations in the order in which they are computed, and their constants."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.constants: dict[str, np.ndarray] = {}
        # Numbers of inputs of those tied layers that use the leading rows of their matrix only.
        self.n_inputs: dict[object, int] = {}

    def add(self, operation: str, *inputs: Operand, **attributes: Any) -> str:
        """Add an operation and return the name of its result."""
        names = tuple(i if isinstance(i, str) else self._add_constant(i) for i in inputs)
        output = f"{operation.lower()}_{len(self.nodes)}"
        self.nodes.append(Node(operation, names, output, attributes))
        return output

    def _add_constant(self, value: float | np.ndarray | Tensor) -> str:
        array = value.detach().cpu().numpy() if isinstance(value, Tensor) else np.asarray(value)
        name = f"constant_{len(self.constants)}"
        # Shapes and axes are integers. All other constants are cast to the dtype of the exported
        # model later.
        self.constants[name] = array.astype(np.int64 if array.dtype.kind == "i" else np.float64)
        return name

    def sum_columns(self, x: str) -> str:
        """Add the sum of each row, (n_samples,)."""
        # Without rows, onnxruntime keeps an axis with a negative number.
        return self.add("ReduceSum", x, np.array([1]), keepdims=0)

    def count_observed(self, x: str) -> str:
        """Add the number of entries of each row that are not NaN."""
        ones = self.add("Add", self.add("Mul", self.zero_where_missing(x, x), 0.0), 1.0)
        return self.sum_columns(self.zero_where_missing(x, ones))

    def zero_where_missing(self, x: str, value: str) -> str:
        """Add a choice: zero where `x` is NaN, else `value`."""
        return self.add("Where", self.add("IsNaN", x), 0.0, value)
