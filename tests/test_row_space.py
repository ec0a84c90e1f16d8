"""Training in the space of few wide rows: the same functions, and where it is used."""

import copy

import numpy as np
import pytest
import torch
from fitting import make_data
from networks import randomize
from scipy.sparse import csr_array
from sklearn.base import clone
from torch import nn

from skae import AutoencoderTransformer, DenoisingAutoencoder
from skae._training import fit, pca
from skae._training.callbacks import FitCallbackContext
from skae._training.loop import EpochCallback
from skae._training.row_space import RowSpace, training_space


@pytest.fixture(params=["principal", "triangular"])
def X(request, monkeypatch, global_random_seed):
    """Forty rows of a curve in 300 dimensions, with noise, and coordinates of both kinds."""
    if request.param == "triangular":
        monkeypatch.setattr(pca, "COVARIANCE_FEATURES", 20)
    rng = np.random.RandomState(global_random_seed)
    angle = rng.uniform(-3, 3, size=(40, 1))
    curve = np.hstack([np.sin(angle), np.cos(angle), angle**2 / 5])
    return 5 + curve @ rng.normal(size=(3, 300)) + 0.1 * rng.normal(size=(40, 300))


def estimator_for(seed=0, **parameters):
    parameters = {"n_components": 2, "hidden_layer_sizes": (16,), "max_iter": 3} | parameters
    return AutoencoderTransformer(**parameters, random_state=seed)


def spaces(estimator, X, X_val=None):
    """The network before training, its data, and the space in which it is trained."""
    data = make_data(estimator, X, X_val)
    fitted = estimator._initialize(data, estimator.n_components).fitted
    return fitted, data, training_space(fitted.network, data)


@pytest.fixture
def reduced(X, global_random_seed):
    """A network with random weights for coordinates, its space, and that for all features."""
    fitted, data, space = spaces(estimator_for(global_random_seed), X)
    network = randomize(space.reduce(fitted.network), global_random_seed, 0.3).double()
    return network, space, space.expand(network), data


def rows_of(data):
    """The rows in the network's units, in float64: those of the data sets are in float32."""
    return torch.from_numpy((data.X - data.shift) / data.scale)


def test_a_network_before_training_is_the_same_function(X, global_random_seed):
    fitted, data, space = spaces(estimator_for(global_random_seed), X)
    assert isinstance(space, RowSpace)
    expanded = space.expand(space.reduce(fitted.network)).double()
    code = fitted.network.double().encode(rows_of(data))
    torch.testing.assert_close(expanded.encode(rows_of(data)), code)
    torch.testing.assert_close(expanded.decode(code), fitted.network.decode(code))


def test_a_trained_network_has_the_same_codes(reduced):
    network, space, expanded, data = reduced
    codes = network.encode(rows_of(space.data))
    torch.testing.assert_close(expanded.encode(rows_of(data)), codes)
    assert len(network.anchors)
    assert expanded.anchors.equal(network.anchors)


def test_a_trained_network_has_the_same_reconstructions(reduced):
    network, space, expanded, data = reduced
    coordinates = rows_of(space.data)
    axes = torch.linalg.lstsq(coordinates, rows_of(data)).solution
    codes = network.encode(coordinates)
    torch.testing.assert_close(expanded.decode(codes), network.decode(codes) @ axes)


def test_a_trained_network_has_the_same_objective(reduced):
    network, space, expanded, data = reduced
    errors, expected = (
        of.eval().double().requires_grad_(False) and data.objective.per_row(of, x, None)
        for of, x in [(network, rows_of(space.data)), (expanded, rows_of(data))]
    )
    torch.testing.assert_close(errors, expected)


def test_coordinates_have_the_units_of_the_rows(X, global_random_seed):
    _, data, space = spaces(estimator_for(global_random_seed), X)
    products = rows_of(data) @ rows_of(data).T
    rows = rows_of(space.data)
    torch.testing.assert_close(rows @ rows.T, products)
    torch.testing.assert_close(space.data.rows[data.train], rows[data.train].float())


def test_the_order_of_the_features_has_no_influence(X, global_random_seed):
    order = np.random.RandomState(global_random_seed).permutation(X.shape[1])
    ordered, given = (
        estimator_for(global_random_seed).fit(rows).reconstruct(rows) for rows in (X[:, order], X)
    )
    # Training in float32 multiplies differences by rounding.
    np.testing.assert_allclose(ordered, given[:, order], atol=1e-3 * X.std())


