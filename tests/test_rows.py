"""Validation of rows: what scikit-learn's checks let through although it was not asked for."""

import re
import warnings
from functools import cache

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from conftest import AUTOENCODERS, ESTIMATORS, all_results
from scipy import sparse
from sklearn import config_context
from sklearn.base import clone

import skae
from skae import AutoencoderClassifier
from skae._data.rows import as_floats, naming, validate_codes
from skae._inspection.scoring import as_numbers

# Estimators that read CSR matrices.
READS_SPARSE = [cls for cls in ESTIMATORS if cls().__sklearn_tags__().input_tags.sparse]
METHODS = ("transform", "reconstruct", "score_samples", "score_features", "predict_proba")


def booleans(seed):
    return pd.DataFrame(
        np.random.RandomState(seed).uniform(size=(60, 5)) < 0.4, columns=list("abcde")
    )


def with_duplicates(X, seed):
    """`X` as a CSR matrix in which each entry is stored as two large numbers, in random order."""
    rng = np.random.RandomState(seed)
    first = rng.uniform(100, 1000, X.shape)
    order = np.array([rng.permutation(2 * X.shape[1]) for _ in X])
    entries = np.take_along_axis(np.hstack([first, X - first]), order, 1)
    indices = order % X.shape[1]
    starts = np.arange(0, X.size * 2 + 1, 2 * X.shape[1])
    return sparse.csr_matrix((entries.ravel(), indices.ravel(), starts), shape=X.shape)


def results(estimator, X, y):
    fitted = estimator.fit(X, y)
    return {name: np.asarray(getattr(fitted, name)(X)) for name in METHODS if hasattr(fitted, name)}


@pytest.mark.parametrize("cls", READS_SPARSE)
def test_a_sparse_frame_of_booleans_is_a_matrix_of_floats(cls, small, global_random_seed):
    frame = booleans(global_random_seed)
    y = np.arange(60) % 2
    expected = results(small(cls, 2), sparse.csr_matrix(frame.to_numpy(float)), y)
    given = results(small(cls, 2), frame.astype(pd.SparseDtype(bool)), y)
    for name, values in expected.items():
        assert given[name].dtype == np.float64
        np.testing.assert_array_equal(given[name], values, err_msg=name)


@pytest.mark.parametrize("cls", ESTIMATORS)
def test_a_sparse_frame_without_zeros_is_dense(cls, small, global_random_seed):
    fill_value = np.nan if cls().__sklearn_tags__().input_tags.allow_nan else 2.0
    dense = booleans(global_random_seed).astype(float).replace(0.0, fill_value)
    y = np.arange(60) % 2
    expected = results(small(cls, 2), dense, y)
    given = results(small(cls, 2), dense.astype(pd.SparseDtype(float, fill_value)), y)
    for name, values in expected.items():
        np.testing.assert_array_equal(given[name], values, err_msg=name)


@pytest.mark.parametrize("cls", READS_SPARSE)
def test_entries_that_are_stored_several_times_are_added(cls, small, global_random_seed):
    X = np.random.RandomState(global_random_seed).normal(size=(60, 5))
    duplicated = with_duplicates(X, global_random_seed)
    entries = duplicated.data.copy()
    y = np.arange(60) % 2
    expected = results(small(cls, 2), sparse.csr_matrix(X), y)
    for name, values in results(small(cls, 2), duplicated, y).items():
        np.testing.assert_allclose(values, expected[name], rtol=1e-3, atol=1e-4, err_msg=name)
    np.testing.assert_array_equal(duplicated.data, entries)  # the caller's matrix is unchanged


def test_a_sum_of_stored_entries_that_is_infinite_is_refused():
    twice = sparse.csr_matrix(([1.7e308, 1.7e308], [0, 0], [0, 2]), shape=(1, 2))
    with pytest.raises(ValueError, match="sum is infinite"):
        validate_codes(twice, dtype=[np.float64])


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix])
def test_other_dtypes_become_the_first_that_is_asked_for(form):
    given = as_floats(form(np.eye(2, dtype=bool)), [np.float64, np.float32])
    assert given.dtype == np.float64


