"""Attributes and methods of scikit-learn's PCA, computed from what a fit has stored."""

from functools import partial
from typing import Any

import numpy as np
import torch
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from .._data.array_api import as_numpy, to_namespace_of
from .._data.torch_defaults import with_torch_defaults
from .._data.validation import check_value, integer
from .._losses.reconstruction import SquaredError
from .._training.rotation import CodeMoments
from .decoder_density import NormalModel, log_density
from .inference import FittedAutoencoderMixin

# The number of codes that are decoded for the covariance of the model. That of the digits with 2, 8
# or 16 components differs by 2 to 4 % (Frobenius norm) from that of 65,536 codes, which takes 1 s.
N_CODES = 8192

PCA_ATTRIBUTES = """
    singular_values_ : ndarray of shape (n_components_,)
        ``sqrt((n_samples_ - 1) * explained_variance_)``, as for PCA. For a linear autoencoder,
        these are the singular values of the centred rows.
    noise_variance_ : float
        Variance of the residuals of the training rows, divided by the number of directions that
        the code leaves out, ``min(n_samples_, n_features_in_) - n_components_``. Zero if there are
        none. For a linear autoencoder, it is the noise variance of probabilistic PCA. Only for
        ``loss="squared_error"`` and rows without categories.
    n_samples_ : int
        The same as `n_samples_seen_`.
"""


def _has_normal_noise(estimator: "PCAAttributesMixin") -> bool:
    """Whether the loss is the squared error; else an AttributeError says so."""
    if not estimator._is_squared_error:
        raise AttributeError(
            "`noise_variance_`, `get_covariance`, `get_precision` and `log_likelihood` are defined "
            "for loss='squared_error' only, which is the likelihood of normal noise, and for rows "
            "without categories."
        )
    return True


