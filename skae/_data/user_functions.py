"""Calls of functions that a user gives as parameters."""

from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

from .messages import described


def call_user_function(name: str, rule: str, function: Callable[..., Any], *args: Any) -> Any:
    """The result of a function that is the parameter `name`.

    Raises
    ------
    TypeError
        If the function cannot be called with these arguments; the message has the `rule`. An error
        within the function is raised as it is.
    """
    try:
        return function(*args)
    except TypeError as error:
        if any(_is_own(frame) for frame in _frames_below(error.__traceback__)):
            raise
        raise TypeError(
            f"`{name}` must be a function: {rule}. Got {described(function)}."
        ) from error


def _frames_below(traceback: TracebackType | None) -> Iterator[str]:
    """The modules of the frames below the first one."""
    while traceback is not None and (traceback := traceback.tb_next) is not None:
        yield traceback.tb_frame.f_globals.get("__name__", "")


def _is_own(module: str) -> bool:
    """Whether a frame is of a function itself, not of torch's call of `forward`."""
    return module != "torch.nn.modules.module"
