"""Initialisation: PCA plus networks whose output is zero, or random networks."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
import torch
from torch.nn import Module

from .._data.validation import as_tuple
from .._nn.autoencoder import MIN_STD, Autoencoder, PCAPath, Scales
from .._nn.convolutional import convolutional_encoder_decoder, multiply_adds
from .._nn.fitted import FittedAutoencoder, RotatedAutoencoder
from .._nn.mlp import mlp_encoder_decoder, tied_encoder_decoder
from .._nn.user_network import user_encoder_decoder
from .fit_data import FitData, generator
from .pca import PrincipalComponents

# Up to this number of components the default network has one hidden layer more.
MAX_FEW_COMPONENTS = 4


class NetworkParameters(Protocol):
    """The parameters of an estimator that describe its network."""

    hidden_layer_sizes: Sequence[int] | Literal["auto"]
    activation: Any  # a name of ACTIVATIONS
    image_shape: Sequence[int] | None
    network: Callable[[int, int], tuple[Any, Any]] | None
    tied_weights: bool
    pretraining: Any  # "layerwise" or None
    alpha: float

    def _starts_from_pca(self, data: FitData) -> bool: ...


def hidden_sizes(parameters: NetworkParameters, n_components: int) -> tuple[int, ...]:
    """The sizes of the hidden layers; "auto" is deeper and narrower for fewer components.

    The fewer components there are, the more often the surface of all reconstructions has to bend.
    Both take about the same time.
    """
    given = parameters.hidden_layer_sizes
    if not isinstance(given, str):
        return as_tuple(given)
    few = n_components <= MAX_FEW_COMPONENTS and parameters.image_shape is None
    return (96, 96, 96) if few else (128, 128)


class NetworkParts(NamedTuple):
    """The parts of a network before training."""

    encoder: Module
    decoder: Module
    pca_path: PCAPath
    scales: Scales


class Initialization(NamedTuple):
    """The network before training, and the PCA with which it is compared.

    Attributes
    ----------
    fitted : FittedAutoencoder
        The network, in float64, or that of the fit that is continued.
    pca : PCAPath
        The PCA of `pca_score_`.
    is_optimal : bool
        Whether the network already minimises the objective, so that it is not trained.
    """

    fitted: FittedAutoencoder
    pca: PCAPath
    is_optimal: bool = False


def make_parts(
    parameters: NetworkParameters,
    data: FitData,
    pca: PrincipalComponents,
    n_components: int,
    *,
    residual_to_pca: bool,
    n_heads: int = 1,
    clipped: bool = True,
) -> NetworkParts:
    """The encoder and the decoder that the parameters describe, a PCA path, and scales.

    With `residual_to_pca` the PCA path is active, and encoder and decoder start at zero. The
    encoder has `n_heads` outputs for each component. If `clipped`, the inputs of dense layers are
    limited softly.
    """
    images = parameters.image_shape is not None
    dense = parameters.network is None and not parameters.tied_weights and not images
    whitening = pca.whitening if dense and hidden_sizes(parameters, n_components) else None
    # One scale for all inputs where a kernel covers every pixel, or a component every column.
    common = images or whitening is not None
    scales = _scales(data, pca, n_components, common=common, residual_to_pca=residual_to_pca)
    path = make_pca_path(data, pca, active=residual_to_pca)
    sizes = (pca.components.shape[1], *hidden_sizes(parameters, n_components), n_components)
    options = {"residual_to_pca": residual_to_pca, "n_heads": n_heads}
    pair = _encoder_decoder(parameters, sizes, data.seeds.weights, whitening, options, clipped)
    return NetworkParts(*pair, path, scales)


def make_pca_path(data: FitData, pca: PrincipalComponents, *, active: bool) -> PCAPath:
    """The linear map to the principal components and back, in the network's units."""
    mean = (data.moments.mean - data.shift) / data.scale
    directions = torch.from_numpy(pca.components.copy())
    return PCAPath(torch.from_numpy(mean), directions, active=active)


def make_rotated(network: Autoencoder, data: FitData, n_components: int) -> RotatedAutoencoder:
    """The network for rows in the units of `X`, before its codes are rotated."""
    return RotatedAutoencoder(network, torch.from_numpy(data.shift), data.scale, n_components)


