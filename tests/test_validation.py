"""Parameter rules: what they take, and what they say."""

import numpy as np
import pytest

from skae._autoencoders.shared_parameters import FRACTION
from skae._data.validation import (
    BOOLEAN,
    NONE,
    AnyCallable,
    Exactly,
    Integers,
    OneOf,
    check_value,
    integer,
    positive,
)


@pytest.mark.parametrize(
    ("value", "rules"),
    [
        (3, [integer(1)]),
        (np.int64(3), [integer(1)]),
        (0.5, [FRACTION]),
        (np.float32(0.5), [FRACTION]),
        (3, [positive()]),
        (None, [integer(1), NONE]),
        ("a", [OneOf(("a", "b"))]),
        ((3, 4), [Integers()]),
        ((), [Integers()]),
        ([5], [Integers()]),
        (np.True_, [BOOLEAN]),
        (False, [Exactly(False)]),
        (len, [NONE, AnyCallable()]),
    ],
)
def test_what_is_allowed_passes(value, rules):
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
        ("c", [OneOf(("a", "b"))], ValueError, "`p` must be one of 'a', 'b', got 'c'."),
        (1, [OneOf(("a",))], TypeError, "`p` must be one of 'a', got 1."),
        ((3, 0), [Integers()], ValueError, "`p` must be a sequence of positive integers"),
        ((3.0,), [Integers()], ValueError, "sequence of positive integers"),
        (3, [Integers()], TypeError, "sequence of positive integers, got 3"),
        (1, [BOOLEAN], TypeError, "`p` must be True or False, got 1."),
        (True, [Exactly(False)], ValueError, "`p` must be False, got True."),
        ("x", [integer(1), NONE], TypeError, "`p` must be an integer >= 1 or None, got 'x'."),
        (3, [AnyCallable(), NONE], TypeError, "`p` must be a callable or None, got 3."),
    ],
)
def test_what_is_not_allowed_is_told(value, rules, error, message):
    with pytest.raises(error, match=message):
        check_value("p", value, tuple(rules))
