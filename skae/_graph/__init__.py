"""Networks as lists of ONNX operations, and a NumPy program that runs them."""

from importlib import import_module


def __getattr__(name: str) -> object:
    """The classes of `graph`: version 0.1.0 had a module `_graph`, which pickles name."""
    home = import_module(".graph", __name__) if name[:1].isupper() else None
    if not hasattr(home, name):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(home, name)
