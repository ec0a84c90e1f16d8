"""Networks for few wide rows, trained in coordinates of the space that the rows span."""

import numpy as np
import pytest
import torch
from scipy import sparse

from skae import DenoisingEnsemble
from skae._data.moments import moments
from skae._outliers.denoisers import Denoisers, dense_networks
from skae._outliers.wide_rows import spanned_space


@pytest.fixture
def rng(global_random_seed):
    return np.random.RandomState(global_random_seed)


def denoisers_of(units, seed):
    sizes = (len(units.mean), 8, 8, len(units.mean))
    networks = dense_networks(2, sizes, "tanh", 2.0, torch.Generator().manual_seed(seed))
    return Denoisers(networks, (0.2, 1.5), units).double()


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_array])
def test_expanded_networks_denoise_as_those_of_the_coordinates(form, rng, global_random_seed):
    X = rng.normal(size=(12, 30)) * rng.uniform(0.1, 10, size=30) + 3
    X[3], X[:, 5] = X[2], 2.0
    units = moments(form(X))
    space = spanned_space(form(X), units)
    reduced, full = (denoisers_of(u, global_random_seed) for u in (space.units(), units))
    space.expand(reduced.networks, full.networks)
    new = rng.normal(size=(7, 30))  # partly outside of the space
    standard, coordinates = (full.standardize(torch.tensor(x)) for x in (X, new))
    axes = torch.linalg.lstsq(torch.tensor(space.values), standard).solution
    torch.testing.assert_close(axes @ axes.mT, torch.eye(len(axes), dtype=torch.float64))
    with torch.no_grad():
        got = full.denoise_by_networks(coordinates)
        by_coordinates = reduced.denoise_by_networks(coordinates @ axes.mT / space.scale)
    torch.testing.assert_close(got, by_coordinates * space.scale @ axes)


def test_values_have_a_mean_variance_of_one_in_their_units(rng):
    X = rng.normal(size=(15, 40)) * rng.uniform(0.1, 10, size=40)
    space = spanned_space(X, moments(X))
    values = space.values / space.units().scale
    assert values.shape == (15, 14)
    assert (values**2).mean() == pytest.approx(1)


def test_many_or_incomplete_or_constant_rows_are_trained_as_they_are(rng, monkeypatch):
    X = rng.normal(size=(15, 40))
    assert spanned_space(X.T, moments(X.T)) is None
    assert spanned_space(np.ones((5, 40)), moments(np.ones((5, 40)))) is None
    monkeypatch.setattr("skae._outliers.wide_rows.MAX_ROWS", 14)
    assert spanned_space(X, moments(X)) is None
    X[0, 0] = np.nan
    assert spanned_space(X[:10], moments(X[:10])) is None


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_networks_of_wide_rows_denoise(dtype, rng, global_random_seed):
    basis = rng.normal(size=(3, 300))
    X = (rng.normal(size=(100, 3)) @ basis).astype(dtype)
    fitted = DenoisingEnsemble(exact_levels=(), random_state=global_random_seed).fit(X[:60])
    new = X[60:]
    noise = rng.normal(size=new.shape).astype(dtype)
    assert fitted.score_samples(new).mean() > 2 * fitted.score_samples(new + noise).mean()


def test_networks_may_have_one_layer(rng):
    X = rng.normal(size=(10, 20))
    fitted = DenoisingEnsemble(hidden_layer_sizes=(), n_steps=2, random_state=0).fit(X)
    assert np.isfinite(fitted.score_samples(X)).all()
