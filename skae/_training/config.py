"""Configuration of training: batches, epochs, stopping, penalties, precision."""

import math
from collections.abc import Callable
from typing import Literal, NamedTuple, Protocol

from .optimizer import EPSILON

PATIENCE_EPOCHS = 3


def eighth_of_rows(n_rows: int) -> int:
    """An eighth of the rows, within 16 and 128."""
    return min(max(n_rows // 8, 16), 128)


def root_of_rows(n_rows: int) -> int:
    """Three times the square root of the number of rows, within 16 and 128."""
    return min(max(int(3 * math.sqrt(n_rows)), 16), 128)


class DefaultSteps(NamedTuple):
    """The default number of steps: small data get many epochs, large data a minimum of epochs."""

    least: int
    per_row: float
    most: int
    min_epochs: int
    batch_size: Callable[[int], int] = eighth_of_rows  # of a number of rows
    patience: float = 0.1  # as a share of the steps

    def n_epochs(self, n_rows: int, batch_size: int) -> int:
        """The number of epochs for so many rows."""
        n_epochs = self._n_steps(n_rows) / math.ceil(n_rows / batch_size)
        return max(math.ceil(n_epochs), self.min_epochs)

    def n_iter_no_change(self, n_rows: int, batch_size: int) -> int:
        """The number of epochs without progress after which training ends."""
        n_epochs = self.patience * self._n_steps(n_rows) / math.ceil(n_rows / batch_size)
        return max(math.ceil(n_epochs), PATIENCE_EPOCHS)

    def _n_steps(self, n_rows: int) -> float:
        return min(max(self.per_row * n_rows, self.least), self.most)


class TrainingParameters(Protocol):
    """The parameters of an estimator that configure its training."""

    batch_size: int | Literal["auto"]
    max_iter: int | None
    n_iter_no_change: int | None
    tol: float
    solver: Literal["adam", "sgd"]
    learning_rate_init: float
    alpha: float
    l1_ratio: float
    precision: Literal["auto", "float32", "bfloat16"]
    verbose: int

    def _steps(self) -> DefaultSteps: ...


class TrainingConfig(NamedTuple):
    """Configuration of training: steps, stopping, weight decay, precision."""

    batch_size: int
    max_epochs: int
    patience: int  # epochs without an improvement of at least `tol` times the initial error
    tol: float
    solver: str
    learning_rate: float
    alpha: float = 0.0
    l1_ratio: float = 0.0
    precision: str = "auto"
    verbose: int = 0
    min_steps_evaluated: int = 1  # steps from one evaluation of the held-out rows to the next
    epsilon: float = EPSILON  # of Adam

    @classmethod
    def from_params(cls, parameters: TrainingParameters, n_rows: int) -> "TrainingConfig":
        """The configuration for the parameters of an estimator and a number of training rows."""
        given = parameters.batch_size
        default_steps = parameters._steps()
        batch_size = default_steps.batch_size(n_rows) if isinstance(given, str) else given
        return cls(
            min(batch_size, n_rows),
            parameters.max_iter or default_steps.n_epochs(n_rows, batch_size),
            parameters.n_iter_no_change or default_steps.n_iter_no_change(n_rows, batch_size),
            parameters.tol,
            parameters.solver,
            parameters.learning_rate_init,
            parameters.alpha,
            parameters.l1_ratio,
            parameters.precision,
            int(parameters.verbose),
        )

    def n_steps(self, n_rows: int) -> int:
        """Largest number of steps on so many rows."""
        return self.max_epochs * math.ceil(n_rows / self.batch_size)
