"""Encoders and decoders that the user gives as the parameter `network`."""

import copy
from collections.abc import Callable

import torch
from torch import nn

from .._data.messages import described
from .._data.user_functions import call_user_function
from .custom_layers import SoftClip
from .mlp import INPUT_LIMIT, append_layer_scales

RULE = "network(n_features, n_components) returns two torch modules, encoder and decoder"


def user_encoder_decoder(
    network: Callable[[int, int], tuple[nn.Module, nn.Module]],
    n_features: int,
    n_components: int,
    seed: int,
    *,
    residual_to_pca: bool,
    n_heads: int = 1,
) -> tuple[nn.Module, nn.Module]:
    """The user's encoder and decoder; with a PCA path, scaled by zero before training."""
    # The global generator of torch is used only here: other modules cannot be given another one.
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        pair = call_user_function("network", RULE, network, n_features, n_components)
    if not (isinstance(pair, tuple) and [isinstance(m, nn.Module) for m in pair] == [True, True]):
        raise TypeError(
            f"`network` must return two torch modules, encoder and decoder, got {described(pair)}."
        )
    _check_output("encoder", pair[0], n_features, n_heads * n_components)
    _check_output("decoder", pair[1], n_components, n_features)
    if not residual_to_pca:
        return pair
    encoder, decoder = (nn.Sequential(SoftClip(INPUT_LIMIT), module) for module in pair)
    return append_layer_scales(encoder, n_heads * n_components, decoder, n_features)


def _check_output(name: str, module: nn.Module, n_in: int, n_out: int) -> None:
    rule = f"`network` must return modules that keep rows: its {name} must take (n, {n_in}) to "
    x = torch.zeros(2, n_in, requires_grad=True)
    try:
        output = copy.deepcopy(module).eval()(x.clone())  # which it may change in place
        shape, dtype = tuple(output.shape), output.dtype
    except Exception as error:  # a user's module may raise any exception
        raise ValueError(f"{rule}(n, {n_out}), but it raised: {error}") from error
    if shape != (2, n_out):
        raise ValueError(f"{rule}(n, {n_out}), got {shape} for 2 rows.")
    if not dtype.is_floating_point:
        raise ValueError(f"{rule}(n, {n_out}), real numbers, got {dtype}.")
    if not output.requires_grad:
        raise ValueError(
            f"`network` must return modules with a gradient, got the {name} {module!r}, whose "
            "output depends neither on parameters nor differentiably on its input."
        )
