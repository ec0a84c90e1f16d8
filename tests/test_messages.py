"""Messages of errors: they name what is wrong, what is allowed and what was given."""

import inspect
import re
from dataclasses import fields

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import ESTIMATORS, IS_NEWEST
from scipy import sparse
from sklearn.base import is_classifier

import skae
from skae import AutoencoderTransformer, SparseAutoencoder
from skae._data.messages import described

DISPLAYS = [
    name
    for name in skae.__all__
    if name.endswith("Display") and hasattr(getattr(skae, name), "from_estimator")
]

# Each of these is wrong for most parameters.
WRONG_VALUES = [
    None,
    "no option",
    object(),
    -1,
    0.3,
    float("nan"),
    float("inf"),
    1e300,
    2**64,
    10**400,
    [0] * 1000,
    (float("nan"),),
    np.full(3, -1.0),
    torch.full((3,), -1.0, requires_grad=True),
]
METHODS = (
    "decision_function",
    "feature_contributions",
    "fit",
    "partial_fit",
    "predict",
    "predict_proba",
    "reconstruct",
    "score_samples",
    "transform",
)


def is_allowed(declared, value):
    rules = declared.metadata["allowed"]
    return any(rule.has_type(value) and rule.accepts(value) for rule in rules)


@pytest.fixture(scope="module")
def rows():
    return np.random.RandomState(0).uniform(size=(30, 6)), np.arange(30) % 2


# Parameters of the imputer, whose cells are in float64.
IN_FLOAT64 = {"missing_values", "min_value", "max_value"}


@pytest.mark.parametrize("cls", ESTIMATORS, ids=lambda cls: cls.__name__)
def test_an_error_names_the_parameter_the_allowed_values_and_the_given_one(cls, rows, small):
    for declared in fields(cls):
        for value in WRONG_VALUES:
            if is_allowed(declared, value):
                is_beyond_float32 = isinstance(value, int | float) and value > 1e39
                assert not is_beyond_float32 or declared.name in IN_FLOAT64
                continue
            with pytest.raises((TypeError, ValueError)) as caught:
                small(cls, **{declared.name: value}).fit(*rows)
            message = str(caught.value)
            assert message.startswith(f"`{declared.name}` must be "), message
            assert ", got " in message
            assert len(message) < 600


@pytest.mark.parametrize("cls", ESTIMATORS, ids=lambda cls: cls.__name__)
def test_estimators_with_wrong_parameters_can_be_shown(cls, small):
    for value in (None, "no option", pd.NA, np.full(3, -1.0)):
        estimator = small(cls).set_params(**dict.fromkeys(small(cls).get_params(deep=False), value))
        assert repr(estimator).startswith(cls.__name__)
        assert cls.__name__ in estimator._repr_html_()
        for name in dir(estimator):
            hasattr(estimator, name)


def outside(X, **arrays):
    """A sparse matrix that points outside its columns or its entries."""
    X = sparse.csr_array(X)
    for name, (place, value) in arrays.items():
        changed = getattr(X, name).copy()
        changed[place] = value
        setattr(X, name, changed)
    return X


@pytest.mark.filterwarnings("ignore:X has feature names")
@pytest.mark.parametrize("cls", ESTIMATORS, ids=lambda cls: cls.__name__)
def test_an_error_about_rows_names_X_and_shows_no_array(cls, rows, small):
    X, y = rows
    wrong = [
        X + 1j,
        sparse.csr_array(X + 1j),
        [["a"] * 6] * 30,
        [[1.0, 2.0], [3.0]],
        pd.DataFrame(X, columns=list("abcdef")).assign(a=pd.Timestamp("2020-01-01")),
        torch.tensor(X, requires_grad=True),
        torch.tensor(X, dtype=torch.bfloat16),
        outside(X, indices=(0, 77)),
        outside(X, indices=(0, -1)),
        outside(X, indptr=(1, 1000)),
    ]
    frame = pd.DataFrame({column: pd.to_datetime(["2020-01-01", None] * 15) for column in "abcdef"})
    dates = frame.to_numpy()
    wrong += [frame, frame - frame.iloc[0], dates, list(dates)]
    wrong += [
        np.ma.array(np.where(np.isnat(dates), dates[0, 0], dates), mask=np.isnat(dates)),
        [[10**400] * 6] * 30,
    ]
    wrong += [frame[[]], np.ma.array(np.zeros((30, 6), "f8,f8"), mask=True)]
    if IS_NEWEST:
        wrong.append(pd.DataFrame(X, columns=list("aabcde")))
    # The first is a table with categories, to which most estimators can be fitted.
    wrong.insert(0, pd.DataFrame(X, columns=list("abcdef")).assign(a="text"))
    takes_tables = hasattr(cls, "categorical_features") or cls is skae.ReconstructionTransformer
    fitted = small(cls, 2, max_iter=2).fit(X, y)
    for name in [name for name in METHODS if hasattr(fitted, name)]:
        method = getattr(small(cls, 2) if "fit" in name else fitted, name)
        for given in wrong[takes_tables and "fit" in name :]:
            with pytest.raises((TypeError, ValueError)) as caught:
                method(given, *[y] * (name == "fit"))
            message = str(caught.value)
            assert re.search(r"\bX\b", message), message
            assert "\n" not in message
            assert len(message) < 300

    if "X_val" in inspect.signature(cls.fit).parameters:
        loss = {"loss": "log_loss"} if hasattr(cls(), "loss") else {}
        for given in [*wrong, X[:0], X[:, :3], X + np.inf, X[None], *[X + 2] * len(loss)]:
            with pytest.raises((TypeError, ValueError)) as caught:
                small(cls, 2, **loss).fit(X, y, X_val=given)
            assert re.search(r"\bX_val\b", str(caught.value))
            assert not re.search(r"\bX\b(?! to )", str(caught.value)), caught.value


