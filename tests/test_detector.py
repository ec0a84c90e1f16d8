"""The outlier detector: signs, sums, shares, and what it is for."""

import pickle
import re
from dataclasses import fields

import joblib
import numpy as np
import pandas as pd
import pytest
from conftest import AUTOENCODERS, quick
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer
from sklearn.exceptions import NotFittedError
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skae import AutoencoderOutlierDetector, AutoencoderTransformer, DenoisingEnsemble


def detector(estimator=None, **parameters):
    """A detector that is quick to fit."""
    estimator = estimator or DenoisingEnsemble(n_steps=100, hidden_layer_sizes=(32,))
    return AutoencoderOutlierDetector(estimator, **({"random_state": 0} | parameters))


@pytest.fixture(scope="module")
def rows():
    """400 rows near a curve in four dimensions, and 20 that have one entry from elsewhere."""
    rng = np.random.RandomState(0)
    t = rng.uniform(-1, 1, size=420)
    X = np.c_[t, t**2, t**3, 1 - t] + 0.02 * rng.normal(size=(420, 4))
    culprits = rng.randint(4, size=20)
    X[np.arange(400, 420), culprits] += rng.choice([-1.2, 1.2], size=20)
    return X, culprits


@pytest.mark.parametrize("held", [None, *(quick(cls, max_iter=2) for cls in AUTOENCODERS)])
def test_contributions_add_up_to_the_score(digits, held):
    fitted = detector(held).fit(digits)
    contributions = fitted.feature_contributions(digits)
    assert contributions.shape == digits.shape
    np.testing.assert_allclose(contributions.sum(axis=1), fitted.score_samples(digits))


def test_the_score_is_the_reconstruction_error_of_the_held_autoencoder(digits):
    held = quick(AutoencoderTransformer)
    fitted = AutoencoderOutlierDetector(held, novelty=True).fit(digits)
    by_hand = clone(held).fit(digits)
    errors = (digits - by_hand.inverse_transform(by_hand.transform(digits))) ** 2
    np.testing.assert_allclose(fitted.score_samples(digits), -errors.sum(axis=1))
    np.testing.assert_allclose(fitted.feature_contributions(digits), -errors)
    np.testing.assert_allclose(fitted.score_samples(digits), by_hand.score_samples(digits))


@pytest.mark.parametrize("loss", ["absolute_error", "log_loss", "poisson"])
def test_other_losses_are_charged_as_in_training(digits, loss):
    X = digits / 16
    held = quick(AutoencoderTransformer, loss=loss)
    fitted = AutoencoderOutlierDetector(held, novelty=True).fit(X)
    np.testing.assert_allclose(fitted.score_samples(X), held.fit(X).score_samples(X))


def test_contaminated_rows_are_learned_from_by_their_better_half(digits):
    held = quick(AutoencoderTransformer)
    first = clone(held).fit(digits).score_samples(digits)
    better = np.sort(np.argsort(-first)[:150])
    by_hand = clone(held).fit(digits[better])
    fitted = AutoencoderOutlierDetector(held, novelty=False).fit(digits)
    # The same numbers, summed up elsewhere.
    np.testing.assert_allclose(
        fitted.score_samples(digits), by_hand.score_samples(digits), rtol=1e-12
    )


def test_a_linear_autoencoder_is_pca_reconstruction(digits):
    from sklearn.decomposition import PCA

    linear = AutoencoderTransformer(5, hidden_layer_sizes=())
    fitted = AutoencoderOutlierDetector(linear, novelty=True).fit(digits)
    pca = PCA(5).fit(digits)
    errors = ((digits - pca.inverse_transform(pca.transform(digits))) ** 2).sum(axis=1)
    np.testing.assert_allclose(fitted.score_samples(digits), -errors)


def test_signs_and_offset_agree(rows):
    X, _ = rows
    fitted = detector().fit(X)
    decision = fitted.decision_function(X)
    np.testing.assert_array_equal(decision, fitted.score_samples(X) - fitted.offset_)
    np.testing.assert_array_equal(fitted.predict(X), np.where(decision < 0, -1, 1))
    np.testing.assert_array_equal(detector().fit_predict(X), fitted.predict(X))


@pytest.mark.parametrize("novelty", [True, False])
@pytest.mark.parametrize("share", [0.05, 0.25, 0.5])
def test_the_asked_share_of_training_rows_are_outliers(rows, share, novelty):
    X, _ = rows
    found = detector(contamination=share, novelty=novelty).fit_predict(X) == -1
    assert found.sum() == share * 420


def test_auto_is_the_fence_of_a_box_plot(rows):
    X, _ = rows
    fitted = detector().fit(X)
    lower, upper = np.percentile(fitted.score_samples(X), [25, 75])
    assert fitted.offset_ == pytest.approx(lower - 1.5 * (upper - lower))


def test_planted_outliers_score_low_and_name_their_culprit(rows):
    X, culprits = rows
    planted = np.arange(420) >= 400
    fitted = AutoencoderOutlierDetector(novelty=True, random_state=0).fit(X[~planted])
    assert roc_auc_score(planted, -fitted.score_samples(X)) > 0.97
    assert (fitted.predict(X[planted]) == -1).mean() > 0.7
    assert (fitted.predict(X[~planted]) == 1).mean() > 0.85
    found = fitted.feature_contributions(X[planted]).argmin(axis=1)
    assert (found == culprits).mean() > 0.8  # one in four by chance


