"""The denoising autoencoder: special cases, known optima, corruption, denoising of digits."""

import numpy as np
import pytest
import torch
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
def test_denoising_at_level_zero_is_a_plain_autoencoder(digits, corruption, parameters, small):
    same = {"hidden_layer_sizes": (20, 10), "batch_size": 32, "learning_rate_init": 0.01}
    parameters = same | parameters  # the defaults differ
    plain = small(AutoencoderTransformer, transform_max_iter=0, **parameters).fit(digits)
    level_zero = {"corruption": corruption, "corruption_level": 0}
    denoising = small(DenoisingAutoencoder, **level_zero, **parameters).fit(digits)
    np.testing.assert_array_equal(denoising.transform(digits), plain.transform(digits))
    assert denoising.validation_curve_ == plain.validation_curve_


def test_corruption_does_not_change_the_batches(digits, monkeypatch, small):
    step, indices = Optimizer.step, []

    def recorded_step(self, gradient, index):
        indices.append(index.tolist())
        return step(self, gradient, index)

    monkeypatch.setattr(Optimizer, "step", recorded_step)
    batches = []
    for cls in (AutoencoderTransformer, DenoisingAutoencoder):
        indices.clear()
        small(cls, max_iter=3, batch_size=32).fit(digits)
        batches.append(indices.copy())
    assert batches[0] == batches[1]
    assert len(batches[0]) > 3


@pytest.mark.parametrize(("corruption", "level"), [("gaussian", 0.8), ("masking", 0.4)])
def test_a_linear_denoiser_learns_the_best_linear_filter(corruption, level, global_random_seed):
    rng = np.random.RandomState(global_random_seed)
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
        random_state=global_random_seed,
    ).fit(X)
    # In expectation over the corruption: E[noisy' noisy]^-1 E[noisy' x].
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


def test_denoising_of_unseen_digits_is_better_than_with_pca(global_random_seed):
    train, test = train_test_split(
        load_digits().data, train_size=800, test_size=400, random_state=global_random_seed
    )
    rng = np.random.RandomState(global_random_seed)
    noisy = test + rng.normal(scale=4, size=test.shape)
    std = np.sqrt(train.var(axis=0).mean())

    def error(reconstruction):
        return np.mean((reconstruction - test) ** 2)

    denoiser = DenoisingAutoencoder(
        16, corruption_level=4 / std, random_state=global_random_seed
    ).fit(train)
    pcas = [PCA(k).fit(train) for k in (4, 8, 12, 16, 24, 32)]
    best_pca = min(error(pca.inverse_transform(pca.transform(noisy))) for pca in pcas)
    assert error(denoiser.reconstruct(noisy)) < 0.75 * best_pca < 0.75 * error(noisy)


def shift_up(x, rng):
    return x + 3


def test_the_validation_curve_is_the_error_on_corrupted_rows(digits, small):
    parameters = {"corruption": shift_up, "learning_rate_init": 1e-30, "max_iter": 3}
    start = small(DenoisingAutoencoder, **parameters).fit(digits[:200], X_val=digits[200:])
    pca = PCA(4).fit(digits[:200])
    reconstruction = pca.inverse_transform(pca.transform(digits[200:] + 3))
    expected = ((reconstruction - digits[200:]) ** 2).sum(axis=1).mean()
    # The network is trained in float32.
    np.testing.assert_allclose(start.validation_curve_, expected, rtol=1e-5)


@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_each_epoch_is_evaluated_with_the_same_corruption(digits, corruption, small):
    parameters = {"corruption": corruption, "learning_rate_init": 1e-30, "max_iter": 3}
    fitted = small(DenoisingAutoencoder, **parameters).fit(digits, X_val=digits[:50])
    curve = fitted.validation_curve_
    np.testing.assert_allclose(curve, curve[0], rtol=1e-9)
    assert len(curve) == 4


@pytest.mark.parametrize("loss", ["squared_error", "log_loss"])
@pytest.mark.parametrize("unit", [1.0, 1 / 16])
def test_gaussian_noise_is_measured_in_standard_deviations_for_each_loss(
    digits, loss, unit, small, global_random_seed
):
    X = digits / 16 * (unit if loss == "log_loss" else 1e3 * unit)
    fitted = small(DenoisingAutoencoder, max_iter=1, loss=loss, corruption_level=0.5).fit(X)
    objective, fitted = fitted._objective(None), fitted.network_
    x = (torch.from_numpy(X) - fitted.shift) / fitted.scale
    rng = torch.Generator().manual_seed(global_random_seed)
    noise = objective.network_input(fitted.network, x, rng) - x
    expected = 0.5 * np.sqrt(X.var(axis=0).mean())
    # The standard error of the standard deviation of 19,200 numbers is half a per cent.
    assert (noise * fitted.scale).std().item() == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("loss", ["squared_error", "log_loss"])
