"""Protocols of the estimators that displays, scorers and comparisons accept."""

from collections.abc import Sequence
from typing import Any, Protocol, Self

import numpy as np

from .._data.array_api import ArrayLike


class Transformer(Protocol):
    """Encodes rows, once it is fitted."""

    @property
    def transform(self) -> Any:
        """The method that encodes; a property, as in pipelines."""


class Embedding(Protocol):
    """Has codes of its training rows only, once it is fitted."""

    embedding_: Any


class Reducer(Transformer, Protocol):
    """Encodes rows and decodes codes."""

    @property
    def inverse_transform(self) -> Any:
        """The method from codes to rows."""


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

    warm_start: bool
    best_iter_: int

    # As properties, any subtype will do for type checkers.
    @property
    def init(self) -> str:
        """The name of the initialisation."""

    @property
    def loss_curve_(self) -> Sequence[float]:
        """Training loss of each epoch."""

    @property
    def validation_curve_(self) -> Sequence[float]:
        """Held-out loss of each epoch."""


class HasExplainedVariance(Protocol):
    """A fitted autoencoder, for the variance that its codes explain."""

    explained_variance_ratio_: np.ndarray
    pca_score_: float
