"""A trained autoencoder that needs only NumPy.

`load()` reads the file `model.npz` beside this one; `skae` wrote both. The model is a list of
operations, named as in ONNX, on named arrays.
"""

import json
import math
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

# Rows are processed in blocks of this size, which bounds the memory.
BLOCK = 1024


def _erf(x: np.ndarray) -> np.ndarray:
    return np.frompyfunc(math.erf, 1, 1)(x).astype(np.float64)


def _softmax(x: np.ndarray, axis: int) -> np.ndarray:
    exponentials = np.exp(x - x.max(axis, keepdims=True))
    return exponentials / exponentials.sum(axis, keepdims=True)


OPERATIONS: dict[str, Any] = {
    "Abs": np.abs,
    "Add": np.add,
    "ArgMin": lambda x, axis, keepdims: np.argmin(x, axis, keepdims=bool(keepdims)),
    "Clip": np.clip,
    "Concat": lambda *parts, axis: np.concatenate(parts, axis),
    "CumSum": lambda x, axis: np.cumsum(x, int(axis)),
    "Div": np.divide,
    "Erf": _erf,
    "Exp": np.exp,
    "Gather": lambda x, index, axis: np.take(x, index, axis),
    "Greater": np.greater,
    "GreaterOrEqual": np.greater_equal,
    "IsNaN": np.isnan,
    "Log": np.log,
    "MatMul": np.matmul,
    "Max": np.maximum,
    "Min": np.minimum,
    "Mul": np.multiply,
    "ReduceSum": lambda x, axis, keepdims=1: np.sum(x, tuple(axis), keepdims=bool(keepdims)),
    "Relu": lambda x: np.maximum(x, 0.0),
    "Reshape": np.reshape,
    "Sigmoid": lambda x: 0.5 + 0.5 * np.tanh(0.5 * x),
    "Sign": np.sign,
    "Softmax": _softmax,
    "Sqrt": np.sqrt,
    "Sub": np.subtract,
    "Tanh": np.tanh,
    "Transpose": lambda x, perm: np.transpose(x, perm),
    "TopK": lambda x, k, axis: -np.sort(-x, axis)[:, : k[0]],
    "Where": np.where,
}


def load(path: str | PathLike[str] | None = None) -> "Predictor":
    """Read a model; by default the file `model.npz` beside this one."""
    with np.load(path or Path(__file__).with_name("model.npz"), allow_pickle=False) as file:
        arrays = dict(file)
    return Predictor(json.loads(str(arrays.pop("programs"))), arrays)


class Predictor:
    """A trained autoencoder.

    It computes in float64; results have the precision of the input.
    """

    def __init__(self, programs: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        self._programs, self._arrays = programs, arrays

    def transform(self, X: Any) -> np.ndarray:
        """Encode rows, (n_samples, n_features); NaN means "not observed"."""
        return self._run("transform", X)

    def inverse_transform(self, X: Any) -> np.ndarray:
        """Decode codes, (n_samples, n_components)."""
        return self._run("inverse_transform", X)

    def reconstruct(self, X: Any) -> np.ndarray:
        """Encode and decode rows."""
        return self._run("reconstruct", X)

    def score_samples(self, X: Any) -> np.ndarray:
        """Score how well each row is reconstructed, (n_samples,); higher is better."""
        return self._run("score_samples", X)

    def _run(self, method: str, X: Any) -> np.ndarray:
        program = self._programs[method]
        X = np.asarray(X)
        if X.ndim != 2 or X.shape[1] != program["n_columns"]:
            raise ValueError(
                f"`X` must have shape (n, {program['n_columns']}) for {method}, got {X.shape}."
            )
        rows = X.astype(np.float64)
        # At least one block: it determines the shape of the result also without any row.
        starts = range(0, max(len(rows), 1), BLOCK)
        result = np.concatenate([self._run_block(program, rows[i : i + BLOCK]) for i in starts])
        dtype = np.float32 if X.dtype == np.float32 else np.float64
        largest = np.finfo(dtype).max
        return np.clip(result, -largest, largest).astype(dtype)

    def _run_block(self, program: dict[str, Any], rows: np.ndarray) -> np.ndarray:
        values = {**self._arrays, "X": rows}
        # As in torch and ONNX, overflow is infinite and no warning.
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            for operation, inputs, output, attributes in program["nodes"]:
                values[output] = OPERATIONS[operation](*(values[i] for i in inputs), **attributes)
        return values[program["output"]]
