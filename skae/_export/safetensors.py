"""Estimators as files that hold no code: `save` and `load`."""

import hashlib
import json
import os
import uuid
from collections.abc import Callable
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.decomposition import PCA
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import (
    LabelBinarizer,
    LabelEncoder,
    MaxAbsScaler,
    MinMaxScaler,
    RobustScaler,
    StandardScaler,
)

from .._autoencoders.base import BaseAutoencoder
from .._nn.fitted import FittedAutoencoder

# Changes when files of an older skae can no longer be read as they are.
FORMAT = 1

# What may stand beside or inside ours. Their state is numbers, texts and arrays.
SCIKIT_LEARN: tuple[type[BaseEstimator], ...] = (
    FrozenEstimator,
    LabelBinarizer,
    LabelEncoder,
    LogisticRegression,
    MaxAbsScaler,
    MinMaxScaler,
    PCA,
    Pipeline,
    RobustScaler,
    SimpleImputer,
    StandardScaler,
)
# Little endian, as the arrays in a file are.
DTYPES = {np.dtype(f"<{kind}{size}") for kind in "iu" for size in (1, 2, 4, 8)} | {
    np.dtype(name) for name in ("<f2", "<f4", "<f8", "?")
}


def save(estimator: Any, path: str | os.PathLike) -> None:
    """Write an estimator to a file that can be loaded without running code.

    The file is in the safetensors format: the weights and other arrays as they are, the parameters
    and all else as JSON in its header. It is written beside `path` first and then put in place, so
    that a write that fails leaves what was there.

    Parameters
    ----------
    estimator : estimator
        Any of this package's, fitted or not, or a pipeline of these and of the scikit-learn
        estimators that `docs/persistence.md` lists.
    path : str or path-like
        The file; replaced if it exists.

    Raises
    ------
    TypeError
        If some part of the estimator is code, such as a callable parameter, or is of a type that
        files cannot hold; the message names the part. joblib and pickle can hold those.
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
    if type(estimator) not in _classes().values():
        raise TypeError(
            f"`estimator` must be one of {', '.join(sorted(_classes()))}, got {estimator!r}."
        )
    arrays: dict[str, np.ndarray] = {}
    content = {
        "format": FORMAT,
        "versions": {"skae": _package().__version__, "torch": torch.__version__.split("+")[0]},
        "content": _encoded(estimator, "", arrays),
    }
    _write_atomically(Path(path), _to_bytes(json.dumps(content, allow_nan=False), arrays))


def load(path: str | os.PathLike) -> Any:
    """Read an estimator that `save` has written; no code in the file is run.

    Parameters
    ----------
    path : str or path-like
        The file.

    Returns
    -------
    estimator : estimator
        As it was saved, its network on the CPU.

    Raises
    ------
    ValueError
        If the file is not one of `save`, is damaged, or was written by a newer version.
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
    raw = Path(path).read_bytes()
    library = _safetensors()
    try:
        arrays = library.load(raw)
        estimator = _decoded(_checked_content(raw, arrays), arrays)
    # Whatever may be wrong with a file that anybody may have written.
    except Exception as error:
        raise ValueError(
            f"`path` must be a whole file that skae.save has written, got {os.fspath(path)!r}: "
            f"{_reason(raw, error)}."
        ) from error
    if not isinstance(estimator, BaseEstimator):
        raise ValueError(f"`path` must be a file of an estimator, got a {type(estimator)}.")
    return estimator


def _safetensors() -> Any:
    try:
        import safetensors.numpy
    except ImportError as error:
        raise ImportError(
            "skae.save and skae.load need one more package: pip install skae[save]"
        ) from error
    return safetensors.numpy


def _to_bytes(text: str, arrays: dict[str, np.ndarray]) -> bytes:
    """A file with an estimator in JSON and its arrays."""
    return _safetensors().save(arrays, {"skae": text, "sha256": _digest(text, arrays)})


def _digest(text: str, arrays: dict[str, np.ndarray]) -> str:
    """Of all that `load` makes use of."""
    digest = hashlib.sha256(text.encode())
    for name, array in sorted(arrays.items()):
        digest.update(json.dumps([name, array.dtype.str, array.shape]).encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _checked_content(raw: bytes, arrays: dict[str, np.ndarray]) -> Any:
    """What the header says of the estimator, if it is of this format and nothing has changed."""
    # The library reads texts from files only; a header is JSON behind 8 bytes with its length.
    metadata = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])["__metadata__"]
    content = json.loads(metadata["skae"])
    if content["format"] != FORMAT:
        raise ValueError(f"its format is {content['format']!r}, and this version reads {FORMAT}")
    if _digest(metadata["skae"], arrays) != metadata["sha256"]:
        raise ValueError("its contents have changed since it was written")
    return content["content"]


def _reason(raw: bytes, error: Exception) -> str:
    if raw[:1] == b"\x80" or raw[:2] == b"PK":
        return "it looks like a pickle or an archive, which are not read because they can run code"
    return str(error) or type(error).__name__


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


def _package() -> Any:
    import skae  # not before all of its modules are there

    return skae


def _classes() -> dict[str, type[BaseEstimator]]:
    """The estimators that a file may hold, by name."""
    public = [getattr(_package(), name) for name in _package().__all__]
    ours = [cls for cls in public if isinstance(cls, type) and issubclass(cls, BaseEstimator)]
    return {cls.__name__: cls for cls in (*ours, *SCIKIT_LEARN)}


