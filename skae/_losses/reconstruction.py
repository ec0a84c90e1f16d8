"""What a reconstruction costs, and its inverse link, by name.

The decoder's *raw* output is a location (squared and absolute error), a logit (log loss) or a
log-rate (Poisson). One object owns both the charge of a raw output and the mean that it stands
for, so the two cannot disagree.
"""

import math
from abc import ABC, abstractmethod

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import softplus


class ReconstructionLoss(ABC):
    """The charge of a raw output against the observed value, entry by entry and row by row."""

    # The power of the scale by which the charge grows when X and raw are both shifted and scaled;
    # such a loss is trained in standard units. Zero: the loss is tied to the units of X.
    degree = 0

    @abstractmethod
    def pointwise(self, raw: Tensor, x: Tensor) -> Tensor:
        """The charge of each entry."""

    @abstractmethod
    def lowest(self, x: Tensor) -> Tensor:
        """The charge of a perfect reconstruction of each entry."""

    @abstractmethod
    def mean(self, raw: Tensor) -> Tensor:
        """The reconstruction, in the units of `X`, that a raw output stands for."""

    @abstractmethod
    def link(self, mean: Tensor) -> Tensor:
        """The raw output that stands for a reconstruction; values out of range are clipped."""

    @abstractmethod
    def draw(self, raw: Tensor, log_scale: Tensor, noise: torch.Generator) -> Tensor:
        """Rows from the likelihood that belongs to the loss."""

    def negative_log_likelihood(self, raw: Tensor, x: Tensor, log_scale: Tensor) -> Tensor:
        """The same for each row, in nats, shape (n_samples,); here the loss is one already."""
        return self.loss(raw, x)

    def check(self, X: np.ndarray | Tensor) -> None:
        """Raise a ValueError if values of `X` (NaN aside) cannot have this loss."""

    def loss(self, raw: Tensor, x: Tensor) -> Tensor:
        """The charge of each row, shape (n_samples,), summed over its observed entries."""
        return _sum_observed(self.pointwise, raw, x)

    def deviance(self, raw: Tensor, x: Tensor) -> Tensor:
        """The charge of each row above that of a perfect reconstruction, shape (n_samples,)."""
        return _sum_observed(lambda raw, x: self.pointwise(raw, x) - self.lowest(x), raw, x)


def _sum_observed(pointwise, raw: Tensor, x: Tensor) -> Tensor:
    # The inner nan_to_num matters: `where` alone would still pass NaN back through the gradient.
    return torch.where(torch.isnan(x), 0.0, pointwise(raw, torch.nan_to_num(x))).sum(1)


class SquaredError(ReconstructionLoss):
    """(x - raw)^2, as PCA measures it; its likelihood is the normal one."""

    degree = 2
    # The density is exp(-|x - raw|^degree / (degree scale^degree)) over e^log_volume times scale.
    log_volume = math.log(2 * math.pi) / 2

    def pointwise(self, raw: Tensor, x: Tensor) -> Tensor:
        return (x - raw).square()

    def lowest(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x)

    def mean(self, raw: Tensor) -> Tensor:
        return raw

    def link(self, mean: Tensor) -> Tensor:
        return mean

    def negative_log_likelihood(self, raw: Tensor, x: Tensor, log_scale: Tensor) -> Tensor:
        n_observed = (~torch.isnan(x)).sum(1)
        standard = self.loss(raw, x) / (self.degree * (self.degree * log_scale).exp())
        return standard + n_observed * (log_scale + self.log_volume)

    def draw(self, raw: Tensor, log_scale: Tensor, noise: torch.Generator) -> Tensor:
        return raw + log_scale.exp() * torch.empty_like(raw).normal_(generator=noise)


class AbsoluteError(SquaredError):
    """|x - raw|: forgives outlying entries; its likelihood is Laplace's."""

    degree = 1
    log_volume = math.log(2)

    def pointwise(self, raw: Tensor, x: Tensor) -> Tensor:
        return (x - raw).abs()

    def draw(self, raw: Tensor, log_scale: Tensor, noise: torch.Generator) -> Tensor:
        above, below = (torch.empty_like(raw).exponential_(generator=noise) for _ in range(2))
        return raw + log_scale.exp() * (above - below)


class LogLoss(ReconstructionLoss):
    """Binary cross-entropy, -x log p - (1 - x) log(1 - p) with p = sigmoid(raw), in nats."""

    # logit(0.001) = -6.9: sure enough for a constant pixel, and a gradient remains.
    margin = 1e-3

    def pointwise(self, raw: Tensor, x: Tensor) -> Tensor:
        return softplus(raw) - x * raw

    def lowest(self, x: Tensor) -> Tensor:
        return torch.special.entr(x) + torch.special.entr(1 - x)

    def mean(self, raw: Tensor) -> Tensor:
        return torch.sigmoid(raw)

    def link(self, mean: Tensor) -> Tensor:
        return torch.logit(mean, eps=self.margin)

    def draw(self, raw: Tensor, log_scale: Tensor, noise: torch.Generator) -> Tensor:
        return torch.bernoulli(self.mean(raw), generator=noise)

    def check(self, X: np.ndarray | Tensor) -> None:
        low, high = _range(X)
        if low < 0 or high > 1:
            raise ValueError(
                f"`loss='log_loss'` needs X in [0, 1], got values from {low:g} to {high:g}; scale "
                "X to [0, 1] (as MinMaxScaler does) or use loss='squared_error'."
            )


class Poisson(ReconstructionLoss):
    """Negative log-likelihood, rate - x log(rate) + log(x!) with rate = exp(raw), in nats."""

    margin = 1e-3

    def pointwise(self, raw: Tensor, x: Tensor) -> Tensor:
        return raw.exp() - x * raw + torch.lgamma(x + 1)

    def lowest(self, x: Tensor) -> Tensor:
        return x - torch.xlogy(x, x) + torch.lgamma(x + 1)

    def mean(self, raw: Tensor) -> Tensor:
        return raw.exp()

    def link(self, mean: Tensor) -> Tensor:
        return mean.clamp_min(self.margin).log()

    def draw(self, raw: Tensor, log_scale: Tensor, noise: torch.Generator) -> Tensor:
        return torch.poisson(self.mean(raw), generator=noise)

    def check(self, X: np.ndarray | Tensor) -> None:
        low, _ = _range(X)
        if low < 0:
            raise ValueError(
                f"`loss='poisson'` needs counts, X >= 0, got a minimum of {low:g}; use "
                "loss='squared_error' for data of either sign."
            )


def _range(X: np.ndarray | Tensor) -> tuple[float, float]:
    if isinstance(X, Tensor):
        missing = X.isnan()
        low, high = X.masked_fill(missing, torch.inf).amin(), X.masked_fill(missing, -torch.inf)
        return low.item(), high.amax().item()
    # fmin and fmax pass over NaN, without a warning when there is nothing else.
    low, high = (f.reduce(X, axis=None, initial=np.nan) for f in (np.fmin, np.fmax))
    return float(low), float(high)


LOSSES: dict[str, ReconstructionLoss] = {
    "squared_error": SquaredError(),
    "absolute_error": AbsoluteError(),
    "log_loss": LogLoss(),
    "poisson": Poisson(),
}
