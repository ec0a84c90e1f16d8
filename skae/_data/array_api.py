"""Arrays of other libraries than NumPy, by scikit-learn's `array_api_dispatch`.

Inside the package, data in host memory are NumPy arrays and data on an accelerator are torch
tensors. Neither is copied for the conversion.
"""

from typing import Any, TypeAlias

import numpy as np
import torch
from sklearn import get_config
from torch import Tensor

from .device import TORCH_DTYPES, max_float_dtype

# Rows as a user passes them: an array of any library, a frame, a list, a sparse matrix.
ArrayLike: TypeAlias = Any

# DLPack's number for host memory.
HOST = 1


def float_dtypes(X: ArrayLike) -> list[Any]:
    """The dtypes, of the library of `X`, that `X` may have; others are converted to the first."""
    if not get_config()["array_api_dispatch"]:  # scikit-learn then converts all to NumPy arrays
        return list(TORCH_DTYPES)
    if isinstance(X, Tensor):
        return [torch.float32] if X.device.type == "mps" else [torch.float64, torch.float32]
    if _has_namespace(X):
        library = X.__array_namespace__()
        return [library.float64, library.float32]
    return list(TORCH_DTYPES)


def to_native(X: ArrayLike) -> Any:
    """The same numbers as a NumPy array or, on an accelerator, as a tensor; CSR stays CSR."""
    if isinstance(X, Tensor):
        # Forced: a tensor may have a gradient, or a sign that is not in its memory.
        return X.numpy(force=True) if X.device.type == "cpu" else X.detach()
    if _has_namespace(X):
        return np.from_dlpack(X) if X.__dlpack_device__()[0] == HOST else torch.from_dlpack(X)
    return X


def to_namespace_of(X: ArrayLike, values: np.ndarray | Tensor) -> Any:
    """An array or a tensor as an array of the library of `X`, on the device of `X`."""
    if isinstance(X, Tensor):
        tensor = torch.as_tensor(values)
        single = X.device.type == "mps" and tensor.dtype == torch.float64  # MPS has no float64
        return tensor.to(X.device, torch.float32 if single else tensor.dtype)
    if _has_namespace(X):
        return X.__array_namespace__().asarray(values, device=X.device)
    return as_numpy(values)


def as_numpy(values: ArrayLike) -> Any:
    """An array of any library as a NumPy array, in host memory; for small arrays."""
    values = to_native(values)
    return values.cpu().numpy() if isinstance(values, Tensor) else values


def check_same_library(estimator: object, X: ArrayLike, fitted: ArrayLike) -> None:
    """Raise, as scikit-learn's PCA does, unless `X` and a fitted attribute are of one library."""
    before, now = library_of(fitted), library_of(X)
    if before != now and get_config()["array_api_dispatch"]:
        raise ValueError(
            f"Inputs passed to {type(estimator).__name__}.transform() and its like must use the "
            f"same namespace as those passed to fit(), {before}, got {now}: convert `X`, or fit "
            "again."
        )


def library_of(X: ArrayLike) -> str:
    """The name of the library of an array; "numpy" for lists, frames and CSR matrices."""
    if isinstance(X, np.ndarray):
        return "numpy"
    if isinstance(X, Tensor):
        return "torch"
    return X.__array_namespace__().__name__ if _has_namespace(X) else "numpy"


def empty_like(
    X: np.ndarray | Tensor, shape: tuple[int, ...], dtype: Any = None
) -> np.ndarray | Tensor:
    """Uninitialised memory of a shape: an array, or a tensor on the device of `X` if `X` is one."""
    if isinstance(X, Tensor):
        return X.new_empty(shape, dtype=dtype)
    return np.empty(shape, dtype=dtype or X.dtype)


def column_sums(X: np.ndarray | Tensor, weights: np.ndarray | None = None) -> list[float]:
    """The sum of each column of an array or a tensor, in the most precise float of its device.

    If there are weights of the rows, (n_samples,), rows of weight zero may be infinite.
    """
    if weights is not None:
        kept = np.flatnonzero(weights)
        weight: Any = weights[kept, None]
        if isinstance(X, Tensor):
            weight = torch.from_numpy(weight).to(X.device, max_float_dtype(X.device))
        X = X[kept] * weight
    if isinstance(X, Tensor):
        return X.sum(0, dtype=max_float_dtype(X.device)).tolist()
    return X.sum(axis=0, dtype=np.float64).tolist()


def _has_namespace(X: ArrayLike) -> bool:
    """Whether an array belongs to another library that follows the array API standard."""
    if isinstance(X, np.ndarray):  # the most frequent case first
        return False
    return not isinstance(X, np.generic | Tensor) and hasattr(X, "__array_namespace__")
