"""The projection of rows as ONNX operations: the same steps as in `projection`."""

import copy
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from .._graph.graph import Graph, Operand
from .._graph.special_functions import solve_positive_definite
from .._losses.reconstruction import loss_of_link
from .autoencoder import Autoencoder
from .decoder_tangents import LayeredDecoder, decoder_tangents
from .layers import LAYERS, layer_to_graph
from .projection import DECREASE, INCREASE, MAX_STEP, MIN_DAMPING, START_DAMPING

# A graph has the operations of each step.
MAX_EXPORTED_STEPS = 1000


class GraphValues(NamedTuple):
    """Names of what a decoder computes from codes."""

    layers: list[str]  # the inputs of all layers, and the output of the last
    fade: str | None  # (n_samples, 1)
    linear: str | None  # the PCA path before the link
    raw: str


class DecoderGraph:
    """The decoder and its Jacobian, as `LayeredDecoder` computes them."""

    def __init__(self, graph: Graph, network: Autoencoder):
        decoder = decoder_tangents(network)
        if not isinstance(decoder, LayeredDecoder):
            raise _not_exportable(network)
        self.form, self.loss = network.decoder_form(), loss_of_link(network.link)
        network.set_inputs_of_tied_layers(graph)
        self._graph, self._network, self._layers = graph, network, decoder.layers
        self.n_features = len(network.pca_path.mean)
        self.size = len(self.form.inverse_code_scale)
        with torch.no_grad():
            origin = decoder.values(torch.zeros_like(self.form.inverse_code_scale)[None])
        self._shapes = [value.shape[1:] for value in decoder.layer_values(origin)]

    def values(self, code: str) -> GraphValues:
        """Add the decoder to the graph."""
        graph, form, network = self._graph, self.form, self._network
        layers = [graph.add("Mul", code, form.inverse_code_scale)]
        for layer in self._layers:
            layers.append(layer_to_graph(graph, layer, layers[-1]))
        delta_raw, fade = layers[-1], None
        if form.fade is not None and network.max_train_distance.isfinite():
            fade = network.fade_graph(graph, layers[0])
            delta_raw = graph.add("Mul", delta_raw, fade)
        delta_raw = graph.add("Mul", delta_raw, network.scales.output_scale)
        mean, linear = network.pca_path.mean, None
        if form.components is None:
            raw = graph.add("Add", delta_raw, network.link(mean))
        else:
            linear = graph.add("Add", graph.add("MatMul", code, form.components), mean)
            raw = graph.add("Add", delta_raw, self.loss.link_graph(graph, linear))
        return GraphValues(layers, fade, linear, raw)

    def jacobian(self, code: str, values: GraphValues) -> str:
        """Add the derivative of `raw`, (n_samples, n_components, n_features)."""
        graph, form, k = self._graph, self.form, self.size
        tangents = self._first_tangents(code, values)
        for i, layer in enumerate(self._layers):
            tangents = self._layer_tangents(i, layer, values.layers, tangents)
        jacobian = graph.add("Mul", tangents, self._network.scales.output_scale)
        jacobian = graph.add("Reshape", jacobian, np.array([-1, k, *self._shapes[-1]]))
        if form.components is None:
            return jacobian
        assert values.linear is not None
        slope = self.loss.link_derivative_graph(graph, values.linear)
        slope = graph.add("Reshape", slope, np.array([-1, 1, *self._shapes[-1]]))
        return graph.add("Add", jacobian, graph.add("Mul", slope, form.components))

    def _first_tangents(self, code: str, values: GraphValues) -> str:
        """The tangents of the first layer's input, times the fade, (n_samples * k, k)."""
        graph, k = self._graph, self.size
        ones = values.fade
        if ones is None:
            zeros = graph.add("Mul", graph.add("Gather", code, np.array([0]), axis=1), 0.0)
            ones = graph.add("Add", zeros, 1.0)
        ones = graph.add("Reshape", ones, np.array([-1, 1, 1]))
        axes = torch.diag(self.form.inverse_code_scale)[None]
        return graph.add("Reshape", graph.add("Mul", ones, axes), np.array([-1, k]))

    def _layer_tangents(self, i: int, layer: nn.Module, values: list[str], tangents: str) -> str:
        """Add the tangents of a layer's output; samples and components are one axis."""
        graph, forms = self._graph, LAYERS.get(type(layer))
        if forms is not None and forms.linear_part is not None:
            return layer_to_graph(graph, self._without_bias(layer), tangents)
        if forms is None or forms.derivative_to_graph is None:
            raise _not_exportable(layer)
        shape = self._shapes[i]
        slope = forms.derivative_to_graph(layer, graph, values[i], values[i + 1])
        slope = graph.add("Reshape", slope, np.array([-1, 1, *shape]))
        tangents = graph.add("Reshape", tangents, np.array([-1, self.size, *shape]))
        return graph.add("Reshape", graph.add("Mul", tangents, slope), np.array([-1, *shape]))

    def _without_bias(self, layer: nn.Module) -> nn.Module:
        if (bias := layer._parameters.get("bias")) is None:
            return layer
        copied = copy.copy(layer)
        copied._parameters = {**layer._parameters, "bias": nn.Parameter(torch.zeros_like(bias))}
        if layer in self._graph.n_inputs:
            self._graph.n_inputs[copied] = self._graph.n_inputs[layer]
        return copied


