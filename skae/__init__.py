"""Autoencoders as scikit-learn transformers."""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

# Where each public name is at home; `__init__.pyi` tells type checkers. A home is imported when it
# is first asked for: who reduces rows waits for no exporter, and `import skae` not even for torch.
_HOMES = {
    "VAE": "_variational",
    "AutoencoderClassifier": "_classifier",
    "AutoencoderImputer": "_imputer",
    "AutoencoderOutlierDetector": "_outlier",
    "AutoencoderTransformer": "_autoencoder",
    "ContractiveAutoencoder": "_contractive",
    "DenoisingAutoencoder": "_denoising",
    "DenoisingEnsemble": "_ensemble",
    "DictionaryDisplay": "_code_displays",
    "ExplainedVarianceDisplay": "_displays",
    "LatentSpaceDisplay": "_displays",
    "LatentTraversalDisplay": "_code_displays",
    "LossCurveDisplay": "_displays",
    "ReconstructionDisplay": "_reconstruction_display",
    "ReconstructionTransformer": "_reconstruction",
    "ReducerComparison": "_comparison",
    "ReducerComparisonDisplay": "_comparison_display",
    "SparseAutoencoder": "_sparse",
    "compare_reducers": "_compare",
    "fit_together": "_together",
    "load": "_persistence",
    "make_reconstruction_scorer": "_scoring",
    "register_onnx_converters": "_export",
    "save": "_persistence",
    "to_numpy": "_export",
    "to_onnx": "_export",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    return globals()[name]


def __dir__() -> list[str]:
    return [*globals(), *_HOMES]
