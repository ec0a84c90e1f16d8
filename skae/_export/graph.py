"""Networks as graphs of ONNX's operations, which onnxruntime or NumPy can compute without torch.

`Graph` collects operations; the functions below it say what each module of ours does in them, as
its `forward` does in torch. Names in a graph are texts: of an input, a constant or a result.
"""

import math
from collections.abc import Callable
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from .._losses.reconstruction import LogLoss, Poisson, ReconstructionLoss
from .._nn.autoencoder import Autoencoder, LayerScale, PCAPath, SoftClip, Transposed, Whitening
from .._nn.convolutional import Deconvolution
from .._nn.fitted import FittedAutoencoder, RotatedAutoencoder
from .._nn.sparse import (
    KL,
    L1,
    BatchTopK,
    Dictionary,
    JumpReLU,
    Lifetime,
    Silent,
    SparseCoder,
    TopK,
)
from .._nn.variational import NoisyDecoder, PosteriorHead, VariationalAutoencoder


class Node(NamedTuple):
    """One operation of ONNX, with one result."""

    operation: str
    inputs: tuple[str, ...]
    output: str
    attributes: dict[str, Any]


class Graph:
    """Operations in the order of their computation, and their constants."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.constants: dict[str, np.ndarray] = {}
        self.n_rows_of: dict[nn.Module, int] = {}  # where not all of a tied matrix is used

    def add(self, operation: str, *inputs: Any, **attributes: Any) -> str:
        """The name of the result; inputs that are no names, but numbers, become constants."""
        names = tuple(i if isinstance(i, str) else self._constant(i) for i in inputs)
        output = f"{operation.lower()}_{len(self.nodes)}"
        self.nodes.append(Node(operation, names, output, attributes))
        return output

    def _constant(self, value: Any) -> str:
        array = value.detach().cpu().numpy() if isinstance(value, Tensor) else np.asarray(value)
        name = f"constant_{len(self.constants)}"
        # Sizes and axes are integers; all else is cast to the precision of the graph at its end.
        self.constants[name] = array.astype(np.int64 if array.dtype.kind == "i" else np.float64)
        return name

    def sum_last(self, x: str) -> str:
        """The sum over the last axis, which goes."""
        return self.add("ReduceSum", x, np.array([-1]), keepdims=0)

    def zero_where_missing(self, x: str, value: str) -> str:
        """Zero where `x` is NaN, else `value`."""
        return self.add("Where", self.add("IsNaN", x), 0.0, value)


def encode(graph: Graph, fitted: FittedAutoencoder, x: str) -> str:
    """The codes of rows in the units of `X`."""
    code = _encode_core(graph, fitted.network, standard(graph, fitted, x))
    if not isinstance(fitted, RotatedAutoencoder):
        return graph.add("Mul", code, fitted.scale)
    return graph.add("MatMul", graph.add("Sub", code, fitted.centre), fitted.to_ordered)


def decode(graph: Graph, fitted: FittedAutoencoder, code: str) -> str:
    """The raw rows of codes."""
    if isinstance(fitted, RotatedAutoencoder):
        code = graph.add("Add", graph.add("MatMul", code, fitted.to_core), fitted.centre)
    else:
        code = graph.add("Div", code, fitted.scale)
    step = graph.add("Mul", decode_core(graph, fitted.network, code), fitted.scale)
    return graph.add("Add", step, fitted.shift)


def standard(graph: Graph, fitted: FittedAutoencoder, x: str) -> str:
    """Rows in the units of the network."""
    return graph.add("Div", graph.add("Sub", x, fitted.shift), fitted.scale)


def _encode_core(graph: Graph, network: nn.Module, x: str) -> str:
    if type(network) is VariationalAutoencoder:
        return posterior(graph, network, x)[0]
    if type(network) is SparseCoder:
        return _sparse_code(graph, network, x)
    if type(network) is not Autoencoder:
        raise _unknown(network)
    centred = _centred(graph, network.linear, x)
    step = module(graph, network.encoder, graph.add("Mul", centred, network.scales.inputs))
    step = graph.add("Mul", step, network.scales.delta_scale)
    return graph.add("Add", _linear_code(graph, network.linear, centred), step)


def _sparse_code(graph: Graph, network: SparseCoder, x: str) -> str:
    if network.n_searches:
        raise TypeError(
            "`transform_max_iter` must be 0 in an estimator to be exported: the encoder is; the "
            f"search that follows it is not, got {network.n_searches}."
        )
    units, centred = network.encoder, _centred(graph, network.linear, x)
    weight = units.weights(network.decoder)
    step = module(graph, units.network, graph.add("Mul", centred, network.scales.inputs))
    seen = centred if units.usual is None else graph.add("Add", centred, units.usual)
    pre_activation = graph.add("Add", graph.add("MatMul", seen, weight.T), units.bias)
    return module(graph, units.sparsity, graph.add("Add", pre_activation, step))


def posterior(graph: Graph, network: VariationalAutoencoder, x: str) -> tuple[str, str]:
    """Mean and log variance of the code of rows in the network's units."""
    head, centred = network.encoder, _centred(graph, network.linear, x)
    if type(head) is not PosteriorHead:
        raise _unknown(head)
    n = len(head.log_var)
    both = module(graph, head.module, graph.add("Mul", centred, network.scales.inputs))
    step, change = (graph.add("Gather", both, np.arange(i, i + n), axis=1) for i in (0, n))
    linear = graph.add("Mul", _linear_code(graph, network.linear, centred), network.gain_in)
    mean = graph.add("Add", linear, graph.add("Mul", step, network.scales.delta_scale))
    return mean, graph.add("Add", change, head.log_var)


