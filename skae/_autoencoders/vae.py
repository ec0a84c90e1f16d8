"""The variational autoencoder: a density of the rows, whose linear case is probabilistic PCA."""

import math
from dataclasses import dataclass
from functools import partial
from numbers import Real

import numpy as np
import torch
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted
from torch import Generator, Tensor

from .._data.array_api import to_namespace_of
from .._data.device import as_array
from .._data.table_rows import as_table
from .._data.torch_defaults import with_torch_defaults
from .._data.validation import BOOLEAN, RANDOM_STATE, Interval, check_value, integer, parameter
from .._losses.importance_weighted import antithetic_normal, importance_bound, standard_normal
from .._losses.penalties import gaussian_kl
from .._losses.reconstruction import LOSSES, ReconstructionLoss
from .._nn.autoencoder import Autoencoder
from .._nn.fitted import FittedAutoencoder, RotatedAutoencoder
from .._nn.variational import VariationalAutoencoder
from .._training.diagnostics import collapsed_posteriors
from .._training.fit import network_parts
from .._training.fit_data import FitData
from .._training.initialization import (
    Initialization,
    make_pca_path,
    make_rotated,
    pca_is_optimal,
    set_sizes,
)
from .._training.objective import Objective
from .._training.result import FitResult, TrainedNetwork, code_statistics, rotate_codes
from .._training.rotation import CodeMoments, sorted_axes
from .base import BaseAutoencoder
from .vae_density import draw_rows, evidence_lower_bound, log_density
from .vae_init import MIN_NOISE_SCALE, make_variational_autoencoder

# A component is inactive if the variance of its posterior mean over the rows is below this value
# (Burda et al., 2016).
ACTIVE_VARIANCE = 0.01


@dataclass
class ELBO(Objective):
    """The negative evidence lower bound: ``-E[log p(x | z)] + beta KL(q(z | x) | p(z))``."""

    loss: ReconstructionLoss
    beta: float = 1.0
    n_importance_samples: int = 1
    kl_warmup: float = 0.0
    binarize: bool = False

    def per_row(self, network: Autoencoder, x: Tensor, rng: Generator) -> Tensor:
        """Loss of each row; see `Objective.per_row`."""
        if self.binarize:
            x = _sample_binary(x, rng)
        if not isinstance(network, VariationalAutoencoder):  # pretraining of hidden layers
            return self.loss.loss(network.decode(network.encode(x)), x)
        beta = self.beta * self._kl_weight(network)
        mean, log_var = network.posterior(x)
        if self.n_importance_samples > 1:
            samples = standard_normal((self.n_importance_samples, *mean.shape), mean, rng)
            rows = x.repeat(self.n_importance_samples, 1)
            return -importance_bound(
                lambda codes: -self._negative_log_likelihood(network, codes, rows),
                mean,
                log_var,
                samples,
                beta,
            )
        code = mean + (log_var / 2).exp() * standard_normal(mean.shape, mean, rng)
        return self._negative_log_likelihood(network, code, x) + beta * gaussian_kl(mean, log_var)

    @property
    def minimised_by_pca(self) -> bool:
        """Probabilistic PCA is the optimum, with the components of PCA (Tipping and Bishop)."""
        return self.beta == 1 and self.loss is LOSSES["squared_error"]

    def to_data_units(self, loss: float, data: FitData) -> float:
        """Nats in the units of `X`, from nats at the resolution `MIN_NOISE_SCALE`."""
        if not self.loss.degree:
            return loss
        # Per row, on average.
        n_observed = data.X.shape[1] - data.moments.n_missing / data.n_rows
        return loss + n_observed * math.log(MIN_NOISE_SCALE * data.scale)

    def _negative_log_likelihood(
        self, network: VariationalAutoencoder, code: Tensor, x: Tensor
    ) -> Tensor:
        """-log p(x | z) of each row in nats, at the resolution `MIN_NOISE_SCALE`."""
        log_scale = network.decoder.log_scale
        nats = self.loss.negative_log_likelihood(network.decode(code), x, log_scale)
        n_observed = (~torch.isnan(x)).sum(1)
        return nats - n_observed * math.log(MIN_NOISE_SCALE) if self.loss.degree else nats

    def _kl_weight(self, network: VariationalAutoencoder) -> float:
        """The fraction of `beta` at this step; 1 for held-out rows."""
        if network.training and network.progress < self.kl_warmup:
            return network.progress / self.kl_warmup
        return 1.0


class VAEAttributes:
    """Fitted attributes, for type checkers: in a dataclass they would be parameters."""

    active_components_: np.ndarray
    _noise_seed: int


