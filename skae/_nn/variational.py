"""The network of the variational autoencoder, and probabilistic PCA."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from .._graph.graph import Graph
from .autoencoder import Autoencoder, DecoderForm, PCAPath, Scales
from .layers import LAYERS, LayerForms, layer_to_graph


class GaussianEncoder(nn.Module):
    """An encoder of the posterior, with two outputs per component.

    One is the change of the mean, the other that of the log variance.
    """

    def __init__(self, network: nn.Module, log_var: Tensor):
        super().__init__()
        self.network = network
        self.log_var = nn.Parameter(log_var)  # (n_components,)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The change of the mean and the log variance, each (n_samples, n_components)."""
        delta_mean, delta_log_var = self.network(x).chunk(2, dim=1)
        return delta_mean, self.log_var + delta_log_var

    def to_graph(self, graph: Graph, x: str) -> tuple[str, str]:
        """Add the layer to a graph."""
        n = len(self.log_var)
        both = layer_to_graph(graph, self.network, x)
        delta_mean, delta_log_var = (
            graph.add("Gather", both, np.arange(i, i + n), axis=1) for i in (0, n)
        )
        return delta_mean, graph.add("Add", delta_log_var, self.log_var)


class LikelihoodDecoder(nn.Module):
    """A decoder and the learned scale of the likelihood, at least `min_scale`."""

    def __init__(self, network: nn.Module, scale: float, min_scale: float):
        super().__init__()
        self.network = network
        self.log_min_scale = math.log(min_scale)
        log_excess = math.log(max(scale - min_scale, 1e-3 * min_scale))
        self.log_excess = nn.Parameter(torch.tensor(log_excess, dtype=torch.float64))

    @property
    def log_scale(self) -> Tensor:
        """The logarithm of the scale, one number."""
        log_min_scale = torch.full_like(self.log_excess, self.log_min_scale)
        return torch.logaddexp(self.log_excess, log_min_scale)

    def forward(self, code: Tensor) -> Tensor:
        """Decode to raw outputs, without noise."""
        return self.network(code)

    def to_graph(self, graph: Graph, code: str) -> str:
        """Add the layer to a graph."""
        return layer_to_graph(graph, self.network, code)


LAYERS |= {
    GaussianEncoder: LayerForms(GaussianEncoder.to_graph),
    LikelihoodDecoder: LayerForms(LikelihoodDecoder.to_graph),
}


class VariationalAutoencoder(Autoencoder):
    """An autoencoder with normal posteriors of the codes and the prior N(0, I).

    z ~ N(a V (x - mean) + g(x), e^h(x)), raw = W z + f(z).

    With g = f = 0 and constant h the gains of the PCA path make it probabilistic PCA. Its decoder
    does not fade out: it is trained wherever the prior has mass.
    """

    encoder: GaussianEncoder
    decoder: LikelihoodDecoder
    encoder_gain: Tensor  # (n_components,)
    decoder_gain: Tensor  # (n_components,)

    def __init__(
        self,
        encoder: GaussianEncoder,
        decoder: LikelihoodDecoder,
        pca_path: PCAPath,
        scales: Scales,
        link: Callable[[Tensor], Tensor],
        gains: tuple[Tensor, Tensor],
    ):
        super().__init__(encoder, decoder, pca_path, scales, link)
        self.register_buffer("encoder_gain", gains[0])
        self.register_buffer("decoder_gain", gains[1])

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of the code, each (n_samples, n_components)."""
        centred = torch.nan_to_num(x - self.pca_path.mean)
        delta_mean, log_var = self.encoder(centred * self.scales.inverse_input_scale)
        pca_mean = self.encoder_gain * self.pca_path.encode(centred)
        return pca_mean + self.scales.delta_scale * delta_mean, log_var

    def encode(self, x: Tensor) -> Tensor:
        """Rows in the network's units to posterior means, (n_samples, n_components)."""
        return self.posterior(x)[0]

    def decode(self, code: Tensor) -> Tensor:
        """Codes to raw rows, (n_samples, n_features)."""
        linear = self.link(self.pca_path.decode(code * self.decoder_gain))
        return linear + self.scales.output_scale * self.decoder(code)

    def pca_code(self, x: Tensor) -> None:
        """None: the codes have another scale."""

    def decoder_form(self) -> DecoderForm:
        """The terms of `decode`."""
        components = self.decoder_gain[:, None] * self.pca_path.components
        return DecoderForm(
            components if self.pca_path.active else None, torch.ones_like(self.decoder_gain), None
        )

    def posterior_graph(self, graph: Graph, x: str) -> tuple[str, str]:
        """Add the operations of `posterior` to a graph."""
        centred = self.pca_path.center_graph(graph, x)
        scaled = graph.add("Mul", centred, self.scales.inverse_input_scale)
        delta_mean, log_var = layer_to_graph(graph, self.encoder, scaled)
        delta_mean = graph.add("Mul", delta_mean, self.scales.delta_scale)
        pca_code = self.pca_path.encode_graph(graph, centred)
        pca_mean = graph.add("Mul", pca_code, self.encoder_gain)
        return graph.add("Add", pca_mean, delta_mean), log_var

    def encode_graph(self, graph: Graph, x: str) -> str:
        """Add the operations of `encode` to a graph."""
        return self.posterior_graph(graph, x)[0]

    def decode_graph(self, graph: Graph, code: str) -> str:
        """Add the operations of `decode` to a graph."""
        delta_raw = self._decoder_graph(graph, code)
        return self._raw_graph(graph, graph.add("Mul", code, self.decoder_gain), delta_raw)


class VAEInit(NamedTuple):
    """Initial values of the PCA path and the likelihood, in the network's units."""

    noise_scale: float
    encoder_gain: Tensor  # (n_components,): from principal components to posterior means
    decoder_gain: Tensor  # (n_components,): from codes to principal components
    log_var: Tensor  # (n_components,): of the posterior


def random_init(scales: Scales) -> VAEInit:
    """No PCA path, and a noise scale as large as the standard deviation of the data."""
    zeros = torch.zeros_like(scales.inverse_code_scale)
    return VAEInit(1.0, zeros, zeros.clone(), zeros.clone())


def probabilistic_pca(
    variances: Tensor, total_variance: float, n_features: int, min_scale: float
) -> VAEInit:
    """The optimum for linear networks (Tipping and Bishop, 1999).

    It depends on the variances of the leading principal components and the total variance.
    """
    n_residual = n_features - len(variances)
    residual = max(total_variance - variances.sum().item(), 0.0) / max(n_residual, 1)
    noise = max(residual, min_scale**2)
    signal = (variances - noise).clamp_min(0.0)
    return VAEInit(
        math.sqrt(noise),
        signal.sqrt() / (signal + noise),
        signal.sqrt(),
        torch.log(noise / (signal + noise)),
    )
