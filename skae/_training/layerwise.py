"""A network divided at its hidden layers, for layer-wise pretraining."""

import copy
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .._nn.autoencoder import Autoencoder, PCAPath, Scales
from .._nn.convolutional import TransposedConvolution
from .._nn.custom_layers import LayerScale, TransposedLinear

WEIGHT_LAYERS = (
    nn.Linear,
    nn.Conv2d,
    nn.ConvTranspose2d,
    TransposedLinear,
    TransposedConvolution,
)


class Stage(NamedTuple):
    """The outer part of a network, and its layers that are in no stage before it."""

    network: Autoencoder
    new_layers: nn.ModuleList


def stages(
    pair: tuple[nn.Module, nn.Module],
    mean: Tensor,
    inverse_input_scale: Tensor,
    output_scale: Tensor,
    link: Callable[[Tensor], Tensor],
) -> Iterator[Stage]:
    """The network down to each hidden layer, outermost first.

    It shares its layers with the encoder and the decoder of the `pair`. Its code is the hidden
    layer, flattened, and its PCA path is inactive. `mean`, `inverse_input_scale` and
    `output_scale`, (n_features,) each, are as in `PCAPath` and `Scales`.
    """
    encoder, decoder = (list(net.children()) for net in pair)
    encoder_weights, decoder_weights = _weight_layers(encoder), _weight_layers(decoder)
    previous_end, previous_begin = 0, len(decoder)
    for end, begin in zip(encoder_weights[1:], reversed(decoder_weights[1:]), strict=True):
        encoding = [layer for layer in encoder[:end] if not isinstance(layer, nn.Flatten)]
        decoding = [layer for layer in decoder[begin:] if not isinstance(layer, LayerScale)]
        shape = _output_shape(encoding, len(mean))
        if len(shape) > 1:
            encoding, decoding = [*encoding, nn.Flatten()], [nn.Unflatten(1, shape), *decoding]
        ones = torch.ones(shape.numel(), dtype=mean.dtype)
        network = Autoencoder(
            nn.Sequential(*encoding),
            nn.Sequential(*decoding),
            PCAPath(mean, mean.new_zeros(len(ones), len(mean)), active=False),
            Scales(inverse_input_scale, ones, ones, output_scale),
            link,
        )
        new_layers = [*encoder[previous_end:end], *decoder[begin:previous_begin]]
        yield Stage(network, nn.ModuleList(new_layers))
        previous_end, previous_begin = end, begin


def _weight_layers(layers: list[nn.Module]) -> list[int]:
    """The positions of the layers that have a matrix or kernels."""
    return [i for i, layer in enumerate(layers) if isinstance(layer, WEIGHT_LAYERS)]


def _output_shape(layers: list[nn.Module], n_features: int) -> torch.Size:
    net = copy.deepcopy(nn.Sequential(*layers)).double()  # buffers and weights may differ in dtype
    with torch.no_grad():
        return net(torch.zeros(1, n_features, dtype=torch.float64)).shape[1:]
