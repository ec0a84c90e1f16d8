"""Names of version 0.1.0, so that its files, its pickles and programs that import from it work.

Version 0.1.0 had one module for each of today's files, all in one folder. A pickle names the module
and the class of each object; a packed network (see `pickling`) names classes and attributes.

Rules for the tables:

- An entry is added in the commit that renames.
- An old name must not be given to another class, or to another attribute of the same class: names
  are translated in every file, new or old. `tests/test_old_versions.py` checks that.
"""

import sys
from collections.abc import Callable
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from .._data.user_warnings import warn_user

PACKAGE = __name__.partition(".")[0]
REMOVED_IN = "0.4"

# Old class name -> new class name: network modules and named tuples that files hold.
RENAMED_CLASSES: dict[str, str] = {
    "CodeUse": "UnitActivity",
    "Codec": "FittedAutoencoder",
    "Columns": "ColumnStatistics",
    "Correction": "StackedCorrection",
    "Deconvolution": "TransposedConvolution",
    "Dictionary": "DictionaryDecoder",
    "ExactDenoisers": "PosteriorMeanDenoisers",
    "Gate": "LayerScale",
    "LinearPath": "PCAPath",
    "NoisyDecoder": "LikelihoodDecoder",
    "OrderedCodec": "RotatedAutoencoder",
    "PosteriorHead": "GaussianEncoder",
    "Silent": "ZeroOutput",
    "Sparsity": "SparseActivation",
    "StackedLinear": "BatchedLinear",
    "StackedNetworks": "CorrectionNetworks",
    "Tame": "SoftClip",
    "Transposed": "TransposedLinear",
    "Units": "SparseEncoder",
}

_DEVIANCES = {
    "charge": "deviance",
    "mean_charge": "mean_deviance",
    "pca_charge": "pca_deviance",
}

# New class name -> its attributes, submodules, parameters, buffers or fields: old name -> new name.
# An entry applies to subclasses, too. Parameters of estimators are listed here as well.
RENAMED_ATTRIBUTES: dict[str, dict[str, str]] = {
    "Autoencoder": {"linear": "pca_path", "reach": "max_train_distance"},
    "AutoencoderImputer": {"_deviation": "_std", "_high": "_max", "_low": "_min"},
    "CodeMoments": _DEVIANCES,
    "ColumnStatistics": {"high": "maximum", "low": "minimum", "spread": "rms_std"},
    "CorrectionNetworks": {"tame": "clip"},
    "Denoisers": {
        "exact": "posterior_means",
        "kept_errors": "stored_errors",
        "usual_error": "error_scale",
    },
    "DictionaryDecoder": {"fields": "receptive_fields"},
    "FittedAutoencoder": {"core": "network"},
    "GaussianEncoder": {"module": "network"},
    "LikelihoodDecoder": {"log_floor": "log_min_scale", "module": "network"},
    "RotatedAutoencoder": {
        "centre": "code_mean",
        "to_core": "inverse_rotation",
        "to_ordered": "rotation",
    },
    "Scales": {
        "code_step": "delta_scale",
        "codes": "inverse_code_scale",
        "inputs": "inverse_input_scale",
        "outputs": "output_scale",
    },
    "SparseCoder": {"n_searches": "n_pursuit_steps"},
    "SparseEncoder": {
        "idle": "rows_since_active",
        "max_idle": "max_inactive_rows",
        "sparsity": "activation",
        "usual": "input_mean",
        "worth": "rows_per_activation",
    },
    "StackedCorrection": {
        "decoder": "coefficients",
        "n_nearest": "n_neighbors",
        "observed": "train_observed",
        "rows": "train_rows",
        "size": "weights",
        "width": "bandwidth",
    },
    "TopK": {"settled_steps": "anneal_steps"},
    "TransposedConvolution": {"_odd": "_output_padding"},
    "TransposedLinear": {"_other": "_linear"},
    "UnitActivity": _DEVIANCES,
    "VariationalAutoencoder": {"gain_in": "encoder_gain", "gain_out": "decoder_gain"},
}

# Class name -> attributes and buffers that it did not have: name -> the value for an old module.
NEW_ATTRIBUTES: dict[str, dict[str, Callable[[Any], Any]]] = {
    "Autoencoder": {
        "anchors": lambda network: network.scales.inverse_code_scale[None][:0].clone(),
        "fade_width": lambda network: 1.0,
        "n_projection_steps": lambda network: 0,
    },
    "FittedAutoencoder": {
        "column_std": lambda fitted: (
            fitted.network.scales.inverse_input_scale.reciprocal().nan_to_num(posinf=0.0)
        ),
        "residual_std": lambda fitted: fitted.network.scales.output_scale.clone(),
    },
    "ColumnStatistics": {"feature": lambda columns: None},
    "Denoisers": {"global_distances": lambda denoisers: None},
}

