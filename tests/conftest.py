"""Data and estimators that the tests share; the estimators come from `skae.__all__`."""

import importlib.util
import inspect

import numpy as np
import pytest
from sklearn.base import BaseEstimator
from sklearn.datasets import load_digits
from sklearn.utils import estimator_checks

import skae

# Whether scikit-learn is as new as those of its features that not all supported versions have.
IS_NEWEST = importlib.util.find_spec("sklearn.callback") is not None

ESTIMATORS = [
    thing
    for thing in (getattr(skae, name) for name in skae.__all__)
    if inspect.isclass(thing) and issubclass(thing, BaseEstimator)
]
AUTOENCODERS = [cls for cls in ESTIMATORS if hasattr(cls, "inverse_transform")]
# Those that are out for the best reconstruction, in codes of the units of X; not for a density
# or for sparse codes.
RECONSTRUCTING = [
    cls
    for cls in AUTOENCODERS
    if not hasattr(cls, "log_likelihood") and not hasattr(cls, "sparsity")
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


def brief(cls):
    """An estimator for scikit-learn's checks, which fit dozens of them."""
    held = skae.AutoencoderTransformer(max_iter=2, hidden_layer_sizes=(8,))
    # Classes, and outliers, have to be told well; for codes a few steps are enough.
    short = {"estimator": held, "max_iter": 2 if cls in AUTOENCODERS else 20, "n_steps": 20}
    return cls(**{name: short[name] for name in short.keys() & cls().get_params()})


def quick(cls, n_components=4, **parameters):
    """An estimator that learns something within a fraction of a second."""
    defaults = {"max_iter": 20, "hidden_layer_sizes": (32,), "random_state": 0}
    return cls(n_components, **(defaults | parameters))


@pytest.fixture(params=AUTOENCODERS, ids=lambda cls: cls.__name__, scope="module")
def autoencoder(request):
    """Each autoencoder class in turn."""
    return request.param


@pytest.fixture(params=RECONSTRUCTING, ids=lambda cls: cls.__name__)
def reconstructing(request):
    """Each class that promises to be no worse than PCA."""
    return request.param


@pytest.fixture(params=COMPRESSING, ids=lambda cls: cls.__name__)
def compressing(request):
    """Each class whose code is no larger than a row."""
    return request.param


@pytest.fixture(scope="session")
def digits():
    """300 handwritten digits, (300, 64), values 0 to 16; read-only, as no test may change it."""
    X = load_digits().data[:300]
    X.setflags(write=False)
    return X


@pytest.fixture(scope="session")
def digits_with_gaps(digits):
    """The digits with a fifth of the values missing."""
    gaps = np.random.RandomState(0).uniform(size=digits.shape) < 0.2
    return np.where(gaps, np.nan, digits)


@pytest.fixture(scope="session")
def curve():
    """400 points near a parabola, (400, 2): one number says it all, but not linearly."""
    rng = np.random.RandomState(0)
    t = rng.uniform(-1, 1, size=400)
    return np.c_[t, t**2] + 0.02 * rng.normal(size=(400, 2))
