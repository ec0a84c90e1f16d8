"""Estimators as JSON values and arrays, without code: what the files of `skae.save` hold."""

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from math import isfinite
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline
from torch import nn

from .._autoencoders.base import BaseAutoencoder
from .._data.messages import described
from .._nn.pickling import VERSION, ModulePickleMixin, PackedModule, is_known, make_record
from .column_state import with_lists
from .custom_objects import (
    WITH_DEF,
    CustomObject,
    CustomObjects,
    CustomObjectsError,
    base_classes,
    known_classes,
    public_base,
)
from .estimator_check import check_estimator
from .fitted_state import MAX_INTEGER, check_state, set_missing_parameters
from .module_state import check_module
from .network_check import NetworkTooLargeError
from .plain_values import MAKE, parts_of, without_library
from .string_allowance import StringAllowance

# Little endian, as the arrays in a file are.
DTYPES = {np.dtype(f"<{kind}{size}") for kind in "iu" for size in (1, 2, 4, 8)} | {
    np.dtype(name) for name in ("<f2", "<f4", "<f8", "?")
}
# Entries of arrays of objects, such as the `statistics_` of an imputer of constants.
SCALARS = (type(None), bool, int, float, str)
# Each level checks those below it again, and scikit-learn takes twice as long for each more.
MAX_DEPTH = 6
MT19937, MT19937_WORDS = "MT19937", 624
SELECTIONS = {"_columns", "_remainder", "transformers", "transformers_"}
JOBLIB = "use joblib.dump, whose files can run code: load them only from where you trust"

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]


class Encoder:
    """Encodes an estimator as a JSON value and a dictionary of its arrays."""

    def __init__(self, custom: CustomObjects):
        self.custom = custom
        self.classes = set(known_classes().values())
        self.arrays: dict[str, np.ndarray] = {}
        self.used: dict[str, CustomObject] = {}  # custom objects, by name
        self.n_renamed = 0
        self.allowance = StringAllowance()

    def knows(self, cls: type) -> bool:
        """Whether estimators of a class can be encoded."""
        return cls in self.classes or self._is_custom(cls)

    def encode(self, value: Any, place: str = "") -> Json:
        """Encode a value; `place` is its name in messages and of its array."""
        cls = type(value := without_library(value, place))
        if value is None or cls in (bool, str) or (cls is float and isfinite(value)):
            return value
        if cls is int and abs(value) <= MAX_INTEGER:
            return value
        if cls is np.str_:
            return str(value)
        if cls is list:
            return self._entries(value, place)
        if cls is float:
            return {"kind": "float", "value": str(value)}
        if cls in (tuple, range):  # as sizes of layers they are equal
            return {"kind": "tuple", "value": self._entries(value, place)}
        if cls is dict:
            return {"kind": "dict", "value": self._table(value, place)}
        if parts := parts_of(value):
            kind, inner = parts
            return {"kind": kind, "value": self.encode(inner, place)}
        if value in self.custom:
            return {"kind": "custom", "name": self._use(value)}
        if cls is np.random.RandomState:
            return self._random_state(value, place)
        if cls is PackedModule:
            return self._network(value, place)
        if self.knows(cls):
            return self._estimator(value, place)
        if isinstance(value, np.dtype) and _is_known_dtype(value):
            return {"kind": "dtype", "value": value.str}
        if isinstance(value, np.ndarray) and (value.dtype.kind == "U" or _are_strings(value)):
            return self._strings(value, place)
        if isinstance(value, np.ndarray | np.generic) and value.dtype.newbyteorder("<") in DTYPES:
            return self._array(value, place)
        if isinstance(value, np.ndarray) and value.dtype == object and _are_scalars(value):
            entries = self._entries(map(_of_python, value.ravel()), place)
            return {"kind": "objects", "shape": list(value.shape), "value": entries}
        raise TypeError(_refusal(value, place))

    def _table(self, items: dict[Any, Any], place: str) -> Json:
        inner = ((k, f"{place}.{k}".lstrip(".")) for k in items)
        return [[self.encode(k, name), self.encode(items[k], name)] for k, name in inner]

    def _entries(self, items: Iterable[Any], place: str) -> Json:
        return [self.encode(item, f"{place}.{i}") for i, item in enumerate(items)]

    def _random_state(self, value: np.random.RandomState, place: str) -> Json:
        state = value.get_state(legacy=False)
        if state["bit_generator"] != MT19937:
            raise TypeError(
                f"`{place}` cannot be saved: it must be a RandomState of {MT19937}, as "
                f"np.random.RandomState(0) is, got one of {state['bit_generator']}; {JOBLIB}."
            )
        return {"kind": "RandomState", "value": self._table(state, place)}

    def _array(self, value: np.ndarray | np.generic, place: str) -> Json:
        name = self._new_name(place)
        self.arrays[name] = np.array(value, value.dtype.newbyteorder("<"), order="C")
        if not isinstance(value, np.ndarray):
            return {"kind": "scalar", "value": name}
        # The order in memory, too: a sum in another order may differ in the last bit.
        order = "C" if value.flags.c_contiguous else "F"
        return {"kind": "array", "value": name, "order": order}

    def _new_name(self, place: str) -> str:
        """A name that no other array has: the key and the value of an entry have one place."""
        name = place = place.encode("ascii", "backslashreplace").decode()
        while name in self.arrays:
            self.n_renamed += 1
            name = f"{place}~{self.n_renamed}"
        return name

    def _strings(self, value: np.ndarray, place: str) -> Json:
        shape, strings = list(value.shape), value.ravel().tolist()
        longest = np.dtype(f"U{max([1, *map(len, strings)])}")
        for dtype in (value.dtype, longest):
            if self.allowance.take(strings, dtype):
                return {"kind": "strings", "dtype": dtype.str, "shape": shape, "value": strings}
        raise TypeError(
            f"`{place}` cannot be saved: one string is much longer than most; {JOBLIB}."
        )

    def _estimator(self, value: BaseEstimator, place: str) -> Json:
        cls = type(value)
        # Sorted, as `load` sets attributes in another order than `fit`.
        state = self._table(dict(sorted(self._state(value).items())), place)
        if cls in self.classes:
            return {"kind": "estimator", "class": cls.__name__, "value": state}
        names = {"class": self._use(cls), "base": public_base(cls)}
        return {"kind": "custom_estimator", **names, "value": state}

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
        for name in packed.class_names() & self.custom.modules.keys():
            self._use(self.custom.modules[name])
        return {"kind": "network", "value": self._table(packed._asdict(), place)}

    def _state(self, estimator: BaseEstimator) -> dict[str, Any]:
        state = dict(estimator.__getstate__())
        state.pop("_skl_callbacks", None)  # code of the process that fits
        state.pop(VERSION, None)  # the header of the file has it
        if type(estimator) is Pipeline:
            state["memory"] = None  # a folder of this machine
        if type(estimator) is ColumnTransformer:
            state |= {name: with_lists(state[name]) for name in SELECTIONS & state.keys()}
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
        name = thing.__name__
        if self.used.setdefault(name, thing) is not thing:
            raise TypeError(
                f"`estimator` cannot be saved: it has two classes or functions named {name!r}, and "
                f"a file refers to them by name; {JOBLIB}."
            )
        return name


