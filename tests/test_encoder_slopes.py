"""The derivative of encoders: equal to that by autograd."""

import pytest
import torch
from networks import make_autoencoder, make_rng, make_rows, randomize
from torch import nn

from skae._nn.encoder_slopes import encoder_jacobian, input_jacobian, jacobian_by_autograd
from skae._nn.layers import ACTIVATIONS

SETTINGS = [{"active": False}, {"whitened": True}, {"layer_scale": True}, {"hidden": ()}]


def by_autograd(function, x):
    return torch.stack(
        [torch.autograd.functional.jacobian(lambda r: function(r[None])[0], row) for row in x]
    )


@pytest.mark.parametrize("settings", [*SETTINGS, *({"activation": name} for name in ACTIVATIONS)])
def test_the_derivative_of_an_encoder_is_that_by_autograd(settings, global_random_seed):
    network = randomize(make_autoencoder(global_random_seed, **settings), global_random_seed)
    x = make_rows(global_random_seed, n_rows=16)[6:]
    expected = by_autograd(network.encode, x)
    torch.testing.assert_close(encoder_jacobian(network, x).expand_as(expected), expected)
    torch.testing.assert_close(jacobian_by_autograd(network.encode, x), expected)


def test_layers_without_a_closed_form_and_layers_with_hooks_have_derivatives(global_random_seed):
    x = torch.randn(5, 3, generator=make_rng(global_random_seed))
    module = nn.Sequential(nn.Linear(3, 4), nn.Softplus(), nn.Linear(4, 6))
    with torch.inference_mode():
        found = input_jacobian(module, x, 2)
    torch.testing.assert_close(found, by_autograd(module, x)[:, :2])
    hooked = nn.Sequential(nn.Linear(3, 4), nn.Tanh())
    hooked[1].register_forward_hook(lambda layer, args, output: 2 * output)
    torch.testing.assert_close(input_jacobian(hooked, x, 4), by_autograd(hooked, x))


@pytest.mark.parametrize("hidden", [(), (5,), (5, 4)])
def test_an_averaged_derivative_is_the_mean_of_those_at_the_points(hidden, global_random_seed):
    network = make_autoencoder(global_random_seed, hidden=hidden)
    network = randomize(network, global_random_seed)
    points, weights = make_rows(global_random_seed, n_rows=16)[6:].split(5), [0.3, 0.7]
    expected = sum(w * encoder_jacobian(network, x) for w, x in zip(weights, points, strict=True))
    found = encoder_jacobian(network, torch.cat(points), weights)
    torch.testing.assert_close(found, expected)
