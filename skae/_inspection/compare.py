"""Comparison of reducers on test rows: the measures and the checks of arguments."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.base import clone, is_regressor
from sklearn.model_selection import BaseCrossValidator
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.utils.multiclass import type_of_target

from .._data.array_api import ArrayLike
from .._data.fit_params import accepted_fit_params
from .._data.groups import RowGroups
from .._data.messages import described
from .._data.process_group import refuse_process_group
from .._data.splits import RandomState, Splits, make_splits
from .._data.validation import NONE, check_value, estimator_with, integer
from .comparison import ReducerComparison, ReducerScores
from .labels import as_labels, as_target
from .measures import (
    MEASURES,
    Fold,
    Measure,
    explained_variance_of,
    further_measures,
    score_codes,
    trustworthiness_of,
)
from .protocols import Predictor, UnfittedTransformer
from .scoring import as_numbers, dense, observed_mean, select_rows
from .table_values import encoding_of

# Kinds of target, as `type_of_target` names them.
_CLASSES = ("binary", "multiclass")
_NUMBERS = ("continuous", "continuous-multioutput")


def compare_reducers(
    reducers: Mapping[str, UnfittedTransformer],
    X: ArrayLike,
    y: ArrayLike = None,
    *,
    groups: ArrayLike = None,
    cv: int | BaseCrossValidator | Splits | None = 3,
    downstream: Predictor | None = None,
    n_neighbors: int = 5,
    measures: Sequence[str] = (),
    random_state: RandomState = None,
) -> ReducerComparison:
    """Compare reducers by cross-validation.

    Each reducer is cloned, fitted on the training rows of each fold and scored on its test rows.
    The folds are the same for all reducers. The measures are:

    - *explained variance*: ``1 - sum (x - reconstruction)^2 / sum (x - mean)^2`` over the observed
      entries of the test rows, with the mean of the training rows. It is 1 at best, and 0 if each
      row is reconstructed as the mean. It requires `inverse_transform`.
    - *trustworthiness*: whether rows with similar codes are similar, 1 at best
      (:func:`sklearn.manifold.trustworthiness`). It is computed from at most 2000 test rows.
    - *k-NN score*: k nearest neighbours are fitted to the codes and `y` of the training rows. The
      measure is their score on the test rows: the accuracy for classes, R² for numbers.
    - *downstream score*: `downstream` is fitted to the codes and `y` of the training rows, and its
      method `score` is called with the codes and `y` of the test rows.
    - *seconds*: the time to fit the reducer to the training rows, and to transform the test rows.

    Further measures are computed if `measures` contains their names:

    - *continuity*: whether similar rows have similar codes, 1 at best. This is the trustworthiness
      with exchanged roles of rows and codes [1]_. NaN if rows have missing values.
    - *neighborhood_hit*: the share of the k nearest codes of a test row, among those of the other
      test rows, that belong to the same class [2]_. Only for classes.
    - *stability*: a clone of the reducer is fitted to 80 % of the training rows of the fold, chosen
      at random. The measure is the R² with which its codes predict those of the first one by a
      linear regression. It is computed from the test rows, for all components together. 1 means the
      same codes up to a linear map. The reducer is fitted twice.

    A measure that cannot be computed is NaN, and ``-`` in the table. This is the case for the
    explained variance if the reducer has no `inverse_transform`, or if it raises a ValueError or
    NotImplementedError. For a frame with categories, the explained variance and the trustworthiness
    are computed in the units of factor analysis of mixed data: numbers are in standard deviations,
    and there is an indicator for each category, divided by the root of its frequency. If `X`
    contains other objects, neither can be computed.

    Parameters
    ----------
    reducers : dict of str to transformer
        The reducers: transformers or pipelines. The keys are the names in the table. Reducers are
        cloned before they are fitted.

    X : {array-like, sparse matrix, DataFrame} of shape (n_samples, n_features)
        The rows. NaN marks missing values. It is allowed if the reducers accept it.

    y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
        Classes or numbers that are predicted from the codes. `y` is also passed to `fit` of each
        reducer. Whole numbers are classes, unless `downstream` is a regressor. In an array of
        strings and the number -1, -1 means "no label". Rows without a label are used to fit the
        reducers, but not for the scores.

    groups : array-like of shape (n_samples,), default=None
        Labels of rows that belong together, such as the patient of each row. Rows with equal labels
        are in the same fold. `groups` are also passed to `fit` of reducers that accept them, such
        as the autoencoders. For a pipeline, this needs scikit-learn's ``enable_metadata_routing``.

    cv : int, splitter, iterable of (train, test) or None, default=3
        The number of folds, or the folds. A number means shuffled folds, which are stratified if
        `y` contains classes. None means 5. For a single split, pass one pair of index arrays in a
        list.

    downstream : estimator, default=None
        Classifier or regressor that is fitted to the codes. Requires `y`.

    n_neighbors : int, default=5
        Number of neighbours for the trustworthiness and the k-NN score. It must be less than half
        the number of test rows of a fold.

    measures : sequence of {"continuity", "neighborhood_hit", "stability"}, default=()
        The further measures to compute.

    random_state : int, RandomState instance or None, default=None
        Seed of the folds, if `cv` is a number, and of the rows for the stability. It is not passed
        to the reducers.

    Returns
    -------
    comparison : ReducerComparison
        The result. `print` prints a table. `folds` contains the scores of each fold, `mean()` and
        `std()` return their means and standard deviations, and `to_frame()` returns a DataFrame.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as documented; the message names it. Errors of the reducers, of
        `downstream` and of the nearest neighbours are raised as they are.

    See Also
    --------
    make_reconstruction_scorer : Tunes one reducer by its reconstruction.

    References
    ----------
    .. [1] J. Venna and S. Kaski, "Neighborhood preservation in nonlinear projection methods: an
       experimental study", ICANN, 2001.
    .. [2] F. V. Paulovich et al., "Least square projection: a fast high-precision multidimensional
       projection technique and its application to document mapping", IEEE Transactions on
       Visualization and Computer Graphics, 2008.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.decomposition import PCA
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skae import compare_reducers
    >>> X, y = load_iris(return_X_y=True)
    >>> reducers = {
    ...     "raw": PCA(n_components=2),
    ...     "scaled": make_pipeline(StandardScaler(), PCA(n_components=2)),
    ... }
    >>> comparison = compare_reducers(reducers, X, y, random_state=0)
    >>> print(comparison)  # doctest: +SKIP
    reducer  components  explained variance  trustworthiness  5-NN accuracy  fit s  transform s
    raw               2       0.977 ± 0.003    0.985 ± 0.005  0.953 ± 0.025  0.002        0.002
    scaled            2       0.968 ± 0.005    0.965 ± 0.003  0.913 ± 0.009  0.005        0.001
    mean ± std over 3 folds, 150 unseen rows

    After standardisation, PCA explains less of the variance in the units of `X`:

    >>> mean = comparison.mean()
    >>> mean["raw"].explained_variance > mean["scaled"].explained_variance
    True
    """
    refuse_process_group("compare_reducers")
    _check_reducers(reducers)
    check_value("n_neighbors", n_neighbors, (integer(1),))
    check_value("measures", measures, (MEASURES,))
    check_value("downstream", downstream, (estimator_with("fit", "score"), NONE))
    X = _check_rows(X)
    y = _check_target(y, X)
    group = None if groups is None else RowGroups.from_labels(groups, X.shape[0]).of_row
    if downstream is not None and y is None:
        raise ValueError("`downstream` is scored against `y`: pass `y` too, got None.")
    labels = None if y is None else as_labels(y)[0]
    classes = _holds_classes(labels, downstream)
    knn = _knn_model(y, classes, n_neighbors)

    folds: dict[str, list[ReducerScores]] = {name: [] for name in reducers}
    n_test_rows = []
    splits = make_splits(cv, X, labels, group, classes, random_state)
    further = further_measures(measures, n_neighbors, classes, random_state)
    for train, test in splits:
        fold = _make_fold(X, y, group, train, test)
        n_test_rows.append(fold.X_test.shape[0])
        _check_enough_rows(n_neighbors, n_test_rows[-1])
        for name, reducer in reducers.items():
            try:
                scores = _score_fold(reducer, fold, knn, downstream, n_neighbors, further)
                folds[name].append(scores)
            except Exception as error:
                error.add_note(f"Raised by `reducers[{name!r}]`.")
                raise
    return ReducerComparison(
        folds={name: tuple(scores) for name, scores in folds.items()},
        n_test_rows=tuple(n_test_rows),
        knn_label=f"{n_neighbors}-NN {'accuracy' if classes else 'R2'}",
        measures=tuple(further),
    )


compare_reducers.__module__ = "skae"  # where users import it


def _make_fold(
    X: ArrayLike,
    y: np.ndarray | None,
    groups: np.ndarray | None,
    train: np.ndarray,
    test: np.ndarray,
) -> Fold:
    """Split `X`, `y` and `groups`, and convert the test rows once for all reducers."""
    X_train, X_test = select_rows(X, train), select_rows(X, test)
    y_train, y_test = (None, None) if y is None else (y[train], y[test])
    groups_train = None if groups is None else groups[train]
    encode: Callable[[ArrayLike], Any] = as_numbers
    rows = mean = None
    with suppress(ValueError, TypeError):  # other objects, which cannot be compared with codes
        encode = encoding_of(X_train)
        rows, mean = dense(encode(X_test)), observed_mean(encode(X_train))
    return Fold(X_train, X_test, y_train, y_test, groups_train, encode, rows, mean)


def _score_fold(
    reducer: UnfittedTransformer,
    fold: Fold,
    knn: Predictor | None,
    downstream: Predictor | None,
    n_neighbors: int,
    further: Mapping[str, Measure],
) -> ReducerScores:
    """Fit a clone on the training rows, score it on the test rows."""
    params = accepted_fit_params(reducer, groups=fold.groups_train)
    start = time.perf_counter()
    reducer = clone(reducer).fit(fold.X_train, fold.y_train, **params)
    fitted = time.perf_counter()
    codes = dense(reducer.transform(fold.X_test))
    transformed = time.perf_counter()
    train_codes = dense(reducer.transform(fold.X_train))
    return ReducerScores(
        n_components=codes.shape[1],
        explained_variance=explained_variance_of(reducer, codes, fold),
        trustworthiness=trustworthiness_of(fold.rows, codes, n_neighbors),
        knn_score=score_codes(knn, train_codes, codes, fold),
        downstream_score=score_codes(downstream, train_codes, codes, fold),
        fit_seconds=fitted - start,
        transform_seconds=transformed - fitted,
        **{name: measure(reducer, fold, train_codes, codes) for name, measure in further.items()},
    )


def _knn_model(y: np.ndarray | None, classes: bool, n_neighbors: int) -> Predictor | None:
    """The k-NN model for `y`, None without a `y`."""
    if y is None:
        return None
    return (KNeighborsClassifier if classes else KNeighborsRegressor)(n_neighbors)


def _check_reducers(reducers: Mapping[str, UnfittedTransformer]) -> None:
    if not isinstance(reducers, Mapping):
        raise TypeError(
            f"`reducers` must be a dict of names and transformers, got {described(reducers)}."
        )
    if not reducers:
        raise ValueError("`reducers` must name at least one transformer, got an empty dict.")
    for name, reducer in reducers.items():
        if not isinstance(name, str):
            raise TypeError(f"The names in `reducers` must be strings, got {described(name)}.")
        if isinstance(reducer, type):
            raise TypeError(
                f"`reducers[{name!r}]` must be an instance, got the class {reducer.__name__}."
            )
        if not (hasattr(reducer, "fit") and hasattr(reducer, "transform")):
            raise TypeError(
                f"`reducers[{name!r}]` must have `fit` and `transform` (to map unseen rows), "
                f"got {described(reducer)}."
            )


def _check_enough_rows(n_neighbors: int, n_test_rows: int) -> None:
    if 2 * n_neighbors >= n_test_rows:
        raise ValueError(
            "`n_neighbors` must be less than half the test rows of a fold, "
            f"got {n_neighbors} for {n_test_rows} rows: lower it, or choose fewer folds with `cv`."
        )


def _check_rows(X: ArrayLike) -> Any:
    """Return `X` in a container whose rows can be selected by indices."""
    X = X.tocsr() if sparse.issparse(X) else X if hasattr(X, "shape") else np.asarray(X)
    if len(X.shape) != 2:
        raise ValueError(
            f"`X` must have two dimensions, (n_samples, n_features), got shape {X.shape}."
        )
    return X


def _check_target(y: ArrayLike, X: ArrayLike) -> np.ndarray | None:
    """Return `y` as an array, with one entry for each row of `X`."""
    if y is None:
        return None
    y = as_target(y)
    if y.shape[:1] != (X.shape[0],):
        raise ValueError(
            f"`y` must have one entry for each of the {X.shape[0]} rows of `X`, "
            f"got shape {y.shape}."
        )
    return y.ravel() if y.ndim == 2 and y.shape[1] == 1 else y


def _holds_classes(y: np.ndarray | None, downstream: Predictor | None) -> bool:
    """Whether `y` holds classes rather than numbers."""
    if y is None or (downstream is not None and is_regressor(downstream)):
        return False
    kind = type_of_target(y, input_name="y")
    if kind not in (*_CLASSES, *_NUMBERS):
        raise ValueError(f"`y` must be one of {[*_CLASSES, *_NUMBERS]}, got {kind!r}.")
    return kind in _CLASSES
