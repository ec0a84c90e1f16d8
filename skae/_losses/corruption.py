"""Corruptions for denoising autoencoders, by name.

Each function returns the batch `x` with some entries changed, with random numbers from `rng`.
Missing entries (NaN) stay missing. At level zero the result is bitwise identical to `x`.
"""

from collections.abc import Callable

import torch
from torch import Generator, Tensor, nn


class ColumnStatistics(nn.Module):
    """Statistics of the columns in the network's units, and their relation to `X`."""

    zero: Tensor  # (n_features,): where `X` is zero
    minimum: Tensor  # (n_features,): over the training rows
    maximum: Tensor  # (n_features,)
    rms_std: Tensor  # one number: root mean square of the columns' standard deviations
    scale: Tensor  # one number: the network's unit in units of `X`
    # (n_features,): the feature of each column, if categories have several columns. Entries of a
    # row that belong to one feature are replaced together.
    feature: Tensor | None

    def __init__(
        self,
        zero: Tensor,
        minimum: Tensor,
        maximum: Tensor,
        rms_std: Tensor,
        scale: Tensor,
        feature: Tensor | None = None,
    ):
        super().__init__()
        self.register_buffer("zero", zero)
        self.register_buffer("minimum", minimum)
        self.register_buffer("maximum", maximum)
        self.register_buffer("rms_std", rms_std)
        self.register_buffer("scale", scale)
        self.register_buffer("feature", feature)

    def to_units_of_X(self, x: Tensor) -> Tensor:
        """A batch in the units of `X`, as a copy."""
        return (x - self.zero) * self.scale

    def from_units_of_X(self, x: Tensor) -> Tensor:
        """A batch in the network's units."""
        return x / self.scale + self.zero


def gaussian(x: Tensor, level: float, columns: ColumnStatistics, rng: Generator) -> Tensor:
    """Add normal noise of `level` times the overall standard deviation."""
    return x + level * columns.rms_std * _random_like(x, rng, torch.randn)


def masking(x: Tensor, level: float, columns: ColumnStatistics, rng: Generator) -> Tensor:
    """Set entries to the zero of `X`, each with probability `level`."""
    return _replace(x, columns.zero.expand_as(x), level, columns, rng)


def salt_and_pepper(x: Tensor, level: float, columns: ColumnStatistics, rng: Generator) -> Tensor:
    """Set entries to the column's minimum or maximum, with equal probability."""
    salt = _random_like(x, rng, torch.rand) < 0.5
    return _replace(x, torch.where(salt, columns.maximum, columns.minimum), level, columns, rng)


def swap(x: Tensor, level: float, columns: ColumnStatistics, rng: Generator) -> Tensor:
    """Replace entries by those of other rows of the batch, unless these are missing.

    Each feature is shifted against the rows by a random number of rows, so that level one permutes
    it.
    """
    n_rows, n_features = x.shape
    if n_rows < 2:
        return x
    shift = torch.randint(1, n_rows, (n_features,), generator=rng, device=x.device)
    if columns.feature is not None:
        shift = shift[columns.feature]
    rows = torch.arange(n_rows, device=x.device)[:, None]
    other = x.gather(0, (rows + shift) % n_rows)
    return _replace(x, torch.where(other.isnan(), x, other), level, columns, rng)


def _replace(
    x: Tensor, value: Tensor, level: float, columns: ColumnStatistics, rng: Generator
) -> Tensor:
    """`value` with probability `level`, except where `x` is missing."""
    chosen = _random_like(x, rng, torch.rand) < level
    if columns.feature is not None:
        chosen = chosen[:, columns.feature]
    replaced = chosen & ~x.isnan()
    return torch.where(replaced, value, x)


def _random_like(x: Tensor, rng: Generator, distribution: Callable[..., Tensor]) -> Tensor:
    return distribution(x.shape, generator=rng, dtype=x.dtype, device=x.device)


CORRUPTIONS: dict[str, Callable[[Tensor, float, ColumnStatistics, Generator], Tensor]] = {
    "gaussian": gaussian,
    "masking": masking,
    "salt_and_pepper": salt_and_pepper,
    "swap": swap,
}