@pytest.mark.parametrize("cls", ESTIMATORS, ids=lambda cls: cls.__name__)
@pytest.mark.parametrize(
    "shape", [(5, 4), (5, 4, 3), (1, 5, 4), (3, 5, 4), (4, 4, 3), (2, 3, 3, 2)]
)
def test_images_are_refused_with_the_rows_to_pass(cls, shape, small, global_random_seed):
    images = np.random.RandomState(global_random_seed).uniform(size=(40, *shape))
    estimator = small(cls, n_components=2, max_iter=1)
    with pytest.raises(ValueError, match=rf"{cls.__name__}, got shape \(40, ") as error:
        estimator.fit(images, np.arange(40) % 2)
    assert len(re.findall("Autoencoder|Imputer|Scaler", str(error.value))) <= cls.__name__.count(
        "Autoencoder"
    ) + cls.__name__.count("Imputer")
    rows, given = re.search(
        r"pass (X.*-1\))(?: with image_shape=(.*))?\.$", str(error.value)
    ).groups()
    X = eval(rows, {"X": images, "len": len})
    if given is not None:
        estimator.set_params(image_shape=eval(given), hidden_layer_sizes=())
        by_channel = X.reshape(-1, *eval(given))
        channels_last = shape == (5, 4, 3)
        expected = np.moveaxis(images, 3, 1) if channels_last else images
        np.testing.assert_array_equal(by_channel, expected)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted = estimator.fit(X, np.arange(40) % 2)
    for method in (name for name in METHODS if hasattr(fitted, name)):
        with pytest.raises(ValueError, match=r"pass X\..*reshape\(len\(X\), -1\)\.$"):
            getattr(fitted, method)(images)


@pytest.mark.parametrize("cls", AUTOENCODERS, ids=lambda cls: cls.__name__)
@pytest.mark.parametrize("shape", [(5, 4), (5, 4, 3), (4, 4, 3)])
def test_images_of_a_given_shape_are_refused_with_rows_of_this_shape(
    cls, shape, small, global_random_seed
):
    images = np.random.RandomState(global_random_seed).uniform(size=(40, *shape))
    for axes in ((0, 1, 2), (2, 0, 1)):
        axes = axes[: len(shape)] if len(shape) == 3 else (0, 1)
        image_shape = tuple(np.array(shape)[list(axes)].tolist())
        with pytest.raises(ValueError, match=r"images, pass (.*-1\))\.$") as error:
            small(cls, 2, image_shape=image_shape, hidden_layer_sizes=()).fit(images)
        rows = re.search(r"pass (.*-1\))", str(error.value))[1]
        expected = images.transpose(0, *np.array(axes) + 1)
        np.testing.assert_array_equal(
            eval(rows, {"X": images, "len": len}).reshape(-1, *image_shape), expected
        )


@pytest.mark.parametrize("cls", ESTIMATORS, ids=lambda cls: cls.__name__)
@pytest.mark.parametrize("dtype", [np.float32, int])
def test_masked_entries_are_missing(cls, dtype, small, global_random_seed):
    rng = np.random.RandomState(global_random_seed)
    X, y = rng.randint(9, size=(40, 5)), np.arange(40) % 2
    mask = rng.uniform(size=X.shape) < 0.1
    masked = np.ma.array(X.astype(dtype), mask=mask)
    floats = np.where(mask, np.nan, X).astype(np.result_type(dtype, np.float32))
    expected = all_results(small(cls, 2, max_iter=2).fit(floats, y), floats)
    fitted = small(cls, 2, max_iter=2).fit(list(masked), y)  # rows in a list
    for name, values in all_results(fitted, masked).items():
        np.testing.assert_array_equal(values, expected[name], err_msg=name)
    if cls in AUTOENCODERS:
        codes = np.ma.array(expected["transform"], mask=expected["transform"] > 0)
        with pytest.raises(ValueError, match="X contains NaN"):
            small(cls, 2, max_iter=2).fit(floats).inverse_transform(codes)


