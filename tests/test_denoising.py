"""The denoising autoencoder: plain at level zero, optimal where that is known, useful on digits."""

import numpy as np
import pytest
import torch
from conftest import quick
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split

from skae import AutoencoderTransformer, DenoisingAutoencoder
from skae._losses.corruption import CORRUPTIONS
from skae._training.loop import Optimizer


@pytest.mark.parametrize("corruption", CORRUPTIONS)
@pytest.mark.parametrize(
    "parameters", [{}, {"loss": "absolute_error"}, {"hidden_layer_sizes": ()}], ids=str
)
def test_denoising_at_level_zero_is_a_plain_autoencoder(digits, corruption, parameters):
    plain = quick(AutoencoderTransformer, **parameters).fit(digits)
    level_zero = {"corruption": corruption, "corruption_level": 0}
    other = quick(DenoisingAutoencoder, **level_zero, **parameters).fit(digits)
    np.testing.assert_array_equal(other.transform(digits), plain.transform(digits))
    assert other.validation_curve_ == plain.validation_curve_


def test_noise_does_not_reorder_the_batches(digits, monkeypatch):
    step, taken = Optimizer.step, []

    def recorded(self, gradient, index):
        taken.append(index.tolist())
        return step(self, gradient, index)

    monkeypatch.setattr(Optimizer, "step", recorded)
    batches = []
    for cls in (AutoencoderTransformer, DenoisingAutoencoder):
        taken.clear()
        quick(cls, max_iter=3).fit(digits)
        batches.append(taken.copy())
    assert batches[0] == batches[1]
    assert len(batches[0]) > 3


@pytest.mark.parametrize(("corruption", "level"), [("gaussian", 0.8), ("masking", 0.4)])
def test_a_linear_denoiser_learns_the_best_linear_filter(corruption, level):
    rng = np.random.RandomState(0)
    factors = rng.normal(size=(4000, 2)) * [2, 1]
    X = factors @ rng.normal(size=(2, 6)) + 0.1 * rng.normal(size=(4000, 6))
    X -= X.mean(axis=0)
    denoiser = DenoisingAutoencoder(
        None,
        hidden_layer_sizes=(),
        init="random",
        corruption=corruption,
        corruption_level=level,
        early_stopping=False,
        random_state=0,
    ).fit(X)
    # In expectation over the noise, E[noisy' noisy]^-1 E[noisy' x].
    S = X.T @ X / len(X)
    if corruption == "gaussian":
        noise = level * np.sqrt(X.var(axis=0).mean())
        best = np.linalg.solve(S + noise**2 * np.eye(6), S)
        noisy = X + noise * rng.normal(size=X.shape)
    else:
        kept = 1 - level
        best = np.linalg.solve(kept**2 * S + kept * level * np.diag(np.diag(S)), kept * S)
        noisy = X * (rng.uniform(size=X.shape) < kept)
    ours, theirs = (np.mean((R - X) ** 2) for R in (denoiser.reconstruct(noisy), noisy @ best))
    assert ours == pytest.approx(theirs, rel=0.02)


def test_noise_is_taken_out_of_unseen_digits():
    clean, other = train_test_split(load_digits().data, random_state=0)
    rng = np.random.RandomState(0)
    noisy = other + rng.normal(scale=4, size=other.shape)
    spread = np.sqrt(clean.var(axis=0).mean())

    def error(reconstruction):
        return np.mean((reconstruction - other) ** 2)

    denoiser = DenoisingAutoencoder(16, corruption_level=4 / spread, random_state=0).fit(clean)
    pcas = [PCA(k).fit(clean) for k in (4, 8, 12, 16, 24, 32)]
    best_pca = min(error(pca.inverse_transform(pca.transform(noisy))) for pca in pcas)
    assert error(denoiser.reconstruct(noisy)) < 0.75 * best_pca < 0.75 * error(noisy)


def shift_up(x, rng):
    return x + 3


def test_epochs_are_judged_on_rows_with_noise(digits):
    parameters = {"corruption": shift_up, "learning_rate_init": 1e-30, "max_iter": 3}
    start = quick(DenoisingAutoencoder, **parameters).fit(digits[:200], X_val=digits[200:])
    pca = PCA(4).fit(digits[:200])
    restored = pca.inverse_transform(pca.transform(digits[200:] + 3))
    expected = ((restored - digits[200:]) ** 2).sum(axis=1).mean()
    # Trained in float32.
    np.testing.assert_allclose(start.validation_curve_, expected, rtol=1e-5)


@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_each_epoch_is_judged_under_the_same_noise(digits, corruption):
    parameters = {"corruption": corruption, "learning_rate_init": 1e-30, "max_iter": 3}
    curve = quick(DenoisingAutoencoder, **parameters).fit(digits).validation_curve_
    np.testing.assert_allclose(curve, curve[0], rtol=1e-9)
    assert len(curve) == 4


@pytest.mark.parametrize("loss", ["squared_error", "log_loss"])
@pytest.mark.parametrize("unit", [1.0, 1 / 16])
def test_the_level_counts_in_spreads_whatever_the_loss(digits, loss, unit):
    X = digits / 16 * (unit if loss == "log_loss" else 1e3 * unit)
    fitted = quick(DenoisingAutoencoder, max_iter=1, loss=loss, corruption_level=0.5).fit(X)
    fitted = fitted.network_
    x = (torch.from_numpy(X) - fitted.shift) / fitted.scale
    noise = fitted._shown(fitted.network, x, torch.Generator().manual_seed(0)) - x
    expected = 0.5 * np.sqrt(X.var(axis=0).mean())
    # 19,200 numbers: their standard deviation is known to half a per cent.
    assert (noise * fitted.scale).std().item() == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("loss", ["squared_error", "log_loss"])
