"""Exported models give the results of the estimators."""

import builtins
import os
import subprocess
import sys
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import AUTOENCODERS, ESTIMATORS, make_small
from onnx_models import session
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from torch import nn

import skae
from skae import (
    VAE,
    AutoencoderTransformer,
    ContractiveAutoencoder,
    DenoisingAutoencoder,
    SparseAutoencoder,
    export_numpy,
    register_onnx_converters,
    to_onnx,
)
from skae._autoencoders.sparse import SETS_SPARSITY
from skae._export.methods import METHODS
from skae._graph.numpy_runtime import load
from skae._nn.old_names import REMOVED_IN
from skae._nn.sparse_activations import SPARSE_ACTIVATIONS
from skae.base import BaseAutoencoder, Objective, ReconstructionLoss

IMAGES = {"image_shape": (8, 8), "hidden_layer_sizes": (4, 6)}
COLOURS = {"image_shape": (4, 4, 4), "hidden_layer_sizes": (6,)}
VARIANTS = {
    "dense": {},
    "linear": {"hidden_layer_sizes": ()},
    "deep and tied": {"tied_weights": True, "hidden_layer_sizes": (32, 8)},
    "random": {"init": "random"},
    "gelu": {"activation": "gelu"},
    "logistic": {"activation": "logistic"},
    "relu": {"activation": "relu"},
    "tanh": {"activation": "tanh"},
    "absolute": {"loss": "absolute_error"},
    "binary": {"loss": "log_loss"},
    "counts": {"loss": "poisson"},
    "projected": {"transform_max_iter": 3},
    "not projected": {"transform_max_iter": 0},
}
IMAGE_VARIANTS = {
    "images": IMAGES,
    "tied images": IMAGES | {"tied_weights": True, "init": "random"},
    "odd images": {"image_shape": (8, 8), "hidden_layer_sizes": (4, 4, 4, 4)},
    "colours": COLOURS,
    "tied colours": COLOURS | {"tied_weights": True, "loss": "log_loss"},
}
SPARSE_VARIANTS = {
    kind: {"sparsity": kind}
    | ({"n_nonzero_coefs": 2} if kind in SETS_SPARSITY["n_nonzero_coefs"][1] else {})
    for kind in SPARSE_ACTIVATIONS
} | {
    "tied, no hidden layers": {"tied_weights": True, "hidden_layer_sizes": ()},
    "rows as they are": {"with_mean": False, "sparsity": "lifetime", "n_nonzero_coefs": 2},
    "windows": {"hidden_layer_sizes": (), "image_shape": (8, 8), "receptive_field": 3},
}
PARAMETERS = VARIANTS | IMAGE_VARIANTS | SPARSE_VARIANTS

# Each variant with the plain autoencoder, some with the other network, and each estimator once.
CASES = [
    *((AutoencoderTransformer, variant) for variant in VARIANTS | IMAGE_VARIANTS),
    *((VAE, variant) for variant in ("deep and tied", "absolute", "binary", "counts", "images")),
    *((cls, "projected") for cls in (VAE, ContractiveAutoencoder, DenoisingAutoencoder)),
    *((SparseAutoencoder, variant) for variant in (*SPARSE_VARIANTS, "tied images")),
    *((cls, "dense") for cls in AUTOENCODERS if cls is not AutoencoderTransformer),
]
DENSE_CASES = [(cls, variant) for cls, variant in CASES if variant not in IMAGE_VARIANTS]


def named(case):
    return f"{case[0].__name__}-{case[1]}"


def fitted(cls, X, **parameters):
    """An estimator none of whose weights is zero, and rows for it."""
    X = X[:100] / (16 if parameters.get("loss") == "log_loss" else 1)
    estimator = make_small(cls, **({"max_iter": 1} | parameters)).fit(X)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weights in estimator.network_.parameters():
            weights += 0.1 * torch.randn(weights.shape, generator=generator)
    if parameters.keys() - {"transform_max_iter"}:  # the nodes of more steps take most of the time
        network = estimator.network_.network
        network.n_projection_steps = min(network.n_projection_steps, 1)
    return estimator, X