def decode_core(graph: Graph, network: Any, code: str) -> str:
    """Codes as the network has them to raw rows in its units."""
    if type(network) is SparseCoder:
        return graph.add(
            "Add", module(graph, network.decoder, code), network.link(network.linear.mean)
        )
    # A posterior's encoder has two outputs a component: a decoder is tied to the first half.
    tied = (part for part in network.modules() if isinstance(part, Transposed))
    graph.n_rows_of |= {part: len(network.scales.codes) for part in islice(tied, 1)}
    if type(network) is VariationalAutoencoder:
        step = module(graph, network.decoder, code)
        code = graph.add("Mul", code, network.gain_out)
    elif type(network) is Autoencoder:
        scaled = graph.add("Mul", code, network.scales.codes)
        step = module(graph, network.decoder, scaled)
        if torch.isfinite(network.reach):
            length = graph.add("ReduceSum", graph.add("Mul", scaled, scaled), np.array([-1]))
            far = graph.add("Div", graph.add("Sqrt", length), network.reach)
            step = graph.add("Mul", step, graph.add("Clip", graph.add("Sub", 2.0, far), 0.0, 1.0))
    else:
        raise _unknown(network)
    linear = _linear_row(graph, network, code)
    return graph.add("Add", linear, graph.add("Mul", step, network.scales.outputs))


def _centred(graph: Graph, linear: PCAPath, x: str) -> str:
    centred = graph.add("Sub", x, linear.mean)
    return graph.zero_where_missing(centred, centred)


def _linear_code(graph: Graph, linear: PCAPath, centred: str) -> Any:
    return graph.add("MatMul", centred, linear.components.T) if linear.active else 0.0


def _linear_row(graph: Graph, network: Autoencoder, code: str) -> Any:
    """The share of the linear path, through the link."""
    linear = network.linear
    if not linear.active:
        return network.link(linear.mean)
    row = graph.add("Add", graph.add("MatMul", code, linear.components), linear.mean)
    if isinstance(loss := _loss_of(network.link), LogLoss):
        share = graph.add("Clip", row, loss.margin, 1 - loss.margin)
        return graph.add("Log", graph.add("Div", share, graph.add("Sub", 1.0, share)))
    if isinstance(loss, Poisson):
        return graph.add("Log", graph.add("Max", row, loss.margin))
    return row


def _loss_of(link: Any) -> ReconstructionLoss:
    return link.__self__  # links are methods of losses


def module(graph: Graph, part: nn.Module, x: str) -> Any:
    """What a module makes of rows."""
    if type(part) not in MODULES:
        raise _unknown(part)
    return MODULES[type(part)](graph, part, x)


def _unknown(part: nn.Module) -> TypeError:
    known = ", ".join(cls.__name__ for cls in MODULES)
    return TypeError(
        f"`estimator` must have a network of {known} to be exported, got a {type(part).__name__}."
    )


def _sequential(graph: Graph, part: Any, x: str) -> str:
    for child in part.children():
        x = module(graph, child, x)
    return x


def _linear(graph: Graph, part: Any, x: str) -> str:
    x = graph.add("MatMul", x, part.weight.T)
    return x if part.bias is None else graph.add("Add", x, part.bias)


def _transposed(graph: Graph, part: Any, x: str) -> str:
    matrix = part._other[0].weight[: graph.n_rows_of.get(part)]
    return graph.add("Add", graph.add("MatMul", x, matrix), part.bias)


def _tame(graph: Graph, part: Any, x: str) -> str:
    near = graph.add("Clip", x, -part.limit, part.limit)
    beyond = graph.add("Sub", x, near)
    growth = graph.add("Log", graph.add("Add", graph.add("Abs", beyond), 1.0))
    return graph.add("Add", near, graph.add("Mul", graph.add("Sign", beyond), growth))


