"""A Gaussian with low-rank covariance, for rows too wide for one matrix inversion per row."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

N_FACTORS = 32
N_EM_ITERATIONS = 15
MIN_NOISE_VARIANCE = 1e-3
# Weight of the prior of the loadings and of the noise variance, in rows of variance one.
LOADINGS_PRIOR_ROWS = 3.0

# Each row needs a matrix of the factors: the most entries of such matrices in memory at once.
MAX_POSTERIOR_ENTRIES = 2**22


class LowRankGaussian(NamedTuple):
    """x ~ N(mean, W W' + diag(noise_variance)), a `ConditionalGaussian` with latent factors z.

    Given the observed cells o of a row, with D = diag(1 / noise_variance_o)::

        z | x_o ~ N(M^-1 W_o' D (x_o - mean_o), M^-1),    M = I + W_o' D W_o
        x_m | z ~ N(mean_m + W_m z, diag(noise_variance_m))
    """

    mean: Tensor  # (d,)
    loadings: Tensor  # (d, n_factors), W above
    noise_variance: Tensor  # (d,)

    def fill(self, x: Tensor, missing: Tensor) -> Tensor:
        """Fill missing cells with their conditional mean."""
        filled = x.clone()
        for rows, factors, _ in self._posteriors(x, missing):
            expected = self.mean + factors @ self.loadings.T
            filled[rows] = torch.where(missing[rows], expected, x[rows])
        return filled

    def std(self, x: Tensor, missing: Tensor) -> Tensor:
        """Conditional standard deviations; 0 where observed."""
        std = torch.zeros_like(x)
        first, second, _ = _triangle(self.loadings.shape[1])
        n_times = torch.where(first == second, 1.0, 2.0)  # in the quadratic form of a column
        products = _products_of_pairs(self.loadings)
        for rows, _, cholesky in self._posteriors(x, missing):
            covariance = torch.cholesky_inverse(cholesky)
            explained = (covariance[:, first, second] * n_times) @ products.T
            variance = explained + self.noise_variance
            std[rows] = torch.where(missing[rows], variance.sqrt(), 0.0)
        return std

    def sample(self, x: Tensor, missing: Tensor, rng: torch.Generator) -> Tensor:
        """Draw deviations from the conditional mean; 0 where observed."""
        deviations = torch.zeros_like(x)
        for rows, factors, cholesky in self._posteriors(x, missing):
            normal = torch.randn(factors.shape, generator=rng, dtype=x.dtype)[..., None]
            latent = torch.linalg.solve_triangular(cholesky.mT, normal, upper=True)[..., 0]
            normal = torch.randn(x[rows].shape, generator=rng, dtype=x.dtype)
            noise = self.noise_variance.sqrt() * normal
            deviations[rows] = torch.where(missing[rows], latent @ self.loadings.T + noise, 0.0)
        return deviations

    def e_step(self, x: Tensor, missing: Tensor) -> tuple[Tensor, ...]:
        """Expected sufficient statistics of each column, summed over rows where it is observed.

        These are the number of such rows, the squared cells, the second moments of the factors and
        the products of cells and factors. The statistics of disjoint sets of rows add up.
        """
        first, second, position = _triangle(self.loadings.shape[1])
        moments = x.new_zeros(len(self.mean), len(first))
        products = torch.zeros_like(self.loadings)
        for rows, factors, cholesky in self._posteriors(x, missing):
            outer = torch.cholesky_inverse(cholesky) + factors[:, :, None] * factors[:, None, :]
            observed = (~missing[rows]).to(x)
            moments += observed.T @ outer[:, first, second]
            products += (x[rows] * observed).T @ factors
        return (
            (~missing).sum(0).to(x),
            (x.square() * ~missing).sum(0),
            moments[:, position],
            products,
        )

    @staticmethod
    def m_step(statistics: tuple[Tensor, ...]) -> "LowRankGaussian":
        """Ridge regression of each column on the factors, and its residual variance."""
        n_observed, squares, moments, products = statistics
        prior = LOADINGS_PRIOR_ROWS * torch.eye(products.shape[1], dtype=products.dtype)
        loadings = _solve(torch.linalg.cholesky(moments + prior), products)
        residual = squares + LOADINGS_PRIOR_ROWS - (loadings * products).sum(1)
        variance = (residual / (n_observed + LOADINGS_PRIOR_ROWS)).clamp_min(MIN_NOISE_VARIANCE)
        return LowRankGaussian(torch.zeros_like(squares), loadings, variance)

    def _posteriors(self, x: Tensor, missing: Tensor) -> Iterator[tuple[slice, Tensor, Tensor]]:
        """Means of the factors of each row, and Cholesky factors of their precisions, by blocks."""
        d, k = self.loadings.shape
        position, products = _triangle(k)[2], _products_of_pairs(self.loadings)
        size = max(MAX_POSTERIOR_ENTRIES // max(k * k, d), 1)
        for start in range(0, len(x), size):
            rows = slice(start, min(start + size, len(x)))
            weights = torch.where(missing[rows], 0.0, 1 / self.noise_variance)
            precision = torch.eye(k, dtype=x.dtype) + (weights @ products)[:, position]
            right = ((x[rows] - self.mean) * weights) @ self.loadings
            cholesky = torch.linalg.cholesky(precision)
            yield rows, _solve(cholesky, right), cholesky


def _solve(cholesky: Tensor, right: Tensor) -> Tensor:
    """Solutions for Cholesky factors of matrices, (n, k, k), and a right-hand side each, (n, k)."""
    return torch.cholesky_solve(right[..., None], cholesky)[..., 0]


def _products_of_pairs(columns: Tensor) -> Tensor:
    """Products of every two columns, (d, k (k + 1) / 2), in the order of `_triangle`.

    Slices take a quarter of the time of columns that are chosen by two lists of indices.
    """
    d, k = columns.shape
    products = columns.new_empty(d, k * (k + 1) // 2)
    end = 0
    for i in range(k):
        start, end = end, end + i + 1
        torch.mul(columns[:, i : i + 1], columns[:, : i + 1], out=products[:, start:end])
    return products


def _triangle(k: int) -> tuple[Tensor, Tensor, Tensor]:
    """Rows and columns of the lower triangle of a symmetric matrix, and where its entries are."""
    first, second = torch.tril_indices(k, k)
    position = torch.empty(k, k, dtype=torch.long)
    position[first, second] = position[second, first] = torch.arange(len(first))
    return first, second, position


def fit_low_rank_gaussian(x: Tensor, missing: Tensor) -> LowRankGaussian:
    """Fit to the observed cells of standardised rows by EM (Rubin and Thayer, 1982).

    The loadings start at the principal components of the rows with missing cells at the mean.
    """
    n_factors = min(N_FACTORS, *x.shape)
    _, sizes, directions = torch.linalg.svd(torch.where(missing, 0.0, x), full_matrices=False)
    loadings = directions[:n_factors].T * sizes[:n_factors] / len(x) ** 0.5
    mean, variance = torch.zeros_like(x[0]), torch.ones_like(x[0])
    gaussian = LowRankGaussian(mean, loadings.contiguous(), variance)
    for _ in range(N_EM_ITERATIONS):
        gaussian = gaussian.m_step(gaussian.e_step(x, missing))
    return gaussian
