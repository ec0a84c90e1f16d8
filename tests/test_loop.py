"""The training loop on problems small enough to know the answer."""

import math
import subprocess
import sys

import pytest
import torch
from conftest import AUTOENCODERS
from torch import nn

from skae._training.loop import (
    SOLVERS,
    EpochCallback,
    Optimizer,
    TrainingConfig,
    WarmupLinearDecay,
    by_autograd,
    significantly_better,
    split_batches,
    train,
    train_epoch,
    warmup_inverse_sqrt,
)


class Parameters:
    """As much of an estimator as `Plan.of` reads."""

    batch_size, max_iter, n_iter_no_change = "auto", None, None
    tol, solver, learning_rate_init = 1e-4, "adam", 0.005


class Point(nn.Module):
    """A vector that learns to be the mean of the rows."""

    def __init__(self):
        super().__init__()
        self.at = nn.Parameter(torch.zeros(3))

    def loss(self, x):
        return (x - self.at).square().sum(1)


ROWS = torch.randn(400, 3, generator=torch.Generator().manual_seed(0)) + torch.tensor([1.0, 2, 3])


def learn(point, config, held_out=ROWS[300:], callback=None, objective=None):
    order = torch.Generator().manual_seed(1)

    def held_out_errors():
        with torch.no_grad():
            return point.loss(held_out)

    return train(
        point,
        by_autograd(objective or (lambda index: point.loss(ROWS[index]))),
        held_out_errors,
        lambda: torch.randperm(300, generator=order),
        config,
        callback or EpochCallback(),
    )


def gradient_of(point, rows=ROWS):
    return by_autograd(lambda index: point.loss(rows[index])), torch.arange(len(rows))


def config(**changes):
    usual = TrainingConfig(
        32, max_epochs=60, patience=60, tol=1e-4, solver="adam", learning_rate=0.05
    )
    return usual._replace(**changes)


@pytest.mark.parametrize(
    ("solver", "torchs"),
    [
        ("adam", lambda w: torch.optim.Adam(w, lr=0.1)),
        ("sgd", lambda w: torch.optim.SGD(w, lr=0.1, momentum=0.9, nesterov=True)),
    ],
)
def test_a_solver_steps_as_that_of_torch(solver, torchs):
    ours, theirs = torch.ones(3), torch.ones(3)
    steps, optimizer = SOLVERS[solver](ours), torchs([theirs])
    for gradient in torch.randn(20, 3, generator=torch.Generator().manual_seed(0)):
        theirs.grad = gradient.clone()
        optimizer.step()
        steps.step(ours, gradient, 0.1)
    torch.testing.assert_close(ours, theirs)


