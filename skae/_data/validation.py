"""Rules for parameters, declared beside their defaults, and the errors that follow from them."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import field, fields
from math import inf
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from sklearn.base import BaseEstimator

from .memory import explained_memory
from .messages import described

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

# Python counts Booleans among the integers; as numbers of layers or epochs they are mistakes.
BOOLEANS = (bool, np.bool_)

# The largest numbers of an interval without an upper bound: torch counts in 64 bits, and trains in
# float32.
LARGEST: dict[type, float] = {Integral: 2**63 - 1, Real: float(np.finfo(np.float32).max)}


class Rule:
    """One kind of value that a parameter may have.

    Parameters
    ----------
    description : str
        Description of the allowed values for error messages.
    has_type : callable
        Returns whether the type of a value is allowed. If not, a TypeError is raised.
    accepts : callable or None, default=None
        Returns whether a value is allowed. If not, a ValueError is raised. None accepts all values.

    Examples
    --------
    >>> from skae.base import Rule
    >>> even = Rule("an even integer", lambda n: isinstance(n, int), lambda n: n % 2 == 0)
    >>> even.accepts(3)
    False
    """

    def __init__(
        self,
        description: str,
        has_type: Callable[[Any], bool],
        accepts: Callable[[Any], bool] | None = None,
    ) -> None:
        self.description, self.has_type = description, has_type
        self.accepts = accepts or (lambda value: True)

    def __str__(self) -> str:
        return self.description


def _number(value: float) -> str:
    """A bound as text; integers with all digits."""
    return str(int(value)) if value == int(value) else f"{value:g}"


class Interval(Rule):
    """Numbers of a type between two bounds; booleans are not numbers.

    Parameters
    ----------
    type : {numbers.Integral, numbers.Real}
        The type of the numbers.
    left : float
        The lower bound.
    right : float, default=inf
        The upper bound.
    closed : {"left", "right", "both", "neither"}, default="both"
        Which of the two bounds are allowed values.

    Examples
    --------
    >>> from numbers import Real
    >>> from skae.base import Interval
    >>> rule = Interval(Real, 0, 1, closed="left")
    >>> print(rule)
    a real number in [0, 1)
    >>> rule.accepts(1.0)
    False
    """

    def __init__(
        self,
        type: type,
        left: float,
        right: float = inf,
        *,
        closed: Literal["left", "right", "both", "neither"] = "both",
    ) -> None:
        self.type, self.left, self.right = type, left, right
        self._left_closed, self._right_closed = (
            closed in ("left", "both"),
            closed in ("right", "both"),
        )
        noun = "an integer" if type is Integral else "a real number"
        if right == inf:
            interval = f"{'>=' if self._left_closed else '>'} {_number(left)}"
        else:
            opening, closing = "[" if self._left_closed else "(", "]" if self._right_closed else ")"
            interval = f"in {opening}{_number(left)}, {_number(right)}{closing}"
        super().__init__(f"{noun} {interval}", self._is_number, self._contains)

    def _is_number(self, value: Any) -> bool:
        # Of the real numbers, torch and NumPy have no fractions.
        is_known = isinstance(value, int | float | np.integer | np.floating)
        return is_known and isinstance(value, self.type) and not isinstance(value, BOOLEANS)

    def _contains(self, value: Any) -> bool:
        above = value >= self.left if self._left_closed else value > self.left
        if self.right == inf:
            return above and not self.is_too_large(value)
        return above and (value <= self.right if self._right_closed else value < self.right)

    def is_too_large(self, value: Any) -> bool:
        """Whether a number exceeds the range of its type, if there is no upper bound."""
        return self.right == inf and self._is_number(value) and value > self.largest(value)

    def largest(self, value: Any) -> float:
        """The largest number of the type of a value, if there is no upper bound."""
        return LARGEST[Integral if isinstance(value, Integral) else Real]


class StrOptions(Rule):
    """A string that is one of a set.

    Parameters
    ----------
    options : iterable of str
        The allowed strings.

    Examples
    --------
    >>> from skae.base import StrOptions
    >>> print(StrOptions(["mean", "median"]))
    one of 'mean', 'median'
    """

    def __init__(self, options: Iterable[str]) -> None:
        self.options = tuple(options)
        names = ", ".join(map(repr, self.options))
        description = names if len(self.options) == 1 else f"one of {names}"
        super().__init__(
            description, lambda value: isinstance(value, str), self.options.__contains__
        )


NONE = Rule("None", lambda value: value is None)
CALLABLE = Rule("a callable", callable)


def integer(low: float, high: float = inf) -> Interval:
    """Return the rule for an integer between two bounds, both allowed.

    Parameters
    ----------
    low : float
        The smallest integer.
    high : float, default=inf
        The largest integer.

    Returns
    -------
    rule : Interval

    Examples
    --------
    >>> from skae.base import integer
    >>> print(integer(1))
    an integer >= 1
    """
    return Interval(Integral, low, high)


def positive(high: float = inf) -> Interval:
    """Return the rule for a real number above zero.

    Parameters
    ----------
    high : float, default=inf
        The largest number.

    Returns
    -------
    rule : Interval

    Examples
    --------
    >>> from skae.base import positive
    >>> print(positive())
    a real number > 0
    """
    return Interval(Real, 0, high, closed="right")


def instance_of(types: type | tuple[type, ...], description: str) -> Rule:
    """Return the rule for an object of some types.

    Parameters
    ----------
    types : type or tuple of types
        The types, as in `isinstance`.
    description : str
        Description of the types for error messages.

    Returns
    -------
    rule : Rule

    Examples
    --------
    >>> from skae.base import instance_of
    >>> instance_of(str, "the name of a torch device").has_type(0)
    False
    """
    return Rule(description, lambda value: isinstance(value, types))


def estimator_with(*methods: str) -> Rule:
    """Return the rule for an estimator, not a class, with some methods."""
    return Rule(
        f"an estimator with {', '.join(methods[:-1])} and {methods[-1]}",
        lambda value: not isinstance(value, type) and all(hasattr(value, m) for m in methods),
    )


def positive_integers(lengths: tuple[int, ...] = ()) -> Rule:
    """Return the rule for a sequence of positive integers, or one integer.

    Parameters
    ----------
    lengths : tuple of int, default=()
        The allowed lengths of the sequence. () allows all lengths.

    Returns
    -------
    rule : Rule

    Examples
    --------
    >>> from skae.base import positive_integers
    >>> print(positive_integers(lengths=(2, 3)))
    a sequence of 2 or 3 positive integers
    """
    count = " or ".join(map(str, lengths)) + " " * bool(lengths)
    elements = f"{count}positive integers"
    return _sequence(elements, integer(1), lambda n: n in lengths if lengths else True)


def positive_numbers(min_length: int) -> Rule:
    """Return the rule for a sequence of at least so many real numbers above zero."""
    count = f"{min_length} or more " * bool(min_length)
    return _sequence(f"{count}real numbers > 0", positive(), lambda n: n >= min_length)


def _sequence(elements: str, rule: Rule, accepts_length: Callable[[int], bool]) -> Rule:
    def accepts(value: Any) -> bool:
        values = as_tuple(value)
        return accepts_length(len(values)) and all(
            rule.has_type(value) and rule.accepts(value) for value in values
        )

    def has_type(value: Any) -> bool:
        # As in scikit-learn, a number is a sequence of length 1, where that is a length.
        is_number = accepts_length(1) and rule.has_type(value)
        return is_number or isinstance(value, list | tuple | range | np.ndarray)

    return Rule(f"a sequence of {elements}", has_type, accepts)


def as_tuple(value: Any) -> tuple[Any, ...]:
    """A number, or the numbers in a list, a tuple or an array, as a tuple of Python's numbers."""
    values = value.tolist() if isinstance(value, np.ndarray) else value
    values = values if isinstance(values, list | tuple | range) else (values,)
    return tuple(_of_python(value) for value in values)


