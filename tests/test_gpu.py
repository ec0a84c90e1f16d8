"""Fits on a GPU, where there is one, and the benchmark of GPUs in a tiny size on any device.

`make gpu` runs the tests that are marked `gpu`, and then the benchmark.
"""

import copy
import importlib
import pickle
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import AUTOENCODERS, ESTIMATORS, IS_NEWEST
from scipy import sparse
from sklearn.base import clone

import skae
from skae import AutoencoderTransformer, fit_together

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
DEVICE = "cuda"
ON_GPU = [cls for cls in ESTIMATORS if "device" in {field.name for field in fields(cls)}]


def gpu(test):
    """Marks a test that needs a GPU."""
    needed = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
    return pytest.mark.gpu(needed(test))


# Larger steps amplify differences of rounding between devices.
LEARNING_RATE = 0.001


@pytest.fixture
def on_gpu(small):
    """A function that makes a small estimator for the GPU."""
    return lambda cls, **parameters: small(cls, device=DEVICE, **parameters)


@gpu
@pytest.mark.parametrize("cls", AUTOENCODERS)
def test_a_fit_on_a_gpu_is_about_as_good_as_on_the_cpu(cls, digits, on_gpu, small):
    fitted = on_gpu(cls, learning_rate_init=LEARNING_RATE).fit(digits)
    expected = small(cls, device="cpu", learning_rate_init=LEARNING_RATE).fit(digits)
    assert {p.device.type for p in fitted.network_.parameters()} == {DEVICE}
    # Rounding differs from step to step.
    np.testing.assert_allclose(fitted.score(digits), expected.score(digits), rtol=0.02, atol=0.02)
    assert fitted.transform(digits).shape == expected.transform(digits).shape


@gpu
@pytest.mark.parametrize("cls", AUTOENCODERS)
def test_a_model_of_a_gpu_is_loaded_on_the_cpu_with_the_same_results(cls, digits, on_gpu, tmp_path):
    fitted = on_gpu(cls, max_iter=2).fit(digits)
    codes = fitted.transform(digits)
    skae.save(fitted, tmp_path / "model.skae")
    for again in (pickle.loads(pickle.dumps(fitted)), skae.load(tmp_path / "model.skae")):
        assert {p.device.type for p in again.network_.parameters()} == {"cpu"}
        got = again.transform(digits)
        if sparse.issparse(got):
            got, codes = got.toarray(), np.asarray(codes.todense())
        # The same float64 network on two devices.
        np.testing.assert_allclose(got, codes, rtol=1e-5, atol=1e-5 * np.abs(codes).max())


@gpu
@pytest.mark.parametrize("cls", ON_GPU)
def test_every_estimator_with_a_device_is_fitted_on_a_gpu(cls, digits, on_gpu):
    labels = np.arange(len(digits)) % 3
    fitted = on_gpu(cls).fit(digits, labels)
    for method in ("transform", "predict", "score_samples"):
        if hasattr(fitted, method):
            assert np.isfinite(getattr(fitted, method)(digits)).all()


@gpu
def test_a_gpu_is_not_worse_than_pca(digits, on_gpu):
    fitted = on_gpu(AutoencoderTransformer, max_iter=None).fit(digits)
    assert fitted.score(digits) >= fitted.pca_score_ - 1e-6


@gpu
@pytest.mark.parametrize("kind", ["gaps", "float32", "sparse", "images"])
def test_rows_of_all_kinds_are_fitted_on_a_gpu(kind, digits, digits_with_gaps, on_gpu):
    rows = {
        "gaps": digits_with_gaps,
        "float32": digits.astype(np.float32),
        "sparse": sparse.csr_array(digits),
        "images": digits,
    }[kind]
    parameters = {"image_shape": (8, 8)} if kind == "images" else {}
    codes = on_gpu(AutoencoderTransformer, **parameters).fit_transform(rows)
    assert isinstance(codes, np.ndarray)
    assert np.isfinite(codes).all()


