"""The variational autoencoder: probabilistic PCA as its linear case, bounds, densities, samples."""

import warnings
from functools import cache

import numpy as np
import pytest
import torch
from conftest import quick
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.neighbors import KNeighborsClassifier
from torch import nn

from skae import VAE
from skae._autoencoders.vae import MIN_NOISE_SCALE, _draw_binary
from skae._losses.importance_weighted import antithetic_normal, importance_bound
from skae._nn.variational import NoisyDecoder


def linear(X, n_components=5, **parameters):
    return VAE(n_components, hidden_layer_sizes=(), random_state=0, **parameters).fit(X)


@pytest.fixture(scope="session")
def split(digits):
    return digits[:200], digits[200:]


@pytest.fixture(scope="module")
def densities(digits):
    """The rows that a loss is for, and what is learned of them; for reading."""

    @cache
    def learned(loss):
        X = digits / 16 if loss == "log_loss" else digits
        return X, quick(VAE, loss=loss, max_iter=100).fit(X)

    return learned


def test_a_linear_vae_is_probabilistic_pca(split):
    X, X_test = split
    vae, pca = linear(X), PCA(5, svd_solver="full").fit(X)
    expected = pca.score_samples(X_test)
    # The posterior is exact, so the bound is log p(x), and so is each weight of a sample.
    np.testing.assert_allclose(vae.score_samples(X_test), expected, rtol=1e-10)
    np.testing.assert_allclose(vae.log_likelihood(X_test, n_samples=1), expected, rtol=1e-10)
    assert vae.n_iter_ == 0


def test_the_linear_posterior_is_that_of_probabilistic_pca(split):
    X, X_test = split
    pca = PCA(5, svd_solver="full").fit(X)
    signal = np.sqrt(pca.explained_variance_ - pca.noise_variance_)
    mean, std = linear(X).posterior(X_test)
    np.testing.assert_allclose(mean, pca.transform(X_test) * signal / pca.explained_variance_)
    expected = np.sqrt(pca.noise_variance_ / pca.explained_variance_)
    np.testing.assert_allclose(std, np.tile(expected, (100, 1)))
    np.testing.assert_allclose(linear(X).components_, pca.components_ * signal[:, None], atol=1e-9)


def test_the_rows_that_a_linear_vae_draws_have_the_moments_of_the_data(digits):
    vae, pca = linear(digits), PCA(5, svd_solver="full").fit(digits)
    drawn = vae.sample(50_000)
    # Variances are about 50 at most: standard errors of 0.03 for a mean and 0.3 for a covariance.
    np.testing.assert_allclose(drawn.mean(axis=0), digits.mean(axis=0), atol=0.2)
    np.testing.assert_allclose(np.cov(drawn.T), pca.get_covariance(), atol=2.0)


def test_training_begins_with_probabilistic_pca_on_its_validation_curve(split):
    X, X_test = split
    vae = quick(VAE, max_iter=1).fit(X, X_val=X_test)
    expected = PCA(4, svd_solver="full").fit(X).score(X_test)
    # One code for each of 100 rows: the bound is off by chance, by less than a nat of 160 or so.
    assert -vae.validation_curve_[0] == pytest.approx(expected, abs=2)


def test_the_density_of_new_rows_is_higher_than_that_of_probabilistic_pca():
    X = load_digits().data
    vae = VAE(8, random_state=0).fit(X[:1200])
    # Measured: a gain of 10 nats in the bound, and of 15 in the density.
    assert vae.score_samples(X[1200:]).mean() > PCA(8).fit(X[:1200]).score(X[1200:]) + 5
    assert vae.best_iter_ > 0


def test_noise_without_structure_stays_at_probabilistic_pca():
    X = np.random.RandomState(0).normal(size=(300, 20))
    vae = VAE(2, max_iter=60, random_state=0).fit(X)
    assert vae.best_iter_ == 0
    np.testing.assert_allclose(
        vae.score_samples(X), PCA(2, svd_solver="full").fit(X).score_samples(X), rtol=1e-5
    )


