"""Codes like principal components: centred, uncorrelated, sorted by explained variance."""

import operator
import sys
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from .._data.device import as_array

MAX_FLOAT = sys.float_info.max


class CodeMoments(NamedTuple):
    """First and second moments of the codes of some rows, and the deviances of these rows."""

    n_samples: float  # the sum of the weights, if rows have any
    code_mean: np.ndarray  # (n_components,)
    code_scatter: np.ndarray  # (n_components, n_components): sum of outer products about the mean
    deviance: float  # of the reconstructions, summed over rows
    pca_deviance: float  # of the reconstructions by PCA
    mean_deviance: float  # of predicting `mean_`
    squares: float  # sum of (X - mean_)^2

    @classmethod
    def from_codes(
        cls, codes: Tensor, weights: Tensor | None = None, **totals: float
    ) -> "CodeMoments":
        """The moments of a block of codes, (n_samples, n_components), with sums over its rows."""
        # In torch: threads of NumPy's BLAS and of torch that alternate take three times as long.
        codes = codes.double()
        if weights is None:
            n_samples, mean = float(len(codes)), codes.mean(0)
            weighted = centred = codes - mean
        else:
            n_samples = weights.sum().item()
            mean = weights @ codes / n_samples
            centred = codes - mean
            weighted = weights[:, None] * centred
        return cls(n_samples, as_array(mean), as_array(centred.T @ weighted), **totals)

    def merge(self, other: "CodeMoments") -> "CodeMoments":
        """The moments of both sets of rows together (Chan, Golub and LeVeque, 1983)."""
        n = self.n_samples + other.n_samples
        difference = other.code_mean - self.code_mean
        between = np.outer(difference, difference) * (self.n_samples * other.n_samples / n)
        return CodeMoments(
            n,
            self.code_mean + difference * (other.n_samples / n),
            self.code_scatter + other.code_scatter + between,
            self.deviance + other.deviance,
            self.pca_deviance + other.pca_deviance,
            self.mean_deviance + other.mean_deviance,
            self.squares + other.squares,
        )

    def scaled_to(self, n_samples: int) -> "CodeMoments":
        """The moments if the rows stand for so many."""
        factor = n_samples / self.n_samples
        scatter, *totals = (factor * total for total in self[2:])
        return CodeMoments(n_samples, self.code_mean, scatter, *totals)  # type: ignore[arg-type]

    def transform(self, centre: np.ndarray, matrix: np.ndarray) -> "CodeMoments":
        """The moments of `(code - centre) @ matrix`."""
        return self._replace(
            code_mean=(self.code_mean - centre) @ matrix,
            code_scatter=matrix.T @ self.code_scatter @ matrix,
        )

    @property
    def score(self) -> float:
        """The share of the deviance from the mean that the reconstructions explain."""
        return explained_share(self.deviance, self.mean_deviance)

    @property
    def pca_score(self) -> float:
        """The share of the deviance that PCA explains with as many components."""
        return explained_share(self.pca_deviance, self.mean_deviance)


class UnitActivity(NamedTuple):
    """Frequency and size of the activity of each unit in some rows, and their deviances."""

    n_samples: float  # the sum of the weights, if rows have any
    n_active: np.ndarray  # (n_components,): the rows in which the unit is active
    code_sum: np.ndarray  # (n_components,)
    code_squares: np.ndarray  # (n_components,)
    deviance: float  # of the reconstructions, summed over rows
    pca_deviance: float  # of the reconstructions by PCA
    mean_deviance: float  # of predicting `mean_`
    squares: float  # sum of (X - mean_)^2

    @classmethod
    def from_codes(
        cls, codes: Tensor, weights: Tensor | None = None, **totals: float
    ) -> "UnitActivity":
        """The activity in a block of codes, (n_samples, n_components), with sums over its rows."""
        n_samples, each = float(len(codes)), [codes > 0, codes, codes.square()]
        if weights is not None:
            n_samples, each = weights.sum().item(), [weights[:, None] * part for part in each]
        n_active, code_sum, code_squares = (as_array(part.sum(0)) for part in each)
        return cls(n_samples, n_active, code_sum, code_squares, **totals)

    def merge(self, other: "UnitActivity") -> "UnitActivity":
        """The activity in both sets of rows together."""
        return UnitActivity(*map(operator.add, self, other))

    def scaled_to(self, n_samples: int) -> "UnitActivity":
        """The activity if the rows stand for so many."""
        factor = n_samples / self.n_samples
        totals: Any = [factor * total for total in self[1:]]
        return UnitActivity(n_samples, *totals)

    @property
    def score(self) -> float:
        """The share of the deviance from the mean that the reconstructions explain."""
        return explained_share(self.deviance, self.mean_deviance)

    @property
    def pca_score(self) -> float:
        """The share of the deviance that the principal components explain."""
        return explained_share(self.pca_deviance, self.mean_deviance)