@dataclass(eq=False, repr=False, kw_only=True)
class VAE(BaseAutoencoder, VAEAttributes):
    """Variational autoencoder, for generation and density estimation.

    The model assumes that each row x is generated from a code z with the distribution N(0, I). The
    decoder computes the distribution p(x | z), and the encoder an approximate posterior of z,
    N(mean(x), diag(std(x)^2)). Training maximises a lower bound of log p(x)::

        maximise    sum over rows of  E[log p(x | z)] - beta KL(posterior of z | prior of z)
        mean(x) = a V (x - mean) + g(x)       log std(x)^2 = h(x)
        p(x | z) = N(mean + W z + f(z), s^2)  for loss="squared_error"

    V, W, a and s are those of probabilistic PCA at the start, and the networks f and g are zero. So
    training starts with probabilistic PCA, which is the optimum for linear networks. If training
    does not improve the lower bound on held-out rows, `fit` returns probabilistic PCA.

    The `loss` determines the distribution of an entry given the code: normal for "squared_error",
    Laplace for "absolute_error", Bernoulli for "log_loss" and Poisson for "poisson". The first two
    have one learned scale for all features, so features in different units should be standardised.
    For the last two, training starts with random weights instead of PCA.

    `transform` returns the mean of the posterior. The components of the code are sorted by the
    variance of `X` that they explain, but they may be correlated. The reconstruction error may be
    higher than that of PCA. With `transform_max_iter` above 0, codes are refined towards the
    largest likelihood, so they are not posterior means.

    Parameters
    ----------
    {shared_parameters}

    beta : float, default=1.0
        Weight of the KL divergence. The objective is a bound of the density if `beta` is 1. With a
        larger `beta`, fewer components are active and reconstructions are worse.

    n_importance_samples : int, default=1
        Number of codes that are drawn for each row in a step. With more than one, training
        maximises the importance weighted bound, which is closer to log p(x) ([2]_, with the
        gradients of [3]_). The time of the decoder is proportional to this number.

    kl_warmup : float in [0, 1], default=0.0
        Share of the steps in which the weight of the KL divergence rises from zero to `beta`. With
        a warm-up, more components remain active. The loss of held-out rows has the full weight.

    binarize : bool, default=False
        Only for log loss. If True, each entry of `X` is drawn as zero or one in each step of the
        training, with its value as the probability of one.

    network : callable or None, default=None
        A function that is called as ``network(n_features, n_components)`` and returns two torch
        modules, an encoder with ``2 * n_components`` outputs and a decoder. Cannot be combined with
        `image_shape`, `tied_weights` or `pretraining`.

    whiten : bool, default=False
        Must be False. Use `StandardScaler` after the autoencoder instead.

    Attributes
    ----------
    {shared_attributes}

    explained_variance_ : ndarray of shape (n_components_,)
        The variance that each component explains, in squared units of `X`. The total is divided in
        proportion to the variance of each code times the squared norm of its row of `components_`.
    active_components_ : ndarray of shape (n_components_,)
        Whether each component is active: the variance of its posterior mean over the training rows
        exceeds 0.01. The other components contain no information on the rows.

    See Also
    --------
    AutoencoderTransformer : Better reconstructions, but not trained as a density.
    sklearn.decomposition.PCA : Its `score_samples` is the density for linear networks.
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

    __module__ = "skae"

    beta: float = parameter(1.0, Interval(Real, 0))
    n_importance_samples: int = parameter(1, integer(1))
    kl_warmup: float = parameter(0.0, Interval(Real, 0, 1))
    binarize: bool = parameter(False, BOOLEAN)

    @with_torch_defaults
    def sample(self, n_samples=1, *, random_state=None) -> np.ndarray:
        """Draw new rows from the learned density.

        The rows contain the noise of the model. To generate rows without noise, use
        ``inverse_transform`` of normal random numbers.

        Parameters
        ----------
        n_samples : int, default=1
            Number of rows.
        random_state : int, RandomState instance or None, default=None
            Seed of the rows. None means the parameter `random_state` of the estimator. With an
            integer, each call returns the same rows.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features_in_)
            The generated rows, in the units and the dtype of the training data. If these had
            categorical columns: a table like that of `fit`, with sampled categories.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        """
        check_is_fitted(self)
        check_value("n_samples", n_samples, (integer(1),))
        check_value("random_state", random_state, RANDOM_STATE)
        rng = check_random_state(self.random_state if random_state is None else random_state)
        seed, loss = int(rng.randint(2**31 - 1)), self._reconstruction_loss
        rows = draw_rows(self.network_, n_samples, loss=loss, seed=seed)
        return as_table(self, to_namespace_of(self.mean_, rows))

    @with_torch_defaults
    def posterior(self, X) -> tuple[np.ndarray, np.ndarray]:
        """The distribution of the code of each row: normal and independent over components.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features)
            Rows. NaN marks missing values.

        Returns
        -------
        mean, std : ndarrays of shape (n_samples, n_components_)
            The means and the standard deviations. `transform` returns the means by default.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        ValueError
            If `X` is not as in `fit`.
        """
        check_is_fitted(self)

        def mean_and_std(fitted: FittedAutoencoder, x: Tensor) -> Tensor:
            mean, log_var = fitted.network.posterior((x - fitted.shift) / fitted.scale)
            # The change of basis only sorts the codes and chooses their signs.
            assert isinstance(fitted, RotatedAutoencoder)
            std = (log_var / 2).exp() @ fitted.rotation.abs()
            return torch.cat([fitted.from_network_code(mean), std], dim=1)

        both = self._apply(self._validated(X), mean_and_std, 2 * self.n_components_)
        return both[:, : self.n_components_], both[:, self.n_components_ :]

    @with_torch_defaults
    def score_samples(self, X) -> np.ndarray:
        """The evidence lower bound of each row with ``beta=1``; higher is better.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features)
            Rows. Missing values (NaN) are left out.

        Returns
        -------
        scores : ndarray of shape (n_samples,)
            A lower bound of log p(x) for each row, in nats. Repeated calls return the same values.
            The result for a row does not depend on the other rows.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        ValueError
            If `X` is not as in `fit`.
        """
        check_is_fitted(self)
        noise = antithetic_normal(self.n_components_, self._noise_seed)
        bound = partial(evidence_lower_bound, loss=self._reconstruction_loss, noise=noise)
        return self._apply(self._checked_for_loss(X), bound, 1)[:, 0]

    @with_torch_defaults
    def log_likelihood(self, X, n_samples=100) -> np.ndarray:
        """The logarithm of the density of each row, estimated by importance sampling.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features)
            Rows. Missing values (NaN) are left out.
        n_samples : int, default=100
            Number of codes that are drawn for each row. The estimate is too low on average; the
            bias decreases with the number of codes. Articles use 5000.

        Returns
        -------
        log_density : ndarray of shape (n_samples,)
            The estimates, in nats. The result for a row does not depend on the other rows.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        ValueError
            If `X` is not as in `fit`, or `n_samples` is not a positive integer.
        """
        check_is_fitted(self)
        check_value("n_samples", n_samples, (integer(1),))
        rng = torch.Generator().manual_seed(self._noise_seed)
        noise = torch.randn(n_samples, self.n_components_, generator=rng)
        estimate = partial(log_density, loss=self._reconstruction_loss, noise=noise)
        return self._apply(self._checked_for_loss(X), estimate, 1)[:, 0]

    def _objective(self, data: FitData) -> Objective:
        loss = self._loss_of_fit()
        return ELBO(loss, self.beta, self.n_importance_samples, self.kl_warmup, self.binarize)

    def _starts_from_pca(self, data: FitData) -> bool:
        # Not for logits and log-rates: on MNIST it was better for two epochs, and worse after 25.
        return super()._starts_from_pca(data) and data.loss.degree > 0

    def _initialize(self, data: FitData, n_components: int) -> Initialization:
        pca = data.principal_components(n_components)
        from_pca = self._starts_from_pca(data)
        optimal = from_pca and data.objective.minimised_by_pca and pca_is_optimal(self, pca)
        fitted = data.fitted
        if fitted is None:
            clipped, size = not self._n_projection_steps(n_components), (pca, n_components)
            parts = network_parts(
                self, data, *size, residual_to_pca=from_pca, n_heads=2, clipped=clipped
            )  # two outputs per component: mean and log variance
            network = make_variational_autoencoder(parts, data)
            fitted = make_rotated(network, data, n_components)
            set_sizes(fitted, data, pca)
        return Initialization(fitted, make_pca_path(data, pca, active=True), optimal)

    def _summarize(self, trained: TrainedNetwork, data: FitData) -> FitResult:
        codes = code_statistics(trained, data, CodeMoments)
        assert isinstance(codes, CodeMoments)
        # Not rotated, which would correlate the posteriors, and neither centred nor scaled, so that
        # codes from the prior can be decoded.
        gains = np.square(as_array(trained.fitted.decoder_jacobian())).sum(axis=1)
        basis = sorted_axes(codes, gains)
        result = rotate_codes(trained, codes, basis, whiten=False)
        variances = np.diag(codes.code_scatter) / max(codes.n_samples - 1, 1)
        active = variances[basis.matrix.argmax(axis=0)] > ACTIVE_VARIANCE
        attributes = {"active_components_": active, "_noise_seed": data.seeds.noise}
        collapse = None if self.beta < 1 else collapsed_posteriors(active, basis)
        return result._replace(collapse=collapse, attributes=attributes)

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


def _sample_binary(x: Tensor, rng: Generator) -> Tensor:
    """Zeros and ones with the probabilities in `x`; NaN stays."""
    probability = torch.nan_to_num(x).clamp(0, 1)
    return torch.where(torch.isnan(x), x, torch.bernoulli(probability, generator=rng))
