"""Convolutional networks for rows that are images, flattened."""

from itertools import pairwise
from math import prod

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import conv_transpose2d

from .autoencoder import ACTIVATIONS, INPUT_LIMIT, SoftClip, Transposed, dense, gated, skip_init

# Each layer halves height and width, rounding up; 3 x 3 is the smallest kernel to see all pixels.
KERNEL = 3
GEOMETRY = {"kernel_size": KERNEL, "stride": 2, "padding": 1}

Shape = tuple[int, int, int]  # channels, height, width


def as_shape(image_shape: tuple[int, ...]) -> Shape:
    """Channels, height and width; one channel where none are named."""
    channels, height, width = (1, *image_shape) if len(image_shape) == 2 else image_shape
    return channels, height, width


def shapes(image_shape: tuple[int, ...], channels: tuple[int, ...]) -> list[Shape]:
    """The shape of an image and those after each layer of so many channels."""
    result = [as_shape(image_shape)]
    for n in channels:
        _, height, width = result[-1]
        result.append((n, (height + 1) // 2, (width + 1) // 2))
    return result


def multiply_adds(image_shape: tuple[int, ...], channels: tuple[int, ...], size: int) -> int:
    """Multiply-adds of one image in the encoder."""
    between = pairwise(shapes(image_shape, channels))
    layers = (before[0] * prod(after) * KERNEL**2 for before, after in between)
    return sum(layers) + prod(shapes(image_shape, channels)[-1]) * size


class Deconvolution(nn.Module):
    """The transpose of a convolution, with the very same kernels; undoes its halving."""

    def __init__(self, convolution: nn.Conv2d, before: Shape):
        super().__init__()
        # In a tuple: as a submodule its parameters would be listed, saved and moved twice.
        self._convolution = (convolution,)
        self.bias = nn.Parameter(torch.zeros(before[0]))
        self._odd = [(size + 1) % 2 for size in before[1:]]

    def forward(self, x: Tensor) -> Tensor:
        """Apply the transposed convolution and a bias of its own."""
        weight = self._convolution[0].weight
        return conv_transpose2d(x, weight, self.bias, 2, 1, output_padding=self._odd)


def convolutional_encoder_decoder(
    image_shape: tuple[int, ...],
    channels: tuple[int, ...],
    n_components: int,
    activation: str,
    generator: Generator,
    *,
    residual_to_pca: bool,
    tied: bool,
    n_heads: int = 1,
) -> tuple[nn.Module, nn.Module]:
    """A convolutional encoder, its last layer dense, and the decoder that mirrors it.

    Tied, the decoder applies the encoder's kernels, transposed. Silent beside PCA.
    """
    sizes = shapes(image_shape, channels)
    convolutions = [
        _filled(skip_init(nn.Conv2d, a[0], b[0], **GEOMETRY), a[0] * KERNEL**2, generator)
        for a, b in pairwise(sizes)
    ]
    to_code = dense(prod(sizes[-1]), n_heads * n_components, generator, 1.0, 0.0)
    encoder: list[nn.Module] = [SoftClip(INPUT_LIMIT), nn.Unflatten(1, sizes[0])]
    for convolution in convolutions:
        encoder += [convolution, ACTIVATIONS[activation]()]
    encoder += [nn.Flatten(), to_code]

    from_code: nn.Module = (
        Transposed(to_code) if tied else dense(n_components, prod(sizes[-1]), generator, 1.0, 0.3)
    )
    decoder: list[nn.Module] = [SoftClip(INPUT_LIMIT), from_code, nn.Unflatten(1, sizes[-1])]
    for convolution, (before, after) in zip(
        reversed(convolutions), reversed(list(pairwise(sizes))), strict=True
    ):
        layer: nn.Module = (
            Deconvolution(convolution, before) if tied else _deconvolution(before, after, generator)
        )
        decoder += [ACTIVATIONS[activation](), layer]
    decoder += [nn.Flatten()]
    pair = nn.Sequential(*encoder), nn.Sequential(*decoder)
    if not residual_to_pca:
        return pair
    return gated(pair[0], n_heads * n_components, pair[1], prod(sizes[0]))


def _deconvolution(before: Shape, after: Shape, generator: Generator) -> nn.ConvTranspose2d:
    """A layer from the shape `after` a convolution back to that `before` it."""
    odd = tuple((size + 1) % 2 for size in before[1:])
    layer = skip_init(nn.ConvTranspose2d, after[0], before[0], output_padding=odd, **GEOMETRY)
    # Of the kernel's 9 entries a quarter meets each output.
    return _filled(layer, after[0] * KERNEL**2 // 4, generator)


def _filled(layer, n_in: int, generator: Generator):
    """The layer with random kernels that keep unit variance, and biases that spread the bends."""
    nn.init.normal_(layer.weight, std=n_in**-0.5, generator=generator)
    nn.init.normal_(layer.bias, std=0.3, generator=generator)
    return layer
