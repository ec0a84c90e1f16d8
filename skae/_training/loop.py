"""The training loop: epochs, early stopping, and the choice between the first and best weights."""

import math
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .._data.process_group import Callback
from .acceptance import Acceptance
from .config import TrainingConfig
from .optimizer import Optimizer, WarmupLinearDecay

# A loss below this number, the square of the precision of float32, has nothing to be learned from.
ROUNDING_ERROR = 1e-14


class History(NamedTuple):
    """Losses of the epochs; `validation` also has the loss before training, as epoch 0."""

    training: list[float]
    validation: list[float]
    best_epoch: int
    interrupted: bool = False
    diverged: bool = False
    shrinkage: float = 1.0  # multiplies the network that was trained; see `Acceptance`
    finite_before: bool = True  # whether the losses were finite at the initial weights


# Returns the weights and the history that training would keep if it ended now.
BestSoFar = Callable[[], tuple[dict[str, Tensor], History]]


class Stage(NamedTuple):
    """Epochs with one objective."""

    n_epochs: int
    # gradient(index): the mean loss of the rows at an index; its gradient is left in the parameters
    gradient: Callable[[Tensor], Tensor]


class EpochCallback:
    """Called at each epoch; may end the training. Does nothing by default."""

    def on_epoch_begin(self) -> None:
        """Called before the first step of an epoch."""

    def on_epoch_end(self, history: History, best_so_far: BestSoFar) -> bool:
        """Return whether to stop."""
        return False


def split_batches(index: Tensor, batch_size: int) -> Sequence[Tensor]:
    """Batches of nearly equal size, so that none has a single row."""
    return index.tensor_split(math.ceil(len(index) / batch_size))


