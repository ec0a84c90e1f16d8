"""Objectives: the functions that training minimises, and their gradients by autograd."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Generator, Tensor

from .._data.dataset import Dataset
from .._losses.penalties import elastic_net
from .._nn.autoencoder import Autoencoder
from .._nn.fitted import FittedAutoencoder
from .acceptance import Acceptance
from .loop import by_autograd

if TYPE_CHECKING:
    from .fit_data import FitData

# The mean loss of the rows at an index; its gradient is left in the parameters of a network.
Gradient = Callable[[Tensor], Tensor]


def defined_at(cls: type, name: str) -> int:
    """The position in the method resolution order of the class that defines a name."""
    return next(i for i, base in enumerate(cls.__mro__) if name in vars(base))


class TrainingSource(NamedTuple):
    """The training rows and the settings for the computation of gradients.

    Attributes
    ----------
    rows : Dataset
        The training rows, in the units of the network.
    rng : torch.Generator
        The generator of noise, sampled codes and random directions.
    dtype : torch.dtype
        The dtype of the values between the layers. The weights are float32.
    n_steps : int
        The planned number of steps; 0 if it is unknown.
    """

    rows: Dataset
    rng: Generator
    dtype: torch.dtype
    n_steps: int = 0


class Objective(ABC):
    """Base class of objectives: a loss for each row of a batch, to be minimised.

    A subclass must define :meth:`per_row`, the loss of each row. All other methods have defaults.
    Training minimises the mean of `per_row` over the training rows, and compares epochs by its mean
    over the held-out rows.

    See Also
    --------
    Reconstruction : The objective of :class:`skae.AutoencoderTransformer`.
    BaseAutoencoder : Its `_objective` returns the objective of an estimator.

    Notes
    -----
    `network.encode` maps a batch to codes. `network.decode` maps codes to raw outputs, which are
    the reconstructions for the squared error, logits for log loss and logarithms for Poisson loss.
    Batches have the units ``(X - mean_) / s``, where s is the root mean square of the columns'
    standard deviations. For log loss and Poisson loss they have the units of `X`. Missing values
    are NaN, and `encode` replaces them by the mean.

    Examples
    --------
    Codes that are penalised by their squared norm:

    >>> from dataclasses import dataclass
    >>> from sklearn.datasets import load_iris
    >>> from skae import AutoencoderTransformer
    >>> from skae.base import Objective, ReconstructionLoss
    >>> @dataclass
    ... class Shrinkage(Objective):
    ...     loss: ReconstructionLoss
    ...     weight: float
    ...
    ...     def per_row(self, network, x, rng):
    ...         code = network.encode(x)
    ...         return self.loss.loss(network.decode(code), x) + self.weight * code.square().sum(1)
    >>> @dataclass(eq=False, repr=False, kw_only=True)
    ... class ShrunkenAutoencoder(AutoencoderTransformer):
    ...     weight: float = 0.1
    ...
    ...     def _objective(self, data):
    ...         return Shrinkage(data.loss, self.weight)
    >>> X, _ = load_iris(return_X_y=True)
    >>> ShrunkenAutoencoder(weight=0.5, max_iter=5, random_state=0).fit_transform(X).shape
    (150, 2)
    """

    @property
    def network_class(self) -> type[Autoencoder]:
        """The class of the network; another one if it has more than an encoder and a decoder."""
        return Autoencoder

    @property
    def is_reconstruction(self) -> bool:
        """Whether the objective is a reconstruction loss alone, without any other term."""
        return False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Restore defaults that a base class has overridden for another equation."""
        super().__init_subclass__(**kwargs)
        equation = defined_at(cls, "per_row")
        for name in ("gradient", "is_reconstruction", "minimised_by_pca", "stages", "acceptance"):
            if defined_at(cls, name) > equation:
                setattr(cls, name, vars(Objective)[name])

    @abstractmethod
    def per_row(self, network: Autoencoder, x: Tensor, rng: Generator) -> Tensor:
        """Loss of each row of a batch.

        Parameters
        ----------
        network : Autoencoder
            The network that is trained; ``network.training`` is False for held-out rows.
        x : Tensor of shape (n_samples, n_features)
            Rows in the units described above. NaN marks missing values.
        rng : torch.Generator
            The generator to use for all random numbers.

        Returns
        -------
        loss : Tensor of shape (n_samples,)
            The loss of each row: the sum over its observed features.
        """

    def at(self, index: Tensor, *, held_out: bool) -> "Objective":
        """Return the objective of the rows at an index, whose :meth:`per_row` is called next.

        A subclass may override this if the loss depends on something that is stored for each row.

        Parameters
        ----------
        index : Tensor of int
            The indices of the rows of a batch in ``data.rows``, or in ``data.held_out_rows``.
        held_out : bool
            Whether these are held-out rows.

        Returns
        -------
        objective : Objective
        """
        return self

    def network_input(self, network: Autoencoder, x: Tensor, rng: Generator) -> Tensor:
        """Return the input of the encoder in training: `x`, to which a subclass may add noise.

        Parameters
        ----------
        network, x, rng
            As for :meth:`per_row`.

        Returns
        -------
        corrupted : Tensor of shape (n_samples, n_features)
        """
        return x

    @property
    def corrupts_input(self) -> bool:
        """Whether :meth:`network_input` differs from `x`."""
        return getattr(self.network_input, "__func__", None) is not _UNCHANGED_INPUT

    @property
    def minimised_by_pca(self) -> bool:
        """Whether PCA is the optimum among linear autoencoders."""
        return False

    def stages(self, network: Autoencoder) -> "tuple[Objective, ...]":
        """Return the objectives that are minimised one after the other; by default only this one.

        Held-out rows are evaluated by this objective in every stage.

        Parameters
        ----------
        network : Autoencoder
            The network before training.

        Returns
        -------
        objectives : tuple of Objective
            One or two objectives. The second one is minimised in the last tenth of the epochs.
        """
        return (self,)

    def acceptance(self, network: Autoencoder) -> Acceptance:
        """Return the improvement on held-out rows that is required to replace the initial weights.

        Parameters
        ----------
        network : Autoencoder
            The network before training.

        Returns
        -------
        acceptance : Acceptance
        """
        return Acceptance()

    def gradient(self, network: Autoencoder, source: TrainingSource) -> Gradient:
        """Return a function that computes the gradient of the mean of :meth:`per_row`.

        A subclass may define a faster one, which must return the same numbers.

        Parameters
        ----------
        network : Autoencoder
            Its parameters receive the gradient.
        source : TrainingSource
            The training rows, the random generator and the precision of the layers.

        Returns
        -------
        gradient : callable
            A function ``gradient(index)`` that computes the mean loss of the rows at `index`. It
            returns this loss and stores the gradient in ``parameter.grad`` of each parameter.
        """
        steps = count()
        low_precision = source.dtype != torch.float32

        def losses_at(index: Tensor) -> Tensor:
            network.progress = next(steps) / source.n_steps if source.n_steps else 1.0
            device = source.rng.device.type
            with torch.autocast(device, source.dtype) if low_precision else nullcontext():
                objective = self.at(index, held_out=False)
                losses = losses_of_rows(objective, network, source.rows[index], source.rng)
            if not losses.requires_grad:
                raise ValueError(
                    f"`{type(self).__name__}.per_row` must return losses that depend on the "
                    "parameters of `network`, got a tensor without a gradient."
                )
            return losses

        return by_autograd(losses_at)

    def prepare_network(self, network: Autoencoder, data: "FitData") -> None:
        """Add values to a new network that :meth:`per_row` needs.

        Not called for a network whose training continues.
        """

    def calibrate(self, fitted: FittedAutoencoder, data: "FitData") -> None:
        """Set values of the network that depend on the trained weights, at the end of `fit`.

        Not called by `partial_fit`.
        """

    def to_data_units(self, loss: float, data: "FitData") -> float:
        """Convert a mean of :meth:`per_row` to the units of `score_samples`, for `loss_curve_`."""
        return loss * data.scale**data.loss.degree


