"""Odd rows and odd parameters: a clear refusal or a right answer, and never torch's words.

Hypothesis draws the rows; the parameters are a set in which every two values of every two
parameters meet at least once.
"""

import itertools
import random
import re
import traceback
import warnings
from dataclasses import fields
from numbers import Integral

import numpy as np
import pandas as pd
import pytest
from conftest import AUTOENCODERS, ESTIMATORS, brief
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.base import clone

from skae._data.validation import BOOLEAN, Exactly, Number, OneOf

# Words that only torch, or NumPy beneath it, uses of its own objects.
INSIDE = re.compile(r"tensor|torch|aten|mat1|autograd|broadcast|numpy[.]ndarray of type|CUDA", re.I)

DTYPES = ["f4", "f8", "f2", "g", "i1", "u1", "i8", ">f8", "?", "O", "c8", "U3", "S3", "M8[D]"]
SPARSE = {"<f4", "<f8", "|i1", "|u1", "|b1"}  # that SciPy has sparse matrices of
LAYOUTS = {
    "C": np.ascontiguousarray,
    "Fortran": np.asfortranarray,
    "backwards": lambda X: X[::-1, ::-1],
    "lists": np.ndarray.tolist,
    "frame": pd.DataFrame,
    "masked": lambda X: np.ma.masked_array(X, X[:1] == X),
    "CSR": lambda X: sparse.csr_array(X) if X.dtype.str in SPARSE else X,
    "COO": lambda X: sparse.coo_matrix(X) if X.dtype.str in SPARSE else X,
    "one row": lambda X: X[0] if len(X) else X.ravel(),
    "3-d": lambda X: X[None],
    "object array of rows": lambda X: np.array([*X, None], dtype=object)[:-1],
}


@st.composite
def odd_rows(draw):
    """Anything that a user might pass for rows, mostly in a size that can be learned from."""
    n_rows, n_columns = draw(st.sampled_from([30, 30, 12, 3, 2, 1, 0])), draw(st.integers(0, 6))
    X = np.random.RandomState(draw(st.integers(0, 9))).normal(size=(n_rows, n_columns))
    X *= 10.0 ** draw(st.sampled_from([0, 0, 0, 3, -3, 12, -12, 30, -30, 150, -150, 300, -300]))
    X += draw(st.sampled_from([0, 0, 0, 1e6, -1e12]))
    odd = draw(st.sampled_from([None, None, np.nan, np.inf, -np.inf, 1e308, 0]))
    if odd is not None and X.size:
        where = draw(st.sampled_from(["entry", "row", "column", "all"]))
        X[{"entry": (0, 0), "row": 0, "column": np.s_[:, -1], "all": ...}[where]] = odd
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if (dtype := draw(st.sampled_from(["f8", "f4", *DTYPES]))) == "M8[D]":
            X = np.nan_to_num(X, posinf=0, neginf=0).clip(-1e4, 1e4).astype("i8")
        X = X.astype(dtype)
    return LAYOUTS[draw(st.sampled_from(["C", *LAYOUTS]))](X)


