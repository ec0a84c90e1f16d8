"""Base classes for user-defined autoencoders and objectives.

An estimator derives from :class:`BaseAutoencoder`, or from one of the public estimators, and
returns an :class:`Objective` from `_objective`. The page "Own objectives, losses and networks" of
the guide is an introduction.
"""

from ._autoencoders.base import BaseAutoencoder
from ._autoencoders.plain import Reconstruction
from ._data.validation import (
    BOOLEAN,
    CALLABLE,
    FRACTION,
    NONE,
    RANDOM_STATE,
    Interval,
    Rule,
    StrOptions,
    instance_of,
    integer,
    parameter,
    positive,
    positive_integers,
)
from ._losses.reconstruction import (
    LOSSES,
    AbsoluteError,
    LogLoss,
    Poisson,
    ReconstructionLoss,
    SquaredError,
)
from ._nn.autoencoder import Autoencoder
from ._training.fit_data import FitData
from ._training.initialization import Initialization
from ._training.objective import Objective, ObjectiveWrapper, TrainingSource
from ._training.result import FitResult, TrainedNetwork

__all__ = [
    "BOOLEAN",
    "CALLABLE",
    "FRACTION",
    "LOSSES",
    "NONE",
    "RANDOM_STATE",
    "AbsoluteError",
    "Autoencoder",
    "BaseAutoencoder",
    "FitData",
    "FitResult",
    "Initialization",
    "Interval",
    "LogLoss",
    "Objective",
    "ObjectiveWrapper",
    "Poisson",
    "Reconstruction",
    "ReconstructionLoss",
    "Rule",
    "SquaredError",
    "StrOptions",
    "TrainedNetwork",
    "TrainingSource",
    "instance_of",
    "integer",
    "parameter",
    "positive",
    "positive_integers",
]