# Old module -> the modules that have its classes and functions now. `_losses`, `_training`,
# `_export` and `_graph` are sub-packages now and forward names themselves.
OLD_MODULES: dict[str, tuple[str, ...]] = {
    "_autoencoder": ("_autoencoders.plain",),
    "_base": ("_autoencoders.base",),
    "_bounds": ("_losses.importance_weighted",),
    "_callbacks": ("_training.callbacks",),
    "_classifier": ("_semi_supervised.classifier",),
    "_code_displays": ("_inspection.dictionary_display", "_inspection.latent_traversal_display"),
    "_codec": ("_nn.fitted",),
    "_compare": ("_inspection.compare",),
    "_comparison": ("_inspection.comparison",),
    "_comparison_display": ("_inspection.comparison_display",),
    "_completion": ("_imputation.stacked_correction", "_imputation.correction_networks"),
    "_conditional_gaussian": ("_imputation.gaussian",),
    "_contractive": ("_autoencoders.contractive",),
    "_convolution": ("_nn.convolutional",),
    "_corruptions": ("_losses.corruption",),
    "_denoisers": ("_outliers.denoisers",),
    "_denoising": ("_autoencoders.denoising",),
    "_diagnosis": ("_training.diagnostics",),
    "_displays": (
        "_inspection.loss_curve_display",
        "_inspection.explained_variance_display",
        "_inspection.latent_space_display",
    ),
    "_ensemble": ("_outliers.denoising_ensemble",),
    "_fitting": ("_training.fit",),
    "_gradients": ("_training.manual_backward",),
    "_hidden_cells": ("_imputation.masking",),
    "_imputer": ("_imputation.imputer",),
    "_low_rank_gaussian": ("_imputation.factor_analysis",),
    "_namespaces": ("_data.array_api",),
    "_networks": (
        "_nn.autoencoder",
        "_nn.layers",
        "_nn.custom_layers",
        "_nn.mlp",
        "_nn.user_network",
    ),
    "_numpy_program": ("_graph.numpy_runtime",),
    "_ordering": ("_training.rotation",),
    "_outcome": ("_training.result",),
    "_outlier": ("_outliers.detector",),
    "_packing": ("_nn.pickling",),
    "_parameters": ("_autoencoders.shared_parameters",),
    "_pca_start": ("_training.pca",),
    "_penalties": ("_losses.penalties",),
    "_persistence": ("_export.safetensors",),
    "_plotting": ("_inspection.plotting",),
    "_pretraining": ("_training.layerwise",),
    "_probabilistic": ("_nn.variational",),
    "_programs": ("_export.methods",),
    "_pursuit": ("_nn.subspace_pursuit",),
    "_radial": ("_imputation.rbf",),
    "_ranks": ("_data.process_group",),
    "_recall": ("_imputation.nearest_neighbors",),
    "_reconstruction": ("_autoencoders.reconstruction_transformer",),
    "_reconstruction_display": ("_inspection.reconstruction_display",),
    "_refit": ("_autoencoders.dictionary_update",),
    "_scoring": ("_inspection.scoring",),
    "_sparse": ("_autoencoders.sparse",),
    "_sparse_codes": ("_nn.sparse_coder", "_nn.sparse_activations"),
    "_sparse_start": ("_autoencoders.sparse_init",),
    "_spreading": ("_semi_supervised.label_spreading",),
    "_stacked": ("_nn.batched_linear",),
    "_stacking": ("_training.batched_epochs",),
    "_task": ("_training.fit_data",),
    "_tensors": ("_data.dataset",),
    "_together": ("_training.joblib_backend",),
    "_trained": ("_autoencoders.inference",),
    "_validation": ("_data.validation",),
    "_variational": ("_autoencoders.vae",),
}

# Names that the documentation of version 0.1.0 imported from private modules; all are public in
# `skae.base` now. No file names them, so that only programs that import them get the warning.
PUBLIC_NOW = {
    "_base": {"BaseAutoencoder"},
    "_validation": {"integer", "parameter", "positive"},
}


class OldModuleFinder:
    """Imports the modules of version 0.1.0 that are gone, as aliases of their successors."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        package, _, module = name.partition(".")
        if package == PACKAGE and module in OLD_MODULES:
            return ModuleSpec(name, OldModuleFinder)  # type: ignore[arg-type]
        return None

    @staticmethod
    def create_module(spec: ModuleSpec) -> ModuleType:
        return OldModule(spec.name, f"Names of version 0.1.0; removed in {REMOVED_IN}.")

    @staticmethod
    def exec_module(module: ModuleType) -> None:
        """Nothing: attributes are looked up when they are used."""


class OldModule(ModuleType):
    """A module of version 0.1.0, each of whose attributes is that of its successor."""

    def __getattr__(self, name: str) -> Any:
        module = self.__name__.partition(".")[2]
        if name in PUBLIC_NOW.get(module, ()):
            warn_user(
                f"`{self.__name__}.{name}` is `{PACKAGE}.base.{name}` now; the old name will be "
                f"removed in version {REMOVED_IN}.",
                FutureWarning,
            )
            return getattr(import_module(f"{PACKAGE}.base"), name)
        if not name.startswith("__"):
            for home in OLD_MODULES[module]:
                successor = import_module(f"{PACKAGE}.{home}")
                for candidate in (RENAMED_CLASSES.get(name, name), name):
                    if hasattr(successor, candidate):
                        return getattr(successor, candidate)
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")


def install() -> None:
    """Let the import system find the old modules, after all others."""
    sys.meta_path.append(OldModuleFinder)


def new_attribute_names(cls: type) -> dict[str, str]:
    """The attributes of a class, or of its bases, that had another name: old name -> new name."""
    names: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        names |= RENAMED_ATTRIBUTES.get(base.__name__, {})
    return names
