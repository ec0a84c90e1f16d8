"""Values and texts as parts of error messages."""

import math

MAX_SHOWN = 200  # characters
MAX_SHOWN_ENTRIES = 16  # of an array


def described(value: object) -> str:
    """A value for a message, in one line: arrays and tables by their type and shape."""
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple) and math.prod(shape) > MAX_SHOWN_ENTRIES:
        return f"{type(value).__name__} of shape {tuple(shape)}"
    return shortened(" ".join(repr(value).split()))


def shortened(text: str) -> str:
    """A text that is cut if it is too long for a message."""
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."
