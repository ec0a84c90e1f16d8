"""Reconstruction losses, by name.

A loss defines all that depends on it: the loss of an entry, the reconstruction for an output of the
decoder (the inverse link), the link, the likelihood, and the ONNX operations for export. To add a
loss, add a class here and list it in `LOSSES`.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Generator, Tensor
from torch.nn.functional import softplus

from .._graph.graph import Graph
from .._graph.special_functions import log_factorial


class ReconstructionLoss(ABC):
    """Base class of losses: functions of an entry and of the decoder's output.

    `raw` is the output of the decoder, and `x` are the rows, both of shape (n_samples, n_features).
    `raw` is a logit for the log loss, and the logarithm of a rate for the Poisson loss. NaN in `x`
    is a missing value; `loss`, `deviance` and `negative_log_likelihood` leave it out.
    """

    name: ClassVar[str]
    description: ClassVar[str]  # for the documentation of the parameter `loss`

    # The power of the scale by which the loss grows when X and raw are both shifted and scaled;
    # such a loss is trained in standard units. Zero: the loss depends on the units of X.
    degree: ClassVar[int] = 0

    @abstractmethod
    def pointwise(self, raw: Tensor, x: Tensor) -> Tensor:
        """The loss of each entry."""

    @abstractmethod
    def pointwise_minimum(self, x: Tensor) -> Tensor:
        """The loss of a perfect reconstruction of each entry."""

    @abstractmethod
    def mean(self, raw: Tensor) -> Tensor:
        """The reconstruction, in the units of `X`, that belongs to an output of the decoder."""

    @abstractmethod
    def link(self, mean: Tensor) -> Tensor:
        """The inverse function of `mean`. Values outside its domain are clipped."""

    @abstractmethod
    def link_derivative(self, mean: Tensor) -> Tensor:
        """The derivative of `link`; zero for clipped values."""

    @abstractmethod
    def gradient(self, raw: Tensor, x: Tensor) -> Tensor:
        """The derivative of the loss of each entry with respect to the decoder's output."""

    @abstractmethod
    def curvature(self, raw: Tensor, x: Tensor) -> Tensor:
        """The weight of each entry in a projection step: the Fisher information of the loss."""

    @abstractmethod
    def bilinear_terms(self, raw: Tensor) -> tuple[Tensor, Tensor] | None:
        """The tensors a and b of a loss of the form ``a + b * x + c(x)``."""

    @abstractmethod
    def sample(self, raw: Tensor, log_scale: Tensor, rng: Generator) -> Tensor:
        """Draw rows from the likelihood of the loss."""

    @abstractmethod
    def pointwise_graph(self, graph: Graph, raw: str, x: str) -> str:
        """Add the operations of `pointwise` to a graph."""

    @abstractmethod
    def gradient_graph(self, graph: Graph, raw: str, x: str) -> str:
        """Add the operations of `gradient` to a graph."""

    @abstractmethod
    def curvature_graph(self, graph: Graph, raw: str, x: str) -> str:
        """Add the operations of `curvature` to a graph."""

    @abstractmethod
    def mean_graph(self, graph: Graph, raw: str) -> str:
        """Add the operations of `mean` to a graph."""

    @abstractmethod
    def link_graph(self, graph: Graph, mean: str) -> str:
        """Add the operations of `link` to a graph."""

    @abstractmethod
    def link_derivative_graph(self, graph: Graph, mean: str) -> str:
        """Add the operations of `link_derivative` to a graph."""

    def negative_log_likelihood(self, raw: Tensor, x: Tensor, log_scale: Tensor) -> Tensor:
        """The negative log-likelihood of each row in nats, (n_samples,); `loss` by default."""
        return self.loss(raw, x)

    def negative_log_likelihood_graph(
        self, graph: Graph, raw: str, x: str, log_scale: float
    ) -> str:
        """Add the operations of `negative_log_likelihood` to a graph."""
        return self.loss_graph(graph, raw, x)

    def check(self, X: np.ndarray | Tensor) -> None:
        """Raise a ValueError if the loss is not defined for values of `X`. NaN is allowed."""

    def loss(self, raw: Tensor, x: Tensor) -> Tensor:
        """The loss of each row, shape (n_samples,), summed over its observed entries."""
        return _sum_observed(self.pointwise, raw, x)

    def loss_graph(self, graph: Graph, raw: str, x: str) -> str:
        """Add the operations of `loss` to a graph."""
        pointwise = self.pointwise_graph(graph, raw, graph.zero_where_missing(x, x))
        return graph.sum_columns(graph.zero_where_missing(x, pointwise))

    def deviance(self, raw: Tensor, x: Tensor) -> Tensor:
        """The loss of each row minus that of a perfect reconstruction, (n_samples,)."""
        return _sum_observed(
            lambda raw, x: self.pointwise(raw, x) - self.pointwise_minimum(x), raw, x
        )


