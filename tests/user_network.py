"""Networks as a user defines them, in a module: so that estimators with them can be pickled."""

from torch import nn


def plain(n_features, n_components):
    """Layers that this package has itself."""
    encoder = nn.Sequential(nn.Linear(n_features, 5), nn.Tanh(), nn.Linear(5, n_components))
    decoder = nn.Sequential(nn.Linear(n_components, 5), nn.Tanh(), nn.Linear(5, n_features))
    return encoder, decoder


def leaky(n_features, n_components):
    """A layer that this package does not have."""
    encoder = nn.Sequential(nn.Linear(n_features, 5), nn.LeakyReLU(), nn.Linear(5, n_components))
    decoder = nn.Sequential(nn.Linear(n_components, 5), nn.LeakyReLU(), nn.Linear(5, n_features))
    return encoder, decoder
