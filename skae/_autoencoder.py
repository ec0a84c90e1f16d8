"""The plain autoencoder."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ._base import BaseAutoencoder
from ._gradients import SquaredErrorGradient, can_write_out
from ._networks import Autoencoder
from ._pca_start import PrincipalComponents


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
    n_components_ : int
        Size of the code.
    components_ : ndarray of shape (n_components_, n_features_in_)
        How the reconstruction moves with each code, at the mean code; in the units of `X` for each
        unit of a code before whitening. For a linear autoencoder these are the principal axes.
    mean_ : ndarray of shape (n_features_in_,)
        Mean of the training rows.
    explained_variance_ : ndarray of shape (n_components_,)
        Variance of each code over the training rows, in squared units of `X`, before whitening.
    explained_variance_ratio_ : ndarray of shape (n_components_,)
        The same as shares; they add up to the `score` on the training rows.
    pca_score_ : float
        The `score` of PCA on the training rows at the same size of code.
    loss_curve_ : list of float
        Mean training loss of a row in each epoch, in the units of `score_samples`.
    validation_curve_ : list of float
        Mean loss of a held-out row before training and after each epoch.
    n_iter_ : int
        Number of epochs run. Zero if PCA was already the optimum.
    best_iter_ : int
        The epoch whose weights were kept; zero is PCA.
    network_ : torch.nn.Module
        The trained network, in the precision of the training data. Its ``encode`` takes rows in the
        units of `X`.
    n_samples_seen_ : int
        Number of training rows, over all calls of `partial_fit`.
    n_features_in_ : int
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if `X` had them as strings.

    See Also
    --------
    sklearn.decomposition.PCA : The best linear code.
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

    def _written_gradient(self, core: Autoencoder) -> Callable[[Tensor], Tensor] | None:
        if self.loss == "squared_error" and can_write_out(core):
            return SquaredErrorGradient(core)
        return None

    def _solved_by(self, start: PrincipalComponents) -> bool:
        linear = self.network is None and not self.hidden_layer_sizes
        return (
            self.loss == "squared_error"
            and self.init == "pca"
            and start.complete
            and (start.is_exact or (linear and not self.alpha))
        )
