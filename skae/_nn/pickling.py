"""Networks as plain values and arrays: the form that they have in pickles and files."""

import copy
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any, ClassVar, NamedTuple, Self, TypedDict

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils.fixes import parse_version
from torch import Tensor, nn

from .._data.torch_defaults import with_torch_defaults
from .._data.user_warnings import warn_user
from .._losses.mixed import describe_loss, loss_from
from .._losses.reconstruction import ReconstructionLoss
from .layers import LAYERS, has_hooks
from .old_names import NEW_ATTRIBUTES, PACKAGE, RENAMED_CLASSES, new_attribute_names

# The torch modules that a structure can describe, with the arguments that restore an equal one.
TORCH_MODULES: dict[type[nn.Module], tuple[str, ...]] = {
    cls: forms.arguments for cls, forms in LAYERS.items() if forms.arguments is not None
}
EVERY_MODULE_HAS = frozenset(vars(nn.Module()))
PLAIN = (type(None), bool, int, float, str)
VERSION = "_skae_version"  # in the state of an estimator that is pickled

# A module in plain values. A layer of torch that is not in TORCH_MODULES is in it as a module.
Structure = TypedDict(
    "Structure",
    {
        "class": str,
        "values": dict[str, object],  # the other attributes; see `_to_spec`
        "parameters": list[str],
        "buffers": list[str],
        "modules": "dict[str, Structure | nn.Module]",
    },
)
Arrays = dict[str, np.ndarray]
Classes = Mapping[str, type[nn.Module]]  # by name


class _NotDescribable(Exception):
    """A module has a part that no structure describes."""


class PackedModule(NamedTuple):
    """A module as its structure, in plain values, and its tensors as arrays.

    These are equal for equal modules. A module with parts that no structure describes, such as
    custom layers, is kept as a module on torch's "meta" device, that is without its numbers.
    """

    structure: Structure | nn.Module
    arrays: Arrays

    @classmethod
    def pack(cls, module: nn.Module, custom: Classes | None = None) -> Self:
        """Pack a module from any device; structures can also describe the `custom` classes."""
        arrays = {name: tensor.cpu().numpy() for name, tensor in _tensors(module)}
        try:
            return cls(_describe(module, custom or {}), arrays)
        except _NotDescribable:
            return cls(copy.deepcopy(module).to("meta"), arrays)

    def unpack(self, custom: Classes | None = None) -> nn.Module:
        """Build the module on the CPU.

        Any exception can be raised if `pack` has not made the structure and the arrays.
        """
        return _Builder(self.arrays, custom or {}).build(self.structure)

    def class_names(self) -> set[str]:
        """The names of the classes that the structure describes."""
        return {part["class"] for part in _parts(self.structure) if isinstance(part, dict)}

    def kept_modules(self) -> list[nn.Module]:
        """The parts that are kept as modules."""
        return [part for part in _parts(self.structure) if isinstance(part, nn.Module)]


class VersionPickleMixin(BaseEstimator):
    """An estimator whose pickles carry the version of this package.

    It warns about a pickle of a newer version, and names both versions if it cannot be read. Named
    tuples of this package become dictionaries, so that a pickle names the public class of the
    estimator and no private class.
    """

    @with_torch_defaults
    def __getstate__(self) -> dict[str, Any]:
        state, known = dict(super().__getstate__()), record_classes()
        records: dict[str, Any] = {
            k: v for k, v in state.items() if type(v) is known.get(type(v).__name__)
        }
        if records:
            state["_records"] = {name: type(record).__name__ for name, record in records.items()}
        state |= {name: record._asdict() for name, record in records.items()}
        return state | {VERSION: _version()}

    @with_torch_defaults
    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        written, current = state.pop(VERSION, None), _version()
        if written is None or written == current:  # none in pickles of version 0.1
            self._set_state(state)
            return
        name = type(self).__name__
        if parse_version(written) > parse_version(current):
            warn_user(
                f"This {name} was pickled by skae {written}, which is newer than the skae "
                f"{current} that reads it: it may not work, or give other results.",
                UserWarning,
            )
        try:
            self._set_state(state)
        except Exception as error:
            raise ValueError(
                f"skae {current} cannot read this {name}, which was pickled by skae {written}: "
                "use that version, or fit again."
            ) from error

    def _set_state(self, state: dict[str, Any]) -> None:
        for name, class_name in state.pop("_records", {}).items():
            state[name] = make_record(class_name, state[name])
        super().__setstate__(state)


class ModulePickleMixin(VersionPickleMixin):
    """An estimator with a network, which is packed in pickles and files.

    The arrays are on the host, so a machine without the device can load them.
    """

    _module_name: ClassVar[str]  # the attribute that holds the fitted network

    @with_torch_defaults
    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        if isinstance(module := state.get(self._module_name), nn.Module):
            state[self._module_name] = PackedModule.pack(module)._asdict()
        return state

    def _set_state(self, state: dict[str, Any]) -> None:
        state = _with_new_names(state, new_attribute_names(type(self)))
        packed = state.get(self._module_name)
        if isinstance(packed, dict | PackedModule):  # the latter in pickles of version 0.1.0
            state[self._module_name] = PackedModule(*_values(packed)).unpack()
        super()._set_state(state)


