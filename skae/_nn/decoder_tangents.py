"""Decoders with their Jacobian in the code: in closed form, or by autograd for unknown layers.

The *tangents* of a layer are the derivatives of its output along the axes of the code, with the
axes (n_samples, n_components, ...).
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from .._losses.reconstruction import SquaredError, loss_of_link
from .autoencoder import Autoencoder
from .layers import LAYERS, has_hooks
from .variational import LikelihoodDecoder

# What a decoder computes from a code, each (n_samples, ...): first the code, last the raw rows.
Values = list[Tensor]


class DecoderTangents:
    """Any `decode` of a network, with its Jacobian by autograd."""

    n_tangent_entries: int  # the largest number of entries of the tangents of a row, per component

    def __init__(self, network: Autoencoder):
        self._decode = network.decode
        self.inverse_code_scale = network.decoder_form().inverse_code_scale
        self._axes = torch.diag(torch.ones_like(self.inverse_code_scale))
        self.n_tangent_entries = _widest(network)

    def values(self, code: Tensor) -> Values:
        """The code and the raw rows."""
        return [code, self._decode(code)]

    def jacobian(self, values: Values) -> Tensor:
        """The derivative of the raw rows, (n_samples, n_components, n_features)."""
        return tangents_by_autograd(self._decode, values[0], self._axes[None])


class LayeredDecoder(DecoderTangents):
    """A decoder of the form of `DecoderForm`, layer by layer.

    The Jacobian of a row is ``components + tangents @ matrix`` for the identity link, where the
    tangents are those of the last hidden layer. The fade is a constant in it.
    """

    def __init__(self, network: Autoencoder):
        super().__init__(network)
        form, self._link, self._mean = network.decoder_form(), network.link, network.pca_path.mean
        self.components, self._max_distance = form.components, form.max_train_distance
        self._axes = torch.diag(self.inverse_code_scale)
        self._output_scale = network.scales.output_scale
        loss = loss_of_link(network.link)
        has_link = self.components is not None and type(loss).link is not SquaredError.link
        self._link_derivative = loss.link_derivative if has_link else None
        self._layers = layers_of(network.decoder)
        start = _start_of_affine_tail(self._layers)
        self._hidden, tail = self._layers[:start], self._layers[start:]
        self.matrix = _matrix(tail) * self._output_scale if tail else None  # (n_hidden, n_features)

    def values(self, code: Tensor) -> Values:
        """The code, the fade, the inputs of all layers, the output of the last, the raw rows."""
        x = code * self.inverse_code_scale
        values = [code, self._fade(x), x]
        for layer in self._layers:
            x = layer(x)
            values.append(x)
        linear = self._mean if self.components is None else self._linear(code)
        delta_raw = x * values[1]
        return [*values, torch.addcmul(self._link(linear), delta_raw, self._output_scale)]

    def tangents(self, values: Values) -> Tensor:
        """Those of the last hidden layer, times the fade."""
        _, fade, *values = values
        # The fade multiplies the smallest factor of the product.
        tangents = self._axes * fade[:, :, None]
        for layer, x, y in zip(self._hidden, values, values[1:], strict=False):
            tangents = layer_tangents(layer, x, y, tangents)
        return tangents

    def jacobian(self, values: Values) -> Tensor:
        """The derivative of the raw rows, (n_samples, n_components, n_features)."""
        tangents, matrix = self.tangents(values), self.matrix
        jacobian = tangents * self._output_scale if matrix is None else tangents @ matrix
        if self.components is None:
            return jacobian
        if self._link_derivative is None:
            return jacobian.add_(self.components)
        slope = self._link_derivative(self._linear(values[0]))
        return jacobian.addcmul_(slope[:, None], self.components)

    def _linear(self, code: Tensor) -> Tensor:
        assert self.components is not None
        return torch.addmm(self._mean, code, self.components)

    def _fade(self, scaled_code: Tensor) -> Tensor:
        if self._max_distance is None:
            return scaled_code.new_ones(len(scaled_code), 1)
        distance = torch.linalg.vector_norm(scaled_code, dim=1, keepdim=True)
        return (2 - distance / self._max_distance).clamp_(0, 1)


def decoder_tangents(network: Autoencoder) -> DecoderTangents:
    """The decoder of a network, in closed form unless it overrides `decode` alone."""
    described, used = (_owner(type(network), name) for name in ("decoder_form", "decode"))
    return (LayeredDecoder if issubclass(described, used) else DecoderTangents)(network)


def _widest(network: Autoencoder) -> int:
    """The largest number of outputs of a layer, as far as it is known."""
    sizes = [layer.out_features for layer in network.decoder.modules() if type(layer) is nn.Linear]
    return max([len(network.pca_path.mean), *sizes])


def _owner(cls: type, name: str) -> type:
    """The class from which a class has a method."""
    return next(base for base in cls.__mro__ if name in vars(base))


def layers_of(module: nn.Module) -> list[nn.Module]:
    """The layers of nested sequences."""
    if has_hooks(module):
        return [module]
    if type(module) is LikelihoodDecoder:
        return layers_of(module.network)
    if type(module) is not nn.Sequential:
        return [module]
    return [layer for child in module for layer in layers_of(child)]


def _start_of_affine_tail(layers: list[nn.Module]) -> int:
    """The index of the first dense layer after which all layers are affine maps of vectors."""
    start = len(layers)
    for i in range(len(layers) - 1, -1, -1):
        if not _is_known(layers[i]) or LAYERS[type(layers[i])].linear_part is None:
            break
        if type(layers[i]) is nn.Linear:
            start = i
    reshapes = any(isinstance(layer, nn.Flatten | nn.Unflatten) for layer in layers[start:])
    return len(layers) if reshapes else start


def _matrix(tail: list[nn.Module]) -> Tensor:
    """The matrix of affine layers that begin with a dense one."""
    matrix: Any = tail[0].weight.mT
    for layer in tail[1:]:
        matrix = _linear_part(layer, matrix)
    return matrix


def _is_known(layer: nn.Module) -> bool:
    forms = LAYERS.get(type(layer))
    closed = forms is not None and (forms.derivative or forms.linear_part) is not None
    return closed and not has_hooks(layer)


def layer_tangents(layer: nn.Module, x: Tensor, y: Tensor, tangents: Tensor) -> Tensor:
    """The tangents of the output `y` of a layer from those of its input `x`."""
    if not _is_known(layer):
        return tangents_by_autograd(layer, x, tangents)
    derivative = LAYERS[type(layer)].derivative
    if derivative is not None:
        return tangents * derivative(layer, x, y).unsqueeze(1)
    return _linear_part(layer, tangents.flatten(0, 1)).unflatten(0, tangents.shape[:2])


def _linear_part(layer: nn.Module, x: Tensor) -> Tensor:
    """A layer without its bias."""
    linear_part = LAYERS[type(layer)].linear_part
    assert linear_part is not None
    return linear_part(layer, x)


def tangents_by_autograd(
    function: Callable[[Tensor], Tensor], x: Tensor, tangents: Tensor
) -> Tensor:
    """The tangents of the output of any function.

    The gradient in the input is a linear map of that in the output. Its transpose, by a second
    backward pass, maps tangents of the input to those of the output. Forward mode needs one pass,
    but torch then imports decompositions for a second, and fewer functions have it.
    """
    n_samples, n_components = len(x), tangents.shape[1]
    with torch.inference_mode(False), torch.enable_grad():
        # Copies, because autograd cannot use tensors of inference mode.
        rows = x.repeat_interleave(n_components, dim=0).requires_grad_()
        directions = tangents.expand(n_samples, *tangents.shape[1:]).flatten(0, 1).clone()
        y = function(rows)
        cotangent = torch.zeros_like(y, requires_grad=True)
        (gradient,) = torch.autograd.grad(y, rows, cotangent, create_graph=True)
        (result,) = torch.autograd.grad(gradient, cotangent, directions)
    return result.unflatten(0, (n_samples, n_components))
