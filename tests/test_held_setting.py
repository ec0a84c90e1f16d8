"""A setting of the process that is held in a context: threads, errors, interrupts, forks."""

import os
import threading

import pytest

from skae._data.held_setting import HeldSetting


class Number(HeldSetting):
    """A number that is one in the context."""

    value, error = 7, None

    def _hold(self):
        self._before, self.value = self.value, 1
        if self.error:
            error, self.error = self.error, None
            raise error

    def _restore(self):
        self.value = self._before


def test_the_last_to_leave_restores_the_value():
    number = Number()
    with number:
        with number:
            assert number.value == 1
        assert number.value == 1
    assert number.value == 7


def test_an_error_in_the_context_restores_the_value():
    number = Number()
    with pytest.raises(KeyError), number:
        raise KeyError
    assert number.value == 7


def test_an_interrupt_of_entering_leaves_nothing_held():
    number = Number()
    number.error = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        number.__enter__()
    assert (number.value, number.is_held) == (7, False)
    with number:
        assert number.value == 1
    assert number.value == 7


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("forks_within", [True, False])
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_child_holds_only_what_its_own_thread_has_entered(forks_within):
    number, entered, done = Number(), threading.Event(), threading.Event()

    def work():
        with number:
            entered.set()
            done.wait(10)

    def values_in_child():
        held = number.value
        if forks_within:
            number.__exit__()
        with number:
            inside = number.value
        return [held, inside, number.value] == [1 if forks_within else 7, 1, 7]

    thread = threading.Thread(target=work)
    thread.start()
    entered.wait(10)
    if forks_within:
        number.__enter__()
    child = os.fork()
    if not child:
        os._exit(not values_in_child())
    done.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    if forks_within:
        number.__exit__()
    assert number.value == 7
