"""Dask and Ray carry searches, blocks of rows and whole fits; the results are those without them.

Each part is skipped where its engine is not installed; the extra "distributed" has them.
"""

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import joblib
import numpy as np
import pytest
import torch.distributed as dist
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from skae import AutoencoderTransformer, load

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples" / "distributed"
REDUCER = AutoencoderTransformer(4, hidden_layer_sizes=(16,), max_iter=4, random_state=0)

# Engines warn of themselves: of ports, of what will change, of files they leave to the collector.
pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture(scope="module", autouse=True)
def found_by_workers():
    """Processes of the engines import the package from where this one has it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
        yield


@pytest.fixture(scope="module")
def dask_client():
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as some,
        distributed.Client(some) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def ray():
    ray = pytest.importorskip("ray")
    ray.init(num_cpus=3, include_dashboard=False, log_to_driver=False)
    yield ray
    ray.shutdown()


def search(X):
    grid = {"n_components": [2, 4], "alpha": [0.0, 1e-3]}
    return GridSearchCV(REDUCER, grid, cv=2, n_jobs=-1).fit(X)


@pytest.fixture(scope="module")
def here(digits):
    with joblib.parallel_backend("sequential"):
        return search(digits)


def assert_same_search(found, expected):
    times = {"mean_fit_time", "std_fit_time", "mean_score_time", "std_score_time"}
    for name in expected.cv_results_.keys() - times:
        np.testing.assert_array_equal(found.cv_results_[name], expected.cv_results_[name], name)
    np.testing.assert_array_equal(
        found.best_estimator_.components_, expected.best_estimator_.components_
    )


def test_a_search_over_dask_is_one_without(dask_client, here, digits):
    with joblib.parallel_backend("dask"):
        assert_same_search(search(digits), here)


def test_a_search_over_ray_is_one_without(ray, here, digits):
    from ray.util.joblib import register_ray

    register_ray()
    with joblib.parallel_backend("ray"):
        assert_same_search(search(digits), here)


def test_a_fitted_model_encodes_blocks_of_a_dask_array(dask_client, digits):
    wrappers = pytest.importorskip("dask_ml.wrappers")
    import dask.array as da

    blocks = da.from_array(digits, chunks=(90, 64))
    fitted = wrappers.ParallelPostFit(clone(REDUCER)).fit(digits)
    codes = fitted.transform(blocks)
    assert isinstance(codes, da.Array)
    np.testing.assert_allclose(codes.compute(), fitted.estimator.transform(digits), rtol=1e-6)


def test_incremental_passes_over_blocks_as_partial_fit_does(dask_client, digits):
    wrappers = pytest.importorskip("dask_ml.wrappers")
    import dask
    import dask.array as da

    blocks = da.from_array(digits, chunks=(90, 64))
    by_hand = clone(REDUCER)
    for begin in range(0, 300, 90):
        by_hand.partial_fit(digits[begin : begin + 90])
    incremental = wrappers.Incremental(clone(REDUCER), shuffle_blocks=False)
    with dask.config.set(scheduler="synchronous"):
        found = clone(incremental).fit(blocks).estimator_
    np.testing.assert_array_equal(found.components_, by_hand.components_)
    # From worker to worker a model goes as a pickle, without the state of its optimiser.
    found = clone(incremental).fit(blocks).estimator_
    assert found.n_samples_seen_ == 300
    assert found.score(digits) == pytest.approx(by_hand.score(digits), abs=0.02)


def test_the_example_learns_with_two_workers_of_ray_train(ray, tmp_path):
    pytest.importorskip("ray.train.torch")
    pytest.importorskip("safetensors")
    example = runpy.run_path(str(EXAMPLES / "fit_ray.py"))
    metrics, reducer = example["main"](str(tmp_path), max_iter=4)
    assert metrics["rows"] == reducer.n_samples_seen_ == 1797
    assert metrics["score"] > metrics["pca"]


@pytest.mark.skipif(
    not (dist.is_available() and dist.is_gloo_available()) or sys.platform == "win32",
    reason="needs gloo",
)
def test_the_example_learns_with_two_processes_of_torchrun(tmp_path):
    pytest.importorskip("safetensors")
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    script = ["--nproc-per-node", "2", EXAMPLES / "fit_torchrun.py", tmp_path / "digits.skae"]
    told = subprocess.run(
        [*launcher, *script],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        check=True,
        timeout=300,
        capture_output=True,
        text=True,
    ).stdout
    found = re.findall(r"(\d+) of 1797 rows, (explains [\d.]+ of all, PCA [\d.]+)", told)
    assert sorted(n_rows for n_rows, _ in found) == ["898", "899"], told
    assert len({scores for _, scores in found}) == 1, told
    assert load(tmp_path / "digits.skae").n_samples_seen_ == 1797
