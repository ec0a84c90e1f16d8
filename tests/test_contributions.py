"""Contributions of features to codes: completeness, and the laws of Aumann-Shapley values."""

import copy

import numpy as np
import pandas as pd
import pytest
import torch
from networks import randomize
from scipy import sparse
from sklearn.decomposition import PCA
from user_network import leaky

from skae import AutoencoderTransformer, SparseAutoencoder
from skae._nn import contributions

PROJECTED = {"transform_max_iter": 2}
SPARSITIES = ("topk", "batch_topk", "lifetime", "l1", "kl", "jumprelu")


def share(values, total):
    """The largest difference, relative to the largest value."""
    return np.abs(values - total).max() / np.abs(total).max()


def difference_from_mean(fitted, X):
    return fitted.transform(X) - fitted.transform(fitted.mean_[None].astype(X.dtype))


@pytest.fixture(scope="module")
def rows(global_random_seed):
    """Rows near a curved surface with a constant column at the end, (80, 6)."""
    rng = np.random.RandomState(global_random_seed)
    t = rng.normal(size=(80, 2))
    X = np.tanh(t @ rng.normal(size=(2, 5)) + 0.3 * t[:, :1] ** 2)
    return np.c_[X, np.full(80, 3.0)] + np.r_[0.1 * np.ones(5), 0] * rng.normal(size=(80, 6))


@pytest.fixture(params=["encoder", "projected"], scope="module")
def explained(request, autoencoder, rows, small):
    """Each class, with the code of the encoder and with a projected code."""
    parameters = {"n_components": 2}
    if request.param == "projected":
        if autoencoder is SparseAutoencoder:
            parameters["hidden_layer_sizes"] = ()
        parameters |= PROJECTED
    elif autoencoder is AutoencoderTransformer:
        parameters["transform_max_iter"] = 0
    return small(autoencoder, max_iter=10, learning_rate_init=0.03, **parameters).fit(rows)


@pytest.mark.parametrize(("dtype", "rtol"), [(np.float64, 1e-9), (np.float32, 1e-5)])
def test_contributions_sum_to_the_difference_from_the_code_of_the_mean_row(
    explained, rows, dtype, rtol
):
    X = rows.astype(dtype)
    found = explained.feature_contributions(X)
    assert found.shape == (80, 2, 6)
    assert found.dtype == dtype
    assert share(found.sum(axis=2), difference_from_mean(explained, X)) < rtol


def test_a_feature_that_equals_its_mean_or_is_constant_contributes_nothing(explained, rows):
    X = rows.copy()
    X[:, 1] = explained.mean_[1]
    found = explained.feature_contributions(X)
    assert not found[:, :, [1, 5]].any()
    assert not explained.feature_contributions(explained.mean_[None]).any()


def test_missing_entries_contribute_nothing_and_are_missing_in_the_mean_row(
    explained, rows, global_random_seed
):
    gaps = np.random.RandomState(global_random_seed).uniform(size=rows.shape) < 0.3
    gaps[0] = True
    X, mean = (np.where(gaps, np.nan, values) for values in (rows, explained.mean_))
    found = explained.feature_contributions(X)
    assert not found.swapaxes(1, 2)[gaps].any()
    expected = explained.transform(X) - explained.transform(mean)
    assert share(found.sum(axis=2), expected) < 1e-5  # in blocks, codes round differently


def test_contributions_of_a_row_do_not_depend_on_the_blocks(explained, rows, monkeypatch):
    expected = explained.feature_contributions(rows)
    monkeypatch.setattr(contributions, "MAX_ENTRIES", 40)
    assert share(explained.feature_contributions(rows), expected) < 1e-9
    one_by_one = np.concatenate([explained.feature_contributions(row[None]) for row in rows[:20]])
    assert share(one_by_one, expected[:20]) < 1e-5
    assert share(explained.feature_contributions(sparse.csr_array(rows)), expected) < 1e-9


def test_features_with_equal_roles_contribute_equally(explained, rows):
    """Symmetry: the network, made equal in two columns, and rows with equal values in both."""
    symmetric = copy.deepcopy(explained)
    of_first = torch.tensor([0, 0, 2, 3, 4, 5])
    for tensor in [*symmetric.network_.parameters(), *symmetric.network_.buffers()]:
        for axis in (axis for axis, size in enumerate(tensor.shape) if size == 6):
            tensor.data = tensor.data.index_select(axis, of_first)
    symmetric.mean_[1] = symmetric.mean_[0]
    X = rows.copy()
    X[:, 1] = X[:, 0]
    found = symmetric.feature_contributions(X)
    assert np.abs(found[:, :, 0]).max() > 0
    np.testing.assert_allclose(found[:, :, 1], found[:, :, 0], atol=1e-9 * np.abs(found).max())


