"""Sparse codes: units of which few answer to a row, and the dictionary that they speak for."""

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, normalize, relu

from .._data.process_group import SingleProcess
from .autoencoder import Autoencoder
from .subspace_pursuit import subspace_pursuit

# "topk" grants so many times the active units at first, fewer and fewer until so many steps, or a
# third of all, are done (Makhzani and Frey, 2014). With few from the start, those that lose the
# first races are lost.
K_ANNEAL_FACTOR, SETTLED_STEPS = 16.0, 300

# "lifetime" grants each step between that part of a unit's share and all of it; the multiples of
# the golden ratio, less their whole numbers, fill the range evenly.
LEAST_PART, GOLDEN_RATIO = 0.1, (5**0.5 - 1) / 2

# A unit that is active less than so often as a fair share would have it grows idle.
FAIR_ENOUGH = 0.1

# Added to a divergence's probabilities, so that a unit that is surely silent costs no infinity.
TINY = 1e-6


class SparseActivation(nn.Module):
    """How what drives the units becomes their code, and what their activity costs.

    A code is never negative. `n_nonzero` is the number of units that may be active in a row, as
    far as the kind knows of one.
    """

    def __init__(self, n_nonzero: int, n_components: int):
        super().__init__()
        self.n_nonzero, self.n_components = min(n_nonzero, n_components), n_components

    def forward(self, pre_activation: Tensor) -> Tensor:
        """The code, of the same shape."""
        return relu(pre_activation)

    def charge(self, pre_activation: Tensor, code: Tensor) -> Tensor | float:
        """What each row pays for its active units, shape (n_samples,)."""
        return 0.0


class TopK(SparseActivation):
    """The `n_nonzero` largest of each row, as far as they are above zero; more of them at first."""

    n_steps = 0  # of training
    settled_steps: float = SETTLED_STEPS

    def forward(self, pre_activation: Tensor) -> Tensor:
        n_granted = self.n_nonzero
        if self.training:
            left = max(0.0, 1 - self.n_steps / self.settled_steps)
            n_granted = min(round(n_granted * K_ANNEAL_FACTOR**left), self.n_components)
            self.n_steps += 1
        largest, units = pre_activation.topk(n_granted, dim=1)
        return torch.zeros_like(pre_activation).scatter(1, units, relu(largest))


class Thresholded(SparseActivation):
    """What a threshold lets through; in training, one that the batch sets.

    Inference goes by a stored one, so that a row does not depend on the others: the running mean of
    those of the batches, until it is fixed.
    """

    threshold: Tensor

    def forward(self, pre_activation: Tensor) -> Tensor:
        threshold = (
            self.training_threshold(pre_activation.detach()) if self.training else self.threshold
        )
        return torch.where(pre_activation > threshold, pre_activation, 0.0)

    def training_threshold(self, pre_activation: Tensor) -> Tensor:
        """The threshold of a step of training; the running mean learns of the batch's."""
        threshold = self.threshold_of(pre_activation)
        share = torch.where(self.threshold > 0, 0.02, 1.0)  # the first one counts in full
        self.threshold.lerp_(threshold.to(self.threshold), share.to(self.threshold))
        return threshold

    def threshold_of(self, pre_activation: Tensor) -> Tensor:
        """What lets as much of these rows through as is to be active, zero at least."""
        raise NotImplementedError


class BatchTopK(Thresholded):
    """The largest of a whole batch, `n_nonzero` a row in the mean."""

    def __init__(self, n_nonzero: int, n_components: int):
        super().__init__(n_nonzero, n_components)
        self.register_buffer("threshold", torch.tensor(0.0))

    def threshold_of(self, pre_activation: Tensor) -> Tensor:
        """What all but `n_nonzero` units a row do not exceed, zero at least."""
        n_silent = pre_activation.numel() - self.n_nonzero * len(pre_activation)
        if n_silent == 0:
            return torch.zeros_like(self.threshold)
        return pre_activation.flatten().kthvalue(n_silent).values.clamp_min(0.0)


