"""Each layer's hand-written gradients and ONNX operations against its `forward`."""

import importlib
import pkgutil
from typing import get_args

import numpy as np
import pytest
import torch
from networks import make_rng, randomize
from torch import nn

import skae._nn
from skae._graph.graph import Graph
from skae._graph.numpy_runtime import OPERATIONS
from skae._nn.batched_linear import BatchedLinear
from skae._nn.convolutional import GEOMETRY, TransposedConvolution
from skae._nn.custom_layers import LayerScale, SoftClip, TransposedLinear, Whitening
from skae._nn.landmark_layer import LandmarkLayer
from skae._nn.layers import ACTIVATIONS, LAYERS, ActivationName, has_hooks, layer_to_graph
from skae._nn.sparse_activations import SPARSE_ACTIVATIONS, SparseActivation, Thresholded, TopK
from skae._nn.sparse_coder import DictionaryDecoder, ZeroOutput
from skae._nn.variational import GaussianEncoder, LikelihoodDecoder

MATRIX = torch.arange(18.0, dtype=torch.float64).reshape(6, 3) / 10

# A layer of each type and the shape of its input without rows.
EXAMPLES = {
    nn.Sequential: (lambda: nn.Sequential(nn.Linear(6, 3), nn.Tanh()), (6,)),
    nn.Linear: (lambda: nn.Linear(6, 3), (6,)),
    nn.Conv2d: (lambda: nn.Conv2d(2, 3, **GEOMETRY), (2, 5, 4)),
    nn.ConvTranspose2d: (
        lambda: nn.ConvTranspose2d(3, 2, output_padding=(0, 1), **GEOMETRY),
        (3, 3, 2),
    ),
    nn.Flatten: (nn.Flatten, (2, 3)),
    nn.Unflatten: (lambda: nn.Unflatten(1, (2, 3)), (6,)),
    nn.GELU: (nn.GELU, (6,)),
    nn.Identity: (nn.Identity, (6,)),
    nn.ReLU: (nn.ReLU, (6,)),
    nn.Sigmoid: (nn.Sigmoid, (6,)),
    nn.SiLU: (nn.SiLU, (6,)),
    nn.Tanh: (nn.Tanh, (6,)),
    Whitening: (lambda: Whitening(MATRIX), (6,)),
    SoftClip: (lambda: SoftClip(1.0), (6,)),
    LayerScale: (lambda: LayerScale(6), (6,)),
    LandmarkLayer: (
        lambda: LandmarkLayer(MATRIX, nn.Sequential(nn.Linear(4, 3)), 4),
        (4,),
    ),
    TransposedLinear: (lambda: TransposedLinear(nn.Linear(3, 6).double()), (6,)),
    TransposedConvolution: (
        lambda: TransposedConvolution(nn.Conv2d(2, 3, **GEOMETRY).double(), (2, 5, 4)),
        (3, 3, 2),
    ),
    GaussianEncoder: (lambda: GaussianEncoder(nn.Linear(6, 4), torch.zeros(2)), (6,)),
    LikelihoodDecoder: (lambda: LikelihoodDecoder(nn.Linear(6, 3), 1.0, 1e-3), (6,)),
    DictionaryDecoder: (lambda: DictionaryDecoder(MATRIX, nn.Linear(6, 3)), (6,)),
    ZeroOutput: (ZeroOutput, (6,)),
    **{cls: (lambda cls=cls: cls(2, 6), (6,)) for cls in SPARSE_ACTIVATIONS.values()},
}
WITH_GRADIENT = [cls for cls, forms in LAYERS.items() if forms.input_gradient is not None]


def make_layer(cls, seed):
    """A layer in float64 with random parameters, and four rows of input."""
    make, shape = EXAMPLES[cls]
    layer = randomize(make().double(), seed).eval()
    return layer, torch.randn(4, *shape, generator=make_rng(seed + 1), dtype=torch.float64)


def modules_of_the_package():
    """The classes of modules with a `forward` that `skae._nn` defines."""
    for info in pkgutil.iter_modules(skae._nn.__path__):
        module = importlib.import_module(f"skae._nn.{info.name}")
        for thing in vars(module).values():
            if (
                isinstance(thing, type)
                and issubclass(thing, nn.Module)
                and thing.__module__ == module.__name__
                and thing.forward is not nn.Module.forward
            ):
                yield thing


def test_every_layer_is_registered():
    # Batched layers are in no network that is exported; the others are abstract.
    unregistered = {BatchedLinear, SparseActivation, Thresholded}
    assert set(modules_of_the_package()) - set(LAYERS) == unregistered
    assert {type(make()) for make in ACTIVATIONS.values()} <= set(LAYERS)
    assert set(EXAMPLES) == set(LAYERS)
    assert set(get_args(ActivationName)) == set(ACTIVATIONS)


def run_onnx(graph, output, x):
    """The result of a graph with the input "x", by the reference implementation of ONNX."""
    helper = pytest.importorskip("onnx").helper
    from onnx.numpy_helper import from_array
    from onnx.reference import ReferenceEvaluator

    nodes = [
        helper.make_node(
            node.operation,
            node.inputs,
            [node.output, f"{node.output}_indices"][: 2 if node.operation == "TopK" else 1],
            **node.attributes,
        )
        for node in graph.nodes
    ]
    constants = [from_array(a, name) for name, a in graph.constants.items()]
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(np.float64))
    inputs, outputs = ([helper.make_tensor_value_info(n, kind, None)] for n in ("x", output))
    model = helper.make_model(
        helper.make_graph(nodes, "graph", inputs, outputs, constants),
        opset_imports=[helper.make_opsetid("", 17)],
    )
    return ReferenceEvaluator(model).run(None, {"x": x})[0]


