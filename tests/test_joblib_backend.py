"""Fits made together are the fits that they are alone."""

import threading
import warnings

import numpy as np
import pytest
import torch
from joblib import Parallel, delayed
from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris
from sklearn.decomposition import PCA
from sklearn.exceptions import FitFailedWarning
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skae import (
    VAE,
    AutoencoderTransformer,
    ContractiveAutoencoder,
    DenoisingAutoencoder,
    fit_together,
)
from skae._training.batched_epochs import Stack
from skae._training.joblib_backend import _Call

X = load_digits().data[:331]
SEED = {"random_state": 0, "max_iter": 3}


@pytest.fixture
def sizes(monkeypatch):
    """How many networks each epoch that was run together had."""
    seen, run = [], Stack.run

    def counted(self, epochs):
        seen.append(len(epochs))
        return run(self, epochs)

    monkeypatch.setattr(Stack, "run", counted)
    return seen


def search(estimator, grid, together, X=X):
    """Scores of a grid search over three folds of unequal size."""
    grid_search = GridSearchCV(estimator, grid, cv=KFold(3), refit=False)
    if together:
        with fit_together():
            grid_search.fit(X)
    else:
        grid_search.fit(X)
    return grid_search.cv_results_


@pytest.mark.parametrize(
    "estimator",
    [
        AutoencoderTransformer(hidden_layer_sizes=(24,), **SEED),
        AutoencoderTransformer(hidden_layer_sizes=(24, 8), solver="sgd", activation="tanh", **SEED),
        AutoencoderTransformer(hidden_layer_sizes=(24,), init="random", **SEED),
        DenoisingAutoencoder(hidden_layer_sizes=(24,), early_stopping=False, **SEED),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_codes_of_all_sizes_are_learned_together_as_alone(estimator, sizes):
    grid = {"n_components": [1, 9]}
    together, alone = (search(estimator, grid, together) for together in (True, False))
    assert max(sizes) == 6
    for fold in range(3):
        scores = f"split{fold}_test_score"
        np.testing.assert_allclose(together[scores], alone[scores], atol=1e-4)


def test_low_precision_is_left_alone(sizes):
    low = AutoencoderTransformer(hidden_layer_sizes=(24,), precision="bfloat16", **SEED)
    together, alone = (
        search(low, {"n_components": [1, 9]}, together) for together in (True, False)
    )
    assert not sizes
    assert np.array_equal(together["mean_test_score"], alone["mean_test_score"])


def test_an_epoch_together_is_the_epoch_alone(sizes):
    """To rounding, for the weights themselves, with batches of unequal size."""
    estimators = [
        AutoencoderTransformer(k, hidden_layer_sizes=(24,), solver="sgd", batch_size=37,
                               max_iter=1, early_stopping=False, random_state=seed)
        for seed, k in enumerate((3, 4, 3))
    ]  # fmt: skip
    pairs = list(zip(estimators, (X[:300], X[1:300], X[:298]), strict=True))
    with fit_together():
        together = Parallel()(delayed(clone(fit).fit)(x) for fit, x in pairs)
    assert sizes == [3]
    for fit, (estimator, x) in zip(together, pairs, strict=True):
        alone = estimator.fit(x)
        assert alone.best_iter_ == 1
        assert fit.loss_curve_ == pytest.approx(alone.loss_curve_, rel=1e-4)
        for ours, expected in zip(
            fit.network_.network.parameters(), alone.network_.network.parameters(), strict=True
        ):
            torch.testing.assert_close(ours, expected, rtol=1e-3, atol=1e-4)


def test_different_layers_are_groups_of_their_own(sizes):
    grid = {"hidden_layer_sizes": [(8,), (8, 4)], "learning_rate_init": [1e-3, 5e-3]}
    search(AutoencoderTransformer(2, **SEED), grid, together=True)
    assert set(sizes) == {3}


def test_a_pipeline_is_searched_like_its_autoencoder(sizes):
    pipeline = make_pipeline(
        StandardScaler(), AutoencoderTransformer(hidden_layer_sizes=(16,), **SEED)
    )
    grid = {"autoencodertransformer__n_components": [2, 4]}
    together, alone = (search(pipeline, grid, together) for together in (True, False))
    assert max(sizes) == 6
    np.testing.assert_allclose(together["mean_test_score"], alone["mean_test_score"], atol=1e-4)


@pytest.mark.parametrize(
    "estimator",
    [
        PCA(2, random_state=0),
        VAE(2, **SEED),
        ContractiveAutoencoder(2, hidden_layer_sizes=(8,), **SEED),
        AutoencoderTransformer(2, hidden_layer_sizes=(8,), alpha=0.1, **SEED),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_what_cannot_be_learned_together_is_the_same_to_the_bit(estimator, sizes):
    X = load_iris().data
    with fit_together():
        together = cross_val_score(estimator, X)
    np.testing.assert_array_equal(together, cross_val_score(estimator, X))
    assert not sizes


def test_more_fits_than_at_a_time(sizes):
    grid = {"n_components": [1, 2, 3, 4, 5]}
    estimator = AutoencoderTransformer(hidden_layer_sizes=(8,), **SEED)
    with fit_together(4):
        result = GridSearchCV(estimator, grid, cv=2, refit=False).fit(X).cv_results_
    assert np.isfinite(result["mean_test_score"]).all()
    assert max(sizes) == 4


def test_one_bad_candidate_does_not_spoil_the_others():
    grid = {"n_components": [2, 3, 1000]}
    estimator = AutoencoderTransformer(hidden_layer_sizes=(8,), **SEED)
    with (
        pytest.warns(FitFailedWarning, match="`n_components` must be at most"),
        pytest.warns(UserWarning, match="non-finite"),
    ):
        scores = search(estimator, grid, together=True)["mean_test_score"]
    assert np.isfinite(scores).tolist() == [True, True, False]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interruption_ends_all(error, monkeypatch):
    run, n_epochs = Stack.run, []

    def interrupted(self, epochs):
        n_epochs.append(1)
        if len(n_epochs) == 2:
            raise error
        return run(self, epochs)

    monkeypatch.setattr(Stack, "run", interrupted)
    filters, n_threads = list(warnings.filters), torch.get_num_threads()
    estimator = AutoencoderTransformer(hidden_layer_sizes=(8,), **SEED)
    with pytest.raises(error):
        search(estimator, {"n_components": [2, 3]}, together=True)
    assert not [thread for thread in threading.enumerate() if isinstance(thread, _Call)]
    assert warnings.filters == filters
    assert torch.get_num_threads() == n_threads
    scores = search(estimator, {"n_components": [2]}, together=False)["mean_test_score"]
    assert np.isfinite(scores).all()


@pytest.mark.parametrize("n_fits", [1, 0, 2.5, "all"])
def test_the_number_of_fits_is_checked(n_fits):
    with pytest.raises(ValueError, match="`n_fits` must be an integer of at least 2, got"):
        fit_together(n_fits).__enter__()
