"""Parameter rules: the values that they accept, and their error messages."""

import warnings
from dataclasses import dataclass, field, fields
from fractions import Fraction
from numbers import Real

import numpy as np
import pytest
from conftest import COMPRESSING, ESTIMATORS, all_results
from sklearn.base import BaseEstimator, is_classifier

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
        (5, [positive_integers()]),
        (np.array([5, 3]), [positive_integers()]),
        (range(3, 6), [positive_integers()]),
        (np.array([0.5, 2.0]), [positive_numbers(1)]),
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
        (2**64, [integer(1)], ValueError, "The largest such number is 9223372036854775807."),
        (2**64, [positive()], ValueError, "The largest such number is 9223372036854775807."),
        (1e39, [positive()], ValueError, r"The largest such number is 3.4028234\d*e\+38."),
        (Fraction(1, 2), [FRACTION], TypeError, "a real number in .* got Fraction"),
        ("a", [positive_numbers(0)], TypeError, "`p` must be a sequence of real numbers > 0, got"),
        (0, [positive()], ValueError, "`p` must be a real number > 0, got 0."),
        (1.0, [FRACTION], ValueError, r"`p` must be a real number in \(0, 1\), got 1.0."),
        (float("nan"), [positive()], ValueError, "got nan"),
        ("c", [StrOptions(["a", "b"])], ValueError, "`p` must be one of 'a', 'b', got 'c'."),
        (1, [StrOptions(["a"])], TypeError, "`p` must be 'a', got 1."),
        ((3, 0), [positive_integers()], ValueError, "`p` must be a sequence of positive integers"),
        ((3.0,), [positive_integers()], ValueError, "sequence of positive integers"),
        (3, [positive_integers(lengths=(2,))], TypeError, "2 positive integers, got 3"),
        (-3, [positive_integers()], ValueError, "sequence of positive integers, got -3"),
        (np.array([3.0]), [positive_integers()], ValueError, "sequence of positive integers"),
        (np.array([[3]]), [positive_integers()], ValueError, "sequence of positive integers"),
        (np.random.default_rng(), RANDOM_STATE, TypeError, r"is a seed: `rng.integers\(2\*\*32\)`"),
        (
            (8,),
            [positive_integers(lengths=(2, 3))],
            ValueError,
            "a sequence of 2 or 3 positive integers, got",
        ),
        ((), [positive_numbers(1)], ValueError, "a sequence of 1 or more real numbers > 0, got"),
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


def fitted_state(estimator):
    """What a small fit has learned, as text of all digits."""
    X = np.random.RandomState(0).randn(40, 6)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        estimator.fit(X, np.arange(40) % 2) if is_classifier(estimator) else estimator.fit(X)
    method = "score_samples" if hasattr(estimator, "score_samples") else "transform"
    return np.asarray(getattr(estimator, method)(X)).tobytes()


SEQUENCES = [
    (cls, declared.name)
    for cls in ESTIMATORS
    for declared in fields(cls)
    if isinstance(declared.default, tuple) or declared.name == "hidden_layer_sizes"
]


@pytest.mark.parametrize(
    ("cls", "name"), SEQUENCES, ids=[f"{cls.__name__}-{name}" for cls, name in SEQUENCES]
)
def test_sequences_of_numbers_may_be_arrays_lists_and_single_numbers(cls, name, small):
    for values in [(3, 2), (3,), ()]:
        expected = None
        forms = [values, list(values), np.array(values, dtype=int)]
        if len(values) == 1:
            forms += [values[0], np.int64(values[0]), range(3, 4)]
        for form in forms:
            estimator = small(cls, n_components=2, max_iter=2, **{name: form})
            if not values and name == "noise_levels":
                with pytest.raises(ValueError, match=name):
                    fitted_state(estimator)
                continue
            expected = expected or fitted_state(estimator)
            assert fitted_state(estimator) == expected


# NumPy types for each type of Python. Arithmetic in eight bits overflows: for instance, the product
# of a batch size and a number of columns.
OF_NUMPY = {
    "large": {bool: np.bool_, int: np.int64, float: np.float64, str: np.str_},
    "small": {bool: np.bool_, int: np.int8, float: np.float16, str: np.str_},
    "unsigned": {bool: np.bool_, int: np.uint8, float: np.float32, str: np.str_},
}


@pytest.mark.parametrize("kinds", OF_NUMPY.values(), ids=OF_NUMPY)
@pytest.mark.parametrize("cls", ESTIMATORS, ids=lambda cls: cls.__name__)
def test_numbers_of_numpy_are_parameters_as_those_of_python(cls, kinds, small):
    estimator = small(cls, n_components=2, max_iter=2)
    if hasattr(cls, "batch_size"):
        estimator.set_params(batch_size=100)
    given = {
        name: kinds[type(value)](min(value, 100) if type(value) is int else value)
        for name, value in estimator.get_params(deep=False).items()
        if type(value) in kinds
    }
    estimator.set_params(**{name: value.item() for name, value in given.items()})
    expected = fitted_state(estimator)
    assert fitted_state(estimator.set_params(**given)) == expected
    for name, value in given.items():
        assert getattr(estimator, name) is value


@pytest.mark.parametrize("cls", COMPRESSING, ids=lambda cls: cls.__name__)
def test_results_are_finite_if_all_real_parameters_are_as_small_as_possible(cls, small):
    smallest = {
        declared.name: rule.left + float(np.finfo(float).smallest_subnormal)
        for declared in fields(cls)
        for rule in declared.metadata.get("allowed", ())
        if isinstance(rule, Interval) and rule.type is Real
        if declared.name != "n_components"
    }
    X = np.random.RandomState(0).randn(40, 6)
    fitted = small(cls, n_components=2, max_iter=1).set_params(**smallest).fit(X, np.arange(40) % 2)
    for result in all_results(fitted, X).values():
        assert result.dtype.kind != "f" or np.isfinite(result).all()


@pytest.mark.parametrize("cls", ESTIMATORS, ids=lambda cls: cls.__name__)
def test_numbers_that_torch_does_not_have_are_refused(cls):
    wrong = {
        "categorical_features": [np.array(2), [["a"]]],
        "missing_values": [Fraction(1, 2), 10**400],
    }
    for declared in fields(cls):
        values = wrong.get(declared.name, [])
        if any(isinstance(rule, Interval) for rule in declared.metadata.get("allowed", ())):
            values = [Fraction(1, 2), 10**400]
        for value in values:
            with pytest.raises((TypeError, ValueError), match=f"^`{declared.name}` must be"):
                check_parameters(cls().set_params(**{declared.name: value}))


@pytest.mark.parametrize(
    "cls",
    [c for c in ESTIMATORS if "random_state" in {declared.name for declared in fields(c)}],
    ids=lambda cls: cls.__name__,
)
def test_a_generator_as_seed_is_refused_with_what_to_pass(cls, small):
    with pytest.raises(TypeError, match=r"`random_state` .*`rng\.integers\(2\*\*32\)`"):
        fitted_state(small(cls, random_state=np.random.default_rng(0)))
