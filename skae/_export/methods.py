"""The methods of a fitted autoencoder as graphs, each from an input named "X"."""

import math
from typing import NamedTuple

import numpy as np
from sklearn.utils.validation import check_is_fitted

from .._autoencoders.base import BaseAutoencoder
from .._autoencoders.sparse import SparseAutoencoder
from .._autoencoders.vae import VAE
from .._losses.importance_weighted import antithetic_normal
from .._losses.reconstruction import AbsoluteError, LogLoss, Poisson, SquaredError
from .graph import Graph, decode, decode_core, encode, posterior, standard

METHODS = ("transform", "inverse_transform", "reconstruct", "score_samples")


class Program(NamedTuple):
    """One method as a graph, and the sizes of what goes in and comes out."""

    graph: Graph
    output: str
    n_columns: int
    n_outputs: tuple[int, ...]  # empty for a number a row


def program(estimator: BaseAutoencoder, method: str) -> Program:
    """A method of a fitted estimator as a graph."""
    if method not in METHODS:
        raise ValueError(f"`method` must be one of {', '.join(METHODS)}, got {method!r}.")
    check_is_fitted(estimator)
    if getattr(type(estimator), method) not in KNOWN_METHODS:
        raise TypeError(f"`method` {method} of {type(estimator).__name__} cannot be exported.")
    graph, fitted = Graph(), estimator.network_
    n_features, n_components = estimator.n_features_in_, estimator.n_components_
    if method == "inverse_transform":
        return Program(graph, _rows(graph, estimator, "X"), n_components, (n_features,))
    if method == "transform":
        return Program(graph, encode(graph, fitted, "X"), n_features, (n_components,))
    if method == "reconstruct":
        rows = _rows(graph, estimator, encode(graph, fitted, "X"))
        return Program(graph, rows, n_features, (n_features,))
    score = _bound if isinstance(estimator, VAE) else _negative_loss
    return Program(graph, score(graph, estimator), n_features, ())


# A leaf with its own way to transform or to score is refused rather than exported wrongly.
KNOWN_METHODS = {
    *(getattr(BaseAutoencoder, method) for method in METHODS),
    *(getattr(VAE, method) for method in METHODS),
    SparseAutoencoder.transform,  # the codes, not as CSR
}


def _rows(graph: Graph, estimator: BaseAutoencoder, code: str) -> str:
    raw = decode(graph, estimator.network_, code)
    mean = {LogLoss: "Sigmoid", Poisson: "Exp"}.get(type(estimator._reconstruction))
    return graph.add(mean, raw) if mean else raw


def _negative_loss(graph: Graph, estimator: BaseAutoencoder) -> str:
    fitted = estimator.network_
    raw = decode(graph, fitted, encode(graph, fitted, "X"))
    return graph.add("Mul", _loss(graph, estimator, raw, "X"), -1.0)


def _loss(graph: Graph, estimator: BaseAutoencoder, raw: str, x: str) -> str:
    """The charge of each row, summed over its observed entries."""
    seen = graph.zero_where_missing(x, x)
    charge = CHARGES[type(estimator._reconstruction)](graph, raw, seen)
    return graph.sum_last(graph.zero_where_missing(x, charge))


def _squared(graph: Graph, raw: str, x: str) -> str:
    apart = graph.add("Sub", x, raw)
    return graph.add("Mul", apart, apart)


def _absolute(graph: Graph, raw: str, x: str) -> str:
    return graph.add("Abs", graph.add("Sub", x, raw))


def _cross_entropy(graph: Graph, raw: str, x: str) -> str:
    # softplus(raw) - x raw, where exp cannot overflow.
    decay = graph.add("Exp", graph.add("Mul", graph.add("Abs", raw), -1.0))
    above = graph.add("Log", graph.add("Add", decay, 1.0))
    softplus = graph.add("Add", graph.add("Relu", raw), above)
    return graph.add("Sub", softplus, graph.add("Mul", x, raw))


def _poisson(graph: Graph, raw: str, x: str) -> str:
    rate = graph.add("Sub", graph.add("Exp", raw), graph.add("Mul", x, raw))
    return graph.add("Add", rate, _log_factorial(graph, x))


def _log_factorial(graph: Graph, x: str) -> str:
    """log(x!), which is no operation of ONNX, by Stirling's series.

    From 8 on it is exact to 1e-11; so log(x!) = log((x + 8)!) - log((x + 1) ... (x + 8)).
    """
    factors = graph.add("Add", x, 1.0)
    for i in range(2, 9):
        factors = graph.add("Mul", factors, graph.add("Add", x, float(i)))
    z = graph.add("Add", x, 9.0)
    inverse = graph.add("Div", 1.0, z)
    square = graph.add("Mul", inverse, inverse)
    series = graph.add("Mul", square, -1 / 1680)
    for term in (1 / 1260, -1 / 360):
        series = graph.add("Mul", graph.add("Add", series, term), square)
    tail = graph.add("Mul", graph.add("Add", series, 1 / 12), inverse)
    growth = graph.add("Mul", graph.add("Sub", z, 0.5), graph.add("Log", z))
    stirling = graph.add("Sub", graph.add("Add", growth, math.log(2 * math.pi) / 2), z)
    return graph.add("Sub", graph.add("Add", stirling, tail), graph.add("Log", factors))


CHARGES = {
    SquaredError: _squared,
    AbsoluteError: _absolute,
    LogLoss: _cross_entropy,
    Poisson: _poisson,
}


def _bound(graph: Graph, estimator: VAE) -> str:
    """The evidence lower bound of each row, as `VAE.score_samples` has it."""
    fitted, loss = estimator.network_, estimator._reconstruction
    network, n_features, n_components = (
        fitted.network,
        estimator.n_features_in_,
        estimator.n_components_,
    )
    noise = antithetic_normal(n_components, estimator._noise_seed)
    x = standard(graph, fitted, "X")
    mean, log_var = posterior(graph, network, x)
    std = graph.add("Exp", graph.add("Mul", log_var, 0.5))
    # All codes of all rows: (n, 1, n_components) and (n_codes, n_components).
    column = np.array([-1, 1, n_components])
    spread = graph.add("Mul", graph.add("Reshape", std, column), noise)
    codes = graph.add("Add", graph.add("Reshape", mean, column), spread)
    raw = decode_core(graph, network, graph.add("Reshape", codes, np.array([-1, n_components])))
    raw = graph.add("Reshape", raw, np.array([-1, len(noise), n_features]))
    wide = graph.add("Reshape", x, np.array([-1, 1, n_features]))
    nats = graph.sum_last(_loss(graph, estimator, raw, wide))
    nats = graph.add("Div", nats, float(len(noise)))
    if isinstance(loss, SquaredError):
        log_scale = network.decoder.log_scale.item()
        nats = graph.add("Div", nats, loss.degree * math.exp(loss.degree * log_scale))
        each = log_scale + loss.log_volume + fitted.scale.log().item()
        ones = graph.add("Add", graph.add("Mul", graph.zero_where_missing(x, x), 0.0), each)
        nats = graph.add("Add", nats, graph.sum_last(graph.zero_where_missing(x, ones)))
    # The Kullback-Leibler divergence from the posterior to the prior.
    squares = graph.add("Add", graph.add("Mul", std, std), graph.add("Mul", mean, mean))
    excess = graph.add("Sub", squares, graph.add("Add", log_var, 1.0))
    divergence = graph.add("Mul", graph.sum_last(excess), 0.5)
    return graph.add("Mul", graph.add("Add", nats, divergence), -1.0)