def _are_strings(value: np.ndarray) -> bool:
    return value.dtype == object and all(type(entry) is str for entry in value.flat)


def _is_known_dtype(dtype: np.dtype) -> bool:
    return dtype.kind == "O" or dtype.newbyteorder("<") in DTYPES


def _are_scalars(value: np.ndarray) -> bool:
    return all(isinstance(_of_python(entry), SCALARS) for entry in value.flat)


def _of_python(entry: Any) -> Any:
    """Python's number or string in place of NumPy's."""
    return entry.item() if isinstance(entry, np.generic) else entry


def _refusal(value: Any, place: str) -> str:
    if column := re.fullmatch(r"(?:.*\.)?_table\.(?:declared|categories)\.(\d+)", place):
        return (
            f"the categories of column {column[1]} cannot be saved without code: they must be "
            f"numbers, strings, Booleans, dates without time zone or intervals of numbers, got "
            f"{value[0]!r}; convert the column to strings before `fit`, or {JOBLIB}."
        )
    remedy, listing = JOBLIB, "in `custom_objects`, in `save` and in `load`"
    name = getattr(value, "__name__", None)
    if callable(value) and isinstance(name, str):
        remedy = f"list it {listing}, or {JOBLIB}"
        if not name.isidentifier():
            remedy = f"functions need a name: {WITH_DEF}, and list it {listing}"
    elif isinstance(value, BaseEstimator):
        remedy = f"list its class {listing}, or {JOBLIB}"
    return f"`{place}` cannot be saved without code, got {described(value)}; {remedy}."


