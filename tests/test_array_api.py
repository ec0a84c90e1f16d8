"""Arrays of other libraries under scikit-learn's `array_api_dispatch`, as its PCA supports them."""

import copy
import os
import pickle
import subprocess
import sys
from functools import partial
from pathlib import Path

import joblib
import numpy as np
import pytest
import torch
from conftest import AUTOENCODERS, IS_NEWEST, WITHOUT_TARGETS, covering
from scipy import sparse
from sklearn import config_context
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

import skae
from skae import VAE, AutoencoderTransformer, DenoisingAutoencoder, SparseAutoencoder
from skae._autoencoders import inference, network_rows
from skae._data import sample_weight
from skae._data.array_api import column_sums, to_namespace_of, to_native
from skae._losses.reconstruction import LOSSES
from skae._training import fit_data

NEWEST = pytest.mark.skipif(
    not IS_NEWEST,
    reason="before 1.9 scikit-learn's own estimators take fewer arrays",
)
DTYPES = {"float64": torch.float64, "float32": torch.float32}


@pytest.fixture
def dispatch(monkeypatch):
    """scikit-learn passes arrays of other libraries through unchanged."""
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")
    with config_context(array_api_dispatch=True):
        yield


def tensor(X):
    return torch.from_numpy(np.array(X))


