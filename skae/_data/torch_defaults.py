"""Torch's own defaults, whatever the caller has set: device, dtype, autocast, gradients."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any, TypeVar, cast

import torch

from .held_setting import HeldSetting
from .memory import explained_memory

CPU = torch.device("cpu")
AUTOCAST_DEVICES = tuple(
    kind for kind in ("cpu", "cuda", "mps", "xpu") if torch.amp.is_autocast_available(kind)
)

Method = TypeVar("Method", bound=Callable[..., Any])


class _Float32(HeldSetting):
    """float32 as the default dtype of torch, which is one setting for all threads."""

    _dtype = torch.float32

    def _hold(self) -> None:
        self._dtype = torch.get_default_dtype()
        torch.set_default_dtype(torch.float32)

    def _restore(self) -> None:
        torch.set_default_dtype(self._dtype)


_FLOAT32 = _Float32()


@contextmanager
def torch_defaults() -> Iterator[None]:
    """A context in which tensors are created on the CPU, in float32 and without autocast."""
    with ExitStack() as stack:
        if torch.get_default_dtype() != torch.float32 or _FLOAT32.is_held:
            stack.enter_context(_FLOAT32)
        if torch.empty(0).device != CPU:  # `get_default_device` imports each time
            stack.enter_context(CPU)
        for kind in AUTOCAST_DEVICES:
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        yield


def with_torch_defaults(method: Method) -> Method:
    """Decorate a method that computes with torch: it runs within `torch_defaults`."""

    @wraps(method)
    def within(*arguments: Any, **options: Any) -> Any:
        with explained_memory(
            f"`{method.__name__}` needs more memory than there is. What it needs grows with the "
            "numbers of rows, of columns and of samples."
        ):
            if _are_defaults():  # the contexts would take as long as a small layer
                return method(*arguments, **options)
            with torch_defaults():
                return method(*arguments, **options)

    return cast(Method, within)


def _are_defaults() -> bool:
    return (
        torch.get_default_dtype() == torch.float32
        and not _FLOAT32.is_held
        and torch.empty(0).device == CPU
        and not any(map(torch.is_autocast_enabled, AUTOCAST_DEVICES))
    )


@contextmanager
def training_mode() -> Iterator[None]:
    """`torch_defaults` with gradients, even within the caller's `no_grad` or `inference_mode`."""
    with torch_defaults(), torch.inference_mode(False), torch.enable_grad():
        yield
