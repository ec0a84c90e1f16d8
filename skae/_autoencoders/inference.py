"""Inference of a fitted autoencoder: codes, reconstructions, scores; validation and pickling."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from scipy import sparse
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from .._data.array_api import (
    as_numpy,
    check_same_library,
    column_sums,
    empty_like,
    float_dtypes,
    to_namespace_of,
    to_native,
)
from .._data.dataset import Rows, dense_block, rows_of_block, tensor_blocks
from .._data.device import TORCH_DTYPES, as_tensor, inference_dtype, max_float_dtype
from .._data.rows import validate_codes, validate_rows
from .._data.threads import threads_for
from .._data.torch_defaults import with_torch_defaults
from .._losses.reconstruction import LOSSES, ReconstructionLoss, loss_of_link
from .._nn.fitted import FittedAutoencoder
from .._nn.pickling import ModulePickleMixin
from .._nn.precision import apply_to_rows, precision, saturated
from .._training.rotation import CodeStatistics, explained_share
from .shared_parameters import SharedParameters

# Up to so many entries an array of floats is validated without scikit-learn, and is one block.
FEW_ENTRIES = 10_000


class FittedAutoencoderMixin(
    ClassNamePrefixFeaturesOutMixin, TransformerMixin, ModulePickleMixin, SharedParameters
):
    """The methods that use the fitted attributes only: codes, reconstructions, scores, pickling."""

    n_components_: int
    components_: np.ndarray
    mean_: np.ndarray
    explained_variance_: np.ndarray
    explained_variance_ratio_: np.ndarray
    pca_score_: float
    loss_curve_: list[float]
    validation_curve_: list[float]
    n_iter_: int
    best_iter_: int
    diagnosis_: tuple[str, ...]
    network_: FittedAutoencoder
    n_samples_seen_: int
    n_features_in_: int
    feature_names_in_: np.ndarray
    _codes: CodeStatistics
    _fit_parameters: dict[str, str]

    _module_name = "network_"

    # In notebooks scikit-learn shows the documentation of parameters and attributes only beside a
    # link to a page; this link is empty.
    _doc_link_module: ClassVar[str] = "skae"
    _doc_link_template: ClassVar[str] = "#{estimator_name}"

    @property
    def _reconstruction_loss(self) -> ReconstructionLoss:
        """The loss of the fit, even if the parameter was changed since."""
        return loss_of_link(self.network_.network.link)

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
            The reconstructed rows, in the units of the training data and the dtype of the codes.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        ValueError
            If the codes have another number of columns.
        """
        check_is_fitted(self)
        codes = validate_codes(X, dtype=float_dtypes(X), input_name="X", estimator=self)
        if codes.shape[1] != self.n_components_:
            raise ValueError(
                f"X must have n_components_ = {self.n_components_} columns to be decoded, got "
                f"{codes.shape[1]}."
            )
        return self._apply(codes, self._decode, self.n_features_in_, are_codes=True)

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
        """
        check_is_fitted(self)
        X = self._validated(X)
        return self._apply(X, self._reconstruct, X.shape[1])

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
        """
        check_is_fitted(self)
        return self._feature_scores(self._checked_for_loss(X))

    def _feature_scores(self, X, *, precise: bool = False) -> Any:
        """`score_features` of validated rows; in float64 if `precise`."""

        def negative_loss(fitted: FittedAutoencoder, x: Tensor) -> Tensor:
            raw = fitted.decode(fitted.encode(x))
            losses = self._reconstruction_loss.pointwise(raw, x.nan_to_num())
            return torch.where(torch.isnan(x), 0.0, -losses)

        return self._apply(X, negative_loss, X.shape[1], precise=precise)

    @with_torch_defaults
    def score(self, X, y=None) -> float:
        """The share of the deviance that the reconstructions explain.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features)
            Rows. Missing values (NaN) are left out.
        y : ignored
            Present by scikit-learn's convention.

        Returns
        -------
        score : float
            For the squared error, the share of the variance that the reconstructions explain. The
            best value is 1. The value is 0 if all reconstructions are the mean of the training
            rows.
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

        per_row = self._apply(self._checked_for_loss(X), deviances, 2, precise=True)
        return explained_share(*column_sums(to_native(per_row)))

    @property
    def _names(self) -> np.ndarray:
        """Names of the columns, or their numbers."""
        return getattr(self, "feature_names_in_", np.arange(self.n_features_in_))

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

    def _validated(self, X, *, reset: bool = False, ensure_min_samples: int = 1):
        """`X` as a float array of its namespace, or CSR matrix, of the width of `fit`."""
        if not reset and ensure_min_samples == 1 and _is_valid_already(self, X):
            return X
        options = {"dtype": float_dtypes(X), "ensure_min_samples": ensure_min_samples}
        return validate_rows(self, X, any_library=True, reset=reset, **options)

    def _checked_for_loss(self, X):
        """`X` as `_validated`, and within the domain of the loss."""
        return _in_domain(self._validated(X), self._reconstruction_loss)

    def _checked_for_fit(self, X, **options):
        """`X` as `_validated`, and within the domain of the loss of a new fit."""
        return _in_domain(self._validated(X, **options), LOSSES[self.loss])

    def _decode(self, fitted: FittedAutoencoder, code: Tensor) -> Tensor:
        """Codes to rows in the units of `X`."""
        return self._reconstruction_loss.mean(fitted.decode(code))

    def _reconstruct(self, fitted: FittedAutoencoder, x: Tensor) -> Tensor:
        return self._decode(fitted, fitted.encode(x))

    def _apply(
        self,
        X,
        apply: Callable[[FittedAutoencoder, Tensor], Tensor],
        width: int,
        *,
        are_codes: bool = False,
        precise: bool = False,
    ) -> Any:
        """`apply` to the rows of `X`, or to codes, in the array namespace of `X`.

        The result, (n_samples, width), has the precision of `X`, or float64 if `precise`.
        """
        check_same_library(self, X, self.mean_)
        options = {"are_codes": are_codes, "precise": precise}
        return to_namespace_of(X, self._apply_to_native(to_native(X), apply, width, **options))

    def _apply_to_native(
        self,
        X,
        apply: Callable[[FittedAutoencoder, Tensor], Tensor],
        width: int,
        *,
        are_codes: bool = False,
        precise: bool = False,
    ) -> np.ndarray | Tensor:
        """`apply` to the rows of a NumPy array, CSR matrix or tensor, a block at a time."""
        device = self.network_.shift.device
        if self.device == "auto" and isinstance(X, Tensor):
            device = X.device
        out_dtype = max_float_dtype(device) if precise else inference_dtype(X.dtype, device)

        def result_of(x: Tensor) -> Any:
            result = apply_to_rows(self.network_, x, apply, are_codes=are_codes)
            if result.dtype != out_dtype:
                result = saturated(result, out_dtype)
            return to_namespace_of(X, result)

        dtype = precision(self.network_, X.dtype, device)
        result = _empty_results(X, width, precise=precise)
        with torch.inference_mode():
            return _fill_by_blocks(result, X, result_of, dtype, device, self.network_)


def _fill_by_blocks(
    result: Any,
    X: Rows,
    result_of: Callable[[Tensor], Any],
    dtype: torch.dtype,
    device: torch.device,
    fitted: FittedAutoencoder,
) -> Any:
    """The results of the rows of `X`, a block at a time; few rows are one block."""
    n_features = len(fitted.shift)
    if device.type == "cpu" and X.shape[0] * n_features <= FEW_ENTRIES:
        # For one row what follows would take as long as a layer.
        return result_of(as_tensor(dense_block(X, slice(None)), dtype, device))
    # Blocks of 1000 rows of 784 columns are fastest; 150 rows are a fifth slower. 2000 rows of 32
    # are a third faster than 30,000: outputs of hidden layers stay in the cache.
    wide, start = max(n_features, 512 if device.type == "cpu" else 0), 0
    with threads_for(_multiply_adds(fitted) * rows_of_block(wide, 8)):
        for x in tensor_blocks(X, dtype, device, width=wide, times=8):
            result[start : start + len(x)] = result_of(x)
            start += len(x)
    return result


def _multiply_adds(fitted: FittedAutoencoder) -> float:
    """Approximate multiply-adds of a row, if all convolutions have a stride of two."""
    n_positions = len(fitted.shift) / 4
    return sum(w.numel() * (n_positions if w.ndim == 4 else 1.0) for w in fitted.parameters())


def _empty_results(X: Any, width: int, *, precise: bool) -> np.ndarray | Tensor:
    """Memory for so many results of each row of `X`; in float64 if `precise`."""
    dtype = max_float_dtype(X.device) if isinstance(X, Tensor) else np.float64
    return empty_like(X, (X.shape[0], width), dtype if precise else None)


def _is_valid_already(fitted: FittedAutoencoderMixin, X: Any) -> bool:
    """Whether `X` is a small array that scikit-learn's checks would return unchanged.

    For one row these checks take about as long as the network.
    """
    return (
        type(X) is np.ndarray
        and X.dtype in TORCH_DTYPES
        and X.ndim == 2
        and 0 < X.size <= FEW_ENTRIES
        and X.shape[1] == fitted.n_features_in_
        and not hasattr(fitted, "feature_names_in_")  # scikit-learn warns of missing names
        and not np.isinf(X).any()
    )


def _in_domain(X: Any, loss: ReconstructionLoss) -> Any:
    """`X`, or an error if the loss is not defined for it."""
    loss.check(X.data if sparse.issparse(X) else to_native(X))
    return X
