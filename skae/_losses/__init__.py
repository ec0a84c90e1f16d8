"""Reconstruction losses, penalties, corruptions and bounds: functions of tensors."""

from importlib import import_module


def __getattr__(name: str) -> object:
    """The classes of `reconstruction`, which pickles of version 0.1.0 name so."""
    home = import_module(".reconstruction", __name__) if name[:1].isupper() else None
    if not hasattr(home, name):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(home, name)
