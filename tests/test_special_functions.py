import numpy as np
from scipy.special import gammaln

from skae._graph.graph import Graph
from skae._graph.numpy_runtime import OPERATIONS
from skae._graph.special_functions import log_factorial, solve_positive_definite


def run(graph, output, **inputs):
    values = graph.constants | inputs
    for operation, names, result, attributes in graph.nodes:
        values[result] = OPERATIONS[operation](*(values[name] for name in names), **attributes)
    return values[output]


def test_log_factorial_is_the_log_gamma_function():
    graph, x = Graph(), np.append(np.arange(12.0), [0.5, 1e3, 1e6])
    found = run(graph, log_factorial(graph, "x"), x=x)
    np.testing.assert_allclose(found, gammaln(x + 1), rtol=1e-10, atol=1e-10)


def test_linear_systems_are_solved(global_random_seed):
    rng = np.random.RandomState(global_random_seed)
    for size in (1, 2, 7):
        factors, right = rng.normal(size=(5, size, size + 2)), rng.normal(size=(5, size, 1))
        matrices, graph = factors @ factors.transpose(0, 2, 1), Graph()
        output = solve_positive_definite(graph, "matrices", "right", size)
        found = run(graph, output, matrices=matrices, right=right)
        np.testing.assert_allclose(found, np.linalg.solve(matrices, right)[:, :, 0], rtol=1e-8)
