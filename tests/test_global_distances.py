"""Distances from most of the training rows."""

import numpy as np
import pytest
import torch
from sklearn.covariance import OAS
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors

from skae import DenoisingEnsemble
from skae._outliers.denoisers import PreparedRows
from skae._outliers.global_distances import QUANTILES, CentralGaussian, GlobalDistances


@pytest.fixture
def rng(global_random_seed):
    return np.random.RandomState(global_random_seed)


def observed(x):
    return PreparedRows(x, torch.zeros_like(x, dtype=torch.bool), near=None)


@pytest.mark.parametrize("shape", [(200, 5), (12, 30)])
def test_whitened_rows_have_the_mahalanobis_distance_of_a_shrunk_covariance_matrix(shape, rng):
    X = rng.normal(size=shape) @ rng.normal(size=(shape[1], shape[1]))
    gaussian = CentralGaussian(torch.from_numpy(X))
    squares = gaussian.squares(torch.from_numpy(X)).sum(1).numpy()
    np.testing.assert_allclose(squares, OAS().fit(X).mahalanobis(X), rtol=1e-3)


def test_the_central_half_does_not_contain_outliers(rng):
    X = np.r_[rng.normal(size=(90, 4)), 20 + 0.01 * rng.normal(size=(30, 4))]
    rows = torch.from_numpy(X)
    distances = rows.square().sum(1)
    distances[90:95] = 0  # some are in the first half
    gaussian = CentralGaussian.of_central(rows, distances)
    expected = OAS().fit(X[:90]).mahalanobis(X[90:])
    assert (gaussian.squares(rows[90:]).sum(1).numpy() > expected / 2).all()


def test_distances_from_a_tenth_of_the_rows(rng):
    X = rng.normal(size=(60, 3))
    distances = GlobalDistances(torch.from_numpy(X))
    squares = distances.squares(observed(torch.from_numpy(X)))[1].sum(1).numpy()
    expected = NearestNeighbors(n_neighbors=6).fit(X).kneighbors()[0]
    np.testing.assert_allclose(squares, (expected**2).mean(axis=1) / 3)


def test_distances_and_errors_have_the_same_median_and_ninth_decile(rng):
    distances = GlobalDistances(torch.from_numpy(rng.normal(size=(300, 4))))
    squares = distances.squares(observed(distances.rows))
    errors = torch.from_numpy(rng.lognormal(size=300))
    distances.calibrate(squares.sum(2).sqrt(), errors)
    for only in ([1.0, 0.0], [0.0, 1.0]):  # each distance by itself, as all else is zero
        alone = squares * torch.tensor(only).double()[:, None, None]
        scaled = distances.largest(torch.zeros_like(squares[0]), alone).sum(1)
        for quantile in QUANTILES:
            got, expected = scaled.quantile(quantile), errors.quantile(quantile)
            assert got.item() == pytest.approx(expected.item(), rel=0.02)


def test_the_parts_are_those_of_the_largest_measure(rng):
    rows = torch.from_numpy(rng.normal(size=(50, 3)))
    distances = GlobalDistances(rows)
    squares = distances.squares(observed(rows))
    distances.calibrate(squares.sum(2).sqrt(), torch.from_numpy(rng.lognormal(size=50)))
    zero = torch.zeros_like(rows)
    alone = [
        distances.largest(zero, torch.stack([squares[0], zero])).sum(1),
        distances.largest(zero, torch.stack([zero, squares[1]])).sum(1),
    ]
    errors = torch.from_numpy(rng.lognormal(size=rows.shape))
    got = distances.largest(errors, squares)
    expected = torch.stack([errors.sum(1), *alone]).amax(0)
    torch.testing.assert_close(got.sum(1), expected)
    is_error = errors.sum(1) == expected
    torch.testing.assert_close(got[is_error], errors[is_error])
    assert (got >= 0).all()


def test_a_group_of_outliers_in_fit_is_found(rng):
    inliers = rng.normal(size=(380, 6))
    X = np.r_[inliers, 5 + 0.1 * rng.normal(size=(20, 6))]
    is_outlier = np.arange(400) >= 380
    parameters = {"random_state": rng.randint(100), "n_steps": 100}
    alone, both = (
        roc_auc_score(
            is_outlier, -DenoisingEnsemble(global_distances=g, **parameters).fit(X).score_samples(X)
        )
        for g in (False, True)
    )
    assert both > max(0.99, alone)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", ["constant", "equal rows", "two rows", "mostly zeros", "wide"])
def test_scores_are_finite(kind, dtype, rng):
    X = {
        "constant": np.c_[np.ones(50), rng.normal(size=50)],
        "equal rows": np.ones((50, 3)),
        "two rows": rng.normal(size=(2, 3)),
        "mostly zeros": (rng.uniform(size=(60, 4)) > 0.95) * 1.0,
        "wide": rng.normal(size=(8, 40)),
    }[kind].astype(dtype)
    fitted = DenoisingEnsemble(global_distances=True, n_steps=2, random_state=0).fit(X)
    largest = np.sqrt(np.finfo(dtype).max).astype(dtype)
    for rows in (X, X + 1, X * 0 + largest):
        assert np.isfinite(fitted.score_samples(rows)).all()
        parts = fitted.score_features(rows)
        assert np.isfinite(parts).all()
        assert (parts <= 0).all()


def test_of_very_wide_rows_few_are_stored(monkeypatch, rng):
    monkeypatch.setattr("skae._outliers.denoising_ensemble.MAX_STORED", 300)
    X = rng.normal(size=(40, 20))
    fitted = DenoisingEnsemble(global_distances=True, n_steps=2).fit(X)
    assert len(fitted.denoisers_.posterior_means.rows) == 15
    assert np.isfinite(fitted.score_samples(X)).all()
    fitted = DenoisingEnsemble(n_steps=2).fit(rng.normal(size=(3, 400)))
    assert len(fitted.denoisers_.posterior_means.rows) == 1