def _sum_observed(pointwise: Callable[[Tensor, Tensor], Tensor], raw: Tensor, x: Tensor) -> Tensor:
    # The inner nan_to_num is needed: `where` alone would still propagate NaN into the gradient.
    return torch.where(torch.isnan(x), 0.0, pointwise(raw, torch.nan_to_num(x))).sum(1)


class SquaredError(ReconstructionLoss):
    """Squared error (x - raw)^2, the loss of PCA; the likelihood is normal."""

    name = "squared_error"
    description = "squared error, as for PCA"
    degree = 2
    # The density is exp(-|x - raw|^degree / (degree scale^degree)) / (e^log_volume scale).
    log_volume: ClassVar[float] = math.log(2 * math.pi) / 2

    def pointwise(self, raw: Tensor, x: Tensor) -> Tensor:
        return (x - raw).square()

    def pointwise_minimum(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x)

    def mean(self, raw: Tensor) -> Tensor:
        return raw

    def link(self, mean: Tensor) -> Tensor:
        return mean

    def link_derivative(self, mean: Tensor) -> Tensor:
        return torch.ones_like(mean)

    def gradient(self, raw: Tensor, x: Tensor) -> Tensor:
        return 2 * (raw - x)

    def curvature(self, raw: Tensor, x: Tensor) -> Tensor:
        return torch.full_like(raw, 2.0)

    def bilinear_terms(self, raw: Tensor) -> tuple[Tensor, Tensor] | None:
        return raw.square(), -2 * raw

    def negative_log_likelihood(self, raw: Tensor, x: Tensor, log_scale: Tensor) -> Tensor:
        n_observed = (~torch.isnan(x)).sum(1)
        standardized = self.loss(raw, x) / (self.degree * (self.degree * log_scale).exp())
        return standardized + n_observed * (log_scale + self.log_volume)

    def sample(self, raw: Tensor, log_scale: Tensor, rng: Generator) -> Tensor:
        return raw + log_scale.exp() * torch.empty_like(raw).normal_(generator=rng)

    def pointwise_graph(self, graph: Graph, raw: str, x: str) -> str:
        error = graph.add("Sub", x, raw)
        return graph.add("Mul", error, error)

    def gradient_graph(self, graph: Graph, raw: str, x: str) -> str:
        return graph.add("Mul", graph.add("Sub", raw, x), 2.0)

    def curvature_graph(self, graph: Graph, raw: str, x: str) -> str:
        return graph.add("Add", graph.add("Mul", raw, 0.0), 2.0)

    def mean_graph(self, graph: Graph, raw: str) -> str:
        return raw

    def link_graph(self, graph: Graph, mean: str) -> str:
        return mean

    def link_derivative_graph(self, graph: Graph, mean: str) -> str:
        return graph.add("Add", graph.add("Mul", mean, 0.0), 1.0)

    def negative_log_likelihood_graph(
        self, graph: Graph, raw: str, x: str, log_scale: float
    ) -> str:
        factor = self.degree * math.exp(self.degree * log_scale)
        standardized = graph.add("Div", self.loss_graph(graph, raw, x), factor)
        n_observed = graph.count_observed(x)
        constant = graph.add("Mul", n_observed, log_scale + self.log_volume)
        return graph.add("Add", standardized, constant)