def _version() -> str:
    import skae  # not before all of its modules are there

    return skae.__version__


def _parts(structure: Structure | nn.Module) -> Iterator[Structure | nn.Module]:
    yield structure
    if isinstance(structure, dict):
        for part in structure["modules"].values():
            yield from _parts(part)


def _values(packed: dict[str, Any] | PackedModule) -> tuple[Any, Any]:
    if isinstance(packed, PackedModule):
        return packed
    return packed["structure"], packed["arrays"]


def _with_new_names(state: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    """A copy of a dictionary, with the old names replaced."""
    return {names.get(name, name): value for name, value in state.items()}


def record_classes() -> dict[str, type[tuple[Any, ...]]]:
    """The named tuples of this package, by name."""
    return {
        cls.__name__: cls
        for cls in tuple.__subclasses__()
        if cls.__module__.startswith(f"{PACKAGE}.")
    }


def make_record(class_name: str, fields: dict[str, Any]) -> tuple[Any, ...]:
    """A named tuple of this package, from old or new names."""
    cls = record_classes()[RENAMED_CLASSES.get(class_name, class_name)]
    return cls(**_with_new_names(fields, new_attribute_names(cls)))


def _tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    for name, tensor in chain(module.named_parameters(), module.named_buffers()):
        yield name, tensor.detach()


def _tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(array.copy())  # it may be memory-mapped and read-only


def _own_modules() -> dict[str, type[nn.Module]]:
    """The modules that this package defines, by name."""
    found: dict[str, type[nn.Module]] = {}
    pending: list[type[nn.Module]] = [nn.Module]
    while pending:
        derived = pending.pop().__subclasses__()
        pending += derived
        found |= {cls.__name__: cls for cls in derived if cls.__module__.startswith(f"{PACKAGE}.")}
    return found


def _is_tree_of_trained_parts(module: nn.Module) -> bool:
    """Whether each part and each parameter is in one place, and none has hooks or is frozen."""
    parts = [part for _, part in module.named_modules(remove_duplicate=False)]
    parameters = [p for _, p in module.named_parameters(remove_duplicate=False)]
    return (
        not any(map(has_hooks, parts))
        and all(p.requires_grad for p in parameters)
        and len({*map(id, parts), *map(id, parameters)}) == len(parts) + len(parameters)
    )


def is_known(cls: type[nn.Module]) -> bool:
    """Whether structures describe modules of a class."""
    return cls in TORCH_MODULES or cls in _own_modules().values()


def _describe(module: nn.Module, custom: Classes) -> Structure:
    """The structure of a module."""
    if not _is_tree_of_trained_parts(module):
        raise _NotDescribable
    places = {part: name for name, part in module.named_modules()}
    named = _own_modules() | {cls.__name__: cls for cls in TORCH_MODULES}
    if taken := [name for name, cls in custom.items() if named.setdefault(name, cls) is not cls]:
        raise ValueError(f"`custom_objects` must not have layers named {', '.join(taken)}.")
    known = set(named.values())

    def child(part: nn.Module) -> Structure | nn.Module:
        if type(part) in known or not all(map(_is_of_torch, part.modules())):
            return described(part)
        return copy.deepcopy(part).to("meta")  # no layer of torch refers to another outside it

    def described(part: nn.Module) -> Structure:
        if type(part) not in known:
            raise _NotDescribable
        return {
            "class": type(part).__name__,
            "values": {name: _to_spec(getattr(part, name), places) for name in _attributes(part)},
            "parameters": [name for name, _ in part.named_parameters(recurse=False)],
            "buffers": [name for name, _ in part.named_buffers(recurse=False)],
            "modules": {name: child(inner) for name, inner in part.named_children()},
        }

    return described(module)


def _is_of_torch(part: nn.Module) -> bool:
    return type(part).__module__.startswith("torch.")


def _attributes(part: nn.Module) -> list[str]:
    """The attributes that are neither tensors nor modules; parameters that are None among them."""
    if type(part) in TORCH_MODULES:
        return list(TORCH_MODULES[type(part)])
    absent = [
        name
        for registered in (part._parameters, part._buffers, part._modules)
        for name, value in registered.items()
        if value is None
    ]
    return [name for name in vars(part) if name not in EVERY_MODULE_HAS] + absent


def _to_spec(value: Any, places: dict[nn.Module, str]) -> Any:
    """A plain value unchanged; a module elsewhere in the network, or a link, by its name."""
    if isinstance(value, nn.Module):
        return {"module": places[value]}
    if isinstance(loss := getattr(value, "__self__", None), ReconstructionLoss):
        return {"link": describe_loss(loss)}
    if isinstance(value, list | tuple):
        return type(value)(_to_spec(entry, places) for entry in value)
    if not isinstance(value, PLAIN):
        raise _NotDescribable
    return value


def _from_spec(value: Any, places: dict[str, nn.Module]) -> Any:
    """The inverse of `_to_spec`."""
    if isinstance(value, dict):
        ((kind, name),) = value.items()
        return places[name] if kind == "module" else loss_from(name).link
    if isinstance(value, list | tuple):
        return type(value)(_from_spec(entry, places) for entry in value)
    return value


class _Builder:
    """Builds a module from its structure and its arrays."""

    def __init__(self, arrays: Arrays, custom: Classes):
        self.unused = dict(arrays)
        self.classes = {**_own_modules(), **custom}
        self.torch_classes = {cls.__name__: cls for cls in TORCH_MODULES}
        self.places: dict[str, nn.Module] = {}  # by the names in the structure
        self.unset: list[tuple[nn.Module, dict[str, object]]] = []

    def build(self, structure: Structure | nn.Module) -> nn.Module:
        """Build the module. Attributes are set last: they may refer to modules anywhere in it."""
        root = self._part(structure, "")
        for module, values in self.unset:
            for name, value in values.items():
                _set_attribute(module, name, _from_spec(value, self.places))
        if self.unused or any(tensor.is_meta for _, tensor in _tensors(root)):
            raise ValueError("the tensors are not those of the network")
        for module in root.modules():
            _add_new_attributes(module)
        return root.eval()

    def _part(self, structure: Structure | nn.Module, place: str) -> nn.Module:
        prefix = f"{place}." if place else ""
        if isinstance(structure, nn.Module):
            return self._kept(structure, prefix)
        module = self.places[place] = self._new(structure)
        new_names = new_attribute_names(type(module))
        for name in structure["parameters"]:
            parameter = nn.Parameter(_tensor(self.unused.pop(prefix + name)))
            _fill(module, new_names.get(name, name), parameter)
        for name in structure["buffers"]:
            _fill(module, new_names.get(name, name), _tensor(self.unused.pop(prefix + name)))
        for name, child in structure["modules"].items():
            module.add_module(new_names.get(name, name), self._part(child, prefix + name))
        return module

    def _new(self, structure: Structure) -> nn.Module:
        """A module without its tensors and parts."""
        name, values = structure["class"], structure["values"]
        if name in self.torch_classes:
            cls = self.torch_classes[name]
            if not values.keys() <= set(TORCH_MODULES[cls]):  # `device` would take memory
                raise ValueError(f"{name} has other arguments")
            bias = (
                {"bias": "bias" in structure["parameters"]} if LAYERS[cls].has_optional_bias else {}
            )
            with torch.device("meta"):  # takes no memory and draws no random numbers
                return cls(**values, **bias)
        cls = self.classes.get(name) or self.classes[RENAMED_CLASSES[name]]
        module = cls.__new__(cls)
        nn.Module.__init__(module)
        new_names = new_attribute_names(cls)
        self.unset.append((module, _with_new_names(values, new_names)))
        return module

    def _kept(self, kept: nn.Module, prefix: str) -> nn.Module:
        """A module that no structure describes, with its tensors."""
        module = copy.deepcopy(kept).to_empty(device="cpu")
        for name, tensor in _tensors(module):
            tensor.copy_(_tensor(self.unused.pop(prefix + name)))
        for name, part in module.named_modules():
            self.places[f"{prefix}{name}".rstrip(".")] = part
        for part in module.modules():
            _rename_attributes(part)
        return module


def _set_attribute(module: nn.Module, name: str, value: object) -> None:
    if name in EVERY_MODULE_HAS or hasattr(nn.Module, name):
        raise ValueError(f"a module cannot have {name!r} of its own")
    setattr(module, name, value)


def _rename_attributes(module: nn.Module) -> None:
    """Give the attributes of a module from an old pickle their new names."""
    if new_names := new_attribute_names(type(module)):
        for names in (vars(module), module._parameters, module._buffers, module._modules):
            renamed = _with_new_names(names, new_names)
            names.clear()
            names.update(renamed)


def _add_new_attributes(module: nn.Module) -> None:
    """Add the attributes and buffers that modules of version 0.1.0 do not have."""
    for base in type(module).__mro__:
        for name, make in NEW_ATTRIBUTES.get(base.__name__, {}).items():
            if any(name in names for names in (vars(module), module._buffers, module._modules)):
                continue
            if isinstance(value := make(module), Tensor):
                module.register_buffer(name, value)
            else:
                setattr(module, name, value)


def _fill(module: nn.Module, name: str, tensor: Tensor) -> None:
    """Set a parameter or a buffer; a layer of torch has fixed the shape of its parameters."""
    expected = module._parameters.get(name)
    if expected is not None and expected.shape != tensor.shape:
        raise ValueError(f"{name!r} must have shape {expected.shape}, got {tensor.shape}")
    if isinstance(tensor, nn.Parameter):
        module.register_parameter(name, tensor)
    else:
        module.register_buffer(name, tensor)
