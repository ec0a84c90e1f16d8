"""What a parameter may be, said once beside its default, and the errors that follow from it."""

from dataclasses import dataclass, field, fields
from numbers import Integral, Real
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Number:
    """A real number, or an integer, in an interval; `low_open` excludes the lower end, and so on."""

    kind: type
    low: float
    high: float = float("inf")
    low_open: bool = False
    high_open: bool = False

    def has_type(self, value: object) -> bool:
        return isinstance(value, self.kind) and not isinstance(value, bool | np.bool_)

    def accepts(self, value: Any) -> bool:
        return (value > self.low if self.low_open else value >= self.low) and (
            value < self.high if self.high_open else value <= self.high
        )

    def __str__(self) -> str:
        noun = "an integer" if self.kind is Integral else "a real number"
        if self.high == float("inf"):
            return f"{noun} {'>' if self.low_open else '>='} {self.low:g}"
        left, right = "(" if self.low_open else "[", ")" if self.high_open else "]"
        return f"{noun} in {left}{self.low:g}, {self.high:g}{right}"


@dataclass(frozen=True)
class OneOf:
    """One of some strings."""

    names: tuple[str, ...]

    def has_type(self, value: object) -> bool:
        return isinstance(value, str)

    def accepts(self, value: object) -> bool:
        return value in self.names

    def __str__(self) -> str:
        return "one of " + ", ".join(map(repr, self.names))


@dataclass(frozen=True)
class Exactly:
    """One value, such as None."""

    value: object

    def has_type(self, value: object) -> bool:
        return type(value) is type(self.value)

    def accepts(self, value: object) -> bool:
        return value == self.value

    def __str__(self) -> str:
        return repr(self.value)


@dataclass(frozen=True)
class Integers:
    """A sequence of positive integers, of one of some lengths if `lengths` is given."""

    lengths: tuple[int, ...] | None = None

    def has_type(self, value: object) -> bool:
        return isinstance(value, list | tuple)

    def accepts(self, value: Any) -> bool:
        return all(
            isinstance(v, Integral) and not isinstance(v, bool) and v > 0 for v in value
        ) and (self.lengths is None or len(value) in self.lengths)

    def __str__(self) -> str:
        if self.lengths is None:
            return "a sequence of positive integers"
        return f"a sequence of {' or '.join(map(str, self.lengths))} positive integers"


@dataclass(frozen=True)
class Instance:
    """An object of a type, described in words; with `test`, one that passes it."""

    types: type | tuple[type, ...]
    words: str

    def has_type(self, value: object) -> bool:
        return isinstance(value, self.types)

    def accepts(self, value: object) -> bool:
        return True

    def __str__(self) -> str:
        return self.words


@dataclass(frozen=True)
class Callable_:
    """Anything that can be called."""

    def has_type(self, value: object) -> bool:
        return callable(value)

    def accepts(self, value: object) -> bool:
        return True

    def __str__(self) -> str:
        return "a callable"


Rule = Number | OneOf | Exactly | Integers | Instance | Callable_

NONE = Exactly(None)
BOOLEAN = Instance((bool, np.bool_), "True or False")


def integer(low: float, high: float = float("inf")) -> Number:
    """An integer from `low` to `high`."""
    return Number(Integral, low, high)


def positive(high: float = float("inf")) -> Number:
    """A real number above zero."""
    return Number(Real, 0, high, low_open=True)


def parameter(default: Any, *allowed: Rule) -> Any:
    """A constructor parameter: its default and what it may be."""
    return field(default=default, metadata={"allowed": allowed})


def check_parameters(estimator: Any) -> None:
    """Raise a TypeError or a ValueError for the first parameter that is not as declared."""
    for declared in fields(estimator):
        check_value(
            declared.name, getattr(estimator, declared.name), declared.metadata["allowed"]
        )


def check_value(name: str, value: object, allowed: tuple[Rule, ...]) -> None:
    """Raise unless one of the rules takes `value`; the message names all of them."""
    typed = [rule for rule in allowed if rule.has_type(value)]
    if any(rule.accepts(value) for rule in typed):
        return
    error = ValueError if typed else TypeError
    raise error(f"`{name}` must be {' or '.join(map(str, allowed))}, got {value!r}.")
