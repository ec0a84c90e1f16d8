"""A trained autoencoder in the units of the data."""

import copy
import weakref
from itertools import chain
from typing import Any, Self, TypeVar, cast
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor, nn

from .._data.forks import cached_attribute
from .._graph.graph import Graph
from .autoencoder import reciprocal
from .copying import copy_module
from .decoder_tangents import decoder_tangents, tangents_by_autograd
from .mlp import has_whitening, merge_whitening
from .projection import Projection, loss_tolerance
from .projection_graph import project_graph
from .row_projection import RowProjection, row_projection

# A residual of PCA that is a smaller share of its column is a rounding error: the root of that of
# its square in float64.
EXACT = 2e-8


# Of a standard deviation: a smaller rounding error of the mean is one of single precision.
ROUNDING = 1e-6


class FittedAutoencoder(nn.Module):
    """A trained autoencoder for rows and codes in the units of `X`."""

    network: Any  # an Autoencoder; estimators use the methods of its subclasses, too
    shift: Tensor  # (n_features,)
    scale: Tensor  # one number
    # Of the rows without noise, in the network's units: they decide about the precision.
    column_std: Tensor  # (n_features,)
    residual_std: Tensor  # (n_features,), of PCA

    def __init__(self, network: nn.Module, shift: Tensor, scale: float, n_components: int):
        super().__init__()
        self.network = network
        self.n_components = n_components
        self.register_buffer("shift", shift)
        self.register_buffer("scale", torch.tensor(scale, dtype=torch.float64))
        scales = self.network.scales
        self.register_buffer("column_std", reciprocal(scales.inverse_input_scale))
        self.register_buffer("residual_std", scales.output_scale.clone())

    def encode(self, x: Tensor) -> Tensor:
        """Rows in the units of `X` to codes, (n_samples, n_components)."""
        x = (x - self.shift) / self.scale
        prepared, n_steps = prepared_network(self), self.network.n_projection_steps
        code = prepared.encoder_network.encode(x)
        if n_steps:
            x = prepared.surface.with_added_columns(x, code)
            is_row = len(x) == 1 and prepared.of_row is not None
            project: Any = prepared.of_row if is_row else prepared.of_rows
            code = project(x, code, n_steps)
        return self.from_network_code(code)

    def decode(self, code: Tensor) -> Tensor:
        """Codes to raw rows, (n_samples, n_features).

        For squared and absolute error these are in the units of `X`.
        """
        return self.shift + self.scale * self.network.decode(self.to_network_code(code))

    def distance(self, code: Tensor) -> Tensor:
        """Distance of codes from the mean code in standard deviations, (n_samples, 1)."""
        return self.network.distance(self.to_network_code(code))

    def from_network_code(self, code: Tensor) -> Tensor:
        """The network's codes in the units of `X`."""
        return code * self.scale

    def to_network_code(self, code: Tensor) -> Tensor:
        """The inverse of `from_network_code`."""
        return code / self.scale

    def offsets(self) -> Tensor:
        """The mean of each column in its standard deviations; 0 for constant columns."""
        mean = self.shift.abs() / self.scale + self.network.pca_path.mean.abs()
        return mean * reciprocal(self.column_std)

    def size_in_residuals(self) -> float:
        """The root mean square of rows over that of PCA's residual; 0 if PCA is exact."""
        std, residual = self.column_std.double(), self.residual_std.double()
        error = residual[residual > EXACT * std].norm().item()
        return std.norm().item() / error if error else 0.0

    def with_trained_layers(self, network: Any) -> Self:
        """A copy with the encoder, the decoder and the other trained parts of `network`.

        All other tensors are unchanged, also their precision.
        """
        names = network.trained_parts
        # Neither these parts nor those that they replace are copied.
        replaced = {id(getattr(self.network, name)): getattr(network, name) for name in names}
        return copy_module(self, replaced)

    def decoder_jacobian(self) -> Tensor:
        """The derivative of `decode` at the code zero, (n_components, n_features)."""
        code = self.shift.new_zeros(1, self.n_components)
        axes = torch.diag(torch.ones_like(code[0]))[None]
        with torch.no_grad():
            # (n_components, components of the network): a constant, since the map is affine
            directions = tangents_by_autograd(self.to_network_code, code, axes)[0]
            decoder = decoder_tangents(self.network)
            jacobian = decoder.jacobian(decoder.values(self.to_network_code(code)))[0]
            return self.scale * (directions @ jacobian)

    def standardize_graph(self, graph: Graph, x: str) -> str:
        """Add rows in the network's units to a graph."""
        # In single precision, the mean of columns far from zero is two numbers.
        shift = self.shift.double()
        rounded = shift.float().double()
        rest = shift - rounded
        std = self.scale * self.column_std
        if rest.isfinite().all() and (rest.abs() > ROUNDING * std).any():
            x = graph.add("Sub", graph.add("Sub", x, rounded), rest)
        else:
            x = graph.add("Sub", x, shift)
        return graph.add("Div", x, self.scale)

    def encode_graph(self, graph: Graph, x: str) -> str:
        """Add the operations of `encode` to a graph."""
        x = self.standardize_graph(graph, x)
        code = self.network.encode_graph(graph, x)
        if self.network.n_projection_steps:
            code = project_graph(self.network, graph, x, code)
        return self.from_network_code_graph(graph, code)

    def decode_graph(self, graph: Graph, code: str) -> str:
        """Add the operations of `decode` to a graph."""
        raw = self.network.decode_graph(graph, self.to_network_code_graph(graph, code))
        return graph.add("Add", graph.add("Mul", raw, self.scale), self.shift)

    def from_network_code_graph(self, graph: Graph, code: str) -> str:
        """Add the operations of `from_network_code` to a graph."""
        return graph.add("Mul", code, self.scale)

    def to_network_code_graph(self, graph: Graph, code: str) -> str:
        """Add the operations of `to_network_code` to a graph."""
        return graph.add("Div", code, self.scale)