@pytest.mark.parametrize("loss", ["squared_error", "absolute_error", "log_loss", "poisson"])
def test_the_bound_is_below_the_density_and_samples_tighten_it(densities, loss):
    X, vae = densities(loss)
    bound = vae.score_samples(X).mean()
    few, many = (vae.log_likelihood(X, n_samples=n).mean() for n in (5, 200))
    assert bound < few < many


@pytest.mark.parametrize("loss", ["absolute_error", "log_loss", "poisson"])
def test_other_likelihoods_start_near_pca_and_learn(densities, loss):
    X, vae = densities(loss)
    assert vae.best_iter_ > 0
    assert vae.score(X) > vae.pca_score_
    assert vae.explained_variance_ratio_.sum() == pytest.approx(vae.score(X))


def test_densities_change_with_the_units_as_densities_do(digits):
    one = quick(VAE).fit(digits)
    for factor in (1e-6, 1e6):
        other = quick(VAE).fit(digits * factor)
        moved = one.score_samples(digits) - 64 * np.log(factor)
        # Two trainings, equal up to the rounding of float32.
        np.testing.assert_allclose(other.score_samples(digits * factor), moved, atol=0.5)
        np.testing.assert_allclose(
            other.transform(digits * factor), one.transform(digits), atol=0.1
        )
        shift = np.array(other.validation_curve_) - 64 * np.log(factor)
        np.testing.assert_allclose(shift, one.validation_curve_, atol=0.5)


def test_the_curves_are_in_the_nats_of_score_samples(split):
    X, X_test = split
    vae = quick(VAE, max_iter=100).fit(X, X_val=X_test)
    assert vae.best_iter_ > 0
    # The curve draws one code for each row: 100 rows, some 5 nats each.
    assert min(vae.validation_curve_) == pytest.approx(-vae.score_samples(X_test).mean(), abs=2)


def test_a_score_is_that_of_the_row_alone(split):
    X, X_test = split
    vae = quick(VAE).fit(X)
    for method in (vae.score_samples, vae.log_likelihood):
        together = method(X_test)
        np.testing.assert_array_equal(method(X_test), together)
        np.testing.assert_allclose(method(X_test[::-1])[::-1], together, rtol=1e-12)
        alone = np.concatenate([method(X_test[[i]]) for i in range(5)])
        np.testing.assert_allclose(alone, together[:5], rtol=1e-12)


def test_a_missing_value_is_left_out_of_the_density(split):
    # Probabilistic PCA without a code: independent normal entries.
    X = np.random.RandomState(0).normal(size=(500, 4)) * 3 + 1
    vae = linear(X, 1)
    vae.network_.network.gain_in.zero_(), vae.network_.network.gain_out.zero_()
    nn.init.zeros_(vae.network_.network.encoder.log_var)
    gaps = X.copy()
    gaps[:, 2] = np.nan
    scale = vae.network_.network.decoder.log_scale.exp().item() * vae.network_.scale.item()
    normal = torch.distributions.Normal(torch.from_numpy(X.mean(axis=0)), scale)
    expected = normal.log_prob(torch.from_numpy(X)).numpy()
    np.testing.assert_allclose(vae.score_samples(X), expected.sum(axis=1))
    np.testing.assert_allclose(vae.score_samples(gaps), expected[:, [0, 1, 3]].sum(axis=1))


def test_learning_with_gaps_raises_the_density(digits_with_gaps):
    vae = quick(VAE, max_iter=100).fit(digits_with_gaps)
    assert vae.best_iter_ > 0
    assert min(vae.validation_curve_) < vae.validation_curve_[0] - 5
    n_observed = (~np.isnan(digits_with_gaps)).sum(axis=1).mean()
    assert vae.score_samples(digits_with_gaps).mean() > -3 * n_observed


def loss_of(vae, X, **parameters):
    """The objective of rows under one noise, for other parameters of a fitted estimator."""
    x = (torch.tensor(X) - vae.network_.shift) / vae.network_.scale
    noise = torch.Generator().manual_seed(0)
    with torch.no_grad():
        return vae.set_params(**parameters)._loss(vae.network_.network, x, noise)


