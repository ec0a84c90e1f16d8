"""`save` and `load` restore estimators bitwise, and refuse everything else."""

import builtins
import errno
import os
import pickle
import pickletools
import re
import sys
from dataclasses import fields
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
import torch
from conftest import ESTIMATORS
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tampering import rewrite
from torch import nn

import skae
from skae import AutoencoderTransformer, load, save

METHODS = ("transform", "predict", "predict_proba", "decision_function", "score_samples")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.skae"


@pytest.fixture
def saved(digits, path, small):
    save(small(AutoencoderTransformer, max_iter=2).fit(digits), path)
    return path


def saved_and_loaded(estimator, path, **options):
    save(estimator, path, **options)
    return load(path, **options)


def assert_same_results(one, other, X):
    known = [method for method in METHODS if hasattr(one, method)]
    assert known
    for method in known:
        np.testing.assert_array_equal(getattr(one, method)(X), getattr(other, method)(X))


def fitted(cls, X, **parameters):
    """Any estimator of the package, quickly, with labels if it learns from them."""
    others = {"estimator": AutoencoderTransformer(**parameters), "n_steps": 3}
    parameters |= others  # of classes that hold an autoencoder, or train for a number of steps
    estimator = cls(**{k: v for k, v in parameters.items() if k in cls().get_params()})
    return estimator.fit(X, np.arange(len(X)) % 3)


@pytest.mark.parametrize("cls", ESTIMATORS, ids=lambda cls: cls.__name__)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_loaded_estimator_gives_bitwise_identical_results(cls, dtype, digits, path):
    quickly = {"max_iter": 3, "hidden_layer_sizes": (16,), "random_state": 0}
    estimator = fitted(cls, digits[:100].astype(dtype), **quickly)
    again = saved_and_loaded(estimator, path)
    assert type(again) is cls
    assert repr(again) == repr(estimator)
    assert_same_results(again, estimator, digits)
    assert joblib.hash(again) == joblib.hash(estimator)
    written = path.read_bytes()
    for equal in (again, estimator, again):
        save(equal, path)
        assert path.read_bytes() == written


@pytest.mark.parametrize(
    "parameters",
    [
        {"image_shape": (8, 8), "hidden_layer_sizes": (4,)},
        {"image_shape": [1, 8, 8], "hidden_layer_sizes": (4,), "tied_weights": True},
        {"tied_weights": True},
        {"hidden_layer_sizes": (), "whiten": True},
        {"loss": "poisson", "n_components": 0.5},
        {"init": "random"},
        {"device": "cpu", "n_components": None, "max_iter": 1},
    ],
    ids=str,
)
def test_every_parameter_is_restored(parameters, digits, path):
    parameters = {"max_iter": 2, "random_state": 0} | parameters
    estimator = AutoencoderTransformer(**parameters).fit(digits[:100])
    again = saved_and_loaded(estimator, path)
    assert_same_results(again, estimator, digits)
    for declared in fields(AutoencoderTransformer):
        one, other = getattr(estimator, declared.name), getattr(again, declared.name)
        assert type(one) is type(other)
        assert one == other


def test_a_random_state_continues_its_sequence(path):
    random_state = np.random.RandomState(3)
    random_state.normal()
    again = saved_and_loaded(AutoencoderTransformer(random_state=random_state), path)
    np.testing.assert_array_equal(again.random_state.normal(size=3), random_state.normal(size=3))


def test_training_continues_as_without_saving(autoencoder, digits, path, small):
    estimator = small(autoencoder, max_iter=3, warm_start=True).fit(digits)
    again = saved_and_loaded(estimator, path)
    np.testing.assert_array_equal(again.fit_transform(digits), estimator.fit_transform(digits))
    streamed = saved_and_loaded(small(autoencoder).partial_fit(digits), path)
    assert streamed.partial_fit(digits).n_samples_seen_ == 2 * len(digits)


