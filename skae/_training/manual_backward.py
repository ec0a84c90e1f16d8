"""Backward passes written out, for the nets that most fits train: half the time of autograd.

Autograd records every operation and walks the record back; for nets of this size that costs more
than the arithmetic. The numbers are the same, and a test holds them to autograd's.

All this also holds for several networks at once, when parameters and rows have a leading axis of
networks: matrices of shape (n_networks, n_out, n_in), vectors of shape (n_networks, 1, n).
"""

import copy
from collections.abc import Callable
from functools import cached_property, partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from .._nn.autoencoder import Autoencoder, LayerScale, SoftClip, Whitening


def _tame(layer: SoftClip, x: Tensor, y: Tensor, gradient: Tensor) -> Tensor:
    return gradient / nn.functional.softshrink(x, layer.limit).abs().add_(1)


# For a layer, what came in, what went out, and the gradient there: the gradient of what came in.
BACKWARD: dict[type[nn.Module], Callable[..., Tensor]] = {
    nn.Linear: lambda layer, x, y, gradient: gradient @ layer.weight,
    LayerScale: lambda layer, x, y, gradient: gradient * layer.factor,
    SoftClip: _tame,
    Whitening: lambda layer, x, y, gradient: gradient @ layer.matrix.mT,
    nn.Identity: lambda layer, x, y, gradient: gradient,
    nn.ReLU: lambda layer, x, y, gradient: gradient * (x > 0),
    nn.Sigmoid: lambda layer, x, y, gradient: gradient * (y * (1 - y)),
    nn.SiLU: lambda layer, x, y, gradient: torch.ops.aten.silu_backward(gradient, x),
    nn.Tanh: lambda layer, x, y, gradient: gradient * (1 - y * y),
}


class ManualSequential:
    """A sequence of layers that can be run forward and back."""

    def __init__(self, net: nn.Module):
        self._layers = list(net.children())
        # At this size each Python call counts: a dense layer is called as the function that it is.
        self._forward = [
            _dense(layer) if isinstance(layer, nn.Linear) else layer.forward
            for layer in self._layers
        ]
        dense = [i for i, layer in enumerate(self._layers) if isinstance(layer, nn.Linear)]
        self._first = dense[0]
        self._values: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        """Apply all layers; what passes between them is kept."""
        self._values = [x]
        for apply in self._forward:
            x = apply(x)
            self._values.append(x)
        return x

    def backward(self, gradient: Tensor, *, to_input: bool) -> Tensor:
        """Pull a gradient of the output back past all parameters, and on to the input if asked."""
        for i in reversed(range(len(self._layers))):
            layer, x, y = self._layers[i], self._values[i], self._values[i + 1]
            if isinstance(layer, nn.Linear):
                torch.matmul(gradient.mT, x, out=layer.weight.grad)
                _sum_rows(gradient, layer.bias)
            elif isinstance(layer, LayerScale):
                _sum_rows(gradient * x, layer.factor)
            if i > self._first or to_input:
                gradient = BACKWARD[type(layer)](layer, x, y, gradient)
        return gradient


def _dense(layer: nn.Linear) -> Callable[[Tensor], Tensor]:
    if layer.weight.ndim == 2:
        return partial(linear, weight=layer.weight, bias=layer.bias)
    return lambda x: torch.baddbmm(layer.bias, x, layer.weight.mT)


def _sum_rows(values: Tensor, vector: nn.Parameter) -> None:
    torch.sum(values, -2, keepdim=vector.ndim > 1, out=vector.grad)


def _at_first_dense(encoder: nn.Module) -> tuple[nn.Sequential, nn.Sequential]:
    """An encoder in two: what it does before its first dense layer, and the rest."""
    layers = list(encoder.children())
    first = [isinstance(layer, nn.Linear) for layer in layers].index(True)
    return nn.Sequential(*layers[:first]), nn.Sequential(*layers[first:])


def has_manual_backward(network: Autoencoder) -> bool:
    """Whether all layers of a network have a backward pass here."""
    return all(
        isinstance(net, nn.Sequential) and all(type(layer) in BACKWARD for layer in net)
        for net in (network.encoder, network.decoder)
    )


