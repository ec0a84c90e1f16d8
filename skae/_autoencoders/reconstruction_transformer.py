"""Reconstructions as the output of a step in a pipeline."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from sklearn.base import OneToOneFeatureMixin, TransformerMixin, clone
from sklearn.utils import Tags, get_tags
from sklearn.utils.validation import check_is_fitted, validate_data

from .._data.fit_params import fit_weighted
from .._data.frames import is_frame, with_index_of
from .._data.rows import check_columns, naming, validate_rows
from .._data.table import always_makes_table, as_rows
from .._data.table_columns import has_categorical_columns
from .._data.table_rows import table_of
from .._data.validation import NONE, check_parameters, estimator_with, parameter, restore_on_error
from .._nn.pickling import VersionPickleMixin
from .base import BaseAutoencoder
from .plain import AutoencoderTransformer

MAX_COMPONENTS = 64

REDUCER = estimator_with("fit", "transform", "inverse_transform")


@dataclass(eq=False, repr=False)
class ReconstructionTransformer(OneToOneFeatureMixin, TransformerMixin, VersionPickleMixin):
    """Replace rows by their reconstructions from the codes of a reducer.

    The reconstruction from a small code contains less noise than the row. In a pipeline, the next
    step gets the reconstruction, in the original features::

        transform(X) = inverse_transform(reduce(X))

    Parameters
    ----------
    estimator : transformer or None, default=None
        A transformer with `inverse_transform`, such as `PCA` or an autoencoder. `fit` fits a clone
        of it. None means an :class:`AutoencoderTransformer` with half as many components as there
        are features, but at most 64.

    Attributes
    ----------
    estimator_ : transformer
        The fitted reducer.
    n_features_in_ : int
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if `X` had them as strings.

    See Also
    --------
    DenoisingAutoencoder : Learns to remove noise.
    AutoencoderImputer : Imputes missing values and keeps the others.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.decomposition import PCA
    >>> from skae import ReconstructionTransformer
    >>> X, _ = load_iris(return_X_y=True)
    >>> ReconstructionTransformer(PCA(n_components=2)).fit_transform(X).shape
    (150, 4)
    """

    __module__ = "skae"

    estimator: Any = parameter(None, NONE, REDUCER)

    def fit(self, X, y=None, sample_weight=None, *, X_val=None, groups=None) -> Self:
        """Fit the reducer.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training rows. CSR matrices and NaN are allowed if the reducer allows them.
        y : ignored or array-like of shape (n_samples,)
            Passed on to the reducer.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows. A reducer whose `fit` takes no weights is fitted to copies of the
            rows; weights that are not integers are then divided by their mean and rounded up or
            down at random. For a pipeline, see `groups`.
        X_val : array-like of shape (n_val_samples, n_features), default=None
            Held-out rows for early stopping. They are passed to `fit` of the reducer, if it accepts
            them.
        groups : array-like of shape (n_samples,), default=None
            Labels of rows that are held out together. They are passed to `fit` of the reducer, if
            it accepts them. For a pipeline, this needs scikit-learn's ``enable_metadata_routing``.

        Returns
        -------
        self : object
            The fitted transformer.

        Raises
        ------
        ValueError, TypeError
            If `estimator` is not such a transformer, or refuses `X`.
        """
        with restore_on_error(self):
            check_parameters(self)
            X = self._validated(X, reset=True)
            reducer = default_reducer(X) if self.estimator is None else clone(self.estimator)
            with naming("X_val"):
                X_val = None if X_val is None else self._validated(X_val, in_fit=True)
            params = {"X_val": X_val, "groups": groups}
            self.estimator_ = fit_weighted(reducer, X, y, sample_weight, params)
        return self

    if TYPE_CHECKING:  # scikit-learn's method has no annotations

        def fit_transform(self, X, y=None, **fit_params: Any) -> np.ndarray: ...

    def transform(self, X) -> np.ndarray:
        """Reconstruct rows from their codes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        X_reconstructed : ndarray of shape (n_samples, n_features)
            The reconstructions, in the dtype of `X`. For a frame with categories, a frame like it.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        ValueError
            If `X` is not as in `fit`.
        """
        check_is_fitted(self)
        X = self._validated(X)
        reconstructed = self.estimator_.inverse_transform(self.estimator_.transform(X))
        if is_frame(X):
            return with_index_of(reconstructed, X)
        return np.asarray(reconstructed, dtype=X.dtype)

    def _validated(self, X, *, reset: bool = False, in_fit: bool = False):
        reducer = self.estimator if reset or in_fit else self.estimator_
        is_table = _makes_table(reducer) if reset or in_fit else table_of(reducer) is not None
        if is_table or has_categorical_columns(X):
            X = as_rows(X)
            if is_frame(X):
                check_columns(list(X.columns))
            validate_data(self, X, reset=reset, skip_check_array=True)
            return X  # a table with categories, which the reducer has to take
        tags = self._with_tags_of(super().__sklearn_tags__(), reducer).input_tags
        return validate_rows(
            self,
            X,
            reset=reset,
            ensure_min_samples=1 + reset,
            accept_sparse="csr" if tags.sparse else False,
            ensure_all_finite="allow-nan" if tags.allow_nan else True,
        )

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        return self._with_tags_of(tags, self.estimator)

    def _with_tags_of(self, tags: Tags, reducer: Any) -> Tags:
        """The tags that follow from those of a reducer; None, or an invalid one, is the default."""
        held = get_tags(reducer if REDUCER.has_type(reducer) else AutoencoderTransformer())
        tags.input_tags.sparse = held.input_tags.sparse
        tags.input_tags.allow_nan = held.input_tags.allow_nan
        tags.target_tags.required = held.target_tags.required
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def default_reducer(X) -> AutoencoderTransformer:
    """An autoencoder with half as many components as features."""
    return AutoencoderTransformer(max(1, min(X.shape[1] // 2, X.shape[0], MAX_COMPONENTS)))


def _makes_table(reducer: Any) -> bool:
    """Whether rows are a table for an autoencoder by its parameters, whatever their dtypes are."""
    if not isinstance(reducer, BaseAutoencoder):
        return False
    return always_makes_table(reducer.categorical_features, reducer.loss)
