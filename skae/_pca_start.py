"""Where training starts: moments of the data, principal components, what they leave over."""

from typing import NamedTuple

import numpy as np
from scipy import sparse
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from ._tensors import blocks, dense_block

# Up to this many entries (128 MB) the components are computed in float64.
DOUBLE_PRECISION_ENTRIES = 2**24


NEGLIGIBLE_SHARE = 1e-10


class Moments(NamedTuple):
    """Per feature, over the observed entries, in the units of `X`; and one spread for all."""

    mean: np.ndarray  # (n_features,)
    deviation: np.ndarray  # (n_features,); zero for a feature that is constant up to rounding
    spread: float  # root mean square of `deviation`, or 1 if all features are constant


class PrincipalComponents(NamedTuple):
    """Principal components in standard units, `(X - mean) / spread`."""

    directions: np.ndarray  # (n_components, n_features), orthonormal rows
    code_deviation: np.ndarray  # (n_components,)
    residual_deviation: np.ndarray  # (n_features,): what the components leave unexplained
    complete: bool  # whether no value was missing

    def first(self, n_components: int) -> "PrincipalComponents":
        """The start for a smaller code; its residual grows by what is left out."""
        left_out = self.directions[n_components:] * self.code_deviation[n_components:, None]
        return PrincipalComponents(
            self.directions[:n_components],
            self.code_deviation[:n_components],
            np.sqrt(self.residual_deviation**2 + (left_out**2).sum(axis=0)),
            self.complete,
        )

    @property
    def is_exact(self) -> bool:
        """Whether nothing is left to learn, in float32."""
        left = (self.residual_deviation**2).sum()
        return bool(left <= NEGLIGIBLE_SHARE * (left + (self.code_deviation**2).sum()))


def moments(X) -> Moments:
    """Mean and standard deviation of each column; NaN is passed over, CSR stays sparse."""
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        scaler = StandardScaler(with_mean=not sparse.issparse(X)).fit(X)
    never_observed = np.isnan(scaler.mean_)
    if not np.isfinite(scaler.var_[~never_observed]).all():
        raise ValueError("X has values too large to square in float64; divide X by a constant.")
    mean = np.where(never_observed, 0.0, scaler.mean_)
    deviation = np.sqrt(np.where(never_observed, 0.0, scaler.var_))
    # A constant column of floats has a variance of rounding errors: not worth learning.
    deviation[deviation <= 8 * np.finfo(X.dtype).eps * np.abs(mean)] = 0.0
    spread = float(np.sqrt(np.mean(deviation**2)))
    return Moments(mean, deviation, spread if spread > 0 else 1.0)


def principal_components(
    X, moments: Moments, n_components: int | float, seed: int
) -> PrincipalComponents:
    """PCA of all rows by scikit-learn, NaN standing for the mean.

    A share instead of a number of components gives as many as reach it.
    """
    pca = PCA(n_components, svd_solver=_solver(X, n_components), random_state=seed)
    with np.errstate(all="ignore"):  # constant data has no explained variance ratio
        if sparse.issparse(X) and pca.svd_solver == "arpack":
            pca.fit(_mean_filled(X, moments.mean))
        else:
            pca.fit(_standard(X, moments, _dtype(X)))
    directions = pca.components_.astype(np.float64)
    squares = np.zeros(X.shape[1])
    n_observed = np.zeros(X.shape[1])
    code_squares = np.zeros(len(directions))
    for rows in blocks(X.shape[0]):
        block = (dense_block(X, rows) - moments.mean) / moments.spread
        observed = ~np.isnan(block)
        block = np.nan_to_num(block)
        codes = block @ directions.T
        squares += ((block - codes @ directions) ** 2 * observed).sum(axis=0)
        code_squares += (codes**2).sum(axis=0)
        n_observed += observed.sum(axis=0)
    return PrincipalComponents(
        directions,
        np.sqrt(code_squares / X.shape[0]),
        np.sqrt(squares / np.maximum(n_observed, 1)),
        complete=bool((n_observed == X.shape[0]).all()),
    )


def _solver(X, n_components: int | float) -> str:
    """Exact where that is affordable: a start worse than PCA would break the promise."""
    n_samples, n_features = X.shape
    large = np.prod(X.shape, dtype=float) > DOUBLE_PRECISION_ENTRIES
    if sparse.issparse(X) and large and 1 <= n_components < min(X.shape):
        return "arpack"
    if n_features <= min(n_samples, 2000):
        return "covariance_eigh"
    few = 1 <= n_components <= min(X.shape) // 2
    return "randomized" if few and min(X.shape) > 500 else "full"


def _dtype(X) -> type:
    return np.float64 if np.prod(X.shape) <= DOUBLE_PRECISION_ENTRIES else np.float32


def _standard(X, moments: Moments, dtype: type) -> np.ndarray:
    standard = np.empty(X.shape, dtype=dtype)
    for rows in blocks(X.shape[0]):
        standard[rows] = np.nan_to_num((dense_block(X, rows) - moments.mean) / moments.spread)
    return standard


def _mean_filled(X: sparse.csr_array, mean: np.ndarray) -> sparse.csr_array:
    missing = np.isnan(X.data)
    if not missing.any():
        return X
    filled = X.copy()
    filled.data[missing] = mean[X.indices[missing]]
    return filled
