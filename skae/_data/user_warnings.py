"""Warnings that point to the user's line, through whatever estimators the call went."""

import sys
import warnings

# The packages between a user's line and a warning: a pipeline, a search, a clone.
BETWEEN = ("skae", "sklearn", "joblib", "abc", "contextlib", "copy", "pickle")


def warn_user(message: str, category: type[Warning]) -> None:
    """Warn at the innermost line outside of these packages."""
    frame, level = sys._getframe(1), 2
    while _package(frame.f_globals) in BETWEEN and frame.f_back is not None:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


def _package(module: dict[str, object]) -> str:
    return str(module.get("__name__")).partition(".")[0]
