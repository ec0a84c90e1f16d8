"""The rows of a user as the rows of a network, and the results of the network for them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from .._data.array_api import (
    check_same_library,
    empty_like,
    float_dtypes,
    to_namespace_of,
    to_native,
)
from .._data.device import TORCH_DTYPES, inference_dtype, max_float_dtype
from .._data.rows import validate_rows
from .._data.table import Table
from .._data.table_rows import encode_table, table_of
from .._losses.mixed import MixedLoss, loss_from
from .._losses.reconstruction import ReconstructionLoss, loss_of_link
from .._nn.blocks import FEW_ENTRIES, fill_by_blocks
from .._nn.fitted import FittedAutoencoder
from .._nn.precision import apply_to_rows, precision, saturated
from .._training.diagnostics import ColumnNames
from .shared_parameters import SharedParameters


class NetworkRowsMixin(SharedParameters):
    """Validates and encodes rows, and applies the network to them."""

    mean_: np.ndarray
    network_: FittedAutoencoder
    n_features_in_: int
    _table: Table  # only after a fit to a table with categories, or with several losses

    @property
    def _reconstruction_loss(self) -> ReconstructionLoss:
        """The loss of the fit, even if the parameter was changed since."""
        return loss_of_link(self.network_.network.link)

    @property
    def categories_(self) -> list[np.ndarray]:
        """The categories of each categorical column, in `fit`; only if there are such columns."""
        if (table := table_of(self)) is None:
            raise AttributeError(f"{type(self).__name__} has no categories of columns.")
        return [categories for categories in table.categories if categories is not None]

    @property
    def _columns(self) -> ColumnNames:
        """The columns of the training rows."""
        if (table := table_of(self)) is not None:
            return ColumnNames(table.names, table.columns_of_inputs())
        return ColumnNames(getattr(self, "feature_names_in_", np.arange(self.n_features_in_)))

    def _validated(
        self, X, *, reset: bool = False, ensure_min_samples: int = 1, sample_weight=None
    ):
        """`X` as a float array of its namespace, or CSR matrix, of the width of the network."""
        if not reset and ensure_min_samples == 1 and _is_valid_already(self, X):
            return X
        encoded = encode_table(
            self,
            X,
            reset=reset,
            loss=self.loss,
            ensure_min_samples=ensure_min_samples,
            sample_weight=sample_weight,
        )
        if encoded is not None:
            return encoded
        options = {"dtype": float_dtypes(X), "ensure_min_samples": ensure_min_samples}
        return validate_rows(self, X, any_library=True, reset=reset, **options)

    def _checked_for_loss(self, X):
        """`X` as `_validated`, and within the domain of the loss."""
        return _in_domain(self._validated(X), self._reconstruction_loss)

    def _checked_for_fit(self, X, **options):
        """`X` as `_validated`, and within the domain of the loss of a new fit."""
        return _in_domain(self._validated(X, **options), self._loss_of_fit())

    def _loss_of_fit(self) -> ReconstructionLoss:
        """The loss that the parameter `loss`, and the columns of the rows, mean."""
        if (table := table_of(self)) is not None:
            return loss_from(table.loss_description())
        return loss_from(self.loss)

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
            return fill_by_blocks(result, X, result_of, dtype, device, self.network_)


def _empty_results(X: Any, width: int, *, precise: bool) -> np.ndarray | Tensor:
    """Memory for so many results of each row of `X`; in float64 if `precise`."""
    dtype = max_float_dtype(X.device) if isinstance(X, Tensor) else np.float64
    return empty_like(X, (X.shape[0], width), dtype if precise else None)


def _is_valid_already(fitted: NetworkRowsMixin, X: Any) -> bool:
    """Whether `X` is a small array that scikit-learn's checks would return unchanged.

    For one row these checks take about as long as the network.
    """
    return (
        type(X) is np.ndarray
        and X.dtype in TORCH_DTYPES
        and X.ndim == 2
        and 0 < X.size <= FEW_ENTRIES
        and X.shape[1] == fitted.n_features_in_
        and "_table" not in vars(fitted)
        and not hasattr(fitted, "feature_names_in_")  # scikit-learn warns of missing names
        and not np.isinf(X).any()
    )


def _in_domain(X: Any, loss: ReconstructionLoss) -> Any:
    """`X`, or an error if the loss is not defined for it."""
    of_entries = sparse.issparse(X) and not isinstance(loss, MixedLoss)
    loss.check(X.data if of_entries else to_native(X))
    return X
