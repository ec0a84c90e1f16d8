"""Searches, blocks of rows and fits over Dask and Ray: the results are those without them.

Each test is skipped if its engine is not installed; the extra "distributed" installs them.
"""

import os
import runpy
from pathlib import Path

import joblib
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from skae import AutoencoderTransformer

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples" / "distributed"
REDUCER = AutoencoderTransformer(4, hidden_layer_sizes=(16,), max_iter=4, random_state=0)

# The engines raise warnings of their own: on ports, deprecations and unclosed files.
pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture(scope="module", autouse=True)
def import_path_of_workers():
    """Let the processes of the engines import the same package as this one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
        yield


@pytest.fixture(scope="module")
def dask_client():
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
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
def sequential_search(digits):
    with joblib.parallel_backend("sequential"):
        return search(digits)


def assert_same_search(found, expected):
    times = {"mean_fit_time", "std_fit_time", "mean_score_time", "std_score_time"}
    for name in expected.cv_results_.keys() - times:
        np.testing.assert_array_equal(found.cv_results_[name], expected.cv_results_[name], name)
    np.testing.assert_array_equal(
        found.best_estimator_.components_, expected.best_estimator_.components_
    )


def test_a_search_over_dask_equals_a_sequential_one(dask_client, sequential_search, digits):
    with joblib.parallel_backend("dask"):
        assert_same_search(search(digits), sequential_search)


def test_a_search_over_ray_equals_a_sequential_one(ray, sequential_search, digits):
    from ray.util.joblib import register_ray

    register_ray()
    with joblib.parallel_backend("ray"):
        assert_same_search(search(digits), sequential_search)


def test_a_fitted_model_encodes_blocks_of_a_dask_array(dask_client, digits):
    wrappers = pytest.importorskip("dask_ml.wrappers")
    import dask.array as da

    blocks = da.from_array(digits, chunks=(90, 64))
    fitted = wrappers.ParallelPostFit(clone(REDUCER)).fit(digits)
    codes = fitted.transform(blocks)
    assert isinstance(codes, da.Array)
    np.testing.assert_allclose(codes.compute(), fitted.estimator.transform(digits), rtol=1e-6)


def test_incremental_equals_partial_fit_of_block_after_block(dask_client, digits):
    wrappers = pytest.importorskip("dask_ml.wrappers")
    import dask
    import dask.array as da

    blocks = da.from_array(digits, chunks=(90, 64))
    expected = clone(REDUCER)
    for begin in range(0, 300, 90):
        expected.partial_fit(digits[begin : begin + 90])
    incremental = wrappers.Incremental(clone(REDUCER), shuffle_blocks=False)
    with dask.config.set(scheduler="synchronous"):
        found = clone(incremental).fit(blocks).estimator_
    np.testing.assert_array_equal(found.components_, expected.components_)
    # Models are sent between workers as pickles, without the state of the optimiser.
    found = clone(incremental).fit(blocks).estimator_
    assert found.n_samples_seen_ == 300
    assert found.score(digits) == pytest.approx(expected.score(digits), abs=0.02)


def test_the_example_of_ray_train_fits_one_model_with_two_workers(ray, tmp_path):
    pytest.importorskip("ray.train.torch")
    pytest.importorskip("safetensors")
    example = runpy.run_path(str(EXAMPLES / "fit_ray.py"))
    metrics, reducer = example["main"](str(tmp_path), max_iter=4)
    assert metrics["rows"] == reducer.n_samples_seen_ == 1797
    assert metrics["score"] > metrics["pca"]
