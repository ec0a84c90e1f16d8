"""The projection of one row in NumPy against that of torch."""

import numpy as np
import pytest
import torch
from networks import N_COMPONENTS, make_rng
from test_decoder_tangents import DECODERS
from test_projection import make_network, make_rows, with_gaps
from torch import nn

from skae._losses.reconstruction import LOSSES
from skae._nn.layers import ACTIVATIONS
from skae._nn.projection import Projection
from skae._nn.row_projection import ELEMENTWISE, row_projection

NETWORKS = {
    "linear": {"hidden": ()},
    "without PCA": {"active": False},
    "without a fade": {"fade": False},
    "layer scale": {"layer_scale": True},
    **{name: {"activation": name} for name in ACTIVATIONS},
}


def rows_of(projection, x, code, n_steps):
    return torch.cat([projection(x[i : i + 1], code[i : i + 1], n_steps) for i in range(len(x))])


@pytest.mark.parametrize("options", NETWORKS.values(), ids=NETWORKS)
@pytest.mark.parametrize("n_anchors", [0, 20])
@pytest.mark.parametrize("gaps", [False, True])
def test_it_is_the_projection(options, n_anchors, gaps, global_random_seed):
    network = make_network(global_random_seed, **options)
    x, code = make_rows(network, global_random_seed)
    x = with_gaps(x, global_random_seed) if gaps else x
    random = {"generator": make_rng(global_random_seed), "dtype": torch.float64}
    network.anchors = torch.randn(n_anchors, N_COMPONENTS, **random)
    found = rows_of(row_projection(network), x, code, 3)
    torch.testing.assert_close(found, Projection(network)(x, code, 3), rtol=1e-6, atol=1e-6)


def test_single_precision_stays(global_random_seed):
    network = make_network(global_random_seed).float()
    x, code = (rows.float() for rows in make_rows(network.double(), global_random_seed))
    network.float()
    found = rows_of(row_projection(network), x, code, 2)
    assert found.dtype == torch.float32
    expected = Projection(network)(x, code, 2)
    close = torch.isclose(found, expected, rtol=1e-2, atol=1e-3)
    assert close.double().mean() > 0.9  # not where rounding decides whether a step is taken


def test_rows_without_any_entry_and_codes_that_are_not_finite_are_as_those_of_torch():
    network = make_network(active=False)
    x, code = make_rows(network)
    x[0], code[1], code[2] = torch.nan, torch.inf, torch.nan
    found = rows_of(row_projection(network), x, code, 2)
    torch.testing.assert_close(found, Projection(network)(x, code, 2), equal_nan=True)


@pytest.mark.parametrize("value", [None, np.nan, np.inf, 1e200])
def test_steps_end_when_the_code_does_not_change(value, global_random_seed):
    network = make_network(global_random_seed)
    x, code = make_rows(network, global_random_seed, n_rows=5)
    if value is not None:
        x[:, 0] = value
    projection = row_projection(network)
    ended = rows_of(projection, x, code, 10**9)
    np.testing.assert_array_equal(rows_of(projection, x, code, 10**9 + 1), ended)


@pytest.mark.parametrize("cls", ELEMENTWISE)
def test_elementwise_layers_have_the_values_and_derivatives_of_torch(cls, global_random_seed):
    layer = {"LayerScale": lambda: cls(4), "SoftClip": lambda: cls(1.5)}.get(cls.__name__, cls)()
    for parameter in layer.parameters():
        nn.init.normal_(parameter, generator=make_rng(global_random_seed))
    layer.double()
    x = 3 * torch.randn(4, generator=make_rng(global_random_seed), dtype=torch.float64)
    y, slope = ELEMENTWISE[cls](layer, x.numpy())
    np.testing.assert_allclose(y, layer(x).detach(), atol=1e-12)
    jacobian = torch.autograd.functional.jacobian(layer, x)
    np.testing.assert_allclose(np.diag(np.broadcast_to(slope, 4)), jacobian, atol=1e-12)


@pytest.mark.parametrize("name", ["tied", "images", "own layers", "variational", "own decode"])
def test_other_networks_have_none(name):
    network = DECODERS[name](0)
    expected = name == "variational"
    assert (row_projection(network.eval()) is not None) == expected


@pytest.mark.parametrize("loss", LOSSES)
def test_only_the_squared_error_has_one(loss):
    found = row_projection(make_network(loss=loss))
    assert (found is not None) == (loss == "squared_error")


def test_a_layer_with_a_hook_has_none():
    network = make_network()
    network.decoder[0].register_forward_hook(lambda layer, inputs, output: 2 * output)
    assert row_projection(network) is None
