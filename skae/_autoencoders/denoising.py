"""The denoising autoencoder."""

from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real
from typing import Literal, cast

import numpy as np
import torch
from torch import Generator, Tensor

from .._data.dataset import dense_block, weighted_blocks
from .._data.device import as_array, as_tensor, inference_dtype
from .._data.user_functions import call_user_function
from .._data.validation import CALLABLE, Interval, StrOptions, parameter
from .._losses.corruption import CORRUPTIONS, ColumnStatistics
from .._losses.mixed import feature_of_columns
from .._nn.autoencoder import Autoencoder, reciprocal
from .._nn.custom_layers import Whitening
from .._training.fit_data import FitData
from .._training.initialization import Initialization
from .._training.objective import Objective
from .base import BaseAutoencoder
from .checks import warn_without_effect
from .pca_attributes import PCAAttributesMixin
from .plain import Reconstruction

# Number of rows from which the scales of corrupted rows are estimated.
MAX_SCALE_ROWS = 4096

Corruption = Callable[[Tensor, Generator], Tensor]
RULE = "corruption(rows, generator) returns a tensor of the shape of `rows`"


@dataclass
class Denoising(Reconstruction):
    """The reconstruction loss of corrupted rows: ``loss(decode(encode(corrupt(x))), x)``."""

    corruption: str | Corruption
    level: float

    def network_input(self, network: Autoencoder, x: Tensor, rng: Generator) -> Tensor:
        """Corrupted rows; see `Objective.network_input`."""
        columns = cast(ColumnStatistics, network.columns)
        if isinstance(self.corruption, str):
            return CORRUPTIONS[self.corruption](x, self.level, columns, rng)
        corrupted = call_user_function(
            "corruption", RULE, self.corruption, columns.to_units_of_X(x), rng
        )
        if not isinstance(corrupted, Tensor) or corrupted.shape != x.shape:
            given = tuple(corrupted.shape) if isinstance(corrupted, Tensor) else type(corrupted)
            raise ValueError(
                f"`corruption` must return a tensor of the shape of its batch, {tuple(x.shape)}, "
                f"got {given}."
            )
        return columns.from_units_of_X(corrupted).to(x)

    def prepare_network(self, network: Autoencoder, data: FitData) -> None:
        """Attach the ranges of the columns, and set the scales to those of corrupted rows."""
        network.columns = column_ranges(data)
        # Evenly spaced, as rows may be sorted.
        n_rows = min(len(data.train), MAX_SCALE_ROWS)
        some = torch.linspace(0, len(data.train) - 1, n_rows, device=data.device).long()
        x = data.rows.all_gather_rows(data.by_weight(data.train, some)).cpu().double()
        rng = torch.Generator().manual_seed(data.seeds.noise)
        _fit_scales(network, x, self.network_input(network, x, rng), self.loss.degree)


