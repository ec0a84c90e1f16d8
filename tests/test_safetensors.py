"""Files of estimators: the same bits come back, and nothing else is let in."""

import builtins
import errno
import json
import os
import pickle
import sys
from dataclasses import fields

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from conftest import ESTIMATORS, quick
from safetensors import safe_open
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

import skae
from skae import AutoencoderTransformer, load, save
from skae._export import safetensors

METHODS = ("transform", "predict", "predict_proba", "decision_function", "score_samples")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.skae"


@pytest.fixture
def saved(digits, path):
    save(quick(AutoencoderTransformer, max_iter=2).fit(digits), path)
    return path


def saved_and_loaded(estimator, path):
    save(estimator, path)
    return load(path)


def assert_same_answers(one, other, X):
    known = [method for method in METHODS if hasattr(one, method)]
    assert known
    for method in known:
        np.testing.assert_array_equal(getattr(one, method)(X), getattr(other, method)(X))


def fitted(cls, X, **parameters):
    """Any estimator of the package, quickly, with labels if it learns from them."""
    parameters |= {"estimator": AutoencoderTransformer(**parameters)}  # for those that hold one
    estimator = cls(**{k: v for k, v in parameters.items() if k in cls().get_params()})
    return estimator.fit(X, np.arange(len(X)) % 3)


@pytest.mark.parametrize("cls", ESTIMATORS, ids=lambda cls: cls.__name__)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_what_is_loaded_answers_to_the_bit(cls, dtype, digits, path):
    quickly = {"max_iter": 3, "hidden_layer_sizes": (16,), "random_state": 0}
    estimator = fitted(cls, digits.astype(dtype), **quickly)
    again = saved_and_loaded(estimator, path)
    assert type(again) is cls
    assert repr(again) == repr(estimator)
    assert_same_answers(again, estimator, digits)
    assert joblib.hash(again) == joblib.hash(estimator)


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
def test_every_parameter_comes_back(parameters, digits, path):
    parameters = {"max_iter": 2, "random_state": 0} | parameters
    estimator = AutoencoderTransformer(**parameters).fit(digits[:100])
    again = saved_and_loaded(estimator, path)
    assert_same_answers(again, estimator, digits)
    for declared in fields(AutoencoderTransformer):
        one, other = getattr(estimator, declared.name), getattr(again, declared.name)
        assert type(one) is type(other)
        assert one == other


def test_a_stream_of_chance_goes_on_where_it_was(path):
    random_state = np.random.RandomState(3)
    random_state.normal()
    again = saved_and_loaded(AutoencoderTransformer(random_state=random_state), path)
    np.testing.assert_array_equal(again.random_state.normal(size=3), random_state.normal(size=3))


def test_training_goes_on_where_it_stopped(autoencoder, digits, path):
    estimator = quick(autoencoder, max_iter=3, warm_start=True).fit(digits)
    again = saved_and_loaded(estimator, path)
    np.testing.assert_array_equal(again.fit_transform(digits), estimator.fit_transform(digits))
    streamed = saved_and_loaded(quick(autoencoder).partial_fit(digits), path)
    assert streamed.partial_fit(digits).n_samples_seen_ == 2 * len(digits)


def test_an_unfitted_estimator_stays_unfitted(autoencoder, digits, path):
    again = saved_and_loaded(autoencoder(3), path)
    with pytest.raises(NotFittedError):
        again.transform(digits)
    assert again.get_params() == autoencoder(3).get_params()
    clone(again).set_params(max_iter=1).fit(digits)


def test_names_of_columns_and_the_container_come_back(digits, path):
    frame = pd.DataFrame(digits).rename(columns="pixel{}".format)
    estimator = quick(AutoencoderTransformer, max_iter=1).set_output(transform="pandas").fit(frame)
    again = saved_and_loaded(estimator, path)
    pd.testing.assert_frame_equal(again.transform(frame), estimator.transform(frame))
    assert again.feature_names_in_.dtype == object


def test_code_is_refused_by_name(path):
    with pytest.raises(TypeError, match="`corruption` cannot be saved without code"):
        save(skae.DenoisingAutoencoder(corruption=lambda x, noise: x), path)


def test_a_pipeline_of_listed_estimators_comes_back(digits, path):
    steps = StandardScaler(), quick(AutoencoderTransformer, max_iter=2), LogisticRegression()
    y = np.array(["even", "odd"])[np.arange(len(digits)) % 2]
    pipeline = make_pipeline(*steps).fit(digits, y)
    again = saved_and_loaded(pipeline, path)
    assert_same_answers(again, pipeline, digits)


def test_a_users_network_of_known_layers_needs_only_its_callable_removed(digits, path):
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


