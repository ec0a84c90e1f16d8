"""Estimators, data and seeds that the tests share; the estimators come from `skae.__all__`."""

import copy
import gc
import importlib.util
import inspect
import os
import random
from contextlib import contextmanager, nullcontext
from dataclasses import fields
from functools import cache, partial

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.datasets import load_digits
from sklearn.utils import estimator_checks

import skae
from skae._imputation import stacked_correction
from skae._imputation.correction_networks import CorrectionConfig

# Whether scikit-learn has the features that its oldest supported versions lack.
IS_NEWEST = importlib.util.find_spec("sklearn.callback") is not None

ESTIMATORS = [
    thing
    for thing in (getattr(skae, name) for name in skae.__all__)
    if inspect.isclass(thing) and issubclass(thing, BaseEstimator)
]
# Those that learn from rows.
LEARNING = [cls for cls in ESTIMATORS if cls is not skae.SlidingWindows]
AUTOENCODERS = [
    cls for cls in ESTIMATORS if hasattr(cls, "inverse_transform") and hasattr(cls, "reconstruct")
]
# Without targets it is `AutoencoderTransformer` to the bit, see test_supervised.py.
WITHOUT_TARGETS = [cls for cls in AUTOENCODERS if cls is not skae.SupervisedAutoencoder]
# The objective is the reconstruction, not a density or sparse codes; codes have the units of X.
RECONSTRUCTING = [
    cls for cls in AUTOENCODERS if not hasattr(cls, "sample") and not hasattr(cls, "sparsity")
]
COMPRESSING = [cls for cls in AUTOENCODERS if not hasattr(cls, "sparsity")]

# Checks that scikit-learn runs on its own transformers but does not yield to others.
NOT_YIELDED = [
    estimator_checks.check_dataframe_column_names_consistency,
    estimator_checks.check_get_feature_names_out_error,
    estimator_checks.check_global_output_transform_pandas,
    estimator_checks.check_global_set_output_transform_polars,
    estimator_checks.check_inplace_ensure_writeable,
    estimator_checks.check_set_output_transform,
    estimator_checks.check_set_output_transform_pandas,
    estimator_checks.check_set_output_transform_polars,
    estimator_checks.check_transformer_get_feature_names_out,
    estimator_checks.check_transformer_get_feature_names_out_pandas,
]

SEED_VARIABLE = "SKAE_TESTS_GLOBAL_RANDOM_SEED"


def random_seeds(value):
    """Seeds that the environment variable asks for: "any", "all", a number or a range "3-7"."""
    if value == "any":
        return [random.SystemRandom().randrange(100)]
    first, _, last = ("0-99" if value == "all" else value).partition("-")
    return list(range(int(first), int(last or first) + 1))


SEEDS = random_seeds(os.environ.get(SEED_VARIABLE, "0"))
if os.environ.get(SEED_VARIABLE) == "any":
    os.environ[SEED_VARIABLE] = str(SEEDS[0])  # the workers of pytest-xdist test the same seed


def pytest_report_header():
    """The seeds, so that a failure can be repeated."""
    return f"{SEED_VARIABLE}={SEEDS[0]}" + (f"-{SEEDS[-1]}" if len(SEEDS) > 1 else "")


@pytest.hookimpl(tryfirst=True)
def pytest_collection():
    """Collect the tests without looking for garbage, of which there is none."""
    gc.disable()


def pytest_collection_finish():
    """Leave the modules and tests out of all searches for garbage: each took half a second."""
    gc.freeze()
    gc.set_threshold(10_000)
    gc.enable()


@pytest.fixture(params=SEEDS if len(SEEDS) > 1 else None, scope="session")
def global_random_seed(request):
    """The seed of a test that passes for any seed; the environment variable sets it."""
    return getattr(request, "param", SEEDS[0])


def covering(*factors):
    """Each value of each factor, in as few combinations as the longest factor has values.

    For laws of code that the factors do not have in common, in place of all combinations.
    """
    n_combinations = max(map(len, factors))
    return [tuple(values[i % len(values)] for values in factors) for i in range(n_combinations)]


def covering_pairs(rows, columns, values):
    """All pairs of the values of three factors: a Latin square, for laws that join two of them."""
    return [
        (row, column, values[(i + j) % len(values)])
        for i, row in enumerate(rows)
        for j, column in enumerate(columns)
    ]


def parametrize_with_checks(estimators):
    """As that of scikit-learn, but the names of estimators are made once, not for each check."""
    mark = estimator_checks.parametrize_with_checks(estimators)
    return pytest.mark.parametrize(*mark.args, ids=cache(mark.kwargs["ids"]))