@dataclass(eq=False, repr=False, kw_only=True)
class DenoisingAutoencoder(PCAAttributesMixin, BaseAutoencoder):
    """An autoencoder that learns to remove noise from rows.

    The encoder reads rows with noise added, or with entries replaced, and the reconstruction is
    compared with the rows without noise::

        minimise over g, f    sum over rows of |x - decode(encode(corrupt(x)))|^2
        encode(x) = V (x - mean) + g(x)
        decode(code) = mean + V' code + f(code)

    The noise is drawn again in each step. `transform` and `reconstruct` add no noise: they remove
    the noise that rows contain.

    As in :class:`AutoencoderTransformer`, V holds the principal components, and training starts
    with PCA. If training does not reduce the error of held-out rows with noise, `fit` returns PCA.
    The error of rows without noise, which `score` measures, may be higher than that of PCA if the
    noise in training was strong.

    Parameters
    ----------
    {shared_parameters}

    corruption : {"gaussian", "masking", "salt_and_pepper", "swap"} or callable, default="gaussian"
        The kind of noise. "gaussian" adds normal noise with the same standard deviation to all
        columns. The other names replace some entries: "masking" by zero, "salt_and_pepper" by the
        minimum or the maximum of the column, and "swap" by the entry of another row. A callable is
        called with a batch of rows, a tensor in the units of `X`, and with a `torch.Generator` for
        its random numbers. It returns the batch with noise. Missing values remain NaN.

    corruption_level : float, default=0.25
        For "gaussian", the standard deviation of the noise, divided by the root mean square of the
        columns' standard deviations, at least 0. For the other names, the probability that an entry
        is replaced. Not used if `corruption` is a callable.

    Attributes
    ----------
    {shared_attributes}

    {pca_attributes}

    See Also
    --------
    AutoencoderTransformer : The same objective without noise.
    ContractiveAutoencoder : Codes, not reconstructions, that are insensitive to small changes.

    Notes
    -----
    To remove noise of standard deviation s, use ``corruption_level=s / rms_std`` if the training
    rows have no noise, where rms_std is the root mean square of the columns' standard deviations.
    If the training rows are noisy as well, use a level of about 1, and a larger `alpha`, so that
    the network does not learn their noise.

    `transform_max_iter` is 0 by default, because a reconstruction that is nearer to a noisy row
    contains more of its noise. In a benchmark, two steps reduced the error of rows without noise by
    10 to 40 %, but the error of rows with salt-and-pepper noise was up to four times as high.

    References
    ----------
    .. [1] P. Vincent, H. Larochelle, Y. Bengio and P.-A. Manzagol, "Extracting and composing robust
       features with denoising autoencoders", ICML, 2008.
    .. [2] P. Vincent, H. Larochelle, I. Lajoie, Y. Bengio and P.-A. Manzagol, "Stacked denoising
       autoencoders: learning useful representations in a deep network with a local denoising
       criterion", Journal of Machine Learning Research, 2010.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_digits
    >>> from skae import DenoisingAutoencoder
    >>> X = load_digits(n_class=5).data
    >>> noisy = X + np.random.RandomState(0).normal(scale=4, size=X.shape)
    >>> denoiser = DenoisingAutoencoder(32, corruption_level=1.0, max_iter=30, random_state=0)
    >>> cleaned = denoiser.fit(X).reconstruct(noisy)
    >>> bool(np.mean((cleaned - X) ** 2) < 0.3 * np.mean((noisy - X) ** 2))
    True
    """

    __module__ = "skae"

    corruption: Literal["gaussian", "masking", "salt_and_pepper", "swap"] | Corruption = parameter(
        "gaussian", StrOptions(CORRUPTIONS), CALLABLE
    )
    corruption_level: float = parameter(0.25, Interval(Real, 0))

    def _objective(self, data: FitData) -> Objective:
        if isinstance(self.corruption, str) and self.corruption_level == 0:
            return Reconstruction(self._loss_of_fit())
        return Denoising(self._loss_of_fit(), self.corruption, self.corruption_level)

    def _initialize(self, data: FitData, n_components: int) -> Initialization:
        initial = super()._initialize(data, n_components)
        network = initial.fitted.network
        if not hasattr(network, "columns"):  # for later fits, at a level above zero
            network.columns = column_ranges(data)
        return initial

    def _check_parameters(self) -> None:
        super()._check_parameters()
        if callable(self.corruption) and self.corruption_level != type(self).corruption_level:
            warn_without_effect(self, "corruption_level", "with a function as `corruption`")
        replaces = isinstance(self.corruption, str) and self.corruption != "gaussian"
        if replaces and self.corruption_level > 1:
            raise ValueError(
                f"`corruption_level` must be in [0, 1] for corruption={self.corruption!r}, the "
                f"probability that an entry is replaced, got {self.corruption_level}."
            )


def column_ranges(data: FitData) -> ColumnStatistics:
    """Minimum, maximum and zero of each column, in the network's units."""
    ends = _extremes(data)
    # Not `moments.rms_std`, which is one for constant data: those have no noise.
    unit = np.sqrt(np.mean(data.moments.std**2))
    ranges = [(value - data.shift) / data.scale for value in (0.0, *ends)]
    scales = [np.asarray(unit / data.scale), np.asarray(data.scale)]
    zero, low, high, rms_std, scale = map(torch.from_numpy, (*ranges, *scales))
    feature = feature_of_columns(data.loss)
    return ColumnStatistics(zero, low, high, rms_std, scale, feature)


def _extremes(data: FitData) -> list[np.ndarray]:
    """Minimum and maximum of each column; the mean where nothing was observed."""
    device = data.X.device if isinstance(data.X, Tensor) else torch.device("cpu")
    low, high = torch.tensor(torch.inf), torch.tensor(-torch.inf)
    dtype = inference_dtype(data.X.dtype, device)
    for rows, _ in weighted_blocks(data.X, data.weights):
        x = as_tensor(dense_block(data.X, rows), dtype, device)
        missing = x.isnan()
        low = torch.minimum(low, x.masked_fill(missing, torch.inf).amin(0))
        high = torch.maximum(high, x.masked_fill(missing, -torch.inf).amax(0))
    lows, highs = zip(*data.group.gather((as_array(low), as_array(high))), strict=True)
    found = np.min(lows, axis=0), np.max(highs, axis=0)
    return [np.where(np.isinf(end), data.moments.mean, end) for end in found]


def _fit_scales(network: Autoencoder, x: Tensor, corrupted: Tensor, degree: int) -> None:
    """Set the scales of a network to those of corrupted rows.

    In the scales of rows without noise, noise would be huge where a column, or a principal
    component, hardly varies. This gains up to 0.4 dB on MNIST.
    """
    scales, pca = network.scales, network.pca_path
    centred = torch.nan_to_num(corrupted - pca.mean)
    if not any(isinstance(module, Whitening) for module in network.encoder.modules()):
        varies = scales.inverse_input_scale > 0
        scales.inverse_input_scale = torch.where(varies, reciprocal(_rms(centred)), 0.0)
    if pca.active:
        code = _rms(centred @ pca.components.T)
        residual = _rms(torch.nan_to_num(x - pca.reconstruct(corrupted)))
        scales.inverse_code_scale, scales.delta_scale = (
            reciprocal(code),
            code.clamp(max=residual.norm()),
        )
        if degree > 0:
            scales.output_scale = residual


def _rms(x: Tensor) -> Tensor:
    return x.square().mean(0).sqrt()