_UNCHANGED_INPUT = Objective.network_input


class ObjectiveWrapper(Objective):
    """An objective that changes the loss of another one and keeps the rest.

    A subclass is a dataclass with the field `objective`, and defines `per_row`.

    See Also
    --------
    Objective : The base class.

    Examples
    --------
    Any objective, plus a penalty on the squared norm of the codes:

    >>> from dataclasses import dataclass
    >>> from sklearn.datasets import load_iris
    >>> from skae import DenoisingAutoencoder
    >>> from skae.base import Objective, ObjectiveWrapper
    >>> @dataclass
    ... class SmallCodes(ObjectiveWrapper):
    ...     objective: Objective
    ...     weight: float = 0.1
    ...
    ...     def per_row(self, network, x, rng):
    ...         codes = network.encode(x)
    ...         return self.objective.per_row(network, x, rng) + self.weight * codes.square().sum(1)
    >>> class SmallCodesAutoencoder(DenoisingAutoencoder):
    ...     def _objective(self, data):
    ...         return SmallCodes(super()._objective(data))
    >>> X, _ = load_iris(return_X_y=True)
    >>> SmallCodesAutoencoder(max_iter=5, random_state=0).fit_transform(X).shape
    (150, 2)
    """

    objective: Objective

    def at(self, index: Tensor, *, held_out: bool) -> Objective:
        """A copy, with the objective itself for the rows at an index."""
        changed = copy.copy(self)
        changed.objective = self.objective.at(index, held_out=held_out)
        return changed

    @property
    def network_class(self) -> type[Autoencoder]:
        """As the objective itself."""
        return self.objective.network_class

    def network_input(self, network: Autoencoder, x: Tensor, rng: Generator) -> Tensor:
        """As the objective itself."""
        return self.objective.network_input(network, x, rng)

    @property
    def corrupts_input(self) -> bool:
        """As the objective itself."""
        return self.objective.corrupts_input

    def prepare_network(self, network: Autoencoder, data: "FitData") -> None:
        """As the objective itself."""
        self.objective.prepare_network(network, data)

    def calibrate(self, fitted: FittedAutoencoder, data: "FitData") -> None:
        """As the objective itself."""
        self.objective.calibrate(fitted, data)

    def to_data_units(self, loss: float, data: "FitData") -> float:
        """As the objective itself."""
        return self.objective.to_data_units(loss, data)


