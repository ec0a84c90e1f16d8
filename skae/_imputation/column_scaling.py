"""Standardisation of columns with missing cells."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class ColumnScaling(NamedTuple):
    """Mean, standard deviation and range of the observed cells of each column."""

    mean: np.ndarray  # (d,)
    std: np.ndarray  # (d,)
    ends: np.ndarray  # (2, d), lowest and highest, in the units of the data

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
        return np.clip(self.to_data_units(x), *self.ends)

    def standardized_ends(self) -> tuple[Tensor, Tensor]:
        """The range of the observed cells in standard units."""
        low, high = self.standardize(self.ends, np.zeros(self.ends.shape, dtype=bool))
        return low, high

    def within(self, x: Tensor) -> "ColumnScaling":
        """The same scaling, with the part of the range that these standardised cells have."""
        cells = self.to_observed_range(x)
        return self._replace(ends=np.stack([cells.min(axis=0), cells.max(axis=0)]))

    def of_standardized(self) -> "ColumnScaling":
        """The scaling of standardised cells, which leaves them as they are."""
        ends = torch.stack(self.standardized_ends()).numpy()
        return ColumnScaling(np.zeros_like(self.mean), (self.std > 0).astype(float), ends)

    def inverse_std(self) -> np.ndarray:
        """One over the standard deviation of each column; 0 for constant columns."""
        return np.divide(1, self.std, where=self.std > 0, out=np.zeros_like(self.std))
