"""Inference of a fitted autoencoder: codes, reconstructions, scores; validation and pickling."""

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from .._data.array_api import (
    as_numpy,
    column_sums,
    float_dtypes,
    to_native,
)
from .._data.device import as_tensor
from .._data.rows import validate_codes
from .._data.sample_weight import check_sample_weight, relative
from .._data.table_rows import as_table, by_column
from .._data.torch_defaults import with_torch_defaults
from .._nn.fitted import FittedAutoencoder
from .._nn.pickling import ModulePickleMixin
from .._training.rotation import CodeStatistics, explained_share
from .network_rows import NetworkRowsMixin


class FittedAutoencoderMixin(
    ClassNamePrefixFeaturesOutMixin, TransformerMixin, ModulePickleMixin, NetworkRowsMixin
):
    """The methods that use the fitted attributes only: codes, reconstructions, scores, pickling."""

    n_components_: int
    components_: np.ndarray
    loadings_: np.ndarray
    explained_variance_: np.ndarray
    explained_variance_ratio_: np.ndarray
    pca_score_: float
    loss_curve_: list[float]
    validation_curve_: list[float]
    n_iter_: int
    best_iter_: int
    diagnosis_: tuple[str, ...]
    n_samples_seen_: int
    feature_names_in_: np.ndarray
    _codes: CodeStatistics
    _fit_parameters: dict[str, str]

    _module_name = "network_"

    # In notebooks scikit-learn shows the documentation of parameters and attributes only beside a
    # link to a page; this link is empty.
    _doc_link_module: ClassVar[str] = "skae"
    _doc_link_template: ClassVar[str] = "#{estimator_name}"

    @with_torch_defaults
    def transform(self, X) -> np.ndarray:
        """Encode rows.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features)
            Rows. NaN marks missing values.

        Returns
        -------
        codes : ndarray of shape (n_samples, n_components_)
            The codes, in the dtype of `X`. If `X` is a tensor and scikit-learn's
            ``array_api_dispatch`` is on, a tensor on the device of `X`.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        ValueError
            If `X` is not as in `fit`.
        """
        check_is_fitted(self)
        return self._apply(
            self._validated(X), lambda fitted, x: fitted.encode(x), self.n_components_
        )

    if TYPE_CHECKING:  # scikit-learn's has no annotations

        def fit_transform(self, X, y=None, **fit_params: Any) -> np.ndarray: ...

    @with_torch_defaults
    def inverse_transform(self, X) -> np.ndarray:
        """Decode codes.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_components_)
            Codes, as `transform` returns them.

        Returns
        -------
        X_original : ndarray of shape (n_samples, n_features_in_)
            The reconstructed rows, in the units of the training data and the dtype of the codes. If
            the training data had categorical columns: rows as in `fit`, for instance a frame with
            the same dtypes, with the most probable categories.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        ValueError
            If the codes have another number of columns.
        """
        check_is_fitted(self)
        # Without the name of the estimator, of which scikit-learn would say that it does not accept
        # missing values.
        codes = validate_codes(X, dtype=float_dtypes(X), input_name="X")
        if codes.shape[1] != self.n_components_:
            raise ValueError(
                f"X must have n_components_ = {self.n_components_} columns to be decoded, got "
                f"{codes.shape[1]}."
            )
        decoded = self._apply(codes, self._decode, self.mean_.shape[0], are_codes=True)
        return as_table(self, decoded, X)

    @with_torch_defaults
    def reconstruct(self, X) -> np.ndarray:
        """Encode and decode rows.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features)
            Rows. NaN marks missing values, which are replaced by their reconstructions.

        Returns
        -------
        X_reconstructed : ndarray of shape (n_samples, n_features)
            The result of ``inverse_transform(transform(X))``.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        ValueError
            If `X` is not as in `fit`.
        """
        check_is_fitted(self)
        rows = self._validated(X)
        return as_table(self, self._apply(rows, self._reconstruct, rows.shape[1]), X)

    @with_torch_defaults
    def score_samples(self, X) -> np.ndarray:
        """Negative reconstruction loss of each row; higher is better.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features)
            Rows. Missing values (NaN) are left out.

        Returns
        -------
        scores : ndarray of shape (n_samples,)
            The negative loss of each row, summed over its observed features. For the squared error
            it has squared units of `X`, for log loss and Poisson loss it is in nats.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        ValueError
            If `X` is not as in `fit`, or if the loss is not defined for an entry of `X`.
        """
        check_is_fitted(self)

        def negative_loss(fitted: FittedAutoencoder, x: Tensor) -> Tensor:
            return -self._reconstruction_loss.loss(fitted.decode(fitted.encode(x)), x)[:, None]

        return self._apply(self._checked_for_loss(X), negative_loss, 1)[:, 0]

    @with_torch_defaults
    def score_features(self, X) -> np.ndarray:
        """Negative reconstruction loss of each entry; higher is better.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features)
            Rows. Missing values (NaN) are left out.

        Returns
        -------
        scores : ndarray of shape (n_samples, n_features)
            The negative loss of each entry. For the squared error, this is minus the squared
            difference.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        ValueError
            If `X` is not as in `fit`, or if the loss is not defined for an entry of `X`.
        """
        check_is_fitted(self)
        return by_column(self, self._feature_scores(self._checked_for_loss(X)))

    def _feature_scores(self, X, *, precise: bool = False) -> Any:
        """`score_features` of validated rows; in float64 if `precise`."""

        def negative_loss(fitted: FittedAutoencoder, x: Tensor) -> Tensor:
            raw = fitted.decode(fitted.encode(x))
            losses = self._reconstruction_loss.pointwise(raw, x.nan_to_num())
            return torch.where(torch.isnan(x), 0.0, -losses)

        return self._apply(X, negative_loss, X.shape[1], precise=precise)

    @with_torch_defaults
    def score(self, X, y=None, sample_weight=None) -> float:
        """The share of the deviance that the reconstructions explain.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features)
            Rows. Missing values (NaN) are left out.
        y : ignored
            Present by scikit-learn's convention.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows in the sums of deviances.

        Returns
        -------
        score : float
            For the squared error, the share of the variance that the reconstructions explain. The
            best value is 1. The value is 0 if all reconstructions are the mean of the training
            rows.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        ValueError
            If `X` is not as in `fit`, or if the loss is not defined for an entry of `X`.
        """
        check_is_fitted(self)
        loss = self._reconstruction_loss

        def deviances(fitted: FittedAutoencoder, x: Tensor) -> Tensor:
            mean = as_tensor(to_native(self.mean_), x.dtype, x.device)
            return torch.stack(
                [
                    loss.deviance(fitted.decode(fitted.encode(x)), x),
                    loss.deviance(loss.link(mean).expand_as(x), x),
                ],
                dim=1,
            )

        X = self._checked_for_loss(X)
        weights = relative(check_sample_weight(sample_weight, X.shape[0]))
        per_row = to_native(self._apply(X, deviances, 2, precise=True))
        return explained_share(*column_sums(per_row, weights))

    @property
    def _n_features_out(self) -> int:
        return self.n_components_

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "network_")

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        tags.array_api_support = True
        return tags

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        if tensors := [name for name, value in state.items() if isinstance(value, Tensor)]:
            state |= {"_tensors": tensors} | {name: as_numpy(state[name]) for name in tensors}
        if "_optimizer_state" in state:
            state["_optimizer_state"] = None  # not kept between processes
        return state

    @with_torch_defaults
    def __setstate__(self, state: dict[str, Any]) -> None:
        if "_tensors" in state:
            state = dict(state)
            # Copies, as what joblib maps into memory is read-only.
            state |= {name: torch.tensor(np.array(state[name])) for name in state.pop("_tensors")}
        if "network_" in state:  # files and pickles of version 0.1 have no such parameters
            state = {"_fit_parameters": {}} | state
        super().__setstate__(state)

    def _decode(self, fitted: FittedAutoencoder, code: Tensor) -> Tensor:
        """Codes to rows in the units of `X`."""
        return self._reconstruction_loss.mean(fitted.decode(code))

    def _reconstruct(self, fitted: FittedAutoencoder, x: Tensor) -> Tensor:
        return self._decode(fitted, fitted.encode(x))
