"""The evidence of held-out rows that a trained network is better than its initial weights."""

import math
from collections.abc import Callable
from typing import NamedTuple

from scipy.special import ndtr, stdtrit
from torch import Tensor


class Acceptance(NamedTuple):
    """The required decrease of held-out errors, and the factors by which networks are multiplied.

    There are few held-out rows, and in unscaled data a few of them account for most of the error,
    so that the mean error alone is unreliable. The relative change of each row is in [-1, 1]: its
    mean is reliable, but insensitive to these few rows. Both must be larger than these numbers of
    standard errors; with few rows, or groups of rows, more are needed for the same evidence.

    A factor multiplies the networks that are added to PCA: zero is PCA, one is the network as
    trained. An overfitted network is often better than PCA with a factor below one. The factors are
    tried in this order, until one has no larger lower limit than the factor before.
    """

    min_mean_gain: float = 2.0
    min_relative_gain: float = 3.0
    factors: tuple[float, ...] = (1.0,)

    def best_factor(self, errors: Callable[[float], Tensor], before: Tensor) -> float:
        """The factor with the largest lower limit of the gain; zero if none has the evidence.

        Parameters
        ----------
        errors : callable
            ``errors(factor)`` is the error of each held-out row.
        before : Tensor of shape (n_held_out,)
            The errors with the initial weights.

        Returns
        -------
        factor : float
        """
        best, highest = 0.0, -math.inf
        min_mean_gain = quantile_of_t(self.min_mean_gain, len(before))
        min_relative_gain = quantile_of_t(self.min_relative_gain, len(before))
        for factor in self.factors if len(before) > 1 else ():
            gain, relative = gains(errors(factor), before)
            mean_gain, relative_gain = in_standard_errors(gain), in_standard_errors(relative)
            if mean_gain > min_mean_gain and relative_gain > min_relative_gain:
                # The mean minus its standard error.
                lower_limit = gain.mean().item() * (1 - 1 / mean_gain)
                if lower_limit <= highest:
                    break  # the gain is about a quadratic function of the factor
                best, highest = factor, lower_limit
        return best


def gains(after: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
    """The decrease of the error of each row, absolute and relative to its errors."""
    gain = before - after
    return gain, gain / (before + after).clamp_min(1e-30)


def quantile_of_t(n_standard_errors: float, n: int) -> float:
    """The quantile of Student's t, for a mean of n values, that is as probable as a normal one."""
    return float(stdtrit(max(n - 1, 1), ndtr(n_standard_errors)))


def in_standard_errors(change: Tensor) -> float:
    """The mean of a change of each row over its standard error."""
    return (change.mean() / (change.std() / math.sqrt(len(change))).clamp_min(1e-30)).item()
