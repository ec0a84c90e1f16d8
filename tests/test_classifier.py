import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import make_small
from scipy import sparse
from sklearn import config_context
from sklearn.base import clone
from sklearn.datasets import load_digits, make_moons
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skae
from skae import (
    VAE,
    AutoencoderClassifier,
    AutoencoderTransformer,
    DenoisingAutoencoder,
    SparseAutoencoder,
)


@pytest.fixture(scope="module")
def labelled(global_random_seed):
    """900 digits for training and 300 others, in float32; read-only."""
    X, y = load_digits(return_X_y=True)
    data = train_test_split(
        X.astype(np.float32), y, train_size=900, test_size=300, random_state=global_random_seed
    )
    for array in data:
        array.setflags(write=False)
    return data


def keep_first(y, n_labels):
    """Labels of which all but the first are replaced by -1."""
    return np.where(np.arange(len(y)) < n_labels, y, -1)


@pytest.fixture(scope="module")
def small(global_random_seed):
    """A function that makes a classifier that is fitted within a fraction of a second.

    An accuracy takes 25 epochs.
    """

    def make(estimator=None, **parameters):
        if estimator is None:
            estimator = AutoencoderTransformer(16, max_iter=3, hidden_layer_sizes=(64,))
        defaults = {"max_iter": 8, "random_state": global_random_seed}
        return AutoencoderClassifier(estimator, **(defaults | parameters))

    return make


@pytest.fixture(scope="module")
def fitted(labelled, small):
    X, _, y, _ = labelled
    return small().fit(X, keep_first(y, 60))


# Labels.


@pytest.mark.parametrize("dtype", ["<U5", object])
def test_string_labels_equal_numeric_labels(labelled, small, dtype):
    X, X_test, y, _ = labelled
    X, y = X[:200], y[:200]
    names = np.array([f"d{digit}" for digit in range(10)], dtype=dtype)
    by_number, by_name = small().fit(X, y), small().fit(X, names[y])
    np.testing.assert_array_equal(by_name.classes_, names)
    np.testing.assert_array_equal(by_name.predict(X_test), names[by_number.predict(X_test)])


def test_string_labels_may_be_combined_with_the_number_minus_one(labelled, small, fitted):
    X, X_test, y, _ = labelled
    names = np.array([f"d{digit}" for digit in range(10)], dtype=object)
    few = np.where(keep_first(y, 60) >= 0, names[y], -1)
    by_name = small().fit(X, few)
    np.testing.assert_array_equal(by_name.predict(X_test), names[fitted.predict(X_test)])


def test_minus_one_as_a_string_is_refused(labelled, small):
    X, _, y, _ = labelled
    with pytest.raises(ValueError, match=r"`y` must not contain '-1' as a string.*dtype=object"):
        small().fit(X, keep_first(y, 60).astype(str))


def test_minus_one_is_a_class_if_there_is_only_one_other_value(labelled, small):
    X, _, y, _ = labelled
    with pytest.warns(UserWarning, match=r"no values but 1 and -1, .* two classes"):
        two = small().fit(X, np.where(y < 5, -1, 1))
    np.testing.assert_array_equal(two.classes_, [-1, 1])


@pytest.mark.parametrize(
    ("y", "message"), [(0, "at least two classes, got 1 class"), (-1, "at least two classes")]
)
def test_one_class_is_refused(labelled, small, y, message):
    X = labelled[0]
    classifier = small()
    with pytest.raises(ValueError, match=message):
        classifier.fit(X, np.full(len(X), y))
    assert set(vars(classifier)) == set(classifier.get_params(deep=False))
    with pytest.raises(NotFittedError):
        classifier.predict(X)


def test_real_numbers_as_labels_are_refused(labelled, small):
    X = labelled[0]
    with pytest.raises(ValueError, match="Unknown label type"):
        small().fit(X, X[:, 20] + 0.5)


# Predictions.


def test_scores_are_linear_in_the_codes_and_log_probabilities(labelled, fitted):
    X_test = labelled[1].astype(np.float64)
    scores, codes = fitted.decision_function(X_test), fitted.transform(X_test)
    np.testing.assert_allclose(scores, codes @ fitted.coef_.T + fitted.intercept_)
    proba = fitted.predict_proba(X_test)
    np.testing.assert_allclose(
        np.log(proba) - np.log(proba[:, :1]), scores - scores[:, :1], atol=1e-9
    )
    np.testing.assert_array_equal(fitted.predict(X_test), fitted.classes_[scores.argmax(axis=1)])


