"""A network as plain values and arrays, and back: what a pickle, or a file of ours, holds of it."""

import copy
from collections.abc import Iterator
from itertools import chain
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator
from torch import Tensor, nn

from .._losses.reconstruction import LOSSES, ReconstructionLoss
from .autoencoder import ACTIVATIONS

# The modules of torch that we know, and all the arguments that make one like another.
_CONVOLUTION = (
    *("in_channels", "out_channels", "kernel_size", "stride", "padding"),
    *("dilation", "groups", "padding_mode"),
)
TORCH_MODULES: dict[type[nn.Module], tuple[str, ...]] = {
    nn.Sequential: (),
    nn.Linear: ("in_features", "out_features"),
    nn.Conv2d: _CONVOLUTION,
    nn.ConvTranspose2d: (*_CONVOLUTION, "output_padding"),
    nn.Flatten: ("start_dim", "end_dim"),
    nn.Unflatten: ("dim", "unflattened_size"),
    nn.GELU: ("approximate",),
}
TORCH_MODULES |= {type(make()): () for make in ACTIVATIONS.values() if make is not nn.GELU}
HAVE_BIAS = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)
EVERY_MODULE_HAS = frozenset(vars(nn.Module()))
HOOKS = [name for name in EVERY_MODULE_HAS if name.endswith("hooks")]
PLAIN = (type(None), bool, int, float, str)

Structure = dict[str, Any]


class _UnknownPart(Exception):
    """A module has a part that a structure cannot tell."""


class PackedModule(NamedTuple):
    """A module as its structure, in plain values, and its tensors as arrays: equal if equal.

    A module that has parts which we do not know, a user's own, is kept itself, without its memory.
    """

    structure: Structure | nn.Module
    arrays: dict[str, np.ndarray]

    @classmethod
    def of(cls, module: nn.Module) -> Self:
        """Pack a module, wherever it is."""
        arrays = {name: tensor.cpu().numpy() for name, tensor in _tensors(module)}
        try:
            return cls(_structure(module), arrays)
        except _UnknownPart:
            return cls(copy.deepcopy(module).to("meta"), arrays)

    def unpack(self) -> nn.Module:
        """The module again, on the host.

        Raises an exception, of whatever kind, if the structure is not one that `of` makes, or the
        arrays are not its own.
        """
        if isinstance(self.structure, dict):
            return _from_spec(self.structure, self.arrays)
        module = copy.deepcopy(self.structure).to_empty(device="cpu")
        for name, tensor in _tensors(module):
            tensor.copy_(_tensor(self.arrays[name]))
        return module


class ModulePickleMixin(BaseEstimator):
    """An estimator that learns a module, which is packed in its pickles and files.

    That is on the host, so that a machine without the device can load it, and as arrays, so that
    joblib.hash can tell equal estimators.
    """

    _module_name: ClassVar[str]  # the attribute that is a module, if one was learned

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        if isinstance(module := state.get(self._module_name), nn.Module):
            state[self._module_name] = PackedModule.of(module)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        if isinstance(packed := state.get(self._module_name), PackedModule):
            state = state | {self._module_name: packed.unpack()}
        super().__setstate__(state)


def _tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    for name, tensor in chain(module.named_parameters(), module.named_buffers()):
        yield name, tensor.detach()


def _tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(array.copy())  # it may be memory-mapped and read-only


def _own_modules() -> dict[str, type[nn.Module]]:
    """The modules that this package defines, by name."""
    package = __name__.partition(".")[0]
    found: dict[str, type[nn.Module]] = {}
    pending: list[type[nn.Module]] = [nn.Module]
    while pending:
        derived = pending.pop().__subclasses__()
        pending += derived
        found |= {cls.__name__: cls for cls in derived if cls.__module__.startswith(f"{package}.")}
    return found


