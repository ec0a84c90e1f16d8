"""The training loop on a problem whose solution is known."""

import math
import subprocess
import sys
from functools import partial

import pytest
import torch
from conftest import AUTOENCODERS
from point import Point, gradient_of, make_rows

from skae._training.acceptance import Acceptance
from skae._training.config import TrainingConfig
from skae._training.loop import (
    EpochCallback,
    Stage,
    by_autograd,
    split_batches,
    train,
    train_epoch,
)
from skae._training.optimizer import SOLVERS, Optimizer, WarmupLinearDecay


@pytest.fixture
def rows(global_random_seed):
    """300 training rows and 100 held-out rows."""
    return make_rows(global_random_seed)


@pytest.fixture
def learn(rows, global_random_seed):
    """A function that trains a point."""
    rng = torch.Generator().manual_seed(global_random_seed + 1)

    def learn(point, config, held_out=rows[300:], callback=None, loss=None, stages=None):
        def held_out_errors():
            with torch.no_grad():
                return point.loss(held_out)

        gradient = by_autograd(loss) if loss else gradient_of(point, rows)
        return train(
            point,
            stages or [Stage(config.max_epochs, gradient)],
            held_out_errors,
            Acceptance(),
            lambda: torch.randperm(300, generator=rng),
            config,
            callback or EpochCallback(),
        )

    return learn


def config(**changes):
    defaults = TrainingConfig(
        32, max_epochs=60, patience=60, tol=1e-4, solver="adam", learning_rate=0.05
    )
    return defaults._replace(**changes)


