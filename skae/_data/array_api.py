"""Arrays of other libraries than NumPy, as they come from the user and go back.

What lies in the memory of the host is seen as a NumPy array, what lies on an accelerator as a torch
tensor; neither is copied for it.
"""

from typing import Any

import numpy as np
import torch
from sklearn import get_config
from torch import Tensor

from .dataset import TORCH_DTYPES

# DLPack's number for the memory of the host.
HOST = 1


def float_dtypes(X: Any) -> list[Any]:
    """What `X` may be of, in the words of its library; the first is what other dtypes become."""
    if not get_config()["array_api_dispatch"]:  # then scikit-learn makes NumPy arrays of all
        return list(TORCH_DTYPES)
    if isinstance(X, Tensor):
        return [torch.float32] if X.device.type == "mps" else [torch.float64, torch.float32]
    if _is_foreign(X):
        library = X.__array_namespace__()
        return [library.float64, library.float32]
    return list(TORCH_DTYPES)


def to_native(X: Any) -> Any:
    """The same numbers as a NumPy array or, on an accelerator, as a tensor; CSR stays CSR."""
    if isinstance(X, Tensor):
        return X.detach().numpy() if X.device.type == "cpu" else X.detach()
    if _is_foreign(X):
        return np.from_dlpack(X) if X.__dlpack_device__()[0] == HOST else torch.from_dlpack(X)
    return X


def to_namespace_of(X: Any, values: Any) -> Any:
    """Values, a NumPy array or a tensor, as an array of the library of `X`, where `X` lies."""
    if isinstance(X, Tensor):
        tensor = torch.as_tensor(values)
        single = X.device.type == "mps" and tensor.dtype == torch.float64  # it has no double
        return tensor.to(X.device, torch.float32 if single else tensor.dtype)
    if _is_foreign(X):
        return X.__array_namespace__().asarray(values, device=X.device)
    return as_numpy(values)


def as_numpy(values: Any) -> np.ndarray:
    """An array of whatever library as a NumPy array: for what is small."""
    values = to_native(values)
    return values.cpu().numpy() if isinstance(values, Tensor) else values


def check_same_library(estimator: Any, X: Any, fitted: Any) -> None:
    """Raise unless `X` comes from the library of `fitted`, an attribute; as scikit-learn's PCA."""
    before, now = library_of(fitted), library_of(X)
    if before != now and get_config()["array_api_dispatch"]:
        raise ValueError(
            f"Inputs passed to {type(estimator).__name__}.transform() and its like must use the "
            f"same namespace as those passed to fit(), {before}, got {now}: convert `X`, or fit "
            "again."
        )


def library_of(X: Any) -> str:
    """The name of the library whose array `X` is; lists, frames and CSR become NumPy's."""
    if isinstance(X, np.ndarray):
        return "numpy"
    if isinstance(X, Tensor):
        return "torch"
    return X.__array_namespace__().__name__ if _is_foreign(X) else "numpy"


def _is_foreign(X: Any) -> bool:
    """Whether an array is of a library that we know by the standard alone."""
    if isinstance(X, np.ndarray):  # the usual case, told at once
        return False
    return not isinstance(X, np.generic | Tensor) and hasattr(X, "__array_namespace__")
