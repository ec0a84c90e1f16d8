"""The plain autoencoder: PCA as its special case, and what it does better."""

import pickle
import warnings

import numpy as np
import pytest
import torch
from conftest import quick
from sklearn.datasets import load_breast_cancer, load_digits, load_iris
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier
from torch import nn

from skae import AutoencoderTransformer
from skae._training.loop import Optimizer


def test_a_linear_autoencoder_is_pca(digits):
    linear = AutoencoderTransformer(5, hidden_layer_sizes=(), random_state=0).fit(digits)
    pca = PCA(5).fit(digits)
    np.testing.assert_allclose(linear.components_, pca.components_, atol=1e-10)
    np.testing.assert_allclose(linear.transform(digits), pca.transform(digits), atol=1e-8)
    np.testing.assert_allclose(linear.explained_variance_, pca.explained_variance_)
    np.testing.assert_allclose(linear.explained_variance_ratio_, pca.explained_variance_ratio_)
    restored = pca.inverse_transform(pca.transform(digits))
    np.testing.assert_allclose(linear.reconstruct(digits), restored, atol=1e-10)
    assert linear.n_iter_ == 0  # nothing to learn


def test_a_whitened_linear_autoencoder_is_whitened_pca(digits):
    linear = AutoencoderTransformer(5, hidden_layer_sizes=(), whiten=True).fit(digits)
    pca = PCA(5, whiten=True).fit(digits)
    np.testing.assert_allclose(linear.transform(digits), pca.transform(digits), atol=1e-8)
    np.testing.assert_allclose(linear.components_, pca.components_, atol=1e-10)


def test_a_linear_autoencoder_learns_the_principal_subspace_from_a_random_start():
    # Baldi and Hornik (1989): the only minimum. Three strong directions and seven weak ones.
    X = np.random.RandomState(0).normal(size=(2000, 10)) * ([4, 3, 2] + 7 * [0.5])
    linear = AutoencoderTransformer(
        3, hidden_layer_sizes=(), init="random", early_stopping=False, random_state=0
    ).fit(X)
    pca = PCA(3).fit(X)
    assert linear.score(X) == pytest.approx(pca.explained_variance_ratio_.sum(), abs=1e-3)
    cosines = np.linalg.svd(np.linalg.qr(linear.components_.T)[0].T @ pca.components_.T)[1]
    assert cosines.min() > 0.99


def test_before_training_the_network_is_pca(digits):
    # A learning rate too small to change a float32 leaves epoch 0 in place.
    start = quick(AutoencoderTransformer, learning_rate_init=1e-30, max_iter=1).fit(digits)
    pca = PCA(4).fit(digits)
    assert start.best_iter_ == 0
    restored = pca.inverse_transform(pca.transform(digits))
    np.testing.assert_allclose(start.reconstruct(digits), restored, atol=1e-10)
    np.testing.assert_allclose(start.transform(digits), pca.transform(digits), atol=1e-8)


# Two columns of the raw breast cancer set drown the others.
@pytest.mark.filterwarnings("ignore:.* of the variance, and the others are hardly:UserWarning")
@pytest.mark.parametrize("load", [load_iris, load_breast_cancer, load_digits])
@pytest.mark.parametrize("seed", [0, 1])
def test_never_worse_than_pca_on_the_training_rows(load, seed):
    X = load().data[:400]
    fitted = AutoencoderTransformer(2, max_iter=60, random_state=seed).fit(X)
    expected = PCA(2).fit(X).explained_variance_ratio_.sum()
    assert fitted.pca_score_ == pytest.approx(expected)
    assert fitted.score(X) >= expected - 1e-9


def test_noise_without_structure_stays_at_pca():
    X = np.random.RandomState(0).normal(size=(300, 20))
    fitted = AutoencoderTransformer(2, max_iter=60, random_state=0).fit(X)
    assert fitted.best_iter_ == 0
    assert fitted.score(X) == pytest.approx(fitted.pca_score_)


def test_one_number_describes_a_curve(curve):
    fitted = AutoencoderTransformer(1, random_state=0).fit(curve)
    # The noise alone, 0.02 in each of two columns, leaves about 2 * 0.02^2 = 0.0008.
    assert -fitted.score_samples(curve).mean() < 0.003
    assert fitted.pca_score_ < 0.8 < 0.99 < fitted.score(curve)


