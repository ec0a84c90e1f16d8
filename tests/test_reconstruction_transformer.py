import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
from conftest import NOT_YIELDED
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from skae import AutoencoderTransformer, ReconstructionTransformer

QUICK = AutoencoderTransformer(1, max_iter=5, hidden_layer_sizes=(8,), random_state=0)


@parametrize_with_checks([ReconstructionTransformer(PCA(1))])
def test_sklearn_contract(estimator, check):
    check(estimator)


@pytest.mark.parametrize("check", NOT_YIELDED, ids=lambda check: check.__name__)
@pytest.mark.filterwarnings("ignore:X .*feature names:UserWarning")
def test_the_rest_of_the_sklearn_contract(check):
    check("ReconstructionTransformer", ReconstructionTransformer(PCA(1)))


@pytest.mark.parametrize("held", [PCA(4), TruncatedSVD(4, random_state=0), QUICK])
def test_it_is_there_and_back_again(digits, held):
    ours = ReconstructionTransformer(held).fit(digits[:200])
    reducer = held.fit(digits[:200])
    expected = reducer.inverse_transform(reducer.transform(digits[200:]))
    np.testing.assert_array_equal(ours.transform(digits[200:]), expected)


def test_an_autoencoder_inside_is_its_own_reconstruct(digits):
    ours = ReconstructionTransformer(QUICK).fit(digits)
    np.testing.assert_array_equal(ours.transform(digits), ours.estimator_.reconstruct(digits))


def test_to_restore_by_pca_is_to_project_once_and_for_all(digits):
    ours = ReconstructionTransformer(PCA(4)).fit(digits)
    once = ours.transform(digits)
    np.testing.assert_allclose(ours.transform(once), once, atol=1e-9)


def test_at_full_size_nothing_is_lost(digits):
    X = digits[:, 20:30]
    np.testing.assert_allclose(ReconstructionTransformer(PCA(10)).fit_transform(X), X, atol=1e-9)


def test_noise_is_taken_out_before_a_classifier():
    X, y = load_digits(return_X_y=True)
    noisy = X + np.random.RandomState(0).normal(scale=8, size=X.shape)
    scores = [
        make_pipeline(*steps, KNeighborsClassifier(1))
        .fit(noisy[:900], y[:900])
        .score(noisy[900:], y[900:])
        for steps in ([], [ReconstructionTransformer(PCA(12))])
    ]
    assert scores[1] > scores[0] + 0.05


def test_gaps_reach_a_reducer_that_takes_them(digits_with_gaps):
    restored = ReconstructionTransformer(QUICK).fit_transform(digits_with_gaps)
    assert np.isfinite(restored).all()
    with pytest.raises(ValueError, match="NaN"):
        ReconstructionTransformer(PCA(2)).fit(digits_with_gaps)


def test_by_default_it_holds_an_autoencoder(digits):
    ours = ReconstructionTransformer().fit(digits[:60, 20:26])
    assert isinstance(ours.estimator_, AutoencoderTransformer)
    assert ours.estimator_.n_components == 3


def test_what_is_held_is_not_touched(digits):
    held = PCA(2)
    ReconstructionTransformer(held).fit(digits)
    assert not hasattr(held, "components_")


def test_nested_parameters_are_tuned(digits):
    pipeline = make_pipeline(
        StandardScaler(), ReconstructionTransformer(PCA()), LogisticRegression(max_iter=200)
    )
    y = load_digits().target[:300]
    grid = {"reconstructiontransformer__estimator__n_components": [1, 16]}
    search = GridSearchCV(pipeline, grid, cv=2).fit(digits, y)
    assert list(search.best_params_.values()) == [16]


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frames_keep_their_columns(digits, library):
    names = [f"pixel{i}" for i in range(64)]
    frame = {"pandas": pd, "polars": pl}[library].DataFrame(dict(zip(names, digits.T, strict=True)))
    ours = ReconstructionTransformer(QUICK).set_output(transform=library)
    restored = ours.fit_transform(frame)
    assert type(restored) is type(frame)
    assert list(restored.columns) == names


def test_a_pickle_restores_alike(digits):
    ours = ReconstructionTransformer(QUICK).fit(digits)
    again = pickle.loads(pickle.dumps(ours))
    np.testing.assert_array_equal(again.transform(digits), ours.transform(digits))


@pytest.mark.parametrize("bad", [LogisticRegression(), PCA, 3])
def test_what_cannot_restore_is_refused(digits, bad):
    ours = ReconstructionTransformer(bad)
    with pytest.raises(TypeError, match=r"`estimator` must be .* inverse_transform, got"):
        ours.fit(digits)
    with pytest.raises(NotFittedError):
        ours.transform(digits)
