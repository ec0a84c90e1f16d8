"""The border between NumPy and torch."""

import threading

import numpy as np
import pytest
import torch
from scipy import sparse
from threadpoolctl import threadpool_info

from skae._data.dataset import (
    MULTITHREADING_MIN_FLOPS,
    ArrayDataset,
    CachedDataset,
    as_tensor,
    blocks,
    grad_mode,
    make_dataset,
    resolve_device,
    threads_for,
)

CPU = torch.device("cpu")


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_small_work_has_one_thread_and_gives_back_what_was(two_threads):
    with threads_for(1000):
        assert torch.get_num_threads() == 1
        assert all(pool["num_threads"] == 1 for pool in threadpool_info())
        with threads_for(1000):
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize("main_leaves_first", [True, False])
def test_each_thread_of_python_gets_back_what_was(two_threads, main_leaves_first):
    inside, left, other = threading.Event(), threading.Event(), []

    def work():
        with threads_for(1000):
            inside.set()
            left.wait(10 if main_leaves_first else 0)
        other.append(torch.get_num_threads())

    thread = threading.Thread(target=work)
    with threads_for(1000):
        thread.start()
        assert inside.wait(10)
        if not main_leaves_first:
            thread.join()
            assert torch.get_num_threads() == 1
    left.set()
    thread.join()
    assert [torch.get_num_threads(), *other] == [2, 2]


def test_large_work_keeps_its_threads(two_threads):
    with threads_for(MULTITHREADING_MIN_FLOPS):
        assert torch.get_num_threads() == 2


def test_threads_are_given_back_after_an_error(two_threads):
    with pytest.raises(KeyError), threads_for(1000):
        raise KeyError
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_plain_torch_has_gradients(mode):
    with mode(), grad_mode():
        x = torch.ones(1, requires_grad=True)
        (2 * x).backward()
        assert x.grad.item() == 2


@pytest.mark.parametrize("layout", [lambda X: X, lambda X: X[::-1], np.asfortranarray])
def test_arrays_of_any_layout_become_tensors(layout, recwarn):
    X = layout(np.arange(6.0).reshape(3, 2))
    X.setflags(write=False)
    np.testing.assert_array_equal(as_tensor(X, torch.float64, CPU).numpy(), X)
    assert not recwarn.list


def test_a_tensor_of_read_only_memory_is_a_copy():
    X = np.zeros((2, 2))
    X.setflags(write=False)
    as_tensor(X, torch.float64, CPU).fill_(1)
    np.testing.assert_array_equal(X, 0)


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array])
def test_rows_are_standardised_in_the_precision_of_X(kind):
    # float32 cannot hold 1e9 + 1, but holds the difference.
    X = np.array([[1e9 + 1, 2.0], [1e9 - 1, 4.0]])
    rows = make_dataset(kind(X), np.array([1e9, 3.0]), 2.0, CPU)
    assert len(rows) == 2
    batch = rows.take(torch.tensor([1, 0, 1]))
    assert batch.dtype == torch.float32
    np.testing.assert_array_equal(batch, [[-0.5, 0.5], [0.5, -0.5], [-0.5, 0.5]])


@pytest.mark.parametrize("n", [0, 1, 8, 9])
def test_blocks_cover_all_rows_in_order(n, monkeypatch):
    monkeypatch.setattr("skae._data.dataset.BLOCK_ENTRIES", 12)
    X = np.zeros((n, 3))
    covered = [i for rows in blocks(X) for i in range(n)[rows]]
    assert covered == list(range(n))
    assert all(rows.stop - rows.start <= 4 for rows in blocks(X))
    assert all(rows.stop - rows.start == 1 for rows in blocks(X, 100))


def test_rows_kept_in_standard_form_are_the_same_rows():
    X = np.arange(12.0).reshape(4, 3)
    host = ArrayDataset(X, X.mean(axis=0), 2.0, CPU)
    index = torch.tensor([3, 0])
    torch.testing.assert_close(CachedDataset(host, X).take(index), host.take(index))


def test_the_automatic_device_is_there():
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


def test_an_absent_device_is_refused_in_our_words():
    with pytest.raises(ValueError, match=r"`device` must be 'auto' .* got 'nonsense'"):
        resolve_device("nonsense")
