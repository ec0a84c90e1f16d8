"""The network before training: PCA, tied weights, networks of a user."""

import pickle

import numpy as np
import torch
from sklearn.base import clone
from sklearn.decomposition import PCA
from torch import nn

from skae import AutoencoderTransformer


def test_the_untrained_network_is_pca(digits, small):
    # The learning rate is too small to change a float32, so that epoch 0 is the best.
    start = small(AutoencoderTransformer, learning_rate_init=1e-30, max_iter=1).fit(digits)
    pca = PCA(4).fit(digits)
    assert start.best_iter_ == 0
    reconstruction = pca.inverse_transform(pca.transform(digits))
    np.testing.assert_allclose(start.reconstruct(digits), reconstruction, atol=1e-10)
    np.testing.assert_allclose(start.transform(digits), pca.transform(digits), atol=1e-8)


def user_network(n_features, n_components):
    """An encoder and a decoder with batch normalisation and dropout."""
    encoder = nn.Sequential(
        nn.Linear(n_features, 50),
        nn.BatchNorm1d(50),
        nn.ReLU(),
        nn.Dropout(0.1),
        nn.Linear(50, n_components),
    )
    decoder = nn.Sequential(nn.Linear(n_components, 50), nn.ReLU(), nn.Linear(50, n_features))
    return encoder, decoder


def test_tied_weights_have_fewer_parameters_and_score_above_pca(digits, small):
    def n_parameters(estimator):
        return sum(p.numel() for p in estimator.network_.parameters())

    tied, free = (
        small(AutoencoderTransformer, learning_rate_init=0.02, max_iter=25, tied_weights=tied).fit(
            digits
        )
        for tied in (True, False)
    )
    assert n_parameters(tied) < 0.6 * n_parameters(free)
    assert tied.score(digits) > tied.pca_score_ + 0.01
    again = pickle.loads(pickle.dumps(tied))
    np.testing.assert_array_equal(again.reconstruct(digits), tied.reconstruct(digits))
    assert n_parameters(again) == n_parameters(tied)
    again.set_params(warm_start=True).fit(digits)
    encoder, decoder = again.network_.network.encoder, again.network_.network.decoder
    with torch.no_grad():
        encoder[3].weight.zero_()
    bias = decoder[1].bias
    assert torch.equal(decoder[1](torch.ones(1, 4, dtype=bias.dtype)), bias[None])


def test_a_user_network_is_trained_as_residual_to_pca(digits, small, global_random_seed):
    random_before = torch.get_rng_state()
    estimator = small(AutoencoderTransformer, network=user_network, max_iter=40)
    fitted = clone(estimator).fit(digits)
    assert torch.equal(torch.get_rng_state(), random_before)
    assert fitted.score(digits) > fitted.pca_score_
    with torch.random.fork_rng():
        torch.manual_seed(global_random_seed + 7)
        again = clone(estimator).fit(digits)
    np.testing.assert_array_equal(again.transform(digits), fitted.transform(digits))
