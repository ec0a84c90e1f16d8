"""The layer that predicts near which landmark the code of a row is."""

import pytest
import torch
from fitting import make_data
from networks import make_rng, randomize
from torch import nn

from skae import AutoencoderTransformer
from skae._nn.landmarks import LandmarkLayer, add_landmarks, encode_with_landmarks
from skae._training.fit import training_copy


@pytest.fixture(params=[{}, {"image_shape": (8, 8), "hidden_layer_sizes": (2,)}], ids=str)
def network(request, digits, global_random_seed):
    """A network before training, whose codes are those of PCA, and some rows."""
    setting = {"random_state": global_random_seed, "transform_max_iter": 0} | request.param
    estimator = AutoencoderTransformer(2, **setting)
    data = make_data(estimator, digits[:100])
    return training_copy(estimator._initialize(data, 2).fitted.network, data), data.rows[data.train]


def test_landmarks_with_mean_zero_change_no_code_before_training(network, global_random_seed):
    network, x = network
    landmarks = torch.randn(5, 2, generator=make_rng(global_random_seed))
    add_landmarks(network, landmarks - landmarks.mean(0))
    torch.testing.assert_close(network.encode(x), network.pca_code(x))


def test_a_code_is_the_landmark_of_high_probability(network, global_random_seed):
    network, x = network
    landmarks = torch.randn(5, 2, generator=make_rng(global_random_seed))
    add_landmarks(network, landmarks)
    with torch.no_grad():
        network.encoder[-1].logits.bias[3] = 100
    torch.testing.assert_close(network.encode(x), network.pca_code(x) + landmarks[3])


def test_codes_with_probabilities_are_those_of_the_network(network, global_random_seed):
    network, x = network
    add_landmarks(network, torch.eye(2))
    randomize(network.encoder, global_random_seed)
    code, log_probabilities = encode_with_landmarks(network, x)
    torch.testing.assert_close(code, network.encode(x))
    torch.testing.assert_close(log_probabilities.exp().sum(1), x.new_ones(len(x)))


def test_a_sharp_mean_is_nearer_to_the_most_probable_landmark(global_random_seed):
    layer = LandmarkLayer(torch.eye(3), nn.Sequential(nn.Linear(4, 3)), 4)
    nn.init.zeros_(layer.offset[0].weight)
    nn.init.zeros_(layer.offset[0].bias)
    x = torch.randn(20, 4, generator=make_rng(global_random_seed))
    nn.init.normal_(layer.logits.weight, generator=make_rng(global_random_seed))
    probabilities = layer.logits(x).softmax(1)
    assert (layer(x).amax(1) > probabilities.amax(1)).all()
    assert torch.equal(layer(x).argmax(1), probabilities.argmax(1))
