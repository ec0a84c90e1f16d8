"""Warnings point to the line of the user's program, whatever estimators are in between."""

import threading
import warnings

import numpy as np
import pytest
from conftest import AUTOENCODERS, ESTIMATORS
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from torch import nn

from skae import VAE, AutoencoderImputer, AutoencoderTransformer
from skae._data.user_warnings import issue_warnings, recorded_warnings


def pair(n_features, n_components):
    return nn.Linear(n_features, n_components), nn.Linear(n_components, n_features)


def pair_of_variational(n_features, n_components):
    return nn.Linear(n_features, 2 * n_components), nn.Linear(n_components, n_features)


def calls_of_fit(estimator, X, y):
    """Functions that fit an estimator, directly and through scikit-learn."""
    yield lambda: clone(estimator).fit(X, y)
    yield lambda: make_pipeline(FunctionTransformer(), clone(estimator)).fit(X, y)
    if hasattr(estimator, "fit_transform"):
        yield lambda: clone(estimator).fit_transform(X, y)
    if hasattr(estimator, "partial_fit"):
        yield lambda: clone(estimator).partial_fit(X)


def warnings_of(call, category):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    return [w for w in caught if issubclass(w.category, category)]


@pytest.mark.parametrize("cls", ESTIMATORS, ids=lambda cls: cls.__name__)
def test_a_warning_about_a_parameter_names_the_line_of_the_user_once(cls, small):
    X, y = np.random.RandomState(0).uniform(size=(40, 12)), np.arange(40) % 2
    network = {"network": pair, "activation": "relu", "max_iter": 1}
    if cls is VAE:
        network["network"] = pair_of_variational
    if cls in AUTOENCODERS:
        estimator = small(cls, 2, **network)
    elif "estimator" in cls().get_params(deep=False):
        estimator = small(cls, 2, estimator=small(AutoencoderTransformer, 2, **network))
    else:
        pytest.skip("has no such parameter")
    for call in calls_of_fit(estimator, X, y):
        caught = warnings_of(call, FutureWarning)
        assert [w.filename for w in caught] == [__file__]
        assert "`activation`='relu' has no effect" in str(caught[0].message)


def test_warnings_of_what_the_rows_are_name_the_line_of_the_user(small):
    X = np.random.RandomState(0).uniform(size=(40, 4 * 4 * 3))
    images = small(AutoencoderTransformer, 2, image_shape=(4, 4, 3), max_iter=1)
    gaps = np.where(np.arange(12) == 3, np.nan, X[:, :12])
    for estimator, rows in ((images, X), (small(AutoencoderImputer, 2), gaps)):
        for call in calls_of_fit(estimator, rows, None):
            assert [w.filename for w in warnings_of(call, UserWarning)] == [__file__]


def test_a_warning_within_a_search_names_the_line_of_the_user(small):
    X = np.random.RandomState(0).uniform(size=(40, 12))
    network = small(AutoencoderTransformer, 2, network=pair, activation="relu", max_iter=1)
    search = GridSearchCV(network, {"alpha": [0.0, 0.1]}, cv=2)
    caught = warnings_of(lambda: search.fit(X), FutureWarning)
    assert {w.filename for w in caught} == {__file__}


def test_warnings_are_recorded_in_the_main_thread_only():
    filters, done = warnings.filters[:], threading.Barrier(2)

    def record():
        with recorded_warnings() as recorded:
            done.wait()  # both threads are within
            done.wait()  # the main thread has left
            warnings.warn("in a thread", UserWarning, stacklevel=1)
        assert not recorded

    thread = threading.Thread(target=record)
    with warnings.catch_warnings(record=True) as issued:
        warnings.simplefilter("always")
        with recorded_warnings() as recorded:
            thread.start()
            done.wait()
            warnings.warn("in main", UserWarning, stacklevel=1)
        done.wait()
        thread.join()
        assert [str(w.message) for w in issued] == ["in a thread"]
        issue_warnings(recorded)
    assert [str(w.message) for w in issued] == ["in a thread", "in main"]
    assert issued[1].filename == __file__
    assert warnings.filters == filters