class Lifetime(Thresholded):
    """The largest of each unit in a batch, in as many rows as is its share: `n_nonzero` a row.

    In training each step grants another part of it, `LEAST_PART` to 1, one row at least.
    """

    n_steps = 0  # of training

    def __init__(self, n_nonzero: int, n_components: int):
        super().__init__(n_nonzero, n_components)
        self.register_buffer("threshold", torch.zeros(n_components))

    def training_threshold(self, pre_activation: Tensor) -> Tensor:
        """That of a part of the share; the running mean is of all of it."""
        super().training_threshold(pre_activation)
        self.n_steps += 1
        return self.threshold_of(pre_activation, LEAST_PART ** (self.n_steps * GOLDEN_RATIO % 1))

    def threshold_of(self, pre_activation: Tensor, part: float = 1.0) -> Tensor:
        """What each unit exceeds in that part of its share of the rows, zero at least."""
        share = part * self.n_nonzero / self.n_components
        n_active = max(1, round(share * len(pre_activation)))
        if n_active >= len(
            pre_activation
        ):  # or no rows at all, on a process that has none of a batch
            return torch.zeros_like(self.threshold)
        # Halfway between two rows, so that rounding does not decide which of them is active.
        return pre_activation.topk(n_active + 1, dim=0).values[-2:].mean(0).clamp_min(0.0)


class L1(SparseActivation):
    """All that are above zero, at the price of the sum of the code."""

    def charge(self, pre_activation: Tensor, code: Tensor) -> Tensor:
        return code.sum(1)


class KL(SparseActivation):
    """All that are above zero; each is to be so in a share `n_nonzero / n_components` of the rows.

    The price is the divergence from that share of the unit's logistic output, averaged over the
    batch; it pulls idle units up as it pushes busy ones down.
    """

    def charge(self, pre_activation: Tensor, code: Tensor) -> Tensor:
        target = torch.full_like(pre_activation[0], self.n_nonzero / self.n_components)
        return (
            bernoulli_kl(target, pre_activation.sigmoid().mean(0)).sum().expand(len(pre_activation))
        )


class JumpReLU(SparseActivation):
    """All that are above a learned threshold of the unit's own, at the price of one each."""

    def __init__(self, n_nonzero: int, n_components: int):
        super().__init__(n_nonzero, n_components)
        self.log_threshold = nn.Parameter(torch.full((n_components,), -1.0))

    def forward(self, pre_activation: Tensor) -> Tensor:
        return relu(pre_activation) * step(pre_activation, self.log_threshold.exp())

    def charge(self, pre_activation: Tensor, code: Tensor) -> Tensor:
        return step(pre_activation, self.log_threshold.exp()).sum(1)


SPARSE_ACTIVATIONS: dict[str, type[SparseActivation]] = {
    "topk": TopK,
    "batch_topk": BatchTopK,
    "lifetime": Lifetime,
    "l1": L1,
    "kl": KL,
    "jumprelu": JumpReLU,
}


def bernoulli_kl(target: Tensor, rate: Tensor) -> Tensor:
    """KL divergence of Bernoulli(rate) from Bernoulli(target), in nats, entry by entry."""
    rate, target = rate.clamp(TINY, 1 - TINY), target.clamp(TINY, 1 - TINY)
    return target * (target / rate).log() + (1 - target) * ((1 - target) / (1 - rate)).log()


class _Step(torch.autograd.Function):
    """1 where `x` exceeds a threshold; see `step`."""

    @staticmethod
    def forward(ctx, x: Tensor, threshold: Tensor) -> Tensor:
        ctx.save_for_backward(x, threshold)
        return (x > threshold).to(x.dtype)

    @staticmethod
    def backward(ctx, *gradients: Tensor) -> tuple[None, Tensor]:
        x, threshold = ctx.saved_tensors
        near = ((x - threshold).abs() < BANDWIDTH / 2).to(x.dtype) / BANDWIDTH
        return None, -(gradients[0] * near).sum(0)


# Within that distance a row tells a threshold which way to go, in spreads of the data. A row more
# units of which are near theirs tells more, but less truly.
BANDWIDTH = 1.0


def step(x: Tensor, threshold: Tensor) -> Tensor:
    """1 where `x`, (n_samples, n_components), exceeds the threshold of its column, else 0.

    Its slope in the threshold is minus the density of `x` there in expectation, and is estimated by
    the share of rows nearby (Rajamanoharan et al., 2024); that in `x` is taken as zero.
    """
    return _Step.apply(x, threshold)


class Silent(nn.Module):
    """A network that adds nothing."""

    def forward(self, x: Tensor) -> Tensor:
        """Give one zero."""
        return x.new_zeros(1)