def _of_python(value: Any) -> Any:
    """Python's number or string if `value` is one of NumPy, else the value itself."""
    return value.item() if isinstance(value, np.generic) else value


BOOLEAN = instance_of(BOOLEANS, "True or False")
FRACTION = Interval(Real, 0, 1, closed="neither")
RANDOM_STATE = (
    NONE,
    integer(0, 2**32 - 1),
    instance_of(np.random.RandomState, "a numpy.random.RandomState"),
)


def parameter(default: Any, *allowed: Rule) -> Any:
    """Declare a constructor parameter of an estimator that is a dataclass.

    `fit` raises an error for a value that none of the rules accepts.

    Parameters
    ----------
    default : object
        The default.
    *allowed : Rule
        The rules. A value is allowed if at least one of the rules accepts it.

    Returns
    -------
    field : dataclasses.Field

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> import numpy as np
    >>> from skae import AutoencoderTransformer
    >>> from skae.base import NONE, parameter, positive
    >>> @dataclass(eq=False, repr=False, kw_only=True)
    ... class ShrunkenAutoencoder(AutoencoderTransformer):
    ...     shrinkage: float | None = parameter(None, positive(), NONE)
    >>> ShrunkenAutoencoder(shrinkage=-1).fit(np.eye(3))
    Traceback (most recent call last):
    ...
    ValueError: `shrinkage` must be a real number > 0 or None, got -1.
    """
    return field(default=default, metadata={"allowed": allowed})


