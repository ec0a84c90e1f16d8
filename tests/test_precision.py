"""Data in any units, and rows at any distance, give what float64 gives."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from conftest import AUTOENCODERS, ESTIMATORS, RECONSTRUCTING, all_results
from scipy.stats import rankdata

import skae
from skae._losses.corruption import CORRUPTIONS
from skae._nn.precision import saturated

SCALES = [1e-38, 1e-22, 1e17, 1e33]
ROWWISE = ("transform", "reconstruct", "score_samples", "score_features", "decision_function")
WITH_CORRUPTIONS = [(cls, {}) for cls in AUTOENCODERS] + [
    (cls, {"corruption": name, "corruption_level": 0.3})
    for cls in AUTOENCODERS
    if hasattr(cls, "corruption")
    for name in CORRUPTIONS
]
LABELS = np.arange(80) % 3


def ids(cls):
    return cls.__name__


def rows_of(seed):
    """80 rows near a plane, and their third column is a square."""
    rng = np.random.RandomState(seed)
    X = rng.normal(size=(80, 2)) @ rng.normal(size=(2, 5)) + 0.1 * rng.normal(size=(80, 5))
    X[:, 2] = X[:, 0] ** 2
    return X


def results(estimator, X):
    names = [name for name in ROWWISE if hasattr(estimator, name)]
    return {name: np.asarray(getattr(estimator, name)(X)) for name in names}


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("cls", ESTIMATORS, ids=ids)
def test_units_of_float32_rows_do_not_matter(cls, scale, small, global_random_seed):
    X = rows_of(global_random_seed)
    single = (X * scale).astype(np.float32)
    fitted = small(cls, 2, max_iter=2).fit(single, LABELS)
    double = small(cls, 2, max_iter=2).fit(single.astype(float), LABELS)
    of_double = results(double, single.astype(float))
    for name, values in results(fitted, single).items():
        assert np.isfinite(values).all(), name
        # Numbers beyond those of float32 become the largest one, or zero.
        limits = np.finfo(values.dtype)
        expected = of_double[name].clip(limits.min, limits.max)
        tolerance = 1e-3 * np.abs(expected).max() + 2 * float(limits.smallest_subnormal)
        np.testing.assert_allclose(values, expected, rtol=0, atol=tolerance, err_msg=name)
    for name, value in vars(fitted).items():
        if isinstance(value, np.ndarray) and value.dtype.kind == "f":
            assert np.isfinite(value).all(), name


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("cls", ESTIMATORS, ids=ids)
def test_a_finite_row_has_finite_results_whatever_its_size(cls, dtype, small, global_random_seed):
    X = rows_of(global_random_seed).astype(dtype)
    fitted = small(cls, 2).fit(X, LABELS)
    largest = np.finfo(dtype).max
    far = np.repeat(X[:1], 6, axis=0)
    far[0, 1], far[1] = largest, -largest
    far[2, 0], far[3] = largest**0.5, far[3] * dtype(1e15)
    far[4], far[5, 4] = dtype(0.99) * largest * np.sign(far[4]), 1e9
    for name, values in results(fitted, far).items():
        assert np.isfinite(values).all(), name
    if hasattr(fitted, "inverse_transform") and hasattr(fitted, "n_components_"):
        codes = np.full((2, fitted.n_components_), largest, dtype)
        assert np.isfinite(fitted.inverse_transform(codes)).all()
    if hasattr(fitted, "predict_proba"):
        np.testing.assert_allclose(fitted.predict_proba(far).sum(1), 1, rtol=1e-5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("loss", ["absolute_error", "poisson"])
@pytest.mark.parametrize("cls", AUTOENCODERS, ids=ids)
def test_a_finite_row_has_finite_results_with_any_loss(cls, loss, dtype, small, global_random_seed):
    X = np.abs(rows_of(global_random_seed)).astype(dtype)
    fitted = small(cls, 2, max_iter=1, loss=loss).fit(X)
    far, largest = np.repeat(X[:1], 4, axis=0), np.finfo(dtype).max
    far[0], far[1, 1], far[2], far[3] = far[0] * dtype(1e10), largest**0.5, largest, 1e30
    for name, values in all_results(fitted, np.tile(far, (9, 1))).items():
        assert np.isfinite(values).all(), name
    for codes in np.eye(2, dtype=dtype) * largest, -np.eye(2, dtype=dtype) * largest:
        assert np.isfinite(fitted.inverse_transform(codes)).all()


@pytest.mark.parametrize("cls", ESTIMATORS, ids=ids)
def test_a_far_float32_row_has_the_results_of_float64(cls, small, global_random_seed):
    X = rows_of(global_random_seed).astype(np.float32)
    fitted = small(cls, 2).fit(X, LABELS)
    far = np.repeat(X[:1], 3, axis=0)
    far[0, 1], far[1], far[2, 3] = 3e8, far[1] * np.float32(1e12), -1e17
    expected = results(fitted, far.astype(float))
    for name, values in results(fitted, far).items():
        limits = np.finfo(values.dtype)
        clipped = expected[name].clip(limits.min, limits.max)
        size = np.abs(clipped).max(axis=-1, keepdims=clipped.ndim > 1)
        assert (np.abs(values - clipped) <= 1e-3 * size).all(), name


@pytest.mark.parametrize("cls", [skae.AutoencoderOutlierDetector, skae.DenoisingEnsemble], ids=ids)
def test_float32_columns_far_from_zero_are_ranked_as_in_float64(cls, small, global_random_seed):
    X = (rows_of(global_random_seed) + 3e5).astype(np.float32)
    single, double = (small(cls, 2).fit(Z).score_samples(Z) for Z in (X, X.astype(float)))
    assert np.corrcoef(rankdata(single), rankdata(double))[0, 1] > 0.98


@pytest.mark.parametrize("method", ["score_samples", "score_features"])
@pytest.mark.parametrize("cls", RECONSTRUCTING, ids=ids)
def test_small_errors_of_large_rows_are_those_of_float64(cls, method, small, global_random_seed):
    X = (rows_of(global_random_seed) * [1, 1, 1e6, 1e7, 1]).astype(np.float32)
    estimator = small(cls, 2, max_iter=1)
    single, double = (getattr(estimator.fit(Z), method)(Z) for Z in (X, X.astype(float)))
    np.testing.assert_allclose(single, double, rtol=1e-3, atol=1e-3 * np.abs(double).max())


@pytest.mark.parametrize("unit", [[1e9, 1, 1, 1, 1], [1e9, 1e9, 1, 1, 1]], ids=["one", "two"])
@pytest.mark.parametrize("offset", [0, 1e7])
@pytest.mark.parametrize(("cls", "parameters"), WITH_CORRUPTIONS)
@pytest.mark.filterwarnings("ignore:.* of the variance is in . of 5 columns:UserWarning")
@pytest.mark.filterwarnings("ignore:.*components:sklearn.exceptions.ConvergenceWarning")
def test_units_and_offsets_of_columns_do_not_matter(
    cls, parameters, unit, offset, small, global_random_seed
):
    X = (rows_of(global_random_seed) * unit + offset).astype(np.float32)
    fitted = small(cls, 2, max_iter=2, **parameters).fit(X)
    single, double = results(fitted, X), results(fitted, X.astype(float))
    for name, expected in double.items():
        size = np.abs(expected).max(axis=0)
        assert (np.abs(single[name] - expected) <= 1e-4 * size).all(), name


@pytest.mark.parametrize("is_replaced", [False, True])
@pytest.mark.parametrize("cls", [skae.AutoencoderTransformer, skae.DenoisingEnsemble], ids=ids)
def test_units_that_are_changed_by_hand_are_noticed(cls, is_replaced, small, global_random_seed):
    X = rows_of(global_random_seed).astype(np.float32)
    fitted = small(cls, 2).fit(X)
    fitted.score_samples(X)
    network = fitted.denoisers_ if cls is skae.DenoisingEnsemble else fitted.network_
    # In float32, 1e6 + 0.01 is 1e6, so that float64 is needed from here on.
    moved = network.shift + 1e6
    if is_replaced:
        network.shift = moved
    else:
        network.shift.copy_(moved)
    rows = (X + 1e6).astype(np.float32)
    np.testing.assert_array_equal(fitted.score_samples(rows), deepcopy(fitted).score_samples(rows))


@pytest.mark.parametrize("cls", ESTIMATORS, ids=ids)
def test_a_row_that_is_repeated_can_be_fitted(cls, small, global_random_seed):
    X = np.repeat(rows_of(global_random_seed)[:1], 80, axis=0)
    for values in results(small(cls, 2).fit(X, LABELS), X).values():
        assert np.isfinite(values).all()


def test_numbers_beyond_a_precision_become_its_largest_one():
    given = saturated(torch.tensor([1e300, -1e300, torch.nan], dtype=torch.float64), torch.float32)
    limit = torch.finfo(torch.float32).max
    torch.testing.assert_close(given, torch.tensor([limit, -limit, torch.nan]), equal_nan=True)