def arguments(estimator, X):
    return dict.fromkeys(METHODS, X) | {"inverse_transform": estimator.transform(X)}


def tolerance(estimator, dtype, *, single=False):
    """Steps of a projection enlarge the differences of rounding."""
    projected = estimator.network_.network.n_projection_steps > 0
    if single or dtype == np.float32:
        return 2e-3 if projected else 1e-5
    return 1e-6 if projected else 1e-10


def assert_close(actual, expected, rtol):
    """Within `rtol` of the size of the results: single codes may be zero."""
    assert actual.shape == expected.shape
    scale = np.sqrt(np.mean(np.square(expected, dtype=float), axis=0, keepdims=True)).max()
    np.testing.assert_allclose(actual, expected, rtol=rtol, atol=rtol * scale)


def run(model, **inputs):
    return session(model).run(None, inputs)


@pytest.mark.parametrize("case", CASES, ids=named)
def test_onnxruntime_agrees_with_every_method(case, digits):
    pytest.importorskip("skl2onnx")
    cls, variant = case
    parameters = PARAMETERS[variant]
    estimator, X = fitted(cls, digits.astype(np.float32), **parameters)
    for method, rows in arguments(estimator, X).items():
        model, expected = to_onnx(estimator, method), getattr(estimator, method)(rows)
        (actual,) = run(model, X=rows)
        assert actual.dtype == np.float32
        rtol = tolerance(estimator, np.float32)
        assert_close(actual, expected, rtol)
        (empty,) = run(model, X=rows[:0])
        assert empty.shape == (0, *expected.shape[1:])


@pytest.mark.parametrize("variant", ["dense", "deep and tied", "gelu", "counts", "images"])
def test_onnxruntime_agrees_in_double_precision(variant, digits):
    pytest.importorskip("skl2onnx")
    estimator, X = fitted(AutoencoderTransformer, digits, **PARAMETERS[variant])
    # onnxruntime computes GELU and convolutions in single precision only.
    rtol = tolerance(estimator, np.float64, single=variant in ("gelu", "images"))
    for method, rows in arguments(estimator, X).items():
        (actual,) = run(to_onnx(estimator, method, dtype=np.float64), X=rows)
        assert actual.dtype == np.float64
        assert_close(actual, getattr(estimator, method)(rows), rtol)


@pytest.mark.parametrize("case", DENSE_CASES, ids=named)
def test_the_numpy_package_agrees_with_every_method(case, digits, tmp_path):
    cls, variant = case
    estimator, X = fitted(cls, digits, **PARAMETERS[variant])
    export_numpy(estimator, tmp_path)
    model = load(tmp_path / "model.npz")
    rtol = tolerance(estimator, np.float64)
    for method, rows in arguments(estimator, X).items():
        expected = getattr(estimator, method)(rows)
        assert_close(getattr(model, method)(rows), expected, rtol)
        assert getattr(model, method)(rows[:0]).shape == (0, *expected.shape[1:])


@pytest.mark.parametrize("cls", [AutoencoderTransformer, VAE])
def test_missing_values_are_exported_as_missing(cls, digits_with_gaps, tmp_path):
    estimator, X = fitted(cls, digits_with_gaps)
    export_numpy(estimator, tmp_path)
    model = load(tmp_path / "model.npz")
    for method in ("transform", "reconstruct", "score_samples"):
        expected = getattr(estimator, method)(X)
        assert np.isfinite(expected).all()
        assert_close(getattr(model, method)(X), expected, tolerance(estimator, np.float64))


@pytest.mark.parametrize("unit", [1.0, 1e-6])
def test_single_precision_is_sufficient_for_columns_far_from_zero(unit, digits):
    X = (unit * (digits[:100] + 1e6)).astype(np.float32)
    estimator = make_small(AutoencoderTransformer, max_iter=1, transform_max_iter=0).fit(X)
    rows = X.copy()
    rows[::2, ::3] = np.nan
    for method in ("transform", "score_samples"):
        (actual,) = run(to_onnx(estimator, method), X=rows)
        assert_close(actual, getattr(estimator, method)(rows), tolerance(estimator, np.float32))


