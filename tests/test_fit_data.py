"""The data of a fit: units, held-out rows, seeds."""

import numpy as np
import pytest
import torch
from conftest import make_small
from fitting import make_data

from skae import AutoencoderTransformer


def all_rows(data):
    return data.rows[torch.arange(len(data.rows))]


def data_of(X, X_val=None, groups=None, **parameters):
    return make_data(make_small(AutoencoderTransformer, **parameters), X, X_val, groups)


def test_held_out_rows_are_not_training_rows(digits):
    data = data_of(digits)
    assert not set(data.train.tolist()) & set(data.held_out.tolist())
    assert sorted(torch.cat([data.train, data.held_out]).tolist()) == list(range(300))


@pytest.mark.parametrize(
    ("fraction", "n_rows", "n_held_out"),
    [
        ("auto", 10, 2),  # a quarter
        ("auto", 300, 50),
        ("auto", 1797, 180),  # a tenth
        (0.1, 300, 30),
        (0.001, 300, 1),
        (0.999, 300, 299),
    ],
)
def test_the_number_of_held_out_rows(fraction, n_rows, n_held_out, global_random_seed):
    X = np.random.RandomState(global_random_seed).normal(size=(n_rows, 3))
    assert len(data_of(X, validation_fraction=fraction).held_out) == n_held_out


@pytest.mark.parametrize("fraction", ["auto", 0.05, 0.5, 0.9])
def test_groups_are_held_out_whole(digits, fraction, global_random_seed):
    groups = np.random.RandomState(global_random_seed).randint(20, size=300)
    data = data_of(
        digits, groups=groups, validation_fraction=fraction, random_state=global_random_seed
    )
    assert not set(groups[data.train]) & set(groups[data.held_out])
    assert sorted(torch.cat([data.train, data.held_out]).tolist()) == list(range(300))
    share = 1 / 6 if fraction == "auto" else fraction
    assert len(data.held_out) == pytest.approx(share * 300, abs=20)


def test_groups_are_drawn_at_random(digits):
    groups = np.arange(300) // 15
    held_out = {tuple(data_of(digits, groups=groups, random_state=i).held_out) for i in range(5)}
    assert len(held_out) == 5


def test_with_validation_rows_all_of_X_is_for_training(digits):
    data = data_of(digits[:200], digits[200:])
    assert len(data.train) == 200
    assert len(data.held_out) == 100
    held_out = data.held_out_rows[data.held_out] * data.scale + torch.from_numpy(data.shift)
    np.testing.assert_allclose(held_out, digits[200:], atol=1e-5)


def test_without_early_stopping_all_rows_are_for_training_and_validation(digits):
    data = data_of(digits, early_stopping=False)
    assert len(data.train) == len(data.held_out) == 300


@pytest.mark.parametrize("weighted", [False, True])
def test_the_pca_without_held_out_rows_is_that_of_the_training_rows(
    weighted, digits, global_random_seed
):
    X, data = digits, data_of(digits, random_state=global_random_seed)
    if weighted:
        data.weights = np.random.RandomState(global_random_seed).rand(len(X))
    own, of_all = data.without_held_out(5)._components, data.principal_components(5)
    train = data.train.numpy()
    weights = np.ones(len(X)) if data.weights is None else data.weights
    rows = np.sqrt(weights[train, None]) * (X - data.moments.mean)[train]
    axes = np.linalg.svd(rows, full_matrices=False)[2][:5]
    np.testing.assert_allclose(np.abs(own.components @ axes.T), np.eye(5), atol=1e-6)
    assert not np.allclose(of_all.components, own.components, atol=1e-3)
    residual = rows - rows @ axes.T @ axes
    std = np.sqrt((residual**2).sum(axis=0) / weights[train].sum())
    np.testing.assert_allclose(own.residual_std * data.moments.rms_std, std, atol=1e-6)


def test_pca_stays_where_it_does_not_know_held_out_rows(digits):
    assert data_of(digits, X_val=digits[:9]).without_held_out(2) is None
    many = np.arange(6000.0).reshape(2000, 3) ** 2
    assert data_of(many).without_held_out(1) is not None
    assert data_of(np.vstack([many, -many[1:2]])).without_held_out(1) is None
    exact = digits[:, :1] * np.arange(1, 4)
    assert data_of(exact).without_held_out(1) is None


def test_rows_are_centred_with_unit_variance(digits):
    rows = all_rows(data_of(digits))
    np.testing.assert_allclose(rows.mean(0), 0, atol=1e-6)
    assert rows.var(0, correction=0).mean().item() == pytest.approx(1, rel=1e-5)


@pytest.mark.parametrize("loss", ["log_loss", "poisson"])
def test_losses_that_depend_on_the_units_of_X_keep_them(digits, loss):
    np.testing.assert_allclose(all_rows(data_of(digits, loss=loss)), digits)


def test_seeds_differ_from_each_other():
    seeds = data_of(np.eye(4)).seeds
    assert len(set(seeds)) == len(seeds)
