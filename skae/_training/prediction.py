"""The linear prediction of targets from codes: its loss, its units, and its start."""

import copy
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.special import entr
from torch import Tensor, nn

from .._data.dataset import rows_of_block
from .._nn.autoencoder import Autoencoder
from .._nn.mlp import skip_init
from .fit_data import FitData, generator
from .lbfgs import minimize_loss

# The linear model of the targets is fitted to at most so many training rows.
MAX_ROWS = 20_000
# Weight decay of the linear model of the targets at the start of training.
START_DECAY = 1e-3
# The largest standardised number: squares of larger ones could overflow in float32.
FARTHEST = 1e15
MAX_ITER = 100  # of the optimiser of the linear model


class StandardTargets(NamedTuple):
    """Targets in units in which the prediction loss of a constant is 1 where none is missing."""

    train: Tensor  # (n_samples, n_targets): standardised numbers, or indicators; NaN: missing
    held_out: Tensor  # the same for held-out rows
    are_classes: bool
    weights: Tensor  # (n_targets,): of the loss of each target, or of all classes
    known: Tensor  # (n_targets,): the share of the training rows whose target is not missing

    def losses(self, predicted: Tensor, y: Tensor) -> Tensor:
        """The loss of each row: squared errors, or the cross-entropy; 0 if missing."""
        is_missing, known = y.isnan(), y.nan_to_num()  # NaN would remain in the gradient
        if self.are_classes:
            errors = -torch.log_softmax(predicted, 1) * known
        else:
            errors = (predicted - known).square()
        return (errors.masked_fill(is_missing, 0.0) * self.weights).sum(1)

    def curvature(self, predicted: Tensor) -> Tensor:
        """The matrix C with which a change d of predictions costs d' C d, averaged over rows.

        The targets are as predicted, but as many are missing as in the training rows. Of logits, C
        is half of the Fisher information.
        """
        weights = self.weights * self.known
        if not self.are_classes:
            return weights.diag()
        p = torch.softmax(predicted, 1)
        information = (p.sum(0).diag() - p.mT @ p) / max(len(p), 1)
        return information * weights / 2


def predict(network: Any, code: Tensor) -> Tensor:
    """The linear prediction of the targets, (n_samples, n_targets); logits of classes."""
    return network.head(code * network.scales.inverse_code_scale)


def standard_targets(data: FitData) -> StandardTargets:
    """The targets of all rows in the units of the prediction loss."""
    assert data.targets is not None
    given, (mean, std, share) = data.targets, _moments(data)
    values = given.values, given.values if given.held_out is None else given.held_out
    if given.are_classes:
        loss_of_constant = np.full_like(mean, entr(mean).sum())
    else:
        units = np.where(std > 0, std, 1.0)
        with np.errstate(over="ignore"):
            values = tuple(np.clip((part - mean) / units, -FARTHEST, FARTHEST) for part in values)
        loss_of_constant = np.where(std > 0, len(mean), 0.0)
    zeros = np.zeros_like(loss_of_constant)
    weights = np.divide(1.0, loss_of_constant, out=zeros, where=loss_of_constant > 0)
    train, held_out, *of_targets = (
        torch.from_numpy(part.astype(np.float32)).to(data.device)
        for part in (*values, weights, share)
    )
    return StandardTargets(train, held_out, given.are_classes, *of_targets)


def _moments(data: FitData) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean and standard deviation of each target over the training rows, and their known share."""
    assert data.targets is not None
    train = data.train.cpu().numpy()
    values = data.targets.values[train]
    known = ~np.isnan(values)
    weights = np.ones(len(train)) if data.weights is None else data.weights[train]
    weights = (weights / weights.sum())[:, None] * known
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
    """The linear model of the targets with the least loss of training rows, and its predictions."""
    index = torch.from_numpy(rows_with_targets(data)).to(data.device)
    network = copy.deepcopy(network).to(data.device, torch.float32).eval()
    with torch.no_grad():
        blocks = index.split(rows_of_block(data.X.shape[1]))
        codes = torch.cat([network.encode(data.rows[block]) for block in blocks])
        scaled = (codes * network.scales.inverse_code_scale).cpu().double()
    y = targets.train[index].cpu().double()
    weights = (
        torch.ones(()) if data.weights is None else torch.from_numpy(data.weights)[index.cpu()]
    )
    targets = targets._replace(weights=targets.weights.cpu().double())
    head = skip_init(nn.Linear, scaled.shape[1], y.shape[1]).to(y)
    for values in head.parameters():
        nn.init.zeros_(values)

    def loss() -> Tensor:
        penalty = START_DECAY * head.weight.square().sum()
        return (weights * targets.losses(head(scaled), y)).mean() + penalty

    if len(index):
        minimize_loss(loss, list(head.parameters()), MAX_ITER)
    return head, head(scaled).detach().to(targets.train)
