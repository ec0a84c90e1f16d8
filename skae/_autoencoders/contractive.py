"""The contractive autoencoder."""

from dataclasses import dataclass
from numbers import Real

import torch
from torch import Tensor

from .._data.validation import Number, parameter
from .._losses.penalties import random_directions, squared_jacobian_norm
from .._nn.autoencoder import Autoencoder
from .base import BaseAutoencoder


@dataclass(eq=False, repr=False, kw_only=True)
class ContractiveAutoencoder(BaseAutoencoder):
    """An autoencoder whose codes move little when a row changes a little.

    The slope of the encoder is charged beside the reconstruction::

        minimise over g, f    sum over rows of  |x - decode(encode(x))|^2
                                              + contraction * |d encode(x) / d x|_F^2
        encode(x) = V (x - mean) + g(x)
        decode(code) = mean + V' code + f(code)

    J = d encode / d x is that of the whole encoder, the principal components V included: what
    g learns is to take back those movements of the code that the reconstruction can do without.
    PCA has ``|J|_F^2 = n_components``. Small noise of standard deviation s moves a code by
    ``s |J|_F``.

    As in :class:`AutoencoderTransformer`, training starts at PCA, and PCA is kept unless held-out
    rows do better; but better means this objective, so that an error above PCA's may be the price
    of a small slope. With ``contraction=0`` it is an :class:`AutoencoderTransformer`, to the bit.

    Parameters
    ----------
    contraction : float, default=0.3
        Weight of the squared norm, at least 0. It has no unit: row and code are both measured in
        the spread of `X`, the root mean square of its columns' standard deviations (in the units of
        `X` for log loss and Poisson), and so is the squared error, summed over the features.

    {shared_parameters}

    Attributes
    ----------
    {shared_attributes}

    See Also
    --------
    AutoencoderTransformer : The same without the penalty.
    DenoisingAutoencoder : Makes the reconstruction insensitive to noise that is not small.

    Notes
    -----
    The norm is estimated without bias: ``|J'u|^2`` for one random direction u of the code for each
    row, which costs one pass back through the encoder instead of `n_components`. For one component
    it is exact. Shrinking all codes, which would make any slope small, does not pay: the linear
    path of the decoder expects codes at the scale of V.

    References
    ----------
    .. [1] S. Rifai, P. Vincent, X. Muller, X. Glorot and Y. Bengio, "Contractive auto-encoders:
       explicit invariance during feature extraction", ICML, 2011.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_digits
    >>> from skae import AutoencoderTransformer, ContractiveAutoencoder
    >>> X = load_digits().data[:600]
    >>> noisy = X + np.random.RandomState(0).normal(size=X.shape)
    >>> def movement(reducer):
    ...     codes = reducer.fit_transform(X)
    ...     return np.mean((reducer.transform(noisy) - codes) ** 2) / np.mean(codes**2)
    >>> plain = movement(AutoencoderTransformer(8, max_iter=20, random_state=0))
    >>> bool(movement(ContractiveAutoencoder(8, max_iter=20, random_state=0)) < 0.5 * plain)
    True
    """

    contraction: float = parameter(0.3, Number(Real, 0))

    def _loss(self, network: Autoencoder, x: Tensor, noise: torch.Generator) -> Tensor:
        with torch.enable_grad():  # held-out rows, which ask for no gradient, have a Jacobian too
            x = x.detach().requires_grad_()
            code = network.encode(x)
            norm = squared_jacobian_norm(code, x, random_directions(code, noise))
        reconstruction = self._reconstruction.loss(network.decode(code), x)
        return reconstruction + self.contraction * norm

    @property
    def _only_reconstructs(self) -> bool:
        return self.contraction == 0
