"""Standardisation of columns with missing cells."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class ColumnScaling(NamedTuple):
    """Mean and standard deviation of the observed cells of each column."""

    mean: np.ndarray  # (d,)
    std: np.ndarray  # (d,)

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

    def inverse_std(self) -> np.ndarray:
        """One over the standard deviation of each column; 0 for constant columns."""
        return np.divide(1, self.std, where=self.std > 0, out=np.zeros_like(self.std))
