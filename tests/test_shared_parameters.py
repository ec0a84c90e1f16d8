"""Parameters of all autoencoders: documentation, validation, clones."""

import re
from dataclasses import MISSING, fields

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from skae import AutoencoderTransformer


def test_every_parameter_is_documented_with_its_default(autoencoder):
    for declared in fields(autoencoder):
        entry = re.search(rf"^    {declared.name} : (.+)$", autoencoder.__doc__, re.MULTILINE)
        assert entry, f"{declared.name} is not documented"
        assert declared.default is not MISSING
        stated = re.search(r"default=(.+)$", entry[1])[1]
        assert eval(stated) == declared.default, declared.name


def test_every_fitted_attribute_is_documented(autoencoder, digits, small):
    fitted = small(autoencoder).fit(pd.DataFrame(digits).rename(columns=str))
    for name in vars(fitted):
        if name.endswith("_") and not name.startswith("_"):
            assert re.search(rf"^    {name} : ", autoencoder.__doc__, re.MULTILINE), name


@pytest.mark.parametrize("bad", [object(), -1, "no such thing", [0], float("nan")])
def test_the_error_for_a_bad_parameter_names_it(autoencoder, digits, bad):
    for declared in fields(autoencoder):
        rules = declared.metadata["allowed"]
        if any(rule.has_type(bad) and rule.accepts(bad) for rule in rules):
            continue
        before = autoencoder()
        refused = before.set_params(**{declared.name: bad})
        with pytest.raises((ValueError, TypeError), match=f"`{declared.name}` must be .* got"):
            refused.fit(digits)
        assert not hasattr(refused, "n_features_in_")


@pytest.mark.parametrize("wrong", ["no loss", ["poisson"], np.array([1, 2]), None])
def test_the_error_for_the_loss_of_a_column_names_it(autoencoder, digits, wrong):
    with pytest.raises(ValueError, match=r"`loss` must be .* for each column, got"):
        autoencoder(loss={0: wrong}).fit(digits)


def test_init_does_not_validate_and_clone_keeps_every_parameter(autoencoder):
    invalid = autoencoder("seven", alpha=-1, device=3)
    assert clone(invalid).get_params() == invalid.get_params()


@pytest.mark.parametrize(
    ("n_components", "hidden_layer_sizes", "projects"),
    [(2, (96, 96, 96), True), (33, (96,), True), (65, (8,), False), (33, (512, 128), False)],
)
def test_codes_are_projected_by_default_where_a_step_is_cheap(
    n_components, hidden_layer_sizes, projects, global_random_seed
):
    X = np.random.RandomState(global_random_seed).normal(size=(70, 70))
    options = {"hidden_layer_sizes": hidden_layer_sizes, "max_iter": 1}
    fitted = AutoencoderTransformer(n_components, random_state=global_random_seed, **options).fit(X)
    assert bool(fitted.network_.network.n_projection_steps) == projects


@pytest.mark.parametrize(
    ("n_components", "sizes"),
    [(1, (96, 96, 96)), (4, (96, 96, 96)), (5, (128, 128)), (19, (128, 128))],
)
def test_the_default_hidden_layers_depend_on_the_number_of_components(
    n_components, sizes, global_random_seed
):
    X = np.random.RandomState(global_random_seed).normal(size=(40, 20))
    options = {"max_iter": 2, "random_state": global_random_seed}
    default = AutoencoderTransformer(n_components, **options)
    explicit = AutoencoderTransformer(n_components, hidden_layer_sizes=sizes, **options)
    np.testing.assert_array_equal(default.fit_transform(X), explicit.fit_transform(X))
    layers = [m for m in default.network_.network.encoder if hasattr(m, "out_features")]
    assert tuple(layer.out_features for layer in layers[:-1]) == sizes
