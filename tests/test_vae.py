"""The variational autoencoder: probabilistic PCA as a special case, bounds, densities, samples."""

import warnings
from functools import cache

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.neighbors import KNeighborsClassifier
from torch import nn

from skae import VAE
from skae._autoencoders.vae import _sample_binary
from skae._losses.importance_weighted import antithetic_normal

# A large learning rate allows for few epochs.
TRAINED = {"learning_rate_init": 0.01, "max_iter": 40}


@pytest.fixture
def linear(small):
    """A function that fits a VAE without hidden layers, which is probabilistic PCA."""

    def linear(X, n_components=5):
        return small(VAE, n_components, hidden_layer_sizes=()).fit(X)

    return linear


@pytest.fixture(scope="session")
def split(digits):
    return digits[:200], digits[200:]


@pytest.fixture(scope="module")
def densities(digits, small):
    """A function that returns rows in the domain of a loss, and a model of them to read only."""

    @cache
    def learned(loss):
        X = digits / 16 if loss == "log_loss" else digits
        return X, small(VAE, loss=loss, **TRAINED).fit(X)

    return learned


def test_a_linear_vae_is_probabilistic_pca(split, linear):
    X, X_test = split
    vae, pca = linear(X), PCA(5, svd_solver="full").fit(X)
    expected = pca.score_samples(X_test)
    # The posterior is exact, so the bound is log p(x), and so is each weight of a sample.
    np.testing.assert_allclose(vae.score_samples(X_test), expected, rtol=1e-10)
    np.testing.assert_allclose(vae.log_likelihood(X_test, n_samples=1), expected, rtol=1e-10)
    assert vae.n_iter_ == 0


def test_the_linear_posterior_is_that_of_probabilistic_pca(split, linear):
    X, X_test = split
    pca = PCA(5, svd_solver="full").fit(X)
    signal = np.sqrt(pca.explained_variance_ - pca.noise_variance_)
    mean, std = linear(X).posterior(X_test)
    np.testing.assert_allclose(mean, pca.transform(X_test) * signal / pca.explained_variance_)
    expected = np.sqrt(pca.noise_variance_ / pca.explained_variance_)
    np.testing.assert_allclose(std, np.tile(expected, (100, 1)))
    np.testing.assert_allclose(linear(X).components_, pca.components_ * signal[:, None], atol=1e-9)


def test_samples_of_a_linear_vae_have_the_moments_of_the_data(digits, linear):
    vae, pca = linear(digits), PCA(5, svd_solver="full").fit(digits)
    samples = vae.sample(50_000)
    # Variances are about 50 at most: standard errors of 0.03 for a mean and 0.3 for a covariance.
    np.testing.assert_allclose(samples.mean(axis=0), digits.mean(axis=0), atol=0.2)
    np.testing.assert_allclose(np.cov(samples.T), pca.get_covariance(), atol=2.0)


def test_the_density_of_new_rows_is_higher_than_that_of_probabilistic_pca(global_random_seed):
    X = load_digits().data
    vae = VAE(8, random_state=global_random_seed).fit(X[:1200])
    # Measured: a gain of 10 nats for the bound and of 15 nats for the density.
    assert vae.score_samples(X[1200:]).mean() > PCA(8).fit(X[:1200]).score(X[1200:]) + 5
    assert vae.best_iter_ > 0


def test_for_pure_noise_probabilistic_pca_is_kept(global_random_seed):
    X = np.random.RandomState(global_random_seed).normal(size=(300, 20))
    vae = VAE(2, max_iter=20, random_state=global_random_seed).fit(X)
    assert vae.best_iter_ == 0
    np.testing.assert_allclose(
        vae.score_samples(X), PCA(2, svd_solver="full").fit(X).score_samples(X), rtol=1e-5
    )


@pytest.mark.parametrize("loss", ["absolute_error", "log_loss", "poisson"])
def test_other_likelihoods_score_above_pca(densities, loss):
    X, vae = densities(loss)
    assert vae.best_iter_ > 0
    assert vae.score(X) > vae.pca_score_
    assert vae.explained_variance_ratio_.sum() == pytest.approx(vae.score(X))


