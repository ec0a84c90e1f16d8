"""What is odd about a fit, in plain words. Most of it is only noted; a warning is for a mistake."""

from typing import NamedTuple

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from .._data.array_api import as_numpy, to_namespace_of
from .._data.dataset import column_sums, dense_block
from .._data.process_group import SINGLE_PROCESS, SingleProcess

# Columns drown the others if a tenth of them at most carry this share of the variance, and the
# others, half of them at least, come back with less than a quarter of their own.
DROWNING, RESTORED = 0.99, 0.25

# A held-out error has risen if it lost again this share of what training had gained.
LOST_AGAIN = 0.25


class Diagnostic(NamedTuple):
    """A sentence or two for the user, and the category of warning that it is worth, if any."""

    text: str
    warning: type[Warning] | None = None


def diagnose(
    fitted, X, deviation: np.ndarray, group: SingleProcess = SINGLE_PROCESS
) -> list[Diagnostic]:
    """All that is odd about a fit to the rows of `X`, whose columns have this deviation."""
    found = (
        fitted._collapse(),
        _drowned_columns(fitted, X, deviation, group),
        _rising_error(fitted),
        _no_gain(fitted),
        _below_pca(fitted) if fitted._only_reconstructs and fitted._is_plain else None,
    )
    return [finding for finding in found if finding is not None]


def collapsed_codes(fitted) -> Diagnostic | None:
    """Codes that do not vary, while there is variance left to explain.

    A principal component varies by at least 1 / n_features of what is left.
    """
    variances = as_numpy(fitted.explained_variance_)
    unexplained = _unexplained(fitted)
    total = variances.sum() + unexplained
    if unexplained <= 1e-12 * total:
        n_needed = int(np.sum(variances > 1e-12 * total))
        if n_needed == len(variances) or not total:
            return None
        return Diagnostic(
            f"The rows vary in {n_needed} directions only: `n_components`={n_needed} restores them "
            "as well."
        )
    n_dead = int(np.sum(variances <= 1e-6 * unexplained))
    if not n_dead:
        return None
    return Diagnostic(
        f"{n_dead} of {len(variances)} components say nothing of the rows: their codes are the "
        "same for all of them, and there is variance left to explain. `init`='pca' or a smaller "
        "`learning_rate_init` may keep them alive.",
        ConvergenceWarning,
    )


def _unexplained(fitted) -> float:
    """The variance, summed over the columns, that all codes together leave."""
    codes = fitted._codes
    return max(1 - codes.score, 0.0) * codes.squares / max(codes.n_samples - 1, 1)


def _drowned_columns(fitted, X, deviation: np.ndarray, group: SingleProcess) -> Diagnostic | None:
    """Columns whose units are so large that the others do not count."""
    variance = deviation**2
    order = np.argsort(-variance, kind="stable")
    cumulative = np.cumsum(variance[order])
    n_varying = int(np.sum(variance > 0))
    n_large = int(np.sum(cumulative < DROWNING * cumulative[-1])) + 1
    large, small = order[:n_large], order[n_large:n_varying]
    if n_large > max(1, n_varying // 10) or len(small) == 0:
        return None
    if np.median(_shares(fitted, X, group)[small]) >= RESTORED:
        return None
    names = getattr(fitted, "feature_names_in_", np.arange(len(variance)))[large[:3]].tolist()
    named = ", ".join(map(repr, names)) + ", ..." * (n_large > 3)
    share = variance[large].sum() / cumulative[-1]
    return Diagnostic(
        f"{n_large} of {n_varying} columns ({named}) carry {share:.1%} of the variance, and the "
        "others are hardly restored. If columns have different units, scale them first, with "
        "sklearn.preprocessing.StandardScaler for instance.",
        UserWarning,
    )


def _shares(fitted, X, group: SingleProcess) -> np.ndarray:
    """The share of each column's variance that is explained, over some of the rows."""
    some = np.linspace(0, X.shape[0] - 1, min(X.shape[0], 1000)).astype(int)
    x = dense_block(X, some)
    restored = fitted._computed(x, fitted._restore, x.shape[1])
    mean = to_namespace_of(x, as_numpy(fitted.mean_))
    fill = torch.nan_to_num if isinstance(x, Tensor) else np.nan_to_num
    left, there = (
        group.all_reduce_array(np.array(column_sums(fill((x - other) ** 2))))
        for other in (restored, mean)
    )
    return 1 - left / np.where(there > 0, there, 1)


def _rising_error(fitted) -> Diagnostic | None:
    """Held-out rows that came back worse again while training rows came back better."""
    training, held_out, best = fitted.loss_curve_, fitted.validation_curve_, fitted.best_iter_
    if not 0 < best < len(training):
        return None
    lost = (held_out[-1] - held_out[best]) / (held_out[0] - held_out[best])
    if lost < LOST_AGAIN or training[-1] >= training[best - 1]:
        return None
    return Diagnostic(
        f"After epoch {best} the held-out loss rose, by {lost:.0%} of what it had fallen, while "
        "the training loss went on falling: the network learned its rows by heart. The weights of "
        f"epoch {best} are kept. More rows, a larger `alpha` or smaller `hidden_layer_sizes` may "
        "help."
    )


def _no_gain(fitted) -> Diagnostic | None:
    """A training that ended where it began."""
    if fitted.best_iter_ > 0 or fitted.n_iter_ == 0:
        return None
    start = "the principal components are" if fitted._starts_at_pca else "its random start is"
    return Diagnostic(
        f"The network gained nothing in {fitted.n_iter_} epochs that held-out rows could confirm: "
        f"{start} kept. Few rows, columns in very different units, or structure that is linear can "
        "be why."
    )


def _below_pca(fitted) -> Diagnostic | None:
    """Rows that PCA would restore better."""
    score, pca_score = fitted._codes.score, fitted.pca_score_
    if score >= pca_score - 1e-6:
        return None
    return Diagnostic(
        f"PCA explains more of the training rows with as many components, {pca_score:.3f} against "
        f"{score:.3f}: `init`='pca' starts there."
    )
