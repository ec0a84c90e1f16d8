"""Parameter rules: the values that they accept, and their error messages."""

from dataclasses import dataclass, field
from numbers import Real

import numpy as np
import pytest
from sklearn.base import BaseEstimator

from skae._data.validation import (
    BOOLEAN,
    CALLABLE,
    FRACTION,
    NONE,
    RANDOM_STATE,
    Interval,
    StrOptions,
    check_parameters,
    check_value,
    estimator_with,
    integer,
    parameter,
    positive,
    positive_integers,
    positive_numbers,
    restore_on_error,
)


@pytest.mark.parametrize(
    ("value", "rules"),
    [
        (3, [integer(1)]),
        (np.int64(3), [integer(1)]),
        (10, [integer(1, 10)]),
        (0.5, [FRACTION]),
        (np.float32(0.5), [FRACTION]),
        (3, [positive()]),
        (None, [integer(1), NONE]),
        ("a", [StrOptions(["a", "b"])]),
        ((3, 4), [positive_integers()]),
        ((), [positive_integers()]),
        ([5], [positive_integers()]),
        ((8, 8), [positive_integers(lengths=(2, 3))]),
        ((0.5, 2), [positive_numbers(1)]),
        (np.True_, [BOOLEAN]),
        (len, [NONE, CALLABLE]),
        (np.random.RandomState(0), RANDOM_STATE),
        (BaseEstimator(), [estimator_with("get_params", "set_params")]),
    ],
)
def test_a_value_that_one_of_the_rules_accepts_passes(value, rules):
    check_value("p", value, tuple(rules))


@pytest.mark.parametrize(
    ("value", "rules", "error", "message"),
    [
        (0, [integer(1)], ValueError, "`p` must be an integer >= 1, got 0."),
        (11, [integer(1, 10)], ValueError, r"`p` must be an integer in \[1, 10\], got 11."),
        (2.5, [integer(1)], TypeError, "`p` must be an integer >= 1, got 2.5."),
        (True, [integer(1)], TypeError, "`p` must be an integer >= 1, got True."),
        (0, [positive()], ValueError, "`p` must be a real number > 0, got 0."),
        (1.0, [FRACTION], ValueError, r"`p` must be a real number in \(0, 1\), got 1.0."),
        (float("nan"), [positive()], ValueError, "got nan"),
        ("c", [StrOptions(["a", "b"])], ValueError, "`p` must be one of 'a', 'b', got 'c'."),
        (1, [StrOptions(["a"])], TypeError, "`p` must be one of 'a', got 1."),
        ((3, 0), [positive_integers()], ValueError, "`p` must be a sequence of positive integers"),
        ((3.0,), [positive_integers()], ValueError, "sequence of positive integers"),
        (3, [positive_integers()], TypeError, "sequence of positive integers, got 3"),
        (
            (8,),
            [positive_integers(lengths=(2, 3))],
            ValueError,
            "a sequence of 2 or 3 positive integers, got",
        ),
        ((), [positive_numbers(1)], ValueError, "a sequence of at least 1 real numbers > 0, got"),
        (1, [BOOLEAN], TypeError, "`p` must be True or False, got 1."),
        ("x", [integer(1), NONE], TypeError, "`p` must be an integer >= 1 or None, got 'x'."),
        (3, [CALLABLE, NONE], TypeError, "`p` must be a callable or None, got 3."),
        (
            BaseEstimator,
            [estimator_with("get_params", "set_params")],
            TypeError,
            "must be an estimator with get_params and set_params, got <class",
        ),
    ],
)
def test_other_values_raise_an_error_that_names_all_rules(value, rules, error, message):
    with pytest.raises(error, match=message):
        check_value("p", value, tuple(rules))


@pytest.mark.parametrize("closed", ["left", "right", "both", "neither"])
def test_an_interval_contains_the_bounds_on_its_closed_sides(closed):
    rule = Interval(Real, 0, 1, closed=closed)
    assert rule.accepts(0) == (closed in ("left", "both"))
    assert rule.accepts(1) == (closed in ("right", "both"))
    assert rule.accepts(0.5)
    assert not rule.accepts(-0.5)
    assert not rule.accepts(1.5)


@dataclass(eq=False)
class Estimator(BaseEstimator):
    max_iter: int = parameter(100, integer(1))
    weight: float = 1.0
    names: list = field(default_factory=list)


def test_fields_without_rules_are_not_checked():
    check_parameters(Estimator(weight="any", names=None))
    with pytest.raises(ValueError, match="`max_iter` must be an integer >= 1, got 0"):
        check_parameters(Estimator(max_iter=0))


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_attributes_are_restored_after_an_error(error):
    estimator = Estimator()
    estimator.before_ = 1
    expected = dict(vars(estimator))

    def change_and_fail():
        with restore_on_error(estimator):
            estimator.before_, estimator.after_ = 2, 3
            raise error

    with pytest.raises(error):
        change_and_fail()
    assert vars(estimator) == expected


def test_bounds_are_printed_with_all_digits():
    with pytest.raises(ValueError, match=r"in \[0, 4294967295\]"):
        check_value("random_state", -1, RANDOM_STATE)
