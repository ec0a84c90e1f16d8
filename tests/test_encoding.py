"""Values in files: custom objects by name, and files that are made to do harm."""

import gc
import os
import subprocess
import sys
import textwrap
from dataclasses import dataclass

import numpy as np
import pytest
import user_network
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import LabelEncoder, StandardScaler
from tampering import attribute, rewrite, state
from torch import nn

import skae
from skae import AutoencoderTransformer, load, save
from skae._export.encoding import STRING_WIDTH, autoencoder_classes, subclasses_named


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.skae"


@pytest.fixture
def saved(digits, path, small):
    save(small(AutoencoderTransformer, max_iter=2).fit(digits), path)
    return path


def assert_saved_bitwise(estimator, X, path, **options):
    save(estimator, path, **options)
    again = load(path, **options)
    assert type(again) is type(estimator)
    np.testing.assert_array_equal(again.transform(X), estimator.transform(X))
    return again


class UsersAutoencoder(AutoencoderTransformer):
    """A subclass that adds nothing."""


@dataclass(eq=False, repr=False)
class UsersSparse(skae.SparseAutoencoder):
    """A subclass with a parameter."""

    weight: float = 1.0


class Shift(TransformerMixin, BaseEstimator):
    """An estimator that is not of this package."""

    def fit(self, X, y=None):
        self.mean_ = X.mean(axis=0)
        return self

    def transform(self, X):
        return X - self.mean_


class Scaled(nn.Module):
    """A layer that is not of this package."""

    def __init__(self, n_features, factor=2.0):
        super().__init__()
        self.factor, self.sizes = factor, (n_features, [1, 2])
        self.weight = nn.Parameter(torch_ones(n_features))
        self.register_parameter("bias", None)

    def forward(self, x):
        return x * self.weight * self.factor + (0 if self.bias is None else self.bias)


def torch_ones(n):
    return nn.LayerNorm(n).weight.detach().clone()


def scaled_network(n_features, n_components):
    encoder = nn.Sequential(Scaled(n_features), nn.Linear(n_features, n_components))
    return encoder, nn.Sequential(nn.Linear(n_components, n_features), nn.LeakyReLU())


# Custom objects


@pytest.mark.parametrize("cls", [UsersAutoencoder, UsersSparse])
def test_a_subclass_of_an_autoencoder_needs_no_custom_objects(cls, digits, path, small):
    estimator = small(cls, max_iter=1).fit(digits)
    again = assert_saved_bitwise(estimator, digits, path)
    assert again.get_params() == estimator.get_params()
    assert_saved_bitwise(make_pipeline(StandardScaler(), estimator).fit(digits), digits, path)


def test_a_function_is_stored_by_name(digits, path, small):
    estimator = small(AutoencoderTransformer, network=user_network.plain, max_iter=1).fit(digits)
    again = assert_saved_bitwise(estimator, digits, path, custom_objects=[user_network.plain])
    assert again.network is user_network.plain
    with pytest.raises(ValueError, match=r"`custom_objects` must have .* name: plain[.]") as raised:
        load(path)
    assert "custom_objects=[plain]" in str(raised.value)


def test_a_function_that_is_not_listed_is_refused(digits, path, small):
    estimator = small(AutoencoderTransformer, network=user_network.plain, max_iter=1).fit(digits)
    with pytest.raises(TypeError, match=r"`network` cannot be .* list it in `custom_objects`"):
        save(estimator, path, custom_objects=[user_network.leaky])
    assert not path.exists()


def test_classes_of_layers_are_stored_by_name(digits, path, small):
    estimator = small(AutoencoderTransformer, network=scaled_network, max_iter=1).fit(digits)
    custom = scaled_network, Scaled, nn.LeakyReLU
    again = assert_saved_bitwise(estimator, digits, path, custom_objects=custom)
    layer = next(part for part in again.network_.modules() if isinstance(part, Scaled))
    assert (layer.factor, layer.sizes, layer.bias) == (2.0, (64, [1, 2]), None)
    with pytest.raises(ValueError, match="name: LeakyReLU, Scaled"):
        load(path, custom_objects=[scaled_network])
    with pytest.raises(TypeError, match=r"`network_` cannot be .* of LeakyReLU, Scaled"):
        save(estimator.set_params(network=None), path)


def test_a_layer_with_an_unknown_attribute_is_refused(digits, path, small):
    estimator = small(AutoencoderTransformer, network=scaled_network, max_iter=1).fit(digits)
    layer = next(part for part in estimator.network_.modules() if isinstance(part, Scaled))
    layer.function = print
    with pytest.raises(TypeError, match="`network_` cannot be saved"):
        save(estimator, path, custom_objects=[scaled_network, Scaled, nn.LeakyReLU])


