"""The autoencoder that a classifier starts from: a frozen one, or one fitted to all rows."""

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.frozen import FrozenEstimator
from sklearn.utils import check_consistent_length, column_or_1d
from sklearn.utils.validation import check_is_fitted

from .._autoencoders.base import BaseAutoencoder
from .._autoencoders.denoising import DenoisingAutoencoder
from .._data.groups import RowGroups
from .._data.messages import described
from .._data.rows import check_labels, validate_rows
from .._data.sample_weight import copied
from .._data.table_rows import encode_table, table_of

# Components of the default autoencoder, if there are as many rows and columns.
N_COMPONENTS = 64


def rows_and_labels(
    classifier: Any, X: Any, y: Any, sample_weight: Any
) -> tuple[Any, np.ndarray, np.ndarray | None]:
    """Validated rows and labels for `fit`; the rows of a table are encoded.

    The labels are those of the rows at an index, which has each row as often as its weight. It is
    None if these are all rows once.
    """
    rows, y = _rows_and_labels(classifier, X, y)
    labels = RowGroups.from_labels(y, len(y)).of_row
    index = copied(rows, sample_weight, classifier.random_state, labels)
    return rows, y if index is None else y[index], index


def _rows_and_labels(classifier: BaseEstimator, X: Any, y: Any) -> tuple[Any, np.ndarray]:
    encoded = encode_table(classifier, X, reset=True, ensure_min_samples=2)
    if encoded is None:
        return validate_rows(classifier, X, y=y, ensure_min_samples=2)
    check_labels(y)
    y = column_or_1d(y, warn=True)
    check_consistent_length(encoded, y)
    return encoded, y


def use_table_of(autoencoder: BaseAutoencoder, classifier: BaseEstimator, X: Any, rows: Any) -> Any:
    """The rows as an autoencoder encodes them; the classifier then encodes all rows like it."""
    table = table_of(autoencoder)
    if table is None and table_of(classifier) is None:
        return rows
    vars(classifier).pop("_table", None)
    if table is not None:
        vars(classifier)["_table"] = table
    return autoencoder._validated(X)


def pretrained(
    estimator: Any,
    X: Any,
    fit_params: dict[str, Any],
    default_parameters: dict[str, Any],
    shape: tuple[int, int],
    seed: int,
) -> BaseAutoencoder:
    """The frozen autoencoder, or a clone that is fitted to all rows, encoded ones of this shape."""
    if isinstance(estimator, FrozenEstimator):
        return _frozen(estimator, X)
    # Without a column, the fit of the autoencoder raises an error.
    n_components = max(min(N_COMPONENTS, *shape), 1)
    default = DenoisingAutoencoder(n_components, corruption_level=0.5, **default_parameters)
    autoencoder = default if estimator is None else clone(estimator)
    if autoencoder.random_state is None:
        autoencoder.set_params(random_state=seed)
    return autoencoder.fit(X, **fit_params)


def _frozen(frozen: FrozenEstimator, X: Any) -> BaseAutoencoder:
    """The fitted autoencoder inside, if it takes such rows."""
    autoencoder = frozen.estimator
    if not isinstance(autoencoder, BaseAutoencoder):
        raise TypeError(
            "`estimator` must be an autoencoder, a FrozenEstimator of one or None, got "
            f"{described(frozen)}."
        )
    check_is_fitted(autoencoder)
    if autoencoder.n_features_in_ != (n_features := np.shape(X)[1]):
        raise ValueError(
            f"`estimator` was fitted to rows with {autoencoder.n_features_in_} features, got `X` "
            f"with {n_features}."
        )
    autoencoder._validated(X)  # for the names of the features
    return autoencoder
