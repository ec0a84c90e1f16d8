"""What a fit learns from: units, held-out rows, streams of chance."""

import numpy as np
import pytest
import torch
from conftest import quick

from skae import AutoencoderTransformer
from skae._training.fit_data import make_task


def all_rows(data):
    return data.rows.take(torch.arange(len(data.rows)))


def task_of(X, X_val=None, **parameters):
    return make_task(quick(AutoencoderTransformer, **parameters), X, X_val, None)


def test_held_out_rows_do_not_train(digits):
    data = task_of(digits)
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
def test_how_many_rows_are_held_out(fraction, n_rows, n_held_out):
    X = np.random.RandomState(0).normal(size=(n_rows, 3))
    assert len(task_of(X, validation_fraction=fraction).held_out) == n_held_out


def test_validation_rows_of_the_user_judge_and_all_of_X_trains(digits):
    data = task_of(digits[:200], digits[200:])
    assert len(data.train) == 200
    assert len(data.held_out) == 100
    judged = data.held_out_rows.take(data.held_out) * data.scale + torch.from_numpy(data.shift)
    np.testing.assert_allclose(judged, digits[200:], atol=1e-5)


def test_without_early_stopping_all_rows_train_and_judge(digits):
    data = task_of(digits, early_stopping=False)
    assert len(data.train) == len(data.held_out) == 300


def test_standard_units_are_centred_with_unit_spread(digits):
    rows = all_rows(task_of(digits))
    np.testing.assert_allclose(rows.mean(0), 0, atol=1e-6)
    assert rows.var(0, correction=0).mean().item() == pytest.approx(1, rel=1e-5)


@pytest.mark.parametrize("loss", ["log_loss", "poisson"])
def test_losses_tied_to_the_units_of_X_keep_them(digits, loss):
    np.testing.assert_allclose(all_rows(task_of(digits, loss=loss)), digits)


def test_streams_of_chance_differ_from_each_other():
    seeds = task_of(np.eye(4)).seeds
    assert len(set(seeds)) == len(seeds)
