"""Diagnostics of a fit in plain words. Likely mistakes are warnings as well."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from .._data.array_api import column_sums, to_namespace_of
from .._data.dataset import dense_block
from .._data.device import max_float_dtype
from .._data.user_warnings import warn_user
from .._nn.fitted import FittedAutoencoder
from .fit_data import FitData
from .loop import History, divergence_message
from .result import Diagnostic, FitResult
from .rotation import CodeBasis, CodeStatistics

# Columns dominate if at most a tenth of them carry this share of the variance, and the others, at
# least half of them, have less than a quarter of their own variance explained.
DOMINANT_SHARE, EXPLAINED_SHARE = 0.99, 0.25

# Ends of the findings about columns without variance.
NEVER_OBSERVED = "have no observed value: nothing can be learned of them."
CONSTANT = "are constant: they have no influence on the codes."

# The held-out loss has risen if it lost this share of what training had gained.
LOST_SHARE = 0.25


# Whether fits warn; not in the first of several fits by one estimator, of the same rows.
WARNS: ContextVar[bool] = ContextVar("WARNS", default=True)


@contextmanager
def without_warnings() -> Iterator[None]:
    """Fits in this context raise no warnings about the rows."""
    token = WARNS.set(False)
    try:
        yield
    finally:
        WARNS.reset(token)


class ColumnNames(NamedTuple):
    """The columns of the rows of `fit`, each of which is one or more inputs of the network."""

    names: Sequence[Any] | np.ndarray  # or their numbers
    of_inputs: np.ndarray | None = None  # the column of each input, if these are not the columns

    def sums(self, values: np.ndarray) -> np.ndarray:
        """The sums over the inputs of each column, (n_columns,)."""
        if self.of_inputs is None:
            return values
        return np.bincount(self.of_inputs, values, minlength=len(self.names))

    def first(self, columns: np.ndarray) -> str:
        """The names of the first of some columns."""
        names = np.asarray(self.names)[columns[:3]].tolist()
        return ", ".join(map(repr, names)) + ", ..." * (len(columns) > 3)


def diagnose(
    result: FitResult, data: FitData, reconstruct: Callable[[Any], Any], columns: ColumnNames
) -> list[Diagnostic]:
    """All diagnostics of a fit.

    Parameters
    ----------
    result : FitResult
        The fit.
    data : FitData
        What it started from.
    reconstruct : callable
        Reconstructs rows in the units of `X`.
    columns : ColumnNames
        The columns of `X`.
    """
    objective = data.objective
    is_plain = objective.is_reconstruction and not objective.corrupts_input
    dominant, collapse = _dominant_columns(data, reconstruct, columns), result.collapse
    if dominant is not None and collapse is not None:
        collapse = Diagnostic(collapse.text)  # one cause, one warning
    found = (
        *_columns_without_variance(data, columns),
        collapse,
        dominant,
        _rising_loss(result),
        _no_improvement(result, data.config.max_epochs, continues=data.fitted is not None),
        _below_pca(result) if is_plain else None,
    )
    return [diagnostic for diagnostic in found if diagnostic is not None]


def diagnose_batch(
    data: FitData, columns: ColumnNames, earlier: tuple[str, ...]
) -> tuple[str, ...]:
    """The columns without variance in the first of some batches, which set the units.

    `earlier` are the diagnostics of the batch, or the fit, before a later one.
    """
    if data.fitted is None:
        return tuple(found.text for found in _columns_without_variance(data, columns))
    return tuple(text for text in earlier if text.endswith((NEVER_OBSERVED, CONSTANT)))


def warn_after_fit(
    history: History,
    diagnostics: Sequence[Diagnostic],
    start: str,
    learning_rate: float,
    *,
    verbose: bool,
) -> None:
    """Warn if training ended with a problem, and pass on an interruption.

    `start` is the name of epoch 0.
    """
    for text, category in diagnostics:
        if category is not None and WARNS.get():
            warn_user(text, category)
        elif verbose:
            print(text)
    kept = f"The weights of epoch {history.best_epoch} are kept (0: {start})."
    if history.diverged and WARNS.get():
        message = divergence_message(learning_rate, finite_before=history.finite_before)
        message = f"{message} {kept}"
        warn_user(message, ConvergenceWarning)
    if history.interrupted:
        warn_user(f"Training was interrupted. {kept}", ConvergenceWarning)
        raise KeyboardInterrupt


def collapsed_codes(basis: CodeBasis, codes: CodeStatistics) -> Diagnostic | None:
    """Codes that do not vary, although the residual has variance.

    A principal component would vary by at least 1 / n_features of that.
    """
    variances = basis.explained_variance
    unexplained = max(1 - codes.score, 0.0) * codes.squares / max(codes.n_samples - 1, 1)
    total = variances.sum() + unexplained
    if unexplained <= 1e-12 * total:
        n_needed = int(np.sum(variances > 1e-12 * total))
        if n_needed == len(variances) or not total:
            return None
        return Diagnostic(
            f"The rows vary in {n_needed} directions only: `n_components`={n_needed} has the same "
            "reconstruction error."
        )
    n_dead = int(np.sum(variances <= 1e-6 * unexplained))
    if not n_dead:
        return None
    return Diagnostic(
        f"{n_dead} of {len(variances)} components are constant over the rows, although there is "
        "variance left to explain. `init`='pca' or a smaller `learning_rate_init` may prevent it.",
        ConvergenceWarning,
    )


def collapsed_posteriors(active: np.ndarray, basis: CodeBasis) -> Diagnostic | None:
    """Components whose posterior is their prior."""
    n_active, n_components = int(active.sum()), len(active)
    if n_active == n_components or not basis.explained_variance.any():
        return None
    return Diagnostic(
        f"{n_components - n_active} of {n_components} components have no information on the rows: "
        "their posterior is their prior (see `active_components_`). "
        f"`n_components`={max(n_active, 1)} gives the same density; a smaller `beta` keeps "
        "more of them active.",
        ConvergenceWarning,
    )


def _columns_without_variance(data: FitData, columns: ColumnNames) -> list[Diagnostic]:
    """Columns that are never observed, and others that are constant."""
    inputs = np.flatnonzero(data.moments.std == 0)
    is_empty = np.zeros(len(data.moments.std), dtype=bool)
    if data.moments.n_missing and len(inputs):
        n_observed = _n_observed(data.X, inputs, data.weights)
        is_empty[inputs] = data.group.all_reduce_array(n_observed) == 0
    is_constant = columns.sums(data.moments.std) == 0
    is_empty = columns.sums(1.0 * ~is_empty) == 0
    return [
        Diagnostic(f"{len(found)} of {len(is_empty)} columns ({columns.first(found)}) {what}")
        for found, what in (
            (np.flatnonzero(is_empty), NEVER_OBSERVED),
            (np.flatnonzero(is_constant & ~is_empty), CONSTANT),
        )
        if len(found)
    ]


def _n_observed(X: Any, inputs: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """The number of entries of some inputs that are not NaN, in rows with a weight above zero."""
    X = X[:, inputs]
    if weights is not None:
        X = X[np.flatnonzero(weights)]
    if sparse.issparse(X):
        missing = np.bincount(X.indices[np.isnan(X.data)], minlength=len(inputs))
    elif isinstance(X, Tensor):
        missing = X.isnan().sum(0).cpu().numpy()
    else:
        missing = np.isnan(X).sum(axis=0)
    return X.shape[0] - missing.astype(np.float64)


def _dominant_columns(
    data: FitData, reconstruct: Callable[[Any], Any], columns: ColumnNames
) -> Diagnostic | None:
    """Columns whose units are so large that the objective ignores the others."""
    variance = columns.sums(data.moments.std**2)
    order = np.argsort(-variance, kind="stable")
    cumulative = np.cumsum(variance[order])
    n_varying = int(np.sum(variance > 0))
    n_large = int(np.sum(cumulative < DOMINANT_SHARE * cumulative[-1])) + 1
    large, small = order[:n_large], order[n_large:n_varying]
    if n_large > max(1, n_varying // 10) or len(small) == 0:
        return None
    if np.median(_explained_shares(data, reconstruct, columns)[small]) >= EXPLAINED_SHARE:
        return None
    named = columns.first(large)
    share = variance[large].sum() / cumulative[-1]
    return Diagnostic(
        f"{share:.1%} of the variance is in {n_large} of {n_varying} columns ({named}), and the "
        "others are hardly reconstructed. If columns have different units, scale them first, with "
        "sklearn.preprocessing.StandardScaler for instance.",
        UserWarning,
    )


def _explained_shares(
    data: FitData, reconstruct: Callable[[Any], Any], columns: ColumnNames
) -> np.ndarray:
    """The share of each column's variance that is explained, over at most 1000 of the rows."""
    X = data.X
    kept = np.arange(X.shape[0]) if data.weights is None else np.flatnonzero(data.weights)
    some = kept[np.linspace(0, len(kept) - 1, min(len(kept), 1000)).astype(int)]
    x = dense_block(X, some)
    x = x.to(max_float_dtype(x.device)) if isinstance(x, Tensor) else x.astype(np.float64)
    mean = to_namespace_of(x, data.moments.mean)
    fill = torch.nan_to_num if isinstance(x, Tensor) else np.nan_to_num
    residual, total = (
        columns.sums(data.group.all_reduce_array(np.array(column_sums(fill((x - other) ** 2)))))
        for other in (reconstruct(x), mean)
    )
    return 1 - residual / np.where(total > 0, total, 1)