# What a fit stores of the codes of its training rows; `partial_fit` merges it over the batches.
CodeStatistics = CodeMoments | UnitActivity


class CodeBasis(NamedTuple):
    """A change of basis, `(code - centre) @ matrix`, and the variance that its axes explain."""

    centre: np.ndarray  # (n_components,)
    matrix: np.ndarray  # (n_components, n_components): a rotation times one number
    explained_variance: np.ndarray  # (n_components,): the variance of each new code
    explained_variance_ratio: np.ndarray  # (n_components,): sums to the score


def explained_share(deviance: float, mean_deviance: float) -> float:
    """1 - deviance / mean_deviance; of constant data, 1 if the reconstruction is exact, else 0."""
    if mean_deviance > 0:
        # Sums of many far rows may overflow.
        share = min(deviance, MAX_FLOAT) / min(mean_deviance, MAX_FLOAT)
        return 1.0 - min(share, MAX_FLOAT)
    return float(deviance <= 0)


def principal_axes(codes: CodeMoments) -> CodeBasis:
    """The rotation to principal axes of the codes, scaled to the variance that they explain.

    A rotation and one common factor can be absorbed into linear maps beside the code, so that no
    reconstruction changes. The factor makes the variances of the codes add up to the variance of
    `X` that the autoencoder explains; for a linear autoencoder it is one, and the result is PCA.
    """
    n_free = max(codes.n_samples - 1, 1)
    variances, rotation = np.linalg.eigh(codes.code_scatter / n_free)
    variances, rotation = variances[::-1].clip(min=0.0), rotation[:, ::-1]
    shares = variances / max(variances.sum(), np.finfo(float).tiny)
    explained = max(codes.score, 0.0) * codes.squares / n_free
    # Codes that explain nothing keep their scale.
    factor = np.sqrt(explained / variances.sum()) if explained and variances.sum() else 1.0
    return CodeBasis(
        codes.code_mean, rotation * factor, variances * factor**2, shares * codes.score
    )


def sorted_axes(codes: CodeMoments, gains: np.ndarray) -> CodeBasis:
    """The codes sorted by explained variance, with no other change.

    `gains`, (n_components,), are the squared norms of the decoder's derivatives in each code.
    """
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


def whitening_scale(variances: np.ndarray, eps: float, size: np.ndarray) -> np.ndarray:
    """The number by which each code is divided, so that its variance is one.

    A code that varies by rounding errors only would become noise. It is divided by the largest
    standard deviation and stays near zero. `eps` is the precision of the codes, and `size`,
    (n_components,), is that of the numbers of which they are differences.
    """
    std = np.sqrt(variances)
    # Eigenvalues of the covariance have rounding errors relative to the largest one.
    relative = max(8 * eps, np.sqrt(len(std) * np.finfo(np.float64).eps))
    is_rounding = std <= relative * std.max() + 8 * eps * size
    largest = np.where(is_rounding, 0.0, std).max()
    return np.where(is_rounding, largest if largest > 0 else 1.0, std)


def align_signs(components: np.ndarray) -> np.ndarray:
    """+1 or -1 for each component, so that its largest entry becomes positive, as in PCA."""
    largest = np.abs(components).argmax(axis=1)
    return np.where(components[np.arange(len(components)), largest] < 0, -1.0, 1.0)
