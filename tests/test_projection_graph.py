"""Exported projections against those of torch."""

import numpy as np
import pytest
import torch
from networks import N_COMPONENTS, make_rng
from test_projection import make_network, make_rows, with_gaps
from torch import nn

from skae._graph.graph import Graph
from skae._graph.numpy_runtime import OPERATIONS
from skae._losses.reconstruction import LOSSES
from skae._nn.layers import ACTIVATIONS, LAYERS
from skae._nn.projection import Projection
from skae._nn.projection_graph import project_graph


def run(graph, output, **inputs):
    values = graph.constants | {name: value.numpy() for name, value in inputs.items()}
    for operation, names, result, attributes in graph.nodes:
        values[result] = OPERATIONS[operation](*(values[name] for name in names), **attributes)
    return values[output]


def assert_same_projection(network, x, code, n_steps):
    network.n_projection_steps = n_steps
    expected = Projection(network)(x, code, n_steps)
    graph = Graph()
    found = run(graph, project_graph(network, graph, "x", "code"), x=x, code=code)
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("active", [True, False])
@pytest.mark.parametrize("n_anchors", [0, 20])
def test_the_graph_is_the_projection(loss, active, n_anchors, global_random_seed):
    network = make_network(global_random_seed, loss, active=active)
    x, code = make_rows(network, global_random_seed)
    random = {"generator": make_rng(global_random_seed), "dtype": torch.float64}
    network.anchors = torch.randn(n_anchors, N_COMPONENTS, **random)
    for rows in (x, with_gaps(x, global_random_seed)):
        assert_same_projection(network, rows, code, 3)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_graph_is_the_projection_for_each_activation(activation, global_random_seed):
    network = make_network(global_random_seed, activation=activation, layer_scale=True)
    x, code = make_rows(network, global_random_seed)
    assert_same_projection(network, x, code, 2)


def test_a_row_without_any_entry_keeps_its_code():
    network = make_network(hidden=())
    x, code = make_rows(network)
    assert_same_projection(network, torch.full_like(x, torch.nan), code, 2)


def test_each_derivative_is_that_of_torch(global_random_seed):
    x = 3 * torch.randn(20, 4, generator=make_rng(global_random_seed), dtype=torch.float64)
    elementwise = [cls for cls, forms in LAYERS.items() if forms.derivative is not None]
    assert len(elementwise) > 4
    for cls in elementwise:
        layer = cls(2.0) if cls.__name__ == "SoftClip" else cls()
        graph, forms = Graph(), LAYERS[cls]
        found = run(graph, forms.derivative_to_graph(layer, graph, "x", "y"), x=x, y=layer(x))
        np.testing.assert_allclose(found, forms.derivative(layer, x, layer(x)), atol=1e-12)


@pytest.mark.parametrize("case", ["layer", "own decode"])
def test_a_derivative_that_cannot_be_exported_is_refused_with_the_remedy(case, monkeypatch):
    network = make_network()
    network.n_projection_steps = 2
    if case == "layer":
        forms = LAYERS[nn.SiLU]._replace(derivative_to_graph=None)
        monkeypatch.setitem(LAYERS, nn.SiLU, forms)
    else:
        own = type("Own", (type(network),), {"decode": lambda self, code: code @ code.T})
        network.__class__ = own
    with pytest.raises(TypeError, match="`transform_max_iter` must be 0 to export"):
        project_graph(network, Graph(), "x", "code")


def test_more_steps_than_a_graph_can_have_are_refused():
    network = make_network()
    network.project_codes(10**9)
    with pytest.raises(TypeError, match=r"`transform_max_iter` must be at most \d+ .* 1000000000"):
        project_graph(network, Graph(), "X", "code")
