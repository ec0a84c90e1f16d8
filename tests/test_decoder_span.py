"""Projections of wide rows in the span of the decoder, beside those with all features."""

import numpy as np
import pytest
import torch
from networks import N_COMPONENTS, make_rng
from sklearn.base import clone
from test_projection import losses_of, make_network, make_rows, with_gaps
from test_row_projection import NETWORKS

from skae import AutoencoderTransformer
from skae._nn import fitted, projection
from skae._nn.decoder_span import MIN_FEATURES, MIN_ROWS, decoder_span
from skae._nn.decoder_tangents import decoder_tangents
from skae._nn.projection import Projection

WIDTH = 60


def wide_network(seed, **options):
    network = make_network(seed, n_features=WIDTH, **options)
    random = {"generator": make_rng(seed), "dtype": torch.float64}
    network.anchors = torch.randn(20, N_COMPONENTS, **random)
    return network


@pytest.mark.parametrize("options", NETWORKS.values(), ids=NETWORKS)
def test_codes_are_those_with_all_features(options, monkeypatch, global_random_seed):
    network = wide_network(global_random_seed, **options)
    x, code = make_rows(network, global_random_seed)
    assert decoder_span(network, decoder_tangents(network), 40) is not None
    found = Projection(network)(x, code, 3)
    monkeypatch.setattr(projection, "decoder_span", lambda *arguments: None)
    expected = Projection(network)(x, code, 3)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
    assert (losses_of(network, x, found) < losses_of(network, x, code)).double().mean() > 0.8


def test_differences_of_errors_are_the_same(global_random_seed):
    network = wide_network(global_random_seed)
    x, code = make_rows(network, global_random_seed)
    span = decoder_span(network, decoder_tangents(network), len(x))
    coordinates = span.coordinates(x)
    for codes in (torch.zeros_like(code), 10 * code):  # near and far
        found = losses_of(span.network, coordinates, codes)
        found -= losses_of(span.network, coordinates, code)
        expected = losses_of(network, x, codes) - losses_of(network, x, code)
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


def test_rows_with_gaps_are_projected_without_them(global_random_seed):
    network = wide_network(global_random_seed)
    x, code = make_rows(network, global_random_seed)
    x = with_gaps(x, global_random_seed)
    found = Projection(network)(x, code, 3)
    assert (losses_of(network, x, found) < losses_of(network, x, code)).double().mean() > 0.8
    one_by_one = [Projection(network)(x[i : i + 1], code[i : i + 1], 3) for i in range(len(x))]
    torch.testing.assert_close(found, torch.cat(one_by_one), rtol=1e-6, atol=1e-6)


def test_it_is_used_where_it_is_faster(global_random_seed):
    size = N_COMPONENTS + 8 + 1
    for width, n_rows, used in [
        (MIN_FEATURES * size, MIN_ROWS * size, True),
        (MIN_FEATURES * size - 1, MIN_ROWS * size, False),
        (MIN_FEATURES * size, MIN_ROWS * size - 1, False),
    ]:
        network = make_network(global_random_seed, n_features=width)
        assert (decoder_span(network, decoder_tangents(network), n_rows) is not None) == used
    for options in ({"hidden": (8, 5), "loss": "log_loss"}, {"loss": "absolute_error"}):
        network = wide_network(global_random_seed, **options)
        assert decoder_span(network, decoder_tangents(network), 1000) is None


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_wide_rows_of_an_estimator_have_the_same_codes(dtype, monkeypatch, global_random_seed):
    rng = np.random.RandomState(global_random_seed)
    X = np.sin(rng.normal(size=(60, 2)) @ rng.normal(size=(2, 200))).astype(dtype)
    estimator = AutoencoderTransformer(
        2, hidden_layer_sizes=(16,), max_iter=10, random_state=global_random_seed
    ).fit(X)
    found = estimator.transform(X)
    assert found.dtype == dtype
    np.testing.assert_allclose(estimator.transform(X[:1]), found[:1], rtol=1e-3, atol=1e-3)
    monkeypatch.setattr(projection, "decoder_span", lambda *arguments: None)
    fitted._PREPARED.clear()
    fitted._COPIES.clear()
    np.testing.assert_allclose(found, estimator.transform(X), rtol=1e-3, atol=1e-3)
    again = clone(estimator).fit(X)
    np.testing.assert_allclose(again.score(X), estimator.score(X), rtol=1e-2)
