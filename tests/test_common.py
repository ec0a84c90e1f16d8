"""What every estimator of the package owes to scikit-learn and to its user."""

import copy
import multiprocessing
import pickle
import random
import re
import threading
import warnings
from dataclasses import MISSING, fields
from functools import partial

import conftest
import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from conftest import AUTOENCODERS, ESTIMATORS, IS_NEWEST, NOT_YIELDED, RECONSTRUCTING, brief
from scipy import sparse
from sklearn import config_context
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import parametrize_with_checks

# Enough for every class to leave PCA, as `learned` makes sure; these tests make hundreds of fits.
quick = partial(conftest.quick, max_iter=10)


@pytest.fixture(scope="module")
def learned(autoencoder, digits):
    """What each class learns of the digits; for reading, through `fitted`."""
    learned = quick(autoencoder).fit(digits)
    assert learned.best_iter_ > 0  # else all that is looked at is PCA
    return learned


@pytest.fixture
def fitted(learned):
    """The same for each test, whatever others do with it."""
    return copy.deepcopy(learned)


@parametrize_with_checks([brief(cls) for cls in ESTIMATORS])
def test_sklearn_contract(estimator, check):
    check(estimator)


@pytest.mark.parametrize(
    "check",
    [*NOT_YIELDED, estimator_checks.check_estimators_partial_fit_n_features],
    ids=lambda check: check.__name__,
)
@pytest.mark.filterwarnings("ignore:X .*feature names:UserWarning")
def test_the_rest_of_the_sklearn_contract(autoencoder, check):
    check(autoencoder.__name__, autoencoder(max_iter=5))


def test_every_parameter_is_documented_with_its_default(autoencoder):
    for declared in fields(autoencoder):
        entry = re.search(rf"^    {declared.name} : (.+)$", autoencoder.__doc__, re.MULTILINE)
        assert entry, f"{declared.name} is not documented"
        assert declared.default is not MISSING
        stated = re.search(r"default=(.+)$", entry[1])[1]
        assert eval(stated) == declared.default, declared.name


def test_every_fitted_attribute_is_documented(autoencoder, digits):
    fitted = quick(autoencoder).fit(pd.DataFrame(digits).rename(columns=str))
    for name in vars(fitted):
        if name.endswith("_") and not name.startswith("_"):
            assert re.search(rf"^    {name} : ", autoencoder.__doc__, re.MULTILINE), name


@pytest.mark.parametrize("bad", [object(), -1, "no such thing", [0], float("nan")])
def test_a_bad_parameter_is_refused_by_name(autoencoder, digits, bad):
    for declared in fields(autoencoder):
        rules = declared.metadata["allowed"]
        if any(rule.has_type(bad) and rule.accepts(bad) for rule in rules):
            continue
        before = autoencoder()
        refused = before.set_params(**{declared.name: bad})
        with pytest.raises((ValueError, TypeError), match=f"`{declared.name}` must be .* got"):
            refused.fit(digits)
        assert not hasattr(refused, "n_features_in_")


def test_init_checks_nothing_and_clone_keeps_everything(autoencoder):
    odd = autoencoder("seven", alpha=-1, device=3)
    assert clone(odd).get_params() == odd.get_params()


def test_two_fits_of_one_seed_agree_to_the_bit(fitted, digits):
    codes = fitted.transform(digits)
    np.testing.assert_array_equal(clone(fitted).fit(digits).transform(digits), codes)
    np.testing.assert_array_equal(fitted.fit(digits).transform(digits), codes)


def test_a_random_state_instance_advances(autoencoder, digits):
    rng = np.random.RandomState(0)
    first, second = (
        quick(autoencoder, random_state=rng, init="random", max_iter=3).fit(digits)
        for _ in range(2)
    )
    assert not np.array_equal(first.transform(digits), second.transform(digits))


def test_no_seed_follows_the_global_seed_of_numpy(autoencoder, digits):
    codes = []
    for _ in range(2):
        np.random.seed(3)  # noqa: NPY002
        estimator = quick(autoencoder, random_state=None, init="random", max_iter=3)
        codes.append(estimator.fit_transform(digits))
    np.testing.assert_array_equal(*codes)


