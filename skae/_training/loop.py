"""The training loop: epochs, steps, the learning-rate schedule and stopping. Knows no estimator."""

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim.adam import adam


class Adam:
    """Adam (Kingma and Ba, 2015) on one vector of weights, by torch's functional form.

    `torch.optim.Adam` does the same, but the first one of a process imports torch's compiler: that
    takes seconds, and 70 MB, before the first step.
    """

    def __init__(self, weights: Tensor):
        self.state = {
            "mean": torch.zeros_like(weights),
            "square": torch.zeros_like(weights),
            "n_steps": torch.zeros((), device=weights.device),
        }

    def step(self, weights: Tensor, gradient: Tensor, learning_rate: float) -> None:
        """Move the weights."""
        mean, square, n_steps = self.state.values()
        # Fused: one kernel; written as operations on vectors it takes twice as long.
        adam(
            [weights], [gradient], [mean], [square], [], [n_steps], fused=True,
            lr=learning_rate, beta1=0.9, beta2=0.999, eps=1e-8,
            weight_decay=0.0, amsgrad=False, maximize=False,
        )  # fmt: skip


class NesterovSGD:
    """Stochastic gradient descent with Nesterov momentum 0.9 on one vector of weights."""

    def __init__(self, weights: Tensor):
        self.state = {"velocity": torch.zeros_like(weights)}

    def step(self, weights: Tensor, gradient: Tensor, learning_rate: float) -> None:
        """Move the weights."""
        velocity = self.state["velocity"].mul_(0.9).add_(gradient)
        weights.add_(gradient + 0.9 * velocity, alpha=-learning_rate)


SOLVERS: dict[str, Callable[[Tensor], Adam | NesterovSGD]] = {"adam": Adam, "sgd": NesterovSGD}

# The running average of the weights forgets over some 100 steps; without it the held-out error is
# 1 to 2 % higher.
AVERAGING = 0.99

# A gradient longer than this many times its running norm is cut to that length: it comes from a few
# far-out rows, and one such step can spoil the reconstruction of others like them for good.
CLIP_RATIO = 3.0

# The first steps are small, while Adam's second moments are still few.
WARMUP_STEPS = 50

OUT_OF_MEMORY = (
    "The device ran out of memory at a batch of {} rows: gradients are summed over parts of the "
    "batches, which is slower but the same training. A smaller `batch_size` needs less memory."
)

# What training needs is steps, many epochs of small data, but a few epochs of large data too.
# Measured, with the other defaults, by `benchmarks/never_worse.py`: 2000 steps at most cost 2 % of
# error, a patience of 600 gains 0.4 % and takes half as long again.
DEFAULT_STEPS, DEFAULT_EPOCHS = 3000, 15
PATIENCE_STEPS, PATIENCE_EPOCHS = 300, 3