def test_the_users_own_noise_is_in_the_units_of_X(digits, loss):
    X, seen = digits[:, 20:30] / 16, []

    def spy(x, rng):
        assert isinstance(rng, torch.Generator)
        seen.append(16 * x.numpy())
        x[:] = 0  # the user may write into the batch
        return x

    quick(DenoisingAutoencoder, corruption=spy, max_iter=2, loss=loss).fit(X)
    batches, rows = np.concatenate(seen), {tuple(np.round(16 * row)) for row in X}
    np.testing.assert_allclose(batches, np.round(batches), atol=1e-3)
    assert {tuple(row) for row in np.round(batches)} <= rows


def test_the_users_own_noise_may_hide_values(digits):
    def mask_cells(x, rng):
        hidden = torch.rand(x.shape, generator=rng, device=x.device) < 0.3
        return torch.where(hidden, torch.nan, x)

    fitted = quick(DenoisingAutoencoder, corruption=mask_cells, max_iter=200, n_components=16).fit(
        digits
    )
    gaps = np.random.RandomState(0).uniform(size=digits.shape) < 0.3
    with_gaps, pca = np.where(gaps, np.nan, digits), PCA(16).fit(digits)
    by_pca = pca.inverse_transform(pca.transform(np.where(gaps, pca.mean_, digits)))
    ours, theirs = (
        np.mean((R - digits)[gaps] ** 2) for R in (fitted.reconstruct(with_gaps), by_pca)
    )
    assert ours < 0.7 * theirs


@pytest.mark.parametrize(
    ("answer", "got"), [(lambda x, rng: x[:, :3], "3"), (lambda x, rng: 7, "7")]
)
def test_noise_of_another_shape_is_refused(digits, answer, got):
    with pytest.raises(ValueError, match=rf"`corruption` must return a tensor .* got .*{got}"):
        quick(DenoisingAutoencoder, corruption=answer).fit(digits)


@pytest.mark.parametrize("kind", sorted(set(CORRUPTIONS) - {"gaussian"}))
def test_a_probability_above_one_is_refused(digits, kind):
    estimator = quick(DenoisingAutoencoder, corruption=kind, corruption_level=1.5)
    for method in (estimator.fit, estimator.partial_fit):
        with pytest.raises(
            ValueError, match=rf"`corruption_level` must be in \[0, 1\].*{kind}.*1.5"
        ):
            method(digits)
    quick(DenoisingAutoencoder, corruption_level=1.5, max_iter=1).fit(digits)


def test_rows_with_noise_are_within_reach(digits):
    fitted = quick(DenoisingAutoencoder, n_components=30, corruption_level=2.0).fit(digits)
    noisy = digits + 2 * np.sqrt(digits.var(axis=0).mean()) * np.random.RandomState(0).normal(
        size=digits.shape
    )
    farthest = fitted.network_.distance(torch.from_numpy(fitted.transform(noisy))).max()
    assert farthest < 1.2 * fitted.network_.network.reach


def test_salt_and_pepper_take_the_extremes_of_the_training_rows(digits_with_gaps):
    X = digits_with_gaps.copy()
    X[:, 3] = np.nan
    fitted = quick(DenoisingAutoencoder, max_iter=1).fit(X)
    columns, mean = fitted.network_.network.columns, fitted.network_.shift
    observed = np.arange(64) != 3
    for found, extreme in ((columns.low, np.nanmin), (columns.high, np.nanmax)):
        in_X = (found * columns.scale + mean).numpy()
        np.testing.assert_allclose(in_X[observed], extreme(X[:, observed], axis=0), atol=1e-9)
        assert in_X[3] == 0  # never observed


def test_streaming_and_warm_starts_denoise_too(digits):
    streamed = quick(DenoisingAutoencoder, corruption="masking", corruption_level=0.3)
    for _ in range(3):
        streamed.partial_fit(digits)
    assert np.isfinite(streamed.reconstruct(digits)).all()
    warm = quick(DenoisingAutoencoder, warm_start=True).fit(digits)
    first = min(warm.validation_curve_)
    assert warm.fit(digits).validation_curve_[0] == pytest.approx(first, rel=1e-4)


def test_rows_with_noise_enter_the_network_at_order_one(digits):
    fitted = quick(DenoisingAutoencoder, max_iter=1, corruption_level=1.0).fit(digits)
    network, fitted = fitted.network_.network, fitted.network_
    x = (torch.from_numpy(digits.copy()) - fitted.shift) / fitted.scale
    shown = fitted._shown(network, x, torch.Generator().manual_seed(1))
    sizes = ((shown - network.linear.mean) * network.scales.inputs).square().mean(0).sqrt()
    constant = torch.from_numpy(digits.std(axis=0) == 0)
    assert constant.any()
    assert (sizes[constant] == 0).all()
    # 300 rows: the size of a column is known to some 5 %.
    assert (sizes[~constant] - 1).abs().max() < 0.2
