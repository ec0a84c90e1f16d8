"""Estimators as JSON values and arrays, without code: what the files of `skae.save` hold."""

from collections.abc import Callable, Iterable
from math import isfinite
from typing import Any

import numpy as np
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
from torch import nn

from .._autoencoders.base import BaseAutoencoder
from .._nn.pickling import ModulePickleMixin, PackedModule, is_known, make_record
from .network_check import check_network

# These may stand beside estimators of this package, or in them. Their states are numbers, strings
# and arrays.
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
# Arrays of strings are saved no wider than their longest entry, or than this. On loading, a larger
# width could take any amount of memory.
STRING_WIDTH = 256
MT19937_WORDS = 624
JOBLIB = "use joblib.dump, whose files can run code: load them only from where you trust"

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]
CustomObject = type | Callable[..., Any]


class CustomObjects:
    """Classes and functions of the user's, which files refer to by name."""

    def __init__(self, objects: Iterable[CustomObject]):
        self.by_name: dict[str, CustomObject] = {}
        if isinstance(objects, str | type) or not isinstance(objects, Iterable):
            raise TypeError(
                f"`custom_objects` must be a list of classes and functions, got {objects!r}."
            )
        for thing in objects:
            name = getattr(thing, "__name__", None)
            if not (callable(thing) and isinstance(name, str)):
                raise TypeError(
                    f"`custom_objects` must hold classes and functions, got {thing!r} in it."
                )
            if self.by_name.setdefault(name, thing) is not thing:
                raise ValueError(
                    f"`custom_objects` must have a different name each, got two named {name!r}."
                )

    def __contains__(self, value: object) -> bool:
        return callable(value) and self.by_name.get(getattr(value, "__name__", "")) is value

    @property
    def modules(self) -> dict[str, type[nn.Module]]:
        """The classes of layers among them."""
        return {
            name: thing
            for name, thing in self.by_name.items()
            if isinstance(thing, type) and issubclass(thing, nn.Module)
        }

    def missing(self, names: Iterable[str]) -> list[str]:
        """The names, out of some, that are neither listed nor those of defined subclasses."""
        unlisted = [name for name in names if name not in self.by_name]
        return [n if n.isidentifier() else repr(n) for n in unlisted if not subclasses_named(n)]

    def estimator_class(self, name: str) -> type[BaseEstimator]:
        """The class of that name: listed, or a subclass of `BaseAutoencoder` that is defined."""
        found = [self.by_name[name]] if name in self.by_name else subclasses_named(name)
        if len(found) > 1:
            raise ValueError(f"several classes are named {name}; list one in `custom_objects`")
        (cls,) = found
        if not (isinstance(cls, type) and issubclass(cls, BaseEstimator)):
            raise ValueError(f"{name} must be the class of an estimator, got {cls!r}")
        return cls


def autoencoder_classes() -> list[type[BaseAutoencoder]]:
    """The autoencoders of this package, and the subclasses that the running program has defined."""
    known_classes()  # imports those of this package
    found = BaseAutoencoder.__subclasses__()
    for cls in found:
        found += cls.__subclasses__()
    return list(dict.fromkeys(found))  # a class may be found by several bases


def subclasses_named(name: str) -> list[type[BaseAutoencoder]]:
    """The autoencoders of a name that are defined outside of this package.

    Of a class that was defined again, as in a notebook, it is the last.
    """
    named = (cls for cls in autoencoder_classes() if cls.__name__ == name)
    own = (cls for cls in named if cls.__module__.split(".")[0] != "skae")
    return list({(cls.__module__, cls.__qualname__): cls for cls in own}.values())


def known_classes() -> dict[str, type[BaseEstimator]]:
    """The estimators that every file may hold, by name."""
    import skae  # the public names; not before all modules are there

    public = [getattr(skae, name) for name in skae.__all__]
    ours = [cls for cls in public if isinstance(cls, type) and issubclass(cls, BaseEstimator)]
    return {cls.__name__: cls for cls in (*ours, *SCIKIT_LEARN)}


