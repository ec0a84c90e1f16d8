"""The variational autoencoder: a density of the rows, whose linear case is probabilistic PCA."""

import math
from dataclasses import dataclass
from numbers import Real
from typing import Any, cast

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted
from torch import Tensor
from torch.nn import Module

from .._data.array_api import as_numpy, to_namespace_of
from .._data.dataset import BLOCK_ENTRIES, as_array
from .._data.validation import BOOLEAN, Number, check_value, integer, parameter
from .._losses.importance_weighted import (
    antithetic_normal,
    importance_bound,
    log_ratio,
    standard_normal,
)
from .._losses.penalties import gaussian_kl
from .._nn.autoencoder import Autoencoder, PCAPath, Scales, reciprocal
from .._nn.fitted import FittedAutoencoder, RotatedAutoencoder
from .._nn.variational import (
    NoisyDecoder,
    PosteriorHead,
    Start,
    VariationalAutoencoder,
    probabilistic_pca,
    random_start,
)
from .._training.diagnostics import Diagnostic
from .._training.fit_data import FitData
from .._training.result import FitResult
from .._training.rotation import CodeBasis, CodeMoments
from .base import BaseAutoencoder

# The least scale of the noise, in units of the spread of the data. Without one, a density of rows
# that are reconstructed perfectly would have no upper bound. Losses count from there, that is, in
# nats that it takes to say a row to this resolution: never negative, whatever the units of `X`.
MIN_NOISE_SCALE = 1e-4

# A component whose posterior mean has less variance than this over the rows says nothing of them
# (Burda et al., 2016).
ACTIVE_VARIANCE = 0.01