@pytest.fixture(scope="module")
def fitted_to_tensors(autoencoder, digits, small):
    """Each autoencoder class, fitted to tensors; tests do not change it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SCIPY_ARRAY_API", "1")
        with config_context(array_api_dispatch=True):
            return small(autoencoder, max_iter=2).fit(tensor(digits))


def outputs(fitted, X):
    """The results of all methods that take rows."""
    code = fitted.transform(X)
    results = (fitted.score_samples(X), fitted.score_features(X), fitted.reconstruct(X))
    return [code, fitted.inverse_transform(code), *results]


def arrays_of(fitted):
    return {
        name: value
        for name, value in vars(fitted).items()
        if isinstance(value, np.ndarray | Tensor)
    }


@pytest.mark.parametrize(
    ("autoencoder", "dtype"), covering(WITHOUT_TARGETS, list(DTYPES)), indirect=["autoencoder"]
)
@pytest.mark.usefixtures("dispatch")
def test_results_for_tensors_and_arrays_are_bitwise_identical(
    autoencoder, dtype, digits_with_gaps, small
):
    X = digits_with_gaps[:120].astype(dtype)
    x, held_out = tensor(X), X[80:]
    by_array = small(autoencoder, max_iter=2).fit(X[:80], X_val=held_out)
    by_tensor = small(autoencoder, max_iter=2).fit(x[:80], X_val=tensor(held_out))
    for _ in range(2):
        for expected, got in zip(outputs(by_array, X), outputs(by_tensor, x), strict=True):
            assert type(got) is Tensor
            assert got.dtype == DTYPES[dtype]
            np.testing.assert_array_equal(got.numpy(), expected)
        assert by_tensor.score(x) == by_array.score(X)
        for name, expected in arrays_of(by_array).items():
            got = getattr(by_tensor, name)
            assert type(got) is Tensor, name
            np.testing.assert_array_equal(got.numpy(), expected)
        by_array.partial_fit(X)
        by_tensor.partial_fit(x)


@pytest.mark.usefixtures("dispatch")
def test_rows_in_host_memory_are_not_copied():
    x = torch.arange(12.0).reshape(4, 3)
    native = to_native(x.requires_grad_())
    assert type(native) is np.ndarray
    assert native.ctypes.data == x.data_ptr() == to_namespace_of(x, native).data_ptr()


@pytest.fixture
def on_accelerator(dispatch, monkeypatch):
    """Tensors are treated as if they were on an accelerator, where they do not become arrays."""
    to_numpy = Tensor.numpy

    def small_only(self, **options):
        assert self.ndim < 2 or len(self) < 100, "rows became a NumPy array"
        return to_numpy(self, **options)

    for module in (inference, network_rows, sample_weight, fit_data):
        monkeypatch.setattr(module, "to_native", lambda X: X.detach() if type(X) is Tensor else X)
    monkeypatch.setattr(Tensor, "numpy", small_only)
    return monkeypatch


def variants(digits, seed=0):
    """Rows of several kinds, and the parameters for them."""
    rng = np.random.RandomState(seed)
    gaps = np.where(rng.uniform(size=digits.shape) < 0.2, np.nan, digits)
    gaps[:, 5] = np.nan
    large_unit = digits * np.where(np.arange(64) == 20, 1e4, 1.0)
    return {
        "plain": (digits, {}),
        "gaps": (gaps, {}),
        "float32": (digits.astype("f4"), {}),
        "wide": (rng.normal(size=(100, 8)) @ rng.normal(size=(8, 150)), {"n_components": 3}),
        "large unit": (large_unit, {}),
        "probabilities": (digits / 16, {"loss": "log_loss"}),
        "counts": (digits, {"loss": "poisson"}),
    }


VARIANTS = list(variants(np.zeros((1, 64))))


@pytest.mark.filterwarnings("ignore:.* of the variance is in 1 of 53 columns")
@pytest.mark.parametrize(
    ("autoencoder", "variant"),
    # All variants of one class, and of each other class the usual ones and one of the others.
    dict.fromkeys(
        [
            *((AutoencoderTransformer, variant) for variant in VARIANTS),
            *((cls, variant) for cls in WITHOUT_TARGETS for variant in VARIANTS[:2]),
            *covering(WITHOUT_TARGETS, VARIANTS[2:]),
        ]
    ),
    indirect=["autoencoder"],
)
def test_rows_on_an_accelerator_stay_there(
    autoencoder, variant, digits, request, small, global_random_seed
):
    X, parameters = variants(digits[:100], global_random_seed)[variant]
    # One epoch: longer training enlarges rounding errors of the initialisation.
    parameters = {"max_iter": 1} | parameters
    expected = small(autoencoder, **parameters).fit(X)
    expected_outputs, score = outputs(expected, X), expected.score(X)
    x = tensor(X)
    patched = request.getfixturevalue("on_accelerator")
    fitted = small(autoencoder, **parameters).fit(x)
    found, tensors = outputs(fitted, x), arrays_of(fitted)
    assert fitted.score(x) == pytest.approx(score, rel=1e-6)
    patched.undo()
    for got, array in zip(found, expected_outputs, strict=True):
        assert type(got) is Tensor
        # Steps are in float32, in which a column of large units leaves few digits to the others.
        np.testing.assert_allclose(got.numpy(), array, rtol=1e-4, atol=1e-5 * np.abs(array).max())
    assert {type(value) for value in tensors.values()} == {Tensor}


def test_the_range_of_columns_is_that_of_observed_cells(digits_with_gaps, request, small):
    X = digits_with_gaps[:100]
    denoiser = small(DenoisingAutoencoder, max_iter=1, corruption="salt_and_pepper")
    expected = denoiser.fit(X).network_.network.columns
    request.getfixturevalue("on_accelerator")
    found = clone(denoiser).fit(tensor(X)).network_.network.columns
    for name, value in expected.named_buffers():
        torch.testing.assert_close(found.get_buffer(name), value)


class EncodingCallback:
    """A callback that encodes the rows after each epoch."""

    def __init__(self):
        self.codes = []

    def setup(self, estimator, context):
        """Nothing to prepare."""

    teardown = on_fit_task_begin = setup

    def on_fit_task_end(self, estimator, context, *, X, y, fitted_estimator):
        self.codes.append(fitted_estimator.transform(X))


@pytest.mark.usefixtures("dispatch")
def test_callbacks_get_a_model_of_tensors(autoencoder, digits, small):
    pytest.importorskip("sklearn.callback", reason="scikit-learn 1.9 has callbacks")
    callback = EncodingCallback()
    small(autoencoder, max_iter=2).set_callbacks(callback).fit(tensor(digits))
    assert [type(code) for code in callback.codes] == [Tensor] * 3


def test_column_sums_of_tensors_equal_those_of_arrays(digits):
    np.testing.assert_allclose(column_sums(tensor(digits)), digits.sum(axis=0), rtol=1e-14)
    single = digits.astype("f4")  # summed in float64
    np.testing.assert_array_equal(column_sums(tensor(single)), column_sums(single))


@pytest.mark.parametrize(("loss", "bad"), [("log_loss", 1.5), ("log_loss", -0.1), ("poisson", -1)])
def test_rows_outside_the_domain_of_a_loss_are_an_error_for_tensors_too(loss, bad):
    x = torch.tensor([[0.5, torch.nan], [bad, 0.0]])
    with pytest.raises(ValueError, match=f"loss='{loss}'.*{bad}"):
        LOSSES[loss].check(x)
    LOSSES[loss].check(x[:1])
    LOSSES[loss].check(x[:1, 1:])


@NEWEST
@pytest.mark.usefixtures("dispatch")
def test_a_pipeline_and_a_search_keep_tensors(digits, small):
    x = tensor(digits)
    pipeline = make_pipeline(StandardScaler(), small(AutoencoderTransformer))
    code = pipeline.fit(x).transform(x)
    assert type(code) is type(pipeline.inverse_transform(code)) is Tensor
    search = GridSearchCV(pipeline, {"autoencodertransformer__n_components": [1, 8]}, cv=2)
    assert search.fit(x).best_params_ == {"autoencodertransformer__n_components": 8}
    assert type(search.transform(x)) is Tensor


def test_without_dispatch_tensors_become_arrays(autoencoder, digits, small):
    expected = small(autoencoder, max_iter=2).fit(digits)
    fitted = small(autoencoder, max_iter=2).fit(tensor(digits))
    assert {type(value) for value in arrays_of(fitted).values()} == {np.ndarray}
    np.testing.assert_array_equal(fitted.transform(tensor(digits)), expected.transform(digits))


@NEWEST
@pytest.mark.usefixtures("dispatch")
def test_another_library_than_in_fit_is_an_error_as_in_pca(digits, small):
    for reducer in (PCA(2), small(AutoencoderTransformer, 2, max_iter=1)):
        with pytest.raises(ValueError, match="must use the same namespace"):
            reducer.fit(tensor(digits)).transform(digits)


@pytest.mark.parametrize(
    ("autoencoder", "fit_to_tensors"),
    covering(WITHOUT_TARGETS, [True, False]),
    indirect=["autoencoder"],
)
@pytest.mark.usefixtures("dispatch")
def test_methods_require_the_library_of_fit(autoencoder, fit_to_tensors, digits, small):
    def rows(as_tensor):
        return tensor(digits) if as_tensor else digits

    fitted = small(autoencoder, max_iter=1).fit(rows(fit_to_tensors))
    other = rows(not fit_to_tensors)
    for method in (fitted.transform, fitted.reconstruct, fitted.score_samples, fitted.score):
        with pytest.raises(ValueError, match=r"must use the same namespace.*, got "):
            method(other)
    assert type(fitted.partial_fit(other).mean_) is type(other)
    with config_context(array_api_dispatch=False):  # all become arrays
        assert type(fitted.transform(tensor(digits))) is np.ndarray


@pytest.mark.usefixtures("dispatch")
def test_methods_and_attributes_of_single_classes_are_tensors(digits, small):
    x = tensor(digits)
    vae = small(VAE, max_iter=2).fit(x)
    mean, std = vae.posterior(x)
    values = [mean, std, vae.log_likelihood(x, 2), vae.sample(3), vae.active_components_]
    coder = small(SparseAutoencoder, 100, max_iter=2, hidden_layer_sizes=()).fit(x)
    values += [coder.activation_frequency_, coder.dead_components_]
    assert {type(value) for value in values} == {Tensor}
    assert vae.sample(3).dtype == x.dtype
    by_array = small(VAE, max_iter=2).fit(digits)
    np.testing.assert_array_equal(vae.sample(3).numpy(), by_array.sample(3))


@pytest.mark.usefixtures("dispatch")
def test_sparse_output_is_of_scipy_and_the_tag_has_no_array_api_support(digits, small):
    coder = small(SparseAutoencoder, 100, max_iter=2, sparse_output=True).fit(tensor(digits))
    assert sparse.issparse(coder.transform(tensor(digits)))
    assert not coder.__sklearn_tags__().array_api_support
    assert SparseAutoencoder().__sklearn_tags__().array_api_support


def saved_and_loaded(fitted, path):
    pytest.importorskip("safetensors")
    skae.save(fitted, path)
    return skae.load(path)


COPIES = {
    "pickle": lambda fitted, path: pickle.loads(pickle.dumps(fitted)),
    "joblib": lambda fitted, path: joblib.load(joblib.dump(fitted, path)[0], mmap_mode="r"),
    "deepcopy": lambda fitted, path: copy.deepcopy(fitted),
    "save": saved_and_loaded,
}


@pytest.mark.parametrize(
    ("autoencoder", "copy_of"), covering(WITHOUT_TARGETS, list(COPIES)), indirect=["autoencoder"]
)
@pytest.mark.usefixtures("dispatch")
def test_a_model_of_tensors_keeps_tensors(copy_of, fitted_to_tensors, digits, tmp_path):
    x, fitted = tensor(digits), fitted_to_tensors
    loaded = COPIES[copy_of](fitted, tmp_path / "model")
    assert {type(value) for value in arrays_of(loaded).values()} == {Tensor}
    assert vars(loaded).keys() == vars(fitted).keys()
    assert torch.equal(loaded.transform(x), fitted.transform(x))


@pytest.mark.filterwarnings("ignore:.*unspecified requires_grad")  # scikit-learn's conversion
@pytest.mark.usefixtures("dispatch")
def test_tensors_of_any_dtype_gradient_and_layout_are_accepted(digits, small):
    counts = torch.from_numpy(digits.astype("i4"))
    assert small(AutoencoderTransformer).fit_transform(counts).dtype == torch.float64
    with_gradient = tensor(digits).requires_grad_()
    code = small(AutoencoderTransformer).fit_transform(with_gradient)
    assert not code.requires_grad
    (code.requires_grad_() ** 2).sum().backward()  # not a tensor of inference mode
    by_columns = tensor(digits).T.contiguous().T
    code = small(AutoencoderTransformer).fit_transform(by_columns)
    expected = small(AutoencoderTransformer).fit_transform(np.asfortranarray(digits))
    np.testing.assert_array_equal(code.numpy(), expected)
    negated_lazily = torch.complex(tensor(digits), -tensor(digits)).conj().imag
    assert negated_lazily.is_neg()
    code = small(AutoencoderTransformer).fit_transform(negated_lazily)
    expected = small(AutoencoderTransformer).fit_transform(tensor(digits))
    torch.testing.assert_close(code, expected)


@pytest.mark.parametrize("change", ["to_sparse", "to_sparse_csr"])
@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support")
@pytest.mark.usefixtures("dispatch")
def test_tensors_without_a_number_in_memory_for_each_entry_are_refused(change, digits, small):
    fitted = small(AutoencoderTransformer, max_iter=1).fit(tensor(digits))
    for X in (getattr(tensor(digits), change)(), tensor(digits).to("meta")):
        for method in (fitted.fit, fitted.partial_fit, fitted.transform, fitted.inverse_transform):
            with pytest.raises(TypeError, match=r"X must be a dense array or a SciPy matrix, got"):
                method(X)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x[:, :5], "features"),
        (lambda x: x[0], "2D"),
        (lambda x: x / 0, "infinity"),
        (lambda x: x[:0], "0 sample"),
    ],
)
@pytest.mark.usefixtures("dispatch")
def test_invalid_tensors_raise_the_errors_of_arrays(change, message, digits, small):
    fitted = small(AutoencoderTransformer, max_iter=1).fit(tensor(digits))
    with pytest.raises(ValueError, match=message):
        fitted.transform(change(tensor(digits)))


CHECKS = """
import sys, unittest, warnings
from sklearn.utils.estimator_checks import estimator_checks_generator
from conftest import AUTOENCODERS, make_small

