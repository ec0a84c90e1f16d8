"""The networks: what they are before they learn, and what they do with odd rows."""

import copy

import pytest
import torch
from torch import nn

from skae._nn.autoencoder import (
    ACTIVATIONS,
    Autoencoder,
    LayerScale,
    PCAPath,
    Scales,
    SoftClip,
    Transposed,
    mlp,
    mlp_encoder_decoder,
    tied_encoder_decoder,
    user_encoder_decoder,
)


def identity(mean):
    return mean


def generator():
    return torch.Generator().manual_seed(0)


def autoencoder(n_features=6, n_components=2, active=True, hidden=(8, 5)):
    components = torch.linalg.qr(torch.randn(n_features, n_components, generator=generator()))[0].T
    scales = Scales(*(torch.rand(n, generator=generator()) + 0.5 for n in (6, 2, 2, 6)))
    pair = mlp_encoder_decoder(
        (n_features, *hidden, n_components), "silu", generator(), residual_to_pca=True
    )
    mean = torch.arange(6.0)
    return Autoencoder(*pair, PCAPath(mean, components, active=active), scales, identity)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_mirrored_pair_starts_at_zero(activation):
    encoder, decoder = mlp_encoder_decoder(
        (6, 8, 5, 2), activation, generator(), residual_to_pca=True
    )
    x, code = torch.randn(3, 6), torch.randn(3, 2)
    assert torch.equal(encoder(x), torch.zeros(3, 2))
    assert torch.equal(decoder(code), torch.zeros(3, 6))
    for net, widths in ((encoder, [8, 5, 2]), (decoder, [5, 8, 6])):
        assert [m.out_features for m in net if isinstance(m, nn.Linear)] == widths


def test_hidden_layers_keep_unit_variance():
    # Weights have variance 1 / 300, and biases none; 100,000 outputs, not quite independent.
    net = mlp((300, 500), "identity", generator())
    out = net(torch.randn(200, 300, generator=torch.Generator().manual_seed(1)))
    assert out.var().item() == pytest.approx(1, abs=0.1)


def test_weights_come_from_the_generator_alone():
    before = torch.get_rng_state()
    first, second = (mlp((4, 3, 2), "relu", generator()) for _ in range(2))
    assert torch.equal(first[1].weight, second[1].weight)
    assert torch.equal(torch.get_rng_state(), before)


def test_an_untrained_autoencoder_is_its_linear_path():
    network, x = autoencoder(), torch.randn(4, 6)
    code = (x - network.linear.mean) @ network.linear.components.T
    torch.testing.assert_close(network.encode(x), code)
    restored = network.linear.mean + code @ network.linear.components
    torch.testing.assert_close(network.decode(code), restored)
    torch.testing.assert_close(network.linear.reconstruct(x), restored)


def test_without_a_linear_path_it_says_the_mean():
    network = autoencoder(active=False)
    x = torch.randn(4, 6)
    assert torch.equal(network.encode(x), torch.zeros(4, 2))
    torch.testing.assert_close(network.decode(torch.randn(4, 2)), network.linear.mean.expand(4, 6))


def test_codes_beyond_reach_are_decoded_as_pca_does():
    network = autoencoder()
    for parameter in network.parameters():
        nn.init.normal_(parameter, generator=generator())
    code = torch.randn(5, 2, generator=generator())
    free = network.decode(code)
    linear = network.linear.decode(code)
    distance = network.distance(code)
    expected = (code * network.scales.codes).square().sum(1, keepdim=True).sqrt()
    torch.testing.assert_close(distance, expected)
    for reach, share in [(torch.inf, 1.0), (distance.max(), 1.0), (distance.min() / 2, 0.0)]:
        network.reach.fill_(reach)
        torch.testing.assert_close(network.decode(code), linear + share * (free - linear))
    network.reach.fill_(distance[0, 0] / 1.25)  # a quarter beyond: three quarters are left
    found = network.decode(code[:1])
    torch.testing.assert_close(found, linear[:1] + 0.75 * (free - linear)[:1])


def test_the_linear_path_is_not_learned():
    names = {name.split(".")[0] for name, _ in autoencoder().named_parameters()}
    assert names == {"encoder", "decoder"}


def test_tame_is_the_identity_up_to_its_limit_and_a_logarithm_beyond():
    x = torch.tensor([-1.9, 0.0, 2.0, 3.0, -3.0], dtype=torch.float64)
    log2 = torch.log(torch.tensor(2.0, dtype=torch.float64)).item()
    expected = torch.tensor([-1.9, 0, 2, 2 + log2, -2 - log2], dtype=torch.float64)
    torch.testing.assert_close(SoftClip(2.0)(x), expected)


