"""The plain autoencoder."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Generator, Tensor

from .._data.dataset import MAX_CACHED_ENTRIES
from .._data.validation import StrOptions, integer, parameter, positive, positive_integers
from .._losses.reconstruction import ReconstructionLoss, SquaredError
from .._nn.autoencoder import Autoencoder
from .._nn.copying import copy_module
from .._nn.projection import nearest_codes
from .._training.acceptance import Acceptance
from .._training.config import DefaultSteps, root_of_rows
from .._training.fit_data import FitData, generator
from .._training.manual_backward import (
    ManualGradient,
    ProjectedGradient,
    SquaredErrorGradient,
    has_manual_backward,
)
from .._training.objective import Gradient, Objective, TrainingSource, input_of_network
from .base import BaseAutoencoder
from .pca_attributes import PCAAttributesMixin

# The number of codes from which a projection may start besides that of the encoder. With 128
# the error at two components is 2 % higher, with eight it is the same.
N_ANCHORS = 256
# Training at projected codes lowers the error by 15 % with two components, where the encoder's code
# of a row is often far from the nearest one, and by nothing measurable with four and more.
MAX_TRAINED_COMPONENTS = 3


@dataclass
class Reconstruction(Objective):
    """The reconstruction loss alone: ``loss(decode(encode(x)), x)``.

    Parameters
    ----------
    loss : ReconstructionLoss
        The loss of an entry, such as ``skae.base.LOSSES["squared_error"]``.

    See Also
    --------
    Objective : The base class, with the definition of the units and the arguments.

    Examples
    --------
    >>> import torch
    >>> from sklearn.datasets import load_iris
    >>> from skae import AutoencoderTransformer
    >>> from skae.base import LOSSES, Reconstruction
    >>> X, _ = load_iris(return_X_y=True)
    >>> fitted = AutoencoderTransformer(max_iter=5, random_state=0).fit(X)
    >>> x = torch.from_numpy(X[:3] - fitted.mean_)
    >>> objective = Reconstruction(LOSSES["squared_error"])
    >>> objective.per_row(fitted.network_.network, x, torch.Generator()).shape
    torch.Size([3])
    """

    loss: ReconstructionLoss

    @property
    def is_reconstruction(self) -> bool:
        """Unless `per_row` is overridden."""
        return getattr(self.per_row, "__func__", None) is _EQUATION

    def per_row(self, network: Autoencoder, x: Tensor, rng: Generator) -> Tensor:
        """Loss of each row; see `Objective.per_row`."""
        return self.at_code(network, x, network.encode(input_of_network(self, network, x, rng)))

    def at_code(self, network: Autoencoder, x: Tensor, code: Tensor) -> Tensor:
        """Loss of each row, if its code by the encoder is `code`."""
        return self.loss.loss(network.decode(code), x)

    @property
    def minimised_by_pca(self) -> bool:
        """Whether PCA is the optimum for linear networks (Baldi and Hornik, 1989)."""
        squared_error = type(self.loss) is SquaredError
        return self.is_reconstruction and squared_error and not self.corrupts_input

    def gradient(self, network: Autoencoder, source: TrainingSource) -> Gradient:
        """Return a function that computes the gradient of the mean of `per_row`.

        For the squared error, hand-written code (`manual_backward.py`) computes the gradient. For
        small dense networks it takes half the time of torch's automatic gradient.
        """
        return self._manual_gradient(network, source, SquaredErrorGradient)

    def _manual_gradient(
        self, network: Autoencoder, source: TrainingSource, kind: type[SquaredErrorGradient]
    ) -> Gradient:
        """The hand-written gradient of this kind, or that by autograd where it does not apply."""
        hand_written = self.is_reconstruction and type(self.loss) is SquaredError
        if not (hand_written and has_manual_backward(network)):
            return Objective.gradient(self, network, source)

        def batch(index: Tensor) -> tuple[Tensor, Tensor]:
            x = source.rows[index]
            return input_of_network(self, network, x, source.rng), x

        rows = None if self.corrupts_input else source.rows.cached
        if rows is not None and rows.numel() > MAX_CACHED_ENTRIES:  # an accelerator may cache more
            rows = None
        return ManualGradient(network, batch, source.dtype, rows, kind)


# The method that the hand-written gradient belongs to, also if another one is assigned later.
_EQUATION = Reconstruction.per_row


@dataclass
class ProjectedReconstruction(Reconstruction):
    """The mean of the losses at the nearest code and at the encoder's code.

    ``(loss(decode(code), x) + loss(decode(encode(x)), x)) / 2``, where `code` is the projection of
    the row: a code with the lowest loss. By the envelope theorem the gradient of the first term is
    that of the decoder alone, with the code held fixed. The second term trains the encoder, and
    keeps the decoder such that the projection finds the nearest code from the encoder's.

    Held-out rows are evaluated by the first term. If the network has no projection, this is
    :class:`Reconstruction`.

    Parameters
    ----------
    loss : ReconstructionLoss
        The loss of an entry, such as ``skae.base.LOSSES["squared_error"]``.

    See Also
    --------
    Reconstruction : The second term alone.
    """

    @property
    def is_reconstruction(self) -> bool:
        """Unless `per_row` is overridden."""
        return getattr(self.per_row, "__func__", None) is _PROJECTED_EQUATION

    @property
    def minimised_by_pca(self) -> bool:
        """As for the second term, since a projection does not change the code of PCA."""
        return self.is_reconstruction and Reconstruction(self.loss).minimised_by_pca

    def per_row(self, network: Autoencoder, x: Tensor, rng: Generator) -> Tensor:
        """Loss of each row; see `Objective.per_row`."""
        # Defined here as well: with the projection, it is another equation than that of the base.
        return super().per_row(network, x, rng)

    def at_code(self, network: Autoencoder, x: Tensor, code: Tensor) -> Tensor:
        """Loss of each row, if its code by the encoder is `code`."""
        if not network.n_projection_steps:
            return super().at_code(network, x, code)
        nearest = nearest_codes(network, x, code)
        projected = self.loss.loss(network.decode(nearest), x)
        if not network.training:
            return projected
        return (projected + self.loss.loss(network.decode(code), x)) / 2

    def prepare_network(self, network: Autoencoder, data: FitData) -> None:
        """Set the anchors to codes of random training rows."""
        if not network.n_projection_steps:
            return
        order = torch.randperm(len(data.train), generator=generator(data.seeds.order))
        index = data.train[order[:N_ANCHORS].to(data.train.device)]
        rows = data.rows.all_gather_rows(index)
        with torch.no_grad():  # the layers have another precision than the rest of the network
            code = copy_module(network).to(rows).eval().encode(rows)
        network.anchors = code.to(network.anchors)

    def stages(self, network: Autoencoder) -> tuple[Objective, ...]:
        """The loss at the encoder's code, and with few components this objective afterwards."""
        if not network.n_projection_steps:
            return (Reconstruction(self.loss),)
        few = len(network.scales.inverse_code_scale) <= MAX_TRAINED_COMPONENTS
        return (Reconstruction(self.loss), self if few else Reconstruction(self.loss))

    def acceptance(self, network: Autoencoder) -> Acceptance:
        """Less evidence than for codes of an encoder, which can be far from the nearest ones."""
        if not network.n_projection_steps:
            return super().acceptance(network)
        factors = (1.0, 0.75, 0.5, 0.25) if network.pca_path.active else (1.0,)
        return Acceptance(1.0, 1.0, factors)

    def gradient(self, network: Autoencoder, source: TrainingSource) -> Gradient:
        """The gradient of the mean of `per_row`: hand-written for the squared error."""
        if not network.n_projection_steps:
            return super().gradient(network, source)
        return self._manual_gradient(network, source, ProjectedGradient)


