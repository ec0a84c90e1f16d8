"""Autoencoders as scikit-learn transformers."""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

# Where each public name is at home; `__init__.pyi` tells type checkers. A home is imported when it
# is first asked for: who reduces rows waits for no exporter, and `import skae` not even for torch.
_HOMES = {
    "VAE": "_autoencoders.vae",
    "AutoencoderClassifier": "_semi_supervised.classifier",
    "AutoencoderImputer": "_imputation.imputer",
    "AutoencoderOutlierDetector": "_outliers.detector",
    "AutoencoderTransformer": "_autoencoders.plain",
    "ContractiveAutoencoder": "_autoencoders.contractive",
    "DenoisingAutoencoder": "_autoencoders.denoising",
    "DenoisingEnsemble": "_outliers.denoising_ensemble",
    "DictionaryDisplay": "_inspection.components",
    "ExplainedVarianceDisplay": "_inspection.displays",
    "LatentSpaceDisplay": "_inspection.displays",
    "LatentTraversalDisplay": "_inspection.components",
    "LossCurveDisplay": "_inspection.displays",
    "ReconstructionDisplay": "_inspection.reconstruction_display",
    "ReconstructionTransformer": "_autoencoders.reconstruction_transformer",
    "ReducerComparison": "_inspection.comparison",
    "ReducerComparisonDisplay": "_inspection.comparison_display",
    "SparseAutoencoder": "_autoencoders.sparse",
    "compare_reducers": "_inspection.compare",
    "fit_together": "_training.joblib_backend",
    "load": "_export.safetensors",
    "make_reconstruction_scorer": "_inspection.scoring",
    "register_onnx_converters": "_export.export",
    "save": "_export.safetensors",
    "to_numpy": "_export.export",
    "to_onnx": "_export.export",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    return globals()[name]


def __dir__() -> list[str]:
    return [*globals(), *_HOMES]
