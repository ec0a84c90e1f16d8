"""Denoisers of several noise levels: one stack, equal to networks of their own."""

import pickle
import re
from dataclasses import fields

import joblib
import numpy as np
import pytest
import torch
from scipy import sparse
from scipy.stats import multivariate_normal
from sklearn.exceptions import NotFittedError
from sklearn.neighbors import NearestNeighbors

from skae import DenoisingEnsemble
from skae._outliers.denoisers import Denoisers, PosteriorMeanDenoisers, dense_networks
from skae._training.pca import Moments


def small(**parameters):
    defaults = {"n_steps": 60, "hidden_layer_sizes": (16,), "random_state": 0}
    return DenoisingEnsemble(**(defaults | parameters))


def test_a_stack_is_its_networks_one_by_one():
    generator = torch.Generator().manual_seed(0)
    stack = dense_networks(3, (5, 8, 4), "tanh", 1.0, generator).double()
    x = torch.randn(3, 7, 5, dtype=torch.float64, generator=generator)
    for k, answer in enumerate(stack(x)):
        hidden = torch.tanh(x[k] @ stack[0].weight[k] + stack[0].bias[k])
        torch.testing.assert_close(answer, hidden @ stack[2].weight[k] + stack[2].bias[k])


def test_a_network_of_a_stack_has_the_gradient_it_would_have_alone():
    generator = torch.Generator().manual_seed(0)
    stack = dense_networks(2, (3, 6, 3), "tanh", 1.0, generator)
    x = torch.randn(2, 9, 3, generator=generator)
    stack(x).square().sum().backward()
    weights = stack[0].weight, stack[2].weight
    together = [weight.grad[0].clone() for weight in weights]
    for weight in weights:
        weight.grad = None
    stack(x)[0].square().sum().backward()
    for weight, expected in zip(weights, together, strict=True):
        torch.testing.assert_close(weight.grad[0], expected)
        assert not weight.grad[1].any()


def test_the_score_by_hand():
    # Two networks that give nothing back, of levels 1 and 2, rows already standard; the usual
    # errors are 1 and 2. Errors of the row (3, 4): sqrt((9 + 16) / 2) and half of it.
    units = Moments(np.zeros(2), np.ones(2), 1.0)
    networks = dense_networks(2, (2, 2), "tanh", 0.0, torch.Generator())
    networks[0].bias.data.zero_()
    denoisers = Denoisers(networks, (1.0, 2.0), units).double()
    denoisers.error_scale[1] = 2
    errors = denoisers.errors(torch.tensor([[3.0, 4.0]], dtype=torch.float64)).detach()
    assert errors.sum().item() == pytest.approx(0.75 * np.sqrt(12.5))
    assert (errors[0, 1] / errors[0, 0]).item() == pytest.approx(16 / 9)


