"""A trained autoencoder in the units of the data: rotations, the Jacobian and copies."""

import copy
import gc
import weakref

import numpy as np
import pytest
import torch
from conftest import LEARNING
from networks import make_autoencoder, make_rng, randomize
from sklearn.base import BaseEstimator
from torch import nn

from skae import AutoencoderTransformer
from skae._losses.reconstruction import LOSSES
from skae._nn.custom_layers import Whitening
from skae._nn.fitted import (
    FittedAutoencoder,
    RotatedAutoencoder,
    cached_cast,
    prepared_network,
)


@pytest.fixture(params=[FittedAutoencoder, RotatedAutoencoder])
def fitted(request, global_random_seed):
    network = randomize(make_autoencoder(global_random_seed), global_random_seed, std=0.3)
    return request.param(network, torch.arange(6.0), 2.5, 2).double()


@pytest.fixture
def rotated(fitted):
    if not isinstance(fitted, RotatedAutoencoder):
        pytest.skip("has no rotation")
    return fitted


@pytest.fixture
def x(global_random_seed):
    rng = make_rng(global_random_seed + 1)
    return torch.randn(7, 6, generator=rng, dtype=torch.float64) * 2.5


def test_the_network_has_shifted_and_scaled_rows(fitted, x):
    code = fitted.network.encode((x - fitted.shift) / 2.5)
    torch.testing.assert_close(fitted.encode(x), fitted.from_network_code(code))
    raw = fitted.shift + 2.5 * fitted.network.decode(code)
    torch.testing.assert_close(fitted.decode(fitted.encode(x)), raw)
    torch.testing.assert_close(fitted.distance(fitted.encode(x)), fitted.network.distance(code))


def test_codes_of_the_network_are_restored(fitted, x):
    code = x[:, :2]
    if isinstance(fitted, RotatedAutoencoder):
        fitted.rotate(np.array([0.1, 0.2]), np.array([[2.0, 1.0], [0.0, 1.0]]))
    torch.testing.assert_close(fitted.to_network_code(fitted.from_network_code(code)), code)


def test_a_rotation_changes_codes_and_no_reconstruction(rotated, x):
    code, reconstruction = rotated.encode(x), rotated.decode(rotated.encode(x))
    mean, rotation = np.array([0.3, -1.0]), np.array([[0.6, -0.8], [0.8, 0.6]]) * 1.7
    for _ in range(2):  # one after the other
        code = (code - torch.from_numpy(mean)) @ torch.from_numpy(rotation)
        rotated.rotate(mean, rotation)
        torch.testing.assert_close(rotated.encode(x), code)
        torch.testing.assert_close(rotated.decode(rotated.encode(x)), reconstruction)


def test_the_decoder_jacobian_is_that_of_autograd(fitted):
    if isinstance(fitted, RotatedAutoencoder):
        fitted.rotate(np.array([0.1, 0.2]), np.array([[2.0, 1.0], [0.0, 1.0]]))
    jacobian = torch.autograd.functional.jacobian(
        lambda code: fitted.decode(code[None])[0], torch.zeros(2, dtype=torch.float64)
    )
    torch.testing.assert_close(fitted.decoder_jacobian(), jacobian.T)


def test_the_decoder_jacobian_is_finite_where_a_link_is_not(fitted):
    fitted.network.link = LOSSES["log_loss"].link
    fitted.network.pca_path.mean[:2] = torch.tensor([0.0, 1.0])
    assert fitted.decoder_jacobian().isfinite().all()


def test_trained_layers_replace_those_of_a_copy(fitted):
    trained = randomize(copy.deepcopy(fitted.network), 1).float()
    result = fitted.with_trained_layers(trained)
    assert result.network.encoder is trained.encoder
    assert result.network.decoder is trained.decoder
    assert result.network.pca_path.mean.dtype == torch.float64
    assert fitted.network.encoder is not trained.encoder


def test_a_cast_is_made_once_and_never_to_the_same_dtype_and_device(fitted):
    host = torch.device("cpu")
    assert cached_cast(fitted, torch.float64, host) is fitted
    single = cached_cast(fitted, torch.float32, host)
    assert single.scale.dtype == torch.float32
    assert cached_cast(fitted, torch.float32, host) is single
    assert cached_cast(fitted, torch.float32, torch.device("meta")).scale.device.type == "meta"
    assert fitted.scale.dtype == torch.float64


def with_layer_norm(n_features, n_components):
    """An encoder, and a decoder whose tangents autograd computes."""
    decoder = nn.Sequential(nn.Linear(n_components, 8), nn.LayerNorm(8), nn.Linear(8, n_features))
    return nn.Linear(n_features, n_components), decoder


def test_rows_of_another_precision_are_projected_with_any_layers(digits, small):
    fitted = small(AutoencoderTransformer, 2, network=with_layer_norm).fit(digits)
    codes = fitted.transform(digits.astype(np.float32))
    np.testing.assert_allclose(codes, fitted.transform(digits), atol=0.01)


def test_a_cast_is_deleted_with_its_original(fitted):
    original = copy.deepcopy(fitted)
    cast = weakref.ref(cached_cast(original, torch.float32, torch.device("cpu")))
    assert cast() is not None
    del original
    gc.collect()
    assert cast() is None


