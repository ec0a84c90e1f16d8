"""Autoencoders as scikit-learn transformers."""

from ._autoencoder import AutoencoderTransformer
from ._compare import ReducerComparison, compare_reducers
from ._contractive import ContractiveAutoencoder
from ._denoising import DenoisingAutoencoder
from ._imputer import AutoencoderImputer
from ._reconstruction import ReconstructionTransformer
from ._scoring import make_reconstruction_scorer
from ._variational import VAE

__version__ = "0.1.0"

__all__ = [
    "VAE",
    "AutoencoderImputer",
    "AutoencoderTransformer",
    "ContractiveAutoencoder",
    "DenoisingAutoencoder",
    "ReconstructionTransformer",
    "ReducerComparison",
    "compare_reducers",
    "make_reconstruction_scorer",
]
