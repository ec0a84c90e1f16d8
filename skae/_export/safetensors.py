"""Estimators as files that hold no code: `save` and `load`."""

import hashlib
import json
import os
import re
from collections.abc import Iterable
from types import ModuleType
from typing import Any

import numpy as np
import sklearn
import torch
from sklearn.base import BaseEstimator

from .._data.messages import described, shortened
from .._data.torch_defaults import training_mode
from .custom_objects import CustomObject, CustomObjects, CustomObjectsError, known_classes
from .encoding import Decoder, Encoder
from .replacement import as_path, replace_files

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

    The file has the safetensors format. Arrays are stored as they are, and all other contents as
    JSON in the header. If writing fails, an existing file does not change.

    Parameters
    ----------
    estimator : estimator
        An estimator of this package, fitted or not, a subclass of an autoencoder or of
        `skae.base.BaseAutoencoder`, or a pipeline or `ColumnTransformer` of these estimators. The
        user guide lists the scikit-learn estimators that these may contain.
    path : str or path-like
        The file. An existing file is replaced.
    custom_objects : iterable of classes and functions, default=()
        Your own functions that are parameters, such as `network`, and your own classes of layers
        and estimators. The file contains their names only, so also pass them to `load`. Define
        functions with `def`, because a lambda has no name. You need not pass a subclass of an
        autoencoder, if the program that calls `load` defines it.

    Raises
    ------
    TypeError
        If the estimator contains a function or a class that is not in `custom_objects`, or an
        object that cannot be stored. Most of these estimators can be written with joblib. Also if
        one of the `custom_objects` is not a class or a function, or has no name.
    ValueError
        If two of the `custom_objects` have the same name.
    ImportError
        If the package safetensors is not installed.
    OSError
        If the file cannot be written.

    See Also
    --------
    load : Reads the file.

    Examples
    --------
    >>> import os, tempfile
    >>> from sklearn.datasets import load_iris
    >>> import skae
    >>> X, _ = load_iris(return_X_y=True)
    >>> reducer = skae.AutoencoderTransformer(max_iter=20, random_state=0).fit(X)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "iris.skae")
    ...     skae.save(reducer, path)
    ...     again = skae.load(path)
    >>> bool((again.transform(X) == reducer.transform(X)).all())
    True
    """
    file, encoder = as_path("path", path), Encoder(CustomObjects(custom_objects))
    if not encoder.knows(type(estimator)):
        raise TypeError(
            f"`estimator` must be one of {', '.join(sorted(known_classes()))}, a subclass of an "
            f"autoencoder, or of a class in `custom_objects`, got {described(estimator)}."
        )
    content = encoder.encode(estimator)
    header = {
        "format": FORMAT,
        "versions": _versions() | {"torch": torch.__version__.split("+")[0]},
        "custom_objects": sorted(encoder.used),
        "content": content,
    }
    raw = _to_bytes(json.dumps(header, allow_nan=False), encoder.arrays)
    try:
        _read(raw, CustomObjects(encoder.used.values()))
    except Exception as error:
        raise TypeError(
            f"`estimator` cannot be saved, because `load` would refuse the file: {_reason(error)}."
        ) from error
    replace_files({file: raw})


def load(path: str | os.PathLike[str], *, custom_objects: Iterable[CustomObject] = ()) -> Any:
    """Read an estimator that `save` has written; no code in the file is run.

    Parameters
    ----------
    path : str or path-like
        The file.
    custom_objects : iterable of classes and functions, default=()
        The functions and classes that were passed to `save`.

    Returns
    -------
    estimator : estimator
        The estimator as it was saved, with its network on the CPU.

    Raises
    ------
    ValueError
        If the file was not written by `save`, is damaged, was written by a newer version, or needs
        other `custom_objects`.
    ImportError
        If the package safetensors is not installed.
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
    raw, custom = as_path("path", path).read_bytes(), CustomObjects(custom_objects)
    _safetensors()
    try:
        return _read(raw, custom)
    except _MissingObjectsError as error:
        names = shortened(", ".join(error.names))
        raise ValueError(
            f"`custom_objects` must have what the file {os.fspath(path)!r} refers to by name: "
            f"{names}. Define or import it and call skae.load(path, custom_objects=[{names}])."
        ) from error
    except CustomObjectsError as error:
        raise ValueError(
            f"`custom_objects` must match the file {os.fspath(path)!r}: {error}."
        ) from error
    except Exception as error:  # a file from anywhere can be wrong in any way
        reason = _PICKLE if _is_pickle(raw, error) else _reason(error)
        raise ValueError(
            f"`path` must be a whole file that skae.save has written, got {os.fspath(path)!r}: "
            f"{reason}{_other_versions(raw)}."
        ) from error


