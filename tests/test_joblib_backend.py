"""Fits within `fit_together` have the results of separate fits."""

import threading
import warnings
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from joblib import Parallel, delayed
from sklearn import config_context
from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris
from sklearn.decomposition import PCA
from sklearn.exceptions import FitFailedWarning
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skae import (
    VAE,
    AutoencoderTransformer,
    ContractiveAutoencoder,
    DenoisingAutoencoder,
    fit_together,
)
from skae._training.batched_epochs import NetworkStack
from skae._training.joblib_backend import _InterleavedCall

X = load_digits().data[:331]


@pytest.fixture
def small(small):
    """A function that makes a small estimator with few epochs."""

    def make(cls=AutoencoderTransformer, n_components=2, **parameters):
        options = {"max_iter": 3, "hidden_layer_sizes": (24,)} | parameters
        return small(cls, n_components, **options)

    return make


@pytest.fixture
def sizes(monkeypatch):
    """The numbers of networks in the epochs that are computed together."""
    sizes, run = [], NetworkStack.run

    def counted(self, epochs):
        sizes.append(len(epochs))
        return run(self, epochs)

    monkeypatch.setattr(NetworkStack, "run", counted)
    return sizes


def search(estimator, grid, together):
    """The results of a grid search with two folds of unequal size."""
    grid_search = GridSearchCV(estimator, grid, cv=KFold(2), refit=False)
    if together:
        with fit_together():
            return grid_search.fit(X).cv_results_
    return grid_search.fit(X).cv_results_


def assert_equal_scores(estimator, grid):
    """Compare the scores of all folds with those of separate fits.

    Differences are rounding errors, after which a few rows are projected from another start.
    """
    together, alone = (search(estimator, grid, together) for together in (True, False))
    for fold in range(2):
        name = f"split{fold}_test_score"
        np.testing.assert_allclose(together[name], alone[name], atol=1e-3)


def test_groups_are_those_of_separate_fits(small, sizes):
    groups = np.arange(331) // 11
    scores = []
    with config_context(enable_metadata_routing=True):
        estimator = small().set_fit_request(groups=True)
        for context in (nullcontext(), fit_together()):
            with context:
                search = GridSearchCV(estimator, {"n_components": [2, 3]}, cv=GroupKFold(3))
                scores.append(search.fit(X, groups=groups).cv_results_["mean_test_score"])
    assert max(sizes) >= 4
    np.testing.assert_allclose(*scores, atol=1e-4)


@pytest.mark.parametrize(
    ("cls", "parameters"),
    [
        (AutoencoderTransformer, {}),
        (AutoencoderTransformer, {"hidden_layer_sizes": (24, 8), "solver": "sgd"}),
        (AutoencoderTransformer, {"init": "random", "activation": "tanh"}),
        (AutoencoderTransformer, {"pretraining": "layerwise"}),
        (DenoisingAutoencoder, {"early_stopping": False}),
    ],
    ids=str,
)
def test_scores_equal_those_of_separate_fits_for_all_sizes_of_codes(cls, parameters, sizes, small):
    assert_equal_scores(small(cls, **parameters), {"n_components": [1, 8]})
    assert max(sizes) == 4


@pytest.mark.parametrize("n_components", [3, 4, 8])
def test_epochs_of_all_stages_equal_those_of_separate_fits(n_components, sizes, small):
    # The second stage continues with the best weights of the first, which are averages.
    options = {"transform_max_iter": 3, "max_iter": 12, "n_iter_no_change": 12, "init": "random"}
    estimator = small(n_components=n_components, **options)
    with fit_together():
        together = Parallel()(delayed(clone(estimator).fit)(X) for _ in range(2))
    assert max(sizes) == 2
    for curve in ("loss_curve_", "validation_curve_"):
        expected = getattr(estimator.fit(X), curve)
        for result in together:
            assert getattr(result, curve) == pytest.approx(expected, rel=1e-3)


def test_a_pipeline_is_searched_like_its_autoencoder(sizes, small):
    pipeline = make_pipeline(StandardScaler(), small())
    assert_equal_scores(pipeline, {"autoencodertransformer__n_components": [2, 4]})
    assert max(sizes) == 4


