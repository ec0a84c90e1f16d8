"""A trained autoencoder that needs nothing but NumPy: `load()` reads `model.npz` beside this file.

`skae.to_numpy` wrote both. The model is a list of operations, named as in ONNX, on named arrays.
"""

import json
import math
from pathlib import Path

import numpy as np

# Rows at a time: bounds the memory.
BLOCK = 1024


def _erf(x):
    return np.frompyfunc(math.erf, 1, 1)(x).astype(np.float64)


OPERATIONS: dict = {
    "Abs": np.abs,
    "Add": np.add,
    "Clip": np.clip,
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
    "Mul": np.multiply,
    "ReduceSum": lambda x, axis, keepdims=1: np.sum(x, tuple(axis), keepdims=bool(keepdims)),
    "Relu": lambda x: np.maximum(x, 0.0),
    "Reshape": np.reshape,
    "Sigmoid": lambda x: 0.5 + 0.5 * np.tanh(0.5 * x),
    "Sign": np.sign,
    "Sqrt": np.sqrt,
    "Sub": np.subtract,
    "Tanh": np.tanh,
    "TopK": lambda x, k, axis: -np.sort(-x, axis)[:, : k[0]],
    "Where": np.where,
}


def load(path=None):
    """The model in a file of `skae.to_numpy`; by default the one beside this file."""
    with np.load(path or Path(__file__).with_name("model.npz"), allow_pickle=False) as file:
        arrays = dict(file)
    return Predictor(json.loads(str(arrays.pop("programs"))), arrays)


class Predictor:
    """A trained autoencoder. It computes in float64 and answers in the precision of its input."""

    def __init__(self, programs, arrays):
        self._programs, self._arrays = programs, arrays

    def transform(self, X):
        """Encode rows, (n_samples, n_features), NaN being "not observed"."""
        return self._run("transform", X)

    def inverse_transform(self, X):
        """Decode codes, (n_samples, n_components)."""
        return self._run("inverse_transform", X)

    def reconstruct(self, X):
        """Encode and decode rows."""
        return self._run("reconstruct", X)

    def score_samples(self, X):
        """How well each row is reconstructed, (n_samples,); higher is better."""
        return self._run("score_samples", X)

    def _run(self, method, X):
        program = self._programs[method]
        X = np.asarray(X)
        if X.ndim != 2 or X.shape[1] != program["n_columns"]:
            raise ValueError(
                f"`X` must have shape (n, {program['n_columns']}) for {method}, got {X.shape}."
            )
        rows = X.astype(np.float64)
        # At least one block, which tells the shape of the answer for no rows.
        starts = range(0, max(len(rows), 1), BLOCK)
        result = np.concatenate([self._block(program, rows[i : i + BLOCK]) for i in starts])
        return result.astype(X.dtype if X.dtype == np.float32 else np.float64)

    def _block(self, program, rows):
        values = {**self._arrays, "X": rows}
        for operation, inputs, output, attributes in program["nodes"]:
            values[output] = OPERATIONS[operation](*(values[i] for i in inputs), **attributes)
        return values[program["output"]]
