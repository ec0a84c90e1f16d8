"""The public names for type checkers; see `__init__.py`."""

import os

import typing_extensions

from . import base as base
from ._autoencoders.contractive import ContractiveAutoencoder as ContractiveAutoencoder
from ._autoencoders.denoising import DenoisingAutoencoder as DenoisingAutoencoder
from ._autoencoders.neighbor import NeighborAutoencoder as NeighborAutoencoder
from ._autoencoders.plain import AutoencoderTransformer as AutoencoderTransformer
from ._autoencoders.reconstruction_transformer import (
    ReconstructionTransformer as ReconstructionTransformer,
)
from ._autoencoders.sparse import SparseAutoencoder as SparseAutoencoder
from ._autoencoders.supervised import SupervisedAutoencoder as SupervisedAutoencoder
from ._autoencoders.vae import VAE as VAE
from ._data.versions import show_versions as show_versions
from ._export.export import export_numpy as export_numpy
from ._export.export import register_onnx_converters as register_onnx_converters
from ._export.export import to_onnx as to_onnx
from ._export.safetensors import load as load
from ._export.safetensors import save as save
from ._imputation.imputer import AutoencoderImputer as AutoencoderImputer
from ._inspection.biplot_display import BiplotDisplay as BiplotDisplay
from ._inspection.compare import compare_reducers as compare_reducers
from ._inspection.comparison import ReducerComparison as ReducerComparison
from ._inspection.comparison_display import ReducerComparisonDisplay as ReducerComparisonDisplay
from ._inspection.dictionary_display import DictionaryDisplay as DictionaryDisplay
from ._inspection.explained_variance_display import (
    ExplainedVarianceDisplay as ExplainedVarianceDisplay,
)
from ._inspection.latent_space_display import LatentSpaceDisplay as LatentSpaceDisplay
from ._inspection.latent_traversal_display import LatentTraversalDisplay as LatentTraversalDisplay
from ._inspection.loss_curve_display import LossCurveDisplay as LossCurveDisplay
from ._inspection.reconstruction_display import ReconstructionDisplay as ReconstructionDisplay
from ._inspection.scoring import make_reconstruction_scorer as make_reconstruction_scorer
from ._outliers.denoising_ensemble import DenoisingEnsemble as DenoisingEnsemble
from ._outliers.detector import AutoencoderOutlierDetector as AutoencoderOutlierDetector
from ._semi_supervised.classifier import AutoencoderClassifier as AutoencoderClassifier
from ._series.series_detector import TimeSeriesOutlierDetector as TimeSeriesOutlierDetector
from ._series.sliding_windows import SlidingWindows as SlidingWindows
from ._training.joblib_backend import fit_together as fit_together

__version__: str
__all__: list[str]

@typing_extensions.deprecated("Renamed to `export_numpy`; removed in version 0.4.")
def to_numpy(estimator: base.BaseAutoencoder, folder: str | os.PathLike[str]) -> None: ...
