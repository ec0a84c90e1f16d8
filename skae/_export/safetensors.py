"""Estimators as files that hold no code: `save` and `load`."""

import hashlib
import json
import os
import uuid
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator

from .custom_objects import CustomObject, CustomObjects, CustomObjectsError, known_classes
from .encoding import Decoder, Encoder

# The format that is written. It changes when an older version cannot read new files.
FORMAT = 2
READABLE_FORMATS = (1, 2)


def save(
    estimator: BaseEstimator,
    path: str | os.PathLike[str],
    *,
    custom_objects: Iterable[CustomObject] = (),
) -> None:
    """Write an estimator to a file that can be loaded without running code.

    The file is in the safetensors format: the weights and other arrays as they are, the parameters
    and everything else as JSON in its header. It is written beside `path` and then put in place, so
    that a failed write leaves an existing file as it was.

    Parameters
    ----------
    estimator : estimator
        Any estimator of this package, fitted or not; a subclass of an autoencoder or of
        `skae.base.BaseAutoencoder`; or a pipeline of these and of the scikit-learn estimators that
        the user guide lists.
    path : str or path-like
        The file; replaced if it exists.
    custom_objects : iterable of classes and functions, default=()
        Functions that are parameters, such as `network`, and classes of layers and estimators that
        are not of this package. The file refers to them by name, and `load` needs them again;
        define functions with `def`, because a lambda has no name. A subclass of an autoencoder need
        not be listed as long as `load` runs in a program that defines it.

    Raises
    ------
    TypeError
        If a part of the estimator is code that is not in `custom_objects`, or is of a type that
        files cannot hold; the message names the part. joblib and pickle can hold most of these.
        If one of the `custom_objects` is not a class or a function, or has no name.
    ValueError
        If two of the `custom_objects` have the same name.
    ImportError
        Without the package safetensors.
    OSError
        If the file cannot be written; then nothing is left of it.

    See Also
    --------
    load : Reads the file.

    Examples
    --------
    >>> import os, tempfile
    >>> from sklearn.datasets import load_iris
    >>> import skae
    >>> X, _ = load_iris(return_X_y=True)
    >>> reducer = skae.AutoencoderTransformer(random_state=0).fit(X)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "iris.skae")
    ...     skae.save(reducer, path)
    ...     again = skae.load(path)
    >>> bool((again.transform(X) == reducer.transform(X)).all())
    True
    """
    encoder = Encoder(CustomObjects(custom_objects))
    if not encoder.knows(type(estimator)):
        raise TypeError(
            f"`estimator` must be one of {', '.join(sorted(known_classes()))}, a subclass of an "
            f"autoencoder, or of a class in `custom_objects`, got {estimator!r}."
        )
    content = encoder.encode(estimator)
    header = {
        "format": FORMAT,
        "versions": {"skae": _version(), "torch": torch.__version__.split("+")[0]},
        "custom_objects": sorted(encoder.used),
        "content": content,
    }
    _write_atomically(Path(path), _to_bytes(json.dumps(header, allow_nan=False), encoder.arrays))


def load(path: str | os.PathLike[str], *, custom_objects: Iterable[CustomObject] = ()) -> Any:
    """Read an estimator that `save` has written; no code in the file is run.

    Parameters
    ----------
    path : str or path-like
        The file.
    custom_objects : iterable of classes and functions, default=()
        What was passed to `save`. A file uses them by name; it cannot import anything.

    Returns
    -------
    estimator : estimator
        As it was saved, its network on the CPU.

    Raises
    ------
    ValueError
        If the file was not written by `save`, is damaged, was written by a newer version, or needs
        other `custom_objects`.
    ImportError
        Without the package safetensors.
    OSError
        If the file cannot be read.

    See Also
    --------
    save : Writes the file.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import skae
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "reducer.skae")
    ...     skae.save(skae.AutoencoderTransformer(8), path)
    ...     skae.load(path)
    AutoencoderTransformer(n_components=8)
    """
    custom = CustomObjects(custom_objects)
    raw = Path(path).read_bytes()
    library = _safetensors()
    try:
        arrays = library.load(raw)
        header = _checked_header(raw, arrays)
        missing = custom.missing(_custom_names(header))
        estimator = None if missing else Decoder(arrays, custom).decode(header["content"])
    except CustomObjectsError as error:
        raise ValueError(
            f"`custom_objects` must match the file {os.fspath(path)!r}: {error}."
        ) from error
    except Exception as error:  # a file from anywhere can be wrong in any way
        raise ValueError(
            f"`path` must be a whole file that skae.save has written, got {os.fspath(path)!r}: "
            f"{_reason(raw, error)}."
        ) from error
    if missing:
        names = ", ".join(missing)
        raise ValueError(
            f"`custom_objects` must have what the file {os.fspath(path)!r} refers to by name: "
            f"{names}. Define or import it and call skae.load(path, custom_objects=[{names}])."
        )
    if not isinstance(estimator, BaseEstimator):
        raise ValueError(f"`path` must be a file of an estimator, got a {type(estimator)}.")
    return estimator


save.__module__ = load.__module__ = "skae"  # where users import them


def _version() -> str:
    import skae  # not before all of its modules are there

    return skae.__version__


def _safetensors() -> ModuleType:
    try:
        import safetensors.numpy
    except ImportError as error:
        raise ImportError(
            "skae.save and skae.load need one more package: pip install skae[save]"
        ) from error
    return safetensors.numpy


def _safetensors_error() -> type[Exception]:
    from safetensors import SafetensorError

    return SafetensorError


def _to_bytes(text: str, arrays: dict[str, np.ndarray]) -> bytes:
    """A file with an estimator in JSON and its arrays."""
    return _safetensors().save(arrays, {"skae": text, "sha256": _digest(text, arrays)})


def _digest(text: str, arrays: dict[str, np.ndarray]) -> str:
    """The digest of everything that `load` uses."""
    digest = hashlib.sha256(text.encode())
    for name, array in sorted(arrays.items()):
        digest.update(json.dumps([name, array.dtype.str, array.shape]).encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _checked_header(raw: bytes, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """The part of the header that `save` has written, if this version can read it."""
    # The library reads metadata from files only. A header is JSON after 8 bytes with its length.
    metadata = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])["__metadata__"]
    header = json.loads(metadata["skae"])
    if header["format"] not in READABLE_FORMATS:
        raise ValueError(
            f"its format is {header['format']!r}, and this version reads "
            f"{' and '.join(map(str, READABLE_FORMATS))}"
        )
    if _digest(metadata["skae"], arrays) != metadata["sha256"]:
        raise ValueError("its contents have changed since it was written")
    return header


def _custom_names(header: dict[str, Any]) -> list[str]:
    """The names of the custom objects that a file refers to."""
    names = header.get("custom_objects", [])  # files of version 0.1.0 have none
    if not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise ValueError("its custom objects are not a list of names")
    return names


def _reason(raw: bytes, error: Exception) -> str:
    # Only if the library cannot read it: the length of a header may begin with these bytes, too.
    is_unreadable = isinstance(error, _safetensors_error())
    if is_unreadable and (raw[:1] == b"\x80" or raw[:2] == b"PK"):
        return "it looks like a pickle or an archive, which are not read because they can run code"
    try:
        text = str(error)
    except Exception:  # it may show an object from the file, which may be incomplete
        text = ""
    return text or type(error).__name__


def _write_atomically(path: Path, raw: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with open(temporary, "xb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
