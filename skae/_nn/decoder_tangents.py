"""Decoders with their Jacobian in the code: in closed form, or by autograd for unknown layers.

The *tangents* of a layer are the derivatives of its output along the axes of the code, with the
axes (n_samples, n_components, ...).
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import linear

from .._losses.reconstruction import SquaredError, loss_of_link
from .autoencoder import Autoencoder
from .layers import LAYERS, has_hooks
from .variational import LikelihoodDecoder

# What a decoder computes from a code, each (n_samples, ...): first the code, last the raw rows.
Values = list[Tensor]


class DecoderTangents:
    """Any `decode` of a network, with its Jacobian by autograd."""

    def __init__(self, network: Autoencoder):
        self._decode = network.decode
        self.inverse_code_scale = network.decoder_form().inverse_code_scale
        # The largest number of values that the tangents of a row have for each component.
        self.n_tangent_values = len(network.pca_path.mean)

    def values(self, code: Tensor) -> Values:
        """The code and the raw rows."""
        return [code, self._decode(code)]

    def jacobian(self, values: Values) -> Tensor:
        """The derivative of the raw rows, (n_samples, n_components, n_features)."""
        axes = torch.diag(torch.ones_like(self.inverse_code_scale))
        return tangents_by_autograd(self._decode, values[0], axes[None])


class LayeredDecoder(DecoderTangents):
    """A decoder of the form of `DecoderForm`, layer by layer.

    The Jacobian of a row is ``components + tangents @ matrix`` for the identity link, where the
    tangents are those of the last hidden layer. The fade is a constant in it.
    """

    def __init__(self, network: Autoencoder):
        # For one row each Python call counts: functions are looked up once.
        form, path, scales = network.decoder_form(), network.pca_path, network.scales
        self.inverse_code_scale = form.inverse_code_scale
        self.components, self._form_fade = form.components, form.fade
        self._link, self._mean, self._output_scale = network.link, path.mean, scales.output_scale
        self._axes = torch.diag(form.inverse_code_scale)
        loss = loss_of_link(network.link)
        has_link = self.components is not None and type(loss).link is not SquaredError.link
        self._link_derivative = loss.link_derivative if has_link else None
        self.layers = layers = flat_layers(network.decoder)
        known = [_is_known(layer) for layer in layers]
        self.has_closed_form = all(known)
        self._forward = [_function(*pair) for pair in zip(layers, known, strict=True)]
        start = _start_of_affine_tail(layers, known)
        self.hidden_layers, self.tail = layers[:start], layers[start:]
        hidden = zip(self.hidden_layers, known, strict=False)
        self._hidden = [_tangent_function(*pair) for pair in hidden]
        # Of the affine layers at the end, (n_hidden, n_features).
        self.matrix = _matrix(self.tail) * self._output_scale if self.tail else None
        sizes = (layer.out_features for layer in layers if type(layer) is nn.Linear)
        self.n_tangent_values = max(len(self._mean), *sizes, 0)

    def values(self, code: Tensor) -> Values:
        """The code, the fade, the inputs of all layers, the output of the last, the raw rows."""
        x = code * self.inverse_code_scale
        values = [code, self._fade(x), x]
        for function in self._forward:
            x = function(x)
            values.append(x)
        linear = self._mean if self.components is None else self._linear(code)
        delta_raw = x * values[1]
        return [*values, torch.addcmul(self._link(linear), delta_raw, self._output_scale)]

    def layer_values(self, values: Values) -> Values:
        """The inputs of all layers, and the output of the last."""
        return values[2:-1]

    def tangents(self, values: Values) -> Tensor:
        """The tangents of the last hidden layer, times the fade."""
        # The fade multiplies the smallest factor of the product.
        tangents = self._axes * values[1][:, :, None]
        for i, function in enumerate(self._hidden, 2):
            tangents = function(values[i], values[i + 1], tangents)
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
        if self._form_fade is None:
            return scaled_code.new_ones(len(scaled_code), 1)
        return self._form_fade(scaled_code)


def decoder_tangents(network: Autoencoder) -> DecoderTangents:
    """The decoder of a network, in closed form unless it overrides `decode` alone."""
    described, used = (_owner(type(network), name) for name in ("decoder_form", "decode"))
    return (LayeredDecoder if issubclass(described, used) else DecoderTangents)(network)


def _owner(cls: type, name: str) -> type:
    """The class from which a class has a method."""
    return next(base for base in cls.__mro__ if name in vars(base))


def flat_layers(module: nn.Module) -> list[nn.Module]:
    """The layers of nested sequences."""
    if type(module) not in (nn.Sequential, LikelihoodDecoder) or has_hooks(module):
        return [module]
    children: Any = [module.network] if isinstance(module, LikelihoodDecoder) else module
    return [layer for child in children for layer in flat_layers(child)]


def _is_known(layer: nn.Module) -> bool:
    """Whether the derivative of a layer has a closed form."""
    forms = LAYERS.get(type(layer))
    closed = forms is not None and (forms.derivative or forms.linear_part) is not None
    return closed and not has_hooks(layer)


def _function(layer: nn.Module, known: bool) -> Callable[[Tensor], Tensor]:
    """A layer as a function."""
    if not known:
        return layer
    if type(layer) is nn.Linear:
        weight, bias = layer.weight, layer.bias
        return lambda x: linear(x, weight, bias)
    return layer.forward


def _tangent_function(layer: nn.Module, known: bool) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """(x, y, tangents): the tangents of the output `y` of a layer, from those of its input `x`.

    The latter are overwritten.
    """
    if not known:
        return lambda x, y, tangents: tangents_by_autograd(layer, x, tangents)
    forms = LAYERS[type(layer)]
    linear_part, derivative = forms.linear_part, forms.derivative
    if linear_part is not None:
        return lambda x, y, tangents: linear_part(layer, tangents)
    assert derivative is not None
    return lambda x, y, tangents: tangents.mul_(derivative(layer, x, y).unsqueeze(1))


def _start_of_affine_tail(layers: list[nn.Module], known: list[bool]) -> int:
    """The index of the first dense layer after which all layers are affine maps of vectors."""
    start = len(layers)
    for i in range(len(layers) - 1, -1, -1):
        reshapes = isinstance(layers[i], nn.Flatten | nn.Unflatten)
        if not known[i] or reshapes or LAYERS[type(layers[i])].linear_part is None:
            break
        if type(layers[i]) is nn.Linear:
            start = i
    return start


def _matrix(tail: list[nn.Module]) -> Tensor:
    """The matrix of affine layers that begin with a dense one."""
    matrix: Any = tail[0].weight.mT
    for layer in tail[1:]:
        linear_part = LAYERS[type(layer)].linear_part
        assert linear_part is not None
        matrix = linear_part(layer, matrix)
    return matrix


def tangents_by_autograd(
    function: Callable[[Tensor], Tensor], x: Tensor, tangents: Tensor
) -> Tensor:
    """The tangents of the output of any function.

    The gradient in the input is a linear map of that in the output. Its transpose, by a second
    backward pass, maps tangents of the input to those of the output. Forward mode needs one pass,
    but torch then imports decompositions for a second, and fewer functions have it.
    """
    n_samples, n_components = len(x), tangents.shape[1]
    # Only this implementation of attention has second derivatives.
    with torch.inference_mode(False), torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
        # Copies, because autograd cannot use tensors of inference mode.
        rows = x.repeat_interleave(n_components, dim=0).requires_grad_()
        directions = tangents.expand(n_samples, *tangents.shape[1:]).flatten(0, 1).clone()
        y = function(rows)
        cotangent = torch.zeros_like(y, requires_grad=True)
        # Gradients of numbers, since torch imports SymPy for those of tensors.
        (gradient,) = torch.autograd.grad((y * cotangent).sum(), rows, create_graph=True)
        (result,) = torch.autograd.grad((gradient * directions).sum(), cotangent)
    return result.unflatten(0, (n_samples, n_components))