def test_scores_of_two_classes_are_log_odds(labelled, small):
    X, X_test, y, _ = labelled
    two = small().fit(X, np.where(keep_first(y, 60) >= 0, y % 2, -1))
    proba = two.predict_proba(X_test.astype(np.float64))
    odds = np.log(proba[:, 1] / proba[:, 0])
    np.testing.assert_allclose(two.decision_function(X_test.astype(np.float64)), odds, atol=1e-9)


# Training.


def test_rows_without_labels_increase_the_accuracy(labelled, small):
    X, X_test, y, y_test = labelled
    labeled = np.concatenate([np.flatnonzero(y == digit)[:5] for digit in range(10)])
    few = np.full(len(y), -1)
    few[labeled] = y[labeled]
    semi_supervised = small(max_iter=25).fit(X, few).score(X_test, y_test)
    supervised = small(max_iter=25).fit(X[labeled], y[labeled]).score(X_test, y_test)
    linear = LogisticRegression(max_iter=1000).fit(X[labeled], y[labeled]).score(X_test, y_test)
    assert semi_supervised > supervised + 0.05
    assert semi_supervised > linear


def test_moons_with_one_label_each_are_separated():
    # The seed is fixed: in other samples single rows between the moons connect them in the graph.
    X, y = make_moons(300, noise=0.05, random_state=0)
    few = np.full(300, -1)
    few[[np.flatnonzero(y == 0)[0], np.flatnonzero(y == 1)[0]]] = 0, 1
    classifier = AutoencoderClassifier(
        AutoencoderTransformer(2, max_iter=2), noise_level=0.1, max_iter=150, random_state=0
    ).fit(X, few)
    assert classifier.score(X, y) > 0.97


# The test score of MLPClassifier no longer increases after about 40 epochs.
@pytest.mark.filterwarnings("ignore:.*Maximum iterations:sklearn.exceptions.ConvergenceWarning")
def test_with_all_labels_the_accuracy_is_that_of_mlp_classifier(
    labelled, small, global_random_seed
):
    X, X_test, y, y_test = labelled
    pretrained = DenoisingAutoencoder(16, hidden_layer_sizes=(64,), max_iter=10)
    ours = small(pretrained, max_iter=25).fit(X, y)
    theirs = MLPClassifier((64, 16), max_iter=40, random_state=global_random_seed).fit(X, y)
    assert ours.score(X_test, y_test) >= theirs.score(X_test, y_test) - 0.01


def test_rows_beyond_max_samples_have_no_pseudo_labels(labelled, small, global_random_seed):
    X, _, y, _ = labelled
    few = keep_first(y, 60)
    autoencoder = AutoencoderTransformer(16, max_iter=2, random_state=global_random_seed)
    estimator = FrozenEstimator(autoencoder.fit(X))
    limited = small(estimator, max_samples=60, noise_level=0).fit(X, few)
    supervised = small(estimator, noise_level=0).fit(X[:60], y[:60])
    # The initial weights and the order of the rows are equal; only the scale of the codes differs.
    assert np.mean(limited.predict(X) == supervised.predict(X)) > 0.9
    unlimited = small(estimator).fit(X, few)
    assert small(estimator, max_samples=61).fit(X, few).score(X, y) < unlimited.score(X, y)


def test_a_frozen_autoencoder_is_not_changed(labelled, small):
    X, X_test, y, _ = labelled
    autoencoder = AutoencoderTransformer(16, max_iter=3, random_state=0).fit(X)
    before = autoencoder.transform(X_test)
    first = small(FrozenEstimator(autoencoder)).fit(X, keep_first(y, 60))
    np.testing.assert_array_equal(autoencoder.transform(X_test), before)
    assert np.abs(first.transform(X_test) - before).max() > 0.1
    # A clone that is fitted with the same seed gives the same results.
    cloned = small(AutoencoderTransformer(16, max_iter=3, random_state=0)).fit(X, keep_first(y, 60))
    np.testing.assert_array_equal(cloned.predict_proba(X_test), first.predict_proba(X_test))


def test_codes_are_those_of_the_fine_tuned_encoder(autoencoder, labelled, small):
    # A projection would return codes of the decoder, which is not fine-tuned.
    X, X_test, y, _ = labelled
    classifier = small(autoencoder(8, max_iter=3, random_state=0)).fit(X, keep_first(y, 60))
    network = classifier.encoder_.network_
    x = torch.from_numpy(X_test - network.shift.numpy()) / network.scale
    with torch.no_grad():
        codes = network.from_network_code(network.network.encode(x))
    np.testing.assert_allclose(classifier.transform(X_test), codes)


