"""The autoencoder that a classifier starts from: a frozen one, or one fitted to all rows."""

from typing import Any

from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.utils.validation import check_is_fitted

from .._autoencoders.base import BaseAutoencoder
from .._autoencoders.denoising import DenoisingAutoencoder

# Components of the default autoencoder, if there are as many rows and columns.
N_COMPONENTS = 64


def pretrained(
    estimator: Any, X: Any, X_val: Any, groups: Any, shape: tuple[int, int], seed: int
) -> BaseAutoencoder:
    """The frozen autoencoder, or a clone that is fitted to all rows, of this shape."""
    if isinstance(estimator, FrozenEstimator):
        return _frozen(estimator, X, shape)
    default = DenoisingAutoencoder(min(N_COMPONENTS, *shape), corruption_level=0.5)
    autoencoder = default if estimator is None else clone(estimator)
    if autoencoder.random_state is None:
        autoencoder.set_params(random_state=seed)
    return autoencoder.fit(X, X_val=X_val, groups=groups)


def _frozen(frozen: FrozenEstimator, X: Any, shape: tuple[int, int]) -> BaseAutoencoder:
    """The fitted autoencoder inside, if it takes such rows."""
    autoencoder = frozen.estimator
    if not isinstance(autoencoder, BaseAutoencoder):
        raise TypeError(
            f"`estimator` must be an autoencoder, a FrozenEstimator of one or None, got {frozen!r}."
        )
    check_is_fitted(autoencoder)
    if autoencoder.n_features_in_ != shape[1]:
        raise ValueError(
            f"`estimator` was fitted to rows with {autoencoder.n_features_in_} features, got `X` "
            f"with {shape[1]}."
        )
    autoencoder._validated(X)  # for the names of the features
    return autoencoder
