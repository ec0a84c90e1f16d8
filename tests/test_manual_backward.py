"""Hand-written gradients of whole networks against autograd, and which networks have them."""

import pytest
import torch
from networks import make_autoencoder, make_rows, randomize
from torch import nn

from skae._losses.reconstruction import LOSSES
from skae._nn.autoencoder import Autoencoder
from skae._nn.layers import ACTIVATIONS
from skae._training.manual_backward import (
    ManualGradient,
    SquaredErrorGradient,
    has_manual_backward,
)

LOSS = LOSSES["squared_error"]


def make_network(seed=0, **options):
    """A network with random weights and memory for gradients, in float64."""
    network = randomize(make_autoencoder(seed, **options), seed)
    for parameter in network.parameters():
        parameter.grad = torch.full_like(parameter, torch.nan)
    return network


def gradients(network):
    return torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])


def assert_equals_autograd(network, network_input, target, dtype=None):
    """Compare the loss and the gradients in the trained parameters."""
    expected = LOSS.loss(network.decode(network.encode(network_input)), target).mean()
    trained = [p for p in network.parameters() if p.requires_grad]
    by_autograd = torch.autograd.grad(expected, trained)
    squared_error = SquaredErrorGradient(network, dtype)
    loss = squared_error(squared_error.cached_inputs(network_input, target))
    torch.testing.assert_close(loss, expected)
    for parameter, gradient in zip(trained, by_autograd, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)


@pytest.mark.parametrize("activation", [name for name in ACTIVATIONS if name != "gelu"])
@pytest.mark.parametrize("active", [True, False])
@pytest.mark.parametrize(
    "options",
    [{"hidden": ()}, {"hidden": (7,), "whitened": True, "layer_scale": True}, {"hidden": (7, 5)}],
    ids=str,
)
def test_gradients_equal_those_of_autograd(activation, active, options, global_random_seed):
    network = make_network(global_random_seed, activation=activation, active=active, **options)
    target = make_rows(global_random_seed)
    assert has_manual_backward(network)
    assert_equals_autograd(network, target + torch.arange(6.0), target)  # as for a denoiser


def dense(n_in, *sizes, **options):
    """Dense layers with one activation between them, the same module in each place."""
    activation, layers = nn.Tanh(), []
    for n_out in sizes:
        layers += [nn.Linear(n_in, n_out, **options), activation]
        n_in = n_out
    return nn.Sequential(*layers[:-1]).double()


def with_networks(seed, encoder, decoder):
    """A network with an encoder and a decoder such as a user may give."""
    network = make_autoencoder(seed, active=False)
    network.encoder, network.decoder = encoder, decoder
    network = randomize(network, seed)
    for parameter in network.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.full_like(parameter, torch.nan)
    return network


@pytest.mark.parametrize("options", [{}, {"bias": False}], ids=str)
def test_networks_of_users_have_the_gradients_of_autograd(options, global_random_seed):
    pair = dense(6, 5, 4, 2, **options), dense(2, 4, 6, **options)
    network, x = with_networks(global_random_seed, *pair), make_rows(global_random_seed)
    assert has_manual_backward(network)
    assert_equals_autograd(network, x, x)


def test_frozen_parameters_receive_no_gradient(global_random_seed):
    encoder = dense(6, 5, 2)
    encoder[0].requires_grad_(False)
    network = with_networks(global_random_seed, encoder, dense(2, 6))
    x = make_rows(global_random_seed)
    assert has_manual_backward(network)
    assert_equals_autograd(network, x, x)
    assert encoder[0].weight.grad is None


@pytest.mark.parametrize("active", [True, False])
def test_caching_all_rows_changes_nothing(active, global_random_seed):
    x, index = make_rows(global_random_seed), torch.tensor([5, 0, 0, 39, 7])
    results = []
    for rows in (None, x):
        network = make_network(global_random_seed, active=active, whitened=True)
        gradient = ManualGradient(network, lambda i: (x[i], x[i]), torch.float64, rows)
        results.append(torch.cat([gradient(index)[None], gradients(network)]))
    torch.testing.assert_close(*results)


@pytest.mark.parametrize("layer_scale", [False, True])
def test_gradients_in_low_precision_are_close_and_follow_the_weights(
    layer_scale, global_random_seed
):
    network = make_network(global_random_seed, layer_scale=layer_scale).float()
    x = make_rows(global_random_seed).float()
    full, rounded = (SquaredErrorGradient(network, d) for d in (torch.float32, torch.bfloat16))
    inputs = full.cached_inputs(x, x)
    rounded_inputs = rounded.cached_inputs(x, x)
    for factor in (1.0, 0.5):
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.mul_(factor)
        weights = [p.detach().clone() for p in network.parameters()]
        expected = full(inputs), gradients(network)
        torch.testing.assert_close(rounded(rounded_inputs), expected[0], rtol=0.02, atol=0)
        error = (gradients(network) - expected[1]).norm() / expected[1].norm()
        assert 0 < error < 0.05  # bfloat16 has eight bits
        for parameter, before in zip(network.parameters(), weights, strict=True):
            assert torch.equal(parameter, before)


class DecodesToZero(Autoencoder):
    """A subclass with another decoder."""

    def decode(self, code):
        return 0.0 * super().decode(code)


def subclassed():
    network = make_network()
    network.__class__ = DecodesToZero
    return network


def with_hook():
    network = make_network()
    network.encoder[1].register_forward_hook(lambda layer, x, y: 2 * y)
    return network


def with_encoder(encoder):
    return with_networks(0, encoder, dense(2, 6))


class Doubled(nn.Sequential):
    """A sequence with another `forward`."""

    def forward(self, x):
        return 2 * super().forward(x)


SHARED = nn.Linear(6, 6)


@pytest.mark.parametrize(
    "make",
    [
        lambda: make_network(activation="gelu"),
        lambda: with_encoder(nn.Linear(6, 2)),
        lambda: with_encoder(nn.Sequential(dense(6, 2))),
        lambda: with_encoder(nn.Sequential(SHARED, nn.Tanh(), SHARED, nn.Linear(6, 2))),
        lambda: with_encoder(Doubled(nn.Linear(6, 2))),
        lambda: with_encoder(nn.Sequential(nn.Identity())),
        with_hook,
        subclassed,
    ],
    ids=["GELU", "no Sequential", "nested", "shared", "own forward", "none", "hook", "subclass"],
)
def test_other_networks_use_autograd(make):
    assert not has_manual_backward(make())
