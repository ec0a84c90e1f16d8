"""What type checkers see of the package; see `__init__.py`."""

from ._autoencoder import AutoencoderTransformer as AutoencoderTransformer
from ._classifier import AutoencoderClassifier as AutoencoderClassifier
from ._code_displays import DictionaryDisplay as DictionaryDisplay
from ._code_displays import LatentTraversalDisplay as LatentTraversalDisplay
from ._compare import compare_reducers as compare_reducers
from ._comparison import ReducerComparison as ReducerComparison
from ._comparison_display import ReducerComparisonDisplay as ReducerComparisonDisplay
from ._contractive import ContractiveAutoencoder as ContractiveAutoencoder
from ._denoising import DenoisingAutoencoder as DenoisingAutoencoder
from ._displays import ExplainedVarianceDisplay as ExplainedVarianceDisplay
from ._displays import LatentSpaceDisplay as LatentSpaceDisplay
from ._displays import LossCurveDisplay as LossCurveDisplay
from ._ensemble import DenoisingEnsemble as DenoisingEnsemble
from ._export import register_onnx_converters as register_onnx_converters
from ._export import to_numpy as to_numpy
from ._export import to_onnx as to_onnx
from ._imputer import AutoencoderImputer as AutoencoderImputer
from ._outlier import AutoencoderOutlierDetector as AutoencoderOutlierDetector
from ._persistence import load as load
from ._persistence import save as save
from ._reconstruction import ReconstructionTransformer as ReconstructionTransformer
from ._reconstruction_display import ReconstructionDisplay as ReconstructionDisplay
from ._scoring import make_reconstruction_scorer as make_reconstruction_scorer
from ._sparse import SparseAutoencoder as SparseAutoencoder
from ._together import fit_together as fit_together
from ._variational import VAE as VAE

__version__: str
__all__: list[str]