def _rising_loss(result: FitResult) -> Diagnostic | None:
    """A held-out loss that rose again while the training loss fell."""
    training, held_out, best, *_ = result.history
    if not 0 < best < len(training):
        return None
    lost = (held_out[-1] - held_out[best]) / (held_out[0] - held_out[best])
    if lost < LOST_SHARE or training[-1] >= training[best - 1]:
        return None
    return Diagnostic(
        f"After epoch {best} the held-out loss rose, by {lost:.0%} of its earlier decrease, while "
        "the training loss kept falling: the network overfitted. The weights of epoch "
        f"{best} are kept. More rows, a larger `alpha` or smaller `hidden_layer_sizes` may help."
    )


def name_of_start(fitted: FittedAutoencoder, continues: bool) -> str:
    """The name of the initialisation."""
    if continues:
        return "the network of the fit before"
    active = fitted.network.pca_path.active
    return "the principal components" if active else "the random initial weights"


def _no_improvement(result: FitResult, max_epochs: int, *, continues: bool) -> Diagnostic | None:
    """A training that ended at its initial weights."""
    history, start = result.history, name_of_start(result.fitted, continues)
    n_epochs, kept = len(history.training), f"{start} {'is' if continues else 'are'} kept."
    if history.best_epoch > 0:
        return None
    if history.diverged:
        return Diagnostic(f"The loss was not finite in epoch {n_epochs + 1}: {kept}")
    if n_epochs == 0:
        return None
    epochs = f"{n_epochs} epoch{'s' if n_epochs > 1 else ''}"
    reached = " `max_iter` was reached: more epochs may help." if n_epochs == max_epochs else ""
    return Diagnostic(
        f"The held-out loss did not improve significantly in {epochs}: {kept}{reached}"
    )


def _below_pca(result: FitResult) -> Diagnostic | None:
    """Rows that PCA would reconstruct better."""
    score, pca_score = result.codes.score, result.codes.pca_score
    if score >= pca_score - 1e-6:
        return None
    return Diagnostic(
        f"PCA explains more of the training rows with as many components, {pca_score:.3f} against "
        f"{score:.3f}: `init`='pca' starts at PCA."
    )