def _gelu(graph: Graph, part: Any, x: str) -> str:
    if part.approximate != "none":
        raise _unknown(part)
    share = graph.add("Add", graph.add("Erf", graph.add("Mul", x, math.sqrt(0.5))), 1.0)
    return graph.add("Mul", graph.add("Mul", x, 0.5), share)


def _unflatten(graph: Graph, part: Any, x: str) -> str:
    if part.dim != 1:
        raise _unknown(part)
    return graph.add("Reshape", x, np.array([-1, *part.unflattened_size]))


def _flatten(graph: Graph, part: Any, x: str) -> str:
    if (part.start_dim, part.end_dim) != (1, -1):
        raise _unknown(part)
    return graph.add("Flatten", x, axis=1)


def _geometry(part: Any) -> dict[str, Any]:
    if part.padding_mode != "zeros" or isinstance(part.padding, str):
        raise _unknown(part)
    return {
        "strides": list(part.stride),
        "pads": [*part.padding, *part.padding],
        "dilations": list(part.dilation),
        "group": part.groups,
    }


def _convolution(graph: Graph, part: Any, x: str) -> str:
    bias = () if part.bias is None else (part.bias,)
    return graph.add("Conv", x, part.weight, *bias, **_geometry(part))


def _deconvolution(graph: Graph, part: Any, x: str) -> str:
    bias = () if part.bias is None else (part.bias,)
    odd = list(part.output_padding)
    attributes = {"output_padding": odd, **_geometry(part)}
    return graph.add("ConvTranspose", x, part.weight, *bias, **attributes)


def _tied_deconvolution(graph: Graph, part: Any, x: str) -> str:
    (convolution,) = part._convolution
    attributes = {"output_padding": part._odd, **_geometry(convolution)}
    return graph.add("ConvTranspose", x, convolution.weight, part.bias, **attributes)


def _dictionary(graph: Graph, part: Any, code: str) -> str:
    row = graph.add("MatMul", code, part.directions)
    return graph.add("Add", row, module(graph, part.network, code))


def _top_k(graph: Graph, part: Any, pre_activation: str) -> str:
    # Units as large as the least that counts are equal to it almost never, but for zeros.
    largest = graph.add("TopK", pre_activation, np.array([part.n_nonzero]), axis=1)
    least = graph.add("Gather", largest, np.array([part.n_nonzero - 1]), axis=1)
    active = graph.add("GreaterOrEqual", pre_activation, least)
    return graph.add("Where", active, graph.add("Relu", pre_activation), 0.0)


def _above(graph: Graph, pre_activation: str, threshold: Tensor) -> str:
    return graph.add(
        "Where",
        graph.add("Greater", pre_activation, threshold),
        graph.add("Relu", pre_activation),
        0.0,
    )


MODULES: dict[type[nn.Module], Callable[[Graph, Any, str], Any]] = {
    nn.Sequential: _sequential,
    nn.Linear: _linear,
    nn.Conv2d: _convolution,
    nn.ConvTranspose2d: _deconvolution,
    nn.Flatten: _flatten,
    nn.Unflatten: _unflatten,
    nn.GELU: _gelu,
    nn.Identity: lambda graph, part, x: x,
    nn.ReLU: lambda graph, part, x: graph.add("Relu", x),
    nn.Sigmoid: lambda graph, part, x: graph.add("Sigmoid", x),
    nn.SiLU: lambda graph, part, x: graph.add("Mul", x, graph.add("Sigmoid", x)),
    nn.Tanh: lambda graph, part, x: graph.add("Tanh", x),
    BatchTopK: lambda graph, part, pre_activation: _above(graph, pre_activation, part.threshold),
    Deconvolution: _tied_deconvolution,
    Dictionary: _dictionary,
    LayerScale: lambda graph, part, x: graph.add("Mul", x, part.factor),
    JumpReLU: lambda graph, part, pre_activation: _above(
        graph, pre_activation, part.log_threshold.exp()
    ),
    KL: lambda graph, part, pre_activation: graph.add("Relu", pre_activation),
    L1: lambda graph, part, pre_activation: graph.add("Relu", pre_activation),
    Lifetime: lambda graph, part, pre_activation: _above(graph, pre_activation, part.threshold),
    NoisyDecoder: lambda graph, part, code: module(graph, part.module, code),
    Silent: lambda graph, part, x: 0.0,  # a constant where it is added
    SoftClip: _tame,
    TopK: _top_k,
    Transposed: _transposed,
    Whitening: lambda graph, part, x: graph.add("MatMul", x, part.matrix),
}