class AbsoluteError(SquaredError):
    """Absolute error ``|x - raw|``; the likelihood is a Laplace distribution."""

    name = "absolute_error"
    description = "absolute error, which is less sensitive to outlying entries"
    degree = 1
    log_volume = math.log(2)
    # Smaller residuals, in standard units, have the curvature of this one.
    min_residual: ClassVar[float] = 1e-3

    def pointwise(self, raw: Tensor, x: Tensor) -> Tensor:
        return (x - raw).abs()

    def gradient(self, raw: Tensor, x: Tensor) -> Tensor:
        return (raw - x).sign()

    def curvature(self, raw: Tensor, x: Tensor) -> Tensor:
        return (x - raw).abs().clamp_min(self.min_residual).reciprocal()

    def bilinear_terms(self, raw: Tensor) -> None:
        return None

    def sample(self, raw: Tensor, log_scale: Tensor, rng: Generator) -> Tensor:
        above, below = (torch.empty_like(raw).exponential_(generator=rng) for _ in range(2))
        return raw + log_scale.exp() * (above - below)

    def pointwise_graph(self, graph: Graph, raw: str, x: str) -> str:
        return graph.add("Abs", graph.add("Sub", x, raw))

    def gradient_graph(self, graph: Graph, raw: str, x: str) -> str:
        return graph.add("Sign", graph.add("Sub", raw, x))

    def curvature_graph(self, graph: Graph, raw: str, x: str) -> str:
        size = graph.add("Abs", graph.add("Sub", x, raw))
        return graph.add("Div", 1.0, graph.add("Max", size, self.min_residual))


class LogLoss(ReconstructionLoss):
    """Binary cross-entropy in nats: -x log p - (1 - x) log(1 - p), p = sigmoid(raw)."""

    name = "log_loss"
    description = "binary cross-entropy for data in [0, 1]"
    # logit(0.001) = -6.9 is low enough for a constant pixel, and still has a gradient.
    margin: ClassVar[float] = 1e-3

    def pointwise(self, raw: Tensor, x: Tensor) -> Tensor:
        return softplus(raw) - x * raw

    def pointwise_minimum(self, x: Tensor) -> Tensor:
        return torch.special.entr(torch.stack([x, 1 - x]).clamp(0, 1)).sum(0)

    def mean(self, raw: Tensor) -> Tensor:
        return torch.sigmoid(raw)

    def link(self, mean: Tensor) -> Tensor:
        return torch.logit(mean, eps=self.margin)

    def link_derivative(self, mean: Tensor) -> Tensor:
        clipped = (mean < self.margin) | (mean > 1 - self.margin)
        return torch.where(clipped, 0.0, 1 / (mean * (1 - mean)))

    def gradient(self, raw: Tensor, x: Tensor) -> Tensor:
        return torch.sigmoid(raw) - x

    def curvature(self, raw: Tensor, x: Tensor) -> Tensor:
        p = torch.sigmoid(raw)
        return p * (1 - p)

    def bilinear_terms(self, raw: Tensor) -> tuple[Tensor, Tensor] | None:
        return softplus(raw), -raw

    def sample(self, raw: Tensor, log_scale: Tensor, rng: Generator) -> Tensor:
        return torch.bernoulli(self.mean(raw), generator=rng)

    def check(self, X: np.ndarray | Tensor) -> None:
        low, high = _range(X)
        if low < -1e-6 or high > 1 + 1e-6:  # MinMaxScaler rounds to 1 + 2e-16
            raise ValueError(
                f"`loss='log_loss'` needs X in [0, 1], got values from {low:g} to {high:g}; scale "
                "X to [0, 1] (as MinMaxScaler does) or use loss='squared_error'."
            )

    def pointwise_graph(self, graph: Graph, raw: str, x: str) -> str:
        # softplus(raw) - x raw, in a form in which exp cannot overflow.
        decay = graph.add("Exp", graph.add("Mul", graph.add("Abs", raw), -1.0))
        correction = graph.add("Log", graph.add("Add", decay, 1.0))
        softplus = graph.add("Add", graph.add("Relu", raw), correction)
        return graph.add("Sub", softplus, graph.add("Mul", x, raw))

    def gradient_graph(self, graph: Graph, raw: str, x: str) -> str:
        return graph.add("Sub", graph.add("Sigmoid", raw), x)

    def curvature_graph(self, graph: Graph, raw: str, x: str) -> str:
        p = graph.add("Sigmoid", raw)
        return graph.add("Mul", p, graph.add("Sub", 1.0, p))

    def mean_graph(self, graph: Graph, raw: str) -> str:
        return graph.add("Sigmoid", raw)

    def link_graph(self, graph: Graph, mean: str) -> str:
        share = graph.add("Clip", mean, self.margin, 1 - self.margin)
        return graph.add("Log", graph.add("Div", share, graph.add("Sub", 1.0, share)))

    def link_derivative_graph(self, graph: Graph, mean: str) -> str:
        rest = graph.add("Sub", 1.0, mean)
        smaller = graph.add("Min", mean, rest)
        inside = graph.add("GreaterOrEqual", smaller, self.margin)
        return graph.add("Where", inside, graph.add("Div", 1.0, graph.add("Mul", mean, rest)), 0.0)


