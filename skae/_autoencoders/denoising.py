"""The denoising autoencoder."""

from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real
from typing import cast

import numpy as np
import torch
from torch import Tensor

from .._data.dataset import as_array, inference_dtype, tensor_blocks
from .._data.validation import AnyCallable, Number, OneOf, parameter
from .._losses.corruption import CORRUPTIONS, Columns
from .._losses.reconstruction import LOSSES
from .._nn.autoencoder import Autoencoder, Whitening, reciprocal
from .._training.diagnostics import Diagnostic
from .._training.fit_data import FitData
from .base import BaseAutoencoder

# So many rows tell the usual sizes of what enters and leaves the network.
TYPICAL_ROWS = 4096

Corruption = Callable[[Tensor, torch.Generator], Tensor]


@dataclass(eq=False, repr=False, kw_only=True)
class DenoisingAutoencoder(BaseAutoencoder):
    """An autoencoder that learns to take noise out of rows.

    The network is shown rows with noise added, or with entries replaced, and is charged against
    the rows as they were::

        minimise over g, f    sum over rows of |x - decode(encode(corrupt(x)))|^2
        encode(x) = V (x - mean) + g(x)
        decode(code) = mean + V' code + f(code)

    The noise is drawn anew for each batch; `transform` and `reconstruct` add none. So
    ``reconstruct`` gives cleaned rows, and codes change little with such noise.

    As in :class:`AutoencoderTransformer`, V holds the principal components, training starts at PCA
    and PCA is kept unless held-out rows come back better; but here they come back from noise, one
    fixed draw of it. So it is noisy rows that are restored as well as by PCA or better. Rows
    without noise, which `score` and `pca_score_` are about, may come back worse if the noise was
    strong. With ``corruption_level=0`` it is an :class:`AutoencoderTransformer`, to the last bit.

    Parameters
    ----------
    corruption : {"gaussian", "masking", "salt_and_pepper", "swap"} or callable, default="gaussian"
        "gaussian" adds normal noise of one standard deviation to all columns. The others replace
        single entries: "masking" by zero in the units of `X` (the mean, if `X` is standardised),
        "salt_and_pepper" by the least or the largest value of the column in the training rows, by
        a fair coin, "swap" by the column's value in another row of the batch. A callable takes a
        batch in the units of `X`, a float tensor, and a `torch.Generator` that is to be its only
        chance, and returns the batch with noise. NaN stays NaN; a callable may add some, which
        the network sees as the mean.

    corruption_level : float, default=0.25
        For "gaussian" the standard deviation of the noise, at least 0, as a multiple of the spread
        of `X` (the root mean square of its columns' standard deviations). For the other names the
        probability, in [0, 1], that an entry is replaced. A callable has its own level.

    {shared_parameters}

    Attributes
    ----------
    {shared_attributes}

    See Also
    --------
    AutoencoderTransformer : The same without noise.
    ContractiveAutoencoder : Makes the code, not the reconstruction, insensitive to small changes.

    Notes
    -----
    To clean rows of noise of standard deviation s, ``corruption_level=s / spread`` is the choice if
    the training rows are clean. If they are as noisy as the rows to be cleaned, use a level of
    about 1 and a larger `alpha`: the training rows' own noise must not be learned.

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

    corruption: str | Corruption = parameter("gaussian", OneOf(tuple(CORRUPTIONS)), AnyCallable())
    corruption_level: float = parameter(0.25, Number(Real, 0))

    def _loss(self, network: Autoencoder, x: Tensor, noise: torch.Generator) -> Tensor:
        shown = self._shown(network, x, noise)
        return self._reconstruction.loss(network.decode(network.encode(shown)), x)

    def _shown(self, network: Autoencoder, x: Tensor, noise: torch.Generator) -> Tensor:
        columns = cast(Columns, network.columns)
        if isinstance(self.corruption, str):
            return CORRUPTIONS[self.corruption](x, self.corruption_level, columns, noise)
        shown = self.corruption(columns.to_units_of_X(x), noise)
        if not isinstance(shown, Tensor) or shown.shape != x.shape:
            raise ValueError(
                f"`corruption` must return a tensor of the shape of its batch, {tuple(x.shape)}, "
                f"got {tuple(shown.shape) if isinstance(shown, Tensor) else shown!r}."
            )
        return columns.from_units_of_X(shown).to(x)

    @property
    def _only_reconstructs(self) -> bool:
        return True

    @property
    def _is_plain(self) -> bool:
        return isinstance(self.corruption, str) and self.corruption_level == 0

    def _collapse(self) -> Diagnostic | None:
        # What drowns in the noise is best left out: a code at rest is no fault.
        return super()._collapse() if self._is_plain else None

    def _check_parameters(self) -> None:
        super()._check_parameters()
        replaces = isinstance(self.corruption, str) and self.corruption != "gaussian"
        if replaces and self.corruption_level > 1:
            raise ValueError(
                f"`corruption_level` must be in [0, 1] for corruption={self.corruption!r}, the "
                f"probability that an entry is replaced, got {self.corruption_level}."
            )

    def _equip(self, network: Autoencoder, data: FitData) -> None:
        network.columns = _columns(data)
        if not self._is_plain:
            # Evenly spaced, as rows may be sorted.
            n_rows = min(len(data.train), TYPICAL_ROWS)
            some = torch.linspace(0, len(data.train) - 1, n_rows, device=data.device).long()
            x = data.rows.everywhere(data.train[some]).cpu().double()
            noise = torch.Generator().manual_seed(data.seeds.noise)
            _fit_scales(network, x, self._shown(network, x, noise), LOSSES[self.loss].degree)


def _columns(data: FitData) -> Columns:
    """What is usual in the columns of the training rows."""
    low, high = _extremes(data)
    # Not `moments.rms_std`, which is one for constant data: those have no noise.
    spread = np.sqrt(np.mean(data.moments.std**2))
    known = [(value - data.shift) / data.scale for value in (np.zeros_like(low), low, high)]
    scales = [np.asarray(spread / data.scale), np.asarray(data.scale)]
    return Columns(*map(torch.from_numpy, (*known, *scales)))


def _extremes(data: FitData) -> list[np.ndarray]:
    """The least and the largest value of each column; the mean where none was observed."""
    where = data.X.device if isinstance(data.X, Tensor) else torch.device("cpu")
    low, high = torch.tensor(torch.inf), torch.tensor(-torch.inf)
    for x in tensor_blocks(data.X, inference_dtype(data.X.dtype, where), where):
        missing = x.isnan()
        low = torch.minimum(low, x.masked_fill(missing, torch.inf).amin(0))
        high = torch.maximum(high, x.masked_fill(missing, -torch.inf).amax(0))
    lows, highs = zip(*data.group.gather((as_array(low), as_array(high))), strict=True)
    found = np.min(lows, axis=0), np.max(highs, axis=0)
    return [np.where(np.isinf(end), data.moments.mean, end) for end in found]


def _fit_scales(network: Autoencoder, x: Tensor, shown: Tensor, degree: int) -> None:
    """Set the natural sizes to those of corrupted rows.

    In the units of clean rows, noise would be huge where a column, or a principal component, hardly
    varies. Worth up to 0.4 dB on MNIST.
    """
    scales, linear = network.scales, network.linear
    centred = torch.nan_to_num(shown - linear.mean)
    if not any(isinstance(module, Whitening) for module in network.encoder.modules()):
        learned = scales.inputs > 0  # else constant
        scales.inputs = torch.where(learned, reciprocal(_size(centred)), 0.0)
    if linear.active:
        code = _size(centred @ linear.components.T)
        left_over = _size(torch.nan_to_num(x - linear.reconstruct(shown)))
        scales.codes, scales.delta_scale = reciprocal(code), code.clamp(max=left_over.norm())
        if degree > 0:
            scales.outputs = left_over


def _size(x: Tensor) -> Tensor:
    return x.square().mean(0).sqrt()