warnings.simplefilter("error")
for cls in AUTOENCODERS:
    small = make_small(cls, n_components=2, max_iter=1, hidden_layer_sizes=())
    for estimator, check in estimator_checks_generator(small):
        if check.func.__name__.startswith("check_array_api"):
            try:
                check(estimator)
            except unittest.SkipTest:
                continue
            print(cls.__name__, check.func.__name__, *map(str, check.keywords.values()))
"""


def test_the_checks_of_scikit_learn_pass():
    pytest.importorskip("array_api_strict")
    paths = os.pathsep.join([str(Path(__file__).parent), str(Path(skae.__file__).parents[1])])
    run = subprocess.run(
        [sys.executable, "-c", CHECKS],
        env=os.environ | {"SCIPY_ARRAY_API": "1", "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    for cls in AUTOENCODERS:
        for check in ("check_array_api_input torch cpu float32", "check_array_api_input array_api"):
            assert f"{cls.__name__} {check}" in run.stdout


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.usefixtures("dispatch")
def test_tensors_on_a_gpu_stay_there(autoencoder, dtype, digits, small):
    X = digits.astype(dtype)
    x = tensor(X).cuda()
    # With larger steps training amplifies differences of rounding between devices.
    slow = partial(small, autoencoder, max_iter=1, learning_rate_init=0.001)
    fitted, expected = slow().fit(x), slow(device="cpu").fit(X)
    for got, array in zip(outputs(fitted, x), outputs(expected, X), strict=True):
        assert got.device == x.device
        assert got.dtype == x.dtype
        np.testing.assert_allclose(
            got.cpu().numpy(), array, rtol=1e-2, atol=1e-3 * np.abs(array).max()
        )
    assert {value.device for value in arrays_of(fitted).values()} == {x.device}
    loaded = pickle.loads(pickle.dumps(fitted))
    assert {value.device.type for value in arrays_of(loaded).values()} == {"cpu"}
    assert loaded.transform(x).device == x.device
