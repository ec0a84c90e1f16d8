"""Unusual rows and parameters: a clear error or a valid result, never an error message of torch.

Hypothesis draws the rows. The parameters are a set in which every two values of every two
parameters occur together at least once.
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
from conftest import AUTOENCODERS, ESTIMATORS, make_small
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import sparse
from shortening import shorten
from sklearn.base import clone

from skae._data.validation import BOOLEAN, NONE, Interval, StrOptions

# Words that torch, and NumPy below it, use for their own objects.
INTERNAL_WORDS = re.compile(
    r"tensor|torch|aten|mat1|autograd|broadcast|numpy[.]ndarray of type|CUDA", re.I
)

DTYPES = ["f4", "f8", "f2", "g", "i1", "u1", "i8", ">f8", "?", "O", "c8", "U3", "S3", "M8[D]"]
SPARSE = {"<f4", "<f8", "|i1", "|u1", "|b1"}  # dtypes of which SciPy has sparse matrices
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
def unusual_rows(draw):
    """Anything that a user might pass for rows, mostly in a size that can be fitted."""
    n_rows, n_columns = draw(st.sampled_from([30, 30, 12, 3, 2, 1, 0])), draw(st.integers(0, 6))
    X = np.random.RandomState(draw(st.integers(0, 9))).normal(size=(n_rows, n_columns))
    X *= 10.0 ** draw(st.sampled_from([0, 0, 0, 3, -3, 12, -12, 30, -30, 150, -150, 300, -300]))
    X += draw(st.sampled_from([0, 0, 0, 1e6, -1e12]))
    value = draw(st.sampled_from([None, None, np.nan, np.inf, -np.inf, 1e308, 0]))
    if value is not None and X.size:
        place = draw(st.sampled_from(["entry", "row", "column", "all"]))
        X[{"entry": (0, 0), "row": 0, "column": np.s_[:, -1], "all": ...}[place]] = value
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if (dtype := draw(st.sampled_from(["f8", "f4", *DTYPES]))) == "M8[D]":
            X = np.nan_to_num(X, posinf=0, neginf=0).clip(-1e4, 1e4).astype("i8")
        X = X.astype(dtype)
    return LAYOUTS[draw(st.sampled_from(["C", *LAYOUTS]))](X)


def result_or_none(method, *arguments):
    """The result of a method; None if it raises an error that explains itself to the user."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            return method(*arguments)
        except (ValueError, TypeError) as exception:
            error = exception
    assert len(str(error)) > 20  # more than "invalid input"
    assert not INTERNAL_WORDS.search(str(error)), error
    assert "/torch/" not in traceback.extract_tb(error.__traceback__)[-1].filename
    return None


def assert_valid_results(estimator, X, n_rows):
    """Every method that takes rows returns one finite result a row, or raises a clear error."""
    for name in ("transform", "reconstruct", "score_samples", "decision_function", "predict_proba"):
        if not hasattr(estimator, name):
            continue
        result = result_or_none(getattr(estimator, name), X)
        if result is None:
            continue
        if isinstance(result, list):  # an array for each categorical column
            result = np.hstack([np.empty((n_rows, 0)), *result])
        result = np.asarray(result.toarray() if sparse.issparse(result) else result)
        assert len(result) == n_rows, name
        # Squares of float32 may overflow: the score is minus infinity then.
        assert not np.isnan(result).any(), name
        assert "score" in name or "decision" in name or np.isfinite(result).all(), name


def length(X):
    return X.shape[0] if hasattr(X, "shape") else len(X)


