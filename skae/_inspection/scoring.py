"""Scores of a reconstruction, for anything that has `inverse_transform`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.utils import check_array


def make_reconstruction_scorer(metric: str = "explained_variance") -> Callable[..., float]:
    """Make a scorer that judges a transformer by how well it restores unseen rows.

    Most reducers of scikit-learn have no `score`, so that a bare `GridSearchCV` cannot tune them.
    With this scorer it can: `transform`, then `inverse_transform`, then `metric`. Entries of `X`
    that are NaN are not charged.

    Parameters
    ----------
    metric : {"explained_variance", "neg_mean_squared_error", "neg_mean_absolute_error"}, \
            default="explained_variance"
        What is returned; higher is better in each case. ``"explained_variance"`` is the share of
        the sum of squares about the mean of the scored rows that is restored, 1 at best. The
        other two are per entry, in the (squared) units of `X`.

    Returns
    -------
    scorer : callable
        ``scorer(estimator, X, y=None)`` returns a float and ignores `y`. It can be pickled. It
        raises a TypeError where the estimator has no `inverse_transform`.

    See Also
    --------
    compare_reducers : Compares reducers by more than their reconstruction.

    Notes
    -----
    A scorer sees the scored rows only, so its explained variance is taken about *their* mean,
    as R² is; :func:`compare_reducers` takes it about the mean of the training rows. The order of
    reducers on a fold is the same.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.decomposition import TruncatedSVD
    >>> from sklearn.model_selection import GridSearchCV
    >>> from skae import make_reconstruction_scorer
    >>> X, _ = load_iris(return_X_y=True)
    >>> grid = {"n_components": [1, 2, 3]}
    >>> scorer = make_reconstruction_scorer()
    >>> search = GridSearchCV(TruncatedSVD(random_state=0), grid, scoring=scorer).fit(X)
    >>> search.best_params_
    {'n_components': 3}
    """
    if metric not in (allowed := list(_RECONSTRUCTION_METRICS)):
        raise ValueError(f"`metric` must be one of {allowed}, got {metric!r}.")
    return _ReconstructionScorer(metric)


@dataclass(frozen=True)
class _ReconstructionScorer:
    """A class, not a closure: a scorer must be picklable."""

    metric: str

    def __call__(self, estimator: Any, X: Any, y: Any = None) -> float:
        if not hasattr(estimator, "inverse_transform"):
            raise TypeError(
                "`estimator` must have `inverse_transform` to be scored by its reconstruction, "
                f"got {estimator!r}."
            )
        rows = dense(as_numbers(X))
        restored = estimator.inverse_transform(dense(estimator.transform(X)))
        return _RECONSTRUCTION_METRICS[self.metric](rows, as_reconstruction(restored, rows.shape))


def explained_variance(rows: np.ndarray, restored: np.ndarray, mean: np.ndarray) -> float:
    """Share of the observed entries' sum of squares about `mean` that is restored."""
    observed = ~np.isnan(rows)
    error = np.sum((rows - restored) ** 2, where=observed)
    total = np.sum((rows - mean) ** 2, where=observed)
    if total == 0:  # nothing to explain: the two answers of scikit-learn's r2_score
        return float(error == 0)
    return float(1 - error / total)


def _explained_variance_about_own_mean(rows: np.ndarray, restored: np.ndarray) -> float:
    return explained_variance(rows, restored, observed_mean(rows))


def _neg_mean_squared_error(rows: np.ndarray, restored: np.ndarray) -> float:
    return -float(np.mean((rows - restored) ** 2, where=~np.isnan(rows)))


def _neg_mean_absolute_error(rows: np.ndarray, restored: np.ndarray) -> float:
    return -float(np.mean(np.abs(rows - restored), where=~np.isnan(rows)))


_RECONSTRUCTION_METRICS = {
    "explained_variance": _explained_variance_about_own_mean,
    "neg_mean_squared_error": _neg_mean_squared_error,
    "neg_mean_absolute_error": _neg_mean_absolute_error,
}


def as_reconstruction(restored: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Return an array, and refuse a shape that would be broadcast against the rows in silence."""
    restored = dense(restored)
    if restored.shape != shape:
        raise ValueError(
            f"`inverse_transform` must give back the shape of `X`, {shape}, got {restored.shape}."
        )
    return restored


def as_numbers(X: Any) -> Any:
    """Return `X` as float64, dense or CSR."""
    return check_array(X, accept_sparse="csr", dtype=np.float64, ensure_all_finite="allow-nan")


def dense(X: Any) -> np.ndarray:
    """Return an array, whichever container a transformer returned."""
    return X.toarray() if sparse.issparse(X) else np.asarray(X)


def observed_mean(X: Any) -> np.ndarray:
    """Mean of each column's observed entries, 0 where there is none."""
    if sparse.issparse(X):
        return np.asarray(X.mean(axis=0)).ravel()
    observed = ~np.isnan(X)
    return np.sum(X, axis=0, where=observed) / np.maximum(observed.sum(axis=0), 1)