class SparseEncoder(nn.Module):
    """What drives each unit: a linear map of the row, plus what a network adds."""

    weight: Tensor  # (n_components, n_features); tied, (n_components, 1): lengths of directions
    usual: Tensor | None  # (n_features,): the mean row, added to what the weights see
    rows_since_active: (
        Tensor  # (n_components,): for how many training rows the unit has not done its share
    )

    def __init__(
        self,
        weight: Tensor,
        network: nn.Module,
        sparsity: SparseActivation,
        max_inactive_rows: float,
        usual: Tensor | None = None,
        tied: bool = False,
    ):
        super().__init__()
        self.max_inactive_rows = max_inactive_rows  # a unit that was idle for more rows is revived
        self.worth = sparsity.n_components / (FAIR_ENOUGH * sparsity.n_nonzero)
        self.weight, self.tied = nn.Parameter(weight), tied  # to the directions of the dictionary
        self.bias = nn.Parameter(torch.zeros(sparsity.n_components, dtype=torch.float64))
        self.network, self.sparsity = network, sparsity
        if usual is None:
            self.usual = None
        else:
            self.register_buffer("usual", usual)
        self.register_buffer("rows_since_active", torch.zeros(sparsity.n_components))

    def weights(self, dictionary: "Dictionary") -> Tensor:
        """What the units look for, (n_components, n_features), beside that dictionary."""
        if self.tied:
            return self.weight * dictionary.directions
        return dictionary.within_fields(self.weight)

    def scale(self, factor: Tensor | float) -> None:
        """Multiply weights and biases of each unit by its factor, (n_components,), or by one."""
        factor = torch.as_tensor(factor, dtype=self.bias.dtype, device=self.bias.device)
        self.weight.data.mul_(factor.expand_as(self.bias)[:, None])
        self.bias.data.mul_(factor)

    def count_idle(self, code: Tensor, group: SingleProcess) -> None:
        """Take notice of the units that are active in a batch, of which each rank has some rows.

        Each row in which a unit is active makes up for `worth`.
        """
        n_active = (code.detach() > 0).sum(0)
        counts = group.all_reduce(torch.cat([n_active, n_active.new_tensor([len(code)])]))
        self.rows_since_active.add_(counts[-1] - self.worth * counts[:-1]).clamp_min_(0)


class Dictionary(nn.Module):
    """The sum of directions of unit length, each times its code, plus what a network adds."""

    fields: Tensor | None  # (n_components, n_features): ones for the features of a unit, else zeros

    def __init__(self, weight: Tensor, network: nn.Module, fields: Tensor | None = None):
        super().__init__()
        self.weight = nn.Parameter(weight)  # (n_components, n_features), of any length
        self.network = network
        if fields is None:
            self.fields = None
        else:
            self.register_buffer("fields", fields)

    @property
    def directions(self) -> Tensor:
        """The weights within their fields, each row divided by its length."""
        return normalize(self.within_fields(self.weight), dim=1)

    def within_fields(self, weight: Tensor) -> Tensor:
        """The same, (n_components, n_features), with zeros outside the receptive fields.

        There weights begin at zero, and in training learn nothing: so elsewhere they are zero.
        """
        return weight * self.fields if self.training and self.fields is not None else weight

    def forward(self, code: Tensor) -> Tensor:
        """Codes (n_samples, n_components) to distances from the mean, (n_samples, n_features)."""
        return code @ self.directions + self.network(code)


class SparseCoder(Autoencoder):
    """code = sparsity(E (x - mean) + b + g(x));  raw = link(mean) + D' code + f(code).

    The rows of D, the dictionary, have unit length; g and f are silent at first, or for good.
    """

    n_searches = 0  # steps of a search that follow the encoder, where f is silent

    encoder: SparseEncoder
    decoder: Dictionary

    def pre_activation(self, x: Tensor) -> Tensor:
        """What drives the units, (n_samples, n_components)."""
        units = self.encoder
        centred = torch.nan_to_num(x - self.linear.mean)
        weight = units.weights(self.decoder)
        seen = centred if units.usual is None else centred + units.usual
        return linear(seen, weight, units.bias) + units.network(centred * self.scales.inputs)

    def encode(self, x: Tensor) -> Tensor:
        """Rows in the network's units to codes, (n_samples, n_components)."""
        code = self.encoder.sparsity(self.pre_activation(x))
        if not self.n_searches or self.training:
            return code
        centred = torch.nan_to_num(x - self.linear.mean)
        n_nonzero = self.encoder.sparsity.n_nonzero
        return subspace_pursuit(code, centred, self.decoder.directions, n_nonzero, self.n_searches)

    def decode(self, code: Tensor) -> Tensor:
        """Codes to raw rows, (n_samples, n_features)."""
        return self.link(self.linear.mean) + self.decoder(code)
