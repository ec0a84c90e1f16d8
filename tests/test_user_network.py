"""The parameter `network`: outputs before training, random numbers, and errors."""

import numpy as np
import pytest
import torch
from networks import make_rng
from torch import nn

from skae import AutoencoderTransformer
from skae._nn.user_network import user_encoder_decoder


def linear(n_features, n_components):
    return nn.Linear(n_features, n_components), nn.Linear(n_components, n_features)


def test_beside_pca_the_pair_returns_zeros_before_training(global_random_seed):
    rng = make_rng(global_random_seed)
    encoder, decoder = user_encoder_decoder(linear, 6, 2, seed=0, residual_to_pca=True)
    assert torch.equal(encoder(torch.randn(3, 6, generator=rng)), torch.zeros(3, 2))
    assert torch.equal(decoder(torch.randn(3, 2, generator=rng)), torch.zeros(3, 6))


def test_without_pca_the_pair_is_the_users():
    pair = linear(6, 2)
    assert user_encoder_decoder(lambda p, k: pair, 6, 2, seed=0, residual_to_pca=False) == pair


def test_weights_depend_on_the_seed_and_not_on_the_global_generator():
    before = torch.get_rng_state()
    first, second, other = (
        user_encoder_decoder(linear, 6, 2, seed=seed, residual_to_pca=False)[0].weight
        for seed in (3, 3, 4)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (lambda p, k: linear(p + 1, k), r"its encoder must take \(n, 6\) .* but it raised"),
        (lambda p, k: linear(p, k + 1), r"its encoder must .*, got \(2, 3\) for 2 rows"),
        (lambda p, k: (linear(p, k)[0],) * 2, r"its decoder must take \(n, 2\) .* but it raised"),
    ],
)
def test_a_pair_with_other_shapes_is_an_error(network, message):
    with pytest.raises(
        ValueError, match=f"`network` must return modules that keep rows: {message}"
    ):
        user_encoder_decoder(network, 6, 2, seed=0, residual_to_pca=True)


class Apply(nn.Module):
    """A module of a function."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: x.to(torch.complex64), "must take .* real numbers, got torch.complex64"),
        (lambda x: x.long(), "must take .* real numbers, got torch.int64"),
        (lambda x: x.detach(), "must return modules with a gradient"),
        (torch.Tensor.numpy, "but it raised"),
    ],
)
@pytest.mark.parametrize("init", ["pca", "random"])
def test_outputs_that_cannot_be_trained_are_an_error(function, message, init, small):
    X = np.eye(6)
    for network in (
        lambda p, k: (Apply(lambda x: function(x[:, :k])), nn.Linear(k, p)),
        lambda p, k: (nn.Linear(p, k), Apply(lambda code: function(code.repeat(1, p // k)))),
    ):
        with pytest.raises(ValueError, match=f"`network` {message}|`network` must .*{message}"):
            small(AutoencoderTransformer, 2, network=network, init=init).fit(X)


@pytest.mark.parametrize("value", [None, nn.Linear(6, 2), [*linear(6, 2)], (nn.Linear(6, 2), len)])
def test_anything_but_two_modules_is_an_error(value):
    with pytest.raises(TypeError, match="`network` must return two torch modules"):
        user_encoder_decoder(lambda p, k: value, 6, 2, seed=0, residual_to_pca=True)