_PROJECTED_EQUATION = ProjectedReconstruction.per_row


@dataclass(eq=False, repr=False, kw_only=True)
class AutoencoderTransformer(PCAAttributesMixin, BaseAutoencoder):
    """Nonlinear dimensionality reduction with the interface of PCA.

    An encoder maps each row to a few numbers, its *code*, and a decoder maps the code back to a
    row, its *reconstruction*. Both are trained together to minimise the reconstruction error::

        minimise over g, f    sum over rows of |x - decode(encode(x))|^2
        encode(x) = V (x - mean) + g(x)
        decode(code) = mean + V' code + f(code)

    V holds principal components. The networks g and f are zero at the start, so training starts
    with PCA. If training does not reduce the error of held-out rows, `fit` returns PCA. The codes
    have mean zero, are uncorrelated, and are sorted by explained variance.

    PCA projects a row onto the nearest point of a plane. Similarly, `transform` refines the code of
    the encoder so that its reconstruction is nearer to the row; see `transform_max_iter`.

    Parameters
    ----------
    batch_size : int or "auto", default="auto"
        Number of rows in a step, over all processes if there are several. "auto" means three times
        the square root of the number of rows, but at least 16 and at most 128.

    max_iter : int or None, default=None
        Maximum number of epochs (passes over the training rows). None means 1500 steps for up to
        5000 rows and 4500 steps for 15,000 rows or more, but at least 6 epochs.

    n_iter_no_change : int or None, default=None
        Number of epochs without progress after which training stops; see `tol`. None means 300
        steps for up to 5000 rows and 900 steps for 15,000 rows or more, but at least three epochs.

    {shared_parameters}

    Attributes
    ----------
    {shared_attributes}

    {pca_attributes}

    See Also
    --------
    sklearn.decomposition.PCA : The best linear code.
    DenoisingAutoencoder : Removes noise from rows.
    ContractiveAutoencoder : Codes that change little when rows change a little.
    compare_reducers : Compares reducers on held-out rows.

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

    __module__ = "skae"

    _default_steps: ClassVar[DefaultSteps] = DefaultSteps(
        1500, 0.3, 4500, 6, root_of_rows, patience=0.2
    )

    hidden_layer_sizes: Sequence[int] | Literal["auto"] = parameter(
        "auto", positive_integers(), StrOptions(["auto"])
    )
    transform_max_iter: int | Literal["auto"] = parameter("auto", integer(0), StrOptions(["auto"]))
    learning_rate_init: float = parameter(0.01, positive())

    def _objective(self, data: FitData) -> Objective:
        return ProjectedReconstruction(self._loss_of_fit())