def test_validation_rows_and_groups_are_those_of_the_pretraining(labelled, small):
    X, X_val, y, _ = labelled
    few = keep_first(y, 60)
    for params in ({"X_val": X_val}, {"groups": np.arange(900) % 30}):
        pretrained = AutoencoderTransformer(16, max_iter=3, random_state=0)
        classifier = small(pretrained).fit(X, few, **params)
        frozen = small(FrozenEstimator(pretrained.fit(X, **params))).fit(X, few)
        np.testing.assert_array_equal(classifier.predict_proba(X), frozen.predict_proba(X))


def test_a_frozen_float32_autoencoder_is_fine_tuned_with_float64_rows(labelled, small):
    X, X_test, y, _ = labelled
    autoencoder = AutoencoderTransformer(16, max_iter=3, random_state=0).fit(X)
    tuned = small(FrozenEstimator(autoencoder)).fit(X.astype(np.float64), keep_first(y, 60))
    # float32 has 7 digits, of which the layers lose one or two.
    np.testing.assert_allclose(
        tuned.transform(X_test), tuned.transform(X_test.astype(np.float64)), atol=1e-2
    )


@pytest.mark.parametrize("inner", [LogisticRegression(), AutoencoderTransformer(4)])
def test_frozen_estimators_other_than_fitted_autoencoders_are_refused(labelled, small, inner):
    X, _, y, _ = labelled
    with pytest.raises((TypeError, NotFittedError), match=r"`estimator` must|not fitted"):
        small(FrozenEstimator(inner)).fit(X, y)


@pytest.mark.parametrize(
    "estimator",
    [
        VAE(8, max_iter=3, loss="poisson"),
        DenoisingAutoencoder(8, image_shape=(8, 8), hidden_layer_sizes=(8,), max_iter=3),
        AutoencoderTransformer(8, tied_weights=True, max_iter=3, whiten=True),
        AutoencoderTransformer(8, init="random", max_iter=3),
        SparseAutoencoder(100, sparse_output=True, max_iter=3),
        SparseAutoencoder(100, sparsity="jumprelu", tied_weights=True, max_iter=3),
    ],
    ids=["vae", "images", "tied", "random", "sparse", "tied sparse"],
)
def test_any_autoencoder_can_be_fine_tuned(labelled, small, estimator):
    X, X_test, y, y_test = labelled
    classifier = small(estimator, max_iter=25).fit(X, keep_first(y, 100))
    assert classifier.score(X_test, y_test) > 0.6


def test_the_default_estimator_is_fitted_to_few_rows_and_columns(global_random_seed):
    rng, y = np.random.RandomState(global_random_seed), np.repeat([0, 1], 15)
    X = rng.normal(size=(30, 3)) + 4.0 * y[:, None]
    classifier = AutoencoderClassifier(max_iter=20, random_state=global_random_seed).fit(X, y)
    assert isinstance(classifier.encoder_, DenoisingAutoencoder)
    assert classifier.transform(X).shape == (30, 3)
    assert classifier.score(X, y) > 0.9


# Random state, pickles, data formats and parameters.


def test_fits_with_the_same_seed_are_bitwise_identical(labelled, small):
    X, X_test, y, _ = labelled
    torch_state = torch.get_rng_state()
    first, second = (small().fit(X, keep_first(y, 60)) for _ in range(2))
    third = clone(first).set_params(random_state=first.random_state + 1).fit(X, keep_first(y, 60))
    np.testing.assert_array_equal(first.predict_proba(X_test), second.predict_proba(X_test))
    assert not np.array_equal(first.predict_proba(X_test), third.predict_proba(X_test))
    assert torch.equal(torch.get_rng_state(), torch_state)


def test_a_pickle_gives_the_same_results_and_contains_no_rows(labelled, small, fitted):
    X, X_test, y, _ = labelled
    loaded = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(loaded.predict_proba(X_test), fitted.predict_proba(X_test))
    twice = small().fit(np.tile(X, (2, 1)), np.tile(keep_first(y, 60), 2))
    assert abs(len(pickle.dumps(twice)) - len(pickle.dumps(fitted))) < 1000


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_dtype_of_X_is_kept(labelled, fitted, dtype):
    X_test = labelled[1].astype(dtype)
    assert fitted.transform(X_test).dtype == fitted.predict_proba(X_test).dtype == dtype


