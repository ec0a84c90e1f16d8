"""The network of the sparse autoencoder: a sparse encoder and a dictionary."""

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, normalize

from .._data.process_group import SingleProcess
from .._graph.graph import Graph
from .autoencoder import Autoencoder
from .layers import LAYERS, LayerForms, layer_to_graph
from .sparse_activations import SparseActivation
from .subspace_pursuit import subspace_pursuit

# A unit counts as inactive if it is active in less than this fraction of its share of the rows,
# which is `n_nonzero / n_components`.
MIN_ACTIVITY = 0.1


class ZeroOutput(nn.Module):
    """A network that returns a single zero, which is added to other outputs."""

    def forward(self, x: Tensor) -> Tensor:
        """Zero, of shape (1,)."""
        return x.new_zeros(1)

    def to_graph(self, graph: Graph, x: str) -> float:
        """Zero as a constant."""
        return 0.0


class SparseEncoder(nn.Module):
    """A linear map of each row plus the output of a network, and the activation."""

    weight: Tensor  # (n_components, n_features); tied, (n_components, 1): lengths of directions
    input_mean: Tensor | None  # (n_features,): the mean row, added to the centred rows
    rows_since_active: Tensor  # (n_components,): training rows without sufficient activity

    def __init__(
        self,
        weight: Tensor,
        network: nn.Module,
        activation: SparseActivation,
        max_inactive_rows: float,
        input_mean: Tensor | None = None,
        tied: bool = False,
    ):
        super().__init__()
        self.max_inactive_rows = max_inactive_rows  # a unit inactive for more rows is revived
        n_components = activation.n_components
        # The number of training rows for which one row with activity is sufficient.
        self.rows_per_activation = n_components / (MIN_ACTIVITY * activation.n_nonzero)
        self.weight, self.tied = nn.Parameter(weight), tied  # to the directions of the dictionary
        self.bias = nn.Parameter(torch.zeros(n_components, dtype=torch.float64))
        self.network, self.activation = network, activation
        if input_mean is None:
            self.input_mean = None
        else:
            self.register_buffer("input_mean", input_mean)
        self.register_buffer("rows_since_active", torch.zeros(n_components))

    def effective_weight(self, dictionary: "DictionaryDecoder") -> Tensor:
        """The matrix of the linear map, (n_components, n_features)."""
        if self.tied:
            return self.weight * dictionary.directions
        return dictionary.mask_to_fields(self.weight)

    def rescale(self, factor: Tensor | float) -> None:
        """Multiply weights and biases by a factor, or one for each unit."""
        factor = torch.as_tensor(factor, dtype=self.bias.dtype, device=self.bias.device)
        self.weight.data.mul_(factor.expand_as(self.bias)[:, None])
        self.bias.data.mul_(factor)

    def update_inactivity(self, code: Tensor, group: SingleProcess) -> None:
        """Update `rows_since_active` by a batch, of which each process has some rows."""
        n_active = (code.detach() > 0).sum(0)
        counts = group.all_reduce(torch.cat([n_active, n_active.new_tensor([len(code)])]))
        change = counts[-1] - self.rows_per_activation * counts[:-1]
        self.rows_since_active.add_(change).clamp_min_(0)


class DictionaryDecoder(nn.Module):
    """The sum of codes times unit vectors, plus the output of a network."""

    receptive_fields: Tensor | None  # (n_components, n_features): ones for the features of a unit

    def __init__(self, weight: Tensor, network: nn.Module, receptive_fields: Tensor | None = None):
        super().__init__()
        self.weight = nn.Parameter(weight)  # (n_components, n_features), of any length
        self.network = network
        if receptive_fields is None:
            self.receptive_fields = None
        else:
            self.register_buffer("receptive_fields", receptive_fields)

    @property
    def directions(self) -> Tensor:
        """The weights within their receptive fields, each row divided by its length."""
        return normalize(self.mask_to_fields(self.weight), dim=1)

    def mask_to_fields(self, weight: Tensor) -> Tensor:
        """A matrix (n_components, n_features) with zeros outside the receptive fields.

        The mask is applied in training only: these weights are initialised to zero, and with the
        mask their gradients are zero, too.
        """
        if self.training and self.receptive_fields is not None:
            return weight * self.receptive_fields
        return weight

    def forward(self, code: Tensor) -> Tensor:
        """Codes (n_samples, n_components) to centred rows, (n_samples, n_features)."""
        # A module of the user may change its input in place; without one nothing reads it.
        own = code if isinstance(self.network, ZeroOutput) else code.clone()
        return code @ self.directions + self.network(own)

    def to_graph(self, graph: Graph, code: str) -> str:
        """Add the layer to a graph."""
        row = graph.add("MatMul", code, self.directions)
        return graph.add("Add", row, layer_to_graph(graph, self.network, code))


LAYERS |= {
    ZeroOutput: LayerForms(ZeroOutput.to_graph),
    DictionaryDecoder: LayerForms(DictionaryDecoder.to_graph),
}


class SparseCoder(Autoencoder):
    """An autoencoder with sparse codes and a dictionary.

    code = activation(E (x - mean) + b + g(x));  raw = link(mean) + D' code + f(code).

    The rows of D, the dictionary, have unit length; g and f are zero before training, or always.
    """

    n_pursuit_steps = 0  # steps of subspace pursuit after the encoder, if f is always zero

    encoder: SparseEncoder
    decoder: DictionaryDecoder

    def pre_activation(self, x: Tensor) -> Tensor:
        """The input of the activation, (n_samples, n_components)."""
        encoder = self.encoder
        centred = torch.nan_to_num(x - self.pca_path.mean)
        weight = encoder.effective_weight(self.decoder)
        rows = centred if encoder.input_mean is None else centred + encoder.input_mean
        delta = encoder.network(centred * self.scales.inverse_input_scale)
        return linear(rows, weight, encoder.bias) + delta

    def encode(self, x: Tensor) -> Tensor:
        """Rows in the network's units to codes, (n_samples, n_components)."""
        activation = self.encoder.activation
        code = activation(self.pre_activation(x))
        if not self.n_pursuit_steps or self.training:
            return code
        centred = torch.nan_to_num(x - self.pca_path.mean)
        return subspace_pursuit(
            code, centred, self.decoder.directions, activation.n_nonzero, self.n_pursuit_steps
        )

    def decode(self, code: Tensor) -> Tensor:
        """Codes to raw rows, (n_samples, n_features)."""
        return self.link(self.pca_path.mean) + self.decoder(code)

    def encode_graph(self, graph: Graph, x: str) -> str:
        """Add the operations of `encode` to a graph."""
        if self.n_pursuit_steps:
            raise TypeError(
                "`transform_max_iter` must be 0 to export an estimator: its search cannot "
                f"be exported, got {self.n_pursuit_steps}."
            )
        encoder, centred = self.encoder, self.pca_path.center_graph(graph, x)
        weight = encoder.effective_weight(self.decoder)
        scaled = graph.add("Mul", centred, self.scales.inverse_input_scale)
        delta = layer_to_graph(graph, encoder.network, scaled)
        rows = centred
        if encoder.input_mean is not None:
            rows = graph.add("Add", centred, encoder.input_mean)
        linear_part = graph.add("Add", graph.add("MatMul", rows, weight.T), encoder.bias)
        pre_activation = graph.add("Add", linear_part, delta)
        return layer_to_graph(graph, encoder.activation, pre_activation)

    def decode_graph(self, graph: Graph, code: str) -> str:
        """Add the operations of `decode` to a graph."""
        row = layer_to_graph(graph, self.decoder, code)
        return graph.add("Add", row, self.link(self.pca_path.mean))
