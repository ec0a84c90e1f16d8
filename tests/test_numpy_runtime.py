"""The program that runs graphs with NumPy: its operations, precision, blocks and imports."""

import ast
import inspect

import numpy as np
import pytest
from scipy.special import erf, expit, softmax

from skae._graph import numpy_runtime
from skae._graph.graph import Graph
from skae._graph.numpy_runtime import OPERATIONS, Predictor


@pytest.fixture
def predictor():
    """A model whose `transform` multiplies by a matrix and adds ones."""
    graph = Graph()
    output = graph.add("Add", graph.add("MatMul", "X", np.arange(6.0).reshape(3, 2)), 1.0)
    program = {"n_columns": 3, "nodes": graph.nodes, "output": output}
    return Predictor({"transform": program}, graph.constants)


@pytest.fixture
def X(global_random_seed):
    return np.random.RandomState(global_random_seed).normal(size=(7, 3))


def test_a_program_is_run(predictor, X):
    expected = X @ np.arange(6.0).reshape(3, 2) + 1
    np.testing.assert_allclose(predictor.transform(X), expected)
    np.testing.assert_allclose(predictor.transform(X.tolist()), expected)


@pytest.mark.parametrize("n_rows", [0, 1, 2, 6, 7])
def test_results_do_not_depend_on_blocks(predictor, X, n_rows, monkeypatch):
    expected = predictor.transform(X)[:n_rows]
    monkeypatch.setattr(numpy_runtime, "BLOCK", 2)
    result = predictor.transform(X[:n_rows])
    assert result.shape == (n_rows, 2)
    # Libraries add up the products of one row in another order than those of two.
    np.testing.assert_allclose(result, expected, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize(
    ("dtype", "result"), [("f4", "f4"), ("f8", "f8"), ("i8", "f8"), ("f2", "f8")]
)
def test_results_have_the_precision_of_the_input(predictor, dtype, result):
    assert predictor.transform(np.ones((2, 3), dtype)).dtype == result


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_results_beyond_the_largest_number_are_the_largest(predictor, dtype):
    largest = np.finfo(dtype).max
    result = predictor.transform(np.full((2, 3), largest / 2))
    assert result.dtype == dtype
    np.testing.assert_array_equal(result, largest)


@pytest.mark.parametrize("shape", [(2, 4), (3,), (1, 2, 3)])
def test_another_shape_is_an_error(predictor, shape):
    with pytest.raises(ValueError, match=r"`X` must have shape \(n, 3\) for transform, got"):
        predictor.transform(np.ones(shape))


def test_operations_that_numpy_lacks_equal_those_of_scipy(X):
    np.testing.assert_allclose(OPERATIONS["Erf"](X), erf(X), rtol=1e-14)
    np.testing.assert_allclose(OPERATIONS["Sigmoid"](X), expit(X), rtol=1e-14)
    with np.errstate(over="raise"):
        assert OPERATIONS["Sigmoid"](np.array([-1e4, 1e4])).tolist() == [0.0, 1.0]
    np.testing.assert_allclose(OPERATIONS["Softmax"](1e3 * X, axis=1), softmax(1e3 * X, axis=1))
    largest = OPERATIONS["TopK"](X, np.array([2]), axis=1)
    np.testing.assert_array_equal(largest, np.sort(X, axis=1)[:, :0:-1])
    sums = OPERATIONS["ReduceSum"](X, np.array([-1]), keepdims=0)
    np.testing.assert_array_equal(sums, X.sum(axis=1))
    assert OPERATIONS["ReduceSum"](X, np.array([-1])).shape == (7, 1)


def test_the_program_imports_only_numpy_and_the_standard_library():
    tree = ast.parse(inspect.getsource(numpy_runtime))
    names = [alias.name for n in ast.walk(tree) if isinstance(n, ast.Import) for alias in n.names]
    names += [n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)]
    assert set(names) == {"json", "math", "numpy", "os", "pathlib", "typing"}