def test_weights_after_an_epoch_equal_those_of_separate_fits(sizes, small):
    options = {"solver": "sgd", "batch_size": 37, "max_iter": 1, "early_stopping": False}
    estimators = [small(n_components=k, random_state=k, **options) for k in (4, 5, 6)]
    pairs = list(zip(estimators, (X[:300], X[1:300], X[:298]), strict=True))
    with fit_together():
        together = Parallel()(delayed(clone(estimator).fit)(x) for estimator, x in pairs)
    assert sizes == [3]
    for result, (estimator, x) in zip(together, pairs, strict=True):
        alone = estimator.fit(x)
        assert alone.best_iter_ == 1
        assert result.loss_curve_ == pytest.approx(alone.loss_curve_, rel=1e-4)
        for parameter, expected in zip(
            result.network_.parameters(), alone.network_.parameters(), strict=True
        ):
            torch.testing.assert_close(parameter, expected, rtol=1e-3, atol=1e-4)


def test_networks_with_other_layers_are_computed_separately(sizes, small):
    grid = {"hidden_layer_sizes": [(8,), (8, 4)], "learning_rate_init": [1e-3, 5e-3]}
    search(small(), grid, together=True)
    assert set(sizes) == {2}


@pytest.mark.parametrize(
    ("cls", "parameters"),
    [
        (VAE, {}),
        (ContractiveAutoencoder, {}),
        (AutoencoderTransformer, {"alpha": 0.1}),
        (AutoencoderTransformer, {"precision": "bfloat16"}),
    ],
    ids=str,
)
def test_other_autoencoders_have_bitwise_identical_results(cls, parameters, sizes, small):
    estimator, rows = small(cls, **parameters), load_iris().data
    with fit_together():
        together = cross_val_score(estimator, rows, cv=2)
    np.testing.assert_array_equal(together, cross_val_score(estimator, rows, cv=2))
    assert not sizes


def test_other_estimators_have_bitwise_identical_results():
    with fit_together():
        together = cross_val_score(PCA(2), X)
    np.testing.assert_array_equal(together, cross_val_score(PCA(2), X))


def test_n_fits_limits_the_number_of_fits_at_a_time(sizes, small):
    grid = {"n_components": [1, 2, 3, 4, 5]}
    with fit_together(4):
        result = GridSearchCV(small(), grid, cv=2, refit=False).fit(X).cv_results_
    assert np.isfinite(result["mean_test_score"]).all()
    assert max(sizes) == 4


def test_a_failing_fit_does_not_affect_the_others(small):
    with (
        pytest.warns(FitFailedWarning, match="`n_components` must be at most"),
        pytest.warns(UserWarning, match="non-finite"),
    ):
        results = search(small(), {"n_components": [2, 3, 1000]}, together=True)
    assert np.isfinite(results["mean_test_score"]).tolist() == [True, True, False]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interruption_ends_all_fits_and_restores_the_process(error, monkeypatch, small):
    run, n_epochs = NetworkStack.run, []

    def interrupted(self, epochs):
        n_epochs.append(1)
        if len(n_epochs) == 2:
            raise error
        return run(self, epochs)

    monkeypatch.setattr(NetworkStack, "run", interrupted)
    filters, n_threads = list(warnings.filters), torch.get_num_threads()
    with pytest.raises(error):
        search(small(), {"n_components": [2, 3]}, together=True)
    assert not [t for t in threading.enumerate() if isinstance(t, _InterleavedCall)]
    assert warnings.filters == filters
    assert torch.get_num_threads() == n_threads
    results = search(small(), {"n_components": [2]}, together=False)
    assert np.isfinite(results["mean_test_score"]).all()


@pytest.mark.parametrize("n_fits", [1, 0, 2.5, "all"])
def test_an_invalid_number_of_fits_is_an_error(n_fits):
    with pytest.raises((ValueError, TypeError), match="`n_fits` must be an integer >= 2, got"):
        fit_together(n_fits).__enter__()
