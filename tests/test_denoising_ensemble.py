import pickle
import re
from dataclasses import fields

import joblib
import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.exceptions import NotFittedError
from sklearn.neighbors import NearestNeighbors

from skae import DenoisingEnsemble


@pytest.fixture
def small(global_random_seed):
    """A function that makes a small ensemble."""
    defaults = {"n_steps": 60, "hidden_layer_sizes": (16,), "random_state": global_random_seed}
    return lambda **parameters: DenoisingEnsemble(**(defaults | parameters))


# Scores.


def test_new_inliers_score_as_training_rows(small, global_random_seed):
    X = np.random.RandomState(global_random_seed).normal(size=(1000, 5))
    fitted = small().fit(X[:500])
    train, new = (fitted.score_samples(part).mean() for part in (X[:500], X[500:]))
    assert new == pytest.approx(train, rel=0.1)


def test_scores_equal_the_formula(digits, small):
    fitted = small().fit(digits)
    denoisers, n_networks = fitted.denoisers_, len(fitted.noise_levels)
    standard = (digits - denoisers.shift.numpy()) / denoisers.scale.numpy()
    with torch.no_grad():
        rows = denoisers.standard_rows(torch.tensor(digits))
        residual = standard - denoisers.denoise(rows).numpy()
    scale = np.sqrt((residual**2).mean(axis=1, keepdims=True))
    scale[n_networks:] = np.sqrt((residual[n_networks:] ** 2).mean(axis=(1, 2), keepdims=True))
    errors = np.sqrt(((residual / scale.clip(0.1)) ** 2).mean(axis=2))
    nearest = NearestNeighbors(n_neighbors=5).fit(standard).kneighbors(return_distance=False)
    local_errors = errors[:n_networks, nearest].mean(axis=2)
    errors[:n_networks] /= (local_errors + 0.1) / 1.1
    np.testing.assert_allclose(fitted.score_samples(digits), -errors.mean(axis=0))


def test_without_posterior_means_errors_are_not_divided_by_local_errors(digits, small):
    fitted = small(exact_levels=()).fit(digits)
    denoisers = fitted.denoisers_
    errors = denoisers.network_errors(torch.tensor(digits)).detach().numpy()
    np.testing.assert_allclose(fitted.score_samples(digits), -errors.mean(axis=0))


def test_the_mean_score_of_training_rows_is_near_minus_one(digits, small):
    # The root mean square of relative errors is one; their mean is somewhat smaller.
    varying = digits[:, digits.std(axis=0) > 0]
    assert -1.05 < small().fit(varying).score_samples(varying).mean() < -0.8


def test_scores_are_invariant_to_shift_and_scale_of_columns(digits, small, global_random_seed):
    rng = np.random.RandomState(global_random_seed)
    shift, scale = rng.normal(size=64), rng.uniform(0.1, 100, size=64)
    fitted, rescaled = small().fit(digits), small().fit(digits * scale + shift)
    # Networks are trained in float32.
    np.testing.assert_allclose(
        rescaled.score_samples(digits * scale + shift), fitted.score_samples(digits), rtol=1e-3
    )


def test_normal_rows_are_shrunk_by_bayes_rule(small, global_random_seed):
    # For N(0, 1) and noise s, the posterior mean is x / (1 + s^2): 1/2 and 1/5, and 4/5.
    X = np.random.RandomState(global_random_seed).normal(size=(4000, 1))
    levels = {"noise_levels": (1.0, 2.0), "exact_levels": (0.5, 1.0, 2.0)}
    fitted = small(**levels, n_steps=600, batch_size=256).fit(X)
    x = torch.linspace(-1, 1, 9, dtype=torch.float64)[:, None]
    with torch.no_grad():
        denoised = fitted.denoisers_.denoise(fitted.denoisers_.standard_rows(x))[..., 0]
    slopes = np.polyfit(x[:, 0].numpy(), denoised.T.numpy(), deg=1)[0]
    np.testing.assert_allclose(slopes, [0.5, 0.2, 0.8, 0.5, 0.2], atol=0.08)


def test_networks_of_low_noise_levels_reconstruct_more_details(digits, small):
    fitted = small(noise_levels=(0.2, 3.0), n_steps=200).fit(digits)
    errors = fitted.denoisers_.residual(torch.tensor(digits)).square().sum(2).mean(1)
    assert errors[0] < errors[1]


# Data formats.


def test_missing_values_are_left_out_of_the_score_and_filled(digits_with_gaps, small):
    fitted = small().fit(digits_with_gaps)
    missing = np.isnan(digits_with_gaps)
    assert (fitted.score_features(digits_with_gaps)[missing] == 0).all()
    assert np.isfinite(fitted.reconstruct(digits_with_gaps)).all()
    filled = np.where(missing, fitted.denoisers_.shift.numpy(), digits_with_gaps)
    np.testing.assert_allclose(fitted.reconstruct(digits_with_gaps), fitted.reconstruct(filled))


