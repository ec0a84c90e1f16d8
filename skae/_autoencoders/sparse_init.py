"""Where a sparse autoencoder begins: at rows, and at codes of the right size."""

import copy
from numbers import Integral
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from .._nn.convolutional import as_shape
from .._nn.sparse import SparseCoder
from .._training.fit_data import FitData

# What is added to the rows at which the dictionary begins, in their own length.
NOISE = 0.3

# So many rows fix the size of the first codes.
TYPICAL_ROWS = 2048


def receptive_fields(
    image_shape: tuple[int, ...], side: Any, deviation: np.ndarray, n_components: int
) -> Tensor:
    """The pixels of each unit, a window of the image, as ones of (n_components, n_features).

    There are more windows where there is more variance.

    Parameters
    ----------
    image_shape : tuple of int
        ``(height, width)`` or ``(channels, height, width)``.
    side : int or float
        Height and width of the windows, in pixels or as a share of those of the image.
    deviation : ndarray of shape (n_features,)
        Standard deviations of the pixels.
    """
    shape = as_shape(image_shape)
    whole = isinstance(side, Integral)
    sides = [min(int(side), n) if whole else max(1, round(float(side) * n)) for n in shape[1:]]
    variance = np.square(deviation).reshape(shape).sum(0)
    windows = np.lib.stride_tricks.sliding_window_view(variance, sides).sum((2, 3))
    # Even steps through the sum over windows: one of twice the variance has twice the units.
    total = windows.cumsum()
    steps = (np.arange(n_components) + 0.5) / n_components * total[-1]
    corners = np.unravel_index(np.searchsorted(total, steps), windows.shape)
    fields = torch.zeros(n_components, *shape)
    for field, top, left in zip(fields, *corners, strict=True):
        field[:, top : top + sides[0], left : left + sides[1]] = 1.0
    return fields.flatten(1)


def some_rows(data: FitData, mean: Tensor, n_components: int, fields: Tensor | None) -> Tensor:
    """Unit vectors from the mean to training rows, (n_components, n_features), in their fields."""
    chance = torch.Generator().manual_seed(data.seeds.weights)
    n_rows = len(data.train)
    drawn = [torch.randperm(n_rows, generator=chance) for _ in range(-(-n_components // n_rows))]
    rows = torch.cat(drawn)[:n_components].to(data.device)
    away = torch.nan_to_num(data.rows.everywhere(data.train[rows]).cpu().double() - mean)
    # No two are to be the same, nor zero; and each row is to have more than itself to learn from.
    noise = torch.randn(away.shape, generator=chance, dtype=away.dtype)
    noise *= torch.from_numpy(data.moments.std)  # none where nothing varies
    if fields is not None:
        away, noise = away * fields, noise * fields
    away, noise = normalize(away, dim=1), normalize(noise, dim=1)
    return normalize(away + noise * NOISE, dim=1)


def best_factor(network: SparseCoder, data: FitData) -> float:
    """What makes the first reconstructions best if all codes are multiplied by it.

    A row's codes are its projections on directions that overlap; their sum is much too long.
    """
    network = copy.deepcopy(network).double()
    n_rows = min(len(data.train), TYPICAL_ROWS)
    x = data.rows.everywhere(data.train[:n_rows]).cpu().double()
    with torch.no_grad():
        away = torch.nan_to_num(x - network.linear.mean)
        made = network.decoder(network.encode(x))
        return float((made * away).sum() / made.square().sum().clamp_min(1e-30))
