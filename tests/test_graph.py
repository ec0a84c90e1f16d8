"""Graphs: names of results, constants, and missing values."""

import numpy as np
import torch

from skae._graph.graph import Graph, Node


def test_operations_are_kept_in_order_with_names_of_their_results():
    graph = Graph()
    first = graph.add("Add", "X", 1.0)
    second = graph.add("Clip", first, -1.0, 2.0)
    third = graph.add("Gather", second, np.array([0]), axis=1)
    assert [node.output for node in graph.nodes] == [first, second, third]
    assert graph.nodes[1].inputs[0] == first
    assert graph.nodes[2] == Node("Gather", graph.nodes[2].inputs, third, {"axis": 1})
    assert len({first, second, third}) == 3


def test_integers_stay_integers_and_all_else_becomes_float64():
    graph = Graph()
    parameter = torch.nn.Parameter(torch.ones(2, 3))
    graph.add("Sum", parameter, np.array([-1]), 2.0)
    arrays = [graph.constants[name] for name in graph.nodes[0].inputs]
    assert [array.dtype for array in arrays] == [np.float64, np.int64, np.float64]
    assert [array.shape for array in arrays] == [(2, 3), (1,), ()]
    assert [array.tolist() for array in arrays] == [[[1.0] * 3] * 2, [-1], 2.0]