class Decoder:
    """The inverse of `Encoder`. Each array is used once, so that memory is that of the file."""

    def __init__(self, arrays: dict[str, np.ndarray], custom: CustomObjects):
        self.unused = dict(arrays)
        self.custom = custom
        self.classes = known_classes()
        self.depth = 0
        self.allowance = StringAllowance()

    def decode(self, value: Any) -> Any:
        """Decode a JSON value. Any exception can be raised if `Encoder` has not made it."""
        if isinstance(value, list):
            return [self.decode(entry) for entry in value]
        if not isinstance(value, dict):
            if isinstance(value, int) and abs(value) > MAX_INTEGER:
                raise ValueError("an integer is out of range")
            return value
        return DECODERS[value["kind"]](self, value)

    def _table(self, value: dict[str, Any]) -> dict[Any, Any]:
        return {self.decode(k): self.decode(v) for k, v in value["value"]}

    def _array(self, value: dict[str, Any]) -> np.ndarray:
        array = self.unused.pop(value["value"])
        if array.dtype == bool and (array.view(np.uint8) > 1).any():  # NumPy counts bytes
            raise ValueError("an array of booleans has other entries")
        return np.array(array, order=value["order"])

    def _scalar(self, value: dict[str, Any]) -> Any:
        return self.unused.pop(value["value"])[()]

    def _made(self, value: dict[str, Any]) -> Any:
        return MAKE[value["kind"]](self.decode(value["value"]))

    def _float(self, value: dict[str, Any]) -> float:
        return float(value["value"])

    def _tuple(self, value: dict[str, Any]) -> tuple[Any, ...]:
        return tuple(self.decode(value["value"]))

    def _dtype(self, value: dict[str, Any]) -> np.dtype:
        dtype = np.dtype(value["value"])
        if not _is_known_dtype(dtype):
            raise ValueError(f"{dtype} is no dtype of numbers or objects")
        return dtype

    def _strings(self, value: dict[str, Any]) -> np.ndarray:
        dtype, entries = np.dtype(value["dtype"]), value["value"]
        if not all(isinstance(entry, str) for entry in entries):
            raise ValueError("an array of strings has other entries")
        if dtype.kind not in "OU":
            raise ValueError(f"{dtype} is not the dtype of strings")
        if not self.allowance.take(entries, dtype):
            raise ValueError("an array of strings would need too much memory")
        return np.array(entries, dtype).reshape(value["shape"])

    def _objects(self, value: dict[str, Any]) -> np.ndarray:
        entries = self.decode(value["value"])
        if not all(isinstance(entry, SCALARS) for entry in entries):
            raise ValueError("an array of objects has other entries than numbers and strings")
        return np.array(entries, dtype=object).reshape(value["shape"])

    def _random_state(self, value: dict[str, Any]) -> np.random.RandomState:
        state = self._table(value)
        words = state["state"]
        key, position = words["key"], words["pos"]
        # NumPy reads at the position, and draws its words, unchecked.
        if (
            state["bit_generator"] != MT19937
            or (key.dtype, key.shape) != (np.uint32, (MT19937_WORDS,))
            or type(position) is not int
            or not 0 <= position <= MT19937_WORDS
            or state["has_gauss"] not in (0, 1)
            or not isfinite(state["gauss"])
        ):
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
        packed = PackedModule(**fields)
        with _naming_layers(packed.class_names() & self.custom.by_name.keys()):
            return packed.unpack(self.custom.modules)

    def _custom(self, value: dict[str, Any]) -> CustomObject:
        return self.custom.by_name[value["name"]]

    def _known_estimator(self, value: dict[str, Any]) -> BaseEstimator:
        return self._estimator(self.classes[value["class"]], value)

    def _custom_estimator(self, value: dict[str, Any]) -> BaseEstimator:
        base = base_classes()[value["base"]]
        return self._estimator(self.custom.estimator_class(value["class"], base), value)

    def _estimator(self, cls: type[BaseEstimator], value: dict[str, Any]) -> BaseEstimator:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise ValueError(f"its estimators are nested more than {MAX_DEPTH} levels deep")
        state = self._table(value)
        self.depth -= 1
        estimator = object.__new__(cls)
        estimator.__setstate__(state)
        if cls is Pipeline:
            estimator.memory = None  # a file must not choose a folder, whose pickles `fit` reads
        set_missing_parameters(estimator)
        check_state(estimator, is_custom=not self._is_known(cls))
        custom = set()
        for module in vars(estimator).values():
            if isinstance(module, nn.Module):
                check_module(module, self.custom.modules)
                custom |= {type(part) for part in module.modules()}
        custom &= set(self.custom.modules.values())
        with _naming_layers({layer.__name__ for layer in custom}):
            check_estimator(estimator, self._is_known)
        return estimator

    def _is_known(self, cls: type) -> bool:
        return cls in self.classes.values()


@contextmanager
def _naming_layers(names: set[str]) -> Iterator[None]:
    """Explain why a network cannot be built or applied if it has custom layers."""
    try:
        yield
    except NetworkTooLargeError:
        raise
    except Exception as error:
        if not names:
            raise
        raise CustomObjectsError(
            f"the object named {' or '.join(sorted(names))} is not what was saved"
        ) from error


DECODERS: dict[str, Callable[[Decoder, dict[str, Any]], Any]] = dict.fromkeys(
    MAKE, Decoder._made
) | {
    "array": Decoder._array,
    "custom": Decoder._custom,
    "custom_estimator": Decoder._custom_estimator,
    "dict": Decoder._table,
    "dtype": Decoder._dtype,
    "estimator": Decoder._known_estimator,
    "float": Decoder._float,
    "network": Decoder._network,
    "objects": Decoder._objects,
    "RandomState": Decoder._random_state,
    "record": Decoder._record,  # in files of version 0.1.0
    "scalar": Decoder._scalar,
    "strings": Decoder._strings,
    "tuple": Decoder._tuple,
}
