"""Subclasses that define their objective as a method `_loss`, as before version 0.2."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from types import FunctionType
from typing import Any, ClassVar

from torch import Generator, Tensor

from .._data.user_warnings import warn_user
from .._losses.reconstruction import LOSSES, ReconstructionLoss
from .._nn.autoencoder import Autoencoder
from .._training.objective import Objective, ObjectiveWrapper, defined_at


@dataclass
class LossMethod(Objective):
    """The method `_loss(network, x, rng)` of an estimator as an objective."""

    estimator: Any

    def per_row(self, network: Autoencoder, x: Tensor, rng: Generator) -> Tensor:
        """Call the method."""
        return self.estimator._loss(network, x, rng)


@dataclass
class ExtendedLossMethod(ObjectiveWrapper):
    """The method `_loss` of a subclass of a public estimator: all but the loss is inherited."""

    objective: Objective
    estimator: Any

    def per_row(self, network: Autoencoder, x: Tensor, rng: Generator) -> Tensor:
        """Call the method."""
        return self.estimator._loss(network, x, rng)


class LossMethodMixin:
    """Trains a subclass that defines `_loss` on that method, with a warning."""

    # The objective of the public estimator that such a class derives from.
    _inherited_objective: ClassVar[Callable[[Any, Any], Objective] | None] = None
    loss: Any

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if not _defines_loss(cls):
            return
        warn_user(
            f"`{cls.__name__}._loss` is deprecated and will be ignored from version 0.4 on: return "
            'a skae.base.Objective from `_objective`, see the page "Your own objective".',
            FutureWarning,
        )
        inherited = cls._inherited_objective or getattr(cls, "_objective")  # noqa: B009
        is_abstract = getattr(inherited, "__isabstractmethod__", False)
        cls._inherited_objective = None if is_abstract else inherited

        def _objective(self: Any, data: Any) -> Objective:
            if is_abstract:
                return LossMethod(self)
            return ExtendedLossMethod(inherited(self, data), self)

        cls._objective = _objective  # type: ignore[attr-defined]

    def _loss(self, network: Autoencoder, x: Tensor, noise: Generator) -> Tensor:
        """The loss of the public estimator, for a method of a subclass that extends this loss."""
        if (inherited := type(self)._inherited_objective) is None:
            raise NotImplementedError("The base class has no loss.")
        return inherited(self, None).per_row(network, x, noise)

    @property
    def _reconstruction(self) -> ReconstructionLoss:
        """The name of the reconstruction loss in such methods."""
        if not (isinstance(self.loss, str) and self.loss in LOSSES):  # `fit` raises the error
            raise AttributeError(f"There is no loss {self.loss!r}.")
        return LOSSES[self.loss]


def _defines_loss(cls: type) -> bool:
    """Whether a class has a method `_loss(self, network, x, rng)` that no newer objective hides."""
    method = getattr(cls, "_loss", None)
    return (
        isinstance(method, FunctionType)
        and method is not LossMethodMixin._loss
        and len(inspect.signature(method).parameters) == 4
        and defined_at(cls, "_loss") < defined_at(cls, "_objective")
    )