def test_neither_fits_nor_files_import_the_compiler_of_torch(tmp_path):
    # The import takes seconds, and that of SymPy half a second: longer than most fits.
    names, path = [cls.__name__ for cls in AUTOENCODERS], str(tmp_path / "estimator.skae")
    program = f"""
import sys, numpy as np, skae
from skae._imputation.correction_networks import CorrectionConfig
X = np.random.RandomState(0).normal(size=(50, 4))
X[:, 2] = X[:, 0] ** 2
fitted = []
for name in {names}:
    for parameters in ({{}}, {{"image_shape": (2, 2), "hidden_layer_sizes": (3,)}}):
        fitted.append(getattr(skae, name)(max_iter=2, **parameters).fit(X, np.arange(50) % 2))
        fitted[-1].reconstruct(X)
        assert not {{"torch._dynamo", "sympy"}} & set(sys.modules), (name, parameters)
X[:, 1] = X[:, 1] > 0
X[::5, 1] = np.nan
skae.AutoencoderImputer._config = CorrectionConfig(max_steps=20, check_interval=10)
skae.AutoencoderImputer(categorical_features=[1]).fit(X[:40, :2])
assert not {{"torch._dynamo", "sympy"}} & set(sys.modules)
for estimator in fitted:
    skae.save(estimator, {path!r})
    skae.load({path!r})
    assert "torch._dynamo" not in sys.modules, estimator
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", program], check=True)


@pytest.mark.parametrize("solver", SOLVERS)
def test_training_finds_a_known_optimum(solver, rows, learn):
    point = Point()
    rate = 0.05 if solver == "adam" else 0.2  # the loss is divided by its start, about 17
    learn(point, config(solver=solver, learning_rate=rate), held_out=rows[:300])
    torch.testing.assert_close(point.at.detach(), rows[:300].mean(0), atol=0.02, rtol=0)


def test_the_kept_weights_are_those_of_the_best_epoch(rows, learn):
    point = Point()
    history = learn(point, config())
    assert history.best_epoch == min(
        range(len(history.validation)), key=history.validation.__getitem__
    )
    kept = point.loss(rows[300:]).mean().item()
    assert kept == pytest.approx(history.validation[history.best_epoch])


def test_an_insignificant_improvement_does_not_replace_the_initial_weights(rows, learn):
    # Held-out rows near zero: every step towards the training rows increases their loss.
    point = Point()
    history = learn(point, config(), held_out=0.1 * (rows[300:] - rows.mean(0)))
    assert history.best_epoch == 0
    assert torch.equal(point.at.detach(), torch.zeros(3))


def test_patience_counts_epochs_without_enough_progress(learn):
    point = Point()
    history = learn(point, config(tol=10.0, patience=3))
    assert len(history.training) == 3


def test_held_out_rows_are_evaluated_after_some_steps_at_the_earliest(rows, learn):
    every = learn(Point(), config(max_epochs=11))
    third = learn(Point(), config(max_epochs=11, min_steps_evaluated=3 * N_BATCHES))
    evaluated = [0, 3, 6, 9, 11]  # also after the last epoch
    assert [i for i in range(12) if i == 0 or third.validation[i] != third.validation[i - 1]] == (
        evaluated
    )
    assert len(third.validation) == len(every.validation) == 12


def test_held_out_rows_are_evaluated_once_at_the_weights_of_an_epoch(learn):
    evaluated = []

    class CountingPoint(Point):
        def loss(self, x):
            if not torch.is_grad_enabled():
                evaluated.append(self.at.clone())
            return super().loss(x)

    history = learn(CountingPoint(), config(max_epochs=5))
    assert history.best_epoch > 0
    assert len(evaluated) == 6


def test_patience_of_one_epoch_needs_every_evaluation(learn):
    history = learn(Point(), config(max_epochs=11, patience=1, min_steps_evaluated=1000))
    assert len(history.training) == 11
    assert len(set(history.validation)) == 12


def learn_in_stages(learn, rows, n_epochs, config, losses, **options):
    """Train with one loss after the other; returns the point at each batch and the history."""
    point, seen = Point(), [[] for _ in losses]

    def gradient_and_record(loss, at):
        gradient = by_autograd(lambda index: loss(point, rows[index]))

        def recorded(index):
            at.append(point.at.detach().clone())
            return gradient(index)

        return recorded

    stages = [
        Stage(n, gradient_and_record(loss, at))
        for n, loss, at in zip(n_epochs, losses, seen, strict=True)
    ]
    history = learn(point, config, stages=stages, **options)
    return point, seen, history


def away(point, x):
    """A loss that leads away from the optimum of the held-out error."""
    return point.loss(-x)


N_BATCHES = 10  # 300 rows in batches of 32


def test_each_stage_has_its_epochs(rows, learn):
    _, seen, history = learn_in_stages(
        learn, rows, (7, 3), config(max_epochs=10), (Point.loss, Point.loss)
    )
    assert [len(at) for at in seen] == [7 * N_BATCHES, 3 * N_BATCHES]
    assert len(history.training) == 10


def test_a_stage_begins_with_the_best_weights_of_the_one_before_it(rows, learn):
    weights = []

    class Recording(EpochCallback):
        def on_epoch_end(self, history, best_so_far):
            weights.append(best_so_far()[0]["at"])

    class Wandering:
        """Learns for three epochs, and then to go away from the optimum."""

        n_steps = 0

        def __call__(self, point, x):
            self.n_steps += 1
            return (point.loss if self.n_steps <= 3 * N_BATCHES else partial(away, point))(x)

    learned = partial(learn_in_stages, learn, rows, (20, 5), config(max_epochs=25))
    _, seen, history = learned((Wandering(), away), callback=Recording())
    # The averaged weights lag behind: they improve for some more epochs.
    assert 3 <= history.best_epoch < 20
    assert torch.equal(seen[1][0], weights[history.best_epoch - 1])
    assert not torch.equal(seen[0][-1], seen[1][0])


def test_a_stage_without_progress_is_followed_by_the_next_one(rows, learn):
    _, seen, history = learn_in_stages(
        learn, rows, (40, 20), config(patience=3), (away, Point.loss)
    )
    assert torch.equal(seen[1][0], torch.zeros(3))  # each step led away
    assert [len(at) for at in seen] == [3 * N_BATCHES, 20 * N_BATCHES]
    assert history.best_epoch > 3


def test_the_learning_rate_of_a_stage_does_not_depend_on_the_end_of_the_one_before_it(rows, learn):
    rates = []

    class Recording(WarmupLinearDecay):
        def __call__(self, step):
            rates.append(super().__call__(step))
            return rates[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("skae._training.loop.WarmupLinearDecay", Recording)
        for patience in (3, 60):
            learn_in_stages(learn, rows, (40, 20), config(patience=patience), (away, Point.loss))
    early, planned = rates[: 23 * N_BATCHES], rates[23 * N_BATCHES :]
    assert len(planned) == 60 * N_BATCHES
    assert early[3 * N_BATCHES :] == planned[40 * N_BATCHES :]


def test_a_loss_that_is_not_finite_ends_at_the_best_epoch(rows, learn):
    point, calls = Point(), []

    def loss(index):
        calls.append(None)
        return point.loss(rows[index]) * (math.nan if len(calls) > 200 else 1)

    history = learn(point, config(), loss=loss)
    assert history.diverged
    assert 0 < history.best_epoch < 60
    assert torch.isfinite(point.at).all()


def test_an_interruption_ends_at_the_best_epoch(rows, learn):
    point = Point()

    class Interruption(EpochCallback):
        def on_epoch_end(self, history, best_so_far):
            if len(history.training) == 20:
                raise KeyboardInterrupt

    history = learn(point, config(), callback=Interruption())
    assert history.interrupted
    assert 0 < history.best_epoch <= 20
    kept = point.loss(rows[300:]).mean().item()
    assert kept == pytest.approx(min(history.validation))


def test_a_callback_that_stops_training_has_seen_the_final_weights(learn):
    point, seen = Point(), []

    class Stop(EpochCallback):
        def on_epoch_end(self, history, best_so_far):
            seen.append(best_so_far())
            return len(history.training) == 20

    history = learn(point, config(), callback=Stop())
    weights, last = seen[-1]
    assert len(seen) == len(history.training) == 20
    assert last == history
    assert torch.equal(weights["at"], point.at)
    assert not torch.equal(seen[5][0]["at"], point.at)


def test_an_epoch_reports_the_mean_loss_of_its_rows(rows):
    point = Point()
    optimizer = Optimizer(point, "adam", lambda step: 0.0, loss_scale=1.0)  # no step
    loss = train_epoch(optimizer, gradient_of(point, rows), torch.arange(400), 64)
    assert loss == pytest.approx(rows.square().sum(1).mean().item(), rel=1e-5)


@pytest.mark.parametrize("n_rows", [1, 2, 33, 64, 65, 97])
def test_batches_differ_by_one_row_at_most(n_rows):
    batches = split_batches(torch.arange(n_rows), 32)
    assert torch.equal(torch.cat(list(batches)), torch.arange(n_rows))
    sizes = [len(batch) for batch in batches]
    assert max(sizes) <= 32
    assert max(sizes) - min(sizes) <= 1
