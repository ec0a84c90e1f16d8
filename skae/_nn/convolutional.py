"""Convolutional encoders and decoders for rows that are flattened images."""

from itertools import pairwise
from math import prod
from typing import TypeVar

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import conv_transpose2d

from .._graph.graph import Graph
from .custom_layers import SoftClip, TransposedLinear
from .layers import ACTIVATIONS, LAYERS, LayerForms, convolution_attributes, of_two_axes
from .mlp import INPUT_LIMIT, append_layer_scales, dense_layer, skip_init

# Each layer halves height and width, rounding up; 3 x 3 is the smallest kernel that covers all
# pixels.
KERNEL = 3
GEOMETRY = {"kernel_size": KERNEL, "stride": 2, "padding": 1}

Shape = tuple[int, int, int]  # channels, height, width

Convolution = TypeVar("Convolution", nn.Conv2d, nn.ConvTranspose2d)


def as_shape(image_shape: tuple[int, ...]) -> Shape:
    """Channels, height and width; one channel if the shape has two numbers."""
    channels, height, width = (1, *image_shape) if len(image_shape) == 2 else image_shape
    return channels, height, width


def layer_shapes(image_shape: tuple[int, ...], channels: tuple[int, ...]) -> list[Shape]:
    """The shape of an image and the shapes after each layer."""
    result = [as_shape(image_shape)]
    for n in channels:
        _, height, width = result[-1]
        result.append((n, (height + 1) // 2, (width + 1) // 2))
    return result


def multiply_adds(image_shape: tuple[int, ...], channels: tuple[int, ...], size: int) -> int:
    """Multiply-adds of the encoder for one image and a code of this size."""
    shapes = layer_shapes(image_shape, channels)
    layers = (before[0] * prod(after) * KERNEL**2 for before, after in pairwise(shapes))
    return sum(layers) + prod(shapes[-1]) * size


class TransposedConvolution(nn.Module):
    """The transpose of a convolution, with the same kernels; doubles the size."""

    def __init__(self, convolution: nn.Conv2d, before: Shape):
        super().__init__()
        # In a tuple: as a submodule its parameters would be listed, saved and moved twice.
        self._convolution = (convolution,)
        self.bias = nn.Parameter(torch.zeros(before[0]))
        self._output_padding = _output_padding(before)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the transposed convolution and a bias."""
        return self._transpose(x, self.bias)

    def linear_part(self, x: Tensor) -> Tensor:
        """Apply the transposed convolution without the bias."""
        return self._transpose(x, None)

    def _transpose(self, x: Tensor, bias: Tensor | None) -> Tensor:
        weight = self._convolution[0].weight
        return conv_transpose2d(x, weight, bias, 2, 1, output_padding=self._output_padding)

    def to_graph(self, graph: Graph, x: str) -> str:
        """Add the layer to a graph."""
        convolution = self._convolution[0]
        attributes = convolution_attributes(convolution, self._output_padding)
        return graph.add("ConvTranspose", x, convolution.weight, self.bias, **attributes)


LAYERS[TransposedConvolution] = LayerForms(
    TransposedConvolution.to_graph,
    linear_part=of_two_axes(TransposedConvolution.linear_part),
)


def _output_padding(before: Shape) -> list[int]:
    """One for an even size: without padding, transposed convolutions have odd sizes."""
    return [(size + 1) % 2 for size in before[1:]]


def convolutional_encoder_decoder(
    image_shape: tuple[int, ...],
    channels: tuple[int, ...],
    n_components: int,
    activation: str,
    rng: Generator,
    *,
    residual_to_pca: bool,
    tied: bool,
    n_heads: int = 1,
) -> tuple[nn.Module, nn.Module]:
    """A convolutional encoder and the decoder that mirrors it.

    The encoder's last layer is dense. A tied decoder applies the encoder's kernels, transposed.
    Beside PCA both return zeros before training.
    """
    shapes = layer_shapes(image_shape, channels)
    steps = list(pairwise(shapes))
    convolutions = [_convolution(before, after, rng) for before, after in steps]
    to_code = dense_layer(prod(shapes[-1]), n_heads * n_components, rng, 1.0, 0.0)
    encoder: list[nn.Module] = [SoftClip(INPUT_LIMIT), nn.Unflatten(1, shapes[0])]
    for convolution in convolutions:
        encoder += [convolution, ACTIVATIONS[activation]()]
    encoder += [nn.Flatten(), to_code]

    from_code: nn.Module = (
        TransposedLinear(to_code)
        if tied
        else dense_layer(n_components, prod(shapes[-1]), rng, 1.0, 0.3)
    )
    decoder: list[nn.Module] = [SoftClip(INPUT_LIMIT), from_code, nn.Unflatten(1, shapes[-1])]
    for convolution, (before, after) in zip(reversed(convolutions), reversed(steps), strict=True):
        transposed: nn.Module = (
            TransposedConvolution(convolution, before)
            if tied
            else _transposed_convolution(before, after, rng)
        )
        decoder += [ACTIVATIONS[activation](), transposed]
    decoder += [nn.Flatten()]
    pair = nn.Sequential(*encoder), nn.Sequential(*decoder)
    if not residual_to_pca:
        return pair
    return append_layer_scales(pair[0], n_heads * n_components, pair[1], prod(shapes[0]))


def _convolution(before: Shape, after: Shape, rng: Generator) -> nn.Conv2d:
    """A convolution of images of the shape `before` to the shape `after`."""
    layer = skip_init(nn.Conv2d, before[0], after[0], **GEOMETRY)
    return _initialize(layer, before[0] * KERNEL**2, rng)


def _transposed_convolution(before: Shape, after: Shape, rng: Generator) -> nn.ConvTranspose2d:
    """A layer from the shape `after` a convolution back to the shape `before` it."""
    padding = tuple(_output_padding(before))
    layer = skip_init(nn.ConvTranspose2d, after[0], before[0], output_padding=padding, **GEOMETRY)
    # On average a quarter of the kernel's 9 entries contribute to an output.
    return _initialize(layer, after[0] * KERNEL**2 // 4, rng)


def _initialize(layer: Convolution, n_in: int, rng: Generator) -> Convolution:
    """Set random kernels that preserve unit variance, and random biases, as in `mlp`."""
    nn.init.normal_(layer.weight, std=n_in**-0.5, generator=rng)
    nn.init.normal_(layer.bias, std=0.3, generator=rng)  # type: ignore[arg-type]
    return layer
