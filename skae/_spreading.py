"""Labels spread from few rows to all others along a graph of nearest neighbours."""

import numpy as np
from scipy import sparse
from sklearn.neighbors import kneighbors_graph

UNLABELLED = -1

# How much of a label a row keeps of its neighbours', and how often it is handed on: a label gets
# through a cluster of thousands of rows, and 0.9 left errors a third higher.
SPREADING, N_SPREADING_STEPS = 0.99, 50


def spread_labels(codes: np.ndarray, labels: np.ndarray, n_neighbors: int) -> np.ndarray:
    """The class that most reaches each row along the graph, or -1 where none arrives.

    `codes` has shape (n_samples, n_components), `labels` the positions of classes or -1.
    """
    given = np.eye(labels.max() + 1)[labels] * (labels >= 0)[:, None]
    step, reached = SPREADING * similarities(codes, n_neighbors), given
    for _ in range(N_SPREADING_STEPS):
        reached = step @ reached + given
    # Each class in proportion to its known labels: one in a dense region would take over others.
    balanced = reached * (given.sum(axis=0) / reached.sum(axis=0))
    return np.where(reached.any(axis=1), balanced.argmax(axis=1), UNLABELLED)


def similarities(codes: np.ndarray, n_neighbors: int) -> sparse.csr_array:
    """D^-1/2 W D^-1/2 of the graph of nearest neighbours; symmetric, each row on its own scale."""
    graph = kneighbors_graph(codes, min(n_neighbors, len(codes) - 1), mode="distance").tocoo()
    usual = np.sqrt(np.bincount(graph.row, graph.data**2) / n_neighbors)
    usual = np.maximum(usual, max(0.01 * usual.mean(), 1e-30))  # copies have no distance
    weights = np.exp(-(graph.data**2) / (usual[graph.row] * usual[graph.col]))
    W = sparse.csr_array((weights, (graph.row, graph.col)), shape=graph.shape)
    W = W.maximum(W.T)
    D = sparse.dia_array((W.sum(axis=1).clip(1e-30)[None] ** -0.5, 0), shape=W.shape)
    return D @ W @ D
