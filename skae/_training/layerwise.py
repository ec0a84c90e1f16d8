"""A network cut at each of its hidden layers, for training one layer after the other."""

import copy
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .._nn.autoencoder import Autoencoder, LayerScale, PCAPath, Scales, Transposed
from .._nn.convolutional import Deconvolution

LEARNING = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d, Transposed, Deconvolution)


class Stage(NamedTuple):
    """The outer part of a network, and those of its layers that no stage before it has."""

    network: Autoencoder
    new: nn.ModuleList


def stages(
    pair: tuple[nn.Module, nn.Module],
    mean: Tensor,
    inputs: Tensor,
    outputs: Tensor,
    link: Callable[[Tensor], Tensor],
) -> Iterator[Stage]:
    """The network down to each hidden layer, outermost first.

    It shares its layers with the encoder and the decoder of the `pair`. Its code is the hidden
    layer, flattened, and it has no linear path. `mean`, `inputs` and `outputs`, (n_features,) each,
    are as in `PCAPath` and `Scales`.
    """
    encoder, decoder = (list(net.children()) for net in pair)
    inward, outward = _learning(encoder), _learning(decoder)
    seen_in, seen_out = 0, len(decoder)
    for end, begin in zip(inward[1:], reversed(outward[1:]), strict=True):
        heads = [layer for layer in encoder[:end] if not isinstance(layer, nn.Flatten)]
        tails = [layer for layer in decoder[begin:] if not isinstance(layer, LayerScale)]
        shape = _shape_after(heads, len(mean))
        if len(shape) > 1:
            heads, tails = [*heads, nn.Flatten()], [nn.Unflatten(1, shape), *tails]
        ones = torch.ones(shape.numel(), dtype=mean.dtype)
        network = Autoencoder(
            nn.Sequential(*heads),
            nn.Sequential(*tails),
            PCAPath(mean, mean.new_zeros(len(ones), len(mean)), active=False),
            Scales(inputs, ones, ones, outputs),
            link,
        )
        yield Stage(network, nn.ModuleList([*encoder[seen_in:end], *decoder[begin:seen_out]]))
        seen_in, seen_out = end, begin


def _learning(layers: list[nn.Module]) -> list[int]:
    """Where the layers with a matrix or kernels are."""
    return [i for i, layer in enumerate(layers) if isinstance(layer, LEARNING)]


def _shape_after(layers: list[nn.Module], n_features: int) -> torch.Size:
    net = copy.deepcopy(nn.Sequential(*layers)).double()  # not all of them are as yet
    with torch.no_grad():
        return net(torch.zeros(1, n_features, dtype=torch.float64)).shape[1:]