def test_an_unfitted_estimator_stays_unfitted(autoencoder, digits, path):
    again = saved_and_loaded(autoencoder(3), path)
    with pytest.raises(NotFittedError):
        again.transform(digits)
    assert again.get_params() == autoencoder(3).get_params()
    clone(again).set_params(max_iter=1).fit(digits)


def test_feature_names_and_the_output_container_are_restored(digits, path, small):
    frame = pd.DataFrame(digits).rename(columns="pixel{}".format)
    estimator = small(AutoencoderTransformer, max_iter=1).set_output(transform="pandas").fit(frame)
    again = saved_and_loaded(estimator, path)
    pd.testing.assert_frame_equal(again.transform(frame), estimator.transform(frame))
    assert again.feature_names_in_.dtype == object


def test_a_function_is_refused_with_its_name_and_the_remedy(path):
    with pytest.raises(
        TypeError, match=r"`corruption` cannot be saved without code.*custom_objects"
    ):
        save(skae.DenoisingAutoencoder(corruption=lambda x, noise: x), path)


def test_a_pipeline_of_listed_estimators_is_restored(digits, path, small):
    steps = StandardScaler(), small(AutoencoderTransformer, max_iter=2), LogisticRegression()
    y = np.array(["even", "odd"])[np.arange(len(digits)) % 2]
    pipeline = make_pipeline(*steps).fit(digits, y)
    again = saved_and_loaded(pipeline, path)
    assert_same_results(again, pipeline, digits)


def test_a_network_of_known_layers_is_saved_without_its_function(digits, path):
    def network(n_features, n_components):
        return nn.Linear(n_features, n_components), nn.Linear(n_components, n_features)

    estimator = AutoencoderTransformer(network=network, max_iter=2, random_state=0).fit(digits)
    with pytest.raises(TypeError, match="`network` cannot be saved without code"):
        save(estimator, path)
    assert not path.exists()
    again = saved_and_loaded(estimator.set_params(network=None), path)
    np.testing.assert_array_equal(again.transform(digits), estimator.transform(digits))


@pytest.mark.parametrize("other", [PCA, "model", AutoencoderTransformer])
def test_only_known_estimators_are_saved(other, path):
    with pytest.raises(TypeError, match=r"`estimator` must be one of .*AutoencoderTransformer"):
        save(other, path)


def test_a_truncated_file_is_refused(saved):
    whole = saved.read_bytes()
    n_header = int.from_bytes(whole[:8], "little")
    lengths = {*range(0, 200, 7), *range(0, len(whole), 4001), 8 + n_header, len(whole) - 1}
    for length in sorted(lengths):
        saved.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"must be a whole file that skae[.]save has written"):
            load(saved)
    saved.write_bytes(whole + b" ")
    with pytest.raises(ValueError, match="must be a whole file"):
        load(saved)


def test_every_flipped_byte_is_detected(saved):
    whole = saved.read_bytes()
    n_header = int.from_bytes(whole[:8], "little")
    places = {*range(150), *range(0, 8 + n_header, 101), *range(8 + n_header, len(whole), 1009)}
    for place in sorted(places):
        for mask in (1, 0x80):
            flipped = bytearray(whole)
            flipped[place] ^= mask
            saved.write_bytes(flipped)
            with pytest.raises(ValueError, match="must be a whole file"):
                load(saved)


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("exploded",)