def test_an_exact_denoiser_is_the_mean_of_the_rows_given_the_noisy_one():
    rng = np.random.RandomState(0)
    rows, x, level = rng.normal(size=(20, 3)), rng.normal(size=(6, 3)), 0.7
    likelihood = multivariate_normal(cov=level**2 * np.eye(3)).pdf(x[:, None] - rows)
    expected = likelihood @ rows / likelihood.sum(axis=1, keepdims=True)
    exact = PosteriorMeanDenoisers(torch.from_numpy(rows), (level, 1e-3, 1e3))
    answers = exact(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(answers[0], expected)
    nearest = NearestNeighbors(n_neighbors=1).fit(rows).kneighbors(x, return_distance=False)
    np.testing.assert_allclose(answers[1], rows[nearest[:, 0]])
    np.testing.assert_allclose(answers[2], np.tile(rows.mean(axis=0), (6, 1)), atol=1e-5)


def test_a_kept_row_is_restored_from_the_others():
    rows = torch.from_numpy(np.random.RandomState(0).normal(size=(9, 4)))
    together = PosteriorMeanDenoisers(rows, (0.5,))(rows)[0]
    for i, answer in enumerate(together):
        others = PosteriorMeanDenoisers(torch.cat([rows[:i], rows[i + 1 :]]), (0.5,))
        torch.testing.assert_close(answer, others(rows[i : i + 1])[0, 0])


def test_new_usual_rows_score_as_training_rows_do():
    X = np.random.RandomState(0).normal(size=(400, 5))
    fitted = small().fit(X[:200])
    seen, new = (fitted.score_samples(part).mean() for part in (X[:200], X[200:]))
    assert new == pytest.approx(seen, rel=0.1)


def test_the_score_from_what_the_denoisers_give_back(digits):
    fitted = small().fit(digits)
    denoisers, n_networks = fitted.denoisers_, len(fitted.noise_levels)
    standard = (digits - denoisers.shift.numpy()) / denoisers.scale.numpy()
    with torch.no_grad():
        left = standard - denoisers.restore(torch.from_numpy(standard)).numpy()
    usual = np.sqrt((left**2).mean(axis=1, keepdims=True))
    usual[n_networks:] = np.sqrt((left[n_networks:] ** 2).mean(axis=(1, 2), keepdims=True))
    errors = np.sqrt(((left / usual.clip(0.1)) ** 2).mean(axis=2))
    others = NearestNeighbors(n_neighbors=5).fit(standard).kneighbors(return_distance=False)
    nearby = errors[:n_networks, others].mean(axis=2)
    errors[:n_networks] /= (nearby + 0.1) / 1.1
    np.testing.assert_allclose(fitted.score_samples(digits), -errors.mean(axis=0))


def test_without_exact_denoisers_nothing_is_known_of_nearby_rows(digits):
    fitted = small(exact_levels=()).fit(digits)
    denoisers = fitted.denoisers_
    errors = denoisers.network_errors(torch.tensor(digits)).detach().numpy()
    np.testing.assert_allclose(fitted.score_samples(digits), -errors.mean(axis=0))


def test_a_typical_training_row_scores_minus_one(digits):
    # Each feature's error is one in root mean square; the mean of a root is a little below.
    varying = digits[:, digits.std(axis=0) > 0]
    assert -1.05 < small().fit(varying).score_samples(varying).mean() < -0.8


def test_columns_may_be_shifted_and_scaled_one_by_one(digits):
    rng = np.random.RandomState(0)
    shift, scale = rng.normal(size=64), rng.uniform(0.1, 100, size=64)
    one, other = small().fit(digits), small().fit(digits * scale + shift)
    # Rounding of float32 training.
    np.testing.assert_allclose(
        one.score_samples(digits), other.score_samples(digits * scale + shift), rtol=1e-3
    )


def test_a_denoiser_of_normal_rows_is_nearly_the_shrinkage_of_bayes():
    # For N(0, 1) and noise s, the best answer to x is x / (1 + s^2): here 1/2 and 1/5, and 4/5.
    X = np.random.RandomState(0).normal(size=(4000, 1))
    levels = {"noise_levels": (1.0, 2.0), "exact_levels": (0.5, 1.0, 2.0)}
    fitted = small(**levels, n_steps=600, batch_size=256).fit(X)
    x = torch.linspace(-1, 1, 9, dtype=torch.float64)[:, None]
    with torch.no_grad():
        restored = fitted.denoisers_.restore(x - fitted.denoisers_.shift).numpy()[..., 0]
    slopes = np.polyfit(x[:, 0].numpy(), restored.T, deg=1)[0]
    np.testing.assert_allclose(slopes, [0.5, 0.2, 0.8, 0.5, 0.2], atol=0.08)


def test_levels_are_learned_apart(digits):
    # A network's weights do not depend on which others are in the stack, chance aside.
    fitted = small(noise_levels=(0.2, 3.0)).fit(digits)
    x = torch.tensor(digits)
    left = fitted.denoisers_.left_over(x).square().sum(2).mean(1)
    assert left[0] < left[1]  # the details are lost at the high level only


def test_missing_values_are_not_charged_and_come_back(digits, digits_with_gaps):
    fitted = small().fit(digits_with_gaps)
    missing = np.isnan(digits_with_gaps)
    assert (fitted.score_features(digits_with_gaps)[missing] == 0).all()
    assert np.isfinite(fitted.reconstruct(digits_with_gaps)).all()
    filled = np.where(missing, fitted.denoisers_.shift.numpy(), digits_with_gaps)
    np.testing.assert_allclose(fitted.reconstruct(digits_with_gaps), fitted.reconstruct(filled))


def test_rows_columns_and_gaps_that_say_nothing_are_survived(digits_with_gaps):
    X = digits_with_gaps.copy()
    X[:, 3], X[:, 4], X[5] = np.nan, 7.0, np.nan
    fitted = small().fit(X)
    assert np.isfinite(fitted.score_samples(X)).all()
    assert fitted.score_samples(X)[5] == 0


def test_a_column_that_never_varied_gives_away_who_varies_it(digits):
    X = np.c_[digits[:, 20:30], np.full(300, 1e6)]
    fitted = small().fit(X[1:])  # a kept row is restored from the others: compare a new one
    odd = X[:1].copy()
    odd[0, -1] *= 2
    assert fitted.score_features(odd)[0].argmin() == 10
    assert fitted.score_samples(odd) < fitted.score_samples(X[:1])


def test_inference_is_by_row(digits):
    fitted = small().fit(digits)
    together = fitted.score_samples(np.tile(digits, (10, 1)))
    np.testing.assert_allclose(together[:300], together[-300:], rtol=1e-10)
    np.testing.assert_allclose(fitted.score_samples(digits[[7]]), together[[7]], rtol=1e-10)


def test_sparse_rows_and_float32_are_the_same_rows(digits):
    fitted = small().fit(digits)
    expected = fitted.score_samples(digits)
    np.testing.assert_allclose(fitted.score_samples(sparse.csr_array(digits)), expected)
    single = fitted.score_samples(digits.astype(np.float32))
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, expected, rtol=1e-3)
    other = small().fit(sparse.csr_array(digits))
    np.testing.assert_allclose(other.score_samples(digits), expected, rtol=1e-3)


def test_two_fits_agree_to_the_bit_and_pickles_too(digits):
    first, second = small().fit(digits), small().fit(digits)
    again = pickle.loads(pickle.dumps(first))
    for other in (second, again):
        np.testing.assert_array_equal(other.score_samples(digits), first.score_samples(digits))
        assert joblib.hash(other) == joblib.hash(first)


def test_global_chance_is_left_alone(digits):
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
        {"noise_levels": 1.0},
        {"n_steps": 0},
        {"activation": "sine"},
        {"hidden_layer_sizes": (0,)},
        {"device": 3},
    ],
)
def test_a_bad_parameter_is_refused_by_name(digits, wrong):
    estimator = small(**wrong)
    with pytest.raises((ValueError, TypeError), match=f"`{next(iter(wrong))}` must be .* got"):
        estimator.fit(digits)
    with pytest.raises(NotFittedError):
        estimator.score_samples(digits)


def test_a_training_that_leaves_the_finite_numbers_says_so(digits):
    with pytest.raises(ValueError, match=r"`learning_rate_init` = .* too large"):
        small(learning_rate_init=1e30, activation="relu").fit(digits)