def set_sizes(fitted: FittedAutoencoder, data: FitData, pca: PrincipalComponents) -> None:
    """Set the sizes of rows and of PCA's residual, on which the precision of results depends."""
    fitted.column_std = torch.from_numpy(data.moments.std / data.scale)
    if data.loss.degree:
        unit = data.moments.rms_std / data.scale
        fitted.residual_std = torch.from_numpy(pca.residual_std * unit)


def pca_is_optimal(parameters: NetworkParameters, pca: PrincipalComponents) -> bool:
    """Whether no network reconstructs better than PCA: PCA is exact, or the network is linear."""
    is_deep = bool(hidden_sizes(parameters, len(pca.components)))  # of images too
    linear = parameters.network is None and not is_deep
    return pca.complete and (pca.is_exact or (linear and not parameters.alpha))


def raw_stds(data: FitData) -> np.ndarray:
    """Standard deviations of raw reconstructions; logits and log-rates are of order one."""
    std = data.moments.std / data.scale
    return std if data.loss.degree else np.ones_like(std)


def flops_per_row(parameters: NetworkParameters, n_features: int, n_components: int) -> float:
    """Multiply-adds of a row in a step of training: 3 for each weight, in two mirrored nets."""
    hidden = hidden_sizes(parameters, n_components)
    if parameters.image_shape is not None:
        return 6.0 * multiply_adds(as_tuple(parameters.image_shape), hidden, n_components)
    return 6.0 * sum(a * b for a, b in pairwise((n_features, *hidden, n_components)))


def multiply_adds_of_projection(parameters: NetworkParameters, n_components: int) -> float:
    """Approximate multiply-adds of a Gauss-Newton step for a row: tangents and Gram matrix."""
    hidden = hidden_sizes(parameters, n_components)
    if parameters.network is not None or not hidden:
        return 0.0  # not known, or negligible
    if parameters.image_shape is not None:
        image_shape = as_tuple(parameters.image_shape)
        return float(n_components * multiply_adds(image_shape, hidden, n_components))
    decoder = (n_components, *reversed(hidden), hidden[0])  # the last is the Gram matrix
    return float(n_components * sum(a * b for a, b in pairwise(decoder)))


def _encoder_decoder(
    parameters: NetworkParameters,
    sizes: tuple[int, ...],
    seed: int,
    whitening: np.ndarray | None,
    options: dict[str, Any],
    clipped: bool,
) -> tuple[Module, Module]:
    n_features, *hidden, n_components = sizes
    activation = parameters.activation
    if parameters.network is not None:
        return user_encoder_decoder(parameters.network, n_features, n_components, seed, **options)
    if parameters.image_shape is not None:
        return convolutional_encoder_decoder(
            as_tuple(parameters.image_shape),
            tuple(hidden),
            n_components,
            activation,
            generator(seed),
            tied=parameters.tied_weights,
            **options,
        )
    if parameters.tied_weights:
        return tied_encoder_decoder(sizes, activation, generator(seed), **options)
    options |= {"layer_scale": parameters.pretraining is not None, "clipped": clipped}
    white = None if whitening is None else torch.from_numpy(whitening)
    return mlp_encoder_decoder(sizes, activation, generator(seed), whitening=white, **options)


def _scales(
    data: FitData,
    pca: PrincipalComponents,
    n_components: int,
    *,
    common: bool,
    residual_to_pca: bool,
) -> Scales:
    """Scales of the inputs and the outputs of the encoder and the decoder."""
    rms_std, std = data.moments.rms_std / data.scale, data.moments.std / data.scale
    inputs = np.full_like(std, 1 / rms_std) if common else _inverse(std)
    code_std = delta_scale = np.ones(n_components)
    outputs = raw_stds(data)
    if residual_to_pca:
        code_std, residual = pca.code_std * rms_std, pca.residual_std * rms_std
        # The encoder changes a code by at most the norm of PCA's residual: from changes as large as
        # the data training would first have to return to PCA.
        delta_scale = np.minimum(code_std, np.linalg.norm(residual))
        outputs = residual if data.loss.degree else outputs
    return Scales(*map(torch.from_numpy, (inputs, _inverse(code_std), delta_scale, outputs)))


def _inverse(std: np.ndarray) -> np.ndarray:
    """1 / std, and 0 for columns that are constant, or nearly so in the network's units."""
    return np.divide(1.0, std, out=np.zeros_like(std), where=std > MIN_STD)