def check_parameters(estimator: "DataclassInstance") -> None:
    """Raise a TypeError or a ValueError for the first parameter that breaks its rules.

    A field without rules is not checked.
    """
    for declared in fields(estimator):
        if "allowed" in declared.metadata:
            value = getattr(estimator, declared.name)
            check_value(declared.name, value, declared.metadata["allowed"])


def check_value(name: str, value: object, allowed: tuple[Rule, ...]) -> None:
    """Raise an error, which names all of the rules, unless one of them accepts `value`."""
    typed = [rule for rule in allowed if rule.has_type(value)]
    if any(rule.accepts(value) for rule in typed):
        return
    error = ValueError if typed else TypeError
    hint = ""
    if isinstance(value, np.random.Generator):
        hint = " An integer that it draws is a seed: `rng.integers(2**32)`."
    for rule in allowed:
        if isinstance(rule, Interval) and rule.is_too_large(value):
            hint = f" The largest such number is {rule.largest(value)}."
    given = described(value)
    raise error(f"`{name}` must be {' or '.join(map(str, allowed))}, got {given}.{hint}")


def check_finite_results(estimator: BaseEstimator) -> None:
    """Raise a ValueError if a number, or an array, that a fit has published is not finite."""
    for name, value in vars(estimator).items():
        if name.startswith("_") or not name.endswith("_"):
            continue
        if _is_float(value) and not np.isfinite(value).all():
            raise ValueError(
                f"The fit ended with numbers in `{name}` that are not finite. If the values of X "
                "differ much in size, scale X first, with sklearn.preprocessing.StandardScaler or "
                "RobustScaler for instance; if modules or an objective are your own, check that "
                "they return finite numbers."
            )


@contextmanager
def restore_on_error(estimator: BaseEstimator) -> Iterator[None]:
    """Restore every attribute if the body raises, so that no estimator is left half fitted.

    Within the context, NumPy's numbers among the parameters are Python's: the arithmetic of a fit
    would overflow in eight bits, and round in float16.
    """
    before = dict(vars(estimator))
    given = estimator.get_params(deep=False)
    vars(estimator).update({name: _of_python(value) for name, value in given.items()})
    try:
        with explained_memory(
            f"The fit of {type(estimator).__name__} needs more memory than there is. What it "
            "needs grows with the sizes of the layers, the code and the batches."
        ):
            yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise
    vars(estimator).update(given)


def _is_float(value: object) -> bool:
    return isinstance(value, float) or (isinstance(value, np.ndarray) and value.dtype.kind == "f")