def test_sparse_rows_give_the_same_reconstructions(X, global_random_seed):
    X[X < 5] = 0.0
    sparse, dense = (
        estimator_for(global_random_seed).fit(kind(X)).reconstruct(X)
        for kind in (csr_array, np.asarray)
    )
    np.testing.assert_allclose(sparse, dense, atol=1e-3 * X.std())


def test_training_lowers_the_error(X, global_random_seed):
    fitted = estimator_for(global_random_seed, n_components=1, max_iter=100).fit(X)
    assert fitted.score(X) > fitted.pca_score_ + 0.1
    assert fitted.network_.network.decoder[-1].out_features == 300


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_statistics_are_those_of_all_features(dtype, X, monkeypatch, global_random_seed):
    X = X.astype(dtype)
    estimator = estimator_for(global_random_seed, max_iter=30)
    ours = clone(estimator).fit(X)
    monkeypatch.setattr(RowSpace, "measured", lambda space, trained, network: trained)
    plain = clone(estimator).fit(X)
    assert plain.score(X) > plain.pca_score_  # the network is trained
    names = ("explained_variance_", "explained_variance_ratio_", "pca_score_")
    for name in names:
        np.testing.assert_allclose(getattr(ours, name), getattr(plain, name), rtol=1e-5)
    assert ours.transform(X).dtype == dtype
    np.testing.assert_allclose(ours.transform(X), plain.transform(X), rtol=1e-3, atol=1e-3)
    distances = [e.network_.network.max_train_distance.item() for e in (ours, plain)]
    assert distances[0] == pytest.approx(distances[1], rel=1e-5)


def test_results_within_training_are_those_of_all_features(X, global_random_seed):
    estimator, results = estimator_for(global_random_seed, n_components=1, max_iter=100), []
    _, data, _ = spaces(estimator, X)

    class Recorded(FitCallbackContext):
        def epochs(self, data, result_with):
            class Last(EpochCallback):
                def on_epoch_end(self, history, best_so_far):
                    results[:] = [result_with(*best_so_far())]
                    return False

            return Last()

    final = fit.train_autoencoder(
        lambda data: estimator._initialize(data, 1),
        1,
        estimator,
        data,
        Recorded(estimator, X, data.config, None),
        lambda trained: copy.deepcopy(trained.fitted),
    )
    rows = torch.from_numpy(X)
    torch.testing.assert_close(results[0].encode(rows), final.encode(rows))
    before = estimator._initialize(data, 1).fitted.double()
    assert not torch.allclose(final.encode(rows), before.encode(rows), atol=1e-3)


@pytest.mark.parametrize(
    "parameters",
    [
        {"alpha": 1e-3},
        {"init": "random"},
        {"loss": "absolute_error"},
        {"tied_weights": True},
        {"pretraining": "layerwise"},
        {"hidden_layer_sizes": (4,), "image_shape": (15, 20)},
        {"network": lambda n, k: (nn.Linear(n, k), nn.Linear(k, n))},
    ],
    ids=lambda parameters: next(iter(parameters)),
)
def test_all_features_are_used_for_other_networks_and_objectives(X, parameters):
    assert not isinstance(spaces(estimator_for(**parameters), X)[2], RowSpace)


def test_all_features_are_used_for_corrupted_rows(X):
    assert not isinstance(spaces(DenoisingAutoencoder(2, random_state=0), X)[2], RowSpace)


def test_all_features_are_used_for_other_rows(X):
    incomplete = X.copy()
    incomplete[0, 0] = np.nan
    tall = np.concatenate([X + 1e-6 * i for i in range(8)])
    for arguments in [(incomplete,), (tall,), (X[:, :200],), (X, X[:10])]:
        assert not isinstance(spaces(estimator_for(), *arguments)[2], RowSpace)


def test_all_features_are_used_for_a_network_that_is_trained_further(X, monkeypatch):
    used = []

    def recorded(network, data):
        used.append(training_space(network, data))
        return used[-1]

    monkeypatch.setattr(fit, "training_space", recorded)
    estimator = clone(estimator_for()).set_params(warm_start=True).fit(X)
    assert {isinstance(space, RowSpace) for space in used} == {True}
    used.clear()
    estimator.fit(X)
    assert {isinstance(space, RowSpace) for space in used} == {False}