@pytest.mark.parametrize("cls", ESTIMATORS, ids=lambda cls: cls.__name__)
@settings(
    max_examples=8,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(X=unusual_rows(), data=st.data())
def test_unusual_rows_are_refused_clearly_or_fitted(cls, X, data):
    estimator = make_small(cls, n_components=1, max_iter=2)
    if result_or_none(estimator.fit, X, np.arange(length(X)) % 2) is None:
        assert not hasattr(estimator, "n_features_in_")
        assert set(vars(estimator)) == set(estimator.get_params(deep=False))
        return
    assert_valid_results(estimator, X, length(X))
    other = data.draw(unusual_rows())
    assert_valid_results(estimator, other, length(other))


# Parameters whose values would take long, need a GPU, are deprecated, or cannot be derived from the
# declaration; and a few of the metrics, which no other parameter concerns.
VALUES = {
    "n_components": [2, 0.5, None],
    "hidden_layer_sizes": [(4,), (3, 2), ()],
    "activation": ["silu", "relu", "gelu"],
    "image_shape": [None, (4, 4)],
    "metric": ["euclidean", "cosine", "jaccard"],
    "max_iter": [1],
    "n_steps": [1],
    "noise_levels": [(0.2, 1.5), (0.5,)],
    "exact_levels": [(0.5,), ()],
    "random_state": [0],
    "penalty": ["deprecated"],
    "device": ["cpu"],
    "categorical_features": ["from_dtype", [0]],
    "verbose": [0],
}


def values_of(declared, default):
    """A few values that a parameter may have, by its declaration."""
    values = [default]
    for rule in declared.metadata["allowed"]:
        if isinstance(rule, StrOptions):
            values += rule.options
        elif rule is NONE:
            values.append(None)
        elif rule is BOOLEAN:
            values += [False, True]
        elif isinstance(rule, Interval):
            values.append(rule.left if rule.type is Integral else rule.left + 0.5)
    return VALUES.get(declared.name, list(dict.fromkeys(values)))


def pairwise_cover(values):
    """Settings in which every two values of every two parameters occur (greedy, not minimal)."""
    rng, names = random.Random(0), sorted(values)
    pairs = {
        ((a, i), (b, j))
        for a, b in itertools.combinations(names, 2)
        for i in range(len(values[a]))
        for j in range(len(values[b]))
    }
    while pairs:
        missing_pair = min(pairs)
        trials = [
            {name: rng.randrange(len(values[name])) for name in names} | dict(missing_pair)
            for _ in range(30)
        ]
        covered = [
            pairs & set(itertools.combinations(sorted(trial.items()), 2)) for trial in trials
        ]
        best = max(range(len(trials)), key=lambda i: len(covered[i]))
        pairs -= covered[best]
        yield {name: values[name][i] for name, i in trials[best].items()}


def test_a_pairwise_cover_contains_every_pair():
    values = {"a": [1, 2, 3], "b": "xy", "c": [None, 0]}
    settings = list(pairwise_cover(values))
    for one, other in itertools.combinations(values, 2):
        covered = {(setting[one], setting[other]) for setting in settings}
        assert covered == set(itertools.product(values[one], values[other]))
    assert len(settings) < 12


@pytest.mark.parametrize("cls", ESTIMATORS, ids=lambda cls: cls.__name__)
def test_every_two_parameters_are_fitted_together_or_refused_clearly(
    cls, global_random_seed, monkeypatch
):
    shorten(monkeypatch)  # estimators that are fitted by default, too
    X = np.random.RandomState(global_random_seed).uniform(size=(18, 16))
    base = make_small(cls, n_components=1, max_iter=2)
    values = {d.name: values_of(d, getattr(base, d.name)) for d in fields(cls)}
    is_fitted = []
    for setting in pairwise_cover(values) if len(values) > 1 else [{}]:
        estimator = clone(base).set_params(**setting)
        is_fitted.append(result_or_none(estimator.fit, X, np.arange(18) % 2) is not None)
        if not is_fitted[-1]:
            continue
        assert_valid_results(estimator, X, 18)
        if cls in AUTOENCODERS:
            assert estimator.inverse_transform(estimator.transform(X)).shape == X.shape
    # Many values exclude each other, and a setting has a random value of each parameter.
    assert np.mean(is_fitted) > 0.1