def _records() -> dict[str, type[tuple]]:
    """The named tuples of this package, by name."""
    package = f"{__name__.partition('.')[0]}."
    return {
        cls.__name__: cls for cls in tuple.__subclasses__() if cls.__module__.startswith(package)
    }


def _encoded(value: Any, place: str, arrays: dict[str, np.ndarray]) -> Any:
    """A value in JSON; arrays go to `arrays` under the name of their place in the estimator."""

    def table(items: dict[Any, Any]) -> list[list[Any]]:
        inner = ((k, f"{place}.{k}".lstrip(".")) for k in items)
        return [[_encoded(k, name, arrays), _encoded(items[k], name, arrays)] for k, name in inner]

    def entries(items: Any) -> list[Any]:
        return [_encoded(item, f"{place}.{i}", arrays) for i, item in enumerate(items)]

    cls = type(value)
    if value is None or cls in (bool, int, str) or (cls is float and isfinite(value)):
        return value
    if cls is list:
        return entries(value)
    if cls is float:
        return {"kind": "float", "value": str(value)}
    if cls is tuple:
        return {"kind": "tuple", "value": entries(value)}
    if cls is dict:
        return {"kind": "dict", "value": table(value)}
    if cls is np.random.RandomState:
        return {"kind": "RandomState", "value": table(value.get_state(legacy=False))}
    if cls in _records().values():
        return {"kind": "record", "class": cls.__name__, "value": table(value._asdict())}
    if cls in _classes().values():
        state = dict(value.__getstate__())
        state.pop("_skl_callbacks", None)  # code of the process that fits
        return {"kind": "estimator", "class": cls.__name__, "value": table(state)}
    if isinstance(value, np.dtype) and value.newbyteorder("<") in DTYPES:
        return {"kind": "dtype", "value": value.str}
    if isinstance(value, np.ndarray) and (value.dtype.kind == "U" or _are_texts(value)):
        values = {"shape": list(value.shape), "value": value.ravel().tolist()}
        return {"kind": "strings", "dtype": value.dtype.str} | values
    if isinstance(value, np.ndarray | np.generic) and value.dtype.newbyteorder("<") in DTYPES:
        arrays[place] = np.array(value, value.dtype.newbyteorder("<"), order="C")
        if not isinstance(value, np.ndarray):
            return {"kind": "scalar", "value": place}
        # The order in memory, too: sums over the other way round may differ in the last bit.
        order = "C" if value.flags.c_contiguous else "F"
        return {"kind": "array", "value": place, "order": order}
    raise TypeError(
        f"`{place}` cannot be saved without code, got {value!r}; use joblib.dump, which can, and "
        "load its files only from where you trust."
    )


def _are_texts(value: np.ndarray) -> bool:
    return value.dtype == object and all(type(entry) is str for entry in value.flat)


def _decoded(value: Any, arrays: dict[str, np.ndarray]) -> Any:
    """The inverse of `_encoded`."""
    if isinstance(value, list):
        return [_decoded(entry, arrays) for entry in value]
    if not isinstance(value, dict):
        return value
    return DECODERS[value["kind"]](value, arrays)


def _decoded_table(value: dict[str, Any], arrays: dict[str, np.ndarray]) -> dict[Any, Any]:
    return {_decoded(k, arrays): _decoded(v, arrays) for k, v in value["value"]}


def _decoded_strings(kind: str, dtype: str, shape: list[int], value: list[str]) -> np.ndarray:
    return np.array(value, dtype).reshape(shape)


def _decoded_random_state(value: dict[str, Any], arrays) -> np.random.RandomState:
    random_state = np.random.RandomState()
    random_state.set_state(_decoded_table(value, arrays))
    return random_state


def _decoded_estimator(value: dict[str, Any], arrays: dict[str, np.ndarray]) -> BaseEstimator:
    cls = _classes()[value["class"]]
    state = _decoded_table(value, arrays)
    for name in state:
        if name.startswith("__") or callable(getattr(cls, name, None)):
            raise ValueError(f"{cls.__name__} cannot have {name!r} of its own")
    estimator = object.__new__(cls)
    estimator.__setstate__(state)
    if isinstance(estimator, BaseAutoencoder) and estimator.__sklearn_is_fitted__():
        _check_that_it_works(estimator)
    return estimator


def _check_that_it_works(estimator: BaseAutoencoder) -> None:
    fitted = estimator.network_
    if not isinstance(fitted, FittedAutoencoder):
        raise ValueError(f"its network is a {type(fitted).__name__}")
    with torch.inference_mode():
        code = fitted.encode(fitted.shift[None])
        row = fitted.decode(code)
    sizes, wanted = (*code.shape, *row.shape), (1, estimator.n_components_)
    if sizes != (*wanted, 1, estimator.n_features_in_):
        raise ValueError(f"its network makes {tuple(code.shape)} and {tuple(row.shape)} of one row")


DECODERS: dict[str, Callable[[dict[str, Any], dict[str, np.ndarray]], Any]] = {
    "array": lambda value, arrays: np.array(arrays[value["value"]], order=value["order"]),
    "dict": _decoded_table,
    "dtype": lambda value, arrays: np.dtype(value["value"]),
    "estimator": _decoded_estimator,
    "float": lambda value, arrays: float(value["value"]),
    "RandomState": _decoded_random_state,
    "record": lambda value, arrays: _records()[value["class"]](**_decoded_table(value, arrays)),
    "scalar": lambda value, arrays: arrays[value["value"]][()],
    "strings": lambda value, arrays: _decoded_strings(**value),
    "tuple": lambda value, arrays: tuple(_decoded(value["value"], arrays)),
}
