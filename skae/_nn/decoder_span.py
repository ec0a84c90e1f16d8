"""Projection of wide rows in the span of a decoder, which has few dimensions.

A decoder whose last layer is dense maps all codes into a space of one dimension for each component
and each hidden unit, and one for the bias, whatever the number of features. Of two codes of a row,
the squared errors differ by what they differ in this space. So a step of the projection of a row
takes as long as for a row of so few features.
"""

import torch
from torch import Tensor, nn

from .._losses.reconstruction import SquaredError, loss_of_link
from .autoencoder import Autoencoder, PCAPath, Scales
from .decoder_tangents import LayeredDecoder
from .mlp import skip_init

# A span is used if it has fewer dimensions than the features by this factor, and than the rows by
# the other: the time in which its axes are found is that of some steps for so many rows.
MIN_FEATURES, MIN_ROWS = 4, 2


class DecoderSpan:
    """Coordinates of rows along orthonormal axes of the span of a decoder.

    Attributes
    ----------
    network : Autoencoder
        The decoder for rows in these coordinates. Its encoder is not used.
    """

    @torch.no_grad()
    def __init__(self, network: Autoencoder, decoder: LayeredDecoder, matrix: Tensor):
        path, scales = network.pca_path, network.scales
        bias = nn.Sequential(*decoder.tail)(matrix.new_zeros(1, len(matrix))) * scales.output_scale
        vectors = torch.cat([path.components, matrix, bias])
        self._mean, self._axes = path.mean, torch.linalg.qr(vectors.mT)[0]
        sizes = len(path.components), len(matrix), 1
        components, matrix, bias = (vectors @ self._axes).split(sizes)
        last = skip_init(nn.Linear, len(matrix), len(bias[0]))
        last.weight, last.bias = nn.Parameter(matrix.mT), nn.Parameter(bias[0])
        no_mean, ones = torch.zeros_like(bias[0]), torch.ones_like(bias[0])
        self.network = Autoencoder(
            nn.Identity(),
            nn.Sequential(*decoder.hidden_layers, last),
            PCAPath(no_mean, components, active=path.active),
            Scales(ones, scales.inverse_code_scale, scales.delta_scale, ones),
            network.link,
        )
        self.network.project_codes(network.n_projection_steps)
        self.network.starts_at_pca = network.starts_at_pca
        self.network.anchors = network.anchors
        self.network.max_train_distance = network.max_train_distance
        self.network.train(network.training)

    def coordinates(self, x: Tensor) -> Tensor:
        """The coordinates of rows without missing entries, (n_samples, n_coordinates)."""
        return (x - self._mean) @ self._axes


def decoder_span(network: Autoencoder, decoder: object, n_rows: float) -> DecoderSpan | None:
    """The span of a decoder for this number of rows; None where it has none, or is no faster."""
    if (
        type(network).decode is not Autoencoder.decode
        or not isinstance(decoder, LayeredDecoder)
        or decoder.matrix is None
        or type(loss_of_link(network.link)) is not SquaredError
    ):
        return None
    n_hidden, n_features = decoder.matrix.shape
    size = len(network.pca_path.components) + n_hidden + 1
    is_faster = n_features >= MIN_FEATURES * size and n_rows >= MIN_ROWS * size
    return DecoderSpan(network, decoder, decoder.matrix) if is_faster else None
