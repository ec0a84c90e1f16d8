"""Subclasses that define their objective as a method `_loss`, as before version 0.2."""

import warnings
from dataclasses import dataclass
from typing import Any

from torch import Generator, Tensor

from .._nn.autoencoder import Autoencoder
from .._training.objective import Objective


@dataclass
class LossMethod(Objective):
    """The method `_loss(network, x, rng)` of an estimator as an objective."""

    estimator: Any

    def per_row(self, network: Autoencoder, x: Tensor, rng: Generator) -> Tensor:
        """Call the method."""
        return self.estimator._loss(network, x, rng)

    @classmethod
    def adopt(cls, subclass: type) -> None:
        """Make `_loss` the objective of a class, with a warning, unless it has a newer one."""
        if "_objective" in vars(subclass):
            return
        warnings.warn(
            f"`{subclass.__name__}._loss` is deprecated and will be ignored from version 0.4 on: "
            'return a skae.base.Objective from `_objective`, see the page "Your own objective".',
            FutureWarning,
            stacklevel=4,
        )
        subclass._objective = lambda self, data: cls(self)  # type: ignore[attr-defined]
        # The name of the reconstruction loss that such methods use.
        subclass._reconstruction = property(  # type: ignore[attr-defined]
            lambda self: self._reconstruction_loss
        )
