"""Warnings that point to the user's line, through whatever estimators the call went."""

import sys
import threading
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

# The packages between a user's line and a warning: a pipeline, a search, a clone.
BETWEEN = ("skae", "sklearn", "joblib", "abc", "contextlib", "copy", "pickle")


def warn_user(message: str, category: type[Warning]) -> None:
    """Warn at the innermost line outside of these packages."""
    frame, level = sys._getframe(1), 2
    while _package(frame.f_globals) in BETWEEN and frame.f_back is not None:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


@contextmanager
def recorded_warnings() -> Iterator[list[warnings.WarningMessage]]:
    """Record the warnings within the context instead of issuing them.

    In threads other than the main one they are issued: `catch_warnings` sets the filters of the
    whole process, which two threads would not restore.
    """
    if threading.current_thread() is not threading.main_thread():
        yield []
        return
    with warnings.catch_warnings(record=True) as recorded:
        yield recorded


def issue_warnings(recorded: Iterable[warnings.WarningMessage]) -> None:
    """Issue recorded warnings, at the lines at which they were recorded."""
    for warning in recorded:
        warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)


def _package(module: dict[str, object]) -> str:
    return str(module.get("__name__")).partition(".")[0]
