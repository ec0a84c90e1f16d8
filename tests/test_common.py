"""Laws of every estimator of the package."""

import inspect
import multiprocessing
import pickle
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from conftest import (
    AUTOENCODERS,
    ESTIMATORS,
    IS_NEWEST,
    NOT_YIELDED,
    RECONSTRUCTING,
    WITHOUT_TARGETS,
    covering,
    make_small,
    parametrize_with_checks,
)
from scipy import sparse
from sklearn import config_context
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_checks

from skae import AutoencoderImputer, AutoencoderTransformer, ReconstructionTransformer


def as_checked(cls):
    """An estimator with few epochs.

    The contract is that of the class: a class that takes another estimator has a quick one.
    """
    own = {}
    if cls in (AutoencoderImputer, ReconstructionTransformer):
        own = {"estimator": PCA(1)}
    elif cls not in AUTOENCODERS:
        own = {"estimator": make_small(AutoencoderTransformer, 2, hidden_layer_sizes=())}
    known = inspect.signature(cls).parameters
    return make_small(cls, 2, max_iter=1, **{k: v for k, v in own.items() if k in known})


# Checks that fit to each of many containers and types of rows, or set many kinds of output: what
# they check is done before and after the network. A linear one is fitted in half of the time.
OF_CONTAINERS = {
    "check_estimator_sparse_array",
    "check_estimator_sparse_matrix",
    "check_estimators_dtypes",
    "check_transformer_data_not_an_array",
}


def linear(estimator):
    """The estimator without hidden layers, if it has a network."""
    has_network = "hidden_layer_sizes" in estimator.get_params()
    return clone(estimator).set_params(hidden_layer_sizes=()) if has_network else estimator


@parametrize_with_checks([as_checked(cls) for cls in ESTIMATORS])
def test_scikit_learn_contract(estimator, check):
    if check.func.__name__ == "check_classifiers_train":  # which needs some accuracy
        estimator.set_params(max_iter=20)
    check(linear(estimator) if check.func.__name__ in OF_CONTAINERS else estimator)


