"""Initialisation of the sparse autoencoder: units at rows of the data, codes of the right scale."""

import copy
from collections.abc import Sequence
from numbers import Integral
from typing import Any, Protocol

import numpy as np
import torch
from torch import Generator, Tensor
from torch.nn import Module, Sequential
from torch.nn.functional import normalize

from .._data.dataset import dense_block
from .._data.device import as_tensor
from .._data.validation import as_tuple
from .._nn.convolutional import as_shape
from .._nn.custom_layers import LayerScale
from .._nn.fitted import FittedAutoencoder
from .._nn.sparse_activations import (
    K_ANNEAL_STEPS,
    SPARSE_ACTIVATIONS,
    SparseActivation,
    Thresholded,
    TopK,
)
from .._nn.sparse_coder import DictionaryDecoder, SparseCoder, SparseEncoder, ZeroOutput
from .._training.fit_data import FitData
from .._training.initialization import NetworkParts

# Norm of the noise that is added to the rows with which the dictionary is initialised, as a
# multiple of their norm.
NOISE = 0.3

# Number of rows from which the scale of the first codes, and the final thresholds, are estimated.
MAX_CALIBRATION_ROWS = 2048

# Units are revived (see `SparseCoding`) that were inactive for this multiple of the number of rows
# after which a unit is expected to be active, or for so many epochs if these are fewer rows. Of
# 1024 units for 10,000 images, 16 of them active, 200 were dead in the end when a single active row
# reset the count, 32 when more units were active at first, and none with both.
INACTIVE_WAITING_TIMES = 100.0
INACTIVE_EPOCHS = 1.0


class SparseParameters(Protocol):
    """The parameters of the estimator that describe a sparse coder."""

    sparsity: Any  # a name of SPARSE_ACTIVATIONS
    hidden_layer_sizes: Sequence[int]
    network: Any
    tied_weights: bool
    with_mean: bool
    receptive_field: int | float | None
    image_shape: Sequence[int] | None
    transform_max_iter: int


