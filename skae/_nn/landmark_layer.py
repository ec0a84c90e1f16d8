"""A last layer of encoders that predicts near which of several fixed codes a row is."""

import torch
from torch import Tensor, nn

from .._graph.graph import Graph
from .layers import LAYERS, LayerForms, layer_to_graph
from .mlp import skip_init

# The exponent of the probabilities in the code. With one, a row that may be near to either of two
# landmarks is between them, far from both.
SHARPNESS = 4.0


class LandmarkLayer(nn.Module):
    """A mean of landmarks, weighted by powers of predicted probabilities, plus other layers.

    A layer whose output is the code itself predicts the mean of all codes that a row may have,
    which can be far from each of them. Probabilities of landmarks can have several maxima.

    The code is that of PCA before training, and the output of this layer alone from the first step
    on: the other layers would have to compensate for a share of PCA's code that remains.
    """

    landmarks: Tensor  # (n_landmarks, n_components), in units of the output
    pca_factor: Tensor  # one number: of PCA's code, which is added to the output

    def __init__(self, landmarks: Tensor, offset: nn.Sequential, n_inputs: int):
        super().__init__()
        self.register_buffer("landmarks", landmarks)
        self.offset = offset
        self.register_buffer("pca_factor", landmarks.new_ones(()))
        self.logits = skip_init(nn.Linear, n_inputs, len(landmarks))
        for parameter in self.logits.parameters():
            nn.init.zeros_(parameter)

    def predict(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The output, and the log-probabilities of the landmarks, (n_samples, n_landmarks)."""
        logits = self.logits(x)
        return self._output(x, logits), logits.log_softmax(1)

    def forward(self, x: Tensor) -> Tensor:
        """What is added to PCA's code, (n_samples, n_components)."""
        return self._output(x, self.logits(x))

    def _output(self, x: Tensor, logits: Tensor) -> Tensor:
        weights = (SHARPNESS * logits).softmax(1)
        return torch.addmm(self.offset(x), weights, self.landmarks)

    def to_graph(self, graph: Graph, x: str) -> str:
        """Add the layer to a graph."""
        logits = graph.add("Mul", layer_to_graph(graph, self.logits, x), SHARPNESS)
        weights = graph.add("Softmax", logits, axis=1)
        nearby = graph.add("MatMul", weights, self.landmarks)
        return graph.add("Add", nearby, layer_to_graph(graph, self.offset, x))


LAYERS[LandmarkLayer] = LayerForms(LandmarkLayer.to_graph)
