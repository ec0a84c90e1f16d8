"""Versions and devices, for a report of a problem."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version

import torch

# The dependencies, and the packages of the extras that a user installs; scikit-learn's own
# dependencies change results too.
PACKAGES = (
    "numpy",
    "scipy",
    "scikit-learn",
    "joblib",
    "threadpoolctl",
    "torch",
    "matplotlib",
    "rich",
    "onnx",
    "onnxruntime",
    "skl2onnx",
    "safetensors",
    "dask-ml",
    "distributed",
    "ray",
)


def show_versions() -> None:
    """Print versions, devices and threads, for a report of a problem.

    The output has no paths, names of users or environment variables.

    Examples
    --------
    >>> from skae import show_versions
    >>> show_versions()  # doctest: +ELLIPSIS
    System
        Python: ...
        platform: ...
    """
    import skae  # not before all of its modules are there

    sections = {
        "System": {"Python": platform.python_version(), "platform": platform.platform()},
        "Packages": {"skae": skae.__version__} | {name: _installed(name) for name in PACKAGES},
        "Devices": _devices(),
    }
    for title, entries in sections.items():
        print(title)
        for name, value in entries.items():
            print(f"    {name}: {value}")


show_versions.__module__ = "skae"  # where users import it


def _installed(package: str) -> str:
    """The installed version of a package."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _devices() -> dict[str, str]:
    """Processors, threads of torch, and accelerators."""
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "processors": str(os.cpu_count()),
        "threads of torch": str(torch.get_num_threads()),
        "CUDA of torch": str(torch.version.cuda or "none"),
        "GPUs": ", ".join(gpus) or "none",
        "MPS": "available" if torch.backends.mps.is_available() else "none",
    }
