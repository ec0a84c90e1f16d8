"""The sparse autoencoder before training: receptive fields, thresholds, scale of the codes."""

from functools import partial

import numpy as np
import pytest

from skae import SparseAutoencoder
from skae._autoencoders.sparse_init import receptive_fields


@pytest.fixture
def coder(small):
    """A function that makes a small sparse autoencoder with one layer."""
    return partial(small, SparseAutoencoder, hidden_layer_sizes=())


@pytest.mark.parametrize("tied_weights", [False, True])
def test_initial_codes_do_not_depend_on_with_mean(digits, tied_weights, coder):
    settings = {"tied_weights": tied_weights, "max_iter": 1, "learning_rate_init": 1e-12}
    X = digits + 3.0
    codes = [coder(100, with_mean=value, **settings).fit(X).transform(X) for value in (True, False)]
    np.testing.assert_allclose(codes[1], codes[0], atol=1e-6)


@pytest.mark.parametrize("side", [2, 0.4])
def test_a_receptive_field_has_all_channels_and_the_given_side(side):
    fields = receptive_fields((3, 5, 6), side, np.ones(90), 40).reshape(40, 3, 5, 6)
    assert (fields == fields[:, :1]).all()
    assert (fields[:, 0].amax(2).sum(1) == 2).all()
    assert (fields[:, 0].amax(1).sum(1) == 2).all()
    np.testing.assert_array_equal(np.unique(fields), [0, 1])


def test_receptive_fields_are_placed_in_proportion_to_the_variance(global_random_seed):
    std = np.random.default_rng(global_random_seed).uniform(size=(5, 6))
    std[:, :3] = 0
    fields = receptive_fields((5, 6), 2, std.ravel(), 1000).reshape(-1, 5, 6).numpy()
    corners = fields.reshape(-1, 30).argmax(1)
    inside = np.array(
        [
            (std[top : top + 2, left : left + 2] ** 2).sum() if top < 4 and left < 5 else 0.0
            for top in range(5)
            for left in range(6)
        ]
    )
    counts = np.bincount(corners, minlength=30)
    assert np.abs(counts - 1000 * inside / inside.sum()).max() <= 1
