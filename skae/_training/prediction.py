"""The linear prediction of targets from codes: its loss, its units, and its start."""

from collections.abc import Iterator
from functools import reduce
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.special import entr
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from .._data.dataset import rows_of_block
from .._data.labels import UNLABELED
from .._nn.autoencoder import Autoencoder
from .._nn.copying import copy_module
from .._nn.mlp import skip_init
from .fit_data import FitData, generator
from .lbfgs import minimize_sum

# The linear model of the targets is fitted to at most so many training rows.
MAX_ROWS = 20_000
# Weight decay of the linear model of the targets at the start of training.
START_DECAY = 1e-3
# The largest standardised number: squares of larger ones could overflow in float32.
FARTHEST = 1e15
MAX_ITER = 100  # of the optimiser of the linear model
# The linear model is fitted in blocks of so many times the entries of usual blocks, 32 MB.
HEAD_BLOCKS = 32


class StandardTargets(NamedTuple):
    """Targets in units in which the prediction loss of a constant is 1 where none is missing."""

    # Standardised numbers, (n_samples, n_targets), with NaN for missing ones; or the indices of
    # classes, (n_samples,), with -1 for missing ones.
    train: Tensor
    held_out: Tensor  # the same for held-out rows
    n_classes: int | None  # None for numbers
    weights: Tensor  # (n_targets,), or (1,) for classes: of the loss
    known: Tensor  # the same shape: the share of the training rows whose target is not missing

    @property
    def n_outputs(self) -> int:
        """The number of outputs of a prediction."""
        return self.train.shape[1] if self.n_classes is None else self.n_classes

    def losses(self, predicted: Tensor, y: Tensor) -> Tensor:
        """The loss of each row: squared errors, or the cross-entropy; 0 if missing."""
        if self.n_classes is not None:
            errors = cross_entropy(predicted, y, ignore_index=UNLABELED, reduction="none")
            return errors * self.weights
        is_missing, known = y.isnan(), y.nan_to_num()  # NaN would remain in the gradient
        errors = (predicted - known).square()
        return (errors.masked_fill(is_missing, 0.0) * self.weights).sum(1)

    def curvature(self, predicted: Tensor) -> Tensor:
        """The matrix C with which a change d of predictions costs d' C d, averaged over rows.

        The targets are as predicted, but as many are missing as in the training rows. Of logits, C
        is half of the Fisher information.
        """
        weights = self.weights * self.known
        if self.n_classes is None:
            return weights.diag()
        p = torch.softmax(predicted, 1)
        # In place, as the matrix of many classes is large; products may be in bfloat16.
        information = (p.mT @ p).to(weights.dtype).neg_()
        information.diagonal().add_(p.sum(0))
        return information.mul_(weights / (2 * max(len(p), 1)))


def predict(network: Any, code: Tensor) -> Tensor:
    """The linear prediction of the targets, (n_samples, n_targets); logits of classes."""
    return network.head(code * network.scales.inverse_code_scale)


def standard_targets(data: FitData) -> StandardTargets:
    """The targets of all rows in the units of the prediction loss."""
    assert data.targets is not None
    given = data.targets
    values = given.values, given.values if given.held_out is None else given.held_out
    if given.n_classes is not None:
        share, loss_of_constant = _class_moments(data)
        train, held_out = (
            torch.from_numpy(np.nan_to_num(part[:, 0], nan=UNLABELED).astype(np.int64))
            for part in values
        )
    else:
        mean, std, share = _moments(data)
        units = np.where(std > 0, std, 1.0)
        with np.errstate(over="ignore"):
            values = tuple(np.clip((part - mean) / units, -FARTHEST, FARTHEST) for part in values)
        train, held_out = (torch.from_numpy(part.astype(np.float32)) for part in values)
        loss_of_constant = np.where(std > 0, len(mean), 0.0)
    zeros = np.zeros_like(loss_of_constant)
    weights = np.divide(1.0, loss_of_constant, out=zeros, where=loss_of_constant > 0)
    device, n_classes = data.device, given.n_classes
    weights, known = (torch.from_numpy(part.astype(np.float32)) for part in (weights, share))
    of_targets = weights.to(device), known.to(device)
    return StandardTargets(train.to(device), held_out.to(device), n_classes, *of_targets)


