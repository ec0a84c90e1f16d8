"""Processes that learn together end with one model: that of one process with all their rows."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch.distributed as dist

if sys.platform == "win32" or not (dist.is_available() and dist.is_gloo_available()):
    pytest.skip("needs gloo and forks", allow_module_level=True)

from ranks_at_work import ALIKE, SAME_STEPS, TIMEOUT, by_chance, determined

from skae._data.process_group import SINGLE_PROCESS, process_group

HERE = Path(__file__).parent
ENVIRONMENT = os.environ | {
    "OMP_NUM_THREADS": "1",
    "PYTHONPATH": os.pathsep.join([str(HERE.parent), os.environ.get("PYTHONPATH", "")]),
}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """What each rank has left of a task, in the order of ranks; all tasks are done at once."""
    folder = tmp_path_factory.mktemp("ranks")
    script = [sys.executable, HERE / "ranks_at_work.py", folder]
    subprocess.run(script, env=ENVIRONMENT, check=True, timeout=300)
    return lambda data: [
        pickle.loads(path.read_bytes()) for path in sorted((folder / data).glob("*.pickle"))
    ]


@pytest.fixture(scope="module")
def faults(outcomes):
    """What the first of two processes tells of faults at the second, killed in the end."""
    (found,) = outcomes("faults")
    return found


@pytest.fixture(scope="module")
def alone():
    """The same fits by this process, which has all rows."""
    return determined(lambda X: X) | by_chance(lambda X: X)


@pytest.mark.parametrize(("task", "n_ranks"), [("determined", 3), ("by_chance", 2)])
def test_all_ranks_end_with_the_same_model_to_the_bit(data, n_ranks, outcomes):
    first, *others = outcomes(data)
    assert len(others) == n_ranks - 1
    for other in others:
        for name, expected in first.items():
            assert expected.keys() == other[name].keys()
            for attribute, value in expected.items():
                what = f"{name}: {attribute}"
                np.testing.assert_array_equal(other[name][attribute], value, what)


@pytest.mark.parametrize("name", [*SAME_STEPS, "judged by others", "continued", "streamed"])
def test_the_model_is_that_of_one_process_with_all_rows(name, outcomes, alone):
    expected, found = alone[name], outcomes("determined")[0][name]
    for attribute in ("n_iter_", "best_iter_", "n_components_", "n_samples_seen_", "diagnosis_"):
        assert found[attribute] == expected[attribute]
    for attribute in (
        "mean_", "pca_score_", "loss_curve_", "validation_curve_", "explained_variance_ratio_"
    ):  # fmt: skip
        np.testing.assert_allclose(found[attribute], expected[attribute], rtol=1e-4, atol=1e-7)
    # Rounding in float32, over some hundred steps.
    size = np.abs(expected["components_"]).max()
    np.testing.assert_allclose(
        found["components_"], expected["components_"], rtol=0, atol=1e-3 * size
    )


@pytest.mark.parametrize("name", ALIKE)
def test_where_chance_or_rounding_decide_the_model_is_as_good(name, outcomes, alone):
    expected, found = alone[name], outcomes("by_chance")[0][name]
    assert found["pca_score_"] == pytest.approx(expected["pca_score_"], rel=1e-9)
    # Fits with other noise, or other batch statistics, differ by as much.
    assert found["score"] == pytest.approx(expected["score"], abs=0.02)


def test_a_rank_that_wants_to_stop_stops_all(faults):
    if "stopped" not in faults:
        pytest.skip("scikit-learn 1.9 has callbacks")
    assert faults["stopped"] == 3


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("infinite", "rank 1 of 2 cannot take part: ValueError: Input X contains infinity"),
        ("columns", "The number of columns of `X` must be the same on all ranks, got 64 on rank 0"),
        ("parameter", "`max_iter` must be the same on all ranks, got 2 on rank 0 and 3 on rank 1"),
        ("not for many", "AutoencoderOutlierDetector does not learn from the rows of several"),
    ],
)
def test_a_fault_at_one_rank_before_training_is_an_error_at_the_other(fault, said, faults):
    (kind, text), seconds, is_fitted = faults[fault]
    assert kind == "ValueError"
    assert said in text
    assert seconds < TIMEOUT / 2
    assert not is_fitted


@pytest.mark.parametrize("fault", ["raising", "killed"])
def test_a_rank_that_leaves_in_the_middle_ends_the_other_at_once(fault, faults):
    (kind, text), seconds, is_fitted = faults[fault]
    assert kind == "RuntimeError"
    assert "rank 0 of 2 is without the others: one of them has raised an error or has" in text
    assert seconds < TIMEOUT / 2
    assert not is_fitted


def test_an_interrupt_at_one_rank_ends_both_after_the_same_epoch(faults):
    (kind, _), _, is_fitted = faults["interrupted"]
    assert kind == "KeyboardInterrupt"
    assert is_fitted
    assert 0 < faults["epochs"] < 9


def test_divergence_is_that_of_one_process(faults):
    error, _, is_fitted = faults["diverging"]
    assert error is None  # PCA is kept, with a warning
    assert is_fitted


def test_without_others_nothing_is_asked_of_a_group():
    with process_group() as group:
        assert group is SINGLE_PROCESS