class PCAAttributesMixin(FittedAutoencoderMixin):
    """What PCA has and other autoencoders need not have. It equals PCA's if the networks are zero.

    The model is that of probabilistic PCA (Tipping and Bishop, 1999) with a decoder for its matrix:
    a row is ``decode(code) + noise``. The noise is normal and has the variance `noise_variance_` in
    each feature. The codes are normal and independent. Their variances are those of the codes of
    the training rows, less the share that the noise has in `explained_variance_`.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Insert the documentation of the attributes into the docstring of a subclass."""
        super().__init_subclass__(**kwargs)
        if cls.__doc__:
            cls.__doc__ = cls.__doc__.replace("    {pca_attributes}\n", PCA_ATTRIBUTES[1:])

    @property
    def n_samples_(self) -> int:
        """Number of training rows."""
        return self.n_samples_seen_

    @property
    def singular_values_(self) -> np.ndarray:
        """Square roots of the sums of squares that the components explain."""
        return (self.explained_variance_ * max(self.n_samples_seen_ - 1, 1)) ** 0.5

    @property
    def noise_variance_(self) -> float:
        """Variance of the residuals for each direction that the code leaves out."""
        _has_normal_noise(self)
        n_left_out = min(self.n_samples_seen_, self.mean_.shape[0]) - self.n_components_
        rounding = (100 * torch.finfo(self.network_.shift.dtype).eps) ** 2 * self._codes.squares
        if n_left_out <= 0 or self._codes.deviance <= rounding:
            return 0.0
        return self._codes.deviance / max(self.n_samples_seen_ - 1, 1) / n_left_out

    @available_if(_has_normal_noise)
    @with_torch_defaults
    def get_covariance(self) -> np.ndarray:
        """The covariance of the features under the probabilistic model.

        A row is the decoded value of a normal random code, plus independent normal noise of the
        variance `noise_variance_` in each feature. For a linear autoencoder, this is probabilistic
        PCA [1]_, and the result equals that of PCA. Otherwise the covariance is computed from 8192
        random codes, which are the same in each call. It differs from the covariance of the
        training rows if their codes are not normal.

        Returns
        -------
        covariance : ndarray of shape (n_features_in_, n_features_in_)
            The covariance, in squared units of `X`.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        AttributeError
            If `loss` is not the squared error.

        References
        ----------
        .. [1] M. E. Tipping and C. M. Bishop, "Probabilistic principal component analysis", Journal
           of the Royal Statistical Society B, 1999.
        """
        check_is_fitted(self)
        return to_namespace_of(self.mean_, self._covariance())

    @available_if(_has_normal_noise)
    @with_torch_defaults
    def get_precision(self) -> np.ndarray:
        """The inverse of the covariance of the features under the probabilistic model.

        Returns
        -------
        precision : ndarray of shape (n_features_in_, n_features_in_)
            The inverse of `get_covariance`.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        AttributeError
            If `loss` is not the squared error.
        numpy.linalg.LinAlgError
            If the covariance has no inverse, because `noise_variance_` is zero.
        """
        check_is_fitted(self)
        try:
            precision = np.linalg.inv(self._covariance())
        except np.linalg.LinAlgError as error:
            raise np.linalg.LinAlgError(
                "`get_precision` is not defined, since the matrix `get_covariance` has no inverse, "
                f"and `noise_variance_` is {self.noise_variance_:.3g}: use fewer components."
            ) from error
        return to_namespace_of(self.mean_, precision)

    @available_if(_has_normal_noise)
    @with_torch_defaults
    def log_likelihood(self, X, n_samples=100) -> np.ndarray:
        """The logarithm of the density of each row under the probabilistic model.

        The model is that of `get_covariance`. For a linear autoencoder, the result equals
        ``PCA.score_samples``. Otherwise it is estimated by importance sampling.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features)
            Rows. Missing values (NaN) are left out.
        n_samples : int, default=100
            Number of codes that are drawn for each row. The estimate is too low on average; the
            bias decreases with the number of codes. They are the same in each call.

        Returns
        -------
        log_density : ndarray of shape (n_samples,)
            The estimates, in nats.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        AttributeError
            If `loss` is not the squared error.
        ValueError
            If `X` is not as in `fit`, if `n_samples` is not a positive integer, or if
            `noise_variance_` is zero.
        """
        check_is_fitted(self)
        check_value("n_samples", n_samples, (integer(1),))
        X, noise_variance = self._checked_for_loss(X), self.noise_variance_
        if noise_variance == 0:
            raise ValueError(
                "`log_likelihood` is not defined without noise, and `noise_variance_` is 0: use "
                "fewer components."
            )
        model = NormalModel(torch.from_numpy(self._prior_std()), noise_variance)
        rng = torch.Generator().manual_seed(0)
        noise = torch.randn(n_samples, self.n_components_, generator=rng)
        return self._apply(X, partial(log_density, model=model, noise=noise), 1)[:, 0]

    @property
    def _is_squared_error(self) -> bool:
        """Whether the loss is the squared error, of a fit if there is one."""
        if hasattr(self, "network_"):
            return type(self._reconstruction_loss) is SquaredError
        return isinstance(self.loss, str) and self.loss == SquaredError.name

    def _covariance(self) -> np.ndarray:
        """The covariance of the decoded values of random codes, plus that of the noise."""
        std = self._prior_std()
        codes = std * _standard_codes(max(N_CODES, 4 * len(std)), len(std))
        rows = self._apply_to_native(codes, self._decode, self.mean_.shape[0], are_codes=True)
        covariance = np.cov(as_numpy(rows), rowvar=False, bias=True).reshape(2 * rows.shape[1:])
        covariance[np.diag_indices_from(covariance)] += self.noise_variance_
        return covariance

    def _prior_std(self) -> np.ndarray:
        """Standard deviation of each code in the model, (n_components,).

        The variance of a principal component includes the noise, which is not part of the code.
        """
        assert isinstance(self._codes, CodeMoments)
        explained = np.asarray(as_numpy(self.explained_variance_), dtype=np.float64)
        signal = (explained - self.noise_variance_).clip(min=0.0)
        share = np.divide(signal, explained, out=np.zeros_like(signal), where=explained > 0)
        # Of the codes that `transform` returns, which are scaled if `whiten` is True.
        variances = np.diag(self._codes.code_scatter) / max(self.n_samples_seen_ - 1, 1)
        return np.sqrt(share * variances.clip(min=0.0))


def _standard_codes(n_codes: int, n_components: int) -> np.ndarray:
    """Normal random codes whose mean and covariance are exactly zero and one.

    The covariance of their linear functions has no random error.
    """
    normal = np.random.RandomState(0).normal(size=(n_codes // 2, n_components))
    axes, triangle = np.linalg.qr(normal)
    half = axes * np.sign(np.diag(triangle)) * np.sqrt(len(normal))
    return np.concatenate([half, -half])
