"""Parameters that a fit refuses, and those that a fitted estimator no longer reads."""

import copy
import re
import warnings
from functools import cache, partial
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import AUTOENCODERS, ESTIMATORS, WITHOUT_TARGETS, all_results, covering
from frames import mixed_frame
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from torch import nn

import skae
from skae import AutoencoderTransformer
from skae._autoencoders.checks import check_same_fit


def test_a_share_may_be_any_real_number(digits, small):
    share = np.float32(0.5)
    fitted = small(AutoencoderTransformer, n_components=share, max_iter=5).fit(digits)
    assert (
        fitted.n_components_
        == small(AutoencoderTransformer, n_components=0.5, max_iter=5).fit(digits).n_components_
    )


def test_n_components_none_keeps_all_components(digits):
    fitted = AutoencoderTransformer(None).fit(digits[:40])
    assert fitted.n_components_ == 40
    assert fitted.score(digits[:40]) == pytest.approx(1)


def test_a_share_of_variance_is_refused_in_partial_fit(digits):
    with pytest.raises(
        ValueError, match="`n_components` must be an integer or None in partial_fit"
    ):
        AutoencoderTransformer(0.9).partial_fit(digits)


def test_the_first_batch_needs_n_components_rows(digits, small):
    with pytest.raises(ValueError, match=r"`n_components` must be at most .* = 3"):
        small(AutoencoderTransformer).partial_fit(digits[:3])


@pytest.mark.parametrize(
    ("autoencoder", "factor"), covering(WITHOUT_TARGETS, [1e10, 1e30]), indirect=["autoencoder"]
)
@pytest.mark.filterwarnings("ignore:The loss was finite:sklearn.exceptions.ConvergenceWarning")
def test_rows_in_much_larger_units_are_trained_on_or_named(autoencoder, digits, small, factor):
    X = digits[:60, 20:28]
    for fit in (autoencoder.partial_fit, autoencoder.fit):
        estimator = small(autoencoder, 2, max_iter=2, warm_start=True).fit(X)
        expected = estimator.transform(X)
        message = ""
        try:
            fit(estimator, factor * X)
            assert np.isfinite(estimator.transform(X)).all()
        except ValueError as error:
            message = str(error)
            np.testing.assert_array_equal(estimator.transform(X), expected)
        assert message.startswith("X must have the units of the rows of the first" * bool(message))


def test_a_warm_start_keeps_the_number_of_components(digits, small):
    estimator = small(AutoencoderTransformer, warm_start=True).fit(digits)
    with pytest.raises(ValueError, match="`n_components` must stay 4"):
        estimator.set_params(n_components=3).fit(digits)
    for same in (4, None, 0.9):
        assert estimator.set_params(n_components=same).fit(digits).n_components_ == 4


# Parameters that describe the form of a result, or the random numbers in it, and not what was
# fitted; scikit-learn reads such parameters at each call, too.
OF_RESULTS = {"random_state", "sparse_output", "sample_posterior", "device"}


@pytest.mark.parametrize("cls", ESTIMATORS, ids=lambda cls: cls.__name__)
def test_parameters_changed_after_a_fit_do_not_change_what_was_fitted(cls, digits, small):
    X, y = digits[:80, 20:28] / 16, np.arange(80) % 2
    if cls().__sklearn_tags__().input_tags.allow_nan:
        X[::9, 3] = np.nan
    fitted = small(cls, 2, max_iter=3).fit(X, y)
    before = all_results(fitted, X)
    for name in fitted.get_params(deep=False):
        if name not in OF_RESULTS:
            setattr(fitted, name, object())
    for name, values in all_results(fitted, X).items():
        np.testing.assert_array_equal(values, before[name], err_msg=name)


CHANGES = {
    "categorical_features": [0],
    "hidden_layer_sizes": (7,),
    "activation": "tanh",
    "loss": "absolute_error",
    "image_shape": (2, 4),
    "tied_weights": True,
    "init": "random",
    "pretraining": "layerwise",
    "sparsity": "l1",
    "n_nonzero_coefs": 2,
    "with_mean": False,
    "network": lambda n_features, n_components: None,
}


