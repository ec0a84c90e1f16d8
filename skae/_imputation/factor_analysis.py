"""A Gaussian of few factors, for rows too wide for a covariance to be inverted in each of them."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

N_FACTORS = 32
N_ITERATIONS = 15
# No column is told without any error, and each loading is held by so many rows of standard size.
LEAST_NOISE, PRIOR_ROWS = 1e-3, 3.0

# A matrix of the factors is solved for each row: entries of those that are held at once.
BLOCK_ENTRIES = 2**22


class LowRankGaussian(NamedTuple):
    """x ~ N(mean, W W' + diag(noise)): a `ConditionalGaussian` by way of its factors.

    Given the observed cells o of a row, with D = diag(1 / noise_o)::

        z | x_o ~ N(M^-1 W_o' D (x_o - mean_o), M^-1),    M = I + W_o' D W_o
        x_m | z ~ N(mean_m + W_m z, diag(noise_m))
    """

    mean: Tensor  # (d,)
    loadings: Tensor  # (d, n_factors), W above
    noise: Tensor  # (d,)

    def fill(self, x: Tensor, missing: Tensor) -> Tensor:
        """Rows with the conditional mean at their missing cells."""
        filled = x.clone()
        for rows, code, _ in self.posterior(x, missing):
            expected = self.mean + code @ self.loadings.T
            filled[rows] = torch.where(missing[rows], expected, x[rows])
        return filled

    def sample(self, x: Tensor, missing: Tensor, noise: torch.Generator) -> Tensor:
        """Deviations from `fill`, drawn from the conditional distribution; 0 where observed."""
        drawn = torch.zeros_like(x)
        for rows, code, precision in self.posterior(x, missing):
            normal = torch.randn(code.shape, generator=noise, dtype=x.dtype)[..., None]
            upper = torch.linalg.cholesky(precision).mT
            factors = torch.linalg.solve_triangular(upper, normal, upper=True)[..., 0]
            own = self.noise.sqrt() * torch.randn(x[rows].shape, generator=noise, dtype=x.dtype)
            drawn[rows] = torch.where(missing[rows], factors @ self.loadings.T + own, 0.0)
        return drawn

    def statistics(self, x: Tensor, missing: Tensor) -> tuple[Tensor, ...]:
        """What the M step has to know of rows, with the factors as expected: the E step.

        By column, over the rows that show it: their number, the squares of the cells and of the
        factors, and the products of both; those of parts of the rows add up.
        """
        d, k = self.loadings.shape
        squares, products = x.new_zeros(d, k, k), torch.zeros_like(self.loadings)
        for rows, code, precision in self.posterior(x, missing):
            moments = torch.linalg.inv(precision) + code[:, :, None] * code[:, None, :]
            shown = (~missing[rows]).to(x)
            squares += (shown.T @ moments.reshape(-1, k * k)).reshape(d, k, k)
            products += (x[rows] * shown).T @ code
        return (~missing).sum(0).to(x), (x.square() * ~missing).sum(0), squares, products

    @staticmethod
    def maximised(sums: tuple[Tensor, ...]) -> "LowRankGaussian":
        """The M step: each column regressed on the factors, and the noise that is left."""
        n_shown, cells, squares, products = sums
        prior = PRIOR_ROWS * torch.eye(products.shape[1], dtype=products.dtype)
        loadings = torch.linalg.solve(squares + prior, products[..., None])[..., 0]
        left = cells + PRIOR_ROWS - (loadings * products).sum(1)
        noise = (left / (n_shown + PRIOR_ROWS)).clamp_min(LEAST_NOISE)
        return LowRankGaussian(torch.zeros_like(cells), loadings, noise)

    def posterior(self, x: Tensor, missing: Tensor) -> Iterator[tuple[slice, Tensor, Tensor]]:
        """Means and precisions of the factors of each row, a block of rows at a time."""
        d, k = self.loadings.shape
        products = (self.loadings[:, :, None] * self.loadings[:, None, :]).reshape(d, k * k)
        size = max(BLOCK_ENTRIES // max(k * k, d), 1)
        for start in range(0, len(x), size):
            rows = slice(start, min(start + size, len(x)))
            weights = torch.where(missing[rows], 0.0, 1 / self.noise)
            precision = torch.eye(k, dtype=x.dtype) + (weights @ products).reshape(-1, k, k)
            pull = ((x[rows] - self.mean) * weights) @ self.loadings
            yield rows, torch.linalg.solve(precision, pull[..., None])[..., 0], precision


def fit_low_rank_gaussian(x: Tensor, missing: Tensor) -> LowRankGaussian:
    """Fit to the observed cells of standardised rows by EM (Rubin and Thayer, 1982).

    It starts at the principal components of rows whose gaps are filled with the mean.
    """
    n_factors = min(N_FACTORS, *x.shape)
    _, sizes, directions = torch.linalg.svd(torch.where(missing, 0.0, x), full_matrices=False)
    loadings = directions[:n_factors].T * sizes[:n_factors] / len(x) ** 0.5
    mean, noise = torch.zeros_like(x[0]), torch.ones_like(x[0])
    gaussian = LowRankGaussian(mean, loadings.contiguous(), noise)
    for _ in range(N_ITERATIONS):
        gaussian = gaussian.maximised(gaussian.statistics(x, missing))
    return gaussian
