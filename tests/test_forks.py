"""Locks and cached values that are safe to fork."""

import os
import subprocess
import sys
import threading

import pytest
import torch

import skae._data.threads  # noqa: F401  # has hooks of forks
from skae._data.forks import ForkLock, cached_attribute

# Children are forked while threads import and fit; `alarm` ends a child that hangs.
FORKS = """
import os, signal, threading, time
import numpy as np
import skae

X = np.random.RandomState(0).uniform(size=(200, 8))
goes_on = threading.Event()  # while no child is waited for


def work():
    while goes_on.wait():
        skae.AutoencoderTransformer(2, max_iter=2, random_state=0).fit(X)


for _ in range(2):
    threading.Thread(target=work, daemon=True).start()
failed = 0
for i in range(4):
    goes_on.set()
    time.sleep(0.3)
    if not (child := os.fork()):
        signal.alarm(60)
        skae.AutoencoderTransformer(2, max_iter=1, random_state=0).fit(X[:40, :4])
        os._exit(0)
    goes_on.clear()
    failed += os.waitpid(child, 0)[1] != 0
os._exit(failed)
"""


class Squares:
    """Counts how often the square of a number is computed."""

    number, n_calls = 3, 0

    @cached_attribute
    def square(self):
        self.n_calls += 1
        return self.number**2


def test_a_cached_attribute_is_computed_once():
    squares = Squares()
    assert (squares.square, squares.square, squares.n_calls) == (9, 9, 1)
    assert isinstance(Squares.square, cached_attribute)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_fork_waits_for_the_lock():
    lock, entered, forked, order = ForkLock(), threading.Event(), threading.Event(), []

    def work():
        with lock:
            entered.set()
            forked.wait(0.2)
            order.append("released")

    thread = threading.Thread(target=work)
    thread.start()
    entered.wait(10)
    child = os.fork()
    if not child:
        with lock:
            os._exit(order != ["released"])
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    with lock:
        pass


@pytest.mark.skipif(not os.path.exists("/proc/self/task"), reason="needs Linux")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_torch_starts_no_thread_in_a_child():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    if not (child := os.fork()):
        os._exit(len(os.listdir("/proc/self/task")) + 10 * torch.get_num_threads())
    n_threads = torch.get_num_threads()
    torch.set_num_threads(before)
    assert n_threads == 2
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 11


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_children_that_are_forked_during_imports_and_fits_can_fit():
    command = [sys.executable, "-W", "ignore", "-c", FORKS]
    assert subprocess.run(command, timeout=500, check=False).returncode == 0