@dataclass(eq=False, repr=False, kw_only=True)
class VAE(BaseAutoencoder):
    """Variational autoencoder: codes with a known distribution, and a density of the rows.

    Rows are taken to come from codes z with the prior N(0, I). An encoder gives the posterior of
    the code of each row, N(mean(x), diag(std(x)^2)), and a decoder the distribution of the rows of
    a code. Both maximise the evidence lower bound, which is at most log p(x)::

        maximise    sum over rows of  E[log p(x | z)] - beta KL(posterior of z | prior of z)
        mean(x) = a V (x - mean) + g(x)       log std(x)^2 = h(x)
        p(x | z) = N(mean + W z + f(z), s^2)  for loss="squared_error"

    With V, a, W, s and a constant h as in probabilistic PCA, and g = f = 0, this *is* probabilistic
    PCA, the optimum for linear networks. Training starts there, and ends there unless the bound of
    held-out rows becomes better: the density of new rows is that of probabilistic PCA or higher.

    The `loss` chooses the likelihood: normal for squared error and Laplace's for absolute error, of
    a scale that is learned and the same for all features, so features in different units should be
    standardised; Bernoulli for log loss; Poisson. For the latter two there is no linear path, and
    training starts at random networks around the mean of the data.

    Codes keep the scale of their prior, and are not rotated but only sorted by the variance that
    they explain: a rotation would make their posteriors correlated. `transform` gives the posterior
    mean, whose variance is less than one; `explained_variance_` is what a component explains of
    `X`. There is no promise against PCA: detail that is not worth its KL divergence is given up.

    Parameters
    ----------
    {shared_parameters}

    beta : float, default=1.0
        Weight of the KL divergence. At one the objective is a bound of the density. More gives
        simpler codes, fewer of them in use, and worse reconstructions; less the opposite.

    n_importance_samples : int, default=1
        Codes that are drawn for each row in a step. More than one maximise the tighter importance
        weighted bound ([2]_, with doubly reparameterised gradients [3]_), at as many times the cost
        of decoding.

    kl_warmup : float in [0, 1], default=0.0
        Share of the longest training over which the weight of the KL divergence rises from zero to
        `beta`: fewer components are given up early, before the decoder makes use of them. Held-out
        rows are judged by the full weight.

    binarize : bool, default=False
        Only for log loss. In each step of training, draw every entry of `X` as zero or one with the
        probability that it states, so that it is the density of binary rows that is learned.

    Attributes
    ----------
    {shared_attributes}

    active_components_ : ndarray of shape (n_components_,)
        Whether the posterior mean of each component varies over the training rows by more than
        0.01. The others are left at their prior: they say nothing of a row.

    See Also
    --------
    AutoencoderTransformer : Better reconstructions, and no density.
    sklearn.decomposition.PCA : Its `score_samples` is the linear case.
    sklearn.mixture.GaussianMixture : Another density with `sample` and `score_samples`.

    References
    ----------
    .. [1] D. P. Kingma and M. Welling, "Auto-encoding variational Bayes", ICLR, 2014.
    .. [2] Y. Burda, R. Grosse and R. Salakhutdinov, "Importance weighted autoencoders", ICLR, 2016.
    .. [3] G. Tucker et al., "Doubly reparameterized gradient estimators for Monte Carlo
       objectives", ICLR, 2019.
    .. [4] I. Higgins et al., "beta-VAE: learning basic visual concepts with a constrained
       variational framework", ICLR, 2017.
    .. [5] O. Rybkin, K. Daniilidis and S. Levine, "Simple and effective VAE training with
       calibrated decoders", ICML, 2021.
    .. [6] M. E. Tipping and C. M. Bishop, "Probabilistic principal component analysis", Journal of
       the Royal Statistical Society B, 1999.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skae import VAE
    >>> X, _ = load_digits(return_X_y=True)
    >>> vae = VAE(n_components=8, max_iter=20, random_state=0).fit(X)
    >>> vae.sample(5).shape
    (5, 64)
    >>> mean, std = vae.posterior(X)
    >>> bool((std < 1).mean() > 0.9)
    True
    >>> bool((vae.log_likelihood(X) > vae.score_samples(X)).mean() > 0.9)
    True
    """

    beta: float = parameter(1.0, Number(Real, 0))
    n_importance_samples: int = parameter(1, integer(1))
    kl_warmup: float = parameter(0.0, Number(Real, 0, 1))
    binarize: bool = parameter(False, BOOLEAN)

    _n_heads = 2  # mean and log variance

    def _loss(self, network: Autoencoder, x: Tensor, noise: torch.Generator) -> Tensor:
        if self.binarize:
            x = _draw_binary(x, noise)
        if not isinstance(network, VariationalAutoencoder):  # hidden layers have no posterior
            return self._reconstruction.loss(network.decode(network.encode(x)), x)
        beta = self.beta * self._kl_weight(network)
        mean, log_var = network.posterior(x)
        if self.n_importance_samples > 1:
            samples = standard_normal((self.n_importance_samples, *mean.shape), mean, noise)
            rows = x.repeat(self.n_importance_samples, 1)
            return -importance_bound(
                lambda codes: -self._negative_log_likelihood(network, codes, rows),
                mean,
                log_var,
                samples,
                beta,
            )
        code = mean + (log_var / 2).exp() * standard_normal(mean.shape, mean, noise)
        return self._negative_log_likelihood(network, code, x) + beta * gaussian_kl(mean, log_var)

    def _negative_log_likelihood(
        self, network: VariationalAutoencoder, code: Tensor, x: Tensor
    ) -> Tensor:
        """Nats that it takes to say each row, given its code, to the resolution."""
        loss, log_scale = self._reconstruction, network.decoder.log_scale
        nats = loss.negative_log_likelihood(network.decode(code), x, log_scale)
        return nats - _n_observed(x) * math.log(MIN_NOISE_SCALE) if loss.degree else nats

    def _kl_weight(self, network: VariationalAutoencoder) -> float:
        """The share of `beta` that is charged at this step; all of it on held-out rows."""
        if network.training and network.progress < self.kl_warmup:
            return network.progress / self.kl_warmup
        return 1.0

    def sample(self, n_samples=1) -> np.ndarray:
        """Draw new rows from the learned density.

        Noise of the likelihood included; ``inverse_transform`` of normal numbers is without.

        Parameters
        ----------
        n_samples : int, default=1
            Number of rows.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features_in_)
            In the units and the dtype of the training data. With an integer `random_state` the same
            rows in each call, as for scikit-learn's densities.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before `fit`.
        """
        check_is_fitted(self)
        check_value("n_samples", n_samples, (integer(1),))
        fitted, loss = self.network_, self._reconstruction
        seed = check_random_state(self.random_state).randint(2**31 - 1)
        noise = torch.Generator(fitted.shift.device).manual_seed(int(seed))
        log_scale = fitted.network.decoder.log_scale + fitted.scale.log()
        codes = standard_normal((n_samples, self.n_components_), fitted.shift, noise)
        with torch.inference_mode():
            parts = [
                loss.draw(fitted.decode(code), log_scale, noise)
                for code in codes.split(max(BLOCK_ENTRIES // self.n_features_in_, 1))
            ]
        return to_namespace_of(self.mean_, torch.cat(parts))

    def posterior(self, X) -> tuple[np.ndarray, np.ndarray]:
        """The distribution of the code of each row: normal and independent over components.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features)
            Rows; NaN means "not observed".

        Returns
        -------
        mean, std : ndarrays of shape (n_samples, n_components_)
            The mean is what `transform` gives.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before `fit`.
        ValueError
            If `X` is not as in `fit`.
        """
        check_is_fitted(self)

        def mean_and_std(fitted: FittedAutoencoder, x: Tensor) -> Tensor:
            _, log_var = fitted.network.posterior((x - fitted.shift) / fitted.scale)
            # Sorting the codes and choosing their signs is all that the change of basis does.
            std = (log_var / 2).exp() @ cast(RotatedAutoencoder, fitted).to_ordered.abs()
            return torch.cat([fitted.encode(x), std], dim=1)

        both = self._in_blocks(self._validated(X), mean_and_std, 2 * self.n_components_)
        return both[:, : self.n_components_], both[:, self.n_components_ :]

    def score_samples(self, X) -> np.ndarray:
        """The evidence lower bound of each row, at beta one; higher is better.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features)
            Rows; NaN is not charged.

        Returns
        -------
        scores : ndarray of shape (n_samples,)
            At most log p(x), in nats. Deterministic: each row is judged by the same codes relative
            to its own posterior, whatever other rows there are. Exact for linear decoders.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before `fit`.
        ValueError
            If `X` is not as in `fit`.
        """
        check_is_fitted(self)
        noise = antithetic_normal(self.n_components_, self._noise_seed)

        def bound(fitted: FittedAutoencoder, x: Tensor) -> Tensor:
            standard = (x - fitted.shift) / fitted.scale
            mean, log_var = fitted.network.posterior(standard)
            std = (log_var / 2).exp()
            nats = gaussian_kl(mean, log_var)
            for sample in noise.to(x):
                nats += self._nats(fitted, mean + std * sample, standard) / len(noise)
            return -nats[:, None]

        return self._in_blocks(self._checked_for_loss(X), bound, 1)[:, 0]

    def log_likelihood(self, X, n_samples=100) -> np.ndarray:
        """The logarithm of the density of each row, estimated by importance sampling.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features)
            Rows; NaN is not charged.
        n_samples : int, default=100
            Number of codes drawn from the posterior of each row. The estimate is too low in the
            mean, by less for more samples; published figures take 5000.

        Returns
        -------
        log_density : ndarray of shape (n_samples,)
            In nats. Deterministic, and independent of the other rows.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before `fit`.
        ValueError
            If `X` is not as in `fit`.
        """
        check_is_fitted(self)
        check_value("n_samples", n_samples, (integer(1),))
        generator = torch.Generator().manual_seed(self._noise_seed)
        noise = torch.randn(n_samples, self.n_components_, generator=generator)

        def log_density(fitted: FittedAutoencoder, x: Tensor) -> Tensor:
            standard = (x - fitted.shift) / fitted.scale
            mean, log_var = fitted.network.posterior(standard)
            std = (log_var / 2).exp()
            total = torch.full_like(mean[:, 0], -torch.inf)
            for sample in noise.to(x):
                code = mean + std * sample
                log_weight = log_ratio(code, sample, log_var) - self._nats(fitted, code, standard)
                total = torch.logaddexp(total, log_weight)
            return (total - math.log(n_samples))[:, None]

        return self._in_blocks(self._checked_for_loss(X), log_density, 1)[:, 0]

    def _nats(self, fitted: FittedAutoencoder, code: Tensor, standard: Tensor) -> Tensor:
        """-log p(x | z) for each row, in the units of `X`."""
        network, loss = fitted.network, self._reconstruction
        nats = loss.negative_log_likelihood(
            network.decode(code), standard, network.decoder.log_scale
        )
        return nats + _n_observed(standard) * fitted.scale.log() if loss.degree else nats

    def _assemble(
        self, encoder: Module, decoder: Module, linear: PCAPath, scales: Scales, data: FitData
    ) -> Autoencoder:
        start = _probabilistic_pca(scales, data) if linear.active else random_start(scales)
        # From the units of principal components to those of the prior.
        steps, ones = scales.delta_scale * scales.codes, torch.ones_like(scales.codes)
        # Laplace's scale is that of its absolute error, less than its standard deviation.
        laplace = self._reconstruction.degree == 1
        scale = start.noise_scale / math.sqrt(2) if laplace else start.noise_scale
        return VariationalAutoencoder(
            PosteriorHead(encoder, start.log_var),
            NoisyDecoder(decoder, scale, MIN_NOISE_SCALE),
            linear,
            Scales(scales.inputs, ones, steps, scales.outputs),
            self._reconstruction.link,
            (start.gain_in, start.gain_out),
        )

    @property
    def _starts_at_pca(self) -> bool:
        # Not for logits and log-rates: on MNIST, a linear path in the mean or in the logits was
        # ahead for an epoch or two, and 3 to 5 nats behind after 25, with all components in use.
        return super()._starts_at_pca and self._reconstruction.degree > 0

    @property
    def _is_plain(self) -> bool:
        return self.beta == 1  # then probabilistic PCA is the optimum wherever PCA is

    def _order(self, fitted: FittedAutoencoder, codes: CodeMoments) -> CodeBasis:
        # No rotation: it would correlate the posteriors. No centring and no scale: codes that are
        # drawn from the prior are decoded.
        gains = np.square(as_array(fitted.decoder_jacobian())).sum(axis=1)
        explained = np.diag(codes.code_scatter) * gains
        shares = explained / max(explained.sum(), np.finfo(float).tiny)
        order = np.argsort(-explained, kind="stable")
        ratios = shares[order] * codes.score
        return CodeBasis(
            np.zeros_like(ratios),
            np.eye(len(order))[:, order],
            ratios * (codes.squares / max(codes.n_samples - 1, 1)),
            ratios,
        )

    def _in_units_of_X(self, loss: float, data: FitData) -> float:
        if not self._reconstruction.degree:
            return loss
        # Entries of a row that are observed, in the mean.
        n_observed = data.X.shape[1] - data.moments.n_missing / len(data.rows)
        return loss + n_observed * math.log(MIN_NOISE_SCALE * data.scale)

    def _check_parameters(self) -> None:
        super()._check_parameters()
        if self.whiten:
            raise ValueError(
                "`whiten` must be False for a VAE, whose codes keep the scale of their prior, got "
                "True; put a StandardScaler after it if needed."
            )
        if self.binarize and self.loss != "log_loss":
            raise ValueError(
                "`binarize` must be False unless loss='log_loss', got True with "
                f"loss={self.loss!r}."
            )

    def _learned(self, data: FitData, result: FitResult) -> dict[str, Any]:
        codes = result.codes
        variances = np.diag(codes.code_scatter) / max(codes.n_samples - 1, 1)
        return super()._learned(data, result) | {
            "active_components_": variances > ACTIVE_VARIANCE,
            "_noise_seed": data.seeds.noise,
        }

    def _collapse(self) -> Diagnostic | None:
        n_active = int(as_numpy(self.active_components_).sum())
        explains = as_numpy(self.explained_variance_).any()
        if n_active == self.n_components_ or self.beta < 1 or not explains:
            return None
        return Diagnostic(
            f"{self.n_components_ - n_active} of {self.n_components_} components say nothing of "
            "the rows: their posterior is their prior (see `active_components_`). "
            f"`n_components`={max(n_active, 1)} gives the same density; a smaller `beta` keeps "
            "more of them.",
            ConvergenceWarning,
        )


def _draw_binary(x: Tensor, noise: torch.Generator) -> Tensor:
    """Zeros and ones with the probabilities in `x`; NaN stays."""
    return torch.where(torch.isnan(x), x, torch.bernoulli(torch.nan_to_num(x), generator=noise))


def _n_observed(x: Tensor) -> Tensor:
    return (~torch.isnan(x)).sum(1)


def _probabilistic_pca(scales: Scales, data: FitData) -> Start:
    # As scikit-learn's PCA counts variances: so `score_samples` agrees with its own.
    unbiased = len(data.rows) / max(len(data.rows) - 1, 1)
    deviations = reciprocal(scales.codes)
    total = unbiased * float(np.square(data.moments.std / data.scale).sum())
    return probabilistic_pca(
        unbiased * deviations.square(), total, len(data.shift), MIN_NOISE_SCALE
    )
