"""What type checkers see of the package; see `__init__.py`."""

from ._autoencoder import AutoencoderTransformer as AutoencoderTransformer
from ._compare import ReducerComparison as ReducerComparison
from ._compare import compare_reducers as compare_reducers
from ._contractive import ContractiveAutoencoder as ContractiveAutoencoder
from ._denoising import DenoisingAutoencoder as DenoisingAutoencoder
from ._export import register_onnx_converters as register_onnx_converters
from ._export import to_numpy as to_numpy
from ._export import to_onnx as to_onnx
from ._persistence import load as load
from ._persistence import save as save
from ._scoring import make_reconstruction_scorer as make_reconstruction_scorer
from ._sparse import SparseAutoencoder as SparseAutoencoder
from ._variational import VAE as VAE

__version__: str
__all__: list[str]