def test_global_generators_and_threads_are_left_alone(autoencoder, digits):
    def state():
        return (
            random.getstate(),
            pickle.dumps(np.random.get_state()),  # noqa: NPY002
            torch.get_rng_state().tolist(),
            torch.get_num_threads(),
            torch.is_grad_enabled(),
        )

    before = state()
    quick(autoencoder).fit(digits).score(digits)
    assert state() == before


def test_fits_in_threads_agree_with_fits_in_turn(autoencoder, digits):
    threads_before = torch.get_num_threads()

    def codes(seed):
        estimator = quick(autoencoder, random_state=seed, init="random", max_iter=3)
        return estimator.fit_transform(digits)

    alone = [codes(seed) for seed in range(3)]
    together = joblib.Parallel(n_jobs=3, backend="threading")(
        joblib.delayed(codes)(seed) for seed in range(3)
    )
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one, other)
    assert torch.get_num_threads() == threads_before


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_the_callers_torch_mode_does_not_matter(fitted, digits, mode):
    expected = fitted.transform(digits)
    with mode():
        np.testing.assert_array_equal(fitted.fit_transform(digits), expected)


@pytest.mark.parametrize("protocol", [2, 5])
def test_a_pickle_gives_the_same_answers(fitted, digits, protocol):
    again = pickle.loads(pickle.dumps(fitted, protocol))
    for method in ("transform", "reconstruct", "score_samples"):
        np.testing.assert_array_equal(
            getattr(again, method)(digits), getattr(fitted, method)(digits)
        )
    assert joblib.hash(again) == joblib.hash(fitted)


def test_a_memory_mapped_dump_gives_the_same_answers(fitted, digits, tmp_path):
    joblib.dump(fitted, tmp_path / "model")
    again = joblib.load(tmp_path / "model", mmap_mode="r")
    np.testing.assert_array_equal(again.transform(digits), fitted.transform(digits))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_pickles_hold_little_but_the_parameters(autoencoder, dtype):
    X = np.random.RandomState(0).normal(size=(3000, 200)).astype(dtype)
    small, large = (
        quick(autoencoder, max_iter=1, hidden_layer_sizes=(128,)).fit(X[:n]) for n in (300, 3000)
    )
    sizes = [len(pickle.dumps(fitted)) for fitted in (small, large)]
    parameters = sum(p.numel() * p.itemsize for p in large.network_.parameters())
    assert sizes[1] <= 3 * parameters + 64_000
    assert abs(sizes[1] - sizes[0]) < 1000  # nothing grows with the rows
    streamed = quick(autoencoder, hidden_layer_sizes=(128,)).partial_fit(X)
    assert abs(len(pickle.dumps(streamed)) - sizes[1]) < 1000  # nor is the optimiser kept


def test_equal_fits_have_equal_hashes_and_deep_copies_work(fitted, digits):
    again = clone(fitted).fit(digits)
    assert joblib.hash(fitted) == joblib.hash(again) == joblib.hash(copy.deepcopy(again))


def test_a_refused_fit_leaves_no_trace(autoencoder, digits):
    estimator = quick(autoencoder, image_shape=(3, 3))
    with pytest.raises(ValueError, match="`image_shape` must be of n_features"):
        estimator.fit(digits)
    with pytest.raises(NotFittedError):
        estimator.transform(digits)
    assert set(vars(estimator)) == set(estimator.get_params())


def test_a_refused_second_fit_leaves_the_first(fitted, digits):
    codes = fitted.transform(digits)
    with pytest.raises(ValueError, match="infinity"):
        fitted.fit(np.full((20, 3), np.inf))
    np.testing.assert_array_equal(fitted.transform(digits), codes)


def test_inference_changes_no_attribute(fitted, digits):
    before = joblib.hash(fitted), set(vars(fitted))
    codes = fitted.transform(digits)
    fitted.inverse_transform(codes)
    fitted.score_samples(digits)
    fitted.transform(digits.astype(np.float32))
    assert (joblib.hash(fitted), set(vars(fitted))) == before


