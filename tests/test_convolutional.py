"""Convolutional networks: shapes, transposes, and images that come back better than from PCA."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from conftest import quick
from sklearn.model_selection import GridSearchCV
from torch import nn

from skae import AutoencoderTransformer
from skae._nn.convolutional import (
    GEOMETRY,
    Deconvolution,
    as_shape,
    convolutional_encoder_decoder,
    multiply_adds,
    shapes,
)


def generator():
    return torch.Generator().manual_seed(0)


def pair(image_shape, channels, *, residual_to_pca=False, tied=False):
    return convolutional_encoder_decoder(
        image_shape, channels, 2, "silu", generator(), residual_to_pca=residual_to_pca, tied=tied
    )


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("channels", [(), (4,), (4, 3), (2, 3, 4)])
@pytest.mark.parametrize("image_shape", [(1, 1), (1, 7), (5, 8), (3, 6, 9)])
def test_an_image_of_any_shape_comes_back_in_its_shape(image_shape, channels, tied):
    encoder, decoder = pair(image_shape, channels, tied=tied)
    code = encoder(torch.randn(3, int(np.prod(image_shape))))
    assert code.shape == (3, 2)
    assert decoder(code).shape == (3, np.prod(image_shape))


@pytest.mark.parametrize("tied", [True, False])
def test_a_pair_starts_at_zero_beside_pca(tied):
    encoder, decoder = pair((4, 6), (3,), residual_to_pca=True, tied=tied)
    assert torch.equal(encoder(torch.randn(3, 24)), torch.zeros(3, 2))
    assert torch.equal(decoder(torch.randn(3, 2)), torch.zeros(3, 24))


@pytest.mark.parametrize("image_shape", [(2, 6, 6), (2, 5, 8), (2, 1, 3)])
def test_a_deconvolution_is_the_adjoint_of_its_convolution(image_shape):
    # <conv x, y> = <x, deconv y> for all x and y, the biases aside.
    before, after = shapes(image_shape, (3,))
    convolution = nn.Conv2d(2, 3, bias=False, **GEOMETRY)
    deconvolution = Deconvolution(convolution, before)
    x, y = torch.randn(4, *before), torch.randn(4, *after)
    left = (convolution(x) * y).sum()
    torch.testing.assert_close(left, (x * deconvolution(y)).sum())


def test_tied_images_have_half_the_kernels():
    encoder, decoder = pair((8, 8), (4, 3), tied=True)
    assert sum(p.ndim > 1 for p in encoder.parameters()) == 3
    assert all(p.ndim == 1 for p in decoder.parameters())


def test_hidden_maps_keep_about_unit_variance():
    encoder, _ = pair((32, 32), (64, 64))
    x = torch.randn(20, 1024, generator=generator()).clamp(-2, 2)
    convolutions = [layer for layer in encoder if isinstance(layer, nn.Conv2d)]
    for convolution in convolutions:
        nn.init.zeros_(convolution.bias)
    first = convolutions[0](x.reshape(20, 1, 32, 32))[:, :, 1:-1, 1:-1]  # no padding in sight
    second = convolutions[1](torch.randn(first.shape, generator=generator()))[:, :, 1:-1, 1:-1]
    assert first.var().item() == pytest.approx(x.var().item(), rel=0.3)  # of 9 inputs only
    assert second.var().item() == pytest.approx(1, rel=0.1)


def test_multiply_adds_are_counted_by_hand():
    # 5 x 4 pixels to 2 maps of 3 x 2 (9 each from 1), to 3 maps of 2 x 1 (9 each from 2), to 7.
    assert multiply_adds((5, 4), (2, 3), 7) == 12 * 9 + 6 * 18 + 6 * 7
    assert multiply_adds((5, 4), (), 7) == 20 * 7


def test_two_numbers_are_height_and_width_of_one_channel():
    assert as_shape((5, 4)) == (1, 5, 4)
    assert as_shape((3, 5, 4)) == (3, 5, 4)
    assert all(
        2 * b >= a
        for x, y in pairwise(shapes((5, 4), (2, 3)))
        for a, b in zip(x[1:], y[1:], strict=True)
    )


@pytest.mark.parametrize("tied", [True, False])
def test_digits_as_images_come_back_better_than_from_pca(digits, tied):
    estimator = quick(
        AutoencoderTransformer,
        max_iter=60,
        hidden_layer_sizes=(8, 16),
        image_shape=(8, 8),
        tied_weights=tied,
    ).fit(digits)
    assert estimator.score(digits) > estimator.pca_score_ + 0.02
    assert any(isinstance(module, nn.Conv2d) for module in estimator.network_.modules())


def test_a_grid_over_hidden_layers_is_a_grid_over_channels(digits):
    estimator = quick(AutoencoderTransformer, max_iter=2, image_shape=(8, 8))
    search = GridSearchCV(estimator, {"hidden_layer_sizes": [(2,), (4, 4)]}, cv=2).fit(digits)
    assert search.best_estimator_.transform(digits).shape == (300, 4)


def test_an_image_shape_of_other_pixels_is_refused(digits):
    with pytest.raises(ValueError, match="`image_shape` must be of n_features = 64 pixels"):
        quick(AutoencoderTransformer, image_shape=(8, 7)).fit(digits)


def test_an_image_shape_of_one_number_is_refused(digits):
    message = "`image_shape` must be a sequence of 2 or 3 positive integers or None"
    with pytest.raises(ValueError, match=message):
        quick(AutoencoderTransformer, image_shape=(64,)).fit(digits)
