"""The estimators that displays, scorers and comparisons take, by their methods and attributes."""

from collections.abc import Sequence
from typing import Any, Protocol, Self

import numpy as np

from .._data.array_api import ArrayLike


class Transformer(Protocol):
    """Encodes rows, once it is fitted."""

    def transform(self, X: ArrayLike, /) -> Any:
        """Rows to codes."""


class Reducer(Transformer, Protocol):
    """Encodes rows and decodes codes."""

    def inverse_transform(self, X: ArrayLike, /) -> Any:
        """Codes to rows."""


class UnfittedTransformer(Transformer, Protocol):
    """Is fitted to rows, with or without a target."""

    def fit(self, X: ArrayLike, y: ArrayLike = None, /) -> Self:
        """Fit to rows."""


class Predictor(Protocol):
    """Is fitted to rows and a target, and scored on others."""

    def fit(self, X: ArrayLike, y: ArrayLike, /) -> Self:
        """Fit to rows and their targets."""

    def score(self, X: ArrayLike, y: ArrayLike, /) -> float:
        """Score the predictions of the targets of rows."""


class HasComponents(Protocol):
    """A fitted estimator with components, such as an autoencoder or PCA."""

    components_: Any


class HasLossCurve(Protocol):
    """A fitted autoencoder, for the curves of its training."""

    init: str
    warm_start: bool
    loss_curve_: Sequence[float]
    validation_curve_: Sequence[float]
    best_iter_: int


class HasExplainedVariance(Protocol):
    """A fitted autoencoder, for the variance that its codes explain."""

    explained_variance_ratio_: np.ndarray
    pca_score_: float