def _class_moments(data: FitData) -> tuple[np.ndarray, np.ndarray]:
    """The share of the training rows with a class, (1,), and the entropy of the classes, (1,)."""
    assert data.targets is not None
    train = data.train.cpu().numpy()
    index = data.targets.values[train, 0]
    known = ~np.isnan(index)
    weights = _row_weights(data, train)[known]
    frequencies = np.bincount(index[known].astype(np.int64), weights)
    share = weights.sum()
    return np.array([share]), np.array([entr(frequencies / (share or 1.0)).sum()])


def _row_weights(data: FitData, train: np.ndarray) -> np.ndarray:
    """The weights of the training rows, which sum to one."""
    weights = np.ones(len(train)) if data.weights is None else data.weights[train]
    return np.asarray(weights / weights.sum())


def _moments(data: FitData) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean and standard deviation of each number over the training rows, and its known share."""
    assert data.targets is not None
    train = data.train.cpu().numpy()
    values = data.targets.values[train]
    known = ~np.isnan(values)
    weights = _row_weights(data, train)[:, None] * known
    share = weights.sum(axis=0)
    weights = weights / np.where(share > 0, share, 1.0)
    size = np.abs(values, out=np.zeros_like(values), where=known).max(axis=0)
    size[size == 0] = 1.0
    values = np.where(known, values / size, 0.0)  # squares of large numbers overflow
    mean = (weights * values).sum(axis=0)
    return mean * size, np.sqrt((weights * (values - mean) ** 2).sum(axis=0)) * size, share


def mean_row_loss(data: FitData) -> float:
    """The mean loss of reconstructing each row by the mean row, less the least possible loss."""
    index = data.train[:MAX_ROWS]
    x, mean = data.rows[index], torch.from_numpy((data.moments.mean - data.shift) / data.scale)
    raw = data.loss.link(mean.to(x))
    return data.loss.deviance(raw.expand_as(x), x).mean().item()


def rows_with_targets(data: FitData) -> np.ndarray:
    """Indices of at most `MAX_ROWS` random training rows that have a target."""
    assert data.targets is not None
    train = data.train.cpu().numpy()
    has_target = ~np.isnan(data.targets.values[train]).all(axis=1)
    index = train[has_target]
    order = torch.randperm(len(index), generator=generator(data.seeds.components)).numpy()
    return index[np.sort(order[:MAX_ROWS])]


def fitted_head(
    network: Autoencoder, targets: StandardTargets, data: FitData
) -> tuple[nn.Linear, Tensor]:
    """The linear model of the targets with the least loss of training rows, and its curvature."""
    index = torch.from_numpy(rows_with_targets(data)).to(data.device)
    network = copy_module(network).to(data.device, torch.float32).eval()
    with torch.no_grad():
        blocks = index.split(rows_of_block(data.X.shape[1]))
        codes = torch.cat([network.encode(data.rows[block]) for block in blocks])
        scaled = (codes * network.scales.inverse_code_scale).cpu().double()
    y = targets.train[index].cpu()
    n_rows, n_outputs = max(len(index), 1), targets.n_outputs
    weights = torch.full((len(index),), 1 / n_rows, dtype=torch.float64)
    if data.weights is not None:
        weights *= torch.from_numpy(data.weights)[index.cpu()]
    targets = targets._replace(
        **{name: getattr(targets, name).cpu().double() for name in ("weights", "known")}
    )
    head = skip_init(nn.Linear, scaled.shape[1], n_outputs).to(scaled)
    for values in head.parameters():
        nn.init.zeros_(values)
    rows = torch.arange(len(index)).split(rows_of_block(n_outputs, HEAD_BLOCKS))

    def losses() -> Iterator[Tensor]:
        for block in rows:
            yield weights[block] @ targets.losses(head(scaled[block]), y[block])
        yield START_DECAY * head.weight.square().sum()

    if len(index):
        minimize_sum(losses, list(head.parameters()), MAX_ITER)
    targets = targets._replace(weights=targets.weights.float(), known=targets.known.float())
    with torch.no_grad():
        predicted = ((head(scaled[block]).float(), len(block) / n_rows) for block in rows)
        parts = (targets.curvature(block).mul_(share) for block, share in predicted)
        return head, reduce(Tensor.add_, parts)