class Encoder:
    """Turns an estimator into a JSON value and, by their place in the estimator, arrays."""

    def __init__(self, custom: CustomObjects):
        self.custom = custom
        self.classes = set(known_classes().values())
        self.arrays: dict[str, np.ndarray] = {}
        self.used: set[str] = set()  # names of custom objects

    def knows(self, cls: type) -> bool:
        """Whether it can encode estimators of a class."""
        return cls in self.classes or self._is_custom(cls)

    def encode(self, value: Any, place: str = "") -> Json:
        """A value in JSON."""
        cls = type(value)
        if value is None or cls in (bool, int, str) or (cls is float and isfinite(value)):
            return value
        if cls is list:
            return self._entries(value, place)
        if cls is float:
            return {"kind": "float", "value": str(value)}
        if cls is tuple:
            return {"kind": "tuple", "value": self._entries(value, place)}
        if cls is dict:
            return {"kind": "dict", "value": self._table(value, place)}
        if value in self.custom:
            return {"kind": "custom", "name": self._use(value)}
        if cls is np.random.RandomState:
            state = value.get_state(legacy=False)
            return {"kind": "RandomState", "value": self._table(state, place)}
        if cls is PackedModule:
            return self._network(value, place)
        if self.knows(cls):
            kind = "estimator" if cls in self.classes else "custom_estimator"
            name = cls.__name__ if cls in self.classes else self._use(cls)
            return {"kind": kind, "class": name, "value": self._table(self._state(value), place)}
        if isinstance(value, np.dtype) and value.newbyteorder("<") in DTYPES:
            return {"kind": "dtype", "value": value.str}
        if isinstance(value, np.ndarray) and (value.dtype.kind == "U" or _are_strings(value)):
            return _encode_strings(value)
        if isinstance(value, np.ndarray | np.generic) and value.dtype.newbyteorder("<") in DTYPES:
            return self._array(value, place)
        raise TypeError(_refusal(value, place))

    def _table(self, items: dict[Any, Any], place: str) -> Json:
        inner = ((k, f"{place}.{k}".lstrip(".")) for k in items)
        return [[self.encode(k, name), self.encode(items[k], name)] for k, name in inner]

    def _entries(self, items: Iterable[Any], place: str) -> Json:
        return [self.encode(item, f"{place}.{i}") for i, item in enumerate(items)]

    def _array(self, value: np.ndarray | np.generic, place: str) -> Json:
        self.arrays[place] = np.array(value, value.dtype.newbyteorder("<"), order="C")
        if not isinstance(value, np.ndarray):
            return {"kind": "scalar", "value": place}
        # The order in memory, too: a sum in another order may differ in the last bit.
        order = "C" if value.flags.c_contiguous else "F"
        return {"kind": "array", "value": place, "order": order}

    def _network(self, packed: PackedModule, place: str) -> Json:
        if kept := packed.kept_modules():
            classes = {type(part) for module in kept for part in module.modules()}
            names = sorted(cls.__name__ for cls in classes if not is_known(cls))
            if not names:
                raise TypeError(
                    f"`{place}` cannot be saved without code: it has hooks, or parameters that are "
                    f"frozen or shared between layers; {JOBLIB}."
                )
            raise TypeError(
                f"`{place}` cannot be saved without code: it has layers of {', '.join(names)}; "
                f"list their classes in `custom_objects`, in `save` and in `load`, or {JOBLIB}."
            )
        self.used |= packed.class_names() & self.custom.modules.keys()
        return {"kind": "network", "value": self._table(packed._asdict(), place)}

    def _state(self, estimator: BaseEstimator) -> dict[str, Any]:
        state = dict(estimator.__getstate__())
        state.pop("_skl_callbacks", None)  # code of the process that fits
        if isinstance(estimator, ModulePickleMixin):
            name = estimator._module_name
            if isinstance(module := vars(estimator).get(name), nn.Module):
                state[name] = PackedModule.pack(module, self.custom.modules)
        return state

    def _is_custom(self, cls: type) -> bool:
        return issubclass(cls, BaseAutoencoder) or (
            issubclass(cls, BaseEstimator) and cls in self.custom
        )

    def _use(self, thing: CustomObject) -> str:
        self.used.add(thing.__name__)
        return thing.__name__


def _are_strings(value: np.ndarray) -> bool:
    return value.dtype == object and all(type(entry) is str for entry in value.flat)


def _encode_strings(value: np.ndarray) -> Json:
    if value.dtype.kind == "U":
        widest = max([STRING_WIDTH, *map(len, value.flat)])
        value = value.astype(f"U{min(value.dtype.itemsize // 4, widest)}")
    shape, strings = list(value.shape), value.ravel().tolist()
    return {"kind": "strings", "dtype": value.dtype.str, "shape": shape, "value": strings}


def _refusal(value: Any, place: str) -> str:
    thing = "it" if hasattr(value, "__name__") else "its class"
    return (
        f"`{place}` cannot be saved without code, got {value!r}; list {thing} in `custom_objects`, "
        f"in `save` and in `load`, or {JOBLIB}."
    )