save.__module__ = load.__module__ = "skae"  # where users import them


class _MissingObjectsError(Exception):
    """A file refers to objects by names that `custom_objects` does not have."""

    def __init__(self, names: list[str]):
        super().__init__(names)
        self.names = names


def _versions() -> dict[str, str]:
    import skae  # not before all of its modules are there

    return {"skae": skae.__version__, "scikit-learn": sklearn.__version__}


def _safetensors() -> ModuleType:
    try:
        import safetensors.numpy
    except ImportError as error:
        raise ImportError(
            "skae.save and skae.load need safetensors: `pip install safetensors`."
        ) from error
    return safetensors.numpy


def _safetensors_error() -> type[Exception]:
    from safetensors import SafetensorError

    return SafetensorError


def _to_bytes(text: str, arrays: dict[str, np.ndarray]) -> bytes:
    """A file with an estimator in JSON and its arrays."""
    raw = _safetensors().save(arrays, {"skae": text, "sha256": _digest(text, arrays)})
    # The library writes the metadata in a random order: equal estimators would have unequal files.
    start = 8 + int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8:start])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    ordered = json.dumps(header, separators=(",", ":")).encode()
    ordered += b" " * (-len(ordered) % 8)  # the arrays begin at a multiple of eight
    return len(ordered).to_bytes(8, "little") + ordered + raw[start:]


def _digest(text: str, arrays: dict[str, np.ndarray]) -> str:
    """The digest of everything that `load` uses."""
    digest = hashlib.sha256(text.encode())
    for name, array in sorted(arrays.items()):
        digest.update(json.dumps([name, array.dtype.str, array.shape]).encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _read(raw: bytes, custom: CustomObjects) -> BaseEstimator:
    """The estimator in a file. Any exception can be raised if `save` has not written the file."""
    arrays = _safetensors().load(raw)
    metadata = _metadata(raw)
    header = json.loads(metadata["skae"])
    if header["format"] not in READABLE_FORMATS:
        raise ValueError(
            f"its format is {header['format']!r}, and this version reads "
            f"{' and '.join(map(str, READABLE_FORMATS))}"
        )
    if _digest(metadata["skae"], arrays) != metadata["sha256"]:
        raise ValueError("its contents have changed since it was written")
    if missing := custom.missing(_custom_names(header)):
        raise _MissingObjectsError(missing)
    with training_mode():  # whatever the caller has set
        estimator = Decoder(arrays, custom).decode(header["content"])
    if not isinstance(estimator, BaseEstimator):
        raise ValueError(f"it holds a {type(estimator).__name__} instead of an estimator")
    return estimator


def _metadata(raw: bytes) -> dict[str, str]:
    # The library reads metadata from files only. A header is JSON after 8 bytes with its length.
    return json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])["__metadata__"]


def _custom_names(header: dict[str, Any]) -> list[str]:
    """The names of the custom objects that a file refers to."""
    names = header.get("custom_objects", [])  # files of version 0.1.0 have none
    if not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise ValueError("its custom objects are not a list of names")
    return names


def _is_pickle(raw: bytes, error: Exception) -> bool:
    # Only if the library cannot read it: the length of a header may begin with these bytes, too.
    is_unreadable = isinstance(error, _safetensors_error())
    return is_unreadable and (raw[:1] == b"\x80" or raw[:2] == b"PK")


_PICKLE = "it looks like a pickle or an archive, which are not read because they can run code"


def _reason(error: Exception) -> str:
    try:
        text = str(error)
    except Exception:  # it may show an object from the file, which may be incomplete
        text = ""
    return shortened(text.rstrip(".")) or type(error).__name__


def _other_versions(raw: bytes) -> str:
    """The versions that wrote the file, for messages, if they are not these."""
    try:
        written = json.loads(_metadata(raw)["skae"])["versions"]
        return "".join(
            f"; {name} {written[name]} wrote it, and this is {name} {this}"
            for name, this in _versions().items()
            if name in written
            and re.fullmatch(r"[\w.+]{1,40}", written[name])
            and written[name] != this
        )
    except Exception:  # the file is damaged there
        return ""