def test_tame_is_smooth_and_rising():
    x = torch.linspace(-60, 60, 4001, dtype=torch.float64, requires_grad=True)
    slope = torch.autograd.grad(SoftClip(2.0)(x).sum(), x)[0]
    assert (slope > 0).all()
    assert (slope <= 1).all()
    assert slope.diff().abs().max() < 0.05  # no jump where the pieces meet


def test_a_gate_is_silent_until_it_opens():
    gate, x = LayerScale(2), torch.randn(5, 2)
    assert torch.equal(gate(x), torch.zeros(5, 2))
    with torch.no_grad():
        gate.factor.fill_(1.0)
    assert torch.equal(gate(x), x)


def test_a_users_pair_starts_at_zero_beside_pca():
    pair = user_encoder_decoder(
        lambda p, k: (nn.Linear(p, k), nn.Linear(k, p)), 6, 2, seed=0, residual_to_pca=True
    )
    assert torch.equal(pair[0](torch.randn(3, 6)), torch.zeros(3, 2))
    assert torch.equal(pair[1](torch.randn(3, 2)), torch.zeros(3, 6))


@pytest.mark.parametrize("hidden", [(), (8, 5)])
def test_a_tied_pair_starts_at_zero_with_half_the_matrices(hidden):
    encoder, decoder = tied_encoder_decoder(
        (6, *hidden, 2), "silu", generator(), residual_to_pca=True
    )
    assert torch.equal(encoder(torch.randn(3, 6)), torch.zeros(3, 2))
    assert torch.equal(decoder(torch.randn(3, 2)), torch.zeros(3, 6))
    assert sum(p.ndim == 2 for p in encoder.parameters()) == len(hidden) + 1
    assert all(p.ndim == 1 for p in decoder.parameters())


def test_a_tied_decoder_applies_the_encoders_matrices_transposed():
    encoder, decoder = tied_encoder_decoder(
        (6, 8, 2), "identity", generator(), residual_to_pca=False
    )
    first, last = (layer.weight for layer in encoder if isinstance(layer, nn.Linear))
    code = torch.randn(3, 2) / 10  # within the limits of `SoftClip`
    torch.testing.assert_close(decoder(code), code @ last @ first)


@pytest.mark.parametrize("move", [copy.deepcopy, lambda net: net.double(), lambda net: net])
def test_a_tied_pair_stays_tied(move):
    net = move(
        nn.Sequential(*tied_encoder_decoder((6, 8, 2), "silu", generator(), residual_to_pca=False))
    )
    source, other = net[0][1], net[1][3]
    assert isinstance(other, Transposed)
    x = torch.randn(2, 8, dtype=source.weight.dtype)
    with torch.no_grad():
        source.weight.zero_()
    torch.testing.assert_close(other(x), other.bias.expand(2, 6))


def test_a_users_pair_is_seeded_and_leaves_the_global_generator_alone():
    def network(p, k):
        return nn.Linear(p, k), nn.Linear(k, p)

    before = torch.get_rng_state()
    first, second = (
        user_encoder_decoder(network, 6, 2, seed=3, residual_to_pca=False)[0] for _ in range(2)
    )
    assert torch.equal(first.weight, second.weight)
    assert torch.equal(torch.get_rng_state(), before)


def test_beside_pca_a_users_pair_is_silent_at_the_start():
    encoder, decoder = user_encoder_decoder(
        lambda p, k: (nn.Linear(p, k), nn.Linear(k, p)), 6, 2, seed=0, residual_to_pca=True
    )
    assert torch.equal(encoder(torch.randn(3, 6)), torch.zeros(3, 2))
    assert torch.equal(decoder(torch.randn(3, 2)), torch.zeros(3, 6))


def test_beside_pca_the_encoder_takes_moderate_steps():
    encoder, _ = mlp_encoder_decoder((6, 8, 2), "silu", generator(), residual_to_pca=True)
    nn.init.constant_(encoder[-2].bias, 1000.0)
    # One, and the logarithm of one more than the 999 beyond it.
    torch.testing.assert_close(encoder(torch.zeros(1, 6)), torch.full((1, 2), 7.90775527898))


def test_without_hidden_layers_the_pair_is_linear():
    for net in mlp_encoder_decoder((6, 2), "silu", generator(), residual_to_pca=True):
        assert [type(layer) for layer in net] == [nn.Linear]


def test_a_module_that_raises_is_named():
    def network(p, k):
        return nn.Linear(p + 1, k), nn.Linear(k, p)

    with pytest.raises(ValueError, match=r"`network` .* its encoder .* but it raised"):
        user_encoder_decoder(network, 6, 2, seed=0, residual_to_pca=True)


def test_an_encoder_may_have_two_heads():
    encoder, decoder = mlp_encoder_decoder(
        (6, 8, 2), "silu", generator(), residual_to_pca=True, n_heads=2
    )
    assert encoder(torch.randn(3, 6)).shape == (3, 4)
    assert decoder(torch.randn(3, 2)).shape == (3, 6)
