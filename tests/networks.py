"""Small networks for the tests of `skae._nn` and of the modules that train them."""

import torch
from torch import nn

from skae._losses.reconstruction import LOSSES
from skae._nn.autoencoder import Autoencoder, PCAPath, Scales
from skae._nn.mlp import mlp_encoder_decoder

N_FEATURES, N_COMPONENTS = 6, 2


def make_rng(seed=0):
    return torch.Generator().manual_seed(seed)


def make_autoencoder(
    seed=0,
    *,
    active=True,
    hidden=(8, 5),
    activation="silu",
    whitened=False,
    layer_scale=False,
    n_features=N_FEATURES,
):
    """An untrained autoencoder in float64, (n, n_features) to (n, 2) and back."""
    rng = make_rng(seed)
    random = {"generator": rng, "dtype": torch.float64}
    whitening = torch.randn(n_features, 4, **random) if whitened else None
    pair = mlp_encoder_decoder(
        (n_features, *hidden, N_COMPONENTS),
        activation,
        rng,
        residual_to_pca=active,
        whitening=whitening,
        layer_scale=layer_scale,
    )
    mean = torch.randn(n_features, **random)
    components = torch.linalg.qr(torch.randn(n_features, N_COMPONENTS, **random))[0].T
    sizes = (n_features, N_COMPONENTS, N_COMPONENTS, n_features)
    scales = Scales(*(torch.rand(size, **random) + 0.5 for size in sizes))
    path = PCAPath(mean, components.contiguous(), active=active)
    return Autoencoder(*pair, path, scales, LOSSES["squared_error"].link).double()


def randomize(module, seed=0, std=1.0):
    """The module with random parameters, as if it were trained."""
    rng = make_rng(seed)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=std, generator=rng)
    return module


def make_rows(seed=0, n_rows=40):
    """Rows for `make_autoencoder`, two values missing."""
    x = 3 * torch.randn(n_rows, N_FEATURES, generator=make_rng(seed + 1), dtype=torch.float64)
    x[0, 2] = x[5, 0] = torch.nan
    return x
