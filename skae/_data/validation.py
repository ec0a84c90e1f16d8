"""What a parameter may be, said once beside its default, and the errors that follow from it."""

from dataclasses import dataclass, field, fields
from numbers import Integral, Real
from typing import Any

import numpy as np

# Python counts them among the integers; as numbers of layers or epochs they are mistakes.
BOOLEANS = (bool, np.bool_)


@dataclass(frozen=True)
class Number:
    """A number of a kind in an interval; an open end is itself excluded."""

    kind: type
    low: float
    high: float = float("inf")
    low_open: bool = False
    high_open: bool = False

    def has_type(self, value: object) -> bool:
        return isinstance(value, self.kind) and not isinstance(value, BOOLEANS)

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
    """A list or tuple of positive integers, of one of some lengths if there are any."""

    lengths: tuple[int, ...] = ()

    def has_type(self, value: object) -> bool:
        return isinstance(value, list | tuple)

    def accepts(self, value: Any) -> bool:
        right_length = not self.lengths or len(value) in self.lengths
        return right_length and all(WIDTH.has_type(v) and WIDTH.accepts(v) for v in value)

    def __str__(self) -> str:
        count = " or ".join(map(str, self.lengths))
        return f"a sequence of {count} positive integers".replace("  ", " ")


@dataclass(frozen=True)
class PositiveNumbers:
    """A list or tuple of at least so many numbers above zero."""

    least: int

    def has_type(self, value: object) -> bool:
        return isinstance(value, list | tuple)

    def accepts(self, value: Any) -> bool:
        rule = positive()
        return len(value) >= self.least and all(rule.has_type(v) and rule.accepts(v) for v in value)

    def __str__(self) -> str:
        return f"a sequence of at least {self.least} real numbers > 0"


@dataclass(frozen=True)
class Instance:
    """An object of some types, described in words."""

    types: type | tuple[type, ...]
    words: str

    def has_type(self, value: object) -> bool:
        return isinstance(value, self.types)

    def accepts(self, value: object) -> bool:
        return True

    def __str__(self) -> str:
        return self.words


@dataclass(frozen=True)
class AnyCallable:
    """Anything that can be called."""

    def has_type(self, value: object) -> bool:
        return callable(value)

    def accepts(self, value: object) -> bool:
        return True

    def __str__(self) -> str:
        return "a callable"


@dataclass(frozen=True)
class Estimator:
    """An estimator, not a class, with some methods."""

    methods: tuple[str, ...]

    def has_type(self, value: object) -> bool:
        return not isinstance(value, type) and all(hasattr(value, m) for m in self.methods)

    def accepts(self, value: object) -> bool:
        return True

    def __str__(self) -> str:
        return f"an estimator with {', '.join(self.methods[:-1])} and {self.methods[-1]}"


Rule = Number | OneOf | Exactly | Integers | PositiveNumbers | Instance | AnyCallable | Estimator

WIDTH = Number(Integral, 1)
NONE = Exactly(None)
BOOLEAN = Instance(BOOLEANS, "True or False")


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
        check_value(declared.name, getattr(estimator, declared.name), declared.metadata["allowed"])


def check_value(name: str, value: object, allowed: tuple[Rule, ...]) -> None:
    """Raise unless one of the rules takes `value`; the message names all of them."""
    typed = [rule for rule in allowed if rule.has_type(value)]
    if any(rule.accepts(value) for rule in typed):
        return
    error = ValueError if typed else TypeError
    raise error(f"`{name}` must be {' or '.join(map(str, allowed))}, got {value!r}.")
