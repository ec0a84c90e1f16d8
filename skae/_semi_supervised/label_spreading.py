"""Labels: which rows have one, and how they spread to others along a graph of neighbours."""

import warnings

import numpy as np
from scipy import sparse
from sklearn.neighbors import kneighbors_graph
from sklearn.utils.multiclass import check_classification_targets

UNLABELED = -1

# How much of a label a row keeps of its neighbours', and how often it is handed on: a label gets
# through a cluster of thousands of rows, and 0.9 left errors a third higher.
SPREADING, N_SPREADING_STEPS = 0.99, 50


def encode_labels(y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The classes, and for each row the position of its class, or -1."""
    text = y.dtype.kind in "US"
    if text and "-1" in y.astype(str):
        raise ValueError(
            "`y` must not hold '-1' as a string: give strings and the number -1, for rows without "
            "a label, in an array with dtype=object."
        )
    known = np.full(len(y), True) if text else y != UNLABELED
    if len(set(y[known].tolist())) == 1 and not known.all():
        warnings.warn(
            f"`y` has no values but {y[known].tolist()[0]!r} and -1, so these are taken as two "
            "classes: -1 means no label only beside two or more others.",
            UserWarning,
            stacklevel=3,
        )
        known[:] = True
    check_classification_targets(y[known])
    classes, positions = np.unique(y[known], return_inverse=True)
    if len(classes) < 2:
        raise ValueError(f"`y` must have at least two classes, got 1 class: {classes.tolist()}.")
    labels = np.full(len(y), UNLABELED)
    labels[known] = positions
    return classes, labels


def spread_labels(codes: np.ndarray, labels: np.ndarray, n_neighbors: int) -> np.ndarray:
    """The class that most reaches each row along the graph, or -1 where none arrives.

    `codes` has shape (n_samples, n_components), `labels` the positions of classes or -1.
    """
    given = np.eye(labels.max() + 1)[labels] * (labels >= 0)[:, None]
    step, reached = SPREADING * normalized_affinity(codes, n_neighbors), given
    for _ in range(N_SPREADING_STEPS):
        reached = step @ reached + given
    # Each class in proportion to its known labels: one in a dense region would take over others.
    balanced = reached * (given.sum(axis=0) / reached.sum(axis=0))
    return np.where(reached.any(axis=1), balanced.argmax(axis=1), UNLABELED)


def normalized_affinity(codes: np.ndarray, n_neighbors: int) -> sparse.csr_array:
    """D^-1/2 W D^-1/2 of the graph of nearest neighbours; symmetric, each row on its own scale."""
    graph = kneighbors_graph(codes, min(n_neighbors, len(codes) - 1), mode="distance").tocoo()
    usual = np.sqrt(np.bincount(graph.row, graph.data**2) / n_neighbors)
    usual = np.maximum(usual, max(0.01 * usual.mean(), 1e-30))  # copies have no distance
    weights = np.exp(-(graph.data**2) / (usual[graph.row] * usual[graph.col]))
    W = sparse.csr_array((weights, (graph.row, graph.col)), shape=graph.shape)
    W = W.maximum(W.T)
    D = sparse.dia_array((W.sum(axis=1).clip(1e-30)[None] ** -0.5, 0), shape=W.shape)
    return D @ W @ D
