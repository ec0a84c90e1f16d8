"""The result of a fit: statistics of the codes of all training rows, and the final code basis."""

from collections.abc import Iterator
from functools import reduce
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from .._data.dataset import dense_block, rows_of_block, weighted_blocks
from .._data.device import as_array, as_tensor, max_float_dtype
from .._data.threads import threads_for
from .._losses.reconstruction import ReconstructionLoss
from .._nn.autoencoder import Autoencoder, PCAPath
from .._nn.blocks import multiply_adds
from .._nn.fitted import FittedAutoencoder, RotatedAutoencoder
from .._nn.precision import precision
from .fit_data import FitData
from .loadings import n_rows_of_loadings
from .loop import History
from .objective import input_of_network
from .rotation import CodeBasis, CodeMoments, CodeStatistics, align_signs, whitening_scale

# The distance from which a code is far is that of all training rows but so many. A single row at
# 200 standard deviations made other rows that are nearly as far worse than by PCA.
N_FAR_ROWS = 1
# Blocks of rows are at most so long as if rows had this width: hidden layers are wider than some X.
MIN_WIDTH = 512


class Diagnostic(NamedTuple):
    """A sentence or two for the user, and the category of the warning that it deserves, if any."""

    text: str
    warning: type[Warning] | None = None


class TrainedNetwork(NamedTuple):
    """A network after training, before its codes are rotated.

    Attributes
    ----------
    fitted : FittedAutoencoder
        The network.
    pca : PCAPath
        The PCA of `pca_score_`.
    history : History
        The losses of each epoch, in the units of `score_samples`.
    seen : CodeStatistics or None
        The statistics of the codes in earlier calls of `partial_fit`.
    in_row_space : tuple of TrainedNetwork and FitData, or None
        If there are few wide rows, the network for their coordinates, and these coordinates. The
        statistics of the codes are computed from them in less time.
    """

    fitted: FittedAutoencoder
    pca: PCAPath
    history: History
    seen: CodeStatistics | None = None
    in_row_space: "tuple[TrainedNetwork, FitData] | None" = None


class FitResult(NamedTuple):
    """The result of a fit.

    Attributes
    ----------
    fitted : FittedAutoencoder
        The network, which becomes the attribute `network_`.
    codes : CodeStatistics
        The statistics of the codes of the training rows.
    basis : CodeBasis
        The rotation of the codes, and the variances of the components.
    components : ndarray of shape (n_components, n_features)
        The slope of the decoder at the mean code.
    history : History
        The losses of each epoch.
    collapse : Diagnostic or None
        A problem of the codes, for `diagnosis_`.
    attributes : dict
        Further fitted attributes by name.
    """

    fitted: FittedAutoencoder
    codes: CodeStatistics
    basis: CodeBasis
    components: np.ndarray
    history: History
    collapse: Diagnostic | None = None
    attributes: dict[str, Any] = {}  # noqa: RUF012 (never changed)

    def fitted_attributes(self) -> dict[str, Any]:
        """Return the values of the fitted attributes by name. Arrays are NumPy arrays."""
        basis, history = self.basis, self.history
        return {
            "n_components_": len(basis.explained_variance),
            "components_": self.components,
            "explained_variance_": basis.explained_variance,
            "explained_variance_ratio_": basis.explained_variance_ratio,
            "pca_score_": self.codes.pca_score,
            "loss_curve_": history.training,
            "validation_curve_": history.validation,
            "n_iter_": len(history.training),
            "best_iter_": history.best_epoch,
            "n_samples_seen_": self.codes.n_samples,
            "network_": self.fitted,
            "_codes": self.codes,
        } | self.attributes


def code_statistics(
    trained: TrainedNetwork, data: FitData, kind: type[CodeStatistics]
) -> CodeStatistics:
    """Statistics of the codes of all training rows; sets how far from the mean they reach.

    Beyond `max_train_distance` the decoder falls back on its linear path.
    """
    if trained.in_row_space is not None:
        reduced, coordinates = trained.in_row_space
        n_rows, width = coordinates.X.shape
        n_rows = min(n_rows, rows_of_block(max(width, MIN_WIDTH), 8))
        with threads_for(multiply_adds(reduced.fitted) * n_rows):
            codes = code_statistics(reduced, coordinates, kind)
        if coordinates.codes_of is not None:
            data.codes_of = trained.fitted, coordinates.codes_of[1]
        distance = reduced.fitted.network.max_train_distance
        trained.fitted.network.max_train_distance.copy_(distance)
        return codes
    fitted = trained.fitted
    fitted.eval().to(data.device, precision(fitted, data.X.dtype, data.device))
    if fitted.network.n_projection_steps:
        return _statistics_of_projections(trained, data, kind)
    distance_before = fitted.network.max_train_distance.clone()
    fitted.network.max_train_distance.fill_(torch.inf)
    codes, distance = _statistics_of_rows(trained, data, kind)
    if trained.seen is not None:
        codes, distance = trained.seen.merge(codes), torch.maximum(distance, distance_before)  # type: ignore[arg-type]
    if fitted.network.pca_path.active:
        # Not zero, so that constant data do not divide by it.
        fitted.network.max_train_distance.copy_(distance.clamp_min(1e-30))
    return codes


def _statistics_of_projections(
    trained: TrainedNetwork, data: FitData, kind: type[CodeStatistics]
) -> CodeStatistics:
    """The same if codes are projected, for which the distance has to be known before."""
    network = trained.fitted.network
    if network.pca_path.active:
        distance = _distance_of_most(network, data)
        before = network.max_train_distance
        continues = trained.seen is not None and before.isfinite()
        network.max_train_distance.fill_(max(distance, before.item()) if continues else distance)
    codes, _ = _statistics_of_rows(trained, data, kind)
    return codes if trained.seen is None else trained.seen.merge(codes)  # type: ignore[arg-type]