def kl_of(vae, X):
    mean, std = map(torch.from_numpy, vae.posterior(X))
    normal = torch.distributions.Normal
    return torch.distributions.kl_divergence(normal(mean, std), normal(0.0, 1.0)).sum(1)


def test_beta_weighs_the_kl_divergence(digits):
    vae = quick(VAE).fit(digits)
    one, three = (loss_of(vae, digits, beta=beta) for beta in (1.0, 3.0))
    torch.testing.assert_close(three - one, 2 * kl_of(vae, digits), rtol=1e-5, atol=1e-5)


def test_a_larger_beta_learns_simpler_codes(digits):
    simple, rich = (quick(VAE, beta=beta, max_iter=100).fit(digits) for beta in (5.0, 0.2))
    assert kl_of(simple, digits).mean() < kl_of(rich, digits).mean() - 1
    assert simple.score(digits) < rich.score(digits)


def test_the_kl_divergence_warms_up_in_training_only(digits):
    vae = quick(VAE).fit(digits)
    full, network = loss_of(vae, digits, kl_warmup=0.5), vae.network_.network
    network.train()
    for progress, share in [(0.0, 0.0), (0.25, 0.5), (0.5, 1.0), (1.0, 1.0)]:
        network.progress = progress
        missing = full - loss_of(vae, digits)
        torch.testing.assert_close(missing, (1 - share) * kl_of(vae, digits))
    network.eval()
    network.progress = 0.0
    torch.testing.assert_close(loss_of(vae, digits), full)


def test_a_warm_up_changes_what_is_learned(digits):
    cold, warm = (quick(VAE, kl_warmup=share, max_iter=60).fit(digits) for share in (0.0, 0.5))
    assert cold.validation_curve_[0] == warm.validation_curve_[0]
    assert warm.loss_curve_[0] < cold.loss_curve_[0] - 1  # hardly any KL is charged yet


TOY_ROWS = torch.tensor([0.3, -1.0], dtype=torch.float64)