@pytest.mark.parametrize("parameters", [{}, {"whiten": True}, {"transform_max_iter": 0}])
@pytest.mark.parametrize("n_components", [1, 3])
def test_contributions_of_a_linear_autoencoder_are_loadings_times_centred_values(
    rows, n_components, parameters
):
    linear = AutoencoderTransformer(n_components, hidden_layer_sizes=(), **parameters).fit(rows)
    pca = PCA(n_components, whiten="whiten" in parameters).fit(rows)
    scale = np.sqrt(pca.explained_variance_) if pca.whiten else np.ones(n_components)
    expected = (rows - pca.mean_)[:, None] * (pca.components_ / scale[:, None])
    found = linear.feature_contributions(rows)
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_contributions_of_a_linear_autoencoder_are_those_of_least_squares_for_observed_entries(
    rows,
):
    linear = AutoencoderTransformer(2, hidden_layer_sizes=(), transform_max_iter=30).fit(rows)
    gaps = np.isin(np.arange(6), [0, 2])
    found = linear.feature_contributions(np.where(gaps, np.nan, rows))
    inverse = np.linalg.pinv(linear.components_[:, ~gaps]).T
    expected = (rows - linear.mean_)[:, None, ~gaps] * inverse
    np.testing.assert_allclose(found[:, :, ~gaps], expected, atol=1e-6)


def test_contributions_of_an_encoder_are_integrals_of_its_derivative(
    compressing, rows, small, global_random_seed, monkeypatch
):
    fitted = small(compressing, 2, transform_max_iter=0).fit(rows)
    randomize(fitted.network_.network.encoder, global_random_seed, std=0.5)
    mean, x = (torch.from_numpy(row) for row in (fitted.mean_, rows[3]))
    n_nodes, total = 50, 0.0
    for i in range(n_nodes):  # the midpoint rule
        point = torch.lerp(mean, x, (i + 0.5) / n_nodes)[None]
        total += torch.autograd.functional.jacobian(
            lambda row: fitted.network_.encode(row)[0], point
        )[:, 0]
    expected = (total / n_nodes * (x - mean)).numpy()
    found = fitted.feature_contributions(rows[3:4])[0]
    assert share(found, expected) < 0.2  # of two nodes
    monkeypatch.setattr(contributions, "N_ENCODER_NODES", 16)
    found = fitted.feature_contributions(rows[3:4])[0]
    assert share(found, expected) < 1e-2


@pytest.mark.parametrize("loss", ["absolute_error", "log_loss", "poisson"])
def test_contributions_are_complete_for_other_losses(rows, loss, small):
    X = (rows - rows.min(axis=0)) / np.ptp(rows, axis=0).clip(1)
    fitted = small(AutoencoderTransformer, 2, loss=loss).fit(X)
    found = fitted.feature_contributions(X)
    assert share(found.sum(axis=2), difference_from_mean(fitted, X)) < 1e-9


@pytest.mark.parametrize("sparsity", SPARSITIES)
def test_contributions_to_a_unit_are_its_weights_up_to_the_jump(digits, small, sparsity):
    fitted = small(SparseAutoencoder, 50, sparsity=sparsity, hidden_layer_sizes=()).fit(digits)
    codes, mean_code = fitted.transform(digits), fitted.transform(fitted.mean_[None])
    found = fitted.feature_contributions(digits)
    assert share(found.sum(axis=2), codes - mean_code) < 1e-9
    assert not found[(codes == 0) & (mean_code == 0)].any()
    coder = fitted.network_.network
    weight = coder.encoder.effective_weight(coder.decoder).detach().numpy()
    both = np.argwhere((codes > 0) & (mean_code > 0))
    for row, unit in both[:20]:
        expected = weight[unit] * (digits[row] - fitted.mean_)
        np.testing.assert_allclose(found[row, unit], expected, atol=1e-9 * np.abs(found).max())


@pytest.mark.parametrize("n_steps", [0, 2])
def test_networks_with_other_layers_have_contributions(rows, small, n_steps):
    parameters = {"network": leaky, "transform_max_iter": n_steps}
    fitted = small(AutoencoderTransformer, 2, **parameters).fit(rows)
    found = fitted.feature_contributions(rows)
    assert share(found.sum(axis=2), difference_from_mean(fitted, rows)) < 1e-9


@pytest.mark.parametrize("n_steps", [0, 2])
def test_contributions_of_a_category_are_those_of_its_indicators(rows, small, n_steps):
    table = pd.DataFrame(rows[:, :3], columns=["a", "b", "c"])
    table["kind"] = pd.Categorical(np.where(rows[:, 3] > 0, "high", "low"))
    fitted = small(AutoencoderTransformer, 2, transform_max_iter=n_steps).fit(table)
    found = fitted.feature_contributions(table)
    assert found.shape == (80, 2, 4)
    difference = fitted.transform(table) - found.sum(axis=2)
    # The code of the mean row, which is no row of such a table.
    assert share(difference, difference[:1]) < 1e-9
    assert np.abs(found[:, :, 3]).max() > 0
