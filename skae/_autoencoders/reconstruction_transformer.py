"""The cleaned rows as the output of a step in a pipeline."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin, clone
from sklearn.utils import Tags, get_tags
from sklearn.utils.validation import check_is_fitted, validate_data

from .._data.validation import NONE, check_parameters, estimator_with, parameter, restore_on_error
from .plain import AutoencoderTransformer

MAX_COMPONENTS = 64

RESTORING = estimator_with("fit", "transform", "inverse_transform")


@dataclass(eq=False, repr=False)
class ReconstructionTransformer(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Replace rows by what a reducer restores of them.

    A code that is too small for everything keeps what is common to many rows and loses what is
    particular to one, such as noise. In a pipeline, this puts rows cleaned in that way, in their
    own features, before the next step::

        transform(X) = inverse_transform(reduce(X))

    Parameters
    ----------
    estimator : transformer or None, default=None
        Anything with `fit`, `transform` and `inverse_transform`, such as `PCA` or an autoencoder;
        a clone of it is fitted. None is an :class:`AutoencoderTransformer` with its
        defaults and a code of half as many components as there are features, 64 at most.

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
    DenoisingAutoencoder : Learns to take noise out.
    AutoencoderImputer : Fills missing cells and leaves the others alone.

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

    estimator: Any = parameter(None, NONE, RESTORING)

    def fit(self, X, y=None) -> Self:
        """Fit the reducer.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training rows. What else is allowed, such as CSR matrices or NaN, is up to the reducer.
        y : ignored or array-like of shape (n_samples,)
            Passed on to the reducer.

        Returns
        -------
        self : object
            The fitted transformer.

        Raises
        ------
        ValueError, TypeError
            If `estimator` cannot transform and restore rows, or refuses `X`.
        """
        with restore_on_error(self):
            check_parameters(self)
            X = self._validated(X, reset=True)
            reducer = default_reducer(X) if self.estimator is None else clone(self.estimator)
            self.estimator_ = reducer.fit(X, y)
        return self

    def transform(self, X) -> np.ndarray:
        """Restore rows from their codes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        X_restored : ndarray of shape (n_samples, n_features)
            In the dtype of `X`.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before `fit`.
        ValueError
            If `X` is not as in `fit`.
        """
        check_is_fitted(self)
        X = self._validated(X)
        restored = self.estimator_.inverse_transform(self.estimator_.transform(X))
        return np.asarray(restored, dtype=X.dtype)

    def _validated(self, X, *, reset: bool = False):
        tags = self.__sklearn_tags__().input_tags
        return validate_data(
            self,
            X,
            reset=reset,
            accept_sparse="csr" if tags.sparse else False,
            dtype=[np.float64, np.float32],
            ensure_all_finite="allow-nan" if tags.allow_nan else True,
        )

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        restoring = RESTORING.has_type(self.estimator)  # else None, or about to be refused
        held = get_tags(self.estimator if restoring else AutoencoderTransformer())
        tags.input_tags.sparse = held.input_tags.sparse
        tags.input_tags.allow_nan = held.input_tags.allow_nan
        tags.target_tags.required = held.target_tags.required
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def default_reducer(X) -> AutoencoderTransformer:
    """An autoencoder with a code of half as many components as features."""
    return AutoencoderTransformer(max(1, min(X.shape[1] // 2, X.shape[0], MAX_COMPONENTS)))
