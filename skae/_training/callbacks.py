"""Who watches a fit: scikit-learn's callbacks, and the user of `verbose`."""

import time
from collections.abc import Callable
from typing import Any

from torch import Tensor

from .loop import EpochCallback, History, TrainingConfig

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:  # before scikit-learn 1.9 there are no callbacks that could be set

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Nothing to support."""

    def with_callbacks(method: Callable) -> Callable:
        """The method as it is."""
        return method


def callback_names(estimator: Any) -> list[str]:
    """The classes of the callbacks that an estimator has."""
    return [type(callback).__name__ for callback in getattr(estimator, "_skl_callbacks", [])]


class FitCallbackContext:
    """One task of a fit, a whole one or the trial of one size, as its watchers see it.

    Without callbacks there is no context, and nothing but `verbose` costs anything.
    """

    def __init__(self, estimator: Any, X: Any, config: TrainingConfig, context: Any):
        self._estimator, self._X, self._plan = estimator, X, config
        self._context = context
        if context is not None:
            # Rows are their own target, and `ScoringMonitor` scores nothing without a `y`.
            context.call_on_fit_task_begin(estimator=estimator, X=X, y=X)

    @classmethod
    def begin(cls, estimator: Any, X: Any, config: TrainingConfig, *, searches: bool) -> "FitCallbackContext":
        """Begin to watch a fit to `X` as the user gave it; how long a search takes is not known."""
        context = None
        if getattr(estimator, "_skl_callbacks", None):
            n_subtasks = None if searches else config.max_epochs
            context = estimator._init_callback_context(max_subtasks=n_subtasks)
        return cls(estimator, X, config, context)

    def trial(self, size: int) -> "FitCallbackContext":
        """Watch the part of a search that tries one size of the code."""
        context = None
        if self._context is not None:
            context = self._context.subcontext(
                task_name=f"n_components={size}", max_subtasks=self._plan.max_epochs
            )
        return FitCallbackContext(self._estimator, self._X, self._plan, context)

    def end(self, *, fitted: bool) -> None:
        """Call once all is learned; callbacks get a copy of the estimator if it is `fitted`."""
        if self._context is not None:
            self._context.call_on_fit_task_end(
                estimator=self._estimator,
                X=self._X,
                y=self._X,
                reconstruction_attributes={} if fitted else None,
            )

    def epochs(
        self,
        in_units_of_X: Callable[[float], float],
        learned: Callable[[dict[str, Tensor], History], dict[str, Any]],
    ) -> EpochCallback:
        """Watch the epochs; `learned` makes fitted attributes of weights and a history."""
        return _Epochs(self, in_units_of_X, learned)


class _Epochs(EpochCallback):
    def __init__(self, callbacks: FitCallbackContext, in_units_of_X: Callable, learned: Callable):
        self._estimator, self._X = callbacks._estimator, callbacks._X
        self._n_epochs, self._fit = callbacks._plan.max_epochs, callbacks._context
        self._in_units_of_X, self._learned = in_units_of_X, learned
        self._epoch: Any = None
        self._began = time.perf_counter()

    def epoch_begins(self) -> None:
        if self._fit is not None:
            self._epoch = self._fit.subcontext(task_name="epoch")
            self._epoch.call_on_fit_task_begin(estimator=self._estimator, X=self._X, y=self._X)

    def epoch_ends(self, history: History, kept: Callable) -> bool:
        if self._estimator.verbose:
            self._estimator._print(self._line(history))
        if self._fit is None:
            return False
        return self._epoch.call_on_fit_task_end(
            estimator=self._estimator,
            X=self._X,
            y=self._X,
            reconstruction_attributes=lambda: self._learned(*kept()),
        )

    def _line(self, history: History) -> str:
        epoch = len(history.training)
        loss, error = map(self._in_units_of_X, (history.training[-1], history.validation[-1]))
        left = (time.perf_counter() - self._began) / epoch * (self._n_epochs - epoch)
        return (
            f"epoch {epoch} of {self._n_epochs}: training loss {loss:.6g}, "
            f"held-out loss {error:.6g}, at most {duration(left)} left"
        )


def duration(seconds: float) -> str:
    """A time in a unit that leaves two digits or so."""
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