def test_codes_far_from_the_training_rows_are_exported_as_pca(digits, tmp_path):
    estimator, _ = fitted(AutoencoderTransformer, digits)
    export_numpy(estimator, tmp_path)
    codes = 3 * estimator.transform(digits)
    expected = estimator.inverse_transform(codes)
    assert_close(load(tmp_path / "model.npz").inverse_transform(codes), expected, 1e-10)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_whole_pipeline_is_one_model(dtype, digits, small):
    pytest.importorskip("skl2onnx")
    X, y = digits.astype(dtype), np.arange(len(digits)) % 3
    steps = StandardScaler(), small(VAE), small(AutoencoderTransformer, n_components=3)
    pipeline = make_pipeline(*steps, LogisticRegression()).fit(X, y)
    labels, probabilities = run(to_onnx(pipeline, dtype=dtype), X=X)
    np.testing.assert_array_equal(labels, pipeline.predict(X))
    rtol = tolerance(pipeline[-2], dtype)
    assert_close(probabilities, pipeline.predict_proba(X), rtol)
    (codes,) = run(to_onnx(pipeline[:-1], dtype=dtype), X=X)
    assert_close(codes, pipeline[:-1].transform(X), rtol)


def test_skl2onnx_translates_a_registered_estimator(digits):
    skl2onnx = pytest.importorskip("skl2onnx")
    estimator, X = fitted(AutoencoderTransformer, digits.astype(np.float32))
    register_onnx_converters()
    (codes,) = run(skl2onnx.to_onnx(estimator, X[:1]), X=X)
    assert_close(codes, estimator.transform(X), tolerance(estimator, np.float32))


@dataclass
class Shrinkage(Objective):
    """A reconstruction loss, and a penalty on large codes."""

    loss: ReconstructionLoss

    def per_row(self, network, x, rng):
        code = network.encode(x)
        return self.loss.loss(network.decode(code), x) + code.square().sum(1)


class Shrunken(AutoencoderTransformer):
    """An estimator with an objective that is not of this package."""

    def _objective(self, data):
        return Shrinkage(data.loss)


class FromBase(BaseAutoencoder):
    """The same, of the base class."""

    def _objective(self, data):
        return Shrinkage(data.loss)


@pytest.mark.parametrize("cls", [Shrunken, FromBase])
def test_a_subclass_is_exported_as_its_base(cls, digits, tmp_path):
    skl2onnx = pytest.importorskip("skl2onnx")
    estimator, X = fitted(cls, digits.astype(np.float32))
    rtol = tolerance(estimator, np.float32)
    export_numpy(estimator, tmp_path)
    model = load(tmp_path / "model.npz")
    for method, rows in arguments(estimator, X).items():
        expected = getattr(estimator, method)(rows)
        assert_close(run(to_onnx(estimator, method), X=rows)[0], expected, rtol)
        assert_close(getattr(model, method)(rows), expected, rtol)
    codes = estimator.transform(X)
    pipeline = make_pipeline(estimator)
    assert_close(run(to_onnx(pipeline), X=X)[0], codes, rtol)
    register_onnx_converters()
    assert_close(run(skl2onnx.to_onnx(pipeline, X[:1]), X=X)[0], codes, rtol)


def test_the_old_name_of_export_numpy_warns(digits, tmp_path):
    estimator, X = fitted(AutoencoderTransformer, digits)
    with pytest.warns(FutureWarning, match=f"`export_numpy`; .* version {REMOVED_IN}"):
        skae.to_numpy(estimator, tmp_path)
    codes = load(tmp_path / "model.npz").transform(X)
    assert_close(codes, estimator.transform(X), 1e-10)
    assert "to_numpy" not in skae.__all__


