"""Training on few wide rows, in coordinates of the space that the rows span.

The differences of n rows from their mean span at most n - 1 dimensions. In orthonormal coordinates
of this space all squared errors and PCA are the same, and a step of training takes as long as for
rows of n - 1 features. After training the change of coordinates becomes part of the two layers next
to the rows.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .._data.dataset import make_dataset
from .._data.device import as_tensor, max_float_dtype
from .._data.moments import moments
from .._nn.autoencoder import Autoencoder, PCAPath, Scales, reciprocal
from .._nn.copying import copy_module
from .._nn.custom_layers import Whitening
from .._nn.mlp import skip_init
from .fit_data import FitData
from .initialization import make_rotated
from .manual_backward import has_manual_backward, layers_of
from .result import TrainedNetwork
from .row_products import RowCoordinates, row_products


class FeatureSpace:
    """The space in which a network is trained: that of all features."""

    def __init__(self, data: FitData):
        self.data = data

    def reduce(self, network: Autoencoder) -> Autoencoder:
        """The network for rows in the coordinates of `data`."""
        return network

    def expand(self, network: Autoencoder) -> Autoencoder:
        """The network for rows of all features, from that for rows in these coordinates."""
        return network

    def measured(self, trained: TrainedNetwork, network: Autoencoder) -> TrainedNetwork:
        """The trained network, with `network` for the coordinates if statistics are faster there.

        They are the same.
        """
        return trained


class RowSpace(FeatureSpace):
    """The space of the rows.

    The centred rows are ``coordinates @ axes`` with orthonormal axes, (n_coordinates, n_features).
    The axes are as large as all rows and are not stored.
    """

    def __init__(self, all_features: FitData, initial: Autoencoder, coordinates: RowCoordinates):
        device, scale = all_features.device, all_features.scale
        X, shift = coordinates.values * scale, np.zeros(coordinates.values.shape[1])
        rows = make_dataset(X, shift, scale, device)
        stats = moments(X, all_features.group, all_features.weights)
        super().__init__(
            replace(all_features, X=X, rows=rows, held_out_rows=rows, shift=shift, moments=stats)
        )
        # Standard units are those of the network here.
        self._products = row_products(all_features.X, all_features.moments)
        self._initial = initial
        self._coordinates = coordinates
        # The initial network need not be where `data` is.
        own = initial.scales.output_scale.device
        self._std = as_tensor(coordinates.std, max_float_dtype(own), own)

    def reduce(self, network: Autoencoder) -> Autoencoder:
        """The network for rows in the coordinates of `data`; the decoders of both are zero."""
        (first, *encoder), (*decoder, last) = map(layers_of, (network.encoder, network.decoder))
        assert isinstance(first, Whitening)
        assert isinstance(last, nn.Linear)
        path, scales = network.pca_path, network.scales
        vectors = self._to_coordinates(torch.column_stack([path.components.mT, first.matrix]))
        components, whitening = vectors.tensor_split([len(path.components)], dim=1)
        residual = torch.linalg.vector_norm(scales.output_scale)
        zeros = torch.zeros_like(self._std)
        self._reduced = _autoencoder(
            network,
            [Whitening(whitening), *encoder],
            [*decoder, _linear(last.weight.new_zeros(len(zeros), last.in_features + 1))],
            PCAPath(zeros, components.mT.contiguous(), active=path.active),
            Scales(
                zeros + scales.inverse_input_scale[0],
                scales.inverse_code_scale,
                scales.delta_scale,
                # Test error with one scale for all principal components instead: 2 % higher.
                self._std.clamp_max(residual),
            ),
        )
        return self._reduced

    def expand(self, network: Autoencoder) -> Autoencoder:
        """The network for rows of all features, from that for rows in these coordinates."""
        (_, *encoder), (*decoder, last) = map(layers_of, (network.encoder, network.decoder))
        assert isinstance(last, nn.Linear)
        initial, output_scale = self._initial, network.scales.output_scale
        outputs = torch.column_stack([last.weight, last.bias]) * output_scale[:, None]
        weights = self._to_features(outputs) * reciprocal(initial.scales.output_scale)[:, None]
        return _autoencoder(
            network,
            [layers_of(initial.encoder)[0], *encoder],
            [*decoder, _linear(weights)],
            initial.pca_path,
            initial.scales,
        )

    def measured(self, trained: TrainedNetwork, network: Autoencoder) -> TrainedNetwork:
        """The trained network, with `network` for the coordinates, where statistics are faster."""
        initial = make_rotated(self._reduced, self.data, trained.fitted.n_components)
        # A copy: `trained` shares the layers, and may have another precision.
        fitted = initial.with_trained_layers(copy_module(network))
        fitted.network.shrink(trained.history.shrinkage)
        components = self._to_coordinates(trained.pca.components.to(self._std).mT).mT
        pca = PCAPath(torch.zeros_like(self._std), components, active=True)
        own = TrainedNetwork(fitted, pca, trained.history)
        return trained._replace(in_row_space=(own, self.data))

    @torch.no_grad()
    def _to_coordinates(self, vectors: Tensor) -> Tensor:
        """The products of the axes and vectors, (n_features, n_vectors)."""
        products = self._products.times(self._products.native(vectors))
        return self._coordinates.times_inverse(self._as_tensor(products))

    @torch.no_grad()
    def _to_features(self, vectors: Tensor) -> Tensor:
        """The vectors with these coordinates, (n_coordinates, n_vectors)."""
        return self._as_tensor(self._coordinates.to_features(self._products, vectors.to(self._std)))

    def _as_tensor(self, values: Any) -> Tensor:
        return as_tensor(values, self._std.dtype, self._std.device)


def training_space(network: Autoencoder, data: FitData) -> FeatureSpace:
    """The space of the rows if training there is exact and faster, else that of all features."""
    coordinates = data.principal_components(len(network.pca_path.components)).coordinates
    if (
        coordinates is None
        or data.fitted is not None
        or data.held_out_rows is not data.rows
        or data.config.alpha  # the penalty depends on the coordinates
        or not data.objective.minimised_by_pca
        or not has_manual_backward(network)
    ):
        return FeatureSpace(data)
    first, last = layers_of(network.encoder)[0], layers_of(network.decoder)[-1]
    starts_at_zero = isinstance(last, nn.Linear) and not any(map(torch.any, last.parameters()))
    if not isinstance(first, Whitening) or not starts_at_zero:
        return FeatureSpace(data)
    return RowSpace(data, network, coordinates)


def _linear(weights: Tensor) -> nn.Linear:
    """A dense layer; the last column of `weights` is the bias."""
    layer = skip_init(nn.Linear, weights.shape[1] - 1, len(weights))
    layer.weight = nn.Parameter(weights[:, :-1].contiguous())
    layer.bias = nn.Parameter(weights[:, -1].contiguous())
    return layer


def _autoencoder(
    like: Autoencoder,
    encoder: list[nn.Module],
    decoder: list[nn.Module],
    pca_path: PCAPath,
    scales: Scales,
) -> Autoencoder:
    """A network with the link, the projection and the anchors of another one."""
    nets = nn.Sequential(*encoder), nn.Sequential(*decoder)
    network = Autoencoder(*nets, pca_path, scales, like.link)
    network.project_codes(like.n_projection_steps)
    network.anchors = like.anchors
    return network