@pytest.fixture(scope="module")
def continued(digits, small):
    """A function that returns a model of each class that was fitted twice; not to be changed."""
    X = digits[:80, 20:28]

    @cache
    def fitted(autoencoder, method, has_network):
        n_outputs = 2 if autoencoder is skae.VAE else 1
        own = {"network": partial(pair, n_outputs=n_outputs)} if has_network else {}
        fitted = small(autoencoder, 2, max_iter=1, warm_start=True, **own).fit(X)
        return getattr(fitted, method)(X)

    return X, fitted


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize("name", CHANGES)
def test_parameters_of_the_network_stay_while_training_continues(
    autoencoder, name, method, continued
):
    if not hasattr(autoencoder(), name):
        pytest.skip("no such parameter")
    X, fitted = continued
    changed = copy.deepcopy(fitted(autoencoder, method, name == "network"))
    changed.set_params(**{name: CHANGES[name]})
    with pytest.raises(ValueError, match=f"`{name}` must stay .* while training continues"):
        getattr(changed, method)(X)


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_equal_values_in_another_form_are_no_change(autoencoder, method, continued):
    X, fitted = continued
    changed = copy.deepcopy(fitted(autoencoder, method, False))
    getattr(changed.set_params(hidden_layer_sizes=[np.int64(32)]), method)(X)
    assert changed._fit_parameters == fitted(autoencoder, method, False)._fit_parameters


# Parameters without an effect on `partial_fit`: of epochs and held-out rows, and of what is printed
# or returned. A penalty is not part of the default sparsity. The last three do not go with others.
NOT_OF_A_PASS = {
    "n_components", "max_iter", "tol", "n_iter_no_change", "early_stopping", "validation_fraction",
    "kl_warmup", "warm_start", "verbose", "device", "sparsity_weight", "penalty", "sparse_output",
    "image_shape", "receptive_field", "network",
}  # fmt: skip
OTHER_VALUES = CHANGES | {
    "transform_max_iter": 3,
    "whiten": True,
    "alpha": 0.5,
    "l1_ratio": 1.0,
    "solver": "sgd",
    "learning_rate_init": 0.1,
    "batch_size": 5,
    "random_state": 2**31,
    "precision": "bfloat16",
    "beta": 3.0,
    "n_importance_samples": 3,
    "binarize": True,
    "contraction": 3.0,
    "neighbor_weight": 3.0,
    "n_neighbors": 3,
    "metric": "cosine",
    "corruption": "masking",
    "corruption_level": 0.9,
    "mixing": 0.9,
    "task": "regression",
}


def test_each_parameter_has_an_effect_on_a_pass_or_must_stay(autoencoder, digits, small):
    X, y = digits[:40, 20:28] / 16, np.arange(40) % 3
    estimator = small(autoencoder, 2, max_iter=1, hidden_layer_sizes=(), alpha=0.1)
    if autoencoder is not skae.SparseAutoencoder:
        estimator.set_params(hidden_layer_sizes=(8,))
    estimator.set_params(transform_max_iter=0)
    unchanged = clone(estimator).partial_fit(X, y).partial_fit(X, y)
    expected, refusals = (unchanged.transform(X), unchanged.reconstruct(X)), []
    for name in set(estimator.get_params(deep=False)) - NOT_OF_A_PASS:
        # Not a copy, which would not have the state of the optimiser.
        changed = clone(estimator).partial_fit(X, y).set_params(**{name: OTHER_VALUES[name]})
        try:
            changed.partial_fit(X, y)
        except ValueError as error:
            refusals.append(str(error))
            continue
        found = changed.transform(X), changed.reconstruct(X)
        assert not all(map(np.array_equal, found, expected)), name
    assert all(re.search("must stay|must be False", text) for text in refusals)


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_a_continued_fit_that_fails_changes_nothing(
    autoencoder, method, digits, small, monkeypatch
):
    def fail(estimator):
        raise ArithmeticError

    X = digits[:40, 20:28]
    fitted = small(autoencoder, 2, max_iter=1, hidden_layer_sizes=(), warm_start=True).fit(X)
    before = all_results(fitted, X)
    monkeypatch.setattr("skae._autoencoders.base.check_finite_results", fail)  # as late as can be
    n_steps = 3 - fitted.network_.network.n_projection_steps
    with pytest.raises(ArithmeticError):
        getattr(fitted.set_params(transform_max_iter=n_steps), method)(X[::-1] + 1)
    for name, values in all_results(fitted, X).items():
        np.testing.assert_array_equal(values, before[name], err_msg=name)