def run_numpy(graph, output, x):
    """The result of a graph with the input "x", by the operations of the NumPy program."""
    values = {**graph.constants, "x": x}
    for operation, inputs, name, attributes in graph.nodes:
        values[name] = OPERATIONS[operation](*(values[i] for i in inputs), **attributes)
    return values[output]


def result_of(run, graph, name, x):
    """The result of a graph of any form: an input, a constant, or a computed value."""
    if name == "x":
        return x
    return run(graph, name, x) if isinstance(name, str) else np.full(1, name)


@pytest.mark.parametrize("run", [run_onnx, run_numpy])
@pytest.mark.parametrize("cls", LAYERS, ids=lambda cls: cls.__name__)
def test_onnx_operations_compute_forward(cls, run, global_random_seed):
    layer, x = make_layer(cls, global_random_seed)
    graph = Graph()
    names = layer_to_graph(graph, layer, "x")
    if run is run_numpy and not {node.operation for node in graph.nodes} <= set(OPERATIONS):
        pytest.skip("the NumPy program has no convolutions")
    # The reference implementation of Erf computes in float32.
    tolerance = 1e-6 if cls is nn.GELU else 1e-12
    expected = layer(x)
    if not isinstance(names, tuple):
        names, expected = (names,), (expected,)
    for name, value in zip(names, expected, strict=True):
        result = result_of(run, graph, name, x.numpy())
        np.testing.assert_allclose(result, value.detach(), rtol=0, atol=tolerance)


@pytest.mark.parametrize("run", [run_onnx, run_numpy])
def test_as_many_of_equal_units_are_active_in_a_graph(run, global_random_seed):
    x = torch.randn(30, 4, generator=make_rng(global_random_seed), dtype=torch.float64).repeat(1, 3)
    for n_nonzero in (1, 4, 6, 11, 12):
        layer, graph = TopK(n_nonzero, 12).eval(), Graph()
        code = run(graph, layer_to_graph(graph, layer, "x"), x.numpy())
        # The same numbers, of any of the equal units.
        np.testing.assert_array_equal(np.sort(code), layer(x).sort(1).values)
        assert (code == x.relu().numpy())[code > 0].all()


def test_a_layer_without_onnx_operations_is_an_error():
    with pytest.raises(TypeError, match=r"of Sequential, Linear, .* to be exported, got a CELU"):
        layer_to_graph(Graph(), nn.Sequential(nn.Tanh(), nn.CELU()), "x")


@pytest.mark.parametrize(
    "layer",
    [nn.GELU("tanh"), nn.Flatten(0), nn.Unflatten(0, (2, 2)), nn.Conv2d(1, 1, 3, padding="same")],
    ids=str,
)
def test_a_layer_with_other_options_is_an_error(layer):
    with pytest.raises(TypeError, match=f"to be exported, got a {type(layer).__name__}"):
        layer_to_graph(Graph(), layer, "x")


def test_a_layer_that_is_repeated_in_a_sequential_is_exported_twice():
    double = SoftClip(0.5)
    graph, x = Graph(), torch.linspace(-9, 9, 5, dtype=torch.float64)[:, None]
    output = layer_to_graph(graph, net := nn.Sequential(double, double), "x")
    np.testing.assert_allclose(run_numpy(graph, output, x.numpy()), net(x), rtol=1e-12)


@pytest.mark.parametrize("cls", WITH_GRADIENT, ids=lambda cls: cls.__name__)
def test_hand_written_gradients_equal_those_of_autograd(cls, global_random_seed):
    layer, x = make_layer(cls, global_random_seed)
    y = layer(x.requires_grad_())
    gradient = torch.randn(y.shape, generator=make_rng(global_random_seed), dtype=torch.float64)
    parameters = list(layer.parameters())
    expected, *of_parameters = torch.autograd.grad(y, [x, *parameters], gradient)
    with torch.no_grad():
        result = LAYERS[cls].input_gradient(layer, x, y, gradient)
        torch.testing.assert_close(result, expected)
        assert (LAYERS[cls].parameter_gradients is not None) == bool(parameters)
        if parameters:
            for parameter in parameters:
                parameter.grad = torch.full_like(parameter, torch.nan)
            LAYERS[cls].parameter_gradients(layer, x, gradient)
    for parameter, value in zip(parameters, of_parameters, strict=True):
        torch.testing.assert_close(parameter.grad, value)


@pytest.mark.parametrize("cls", [c for c, f in LAYERS.items() if f.arguments is not None])
def test_the_arguments_of_a_layer_of_torch_make_an_equal_one(cls, global_random_seed):
    layer, x = make_layer(cls, global_random_seed)
    other = cls(**{name: getattr(layer, name) for name in LAYERS[cls].arguments}).double()
    if cls is nn.Sequential:
        other.extend(layer)
    other.load_state_dict(layer.state_dict())
    assert torch.equal(other(x), layer(x))
    has_bias = "bias" in dict(layer.named_parameters(recurse=False))
    assert LAYERS[cls].has_optional_bias == has_bias


def test_hooks_are_found():
    layer = nn.Linear(2, 2)
    assert not has_hooks(layer)
    layer.register_forward_hook(lambda *_: None)
    assert has_hooks(layer)
