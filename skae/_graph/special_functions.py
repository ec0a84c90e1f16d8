"""Functions for which ONNX has no operation."""

import math

import numpy as np

from .graph import Graph


def log_factorial(graph: Graph, x: str) -> str:
    """Add log(x!) to a graph, by Stirling's series.

    The series has an error of 1e-11 from 8 on, so log(x!) is computed as log((x + 8)!) - log((x +
    1) ... (x + 8)).
    """
    factors = graph.add("Add", x, 1.0)
    for i in range(2, 9):
        factors = graph.add("Mul", factors, graph.add("Add", x, float(i)))
    z = graph.add("Add", x, 9.0)
    inverse = graph.add("Div", 1.0, z)
    square = graph.add("Mul", inverse, inverse)
    series = graph.add("Mul", square, -1 / 1680)
    for term in (1 / 1260, -1 / 360):
        series = graph.add("Mul", graph.add("Add", series, term), square)
    remainder = graph.add("Mul", graph.add("Add", series, 1 / 12), inverse)
    growth = graph.add("Mul", graph.add("Sub", z, 0.5), graph.add("Log", z))
    stirling = graph.add("Sub", graph.add("Add", growth, math.log(2 * math.pi) / 2), z)
    return graph.add("Sub", graph.add("Add", stirling, remainder), graph.add("Log", factors))


def solve_positive_definite(graph: Graph, matrices: str, right: str, size: int) -> str:
    """Add the solutions of linear systems to a graph, (n, size), by elimination without pivoting.

    `matrices` are (n, size, size), `right` is (n, size, 1).
    """
    table = graph.add("Concat", matrices, right, axis=2)
    for i in range(size):
        row = graph.add("Gather", table, np.array([i]), axis=1)
        row = graph.add("Div", row, graph.add("Gather", row, np.array([i]), axis=2))
        # In row i the factor is the pivot less one, which leaves the row divided by the pivot.
        unit = np.eye(size)[:, i : i + 1]
        factors = graph.add("Sub", graph.add("Gather", table, np.array([i]), axis=2), unit)
        table = graph.add("Sub", table, graph.add("Mul", factors, row))
    solution = graph.add("Gather", table, np.array([size]), axis=2)
    return graph.add("Reshape", solution, np.array([-1, size]))
