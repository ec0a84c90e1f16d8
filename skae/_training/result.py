"""What a training leaves behind: the codes of all rows, measured and put in order."""

from functools import reduce
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .._data.dataset import as_array, inference_dtype, tensor_blocks
from .._losses.reconstruction import LOSSES
from .._nn.autoencoder import LinearPath
from .._nn.fitted import Codec, OrderedCodec
from .fit_data import Task
from .loop import History
from .rotation import CodeMoments, Order, align_signs


class Outcome(NamedTuple):
    """What a training leaves behind."""

    codec: Codec
    codes: CodeMoments  # of the training rows, in the final basis
    order: Order
    directions: np.ndarray  # (n_components, n_features)
    history: History


def conclude(
    estimator,
    task: Task,
    codec: Codec,
    pca: LinearPath,
    history: History,
    seen: CodeMoments | None = None,
) -> Outcome:
    """Measure the training rows, then put the codes in order."""
    codec.eval().to(task.device, inference_dtype(task.X.dtype, task.device))
    reach_before = codec.core.reach.clone()
    codec.core.reach.fill_(torch.inf)
    codes, reach = _measure(estimator, task, codec, pca.to(codec.shift))
    if seen is not None:
        codes, reach = seen.plus(codes), torch.maximum(reach, reach_before)
    if codec.core.linear.active:  # else there is nothing to fall back on
        codec.core.reach.copy_(reach.clamp_min(1e-30))  # constant data reach nowhere
    return estimator._in_order(codec, codes, history)


def turn_to_axes(estimator, codec: OrderedCodec, codes: CodeMoments, history: History) -> Outcome:
    """Let the codes be what `_order` wants, with signs that make the directions positive."""
    order = estimator._order(codec, codes)
    codec.change_basis(order.centre, order.matrix)
    directions = as_array(codec.directions())
    signs = align_signs(directions)
    variances = order.explained_variance
    units = np.sqrt(variances.clip(min=np.finfo(np.float64).tiny)) if estimator.whiten else 1.0
    codec.change_basis(np.zeros_like(variances), np.diag(signs / units))
    codes = codes.in_basis(order.centre, order.matrix * (signs / units))
    return Outcome(codec, codes, order, directions * signs[:, None], history)


def _measure(estimator, task: Task, codec: Codec, pca: LinearPath) -> tuple[CodeMoments, Tensor]:
    """The codes of all training rows, what they, PCA and the mean leave over, and their reach."""
    loss = LOSSES[estimator.loss]
    mean = torch.from_numpy(task.moments.mean).to(codec.shift)
    noise = task.noise(task.device)
    # Added up as they come: small results kept between large blocks would scatter the memory.
    codes: CodeMoments | None = None
    reach = codec.shift.new_zeros(())
    with torch.no_grad():
        for x in tensor_blocks(task.X, codec.shift.dtype, task.device):
            code = codec.encode(x)
            reach = torch.maximum(reach, codec.distance(code).max())
            standard = (x - codec.shift) / codec.scale
            if (shown := estimator._shown(codec.core, standard, noise)) is not standard:
                far = codec.core.distance(codec.core.encode(shown)).max()
                reach = torch.maximum(reach, far)
            pca_raw = codec.shift + codec.scale * loss.link(pca.reconstruct(standard))
            part = estimator._moments.of(
                code,
                charge=_total(loss.deviance(codec.decode(code), x)),
                pca_charge=_total(loss.deviance(pca_raw, x)),
                mean_charge=_total(loss.deviance(loss.link(mean).expand_as(x), x)),
                squares=torch.nansum((x - mean).double().square()).item(),
            )
            codes = part if codes is None else codes.plus(part)
    all_codes, reaches = zip(*task.ranks.gather((codes, reach.item())), strict=True)
    return reduce(estimator._moments.plus, all_codes), reach.new_tensor(max(reaches))


def _total(per_row: Tensor) -> float:
    return per_row.double().sum().item()