def test_empty_rows_and_empty_or_constant_columns_are_fitted(digits_with_gaps, small):
    X = digits_with_gaps.copy()
    X[:, 3], X[:, 4], X[5] = np.nan, 7.0, np.nan
    fitted = small().fit(X)
    assert np.isfinite(fitted.score_samples(X)).all()
    assert fitted.score_samples(X)[5] == 0


def test_a_change_in_a_constant_column_lowers_the_score(digits, small):
    X = np.c_[digits[:, 20:30], np.full(300, 1e6)]
    fitted = small().fit(X[1:])
    outlier = X[:1].copy()
    outlier[0, -1] *= 2
    assert fitted.score_features(outlier)[0].argmin() == 10
    assert fitted.score_samples(outlier) < fitted.score_samples(X[:1])


def test_inference_is_row_by_row(digits, small):
    fitted = small().fit(digits)
    scores = fitted.score_samples(np.tile(digits, (10, 1)))
    np.testing.assert_allclose(scores[:300], scores[-300:], rtol=1e-10)
    np.testing.assert_allclose(fitted.score_samples(digits[[7]]), scores[[7]], rtol=1e-10)


def test_scores_of_sparse_and_of_float32_rows_equal_those_of_dense_float64_rows(digits, small):
    fitted = small().fit(digits)
    expected = fitted.score_samples(digits)
    np.testing.assert_allclose(fitted.score_samples(sparse.csr_array(digits)), expected)
    single = fitted.score_samples(digits.astype(np.float32))
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, expected, rtol=1e-3)
    from_sparse = small().fit(sparse.csr_array(digits))
    np.testing.assert_allclose(from_sparse.score_samples(digits), expected, rtol=1e-3)


# Random state, pickles and parameters.


def test_a_second_fit_and_a_pickle_are_bitwise_identical(digits, small):
    first, second = small().fit(digits), small().fit(digits)
    for other in (second, pickle.loads(pickle.dumps(first))):
        np.testing.assert_array_equal(other.score_samples(digits), first.score_samples(digits))
        assert joblib.hash(other) == joblib.hash(first)


def test_the_global_generator_is_unchanged(digits, small):
    before = torch.get_rng_state().tolist()
    small().fit(digits)
    assert torch.get_rng_state().tolist() == before


def test_parameters_are_documented_with_their_defaults():
    for declared in fields(DenoisingEnsemble):
        entry = re.search(rf"^    {declared.name} : (.+)$", DenoisingEnsemble.__doc__, re.MULTILINE)
        assert eval(re.search(r"default=(.+)$", entry[1])[1]) == declared.default


@pytest.mark.parametrize(
    "wrong",
    [
        {"noise_levels": ()},
        {"noise_levels": (1.0, 0.0)},
        {"noise_levels": -1.0},
        {"n_steps": 0},
        {"activation": "sine"},
        {"hidden_layer_sizes": (0,)},
        {"device": 3},
    ],
)
def test_the_error_for_a_bad_parameter_names_it(digits, small, wrong):
    estimator = small(**wrong)
    with pytest.raises((ValueError, TypeError), match=f"`{next(iter(wrong))}` must be .* got"):
        estimator.fit(digits)
    with pytest.raises(NotFittedError):
        estimator.score_samples(digits)


def test_the_error_for_a_diverging_fit_names_the_learning_rate(digits, small):
    with pytest.raises(ValueError, match=r"with `learning_rate_init` = 1e\+30"):
        small(learning_rate_init=1e30, activation="relu").fit(digits)


@pytest.mark.parametrize("global_distances", [False, True])
def test_equal_numbers_have_equal_scores_in_float32_and_float64(
    small, global_distances, global_random_seed
):
    rng = np.random.RandomState(global_random_seed)
    far, offset = rng.normal(size=(21, 4)), rng.normal(size=(30, 3)) + 20
    far[0] *= 1e6
    for X in (far, offset, np.stack([offset[0], -offset[0]])):
        rounded = X.astype(np.float32)
        fitted = small(global_distances=global_distances).fit(X)
        expected = fitted.score_samples(rounded.astype(np.float64))
        np.testing.assert_allclose(fitted.score_samples(rounded), expected, rtol=1e-6)
        # Rows of `fit` are recognised after rounding.
        np.testing.assert_allclose(fitted.score_samples(X), expected, rtol=1e-3)


def test_features_that_are_zero_in_fit_have_the_unit_of_the_others(small, global_random_seed):
    X = np.random.RandomState(global_random_seed).normal(size=(30, 3)) * [1, 1, 0]
    expected = small().fit(X).score_samples(X + 1)
    np.testing.assert_allclose(small().fit(4 * X).score_samples(4 * (X + 1)), expected)