def _not_exportable(module: nn.Module) -> TypeError:
    return TypeError(
        f"`transform_max_iter` must be 0 to export an estimator with a {type(module).__name__}, "
        "whose derivative cannot be exported."
    )


def project_graph(network: Autoencoder, graph: Graph, x: str, code: str) -> str:
    """Add the operations of a `Projection` to a graph, those of each step after the other."""
    n_steps = network.n_projection_steps
    if n_steps > MAX_EXPORTED_STEPS:
        raise TypeError(
            f"`transform_max_iter` must be at most {MAX_EXPORTED_STEPS} to be exported, got "
            f"{n_steps}."
        )
    n_features, network = len(network.pca_path.mean), network.for_projection()
    if (added := network.pca_path.components[:, n_features:]).shape[1]:
        x = graph.add("Concat", x, graph.add("MatMul", code, added), axis=1)
    decoder = DecoderGraph(graph, network)
    k, loss = decoder.size, decoder.loss
    code = _start_graph(network, graph, x, code)
    values = decoder.values(code)
    value: Operand = loss.loss_graph(graph, values.raw, x)
    damping: Operand = START_DAMPING
    for step in range(n_steps):
        gram, right = _equations_graph(decoder, graph, x, code, values)
        change = _solve_damped_graph(graph, gram, right, damping, k)
        sizes = graph.add("Abs", graph.add("Mul", change, decoder.form.inverse_code_scale))
        longest = graph.add("TopK", sizes, np.array([1]), axis=1)
        factor = graph.add("Div", MAX_STEP, graph.add("Max", longest, MIN_DAMPING))
        change = graph.add("Mul", change, graph.add("Clip", factor, 0.0, 1.0))
        trial = graph.add("Add", code, change)
        trial_values = decoder.values(trial)
        trial_value = loss.loss_graph(graph, trial_values.raw, x)
        lower = graph.add("Greater", value, trial_value)
        column = graph.add("Reshape", lower, np.array([-1, 1]))
        code = graph.add("Where", column, trial, code)
        if step < n_steps - 1:
            value = graph.add("Where", lower, trial_value, value)
            values = decoder.values(code)
            factors = graph.add("Where", column, DECREASE, INCREASE)
            damping = graph.add("Mul", factors, damping)
    return code