def test_the_curves_are_in_the_units_of_score_samples(split, small):
    X, X_test = split
    vae = small(VAE, **TRAINED).fit(X, X_val=X_test)
    assert vae.best_iter_ > 0
    # The curve is computed from one random code for each of 100 rows, which varies by 5 nats.
    assert min(vae.validation_curve_) == pytest.approx(-vae.score_samples(X_test).mean(), abs=2)


def test_training_with_missing_values_raises_the_density(digits_with_gaps, small):
    vae = small(VAE, **TRAINED, early_stopping=False).fit(digits_with_gaps)
    assert vae.best_iter_ > 0
    assert min(vae.validation_curve_) < vae.validation_curve_[0] - 5
    n_observed = (~np.isnan(digits_with_gaps)).sum(axis=1).mean()
    assert vae.score_samples(digits_with_gaps).mean() > -3 * n_observed


def loss_of(vae, X, **parameters):
    """The objective of rows with fixed noise, for other parameters of a fitted estimator."""
    x = (torch.tensor(X) - vae.network_.shift) / vae.network_.scale
    rng = torch.Generator().manual_seed(0)
    objective = vae.set_params(**parameters)._objective(None)
    with torch.no_grad():
        return objective.per_row(vae.network_.network, x, rng)


def kl_of(vae, X):
    mean, std = map(torch.from_numpy, vae.posterior(X))
    normal = torch.distributions.Normal
    return torch.distributions.kl_divergence(normal(mean, std), normal(0.0, 1.0)).sum(1)


def test_beta_multiplies_the_kl_divergence(digits, small):
    vae = small(VAE).fit(digits)
    one, three = (loss_of(vae, digits, beta=beta) for beta in (1.0, 3.0))
    torch.testing.assert_close(three - one, 2 * kl_of(vae, digits), rtol=1e-5, atol=1e-5)


def test_a_larger_beta_lowers_the_kl_divergence_and_the_score(digits, small):
    simple, rich = (small(VAE, beta=beta, **TRAINED).fit(digits) for beta in (5.0, 0.2))
    assert kl_of(simple, digits).mean() < kl_of(rich, digits).mean() - 1
    assert simple.score(digits) < rich.score(digits)


def test_kl_warmup_applies_in_training_only(digits, small):
    vae = small(VAE).fit(digits)
    full, network = loss_of(vae, digits, kl_warmup=0.5), vae.network_.network
    network.train()
    for progress, weight in [(0.0, 0.0), (0.25, 0.5), (0.5, 1.0), (1.0, 1.0)]:
        network.progress = progress
        difference = full - loss_of(vae, digits)
        torch.testing.assert_close(difference, (1 - weight) * kl_of(vae, digits))
    network.eval()
    network.progress = 0.0
    torch.testing.assert_close(loss_of(vae, digits), full)


def test_kl_warmup_lowers_the_loss_of_the_first_epoch(digits, small):
    without, with_warmup = (
        small(VAE, kl_warmup=share, max_iter=20).fit(digits) for share in (0.0, 0.5)
    )
    assert without.validation_curve_[0] == with_warmup.validation_curve_[0]
    assert with_warmup.loss_curve_[0] < without.loss_curve_[0] - 1


def test_more_importance_samples_learn_a_higher_density(digits, small):
    one, five = (
        small(VAE, n_importance_samples=k, **TRAINED, early_stopping=False).fit(digits)
        for k in (1, 5)
    )
    assert five.log_likelihood(digits).mean() > one.log_likelihood(digits).mean()


def test_the_learned_noise_scale_is_that_of_the_errors(digits, small, global_random_seed):
    vae = small(
        VAE, n_components=8, learning_rate_init=0.03, max_iter=40, early_stopping=False
    ).fit(digits)
    mean, std = (torch.from_numpy(part) for part in vae.posterior(digits))
    draws = antithetic_normal(8, global_random_seed + 1)
    squares = np.mean(
        [((vae.inverse_transform((mean + std * s).numpy()) - digits) ** 2).mean() for s in draws]
    )
    scale = vae.network_.network.decoder.log_scale.exp().item() * vae.network_.scale.item()
    # The optimum in closed form (Rybkin et al., 2021).
    assert scale == pytest.approx(np.sqrt(squares), rel=0.05)