def make_small(cls, n_components=4, *, max_iter=3, random_state=0, **parameters):
    """An estimator of any class of the package that is fitted within a tenth of a second.

    With this learning rate three epochs train all classes further from PCA than eight epochs with
    the default.
    """
    defaults = {
        "n_components": n_components,
        "hidden_layer_sizes": (32,),
        "learning_rate_init": 0.03,
        "max_iter": max_iter,
        "n_steps": max_iter,
        "random_state": random_state,
    }
    if "network" in parameters:  # which has its own layers
        del defaults["hidden_layer_sizes"]
    if cls not in AUTOENCODERS:
        defaults["estimator"] = make_small(skae.AutoencoderTransformer, n_components, max_iter=2)
    known = {field.name for field in fields(cls)}
    return cls(**({name: defaults[name] for name in defaults.keys() & known} | parameters))


@contextmanager
def quick_imputation():
    """Imputers take few steps and few rows with masked cells, which takes a quarter of the time."""
    config = CorrectionConfig(max_steps=10, check_interval=5, max_training_entries=2**8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(skae.AutoencoderImputer, "_config", config)
        for name in ("MIN_VALIDATION_ROWS", "MAX_VALIDATION_ROWS"):
            patch.setattr(stacked_correction, name, 2**7)
        yield


@pytest.fixture
def quick_imputer():
    """Imputers are quick in this test."""
    with quick_imputation():
        yield


@pytest.fixture(autouse=True, scope="module")
def imputers_are_quick(request):
    """Imputers are quick, except in modules with laws about the cells that they fill."""
    is_quick = not getattr(request.module, "IMPUTES_AS_FOR_USERS", False)
    with quick_imputation() if is_quick else nullcontext():
        yield


# Methods that fit.
FITTING = {"fit", "partial_fit", "fit_transform", "fit_predict"}


def methods_of_data(cls):
    """Names of the public methods of a class that need a fitted estimator; unknown ones too."""
    return [
        name
        for name in dir(cls)
        if name[0].islower()
        and not name.startswith(("get_", "set_"))
        and name not in FITTING
        and callable(getattr(cls, name))
    ]


def available_methods(estimator):
    """Those of `methods_of_data` that an estimator has with its parameters."""
    return [name for name in methods_of_data(type(estimator)) if hasattr(estimator, name)]


def call_method(estimator, name, X):
    """Call a public method of a fitted estimator; those unknown here take rows."""
    arguments = {
        "inverse_transform": lambda: [estimator.transform(X)],
        "sample": lambda: [3],
        "score": lambda: [X, np.arange(X.shape[0]) % 2],
    }
    return getattr(estimator, name)(*arguments.get(name, lambda: [X])())


def all_results(estimator, X):
    """The results of all public methods of a fitted estimator, as arrays by name."""
    found = {name: call_method(estimator, name, X) for name in available_methods(estimator)}
    return {name: as_array(result) for name, result in found.items()}


def as_array(result):
    """A result, or a tuple of results, as one dense array."""
    if isinstance(result, tuple):
        return np.hstack(result)
    return result.toarray() if sparse.issparse(result) else np.asarray(result)


@pytest.fixture(scope="session")
def small(global_random_seed):
    """A function that makes a small estimator with the global seed: `small(VAE, beta=2.0)`."""
    return partial(make_small, random_state=global_random_seed)


@pytest.fixture(params=WITHOUT_TARGETS, ids=lambda cls: cls.__name__, scope="module")
def autoencoder(request):
    """Each autoencoder class in turn, for tests that pass no targets."""
    return request.param


@pytest.fixture(scope="session")
def fitted_to_digits(digits, small):
    """A function that returns a class that is fitted to the digits, as tests may change it."""

    @cache
    def fit_once(cls):
        fitted = small(cls).fit(digits)
        assert fitted.best_iter_ > 0  # not PCA
        return fitted

    return lambda cls: copy.deepcopy(fit_once(cls))


@pytest.fixture
def fitted(autoencoder, fitted_to_digits):
    """Each autoencoder class, fitted to the digits."""
    return fitted_to_digits(autoencoder)


@pytest.fixture(params=RECONSTRUCTING, ids=lambda cls: cls.__name__)
def reconstructing(request):
    """Each class that is never worse than PCA."""
    return request.param


@pytest.fixture(params=COMPRESSING, ids=lambda cls: cls.__name__)
def compressing(request):
    """Each class whose code is no larger than a row."""
    return request.param


@pytest.fixture(scope="session")
def digits():
    """300 handwritten digits, (300, 64), values 0 to 16; read-only, as tests share the array."""
    X = load_digits().data[:300]
    X.setflags(write=False)
    return X


@pytest.fixture(scope="session")
def digits_with_gaps(digits, global_random_seed):
    """The digits with a fifth of the values missing."""
    gaps = np.random.RandomState(global_random_seed).uniform(size=digits.shape) < 0.2
    return np.where(gaps, np.nan, digits)


@pytest.fixture(scope="session")
def curve(global_random_seed):
    """400 points near a parabola, (400, 2): one number describes them, but not linearly."""
    rng = np.random.RandomState(global_random_seed)
    t = rng.uniform(-1, 1, size=400)
    return np.c_[t, t**2] + 0.02 * rng.normal(size=(400, 2))