def test_what_is_said_of_a_continued_fit_is_true(digits, small):
    fitted = small(skae.AutoencoderTransformer, 2, max_iter=40, warm_start=True).fit(digits)
    fitted.set_params(max_iter=1, learning_rate_init=10.0).fit(digits)
    assert fitted.best_iter_ == 0
    assert any("the network of the fit before is kept" in line for line in fitted.diagnosis_)
    assert not any("principal components" in line for line in fitted.diagnosis_)
    with pytest.warns(ConvergenceWarning, match=r"\(0: the network of the fit before\)"):
        fitted.set_params(learning_rate_init=1e30).fit(digits)


def pair(n_features, n_components, n_outputs=1):
    return nn.Linear(n_features, n_outputs * n_components), nn.Linear(n_components, n_features)


@pytest.mark.parametrize("given", [nn.Linear(64, 4), nn.Sequential(), lambda p: pair(p, 4)])
def test_a_network_that_is_no_function_of_both_sizes_is_refused(autoencoder, given, digits, small):
    message = r"`network` must be a function: network\(n_features, n_components\)"
    with pytest.raises(TypeError, match=message):
        small(autoencoder, network=given).fit(digits)


@pytest.mark.parametrize(
    "layers",
    [
        {"tied_weights": True},
        {"image_shape": np.array([8, 8])},
        {"pretraining": "layerwise"},
    ],
    ids=lambda layers: next(iter(layers)),
)
def test_parameters_of_layers_are_refused_beside_a_network(autoencoder, layers, digits, small):
    name = next(iter(layers))
    if name in ("tied_weights", "pretraining") and not hasattr(autoencoder(), name):
        pytest.skip("has no such parameter")
    with pytest.raises(ValueError, match=f"`{name}` must be .* with a `network` of your own"):
        small(autoencoder, network=pair, **layers).fit(digits)


IGNORED = [{"hidden_layer_sizes": (7,)}, {"hidden_layer_sizes": [7, 5]}, {"activation": "relu"}]


@pytest.mark.parametrize(
    ("autoencoder", "layers"), covering(WITHOUT_TARGETS, IGNORED), indirect=["autoencoder"]
)
def test_parameters_that_a_network_ignores_raise_a_warning(autoencoder, layers, digits, small):
    network = pair if autoencoder is not skae.VAE else partial(pair, n_outputs=2)
    plain = small(autoencoder, network=network, max_iter=1).fit(digits)
    message = rf"`{next(iter(layers))}`=.* has no effect.*will be an error in version 0\.4"
    with pytest.warns(FutureWarning, match=message):
        warned = small(autoencoder, network=network, max_iter=1, **layers).fit(digits)
    np.testing.assert_array_equal(warned.score_samples(digits), plain.score_samples(digits))


def doubled(x, rng):
    return 2 * x


