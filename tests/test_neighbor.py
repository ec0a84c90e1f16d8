"""The autoencoder whose codes keep neighbours close."""

import numpy as np
import pytest
import torch
from fitting import make_data
from scipy.spatial.distance import pdist
from scipy.stats import spearmanr
from sklearn.manifold import trustworthiness
from sklearn.metrics import pairwise_distances

from skae import AutoencoderTransformer, NeighborAutoencoder
from skae._autoencoders import neighbor
from skae._nn.landmarks import LandmarkAutoencoder
from skae._training.fit import training_copy


@pytest.fixture
def setting(global_random_seed):
    return {
        "max_iter": 12,
        "batch_size": 20,
        "hidden_layer_sizes": (32, 32),
        "random_state": global_random_seed,
    }


def test_without_weight_it_is_the_plain_autoencoder(digits, setting):
    plain = AutoencoderTransformer(2, **setting).fit(digits)
    fitted = NeighborAutoencoder(2, neighbor_weight=0, **setting).fit(digits)
    np.testing.assert_array_equal(fitted.transform(digits), plain.transform(digits))
    np.testing.assert_array_equal(fitted.reconstruct(digits), plain.reconstruct(digits))


def test_rows_keep_more_neighbours_than_in_the_plain_autoencoder(digits, setting):
    setting["transform_max_iter"] = 0  # the projection keeps neighbours as well
    fitted = NeighborAutoencoder(2, **setting).fit(digits)
    plain = AutoencoderTransformer(2, **setting).fit(digits)
    kept, kept_by_plain = (trustworthiness(digits, e.transform(digits)) for e in (fitted, plain))
    assert kept > kept_by_plain
    assert fitted.score(digits) > fitted.pca_score_


def test_maps_of_two_seeds_look_alike(digits, setting):
    seed = setting.pop("random_state")
    one, other = (
        NeighborAutoencoder(2, random_state=s, **setting).fit_transform(digits)
        for s in (seed, seed + 1)
    )
    assert spearmanr(pdist(one), pdist(other)).statistic > 0.9


@pytest.mark.parametrize("tied_weights", [False, True])
def test_the_loss_is_the_reconstruction_plus_the_distance_to_the_positions(
    digits, setting, tied_weights
):
    estimator = NeighborAutoencoder(2, neighbor_weight=0.7, tied_weights=tied_weights, **setting)
    data = make_data(estimator, digits)
    network = training_copy(estimator._initialize(data, 2).fitted.network, data)
    index = data.train[:7]
    x, layout = data.rows[index], data.objective.layout
    assert isinstance(network, LandmarkAutoencoder) == (not tied_weights)
    torch.testing.assert_close(network.encode(x), network.pca_code(x))
    if not tied_weights:
        network.leave_pca()
    code = network.encode(x)
    error = (network.decode(code) - x).square().sum(1)
    z = layout.positions[index]
    term = (1 + ((code - z) / layout.unit).square().sum(1)).log()
    if not tied_weights:  # before training all landmarks have the same probability
        term = term + np.log(len(network.head.landmarks))
    objective = data.objective.stages(network)[0].at(index, held_out=False)  # without projection
    found = objective.per_row(network, x, data.rng())
    np.testing.assert_allclose(found.detach(), (error + 0.7 * 64 * term).detach(), rtol=1e-5)


def test_a_row_of_x_val_belongs_to_the_position_of_the_nearest_row(digits, setting):
    data = make_data(NeighborAutoencoder(2, **setting), digits[100:], digits[:40] + 0.01)
    NeighborAutoencoder(2, **setting)._initialize(data, 2)
    nearest = pairwise_distances(digits[:40] + 0.01, digits[100:]).argmin(axis=1)
    layout = data.objective.layout
    np.testing.assert_array_equal(layout.held_out[data.held_out], layout.positions[nearest])


def test_positions_hardly_depend_on_the_rows_that_are_held_out(digits, setting):
    layouts = []
    for seed in setting["random_state"] + np.arange(2):
        data = make_data(NeighborAutoencoder(2, **setting | {"random_state": seed}), digits)
        assert len(data.train) < len(digits)
        NeighborAutoencoder(2, **setting)._initialize(data, 2)
        layouts.append(data.objective.layout.positions)
    assert spearmanr(*map(pdist, layouts)).statistic > 0.95


def test_missing_entries_are_replaced_by_the_mean(digits, setting):
    holes = np.random.RandomState(0).uniform(size=digits.shape) < 0.1
    gaps = np.where(holes, np.nan, digits)
    filled = np.where(holes, np.nanmean(gaps, axis=0), digits)
    estimator = NeighborAutoencoder(2, early_stopping=False, **setting)
    with_gaps, without = (make_data(estimator, X) for X in (gaps, filled))
    for data in (with_gaps, without):
        estimator._initialize(data, 2)
    # PCA, from which both start, has other units if entries are missing.
    one, other = (d.objective.layout.positions for d in (with_gaps, without))
    assert spearmanr(pdist(one), pdist(other)).statistic > 0.9


def test_a_map_continues_from_the_codes_of_earlier_batches(digits, setting):
    fitted = NeighborAutoencoder(2, **setting).fit(digits)
    before = fitted.transform(digits)
    fitted.partial_fit(digits)
    assert spearmanr(pdist(before), pdist(fitted.transform(digits))).statistic > 0.7


def test_two_rows_are_enough(setting):
    fitted = NeighborAutoencoder(1, **setting).fit(np.array([[0.0, 1.0], [2.0, 3.0]]))
    assert np.isfinite(fitted.transform([[1.0, 1.0]])).all()


@pytest.mark.parametrize("many_rows", [False, True])
def test_a_projection_starts_from_the_encoder_alone_for_many_rows(
    digits, setting, many_rows, monkeypatch
):
    monkeypatch.setattr(neighbor, "MAX_ANCHORED_ROWS", 20 if many_rows else len(digits))
    estimator = NeighborAutoencoder(2, **setting)
    network = estimator._initialize(make_data(estimator, digits), 2).fitted.network
    assert network.n_projection_steps == 2
    assert (len(network.anchors) == 0) == many_rows
