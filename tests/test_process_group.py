"""Processes that fit one model to their parts of the rows: the model is that of one process."""

import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist

if sys.platform == "win32" or not (dist.is_available() and dist.is_gloo_available()):
    pytest.skip("needs gloo and forks", allow_module_level=True)

from distributed_fits import SAME_SCORE, SAME_STEPS, TIMEOUT, fit_same_score, fit_same_steps

from skae import load
from skae._data.dataset import make_dataset
from skae._data.process_group import SINGLE_PROCESS, ShardedDataset, SingleProcess, process_group

TESTS = Path(__file__).parent
ENVIRONMENT = os.environ | {
    "OMP_NUM_THREADS": "1",
    "PYTHONPATH": os.pathsep.join([str(TESTS.parent), os.environ.get("PYTHONPATH", "")]),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The files of all tasks, which run once."""
    folder = tmp_path_factory.mktemp("ranks")
    script = [sys.executable, TESTS / "distributed_fits.py", folder]
    subprocess.run(script, env=ENVIRONMENT, check=True, timeout=300)
    return folder


@pytest.fixture(scope="module")
def results(folder):
    """A function that returns the results of a task, in the order of ranks."""
    return lambda task: [
        pickle.loads(path.read_bytes()) for path in sorted((folder / task).glob("*.pickle"))
    ]


@pytest.fixture(scope="module")
def faults(results):
    """The errors on rank 0 of fits that fail on rank 1, which is killed at the end."""
    (found,) = results("fit_with_faults")
    return found


@pytest.fixture(scope="module")
def single_process():
    """The same fits by this process, to all rows."""
    return fit_same_steps(lambda X: X) | fit_same_score(lambda X: X)


@pytest.mark.parametrize(("task", "n_ranks"), [("fit_same_steps", 3), ("fit_same_score", 2)])
def test_models_of_all_ranks_are_bitwise_identical(task, n_ranks, results):
    first, *others = results(task)
    assert len(others) == n_ranks - 1
    for other in others:
        for name, expected in first.items():
            assert expected.keys() == other[name].keys()
            for attribute, value in expected.items():
                message = f"{name}: {attribute}"
                np.testing.assert_array_equal(other[name][attribute], value, message)


@pytest.mark.parametrize("name", [*SAME_STEPS, "X_val", "groups", "warm start", "partial_fit"])
def test_the_model_is_that_of_one_process_with_all_rows(name, results, single_process):
    expected, found = single_process[name], results("fit_same_steps")[0][name]
    for attribute in ("n_iter_", "best_iter_", "n_components_", "n_samples_seen_", "diagnosis_"):
        assert found[attribute] == expected[attribute]
    for attribute in (
        "mean_", "pca_score_", "loss_curve_", "validation_curve_", "explained_variance_ratio_"
    ):  # fmt: skip
        np.testing.assert_allclose(found[attribute], expected[attribute], rtol=1e-4, atol=1e-7)
    # Rounding errors in float32 over some hundred steps.
    size = np.abs(expected["components_"]).max()
    np.testing.assert_allclose(
        found["components_"], expected["components_"], rtol=0, atol=1e-3 * size
    )


@pytest.mark.parametrize("name", SAME_SCORE)
def test_models_that_depend_on_noise_or_rounding_have_the_same_score(name, results, single_process):
    expected, found = single_process[name], results("fit_same_score")[0][name]
    assert found["pca_score_"] == pytest.approx(expected["pca_score_"], rel=1e-9)
    # Fits with other noise, or other batch statistics, differ by as much.
    assert found["score"] == pytest.approx(expected["score"], abs=0.02)


def test_a_callback_that_stops_one_rank_stops_all(faults):
    if "stopped" not in faults:
        pytest.skip("scikit-learn 1.9 has callbacks")
    assert faults["n_iter_ of stopped"] == 3


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("infinite", "rank 1 of 2 raised ValueError: Input X contains infinity"),
        ("columns", "The number of columns of `X` must be the same on all ranks, got 64 on rank 0"),
        ("parameter", "`max_iter` must be the same on all ranks, got 2 on rank 0 and 3 on rank 1"),
        ("single process only", "AutoencoderOutlierDetector supports a single process only"),
    ],
)
def test_an_error_on_one_rank_before_training_is_raised_on_all(fault, message, faults):
    (kind, text), seconds, is_fitted = faults[fault]
    assert kind == "ValueError"
    assert message in text
    assert seconds < TIMEOUT / 2
    assert not is_fitted


@pytest.mark.parametrize("fault", ["raised", "killed"])
def test_a_rank_that_ends_during_training_ends_the_other_at_once(fault, faults):
    (kind, text), seconds, is_fitted = faults[fault]
    assert kind == "RuntimeError"
    assert "rank 0 of 2 has lost the other ranks: one of them has raised an error or ended" in text
    assert seconds < TIMEOUT / 2
    assert not is_fitted


def test_an_interrupt_of_one_rank_ends_all_after_the_same_epoch(faults):
    (kind, _), _, is_fitted = faults["interrupted"]
    assert kind == "KeyboardInterrupt"
    assert is_fitted
    assert 0 < faults["n_iter_ of interrupted"] < 9


def test_divergence_keeps_the_weights_of_pca_as_in_one_process(faults):
    error, _, is_fitted = faults["diverged"]
    assert error is None  # a warning
    assert is_fitted


def test_the_example_of_torchrun_fits_one_model_with_two_processes(folder):
    pytest.importorskip("safetensors")
    files = [folder / "run_example" / f"{rank}.txt" for rank in range(2)]
    output = "".join(path.read_text() for path in files)
    found = re.findall(r"(\d+) of 1797 rows, (explains [\d.]+ of all, PCA [\d.]+)", output)
    assert sorted(n_rows for n_rows, _ in found) == ["898", "899"], output
    assert len({scores for _, scores in found}) == 1, output
    assert load(files[0].with_name("digits.skae")).n_samples_seen_ == 1797


def test_without_a_process_group_there_is_a_single_process():
    with process_group() as group:
        assert group is SINGLE_PROCESS


class Rank(SingleProcess):
    """One of several ranks whose collectives are computed by the test."""

    def __init__(self, rank, counts):
        self.rank, self.size, self.counts = rank, len(counts), counts
        self.reduced = []

    def gather(self, value):
        return self.counts

    def all_reduce(self, values):
        self.reduced.append(values.clone())
        return values


@pytest.fixture
def shards(global_random_seed):
    """All rows, and the data sets of three ranks; the second has no rows."""
    X = np.random.RandomState(global_random_seed).normal(size=(9, 3))
    parts = X[:2], X[2:2], X[2:]
    counts = [len(part) for part in parts]
    cpu = torch.device("cpu")
    datasets = [
        ShardedDataset(make_dataset(part, np.zeros(3), 1.0, cpu), Rank(rank, counts))
        for rank, part in enumerate(parts)
        if len(part)
    ]
    return torch.from_numpy(X).float(), datasets


def test_each_rank_has_its_own_rows_of_a_batch(shards):
    X, datasets = shards
    index = torch.tensor([8, 0, 1, 5])
    assert [len(rows) for rows in datasets] == [9, 9]
    first, last = datasets
    assert torch.equal(first[index], X[[0, 1]])
    assert torch.equal(last[index], X[[8, 5]])
    assert torch.equal(last.local_index(index), torch.tensor([6, 3]))
    assert torch.equal(sum(rows.all_gather_rows(index) for rows in datasets), X[index])


def test_gradients_of_ranks_add_up_to_that_of_the_batch(shards):
    X, datasets = shards
    network = torch.nn.Linear(3, 1)
    index = torch.tensor([8, 0, 1, 5])

    def gradient_of(rows):
        def gradient(index):
            network.zero_grad()
            loss = network(rows[index]).square().mean()
            loss.backward()
            return loss.detach()

        return gradient

    expected_loss = gradient_of(X)(index)
    expected = [p.grad.clone() for p in network.parameters()]
    losses, gradients = [], []
    for rows in datasets:
        losses.append(rows.all_reduce_gradient(network, gradient_of(rows))(index))
        gradients.append([p.grad.clone() for p in network.parameters()])
    torch.testing.assert_close(sum(losses), expected_loss)
    for found, whole in zip(zip(*gradients, strict=True), expected, strict=True):
        torch.testing.assert_close(sum(found), whole)


def test_a_rank_without_rows_of_a_batch_adds_nothing(shards):
    _, (first, _) = shards
    network = torch.nn.Linear(3, 1)

    def gradient(index):
        loss = network(first[index]).sum() * torch.inf  # of the row in place of an empty batch
        loss.backward()
        return loss.detach()

    assert first.all_reduce_gradient(network, gradient)(torch.tensor([8, 5])) == 0
    assert all((p.grad == 0).all() for p in network.parameters())