def by_autograd(losses: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """The mean of losses of rows, as a function that leaves its gradient in the parameters."""

    def gradient(index: Tensor) -> Tensor:
        loss = losses(index).mean()
        loss.backward()
        return loss.detach()

    return gradient


def train_epoch(
    optimizer: Optimizer, gradient: Callable[[Tensor], Tensor], permutation: Tensor, batch_size: int
) -> float:
    """One pass over the rows in this order; returns the mean of the losses of the steps."""
    total = torch.zeros((), device=permutation.device)
    for index in split_batches(permutation, batch_size):
        total += optimizer.step(gradient, index) * len(index)
    return total.item() / len(permutation)  # the only moment in an epoch when the host waits


# What runs an epoch; `fit_together` replaces it to run the epochs of several fits as one.
RUN_EPOCH: ContextVar[Callable[..., float]] = ContextVar("RUN_EPOCH", default=train_epoch)


def loss_scale_of(initial_error: float) -> float:
    """The divisor of gradients: the initial loss, unless it consists of rounding errors."""
    return initial_error if initial_error > ROUNDING_ERROR else 1.0


def divergence_message(learning_rate: float, *, finite_before: bool) -> str:
    """The message about a loss that is not finite, by whether it was finite before training."""
    if finite_before:
        return (
            "The loss was finite at the initial weights, and is not after steps with "
            f"`learning_rate_init` = {learning_rate}; a tenth of it may help."
        )
    return (
        "The loss is not finite at the initial weights, before any step. Possible causes: values "
        "of X that differ too much in size, very large parameters such as weights of penalties or "
        "levels of noise, or a module or an objective of your own that returns numbers that are "
        "not finite."
    )


class _Best:
    """The history of a training, and the best weights so far."""

    def __init__(
        self,
        network: nn.Module,
        held_out_errors: Callable[[], Tensor],
        acceptance: Acceptance,
        baseline: Tensor | None,
    ):
        self._network, self._held_out_errors, self._acceptance = (
            network,
            held_out_errors,
            acceptance,
        )
        self._before = self._errors = held_out_errors() if baseline is None else baseline
        self.history = History([], [self._before.mean().item()], 0)
        self._initial = self.weights = _snapshot(network)

    def add_epoch(self, loss: float, *, evaluate: bool) -> bool:
        """Record an epoch with the current weights; return whether its losses are finite.

        If the weights are not evaluated, the held-out error of the epoch before is repeated.
        """
        history = self.history
        errors = self._held_out_errors() if evaluate else None
        error = history.validation[-1] if errors is None else errors.mean().item()
        if not math.isfinite(loss + error):
            self.history = history._replace(diverged=True)
            return False
        if errors is not None and error < min(history.validation):
            self.weights, self._errors = _snapshot(self._network), errors
            self.history = history._replace(best_epoch=len(history.validation))
        history.training.append(loss)
        history.validation.append(error)
        return True

    def so_far(self) -> tuple[dict[str, Tensor], History]:
        """The best weights if they are significantly better, else the initial ones."""
        factor = 0.0
        if self.history.best_epoch:
            factor = self._acceptance.best_factor(self._shrunk_errors, self._before)
        if factor:
            return self.weights, self.history._replace(shrinkage=factor)
        return self._initial, self.history._replace(best_epoch=0)

    def begins_finite(
        self, gradient: Callable[[Tensor], Tensor], batches: Sequence[Tensor]
    ) -> bool:
        """Whether the losses of all batches are finite at the initial weights, which are loaded."""
        self._network.load_state_dict(self._initial)
        losses = torch.stack([gradient(index).detach() for index in batches])
        return bool(torch.isfinite(losses).all())

    def _shrunk_errors(self, factor: float) -> Tensor:
        if factor == 1:
            return self._errors
        current = _snapshot(self._network)
        self._network.load_state_dict(self.weights)
        self._network.shrink(factor)  # type: ignore[operator]  # an Autoencoder
        errors = self._held_out_errors()
        self._network.load_state_dict(current)
        return errors


def train(
    network: nn.Module,
    stages: Sequence[Stage],
    held_out_errors: Callable[[], Tensor],
    acceptance: Acceptance,
    permutations: Callable[[], Tensor],
    config: TrainingConfig,
    callback: Callback,
    baseline: Tensor | None = None,
) -> History:
    """Train `network` in place and leave it at the epoch with the lowest held-out error.

    The held-out error of an epoch is that of the moving average of the weights, which is also what
    is kept. Epochs are evaluated about every `config.min_steps_evaluated` steps; the other epochs
    repeat the last error. The weights before the first step are epoch 0; they are replaced only by
    a significant improvement. A KeyboardInterrupt, the callback, or a loss that is not finite ends
    the training at the best epoch so far.

    Parameters
    ----------
    network : Module
        In float32, on the device.
    stages : sequence of Stage
        Each begins with the best weights of the one before it. The first ones end early, too, but
        the learning rate is that of the plan.
    held_out_errors : callable
        Returns the error of each held-out row.
    acceptance : Acceptance
        The evidence with which the initial weights are replaced.
    permutations : callable
        Returns the next order of the training rows.
    baseline : Tensor or None
        The errors of held-out rows that are to be improved, instead of those before the first step.
    """
    best = _Best(network, held_out_errors, acceptance, baseline)
    margin = config.tol * (initial_error := best.history.validation[0])
    threshold, last_progress, position, began = initial_error - margin, 0, 0, 0
    permutation = permutations()
    n_steps = math.ceil(len(permutation) / config.batch_size)
    interval = min(math.ceil(config.min_steps_evaluated / n_steps), config.patience)
    schedule = WarmupLinearDecay(config.learning_rate, config.n_steps(len(permutation)))
    loss_scale = loss_scale_of(initial_error)
    optimizer = Optimizer(network, config.solver, schedule, loss_scale, epsilon=config.epsilon)
    try:
        for epoch in range(1, config.max_epochs + 1):
            callback.on_epoch_begin()
            stage = stages[position]
            loss = RUN_EPOCH.get()(optimizer, stage.gradient, permutation, config.batch_size)
            ends_stage = epoch - began >= stage.n_epochs or epoch == config.max_epochs
            with optimizer.ema_weights():
                is_finite = best.add_epoch(loss, evaluate=ends_stage or epoch % interval == 0)
            if not is_finite:
                finite = math.isfinite(initial_error) and best.begins_finite(
                    stage.gradient, split_batches(permutation, config.batch_size)
                )
                best.history = best.history._replace(finite_before=finite)
                break
            if (error := best.history.validation[-1]) < threshold:
                threshold, last_progress = error - margin, epoch
            if callback.on_epoch_end(best.history, best.so_far):
                break
            if epoch - last_progress >= config.patience or ends_stage:
                if stage is stages[-1]:
                    break
                network.load_state_dict(best.weights)
                optimizer.continue_at(n_steps * sum(s.n_epochs for s in stages[: position + 1]))
                position, began, last_progress = position + 1, epoch, epoch
            permutation = permutations()
    except KeyboardInterrupt:
        best.history = best.history._replace(interrupted=True)
    weights, history = best.so_far()
    network.load_state_dict(weights)
    optimizer.release()
    return history


def _snapshot(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}