def toy_bound(samples, mean, log_var, beta=1.0, scale=0.5):
    """The bound for rows 0.3 and -1 of one feature that is the code itself plus noise."""

    def log_likelihood(codes):
        x = TOY_ROWS.repeat(len(codes) // 2)
        return torch.distributions.Normal(codes[:, 0], scale).log_prob(x)

    return importance_bound(log_likelihood, mean, log_var, samples, beta)


def toy_posterior(*values, times=1):
    """The same numbers for each of those rows, which may come several times."""
    shape = 2 * times, 1
    return [torch.full(shape, v, dtype=torch.float64, requires_grad=True) for v in values]


def test_the_importance_bound_by_hand():
    mean, log_var = toy_posterior(0.2, -1.0)
    samples = torch.tensor([[[0.5], [1.0]], [[-1.0], [0.0]]], dtype=torch.float64)
    normal, std = torch.distributions.Normal, np.exp(-0.5)
    expected = []
    for row, value in enumerate((0.3, -1.0)):
        codes = 0.2 + std * samples[:, row, 0]
        weights = normal(codes, 0.5).log_prob(torch.tensor(value)) + 0.7 * (
            normal(0.0, 1.0).log_prob(codes) - normal(0.2, std).log_prob(codes)
        )
        expected.append(weights.exp().mean().log().item())
    bound = toy_bound(samples, mean, log_var, beta=0.7)
    np.testing.assert_allclose(bound.detach(), expected)


def test_one_importance_sample_is_the_evidence_lower_bound():
    mean, log_var = toy_posterior(0.2, -1.0)
    draws = antithetic_normal(1, 0)
    one_by_one = torch.stack([toy_bound(s.expand(1, 2, 1), mean, log_var) for s in draws]).mean(0)
    # In closed form: the noise has the moments of the expectation, and all is quadratic.
    x, var = torch.tensor([0.3, -1.0]), np.exp(-1.0)
    expected = torch.distributions.Normal(0.2, 0.5).log_prob(x) - var / (2 * 0.25)
    expected = expected - (0.04 + var - 1 + 1.0) / 2
    torch.testing.assert_close(one_by_one.detach(), expected.double())


@pytest.mark.parametrize("beta", [1.0, 0.5])
def test_doubly_reparameterised_gradients_agree_with_plain_ones_and_vary_less(beta):
    n_times, generator = 2000, torch.Generator().manual_seed(0)
    draws = torch.randn(8, 2 * n_times, 1, generator=generator, dtype=torch.float64)

    def plain(mean, log_var):
        codes = mean + (log_var / 2).exp() * draws
        log_p = torch.distributions.Normal(codes[..., 0], 0.5).log_prob(TOY_ROWS.repeat(n_times))
        ratio = (draws.square() - codes.square() + log_var).sum(-1) / 2
        return (log_p + beta * ratio).logsumexp(0)

    gradients = {}
    for name, bound in (("plain", plain), ("doubly", lambda m, v: toy_bound(draws, m, v, beta))):
        posterior = toy_posterior(0.2, -1.0, times=n_times)
        of_each = torch.autograd.grad(bound(*posterior).sum(), posterior)
        gradients[name] = torch.hstack([g.view(n_times, 2) for g in of_each]).numpy()
    gap = gradients["plain"].mean(0) - gradients["doubly"].mean(0)
    error = np.sqrt(sum(g.var(0) for g in gradients.values()) / n_times)
    assert (np.abs(gap) < 4 * error).all()
    if beta == 1:
        assert gradients["doubly"].var() < gradients["plain"].var()


def test_the_decoders_gradient_of_the_importance_bound_is_the_plain_one():
    scale = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    samples = torch.randn(4, 2, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with torch.no_grad():
        fixed = [tensor.clone() for tensor in toy_posterior(0.2, -1.0)]
        values = [toy_bound(samples, *fixed, scale=s).sum() for s in (0.5 + 1e-5, 0.5 - 1e-5)]
    bound = toy_bound(samples, *toy_posterior(0.2, -1.0), scale=scale).sum()
    gradient = torch.autograd.grad(bound, scale)[0]
    assert gradient.item() == pytest.approx(((values[0] - values[1]) / 2e-5).item(), rel=1e-6)


def test_more_importance_samples_learn_a_higher_density(digits):
    one, five = (quick(VAE, n_importance_samples=k, max_iter=100).fit(digits) for k in (1, 5))
    assert five.validation_curve_[-1] < one.validation_curve_[-1]
    assert five.best_iter_ > 0


@pytest.mark.parametrize("n_components", [1, 3, 40])
def test_balanced_noise_has_the_moments_of_the_normal(n_components):
    noise = antithetic_normal(n_components, 0).numpy()
    np.testing.assert_allclose(noise.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(noise.T @ noise / len(noise), np.eye(n_components), atol=1e-12)


def test_the_least_noise_bounds_the_density():
    # A plane without noise: a density without a bound, were it not for the least noise.
    t = np.random.RandomState(0).normal(size=(300, 2))
    X = np.c_[t, t @ [[1.0, 2.0], [0.5, -1.0]]]
    vae = VAE(2, max_iter=30, random_state=0).fit(X)
    scale = vae.network_.network.decoder.log_scale.exp().item()
    assert MIN_NOISE_SCALE <= scale < 1.1 * MIN_NOISE_SCALE
    assert np.isfinite(vae.score_samples(X)).all()
    assert vae.score(X) == pytest.approx(1, abs=1e-6)


def test_the_learned_scale_is_that_of_the_errors(digits):
    vae = quick(VAE, n_components=8, max_iter=200, early_stopping=False).fit(digits)
    mean, std = (torch.from_numpy(part) for part in vae.posterior(digits))
    draws = antithetic_normal(8, 1)
    squares = np.mean(
        [((vae.inverse_transform((mean + std * s).numpy()) - digits) ** 2).mean() for s in draws]
    )
    scale = vae.network_.network.decoder.log_scale.exp().item() * vae.network_.scale.item()
    # The optimum in closed form (Rybkin et al., 2021).
    assert scale == pytest.approx(np.sqrt(squares), rel=0.05)


def test_codes_are_sorted_by_what_they_explain_and_keep_the_scale_of_the_prior(digits):
    vae = quick(VAE, n_components=6, max_iter=100).fit(digits)
    mean, std = vae.posterior(digits)
    np.testing.assert_array_equal(vae.transform(digits), mean)
    assert (np.diff(vae.explained_variance_) <= 0).all()
    # Over all rows the posteriors make up the prior, roughly: the KL divergence pays for it.
    np.testing.assert_allclose(np.log(mean.var(axis=0) + (std**2).mean(axis=0)), 0, atol=0.7)
    turn = vae.network_.to_ordered.numpy()
    np.testing.assert_array_equal(np.sort(np.abs(turn), axis=0)[:-1], 0)  # nothing but a sorting
    np.testing.assert_array_equal(np.abs(turn).sum(axis=0), 1)


def test_explained_variances_of_a_linear_vae_are_those_of_its_reconstructions(digits):
    vae = linear(digits)
    for k in range(5):
        codes = vae.transform(digits)
        codes[:, np.arange(5) != k] = 0
        along = vae.inverse_transform(codes).var(axis=0).sum()
        share = along / vae.reconstruct(digits).var(axis=0).sum()
        found = vae.explained_variance_ratio_[k] / vae.explained_variance_ratio_.sum()
        assert found == pytest.approx(share)


def test_batches_keep_the_scale_of_the_prior(digits):
    streamed = quick(VAE)
    for _ in range(10):
        for batch in np.split(digits, 3):
            streamed.partial_fit(batch)
    mean, std = streamed.posterior(digits)
    np.testing.assert_allclose(np.log(mean.var(axis=0) + (std**2).mean(axis=0)), 0, atol=0.7)
    assert streamed.active_components_.all()
    assert streamed.score_samples(digits).mean() > PCA(4).fit(digits).score(digits)


def test_components_that_say_nothing_are_told_of():
    # One direction stands out of the noise; nine codes are too many.
    X = np.random.RandomState(0).normal(size=(1000, 10)) * ([5.0] + 9 * [1.0])
    with pytest.warns(ConvergenceWarning, match=r"of 9 components say nothing .* `n_components`="):
        vae = VAE(9, max_iter=20, beta=4.0, random_state=0).fit(X)
    active = vae.active_components_
    assert active[0]
    assert not active.all()
    variances = vae.transform(X).var(axis=0, ddof=1)
    np.testing.assert_array_equal(active, variances > 0.01)
    fewer = VAE(int(active.sum()), max_iter=20, beta=4.0, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fewer.fit(X)


def test_drawn_digits_are_recognised_more_often_than_those_of_a_normal_density():
    X, y = load_digits(return_X_y=True)
    vae = VAE(8, random_state=0).fit(X)
    neighbours = KNeighborsClassifier(5).fit(X, y)

    def share_sure(drawn):
        return (neighbours.predict_proba(drawn).max(axis=1) == 1).mean()

    normal = np.random.RandomState(0).multivariate_normal(X.mean(axis=0), np.cov(X.T), 1000)
    codes = np.random.RandomState(1).normal(size=(1000, 8))
    assert share_sure(vae.inverse_transform(codes)) > share_sure(normal) + 0.1
    assert share_sure(vae.sample(1000)) > share_sure(normal)


def test_samples_are_seeded_as_in_scikit_learn(digits):
    vae = quick(VAE).fit(digits)
    before = torch.get_rng_state()
    np.testing.assert_array_equal(vae.sample(3), vae.sample(3))
    assert torch.equal(torch.get_rng_state(), before)
    vae.random_state = np.random.RandomState(0)
    assert not np.array_equal(vae.sample(3), vae.sample(3))
    assert vae.sample().shape == (1, 64)
    assert quick(VAE).fit(digits.astype(np.float32)).sample(2).dtype == np.float32


@pytest.mark.parametrize("loss", ["absolute_error", "log_loss", "poisson"])
def test_samples_have_the_domain_and_the_mean_of_their_likelihood(densities, loss):
    X, vae = densities(loss)
    drawn = vae.sample(5000)
    if loss == "log_loss":
        assert set(np.unique(drawn)) <= {0.0, 1.0}
    if loss == "poisson":
        np.testing.assert_array_equal(drawn, np.round(drawn))
        assert drawn.min() >= 0
    # The model itself is within an eighth of the range; the mean row alone is off by up to a half.
    np.testing.assert_allclose(drawn.mean(axis=0), X.mean(axis=0), atol=X.max() / 8)


def test_drawing_binary_rows_is_by_probability_and_keeps_gaps():
    x = torch.tensor([0.0, 0.3, 1.0, torch.nan]).repeat(20_000, 1)
    drawn = _draw_binary(x, torch.Generator().manual_seed(0))
    assert torch.isnan(drawn[:, 3]).all()
    assert set(drawn[:, :3].unique().tolist()) == {0.0, 1.0}
    torch.testing.assert_close(
        drawn[:, :3].mean(0), torch.tensor([0.0, 0.3, 1.0]), atol=0.02, rtol=0
    )


def test_binarizing_learns_the_density_of_binary_rows(digits):
    X = digits / 16
    binary = (np.random.RandomState(0).uniform(size=X.shape) < X).astype(float)
    soft, hard = (
        quick(VAE, loss="log_loss", binarize=b, max_iter=60).fit(X) for b in (False, True)
    )
    assert hard.score_samples(binary).mean() > soft.score_samples(binary).mean()
    same = [
        quick(VAE, loss="log_loss", binarize=b).fit(binary).validation_curve_[0]
        for b in (False, True)
    ]
    # Rows of zeros and ones are drawn as they are; but the codes see other noise.
    assert same[0] == pytest.approx(same[1], rel=0.05)


def own_network(n_features, n_components):
    encoder = nn.Sequential(nn.Linear(n_features, 32), nn.ReLU(), nn.Linear(32, 2 * n_components))
    decoder = nn.Sequential(nn.Linear(n_components, 32), nn.ReLU(), nn.Linear(32, n_features))
    return encoder, decoder


def test_the_users_own_network_gives_means_and_log_variances(digits):
    vae = quick(VAE, network=own_network, max_iter=200).fit(digits)
    assert vae.best_iter_ > 0
    _, std = vae.posterior(digits)
    assert std.std(axis=0).min() > 0
    with pytest.raises(ValueError, match=r"encoder must take \(n, 64\) to \(n, 8\)"):
        quick(VAE, network=lambda p, k: (nn.Linear(p, k), nn.Linear(k, p))).fit(digits)


def test_a_random_start_learns_too(digits):
    vae = quick(VAE, init="random", max_iter=200).fit(digits)
    assert vae.score_samples(digits).mean() > PCA(4).fit(digits).score(digits)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"whiten": True}, "`whiten` must be False for a VAE"),
        ({"binarize": True}, "`binarize` must be False unless loss='log_loss', got True"),
        ({"kl_warmup": 1.5}, r"`kl_warmup` must be a real number in \[0, 1\], got 1.5"),
    ],
)
def test_what_does_not_go_together_is_refused(digits, parameters, message):
    with pytest.raises(ValueError, match=message):
        quick(VAE, **parameters).fit(digits)


@pytest.mark.parametrize("n_samples", [0, 1.5])
def test_numbers_of_samples_are_checked(digits, n_samples):
    vae = quick(VAE, max_iter=1).fit(digits)
    for call in (vae.sample, lambda n: vae.log_likelihood(digits, n)):
        with pytest.raises((ValueError, TypeError), match="`n_samples` must be an integer >= 1"):
            call(n_samples)


def test_the_scale_of_the_noise_starts_where_it_is_told_and_stays_above_its_floor():
    decoder = NoisyDecoder(nn.Identity(), 0.3, 1e-4)
    assert decoder.log_scale.exp().item() == pytest.approx(0.3)
    nn.init.constant_(decoder.log_excess, -1e9)
    assert decoder.log_scale.exp().item() == pytest.approx(1e-4)
