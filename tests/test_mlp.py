"""Dense encoders and decoders before training: outputs, sizes, weights and tied matrices."""

import copy

import pytest
import torch
from networks import make_rng
from torch import nn

from skae._nn.custom_layers import TransposedLinear
from skae._nn.layers import ACTIVATIONS
from skae._nn.mlp import mlp, mlp_encoder_decoder, tied_encoder_decoder


def is_zero(pair, n_features=6, n_components=2, n_heads=1):
    """Whether an encoder and a decoder return zeros of the right shape."""
    rng = make_rng(1)
    x, code = (torch.randn(3, n, generator=rng) for n in (n_features, n_components))
    return torch.equal(pair[0](x), torch.zeros(3, n_heads * n_components)) and torch.equal(
        pair[1](code), torch.zeros(3, n_features)
    )


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("options", [{}, {"layer_scale": True}, {"n_heads": 2}], ids=str)
def test_beside_pca_a_pair_returns_zeros_before_training(activation, options):
    pair = mlp_encoder_decoder(
        (6, 8, 5, 2), activation, make_rng(), residual_to_pca=True, **options
    )
    assert is_zero(pair, n_heads=options.get("n_heads", 1))


@pytest.mark.parametrize("hidden", [(), (8, 5)])
def test_beside_pca_a_tied_pair_returns_zeros_before_training(hidden):
    assert is_zero(tied_encoder_decoder((6, *hidden, 2), "silu", make_rng(), residual_to_pca=True))


def test_the_decoder_mirrors_the_encoder():
    pair = mlp_encoder_decoder((6, 8, 5, 2), "silu", make_rng(), residual_to_pca=True)
    for net, widths in zip(pair, ([8, 5, 2], [5, 8, 6]), strict=True):
        assert [layer.out_features for layer in net if isinstance(layer, nn.Linear)] == widths


def test_a_whitening_matrix_is_the_first_layer_of_the_encoder(global_random_seed):
    rng = make_rng(global_random_seed)
    matrix, x = torch.randn(6, 4, generator=rng), torch.randn(3, 6, generator=rng)
    encoder, _ = mlp_encoder_decoder(
        (6, 8, 2), "silu", rng, residual_to_pca=False, whitening=matrix
    )
    torch.testing.assert_close(encoder(x), encoder[1:](x @ matrix))
    assert encoder[2].in_features == 4


def test_hidden_layers_preserve_unit_variance(global_random_seed):
    # Weights have variance 1 / 300, and biases none; 100,000 outputs, not quite independent.
    rng = make_rng(global_random_seed)
    output = mlp((300, 500), "identity", rng)(torch.randn(200, 300, generator=rng))
    assert output.var().item() == pytest.approx(1, abs=0.1)


def test_weights_depend_on_the_generator_only():
    before = torch.get_rng_state()
    first, second = (mlp((4, 3, 2), "relu", make_rng()) for _ in range(2))
    assert torch.equal(first[1].weight, second[1].weight)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_change_of_a_code_by_the_encoder_is_limited():
    encoder, _ = mlp_encoder_decoder((6, 8, 2), "silu", make_rng(), residual_to_pca=True)
    nn.init.constant_(encoder[-2].bias, 1000.0)
    # The limit of one, and the logarithm of one plus the excess of 999.
    torch.testing.assert_close(encoder(torch.zeros(1, 6)), torch.full((1, 2), 7.90775527898))


def test_without_hidden_layers_both_are_linear():
    for net in mlp_encoder_decoder((6, 2), "silu", make_rng(), residual_to_pca=True):
        assert [type(layer) for layer in net] == [nn.Linear]


def test_a_tied_decoder_has_no_matrices_of_its_own():
    encoder, decoder = tied_encoder_decoder((6, 8, 2), "silu", make_rng(), residual_to_pca=True)
    assert sum(p.ndim == 2 for p in encoder.parameters()) == 2
    assert all(p.ndim == 1 for p in decoder.parameters())


def test_a_tied_decoder_applies_the_transposed_matrices(global_random_seed):
    rng = make_rng(global_random_seed)
    encoder, decoder = tied_encoder_decoder((6, 8, 2), "identity", rng, residual_to_pca=False)
    first, last = (layer.weight for layer in encoder if isinstance(layer, nn.Linear))
    code = torch.randn(3, 2, generator=rng) / 10  # small enough not to be clipped
    torch.testing.assert_close(decoder(code), code @ last @ first)


@pytest.mark.parametrize("change", [copy.deepcopy, lambda net: net.double(), lambda net: net])
def test_copies_and_casts_of_a_tied_pair_are_tied(change):
    pair = tied_encoder_decoder((6, 8, 2), "silu", make_rng(), residual_to_pca=False)
    encoder, decoder = change(nn.Sequential(*pair))
    first, last = encoder[1], decoder[3]
    assert isinstance(last, TransposedLinear)
    x = torch.ones(2, 8, dtype=first.weight.dtype)
    nn.init.zeros_(first.weight)
    torch.testing.assert_close(last(x), last.bias.expand(2, 6))