@pytest.mark.parametrize("form", [np.array, pd.DataFrame, np.ndarray.tolist, list])
def test_dates_are_numbers_unless_one_is_missing(form):
    dates = np.arange(12).astype("M8[D]").reshape(4, 3)
    dates = dates.astype("M8[ns]") if form is pd.DataFrame else dates
    if form is not np.ndarray.tolist:  # Python's dates are no numbers
        assert as_numbers(form(dates)).shape == (4, 3)
    dates[1, 1] = "NaT"
    with pytest.raises((TypeError, ValueError), match="X must"):
        as_numbers(form(dates))


@pytest.mark.parametrize("cls", ESTIMATORS, ids=lambda cls: cls.__name__)
@pytest.mark.parametrize("library", [pd, pl])
def test_columns_of_dates_are_never_read_silently(cls, library, small):
    dates, y = np.arange(12).astype("M8[ms]"), np.arange(12) % 2
    estimator = small(cls, n_components=1, max_iter=1)
    with pytest.warns(FutureWarning, match="'due' of X has dates"):
        estimator.fit(library.DataFrame({"due": dates, "paid": dates}), y)
    if library is pd:
        with pytest.raises(TypeError, match=r"real numbers\. Column 'due' has the dtype datetime"):
            estimator.fit(library.DataFrame({"a": np.arange(12.0), "due": dates}), y)


@pytest.mark.parametrize("cls", ESTIMATORS, ids=lambda cls: cls.__name__)
def test_lazy_frames_are_refused_with_what_to_pass(cls, small):
    lazy = pl.DataFrame({"a": range(20), "b": range(20)}).lazy()
    with pytest.raises(TypeError, match=r"^X must be .* LazyFrame, .*: pass `X.collect\(\)`\.$"):
        small(cls).fit(lazy, np.arange(20) % 2)


@pytest.mark.parametrize("cls", ESTIMATORS, ids=lambda cls: cls.__name__)
def test_tensors_are_kept_or_refused_under_dispatch(cls, small, monkeypatch, global_random_seed):
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")
    X = np.random.RandomState(global_random_seed).uniform(size=(40, 5))
    y = np.arange(40) % 2
    fitted = small(cls, n_components=2, max_iter=2).fit(X, y)
    methods = [
        name for name in (*METHODS, "predict", "feature_contributions") if hasattr(fitted, name)
    ]
    with config_context(array_api_dispatch=True):
        if hasattr(fitted, "network_"):
            of_tensors = small(cls, n_components=2, max_iter=2).fit(torch.tensor(X), y)
            for name in methods:
                values = getattr(of_tensors, name)(torch.tensor(X))
                assert isinstance(values, torch.Tensor)
                np.testing.assert_array_equal(values, getattr(fitted, name)(X))
            return
        for call in [fitted.fit, *(getattr(fitted, name) for name in methods)]:
            arguments = (torch.tensor(X), y) if call == fitted.fit else (torch.tensor(X),)
            message = f"{cls.__name__} takes no arrays of torch .* NumPy array as `X`"
            with pytest.raises(TypeError, match=message):
                call(*arguments)
    # Without dispatch tensors become arrays.
    for name in methods:
        assert isinstance(getattr(fitted, name)(torch.tensor(X)), np.ndarray)


def test_labels_as_tensors_are_refused_under_dispatch(small, monkeypatch):
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")
    with (
        config_context(array_api_dispatch=True),
        pytest.raises(TypeError, match=r"AutoencoderClassifier .* NumPy array as `y`"),
    ):
        small(AutoencoderClassifier).fit(np.eye(40), torch.arange(40) % 2)


# Names that a message to the user of another estimator must not have.
OTHERS = [*skae.__all__, "StandardScaler", "SimpleImputer", "MissingIndicator", "NearestNeighbors"]


