"""What a trained autoencoder does with rows, as scikit-learn sees it."""

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from scipy import sparse
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import Tags, check_array
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from .._data.array_api import as_numpy, check_same_library, float_dtypes, to_namespace_of, to_native
from .._data.dataset import (
    TORCH_DTYPES,
    as_tensor,
    checked_rows,
    column_sums,
    dense_block,
    empty_like,
    halve_on_oom,
    inference_dtype,
    tensor_blocks,
)
from .._losses.reconstruction import LOSSES, ReconstructionLoss
from .._nn.fitted import FittedAutoencoder, computing
from .._nn.pickling import ModulePickleMixin
from .._training.rotation import explained_share
from .shared_parameters import SharedParameters

# Up to here `X` is looked at by us alone, if it is an array of the right kind, and is one block.
FEW_ENTRIES = 10_000


class TrainedAutoencoder(
    ClassNamePrefixFeaturesOutMixin, TransformerMixin, ModulePickleMixin, SharedParameters
):
    """All that needs no more than what `fit` has left: codes, rows and scores, checks and files."""

    network_: FittedAutoencoder
    mean_: Any
    n_components_: int
    n_features_in_: int

    _module_name = "network_"

    # In notebooks scikit-learn shows what a parameter or an attribute is only beside a link to its
    # page; this one leads nowhere else.
    _doc_link_module: ClassVar[str] = "skae"
    _doc_link_template: ClassVar[str] = "#{estimator_name}"

    @property
    def _reconstruction(self) -> ReconstructionLoss:
        return LOSSES[self.loss]

    def transform(self, X) -> np.ndarray:
        """Encode rows.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features)
            Rows; NaN means "not observed".

        Returns
        -------
        codes : ndarray of shape (n_samples, n_components_)
            In the dtype of `X`. Under scikit-learn's ``array_api_dispatch`` a tensor, on its
            device, if `X` is one.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before `fit`.
        ValueError
            If `X` is not as in `fit`.
        """
        check_is_fitted(self)
        return self._in_blocks(
            self._validated(X), lambda fitted, x: fitted.encode(x), self.n_components_
        )

    def inverse_transform(self, X) -> np.ndarray:
        """Decode codes.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_components_)
            Codes, as `transform` returns them.

        Returns
        -------
        X_original : ndarray of shape (n_samples, n_features_in_)
            Rows in the units of the training data, in the dtype of the codes.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before `fit`.
        ValueError
            If the codes have another number of columns.
        """
        check_is_fitted(self)
        codes = check_array(
            X, accept_sparse="csr", dtype=float_dtypes(X), input_name="X", estimator=self
        )
        if codes.shape[1] != self.n_components_:
            raise ValueError(
                f"X must have n_components_ = {self.n_components_} columns to be decoded, got "
                f"{codes.shape[1]}."
            )
        return self._in_blocks(codes, self._decode, self.n_features_in_)

    def reconstruct(self, X) -> np.ndarray:
        """Encode and decode rows.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features)
            Rows; NaN means "not observed", and comes back filled.

        Returns
        -------
        X_reconstructed : ndarray of shape (n_samples, n_features)
            The same as ``inverse_transform(transform(X))``.
        """
        check_is_fitted(self)
        X = self._validated(X)
        return self._in_blocks(X, self._restore, X.shape[1])

    def score_samples(self, X) -> np.ndarray:
        """How well each row is reconstructed; higher is better.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features)
            Rows; NaN is not charged.

        Returns
        -------
        scores : ndarray of shape (n_samples,)
            The negative loss of each row, summed over its observed features: in squared units of
            `X` for squared error, in nats for log loss and Poisson.
        """
        check_is_fitted(self)

        def negative_loss(fitted: FittedAutoencoder, x: Tensor) -> Tensor:
            return -self._reconstruction.loss(fitted.decode(fitted.encode(x)), x)[:, None]

        return self._in_blocks(self._checked_for_loss(X), negative_loss, 1)[:, 0]

    def score_features(self, X) -> np.ndarray:
        """How well each entry is reconstructed; higher is better.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features)
            Rows; NaN is not charged.

        Returns
        -------
        scores : ndarray of shape (n_samples, n_features)
            The negative loss of each entry; for squared error, the squared difference.
        """
        check_is_fitted(self)

        def negative_loss(fitted: FittedAutoencoder, x: Tensor) -> Tensor:
            charge = self._reconstruction.pointwise(fitted.decode(fitted.encode(x)), x.nan_to_num())
            return torch.where(torch.isnan(x), 0.0, -charge)

        X = self._checked_for_loss(X)
        return self._in_blocks(X, negative_loss, X.shape[1])

    def score(self, X, y=None) -> float:
        """The share of the deviance that the reconstructions explain.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features)
            Rows; NaN is not charged.
        y : ignored
            Present by scikit-learn's convention.

        Returns
        -------
        score : float
            1 is perfect, 0 is no better than the mean of the training rows. For squared error this
            is the share of variance explained.
        """
        check_is_fitted(self)
        loss = self._reconstruction

        def deviances(fitted: FittedAutoencoder, x: Tensor) -> Tensor:
            mean = torch.as_tensor(to_native(self.mean_)).to(x)
            return torch.stack(
                [
                    loss.deviance(fitted.decode(fitted.encode(x)), x),
                    loss.deviance(loss.link(mean).expand_as(x), x),
                ],
                dim=1,
            )

        per_row = self._in_blocks(self._checked_for_loss(X), deviances, 2)
        return explained_share(*column_sums(to_native(per_row)))

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
            state["_optimizer_state"] = None  # it belongs to this process
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        if "_tensors" in state:
            state = dict(state)
            # Copies, as what joblib maps into memory is read-only.
            state |= {name: torch.tensor(np.array(state[name])) for name in state.pop("_tensors")}
        super().__setstate__(state)

    def _validated(self, X, *, reset: bool = False, ensure_min_samples: int = 1):
        """`X` as a float array, of whatever library, or CSR matrix of the width of `fit`."""
        if not reset and ensure_min_samples == 1 and self._is_valid_already(X):
            return X
        options = {"dtype": float_dtypes(X), "ensure_min_samples": ensure_min_samples}
        return checked_rows(self, X, reset=reset, **options)

    def _is_valid_already(self, X) -> bool:
        """Whether `X` is a few plain rows that scikit-learn's checks would let through as they are.

        For one row those checks take about as long as the network.
        """
        return (
            type(X) is np.ndarray
            and X.dtype in TORCH_DTYPES
            and X.ndim == 2
            and 0 < X.size <= FEW_ENTRIES
            and X.shape[1] == self.n_features_in_
            and not hasattr(self, "feature_names_in_")  # else their absence is warned of
            and not np.isinf(X).any()
        )

    def _checked_for_loss(self, X, **options):
        """`X` as `_validated`, and within the domain of the loss."""
        X = self._validated(X, **options)
        self._reconstruction.check(X.data if sparse.issparse(X) else to_native(X))
        return X

    def _decode(self, fitted: FittedAutoencoder, code: Tensor) -> Tensor:
        """Codes to rows in the units of `X`."""
        return self._reconstruction.mean(fitted.decode(code))

    def _restore(self, fitted: FittedAutoencoder, x: Tensor) -> Tensor:
        return self._decode(fitted, fitted.encode(x))

    def _in_blocks(
        self, X, apply: Callable[[FittedAutoencoder, Tensor], Tensor], width: int
    ) -> Any:
        """`apply` to the rows of `X`, in the precision of `X`: an array of the library of `X`."""
        check_same_library(self, X, self.mean_)
        return to_namespace_of(X, self._computed(to_native(X), apply, width))

    def _computed(
        self, X, apply: Callable[[FittedAutoencoder, Tensor], Tensor], width: int
    ) -> np.ndarray | Tensor:
        """`apply` to the rows of an array or a tensor, a block at a time; the result is such."""
        device = self.network_.shift.device
        if self.device == "auto" and isinstance(X, Tensor):
            device = X.device
        dtype = inference_dtype(X.dtype, device)
        fitted = computing(self.network_, dtype, device)
        with torch.inference_mode():
            if device.type == "cpu" and X.shape[0] * self.n_features_in_ <= FEW_ENTRIES:
                x = as_tensor(dense_block(X, slice(None)), dtype, device)
                return to_namespace_of(
                    X, apply(fitted, x)
                )  # for one row the rest takes as long as a layer
            start, result = 0, empty_like(X, (X.shape[0], width))
            # 1000 rows of 784 at a time are as quick as it gets, 150 a fifth slower. 2000 rows of
            # 32 are a third quicker than 30,000: what hidden layers make of them stays in cache.
            wide = max(self.n_features_in_, 512 if device.type == "cpu" else 0)
            for x in tensor_blocks(X, dtype, device, width=wide, times=8):
                result[start : start + len(x)] = to_namespace_of(
                    X, halve_on_oom(partial(apply, fitted), x)
                )
                start += len(x)
        return result