class Poisson(ReconstructionLoss):
    """Negative log-likelihood in nats: rate - x log(rate) + log(x!), rate = exp(raw)."""

    name = "poisson"
    description = "Poisson deviance for counts"
    margin: ClassVar[float] = 1e-3

    def pointwise(self, raw: Tensor, x: Tensor) -> Tensor:
        return raw.exp() - x * raw + torch.lgamma(x + 1)

    def pointwise_minimum(self, x: Tensor) -> Tensor:
        return x - torch.xlogy(x, x) + torch.lgamma(x + 1)

    def mean(self, raw: Tensor) -> Tensor:
        return raw.exp()

    def link(self, mean: Tensor) -> Tensor:
        return mean.clamp_min(self.margin).log()

    def link_derivative(self, mean: Tensor) -> Tensor:
        return torch.where(mean < self.margin, 0.0, 1 / mean)

    def gradient(self, raw: Tensor, x: Tensor) -> Tensor:
        return raw.exp() - x

    def curvature(self, raw: Tensor, x: Tensor) -> Tensor:
        return raw.exp()

    def bilinear_terms(self, raw: Tensor) -> tuple[Tensor, Tensor] | None:
        return raw.exp(), -raw

    def sample(self, raw: Tensor, log_scale: Tensor, rng: Generator) -> Tensor:
        return torch.poisson(self.mean(raw), generator=rng)

    def check(self, X: np.ndarray | Tensor) -> None:
        low, _ = _range(X)
        if low < 0:
            raise ValueError(
                f"`loss='poisson'` needs counts, X >= 0, got a minimum of {low:g}; use "
                "loss='squared_error' for data of either sign."
            )

    def pointwise_graph(self, graph: Graph, raw: str, x: str) -> str:
        rate = graph.add("Sub", graph.add("Exp", raw), graph.add("Mul", x, raw))
        return graph.add("Add", rate, log_factorial(graph, x))

    def gradient_graph(self, graph: Graph, raw: str, x: str) -> str:
        return graph.add("Sub", graph.add("Exp", raw), x)

    def curvature_graph(self, graph: Graph, raw: str, x: str) -> str:
        return graph.add("Exp", raw)

    def mean_graph(self, graph: Graph, raw: str) -> str:
        return graph.add("Exp", raw)

    def link_graph(self, graph: Graph, mean: str) -> str:
        return graph.add("Log", graph.add("Max", mean, self.margin))

    def link_derivative_graph(self, graph: Graph, mean: str) -> str:
        inside = graph.add("GreaterOrEqual", mean, self.margin)
        return graph.add("Where", inside, graph.add("Div", 1.0, mean), 0.0)


def loss_of_link(link: Callable[[Tensor], Tensor]) -> ReconstructionLoss:
    """The loss whose method `link` is."""
    method: Any = link
    return method.__self__


def _range(X: np.ndarray | Tensor) -> tuple[float, float]:
    if isinstance(X, Tensor):
        missing = X.isnan()
        low, high = X.masked_fill(missing, torch.inf).amin(), X.masked_fill(missing, -torch.inf)
        return low.item(), high.amax().item()
    # fmin and fmax ignore NaN, without a warning where all values are NaN.
    low, high = (f.reduce(X, axis=None, initial=np.nan) for f in (np.fmin, np.fmax))
    return float(low), float(high)


# For type checkers, which do not see the keys of a dictionary.
LossName = Literal["squared_error", "absolute_error", "log_loss", "poisson"]

LOSSES: dict[str, ReconstructionLoss] = {
    loss.name: loss for loss in (SquaredError(), AbsoluteError(), LogLoss(), Poisson())
}


def describe_losses() -> str:
    """The descriptions of all losses, for the documentation of the parameter `loss`."""
    return "; ".join(loss.description for loss in LOSSES.values())