def test_codes_are_sorted_by_explained_variance_and_keep_the_scale_of_the_prior(digits, small):
    vae = small(VAE, n_components=6, **TRAINED).fit(digits)
    mean, std = vae.posterior(digits)
    np.testing.assert_array_equal(vae.transform(digits), mean)
    assert (np.diff(vae.explained_variance_) <= 0).all()
    # The mean of the posteriors of all rows is close to the prior, as the KL divergence is small.
    np.testing.assert_allclose(np.log(mean.var(axis=0) + (std**2).mean(axis=0)), 0, atol=0.7)
    turn = vae.network_.rotation.numpy()
    np.testing.assert_array_equal(np.sort(np.abs(turn), axis=0)[:-1], 0)  # nothing but a sorting
    np.testing.assert_array_equal(np.abs(turn).sum(axis=0), 1)


def test_the_posterior_is_that_of_the_encoder_also_with_a_projection(digits, small):
    vae = small(VAE, max_iter=5, transform_max_iter=2).fit(digits)
    mean, std = vae.posterior(digits)
    assert np.abs(vae.transform(digits) - mean).max() > 0.01
    vae.network_.network.project_codes(0)
    np.testing.assert_allclose(vae.transform(digits), mean)
    np.testing.assert_array_equal(vae.posterior(digits)[1], std)


def test_explained_variances_of_a_linear_vae_are_those_of_its_reconstructions(digits, linear):
    vae = linear(digits)
    for k in range(5):
        codes = vae.transform(digits)
        codes[:, np.arange(5) != k] = 0
        along = vae.inverse_transform(codes).var(axis=0).sum()
        share = along / vae.reconstruct(digits).var(axis=0).sum()
        found = vae.explained_variance_ratio_[k] / vae.explained_variance_ratio_.sum()
        assert found == pytest.approx(share)


def test_partial_fit_keeps_the_scale_of_the_prior(digits, small):
    streamed = small(VAE)
    for _ in range(10):
        for batch in np.split(digits, 3):
            streamed.partial_fit(batch)
    mean, std = streamed.posterior(digits)
    np.testing.assert_allclose(np.log(mean.var(axis=0) + (std**2).mean(axis=0)), 0, atol=0.7)
    assert streamed.active_components_.all()
    assert streamed.score_samples(digits).mean() > PCA(4).fit(digits).score(digits)


def test_inactive_components_raise_a_warning(global_random_seed):
    # One direction has a large variance; nine components are too many.
    X = np.random.RandomState(global_random_seed).normal(size=(1000, 10)) * ([5.0] + 9 * [1.0])
    with pytest.warns(
        ConvergenceWarning, match=r"of 9 components have no information .* `n_components`="
    ):
        vae = VAE(9, max_iter=20, beta=4.0, random_state=global_random_seed).fit(X)
    active = vae.active_components_
    assert active[0]
    assert not active.all()
    variances = vae.transform(X).var(axis=0, ddof=1)
    np.testing.assert_array_equal(active, variances > 0.01)
    fewer = VAE(int(active.sum()), max_iter=20, beta=4.0, random_state=global_random_seed)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fewer.fit(X)


def test_sampled_digits_are_recognised_more_often_than_those_of_a_normal_distribution(
    global_random_seed,
):
    X, y = load_digits(return_X_y=True)
    vae = VAE(8, random_state=global_random_seed).fit(X)
    classifier = KNeighborsClassifier(5).fit(X, y)

    def share_recognised(samples):
        return (classifier.predict_proba(samples).max(axis=1) == 1).mean()

    normal = np.random.RandomState(global_random_seed).multivariate_normal(
        X.mean(axis=0), np.cov(X.T), 1000
    )
    codes = np.random.RandomState(global_random_seed + 1).normal(size=(1000, 8))
    assert share_recognised(vae.inverse_transform(codes)) > share_recognised(normal) + 0.05
    assert share_recognised(vae.sample(1000)) > share_recognised(normal)


def test_samples_depend_on_random_state_alone(digits, small, global_random_seed):
    vae = small(VAE).fit(digits)
    before = torch.get_rng_state()
    np.testing.assert_array_equal(vae.sample(3), vae.sample(3))
    assert torch.equal(torch.get_rng_state(), before)
    vae.random_state = np.random.RandomState(global_random_seed)
    assert not np.array_equal(vae.sample(3), vae.sample(3))
    assert vae.sample().shape == (1, 64)
    assert small(VAE).fit(digits.astype(np.float32)).sample(2).dtype == np.float32