def change_weight(network):
    with torch.no_grad():
        network.decoder[1].weight.mul_(1.5)


def replace_weight(network):
    network.decoder[1].weight = torch.nn.Parameter(1.5 * network.decoder[1].weight.detach())


def replace_layer(network):
    network.decoder[2] = torch.nn.Tanh()


def change_anchors(network):
    network.anchors = network.anchors.new_zeros(3, network.anchors.shape[1])


def change_distance(network):
    network.max_train_distance.fill_(0.01)


@pytest.mark.parametrize(
    "change", [change_weight, replace_weight, replace_layer, change_anchors, change_distance]
)
def test_a_projection_is_made_once_and_again_after_a_change(fitted, x, change):
    network = fitted.eval().network
    network.n_projection_steps = 3
    fitted.encode(x)
    made = prepared_network(fitted).of_rows
    assert prepared_network(fitted).of_rows is made
    change(network)
    for rows in (x, x[3:4]):
        torch.testing.assert_close(fitted.encode(rows), copy.deepcopy(fitted).encode(rows))
    assert prepared_network(fitted).of_rows is not made


def test_a_projection_is_deleted_with_its_network(fitted, x):
    other = copy.deepcopy(fitted).eval()
    other.network.n_projection_steps = 1
    other.encode(x)
    references = weakref.ref(other), weakref.ref(other.network)
    del other
    gc.collect()
    assert [reference() for reference in references] == [None, None]


def change_encoder(network):
    with torch.no_grad():
        network.encoder[1].weight.mul_(1.5)


def replace_encoder(network):
    network.encoder[1] = torch.nn.Linear(5, 2).double()


def change_scale(network):
    network.scales.delta_scale.mul_(1.5)


def change_mean(network):
    network.pca_path.mean = network.pca_path.mean + 1


@pytest.mark.parametrize("change", [change_encoder, replace_encoder, change_scale, change_mean])
def test_a_whitening_that_is_merged_with_the_next_layer_changes_no_code(fitted, x, change):
    network = fitted.eval().network
    white = torch.randn(6, 5, generator=make_rng(), dtype=torch.float64)
    dense = nn.Linear(5, 2).double()
    network.encoder = nn.Sequential(Whitening(white), dense, nn.SiLU(), nn.Linear(2, 2).double())
    network.encoder.requires_grad_(False)
    assert len(prepared_network(fitted).encoder_network.encoder) == 3
    assert prepared_network(fitted).encoder_network is prepared_network(fitted).encoder_network
    for _ in range(2):
        code = network.encode((x - fitted.shift) / fitted.scale)
        torch.testing.assert_close(fitted.encode(x), fitted.from_network_code(code))
        change(network)


def test_a_whitening_is_not_merged_with_more_units_than_it_saves(fitted):
    encoder = nn.Sequential(Whitening(torch.ones(6, 1)), nn.Linear(1, 8), nn.Linear(8, 2))
    fitted.network.encoder = encoder
    assert prepared_network(fitted.eval()).encoder_network.encoder is encoder


def test_a_network_without_steps_gives_the_codes_of_the_encoder(fitted, x):
    expected = fitted.from_network_code(fitted.network.encode((x - fitted.shift) / fitted.scale))
    assert fitted.encode(x).equal(expected)
    fitted.eval().network.n_projection_steps = 2
    assert not fitted.encode(x).equal(expected)


def test_one_row_is_projected_as_many_are(fitted, x):
    fitted.eval().network.n_projection_steps = 2
    alone = torch.cat([fitted.encode(row[None]) for row in x])
    torch.testing.assert_close(alone, fitted.encode(x), rtol=1e-6, atol=1e-6)


def networks_of(fitted):
    """The networks of an estimator and of the estimators in it."""
    for value in vars(fitted).values():
        if isinstance(value, nn.Module):
            yield value
        elif isinstance(value, BaseEstimator) and value is not getattr(fitted, "estimator", None):
            yield from networks_of(value)


def results_of(fitted, X):
    """The results of the methods of rows."""
    names = ("transform", "reconstruct", "score_samples", "decision_function", "predict_proba")
    return [getattr(fitted, name)(X) for name in names if hasattr(fitted, name)]


@pytest.mark.parametrize("cls", LEARNING, ids=lambda cls: cls.__name__)
def test_rows_of_both_precisions_have_the_weights_that_were_set(cls, small, global_random_seed):
    X = np.random.RandomState(global_random_seed).normal(size=(40, 5)).astype(np.float32)
    fitted = small(cls, 2).fit(X, np.arange(40) % 2)
    results_of(fitted, X), results_of(fitted, X.astype(np.float64))  # both are prepared
    with torch.no_grad():
        for network in networks_of(fitted):
            for weight in network.parameters():
                weight.add_(0.3)
    unprepared = copy.deepcopy(fitted)
    for rows in (X, X.astype(np.float64)):
        for result, expected in zip(
            results_of(fitted, rows), results_of(unprepared, rows), strict=True
        ):
            np.testing.assert_array_equal(result, expected)
