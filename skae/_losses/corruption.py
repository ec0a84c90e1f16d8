"""Noise for denoising autoencoders, by name.

Each function returns the batch `x` with some entries changed. All chance comes from `noise`.
Missing entries (NaN) stay missing. Level zero changes no bit.
"""

from collections.abc import Callable

import torch
from torch import Generator, Tensor, nn


class Columns(nn.Module):
    """What is usual in each column, in the network's units, and how these relate to `X`."""

    zero: Tensor  # (n_features,): where `X` is zero
    low: Tensor  # (n_features,): the least value of the training rows
    high: Tensor  # (n_features,): the largest
    spread: Tensor  # one number: root mean square of the columns' standard deviations
    scale: Tensor  # one number: a unit of the network in those of `X`

    def __init__(self, zero: Tensor, low: Tensor, high: Tensor, spread: Tensor, scale: Tensor):
        super().__init__()
        self.register_buffer("zero", zero)
        self.register_buffer("low", low)
        self.register_buffer("high", high)
        self.register_buffer("spread", spread)
        self.register_buffer("scale", scale)

    def to_units_of_X(self, x: Tensor) -> Tensor:
        """A batch in the units of `X`, in memory of its own."""
        return (x - self.zero) * self.scale

    def from_units_of_X(self, x: Tensor) -> Tensor:
        """A batch in the network's units."""
        return x / self.scale + self.zero


def gaussian(x: Tensor, level: float, columns: Columns, noise: Generator) -> Tensor:
    """Add the same normal noise to all columns, of `level` times their overall spread."""
    return x + level * columns.spread * _like(x, noise, torch.randn)


def masking(x: Tensor, level: float, columns: Columns, noise: Generator) -> Tensor:
    """Set entries to what zero is in `X`, each with probability `level`."""
    return _replace(x, columns.zero.expand_as(x), level, noise)


def salt_and_pepper(x: Tensor, level: float, columns: Columns, noise: Generator) -> Tensor:
    """Set entries to the column's least or largest value, by a fair coin."""
    salt = _like(x, noise, torch.rand) < 0.5
    return _replace(x, torch.where(salt, columns.high, columns.low), level, noise)


def swap(x: Tensor, level: float, columns: Columns, noise: Generator) -> Tensor:
    """Take entries from other rows of the batch; a missing one is no replacement.

    Each column is shifted against the rows by an amount of its own, so that level one permutes it.
    """
    n_rows, n_features = x.shape
    if n_rows < 2:
        return x
    shift = torch.randint(1, n_rows, (n_features,), generator=noise, device=x.device)
    rows = torch.arange(n_rows, device=x.device)[:, None]
    other = x.gather(0, (rows + shift) % n_rows)
    return _replace(x, torch.where(other.isnan(), x, other), level, noise)


def _replace(x: Tensor, value: Tensor, level: float, noise: Generator) -> Tensor:
    """`value` with probability `level`, except where `x` is missing."""
    replaced = (_like(x, noise, torch.rand) < level) & ~x.isnan()
    return torch.where(replaced, value, x)


def _like(x: Tensor, noise: Generator, draw: Callable[..., Tensor]) -> Tensor:
    return draw(x.shape, generator=noise, dtype=x.dtype, device=x.device)


CORRUPTIONS: dict[str, Callable[[Tensor, float, Columns, Generator], Tensor]] = {
    "gaussian": gaussian,
    "masking": masking,
    "salt_and_pepper": salt_and_pepper,
    "swap": swap,
}
