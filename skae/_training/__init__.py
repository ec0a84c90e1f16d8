"""Fitting: initialisation, objectives, gradients, optimisers, the training loop."""

from importlib import import_module


def __getattr__(name: str) -> object:
    """The classes of `loop`: version 0.1.0 had a module `_training`, and pickles name it."""
    if name[:1].isupper():
        return getattr(import_module(".loop", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
