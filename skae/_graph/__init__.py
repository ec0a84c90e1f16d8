"""Networks as lists of ONNX operations, and a NumPy program that runs them."""

from importlib import import_module


def __getattr__(name: str) -> object:
    """The classes of `graph`: version 0.1.0 had a module `_graph`, and pickles name it."""
    if name[:1].isupper():
        return getattr(import_module(".graph", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
