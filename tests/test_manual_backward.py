"""Backward passes written out, held to autograd's numbers."""

import pytest
import torch
from torch import nn

from skae._losses.reconstruction import LOSSES
from skae._nn.autoencoder import (
    ACTIVATIONS,
    Autoencoder,
    LayerScale,
    PCAPath,
    Scales,
    SoftClip,
    Whitening,
    mlp_encoder_decoder,
)
from skae._training.manual_backward import (
    BACKWARD,
    ManualGradient,
    SquaredErrorGradient,
    has_manual_backward,
)


def make_network(activation="silu", active=True, hidden=(7, 5), whitened=False, gate=False):
    """A network that does something in every part, in float64."""
    rng = torch.Generator().manual_seed(0)
    whitening = torch.randn(6, 4, generator=rng) if whitened else None
    sizes = (6, *hidden, 2)
    pair = mlp_encoder_decoder(
        sizes, activation, rng, residual_to_pca=active, whitening=whitening, gate=gate
    )
    linear = PCAPath(torch.randn(6, generator=rng), torch.randn(2, 6, generator=rng), active=active)
    scales = Scales(*(torch.rand(n, generator=rng) + 0.5 for n in (6, 2, 2, 6)))
    network = Autoencoder(*pair, linear, scales, lambda mean: mean).double()
    for parameter in network.parameters():
        nn.init.normal_(parameter, generator=rng)
        parameter.grad = torch.zeros_like(parameter)
    return network


def rows():
    x = 3 * torch.randn(40, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    x[0, 2] = x[5, 0] = torch.nan
    return x


def mean_loss(squared_error, x):
    return squared_error(squared_error.cached_inputs(x, x))


@pytest.mark.parametrize("activation", [name for name in ACTIVATIONS if name != "gelu"])
@pytest.mark.parametrize("active", [True, False])
@pytest.mark.parametrize(
    ("hidden", "whitened", "gate"),
    [((), False, False), ((7,), True, True), ((7, 5), False, False)],
)
def test_the_gradient_is_that_of_autograd(activation, active, hidden, whitened, gate):
    network, x = make_network(activation, active, hidden, whitened, gate), rows()
    shown = x + torch.arange(6.0)  # a denoiser sees other rows than it is to return
    expected = LOSSES["squared_error"].loss(network.decode(network.encode(shown)), x).mean()
    gradients = torch.autograd.grad(expected, list(network.parameters()))
    squared_error = SquaredErrorGradient(network)
    loss = squared_error(squared_error.cached_inputs(shown, x))
    torch.testing.assert_close(loss, expected)
    for parameter, gradient in zip(network.parameters(), gradients, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)


@pytest.mark.parametrize("active", [True, False])
def test_rows_prepared_once_for_all_batches_teach_the_same(active):
    x, index = rows(), torch.tensor([5, 0, 0, 39, 7])
    found = []
    for kept in (None, x):
        network = make_network(active=active, whitened=True)
        loss = ManualGradient(network, lambda some: (x[some], x[some]), torch.float64, kept)(index)
        found.append(torch.cat([loss[None], *(p.grad.flatten() for p in network.parameters())]))
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("gate", [False, True])
def test_a_rounded_gradient_is_near_and_leaves_the_weights_alone(gate):
    network, x = make_network(gate=gate).float(), rows().float()
    weights = [p.detach().clone() for p in network.parameters()]
    loss = mean_loss(SquaredErrorGradient(network), x)
    expected = torch.cat([p.grad.flatten() for p in network.parameters()])
    rounded = SquaredErrorGradient(network, torch.bfloat16)
    torch.testing.assert_close(mean_loss(rounded, x), loss, rtol=0.01, atol=0)
    found = torch.cat([p.grad.flatten() for p in network.parameters()])
    error = (found - expected).norm() / expected.norm()
    assert 0 < error < 0.02  # bfloat16 has eight digits
    for parameter, before in zip(network.parameters(), weights, strict=True):
        assert torch.equal(parameter, before)


def test_a_rounded_gradient_follows_the_weights():
    network, x = make_network().float(), rows().float()
    rounded = SquaredErrorGradient(network, torch.bfloat16)
    before = mean_loss(rounded, x)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(0.5)
    expected = mean_loss(SquaredErrorGradient(network), x)
    assert abs(before / expected - 1) > 0.1
    torch.testing.assert_close(mean_loss(rounded, x), expected, rtol=0.01, atol=0)


def gate():
    layer = LayerScale(6).double()
    nn.init.normal_(layer.factor, generator=torch.Generator().manual_seed(0))
    return layer


LAYERS = {kind: kind for kind in BACKWARD} | {
    nn.Linear: lambda: nn.Linear(6, 3).double(),
    LayerScale: gate,
    SoftClip: lambda: SoftClip(1.0),
    Whitening: lambda: Whitening(torch.arange(18.0, dtype=torch.float64).reshape(6, 3)),
}


@pytest.mark.parametrize("make", LAYERS.values(), ids=[kind.__name__ for kind in LAYERS])
def test_each_layer_pulls_back_its_derivative(make):
    # No entry at the bend of relu.
    x = torch.linspace(-3, 3, 24, dtype=torch.float64).reshape(4, 6).requires_grad_()
    layer = make()
    y = layer(x)
    gradient = torch.arange(float(y.numel()), dtype=torch.float64).reshape(y.shape)
    expected = torch.autograd.grad(y, x, gradient)[0]
    found = BACKWARD[type(layer)](layer, x.detach(), y.detach(), gradient)
    torch.testing.assert_close(found, expected)


def test_what_has_no_backward_pass_here_is_left_to_autograd():
    assert has_manual_backward(make_network())
    assert not has_manual_backward(make_network("gelu"))
    network = make_network()
    network.encoder = nn.Linear(6, 2)
    assert not has_manual_backward(network)