@pytest.mark.parametrize("loss", ["absolute_error", "log_loss", "poisson"])
def test_samples_have_the_domain_and_the_mean_of_their_likelihood(densities, loss):
    X, vae = densities(loss)
    samples = vae.sample(5000)
    if loss == "log_loss":
        assert set(np.unique(samples)) <= {0.0, 1.0}
    if loss == "poisson":
        np.testing.assert_array_equal(samples, np.round(samples))
        assert samples.min() >= 0
    # Measured: up to 0.6 of 16, on average over the columns.
    assert np.abs(samples.mean(axis=0) - X.mean(axis=0)).mean() < X.max() / 16


def test_binary_draws_have_the_given_probabilities_and_keep_missing_values(global_random_seed):
    x = torch.tensor([0.0, 0.3, 1.0, torch.nan]).repeat(20_000, 1)
    samples = _sample_binary(x, torch.Generator().manual_seed(global_random_seed))
    assert torch.isnan(samples[:, 3]).all()
    assert set(samples[:, :3].unique().tolist()) == {0.0, 1.0}
    torch.testing.assert_close(
        samples[:, :3].mean(0), torch.tensor([0.0, 0.3, 1.0]), atol=0.02, rtol=0
    )


def test_binarize_raises_the_density_of_binary_rows(digits, small, global_random_seed):
    X = digits / 16
    binary = (np.random.RandomState(global_random_seed).uniform(size=X.shape) < X).astype(float)
    soft, hard = (
        small(VAE, loss="log_loss", binarize=b, **TRAINED, early_stopping=False).fit(X)
        for b in (False, True)
    )
    assert hard.score_samples(binary).mean() > soft.score_samples(binary).mean()


def test_binarize_changes_no_binary_rows(digits, small):
    X = (digits > 7).astype(float)
    initial = [
        small(VAE, loss="log_loss", binarize=b, max_iter=1).fit(X).validation_curve_[0]
        for b in (False, True)
    ]
    # The rows are the same, but the random codes differ.
    assert initial[0] == pytest.approx(initial[1], rel=0.05)


def own_network(n_features, n_components):
    encoder = nn.Sequential(nn.Linear(n_features, 32), nn.ReLU(), nn.Linear(32, 2 * n_components))
    decoder = nn.Sequential(nn.Linear(n_components, 32), nn.ReLU(), nn.Linear(32, n_features))
    return encoder, decoder


def test_a_user_network_returns_means_and_log_variances(digits, small):
    vae = small(VAE, network=own_network, max_iter=20).fit(digits)
    assert vae.best_iter_ > 0
    _, std = vae.posterior(digits)
    assert std.std(axis=0).min() > 0
    with pytest.raises(ValueError, match=r"encoder must take \(n, 64\) to \(n, 8\)"):
        small(VAE, network=lambda p, k: (nn.Linear(p, k), nn.Linear(k, p))).fit(digits)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"whiten": True}, "`whiten` must be False for a VAE"),
        ({"binarize": True}, "`binarize` must be False unless loss='log_loss', got True"),
        ({"kl_warmup": 1.5}, r"`kl_warmup` must be a real number in \[0, 1\], got 1.5"),
    ],
)
def test_incompatible_parameters_are_refused(digits, parameters, message, small):
    with pytest.raises(ValueError, match=message):
        small(VAE, **parameters).fit(digits)


@pytest.mark.parametrize("n_samples", [0, 1.5])
def test_n_samples_is_validated(digits, n_samples, small):
    vae = small(VAE, max_iter=1).fit(digits)
    for call in (vae.sample, lambda n: vae.log_likelihood(digits, n)):
        with pytest.raises((ValueError, TypeError), match="`n_samples` must be an integer >= 1"):
            call(n_samples)


@pytest.mark.parametrize("n_samples", [10**15, 2**62])
def test_more_samples_than_fit_into_memory_are_an_error_that_names_the_method(
    n_samples, digits, small
):
    fitted = small(VAE, max_iter=1).fit(digits)
    with pytest.raises(MemoryError, match="`sample` needs more memory than there is"):
        fitted.sample(n_samples)
    with pytest.raises(MemoryError, match="`log_likelihood` needs more memory than there is"):
        fitted.log_likelihood(digits[:2], n_samples=n_samples)