class LowPrecisionCopy:
    """The layers of an `Autoencoder` in low precision, beside the weights that a solver moves.

    Those stay in full precision, as most steps are smaller than a rounded weight could tell.
    """

    def __init__(self, network: Autoencoder, dtype: torch.dtype):
        copied = copy.deepcopy(network).to(dtype)
        self.encoder, self.decoder = copied.encoder, copied.decoder
        self._pairs = list(zip(network.parameters(), copied.parameters(), strict=True))
        for _, rounded in self._pairs:
            rounded.grad = torch.empty_like(rounded)

    def take_weights(self) -> None:
        """Round the weights as they are now."""
        for weights, rounded in self._pairs:
            rounded.copy_(weights)

    def give_gradient(self) -> None:
        """Leave the gradient where the solver looks for it."""
        for weights, rounded in self._pairs:
            if weights.grad is not None and rounded.grad is not None:  # not frozen
                weights.grad.copy_(rounded.grad)


class CachedInputs(NamedTuple):
    """What of rows stays the same as a network learns; each with a row for each of them."""

    inputs: Tensor  # what the encoder's first dense layer takes
    linear_code: Tensor  # (n, n_components)
    wanted: Tensor  # (n, n_features): the rows to return


class SquaredErrorGradient:
    """Mean squared error of what an `Autoencoder` makes of rows, and its gradient.

    `encode` and `decode` as in `Autoencoder`, then the chain rule from the bottom up; each line of
    the second half answers one of the first.
    """

    def __init__(self, network: Autoencoder, dtype: torch.dtype | None = None):
        own = network.scales.inputs.dtype
        self._core, self._dtype = network, dtype or own
        self._rounded = LowPrecisionCopy(network, self._dtype) if self._dtype != own else None
        nets = self._rounded or network
        self._fixed, learned = _at_first_dense(nets.encoder)
        self._encoder, self._decoder = ManualSequential(learned), ManualSequential(nets.decoder)

    @torch.inference_mode()
    def cached_inputs(self, shown: Tensor, x: Tensor) -> CachedInputs:
        """What does not change of rows that are `shown`, and to be returned as `x`."""
        linear, scales = self._core.linear, self._core.scales
        centred = torch.nan_to_num(shown - linear.mean)
        code = torch.zeros_like(scales.codes) + linear.encode(centred)
        inputs = self._fixed((centred * scales.inputs).to(self._dtype))
        return CachedInputs(inputs, code.expand(*x.shape[:-1], -1), x)

    @torch.inference_mode()
    def __call__(self, rows: CachedInputs, share: Tensor | None = None) -> Tensor:
        """Return the mean loss of what is made of rows.

        The gradient is left in each parameter's `grad`. `share`, (n_samples, 1), is that of each
        row in the mean, if these differ.
        """
        linear, scales, x = self._core.linear, self._core.scales, rows.wanted
        if self._rounded is not None:
            self._rounded.take_weights()
        step = self._encoder.forward(rows.inputs)
        code = rows.linear_code + scales.delta_scale * step
        change = self._decoder.forward((code * scales.codes).to(self._dtype))
        error = torch.nan_to_num(linear.decode(code) + scales.outputs * change - x)

        d_raw = error * (2 / len(x) if share is None else 2 * share)
        d_change = (d_raw * scales.outputs).to(self._dtype)
        d_code = self._decoder.backward(d_change, to_input=True) * scales.codes
        if linear.active:
            d_code += d_raw @ linear.components.mT
        self._encoder.backward((d_code * scales.delta_scale).to(self._dtype), to_input=False)
        if self._rounded is not None:
            self._rounded.give_gradient()
        return (error * d_raw).sum((-2, -1)) / 2


class ManualGradient:
    """The mean squared error at some rows of a data set, its gradient left in the parameters.

    `batch(index)` gives the rows to show and those to return; the layers compute in `dtype`.
    `kept` are all rows, if these are few and shown as they are: they are prepared once.
    """

    def __init__(
        self,
        network: Autoencoder,
        batch: Callable[[Tensor], tuple[Tensor, Tensor]],
        dtype: torch.dtype,
        kept: Tensor | None = None,
    ):
        self.network, self.batch, self.dtype, self._kept = network, batch, dtype, kept
        self._squared_error = SquaredErrorGradient(network, dtype)

    def __call__(self, index: Tensor) -> Tensor:
        """Return the mean loss of the rows at `index`."""
        if self._side_by_side is None:
            rows = self._squared_error.cached_inputs(*self.batch(index))
        else:
            together, widths = self._side_by_side
            rows = CachedInputs(*together.index_select(0, index).split(widths, 1))
        return self._squared_error(rows)

    @cached_property
    def _side_by_side(self) -> tuple[Tensor, list[int]] | None:
        """The kept rows prepared, one look-up for all that a batch takes, and the widths."""
        if self._kept is None or self._kept.dtype != self.dtype:  # inputs would be of another
            return None
        parts = self._squared_error.cached_inputs(self._kept, self._kept)
        return torch.cat(parts, 1), [part.shape[1] for part in parts]
