"""Fits: epochs, precision, interruptions, divergence, warm starts, batches, search for a size."""

import pickle

import numpy as np
import pytest
import torch
from fitting import make_data
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning

from skae import AutoencoderTransformer
from skae._data.device import BFLOAT16_MIN_FLOPS
from skae._training.acceptance import Acceptance
from skae._training.fit import _held_out_errors, training_copy
from skae._training.initialization import flops_per_row
from skae._training.loop import Optimizer


def test_a_share_of_variance_selects_the_fewest_components_that_explain_it(digits, capsys, small):
    fitted = small(AutoencoderTransformer, n_components=0.8, max_iter=20, verbose=1).fit(digits)
    size = fitted.n_components_
    assert size <= PCA(0.8).fit(digits).n_components_
    assert fitted.score(digits) >= 0.8
    by_number = small(AutoencoderTransformer, n_components=size, max_iter=20).fit(digits)
    np.testing.assert_allclose(by_number.transform(digits), fitted.transform(digits), rtol=1e-9)
    smaller = small(AutoencoderTransformer, n_components=size - 1, max_iter=20).fit(digits)
    assert smaller.score(digits) < 0.8
    assert f"n_components={size}: score 0." in capsys.readouterr().out


def test_each_group_of_held_out_rows_has_one_error(digits, small, global_random_seed):
    # Rows of a group are not independent: the acceptance counts groups, the mean is over rows.
    groups = np.random.RandomState(global_random_seed).randint(30, size=300) ** 2
    estimator = small(AutoencoderTransformer)
    of_rows = held_out_errors(estimator, make_data(estimator, digits))
    assert len(of_rows) == 50
    data = make_data(estimator, digits, groups=groups)
    found = held_out_errors(estimator, data)
    labels = groups[data.held_out]
    assert len(found) == len(set(labels)) > 1
    # One group for each row.
    data.held_out_groups = None
    errors = held_out_errors(estimator, data)
    sums = [errors[torch.from_numpy(labels == label)].sum() for label in set(labels)]
    expected = torch.stack(sums) * len(sums) / len(errors)
    torch.testing.assert_close(found.sort().values, expected.sort().values)
    assert found.mean().item() == pytest.approx(errors.mean().item())


def held_out_errors(estimator, data):
    network = estimator._initialize(data, 4).fitted.network
    return _held_out_errors(training_copy(network, data), data)


class Shrunken(AutoencoderTransformer):
    """An autoencoder of which this share is kept."""

    factor = 1.0

    def _objective(self, data):
        objective = super()._objective(data)
        objective.acceptance = lambda network: Acceptance(0.0, 0.0, (self.factor,))
        return objective


def test_the_network_is_shrunk_by_the_factor_with_the_best_evidence(digits, small):
    def fit_with(factor):
        estimator = small(Shrunken)
        estimator.factor = factor
        return estimator.fit(digits)

    full, half = fit_with(1.0), fit_with(0.5)
    assert half.score(digits) < full.score(digits)
    x = (torch.tensor(digits) - full.network_.shift) / full.network_.scale
    network, shrunk = full.network_.network, half.network_.network
    network.shrink(0.5)
    for decoder in (network, shrunk):  # codes of both have other distances
        decoder.max_train_distance.fill_(torch.inf)
    torch.testing.assert_close(shrunk.encode(x), network.encode(x))
    torch.testing.assert_close(shrunk.decode(network.encode(x)), network.decode(network.encode(x)))
    assert half.loss_curve_ == full.loss_curve_


def test_the_validation_curve_starts_with_the_error_of_pca(digits, small):
    fitted = small(AutoencoderTransformer).fit(digits[:200], X_val=digits[200:])
    pca = PCA(4).fit(digits[:200])
    errors = (digits[200:] - pca.inverse_transform(pca.transform(digits[200:]))) ** 2
    # The network is trained in float32.
    assert fitted.validation_curve_[0] == pytest.approx(errors.sum(axis=1).mean(), rel=1e-5)
    assert len(fitted.validation_curve_) == fitted.n_iter_ + 1 == len(fitted.loss_curve_) + 1


@pytest.mark.parametrize("n_components", [5, 15])
def test_the_baseline_is_the_error_of_pca_for_new_rows(n_components, small, global_random_seed):
    # Many features, of which noise has most of the variance: PCA overfits.
    rng = np.random.RandomState(global_random_seed)
    sizes = 1 + 2 * rng.rand(40)
    X, new = (sizes * rng.normal(size=(n, 40)) for n in (200, 2000))
    fitted = small(AutoencoderTransformer, n_components, max_iter=1, validation_fraction=0.5).fit(X)
    pca = PCA(n_components).fit(X)
    of_known, of_new = (
        ((rows - pca.inverse_transform(pca.transform(rows))) ** 2).sum(axis=1).mean()
        for rows in (X, new)
    )
    assert of_known < 0.95 * of_new
    assert fitted.validation_curve_[0] == pytest.approx(of_new, rel=0.5 * (1 - of_known / of_new))