def test_a_corruption_function_receives_rows_in_the_units_of_X(digits, loss, small):
    X, seen = digits[:, 20:30] / 16, []

    def spy(x, rng):
        assert isinstance(rng, torch.Generator)
        seen.append(16 * x.numpy())
        x[:] = 0  # the user may write into the batch
        return x

    small(DenoisingAutoencoder, corruption=spy, max_iter=2, loss=loss).fit(X)
    batches, rows = np.concatenate(seen), {tuple(np.round(16 * row)) for row in X}
    np.testing.assert_allclose(batches, np.round(batches), atol=1e-3)
    assert {tuple(row) for row in np.round(batches)} <= rows


def test_a_corruption_function_may_return_missing_values(digits, small, global_random_seed):
    def mask(x, rng):
        masked = torch.rand(x.shape, generator=rng, device=x.device) < 0.3
        return torch.where(masked, torch.nan, x)

    fitted = small(DenoisingAutoencoder, corruption=mask, max_iter=200, n_components=16).fit(digits)
    gaps = np.random.RandomState(global_random_seed).uniform(size=digits.shape) < 0.3
    with_gaps, pca = np.where(gaps, np.nan, digits), PCA(16).fit(digits)
    by_pca = pca.inverse_transform(pca.transform(np.where(gaps, pca.mean_, digits)))
    ours, theirs = (
        np.mean((R - digits)[gaps] ** 2) for R in (fitted.reconstruct(with_gaps), by_pca)
    )
    assert ours < 0.7 * theirs


@pytest.mark.parametrize(
    ("returned", "got"), [(lambda x, rng: x[:, :3], "3"), (lambda x, rng: 7, "int")]
)
def test_corrupted_rows_of_another_shape_are_refused(digits, returned, got, small):
    with pytest.raises(ValueError, match=rf"`corruption` must return a tensor .* got .*{got}"):
        small(DenoisingAutoencoder, corruption=returned).fit(digits)


@pytest.mark.parametrize("kind", sorted(set(CORRUPTIONS) - {"gaussian"}))
def test_a_probability_above_one_is_refused(digits, kind, small):
    estimator = small(DenoisingAutoencoder, corruption=kind, corruption_level=1.5)
    for method in (estimator.fit, estimator.partial_fit):
        with pytest.raises(
            ValueError, match=rf"`corruption_level` must be in \[0, 1\].*{kind}.*1.5"
        ):
            method(digits)
    small(DenoisingAutoencoder, corruption_level=1.5, max_iter=1).fit(digits)


def test_the_maximal_distance_includes_corrupted_training_rows(digits, small, global_random_seed):
    fitted = small(DenoisingAutoencoder, n_components=30, corruption_level=2.0).fit(digits)
    noisy = digits + 2 * np.sqrt(digits.var(axis=0).mean()) * np.random.RandomState(
        global_random_seed
    ).normal(size=digits.shape)
    farthest = fitted.network_.distance(torch.from_numpy(fitted.transform(noisy))).max()
    # Other noise than in training: the maximum differs.
    assert farthest < 1.5 * fitted.network_.network.max_train_distance


def test_salt_and_pepper_noise_takes_the_extremes_of_the_training_rows(digits_with_gaps, small):
    X = digits_with_gaps.copy()
    X[:, 3] = np.nan
    fitted = small(DenoisingAutoencoder, max_iter=1).fit(X)
    columns, mean = fitted.network_.network.columns, fitted.network_.shift
    observed = np.arange(64) != 3
    for found, extreme in ((columns.minimum, np.nanmin), (columns.maximum, np.nanmax)):
        in_X = (found * columns.scale + mean).numpy()
        np.testing.assert_allclose(in_X[observed], extreme(X[:, observed], axis=0), atol=1e-9)
        assert in_X[3] == 0  # never observed


def test_partial_fit_and_warm_starts_denoise(digits, small):
    streamed = small(DenoisingAutoencoder, corruption="masking", corruption_level=0.3)
    for _ in range(3):
        streamed.partial_fit(digits)
    assert np.isfinite(streamed.reconstruct(digits)).all()
    warm = small(DenoisingAutoencoder, warm_start=True).fit(digits)
    first = min(warm.validation_curve_)
    assert warm.fit(digits).validation_curve_[0] == pytest.approx(first, rel=1e-4)


def test_corrupted_inputs_are_scaled_to_unit_variance(digits, small, global_random_seed):
    fitted = small(DenoisingAutoencoder, max_iter=1, corruption_level=1.0).fit(digits)
    objective = fitted._objective(None)
    network, fitted = fitted.network_.network, fitted.network_
    x = (torch.from_numpy(digits.copy()) - fitted.shift) / fitted.scale
    rng = torch.Generator().manual_seed(global_random_seed + 1)
    corrupted = objective.network_input(network, x, rng)
    sizes = (
        ((corrupted - network.pca_path.mean) * network.scales.inverse_input_scale)
        .square()
        .mean(0)
        .sqrt()
    )
    constant = torch.from_numpy(digits.std(axis=0) == 0)
    assert constant.any()
    assert (sizes[constant] == 0).all()
    # 300 rows: the size of a column is known to some 5 %.
    assert (sizes[~constant] - 1).abs().max() < 0.2