def _equations_graph(
    decoder: DecoderGraph, graph: Graph, x: str, code: str, values: GraphValues
) -> tuple[str, str]:
    """Add the normal equations: (n, k, k) and (n, k, 1)."""
    jacobian = decoder.jacobian(code, values)
    filled, loss = graph.zero_where_missing(x, x), decoder.loss
    gradient = graph.zero_where_missing(x, loss.gradient_graph(graph, values.raw, filled))
    curvature = graph.zero_where_missing(x, loss.curvature_graph(graph, values.raw, filled))
    column, row = np.array([-1, decoder.n_features, 1]), np.array([-1, 1, decoder.n_features])
    descent = graph.add("Reshape", graph.add("Mul", gradient, -1.0), column)
    right = graph.add("MatMul", jacobian, descent)
    root = graph.add("Reshape", graph.add("Sqrt", curvature), row)
    weighted = graph.add("Mul", jacobian, root)
    gram = graph.add("MatMul", weighted, graph.add("Transpose", weighted, perm=[0, 2, 1]))
    return gram, right


def _solve_damped_graph(graph: Graph, gram: str, right: str, damping: Operand, k: int) -> str:
    eye = np.eye(k)
    trace = graph.add("ReduceSum", graph.add("Mul", gram, eye), np.array([1, 2]), keepdims=0)
    mean = graph.add("Reshape", graph.add("Mul", trace, 1 / k), np.array([-1, 1]))
    added = graph.add("Max", graph.add("Mul", mean, damping), MIN_DAMPING)
    added = graph.add("Mul", graph.add("Reshape", added, np.array([-1, 1, 1])), eye)
    return solve_positive_definite(graph, graph.add("Add", gram, added), right, k)


def _start_graph(network: Autoencoder, graph: Graph, x: str, code: str) -> str:
    """Add the choice of the best start to a graph."""
    loss = loss_of_link(network.link)
    candidates: list[tuple[str, str]] = []  # codes and their raw rows
    path = network.pca_path
    if network.pca_code(path.mean[None]) is not None:
        pca_code = graph.add("MatMul", path.center_graph(graph, x), path.components.mT)
        candidates.append((pca_code, network.decode_graph(graph, pca_code)))
    if len(network.anchors):
        with torch.no_grad():
            raw = network.decode(network.anchors)
        nearest = graph.add("ArgMin", _pairwise_graph(network, graph, x, raw), axis=1, keepdims=0)
        anchor = graph.add("Gather", network.anchors, nearest, axis=0)
        candidates.append((anchor, graph.add("Gather", raw, nearest, axis=0)))
    if not candidates:
        return code
    value = loss.loss_graph(graph, network.decode_graph(graph, code), x)
    for candidate, candidate_raw in candidates:
        candidate_value = loss.loss_graph(graph, candidate_raw, x)
        lower = graph.add("Greater", value, candidate_value)
        code = graph.add("Where", graph.add("Reshape", lower, np.array([-1, 1])), candidate, code)
        value = graph.add("Where", lower, candidate_value, value)
    return code


def _pairwise_graph(network: Autoencoder, graph: Graph, x: str, raw: Tensor) -> str:
    """Add the losses of all rows at all anchors to a graph."""
    loss = loss_of_link(network.link)
    if (terms := loss.bilinear_terms(raw)) is None:
        columns = []
        for row in raw:
            zeros = graph.add("Mul", graph.zero_where_missing(x, x), 0.0)
            value = loss.loss_graph(graph, graph.add("Add", zeros, row), x)
            columns.append(graph.add("Reshape", value, np.array([-1, 1])))
        return graph.add("Concat", *columns, axis=1)
    constant, slope = terms
    filled = graph.zero_where_missing(x, x)
    ones = graph.add("Add", graph.add("Mul", filled, 0.0), 1.0)
    observed = graph.zero_where_missing(x, ones)
    constants = graph.add("MatMul", observed, constant.mT)
    return graph.add("Add", constants, graph.add("MatMul", filled, slope.mT))
