"""Hand-written gradients of the squared error, in half the time of autograd.

Autograd records every operation and traverses the record backwards. For small networks that takes
longer than the arithmetic. The gradients are the same, which the tests check.

All functions here also work for several networks at once, whose parameters and rows have a leading
axis of networks: matrices of shape (n_networks, n_out, n_in), vectors of shape (n_networks, 1, n).
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from .._data.forks import cached_attribute
from .._nn.autoencoder import Autoencoder
from .._nn.copying import copy_module
from .._nn.layers import LAYERS, has_hooks
from .._nn.projection import nearest_codes


def has_manual_backward(network: Autoencoder) -> bool:
    """Whether `SquaredErrorGradient` can compute the gradient of a network.

    Not for a subclass, which may encode and decode in another way, nor for layers with hooks. Each
    parameter must be in one layer, as gradients are assigned, not added.
    """
    nets = (network.encoder, network.decoder)
    if type(network) is not Autoencoder or any(type(net) is not nn.Sequential for net in nets):
        return False
    layers = [layer for net in nets for layer in layers_of(net)]
    parameters = [parameter for layer in layers for parameter in layer.parameters()]
    return (
        all(_has_gradient(layer) for layer in layers)
        and not any(map(has_hooks, (*nets, *layers)))
        and len({*map(id, parameters)}) == len(parameters)
        and all(any(True for _ in net.parameters()) for net in nets)
    )


def layers_of(net: nn.Module) -> list[nn.Module]:
    """The layers of a Sequential; unlike `children`, with repetitions of a layer."""
    return list(cast(nn.Sequential, net))


def _has_gradient(layer: nn.Module) -> bool:
    forms = LAYERS.get(type(layer))
    return forms is not None and forms.input_gradient is not None


class ManualSequential:
    """A sequence of layers with a forward and a backward pass."""

    def __init__(self, layers: list[nn.Module]):
        # At this size each Python call counts: dense layers are called as functions.
        self._forward = [
            _linear_function(layer) if isinstance(layer, nn.Linear) else layer.forward
            for layer in layers
        ]
        forms = [(layer, LAYERS[type(layer)]) for layer in layers]
        self._input_gradients = [
            partial(form.input_gradient, layer) for layer, form in forms if form.input_gradient
        ]
        self._parameter_gradients = [
            partial(form.parameter_gradients, layer) if form.parameter_gradients else None
            for layer, form in forms
        ]
        self._first = _first_with_parameters(layers)
        self._values: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        """Apply all layers and keep their inputs and outputs."""
        self._values = [x]
        for function in self._forward:
            x = function(x)
            self._values.append(x)
        return x

    def backward(self, gradient: Tensor, *, to_input: bool) -> Tensor:
        """Compute the gradients in all parameters, and in the input if needed."""
        for i in range(len(self._forward) - 1, -1, -1):
            x = self._values[i]
            if (parameter_gradients := self._parameter_gradients[i]) is not None:
                parameter_gradients(x, gradient)
            if i > self._first or to_input:
                gradient = self._input_gradients[i](x, self._values[i + 1], gradient)
        return gradient


def _linear_function(layer: nn.Linear) -> Callable[[Tensor], Tensor]:
    if layer.weight.ndim == 2:
        return partial(linear, weight=layer.weight, bias=layer.bias)
    if cast(Tensor | None, layer.bias) is None:
        return lambda x: torch.bmm(x, layer.weight.mT)
    return lambda x: torch.baddbmm(layer.bias, x, layer.weight.mT)


def _first_with_parameters(layers: list[nn.Module]) -> int:
    return next(i for i, layer in enumerate(layers) if any(True for _ in layer.parameters()))


class LowPrecisionCopy:
    """A copy of the networks in low precision, in which gradients are computed.

    The weights that the optimiser updates stay in full precision, as most steps are smaller than
    the spacing of numbers in low precision.
    """

    def __init__(self, network: Autoencoder, dtype: torch.dtype):
        copied = copy_module(network).to(dtype)
        self.encoder, self.decoder = copied.encoder, copied.decoder
        self._pairs = list(zip(network.parameters(), copied.parameters(), strict=True))
        for _, rounded in self._pairs:
            rounded.grad = torch.empty_like(rounded)

    def copy_weights(self) -> None:
        """Round the current weights."""
        for weights, rounded in self._pairs:
            rounded.copy_(weights)

    def copy_gradients(self) -> None:
        """Copy the gradients to the weights in full precision, unless these are frozen."""
        for weights, rounded in self._pairs:
            if weights.grad is not None and rounded.grad is not None:
                weights.grad.copy_(rounded.grad)


class CachedInputs(NamedTuple):
    """Values of each row of a batch that are constant during training."""

    encoder_input: Tensor  # (n, n_inputs): the input of the first layer with parameters
    pca_code: Tensor  # (n, n_components)
    target: Tensor  # (n, n_features)


class SquaredErrorGradient:
    """The mean squared error of reconstructions, and its gradient.

    The first half of `__call__` is `encode` and `decode` of `Autoencoder`. The second half is the
    chain rule, in reverse order.
    """

    def __init__(self, network: Autoencoder, dtype: torch.dtype | None = None):
        own_dtype = network.scales.inverse_input_scale.dtype
        self._network, self._dtype = network, dtype or own_dtype
        low_precision = self._dtype != own_dtype
        self._rounded = LowPrecisionCopy(network, self._dtype) if low_precision else None
        nets = self._rounded or network
        encoder, decoder = layers_of(nets.encoder), layers_of(nets.decoder)
        first = _first_with_parameters(encoder)
        self._fixed_layers = nn.Sequential(*encoder[:first])
        self._encoder, self._decoder = ManualSequential(encoder[first:]), ManualSequential(decoder)

    @torch.inference_mode()
    def cached_inputs(self, network_input: Tensor, target: Tensor) -> CachedInputs:
        """Values of these rows and their targets that are constant during training."""
        pca_path, scales = self._network.pca_path, self._network.scales
        centred = torch.nan_to_num(network_input - pca_path.mean)
        code = torch.zeros_like(scales.inverse_code_scale) + pca_path.encode(centred)
        encoder_input = self._fixed_layers((centred * scales.inverse_input_scale).to(self._dtype))
        return CachedInputs(encoder_input, code.expand(*target.shape[:-1], -1), target)

    @torch.inference_mode()
    def __call__(self, rows: CachedInputs, weight: Tensor | None = None) -> Tensor:
        """Return the mean loss of the rows, and write its gradient to the parameters.

        `weight`, (n_samples, 1), are the weights of the rows in the mean; equal by default.
        """
        pca_path, scales, target = self._network.pca_path, self._network.scales, rows.target
        if self._rounded is not None:
            self._rounded.copy_weights()
        delta_code = self._encoder.forward(rows.encoder_input)
        encoder_code = rows.pca_code + scales.delta_scale * delta_code
        code, target = self._decoded_codes(encoder_code, target)
        delta_raw = self._decoder.forward((code * scales.inverse_code_scale).to(self._dtype))
        raw = pca_path.decode(code) + scales.output_scale * delta_raw
        error = torch.nan_to_num(raw - target)

        d_raw = error * (2 / len(target) if weight is None else 2 * weight)
        d_delta_raw = (d_raw * scales.output_scale).to(self._dtype)
        d_code = self._decoder.backward(d_delta_raw, to_input=True) * scales.inverse_code_scale
        if pca_path.active:
            d_code += d_raw @ pca_path.components.mT
        d_code = d_code[-len(encoder_code) :]
        self._encoder.backward((d_code * scales.delta_scale).to(self._dtype), to_input=False)
        if self._rounded is not None:
            self._rounded.copy_gradients()
        return (error * d_raw).sum((-2, -1)) / 2

    def _decoded_codes(self, code: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """The codes at which the error is measured, and their targets; last that of the encoder."""
        return code, target


class ProjectedGradient(SquaredErrorGradient):
    """The same for the mean of the errors at the nearest code and at the encoder's code."""

    def _decoded_codes(self, code: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        nearest = nearest_codes(self._network, target, code)
        return torch.cat([nearest, code]), torch.cat([target, target])


class ManualGradient:
    """The mean squared error of some rows of a data set, and its gradient.

    The gradient is written to the parameters' `grad`. `batch(index)` returns the network's input
    and the target; the layers compute in `dtype`. If `rows` is given, it is both for all rows, and
    what stays constant in training is computed once.
    """

    def __init__(
        self,
        network: Autoencoder,
        batch: Callable[[Tensor], tuple[Tensor, Tensor]],
        dtype: torch.dtype,
        rows: Tensor | None = None,
        kind: type[SquaredErrorGradient] = SquaredErrorGradient,
    ):
        self.network, self.batch, self.dtype, self._rows = network, batch, dtype, rows
        self.projects = kind is ProjectedGradient
        self._squared_error = kind(network, dtype)

    def __call__(self, index: Tensor) -> Tensor:
        """Return the mean loss of the rows at `index`."""
        if self._cache is None:
            return self._squared_error(self._squared_error.cached_inputs(*self.batch(index)))
        columns, widths = self._cache
        cached_inputs = CachedInputs(*columns.index_select(0, index).split(widths, 1))
        return self._squared_error(cached_inputs)

    @cached_attribute
    def _cache(self) -> tuple[Tensor, list[int]] | None:
        """The cached inputs of all rows as one tensor, and the widths of its parts."""
        if self._rows is None or self._rows.dtype != self.dtype:  # dtypes of the parts would differ
            return None
        parts = self._squared_error.cached_inputs(self._rows, self._rows)
        return torch.cat(parts, 1), [part.shape[1] for part in parts]
