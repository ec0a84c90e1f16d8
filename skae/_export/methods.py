"""The methods of a fitted autoencoder as graphs, each with an input named "X"."""

import math
from typing import NamedTuple

import numpy as np
from sklearn.utils.validation import check_is_fitted
from torch import nn

from .._autoencoders.base import BaseAutoencoder
from .._autoencoders.sparse import SparseAutoencoder
from .._autoencoders.vae import VAE
from .._data.messages import described
from .._data.table_rows import table_of
from .._data.torch_defaults import with_torch_defaults
from .._graph.graph import Graph
from .._losses.importance_weighted import antithetic_normal
from .._nn.autoencoder import Autoencoder
from .._nn.landmarks import LandmarkAutoencoder
from .._nn.layers import not_exportable
from .._nn.predicting import PredictingAutoencoder
from .._nn.sparse_coder import SparseCoder
from .._nn.variational import VariationalAutoencoder
from .table_graph import decode_table_graph, encode_table_graph

METHODS = ("transform", "inverse_transform", "reconstruct", "score_samples")

# Networks and methods that the graphs reproduce. Any other, such as that of a subclass with its own
# `encode` or `transform`, is an error rather than exported incorrectly.
NETWORKS: tuple[type[nn.Module], ...] = (
    Autoencoder,
    LandmarkAutoencoder,
    PredictingAutoencoder,
    SparseCoder,
    VariationalAutoencoder,
)
KNOWN_METHODS = {
    *(getattr(BaseAutoencoder, method) for method in METHODS),
    *(getattr(VAE, method) for method in METHODS),
    SparseAutoencoder.transform,  # the codes, not as CSR
}


class Program(NamedTuple):
    """One method as a graph, and the sizes of its input and output."""

    graph: Graph
    output: str
    n_columns: int
    n_outputs: tuple[int, ...]  # empty for one number a row


@with_torch_defaults
def program(estimator: BaseAutoencoder, method: str) -> Program:
    """A method of a fitted estimator as a graph."""
    if method not in METHODS:
        raise ValueError(f"`method` must be one of {', '.join(METHODS)}, got {described(method)}.")
    check_is_fitted(estimator)
    graph, fitted = Graph(), estimator.network_
    if getattr(type(estimator), method) not in KNOWN_METHODS:
        raise TypeError(f"`method` {method} of {type(estimator).__name__} cannot be exported.")
    if type(fitted.network) not in NETWORKS:
        raise not_exportable(fitted.network)
    n_features, n_components = estimator.n_features_in_, estimator.n_components_
    width = estimator.mean_.shape[0]
    if method == "inverse_transform":
        return Program(graph, _decode(graph, estimator, "X"), n_components, (width,))
    x = "X" if (table := table_of(estimator)) is None else encode_table_graph(graph, table, "X")
    if method == "transform":
        return Program(graph, fitted.encode_graph(graph, x), n_features, (n_components,))
    if method == "reconstruct":
        rows = _decode(graph, estimator, fitted.encode_graph(graph, x))
        return Program(graph, rows, n_features, (width,))
    score = _evidence_lower_bound if isinstance(estimator, VAE) else _negative_loss
    return Program(graph, score(graph, estimator, x), n_features, ())


def _decode(graph: Graph, estimator: BaseAutoencoder, code: str) -> str:
    raw = estimator.network_.decode_graph(graph, code)
    mean = estimator._reconstruction_loss.mean_graph(graph, raw)
    table = table_of(estimator)
    return mean if table is None else decode_table_graph(graph, table, mean)


def _negative_loss(graph: Graph, estimator: BaseAutoencoder, x: str) -> str:
    fitted, loss, unit = estimator.network_, estimator._reconstruction_loss, 1.0
    code = fitted.encode_graph(graph, x)
    if loss.degree:  # in the network's units: columns far from zero would be rounded
        raw = fitted.network.decode_graph(graph, fitted.to_network_code_graph(graph, code))
        x, unit = fitted.standardize_graph(graph, x), fitted.scale.item() ** loss.degree
    else:
        raw = fitted.decode_graph(graph, code)
    return graph.add("Mul", loss.loss_graph(graph, raw, x), -unit)


def _evidence_lower_bound(graph: Graph, estimator: BaseAutoencoder, x: str) -> str:
    """The evidence lower bound of each row, as in `VAE.score_samples`."""
    assert isinstance(estimator, VAE)
    fitted, loss = estimator.network_, estimator._reconstruction_loss
    network: VariationalAutoencoder = fitted.network
    n_features, n_components = estimator.mean_.shape[0], estimator.n_components_
    noise = antithetic_normal(n_components, estimator._noise_seed)
    x = fitted.standardize_graph(graph, x)
    mean, log_var = network.posterior_graph(graph, x)
    std = graph.add("Exp", graph.add("Mul", log_var, 0.5))
    # All codes of all rows: (n, 1, n_components) and (n_codes, n_components).
    column = np.array([-1, 1, n_components])
    deviations = graph.add("Mul", graph.add("Reshape", std, column), noise)
    codes = graph.add("Add", graph.add("Reshape", mean, column), deviations)
    codes = graph.add("Reshape", codes, np.array([-1, n_components]))
    raw = network.decode_graph(graph, codes)
    # Each row as often as there are codes of it.
    rows = graph.add("Reshape", x, np.array([-1, 1, n_features]))
    rows = graph.add("Add", rows, np.zeros((len(noise), 1)))
    rows = graph.add("Reshape", rows, np.array([-1, n_features]))
    log_scale = network.decoder.log_scale.item()
    nats = loss.negative_log_likelihood_graph(graph, raw, rows, log_scale)
    nats = graph.sum_columns(graph.add("Reshape", nats, np.array([-1, len(noise)])))
    nats = graph.add("Div", nats, float(len(noise)))
    if loss.degree:  # the density in the units of X
        log_unit = math.log(fitted.scale.item())
        nats = graph.add("Add", nats, graph.add("Mul", graph.count_observed(x), log_unit))
    divergence = _gaussian_kl(graph, mean, log_var, std)
    return graph.add("Mul", graph.add("Add", nats, divergence), -1.0)


def _gaussian_kl(graph: Graph, mean: str, log_var: str, std: str) -> str:
    squares = graph.add("Add", graph.add("Mul", std, std), graph.add("Mul", mean, mean))
    excess = graph.add("Sub", squares, graph.add("Add", log_var, 1.0))
    return graph.add("Mul", graph.sum_columns(excess), 0.5)