def test_models_take_any_number_of_rows(digits, tmp_path):
    pytest.importorskip("skl2onnx")
    estimator, X = fitted(AutoencoderTransformer, digits.astype(np.float32))
    export_numpy(estimator, tmp_path)
    predictor, model = load(tmp_path / "model.npz"), to_onnx(estimator)
    for n_rows in (0, 1, 7):
        assert run(model, X=X[:n_rows])[0].shape == (n_rows, 4)
        codes = predictor.transform(X[:n_rows])
        assert codes.shape == (n_rows, 4)
        assert codes.dtype == np.float32
    many = np.tile(digits, (8, 1))  # more than a block
    last, expected = predictor.transform(many)[-300:], predictor.transform(digits)
    # Up to rounding: a processor may sum the products of a larger block in another order.
    np.testing.assert_allclose(last, expected, atol=1e-10)


def test_the_package_needs_only_numpy(digits, tmp_path):
    estimator, X = fitted(AutoencoderTransformer, digits)
    export_numpy(estimator, tmp_path / "served")
    np.save(tmp_path / "X.npy", X)
    program = """
import sys
for name in ("torch", "sklearn", "scipy", "skae"):
    sys.modules[name] = None  # an import of it raises
import numpy, served
numpy.save("codes.npy", served.load().transform(numpy.load("X.npy")))
"""
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True)
    assert_close(np.load(tmp_path / "codes.npy"), estimator.transform(X), 1e-10)


def test_the_predictor_refuses_another_width(digits, tmp_path):
    estimator, _ = fitted(AutoencoderTransformer, digits)
    export_numpy(estimator, tmp_path)
    with pytest.raises(ValueError, match=r"shape \(n, 64\) for transform, got \(300, 5\)"):
        load(tmp_path / "model.npz").transform(digits[:, :5])


