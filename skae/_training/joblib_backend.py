"""Joint computation of many fits: `with fit_together(): search.fit(X)`."""

import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from joblib import ParallelBackendBase, parallel_config
from torch import Tensor

from .._data.torch_defaults import torch_defaults
from .._data.validation import check_value, integer
from .batched_epochs import Epoch, EpochBatcher, can_be_batched
from .loop import RUN_EPOCH, Optimizer, train_epoch
from .manual_backward import ManualGradient

# From this number of multiply-adds the products take most of the time of a step.
LARGE_STEP = 50_000_000


@contextmanager
def fit_together(n_fits: int = 48) -> Iterator[None]:
    """Train the small networks of a search together, which is faster than one by one.

    Use this context manager around a search that uses joblib, such as `GridSearchCV`,
    `cross_val_score` or `learning_curve`. The networks of the search are then trained at the same
    time in one process. Networks with the same hidden layers are computed together, which takes
    less time than one after the other.

    Results are equal to those of separate fits up to rounding errors. Networks that cannot be
    trained together (see Notes) are trained one after the other.

    Parameters
    ----------
    n_fits : int, default=48
        Maximum number of fits at a time, at least 2. More fits need more memory, because each has
        its own training rows. `n_jobs` has no effect.

    Raises
    ------
    ValueError, TypeError
        If `n_fits` is not an integer of at least 2.

    See Also
    --------
    sklearn.model_selection.GridSearchCV : A search over parameters.

    Notes
    -----
    These estimators can be trained together, alone or as a step of a `Pipeline`:
    `AutoencoderTransformer` and `DenoisingAutoencoder` with dense layers, the squared error,
    ``alpha=0`` and float32. Other estimators are fitted one after the other. Large networks do not
    become faster.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.model_selection import GridSearchCV
    >>> from skae import AutoencoderTransformer, fit_together
    >>> X = load_iris().data
    >>> grid = {"n_components": [1, 2], "hidden_layer_sizes": [(8,), (16, 8)]}
    >>> search = GridSearchCV(AutoencoderTransformer(max_iter=20, random_state=0), grid, cv=3)
    >>> with fit_together():
    ...     search = search.fit(X)
    >>> search.best_params_["n_components"]
    2
    """
    check_value("n_fits", n_fits, (integer(2),))
    with parallel_config(backend=BatchedBackend(int(n_fits)), n_jobs=-1):
        yield


fit_together.__module__ = "skae"  # where users import it


class BatchedBackend(ParallelBackendBase):
    """A joblib backend that collects calls, and runs all when a result is needed."""

    supports_sharedmem = uses_threads = True

    def __init__(self, n_calls: int):
        super().__init__()
        self._n_calls = n_calls
        self._collected: list[_Result] = []

    def effective_n_jobs(self, n_jobs: int) -> int:
        """Half of the calls to collect, as joblib dispatches two calls per job."""
        return -(-self._n_calls // 2)

    def submit(self, func: Callable[[], Any], callback: Any = None) -> "_Result":
        """Collect a call."""
        result = _Result(func, callback, self._run_collected)
        self._collected.append(result)
        return result

    apply_async = submit  # the name before joblib 1.5

    def abort_everything(self, ensure_ready: bool = True) -> None:
        """Discard the collected calls."""
        self._collected.clear()

    def _run_collected(self) -> None:
        results, self._collected = self._collected, []
        calls = [_InterleavedCall(result.function) for result in results]
        run_interleaved(calls)
        for result, call in zip(results, calls, strict=True):
            result.call = call
            result.callback(None)


class _Result:
    """The future result of a call, as joblib expects it."""

    def __init__(
        self, function: Callable[[], Any], callback: Any, run_collected: Callable[[], None]
    ):
        self.function, self.callback, self._run_collected = function, callback, run_collected
        self.call: _InterleavedCall | None = None

    def get(self, timeout: float | None = None) -> Any:
        if self.call is None:
            self._run_collected()
        assert self.call is not None
        if self.call.error is not None:
            raise self.call.error
        return self.call.value


def run_interleaved(calls: Sequence["_InterleavedCall"]) -> None:
    """Run all calls, one at a time up to its next epoch, then all these epochs."""
    n_threads = torch.get_num_threads()
    # The calls change the warning filters and the number of threads, and restore the values that
    # they found. As they end in another order than they began, both are restored here.
    with warnings.catch_warnings(), torch_defaults():
        try:
            _run_epoch_by_epoch(calls)
        except BaseException:
            for call in calls:
                call.interrupt()
            raise
        finally:
            torch.set_num_threads(n_threads)


def _run_epoch_by_epoch(calls: Sequence["_InterleavedCall"]) -> None:
    batcher, active = EpochBatcher(), list(calls)
    for call in calls:
        call.start()
    while active:
        for call in active:
            call.resume()
        active = [call for call in active if not call.ended]
        losses = batcher.run([call.epoch for call in active])
        for call, loss in zip(active, losses, strict=True):
            call.loss = loss


class _InterleavedCall(threading.Thread):
    """A call in a thread that runs only within `resume`.

    It then runs until its next epoch or its end. The epoch is then run by the caller of `resume`.
    Only one of these threads runs at a time.
    """

    epoch: Epoch
    loss: float

    def __init__(self, function: Callable[[], Any]):
        super().__init__(daemon=True)
        self._function = function
        self._resumed, self._paused = threading.Semaphore(0), threading.Semaphore(0)
        self._running = self._interrupted = self.ended = False
        self.value: Any = None
        self.error: BaseException | None = None

    def run(self) -> None:
        """The function of the thread."""
        self._resumed.acquire()
        RUN_EPOCH.set(self._run_epoch)
        try:
            if not self._interrupted:
                self.value = self._function()
        except BaseException as error:
            self.error = error
        self.ended = True
        self._paused.release()

    def resume(self) -> None:
        """Run the call until its next epoch or its end."""
        if not self._running:
            self._running = True
            self._resumed.release()
        self._paused.acquire()
        self._running = False

    def interrupt(self) -> None:
        """Raise a KeyboardInterrupt in the call, and wait for its end."""
        self._interrupted = True
        while self.is_alive() and not self.ended:
            self.resume()

    def _run_epoch(
        self,
        optimizer: Optimizer,
        gradient: Callable[[Tensor], Tensor],
        permutation: Tensor,
        batch_size: int,
    ) -> float:
        large = 3 * optimizer.weights.numel() * batch_size >= LARGE_STEP
        if large or not can_be_batched(gradient):
            return train_epoch(optimizer, gradient, permutation, batch_size)
        self.epoch = Epoch(optimizer, cast(ManualGradient, gradient), permutation, batch_size)
        self._paused.release()
        self._resumed.acquire()
        if self._interrupted:
            raise KeyboardInterrupt
        return self.loss