def test_sparse_rows_and_missing_values_are_accepted(labelled, small, fitted):
    X, X_test, y, _ = labelled
    from_sparse = small().fit(sparse.csr_array(X), keep_first(y, 60))
    is_equal = from_sparse.predict(sparse.csr_array(X_test)) == fitted.predict(X_test)
    assert is_equal.mean() > 0.97  # rounding errors grow over the epochs in float32
    with_gaps = X.copy()
    with_gaps[:, 20:24] = np.nan
    assert np.isfinite(small().fit(with_gaps, keep_first(y, 60)).predict_proba(with_gaps)).all()


def test_feature_names_of_data_frames_are_checked(labelled, small):
    X, X_test, y, _ = labelled
    frame, test = (pd.DataFrame(rows).rename(columns="p{}".format) for rows in (X, X_test))
    fitted = small().fit(frame, pd.Series(keep_first(y, 60))).set_output(transform="pandas")
    assert list(fitted.feature_names_in_) == list(frame.columns)
    assert list(fitted.transform(test).columns) == [f"autoencoderclassifier{i}" for i in range(16)]
    with pytest.raises(ValueError, match="feature names should match"):
        fitted.predict(test[test.columns[::-1]])


def test_grid_search_over_a_pipeline(labelled, small):
    X, _, y, _ = labelled
    pipeline = make_pipeline(StandardScaler(), small())
    name = "autoencoderclassifier__estimator__n_components"
    search = GridSearchCV(pipeline, {name: [1, 16]}, cv=2).fit(X[:300], y[:300])
    assert search.best_params_ == {name: 16}


def test_the_error_for_a_diverging_fit_names_the_learning_rate(labelled, small):
    X, _, y, _ = labelled
    classifier = small(learning_rate_init=1e30)
    with pytest.raises(ValueError, match=r"`learning_rate_init` than 1e\+30"):
        classifier.fit(X, y)
    assert not hasattr(classifier, "classes_")


def test_parameters_are_documented_and_checked(labelled):
    X, _, y, _ = labelled
    for name, value in AutoencoderClassifier().get_params().items():
        entry = next(
            line
            for line in skae.AutoencoderClassifier.__doc__.splitlines()
            if line.startswith(f"    {name} : ")
        )
        assert eval(entry.split("default=")[1]) == value
        with pytest.raises((ValueError, TypeError), match=f"`{name}` must be"):
            AutoencoderClassifier(**{name: "no such thing"}).fit(X, y)


@pytest.mark.parametrize("container", ["pandas", "polars"])
def test_predictions_do_not_depend_on_the_output_that_is_set(container, digits):
    y = np.arange(100) % 3
    plain = make_small(AutoencoderClassifier, 2).fit(digits[:100], y)
    with config_context(transform_output=container):
        within = make_small(AutoencoderClassifier, 2).fit(digits[:100], y)
        np.testing.assert_array_equal(within.predict_proba(digits), plain.predict_proba(digits))
    plain.set_output(transform=container)
    np.testing.assert_array_equal(within.predict_proba(digits), plain.predict_proba(digits))


@pytest.mark.parametrize("named", [False, True])
def test_rows_without_a_label_are_left_out_of_the_score(labelled, small, named, global_random_seed):
    X, X_test, y, y_test = labelled
    names = np.array(list("abcdefghij"), dtype=object)
    y, y_test = (names[y], names[y_test]) if named else (y, y_test)
    classifier = small().fit(X, keep_first(y, 100).astype(y.dtype))
    labeled = np.random.RandomState(global_random_seed).uniform(size=len(y_test)) < 0.3
    some = y_test.copy()
    some[~labeled] = -1
    expected = (classifier.predict(X_test) == y_test)[labeled].mean()
    assert classifier.score(X_test, some) == pytest.approx(expected)
    assert classifier.score(X_test, some.tolist()) == pytest.approx(expected)
    weight = np.arange(len(y_test))
    assert classifier.score(X_test, some, weight) == pytest.approx(
        np.average((classifier.predict(X_test) == y_test)[labeled], weights=weight[labeled])
    )
    assert classifier.score(X_test[labeled], y_test[labeled].astype("U1" if named else int)) == (
        pytest.approx(expected)
    )
    with pytest.raises(ValueError, match="labels other than -1"):
        classifier.score(X_test, np.full(len(y_test), -1))
    with pytest.raises(ValueError, match="inconsistent"):
        classifier.score(X_test, y_test[1:])


def test_minus_one_counts_where_it_is_a_class(labelled, small):
    X, X_test, y, y_test = labelled
    y, y_test = np.where(y < 5, -1, 1), np.where(y_test < 5, -1, 1)
    with pytest.warns(UserWarning, match="taken as two classes"):
        classifier = small().fit(X, y)
    assert classifier.score(X_test, y_test) == np.mean(classifier.predict(X_test) == y_test)
