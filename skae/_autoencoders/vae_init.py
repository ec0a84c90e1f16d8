"""Initialisation of the variational autoencoder: probabilistic PCA, or random networks."""

import math

import numpy as np
import torch

from .._nn.autoencoder import Scales, reciprocal
from .._nn.variational import (
    GaussianEncoder,
    LikelihoodDecoder,
    VAEInit,
    VariationalAutoencoder,
    probabilistic_pca,
    random_init,
)
from .._training.fit_data import FitData
from .._training.initialization import NetworkParts

# Smallest scale of the likelihood, in units of the data's rms standard deviation. Without it, the
# density of rows that are reconstructed perfectly would be unbounded. The training loss is the
# negative log-likelihood at this resolution, so that it is never negative, whatever the units.
MIN_NOISE_SCALE = 1e-4


def make_variational_autoencoder(parts: NetworkParts, data: FitData) -> VariationalAutoencoder:
    """The network before training: probabilistic PCA, or random."""
    scales = parts.scales
    init = _probabilistic_pca(scales, data) if parts.pca_path.active else random_init(scales)
    # From the units of principal components to those of the prior.
    delta_scale = scales.delta_scale * scales.inverse_code_scale
    # The scale of a Laplace distribution is less than its standard deviation.
    laplace = data.loss.degree == 1
    noise_scale = init.noise_scale / math.sqrt(2) if laplace else init.noise_scale
    ones = torch.ones_like(scales.inverse_code_scale)
    return VariationalAutoencoder(
        GaussianEncoder(parts.encoder, init.log_var),
        LikelihoodDecoder(parts.decoder, noise_scale, MIN_NOISE_SCALE),
        parts.pca_path,
        Scales(scales.inverse_input_scale, ones, delta_scale, scales.output_scale),
        data.loss.link,
        (init.encoder_gain, init.decoder_gain),
    )


def _probabilistic_pca(scales: Scales, data: FitData) -> VAEInit:
    # Variances as in scikit-learn's PCA, so that `score_samples` agrees with it.
    unbiased = data.n_samples / max(data.n_samples - 1, 1)
    stds = reciprocal(scales.inverse_code_scale)
    total = unbiased * float(np.square(data.moments.std / data.scale).sum())
    return probabilistic_pca(unbiased * stds.square(), total, len(data.shift), MIN_NOISE_SCALE)
