"""Reconstruction as a transformer, with any reducer."""

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
from conftest import NOT_YIELDED, make_small
from sklearn import config_context
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skae import AutoencoderTransformer, ReconstructionTransformer, load, save

SMALL = make_small(AutoencoderTransformer)


@pytest.mark.parametrize("check", NOT_YIELDED, ids=lambda check: check.__name__)
@pytest.mark.filterwarnings("ignore:X .*feature names:UserWarning")
def test_checks_that_scikit_learn_does_not_yield(check):
    check("ReconstructionTransformer", ReconstructionTransformer(PCA(1)))


@pytest.mark.parametrize("reducer", [PCA(4), TruncatedSVD(4, random_state=0), SMALL])
def test_transform_is_transform_and_inverse_transform(digits, reducer):
    transformer = ReconstructionTransformer(reducer).fit(digits[:200])
    reducer.fit(digits[:200])
    expected = reducer.inverse_transform(reducer.transform(digits[200:]))
    np.testing.assert_array_equal(transformer.transform(digits[200:]), expected)


def test_transform_with_an_autoencoder_is_its_reconstruct(digits):
    transformer = ReconstructionTransformer(SMALL).fit(digits)
    np.testing.assert_array_equal(
        transformer.transform(digits), transformer.estimator_.reconstruct(digits)
    )


def test_transform_with_pca_is_an_idempotent_projection(digits):
    transformer = ReconstructionTransformer(PCA(4)).fit(digits)
    once = transformer.transform(digits)
    np.testing.assert_allclose(transformer.transform(once), once, atol=1e-9)


def test_with_all_components_transform_is_the_identity(digits):
    X = digits[:, 20:30]
    np.testing.assert_allclose(ReconstructionTransformer(PCA(10)).fit_transform(X), X, atol=1e-9)


def test_denoising_before_a_classifier_raises_its_accuracy(global_random_seed):
    X, y = load_digits(return_X_y=True)
    noisy = X + np.random.RandomState(global_random_seed).normal(scale=8, size=X.shape)
    scores = [
        make_pipeline(*steps, KNeighborsClassifier(1))
        .fit(noisy[:900], y[:900])
        .score(noisy[900:], y[900:])
        for steps in ([], [ReconstructionTransformer(PCA(12))])
    ]
    assert scores[1] > scores[0] + 0.05


def test_missing_values_are_passed_to_a_reducer_that_accepts_them(digits_with_gaps):
    reconstruction = ReconstructionTransformer(SMALL).fit_transform(digits_with_gaps)
    assert np.isfinite(reconstruction).all()
    with pytest.raises(ValueError, match="NaN"):
        ReconstructionTransformer(PCA(2)).fit(digits_with_gaps)


def test_the_default_estimator_is_an_autoencoder(digits):
    transformer = ReconstructionTransformer().fit(digits[:60, 20:26])
    assert isinstance(transformer.estimator_, AutoencoderTransformer)
    assert transformer.estimator_.n_components == 3


def test_the_estimator_parameter_is_not_fitted(digits):
    pca = PCA(2)
    ReconstructionTransformer(pca).fit(digits)
    assert not hasattr(pca, "components_")


def test_grid_search_over_nested_parameters(digits):
    pipeline = make_pipeline(
        StandardScaler(), ReconstructionTransformer(PCA()), LogisticRegression(max_iter=200)
    )
    y = load_digits().target[:300]
    grid = {"reconstructiontransformer__estimator__n_components": [1, 16]}
    search = GridSearchCV(pipeline, grid, cv=2).fit(digits, y)
    assert list(search.best_params_.values()) == [16]


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_data_frames_keep_their_columns(digits, library):
    names = [f"pixel{i}" for i in range(64)]
    frame = {"pandas": pd, "polars": pl}[library].DataFrame(dict(zip(names, digits.T, strict=True)))
    transformer = ReconstructionTransformer(SMALL).set_output(transform=library)
    reconstruction = transformer.fit_transform(frame)
    assert type(reconstruction) is type(frame)
    assert list(reconstruction.columns) == names


def test_a_pickle_gives_the_same_results(digits):
    transformer = ReconstructionTransformer(SMALL).fit(digits)
    again = pickle.loads(pickle.dumps(transformer))
    np.testing.assert_array_equal(again.transform(digits), transformer.transform(digits))


@pytest.mark.parametrize("invalid", [LogisticRegression(), PCA, 3])
def test_an_estimator_without_inverse_transform_is_refused(digits, invalid):
    transformer = ReconstructionTransformer(invalid)
    with pytest.raises(TypeError, match=r"`estimator` must be .* inverse_transform, got"):
        transformer.fit(digits)
    with pytest.raises(NotFittedError):
        transformer.transform(digits)


def test_validation_rows_and_groups_are_passed_to_a_reducer_that_accepts_them(digits):
    groups = np.arange(200) % 20
    for params in ({"X_val": digits[200:]}, {"groups": groups}):
        transformer = ReconstructionTransformer(SMALL).fit(digits[:200], **params)
        reducer = clone(SMALL).fit(digits[:200], **params)
        np.testing.assert_array_equal(transformer.transform(digits), reducer.reconstruct(digits))
    by_pca = ReconstructionTransformer(PCA(4)).fit(digits[:200], groups=groups)
    assert by_pca.estimator_.n_components_ == 4


def test_metadata_routing_passes_groups_through_pipelines(digits):
    groups = np.arange(300) % 30
    by_hand = clone(SMALL).fit(StandardScaler().fit_transform(digits), groups=groups)
    with config_context(enable_metadata_routing=True):
        inner = make_pipeline(StandardScaler(), clone(SMALL).set_fit_request(groups=True))
        transformer = ReconstructionTransformer(inner).set_fit_request(groups=True)
        outer = make_pipeline(transformer).fit(digits, groups=groups)
    codes = outer[0].estimator_.transform(digits)
    np.testing.assert_array_equal(codes, by_hand.transform(StandardScaler().fit_transform(digits)))


@pytest.mark.parametrize("form", ["frame", "objects", "lists"])
def test_tables_are_taken_if_the_reducer_takes_them(form, tmp_path, global_random_seed):
    rng = np.random.RandomState(global_random_seed)
    frame = pd.DataFrame({"a": rng.normal(size=40), "b": rng.randint(3, size=40)})
    frame["c"] = rng.choice(["u", "v"], size=40)
    names = {"frame": ["b", "c"]}.get(form, [1, 2])
    X = {"frame": frame, "lists": frame.to_numpy(dtype=object).tolist()}.get(
        form, frame.to_numpy(dtype=object)
    )
    reducer = clone(SMALL).set_params(n_components=2, categorical_features=names)
    expected = np.asarray(clone(reducer).fit(X).reconstruct(X), dtype=object)
    fitted = ReconstructionTransformer(reducer).fit(X)
    save(fitted, tmp_path / "model")
    for transformer in (fitted, load(tmp_path / "model")):
        found = np.asarray(transformer.transform(X), dtype=object)
        np.testing.assert_array_equal(found, expected)
