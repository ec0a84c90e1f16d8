"""User-defined classes and functions: files refer to them by name."""

import gc
import subprocess
import sys
import textwrap
from dataclasses import dataclass

import numpy as np
import pytest
import user_network
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tampering import rewrite
from torch import nn

import skae
from skae import AutoencoderTransformer, load, save
from skae._export.custom_objects import autoencoder_classes, public_base, subclasses_named


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.skae"


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
    match = r"^`custom_objects` must match the file .*: list one of the classes named Twice"
    with pytest.raises(ValueError, match=match) as raised:
        load(path)
    for cls in (first, Twice):
        assert f"{cls.__module__}.{cls.__qualname__}" in str(raised.value)
    assert type(load(path, custom_objects=[Twice])) is Twice
    del first, Twice, raised, cls
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


def test_a_listed_object_has_to_be_the_class_of_an_estimator(digits, path, small):
    save(small(UsersAutoencoder, max_iter=1).fit(digits), path)

    def other():
        pass

    for thing in (other, type("other", (), {})):
        thing.__name__ = "UsersAutoencoder"
        match = "^`custom_objects` must match .*: UsersAutoencoder must be the class of the estim"
        with pytest.raises(ValueError, match=match):
            load(path, custom_objects=[thing])


@pytest.mark.parametrize(
    ("saved", "listed"),
    [
        (AutoencoderTransformer, skae.VAE),
        (AutoencoderTransformer, skae.base.BaseAutoencoder),
        (skae.AutoencoderOutlierDetector, AutoencoderTransformer),
        (StandardScaler, Shift),
    ],
)
def test_a_listed_class_has_to_be_derived_from_the_public_class_of_the_saved(saved, listed, path):
    cls, other = type("Derived", (saved,), {}), type("Derived", (listed,), {})
    estimator = object.__new__(cls)
    save(estimator, path, custom_objects=[cls])
    assert type(load(path, custom_objects=[cls])) is cls
    assert type(load(path, custom_objects=[type("Derived", (cls,), {})])) is not cls
    match = f"^`custom_objects` must match .*Derived must be .* derived from {saved.__name__}, got"
    with pytest.raises(ValueError, match=match):
        load(path, custom_objects=[other])


@pytest.mark.parametrize(
    "other",
    [
        type("Scaled", (nn.Module,), {"forward": lambda self, x: x * self.other}),
        type("Scaled", (nn.Module,), {"factor": property(lambda self: 1.0)}),
        type("Scaled", (nn.Module,), {"forward": lambda self, x: x[:, 1:]}),
        type("Scaled", (), {}),
    ],
    ids=["other attributes", "read-only attribute", "other shape", "not a layer"],
)
def test_another_layer_with_the_name_is_refused(other, digits, path, small):
    estimator = small(AutoencoderTransformer, network=scaled_network, max_iter=1).fit(digits)
    custom = [nn.LeakyReLU, scaled_network]
    save(estimator, path, custom_objects=[*custom, Scaled])
    match = r"^`custom_objects` must match .* named LeakyReLU or Scaled is not what was saved"
    with pytest.raises(ValueError, match=match):
        load(path, custom_objects=[*custom, other])


def test_a_layer_that_needs_too_much_memory_is_not_reported_as_another_layer(digits, path, small):
    def change(header, arrays):
        (name,) = [n for n in arrays if n.endswith("inverse_input_scale")]
        arrays[name] = np.ones((2 * 10**5, 1))

    custom = [scaled_network, Scaled, nn.LeakyReLU]
    estimator = small(AutoencoderTransformer, network=scaled_network, max_iter=1).fit(digits)
    save(estimator, path, custom_objects=custom)
    rewrite(path, change)
    with pytest.raises(ValueError, match="its network would need too much memory"):
        load(path, custom_objects=custom)


def name_of_type(value):
    return type(value).__name__


class Loss:
    """Not an estimator, not a layer."""


@pytest.mark.parametrize("value", [object(), {1, 2}, Loss(), nn.Linear(2, 2), 1j], ids=name_of_type)
def test_only_joblib_is_suggested_for_objects_that_cannot_be_listed(value, path):
    with pytest.raises(TypeError, match=r"`loss` cannot be saved.*; use joblib") as raised:
        save(AutoencoderTransformer(loss=value), path)
    assert "`custom_objects`" not in str(raised.value)


@pytest.mark.parametrize("value", [Loss, user_network.plain, np.tanh, Shift()], ids=name_of_type)
def test_listing_is_suggested_for_objects_that_can_be_listed(value, path):
    estimator = AutoencoderTransformer(loss=value)
    match = r"`loss` cannot be saved.* list (it|its class) in `custom_objects`"
    with pytest.raises(TypeError, match=match):
        save(estimator, path)
    listed = [type(value) if isinstance(value, Shift) else value]
    save(estimator, path, custom_objects=listed)
    assert type(load(path, custom_objects=listed).loss) is type(value)


def test_functions_without_a_name_are_refused(path):
    function = lambda x: x  # noqa: E731
    match = "`custom_objects` must hold functions and classes that have a name.* with `def`"
    with pytest.raises(TypeError, match=match):
        save(AutoencoderTransformer(loss=function), path, custom_objects=[function])
    with pytest.raises(TypeError, match=r"`loss` cannot be saved.*a name: define .* with `def`"):
        save(AutoencoderTransformer(loss=function), path)
    assert not path.exists()


def test_the_public_base_is_the_nearest_public_class():
    class Nearer(UsersSparse):
        pass

    class OfTheBase(skae.base.BaseAutoencoder):
        pass

    assert public_base(Nearer) == "SparseAutoencoder"
    assert public_base(OfTheBase) == "BaseAutoencoder"
    assert public_base(Shift) == "BaseEstimator"
    assert public_base(type("AutoencoderTransformer", (skae.VAE,), {})) == "VAE"