def wrong_rows(seed):
    """Rows that are refused, by what is wrong with them."""
    X = np.random.RandomState(seed).randn(40, 5)
    frame = pd.DataFrame(X, columns=list("abcde"))
    return {
        "infinite": np.where(np.arange(5) == 2, np.inf, X),
        "too wide": np.hstack([X, X]),
        "one axis": X[0],
        "three axes": X[:, :, None],
        "text": X.astype(str).astype(object) + "a",
        "complex": X + 1j,
        "no rows": X[:0],
        "no columns": X[:, :0],
        "other names": frame[list("edcba")],
        "all missing": np.full_like(X, np.nan),
        "too large": 1.7e308 * np.sign(X),
        "no names": X,
        "one row": X[:1],
    }


def said_of(call):
    """All that a call says: its warnings and its error."""
    said = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            call()
        except Exception as error:
            said.append(str(error))
    return said + [str(warning.message) for warning in caught]


@pytest.fixture(scope="module")
def fitted_to_names(small, global_random_seed):
    """A function that returns a model of a class, fitted to a data frame; not to be changed."""
    X = np.random.RandomState(global_random_seed + 1).randn(40, 5)
    frame, y = pd.DataFrame(X, columns=list("abcde")), np.arange(40) % 2
    return cache(lambda cls: small(cls, n_components=2, max_iter=2).fit(frame, y))


@pytest.mark.parametrize("cls", ESTIMATORS, ids=lambda cls: cls.__name__)
@pytest.mark.parametrize("wrong", wrong_rows(0))
def test_messages_name_no_other_estimator_and_no_cause_twice(
    cls, wrong, fitted_to_names, global_random_seed
):
    rows, y = wrong_rows(global_random_seed)[wrong], np.arange(40) % 2
    fitted = fitted_to_names(cls)
    calls = [lambda: clone(fitted).fit(rows, y[: len(rows)])]
    calls += [
        lambda method=method: getattr(fitted, method)(rows)
        for method in (*METHODS, "predict", "decision_function", "feature_contributions")
        if hasattr(fitted, method)
    ]
    for call in calls:
        said = said_of(call)
        assert len(said) == len(set(said)) <= 2
        assert sum("feature names" in text for text in said) <= 1
        for text in said:
            named = {name for name in OTHERS if re.search(rf"\b{name}\b", text)}
            if "Scale X first, with sklearn.preprocessing." not in text:
                assert named <= {cls.__name__}, text


FORMS = {
    "Fortran": np.asfortranarray,
    "backwards": lambda X: X[::-1, ::-1].copy()[::-1, ::-1],
    "frame": lambda X: pd.DataFrame(X.astype(bool)),
    "read-only big-endian": lambda X: np.frombuffer(X.astype(">f8").tobytes(), ">f8").reshape(
        X.shape
    ),
    "CSR": sparse.csr_matrix,
    "COO of Booleans": lambda X: sparse.coo_array(X.astype(bool)),
}


@pytest.mark.parametrize("cls", ESTIMATORS, ids=lambda cls: cls.__name__)
def test_equal_rows_in_another_form_have_equal_results(cls, small, global_random_seed):
    # Of zeros and ones: many rows are at equal distances.
    X = (np.random.RandomState(global_random_seed).uniform(size=(40, 6)) < 0.4).astype(float)
    y = np.arange(40) % 2
    expected = all_results(small(cls, 2, max_iter=2).fit(X, y), X)
    for form, convert in FORMS.items():
        if sparse.issparse(given := convert(X)) and cls not in READS_SPARSE:
            continue
        fitted = small(cls, 2, max_iter=2).fit(given, y)
        for name, values in all_results(fitted, given).items():
            tolerance = {"rtol": 1e-3, "atol": 1e-4}
            np.testing.assert_allclose(
                values, expected[name], **tolerance, err_msg=f"{form} {name}"
            )


@pytest.mark.parametrize(("entry", "kind"), [(10**400, ValueError), (1j, TypeError)])
def test_errors_about_other_parameters_name_them(entry, kind):
    with pytest.raises(kind, match="`weight`: "), naming("weight"):
        float(entry)