@gpu
def test_training_on_a_gpu_can_be_continued(digits, on_gpu):
    fitted = on_gpu(AutoencoderTransformer, max_iter=2).fit(digits)
    before = copy.deepcopy(fitted).score(digits)
    for _ in range(20):
        fitted.partial_fit(digits)
    assert fitted.score(digits) > before


@gpu
def test_fits_that_are_trained_together_on_a_gpu_agree_with_single_ones(digits, on_gpu):
    models = [on_gpu(AutoencoderTransformer, max_iter=2, random_state=i) for i in range(3)]
    with fit_together():
        together = [clone(model).fit(digits) for model in models]
    for model, got in zip(models, together, strict=True):
        np.testing.assert_allclose(got.score(digits), model.fit(digits).score(digits), atol=0.02)


@gpu
def test_the_generator_of_the_gpu_is_left_as_it_was(digits, on_gpu):
    before = torch.cuda.get_rng_state()
    on_gpu(AutoencoderTransformer, max_iter=2).fit(digits).transform(digits)
    torch.testing.assert_close(torch.cuda.get_rng_state(), before, rtol=0, atol=0)


@gpu
def test_rows_that_exceed_the_memory_of_a_gpu_are_processed_in_parts(digits, on_gpu):
    fitted = on_gpu(AutoencoderTransformer, max_iter=1).fit(digits)
    rows = np.tile(digits, (200, 1)).astype(np.float32)
    fitted.transform(rows[:10])  # the libraries of the GPU take memory on their first use
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before, device = torch.cuda.memory_reserved(), torch.cuda.get_device_properties(0)
    codes = fitted.transform(rows)
    needed = torch.cuda.max_memory_reserved() - before
    torch.cuda.empty_cache()
    failures = torch.cuda.memory_stats()["num_ooms"]
    try:
        torch.cuda.set_per_process_memory_fraction((before + needed / 2) / device.total_memory)
        got = fitted.transform(rows)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert torch.cuda.memory_stats()["num_ooms"] > failures
    np.testing.assert_allclose(got, codes, rtol=1e-3, atol=1e-3 * np.abs(codes).max())


# The benchmark, on any device.


@pytest.fixture
def benchmark(monkeypatch):
    """The module `benchmarks/gpu.py`."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")
    return importlib.import_module("gpu")


@pytest.fixture
def records(benchmark, monkeypatch, tmp_path):
    """What a tiny run on the CPU stores."""
    if not IS_NEWEST:
        pytest.skip("scikit-learn needs array_api_compat to accept tensors")
    monkeypatch.setattr("_timing.RESULTS", tmp_path)
    results = benchmark.Results("gpu", quick=True)
    images = benchmark.digits().first(200, 50)
    benchmark.run(list(benchmark.PARTS), [images], "cpu", benchmark.QUICK, results)
    assert (tmp_path / "quick" / "gpu.json").exists()
    return results.records


def test_a_benchmark_of_a_device_compares_it_with_the_cpu(records):
    record = records["agreement/digits"]
    assert record["CPU"]["best_epoch"] > 0  # not PCA
    assert record["GPU"]["error"] == record["CPU"]["error"]  # both on the CPU here
    arrays = records["arrays/digits"]
    assert arrays["tensors"]["error"] == arrays["arrays"]["error"]
    assert len(records["time_to_quality/digits"]["curves"]["skae"]) == 2
    assert 0 < records["density/digits"]["negative_log_likelihood"] < 64 * np.log(2) * 2


def test_the_page_of_a_benchmark_has_every_figure(benchmark, records):
    lines = benchmark.page(records)
    headings = [line for line in lines if line.startswith("## ")]
    assert len(headings) == len(benchmark.PARTS)
    table = [line for line in lines if line.startswith("| ")]
    sizes = benchmark.QUICK
    curves = 3 * len(sizes.our_epochs)
    assert len(table) == 6 * 2 + curves + 1 + 1 + 2 + 1 + 4  # headers and rules, then the rows
    assert not [line for line in table if "not reached" in line]
