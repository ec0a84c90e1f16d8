"""What a training leaves behind: the codes of all rows, measured and put in order."""

from functools import reduce
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .._data.dataset import as_array, inference_dtype, tensor_blocks
from .._losses.reconstruction import LOSSES
from .._nn.autoencoder import PCAPath
from .._nn.fitted import FittedAutoencoder, RotatedAutoencoder
from .fit_data import FitData
from .loop import History
from .rotation import CodeBasis, CodeMoments, align_signs


class FitResult(NamedTuple):
    """What a training leaves behind."""

    fitted: FittedAutoencoder
    codes: CodeMoments  # of the training rows, in the final basis
    order: CodeBasis
    directions: np.ndarray  # (n_components, n_features)
    history: History


def finalize_fit(
    estimator,
    data: FitData,
    fitted: FittedAutoencoder,
    pca: PCAPath,
    history: History,
    seen: CodeMoments | None = None,
) -> FitResult:
    """Measure the training rows, then put the codes in order."""
    fitted.eval().to(data.device, inference_dtype(data.X.dtype, data.device))
    reach_before = fitted.network.reach.clone()
    fitted.network.reach.fill_(torch.inf)
    codes, reach = _measure(estimator, data, fitted, pca.to(fitted.shift))
    if seen is not None:
        codes, reach = seen.plus(codes), torch.maximum(reach, reach_before)
    if fitted.network.linear.active:  # else there is nothing to fall back on
        fitted.network.reach.copy_(reach.clamp_min(1e-30))  # constant data reach nowhere
    return estimator._in_order(fitted, codes, history)


def rotate_codes(
    estimator, fitted: RotatedAutoencoder, codes: CodeMoments, history: History
) -> FitResult:
    """Let the codes be what `_order` wants, with signs that make the directions positive."""
    order = estimator._order(fitted, codes)
    fitted.change_basis(order.centre, order.matrix)
    directions = as_array(fitted.decoder_jacobian())
    signs = align_signs(directions)
    variances = order.explained_variance
    units = np.sqrt(variances.clip(min=np.finfo(np.float64).tiny)) if estimator.whiten else 1.0
    fitted.change_basis(np.zeros_like(variances), np.diag(signs / units))
    codes = codes.in_basis(order.centre, order.matrix * (signs / units))
    return FitResult(fitted, codes, order, directions * signs[:, None], history)


def _measure(
    estimator, data: FitData, fitted: FittedAutoencoder, pca: PCAPath
) -> tuple[CodeMoments, Tensor]:
    """The codes of all training rows, what they, PCA and the mean leave over, and their reach."""
    loss = LOSSES[estimator.loss]
    mean = torch.from_numpy(data.moments.mean).to(fitted.shift)
    noise = data.rng(data.device)
    # Added up as they come: small results kept between large blocks would scatter the memory.
    codes: CodeMoments | None = None
    reach = fitted.shift.new_zeros(())
    with torch.no_grad():
        for x in tensor_blocks(data.X, fitted.shift.dtype, data.device):
            code = fitted.encode(x)
            reach = torch.maximum(reach, fitted.distance(code).max())
            standard = (x - fitted.shift) / fitted.scale
            if (shown := estimator._shown(fitted.network, standard, noise)) is not standard:
                far = fitted.network.distance(fitted.network.encode(shown)).max()
                reach = torch.maximum(reach, far)
            pca_raw = fitted.shift + fitted.scale * loss.link(pca.reconstruct(standard))
            part = estimator._moments.of(
                code,
                charge=_total(loss.deviance(fitted.decode(code), x)),
                pca_charge=_total(loss.deviance(pca_raw, x)),
                mean_charge=_total(loss.deviance(loss.link(mean).expand_as(x), x)),
                squares=torch.nansum((x - mean).double().square()).item(),
            )
            codes = part if codes is None else codes.plus(part)
    all_codes, reaches = zip(*data.group.gather((codes, reach.item())), strict=True)
    return reduce(estimator._moments.plus, all_codes), reach.new_tensor(max(reaches))


def _total(per_row: Tensor) -> float:
    return per_row.double().sum().item()
