"""The measures of a comparison of reducers, on one fold."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import clone
from sklearn.linear_model import LinearRegression
from sklearn.manifold import trustworthiness
from sklearn.metrics import r2_score
from sklearn.neighbors import NearestNeighbors
from sklearn.utils import check_random_state

from .._data.array_api import ArrayLike
from .._data.fit_params import accepted_fit_params
from .._data.validation import Rule, as_tuple
from .comparison import FURTHER_MEASURES, MAX_TRUSTWORTHINESS_ROWS
from .labels import as_labels
from .protocols import Predictor, UnfittedTransformer
from .scoring import check_reconstruction, dense, explained_variance, select_rows

# The stability is that of a fit to this share of the training rows.
REFIT_SHARE = 0.8

MEASURES = Rule(
    f"a sequence of names among {list(FURTHER_MEASURES)}",
    lambda value: isinstance(value, list | tuple),
    lambda value: all(isinstance(v, str) and v in FURTHER_MEASURES for v in as_tuple(value)),
)


class Fold(NamedTuple):
    """One split of the rows, the same for all reducers."""

    X_train: ArrayLike
    X_test: ArrayLike
    y_train: np.ndarray | None
    y_test: np.ndarray | None
    groups_train: np.ndarray | None
    encode: Callable[[ArrayLike], Any]  # rows as numbers, dense or CSR
    rows: np.ndarray | None  # `X_test` as a dense array of numbers, None if it has other values
    mean: np.ndarray | None  # of the training rows


# (reducer, fold, codes of the training rows, codes of the test rows): the measure.
Measure = Callable[[UnfittedTransformer, Fold, np.ndarray, np.ndarray], float]


def explained_variance_of(reducer: UnfittedTransformer, codes: np.ndarray, fold: Fold) -> float:
    """Explained variance of the test rows, NaN where the reducer has no inverse."""
    if fold.rows is None or fold.mean is None or not hasattr(reducer, "inverse_transform"):
        return np.nan
    try:
        reconstruction = reducer.inverse_transform(codes)
    # KernelPCA without a fitted inverse and SimpleImputer without indicators raise in the call.
    except (ValueError, NotImplementedError):
        return np.nan
    check_reconstruction(reconstruction, np.shape(fold.X_test))
    return explained_variance(fold.rows, dense(fold.encode(reconstruction)), fold.mean)


def trustworthiness_of(rows: np.ndarray | None, codes: np.ndarray, n_neighbors: int) -> float:
    """Trustworthiness of at most `MAX_TRUSTWORTHINESS_ROWS` evenly spaced rows."""
    if rows is None:
        return np.nan
    n_sampled = min(len(rows), MAX_TRUSTWORTHINESS_ROWS)
    sample = np.linspace(0, len(rows) - 1, n_sampled).astype(int)
    metric = "nan_euclidean" if np.isnan(rows).any() else "euclidean"
    return float(
        trustworthiness(rows[sample], codes[sample], n_neighbors=n_neighbors, metric=metric)
    )


def score_codes(
    model: Predictor | None, train_codes: np.ndarray, codes: np.ndarray, fold: Fold
) -> float:
    """Score of a clone of `model` fitted to the codes and `y`, NaN without a model."""
    if model is None or fold.y_train is None or fold.y_test is None:
        return np.nan
    y_train, in_train = as_labels(fold.y_train)
    y_test, in_test = as_labels(fold.y_test)
    if not (in_train.any() and in_test.any()):
        return np.nan
    fitted = clone(model).fit(train_codes[in_train], y_train[in_train])
    return float(fitted.score(codes[in_test], y_test[in_test]))


def further_measures(
    names: Sequence[str],
    n_neighbors: int,
    classes: bool,
    random_state: int | np.random.RandomState | None,
) -> dict[str, Measure]:
    """The further measures of these names."""
    seed = check_random_state(random_state).randint(2**31 - 1) if names else 0
    measures: dict[str, Measure] = {
        "continuity": partial(_continuity, n_neighbors=n_neighbors),
        "neighborhood_hit": partial(_neighborhood_hit, n_neighbors=n_neighbors, classes=classes),
        "stability": partial(_stability, seed=seed),
    }
    return {name: measures[name] for name in names}


def _continuity(
    reducer: UnfittedTransformer,
    fold: Fold,
    train_codes: np.ndarray,
    codes: np.ndarray,
    *,
    n_neighbors: int,
) -> float:
    """The trustworthiness of rows as a map of their codes."""
    if fold.rows is None or np.isnan(fold.rows).any():
        return np.nan
    return trustworthiness_of(codes, fold.rows, n_neighbors)


def _neighborhood_hit(
    reducer: UnfittedTransformer,
    fold: Fold,
    train_codes: np.ndarray,
    codes: np.ndarray,
    *,
    n_neighbors: int,
    classes: bool,
) -> float:
    """The mean share of the nearest codes that have the label of a code."""
    if fold.y_test is None or not classes:
        return np.nan
    y, is_labelled = as_labels(fold.y_test)
    y, codes = y[is_labelled], codes[is_labelled]
    if len(y) <= n_neighbors:
        return np.nan
    nearest = NearestNeighbors(n_neighbors=n_neighbors).fit(codes).kneighbors()[1]
    return float((y[nearest] == y[:, None]).mean())


def _stability(
    reducer: UnfittedTransformer,
    fold: Fold,
    train_codes: np.ndarray,
    codes: np.ndarray,
    *,
    seed: int,
) -> float:
    """R2 of the codes, predicted linearly by those of a fit to a part of the training rows."""
    n_rows = len(train_codes)
    chosen = np.random.RandomState(seed).permutation(n_rows)[: max(int(REFIT_SHARE * n_rows), 2)]
    chosen.sort()
    y, groups = (None if v is None else v[chosen] for v in (fold.y_train, fold.groups_train))
    params = accepted_fit_params(reducer, groups=groups)
    other = clone(reducer).fit(select_rows(fold.X_train, chosen), y, **params)
    other_train_codes, other_codes = (
        dense(other.transform(X)) for X in (fold.X_train, fold.X_test)
    )
    prediction = LinearRegression().fit(other_train_codes, train_codes).predict(other_codes)
    return float(r2_score(codes, prediction, multioutput="variance_weighted"))
