"""The layer that predicts near which landmark the code of a row is."""

import torch
from networks import make_rng
from torch import nn

from skae._nn.landmark_layer import LandmarkLayer


def test_a_sharp_mean_is_nearer_to_the_most_probable_landmark(global_random_seed):
    layer = LandmarkLayer(torch.eye(3), nn.Sequential(nn.Linear(4, 3)), 4)
    nn.init.zeros_(layer.offset[0].weight)
    nn.init.zeros_(layer.offset[0].bias)
    x = torch.randn(20, 4, generator=make_rng(global_random_seed))
    nn.init.normal_(layer.logits.weight, generator=make_rng(global_random_seed))
    probabilities = layer.logits(x).softmax(1)
    assert (layer(x).amax(1) > probabilities.amax(1)).all()
    assert torch.equal(layer(x).argmax(1), probabilities.argmax(1))
