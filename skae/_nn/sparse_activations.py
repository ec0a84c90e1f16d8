"""Activations of sparse codes: which units are active in a row, and penalties."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from .._graph.graph import Graph
from .layers import LAYERS, LayerForms

# "topk" starts with so many times the active units; their number decreases over so many steps, or a
# third of all steps (Makhzani and Frey, 2014). With few active units from the start, units that are
# rarely active in the first steps die.
K_ANNEAL_FACTOR, K_ANNEAL_STEPS = 16.0, 300

# In each training step "lifetime" activates between this fraction of a unit's share of the rows and
# all of it. Multiples of the golden ratio modulo one cover the range evenly.
MIN_SHARE, GOLDEN_RATIO = 0.1, (5**0.5 - 1) / 2

# Added to the probabilities of a divergence, which is infinite for a unit that is never active.
TINY = 1e-6

# The width of the kernel density estimate for the threshold of "jumprelu", in standard deviations
# of the data. A wider one has less variance and more bias.
BANDWIDTH = 1.0


class SparseActivation(nn.Module):
    """The map from pre-activations to codes, and the penalty on active units.

    Codes are not negative. `n_nonzero` is the target number of active units in a row.
    """

    def __init__(self, n_nonzero: int, n_components: int):
        super().__init__()
        self.n_nonzero, self.n_components = min(n_nonzero, n_components), n_components

    def forward(self, pre_activation: Tensor) -> Tensor:
        """The code, of the same shape."""
        return relu(pre_activation)

    def penalty(self, pre_activation: Tensor, code: Tensor) -> Tensor | float:
        """The penalty of each row, shape (n_samples,)."""
        return 0.0

    def to_graph(self, graph: Graph, pre_activation: str) -> str:
        """Add the operations of inference to a graph."""
        return graph.add("Relu", pre_activation)


class TopK(SparseActivation):
    """The `n_nonzero` largest positive pre-activations of each row; more early in training."""

    n_steps = 0  # training steps so far
    anneal_steps: float = K_ANNEAL_STEPS

    def forward(self, pre_activation: Tensor) -> Tensor:
        k = self.n_nonzero
        if self.training:
            remaining = max(0.0, 1 - self.n_steps / self.anneal_steps)
            k = min(round(k * K_ANNEAL_FACTOR**remaining), self.n_components)
            self.n_steps += 1
        largest, units = pre_activation.topk(k, dim=1)
        return torch.zeros_like(pre_activation).scatter(1, units, relu(largest))

    def to_graph(self, graph: Graph, pre_activation: str) -> str:
        largest = graph.add("TopK", pre_activation, np.array([self.n_nonzero]), axis=1)
        smallest = graph.add("Gather", largest, np.array([self.n_nonzero - 1]), axis=1)
        larger = graph.add("Where", graph.add("Greater", pre_activation, smallest), 1.0, 0.0)
        at_least = graph.add("GreaterOrEqual", pre_activation, smallest)
        at_least = graph.add("Where", at_least, 1.0, 0.0)
        # Several units may be equal to the smallest, for instance if their weights are equal: the
        # first of them are active.
        order = graph.add("CumSum", graph.add("Sub", at_least, larger), np.array(1))
        n_equal = graph.add("Sub", float(self.n_nonzero), graph.sum_columns(larger))
        n_equal = graph.add("Reshape", n_equal, np.array([-1, 1]))
        active = graph.add("Where", graph.add("GreaterOrEqual", n_equal, order), at_least, larger)
        return graph.add("Mul", active, graph.add("Relu", pre_activation))


class Thresholded(SparseActivation):
    """Pre-activations above a threshold, which depends on the batch in training.

    Inference uses a stored threshold, so that a row does not depend on other rows: the running mean
    of the batches' thresholds, until the estimator sets it at the end of training.
    """

    threshold: Tensor

    def forward(self, pre_activation: Tensor) -> Tensor:
        threshold = (
            self.training_threshold(pre_activation.detach()) if self.training else self.threshold
        )
        return torch.where(pre_activation > threshold, pre_activation, 0.0)

    def training_threshold(self, pre_activation: Tensor) -> Tensor:
        """The threshold of a training step; updates the running mean."""
        threshold = self.batch_threshold(pre_activation)
        weight = torch.where(self.threshold > 0, 0.02, 1.0)  # the first batch has weight one
        self.threshold.lerp_(threshold.to(self.threshold), weight.to(self.threshold))
        return threshold

    def batch_threshold(self, pre_activation: Tensor) -> Tensor:
        """The threshold above which the target number of units is active, at least zero."""
        raise NotImplementedError

    def to_graph(self, graph: Graph, pre_activation: str) -> str:
        return _above_threshold_graph(graph, pre_activation, self.threshold)


class BatchTopK(Thresholded):
    """The largest pre-activations of a whole batch, on average `n_nonzero` for each row."""

    def __init__(self, n_nonzero: int, n_components: int):
        super().__init__(n_nonzero, n_components)
        self.register_buffer("threshold", torch.tensor(0.0))

    def batch_threshold(self, pre_activation: Tensor) -> Tensor:
        """Halfway between the largest values of the batch and the next smaller one."""
        n_inactive = pre_activation.numel() - self.n_nonzero * len(pre_activation)
        if n_inactive == 0:
            return torch.zeros_like(self.threshold)
        inactive = pre_activation.flatten().kthvalue(n_inactive).values
        active = pre_activation.where(pre_activation > inactive, torch.inf).min()
        # As for "lifetime", rounding does not decide which units of these rows are active.
        halfway = torch.where(active.isfinite(), (inactive + active) / 2, inactive)
        return halfway.clamp_min(0.0)


class Lifetime(Thresholded):
    """The largest pre-activations of each unit in a batch, in equally many rows for all units.

    In training each step activates a part of this share of the rows, from `MIN_SHARE` to 1, and at
    least one row.
    """

    n_steps = 0  # training steps so far

    def __init__(self, n_nonzero: int, n_components: int):
        super().__init__(n_nonzero, n_components)
        self.register_buffer("threshold", torch.zeros(n_components))

    def training_threshold(self, pre_activation: Tensor) -> Tensor:
        """The threshold for a part of the share; the running mean is for all of it."""
        super().training_threshold(pre_activation)
        self.n_steps += 1
        part = MIN_SHARE ** (self.n_steps * GOLDEN_RATIO % 1)
        return self.batch_threshold(pre_activation, part)

    def batch_threshold(self, pre_activation: Tensor, part: float = 1.0) -> Tensor:
        """The value that each unit exceeds in this part of its share of the rows."""
        share = part * self.n_nonzero / self.n_components
        n_rows, n_active = len(pre_activation), max(1, round(share * len(pre_activation)))
        if n_active >= n_rows:  # also a process without a row of the batch
            return torch.zeros_like(self.threshold)
        # Halfway between two rows, so that rounding does not decide which of them is active.
        return pre_activation.topk(n_active + 1, dim=0).values[-2:].mean(0).clamp_min(0.0)


class L1(SparseActivation):
    """All units above zero, with the sum of the code as penalty."""

    def penalty(self, pre_activation: Tensor, code: Tensor) -> Tensor:
        return code.sum(1)


class KL(SparseActivation):
    """All units above zero, with a target for the activity of each unit.

    The target is a fraction `n_nonzero / n_components` of the rows. The penalty is the divergence
    from it of the mean of the unit's logistic output over the batch; it increases the activity of
    rarely active units, too.
    """

    def penalty(self, pre_activation: Tensor, code: Tensor) -> Tensor:
        target = torch.full_like(pre_activation[0], self.n_nonzero / self.n_components)
        divergence = bernoulli_kl(target, pre_activation.sigmoid().mean(0)).sum()
        return divergence.expand(len(pre_activation))


class JumpReLU(SparseActivation):
    """Units above a threshold that is learned for each; the penalty is their number."""

    def __init__(self, n_nonzero: int, n_components: int):
        super().__init__(n_nonzero, n_components)
        self.log_threshold = nn.Parameter(torch.full((n_components,), -1.0))

    def forward(self, pre_activation: Tensor) -> Tensor:
        return relu(pre_activation) * heaviside(pre_activation, self.log_threshold.exp())

    def penalty(self, pre_activation: Tensor, code: Tensor) -> Tensor:
        return heaviside(pre_activation, self.log_threshold.exp()).sum(1)

    def to_graph(self, graph: Graph, pre_activation: str) -> str:
        return _above_threshold_graph(graph, pre_activation, self.log_threshold.exp())


SPARSE_ACTIVATIONS: dict[str, type[SparseActivation]] = {
    "topk": TopK,
    "batch_topk": BatchTopK,
    "lifetime": Lifetime,
    "l1": L1,
    "kl": KL,
    "jumprelu": JumpReLU,
}

LAYERS |= {cls: LayerForms(cls.to_graph) for cls in SPARSE_ACTIVATIONS.values()}


def bernoulli_kl(target: Tensor, rate: Tensor) -> Tensor:
    """KL divergence of Bernoulli(rate) from Bernoulli(target), in nats, elementwise."""
    rate, target = rate.clamp(TINY, 1 - TINY), target.clamp(TINY, 1 - TINY)
    return target * (target / rate).log() + (1 - target) * ((1 - target) / (1 - rate)).log()


class _Heaviside(torch.autograd.Function):
    """1 where `x` exceeds a threshold; see `heaviside`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, threshold: Tensor) -> Tensor:
        ctx.save_for_backward(x, threshold)
        return (x > threshold).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor]:
        x, threshold = ctx.saved_tensors
        density = ((x - threshold).abs() < BANDWIDTH / 2).to(x.dtype) / BANDWIDTH
        return None, -(gradients[0] * density).sum(0)


def heaviside(x: Tensor, threshold: Tensor) -> Tensor:
    """1 where `x` exceeds the threshold of its column, else 0.

    `x` is of shape (n_samples, n_components). The derivative of its expectation in the threshold is
    minus the density of `x` there, which is estimated from the rows within `BANDWIDTH`
    (Rajamanoharan et al., 2024). The derivative in `x` is taken as zero.
    """
    return _Heaviside.apply(x, threshold)


def _above_threshold_graph(graph: Graph, pre_activation: str, threshold: Tensor) -> str:
    active = graph.add("Greater", pre_activation, threshold)
    return graph.add("Where", active, graph.add("Relu", pre_activation), 0.0)