def test_unseen_digits_are_restored_better_and_keep_their_neighbours():
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)

    def accuracy(reducer):
        neighbours = KNeighborsClassifier().fit(reducer.transform(X_train), y_train)
        return neighbours.score(reducer.transform(X_test), y_test)

    fitted = AutoencoderTransformer(2, random_state=0).fit(X_train)
    pca = PCA(2).fit(X_train)
    explained = (
        1
        - ((pca.inverse_transform(pca.transform(X_test)) - X_test) ** 2).sum()
        / ((X_test - X_train.mean(axis=0)) ** 2).sum()
    )
    assert fitted.score(X_test) > explained + 0.1
    assert accuracy(fitted) > accuracy(pca) + 0.1


def test_codes_are_centred_uncorrelated_and_in_order(digits):
    fitted = quick(AutoencoderTransformer, max_iter=200).fit(digits)
    assert fitted.best_iter_ > 0  # else this is only PCA
    codes = fitted.transform(digits)
    np.testing.assert_allclose(codes.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(
        np.cov(codes.T), np.diag(fitted.explained_variance_), atol=1e-9 * codes.var()
    )
    assert (np.diff(fitted.explained_variance_) < 0).all()


def test_the_explained_shares_add_up_to_the_score(digits):
    fitted = quick(AutoencoderTransformer, max_iter=200).fit(digits)
    assert fitted.explained_variance_ratio_.sum() == pytest.approx(fitted.score(digits))
    total = digits.var(axis=0, ddof=1).sum()
    np.testing.assert_allclose(fitted.explained_variance_, fitted.explained_variance_ratio_ * total)


def test_score_is_the_share_of_variance_explained(digits):
    fitted = quick(AutoencoderTransformer).fit(digits[:200])
    X = digits[200:]
    errors = ((X - fitted.reconstruct(X)) ** 2).sum(axis=1)
    np.testing.assert_allclose(fitted.score_samples(X), -errors)
    variation = ((X - digits[:200].mean(axis=0)) ** 2).sum()
    assert fitted.score(X) == pytest.approx(1 - errors.sum() / variation)


def test_components_are_the_decoders_derivative_at_the_mean(digits):
    fitted = quick(AutoencoderTransformer, max_iter=200).fit(digits)
    steps = np.r_[np.eye(4), -np.eye(4)] * 1e-4
    up, down = np.split(fitted.inverse_transform(steps), 2)
    np.testing.assert_allclose(fitted.components_, (up - down) / 2e-4, atol=1e-6)


def test_no_training_row_is_beyond_reach_and_far_codes_are_decoded_linearly(digits):
    fitted = quick(AutoencoderTransformer, max_iter=200).fit(digits)
    assert fitted.best_iter_ > 0
    codes = fitted.transform(digits)
    near, far = (fitted.inverse_transform(factor * codes[:1]) for factor in (1, 100))
    farther = fitted.inverse_transform(199 * codes[:1])
    linear = far + (farther - far) / 99 * -99  # back along the line to the codes themselves
    assert np.abs(linear - near).max() > 0.1  # where the network does something else
    farthest = fitted.inverse_transform(298 * codes[:1])
    np.testing.assert_allclose(farthest - farther, farther - far, atol=1e-9)
    distance = fitted.network_.distance(torch.from_numpy(codes)).max()
    torch.testing.assert_close(distance, fitted.network_.network.reach)


def test_whitening_changes_the_codes_and_no_reconstruction(digits):
    plain, white = (quick(AutoencoderTransformer, whiten=w).fit(digits) for w in (False, True))
    np.testing.assert_allclose(white.transform(digits).var(axis=0, ddof=1), 1)
    np.testing.assert_allclose(white.reconstruct(digits), plain.reconstruct(digits))
    np.testing.assert_allclose(white.components_, plain.components_)
    np.testing.assert_allclose(white.explained_variance_, plain.explained_variance_)


def test_a_share_of_variance_gives_the_smallest_size_that_reaches_it(digits, capsys):
    fitted = quick(AutoencoderTransformer, n_components=0.8, max_iter=60, verbose=1).fit(digits)
    size = fitted.n_components_
    assert size <= PCA(0.8).fit(digits).n_components_
    assert fitted.score(digits) >= 0.8
    by_number = quick(AutoencoderTransformer, n_components=size, max_iter=60).fit(digits)
    np.testing.assert_array_equal(by_number.transform(digits), fitted.transform(digits))
    smaller = quick(AutoencoderTransformer, n_components=size - 1, max_iter=60).fit(digits)
    assert smaller.score(digits) < 0.8
    assert f"n_components={size}: score 0." in capsys.readouterr().out


def test_a_share_may_be_any_real_number(digits):
    share = np.float32(0.5)
    fitted = quick(AutoencoderTransformer, n_components=share, max_iter=5).fit(digits)
    assert (
        fitted.n_components_
        == quick(AutoencoderTransformer, n_components=0.5, max_iter=5).fit(digits).n_components_
    )


def test_no_size_means_all_of_them(digits):
    fitted = AutoencoderTransformer(None).fit(digits[:40])
    assert fitted.n_components_ == 40
    assert fitted.score(digits[:40]) == pytest.approx(1)


def test_a_fit_begins_with_pca_on_its_validation_curve(digits):
    fitted = quick(AutoencoderTransformer).fit(digits[:200], X_val=digits[200:])
    pca = PCA(4).fit(digits[:200])
    errors = (digits[200:] - pca.inverse_transform(pca.transform(digits[200:]))) ** 2
    # Trained in float32.
    assert fitted.validation_curve_[0] == pytest.approx(errors.sum(axis=1).mean(), rel=1e-5)
    assert len(fitted.validation_curve_) == fitted.n_iter_ + 1 == len(fitted.loss_curve_) + 1


def test_the_kept_epoch_is_the_one_with_the_lowest_held_out_error(digits):
    fitted = quick(AutoencoderTransformer, max_iter=100, learning_rate_init=0.05).fit(
        digits[:200], X_val=digits[200:]
    )
    assert 0 < fitted.best_iter_ == np.argmin(fitted.validation_curve_)
    kept = -fitted.score_samples(digits[200:]).mean()
    assert kept == pytest.approx(min(fitted.validation_curve_), rel=1e-4)


def test_without_early_stopping_the_training_rows_judge(digits):
    fitted = quick(AutoencoderTransformer, early_stopping=False).fit(digits)
    error = -fitted.score_samples(digits).mean()
    assert error == pytest.approx(min(fitted.validation_curve_), rel=1e-4)


def test_patience_ends_a_training_without_progress():
    X = np.random.RandomState(0).normal(size=(200, 10))
    fitted = quick(AutoencoderTransformer, max_iter=500, n_iter_no_change=5, tol=0.5).fit(X)
    assert fitted.n_iter_ == 5


@pytest.mark.parametrize("init", ["pca", "random"])
def test_what_is_worked_out_once_for_few_rows_is_what_a_batch_would_have(
    digits_with_gaps, monkeypatch, init
):
    def fitted():
        return quick(AutoencoderTransformer, max_iter=5, init=init).fit(digits_with_gaps)

    once = fitted()
    monkeypatch.setattr("skae._training.fit.KEPT_ENTRIES", 0)
    each_time = fitted()
    np.testing.assert_allclose(once.loss_curve_, each_time.loss_curve_, rtol=1e-4)
    np.testing.assert_allclose(once.validation_curve_, each_time.validation_curve_, rtol=1e-4)


@pytest.mark.parametrize("loss", ["absolute_error", "log_loss", "poisson"])
def test_other_losses_beat_pca_in_their_own_terms(digits, loss):
    X = digits / 16 if loss == "log_loss" else digits
    fitted = quick(AutoencoderTransformer, loss=loss, max_iter=200).fit(X)
    assert fitted.score(X) > fitted.pca_score_ + 0.02
    if loss != "absolute_error":
        assert fitted.reconstruct(X).min() >= 0
    assert fitted.explained_variance_ratio_.sum() == pytest.approx(fitted.score(X))


def test_absolute_error_forgives_outliers():
    # A line, and 5 % of the second column thrown far off: the median line stays.
    rng = np.random.RandomState(0)
    t = rng.normal(size=1000)
    X = np.c_[t, t] + 0.01 * rng.normal(size=(1000, 2))
    X[:50, 1] += 10
    error = {
        loss: np.median(
            np.abs(X - AutoencoderTransformer(1, loss=loss, random_state=0).fit(X).reconstruct(X))
        )
        for loss in ("squared_error", "absolute_error")
    }
    assert error["absolute_error"] < error["squared_error"]


@pytest.mark.parametrize(
    ("loss", "shift", "message"),
    [("log_loss", 0, r"needs X in \[0, 1\], got values from 0 to 16"), ("poisson", -3, "X >= 0")],
)
def test_data_outside_the_domain_of_a_loss_are_refused(digits, loss, shift, message):
    with pytest.raises(ValueError, match=message):
        quick(AutoencoderTransformer, loss=loss).fit(digits + shift)


def test_weight_penalties_shrink_the_weights(digits):
    def size(**penalty):
        fitted = quick(AutoencoderTransformer, init="random", max_iter=60, **penalty).fit(digits)
        return sum(p.abs().sum().item() for p in fitted.network_.parameters() if p.ndim > 1)

    assert size(alpha=0.01) < size()
    assert size(alpha=0.01, l1_ratio=1.0) < size()


@pytest.mark.parametrize(
    "parameters", [{"solver": "sgd"}, {"precision": "bfloat16"}, {"activation": "tanh"}]
)
def test_other_ways_to_train_also_beat_pca(digits, parameters):
    fitted = quick(AutoencoderTransformer, max_iter=200, **parameters).fit(digits)
    assert fitted.score(digits) > fitted.pca_score_


@pytest.mark.parametrize("loss", ["absolute_error", "log_loss", "poisson"])
def test_low_precision_learns_as_well_with_each_loss(digits, loss):
    full, low = (
        quick(AutoencoderTransformer, max_iter=60, loss=loss, precision=precision)
        .fit(digits / 16)
        .score(digits / 16)
        for precision in ("float32", "bfloat16")
    )
    assert 0 < abs(low - full) < 0.01


def test_low_precision_learns_as_well_and_small_steps_are_not_lost(digits):
    # A weight in bfloat16 cannot tell a step of 1e-4 of its size, as those of the end are.
    full, low = (
        quick(AutoencoderTransformer, max_iter=150, precision=precision).fit(digits)
        for precision in ("float32", "bfloat16")
    )
    assert 0 < abs(low.score(digits) - full.score(digits)) < 0.01
    assert low.transform(digits).dtype == np.float64
    assert {p.dtype for p in low.network_.parameters()} == {torch.float64}
    np.testing.assert_allclose(low.transform(digits[:5]), low.transform(digits)[:5], atol=1e-12)


@pytest.mark.parametrize("has_instructions", [False, True])
def test_large_networks_learn_in_low_precision_where_it_is_quicker(
    digits, monkeypatch, has_instructions
):
    monkeypatch.setattr("skae._training.fit.multiplies_bfloat16", lambda: has_instructions)
    monkeypatch.setattr("skae._training.fit.BFLOAT16_MIN_FLOPS", 6 * 1000 * 33)

    def codes(hidden, precision):
        parameters = {"hidden_layer_sizes": hidden, "precision": precision, "max_iter": 20}
        return quick(AutoencoderTransformer, **parameters).fit_transform(digits)

    small, large = (8,), (64,)
    assert np.array_equal(codes(small, "auto"), codes(small, "float32"))
    expected = "bfloat16" if has_instructions else "float32"
    assert np.array_equal(codes(large, "auto"), codes(large, expected))
    assert not np.array_equal(codes(large, "float32"), codes(large, "bfloat16"))


def own_network(n_features, n_components):
    """A user's pair, with batch statistics and dropout, to be switched off at inference."""
    encoder = nn.Sequential(
        nn.Linear(n_features, 50),
        nn.BatchNorm1d(50),
        nn.ReLU(),
        nn.Dropout(0.1),
        nn.Linear(50, n_components),
    )
    decoder = nn.Sequential(nn.Linear(n_components, 50), nn.ReLU(), nn.Linear(50, n_features))
    return encoder, decoder


def test_tied_weights_are_fewer_and_still_beat_pca(digits):
    def n_parameters(estimator):
        return sum(p.numel() for p in estimator.network_.parameters())

    tied, free = (
        quick(AutoencoderTransformer, max_iter=60, tied_weights=tied).fit(digits)
        for tied in (True, False)
    )
    assert n_parameters(tied) < 0.6 * n_parameters(free)
    assert tied.score(digits) > tied.pca_score_ + 0.01
    again = pickle.loads(pickle.dumps(tied))
    np.testing.assert_array_equal(again.reconstruct(digits), tied.reconstruct(digits))
    assert n_parameters(again) == n_parameters(tied)
    again.set_params(warm_start=True).fit(digits)
    encoder, decoder = again.network_.network.encoder, again.network_.network.decoder
    assert decoder[1]._other[0] is encoder[3]


def test_tied_weights_and_a_network_of_the_users_are_refused(digits):
    estimator = quick(AutoencoderTransformer, tied_weights=True, network=lambda p, k: None)
    with pytest.raises(ValueError, match="`tied_weights` must be False with a `network`"):
        estimator.fit(digits)


def test_the_users_own_network_is_trained_beside_pca(digits):
    random_before = torch.get_rng_state()
    fitted = quick(AutoencoderTransformer, network=own_network, max_iter=200).fit(digits)
    assert torch.equal(torch.get_rng_state(), random_before)
    assert fitted.score(digits) > fitted.pca_score_
    with torch.random.fork_rng():
        torch.manual_seed(7)
        again = quick(AutoencoderTransformer, network=own_network, max_iter=200).fit(digits)
    np.testing.assert_array_equal(again.transform(digits), fitted.transform(digits))


@pytest.mark.parametrize(
    ("network", "error", "message"),
    [
        (lambda p, k: 3, TypeError, "must return two torch modules"),
        (
            lambda p, k: (nn.Linear(p, k + 1), nn.Linear(k, p)),
            ValueError,
            r"encoder must take \(n, 64\)",
        ),
        (
            lambda p, k: (nn.Linear(p, k), nn.Linear(p, k)),
            ValueError,
            r"decoder must take \(n, 4\)",
        ),
    ],
)
def test_a_network_of_the_wrong_shape_is_refused(digits, network, error, message):
    with pytest.raises(error, match=message):
        quick(AutoencoderTransformer, network=network).fit(digits)


def test_a_share_cannot_be_searched_in_batches(digits):
    with pytest.raises(
        ValueError, match="`n_components` must be an integer or None in partial_fit"
    ):
        AutoencoderTransformer(0.9).partial_fit(digits)


def test_batches_add_up_to_a_fit(digits):
    streamed = quick(AutoencoderTransformer)
    for _ in range(60):
        for batch in np.split(digits, 3):
            streamed.partial_fit(batch)
    assert streamed.n_samples_seen_ == 60 * 300
    assert (
        streamed.score(digits) > quick(AutoencoderTransformer, max_iter=60).fit(digits).pca_score_
    )
    # The first batch fixed the mean and the linear path.
    np.testing.assert_allclose(streamed.mean_, digits[:100].mean(axis=0))
    np.testing.assert_allclose(streamed.components_.shape, (4, 64))


def test_a_batch_of_one_row_is_enough_later(digits):
    streamed = quick(AutoencoderTransformer).partial_fit(digits).partial_fit(digits[:1])
    assert streamed.n_samples_seen_ == 301
    assert np.isfinite(streamed.transform(digits)).all()


def test_a_first_batch_must_hold_the_components(digits):
    with pytest.raises(ValueError, match=r"`n_components` must be at most .* = 3"):
        quick(AutoencoderTransformer).partial_fit(digits[:3])


def test_streaming_survives_a_pickle(digits):
    import pickle

    streamed = quick(AutoencoderTransformer).partial_fit(digits)
    again = pickle.loads(pickle.dumps(streamed)).partial_fit(digits)
    assert again.n_samples_seen_ == 600


def test_a_warm_start_goes_on_from_where_it_was(digits):
    estimator = quick(AutoencoderTransformer, max_iter=60, warm_start=True).fit(digits)
    first = estimator.validation_curve_
    codes = estimator.transform(digits)
    estimator.fit(digits)
    # Epoch 0 of the second fit is the best of the first: the same rows are held out.
    assert estimator.validation_curve_[0] == pytest.approx(min(first), rel=1e-4)
    assert min(estimator.validation_curve_) <= min(first)
    assert not np.array_equal(estimator.transform(digits), codes)


def test_a_warm_start_is_compared_with_pca_of_its_own_rows(digits):
    estimator = quick(AutoencoderTransformer, max_iter=5, warm_start=True).fit(digits[:150])
    estimator.fit(digits[150:])
    expected = PCA(4).fit(digits[150:]).explained_variance_ratio_.sum()
    assert estimator.pca_score_ == pytest.approx(expected)


def test_a_warm_start_keeps_its_size(digits):
    estimator = quick(AutoencoderTransformer, warm_start=True).fit(digits)
    with pytest.raises(ValueError, match="`n_components` must stay 4"):
        estimator.set_params(n_components=3).fit(digits)
    for same in (4, None, 0.9):
        assert estimator.set_params(n_components=same).fit(digits).n_components_ == 4


def test_a_huge_learning_rate_falls_back_to_pca_with_a_warning(digits):
    with pytest.warns(ConvergenceWarning, match="learning_rate_init"):
        fitted = quick(AutoencoderTransformer, learning_rate_init=1e30).fit(digits)
    assert fitted.score(digits) == pytest.approx(fitted.pca_score_)


def test_a_huge_learning_rate_from_a_random_start_is_an_error(digits):
    estimator = quick(AutoencoderTransformer, learning_rate_init=1e30, init="random")
    with pytest.raises(ValueError, match="learning_rate_init"):
        estimator.fit(digits)
    assert not hasattr(estimator, "network_")


def interrupt_at(monkeypatch, call):
    """Press Ctrl-C when a step of training is taken for the given time."""
    step, calls = Optimizer.step, []

    def interrupted(self, gradient, index):
        calls.append(None)
        if len(calls) == call:
            raise KeyboardInterrupt
        return step(self, gradient, index)

    monkeypatch.setattr(Optimizer, "step", interrupted)


def fit_interrupted(estimator, X):
    """Fit, and see that the interruption is told of and passed on."""
    with (
        pytest.warns(ConvergenceWarning, match="interrupted"),
        pytest.raises(KeyboardInterrupt),
    ):
        estimator.fit(X)


def test_an_interrupted_training_keeps_its_best_epoch(digits, monkeypatch):
    interrupt_at(monkeypatch, 500)
    estimator = quick(AutoencoderTransformer, max_iter=200)
    fit_interrupted(estimator, digits)
    assert 0 < estimator.best_iter_ <= estimator.n_iter_ < 200
    assert estimator.score(digits) > estimator.pca_score_
    assert estimator.explained_variance_ratio_.sum() == pytest.approx(estimator.score(digits))


def test_an_interruption_before_training_leaves_the_previous_fit(digits, monkeypatch):
    estimator = quick(AutoencoderTransformer).fit(digits)
    codes = estimator.transform(digits)

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("skae._autoencoders.base.principal_components", interrupted)
    with pytest.raises(KeyboardInterrupt):
        estimator.fit(digits[:, :10])
    np.testing.assert_array_equal(estimator.transform(digits), codes)


def test_an_interrupted_search_for_a_size_stops(digits, monkeypatch):
    interrupt_at(monkeypatch, 60)
    estimator = quick(AutoencoderTransformer, n_components=0.8)
    fit_interrupted(estimator, digits)
    assert estimator.transform(digits).shape == (300, estimator.n_components_)


def test_verbose_tells_each_epoch(digits, capsys):
    quick(AutoencoderTransformer, max_iter=2, verbose=1).fit(digits)
    lines = capsys.readouterr().out.splitlines()
    epochs = [line for line in lines if line.startswith("epoch")]
    assert [line.split(":")[0] for line in epochs] == ["epoch 1 of 2", "epoch 2 of 2"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        quick(AutoencoderTransformer, max_iter=2).fit(digits)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("device", ["banana", "cuda:99"])
def test_an_absent_device_is_refused(digits, device):
    with pytest.raises(ValueError, match="`device` must be 'auto' or a torch device present here"):
        quick(AutoencoderTransformer, device=device).fit(digits)
