"""Layers of dense networks that torch does not have."""

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, softshrink

from .._graph.graph import Graph
from .layers import LAYERS, LayerForms, sum_rows


class Whitening(nn.Module):
    """A fixed map to the leading principal components, approximately standardised.

    An optimiser that has one step size per weight converges faster in these coordinates, and the
    first dense layer, which dominates the cost for wide rows, becomes small.
    """

    matrix: Tensor  # (n_features, n_whitened)

    def __init__(self, matrix: Tensor):
        super().__init__()
        self.register_buffer("matrix", matrix.contiguous())

    def forward(self, x: Tensor) -> Tensor:
        """Whiten centred rows."""
        return x @ self.matrix

    def input_gradient(self, x: Tensor, y: Tensor, gradient: Tensor) -> Tensor:
        """The gradient in the input."""
        return gradient @ self.matrix.mT

    def to_graph(self, graph: Graph, x: str) -> str:
        """Add the layer to a graph."""
        return graph.add("MatMul", x, self.matrix)


class SoftClip(nn.Module):
    """The identity up to an absolute value of `limit`, logarithmic growth beyond."""

    def __init__(self, limit: float):
        super().__init__()
        self.limit = limit

    def forward(self, x: Tensor) -> Tensor:
        """Clip each entry."""
        excess = softshrink(x, self.limit)
        # Not by `abs` and `copysign`: their second derivatives would add up zeros in a way for
        # which torch imports its compiler, which takes seconds.
        sign = excess.detach().sign()
        return torch.addcmul(x - excess, sign, (sign * excess).log1p())

    def input_gradient(self, x: Tensor, y: Tensor, gradient: Tensor) -> Tensor:
        """The gradient in the input."""
        return gradient / softshrink(x, self.limit).abs().add_(1)

    def derivative(self, x: Tensor, y: Tensor) -> Tensor:
        """The derivative of each entry."""
        return softshrink(x, self.limit).abs().add_(1).reciprocal_()

    def to_graph(self, graph: Graph, x: str) -> str:
        """Add the layer to a graph."""
        clipped = graph.add("Clip", x, -self.limit, self.limit)
        excess = graph.add("Sub", x, clipped)
        growth = graph.add("Log", graph.add("Add", graph.add("Abs", excess), 1.0))
        return graph.add("Add", clipped, graph.add("Mul", graph.add("Sign", excess), growth))

    def derivative_to_graph(self, graph: Graph, x: str, y: str) -> str:
        """Add the operations of `derivative` to a graph."""
        excess = graph.add("Sub", x, graph.add("Clip", x, -self.limit, self.limit))
        return graph.add("Div", 1.0, graph.add("Add", graph.add("Abs", excess), 1.0))


class LayerScale(nn.Module):
    """A learned factor for each output, initialised to zero."""

    def __init__(self, n_outputs: int):
        super().__init__()
        self.factor = nn.Parameter(torch.zeros(n_outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Scale each output."""
        return self.factor * x

    def input_gradient(self, x: Tensor, y: Tensor, gradient: Tensor) -> Tensor:
        """The gradient in the input."""
        return gradient * self.factor

    def parameter_gradients(self, x: Tensor, gradient: Tensor) -> None:
        """Write the gradient in the factors."""
        sum_rows(gradient * x, self.factor)

    def to_graph(self, graph: Graph, x: str) -> str:
        """Add the layer to a graph."""
        return graph.add("Mul", x, self.factor)


class TransposedLinear(nn.Module):
    """A dense layer whose matrix is the transpose of another layer's."""

    def __init__(self, other: nn.Linear):
        super().__init__()
        # In a tuple: as a submodule its parameters would be listed, saved and moved twice.
        self._linear = (other,)
        self.bias = nn.Parameter(torch.zeros(other.in_features))

    def forward(self, x: Tensor) -> Tensor:
        """Apply the transposed matrix, or as many of its rows as `x` has columns."""
        return linear(x, self._linear[0].weight[: x.shape[1]].t(), self.bias)

    def linear_part(self, x: Tensor) -> Tensor:
        """The same without the bias."""
        return x @ self._linear[0].weight[: x.shape[-1]]

    def to_graph(self, graph: Graph, x: str) -> str:
        """Add the layer to a graph."""
        matrix = self._linear[0].weight[: graph.n_inputs.get(self)]
        return graph.add("Add", graph.add("MatMul", x, matrix), self.bias)


LAYERS |= {
    Whitening: LayerForms(
        Whitening.to_graph, Whitening.input_gradient, linear_part=Whitening.forward
    ),
    SoftClip: LayerForms(
        SoftClip.to_graph,
        SoftClip.input_gradient,
        derivative=SoftClip.derivative,
        derivative_to_graph=SoftClip.derivative_to_graph,
    ),
    LayerScale: LayerForms(
        LayerScale.to_graph,
        LayerScale.input_gradient,
        LayerScale.parameter_gradients,
        linear_part=LayerScale.forward,
    ),
    TransposedLinear: LayerForms(
        TransposedLinear.to_graph, linear_part=TransposedLinear.linear_part
    ),
}