def ask(method, *arguments):
    """What a method answers; None if it refuses in words that are fit for its user."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            return method(*arguments)
        except (ValueError, TypeError) as error:
            refusal = error
    assert len(str(refusal)) > 20  # says more than that something is wrong
    assert not INSIDE.search(str(refusal)), refusal
    assert "/torch/" not in traceback.extract_tb(refusal.__traceback__)[-1].filename
    return None


def assert_answers(estimator, X, n_rows):
    """Every method that takes rows gives one finite answer a row, or refuses."""
    for name in ("transform", "reconstruct", "score_samples", "decision_function", "predict_proba"):
        if not hasattr(estimator, name):
            continue
        answer = ask(getattr(estimator, name), X)
        if answer is None:
            continue
        answer = np.asarray(answer.toarray() if sparse.issparse(answer) else answer)
        assert len(answer) == n_rows, name
        # Squares of float32 may overflow: minus infinity is the right score then.
        assert not np.isnan(answer).any(), name
        assert "score" in name or "decision" in name or np.isfinite(answer).all(), name


@pytest.mark.parametrize("cls", ESTIMATORS, ids=lambda cls: cls.__name__)
@settings(
    max_examples=8,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(X=odd_rows(), data=st.data())
def test_odd_rows_are_refused_clearly_or_answered(cls, X, data):
    estimator = few_steps(cls)
    n_rows = X.shape[0] if hasattr(X, "shape") else len(X)
    if ask(estimator.fit, X, np.arange(n_rows) % 2) is None:
        assert not hasattr(estimator, "n_features_in_")
        assert set(vars(estimator)) == set(estimator.get_params(deep=False))
        return
    assert_answers(estimator, X, n_rows)
    other = data.draw(odd_rows())
    assert_answers(estimator, other, other.shape[0] if hasattr(other, "shape") else len(other))


def few_steps(cls, **parameters):
    usual = {"n_components": 1, "max_iter": 2, "n_steps": 2, "random_state": 0} | parameters
    estimator = brief(cls)
    known = usual.keys() & estimator.get_params(deep=False).keys()
    return estimator.set_params(**{name: usual[name] for name in known})


# What would take long, needs what is not here, or cannot be told from its declaration.
GIVEN = {
    "n_components": [2, 0.5, None],
    "hidden_layer_sizes": [(4,), (3, 2), ()],
    "activation": ["silu", "relu", "gelu"],
    "image_shape": [None, (4, 4)],
    "max_iter": [1],
    "n_steps": [1],
    "noise_levels": [(0.2, 1.5), (0.5,)],
    "exact_levels": [(0.5,), ()],
    "random_state": [0],
    "device": ["cpu"],
    "verbose": [0],
}


def values_of(declared, default):
    """A few values that a parameter may have, by its declaration."""
    values = [default]
    for rule in declared.metadata["allowed"]:
        if isinstance(rule, OneOf):
            values += rule.names
        elif isinstance(rule, Exactly):
            values.append(rule.value)
        elif rule is BOOLEAN:
            values += [False, True]
        elif isinstance(rule, Number):
            values.append(rule.low if rule.kind is Integral else rule.low + 0.5)
    return GIVEN.get(declared.name, list(dict.fromkeys(values)))


def pairwise_cover(values):
    """Settings in which every two values of every two parameters meet (greedily, so not fewest)."""
    rng, names = random.Random(0), sorted(values)
    pairs = {
        ((a, i), (b, j))
        for a, b in itertools.combinations(names, 2)
        for i in range(len(values[a]))
        for j in range(len(values[b]))
    }
    while pairs:
        wanted = min(pairs)
        trials = [
            {name: rng.randrange(len(values[name])) for name in names} | dict(wanted)
            for _ in range(100)
        ]
        met = [pairs & set(itertools.combinations(sorted(trial.items()), 2)) for trial in trials]
        best = max(range(len(trials)), key=lambda i: len(met[i]))
        pairs -= met[best]
        yield {name: values[name][i] for name, i in trials[best].items()}


def test_the_cover_is_one():
    values = {"a": [1, 2, 3], "b": "xy", "c": [None, 0]}
    settings = list(pairwise_cover(values))
    for one, other in itertools.combinations(values, 2):
        met = {(setting[one], setting[other]) for setting in settings}
        assert met == set(itertools.product(values[one], values[other]))
    assert len(settings) < 12


@pytest.mark.parametrize("cls", ESTIMATORS, ids=lambda cls: cls.__name__)
def test_every_two_parameters_work_together_or_say_why_not(cls):
    X = np.random.RandomState(0).uniform(size=(18, 16))
    base = few_steps(cls)
    values = {d.name: values_of(d, getattr(base, d.name)) for d in fields(cls)}
    fitted = []
    for setting in pairwise_cover(values) if len(values) > 1 else [{}]:
        estimator = clone(base).set_params(**setting)
        fitted.append(ask(estimator.fit, X, np.arange(18) % 2) is not None)
        if not fitted[-1]:
            continue
        assert_answers(estimator, X, 18)
        if cls in AUTOENCODERS:
            assert estimator.inverse_transform(estimator.transform(X)).shape == X.shape
    assert np.mean(fitted) > 0.25
