"""The state that a network from a file may have: the types and sizes of values of its layers."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from math import inf, isfinite
from typing import Any

from torch import nn

from .._nn.fitted import forget_copies
from .._nn.layers import LAYERS
from .._nn.pickling import EVERY_MODULE_HAS
from .state_rules import is_finite

Rule = Callable[[Any], bool]

# Of a projection or a pursuit in `transform`: a file must not choose how long that takes.
MAX_STEPS = 1000
STEPS = ("n_projection_steps", "n_pursuit_steps")


def _integer(low: int, high: int) -> Rule:
    return lambda value: type(value) is int and low <= value <= high


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and type(value) is not bool and isfinite(value)


def _hidden(cls: type[nn.Module]) -> Rule:
    """A layer in a tuple, which torch does not register as a submodule."""
    return lambda value: type(value) is tuple and len(value) == 1 and isinstance(value[0], cls)


def _nothing(value: Any) -> bool:
    return value is None


def _flag(value: Any) -> bool:
    return type(value) is bool


def _small_integers(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(map(_integer(0, 64), value))


_size, _steps = _integer(0, 2**31), _integer(0, MAX_STEPS)

# Attribute of a layer of this package -> what it may be. Tensors and other layers are not here,
# unless they may be None.
VALUES: dict[str, Rule] = {
    "_convolution": _hidden(nn.Conv2d),
    "_linear": _hidden(nn.Linear),
    "_output_padding": _small_integers,
    "active": _flag,
    "anneal_steps": _number,
    "fade_width": _number,
    "feature": _nothing,
    "global_distances": _nothing,
    "input_mean": _nothing,
    "limit": _number,
    "link": callable,
    "log_min_scale": _number,
    "max_inactive_rows": _number,
    "n_components": _size,
    "n_neighbors": _size,
    "n_nonzero": _size,
    **dict.fromkeys(STEPS, _steps),
    "n_steps": _size,
    "posterior_means": _nothing,
    "receptive_fields": _nothing,
    "rows_per_activation": _number,
    "tied": _flag,
}


# Of an autoencoder that is not trained no distance is far.
INFINITE = ("max_train_distance",)


def check_module(module: nn.Module, custom: Mapping[str, type[nn.Module]]) -> None:
    """Check the values of all layers of this package, and that all weights have one precision.

    Weights and other numbers are finite; those that `INFINITE` names may be infinite.
    """
    for part in module.modules():
        if type(part) in custom.values():
            continue
        for name, tensor in (
            *part.named_parameters(recurse=False),
            *part.named_buffers(recurse=False),
        ):
            is_infinite = name in INFINITE and bool((tensor == inf).all())
            if not (is_infinite or is_finite(tensor)):
                raise ValueError(f"{name!r} of its network has numbers that are not finite")
        if _is_of_torch(part):
            continue
        for name, value in vars(part).items():
            if name in STEPS and type(value) is int and value > MAX_STEPS:
                raise ValueError(f"`transform_max_iter` is {value}, more than {MAX_STEPS}")
            if name not in EVERY_MODULE_HAS and not (name in VALUES and VALUES[name](value)):
                raise ValueError(f"{type(part).__name__} has another kind of {name!r}")
    tensors = [*module.parameters(), *module.buffers()]
    if len({tensor.dtype for tensor in tensors if tensor.is_floating_point()}) > 1:
        raise ValueError("the tensors of its network have different precisions")


@contextmanager
def one_step(module: nn.Module) -> Iterator[None]:
    """A context in which projections and pursuits take one step, with the memory of many steps."""
    before = [
        (part, name, vars(part)[name])
        for part in module.modules()
        for name in STEPS
        if name in vars(part)
    ]
    for part, name, n_steps in before:
        setattr(part, name, min(n_steps, 1))
    try:
        yield
    finally:
        for part, name, n_steps in before:
            setattr(part, name, n_steps)
        forget_copies(module)  # which were made with one step


def _is_of_torch(part: nn.Module) -> bool:
    return type(part) in LAYERS and LAYERS[type(part)].arguments is not None
