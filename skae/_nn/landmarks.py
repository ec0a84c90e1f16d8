"""A last layer of encoders that predicts near which of several fixed codes a row is."""

import torch
from torch import Tensor, nn

from .._graph.graph import Graph
from .autoencoder import Autoencoder, reciprocal
from .custom_layers import SoftClip
from .layers import LAYERS, LayerForms, layer_to_graph
from .mlp import skip_init

# The exponent of the probabilities in the code. With one, a row that may be near to either of two
# landmarks is between them, far from both.
SHARPNESS = 4.0


class LandmarkLayer(nn.Module):
    """A mean of landmarks, weighted by powers of predicted probabilities, plus other layers.

    A layer whose output is the code itself predicts the mean of all codes that a row may have,
    which can be far from each of them. Probabilities of landmarks can have several maxima.
    """

    landmarks: Tensor  # (n_landmarks, n_components): changes of PCA's code, as the layer's output

    def __init__(self, landmarks: Tensor, offset: nn.Sequential, n_inputs: int):
        super().__init__()
        self.register_buffer("landmarks", landmarks)
        self.offset = offset
        self.logits = skip_init(nn.Linear, n_inputs, len(landmarks))
        for parameter in self.logits.parameters():
            nn.init.zeros_(parameter)

    def predict(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The output, and the log-probabilities of the landmarks, (n_samples, n_landmarks)."""
        logits = self.logits(x)
        weights = (SHARPNESS * logits).softmax(1)
        return weights @ self.landmarks + self.offset(x), logits.log_softmax(1)

    def forward(self, x: Tensor) -> Tensor:
        """The code, or the change of PCA's code, (n_samples, n_components)."""
        return self.predict(x)[0]

    def to_graph(self, graph: Graph, x: str) -> str:
        """Add the layer to a graph."""
        logits = graph.add("Mul", layer_to_graph(graph, self.logits, x), SHARPNESS)
        weights = graph.add("Softmax", logits, axis=1)
        nearby = graph.add("MatMul", weights, self.landmarks)
        return graph.add("Add", nearby, layer_to_graph(graph, self.offset, x))


LAYERS[LandmarkLayer] = LayerForms(LandmarkLayer.to_graph)


def add_landmarks(network: Autoencoder, landmarks: Tensor) -> None:
    """Insert a `LandmarkLayer` before the last dense layer; `landmarks` are codes."""
    layers = list(network.encoder.children())
    dense = [(i, layer) for i, layer in enumerate(layers) if isinstance(layer, nn.Linear)]
    position, last = dense[-1]
    offset = [layer for layer in layers[position:] if not isinstance(layer, SoftClip)]
    scaled = (landmarks * reciprocal(network.scales.delta_scale)).to(last.weight)
    head = LandmarkLayer(scaled, nn.Sequential(*offset), last.in_features)
    network.encoder = nn.Sequential(*layers[:position], head.to(scaled))


def landmark_layer(network: Autoencoder) -> LandmarkLayer | None:
    """The last layer of the encoder, if it is of this kind."""
    *_, last = (None, *network.encoder.children())
    return last if isinstance(last, LandmarkLayer) else None


def encode_with_landmarks(network: Autoencoder, x: Tensor) -> tuple[Tensor, Tensor]:
    """The codes by an encoder with such a layer, and the log-probabilities of the landmarks."""
    *layers, head = network.encoder.children()
    assert isinstance(head, LandmarkLayer)
    centred = torch.nan_to_num(x - network.pca_path.mean)
    hidden = centred * network.scales.inverse_input_scale
    for layer in layers:
        hidden = layer(hidden)
    delta_code, log_probabilities = head.predict(hidden)
    linear = network.pca_path.encode(centred)
    return linear + network.scales.delta_scale * delta_code, log_probabilities
