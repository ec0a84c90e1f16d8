"""Leading eigenvectors of a matrix that is only multiplied by vectors."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

# The relative gain in explained variance of a pass at which the iteration stops, and the most
# passes.
CONVERGED, MAX_PASSES = 1e-7, 50


def lobpcg(times: Callable[[Any], Any], vectors: Any, n_vectors: int) -> Any:
    """Leading eigenvectors by the method of Knyazev (SIAM J. Sci. Comput. 23, 2001), LOBPCG.

    `times` multiplies vectors by the matrix, and `vectors` are the first. Each pass multiplies the
    residuals of a few vectors; the next vectors are the best in the span of these, the residuals
    and the last step. The result is (n, n_vectors), in the order of the eigenvalues.
    """
    xp: Any = torch if isinstance(vectors, Tensor) else np
    size = vectors.shape[1]
    basis = product = vectors[:, :0]
    explained = 0.0
    for _ in range(MAX_PASSES):
        for _ in range(2):  # once leaves rounding errors in vectors that are nearly in the span
            vectors = xp.linalg.qr(vectors - basis @ (basis.T @ vectors))[0]
        basis = xp.concatenate([basis, vectors], 1)
        product = xp.concatenate([product, times(vectors)], 1)
        variances, rotation = xp.linalg.eigh(basis.T @ product)  # in ascending order
        before, explained = explained, float(variances[-n_vectors:].sum())
        if explained - before <= CONVERGED * explained:
            break
        leading = rotation[:, -size:]
        vectors = product @ leading - basis @ leading * variances[-size:]
        step = xp.concatenate([xp.zeros_like(leading[:size]), leading[size:]])
        span = xp.linalg.qr(xp.concatenate([leading, step], 1)[:, : len(rotation)])[0]
        basis, product = basis @ span, product @ span
    return xp.flip(basis @ rotation[:, -n_vectors:], (1,))
