"""Leading eigenvectors by products with vectors."""

import numpy as np
import pytest
import torch

from skae._training.lobpcg import lobpcg


@pytest.mark.parametrize("library", [np.asarray, torch.from_numpy], ids=["numpy", "torch"])
def test_the_vectors_are_the_leading_eigenvectors(library, global_random_seed):
    rng = np.random.RandomState(global_random_seed)
    axes = np.linalg.qr(rng.normal(size=(60, 60)))[0]
    matrix = library(axes * 0.8 ** np.arange(60) @ axes.T)
    found = np.asarray(lobpcg(lambda v: matrix @ v, library(rng.normal(size=(60, 8))), 3))
    # The iteration stops by the explained variance, whose error is the square of that of vectors.
    np.testing.assert_allclose(np.abs(found.T @ axes[:, :3]), np.eye(3), atol=1e-2)