def number_of_active(given: int | None, n_components: int, n_features: int) -> int:
    """The number of active units of a row, by default a tenth of the number of features."""
    if given is None:
        return min(n_components, max(n_features // 10, 1))
    if given > n_components:
        raise ValueError(
            f"`n_nonzero_coefs` must be at most the number of components, {n_components}, got "
            f"{given}."
        )
    return given


def make_sparse_coder(
    parameters: SparseParameters, parts: NetworkParts, data: FitData, n_nonzero: int
) -> SparseCoder:
    """The network of a sparse autoencoder before training."""
    mean, n_components = parts.pca_path.mean, len(parts.scales.inverse_code_scale)
    has_networks = (
        parameters.network is not None or len(as_tuple(parameters.hidden_layer_sizes)) > 0
    )
    fields = None
    if parameters.receptive_field is not None and parameters.image_shape is not None:
        shape, side = as_tuple(parameters.image_shape), parameters.receptive_field
        fields = receptive_fields(shape, side, data.moments.std, n_components)
    weight = directions_to_rows(data, mean, n_components, fields)
    input_mean = None if parameters.with_mean else mean + torch.from_numpy(data.shift / data.scale)
    max_inactive = INACTIVE_WAITING_TIMES * n_components / n_nonzero
    encoder = SparseEncoder(
        torch.ones_like(weight[:, :1]) if parameters.tied_weights else weight.clone(),
        _scaled(parts.encoder, n_components) if has_networks else ZeroOutput(),
        _activation(parameters.sparsity, n_nonzero, n_components, data),
        min(max_inactive, INACTIVE_EPOCHS * len(data.train)),
        input_mean,
        parameters.tied_weights,
    )
    if input_mean is not None:  # the first codes are those of deviations from the mean
        encoder.bias.data = -(weight @ input_mean)
    f = _scaled(parts.decoder, len(mean)) if has_networks else ZeroOutput()
    decoder = DictionaryDecoder(weight, f, fields)
    coder = SparseCoder(encoder, decoder, parts.pca_path, parts.scales, data.loss.link)
    coder.n_pursuit_steps = parameters.transform_max_iter
    encoder.rescale(best_code_scale(coder, data))
    return coder


def _scaled(network: Module, n_outputs: int) -> Sequential:
    """The network times a learned scale that starts at zero."""
    return Sequential(network, LayerScale(n_outputs))


def _activation(
    sparsity: str, n_nonzero: int, n_components: int, data: FitData
) -> SparseActivation:
    activation = SPARSE_ACTIVATIONS[sparsity](n_nonzero, n_components)
    if isinstance(activation, TopK):
        n_steps = data.config.n_steps(len(data.train))
        activation.anneal_steps = min(K_ANNEAL_STEPS, n_steps / 3)
    return activation


def calibrate_thresholds(fitted: FittedAutoencoder, data: FitData) -> None:
    """Set thresholds that followed the batches in training to those of evenly spaced rows."""
    activation = fitted.network.encoder.activation
    if not isinstance(activation, Thresholded):
        return
    n_rows = min(len(data.rows), MAX_CALIBRATION_ROWS)
    index = torch.from_numpy(np.linspace(0, len(data.rows) - 1, n_rows).astype(int))
    index = data.by_weight(torch.arange(len(data.rows)), index)
    local = dense_block(data.X, data.rows.local_index(index).numpy())
    own = as_tensor(local, fitted.shift.dtype, fitted.shift.device)
    x = data.rows.all_gather_values(index.to(own.device), own)
    with torch.no_grad():
        pre_activation = fitted.network.pre_activation((x - fitted.shift) / fitted.scale)
    activation.threshold.copy_(activation.batch_threshold(pre_activation))


def receptive_fields(
    image_shape: tuple[int, ...], side: int | float, std: np.ndarray, n_components: int
) -> Tensor:
    """Masks of the pixels of each unit, a window of the image; (n_components, n_features).

    There are more windows where there is more variance.

    Parameters
    ----------
    image_shape : tuple of int
        ``(height, width)`` or ``(channels, height, width)``.
    side : int or float
        Height and width of the windows, in pixels or as a share of those of the image.
    std : ndarray of shape (n_features,)
        Standard deviations of the pixels.
    """
    shape = as_shape(image_shape)
    whole = isinstance(side, Integral)
    sides = [min(int(side), n) if whole else max(1, round(float(side) * n)) for n in shape[1:]]
    variance = np.square(std).reshape(shape).sum(0)
    windows = np.lib.stride_tricks.sliding_window_view(variance, sides).sum((2, 3))
    # Equal steps through the cumulative variance: twice the variance has twice the units.
    total = windows.cumsum()
    steps = (np.arange(n_components) + 0.5) / n_components * total[-1]
    corners = np.unravel_index(np.searchsorted(total, steps), windows.shape)
    fields = torch.zeros(n_components, *shape)
    for field, top, left in zip(fields, *corners, strict=True):
        field[:, top : top + sides[0], left : left + sides[1]] = 1.0
    return fields.flatten(1)


def directions_to_rows(
    data: FitData, mean: Tensor, n_components: int, fields: Tensor | None
) -> Tensor:
    """Unit vectors from the mean to training rows, (n_components, n_features), within `fields`."""
    rng = Generator().manual_seed(data.seeds.weights)
    n_rows = len(data.train)
    drawn = [data.epoch(rng) for _ in range(-(-n_components // n_rows))]
    rows = data.rows.all_gather_rows(torch.cat(drawn)[:n_components])
    deviations = torch.nan_to_num(rows.cpu().double() - mean)
    # Noise makes all directions different and none zero; constant columns have none.
    normal = torch.randn(deviations.shape, generator=rng, dtype=deviations.dtype)
    if fields is not None:
        deviations, normal = deviations * fields, normal * fields
    noise = normalize(normal * torch.from_numpy(data.moments.std / data.moments.rms_std), dim=1)
    directions = normalize(normalize(deviations, dim=1) + noise * NOISE, dim=1)
    # Where all columns are constant any direction will do, except none.
    return torch.where(directions.any(1, keepdim=True), directions, normalize(normal, dim=1))


def best_code_scale(coder: SparseCoder, data: FitData) -> float:
    """The factor of all codes that minimises the error of the first reconstructions.

    The codes of a row are its projections on directions that overlap, whose sum is too long.
    """
    coder = copy.deepcopy(coder).double()
    n_rows = min(len(data.train), MAX_CALIBRATION_ROWS)
    x = data.rows.all_gather_rows(data.train[:n_rows]).cpu().double()
    with torch.no_grad():
        deviations = torch.nan_to_num(x - coder.pca_path.mean)
        decoded = coder.decoder(coder.encode(x))
        scale = (decoded * deviations).sum() / decoded.square().sum().clamp_min(1e-30)
    return float(scale)