class RotatedAutoencoder(FittedAutoencoder):
    """A trained autoencoder with codes `(network's code - code_mean) @ rotation`.

    The rotation orders the codes and includes a scale. The decoder applies its inverse, so
    reconstructions do not depend on it. It is the identity until `rotate` is called.
    """

    code_mean: Tensor  # (n_components,)
    rotation: Tensor  # (n_components, n_components)
    inverse_rotation: Tensor  # (n_components, n_components)

    def __init__(self, network: nn.Module, shift: Tensor, scale: float, n_components: int):
        super().__init__(network, shift, scale, n_components)
        self.register_buffer("code_mean", torch.zeros(n_components, dtype=torch.float64))
        self.register_buffer("rotation", torch.eye(n_components, dtype=torch.float64))
        self.register_buffer("inverse_rotation", torch.eye(n_components, dtype=torch.float64))

    def from_network_code(self, code: Tensor) -> Tensor:
        """The network's codes, centred and rotated."""
        return (code - self.code_mean) @ self.rotation

    def to_network_code(self, code: Tensor) -> Tensor:
        """The inverse of `from_network_code`."""
        return code @ self.inverse_rotation + self.code_mean

    def rotate(self, mean: np.ndarray, rotation: np.ndarray) -> None:
        """Replace codes by `(code - mean) @ rotation`."""
        mean_tensor = torch.from_numpy(mean).to(self.code_mean)
        rotation_tensor = torch.from_numpy(rotation).to(self.code_mean)
        self.code_mean += mean_tensor @ self.inverse_rotation
        self.rotation = self.rotation @ rotation_tensor
        self.inverse_rotation = torch.linalg.inv(rotation_tensor) @ self.inverse_rotation

    def from_network_code_graph(self, graph: Graph, code: str) -> str:
        """Add the operations of `from_network_code` to a graph."""
        return graph.add("MatMul", graph.add("Sub", code, self.code_mean), self.rotation)

    def to_network_code_graph(self, graph: Graph, code: str) -> str:
        """Add the operations of `to_network_code` to a graph."""
        return graph.add("Add", graph.add("MatMul", code, self.inverse_rotation), self.code_mean)


