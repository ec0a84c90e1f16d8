"""Autoencoders as scikit-learn transformers."""

from importlib import import_module
from typing import Any

from ._data.forks import IMPORT_LOCK
from ._nn import old_names

__version__ = "0.2.0"

# The module of each public name; `__init__.pyi` has the same for type checkers. A module is
# imported when one of its names is first used: `import skae` imports neither torch nor
# scikit-learn, and a program that fits an autoencoder imports no exporter.
_HOMES = {
    "VAE": "_autoencoders.vae",
    "AutoencoderClassifier": "_semi_supervised.classifier",
    "AutoencoderImputer": "_imputation.imputer",
    "AutoencoderOutlierDetector": "_outliers.detector",
    "AutoencoderTransformer": "_autoencoders.plain",
    "BiplotDisplay": "_inspection.biplot_display",
    "ContractiveAutoencoder": "_autoencoders.contractive",
    "DenoisingAutoencoder": "_autoencoders.denoising",
    "DenoisingEnsemble": "_outliers.denoising_ensemble",
    "DictionaryDisplay": "_inspection.dictionary_display",
    "ExplainedVarianceDisplay": "_inspection.explained_variance_display",
    "LatentSpaceDisplay": "_inspection.latent_space_display",
    "LatentTraversalDisplay": "_inspection.latent_traversal_display",
    "LossCurveDisplay": "_inspection.loss_curve_display",
    "NeighborAutoencoder": "_autoencoders.neighbor",
    "ReconstructionDisplay": "_inspection.reconstruction_display",
    "ReconstructionTransformer": "_autoencoders.reconstruction_transformer",
    "ReducerComparison": "_inspection.comparison",
    "ReducerComparisonDisplay": "_inspection.comparison_display",
    "SlidingWindows": "_series.sliding_windows",
    "SparseAutoencoder": "_autoencoders.sparse",
    "SupervisedAutoencoder": "_autoencoders.supervised",
    "TimeSeriesOutlierDetector": "_series.series_detector",
    "compare_reducers": "_inspection.compare",
    "export_numpy": "_export.export",
    "fit_together": "_training.joblib_backend",
    "load": "_export.safetensors",
    "make_reconstruction_scorer": "_inspection.scoring",
    "register_onnx_converters": "_export.export",
    "save": "_export.safetensors",
    "show_versions": "_data.versions",
    "to_onnx": "_export.export",
}
_DEPRECATED = {"to_numpy": "_export.export"}
__all__ = list(_HOMES)

old_names.install()


def __getattr__(name: str) -> Any:
    home = "base" if name == "base" else (_HOMES | _DEPRECATED).get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with IMPORT_LOCK:
        module = import_module(f".{home}", __name__)
    if name == "base":
        return module
    globals()[name] = getattr(module, name)
    return globals()[name]


def __dir__() -> list[str]:
    return [*(name for name in globals() if name.startswith("_")), "base", *_HOMES]