def test_outliers_do_not_tilt_what_is_learned_if_half_is_left_out():
    # A line, and outliers to one side of it that turn the first principal component.
    rng = np.random.RandomState(0)
    usual = np.c_[rng.normal(size=340), np.zeros(340)]
    X = np.r_[usual, np.tile([1.5, 1.5], (60, 1))] + 0.1 * rng.normal(size=(400, 2))
    linear = AutoencoderTransformer(1, hidden_layer_sizes=())
    areas = [
        roc_auc_score(np.arange(400) >= 340, -detector(linear, novelty=n).fit(X).score_samples(X))
        for n in (True, False)
    ]
    assert areas[1] > 0.99 > areas[0]


def test_malignant_tumours_are_found_by_learning_benign_ones():
    X, benign = load_breast_cancer(return_X_y=True)
    train = np.flatnonzero(benign)[::2]
    unseen = np.setdiff1d(np.arange(len(X)), train)
    fitted = detector(novelty=True).fit(X[train])
    assert roc_auc_score(benign[unseen], fitted.decision_function(X[unseen])) > 0.95


def test_rows_are_scored_one_by_one(rows):
    X, _ = rows
    fitted = detector().fit(X)
    alone = np.concatenate([fitted.score_samples(X[[i]]) for i in range(20)])
    np.testing.assert_allclose(alone, fitted.score_samples(X)[:20], rtol=1e-10)


@pytest.mark.parametrize("held", [None, quick(AutoencoderTransformer)])
def test_a_pickle_gives_the_same_answers(digits, held):
    fitted = detector(held).fit(digits)
    again = pickle.loads(pickle.dumps(fitted))
    for method in ("score_samples", "predict", "feature_contributions"):
        np.testing.assert_array_equal(
            getattr(again, method)(digits), getattr(fitted, method)(digits)
        )
    assert joblib.hash(again) == joblib.hash(fitted)


def test_tuned_in_a_grid_inside_a_pipeline(rows):
    X, _ = rows
    labels = np.where(np.arange(420) >= 400, -1, 1)
    pipeline = make_pipeline(StandardScaler(), detector())
    order = np.random.RandomState(0).permutation(420)
    grid = {"autoencoderoutlierdetector__estimator__noise_levels": [(0.1,), (0.2, 1.0)]}
    search = GridSearchCV(pipeline, grid, scoring="roc_auc", cv=2)
    search.fit(X[order], labels[order])
    assert search.best_score_ > 0.8
    assert set(search.predict(X)) == {-1, 1}


def test_the_given_estimator_is_not_touched(digits):
    held = quick(AutoencoderTransformer)
    before = joblib.hash(held)
    fitted = detector(held).fit(digits)
    assert joblib.hash(held) == before
    assert fitted.estimator_ is not held
    assert type(fitted.estimator_) is type(held)


def test_one_seed_gives_the_same_bits_and_another_gives_others(digits):
    scores = [detector(random_state=seed).fit(digits).score_samples(digits) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(scores[0], scores[1])
    assert not np.array_equal(scores[0], scores[2])


def test_frames_keep_their_names(digits):
    frame = pd.DataFrame(digits[:, :10]).rename(columns="pixel{}".format)
    fitted = detector().fit(frame)
    assert list(fitted.feature_names_in_) == list(frame.columns)
    assert fitted.n_features_in_ == fitted.estimator_.n_features_in_ == 10
    with pytest.raises(ValueError, match="feature names should match"):
        fitted.predict(frame[frame.columns[::-1]])


def test_gaps_and_sparse_rows_are_taken(digits, digits_with_gaps):
    fitted = detector().fit(digits_with_gaps)
    assert (fitted.feature_contributions(digits_with_gaps)[np.isnan(digits_with_gaps)] == 0).all()
    np.testing.assert_allclose(
        fitted.score_samples(sparse.csr_array(digits)), fitted.score_samples(digits)
    )


def test_scores_are_float64_whatever_goes_in(digits):
    single = digits.astype(np.float32)
    assert detector().fit(single).score_samples(single).dtype == np.float64


@pytest.mark.parametrize(
    "wrong",
    [
        {"estimator": StandardScaler()},
        {"estimator": AutoencoderTransformer},
        {"contamination": 0.0},
        {"contamination": 0.6},
        {"contamination": "none"},
        {"novelty": 1},
        {"random_state": -1},
    ],
)
def test_a_bad_parameter_is_refused_by_name(digits, wrong):
    refused = AutoencoderOutlierDetector(**wrong)
    with pytest.raises((ValueError, TypeError), match=f"`{next(iter(wrong))}` must be .* got"):
        refused.fit(digits)
    with pytest.raises(NotFittedError):
        refused.score_samples(digits)


def test_a_refused_second_fit_leaves_the_first(digits):
    fitted = detector().fit(digits)
    scores = fitted.score_samples(digits)
    with pytest.raises(ValueError, match="infinity"):
        fitted.fit(np.full((20, 3), np.inf))
    np.testing.assert_array_equal(fitted.score_samples(digits), scores)


def test_parameters_are_documented_with_their_defaults():
    text = AutoencoderOutlierDetector.__doc__
    for declared in fields(AutoencoderOutlierDetector):
        entry = re.search(rf"^    {declared.name} : (.+)$", text, re.MULTILINE)
        assert eval(re.search(r"default=(.+)$", entry[1])[1]) == declared.default


def test_any_autoencoder_may_be_held(autoencoder, digits):
    alone = quick(autoencoder).fit(digits)
    held = AutoencoderOutlierDetector(quick(autoencoder), novelty=True).fit(digits)
    np.testing.assert_array_equal(held.feature_contributions(digits), alone.score_features(digits))
