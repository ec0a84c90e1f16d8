"""Optimiser steps, gradient clipping, averaged weights, and learning rates."""

from itertools import pairwise

import pytest
import torch
from point import Point, gradient_of, make_rows

from skae._training.optimizer import (
    BASE_WIDTH,
    EPSILON,
    SOLVERS,
    Optimizer,
    WarmupLinearDecay,
    learning_rate_factors,
    warmup_inverse_sqrt,
)


@pytest.fixture
def rows(global_random_seed):
    return make_rows(global_random_seed)


def take_step(optimizer, point, rows):
    """One optimiser step on all rows."""
    optimizer.step(gradient_of(point, rows), torch.arange(len(rows)))


@pytest.mark.parametrize(
    ("solver", "reference"),
    [
        ("adam", lambda w: torch.optim.Adam(w, lr=0.1, eps=EPSILON)),
        ("sgd", lambda w: torch.optim.SGD(w, lr=0.1, momentum=0.9, nesterov=True)),
    ],
)
def test_a_solver_takes_the_steps_of_torch(solver, reference, global_random_seed):
    ours, theirs = torch.ones(3), torch.ones(3)
    steps, optimizer = SOLVERS[solver](ours, [(slice(None), 1.0)], EPSILON), reference([theirs])
    for gradient in torch.randn(20, 3, generator=torch.Generator().manual_seed(global_random_seed)):
        theirs.grad = gradient.clone()
        optimizer.step()
        steps.step(ours, gradient, 0.1)
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("n_networks", [1, 3])
def test_learning_rates_of_wide_hidden_layers_are_divided_by_their_width(
    n_networks, global_random_seed
):
    sizes = [20, 4 * BASE_WIDTH, 2 * BASE_WIDTH, BASE_WIDTH, BASE_WIDTH // 2, 1000, 3]
    layers = [torch.nn.Linear(n_in, n_out) for n_in, n_out in pairwise(sizes)]
    parameters = list(torch.nn.Sequential(*layers).parameters())
    rates = dict.fromkeys(parameters, 0.1)
    rates[layers[1].weight], rates[layers[2].weight] = 0.1 / 4, 0.1 / 2

    torch.manual_seed(global_random_seed)
    ours = torch.cat([p.detach().flatten() for p in parameters]).repeat(n_networks, 1)
    theirs = [p.detach().expand(n_networks, *p.shape).clone() for p in parameters]
    factors = learning_rate_factors(torch.nn.Sequential(*layers))
    steps = SOLVERS["adam"](ours, factors, EPSILON)
    groups = [{"params": [p], "lr": rates[q]} for p, q in zip(theirs, parameters, strict=True)]
    reference = torch.optim.Adam(groups, eps=EPSILON)
    for _ in range(5):
        for p in theirs:
            p.grad = torch.randn(p.shape)
        reference.step()
        steps.step(ours, torch.cat([p.grad.flatten(1) for p in theirs], 1), 0.1)
    torch.testing.assert_close(ours, torch.cat([p.flatten(1) for p in theirs], 1))


def test_gradient_clipping_limits_the_step_of_an_outlying_batch(rows):
    def move(factor):
        point = Point()
        # A learning rate of zero for 20 steps, in which the running norm converges.
        optimizer = Optimizer(point, "sgd", lambda step: 0.01 * (step == 20), loss_scale=1.0)
        for _ in range(20):
            take_step(optimizer, point, rows)
        before = point.at.detach().clone()
        take_step(optimizer, point, rows * factor)
        return (point.at.detach() - before).norm().item()

    # The gradient is clipped to three times its running norm; momentum keeps the step below that.
    assert move(1e6) < 3 * move(1.0)


def test_parameters_are_views_of_one_vector_until_released(rows):
    point = Point()
    optimizer = Optimizer(point, "adam", lambda step: 0.1, loss_scale=1.0)
    take_step(optimizer, point, rows)
    assert torch.equal(optimizer.weights, point.at.detach())
    optimizer.release()
    assert point.at.grad is None
    assert point.at.data_ptr() != optimizer.weights.data_ptr()


def test_averaged_weights_replace_the_weights_within_the_context_only(rows):
    point = Point()
    optimizer = Optimizer(point, "adam", lambda step: 0.1, loss_scale=1.0)
    for _ in range(5):
        take_step(optimizer, point, rows)
    current = point.at.detach().clone()
    with optimizer.ema_weights():
        assert (point.at.detach().abs() < current.abs()).all()  # the average lags behind
    assert torch.equal(point.at.detach(), current)


def test_an_optimizer_continues_from_a_saved_state(rows):
    def optimizer_of(point):
        return Optimizer(point, "adam", warmup_inverse_sqrt(0.1), loss_scale=1.0)

    uninterrupted, resumed = Point(), Point()
    optimizer = optimizer_of(uninterrupted)
    for _ in range(6):
        take_step(optimizer, uninterrupted, rows)
    first = optimizer_of(resumed)
    for _ in range(3):
        take_step(first, resumed, rows)
    state = first.state_dict()
    first.release()
    second = optimizer_of(resumed)
    second.load_state_dict(state)
    for _ in range(3):
        take_step(second, resumed, rows)
    assert torch.equal(uninterrupted.at.detach(), resumed.at.detach())


def test_the_learning_rate_warms_up_and_decays_to_zero():
    rates = [WarmupLinearDecay(0.1, 1000)(step) for step in range(1001)]
    assert 0 < rates[0] < rates[25] < rates[50] == max(rates) <= 0.1
    assert rates[50:] == sorted(rates[50:], reverse=True)
    assert rates[1000] == 0


@pytest.mark.parametrize("n_steps", [1, 2, 5])
def test_a_schedule_of_few_steps_has_no_zero(n_steps):
    assert all(WarmupLinearDecay(0.1, n_steps)(step) > 0 for step in range(n_steps))


def test_the_schedule_of_a_stream_decays_without_reaching_zero():
    rate = warmup_inverse_sqrt(0.1)
    assert rate(0) < rate(100) == 0.1
    assert 0 < rate(10**6) < rate(10**4) < 0.1