def test_frozen_parameters_are_refused_with_the_reason(digits, path, small):
    estimator = small(AutoencoderTransformer, max_iter=1).fit(digits)
    estimator.network_.requires_grad_(False)
    with pytest.raises(TypeError, match=r"`network_` cannot be .*frozen or shared.*joblib"):
        save(estimator, path)


def test_another_estimator_is_stored_by_name(digits, path, small):
    pipeline = make_pipeline(Shift(), small(AutoencoderTransformer, max_iter=1)).fit(digits)
    assert_saved_bitwise(pipeline, digits, path, custom_objects=[Shift])
    assert_saved_bitwise(Shift().fit(digits), digits, path, custom_objects=[Shift])
    with pytest.raises(TypeError, match=r"cannot be saved .* list its class in `custom_objects`"):
        save(pipeline, path)
    with pytest.raises(TypeError, match="`estimator` must be one of"):
        save(Shift(), path)
    with pytest.raises(ValueError, match="refers to by name: Shift"):
        load(path)


def define_again():
    class Twice(AutoencoderTransformer):
        pass

    return Twice


def test_a_class_that_is_defined_again_replaces_the_first(digits, path, small):
    first, second = define_again(), define_again()
    save(small(first, max_iter=1).fit(digits), path)
    assert type(load(path)) is second
    assert type(load(path, custom_objects=[first])) is first


def test_two_classes_of_one_name_have_to_be_listed(digits, path, small):
    first = define_again()

    class Twice(AutoencoderTransformer):
        pass

    save(small(first, max_iter=1).fit(digits), path)
    with pytest.raises(ValueError, match=r"several classes are named Twice.*`custom_objects`"):
        load(path)
    assert type(load(path, custom_objects=[Twice])) is Twice
    del first, Twice
    gc.collect()
    assert not subclasses_named("Twice")