def test_convolutions_are_not_exported_to_numpy(digits, tmp_path):
    estimator, _ = fitted(AutoencoderTransformer, digits, **IMAGES)
    with pytest.raises(TypeError, match=r"must have dense layers only .* use to_onnx"):
        export_numpy(estimator, tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_an_unknown_layer_is_refused_with_its_name(digits):
    pytest.importorskip("skl2onnx")

    def network(n_features, n_components):
        encoder = nn.Sequential(nn.Linear(n_features, n_components), nn.Hardtanh())
        return encoder, nn.Linear(n_components, n_features)

    estimator, _ = fitted(AutoencoderTransformer, digits, network=network)
    with pytest.raises(TypeError, match="to be exported, got a Hardtanh"):
        to_onnx(estimator)


def test_a_search_is_refused_with_its_remedy(digits, small):
    coder = small(SparseAutoencoder, 80, hidden_layer_sizes=(), transform_max_iter=2).fit(digits)
    with pytest.raises(TypeError, match=r"`transform_max_iter` must be 0 .* got 2"):
        to_onnx(coder)


def test_a_method_that_a_subclass_changes_is_refused(digits):
    pytest.importorskip("skl2onnx")

    class Odd(AutoencoderTransformer):
        def transform(self, X):
            return -super().transform(X)

    estimator, _ = fitted(Odd, digits)
    with pytest.raises(TypeError, match="`method` transform of Odd cannot be exported"):
        to_onnx(estimator)


def test_wrong_arguments_are_named(digits):
    pytest.importorskip("skl2onnx")
    estimator, _ = fitted(AutoencoderTransformer, digits)
    with pytest.raises(ValueError, match=r"`method` must be one of 'transform', .* got 'predict'"):
        to_onnx(estimator, "predict")
    with pytest.raises(ValueError, match="`dtype` must be float32 or float64, got int64"):
        to_onnx(estimator, dtype=np.int64)
    with pytest.raises(ValueError, match="`method` must be None except for an autoencoder"):
        to_onnx(make_pipeline(estimator), "transform")
    with pytest.raises(TypeError, match="`estimator` must be an autoencoder of skae"):
        export_numpy(make_pipeline(estimator), "folder")


def test_a_missing_package_is_named(digits, monkeypatch):
    estimator, _ = fitted(AutoencoderTransformer, digits)
    monkeypatch.setitem(sys.modules, "skl2onnx", None)
    for call in (lambda: to_onnx(estimator), register_onnx_converters):
        with pytest.raises(ImportError, match="pip install onnx skl2onnx"):
            call()


def composites(digits, small):
    """The estimators that are no autoencoders, fitted."""
    y = np.arange(60) % 3
    others = [cls for cls in ESTIMATORS if cls not in AUTOENCODERS]
    return [small(cls, max_iter=1).fit(digits[:60, 10:20], y) for cls in others]


def test_an_estimator_without_an_onnx_form_is_refused_with_a_remedy(digits, small):
    for estimator in composites(digits, small):
        for wrapped in (estimator, make_pipeline(StandardScaler(), estimator)):
            if wrapped is not estimator:
                wrapped.fit(digits[:60, 10:20], np.arange(60) % 3)
            name = type(estimator).__name__
            with pytest.raises(TypeError, match=rf"`estimator` .* {name} has no converter; \w+ "):
                to_onnx(wrapped)


def test_other_errors_of_skl2onnx_are_explained(digits, small):
    frame = pd.DataFrame(digits[:, 10:13], columns=list("abc"))
    named = ColumnTransformer([("scale", StandardScaler(), ["a", "c"])])
    later = make_pipeline(StandardScaler().set_output(transform="pandas"), named).fit(frame)
    with pytest.raises(TypeError, match=r"columns by names, .* call skae.register_onnx_conv"):
        to_onnx(later)
    named.fit(frame)
    register_onnx_converters()
    model = pytest.importorskip("skl2onnx").to_onnx(named, frame[:1])  # as the message says
    assert [value.name for value in model.graph.input] == ["a", "b", "c"]
    logarithm = make_pipeline(FunctionTransformer(np.log1p)).fit(digits)
    with pytest.raises(TypeError, match="skl2onnx says: FunctionTransformer is not supported"):
        to_onnx(logarithm)
    with pytest.raises(NotFittedError):
        to_onnx(make_pipeline(StandardScaler(), small(AutoencoderTransformer)))
    for wrong in (3, AutoencoderTransformer):
        with pytest.raises(TypeError, match="`estimator` must be a fitted estimator, got"):
            to_onnx(wrong)
    with pytest.raises(TypeError, match="`dtype` must be float32 or float64, got 'x'"):
        to_onnx(named, dtype="x")


@pytest.mark.parametrize("name", ["open", "replace", "fsync", "savez"])
@pytest.mark.parametrize("count", [1, 2])
def test_an_export_that_fails_leaves_the_folder_as_it_was(
    name, count, digits, small, tmp_path, monkeypatch
):
    fitted = small(AutoencoderTransformer, max_iter=1).fit(digits)
    folder = tmp_path / "new" / "folder"
    module = {"open": builtins, "replace": os, "fsync": os, "savez": np}[name]
    calls = []

    def failing(*args, **kwargs):
        calls.append(args)
        if len(calls) == min(count, 1 if name == "savez" else 2):
            raise OSError(28, "No space left on device")
        return original(*args, **kwargs)

    original = getattr(module, name)
    for exists in (False, True):
        if exists:
            export_numpy(small(AutoencoderTransformer, 2, max_iter=1).fit(digits), folder)
            (folder / "other.txt").write_text("kept")
        before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        calls.clear()
        with monkeypatch.context() as patch:
            patch.setattr(module, name, failing)
            with pytest.raises(OSError, match="No space left"):
                export_numpy(fitted, folder)
        after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        assert after == before
        assert folder.exists() == exists


@pytest.mark.parametrize("name", ["iris-codes", "1", "class", "a.b", "a b"])
def test_a_folder_that_python_cannot_import_raises_a_warning(name, tmp_path, small):
    fitted = small(AutoencoderTransformer, 1, max_iter=1).fit(np.eye(3))
    with pytest.warns(FutureWarning, match=f"got '{name}'. .* version {REMOVED_IN}") as caught:
        export_numpy(fitted, tmp_path / name)
    assert [warning.filename for warning in caught] == [__file__]


def test_equal_models_have_equal_files(tmp_path, small):
    fitted = small(AutoencoderTransformer, 1, max_iter=1).fit(np.eye(3))
    contents = []
    for name in ("one", "two"):
        export_numpy(fitted, tmp_path / name)
        contents.append({file.name: file.read_bytes() for file in (tmp_path / name).iterdir()})
    assert contents[0] == contents[1]
