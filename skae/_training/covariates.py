"""Principal covariates: linear codes that reconstruct rows and predict their targets.

Principal covariates regression (de Jong and Kiers, 1992) minimises
``mixing * |X - T P|^2 / |X|^2 + (1 - mixing) * |Y - T Q|^2 / |Y|^2`` over linear codes T of the
rows and the matrices P and Q. Here it is computed from the leading principal components.
"""

from typing import NamedTuple

import numpy as np
import torch

from .._data.array_api import as_numpy
from .._data.forks import IMPORT_LOCK
from .fit_data import FitData, generator
from .pca import PrincipalComponents

# The codes are combinations of so many principal components, unless there are more codes.
N_DIRECTIONS = 64
# The regression, and the linear model of the targets, are fitted to at most so many training rows.
MAX_ROWS = 20_000
# Penalties of the ridge regression, in units of the mean variance of the principal components.
PENALTIES = np.logspace(-6, 1, 15)


class Covariates(NamedTuple):
    """Linear codes ``encoder @ (x - mean)``, decoded by ``mean + components.T @ code``."""

    pca: PrincipalComponents  # with the components of the decoder, in standard units
    encoder: np.ndarray  # (n_components, n_features)


def rows_with_targets(data: FitData) -> np.ndarray:
    """Indices of at most `MAX_ROWS` random training rows that have a target."""
    assert data.targets is not None
    train = data.train.cpu().numpy()
    has_target = ~np.isnan(data.targets.values[train]).all(axis=1)
    index = train[has_target]
    order = torch.randperm(len(index), generator=generator(data.seeds.components)).numpy()
    return index[np.sort(order[:MAX_ROWS])]


def principal_covariates(
    data: FitData, targets: np.ndarray, n_components: int, mixing: float
) -> Covariates:
    """The codes for targets of mean zero and variance one, (n_samples, n_targets); NaN: missing."""
    n_directions = max(min(N_DIRECTIONS, *data.X.shape, data.n_rows - 1), n_components)
    pca = data.principal_components(n_directions)
    std = np.where(pca.code_std > 1e-12 * pca.code_std[0], pca.code_std, np.inf)
    total = (pca.code_std**2).sum() + (pca.residual_std**2).sum()
    slopes = _slopes(data, pca, targets)  # (n_directions, n_targets), of codes of unit variance
    # The covariance that the codes of unit variance along its eigenvectors maximise.
    covariance = (1 - mixing) / targets.shape[1] * slopes @ slopes.T
    covariance[np.diag_indices_from(covariance)] += mixing * pca.code_std**2 / (total or 1.0)
    vectors = np.linalg.eigh(covariance)[1][:, ::-1][:, :n_components]
    # Codes in the units of rows, such that the rows of the decoder are orthonormal.
    left, sizes, components = np.linalg.svd(
        (vectors.T * pca.code_std) @ pca.components, full_matrices=False
    )
    encoder = sizes[:, None] * (left.T @ (vectors.T / std)) @ pca.components
    variance = pca.residual_std**2 + pca.code_std**2 @ pca.components**2
    residual = np.sqrt((variance - sizes**2 @ components**2).clip(min=0.0))
    signs = np.sign(components[np.arange(n_components), np.abs(components).argmax(axis=1)])
    path = pca._replace(
        components=signs[:, None] * components,
        code_std=sizes,
        residual_std=residual,
        coordinates=None,
    )
    return Covariates(path, signs[:, None] * encoder)


def _slopes(data: FitData, pca: PrincipalComponents, targets: np.ndarray) -> np.ndarray:
    """Slopes of the targets in the codes of PCA, of unit variance, by ridge regression.

    They are multiplied by the root of the share of the rows whose target is known.
    """
    with IMPORT_LOCK:  # here, as it would take time at import
        from sklearn.linear_model import RidgeCV

    index = rows_with_targets(data)
    mean = (data.moments.mean - data.shift) / data.scale
    unit = data.moments.rms_std / data.scale
    x = as_numpy(data.rows[torch.from_numpy(index).to(data.device)]).astype(np.float64)
    codes = np.nan_to_num((x - mean) / unit) @ pca.components.T
    codes -= codes.mean(axis=0)
    penalties = PENALTIES * len(index) * np.mean(pca.code_std**2)
    slopes = np.zeros((len(pca.components), targets.shape[1]))
    shares = 1 - np.isnan(targets[data.train.cpu().numpy()]).mean(axis=0)
    for j, target in enumerate(targets[index].T):
        known = ~np.isnan(target)
        if known.sum() > 1 and penalties[0] > 0:
            weights = None if data.weights is None else data.weights[index[known]]
            ridge = RidgeCV(penalties).fit(codes[known], target[known], weights)
            slopes[:, j] = ridge.coef_
    return slopes * pca.code_std[:, None] * np.sqrt(shares)