def test_no_fit_imports_the_compiler_of_torch():
    # It takes seconds, and SymPy half a second: longer than most fits.
    names = [cls.__name__ for cls in AUTOENCODERS]
    program = f"""
import sys, numpy as np, skae
X = np.random.RandomState(0).normal(size=(50, 4))
X[:, 2] = X[:, 0] ** 2
for name in {names}:
    for parameters in ({{}}, {{"image_shape": (2, 2), "hidden_layer_sizes": (3,)}}):
        getattr(skae, name)(max_iter=2, **parameters).fit(X).reconstruct(X)
        assert not {{"torch._dynamo", "sympy"}} & set(sys.modules), (name, parameters)
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", program], check=True)


@pytest.mark.parametrize("solver", SOLVERS)
def test_training_finds_a_known_optimum(solver):
    point = Point()
    rate = 0.05 if solver == "adam" else 0.2  # the loss is divided by its start, about 17
    learn(point, config(solver=solver, learning_rate=rate))
    torch.testing.assert_close(point.at.detach(), ROWS[:300].mean(0), atol=0.15, rtol=0)


def test_the_kept_weights_are_those_of_the_best_epoch():
    point = Point()
    history = learn(point, config())
    assert history.best_epoch == min(
        range(len(history.validation)), key=history.validation.__getitem__
    )
    kept = point.loss(ROWS[300:]).mean().item()
    assert kept == pytest.approx(history.validation[history.best_epoch])


def test_a_chance_improvement_does_not_replace_the_start():
    # Held-out rows about zero: every step towards the rows makes them worse.
    point = Point()
    history = learn(point, config(), held_out=0.1 * torch.randn(50, 3))
    assert history.best_epoch == 0
    assert torch.equal(point.at.detach(), torch.zeros(3))


def test_better_than_chance_wants_the_typical_row_and_the_sum():
    before = torch.ones(50)
    assert significantly_better(0.5 * before, before)
    assert not significantly_better(before, before)
    assert not significantly_better(2 * before, before)
    assert not significantly_better(before[:1] * 0, before[:1])
    # One row carries all of the gain, the others lose a little.
    few = torch.full((50,), 1.01)
    few[0] = 0.0
    assert not significantly_better(few, before.index_fill(0, torch.tensor([0]), 100.0))
    # Most rows gain, and one loses far more.
    rare = torch.full((50,), 0.5)
    rare[0] = 1000.0
    assert not significantly_better(rare, before)


def test_patience_counts_epochs_without_enough_progress():
    point = Point()
    history = learn(point, config(tol=10.0, patience=3))
    assert len(history.training) == 3


def test_a_loss_that_is_not_finite_ends_at_the_best_epoch():
    point, calls = Point(), []

    def objective(index):
        calls.append(None)
        return point.loss(ROWS[index]) * (math.nan if len(calls) > 200 else 1)

    history = learn(point, config(), objective=objective)
    assert history.diverged
    assert 0 < history.best_epoch < 60
    assert torch.isfinite(point.at).all()


def test_an_interruption_ends_at_the_best_epoch():
    point = Point()

    class Interruption(EpochCallback):
        def epoch_ends(self, history, kept):
            if len(history.training) == 20:
                raise KeyboardInterrupt

    history = learn(point, config(), callback=Interruption())
    assert history.interrupted
    assert 0 < history.best_epoch <= 20
    kept = point.loss(ROWS[300:]).mean().item()
    assert kept == pytest.approx(min(history.validation))


def test_an_observer_ends_the_training_with_what_it_was_shown():
    point, shown = Point(), []

    class Stop(EpochCallback):
        def epoch_ends(self, history, kept):
            shown.append(kept())
            return len(history.training) == 20

    history = learn(point, config(), callback=Stop())
    weights, last = shown[-1]
    assert len(shown) == len(history.training) == 20
    assert last == history
    assert torch.equal(weights["at"], point.at)
    assert not torch.equal(shown[5][0]["at"], point.at)


def test_an_epoch_reports_the_mean_loss_of_its_rows():
    point = Point()
    optimizer = Optimizer(point, "adam", lambda step: 0.0, unit=1.0)  # nothing moves
    loss = train_epoch(optimizer, by_autograd(lambda i: point.loss(ROWS[i])), torch.arange(400), 64)
    assert loss == pytest.approx(ROWS.square().sum(1).mean().item(), rel=1e-5)


def test_a_far_out_batch_moves_the_weights_little():
    def move(factor):
        point = Point()
        # Nothing moves in the first 20 steps, in which the usual length is learned.
        optimizer = Optimizer(point, "sgd", lambda step: 0.01 * (step == 20), unit=1.0)
        for _ in range(20):
            optimizer.step(*gradient_of(point))
        before = point.at.detach().clone()
        optimizer.step(*gradient_of(point, ROWS * factor))
        return (point.at.detach() - before).norm().item()

    # The gradient is cut to three times the usual length, and momentum holds the step below that.
    assert move(1e6) < 3 * move(1.0)


def test_parameters_are_views_of_one_vector_until_released():
    point = Point()
    optimizer = Optimizer(point, "adam", lambda step: 0.1, unit=1.0)
    optimizer.step(*gradient_of(point))
    assert torch.equal(optimizer.weights, point.at.detach())
    optimizer.release()
    assert point.at.grad is None
    assert point.at.data_ptr() != optimizer.weights.data_ptr()


def test_the_averaged_weights_are_lent_and_given_back():
    point = Point()
    optimizer = Optimizer(point, "adam", lambda step: 0.1, unit=1.0)
    for _ in range(5):
        optimizer.step(*gradient_of(point))
    current = point.at.detach().clone()
    with optimizer.ema_weights():
        assert (point.at.detach().abs() < current.abs()).all()  # it lags behind
    assert torch.equal(point.at.detach(), current)


def test_a_stepper_goes_on_from_the_state_of_another():
    def stepper_on(point):
        return Optimizer(point, "adam", warmup_inverse_sqrt(0.1), unit=1.0)

    straight, broken = Point(), Point()
    optimizer = stepper_on(straight)
    for _ in range(6):
        optimizer.step(*gradient_of(straight))
    first = stepper_on(broken)
    for _ in range(3):
        first.step(*gradient_of(broken))
    state = first.state_dict()
    first.release()
    second = stepper_on(broken)
    second.load_state_dict(state)
    for _ in range(3):
        second.step(*gradient_of(broken))
    assert torch.equal(straight.at.detach(), broken.at.detach())


@pytest.mark.parametrize("n_rows", [1, 2, 33, 64, 65, 97])
def test_no_batch_is_left_with_a_single_row(n_rows):
    batches = split_batches(torch.arange(n_rows), 32)
    assert torch.equal(torch.cat(list(batches)), torch.arange(n_rows))
    sizes = [len(batch) for batch in batches]
    assert max(sizes) <= 32
    assert max(sizes) - min(sizes) <= 1


def test_the_learning_rate_rises_and_falls_to_zero():
    rates = [WarmupLinearDecay(0.1, 1000)(step) for step in range(1001)]
    assert 0 < rates[0] < rates[25] < rates[50] == max(rates) <= 0.1
    assert rates[50:] == sorted(rates[50:], reverse=True)
    assert rates[1000] == 0


@pytest.mark.parametrize("n_steps", [1, 2, 5])
def test_a_schedule_of_few_steps_is_not_all_zero(n_steps):
    assert all(WarmupLinearDecay(0.1, n_steps)(step) > 0 for step in range(n_steps))


def test_the_endless_schedule_fades_without_end():
    rate = warmup_inverse_sqrt(0.1)
    assert rate(0) < rate(100) == 0.1
    assert 0 < rate(10**6) < rate(10**4) < 0.1


@pytest.mark.parametrize(
    ("n_rows", "batch_size", "max_epochs"),
    [(10, 10, 3000), (800, 100, 375), (5000, 128, 75)],
)
def test_the_default_plan_is_about_3000_steps(n_rows, batch_size, max_epochs):
    found = TrainingConfig.from_params(Parameters, n_rows)
    assert (found.batch_size, found.max_epochs) == (batch_size, max_epochs)
    assert 3000 <= max_epochs * math.ceil(n_rows / batch_size) < 3000 + n_rows / batch_size + 1


def test_many_rows_are_seen_15_times_and_three_more_without_progress():
    found = TrainingConfig.from_params(Parameters, 60_000)
    assert (found.batch_size, found.max_epochs, found.patience) == (128, 15, 3)