@pytest.mark.parametrize("cls", [c for c in ESTIMATORS if is_classifier(c())])
@pytest.mark.parametrize(
    "y",
    [
        np.arange(30) % 2 + 1j,
        np.full(30, -1),
        np.full(30, 3),
        np.array(["a", -1] * 15, dtype=object),
        np.array(["a", 1] * 15, dtype=object),
        np.arange(30) / 7,
        np.array([b"a", b"b"] * 15),
    ],
    ids=lambda y: str(y[:2]),
)
def test_an_error_about_labels_names_y(cls, y, rows, small):
    with pytest.raises((TypeError, ValueError)) as caught:
        small(cls).fit(rows[0], y)
    assert re.search(r"\by\b", str(caught.value))
    assert not re.search(r"\bX\b", str(caught.value))


@pytest.mark.parametrize("cls", [c for c in ESTIMATORS if is_classifier(c())])
def test_an_error_of_a_score_names_the_labels_or_the_weights(cls, rows, small):
    X, y = rows
    fitted = small(cls, 2, max_iter=1).fit(X, y)
    for labels in (
        y + 1j,
        [None] * 30,
        [np.nan] * 30,
        np.ma.array(y, mask=y > 0),
        y[:5],
        [-1] * 30,
    ):
        with pytest.raises(ValueError, match=r"`y`|variables"):
            fitted.score(X, labels)
    for weights in (np.ones(5), np.zeros(30), np.full(30, np.nan), np.where(y, 0.0, -1.0)):
        with pytest.raises(ValueError, match=r"sample_weight"):
            fitted.score(X, y, sample_weight=weights)
    assert fitted.score(X, y, sample_weight=y) == fitted.score(X[y > 0], y[y > 0])


def test_a_network_that_does_not_fit_into_memory_is_an_error_of_memory(rows, small):
    with pytest.raises(MemoryError, match=r"`hidden_layer_sizes`=.* needs more memory"):
        small(AutoencoderTransformer, 2, hidden_layer_sizes=(2**50,)).fit(*rows)


@pytest.mark.parametrize("device", ["meta", "no device"])
def test_a_device_without_numbers_is_refused(device, rows, small):
    with pytest.raises(ValueError, match=f"`device` must be .*, got '{device}'"):
        small(AutoencoderTransformer, 2, device=device).fit(*rows)


@pytest.mark.parametrize("display", DISPLAYS)
def test_an_error_of_a_display_names_the_parameter(display, rows, small):
    pytest.importorskip("matplotlib").use("Agg")
    from_estimator, X = getattr(skae, display).from_estimator, rows[0]
    fitted = small(SparseAutoencoder if "Dict" in display else AutoencoderTransformer, 3).fit(X)
    parameters = inspect.signature(from_estimator).parameters
    arguments = {"estimator": fitted} | {name: X for name in parameters if name == "X"}
    for name in parameters.keys() - {"X", "X_new", "y"}:
        for value in ["text", -1.5, object(), np.zeros((2, 2)), AutoencoderTransformer]:
            with pytest.raises((TypeError, ValueError), match=f"`{name}` must"):
                from_estimator(**(arguments | {name: value}))


@pytest.mark.parametrize("path", [None, 3, ["a"], np.zeros(3)], ids=repr)
def test_a_path_of_another_type_is_named(path, rows, small):
    fitted = small(AutoencoderTransformer, 2).fit(rows[0])
    with pytest.raises(TypeError, match="`path` must be a string or path-like, got"):
        skae.save(fitted, path)
    with pytest.raises(TypeError, match="`path` must be a string or path-like, got"):
        skae.load(path)
    with pytest.raises(TypeError, match="`folder` must be a string or path-like, got"):
        skae.export_numpy(fitted, path)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.zeros((4, 5)), "ndarray of shape (4, 5)"),
        (pd.DataFrame(np.zeros((9, 2))), "DataFrame of shape (9, 2)"),
        (np.zeros(2), "array([0., 0.])"),
        ("a\nb", "'a\\nb'"),
        (list(range(1000)), repr(list(range(1000)))[:200] + "..."),
    ],
)
def test_values_are_described_in_one_line(value, text):
    assert described(value) == text
    assert len(described(pd.DataFrame({"a": [0]})).splitlines()) == 1
