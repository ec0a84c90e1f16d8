"""Autoencoders as scikit-learn transformers."""

from ._autoencoder import AutoencoderTransformer
from ._compare import ReducerComparison, compare_reducers
from ._contractive import ContractiveAutoencoder
from ._denoising import DenoisingAutoencoder
from ._export import register_onnx_converters, to_numpy, to_onnx
from ._persistence import load, save
from ._scoring import make_reconstruction_scorer
from ._variational import VAE

__version__ = "0.1.0"

__all__ = [
    "VAE",
    "AutoencoderTransformer",
    "ContractiveAutoencoder",
    "DenoisingAutoencoder",
    "ReducerComparison",
    "compare_reducers",
    "load",
    "make_reconstruction_scorer",
    "register_onnx_converters",
    "save",
    "to_numpy",
    "to_onnx",
]
