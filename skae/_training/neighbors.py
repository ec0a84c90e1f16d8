"""Nearest neighbours of rows: exact among up to 20,000 rows, approximate among more.

Approximate neighbours of a row are searched for in the clusters that are nearest to its own one (an
inverted file, as of H. Jégou, M. Douze and C. Schmid, "Product quantization for nearest neighbor
search", 2011). Wide rows are replaced by their leading singular components before.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from .._data.forks import IMPORT_LOCK

MAX_EXACT_ROWS = 20_000
# Of the approximate search: the number of singular components, the rows in the nearest clusters
# among which neighbours are searched for, the iterations of k-means and the rows of each cluster
# that k-means uses.
N_SINGULAR, N_CANDIDATES, N_ITER, ROWS_OF_CLUSTER = 100, 15_000, 5, 50

# The largest entry of Euclidean distances, divided by the usual one. Distances in units of the
# largest one are compared in float32, in which those between the other rows would be zero.
FARTHEST = 1e15

N_TIES = 10  # rows that are found in addition, as they may be as near as the last neighbour
BLOCK_ENTRIES = 2**22  # distances in memory at once

# Metrics of rows that need no further parameters; those of scikit-learn.
METRICS = (
    "euclidean", "cosine", "manhattan", "chebyshev", "correlation", "braycurtis", "canberra",
    "hamming", "jaccard", "dice", "russellrao", "yule",
)  # fmt: skip
# Those that scikit-learn has for sparse rows.
OF_SPARSE_ROWS = ("euclidean", "cosine", "manhattan")
# Those whose order is that of Euclidean distances of some features.
APPROXIMATED = ("euclidean", "cosine")

Metric = str | Callable[[np.ndarray, np.ndarray], float]


def nearest_neighbors(X: Any, n_neighbors: int, metric: Metric, seed: int) -> np.ndarray:
    """Indices of the nearest other rows of each row, nearest first, (n_samples, n_neighbors).

    `X` is an array or CSR matrix without missing entries.
    """
    X = _in_units(X, _unit(X), metric)
    if X.shape[0] > MAX_EXACT_ROWS and metric in APPROXIMATED:
        features = _euclidean_features(X, metric, seed)
        return _by_clusters(torch.from_numpy(features), n_neighbors, seed).numpy()
    n_found = min(n_neighbors + N_TIES, X.shape[0] - 1)
    distances, found = _search(X, None, n_found, metric)
    # Rows at equal distances, frequent in data of integers, in the order of the rows: rounding
    # errors do not select among them.
    rounded = (distances / (distances.max() or 1.0)).astype(np.float32)
    order = np.lexsort((found, rounded))[:, :n_neighbors]
    return np.take_along_axis(found, order, axis=1)


def nearest_rows(X: Any, queries: Any, metric: Metric) -> np.ndarray:
    """Index of the nearest row of `X` for each row of `queries`, (n_queries,).

    If `X` has more than 20,000 rows, it is the nearest one of at most so many of them.
    """
    step, unit = math.ceil(X.shape[0] / MAX_EXACT_ROWS), _unit(X)
    rows, queries = (_in_units(part, unit, metric) for part in (_evenly_spaced(X), queries))
    return step * _search(rows, queries, 1, metric)[1][:, 0]


def _unit(X: Any) -> float:
    """The median of the largest entries of rows; 1 unless it is very large or small."""
    sizes = _largest_entries(_evenly_spaced(X))
    unit = float(np.median(sizes[sizes > 0])) if sizes.any() else 1.0
    return 1.0 if 1e-6 < unit < 1e6 else unit


def _in_units(X: Any, unit: float, metric: Metric) -> Any:
    """Rows whose squares neither overflow nor underflow; of other metrics unchanged.

    The distances of a few far rows are limited, such that they do not become the unit of all.
    """
    if metric == "cosine":  # of rows that are much smaller than others, too
        inverse = 1 / np.maximum(_largest_entries(X), np.finfo(X.dtype).tiny)
        return sparse.diags(inverse).tocsr() @ X if sparse.issparse(X) else X * inverse[:, None]
    if metric != "euclidean":
        return X
    with np.errstate(over="ignore"):
        scaled = X if unit == 1 else X / unit
    if abs(scaled).max() <= FARTHEST:
        return scaled
    if sparse.issparse(scaled):
        scaled = scaled.copy()
        scaled.data = scaled.data.clip(-FARTHEST, FARTHEST)
        return scaled
    return scaled.clip(-FARTHEST, FARTHEST)


def _largest_entries(X: Any) -> np.ndarray:
    largest = abs(X).max(axis=1)
    return largest.toarray().ravel() if sparse.issparse(largest) else np.asarray(largest)


def _evenly_spaced(X: Any) -> Any:
    """At most `MAX_EXACT_ROWS` of the rows."""
    return X[:: math.ceil(X.shape[0] / MAX_EXACT_ROWS)]


def _search(
    X: Any, queries: Any, n_neighbors: int, metric: Metric
) -> tuple[np.ndarray, np.ndarray]:
    """Distances and indices of the nearest rows of `X`; of the nearest other rows without queries.

    Distances that are not defined, such as those of Booleans between rows of zeros, are zero.
    """
    if sparse.issparse(X) and isinstance(metric, str) and metric not in OF_SPARSE_ROWS:
        allowed = ", ".join(map(repr, OF_SPARSE_ROWS))
        raise ValueError(
            f"`metric` must be one of {allowed} or a callable for large sparse rows, got "
            f"{metric!r}: pass X.toarray()."
        )
    if metric == "yule":  # scikit-learn converts rows to Booleans, with a warning
        X, queries = X.astype(bool), None if queries is None else queries.astype(bool)
    if isinstance(metric, str):
        distances, found = _fitted(X, metric).kneighbors(queries, n_neighbors)
        return np.nan_to_num(distances), found
    rule = "`metric` must return a number for any two rows that is finite and not negative"
    try:
        distances, found = _fitted(X, metric).kneighbors(queries, n_neighbors)
    except (ArithmeticError, LookupError, SystemError, TypeError, ValueError) as error:
        raise ValueError(f"{rule}; the search for neighbours failed: {error}") from error
    if not (np.isfinite(distances) & (distances >= 0)).all():
        raise ValueError(f"{rule}, got {distances.min()}.")
    return distances, found


def _fitted(X: Any, metric: Metric, algorithm: str = "auto") -> Any:
    with IMPORT_LOCK:  # here, as most fits do not need it
        from sklearn.neighbors import NearestNeighbors
    return NearestNeighbors(metric=metric, algorithm=algorithm).fit(X)


def _euclidean_features(X: Any, metric: Metric, seed: int) -> np.ndarray:
    """A few features whose Euclidean distances have nearly the order of the metric."""
    with IMPORT_LOCK:
        from sklearn.decomposition import TruncatedSVD
        from sklearn.preprocessing import normalize
    if metric == "cosine":
        X = normalize(X)
    if X.shape[1] > N_SINGULAR:
        X = TruncatedSVD(N_SINGULAR, random_state=seed).fit_transform(X)
    elif not isinstance(X, np.ndarray):
        X = X.toarray()
    return np.ascontiguousarray(X - np.median(_evenly_spaced(X), axis=0), dtype=np.float32)


def _by_clusters(rows: Tensor, n_neighbors: int, seed: int) -> Tensor:
    """Nearest neighbours among the rows of the nearest clusters, (n_samples, n_neighbors)."""
    centres = cluster_centers(rows, math.isqrt(len(rows)), seed)
    members = _members(_nearest(rows, centres), len(centres))
    sizes = torch.tensor([len(own) for own in members])
    n_candidates = min(max(N_CANDIDATES, n_neighbors + 1), len(rows))
    found = torch.empty(len(rows), n_neighbors, dtype=torch.int64)
    for own, order in zip(members, torch.cdist(centres, centres).argsort(1), strict=True):
        if not len(own):
            continue
        n_enough = int((sizes[order].cumsum(0) < n_candidates).sum()) + 1
        nearest = order[:n_enough].tolist()
        candidates = torch.cat([members[cluster] for cluster in nearest])
        fitted = _fitted(rows[candidates].numpy(), "euclidean", algorithm="brute")
        # One more, as the row itself is among them, which may be missing among equal rows.
        nearest_of_own = fitted.kneighbors(
            rows[own].numpy(), n_neighbors + 1, return_distance=False
        )
        nearby = candidates[torch.from_numpy(nearest_of_own)]
        is_other = nearby != own[:, None]
        is_other[is_other.all(1), -1] = False
        found[own] = nearby[is_other].view(len(own), n_neighbors)
    return found


def cluster_centers(rows: Tensor, n_clusters: int, seed: int) -> Tensor:
    """The centres of clusters of a sample of the rows by k-means, (n_clusters, n_features)."""
    with IMPORT_LOCK:
        from sklearn.cluster import MiniBatchKMeans
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))
    sample = rows[order[: ROWS_OF_CLUSTER * n_clusters]].numpy()
    k_means = MiniBatchKMeans(n_clusters, n_init=1, max_iter=N_ITER, random_state=seed)
    return torch.from_numpy(k_means.fit(sample).cluster_centers_).to(rows)


def _nearest(rows: Tensor, centres: Tensor) -> Tensor:
    """The nearest centre of each row, (n_samples,)."""
    size = max(BLOCK_ENTRIES // len(centres), 1)
    return torch.cat([torch.cdist(block, centres).argmin(1) for block in rows.split(size)])


def _members(cluster: Tensor, n_clusters: int) -> list[Tensor]:
    """The rows of each cluster."""
    order = cluster.argsort(stable=True)
    return list(order.split(cluster.bincount(minlength=n_clusters).tolist()))
