"""The spreading of labels along a graph of neighbours, to the rows that have the label -1."""

from typing import Any

import numpy as np
from scipy import sparse
from sklearn.neighbors import kneighbors_graph
from sklearn.utils import check_consistent_length, column_or_1d

from .._data.labels import UNLABELED, has_label
from .._data.rows import check_labels
from .._data.sample_weight import check_sample_weight, relative
from .fine_tuning import root_mean_variance

# Weight of the neighbours in each iteration, and the number of iterations. They suffice to spread a
# label through a cluster of thousands of rows; with a weight of 0.9 the classifier made a third
# more errors.
ALPHA, N_ITERATIONS = 0.99, 50

# Classes are spread together while their sums are at most so many numbers, 64 MB.
MAX_ENTRIES = 2**23

# The least local scale, relative to its mean: duplicates of rows have distance zero.
MIN_RELATIVE_SCALE = 0.01


def accuracy(y: Any, predicted: np.ndarray, sample_weight: Any, classes: np.ndarray) -> float:
    """The share of correct predictions among the rows with labels; -1 may be a class."""
    check_labels(y)
    y = column_or_1d(y, dtype=None if hasattr(y, "dtype") else object)
    check_consistent_length(y, predicted)
    labeled = has_label(y) | (UNLABELED in classes.tolist())
    if not labeled.any():
        raise ValueError("`y` must have labels other than -1, got none.")
    weight = relative(check_sample_weight(sample_weight, len(predicted)))
    weight = None if weight is None else weight[labeled]
    if weight is not None and not weight.any():
        raise ValueError("`sample_weight` must not be zero for all rows with labels.")
    return float(np.average(predicted[labeled] == y[labeled], weights=weight))


def pseudo_label(
    codes: np.ndarray,
    labels: np.ndarray,
    rng: np.random.RandomState,
    n_neighbors: int,
    max_samples: int,
) -> np.ndarray:
    """Labels, and pseudo-labels of the other rows of the graph; else -1."""
    labeled, others = np.flatnonzero(labels >= 0), np.flatnonzero(labels < 0)
    n_others = max(max_samples - len(labeled), 0)
    in_graph = np.r_[labeled, rng.permutation(others)[:n_others]]
    pseudo_labels = labels.copy()
    if len(in_graph) > len(labeled):
        # In float64, as the standard deviation of float32 codes may be less than their unit.
        codes = codes[in_graph].astype(np.float64) / root_mean_variance(codes)
        pseudo_labels[in_graph] = spread_labels(codes, labels[in_graph], n_neighbors)
    return np.where(labels >= 0, labels, pseudo_labels)


def spread_labels(codes: np.ndarray, labels: np.ndarray, n_neighbors: int) -> np.ndarray:
    """Class of each row by label spreading, or -1 for rows not connected to a label.

    `codes` has shape (n_samples, n_components), `labels` contains indices of classes or -1.
    """
    S = ALPHA * normalized_affinity(codes, n_neighbors)
    best, largest = np.full(len(codes), UNLABELED), np.zeros(len(codes))
    n_classes, n_together = labels.max() + 1, max(MAX_ENTRIES // len(codes), 1)
    for first in range(0, n_classes, n_together):
        one_hot = labels[:, None] == np.arange(first, min(first + n_together, n_classes))
        F = one_hot.astype(np.float64)
        for _ in range(N_ITERATIONS):
            F = S @ F + one_hot
        # The total of each class is that of its labels: a class in a dense region would otherwise
        # extend into others.
        F *= one_hot.sum(axis=0) / F.sum(axis=0)
        index = F.argmax(axis=1)
        values = np.take_along_axis(F, index[:, None], axis=1)[:, 0]
        is_larger = values > largest
        best[is_larger], largest[is_larger] = first + index[is_larger], values[is_larger]
    return best


def normalized_affinity(codes: np.ndarray, n_neighbors: int) -> sparse.csr_array:
    """D^-1/2 W D^-1/2 of the symmetric graph of nearest neighbours, with local scales."""
    graph = kneighbors_graph(codes, min(n_neighbors, len(codes) - 1), mode="distance").tocoo()
    scale = np.sqrt(np.bincount(graph.row, graph.data**2) / n_neighbors)
    scale = np.maximum(scale, max(MIN_RELATIVE_SCALE * scale.mean(), 1e-30))
    weights = np.exp(-(graph.data**2) / (scale[graph.row] * scale[graph.col]))
    W = sparse.csr_array((weights, (graph.row, graph.col)), shape=graph.shape)
    W = W.maximum(W.T)
    D = sparse.dia_array((W.sum(axis=1).clip(1e-30)[None] ** -0.5, 0), shape=W.shape)
    return D @ W @ D
