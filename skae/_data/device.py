"""Devices, dtypes and conversion between NumPy arrays and torch tensors."""

from collections.abc import Callable
from functools import cache

import numpy as np
import torch
from torch import Tensor

from .messages import described

# The dtypes that rows may have; others are converted to the first.
TORCH_DTYPES = {np.dtype(np.float64): torch.float64, np.dtype(np.float32): torch.float32}

# From this many multiply-adds a step on, training in bfloat16 is faster, where the processor has
# instructions for it.
BFLOAT16_MIN_FLOPS = 150_000_000


def resolve_device(device: str, X: object = None) -> torch.device:
    """Return the device of this name; "auto" is the device of a tensor `X`, CUDA or the CPU."""
    if device == "auto" and isinstance(X, Tensor):
        return X.device
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
        torch.zeros(1, device=resolved).cpu()  # "meta" has no numbers
    # torch raises RuntimeError for unknown or absent devices, AssertionError for CUDA-less builds.
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(
            "`device` must be 'auto' or a torch device present here, such as 'cpu', "
            f"got {described(device)}."
        ) from error
    return resolved


@cache
def has_bfloat16_instructions() -> bool:
    """Whether the processor has instructions for bfloat16; emulation is slow."""
    get_capabilities = getattr(torch.cpu, "get_capabilities", None)  # missing in older versions
    capabilities = get_capabilities() if get_capabilities else {}
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16"))


def inference_dtype(dtype: np.dtype | torch.dtype, device: torch.device) -> torch.dtype:
    """Return the precision of `X`, or float32 where the device has no float64."""
    if device.type == "mps":
        return torch.float32
    return dtype if isinstance(dtype, torch.dtype) else TORCH_DTYPES[dtype]


def max_float_dtype(device: torch.device) -> torch.dtype:
    """Return the most precise float of the device."""
    return inference_dtype(torch.float64, device)


def as_tensor(block: np.ndarray | Tensor, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Convert an array to a tensor; torch accepts neither read-only memory nor negative strides."""
    if isinstance(block, Tensor):
        return block.to(device, dtype)
    return torch.from_numpy(np.require(block, requirements=["C", "W"])).to(device, dtype)


def as_array(x: Tensor) -> np.ndarray:
    """Convert a tensor to a float64 array in host memory."""
    return x.detach().cpu().double().numpy()


def halve_on_oom(apply: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """`apply` to rows, to half of them at a time whenever the device runs out of memory."""
    try:
        return apply(x)
    except torch.cuda.OutOfMemoryError:
        if len(x) == 1:
            raise
    return torch.cat([halve_on_oom(apply, half) for half in x.tensor_split(2)])