def _is_known(module: nn.Module) -> bool:
    """Whether `_structure` says all that there is to say: known parts, each in one place."""
    known = {*TORCH_MODULES, *_own_modules().values()}
    parts = [part for _, part in module.named_modules(remove_duplicate=False)]
    parameters = [p for _, p in module.named_parameters(remove_duplicate=False)]
    return (
        all(type(part) in known for part in parts)
        and not any(getattr(part, hooks) for part in parts for hooks in HOOKS)
        and all(p.requires_grad for p in parameters)
        and len({*map(id, parts), *map(id, parameters)}) == len(parts) + len(parameters)
    )


def _structure(module: nn.Module) -> Structure:
    """What `_from_spec` needs to know of the module, besides its tensors."""
    if not _is_known(module):
        raise _UnknownPart
    places = {part: name for name, part in module.named_modules()}

    def described(part: nn.Module) -> Structure:
        attributes = [name for name in vars(part) if name not in EVERY_MODULE_HAS]
        return {
            "class": type(part).__name__,
            "values": {
                name: _to_spec(getattr(part, name), places)
                for name in TORCH_MODULES.get(type(part), attributes)
            },
            "parameters": [name for name, _ in part.named_parameters(recurse=False)],
            "buffers": [name for name, _ in part.named_buffers(recurse=False)],
            "modules": {name: described(child) for name, child in part.named_children()},
        }

    return described(module)


def _to_spec(value: Any, places: dict[nn.Module, str]) -> Any:
    """A plain value as it is; a module elsewhere in the network, or a link, by its name."""
    if isinstance(value, nn.Module):
        return {"module": places[value]}
    if isinstance(loss := getattr(value, "__self__", None), ReconstructionLoss):
        return {"link": next(name for name, known in LOSSES.items() if type(known) is type(loss))}
    if isinstance(value, list | tuple):
        return type(value)(_to_spec(entry, places) for entry in value)
    if not isinstance(value, PLAIN):
        raise _UnknownPart
    return value


def _restored(value: Any, root: nn.Module) -> Any:
    """The inverse of `_to_spec`."""
    if isinstance(value, dict):
        ((kind, name),) = value.items()
        return root.get_submodule(name) if kind == "module" else LOSSES[name].link
    if isinstance(value, list | tuple):
        return type(value)(_restored(entry, root) for entry in value)
    return value


def _from_spec(structure: Structure, arrays: dict[str, np.ndarray]) -> nn.Module:
    """The module of that structure and those tensors."""
    torch_modules = {cls.__name__: cls for cls in TORCH_MODULES}
    own_modules = _own_modules()
    unused, unset = dict(arrays), []

    def built(described: Structure, place: str) -> nn.Module:
        name, values = described["class"], described["values"]
        if name in torch_modules:
            cls = torch_modules[name]
            bias = {"bias": "bias" in described["parameters"]} if cls in HAVE_BIAS else {}
            with torch.device("meta"):  # neither memory nor chance is spent on what is replaced
                module = cls(**values, **bias)
        else:
            module = own_modules[name].__new__(own_modules[name])
            nn.Module.__init__(module)
            unset.append((module, values))
        for entry in described["parameters"]:
            _fill(module, entry, nn.Parameter(_tensor(unused.pop(place + entry))))
        for entry in described["buffers"]:
            _fill(module, entry, _tensor(unused.pop(place + entry)))
        for entry, child in described["modules"].items():
            module.add_module(entry, built(child, f"{place}{entry}."))
        return module

    root = built(structure, "")
    for module, values in unset:
        for name, value in values.items():
            if name in EVERY_MODULE_HAS or hasattr(nn.Module, name):
                raise ValueError(f"a module cannot have {name!r} of its own")
            setattr(module, name, _restored(value, root))
    if unused or any(tensor.is_meta for _, tensor in _tensors(root)):
        raise ValueError("the tensors are not those of the network")
    return root.eval()


def _fill(module: nn.Module, name: str, tensor: Tensor) -> None:
    """Set a parameter or a buffer, of the shape that the module has announced if it did."""
    announced = module._parameters.get(name)
    if announced is not None and announced.shape != tensor.shape:
        raise ValueError(f"{name!r} must have shape {announced.shape}, got {tensor.shape}")
    if isinstance(tensor, nn.Parameter):
        module.register_parameter(name, tensor)
    else:
        module.register_buffer(name, tensor)