class Decoder:
    """The inverse of `Encoder`. Each array is used once, so that memory is that of the file."""

    def __init__(self, arrays: dict[str, np.ndarray], custom: CustomObjects):
        self.unused = dict(arrays)
        self.custom = custom
        self.classes = known_classes()

    def decode(self, value: Any) -> Any:
        """The value that a JSON value stands for; raises an exception of any kind if it is none."""
        if isinstance(value, list):
            return [self.decode(entry) for entry in value]
        if not isinstance(value, dict):
            return value
        return DECODERS[value["kind"]](self, value)

    def _table(self, value: dict[str, Any]) -> dict[Any, Any]:
        return {self.decode(k): self.decode(v) for k, v in value["value"]}

    def _array(self, value: dict[str, Any]) -> np.ndarray:
        return np.array(self.unused.pop(value["value"]), order=value["order"])

    def _scalar(self, value: dict[str, Any]) -> Any:
        return self.unused.pop(value["value"])[()]

    def _dtype(self, value: dict[str, Any]) -> np.dtype:
        dtype = np.dtype(value["value"])
        if dtype.newbyteorder("<") not in DTYPES:
            raise ValueError(f"{dtype} is no dtype of numbers")
        return dtype

    def _strings(self, value: dict[str, Any]) -> np.ndarray:
        dtype, entries = np.dtype(value["dtype"]), value["value"]
        if not all(isinstance(entry, str) for entry in entries):
            raise ValueError("an array of strings has other entries")
        widest = np.dtype(f"U{max([STRING_WIDTH, *map(len, entries)])}")
        if dtype.kind not in "OU" or dtype.itemsize > widest.itemsize:
            raise ValueError(f"{dtype} is not the dtype of its strings")
        return np.array(entries, dtype).reshape(value["shape"])

    def _random_state(self, value: dict[str, Any]) -> np.random.RandomState:
        state = self._table(value)
        if not 0 <= state["state"]["pos"] <= MT19937_WORDS:  # NumPy reads there unchecked
            raise ValueError("a random state is out of range")
        random_state = np.random.RandomState()
        random_state.set_state(state)
        return random_state

    def _record(self, value: dict[str, Any]) -> object:
        fields = self._table(value)
        if value["class"] == PackedModule.__name__:
            return self._unpacked(fields)
        return make_record(value["class"], fields)

    def _network(self, value: dict[str, Any]) -> nn.Module:
        return self._unpacked(self._table(value))

    def _unpacked(self, fields: dict[str, Any]) -> nn.Module:
        return PackedModule(**fields).unpack(self.custom.modules)

    def _custom(self, value: dict[str, Any]) -> CustomObject:
        return self.custom.by_name[value["name"]]

    def _known_estimator(self, value: dict[str, Any]) -> BaseEstimator:
        return self._estimator(self.classes[value["class"]], value)

    def _custom_estimator(self, value: dict[str, Any]) -> BaseEstimator:
        return self._estimator(self.custom.estimator_class(value["class"]), value)

    def _estimator(self, cls: type[BaseEstimator], value: dict[str, Any]) -> BaseEstimator:
        state = self._table(value)
        for name in state:
            if not _may_be_attribute(name, cls):
                raise ValueError(f"{cls.__name__} cannot have {name!r} of its own")
        estimator = object.__new__(cls)
        estimator.__setstate__(state)
        if isinstance(estimator, BaseAutoencoder) and estimator.__sklearn_is_fitted__():
            check_network(estimator)
        return estimator


def _may_be_attribute(name: str, cls: type[BaseEstimator]) -> bool:
    """Whether a state may have an attribute: a parameter, or one that no class defines."""
    if name in cls._get_param_names():
        return True
    defined = getattr(cls, name, None)
    ours = [
        base for base in cls.__mro__ if base.__module__.partition(".")[0] in ("skae", "sklearn")
    ]
    return not (
        name.startswith("__") or callable(defined) or any(name in vars(base) for base in ours)
    )


DECODERS: dict[str, Callable[[Decoder, dict[str, Any]], Any]] = {
    "array": Decoder._array,
    "custom": Decoder._custom,
    "custom_estimator": Decoder._custom_estimator,
    "dict": Decoder._table,
    "dtype": Decoder._dtype,
    "estimator": Decoder._known_estimator,
    "float": lambda decoder, value: float(value["value"]),
    "network": Decoder._network,
    "RandomState": Decoder._random_state,
    "record": Decoder._record,  # in files of version 0.1.0
    "scalar": Decoder._scalar,
    "strings": Decoder._strings,
    "tuple": lambda decoder, value: tuple(decoder.decode(value["value"])),
}
