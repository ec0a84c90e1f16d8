"""The derivative of an encoder in its rows: in closed form, or by autograd for unknown layers."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from .autoencoder import Autoencoder
from .decoder_tangents import flat_layers
from .layers import LAYERS, has_hooks
from .variational import VariationalAutoencoder


def encoder_jacobian(network: Autoencoder, x: Tensor, weights: Sequence[float] = (1,)) -> Tensor:
    """The derivative of `network.encode`, (n_samples, n_components, n_features).

    It is averaged over several points of each row: `x` has the first points of all rows, then the
    second ones, with their `weights`. The first axis is 1 if the encoder is linear.
    """
    encode, path, scales = type(network).encode, network.pca_path, network.scales
    layers, components = network.encoder, path.components
    if encode is VariationalAutoencoder.encode and isinstance(network, VariationalAutoencoder):
        layers, components = network.encoder.network, network.encoder_gain[:, None] * components
    elif encode is not Autoencoder.encode:
        return _averaged(jacobian_by_autograd(network.encode, x), weights)
    centred = torch.nan_to_num(x - path.mean) * scales.inverse_input_scale
    jacobian = input_jacobian(layers, centred, len(scales.inverse_code_scale), weights)
    jacobian = scales.delta_scale[:, None] * jacobian * scales.inverse_input_scale
    if (factor := network.pca_factor()) is not None:
        components = factor * components
    return jacobian + components if path.active else jacobian


def input_jacobian(
    module: nn.Module, x: Tensor, n_outputs: int, weights: Sequence[float] = (1,)
) -> Tensor:
    """The derivative of the first outputs of a module, (n_samples, n_outputs, n_inputs).

    It is averaged over several points of each row; see `encoder_jacobian`. The first axis is 1 if
    the module is linear.
    """
    layers = flat_layers(module)
    if not all(map(_is_known, layers)):
        return _averaged(jacobian_by_autograd(lambda x: module(x)[:, :n_outputs], x), weights)
    values = [x]
    for layer in layers:
        values.append(layer(values[-1]))
    jacobian = torch.eye(n_outputs, values[-1].shape[1]).to(x)[None]
    is_affine = [LAYERS[type(layer)].derivative is None for layer in layers]
    n_first_affine = [*is_affine, False].index(False)
    for position in range(len(layers) - 1, -1, -1):
        layer, before, after = layers[position], values[position], values[position + 1]
        forms = LAYERS[type(layer)]
        if forms.derivative is not None:
            jacobian = jacobian * forms.derivative(layer, before, after)[:, None]
            if position == n_first_affine:  # the layers before it are the same at all points
                jacobian = _averaged(jacobian, weights)
        else:
            assert forms.input_gradient is not None
            jacobian = forms.input_gradient(layer, before, after, jacobian)
    return jacobian


def _averaged(jacobian: Tensor, weights: Sequence[float]) -> Tensor:
    """The average over points: the first part of the rows has the first point, and so on."""
    if len(weights) == 1:
        return jacobian
    terms = [w * part for w, part in zip(weights, jacobian.chunk(len(weights)), strict=True)]
    return torch.stack(terms).sum(0)


def _is_known(layer: nn.Module) -> bool:
    """Whether the gradient in the input of a layer has a closed form for several axes of rows."""
    forms = LAYERS.get(type(layer))
    if forms is None or has_hooks(layer):
        return False
    is_affine = forms.linear_part is not None and forms.input_gradient is not None
    return is_affine or forms.derivative is not None


def jacobian_by_autograd(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """The derivative of any function of rows, (n_samples, n_outputs, n_inputs)."""
    with torch.inference_mode(False), torch.enable_grad():
        x = x.clone().requires_grad_()  # autograd cannot use tensors of inference mode
        sums = function(x).sum(0)
        gradients = [torch.autograd.grad(one, x, retain_graph=True)[0] for one in sums]
        return torch.stack(gradients, dim=1)