def test_a_network_that_is_refused_leaves_the_pca_of_all_rows(small, global_random_seed):
    X = np.random.RandomState(global_random_seed).normal(size=(60, 6))
    fitted = small(AutoencoderTransformer, 3, learning_rate_init=1e-9, max_iter=2).fit(X)
    assert fitted.best_iter_ == 0
    pca = PCA(3).fit(X)
    expected = pca.inverse_transform(pca.transform(X))
    np.testing.assert_allclose(fitted.reconstruct(X), expected, atol=1e-6)


def test_the_best_epoch_has_the_lowest_held_out_error(digits, small):
    # Held-out rows whose codes are no farther than those of training rows: the decoder changes
    # farther codes after training.
    X_val = digits[100:200]
    estimator = small(
        AutoencoderTransformer, max_iter=100, learning_rate_init=0.05, transform_max_iter=0
    )
    fitted = estimator.fit(digits[:200], X_val=X_val)
    assert 0 < fitted.best_iter_ == np.argmin(fitted.validation_curve_)
    error = -fitted.score_samples(X_val).mean()
    assert error == pytest.approx(min(fitted.validation_curve_), rel=1e-4)


def test_without_early_stopping_the_training_rows_select_the_epoch(digits, small):
    fitted = small(AutoencoderTransformer, early_stopping=False, transform_max_iter=0).fit(digits)
    error = -fitted.score_samples(digits).mean()
    assert error == pytest.approx(min(fitted.validation_curve_), rel=1e-4)


@pytest.mark.parametrize(("transform_max_iter", "n_stages"), [(0, 1), (2, 2)])
def test_stages_without_progress_stop_after_n_iter_no_change_epochs(
    transform_max_iter, n_stages, small, global_random_seed
):
    X = np.random.RandomState(global_random_seed).normal(size=(200, 10))
    stopping = {"max_iter": 500, "n_iter_no_change": 5, "tol": 1.0}
    fitted = small(AutoencoderTransformer, transform_max_iter=transform_max_iter, **stopping).fit(X)
    assert fitted.n_iter_ == 5 * n_stages


def test_weight_penalties_shrink_the_weights(digits, small):
    def size(**penalty):
        fitted = small(AutoencoderTransformer, init="random", max_iter=10, **penalty).fit(digits)
        return sum(p.abs().sum().item() for p in fitted.network_.parameters() if p.ndim > 1)

    assert size(alpha=0.01) < size()
    assert size(alpha=0.01, l1_ratio=1.0) < size()


@pytest.mark.parametrize("loss", ["absolute_error", "log_loss", "poisson"])
def test_bfloat16_scores_as_float32_with_each_loss(digits, loss, small):
    options = {"max_iter": 20, "hidden_layer_sizes": (20,)}
    full, low = (
        small(AutoencoderTransformer, loss=loss, precision=precision, **options)
        .fit(digits / 16)
        .score(digits / 16)
        for precision in ("float32", "bfloat16")
    )
    assert 0 < abs(low - full) < 0.01


def test_bfloat16_accumulates_small_steps_in_float32(digits, small):
    # A weight in bfloat16 does not change by a step of 1e-4 of its size, as the last ones are.
    full, low = (
        small(AutoencoderTransformer, max_iter=60, precision=precision).fit(digits)
        for precision in ("float32", "bfloat16")
    )
    assert 0 < abs(low.score(digits) - full.score(digits)) < 0.01
    assert low.transform(digits).dtype == np.float64
    assert {p.dtype for p in low.network_.parameters()} == {torch.float64}
    np.testing.assert_allclose(low.transform(digits[:5]), low.transform(digits)[:5], atol=1e-12)


@pytest.mark.parametrize("has_instructions", [False, True])
def test_precision_auto_is_bfloat16_for_large_batches_on_processors_that_support_it(
    digits, monkeypatch, has_instructions, small
):
    monkeypatch.setattr("skae._training.fit.has_bfloat16_instructions", lambda: has_instructions)
    # A batch of 6000 rows is large for this network: with 200 rows the test takes a tenth.
    flops = flops_per_row(small(AutoencoderTransformer, hidden_layer_sizes=(64,)), 64, 4)
    assert 500 * flops < BFLOAT16_MIN_FLOPS < 6000 * flops
    monkeypatch.setattr("skae._training.fit.BFLOAT16_MIN_FLOPS", 100 * flops)

    def codes(batch_size, precision):
        parameters = {"batch_size": batch_size, "precision": precision, "max_iter": 2}
        estimator = small(AutoencoderTransformer, hidden_layer_sizes=(64,), **parameters)
        return estimator.fit_transform(digits)

    assert np.array_equal(codes(50, "auto"), codes(50, "float32"))
    expected = "bfloat16" if has_instructions else "float32"
    assert np.array_equal(codes(200, "auto"), codes(200, expected))
    assert not np.array_equal(codes(200, "float32"), codes(200, "bfloat16"))


