"""The network of the variational autoencoder against its equations, and probabilistic PCA."""

import numpy as np
import pytest
import torch
from networks import make_autoencoder, make_rng, randomize
from sklearn.decomposition import PCA
from torch import nn

from skae._nn.variational import (
    GaussianEncoder,
    LikelihoodDecoder,
    VariationalAutoencoder,
    probabilistic_pca,
    random_init,
)


@pytest.fixture
def network(global_random_seed):
    """A network with random weights, (n, 6) to (n, 2), and gains of the PCA path."""
    plain, rng = make_autoencoder(global_random_seed), make_rng(global_random_seed)
    gains = torch.rand(2, 2, generator=rng, dtype=torch.float64)
    encoder = GaussianEncoder(nn.Linear(6, 4), torch.zeros(2))
    decoder = LikelihoodDecoder(nn.Linear(2, 6), 1.0, 1e-3)
    parts = encoder, decoder, plain.pca_path, plain.scales, plain.link
    return randomize(VariationalAutoencoder(*parts, tuple(gains)).double(), global_random_seed)


@pytest.fixture
def x(global_random_seed):
    return torch.randn(5, 6, generator=make_rng(global_random_seed + 1), dtype=torch.float64)


def test_posteriors_are_those_of_the_equation(network, x):
    path, scales = network.pca_path, network.scales
    centred = x - path.mean
    delta, log_var = network.encoder.network(centred * scales.inverse_input_scale).split(2, dim=1)
    mean = centred @ path.components.T * network.encoder_gain + delta * scales.delta_scale
    found_mean, found_log_var = network.posterior(x)
    torch.testing.assert_close(found_mean, mean)
    torch.testing.assert_close(found_log_var, log_var + network.encoder.log_var)
    torch.testing.assert_close(network.encode(x), mean)


def test_rows_are_those_of_the_equation_at_any_distance(network, x):
    path, code = network.pca_path, 100 * x[:, :2]
    network.max_train_distance.fill_(1.0)  # has no effect
    expected = path.mean + code * network.decoder_gain @ path.components
    expected += network.decoder.network(code) * network.scales.output_scale
    torch.testing.assert_close(network.decode(code), expected)


def test_the_scale_of_the_likelihood_has_its_initial_value_and_a_lower_bound():
    decoder = LikelihoodDecoder(nn.Identity(), 0.3, 1e-4)
    assert decoder.log_scale.exp().item() == pytest.approx(0.3)
    nn.init.constant_(decoder.log_excess, -1e9)
    assert decoder.log_scale.exp().item() == pytest.approx(1e-4)


def test_probabilistic_pca_has_the_covariance_of_scikit_learn(global_random_seed):
    rng = np.random.RandomState(global_random_seed)
    X = rng.normal(size=(200, 6)) * np.arange(1, 7)
    pca = PCA(2).fit(X)
    variances = torch.from_numpy(pca.explained_variance_)
    init = probabilistic_pca(variances, X.var(axis=0, ddof=1).sum(), 6, 1e-4)
    loadings = init.decoder_gain.numpy()[:, None] * pca.components_
    covariance = loadings.T @ loadings + init.noise_scale**2 * np.eye(6)
    np.testing.assert_allclose(covariance, pca.get_covariance())
    # The posterior of a code, whose prior is N(0, I), by Bayes' theorem.
    precision = np.eye(2) + loadings @ loadings.T / init.noise_scale**2
    np.testing.assert_allclose(np.exp(init.log_var.numpy()), np.diag(np.linalg.inv(precision)))
    gain = np.linalg.inv(precision) @ loadings / init.noise_scale**2
    encoder_gain = init.encoder_gain.numpy()[:, None]
    np.testing.assert_allclose(encoder_gain * pca.components_, gain, atol=1e-12)


def test_the_noise_scale_has_a_lower_bound():
    init = probabilistic_pca(torch.tensor([2.0, 1.0]), 3.0, 6, 0.01)
    assert init.noise_scale == pytest.approx(0.01)


def test_a_random_initialisation_has_no_pca_path(network):
    init = random_init(network.scales)
    assert init.noise_scale == 1.0
    assert not any(gain.any() for gain in (init.encoder_gain, init.decoder_gain, init.log_var))
    assert init.encoder_gain is not init.decoder_gain
