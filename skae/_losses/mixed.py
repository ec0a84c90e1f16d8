"""The loss of a table whose columns have different losses, and that of categories."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy import sparse
from torch import Generator, Tensor

from .._graph.graph import Graph
from .reconstruction import LOSSES, ReconstructionLoss, SquaredError


class CategoricalLoss(ReconstructionLoss):
    """Cross-entropy in nats of categories: -log p, p = softmax(raw).

    The columns are the indicators of one or several categorical features, each with `n_categories`
    columns that follow each other.
    """

    name = "categorical"
    description = "cross-entropy for categories"
    # A category that PCA excludes has this probability before softmax.
    margin = 1e-3

    def __init__(self, n_categories: int, n_features: int = 1):
        self.n_categories, self.n_features = n_categories, n_features

    def pointwise(self, raw: Tensor, x: Tensor) -> Tensor:
        return -x * self._log_probabilities(raw)

    def pointwise_minimum(self, x: Tensor) -> Tensor:
        return torch.special.entr(x.clamp(0, 1))

    def mean(self, raw: Tensor) -> Tensor:
        return self._log_probabilities(raw).exp()

    def link(self, mean: Tensor) -> Tensor:
        return mean.clamp_min(self.margin).log()

    def link_derivative(self, mean: Tensor) -> Tensor:
        return torch.where(mean < self.margin, 0.0, 1 / mean)

    def gradient(self, raw: Tensor, x: Tensor) -> Tensor:
        return self.mean(raw) - x

    def curvature(self, raw: Tensor, x: Tensor) -> Tensor:
        # The diagonal of the Fisher information; without the rest it is an upper bound.
        return self.mean(raw)

    def bilinear_terms(self, raw: Tensor) -> tuple[Tensor, Tensor] | None:
        return torch.zeros_like(raw), -self._log_probabilities(raw)

    def sample(self, raw: Tensor, log_scale: Tensor, rng: Generator) -> Tensor:
        # Gumbel's trick: the largest of raw + noise is distributed like softmax(raw).
        noise = torch.empty_like(raw).exponential_(generator=rng).log()
        noisy = self._by_feature(raw - noise)
        chosen = noisy.argmax(-1, keepdim=True)
        return torch.zeros_like(noisy).scatter_(-1, chosen, 1.0).flatten(-2)

    def pointwise_graph(self, graph: Graph, raw: str, x: str) -> str:
        negative = graph.add("Mul", x, -1.0)
        return graph.add("Mul", negative, self._log_probabilities_graph(graph, raw))

    def gradient_graph(self, graph: Graph, raw: str, x: str) -> str:
        return graph.add("Sub", self.mean_graph(graph, raw), x)

    def curvature_graph(self, graph: Graph, raw: str, x: str) -> str:
        return self.mean_graph(graph, raw)

    def mean_graph(self, graph: Graph, raw: str) -> str:
        return graph.add("Exp", self._log_probabilities_graph(graph, raw))

    def link_graph(self, graph: Graph, mean: str) -> str:
        return graph.add("Log", graph.add("Max", mean, self.margin))

    def link_derivative_graph(self, graph: Graph, mean: str) -> str:
        inside = graph.add("GreaterOrEqual", mean, self.margin)
        return graph.add("Where", inside, graph.add("Div", 1.0, mean), 0.0)

    def _by_feature(self, values: Tensor) -> Tensor:
        """Columns as features and their categories, (..., n_features, n_categories)."""
        return values.unflatten(-1, (-1, self.n_categories))

    def _log_probabilities(self, raw: Tensor) -> Tensor:
        return torch.log_softmax(self._by_feature(raw), -1).flatten(-2)

    def _log_probabilities_graph(self, graph: Graph, raw: str) -> str:
        by_feature = graph.add("Reshape", raw, np.array([-1, self.n_categories]))
        largest = graph.add("TopK", by_feature, np.array([1]), axis=1)
        shifted = graph.add("Sub", by_feature, largest)  # exp cannot overflow
        total = graph.add("ReduceSum", graph.add("Exp", shifted), np.array([1]), keepdims=1)
        by_feature = graph.add("Sub", shifted, graph.add("Log", total))
        return graph.add("Reshape", by_feature, np.array([-1, self.n_features * self.n_categories]))


class LossPart(NamedTuple):
    """Columns that follow each other and have one loss."""

    loss: ReconstructionLoss
    # An entry of X times its unit is a number for which the loss is defined: a count, an indicator.
    units: tuple[float, ...]  # one for each column

    @property
    def weight(self) -> float:
        """The factor that makes the loss a deviance: minus twice a log-likelihood."""
        return 1.0 if type(self.loss) is SquaredError else 2.0


class MixedLoss(ReconstructionLoss):
    """The deviance of rows whose columns have different losses.

    It is the sum over the columns of the squared error in standard deviations, and of twice each
    other loss. The factors are those with which all terms are minus twice a log-likelihood, up to
    a constant.
    """

    name = "mixed"
    description = "the sum of the deviances of columns with different losses"

    def __init__(self, parts: tuple[LossPart, ...]):
        self.parts = parts
        ends = np.cumsum([len(part.units) for part in parts]).tolist()
        self._slices = [slice(end - len(p.units), end) for end, p in zip(ends, parts, strict=True)]
        self._units = np.concatenate([part.units for part in parts])
        self._weights = np.concatenate([np.full(len(p.units), p.weight) for p in parts])

    def pointwise(self, raw: Tensor, x: Tensor) -> Tensor:
        return self._of_entries("pointwise", raw, x)

    def pointwise_minimum(self, x: Tensor) -> Tensor:
        return self._weighted(self._join("pointwise_minimum", self._in_units(x)))

    def mean(self, raw: Tensor) -> Tensor:
        return self._join("mean", raw) / raw.new_tensor(self._units)

    def link(self, mean: Tensor) -> Tensor:
        return self._join("link", self._in_units(mean))

    def link_derivative(self, mean: Tensor) -> Tensor:
        return self._in_units(self._join("link_derivative", self._in_units(mean)))

    def gradient(self, raw: Tensor, x: Tensor) -> Tensor:
        return self._of_entries("gradient", raw, x)

    def curvature(self, raw: Tensor, x: Tensor) -> Tensor:
        return self._of_entries("curvature", raw, x)

    def bilinear_terms(self, raw: Tensor) -> tuple[Tensor, Tensor] | None:
        terms = [part.loss.bilinear_terms(raw[..., s]) for part, s in self._parts()]
        if any(term is None for term in terms):
            return None
        constants, slopes = zip(*(term for term in terms if term is not None), strict=True)
        slope = self._in_units(self._weighted(torch.cat(slopes, -1)))
        return self._weighted(torch.cat(constants, -1)), slope

    def sample(self, raw: Tensor, log_scale: Tensor, rng: Generator) -> Tensor:
        samples = [part.loss.sample(raw[..., s], log_scale, rng) for part, s in self._parts()]
        return torch.cat(samples, -1) / raw.new_tensor(self._units)

    def negative_log_likelihood(self, raw: Tensor, x: Tensor, log_scale: Tensor) -> Tensor:
        """The negative log-likelihood of each row in nats; of numbers in standard deviations."""
        x = self._in_units(x)
        terms = [
            part.loss.negative_log_likelihood(raw[..., s], x[..., s], log_scale)
            for part, s in self._parts()
        ]
        return torch.stack(terms).sum(0)

    def negative_log_likelihood_graph(
        self, graph: Graph, raw: str, x: str, log_scale: float
    ) -> str:
        """Add the operations of `negative_log_likelihood` to a graph."""
        x = graph.add("Mul", x, self._units)
        total = None
        for part, columns in self._parts():
            index = np.arange(columns.start, columns.stop)
            selected = (graph.add("Gather", name, index, axis=1) for name in (raw, x))
            term = part.loss.negative_log_likelihood_graph(graph, *selected, log_scale)
            total = term if total is None else graph.add("Add", total, term)
        assert total is not None
        return total

    def check(self, X: Any) -> None:
        """Raise a ValueError if a loss is not defined for values of its columns; X may be CSR."""
        for part, columns in self._parts():
            if type(part.loss).check is not ReconstructionLoss.check:
                values = X[:, columns]
                values = values.toarray() if sparse.issparse(values) else values
                part.loss.check(values * np.array(part.units))

    def pointwise_graph(self, graph: Graph, raw: str, x: str) -> str:
        return self._of_entries_graph(graph, "pointwise", raw, x)

    def gradient_graph(self, graph: Graph, raw: str, x: str) -> str:
        return self._of_entries_graph(graph, "gradient", raw, x)

    def curvature_graph(self, graph: Graph, raw: str, x: str) -> str:
        return self._of_entries_graph(graph, "curvature", raw, x)

    def mean_graph(self, graph: Graph, raw: str) -> str:
        return graph.add("Div", self._join_graph(graph, "mean", raw), self._units)

    def link_graph(self, graph: Graph, mean: str) -> str:
        return self._join_graph(graph, "link", graph.add("Mul", mean, self._units))

    def link_derivative_graph(self, graph: Graph, mean: str) -> str:
        mean = graph.add("Mul", mean, self._units)
        return graph.add("Mul", self._join_graph(graph, "link_derivative", mean), self._units)

    def _parts(self) -> zip:
        return zip(self.parts, self._slices, strict=True)

    def _in_units(self, x: Tensor) -> Tensor:
        return x * x.new_tensor(self._units)

    def _weighted(self, values: Tensor) -> Tensor:
        return values * values.new_tensor(self._weights)

    def _of_entries(self, method: str, raw: Tensor, x: Tensor) -> Tensor:
        """A method of the losses for raw outputs and entries, with the weights of the parts."""
        return self._weighted(self._join(method, raw, self._in_units(x)))

    def _of_entries_graph(self, graph: Graph, method: str, raw: str, x: str) -> str:
        """Add the operations of `_of_entries` to a graph."""
        x = graph.add("Mul", x, self._units)
        return graph.add("Mul", self._join_graph(graph, method, raw, x), self._weights)

    def _join(self, method: str, *arguments: Tensor) -> Tensor:
        """The results of a method of the loss of each part, beside each other."""
        results = []
        for part, columns in self._parts():
            apply: Callable[..., Tensor] = getattr(part.loss, method)
            results.append(apply(*(argument[..., columns] for argument in arguments)))
        return torch.cat(results, -1)

    def _join_graph(self, graph: Graph, method: str, *arguments: str) -> str:
        """Add the operations of a method of the loss of each part to a graph."""
        results = []
        for part, columns in self._parts():
            index = np.arange(columns.start, columns.stop)
            apply: Callable[..., str] = getattr(part.loss, f"{method}_graph")
            selected = (graph.add("Gather", name, index, axis=1) for name in arguments)
            result = apply(graph, *selected)
            # A loss of a constant keeps the shape of the constant.
            results.append(graph.add("Reshape", result, np.array([-1, len(index)])))
        return graph.add("Concat", *results, axis=1)


def feature_of_columns(loss: ReconstructionLoss) -> Tensor | None:
    """The number of the feature of each column, or None if each column is a feature."""
    if not isinstance(loss, MixedLoss):
        return None
    features, n_features = [], 0
    for part in loss.parts:
        size = part.loss.n_categories if isinstance(part.loss, CategoricalLoss) else 1
        features.append(n_features + torch.arange(len(part.units)) // size)
        n_features += len(part.units) // size
    return torch.cat(features)


def describe_loss(loss: ReconstructionLoss) -> Any:
    """A loss as plain values, from which `loss_from` makes it again."""
    if isinstance(loss, MixedLoss):
        return [[describe_loss(part.loss), list(part.units)] for part in loss.parts]
    if isinstance(loss, CategoricalLoss):
        return loss.n_categories
    return next(name for name, known in LOSSES.items() if type(known) is type(loss))


def loss_from(description: Any) -> ReconstructionLoss:
    """The inverse of `describe_loss`."""
    if isinstance(description, str):
        return LOSSES[description]
    if isinstance(description, list):
        parts = tuple(LossPart(_part_from(loss, len(u)), tuple(u)) for loss, u in description)
        if not all(0 < unit < np.inf for part in parts for unit in part.units):
            raise ValueError("Units must be positive.")
        return MixedLoss(parts)
    raise ValueError(f"There is no loss {description!r}.")


def _part_from(description: Any, n_columns: int) -> ReconstructionLoss:
    if isinstance(description, str):
        return LOSSES[description]
    if type(description) is not int or description < 1 or n_columns % description:
        raise ValueError(f"There is no loss {description!r} of {n_columns} columns.")
    return CategoricalLoss(description, n_columns // description)