def test_partial_fit_learns_from_batches(digits, small):
    streamed = small(AutoencoderTransformer)
    for _ in range(10):
        for batch in np.split(digits, 3):
            streamed.partial_fit(batch)
    assert streamed.n_samples_seen_ == 10 * 300
    assert streamed.score(digits) > small(AutoencoderTransformer, max_iter=1).fit(digits).pca_score_
    # The first batch determines the mean and the linear path.
    np.testing.assert_allclose(streamed.mean_, digits[:100].mean(axis=0))
    np.testing.assert_allclose(streamed.components_.shape, (4, 64))


def test_a_later_batch_may_be_a_single_row(digits, small):
    streamed = small(AutoencoderTransformer).partial_fit(digits).partial_fit(digits[:1])
    assert streamed.n_samples_seen_ == 301
    assert np.isfinite(streamed.transform(digits)).all()


def test_partial_fit_continues_after_a_pickle(digits, small):

    streamed = small(AutoencoderTransformer).partial_fit(digits)
    again = pickle.loads(pickle.dumps(streamed)).partial_fit(digits)
    assert again.n_samples_seen_ == 600


def test_a_warm_start_continues_from_the_best_epoch(digits, small):
    estimator = small(AutoencoderTransformer, max_iter=20, warm_start=True).fit(digits)
    first = estimator.validation_curve_
    codes = estimator.transform(digits)
    estimator.fit(digits)
    # Epoch 0 of the second fit is the best of the first: the same rows are held out.
    assert estimator.validation_curve_[0] == pytest.approx(min(first), rel=1e-4)
    assert min(estimator.validation_curve_) <= min(first)
    assert not np.array_equal(estimator.transform(digits), codes)


def test_pca_score_after_a_warm_start_is_that_of_the_new_rows(digits, small):
    estimator = small(AutoencoderTransformer, max_iter=5, warm_start=True).fit(digits[:150])
    estimator.fit(digits[150:])
    expected = PCA(4).fit(digits[150:]).explained_variance_ratio_.sum()
    assert estimator.pca_score_ == pytest.approx(expected)


def test_a_diverging_fit_falls_back_to_pca_with_a_warning(digits, small):
    with pytest.warns(ConvergenceWarning, match="learning_rate_init"):
        fitted = small(AutoencoderTransformer, learning_rate_init=1e30).fit(digits)
    assert fitted.score(digits) == pytest.approx(fitted.pca_score_)


def test_a_diverging_fit_from_random_weights_is_an_error(digits, small):
    estimator = small(AutoencoderTransformer, learning_rate_init=1e30, init="random")
    with pytest.raises(ValueError, match="learning_rate_init"):
        estimator.fit(digits)
    assert not hasattr(estimator, "network_")


def interrupt_at(monkeypatch, call):
    """Raise KeyboardInterrupt at the optimiser step of this number."""
    step, calls = Optimizer.step, []

    def interrupted(self, gradient, index):
        calls.append(None)
        if len(calls) == call:
            raise KeyboardInterrupt
        return step(self, gradient, index)

    monkeypatch.setattr(Optimizer, "step", interrupted)


def fit_interrupted(estimator, X):
    """Fit; the interruption raises a warning and is passed on."""
    with (
        pytest.warns(ConvergenceWarning, match="interrupted"),
        pytest.raises(KeyboardInterrupt),
    ):
        estimator.fit(X)


def test_an_interrupted_fit_keeps_its_best_epoch(digits, monkeypatch, small):
    interrupt_at(monkeypatch, 100)
    estimator = small(AutoencoderTransformer, max_iter=200)
    fit_interrupted(estimator, digits)
    assert 0 < estimator.best_iter_ <= estimator.n_iter_ < 200
    assert estimator.score(digits) > estimator.pca_score_
    assert estimator.explained_variance_ratio_.sum() == pytest.approx(estimator.score(digits))


class InterruptedWithFewColumns(AutoencoderTransformer):
    """An autoencoder that is interrupted before training if `X` has few columns."""

    def _objective(self, data):
        if data.X.shape[1] < 20:
            raise KeyboardInterrupt
        return super()._objective(data)


def test_an_interruption_before_training_keeps_the_previous_fit(digits, small):
    estimator = small(InterruptedWithFewColumns).fit(digits)
    codes = estimator.transform(digits)
    with pytest.raises(KeyboardInterrupt):
        estimator.fit(digits[:, :10])
    np.testing.assert_array_equal(estimator.transform(digits), codes)


def test_an_interruption_ends_the_search_for_n_components(digits, monkeypatch, small):
    interrupt_at(monkeypatch, 60)
    estimator = small(AutoencoderTransformer, n_components=0.8)
    fit_interrupted(estimator, digits)
    assert estimator.transform(digits).shape == (300, estimator.n_components_)