@pytest.mark.parametrize(
    "check",
    [*NOT_YIELDED, estimator_checks.check_estimators_partial_fit_n_features],
    ids=lambda check: check.__name__,
)
@pytest.mark.filterwarnings("ignore:X .*feature names:UserWarning")
def test_checks_that_scikit_learn_does_not_yield(autoencoder, check):
    check(autoencoder.__name__, linear(make_small(autoencoder, 2, max_iter=1)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_dtype_of_X_is_kept(autoencoder, digits, dtype, small):
    X = digits.astype(dtype)
    fitted = small(autoencoder).fit(X)
    codes = fitted.transform(X)
    assert codes.dtype == fitted.inverse_transform(codes).dtype == fitted.score_samples(X).dtype
    assert codes.dtype == dtype
    assert next(fitted.network_.parameters()).dtype == getattr(torch, np.dtype(dtype).name)


LAYOUTS = {
    "fortran": np.asfortranarray,
    "negative strides": lambda X: np.ascontiguousarray(X[::-1])[::-1],
    "big-endian": lambda X: X.astype(">f8"),
    "lists": lambda X: X.tolist(),
    "objects": lambda X: X.astype(object),
    "integers": lambda X: X.astype(np.uint8),
}


@pytest.mark.parametrize(
    ("autoencoder", "layout"), covering(WITHOUT_TARGETS, list(LAYOUTS)), indirect=["autoencoder"]
)
def test_the_memory_layout_of_X_changes_nothing(fitted, digits, layout):
    expected = fitted.transform(digits)
    X = LAYOUTS[layout](digits)
    # The order of sums in BLAS may differ.
    np.testing.assert_allclose(fitted.fit(X).transform(X), expected, atol=1e-6)


def test_a_memory_map_is_not_written_to(fitted, digits, tmp_path):
    np.save(tmp_path / "X.npy", digits)
    X, expected = np.load(tmp_path / "X.npy", mmap_mode="r"), fitted.transform(digits)
    np.testing.assert_array_equal(fitted.fit_transform(X), expected)
    np.testing.assert_array_equal(np.load(tmp_path / "X.npy"), digits)


@pytest.mark.parametrize(
    ("autoencoder", "kind"),
    covering(WITHOUT_TARGETS, [sparse.csr_matrix, sparse.csr_array, sparse.csc_matrix]),
    indirect=["autoencoder"],
)
def test_sparse_rows_equal_dense_rows(fitted, digits, kind):
    for method in ("transform", "reconstruct", "score_samples", "score"):
        result = getattr(fitted, method)(kind(digits))
        np.testing.assert_allclose(result, getattr(fitted, method)(digits), rtol=1e-12)
    # The order of sums differs.
    other = clone(fitted).fit(kind(digits))
    np.testing.assert_allclose(other.transform(digits), fitted.transform(digits), atol=1e-6)


@pytest.mark.parametrize(
    ("autoencoder", "library"),
    covering(WITHOUT_TARGETS, ["pandas", "polars"]),
    indirect=["autoencoder"],
)
def test_data_frames_are_accepted_and_returned(autoencoder, digits, library, small):
    columns = [f"pixel{i}" for i in range(digits.shape[1])]
    frame = {"pandas": pd, "polars": pl}[library].DataFrame(
        dict(zip(columns, digits.T, strict=True))
    )
    fitted = small(autoencoder).set_output(transform=library).fit(frame)
    codes = fitted.transform(frame)
    names = [f"{autoencoder.__name__.lower()}{i}" for i in range(4)]
    assert type(codes) is type(frame)
    assert list(codes.columns) == list(fitted.get_feature_names_out()) == names
    if library == "pandas" or IS_NEWEST:  # scikit-learn 1.6 does not support this version of polars
        assert list(fitted.feature_names_in_) == columns
    assert fitted.inverse_transform(codes).shape == digits.shape
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted.score(frame)


def test_renamed_columns_are_refused(autoencoder, digits, small):
    frame = pd.DataFrame(digits).rename(columns="pixel{}".format)
    fitted = small(autoencoder).fit(frame)
    with pytest.raises(ValueError, match="feature names should match"):
        fitted.transform(frame[frame.columns[::-1]])


def test_one_row_is_refused(autoencoder, digits, small):
    with pytest.raises(ValueError, match=r"1 sample.* minimum of 2"):
        small(autoencoder).fit(digits[:1])


@pytest.mark.parametrize("n_rows", [2, 3, 9, 17, 33])
@pytest.mark.filterwarnings(
    "ignore:.* components have no information:sklearn.exceptions.ConvergenceWarning"
)
def test_few_rows_are_fitted(autoencoder, digits, n_rows, small):
    fitted = small(autoencoder, n_components=2, batch_size=8).fit(digits[:n_rows])
    assert np.isfinite(fitted.transform(digits)).all()
    if autoencoder in RECONSTRUCTING:
        assert fitted.score(digits[:n_rows]) >= fitted.pca_score_ - 1e-9


def test_one_feature_is_reconstructed_from_one_component(compressing, digits, small):
    column = digits[:, [20]]
    with pytest.raises(ValueError, match="n_features = 1"):
        small(compressing, n_components=2).fit(column)
    assert small(compressing, n_components=1).fit(column).score(column) == pytest.approx(1)


def test_constant_columns_are_reconstructed(autoencoder, digits, small):
    X = np.c_[digits[:, 20:30], np.full((len(digits), 2), 1e6)]
    fitted = small(autoencoder).fit(X)
    np.testing.assert_allclose(fitted.reconstruct(X)[:, -2:], 1e6, rtol=1e-9)


def test_constant_data_are_reconstructed(autoencoder, small):
    X = np.full((20, 3), 7.0)
    fitted = small(autoencoder, n_components=2).fit(X)
    np.testing.assert_array_equal(fitted.reconstruct(X), X)
    assert fitted.score(X) == 1


@pytest.mark.filterwarnings("ignore:.* of the variance is in 1 of 4 columns:UserWarning")
def test_columns_of_1e12_beside_1e_12_are_finite_and_never_worse(
    autoencoder, small, global_random_seed
):
    X = np.random.RandomState(global_random_seed).normal(size=(200, 4)) * [1e12, 1.0, 1e-3, 1e-12]
    fitted = small(autoencoder, n_components=1).fit(X)
    assert np.isfinite(fitted.reconstruct(X)).all()
    assert autoencoder not in RECONSTRUCTING or fitted.score(X) >= fitted.pca_score_ - 1e-9


@pytest.mark.parametrize("factor", [1e-30, 1e30])
def test_codes_scale_with_the_units_of_X(reconstructing, digits, factor, small):
    one, other = small(reconstructing).fit(digits), small(reconstructing).fit(digits * factor)
    np.testing.assert_allclose(
        other.transform(digits * factor) / factor, one.transform(digits), atol=0.05
    )


def test_values_too_large_to_square_are_refused(autoencoder, digits, small):
    with pytest.raises(ValueError, match="too large to square"):
        small(autoencoder).fit(digits * 1e200)


def test_fits_with_missing_values_score_above_pca(autoencoder, digits_with_gaps, small):
    # A large learning rate allows for few epochs, of which all rows select the best.
    steps = {"learning_rate_init": 0.03, "max_iter": 15, "early_stopping": False}
    fitted = small(autoencoder, **steps).fit(digits_with_gaps)
    # A projection alone, without training, gains 0.03.
    assert fitted.score(digits_with_gaps) > fitted.pca_score_ + 0.06
    assert np.isfinite(fitted.reconstruct(digits_with_gaps)).all()


def test_rows_and_columns_without_any_value_are_fitted(autoencoder, digits_with_gaps, small):
    X = digits_with_gaps.copy()
    X[:, 3], X[5] = np.nan, np.nan
    assert np.isfinite(small(autoencoder).fit(X).reconstruct(X)).all()


def test_missing_values_in_sparse_rows_equal_those_in_dense_rows(
    autoencoder, digits_with_gaps, small
):
    dense = small(autoencoder).fit(digits_with_gaps)
    other = small(autoencoder).fit(sparse.csr_array(digits_with_gaps))
    np.testing.assert_allclose(
        other.transform(digits_with_gaps), dense.transform(digits_with_gaps), atol=1e-6
    )


def test_grid_search_over_a_pipeline(autoencoder, digits, small):
    pipeline = make_pipeline(StandardScaler(), small(autoencoder))
    name = autoencoder.__name__.lower()
    search = GridSearchCV(pipeline, {f"{name}__n_components": [2, 8]}, cv=2).fit(digits)
    assert search.best_params_ == {f"{name}__n_components": 8}
    assert search.best_estimator_.transform(digits).shape == (300, 8)


def test_a_pipeline_transforms_the_validation_rows(autoencoder, digits, small):
    with config_context(enable_metadata_routing=True):
        estimator = small(autoencoder).set_fit_request(X_val=True)
        pipeline = Pipeline(
            [("scale", StandardScaler()), ("code", estimator)], transform_input=["X_val"]
        )
        pipeline.fit(digits[:200], X_val=digits[200:])
    scaler = StandardScaler().fit(digits[:200])
    by_hand = small(autoencoder).fit(
        scaler.transform(digits[:200]), X_val=scaler.transform(digits[200:])
    )
    np.testing.assert_array_equal(
        pipeline.transform(digits), by_hand.transform(scaler.transform(digits))
    )


def test_groups_of_one_row_each_are_no_groups(autoencoder, digits, small):
    np.testing.assert_array_equal(
        small(autoencoder).fit(digits, groups=range(300)).transform(digits),
        small(autoencoder).fit(digits).transform(digits),
    )


def test_the_names_of_groups_have_no_effect(autoencoder, digits, small):
    groups = np.arange(300) % 30
    names = np.array([f"patient {(7 * group) % 30}" for group in groups])
    by_number, by_name = (
        small(autoencoder).fit(digits, groups=labels).transform(digits)
        for labels in (groups, names)
    )
    np.testing.assert_array_equal(by_number, by_name)


def test_groups_have_no_effect_where_no_rows_are_held_out(autoencoder, digits, small):
    one_group = np.zeros(200)
    for parameters, options in [({"early_stopping": False}, {}), ({}, {"X_val": digits[200:]})]:
        with_groups, without = (
            small(autoencoder, max_iter=3, **parameters).fit(digits[:200], **options, **groups)
            for groups in ({"groups": one_group}, {})
        )
        np.testing.assert_array_equal(with_groups.transform(digits), without.transform(digits))


def test_an_error_about_groups_names_them(autoencoder, digits, small):
    for groups in (np.zeros(300), np.zeros(299)):
        with pytest.raises(ValueError, match="`groups` must have"):
            small(autoencoder).fit(digits, groups=groups)


def test_metadata_routing_passes_groups_on(autoencoder, digits, small):
    groups = np.arange(300) // 10
    scaled = StandardScaler().fit_transform(digits)
    by_hand = small(autoencoder).fit(scaled, groups=groups)
    with config_context(enable_metadata_routing=True):
        estimator = small(autoencoder).set_fit_request(groups=True)
        pipeline = make_pipeline(StandardScaler(), estimator)
        codes = pipeline.fit_transform(digits, groups=groups)
        scores = cross_val_score(estimator, scaled, cv=GroupKFold(2), params={"groups": groups})
    np.testing.assert_array_equal(codes, by_hand.transform(scaled))
    by_fold = [
        clone(estimator).fit(scaled[train], groups=groups[train]).score(scaled[test])
        for train, test in GroupKFold(2).split(scaled, groups=groups)
    ]
    np.testing.assert_allclose(scores, by_fold)


def fit_in_child(estimator, X, queue):
    queue.put(estimator.fit_transform(X))


def test_a_forked_process_can_fit(autoencoder, digits, small):
    # The fit in the parent is large enough for two threads, which the child does not inherit.
    wide, threads_before = np.tile(digits, (1, 5)), torch.get_num_threads()
    torch.set_num_threads(2)
    small(autoencoder, max_iter=1, hidden_layer_sizes=(512,), batch_size=256).fit(wide)
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    child = context.Process(
        target=fit_in_child, args=(small(autoencoder, max_iter=2), digits, queue)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns about forks
        child.start()
    child.join(timeout=300)
    torch.set_num_threads(threads_before)
    if child.is_alive():
        child.kill()
        pytest.fail("the child hangs")
    np.testing.assert_array_equal(queue.get(), small(autoencoder, max_iter=2).fit_transform(digits))


@pytest.mark.parametrize(
    "architecture",
    [
        {"tied_weights": True},
        {"image_shape": (8, 8), "hidden_layer_sizes": (4, 6)},
        {"image_shape": (8, 8), "hidden_layer_sizes": (4,), "tied_weights": True},
        {"pretraining": "layerwise"},
        {"image_shape": (8, 8), "hidden_layer_sizes": (4,), "pretraining": "layerwise"},
    ],
    ids=["tied", "images", "tied images", "pretrained", "pretrained images"],
)
def test_every_objective_is_trained_with_every_architecture(
    autoencoder, architecture, digits, small
):
    # A large learning rate allows for few epochs. Tied weights need more.
    is_tied = architecture.get("tied_weights", False)
    steps = {"learning_rate_init": 0.03, "max_iter": 15 if is_tied else 4}
    fitted = small(autoencoder, **steps, **architecture).fit(digits, X_val=digits)
    assert min(fitted.validation_curve_) < fitted.validation_curve_[0]
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.reconstruct(digits), fitted.reconstruct(digits))


def test_the_estimators_under_test_include_all_classes():
    assert {"AutoencoderTransformer", "ContractiveAutoencoder", "DenoisingAutoencoder"} <= {
        cls.__name__ for cls in RECONSTRUCTING
    }
    assert "VAE" in {cls.__name__ for cls in AUTOENCODERS} - {
        cls.__name__ for cls in RECONSTRUCTING
    }
