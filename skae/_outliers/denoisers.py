"""Denoisers of several noise levels, side by side: networks, and the exact ones of some rows."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
from torch import Generator, Tensor, nn

from .._nn.autoencoder import ACTIVATIONS
from .._nn.batched_linear import StackedLinear
from .._training.pca import Moments

# Keeps the gradient of a distance finite at distance zero.
TINY = 1e-3

# What is usually left of a feature counts as at least this share of its standard deviation: one
# that comes back nearly exactly would outweigh all others, and rows that have copies would leave
# an exact denoiser nothing to go by.
LEAST_USUAL_ERROR = 0.1

# A network's errors count in units of those on so many kept rows nearby, softened by so much.
N_NEIGHBORS, SOFTENING = 5, 0.1


def dense_networks(
    n_networks: int, sizes: tuple[int, ...], activation: str, gain: float, generator: Generator
) -> nn.Sequential:
    """Dense networks of one shape, (n_networks, n_rows, sizes[0]) to sizes[-1]."""
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(sizes):
        # The first biases spread the bends of the units over the range of standardised inputs.
        spread = 0.0 if layers else 0.5
        layers += [
            StackedLinear(n_networks, n_in, n_out, generator, gain, spread),
            ACTIVATIONS[activation](),
        ]
    return nn.Sequential(*layers[:-1])


class PosteriorMeanDenoisers(nn.Module):
    """What takes noise of each level best from rows that are one of some, all as likely.

    That is the mean of those rows in proportion to their likelihood (Alain and Bengio, 2014)::

        restore(x) = sum_i w_i rows_i,    w_i ~ exp(-|x - rows_i|^2 / (2 level^2))

    A row that is one of them is restored from the others: so new rows and they compare.
    """

    rows: Tensor  # (n_kept, n_features), standardised
    levels: Tensor  # (n_levels, 1, 1), in standard deviations of a feature

    def __init__(self, rows: Tensor, levels: tuple[float, ...]):
        super().__init__()
        self.register_buffer("rows", rows.nan_to_num())
        self.register_buffer("levels", _column(levels))

    def forward(self, x: Tensor) -> Tensor:
        """Standardised rows as each level gives them back, (n_levels, n_rows, n_features)."""
        squares = self.squared_distances(x)
        weights = ((squares / (-2 * level**2)).softmax(1) for level in self.levels)
        return torch.stack([weight.nan_to_num() @ self.rows for weight in weights])

    def squared_distances(self, x: Tensor) -> Tensor:
        """Of standardised rows from those that are kept, (n_rows, n_kept); inf from itself."""
        sizes = x.square().sum(1, keepdim=True) + self.rows.square().sum(1)
        squares = sizes - 2 * x @ self.rows.T
        is_itself = squares <= 100 * torch.finfo(x.dtype).eps * sizes
        return squares.masked_fill(is_itself, torch.inf)

    def nearest(self, x: Tensor) -> Tensor:
        """Which of the kept rows are next to each standardised row, (n_rows, n_neighbors)."""
        n_neighbors = min(N_NEIGHBORS, len(self.rows))
        return self.squared_distances(x).topk(n_neighbors, dim=1, largest=False).indices


class Denoisers(nn.Module):
    """All that take noise out of rows, and what they leave over."""

    shift: Tensor  # (n_features,)
    scale: Tensor  # (n_features,)
    levels: Tensor  # (n_networks, 1, 1): the noise of the networks, in standard deviations
    error_scale: Tensor  # (n_denoisers, 1, n_features): over the training rows; see `error_scale`
    kept_errors: Tensor  # (n_networks, n_kept): of the networks on the rows that are kept, if any

    def __init__(self, networks: nn.Module, levels: tuple[float, ...], units: Moments):
        super().__init__()
        self.networks = networks
        # A feature that never varied counts in units of its size.
        size = np.where(units.mean == 0, 1.0, np.abs(units.mean))
        scale = np.where(units.std > 0, units.std, size)
        self.register_buffer("shift", torch.from_numpy(units.mean))
        self.register_buffer("scale", torch.from_numpy(scale))
        self.register_buffer("levels", _column(levels))
        self.register_buffer("error_scale", torch.ones(len(levels), 1, len(scale)).double())
        self.register_buffer("kept_errors", torch.ones(len(levels), 0).double())
        self.exact: PosteriorMeanDenoisers | None = None  # until there are rows to keep

    def keep(self, x: Tensor, levels: tuple[float, ...]) -> None:
        """Restore by these rows, in the units of `X`, too, at each level."""
        standard = self.standard(x)
        self.exact = PosteriorMeanDenoisers(standard, levels).to(standard)
        self.error_scale = self.error_scale.new_ones(len(self.levels) + len(levels), 1, x.shape[1])
        self.kept_errors = self.kept_errors.new_ones(len(self.levels), len(x))

    def loss(self, x: Tensor, noise: Generator) -> Tensor:
        """How far rows that are restored from noise are off, summed over the networks, (n_rows,).

        Not squared, so that what is learned is less the work of the rows that are hardest to learn.
        """
        size, target = (len(self.levels), *x.shape), x.nan_to_num()
        shown = target + self.levels * torch.randn(size, generator=noise, device=x.device)
        left_over = torch.where(torch.isnan(x), 0.0, self.restore_by_networks(shown) - target)
        return (left_over.square().sum(2) + TINY).sqrt().sum(0)

    def restore_by_networks(self, x: Tensor) -> Tensor:
        """Standardised rows as each network gives them back, (n_networks, n_rows, n_features)."""
        return self.networks(x / (1 + self.levels.square()).sqrt())  # of variance one with noise

    def restore(self, x: Tensor) -> Tensor:
        """Standardised rows as each denoiser gives them back, (n_denoisers, n_rows, n_features)."""
        by_networks = self.restore_by_networks(x)
        return by_networks if self.exact is None else torch.cat([by_networks, self.exact(x)])

    def standard(self, x: Tensor) -> Tensor:
        """Rows in standard units."""
        return (x - self.shift) / self.scale

    def left_over(self, x: Tensor) -> Tensor:
        """What each denoiser does not give back of rows as they are; 0 where they are missing."""
        return self._left_over(x, self.restore)

    def _left_over(self, x: Tensor, restore: Callable[[Tensor], Tensor]) -> Tensor:
        standard = self.standard(x)
        return torch.where(torch.isnan(x), 0.0, standard - restore(standard.nan_to_num()))

    def errors(self, x: Tensor) -> Tensor:
        """How each feature adds to the mean error of the denoisers on a row, (n, n_features)."""
        squares = self._squares(self.left_over(x), x)
        error = squares.sum(2, keepdim=True).sqrt()
        shares = torch.where(error > 0, squares / error, 0.0)
        if self.exact is not None:
            shares[: len(self.levels)] /= self._usual_nearby(self.exact, x)[:, :, None]
        return shares.mean(0)

    def network_errors(self, x: Tensor) -> Tensor:
        """The error of each network on each row, wherever the row is, (n_networks, n_rows).

        The root mean square over the row's features of what is left over, in units of what usually
        is.
        """
        return self._squares(self._left_over(x, self.restore_by_networks), x).sum(2).sqrt()

    def _squares(self, left_over: Tensor, x: Tensor) -> Tensor:
        """Each feature's share of the squared errors of the first denoisers, as many as given."""
        squares = (left_over / self.error_scale[: len(left_over)]).square()
        return squares / (~torch.isnan(x)).sum(1, keepdim=True).clamp_min(1)

    def _usual_nearby(self, exact: PosteriorMeanDenoisers, x: Tensor) -> Tensor:
        """The mean error of each network on the kept rows next to each row, (n_networks, n_rows).

        Where usual rows are hard to restore, an error says less (Breunig et al., 2000).
        """
        errors = self.kept_errors[:, exact.nearest(self.standard(x).nan_to_num())].mean(2)
        return (errors + SOFTENING) / (1 + SOFTENING)


def error_scale(total: Tensor, count: Tensor, n_networks: int) -> Tensor:
    """What is usually left of each feature, from the sum of its squares over so many rows.

    An exact denoiser weighs rows by distances in which all features count alike, and so does its
    error: what it usually leaves over is one figure.
    """
    squares = total / count.clamp_min(1)
    squares[n_networks:] = total[n_networks:].sum(2, keepdim=True) / count.sum().clamp_min(1)
    return squares.sqrt().clamp_min(LEAST_USUAL_ERROR)


def _column(levels: tuple[float, ...]) -> Tensor:
    return torch.tensor(levels, dtype=torch.float64)[:, None, None]
