"""A check of a network from a file: the shapes of its codes and rows, and the memory it takes."""

from collections.abc import Callable
from math import inf, prod
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from .._autoencoders.base import BaseAutoencoder
from .._nn.fitted import FittedAutoencoder
from .._nn.projection import Projection

# A layer may compute this many numbers from one row, and this many more per feature of the row: 64
# channels of an image, unfolded for kernels of 3 x 3, are 576 a pixel in a quarter of the pixels.
MAX_ENTRIES, MAX_ENTRIES_PER_FEATURE = 2**23, 256

# Functions of torch whose result has at most as many entries as the product of the numbers of
# entries of their tensors, whatever the other arguments. With small tensors this is all there is to
# know; torch takes 10 to 100 times longer to compute the shape of a result, and for some functions
# it first imports its compiler, which takes seconds.
BOUNDED = frozenset(
    [
        *("__get__", "__rdiv__", "__rsub__", "add", "add_", "div", "lt", "mul", "mul_", "sub"),
        *("abs", "any", "clone", "detach", "isnan", "log1p", "nan_to_num", "reciprocal_", "sign"),
        *("linalg_cholesky_ex", "linalg_eigh", "normalize", "scatter", "silu_backward"),
        *("sqrt", "square", "topk", "where"),
        *("exp", "gelu", "relu", "sigmoid", "silu", "softmax", "softshrink", "tanh"),
        *("clamp", "clamp_max_", "clamp_min", "clamp_min_", "full_like", "ones_like", "zeros_like"),
        *("amax", "argmin", "linalg_vector_norm", "mean", "min", "sum"),
        *("addcmul", "addmm", "baddbmm", "cholesky_solve", "matmul"),
    ]
)


def check_network(estimator: BaseAutoencoder) -> None:
    """Check that the network encodes and decodes a row, in the shapes of the estimator.

    The network may raise any exception if the file was not written by `save`.
    """
    fitted = estimator.network_
    if not isinstance(fitted, FittedAutoencoder):
        raise ValueError(f"its network is a {type(fitted).__name__}")
    if fitted.n_components != estimator.n_components_:
        raise ValueError(f"its network has {fitted.n_components} components")
    limit = MAX_ENTRIES + MAX_ENTRIES_PER_FEATURE * len(fitted.shift)
    with torch.inference_mode(), SizeLimit(limit):
        row = torch.zeros_like(fitted.shift)[None]
        code = fitted.network.encode(row)
        if fitted.network.n_projection_steps:  # of which one takes as much memory as many
            surface = fitted.network.for_projection()
            code = Projection(surface)(surface.with_added_columns(row, code), code, 1)
        code = fitted.from_network_code(code)
        row = fitted.decode(code)
    expected = (1, estimator.n_components_), (1, estimator.mean_.shape[0])
    if (code.shape, row.shape) != expected:
        raise ValueError(
            f"its network makes codes of shape {tuple(code.shape)} and rows of shape "
            f"{tuple(row.shape)} from one row"
        )


class NetworkTooLargeError(ValueError):
    """A function of the network would make a tensor that is too large."""


class SizeLimit(TorchFunctionMode):
    """Raises an error before a function of torch makes a tensor that is too large.

    A few numbers in a file can stand for a large result: the padding of a convolution, or the
    product of a row and a column.
    """

    def __init__(self, limit: int):
        super().__init__()
        self.limit = limit

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if _bound(func, args, kwargs) <= self.limit:
            return func(*args, **kwargs)
        for size in _sizes(func, args, kwargs):
            if size > self.limit:
                raise NetworkTooLargeError("its network would need too much memory")
        return func(*args, **kwargs)


def _bound(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> float:
    """A number of entries that the result does not exceed; infinity if this needs its shape."""
    name = getattr(func, "__name__", "")
    match name, args:
        case "cat", (tensors, *_):
            return sum(tensor.numel() for tensor in tensors)
        case "linear", (Tensor() as x, Tensor() as weight, *_):
            return prod(x.shape[:-1]) * len(weight)
        case "__getitem__", (Tensor() as x, Tensor() as index):
            return x.numel() * max(index.numel(), 1)
    entries = prod(v.numel() for v in (*args, *kwargs.values()) if isinstance(v, Tensor))
    if not entries:  # a product of 0 columns and 0 rows has as many entries as their other sizes
        return inf
    if name == "diag":
        return entries**2
    return entries if name in BOUNDED else inf


def _sizes(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[int]:
    """Numbers of entries of the results of a function, and of the unfolded input of convolutions.

    Computed on torch's "meta" device, which takes no memory.
    """
    try:
        result = func(*map(_on_meta, args), **{k: _on_meta(v) for k, v in kwargs.items()})
    except Exception:  # not available there; if the arguments are wrong, the function itself raises
        return []
    results = result if isinstance(result, tuple | list) else (result,)
    sizes = [tensor.numel() for tensor in results if isinstance(tensor, Tensor)]
    if "conv" in getattr(func, "__name__", "") and sizes:
        x, weight = [v for v in (*args, *kwargs.values()) if isinstance(v, Tensor)][:2]
        positions = max(prod(x.shape[2:]), prod(result.shape[2:]))
        channels = max(x.shape[1], result.shape[1])
        sizes.append(positions * channels * prod(weight.shape[2:]))
    return sizes


def _on_meta(value: Any) -> Any:
    if isinstance(value, Tensor):
        return torch.empty_like(value, device="meta")
    return type(value)(map(_on_meta, value)) if type(value) in (list, tuple) else value
