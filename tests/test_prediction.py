"""The linear prediction of targets from codes."""

import tracemalloc

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
    # A softmax does not depend on the sum.
    constant = y.nanmean(0) if targets.n_classes is None else y[y >= 0].bincount().log() + 7.0
    loss = targets.losses(constant.expand(len(y), -1), y).mean()
    assert loss.item() == pytest.approx(targets.known.mean().item(), abs=1e-5)


def test_the_loss_of_the_mean_row_is_the_variance(data):
    expected = (data.rows[data.train] - torch.from_numpy(data.moments.mean - data.shift)).square()
    assert mean_row_loss(data) == pytest.approx(expected.sum(1).mean().item(), rel=0.1)


def test_the_curvature_is_half_of_the_second_derivative(data):
    targets = standard_targets(data)
    rng = torch.Generator().manual_seed(0)
    predicted = torch.randn(5, targets.n_outputs, generator=rng)

    def expected_loss(change):
        if targets.n_classes is None:
            return targets.losses(predicted + change, predicted).mean()
        # Each class, as often as it is predicted.
        y = torch.arange(targets.n_classes).repeat(5)
        losses = targets.losses((predicted + change).repeat_interleave(targets.n_classes, 0), y)
        return predicted.softmax(1).flatten() @ losses / 5

    second = hessian(expected_loss, torch.zeros_like(predicted[0]))
    np.testing.assert_allclose(targets.curvature(predicted), second / 2 * targets.known, atol=1e-6)


def test_missing_targets_have_no_loss_and_no_gradient(data):
    targets = standard_targets(data)
    y = torch.full_like(targets.train[:3], torch.nan if targets.n_classes is None else -1)
    predicted = torch.zeros(3, targets.n_outputs, requires_grad=True)
    losses = targets.losses(predicted, y)
    losses.sum().backward()
    assert not losses.any()
    assert not predicted.grad.any()


def test_the_start_does_not_depend_on_the_blocks_of_rows(data, monkeypatch):
    network = SupervisedAutoencoder(random_state=0)._initialize(data, 2).fitted.network
    head, curvature = fitted_head(network, standard_targets(data), data)
    monkeypatch.setattr("skae._training.prediction.HEAD_BLOCKS", 0)  # the least number of rows
    in_blocks = fitted_head(network, standard_targets(data), data)
    torch.testing.assert_close(in_blocks[0].weight, head.weight, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(in_blocks[1], curvature, rtol=1e-4, atol=1e-6)


def test_the_memory_of_targets_does_not_grow_with_the_number_of_classes(rng):
    X = rng.normal(size=(2000, 3))
    sizes = []
    for n_classes in (2, 1000):
        data = make_data(SupervisedAutoencoder(random_state=0), X, y=np.arange(2000) % n_classes)
        tracemalloc.start()  # of NumPy's arrays
        targets = standard_targets(data)
        sizes.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        sizes[-1] += targets.train.nbytes + data.targets.values.nbytes
    assert sizes[1] < 2 * sizes[0]


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