class Snapshot:
    """The tensors and modules of a network, to find out whether they have changed."""

    def __init__(self, network: nn.Module):
        self._network, self._training = weakref.ref(network), network.training
        parts = list(network.modules())
        self._tensors = [
            (named, name, tensor, _version(tensor))
            for part in parts
            for named in (part._parameters, part._buffers)
            for name, tensor in named.items()
            if tensor is not None
        ]
        self._modules = [
            (part._modules, name, child) for part in parts for name, child in part._modules.items()
        ]

    def is_current(self) -> bool:
        """Whether no tensor and no module was replaced or changed in place."""
        network = self._network()
        return (
            network is not None
            and network.training == self._training
            and all(
                named.get(name) is tensor and _version(tensor) == version
                for named, name, tensor, version in self._tensors
            )
            and all(named.get(name) is child for named, name, child in self._modules)
        )


def _version(tensor: Tensor) -> int:
    """The number of changes in place; tensors of inference mode have none."""
    return 0 if tensor.is_inference() else tensor._version


# Copies live as long as their originals and are no part of them: neither pickled nor copied.
_COPIES: WeakKeyDictionary[nn.Module, tuple[Snapshot, nn.Module]] = WeakKeyDictionary()

Trained = TypeVar("Trained", bound=nn.Module)  # a module with the buffer `scale`


def cached_cast(trained: Trained, dtype: torch.dtype, device: torch.device) -> Trained:
    """The module itself if it has this dtype and device, else a copy, cached until it changes."""
    if (trained.scale.dtype, trained.scale.device) == (dtype, device):
        return trained
    snapshot, copied = cast(tuple[Snapshot, Trained], _COPIES.get(trained, (None, None)))
    if (
        copied is None
        or (copied.scale.dtype, copied.scale.device) != (dtype, device)
        or not snapshot.is_current()
    ):
        # Autograd cannot use tensors of inference mode; it computes the tangents of some layers.
        with torch.inference_mode(False):
            copied = copy_module(trained).to(device, dtype)
        _COPIES[trained] = Snapshot(trained), copied
    return copied


def forget_copies(trained: nn.Module) -> None:
    """Drop the cached copies of a module that was changed."""
    _COPIES.pop(trained, None)


class PreparedNetwork:
    """What `encode` computes of a network itself: once, until the network changes."""

    def __init__(self, network: Any):
        self._network, self._snapshot = network, Snapshot(network)

    def is_current(self) -> bool:
        """Whether the network has not changed."""
        return self._snapshot.is_current()

    @cached_attribute
    def encoder_network(self) -> Any:
        """The network, or one that computes the same codes by fewer multiplications."""
        network = self._network
        if not has_whitening(network.encoder) or network.training:
            return network
        parts = chain(network.children(), network.parameters(), network.buffers())
        with torch.inference_mode(False):
            merged = copy.deepcopy(network, {id(part): part for part in parts})
            merged.encoder = merge_whitening(network.encoder)
        return merged

    @cached_attribute
    def surface(self) -> Any:
        """The network of the projection."""
        return self._network.for_projection()

    @cached_attribute
    def of_rows(self) -> Projection:
        """The projection of several rows."""
        tolerance = loss_tolerance(self._network.scales.output_scale.dtype)
        return Projection(self.surface, tolerance=tolerance)

    @cached_attribute
    def of_row(self) -> RowProjection | None:
        """The projection of a single row, if there is a faster one."""
        return row_projection(self.surface)


# As for the copies: a projection of one row takes less time than what it has to prepare.
_PREPARED: WeakKeyDictionary[nn.Module, PreparedNetwork] = WeakKeyDictionary()


def prepared_network(fitted: FittedAutoencoder) -> PreparedNetwork:
    """What was computed of the network, unless it has changed."""
    prepared = _PREPARED.get(fitted)
    if prepared is None or not prepared.is_current():
        prepared = _PREPARED[fitted] = PreparedNetwork(fitted.network)
    return prepared
