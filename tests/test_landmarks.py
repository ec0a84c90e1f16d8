"""Encoders that predict near which landmark the code of a row is."""

import copy

import numpy as np
import pytest
import torch
from fitting import make_data, network_rows
from networks import make_rng, randomize

import skae
from skae import AutoencoderTransformer, NeighborAutoencoder
from skae._graph import numpy_runtime
from skae._losses.reconstruction import loss_of_link
from skae._nn.encoder_slopes import encoder_jacobian, jacobian_by_autograd
from skae._nn.landmarks import LandmarkAutoencoder
from skae._training.fit import training_copy


@pytest.fixture(params=[{}, {"image_shape": (8, 8), "hidden_layer_sizes": (2,)}], ids=str)
def network(request, digits, global_random_seed):
    """A network before training, whose codes are those of PCA, and some rows."""
    setting = {"random_state": global_random_seed, "transform_max_iter": 0} | request.param
    estimator = AutoencoderTransformer(2, **setting)
    data = make_data(estimator, digits[:100])
    plain = training_copy(estimator._initialize(data, 2).fitted.network, data)
    parts = plain.encoder, plain.decoder, plain.pca_path, plain.scales
    return LandmarkAutoencoder(*parts, plain.link), data.rows[data.train]


def test_landmarks_with_mean_zero_change_no_code_before_training(network, global_random_seed):
    network, x = network
    landmarks = torch.randn(5, 2, generator=make_rng(global_random_seed))
    network.add_landmarks(landmarks - landmarks.mean(0), 1.0)
    torch.testing.assert_close(network.encode(x), network.pca_code(x))


def test_a_code_is_the_landmark_of_high_probability(network, global_random_seed):
    network, x = network
    landmarks = torch.randn(5, 2, generator=make_rng(global_random_seed))
    network.add_landmarks(landmarks, 1.0)
    with torch.no_grad():
        network.encoder[-1].logits.bias[3] = 100
    torch.testing.assert_close(network.encode(x), network.pca_code(x) + landmarks[3])


def test_codes_with_probabilities_are_those_of_the_network(network, global_random_seed):
    network, x = network
    network.add_landmarks(torch.eye(2), 1.0)
    randomize(network.encoder, global_random_seed)
    code, log_probabilities = network.encode_with_probabilities(x)
    torch.testing.assert_close(code, network.encode(x))
    torch.testing.assert_close(log_probabilities.exp().sum(1), x.new_ones(len(x)))


def test_pca_is_left_by_the_first_step_and_regained_as_far_as_networks_shrink(
    network, global_random_seed
):
    network, x = network[0].double(), network[1].double()
    network.add_landmarks(torch.eye(2), 1.0)
    randomize(network.encoder, global_random_seed)
    with torch.no_grad():
        before = network.encode(x)
        network.leave_pca()
        after = network.encode(x)
        torch.testing.assert_close(before - after, network.pca_code(x))
        for factor in (1.0, 0.25, 0.0):
            shrunk = copy.deepcopy(network)
            shrunk.shrink(factor)
            expected = torch.lerp(network.pca_code(x), after, factor)
            torch.testing.assert_close(shrunk.encode(x), expected)


def test_slopes_include_the_factor_of_the_code_of_pca(network, global_random_seed):
    network, x = network[0].double(), network[1].double()
    network.add_landmarks(torch.eye(2), 1.0)
    randomize(network.encoder, global_random_seed)
    for factor in (1.0, 0.3):
        network.head.pca_factor.fill_(factor)
        expected = jacobian_by_autograd(network.encode, x[:5])
        torch.testing.assert_close(encoder_jacobian(network, x[:5]), expected)


def test_a_trained_encoder_has_left_pca(digits, small):
    trained = small(NeighborAutoencoder, 2).fit(digits)
    assert trained.best_iter_ > 0
    assert trained.network_.network.pca_factor() == 0
    untrained = small(NeighborAutoencoder, 2, learning_rate_init=1e-30).fit(digits)
    assert untrained.best_iter_ == 0
    assert untrained.network_.network.pca_factor() == 1


@pytest.mark.parametrize("loss", ["squared_error", "poisson"])
def test_a_projection_stays_near_the_code_of_the_encoder(digits, small, loss):
    fitted = small(NeighborAutoencoder, 2, loss=loss, transform_max_iter=100).fit(digits)
    fitted.network_.network.code_weight.fill_(77.0)
    network, x = fitted.network_.network, network_rows(fitted, digits)

    def objective(code):
        change = (code - network.encode(x)) * network.scales.inverse_code_scale
        error = loss_of_link(network.link).loss(network.decode(code), x)
        return error + network.code_weight * change.square().sum(1)

    with torch.no_grad():
        code = fitted.network_.to_network_code(torch.from_numpy(fitted.transform(digits)))
        lowest = objective(code)
        assert (lowest <= objective(network.encode(x)) * (1 + 1e-9)).all()
        for change in ([1e-3, 0], [-1e-3, 0], [0, 1e-3], [0, -1e-3]):
            moved = objective(code + torch.tensor(change) * code.std(0))
            assert (moved >= lowest - 1e-6 * lowest.abs()).double().mean() > 0.95
        network.code_weight.fill_(1e9)
        kept = fitted.network_.encode(torch.from_numpy(digits.copy()))
        encoded = fitted.network_.from_network_code(network.encode(x))
    torch.testing.assert_close(kept, encoded, atol=1e-3, rtol=1e-3)


def test_exports_and_files_stay_near_the_code_of_the_encoder(digits, small, tmp_path):
    fitted = small(NeighborAutoencoder, 2, transform_max_iter=3).fit(digits)
    before = fitted.transform(digits)
    fitted.network_.network.code_weight.fill_(77.0)
    codes = fitted.transform(digits)
    assert np.abs(codes - before).max() > 0.01 * codes.std()
    skae.save(fitted, tmp_path / "map.skae")
    np.testing.assert_array_equal(skae.load(tmp_path / "map.skae").transform(digits), codes)
    skae.export_numpy(fitted, tmp_path)
    exported = numpy_runtime.load(tmp_path / "model.npz").transform(digits)
    np.testing.assert_allclose(exported, codes, rtol=1e-6, atol=1e-6 * np.abs(codes).max())
