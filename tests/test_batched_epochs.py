"""Stacked networks have the losses, the gradients and the epochs of the separate networks."""

import copy

import pytest
import torch
from networks import make_autoencoder, make_rng, make_rows, randomize
from torch import nn

from skae._nn.autoencoder import Autoencoder, PCAPath, Scales
from skae._nn.mlp import mlp
from skae._training.batched_epochs import (
    Epoch,
    EpochBatcher,
    NetworkStack,
    can_be_batched,
    stack_networks,
)
from skae._training.loop import train_epoch
from skae._training.manual_backward import ManualGradient, SquaredErrorGradient
from skae._training.optimizer import BASE_WIDTH, Optimizer, WarmupLinearDecay


def with_code_size(n_components, seed):
    """A network of `make_autoencoder` with random weights and another size of code."""
    network, rng = make_autoencoder(seed), make_rng(seed)
    network.encoder[-2] = nn.Linear(5, n_components)
    network.decoder[1] = nn.Linear(n_components, 5)
    components = torch.randn(n_components, 6, generator=rng, dtype=torch.float64)
    path = PCAPath(network.pca_path.mean, components, active=True)
    scales = Scales(
        network.scales.inverse_input_scale,
        *torch.rand(2, n_components, generator=rng, dtype=torch.float64) + 0.5,
        network.scales.output_scale,
    )
    network = Autoencoder(network.encoder, network.decoder, path, scales, network.link)
    return randomize(network.float(), seed, std=0.3)


@pytest.fixture
def networks(global_random_seed):
    """Networks with three sizes of codes, with memory for gradients."""
    networks = [with_code_size(k, global_random_seed + k) for k in (1, 3, 2)]
    for network in networks:
        for parameter in network.parameters():
            parameter.grad = torch.zeros_like(parameter)
    return networks


def test_stacked_losses_and_gradients_are_those_of_each_network(networks, global_random_seed):
    x = [make_rows(global_random_seed + i, n_rows=10).float() for i in range(3)]
    stacked = stack_networks(networks)
    for parameter in stacked.parameters():
        parameter.grad = torch.zeros_like(parameter)
    together = SquaredErrorGradient(stacked)
    weights = torch.full((3, 10, 1), 0.1)
    losses = together(together.cached_inputs(torch.stack(x), torch.stack(x)), weights)
    for i, network in enumerate(networks):
        alone = SquaredErrorGradient(network)
        torch.testing.assert_close(losses[i], alone(alone.cached_inputs(x[i], x[i])))
        for parameter, whole in zip(network.parameters(), stacked.parameters(), strict=True):
            gradient = whole.grad[i] if parameter.ndim == 2 else whole.grad[i, 0]
            part = tuple(map(slice, parameter.shape))
            torch.testing.assert_close(gradient[part], parameter.grad, rtol=1e-4, atol=1e-5)
            padding = gradient.clone()
            padding[part] = 0.0
            assert not padding.any()


def make_epoch(network, x, solver="adam", n_steps=100, batch_size=16):
    network = copy.deepcopy(network)
    gradient = ManualGradient(network, lambda index: (x[index], x[index]), torch.float32)
    optimizer = Optimizer(network, solver, WarmupLinearDecay(0.01, n_steps), 2.0)
    return Epoch(optimizer, gradient, torch.arange(len(x)), batch_size)


def with_hidden_layers(network, seed):
    """The network with two hidden layers wide enough for learning rates of their own."""
    n_components, rng = network.pca_path.components.shape[0], make_rng(seed)
    sizes = (6, 2 * BASE_WIDTH, BASE_WIDTH, n_components)
    encoder, decoder = mlp(sizes, "tanh", rng), mlp(sizes[::-1], "tanh", rng)
    return Autoencoder(encoder, decoder, network.pca_path, network.scales, network.link).float()


@pytest.mark.parametrize(("solver", "wide"), [("adam", False), ("adam", True), ("sgd", False)])
def test_epochs_together_equal_epochs_alone(networks, solver, wide, global_random_seed):
    if wide:
        networks = [with_hidden_layers(network, global_random_seed) for network in networks]
    # Folds of unequal size, with the same number of batches.
    x = [make_rows(global_random_seed + i, n_rows=40 - i).float() for i in range(3)]
    together, alone = (
        [make_epoch(network, rows, solver) for network, rows in zip(networks, x, strict=True)]
        for _ in range(2)
    )
    batcher = EpochBatcher()
    for _ in range(3):
        losses = batcher.run(together)
        expected = [train_epoch(*epoch) for epoch in alone]
        torch.testing.assert_close(torch.tensor(losses), torch.tensor(expected))
    for one, other in zip(together, alone, strict=True):
        assert one.optimizer.n_steps == other.optimizer.n_steps == 9
        for name, value in one.optimizer.state().items():
            torch.testing.assert_close(value, other.optimizer.state()[name], rtol=1e-3, atol=1e-5)


def test_only_epochs_with_equal_keys_are_computed_together(networks, monkeypatch):
    sizes, run = [], NetworkStack.run

    def counted(self, epochs):
        sizes.append(len(epochs))
        return run(self, epochs)

    monkeypatch.setattr(NetworkStack, "run", counted)
    x = make_rows().float()
    inactive = copy.deepcopy(networks[0])
    inactive.pca_path.active = False
    epochs = [make_epoch(network, x) for network in networks]
    others = [
        make_epoch(inactive, x),
        make_epoch(networks[0], x, n_steps=50),
        make_epoch(networks[0], x, batch_size=8),
        make_epoch(networks[0], x, solver="sgd"),
    ]
    EpochBatcher().run([*epochs, *others])
    assert sizes == [3]


def test_a_layer_without_bias_has_another_key(networks):
    without = copy.deepcopy(networks[0])
    without.decoder[1] = nn.Linear(1, 5, bias=False)
    x = make_rows().float()
    assert make_epoch(without, x).batch_key() != make_epoch(networks[0], x).batch_key()


def test_networks_with_frozen_parameters_or_low_precision_are_not_batched(networks):
    x = make_rows().float()
    gradient = make_epoch(networks[0], x).gradient
    assert can_be_batched(gradient)
    assert not can_be_batched(ManualGradient(networks[0], lambda i: (x, x), torch.bfloat16))
    assert not can_be_batched(lambda index: 0.0)
    gradient.network.decoder[1].bias.requires_grad_(False)
    assert not can_be_batched(gradient)