@torch.no_grad()
def _distance_of_most(network: Autoencoder, data: FitData) -> float:
    """The distance that the codes of `N_FAR_ROWS` training rows exceed.

    These are the codes of the encoder, and the anchors. Networks can fit rows at such distances,
    but a single row is no evidence for other rows at the same distance.
    """
    scale = network.scales.inverse_code_scale
    n_largest = N_FAR_ROWS + 1
    farthest: list[float] = []
    for x, _ in _blocks(data, scale.dtype):
        standard = (x - torch.from_numpy(data.shift).to(x)) / data.scale
        distance = network.distance(network.encode(standard))[:, 0]
        largest = distance.topk(min(n_largest, len(x))).values.tolist()
        farthest = sorted(farthest + largest, reverse=True)[:n_largest]
    rows = sorted(chain(*data.group.gather(farthest)), reverse=True)[:n_largest]
    anchors = network.distance(network.anchors)[:, 0].sort(descending=True).values[:n_largest]
    # Not zero, so that constant data do not divide by it.
    return max([rows[-1], *anchors[-1:].tolist(), 1e-30])


def rotate_codes(
    trained: TrainedNetwork, codes: CodeMoments, basis: CodeBasis, *, whiten: bool
) -> FitResult:
    """Change the basis of the codes, with signs that make the largest loadings positive."""
    fitted = trained.fitted
    assert isinstance(fitted, RotatedAutoencoder)
    fitted.rotate(basis.centre, basis.matrix)
    components = as_array(fitted.decoder_jacobian())
    signs = align_signs(components)
    variances = basis.explained_variance
    scale: Any = 1.0
    if whiten:
        eps = torch.finfo(fitted.shift.dtype).eps
        size = as_array(fitted.code_mean.abs() @ fitted.rotation.abs())
        scale = whitening_scale(variances, eps, size)
    fitted.rotate(np.zeros_like(variances), np.diag(signs / scale))
    codes = codes.transform(basis.centre, basis.matrix * (signs / scale))
    return FitResult(fitted, codes, basis, components * signs[:, None], trained.history)


def _statistics_of_rows(
    trained: TrainedNetwork, data: FitData, kind: type[CodeStatistics]
) -> tuple[CodeStatistics, Tensor]:
    """Statistics of the codes, and the largest distance of a code from the mean code."""
    fitted, pca, objective = trained.fitted, trained.pca.to(trained.fitted.shift), data.objective
    mean = as_tensor(data.moments.mean, fitted.shift.dtype, fitted.shift.device)
    rng = data.rng(data.device)
    # Merged block by block: small results kept between large blocks would fragment the memory.
    codes: Any = None
    distance = fitted.shift.new_zeros(())
    kept: list[Tensor] = []  # for the loadings, unless these are of fewer rows
    keeps = n_rows_of_loadings(data) >= data.X.shape[0]

    with torch.no_grad():
        for x, weights in _blocks(data, fitted.shift.dtype):
            code = fitted.encode(x)
            kept += [fitted.to_network_code(code)] if keeps else []
            distance = torch.maximum(distance, fitted.distance(code).max())
            standard = (x - fitted.shift) / fitted.scale
            if objective.corrupts_input:
                corrupted = input_of_network(objective, fitted.network, standard, rng)
                far = fitted.network.distance(fitted.network.encode(corrupted)).max()
                distance = torch.maximum(distance, far)
            pca_raw = fitted.shift + fitted.scale * data.loss.link(pca.reconstruct(standard))
            totals = _deviances(data.loss, x, fitted.decode(code), pca_raw, mean, weights)
            part = kind.from_codes(code, weights, **totals)
            codes = part if codes is None else codes.merge(part)
    data.codes_of = (fitted, torch.cat(kept)) if keeps else None
    all_codes, distances = zip(*data.group.gather((codes, distance.item())), strict=True)
    merged = reduce(kind.merge, all_codes).scaled_to(data.n_samples)
    return merged, distance.new_tensor(max(distances))


def _blocks(data: FitData, dtype: torch.dtype) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Blocks of all rows with a weight above zero, and their weights, if these are not equal.

    They have few rows if these are wide, but enough to read the weights of the network for.
    """
    width = max(data.X.shape[1], MIN_WIDTH)
    for rows, weights in weighted_blocks(data.X, data.weights, width, times=8):
        x = as_tensor(dense_block(data.X, rows), dtype, data.device)
        if weights is None:
            yield x, None
        else:
            yield x, as_tensor(weights, max_float_dtype(data.device), data.device)


def _deviances(
    loss: ReconstructionLoss,
    x: Tensor,
    raw: Tensor,
    pca_raw: Tensor,
    mean: Tensor,
    weights: Tensor | None,
) -> dict[str, float]:
    """Summed over rows: the deviances of three reconstructions, and the squares about the mean."""
    return {
        "deviance": _total(loss.deviance(raw, x), weights),
        "pca_deviance": _total(loss.deviance(pca_raw, x), weights),
        "mean_deviance": _total(loss.deviance(loss.link(mean).expand_as(x), x), weights),
        "squares": _total((x - mean).double().square().nansum(1), weights),
    }


def _total(per_row: Tensor, weights: Tensor | None) -> float:
    per_row = per_row.double()
    return (per_row if weights is None else weights * per_row).sum().item()