class TrainingConfig(NamedTuple):
    """How long to train, and in which steps."""

    batch_size: int
    max_epochs: int
    patience: int  # epochs without an improvement of at least `tol` times the starting error
    tol: float
    solver: str
    learning_rate: float

    @classmethod
    def from_params(cls, parameters: Any, n_rows: int) -> "TrainingConfig":
        """What the parameters of an estimator mean for this number of training rows."""
        batch_size = parameters.batch_size
        if batch_size == "auto":
            batch_size = min(128, max(16, n_rows // 8))
        steps_per_epoch = math.ceil(n_rows / batch_size)
        default_epochs = max(math.ceil(DEFAULT_STEPS / steps_per_epoch), DEFAULT_EPOCHS)
        default_patience = max(math.ceil(PATIENCE_STEPS / steps_per_epoch), PATIENCE_EPOCHS)
        return cls(
            min(batch_size, n_rows),
            parameters.max_iter or default_epochs,
            parameters.n_iter_no_change or default_patience,
            parameters.tol,
            parameters.solver,
            parameters.learning_rate_init,
        )

    def n_steps(self, n_rows: int) -> int:
        """The number of steps on so many rows, if patience does not end them."""
        return self.max_epochs * math.ceil(n_rows / self.batch_size)


class History(NamedTuple):
    """What happened: one entry an epoch in each curve; `validation` begins with epoch 0."""

    training: list[float]
    validation: list[float]
    best_epoch: int
    interrupted: bool
    diverged: bool


class EpochCallback:
    """Is told of each epoch and may end the training. This one takes no interest."""

    def epoch_begins(self) -> None:
        """Called before the first step of an epoch."""

    def epoch_ends(
        self, history: History, kept: Callable[[], tuple[dict[str, Tensor], History]]
    ) -> bool:
        """Whether to stop; `kept()` are the weights and the history that stopping now leaves."""
        return False


class Optimizer:
    """Takes optimisation steps on a network, at a learning rate that follows a schedule.

    Gradients are divided by `unit`, the error at the start: they are then of order one whatever the
    data, as Adam's epsilon expects. With `n_axes` = 1 the parameters have a leading axis of
    networks, and `unit` is of shape (n_networks, 1).
    """

    def __init__(
        self,
        network: nn.Module,
        solver: str,
        schedule: Callable[[int], float],
        unit: float | Tensor,
        n_axes: int = 0,
    ):
        self._network = network
        self.weights, self._gradient = _flatten(network, n_axes)
        self.average = self.weights.clone()
        self._solver = SOLVERS[solver](self.weights)
        self.solver, self.schedule, self.unit = solver, schedule, unit
        self.running_norm: Tensor | None = None
        self.n_steps = 0
        self._n_pieces = 1  # that a batch is cut into, as the device cannot hold it whole

    def step(self, gradient: Callable[..., Tensor], index: Tensor | Sequence[Tensor]) -> Tensor:
        """Move the weights against the gradient at some rows; returns their mean loss."""
        loss = self._mean_gradient(gradient, index)
        self._cut_long_gradient()
        self._solver.step(self.weights, self._gradient, self.schedule(self.n_steps))
        self.n_steps += 1
        share = max(1 - AVERAGING, 10 / (self.n_steps + 10))
        self.average.lerp_(self.weights, share)
        return loss

    def _mean_gradient(
        self, gradient: Callable[..., Tensor], index: Tensor | Sequence[Tensor]
    ) -> Tensor:
        """The gradient of a whole batch, by pieces of it once the device has run out of memory."""
        try:
            self._gradient.zero_()
            if self._n_pieces == 1 or not isinstance(index, Tensor):
                return gradient(index)
            total, loss = torch.zeros_like(self._gradient), self._gradient.new_zeros(())
            for piece in index.tensor_split(min(self._n_pieces, len(index))):
                self._gradient.zero_()
                loss += gradient(piece) * len(piece) / len(index)
                total.add_(self._gradient, alpha=len(piece) / len(index))
            self._gradient.copy_(total)
            return loss
        except torch.cuda.OutOfMemoryError as error:
            if self._n_pieces >= len(index) or not isinstance(index, Tensor):
                raise MemoryError(
                    "The device has no memory even for the gradient of a single row: make "
                    "`hidden_layer_sizes` smaller or use another `device`."
                ) from error
        # Not among the `except`, where the error would keep what it failed at in memory.
        if self._n_pieces == 1:
            warnings.warn(OUT_OF_MEMORY.format(len(index)), RuntimeWarning, stacklevel=2)
        self._n_pieces *= 2
        return self._mean_gradient(gradient, index)

    def _cut_long_gradient(self) -> None:
        norm = torch.linalg.vector_norm(self._gradient, dim=-1, keepdim=True)
        if self.running_norm is None:
            self.running_norm = norm
        # All on the device: no branch that would make the host wait for the value.
        cut = torch.minimum(norm, CLIP_RATIO * self.running_norm)
        self._gradient.mul_(cut / (norm.clamp_min(1e-30) * self.unit))
        self.running_norm = torch.lerp(self.running_norm, cut, 0.05)

    @contextmanager
    def ema_weights(self) -> Iterator[None]:
        """The network with its averaged weights, for as long as the context lasts."""
        current = self.weights.clone()
        self.weights.copy_(self.average)
        yield
        self.weights.copy_(current)

    def release(self) -> None:
        """Give each parameter memory of its own again, and drop the gradients."""
        for parameter in _learned(self._network):
            parameter.data = parameter.data.clone()
            parameter.grad = None

    def state_dict(self) -> dict[str, Any]:
        """What a later stepper needs to go on from here."""
        return {"solver": self._solver.state, "n_steps": self.n_steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from where another stepper stopped."""
        self._solver.state = {name: value.clone() for name, value in state["solver"].items()}
        self.n_steps = state["n_steps"]

    def state(self) -> dict[str, Tensor]:
        """All that steps change: vectors as long as the weights, and counts."""
        return self._solver.state | {"weights": self.weights, "average": self.average}


def _flatten(network: nn.Module, n_axes: int) -> tuple[Tensor, Tensor]:
    """Move all parameters, and their gradients, into one vector each: one kernel for a step."""
    parameters = _learned(network)
    weights = torch.cat([p.detach().flatten(n_axes) for p in parameters], -1)
    gradient = torch.zeros_like(weights)
    sizes = [p.shape[n_axes:].numel() for p in parameters]
    pieces = zip(parameters, weights.split(sizes, -1), gradient.split(sizes, -1), strict=True)
    for parameter, weight_piece, gradient_piece in pieces:
        parameter.data = weight_piece.view_as(parameter)
        parameter.grad = gradient_piece.view_as(parameter)
    return weights, gradient


def _learned(network: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in network.parameters() if parameter.requires_grad]


@dataclass(frozen=True)
class WarmupLinearDecay:
    """A schedule: a linear warm-up, then a linear fall to zero at `n_steps`."""

    learning_rate: float
    n_steps: int

    def __call__(self, step: int) -> float:
        """The learning rate of a step."""
        warmup = min(WARMUP_STEPS, self.n_steps / 4)
        rise, left = (step + 1) / (warmup + 1), max(self.n_steps - step, 0)
        return self.learning_rate * min(1.0, rise, left / (self.n_steps - warmup))


def warmup_inverse_sqrt(learning_rate: float) -> Callable[[int], float]:
    """A linear warm-up, then a slow fall without an end, for streams of unknown length."""
    return lambda step: (
        learning_rate
        * min(1.0, (step + 1) / (WARMUP_STEPS + 1), (WARMUP_STEPS * 10 / (step + 1)) ** 0.5)
    )


def split_batches(index: Tensor, batch_size: int) -> Sequence[Tensor]:
    """Batches of nearly equal size, so that none is left with a single row."""
    return index.tensor_split(math.ceil(len(index) / batch_size))


def by_autograd(objective: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """The mean of a loss by row, as a function that leaves its gradient in the parameters."""

    def gradient(index: Tensor) -> Tensor:
        loss = objective(index).mean()
        loss.backward()
        return loss.detach()

    return gradient


def train_epoch(
    optimizer: Optimizer, gradient: Callable[[Tensor], Tensor], permutation: Tensor, batch_size: int
) -> float:
    """One pass over the rows in this order; returns the mean loss met on the way."""
    total = torch.zeros((), device=permutation.device)
    for index in split_batches(permutation, batch_size):
        total += optimizer.step(gradient, index) * len(index)
    return total.item() / len(permutation)  # the only moment in an epoch when the host waits


# What runs an epoch: fits that are made together run theirs together, see `_together.py`.
RUN_EPOCH: ContextVar[Callable[..., float]] = ContextVar("RUN_EPOCH", default=train_epoch)


def significantly_better(after: Tensor, before: Tensor) -> bool:
    """Whether rows come back better: on the whole by two standard errors, typically by three.

    Held-out rows are few, and in raw data a few of them carry most of the error. So the mean error
    alone is a matter of luck; the relative change of each row is in [-1, 1] and is not, but knows
    nothing of the few. Of 114 fits to hard small sets both together left none worse than PCA, where
    the lowest mean error alone left nine; one standard error instead of two left two.
    """
    if len(before) < 2:
        return False
    on_the_whole, typically = gains_in_standard_errors(after, before)
    return on_the_whole > 2 and typically > 3


def gains_in_standard_errors(after: Tensor, before: Tensor) -> tuple[float, float]:
    """How much less the errors of rows are, on the whole and relative to each of them."""
    gain = before - after
    relative = gain / (before + after).clamp_min(1e-30)
    return _in_standard_errors(gain), _in_standard_errors(relative)


def _in_standard_errors(change: Tensor) -> float:
    return (change.mean() / (change.std() / math.sqrt(len(change))).clamp_min(1e-30)).item()


def train(
    network: nn.Module,
    gradient: Callable[[Tensor], Tensor],
    held_out_errors: Callable[[], Tensor],
    permutations: Callable[[], Tensor],
    config: TrainingConfig,
    callback: EpochCallback,
) -> History:
    """Train `network` in place and leave it at the epoch with the lowest held-out error.

    `gradient(index)` returns the mean loss of the rows at `index` and leaves its gradient in the
    parameters, `held_out_errors()` is the error of each held-out row, `permutations()` the next
    order of the training rows. What is judged and kept are running averages of the weights. The
    weights before the first step are epoch 0, and yield only to an improvement that is better than
    chance. A KeyboardInterrupt, the `observer`, or a loss that is not finite ends the training at
    the best epoch so far.
    """
    before = best = held_out_errors()
    history = History([], [before.mean().item()], 0, interrupted=False, diverged=False)
    margin = config.tol * history.validation[0]
    bar, last_progress = history.validation[0] - margin, 0
    permutation = permutations()
    schedule = WarmupLinearDecay(config.learning_rate, config.n_steps(len(permutation)))
    optimizer = Optimizer(network, config.solver, schedule, history.validation[0] or 1.0)
    start = lowest = _snapshot(network)

    def kept() -> tuple[dict[str, Tensor], History]:
        if significantly_better(best, before):
            return lowest, history
        return start, history._replace(best_epoch=0)

    try:
        for epoch in range(1, config.max_epochs + 1):
            callback.epoch_begins()
            loss = RUN_EPOCH.get()(optimizer, gradient, permutation, config.batch_size)
            with optimizer.ema_weights():
                errors = held_out_errors()
                error = errors.mean().item()
                if error < min(history.validation):
                    best, lowest = errors, _snapshot(network)
                    history = history._replace(best_epoch=epoch)
            if not math.isfinite(loss + error):
                history = history._replace(diverged=True)
                break
            history.training.append(loss)
            history.validation.append(error)
            if error < bar:
                bar, last_progress = error - margin, epoch
            stopped = callback.epoch_ends(history, kept)
            if stopped or epoch - last_progress >= config.patience:
                break
            permutation = permutations()
    except KeyboardInterrupt:
        history = history._replace(interrupted=True)
    weights, history = kept()
    network.load_state_dict(weights)
    optimizer.release()
    return history


def _snapshot(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}
