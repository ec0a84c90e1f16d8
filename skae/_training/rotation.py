"""Codes in order: centred, uncorrelated, sorted by the variance that they explain."""

import operator
from typing import NamedTuple

import numpy as np
from torch import Tensor

from .._data.dataset import as_array


class CodeMoments(NamedTuple):
    """What some rows say of the codes and of how well they reconstruct; can be added up."""

    n_samples: int
    code_mean: np.ndarray  # (n_components,)
    code_scatter: np.ndarray  # (n_components, n_components): sum of outer products about the mean
    charge: float  # the deviance of the reconstructions, summed over rows
    pca_charge: float  # of those of PCA
    mean_charge: float  # of predicting `mean_`
    squares: float  # sum of (X - mean_)^2

    @classmethod
    def of(cls, codes: Tensor, **totals: float) -> "CodeMoments":
        """The moments of one block of codes, (n_samples, n_components), and its totals."""
        # By torch: NumPy's threads and torch's in turn wait for each other, at thrice the time.
        codes = codes.double()
        mean = codes.mean(0)
        centred = codes - mean
        return cls(len(codes), as_array(mean), as_array(centred.T @ centred), **totals)

    def plus(self, other: "CodeMoments") -> "CodeMoments":
        """The moments of both sets of rows together (Chan, Golub and LeVeque, 1983)."""
        n = self.n_samples + other.n_samples
        apart = other.code_mean - self.code_mean
        between = np.outer(apart, apart) * (self.n_samples * other.n_samples / n)
        return CodeMoments(
            n,
            self.code_mean + apart * (other.n_samples / n),
            self.code_scatter + other.code_scatter + between,
            self.charge + other.charge,
            self.pca_charge + other.pca_charge,
            self.mean_charge + other.mean_charge,
            self.squares + other.squares,
        )

    def in_basis(self, centre: np.ndarray, matrix: np.ndarray) -> "CodeMoments":
        """The moments of `(code - centre) @ matrix`."""
        return self._replace(
            code_mean=(self.code_mean - centre) @ matrix,
            code_scatter=matrix.T @ self.code_scatter @ matrix,
        )

    @property
    def score(self) -> float:
        """The share of the deviance from the mean that the reconstructions explain."""
        return explained_share(self.charge, self.mean_charge)

    @property
    def pca_score(self) -> float:
        """The share that PCA explains with as many components."""
        return explained_share(self.pca_charge, self.mean_charge)


class UnitActivity(NamedTuple):
    """How much each unit is used by some rows, and how well they reconstruct; can be added up."""

    n_samples: int
    n_active: np.ndarray  # (n_components,): the rows in which the unit is active
    code_sum: np.ndarray  # (n_components,)
    code_squares: np.ndarray  # (n_components,)
    charge: float  # the deviance of the reconstructions, summed over rows
    pca_charge: float  # of those of PCA
    mean_charge: float  # of predicting `mean_`
    squares: float  # sum of (X - mean_)^2

    @classmethod
    def of(cls, codes: Tensor, **totals: float) -> "UnitActivity":
        """The use of the units in one block of codes, (n_samples, n_components), and its totals."""
        n_active, total, squares = (codes > 0).sum(0), codes.sum(0), codes.square().sum(0)
        return cls(len(codes), as_array(n_active), as_array(total), as_array(squares), **totals)

    def plus(self, other: "UnitActivity") -> "UnitActivity":
        """That of both sets of rows together."""
        return UnitActivity(*map(operator.add, self, other))

    @property
    def score(self) -> float:
        """The share of the deviance from the mean that the reconstructions explain."""
        return explained_share(self.charge, self.mean_charge)

    @property
    def pca_score(self) -> float:
        """The share that the principal components explain."""
        return explained_share(self.pca_charge, self.mean_charge)


class CodeBasis(NamedTuple):
    """A change of basis, `(code - centre) @ matrix`, and what the new codes explain."""

    centre: np.ndarray  # (n_components,)
    matrix: np.ndarray  # (n_components, n_components): a rotation times one number
    explained_variance: np.ndarray  # (n_components,): the variance of each new code
    explained_variance_ratio: np.ndarray  # (n_components,): sums to the score


def explained_share(charge: float, mean_charge: float) -> float:
    """1 - charge / mean_charge; data without any deviance are explained if nothing is charged."""
    if mean_charge > 0:
        return 1.0 - charge / mean_charge
    return float(charge <= 0)


def order_codes(codes: CodeMoments) -> CodeBasis:
    """The rotation to principal axes of the codes, in units of the variance that they explain.

    A rotation and one common factor can be absorbed into linear maps beside the code, so that no
    reconstruction changes. The factor makes the variances of the codes add up to what the
    autoencoder explains of `X`; for a linear autoencoder it is one, and all of it is PCA.
    """
    n_free = max(codes.n_samples - 1, 1)
    variances, rotation = np.linalg.eigh(codes.code_scatter / n_free)
    variances, rotation = variances[::-1].clip(min=0.0), rotation[:, ::-1]
    shares = variances / max(variances.sum(), np.finfo(float).tiny)
    explained = max(codes.score, 0.0) * codes.squares / n_free
    # Codes that explain nothing keep their size.
    factor = np.sqrt(explained / variances.sum()) if explained and variances.sum() else 1.0
    return CodeBasis(
        codes.code_mean, rotation * factor, variances * factor**2, shares * codes.score
    )


def align_signs(directions: np.ndarray) -> np.ndarray:
    """+1 or -1 for each direction, so that its largest entry becomes positive, as in PCA."""
    largest = np.abs(directions).argmax(axis=1)
    return np.where(directions[np.arange(len(directions)), largest] < 0, -1.0, 1.0)
