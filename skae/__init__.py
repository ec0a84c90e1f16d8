"""Autoencoders as scikit-learn transformers."""

from ._autoencoder import AutoencoderTransformer
from ._code_displays import DictionaryDisplay, LatentTraversalDisplay
from ._compare import ReducerComparison, compare_reducers
from ._comparison_display import ReducerComparisonDisplay
from ._contractive import ContractiveAutoencoder
from ._denoising import DenoisingAutoencoder
from ._displays import ExplainedVarianceDisplay, LatentSpaceDisplay, LossCurveDisplay
from ._export import register_onnx_converters, to_numpy, to_onnx
from ._persistence import load, save
from ._reconstruction_display import ReconstructionDisplay
from ._scoring import make_reconstruction_scorer
from ._variational import VAE

__version__ = "0.1.0"

__all__ = [
    "VAE",
    "AutoencoderTransformer",
    "ContractiveAutoencoder",
    "DenoisingAutoencoder",
    "DictionaryDisplay",
    "ExplainedVarianceDisplay",
    "LatentSpaceDisplay",
    "LatentTraversalDisplay",
    "LossCurveDisplay",
    "ReconstructionDisplay",
    "ReducerComparison",
    "ReducerComparisonDisplay",
    "compare_reducers",
    "load",
    "make_reconstruction_scorer",
    "register_onnx_converters",
    "save",
    "to_numpy",
    "to_onnx",
]
