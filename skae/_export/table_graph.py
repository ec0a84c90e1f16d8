"""The encoding of a table, and its inverse, as operations of a graph.

In an exported model a category is its position in `categories_`. Missing categories, and unknown
ones, are NaN or any other number.
"""

import numpy as np

from .._data.table import Table
from .._graph.graph import Graph


def encode_table_graph(graph: Graph, table: Table, x: str) -> str:
    """Add the encoding of rows of numbers and positions of categories to a graph."""
    encoded = []
    for j, size in zip(table.order, table.sizes, strict=True):
        column = graph.add("Gather", x, np.array([j]), axis=1)
        if table.categories[j] is None:
            centred = graph.add("Sub", column, float(table.shift[j]))
            encoded.append(graph.add("Div", centred, float(table.scale[j])))
        elif size:
            encoded.append(_indicators_graph(graph, table, j, column))
    return graph.add("Concat", *encoded, axis=1)


def decode_table_graph(graph: Graph, table: Table, encoded: str) -> str:
    """Add numbers in their units, and probabilities of all categories, to a graph."""
    scales, shifts = [], []
    for j in table.order:
        categories = table.categories[j]
        scales += [float(table.scale[j])] if categories is None else table.units(j)
        shifts += [float(table.shift[j])] if categories is None else [0.0] * len(categories)
    scaled = graph.add("Mul", encoded, np.array(scales))
    return graph.add("Add", scaled, np.array(shifts))


def _indicators_graph(graph: Graph, table: Table, j: int, column: str) -> str:
    units = np.array(table.units(j))
    bounds = np.arange(len(units) + 1) - 0.5
    above = graph.add("Where", graph.add("GreaterOrEqual", column, bounds[None]), 1.0, 0.0)
    first, last = (
        graph.add("Gather", above, np.arange(start, start + len(units)), axis=1) for start in (0, 1)
    )
    indicators = graph.add("Sub", first, last)
    is_known = graph.add("GreaterOrEqual", graph.sum_columns(indicators), 0.5)
    is_known = graph.add("Reshape", is_known, np.array([-1, 1]))
    return graph.add("Where", is_known, graph.add("Div", indicators, units), np.nan)
