"""The plain autoencoder."""

from dataclasses import dataclass

import torch
from torch import Tensor

from .._nn.autoencoder import Autoencoder
from .base import BaseAutoencoder


@dataclass(eq=False, repr=False, kw_only=True)
class AutoencoderTransformer(BaseAutoencoder):
    """Nonlinear dimensionality reduction that takes the place of PCA.

    An encoder maps each row to a few numbers, its *code*, and a decoder maps the code back; both
    are trained together so that the rows come back as well as they can::

        minimise over g, f    sum over rows of |x - decode(encode(x))|^2
        encode(x) = V (x - mean) + g(x)
        decode(code) = mean + V' code + f(code)

    V holds the principal components of all rows, and the networks g and f start at zero. So
    training starts at PCA, and it ends there unless held-out rows are reconstructed better: the
    error is that of PCA or lower. The codes have mean zero, are uncorrelated, and are sorted by the
    variance that they explain.

    Parameters
    ----------
    {shared_parameters}

    Attributes
    ----------
    {shared_attributes}

    See Also
    --------
    sklearn.decomposition.PCA : The best linear code.
    DenoisingAutoencoder : Takes noise out of rows.
    ContractiveAutoencoder : Codes that move little when rows change a little.
    compare_reducers : Both side by side on held-out rows.

    References
    ----------
    .. [1] P. Baldi and K. Hornik, "Neural networks and principal component analysis: learning from
       examples without local minima", Neural Networks, 1989.
    .. [2] G. E. Hinton and R. R. Salakhutdinov, "Reducing the dimensionality of data with neural
       networks", Science, 2006.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skae import AutoencoderTransformer
    >>> X, _ = load_digits(return_X_y=True)
    >>> reducer = AutoencoderTransformer(n_components=8, random_state=0).fit(X)
    >>> reducer.transform(X).shape
    (1797, 8)
    >>> bool(reducer.score(X) > reducer.pca_score_)
    True
    """

    def _loss(self, network: Autoencoder, x: Tensor, noise: torch.Generator) -> Tensor:
        return self._reconstruction.loss(network.decode(network.encode(x)), x)

    @property
    def _only_reconstructs(self) -> bool:
        return True