def test_another_program_that_defines_the_class_loads_the_file(digits, path, small):
    save(small(UsersAutoencoder, max_iter=1).fit(digits), path)
    program = """
        import sys, skae
        try:
            skae.load(sys.argv[1])
        except ValueError as error:
            assert "UsersAutoencoder" in str(error), error
        else:
            raise AssertionError("loaded without the class")
        assert "user_network" not in sys.modules
        class UsersAutoencoder(skae.AutoencoderTransformer): ...
        assert type(skae.load(sys.argv[1])) is UsersAutoencoder
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program), path], check=True)


@pytest.mark.parametrize("custom", [user_network.plain, "plain", AutoencoderTransformer, 3])
def test_custom_objects_have_to_be_in_a_list(custom, path):
    for call in (lambda: save(AutoencoderTransformer(), path, custom_objects=custom),):
        with pytest.raises(TypeError, match="`custom_objects` must be a list of classes"):
            call()


def test_custom_objects_have_to_have_names_of_their_own(path):
    class Gate(nn.Linear):
        pass

    with pytest.raises(TypeError, match="`custom_objects` must hold classes and functions, got 3"):
        save(AutoencoderTransformer(), path, custom_objects=[3])
    with pytest.raises(ValueError, match="a different name each, got two named 'Gate'"):
        save(AutoencoderTransformer(), path, custom_objects=[Gate, type("Gate", (), {})])


def test_a_layer_with_the_name_of_a_known_one_is_refused(digits, path, small):
    other = type("Linear", (nn.Module,), {})
    estimator = small(AutoencoderTransformer, max_iter=1).fit(digits)
    with pytest.raises(ValueError, match="`custom_objects` must not have layers named Linear"):
        save(estimator, path, custom_objects=[other])


def test_each_class_of_autoencoders_is_found_once():
    class OfTwo(UsersSparse, UsersAutoencoder):
        pass

    found = autoencoder_classes()
    assert {UsersAutoencoder, UsersSparse, OfTwo, skae.VAE} <= set(found)
    assert len(found) == len(set(found))


# Tampered files


def nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


def add(name, value):
    """A tampering that adds an attribute."""
    return lambda header, arrays: state(header).append([name, value])


def use_twice(header, arrays):
    state(header).append(["copy_", attribute(header, "mean_")])


def structure(header):
    """The structure of the network, as a table."""
    return dict(attribute(header, "network_")["value"])["structure"]


def with_parts(table, place=""):
    """All parts of an encoded structure."""
    yield dict(table["value"])
    for _, part in dict(table["value"])["modules"]["value"]:
        yield from with_parts(part)


def change_value(cls, name, value):
    """A tampering that changes, or adds, an argument of each layer of a class."""

    def change(header, arrays):
        changed = [part for part in with_parts(structure(header)) if part["class"] == cls]
        assert changed
        for part in changed:
            values = part["values"]["value"]
            values[:] = [entry for entry in values if entry[0] != name] + [[name, value]]

    return change


def random_state(position):
    """A tampering that adds a random state."""

    def change(header, arrays):
        arrays["key"] = np.zeros(624, np.uint32)
        key = {"kind": "array", "value": "key", "order": "C"}
        table = {"kind": "dict", "value": [["key", key], ["pos", position]]}
        entries = [["bit_generator", "MT19937"], ["state", table], ["has_gauss", 0], ["gauss", 0.0]]
        value = {"kind": "RandomState", "value": entries}
        state(header)[:] = [entry for entry in state(header) if entry[0] != "random_state"]
        state(header).append(["random_state", value])

    return change


def strings(**changes):
    value = {"kind": "strings", "dtype": "<U3", "shape": [1], "value": ["abc"]}
    return add("names_", value | changes)


TAMPERINGS = {
    "format": lambda h, a: h.update(format=99),
    "class": lambda h, a: h["content"].update({"class": "Popen"}),
    "base class": lambda h, a: h["content"].update({"class": "BaseAutoencoder"}),
    "custom class": lambda h, a: h["content"].update(
        {"class": "Popen", "kind": "custom_estimator"}
    ),
    "custom function": add("network", {"kind": "custom", "name": "eval"}),
    "kind": lambda h, a: h["content"].update(kind="object"),
    "no estimator": lambda h, a: h.update(content=[1]),
    "method": add("transform", "x"),
    "dunder": add("__class__", "x"),
    "class attribute": add("_doc_link_template", "javascript:alert(1)"),
    "no array": add("mean_", {"kind": "array", "value": "none"}),
    "array used twice": use_twice,
    "dtype": add("x_", {"kind": "dtype", "value": "V1000000000"}),
    "strings of bytes": strings(dtype="S1000000000"),
    "wide strings": strings(dtype="<U1000000000"),
    "strings of numbers": strings(dtype="|O", value=[{"kind": "float"}]),
    "record": add("x", {"kind": "record", "class": "Q", "value": []}),
    "random state before its words": random_state(-1),
    "random state after its words": random_state(625),
    "network": add("network_", 3),
    "network of another kind": add("network_", {"kind": "record", "class": "Seeds", "value": []}),
    "layer": change_value("Linear", "in_features", 10**9),
    "layer on a device": change_value("Linear", "device", "cpu"),
    "class of a layer": lambda h, a: structure(h)["value"].append(["class", "Hardtanh"]),
    "depth": add("x", nested(900)),
    "width": add("n_features_in_", 63),
    "tensor": lambda h, a: {
        name: a[name][..., :-1].copy() if "decoder" in name and "weight" in name else a[name]
        for name in a
    },
    "missing array": lambda h, a: dict(list(a.items())[:-1]),
    "custom objects": lambda h, a: h.update(custom_objects=[{}]),
}


@pytest.mark.parametrize("change", TAMPERINGS.values(), ids=TAMPERINGS)
def test_a_tampered_file_with_a_correct_digest_is_refused(change, saved):
    rewrite(saved, lambda header, arrays: None)
    load(saved)
    rewrite(saved, change)
    with pytest.raises(ValueError, match="`path` must be"):
        load(saved)


@pytest.mark.parametrize("change", [random_state(624), strings()])
def test_the_same_without_the_error_is_accepted(change, saved):
    rewrite(saved, change)
    load(saved)


def test_a_name_in_a_file_is_not_looked_up_in_the_program(saved):
    rewrite(saved, lambda header, arrays: header.update(custom_objects=["os", "system", "a b"]))
    with pytest.raises(ValueError, match=r"refers to by name: os, system, 'a b'[.]"):
        load(saved)


def test_wide_strings_are_narrowed(path):
    for width in (4, 1000):
        encoder = LabelEncoder().fit(np.array(["even", "odd"], dtype=f"U{width}"))
        assert encoder.classes_.dtype == f"U{width}"
        save(encoder, path)
        loaded = load(path).classes_
        np.testing.assert_array_equal(loaded, encoder.classes_)
        assert loaded.dtype == f"U{min(width, STRING_WIDTH)}"


def test_loading_takes_little_more_memory_than_the_file(saved):
    """The peak of a process that loads, beyond that of one that loads nothing, per byte of it."""
    rewrite(saved, lambda header, arrays: arrays.update(more=np.zeros(2**21)))
    rewrite(saved, add("more_", {"kind": "array", "value": "more", "order": "C"}))
    program = """
        import resource, sys, skae
        skae.load(sys.argv[1])
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        skae.load(sys.argv[2])
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    """
    small = saved.with_name("small.skae")
    save(AutoencoderTransformer(), small)
    command = [sys.executable, "-c", textwrap.dedent(program), small, saved]
    more = int(subprocess.run(command, check=True, capture_output=True).stdout) * 1024
    assert more < 6 * os.path.getsize(saved)
