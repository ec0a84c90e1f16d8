import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from sklearn.neighbors import NearestNeighbors

from skae._data.moments import Moments
from skae._outliers.denoisers import (
    MIN_ERROR_SCALE,
    Denoisers,
    PosteriorMeanDenoisers,
    dense_networks,
    error_scale,
)


@pytest.fixture
def generator(global_random_seed):
    return torch.Generator().manual_seed(global_random_seed)


@pytest.fixture
def rng(global_random_seed):
    return np.random.RandomState(global_random_seed)


def test_batched_networks_equal_separate_networks(generator):
    networks = dense_networks(3, (5, 8, 4), "tanh", 1.0, generator).double()
    x = torch.randn(3, 7, 5, dtype=torch.float64, generator=generator)
    for k, output in enumerate(networks(x)):
        hidden = torch.tanh(x[k] @ networks[0].weight[k] + networks[0].bias[k])
        torch.testing.assert_close(output, hidden @ networks[2].weight[k] + networks[2].bias[k])


def test_gradients_of_batched_networks_are_independent(generator):
    networks = dense_networks(2, (3, 6, 3), "tanh", 1.0, generator)
    x = torch.randn(2, 9, 3, generator=generator)
    weights = networks[0].weight, networks[2].weight
    expected = torch.autograd.grad(networks(x).square().sum(), weights)
    gradients = torch.autograd.grad(networks(x)[0].square().sum(), weights)
    for gradient, both in zip(gradients, expected, strict=True):
        torch.testing.assert_close(gradient[0], both[0])
        assert not gradient[1].any()


def test_posterior_mean_denoisers_equal_the_formula(rng):
    rows, x, level = rng.normal(size=(20, 3)), rng.normal(size=(6, 3)), 0.7
    likelihood = multivariate_normal(cov=level**2 * np.eye(3)).pdf(x[:, None] - rows)
    expected = likelihood @ rows / likelihood.sum(axis=1, keepdims=True)
    denoisers = PosteriorMeanDenoisers(torch.from_numpy(rows), (level, 1e-3, 1e3))
    denoised = denoisers(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(denoised[0], expected)
    nearest = NearestNeighbors(n_neighbors=1).fit(rows).kneighbors(x, return_distance=False)
    np.testing.assert_allclose(denoised[1], rows[nearest[:, 0]])
    np.testing.assert_allclose(denoised[2], np.tile(rows.mean(axis=0), (6, 1)), atol=1e-5)


def test_a_stored_row_is_denoised_by_the_others(rng):
    rows = torch.from_numpy(rng.normal(size=(9, 4)))
    denoised = PosteriorMeanDenoisers(rows, (0.5,))(rows)[0]
    for i, row in enumerate(denoised):
        others = PosteriorMeanDenoisers(torch.cat([rows[:i], rows[i + 1 :]]), (0.5,))
        torch.testing.assert_close(row, others(rows[i : i + 1])[0, 0])


def test_errors_of_networks_with_zero_output():
    # The residual of the row (3, 4) is the row itself. Error scales are 1 and 2: the root mean
    # square errors are sqrt((9 + 16) / 2) and half of it.
    units = Moments(np.zeros(2), np.ones(2), 1.0)
    networks = dense_networks(2, (2, 2), "tanh", 0.0, torch.Generator())
    networks[0].bias.data.zero_()
    denoisers = Denoisers(networks, (1.0, 2.0), units).double()
    denoisers.error_scale[1] = 2
    errors = denoisers.errors(torch.tensor([[3.0, 4.0]], dtype=torch.float64)).detach()
    assert errors.sum().item() == pytest.approx(0.75 * np.sqrt(12.5))
    assert (errors[0, 1] / errors[0, 0]).item() == pytest.approx(16 / 9)


def test_error_scale_of_posterior_means_is_one_number(rng):
    residual = rng.normal(size=(3, 50, 4)) * [1.0, 2.0, 3.0, 1e-9]
    squares = torch.from_numpy((residual**2).sum(axis=1, keepdims=True))
    scale = error_scale(squares, torch.full((4,), 50.0), n_networks=2).numpy()
    by_feature = np.sqrt((residual[:2] ** 2).mean(axis=1, keepdims=True))
    np.testing.assert_allclose(scale[:2], by_feature.clip(MIN_ERROR_SCALE))
    np.testing.assert_allclose(scale[2], np.full((1, 4), np.sqrt((residual[2] ** 2).mean())))
