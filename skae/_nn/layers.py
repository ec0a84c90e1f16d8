"""The registry of layers, torch's own layers in it, and the activations.

Besides `forward` the package needs of a layer: a hand-written backward pass, the derivative along
tangents, ONNX operations, and for torch's layers the arguments of the constructor, from which files
restore them.
`LAYERS` holds these by type. To add a layer of torch, add an entry here; a layer of this package is
registered in the file that defines it.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import conv_transpose2d

from .._graph.graph import Graph


class LayerForms(NamedTuple):
    """The forms of a type of layer besides `forward`; None where it has no such form."""

    # (layer, graph, x): add the operations to a graph; returns the result.
    to_graph: Callable[[Any, Graph, str], Any] | None = None
    # (layer, x, y, gradient): the gradient in the input `x`, from that in the output `y`.
    input_gradient: Callable[[Any, Tensor, Tensor, Tensor], Tensor] | None = None
    # (layer, x, gradient): write the gradients in the parameters to their `grad`.
    parameter_gradients: Callable[[Any, Tensor, Tensor], None] | None = None
    # (layer, x, y): of an elementwise layer, the derivative of each entry of `y` in that of `x`.
    derivative: Callable[[Any, Tensor, Tensor], Tensor] | None = None
    # (layer, graph, x, y): add the operations of `derivative` to a graph.
    derivative_to_graph: Callable[[Any, Graph, str, str], Any] | None = None
    # (layer, x): of an affine layer, the layer without its bias; `x` has two axes before those of
    # an input, or one if these are vectors.
    linear_part: Callable[[Any, Tensor], Tensor] | None = None
    # For layers of torch: the arguments of the constructor, without `bias`.
    arguments: tuple[str, ...] | None = None
    has_optional_bias: bool = False  # whether the constructor has the argument `bias`


def sum_rows(values: Tensor, parameter: nn.Parameter) -> None:
    """Write the sum over rows to the gradient of a parameter that is a vector."""
    torch.sum(values, -2, keepdim=parameter.ndim > 1, out=parameter.grad)


def layer_to_graph(graph: Graph, layer: nn.Module, x: str) -> Any:
    """Add the operations of a layer to a graph; returns the name of the result."""
    forms = LAYERS.get(type(layer))
    if forms is None or forms.to_graph is None:
        raise not_exportable(layer)
    return forms.to_graph(layer, graph, x)


def not_exportable(layer: nn.Module) -> TypeError:
    """The error for a layer that has no ONNX form."""
    exportable = (cls.__name__ for cls, forms in LAYERS.items() if forms.arguments is not None)
    return TypeError(
        f"`estimator` must have a network of {', '.join(exportable)} to be exported, got a "
        f"{type(layer).__name__}."
    )


_HOOKS = [name for name in vars(nn.Module()) if name.endswith("hooks")]


def has_hooks(module: nn.Module) -> bool:
    """Whether a module has hooks, which may change what it computes."""
    return any(getattr(module, hooks) for hooks in _HOOKS)


def _sequential_to_graph(layer: nn.Sequential, graph: Graph, x: str) -> Any:
    for child in layer:
        x = layer_to_graph(graph, child, x)
    return x


def _linear_to_graph(layer: nn.Linear, graph: Graph, x: str) -> str:
    x = graph.add("MatMul", x, layer.weight.T)
    return x if layer.bias is None else graph.add("Add", x, layer.bias)


def _from_input_gradient(
    input_gradient: Callable[[Any, Tensor, Tensor, Tensor], Tensor],
) -> dict[str, Any]:
    """The forms `input_gradient` and `derivative` of an elementwise layer."""
    return {
        "input_gradient": input_gradient,
        "derivative": lambda layer, x, y: input_gradient(layer, x, y, torch.ones_like(x)),
    }


def _linear_parameter_gradients(layer: nn.Linear, x: Tensor, gradient: Tensor) -> None:
    torch.matmul(gradient.mT, x, out=layer.weight.grad)
    if layer.bias is not None:
        sum_rows(gradient, layer.bias)


def convolution_attributes(
    layer: nn.Conv2d | nn.ConvTranspose2d, output_padding: Sequence[int] | None = None
) -> dict[str, Any]:
    """The ONNX attributes of a convolution, or its transpose with `output_padding`."""
    if layer.padding_mode != "zeros" or isinstance(layer.padding, str):
        raise not_exportable(layer)
    attributes = {
        "strides": list(layer.stride),
        "pads": [*layer.padding, *layer.padding],
        "dilations": list(layer.dilation),
        "group": layer.groups,
    }
    if output_padding is not None:
        attributes["output_padding"] = list(output_padding)
    return attributes


def _conv2d_to_graph(layer: nn.Conv2d, graph: Graph, x: str) -> str:
    bias = () if layer.bias is None else (layer.bias,)
    return graph.add("Conv", x, layer.weight, *bias, **convolution_attributes(layer))


def _conv_transpose2d_to_graph(layer: nn.ConvTranspose2d, graph: Graph, x: str) -> str:
    bias = () if layer.bias is None else (layer.bias,)
    attributes = convolution_attributes(layer, layer.output_padding)
    return graph.add("ConvTranspose", x, layer.weight, *bias, **attributes)


def of_two_axes(function: Callable[[Any, Tensor], Tensor]) -> Callable[[Any, Tensor], Tensor]:
    """The function of a layer for inputs with two axes of samples instead of one."""
    return lambda layer, x: function(layer, x.flatten(0, 1)).unflatten(0, x.shape[:2])


def _conv_transpose2d_linear_part(layer: nn.ConvTranspose2d, x: Tensor) -> Tensor:
    shape: Any = layer.stride, layer.padding, layer.output_padding, layer.groups, layer.dilation
    return conv_transpose2d(x, layer.weight, None, *shape)


def _flatten_to_graph(layer: nn.Flatten, graph: Graph, x: str) -> str:
    if (layer.start_dim, layer.end_dim) != (1, -1):
        raise not_exportable(layer)
    return graph.add("Flatten", x, axis=1)


def _unflatten_to_graph(layer: nn.Unflatten, graph: Graph, x: str) -> str:
    if layer.dim != 1:
        raise not_exportable(layer)
    return graph.add("Reshape", x, np.array([-1, *layer.unflattened_size]))


def _gelu_to_graph(layer: nn.GELU, graph: Graph, x: str) -> str:
    if layer.approximate != "none":
        raise not_exportable(layer)
    share = graph.add("Add", graph.add("Erf", graph.add("Mul", x, math.sqrt(0.5))), 1.0)
    return graph.add("Mul", graph.add("Mul", x, 0.5), share)


def _gelu_derivative_to_graph(layer: nn.GELU, graph: Graph, x: str, y: str) -> str:
    share = graph.add("Add", graph.add("Erf", graph.add("Mul", x, math.sqrt(0.5))), 1.0)
    density = graph.add("Exp", graph.add("Mul", graph.add("Mul", x, x), -0.5))
    slope = graph.add("Mul", graph.add("Mul", x, density), 1 / math.sqrt(2 * math.pi))
    return graph.add("Add", graph.add("Mul", share, 0.5), slope)


def _silu_derivative_to_graph(layer: nn.SiLU, graph: Graph, x: str, y: str) -> str:
    share = graph.add("Sigmoid", x)
    return graph.add("Add", share, graph.add("Mul", y, graph.add("Sub", 1.0, share)))


_CONVOLUTION = (
    *("in_channels", "out_channels", "kernel_size", "stride", "padding"),
    *("dilation", "groups", "padding_mode"),
)

LAYERS: dict[type[nn.Module], LayerForms] = {
    nn.Sequential: LayerForms(_sequential_to_graph, arguments=()),
    nn.Linear: LayerForms(
        _linear_to_graph,
        lambda layer, x, y, gradient: gradient @ layer.weight,
        _linear_parameter_gradients,
        linear_part=lambda layer, x: x @ layer.weight.mT,
        arguments=("in_features", "out_features"),
        has_optional_bias=True,
    ),
    nn.Conv2d: LayerForms(
        _conv2d_to_graph,
        linear_part=of_two_axes(lambda layer, x: layer._conv_forward(x, layer.weight, None)),
        arguments=_CONVOLUTION,
        has_optional_bias=True,
    ),
    nn.ConvTranspose2d: LayerForms(
        _conv_transpose2d_to_graph,
        linear_part=of_two_axes(_conv_transpose2d_linear_part),
        arguments=(*_CONVOLUTION, "output_padding"),
        has_optional_bias=True,
    ),
    nn.Flatten: LayerForms(
        _flatten_to_graph,
        linear_part=of_two_axes(lambda layer, x: layer.forward(x)),
        arguments=("start_dim", "end_dim"),
    ),
    nn.Unflatten: LayerForms(
        _unflatten_to_graph,
        linear_part=of_two_axes(lambda layer, x: layer.forward(x)),
        arguments=("dim", "unflattened_size"),
    ),
    nn.GELU: LayerForms(
        _gelu_to_graph,
        derivative=lambda layer, x, y: torch.ops.aten.gelu_backward(
            torch.ones_like(x), x, approximate=layer.approximate
        ),
        derivative_to_graph=_gelu_derivative_to_graph,
        arguments=("approximate",),
    ),
    nn.Identity: LayerForms(
        lambda layer, graph, x: x,
        lambda layer, x, y, gradient: gradient,
        linear_part=lambda layer, x: x,
        arguments=(),
    ),
    nn.ReLU: LayerForms(
        lambda layer, graph, x: graph.add("Relu", x),
        **_from_input_gradient(lambda layer, x, y, gradient: gradient * (x > 0)),
        derivative_to_graph=lambda layer, graph, x, y: graph.add(
            "Where", graph.add("Greater", x, 0.0), 1.0, 0.0
        ),
        arguments=(),
    ),
    nn.Sigmoid: LayerForms(
        lambda layer, graph, x: graph.add("Sigmoid", x),
        **_from_input_gradient(lambda layer, x, y, gradient: gradient * (y * (1 - y))),
        derivative_to_graph=lambda layer, graph, x, y: graph.add(
            "Mul", y, graph.add("Sub", 1.0, y)
        ),
        arguments=(),
    ),
    nn.SiLU: LayerForms(
        lambda layer, graph, x: graph.add("Mul", x, graph.add("Sigmoid", x)),
        **_from_input_gradient(
            lambda layer, x, y, gradient: torch.ops.aten.silu_backward(gradient, x)
        ),
        derivative_to_graph=_silu_derivative_to_graph,
        arguments=(),
    ),
    nn.Tanh: LayerForms(
        lambda layer, graph, x: graph.add("Tanh", x),
        **_from_input_gradient(lambda layer, x, y, gradient: gradient * (1 - y * y)),
        derivative_to_graph=lambda layer, graph, x, y: graph.add(
            "Sub", 1.0, graph.add("Mul", y, y)
        ),
        arguments=(),
    ),
}

# For type checkers, which do not see the keys of a dictionary.
ActivationName = Literal["gelu", "identity", "logistic", "relu", "silu", "tanh"]

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "gelu": nn.GELU,
    "identity": nn.Identity,
    "logistic": nn.Sigmoid,
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
}
