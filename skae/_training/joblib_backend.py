"""Many fits made together, for searches: `with fit_together(): GridSearchCV(...).fit(X)`."""

import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from joblib import ParallelBackendBase, parallel_config
from torch import Tensor

from .._data.dataset import MULTITHREADING_MIN_FLOPS
from .batched_epochs import Epoch, Epochs
from .loop import RUN_EPOCH, Optimizer, train_epoch
from .manual_backward import ManualGradient


@contextmanager
def fit_together(n_fits: int = 48) -> Iterator[None]:
    """Train the small networks of a search together, which is quicker than one by one.

    Within this context the fits of a search that goes through joblib, such as `GridSearchCV`,
    `cross_val_score` or `learning_curve`, advance together in one process, epoch by epoch. Epochs
    of networks with the same hidden layers become one computation, whatever the size of their codes
    and the fold that they learn from: on a small machine most of the time of a small network is
    spent between the products, not in them.

    Each fit is the fit that it would be alone but for the rounding: other networks in the
    computation change the last digits of each step, so that results agree as those of another
    machine would. What cannot be trained together (see Notes) is trained in its turn.

    Parameters
    ----------
    n_fits : int, default=48
        Fits at a time, at least 2; each holds its fold of the rows. Any `n_jobs` is ignored.

    See Also
    --------
    sklearn.model_selection.GridSearchCV : A search over parameters.

    Notes
    -----
    Together: `AutoencoderTransformer` and `DenoisingAutoencoder` with dense layers, the squared
    error, and no penalty, in float32, alone or as a step of a `Pipeline`. Networks of large layers
    keep a processor busy as they are, and gain little. Other estimators are fitted one after the
    other.

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
    if not isinstance(n_fits, int) or n_fits < 2:
        raise ValueError(f"`n_fits` must be an integer of at least 2, got {n_fits!r}.")
    with parallel_config(backend=BatchedBackend(n_fits), n_jobs=-1):
        yield


class BatchedBackend(ParallelBackendBase):
    """A backend of joblib that collects calls until a result is asked for, then makes them all."""

    supports_sharedmem = uses_threads = True

    def __init__(self, n_calls: int):
        super().__init__()
        self._n_calls = n_calls
        self._collected: list[_Result] = []

    def effective_n_jobs(self, n_jobs: int) -> int:
        """Half of the calls to collect: searches dispatch twice as many as there are jobs."""
        return -(-self._n_calls // 2)

    def submit(self, func: Callable[[], Any], callback: Any = None) -> "_Result":
        """Collect a call."""
        result = _Result(func, callback, self._make_all)
        self._collected.append(result)
        return result

    apply_async = submit  # its name until joblib 1.5

    def abort_everything(self, ensure_ready: bool = True) -> None:
        """Forget what has been collected."""
        self._collected.clear()

    def _make_all(self) -> None:
        results, self._collected = self._collected, []
        calls = [_Call(result.function) for result in results]
        run_together(calls)
        for result, call in zip(results, calls, strict=True):
            result.call = call
            result.callback(None)


class _Result:
    """What joblib waits for."""

    def __init__(self, function: Callable[[], Any], callback: Any, make_all: Callable[[], None]):
        self.function, self.callback, self._make_all = function, callback, make_all
        self.call: _Call | None = None

    def get(self, timeout: float | None = None) -> Any:
        if self.call is None:
            self._make_all()
        assert self.call is not None
        if self.call.error is not None:
            raise self.call.error
        return self.call.value


def run_together(calls: Sequence["_Call"]) -> None:
    """Make all calls, one at a time, each until it ends or has an epoch to run, then all epochs."""
    n_threads = torch.get_num_threads()
    # Calls do not end in the order in which they began: what one found it may put back after
    # another has begun, so the filters of warnings and the number of threads are put back here.
    with warnings.catch_warnings():
        try:
            _take_turns(calls)
        except BaseException:
            for call in calls:
                call.interrupt()
            raise
        finally:
            torch.set_num_threads(n_threads)


def _take_turns(calls: Sequence["_Call"]) -> None:
    epochs, active = Epochs(), list(calls)
    for call in calls:
        call.start()
    while active:
        for call in active:
            call.go_on()
        active = [call for call in active if not call.ended]
        losses = epochs.run([call.epoch for call in active])
        for call, loss in zip(active, losses, strict=True):
            call.loss = loss


class _Call(threading.Thread):
    """A function that runs in a thread of its own, but only while it is told to go on.

    It stops at each epoch, which is then run by somebody else. At no time two of these threads run.
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
        """What the thread does."""
        self._resumed.acquire()
        RUN_EPOCH.set(self._run_epoch)
        try:
            if not self._interrupted:
                self.value = self._function()
        except BaseException as error:
            self.error = error
        self.ended = True
        self._paused.release()

    def go_on(self) -> None:
        """Let the function run until its next epoch, or its end."""
        if not self._running:
            self._running = True
            self._resumed.release()
        self._paused.acquire()
        self._running = False

    def interrupt(self) -> None:
        """Raise a KeyboardInterrupt where the function stands, and let it end."""
        self._interrupted = True
        while self.is_alive() and not self.ended:
            self.go_on()

    def _run_epoch(
        self, optimizer: Optimizer, gradient: Any, permutation: Tensor, batch_size: int
    ) -> float:
        large = 3 * optimizer.weights.numel() * batch_size >= MULTITHREADING_MIN_FLOPS
        written_out = isinstance(gradient, ManualGradient) and gradient.dtype == torch.float32
        if large or not written_out:
            return train_epoch(optimizer, gradient, permutation, batch_size)
        self.epoch = Epoch(optimizer, gradient, permutation, batch_size)
        self._paused.release()
        self._resumed.acquire()
        if self._interrupted:
            raise KeyboardInterrupt
        return self.loss
