"""Convolutional networks: shapes, transposed layers, and fits to images."""

import numpy as np
import pytest
import torch
from networks import make_rng
from sklearn.model_selection import GridSearchCV
from torch import nn

from skae import AutoencoderTransformer
from skae._nn.convolutional import (
    GEOMETRY,
    TransposedConvolution,
    as_shape,
    convolutional_encoder_decoder,
    layer_shapes,
    multiply_adds,
)


def make_pair(image_shape, channels, *, residual_to_pca=False, tied=False):
    return convolutional_encoder_decoder(
        image_shape, channels, 2, "silu", make_rng(), residual_to_pca=residual_to_pca, tied=tied
    )


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("channels", [(), (4,), (4, 3), (2, 3, 4)])
@pytest.mark.parametrize("image_shape", [(1, 1), (1, 7), (5, 8), (3, 6, 9)])
def test_the_decoder_restores_any_shape_of_image(image_shape, channels, tied):
    encoder, decoder = make_pair(image_shape, channels, tied=tied)
    code = encoder(torch.ones(3, int(np.prod(image_shape))))
    assert code.shape == (3, 2)
    assert decoder(code).shape == (3, np.prod(image_shape))


@pytest.mark.parametrize("tied", [True, False])
def test_beside_pca_a_pair_returns_zeros_before_training(tied):
    encoder, decoder = make_pair((4, 6), (3,), residual_to_pca=True, tied=tied)
    assert torch.equal(encoder(torch.ones(3, 24)), torch.zeros(3, 2))
    assert torch.equal(decoder(torch.ones(3, 2)), torch.zeros(3, 24))


@pytest.mark.parametrize("image_shape", [(2, 6, 6), (2, 5, 8), (2, 1, 3)])
def test_a_transposed_convolution_is_the_adjoint_of_the_convolution(
    image_shape, global_random_seed
):
    # <conv x, y> = <x, conv' y> for all x and y, without biases.
    before, after = layer_shapes(image_shape, (3,))
    convolution = nn.Conv2d(2, 3, bias=False, **GEOMETRY).double()
    transposed = TransposedConvolution(convolution, before).double()
    rng = make_rng(global_random_seed)
    x, y = (torch.randn(4, *s, generator=rng, dtype=torch.float64) for s in (before, after))
    torch.testing.assert_close((convolution(x) * y).sum(), (x * transposed(y)).sum())


def test_a_tied_decoder_has_no_kernels_of_its_own():
    encoder, decoder = make_pair((8, 8), (4, 3), tied=True)
    assert sum(p.ndim > 1 for p in encoder.parameters()) == 3
    assert all(p.ndim == 1 for p in decoder.parameters())


def test_hidden_layers_preserve_unit_variance(global_random_seed):
    rng = make_rng(global_random_seed)
    encoder, _ = make_pair((32, 32), (64, 64))
    first, second = (layer for layer in encoder if isinstance(layer, nn.Conv2d))
    for convolution in (first, second):
        nn.init.zeros_(convolution.bias)
    x = torch.randn(20, 1, 32, 32, generator=rng)
    hidden = first(x)[:, :, 1:-1, 1:-1]  # without the outputs that depend on the padding
    assert hidden.var().item() == pytest.approx(1, rel=0.3)  # each depends on 9 inputs only
    output = second(torch.randn(hidden.shape, generator=rng))[:, :, 1:-1, 1:-1]
    assert output.var().item() == pytest.approx(1, rel=0.1)


def test_multiply_adds_are_those_of_all_layers():
    # 5 x 4 pixels to 2 channels of 3 x 2 (9 for each input channel), to 3 of 2 x 1, to a code of 7.
    assert multiply_adds((5, 4), (2, 3), 7) == 12 * 9 + 6 * 18 + 6 * 7
    assert multiply_adds((5, 4), (), 7) == 20 * 7


def test_a_shape_of_two_numbers_has_one_channel():
    assert as_shape((5, 4)) == (1, 5, 4)
    assert as_shape((3, 5, 4)) == (3, 5, 4)
    assert layer_shapes((5, 4), (2, 3)) == [(1, 5, 4), (2, 3, 2), (3, 2, 1)]


@pytest.mark.parametrize("tied", [True, False])
def test_a_fit_to_images_is_better_than_pca(digits, tied, small):
    estimator = small(
        AutoencoderTransformer,
        max_iter=20,
        hidden_layer_sizes=(8, 16),
        image_shape=(8, 8),
        tied_weights=tied,
    ).fit(digits)
    assert estimator.score(digits) > estimator.pca_score_ + 0.02
    assert any(isinstance(module, nn.Conv2d) for module in estimator.network_.modules())


def test_channels_can_be_searched_as_hidden_layer_sizes(digits, small):
    estimator = small(AutoencoderTransformer, max_iter=2, image_shape=(8, 8))
    search = GridSearchCV(estimator, {"hidden_layer_sizes": [(2,), (4, 4)]}, cv=2).fit(digits)
    assert search.best_estimator_.transform(digits).shape == (300, 4)


@pytest.mark.parametrize(
    ("image_shape", "message"),
    [
        ((8, 7), "must have n_features = 64 pixels"),
        ((64,), "must be a sequence of 2 or 3 positive integers or None"),
    ],
)
def test_an_invalid_image_shape_is_an_error(digits, small, image_shape, message):
    with pytest.raises(ValueError, match=f"`image_shape` {message}"):
        small(AutoencoderTransformer, image_shape=image_shape).fit(digits)
