"""Standardisation of columns with missing cells."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class ColumnScaling(NamedTuple):
    """Mean and standard deviation of the observed cells of each column."""

    mean: np.ndarray  # (d,)
    std: np.ndarray  # (d,)
    # (2, d), the range of the observed cells in standard units; None is no limit
    ends: np.ndarray | None = None

    def standardize(self, cells: np.ndarray, missing: np.ndarray) -> Tensor:
        """Standardised cells; 0 where missing or in constant columns."""
        with np.errstate(over="ignore"):  # the caller limits cells to the range of `fit`
            centred = np.where(missing, self.mean, cells) - self.mean
            return torch.from_numpy(
                np.divide(centred, self.std, where=self.std > 0, out=np.zeros_like(centred))
            )

    def to_data_units(self, x: Tensor) -> np.ndarray:
        """Standardised cells in the units of the data."""
        return self.mean + self.std * x.numpy()

    def to_observed_range(self, x: Tensor) -> np.ndarray:
        """The same within the range of the observed cells, such as that of counts or shares."""
        if self.ends is None:
            return self.to_data_units(x)
        return np.clip(self.to_data_units(x), *_exact(self.mean + self.std * self.ends, self.std))

    def within(self, x: Tensor) -> "ColumnScaling":
        """The same scaling, with the part of the range that these standardised cells have."""
        own = np.stack([x.numpy().min(axis=0), x.numpy().max(axis=0)])
        return self._replace(ends=own if self.ends is None else own.clip(*self.ends))

    def inverse_std(self) -> np.ndarray:
        """One over the standard deviation of each column; 0 for constant columns."""
        return np.divide(1, self.std, where=self.std > 0, out=np.zeros_like(self.std))


def _exact(ends: np.ndarray, std: np.ndarray) -> np.ndarray:
    """Ends of ranges, without the rounding errors of integers."""
    whole = np.round(ends)
    return np.where(np.abs(ends - whole) <= 1e-12 * (std + np.abs(ends)), whole, ends)
