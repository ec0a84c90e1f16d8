"""ONNX, NumPy programs and safetensors files."""

from importlib import import_module


def __getattr__(name: str) -> object:
    """The classes of `export`: version 0.1.0 had a module `_export`, which pickles name."""
    home = import_module(".export", __name__) if name[:1].isupper() else None
    if not hasattr(home, name):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(home, name)
