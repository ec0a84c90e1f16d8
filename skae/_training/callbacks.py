"""Callbacks during a fit: those of scikit-learn, and the lines that `verbose` prints."""

import time
from collections.abc import Callable
from typing import Any, Protocol

from torch import Tensor

from .config import TrainingConfig
from .fit_data import FitData
from .loop import BestSoFar, EpochCallback, History
from .result import FitResult

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:  # scikit-learn has no callbacks before version 1.9

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Empty, where scikit-learn has no callbacks."""

    def with_callbacks(method: Callable) -> Callable:
        """Return the method unchanged."""
        return method


class SupportsCallbacks(Protocol):
    """An estimator to which scikit-learn's callbacks can be attached."""

    verbose: int

    def _fitted_attributes(self, result: FitResult, data: FitData) -> dict[str, Any]:
        """The fitted attributes for a result."""


def callback_names(estimator: SupportsCallbacks) -> list[str]:
    """The classes of the callbacks that are attached to an estimator."""
    return [type(callback).__name__ for callback in getattr(estimator, "_skl_callbacks", [])]


class FitCallbackContext:
    """One task of a fit for the callbacks: the whole fit, or one code size of a search.

    Without callbacks `context` is None, and only `verbose` costs time.
    """

    def __init__(self, estimator: SupportsCallbacks, X: Any, config: TrainingConfig, context: Any):
        self.estimator, self.X, self.config, self.context = estimator, X, config, context
        if context is not None:
            # The rows are their own target, and `ScoringMonitor` scores nothing without a `y`.
            context.call_on_fit_task_begin(estimator=estimator, X=X, y=X)

    @classmethod
    def begin(
        cls, estimator: Any, X: Any, config: TrainingConfig, *, searches: bool
    ) -> "FitCallbackContext":
        """Begin a fit to `X` as passed by the user; the length of a search is not known."""
        context = None
        if getattr(estimator, "_skl_callbacks", None):
            n_subtasks = None if searches else config.max_epochs
            context = estimator._init_callback_context(max_subtasks=n_subtasks)
        return cls(estimator, X, config, context)

    def subcontext(self, n_components: int) -> "FitCallbackContext":
        """Begin the part of a search that fits one code size."""
        context = None
        if self.context is not None:
            context = self.context.subcontext(
                task_name=f"n_components={n_components}", max_subtasks=self.config.max_epochs
            )
        return FitCallbackContext(self.estimator, self.X, self.config, context)

    def end(self, *, fitted: bool) -> None:
        """End the task; callbacks receive a copy of the estimator if it is `fitted`."""
        if self.context is not None:
            self.context.call_on_fit_task_end(
                estimator=self.estimator,
                X=self.X,
                y=self.X,
                reconstruction_attributes={} if fitted else None,
            )

    def epochs(
        self, data: FitData, result_with: Callable[[dict[str, Tensor], History], FitResult]
    ) -> EpochCallback:
        """The callback of the training loop; `result_with` makes a result of given weights."""
        return _FitEpochs(self, data, result_with)


class _FitEpochs(EpochCallback):
    def __init__(
        self,
        fit: FitCallbackContext,
        data: FitData,
        result_with: Callable[[dict[str, Tensor], History], FitResult],
    ):
        self._fit, self._data, self._result_with = fit, data, result_with
        self._epoch: Any = None
        self._began = time.perf_counter()

    def on_epoch_begin(self) -> None:
        if self._fit.context is not None:
            fit = self._fit
            self._epoch = fit.context.subcontext(task_name="epoch")
            self._epoch.call_on_fit_task_begin(estimator=fit.estimator, X=fit.X, y=fit.X)

    def on_epoch_end(self, history: History, best_so_far: BestSoFar) -> bool:
        fit = self._fit
        if fit.config.verbose:
            print(self._line(history))
        if fit.context is None:
            return False

        def attributes() -> dict[str, Any]:
            result = self._result_with(*best_so_far())
            return fit.estimator._fitted_attributes(result, self._data)

        return self._epoch.call_on_fit_task_end(
            estimator=fit.estimator, X=fit.X, y=fit.X, reconstruction_attributes=attributes
        )

    def _line(self, history: History) -> str:
        epoch, n_epochs = len(history.training), self._fit.config.max_epochs
        loss, error = (
            self._data.objective.to_data_units(losses[-1], self._data)
            for losses in (history.training, history.validation)
        )
        remaining = (time.perf_counter() - self._began) / epoch * (n_epochs - epoch)
        return (
            f"epoch {epoch} of {n_epochs}: training loss {loss:.6g}, "
            f"held-out loss {error:.6g}, at most {duration(remaining)} left"
        )


def duration(seconds: float) -> str:
    """A time in a unit that leaves about two digits."""
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