@pytest.mark.parametrize(
    "dump",
    [
        lambda thing, path: path.write_bytes(pickle.dumps(thing)),
        lambda thing, path: path.write_bytes(pickle.dumps(thing, 0)),
        joblib.dump,
        torch.save,
        lambda thing, path: path.write_bytes(np.array(thing, object).dumps()),
    ],
    ids=["pickle", "text pickle", "joblib", "torch", "numpy"],
)
def test_a_pickle_is_refused_and_not_run(dump, path, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    dump(Bomb(), path)
    with pytest.raises(ValueError, match="must be a whole file"):
        load(path)
    assert not os.path.exists("exploded")


def test_loading_unpickles_nothing(saved, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("unpickled")

    for module, name in ((pickle, "load"), (pickle, "loads"), (pickle, "Unpickler")):
        monkeypatch.setattr(module, name, refuse)
    for module, name in ((torch, "load"), (builtins, "eval"), (builtins, "exec")):
        monkeypatch.setattr(module, name, refuse)
    assert isinstance(load(saved), AutoencoderTransformer)


class FullDisk:
    """A file that has room for 100 bytes."""

    def __init__(self, file):
        self._file = file

    def __getattr__(self, name):
        return getattr(self._file, name)

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self._file.close()

    def write(self, raw):
        self._file.write(raw[:100])
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_failed_write_leaves_the_old_file(saved, digits, monkeypatch, small):
    before = saved.read_bytes()
    other = small(AutoencoderTransformer, max_iter=1).fit(digits)
    with monkeypatch.context() as patch:
        patch.setattr(builtins, "open", lambda *args: FullDisk(io_open(*args)))
        with pytest.raises(OSError, match="No space left"):
            save(other, saved)
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", FullDisk(None).write)
        with pytest.raises(TypeError):
            save(other, saved)
    assert saved.read_bytes() == before
    assert os.listdir(saved.parent) == [saved.name]


io_open = builtins.open


def test_a_failed_first_write_leaves_nothing(path, monkeypatch):
    monkeypatch.setattr(builtins, "open", lambda *args: FullDisk(io_open(*args)))
    with pytest.raises(OSError, match="No space left"):
        save(AutoencoderTransformer(), path)
    assert os.listdir(path.parent) == []


def test_files_contain_no_rows_and_little_beside_the_weights(path, small):
    X = np.random.RandomState(0).normal(size=(3000, 200))
    estimator = small(AutoencoderTransformer, max_iter=1, hidden_layer_sizes=(128,)).fit(X)
    save(estimator, path)
    assert path.stat().st_size < len(pickle.dumps(estimator)) + 32_000
    assert X[0].tobytes() not in path.read_bytes()


def test_a_network_is_loaded_on_the_cpu(path, digits, small):
    estimator = small(AutoencoderTransformer, max_iter=1).fit(digits)
    again = saved_and_loaded(estimator.set_params(device="cuda:7"), path)
    assert again.device == "cuda:7"
    assert {tensor.device.type for tensor in again.network_.state_dict().values()} == {"cpu"}
    np.testing.assert_array_equal(again.transform(digits), estimator.transform(digits))


@pytest.mark.parametrize("key", ["format", "custom_objects"])
def test_a_message_does_not_repeat_a_long_file(key, saved):
    def lengthen(header, arrays):
        header[key] = ["x" * 100_000] * 10

    rewrite(saved, lengthen)
    with pytest.raises(ValueError, match=re.escape(str(saved))) as caught:
        load(saved)
    assert len(str(caught.value)) < 700


def test_a_range_is_saved_as_a_tuple(path):
    sizes = saved_and_loaded(AutoencoderTransformer(hidden_layer_sizes=range(3, 6)), path)
    assert sizes.hidden_layer_sizes == (3, 4, 5)


def test_a_missing_file_is_not_found(path):
    with pytest.raises(FileNotFoundError):
        load(path)


def trusted_types():
    """The list in the documentation."""
    page = (Path(skae.__file__).parents[1] / "docs" / "persistence.md").read_text("utf-8")
    return [line.strip(' ",') for line in page.splitlines() if line.startswith('    "')]


@pytest.mark.parametrize("cls", ESTIMATORS, ids=lambda cls: cls.__name__)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_skops_needs_to_trust_only_what_the_documentation_lists(cls, digits):
    skops_io = pytest.importorskip("skops.io")
    estimator = fitted(cls, digits[:60, 20:30], max_iter=2, random_state=0)
    raw = skops_io.dumps(estimator)
    trusted = trusted_types()
    assert set(skops_io.get_untrusted_types(data=raw)) <= set(trusted)
    again = skops_io.loads(raw, trusted=trusted)
    assert_same_results(again, estimator, digits[:60, 20:30])


@pytest.mark.parametrize("cls", ESTIMATORS, ids=lambda cls: cls.__name__)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_pickles_name_no_private_module(cls, digits):
    estimator = fitted(cls, digits[:60, 20:30], max_iter=2, random_state=0)
    strings = [arg for _, arg, _ in pickletools.genops(pickle.dumps(estimator))]
    assert "skae" in strings
    assert not [s for s in strings if isinstance(s, str) and s.startswith(("skae.", "torch"))]


def test_a_missing_package_is_named(path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    with pytest.raises(ImportError, match="pip install safetensors"):
        save(AutoencoderTransformer(), path)


@pytest.mark.parametrize("version", ["0.1.0", "99.0"])
@pytest.mark.parametrize("module", [skae, sklearn])
def test_a_file_that_cannot_be_read_names_the_version_that_wrote_it(module, version, saved):
    name = {skae: "skae", sklearn: "scikit-learn"}[module]

    def change(header, arrays):
        header["versions"][name] = version
        header["content"]["class"] = "AutoencoderOfTheFuture"

    rewrite(saved, change)
    expected = (
        rf"; {name} {re.escape(version)} wrote it, and this is {name} {module.__version__}[.]$"
    )
    with pytest.raises(ValueError, match=expected):
        load(saved)


@pytest.mark.parametrize("version", [None, 3, "<b>", "1" * 1000, ["1.0"]])
def test_a_version_that_is_none_is_not_shown(version, saved):
    def change(header, arrays):
        header["versions"]["skae"] = version
        header["content"]["class"] = "AutoencoderOfTheFuture"

    rewrite(saved, change)
    with pytest.raises(ValueError, match="must be a whole file") as raised:
        load(saved)
    assert "wrote it" not in str(raised.value)


VALUES = {
    "keys and values of NumPy": dict(zip(np.arange(3), np.array([0.5, 1.0, 2.5]), strict=True)),
    "equal names": {0: np.array([1.0]), "0": np.array([2.0]), "0~1": np.array([3.0])},
    "dots": {"a.b": np.array([1.0]), "a": {"b": np.array([2.0])}},
    "lists": [np.array([1.0]), {"0": np.array([2.0])}, [np.array([3.0])]],
    "surrogates": {"\ud800": np.array([1.0]), "\N{SNOWMAN}": np.array([2.0]), "": np.array([3.0])},
    "reserved": {"__metadata__": np.array([1.0])},
    "string of NumPy": np.str_("relu"),
    "long integer": 2**62,
}


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_any_value_comes_back_as_it_was(value, path):
    again = saved_and_loaded(LogisticRegression(class_weight=value), path).class_weight
    np.testing.assert_equal(again, value)
    assert repr(again) == repr(str(value) if isinstance(value, str) else value)


UNREADABLE = {
    "generator": np.random.default_rng(0),
    "other bit generator": np.random.RandomState(np.random.PCG64(0)),
    "longer integer": 2**64,
    "set": {1, 2},
    "complex": 1j,
    "objects": np.array([1, object()]),
    "dates in periods": np.array(["2020-01-01"], dtype="datetime64[4D]"),
    "class": PCA,
    "function": np.mean,
}


@pytest.mark.parametrize("value", UNREADABLE.values(), ids=UNREADABLE)
def test_what_cannot_be_loaded_is_not_saved(value, path):
    for estimator in (AutoencoderTransformer(random_state=value), LogisticRegression(C=value)):
        with pytest.raises(TypeError, match="cannot be saved"):
            save(estimator, path)
    assert not path.exists()