# A parameter, a value, other parameters with which it has no effect, and those with which it has.
IDLE = [
    ("l1_ratio", 0.5, {}, {"alpha": 0.1}),
    ("corruption_level", 0.5, {"corruption": doubled}, {"corruption": "swap"}),
    ("n_nonzero_coefs", 2, {"sparsity": "l1"}, {"sparsity": "kl"}),
    ("n_nonzero_coefs", 2, {"sparsity": "jumprelu"}, {"sparsity": "lifetime"}),
    ("sparsity_weight", 2.0, {"sparsity": "topk"}, {"sparsity": "jumprelu"}),
    ("sparsity_weight", 2.0, {"sparsity": "batch_topk"}, {"sparsity": "l1"}),
]


@pytest.mark.parametrize(
    ("cls", "name", "value", "idle", "effective"),
    [(cls, *row) for cls in AUTOENCODERS for row in IDLE if hasattr(cls(), row[0])],
)
def test_a_parameter_without_effect_raises_one_warning(
    cls, name, value, idle, effective, digits, small
):
    X = digits[:60, 10:20]
    small(cls, 2, max_iter=1, **effective, **{name: value}).fit(X)
    plain = small(cls, 2, max_iter=1, **idle).fit(X)
    message = re.escape(f"`{name}`={value!r} has no effect")
    with pytest.warns(UserWarning, match=message) as caught:
        given = small(cls, 2, max_iter=1, **idle, **{name: value}).fit(X)
    assert [w.filename for w in caught] == [__file__]
    np.testing.assert_array_equal(given.transform(X), plain.transform(X))


def test_rows_for_early_stopping_that_is_switched_off_raise_a_warning(autoencoder, digits, small):
    X, X_val = digits[:60, 10:20], digits[60:90, 10:20]
    expected = small(autoencoder, 2, max_iter=2).fit(X, X_val=X_val)
    with pytest.warns(UserWarning, match="`early_stopping`=False has no effect with `X_val`"):
        fitted = small(autoencoder, 2, max_iter=2, early_stopping=False).fit(X, X_val=X_val)
    np.testing.assert_array_equal(fitted.transform(X), expected.transform(X))


@pytest.mark.parametrize("shape", [(8, 8, 1), (4, 4, 3), [5, 6, 4], np.array([12, 5, 3])])
def test_an_image_shape_with_channels_last_raises_a_warning_with_what_to_pass(shape, small):
    X = np.random.RandomState(0).uniform(size=(40, np.prod(shape)))
    estimator = small(AutoencoderTransformer, 2, image_shape=shape, max_iter=1)
    height, width, channels = map(int, shape)
    message = rf"{height} channels of .* image_shape=\({channels}, {height}, {width}\)"
    with pytest.warns(UserWarning, match=message):
        estimator.fit(X)
    with pytest.warns(UserWarning, match=message):
        clone(estimator).partial_fit(X)


@pytest.mark.parametrize(
    "shape", [(8, 8), (1, 8, 8), (3, 4, 4), (16, 3, 3), (12, 60, 1), (5, 6, 2)]
)
@pytest.mark.filterwarnings("error:.*image_shape:UserWarning")
def test_other_image_shapes_raise_no_warning(shape, small):
    X = np.random.RandomState(0).uniform(size=(40, np.prod(shape)))
    with warnings.catch_warnings(record=True) as recorded:
        warnings.simplefilter("always")
        small(AutoencoderTransformer, 2, image_shape=shape, max_iter=1).fit(X)
    assert not [warning for warning in recorded if "image_shape" in str(warning.message)]


def test_the_number_of_components_of_pca_by_maximum_likelihood_is_refused(autoencoder, digits):
    with pytest.raises(ValueError, match=r"`n_components` must be .* got 'mle'.* linear subspace"):
        autoencoder("mle").fit(digits)


def test_tables_with_categories_are_refused_in_a_process_group(small, global_random_seed):
    frame = mixed_frame(np.random.RandomState(global_random_seed))
    fitted = small(skae.AutoencoderTransformer, 2).fit(frame)
    with pytest.raises(ValueError, match="numbers in a process group"):
        check_same_fit(fitted, SimpleNamespace(size=2), frame, continues=False)