def check_objective(objective: Objective, owner: object) -> Objective:
    """Return the objective, or raise a TypeError if it is not one."""
    if not isinstance(objective, Objective):
        raise TypeError(
            f"`{type(owner).__name__}._objective` must return a skae.base.Objective, got "
            f"{objective!r}."
        )
    return objective


def losses_of_rows(objective: Objective, network: Autoencoder, x: Tensor, rng: Generator) -> Tensor:
    """`objective.per_row`, checked to be one number for each row."""
    losses = objective.per_row(network, x, rng)
    method = f"`{type(objective).__name__}.per_row`"
    if not isinstance(losses, Tensor):
        raise ValueError(
            f"{method} must return one number for each row, a torch tensor of shape (n_samples,), "
            f"got a {type(losses).__name__}."
        )
    if losses.shape != (len(x),):
        raise ValueError(
            f"{method} must return one number for each row, a tensor of shape (n_samples,) = "
            f"({len(x)},), got shape {tuple(losses.shape)}: sum over the features, not over the "
            "rows."
        )
    if not losses.is_floating_point():
        raise ValueError(f"{method} must return real numbers, got dtype {losses.dtype}.")
    return losses


def input_of_network(
    objective: Objective, network: Autoencoder, x: Tensor, rng: Generator
) -> Tensor:
    """`objective.network_input`, checked to be rows like `x`."""
    rows = objective.network_input(network, x, rng)
    if rows is x or (isinstance(rows, Tensor) and (rows.shape, rows.dtype) == (x.shape, x.dtype)):
        return rows
    given = f"{tuple(rows.shape)} of {rows.dtype}" if isinstance(rows, Tensor) else type(rows)
    raise ValueError(
        f"`{type(objective).__name__}.network_input` must return a tensor like the batch, of shape "
        f"{tuple(x.shape)} and {x.dtype}, got {given}."
    )


@dataclass
class Regularized(ObjectiveWrapper):
    """An objective plus the elastic-net penalty on the weights of the network."""

    objective: Objective
    alpha: float
    l1_ratio: float

    def per_row(self, network: Autoencoder, x: Tensor, rng: Generator) -> Tensor:
        """The same penalty is added to the loss of each row, so that it is added to the mean."""
        loss = losses_of_rows(self.objective, network, x, rng)
        return loss + elastic_net(self._weights(network), self.alpha, self.l1_ratio)

    @staticmethod
    def _weights(network: Autoencoder) -> Sequence[Tensor]:
        return [parameter for parameter in network.parameters() if parameter.ndim > 1]