def test_every_flipped_byte_is_noticed(saved):
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


def rewrite(path, change):
    """A file with something changed and a right digest, as by a skilled attacker."""

    with safe_open(path, framework="np") as file:
        content = json.loads(file.metadata()["skae"])
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no dict)
    arrays = change(content, arrays) or arrays
    path.write_bytes(safetensors._to_bytes(json.dumps(content), arrays))


def state(content):
    return content["content"]["value"]


def nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


TAMPERINGS = {
    "format": lambda c, a: c.update(format=2),
    "class": lambda c, a: c["content"].update({"class": "Popen"}),
    "kind": lambda c, a: c["content"].update(kind="object"),
    "no estimator": lambda c, a: c.update(content=[1]),
    "method": lambda c, a: state(c).append(["transform", "x"]),
    "dunder": lambda c, a: state(c).append(["__class__", "x"]),
    "no array": lambda c, a: state(c).append(["mean_", {"kind": "array", "value": "none"}]),
    "record": lambda c, a: state(c).append(["x", {"kind": "record", "class": "Q", "value": []}]),
    "network": lambda c, a: state(c).append(["network_", 3]),
    "depth": lambda c, a: state(c).append(["x", nested(900)]),
    "width": lambda c, a: state(c).append(["n_features_in_", 63]),
    "tensor": lambda c, a: {
        k: v[..., :-1].copy() if k.endswith("core.decoder.1.weight") else v for k, v in a.items()
    },
    "missing": lambda c, a: dict(list(a.items())[:-1]),
}


@pytest.mark.parametrize("change", TAMPERINGS.values(), ids=TAMPERINGS)
def test_a_tampered_file_with_a_right_digest_is_refused(change, saved):
    rewrite(saved, lambda content, arrays: None)
    load(saved)
    rewrite(saved, change)
    with pytest.raises(ValueError, match="`path` must be"):
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
def test_a_pickle_in_disguise_is_refused_and_not_run(dump, path, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    dump(Bomb(), path)
    with pytest.raises(ValueError, match="must be a whole file"):
        load(path)
    assert not os.path.exists("exploded")


def test_loading_asks_no_unpickler(saved, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("unpickled")

    for module, name in ((pickle, "load"), (pickle, "loads"), (pickle, "Unpickler")):
        monkeypatch.setattr(module, name, refuse)
    for module, name in ((torch, "load"), (builtins, "eval"), (builtins, "exec")):
        monkeypatch.setattr(module, name, refuse)
    load(saved)


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


def test_a_write_that_fails_leaves_what_was_there(saved, digits, monkeypatch):
    before = saved.read_bytes()
    other = quick(AutoencoderTransformer, max_iter=1).fit(digits)
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


def test_files_hold_no_row_and_little_but_the_weights(path):
    X = np.random.RandomState(0).normal(size=(3000, 200))
    estimator = quick(AutoencoderTransformer, max_iter=1, hidden_layer_sizes=(128,)).fit(X)
    save(estimator, path)
    assert path.stat().st_size < len(pickle.dumps(estimator)) + 32_000
    assert X[0].tobytes() not in path.read_bytes()


def test_a_file_of_another_device_loads_on_the_host(path, digits):
    estimator = quick(AutoencoderTransformer, max_iter=1).fit(digits)
    again = saved_and_loaded(estimator.set_params(device="cuda:7"), path)
    assert again.device == "cuda:7"
    assert {tensor.device.type for tensor in again.network_.state_dict().values()} == {"cpu"}
    np.testing.assert_array_equal(again.transform(digits), estimator.transform(digits))


def test_a_missing_file_is_said_to_be_missing(path):
    with pytest.raises(FileNotFoundError):
        load(path)


def trusted_types():
    """The list in the documentation."""
    from pathlib import Path

    page = (Path(skae.__file__).parents[1] / "docs" / "persistence.md").read_text("utf-8")
    return [line.strip(' ",') for line in page.splitlines() if line.startswith('    "skae.')]


def test_skops_needs_to_trust_what_the_documentation_lists(autoencoder, digits):
    skops_io = pytest.importorskip("skops.io")
    estimator = quick(autoencoder, max_iter=1).fit(digits)
    raw = skops_io.dumps(estimator)
    assert set(skops_io.get_untrusted_types(data=raw)) <= set(trusted_types())
    again = skops_io.loads(raw, trusted=trusted_types())
    assert_same_answers(again, estimator, digits)


def test_the_message_says_what_to_install(path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    with pytest.raises(ImportError, match=r"pip install skae\[save\]"):
        save(AutoencoderTransformer(), path)