def test_eight_threads_may_transform_at_once(fitted, digits):
    expected = fitted.transform(digits)
    answers = [None] * 8

    def work(i):
        answers[i] = fitted.transform(digits)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for answer in answers:
        np.testing.assert_array_equal(answer, expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_dtype_of_X_is_kept(autoencoder, digits, dtype):
    X = digits.astype(dtype)
    fitted = quick(autoencoder).fit(X)
    codes = fitted.transform(X)
    assert codes.dtype == fitted.inverse_transform(codes).dtype == fitted.score_samples(X).dtype
    assert codes.dtype == dtype
    assert next(fitted.network_.parameters()).dtype == getattr(torch, np.dtype(dtype).name)


def test_the_other_precision_gives_the_same_codes(fitted, digits):
    # float32 carries 7 digits, and a handful of layers loses one or two of them.
    np.testing.assert_allclose(
        fitted.transform(digits.astype(np.float32)), fitted.transform(digits), atol=1e-3
    )


@pytest.mark.parametrize(
    "layout",
    [
        np.asfortranarray,
        lambda X: np.ascontiguousarray(X[::-1])[::-1],
        lambda X: X.astype(">f8"),
        lambda X: X.tolist(),
        lambda X: X.astype(object),
        lambda X: X.astype(np.uint8),
    ],
    ids=["fortran", "negative strides", "big-endian", "lists", "objects", "integers"],
)
def test_the_layout_of_X_does_not_matter(fitted, digits, layout):
    expected = fitted.transform(digits)
    X = layout(digits)
    # BLAS may sum in another order.
    np.testing.assert_allclose(fitted.fit(X).transform(X), expected, atol=1e-6)


def test_a_memory_map_is_read_and_not_written(fitted, digits, tmp_path):
    np.save(tmp_path / "X.npy", digits)
    X, expected = np.load(tmp_path / "X.npy", mmap_mode="r"), fitted.transform(digits)
    np.testing.assert_array_equal(fitted.fit_transform(X), expected)
    np.testing.assert_array_equal(np.load(tmp_path / "X.npy"), digits)


@pytest.mark.parametrize("kind", [sparse.csr_matrix, sparse.csr_array, sparse.csc_matrix])
def test_sparse_rows_are_the_same_rows(fitted, digits, kind):
    for method in ("transform", "reconstruct", "score_samples", "score"):
        answer = getattr(fitted, method)(kind(digits))
        np.testing.assert_allclose(answer, getattr(fitted, method)(digits), rtol=1e-12)
    # The same numbers, summed in another order.
    other = clone(fitted).fit(kind(digits))
    np.testing.assert_allclose(other.transform(digits), fitted.transform(digits), atol=1e-6)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frames_go_in_and_come_out(autoencoder, digits, library):
    columns = [f"pixel{i}" for i in range(digits.shape[1])]
    frame = {"pandas": pd, "polars": pl}[library].DataFrame(
        dict(zip(columns, digits.T, strict=True))
    )
    fitted = quick(autoencoder).set_output(transform=library).fit(frame)
    codes = fitted.transform(frame)
    names = [f"{autoencoder.__name__.lower()}{i}" for i in range(4)]
    assert type(codes) is type(frame)
    assert list(codes.columns) == list(fitted.get_feature_names_out()) == names
    if library == "pandas" or IS_NEWEST:  # scikit-learn 1.6 knows no names of this polars
        assert list(fitted.feature_names_in_) == columns
    assert fitted.inverse_transform(codes).shape == digits.shape
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted.score(frame)


def test_renamed_columns_are_refused(autoencoder, digits):
    frame = pd.DataFrame(digits).rename(columns="pixel{}".format)
    fitted = quick(autoencoder).fit(frame)
    with pytest.raises(ValueError, match="feature names should match"):
        fitted.transform(frame[frame.columns[::-1]])


@pytest.mark.parametrize("method", ["transform", "score", "score_samples", "reconstruct"])
def test_another_width_is_refused(fitted, digits, method):
    with pytest.raises(ValueError, match=r"X has 5 features, but .* is expecting 64 features"):
        getattr(fitted, method)(digits[:, :5])


def test_codes_of_another_width_are_refused(fitted, digits):
    with pytest.raises(ValueError, match=r"n_components_ = 4 columns .* got 5"):
        fitted.inverse_transform(digits[:, :5])


def test_methods_before_fit_say_so(autoencoder, digits):
    for method in ("transform", "inverse_transform", "reconstruct", "score", "score_samples"):
        with pytest.raises(NotFittedError):
            getattr(autoencoder(), method)(digits)


def test_one_row_is_refused(autoencoder, digits):
    with pytest.raises(ValueError, match=r"1 sample.* minimum of 2"):
        quick(autoencoder).fit(digits[:1])


@pytest.mark.parametrize("n_rows", [2, 3, 9, 17, 33])
@pytest.mark.filterwarnings(
    "ignore:.* components say nothing:sklearn.exceptions.ConvergenceWarning"
)
def test_few_rows_work(autoencoder, digits, n_rows):
    fitted = quick(autoencoder, n_components=2, batch_size=8).fit(digits[:n_rows])
    assert np.isfinite(fitted.transform(digits)).all()
    if autoencoder in RECONSTRUCTING:
        assert fitted.score(digits[:n_rows]) >= fitted.pca_score_ - 1e-9


def test_one_feature_is_one_component(compressing, digits):
    column = digits[:, [20]]
    with pytest.raises(ValueError, match="n_features = 1"):
        quick(compressing, n_components=2).fit(column)
    assert quick(compressing, n_components=1).fit(column).score(column) == pytest.approx(1)


def test_constant_columns_come_back(autoencoder, digits):
    X = np.c_[digits[:, 20:30], np.full((len(digits), 2), 1e6)]
    fitted = quick(autoencoder).fit(X)
    np.testing.assert_allclose(fitted.reconstruct(X)[:, -2:], 1e6, rtol=1e-9)


def test_constant_data_are_reconstructed(autoencoder):
    X = np.full((20, 3), 7.0)
    fitted = quick(autoencoder, n_components=2).fit(X)
    np.testing.assert_array_equal(fitted.reconstruct(X), X)
    assert fitted.score(X) == 1


@pytest.mark.filterwarnings("ignore:1 of 4 columns .* of the variance:UserWarning")
def test_columns_of_1e12_beside_1e_12_are_finite_and_never_worse(autoencoder):
    X = np.random.RandomState(0).normal(size=(200, 4)) * [1e12, 1.0, 1e-3, 1e-12]
    fitted = quick(autoencoder, n_components=1).fit(X)
    assert np.isfinite(fitted.reconstruct(X)).all()
    assert autoencoder not in RECONSTRUCTING or fitted.score(X) >= fitted.pca_score_ - 1e-9


@pytest.mark.parametrize("factor", [1e-30, 1e30])
def test_units_do_not_matter(reconstructing, digits, factor):
    one, other = quick(reconstructing).fit(digits), quick(reconstructing).fit(digits * factor)
    np.testing.assert_allclose(
        other.transform(digits * factor) / factor, one.transform(digits), atol=0.05
    )


def test_values_too_large_to_square_are_refused(autoencoder, digits):
    with pytest.raises(ValueError, match="too large to square"):
        quick(autoencoder).fit(digits * 1e200)


def test_a_missing_value_is_seen_as_the_mean(fitted, digits):
    missing, filled = digits.copy(), digits.copy()
    missing[:, 10], filled[:, 10] = np.nan, fitted.mean_[10]
    np.testing.assert_allclose(fitted.transform(missing), fitted.transform(filled), atol=1e-9)


def test_a_missing_value_is_not_charged(fitted, digits):
    missing = digits.copy()
    missing[:, 10] = np.nan
    errors = (fitted.reconstruct(missing) - missing) ** 2
    if type(fitted) in RECONSTRUCTING:
        np.testing.assert_allclose(fitted.score_samples(missing), -np.nansum(errors, axis=1))
    variation = np.nansum((missing - fitted.mean_) ** 2)
    assert fitted.score(missing) == pytest.approx(1 - np.nansum(errors) / variation)


def test_learning_with_gaps_beats_pca_on_filled_rows(autoencoder, digits_with_gaps):
    fitted = quick(autoencoder, max_iter=80).fit(digits_with_gaps)
    assert fitted.score(digits_with_gaps) > fitted.pca_score_
    assert np.isfinite(fitted.reconstruct(digits_with_gaps)).all()


def test_rows_and_columns_without_any_value_are_survived(autoencoder, digits_with_gaps):
    X = digits_with_gaps.copy()
    X[:, 3], X[5] = np.nan, np.nan
    assert np.isfinite(quick(autoencoder).fit(X).reconstruct(X)).all()


def test_gaps_in_sparse_rows_are_gaps(autoencoder, digits_with_gaps):
    dense = quick(autoencoder).fit(digits_with_gaps)
    other = quick(autoencoder).fit(sparse.csr_array(digits_with_gaps))
    np.testing.assert_allclose(
        other.transform(digits_with_gaps), dense.transform(digits_with_gaps), atol=1e-6
    )


def test_tuned_in_a_grid_inside_a_pipeline(autoencoder, digits):
    pipeline = make_pipeline(StandardScaler(), quick(autoencoder, max_iter=5))
    name = autoencoder.__name__.lower()
    search = GridSearchCV(pipeline, {f"{name}__n_components": [2, 8]}, cv=2).fit(digits)
    assert search.best_params_ == {f"{name}__n_components": 8}
    assert search.best_estimator_.transform(digits).shape == (300, 8)


def test_a_pipeline_transforms_the_validation_rows_too(autoencoder, digits):
    with config_context(enable_metadata_routing=True):
        estimator = quick(autoencoder).set_fit_request(X_val=True)
        pipeline = Pipeline(
            [("scale", StandardScaler()), ("code", estimator)], transform_input=["X_val"]
        )
        pipeline.fit(digits[:200], X_val=digits[200:])
    scaler = StandardScaler().fit(digits[:200])
    by_hand = quick(autoencoder).fit(
        scaler.transform(digits[:200]), X_val=scaler.transform(digits[200:])
    )
    np.testing.assert_array_equal(
        pipeline.transform(digits), by_hand.transform(scaler.transform(digits))
    )


def _fit_in_child(cls, X, queue):
    queue.put(quick(cls, max_iter=2).fit_transform(X))


def test_a_forked_child_can_fit(autoencoder, digits):
    # Large enough for two threads in the parent, whose threads the child does not have.
    wide, threads_before = np.tile(digits, (1, 5)), torch.get_num_threads()
    torch.set_num_threads(2)
    quick(autoencoder, max_iter=1, hidden_layer_sizes=(512,), batch_size=256).fit(wide)
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    child = context.Process(target=_fit_in_child, args=(autoencoder, digits, queue))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of any fork
        child.start()
    child.join(timeout=60)
    torch.set_num_threads(threads_before)
    if child.is_alive():
        child.kill()
        pytest.fail("the child hangs")
    np.testing.assert_array_equal(queue.get(), quick(autoencoder, max_iter=2).fit_transform(digits))


def test_inference_is_by_row(autoencoder):
    # 5000 rows are two blocks; a row alone, a block and all at once must agree.
    X = np.random.RandomState(0).normal(size=(5000, 30))
    fitted = quick(autoencoder, max_iter=1, hidden_layer_sizes=(64,), init="random").fit(X[:500])
    together = fitted.transform(X)
    alone = np.vstack([fitted.transform(X[[i]]) for i in (0, 4095, 4096, 4999)])
    np.testing.assert_allclose(alone, together[[0, 4095, 4096, 4999]], atol=1e-12)
    np.testing.assert_array_equal(fitted.reconstruct(X), fitted.inverse_transform(together))


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
def test_every_objective_learns_with_every_architecture(autoencoder, architecture, digits):
    # Large steps, and so few of them.
    steps = {"learning_rate_init": 0.03, "max_iter": 15}
    fitted = quick(autoencoder, **steps, **architecture).fit(digits)
    assert fitted.best_iter_ > 0
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.reconstruct(digits), fitted.reconstruct(digits))


def test_there_are_estimators_to_test():
    assert {"AutoencoderTransformer", "ContractiveAutoencoder", "DenoisingAutoencoder"} <= {
        cls.__name__ for cls in RECONSTRUCTING
    }
    assert "VAE" in {cls.__name__ for cls in AUTOENCODERS} - {
        cls.__name__ for cls in RECONSTRUCTING
    }
