"""The linear prediction of targets from codes."""

import numpy as np
import pytest
import torch
from fitting import make_data
from torch.autograd.functional import hessian

from skae import SupervisedAutoencoder
from skae._training.fit import training_copy
from skae._training.prediction import fitted_head, mean_row_loss, predict, standard_targets


@pytest.fixture
def rng(global_random_seed):
    return np.random.RandomState(global_random_seed)


@pytest.fixture(params=["classes", "numbers"])
def data(request, digits, rng):
    y = rng.randint(4, size=len(digits)) - 1
    if request.param == "numbers":
        y = np.where(rng.uniform(size=(len(digits), 2)) < 0.3, np.nan, digits[:, 20:22] + 3.0)
    return make_data(SupervisedAutoencoder(random_state=0), digits, y=y)


def test_the_loss_of_the_best_constant_is_the_share_of_known_targets(data):
    targets = standard_targets(data)
    y = targets.train[data.train]
    frequencies = y.nanmean(0)
    constant = frequencies.log() if targets.are_classes else frequencies
    loss = targets.losses(constant.expand_as(y), y).mean()
    assert loss.item() == pytest.approx(targets.known.mean().item(), abs=1e-5)


def test_the_loss_of_the_mean_row_is_the_variance(data):
    expected = (data.rows[data.train] - torch.from_numpy(data.moments.mean - data.shift)).square()
    assert mean_row_loss(data) == pytest.approx(expected.sum(1).mean().item(), rel=0.1)


def test_the_curvature_is_half_of_the_second_derivative(data):
    targets = standard_targets(data)
    predicted = torch.randn(5, targets.train.shape[1], generator=torch.Generator().manual_seed(0))
    y = predicted.softmax(1) if targets.are_classes else predicted
    second = hessian(lambda d: targets.losses(predicted + d, y).mean(), torch.zeros_like(y[0]))
    np.testing.assert_allclose(targets.curvature(predicted), second / 2 * targets.known, atol=1e-6)


def test_missing_targets_have_no_loss_and_no_gradient(data):
    targets = standard_targets(data)
    y = torch.full_like(targets.train[:3], torch.nan)
    predicted = torch.zeros_like(y, requires_grad=True)
    losses = targets.losses(predicted, y)
    losses.sum().backward()
    assert not losses.any()
    assert not predicted.grad.any()


@pytest.mark.parametrize("unit", [1e300, 1e-300, 1.0])
def test_the_units_of_numbers_do_not_matter(digits, unit):
    estimator = SupervisedAutoencoder(random_state=0)
    losses = [
        standard_targets(make_data(estimator, digits, y=y)).train
        for y in (digits[:, 20], unit * digits[:, 20])
    ]
    np.testing.assert_allclose(losses[1], losses[0], atol=1e-5)


def test_far_targets_have_finite_losses(digits):
    y_val = np.array([1e300, -1e300, 1e30, 0.0])
    fitted = SupervisedAutoencoder(max_iter=1, random_state=0)
    fitted.fit(digits, digits[:, 20], X_val=digits[:4], y_val=y_val)
    assert np.isfinite(fitted.validation_curve_).all()


def test_no_other_linear_prediction_has_a_lower_loss(data):
    network = data.objective
    fitted = SupervisedAutoencoder(random_state=0)._initialize(data, 2).fitted
    network = training_copy(fitted.network, data)
    targets = standard_targets(data)
    network.head, _ = fitted_head(network, targets, data)
    network.head.float().requires_grad_()
    code = network.encode(data.rows[data.train]).detach()
    loss = targets.losses(predict(network, code), targets.train[data.train]).mean()
    (slope,) = torch.autograd.grad(loss, network.head.bias)
    assert slope.abs().max() < 1e-3
