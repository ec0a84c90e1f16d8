"""The projection of a single row in NumPy.

For one row, most of the time is the overhead of calls, and a call of NumPy takes a fifth of the
time of a call of torch. The steps are those of `projection`, for dense layers and the squared
error.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.linalg import get_lapack_funcs
from scipy.special import erf, expit
from torch import Tensor, nn

from .._losses.reconstruction import SquaredError, loss_of_link
from .autoencoder import Autoencoder
from .custom_layers import LayerScale, SoftClip
from .decoder_tangents import LayeredDecoder, decoder_tangents
from .projection import (
    DECREASE,
    INCREASE,
    MAX_STEP,
    MIN_DAMPING,
    MIN_STEPS,
    SMALL_STEP,
    START_DAMPING,
    loss_tolerance,
)

Vector = np.ndarray
# (layer, x): the output of an elementwise layer, and its derivative.
Elementwise = Callable[[Any, Vector], tuple[Vector, Vector]]


def _gelu(layer: nn.GELU, x: Vector) -> tuple[Vector, Vector]:
    share = 0.5 + 0.5 * erf(x * 0.5**0.5)
    return x * share, share + x * np.exp(-0.5 * x * x) / (2 * np.pi) ** 0.5


def _relu(layer: nn.ReLU, x: Vector) -> tuple[Vector, Vector]:
    positive = x > 0
    return x * positive, positive


def _sigmoid(layer: nn.Sigmoid, x: Vector) -> tuple[Vector, Vector]:
    y = expit(x)
    return y, y * (1 - y)


def _silu(layer: nn.SiLU, x: Vector) -> tuple[Vector, Vector]:
    share = expit(x)
    y = x * share
    return y, share + y * (1 - share)


def _soft_clip(layer: SoftClip, x: Vector) -> tuple[Vector, Vector]:
    clipped = np.clip(x, -layer.limit, layer.limit)
    excess = np.abs(x - clipped)
    return clipped + np.sign(x) * np.log1p(excess), 1 / (1 + excess)


def _tanh(layer: nn.Tanh, x: Vector) -> tuple[Vector, Vector]:
    y = np.tanh(x)
    return y, 1 - y * y


def _layer_scale(layer: LayerScale, x: Vector) -> tuple[Vector, Vector]:
    factor = layer.factor.detach().numpy()
    return factor * x, factor


ELEMENTWISE: dict[type[nn.Module], Elementwise] = {
    LayerScale: _layer_scale,
    SoftClip: _soft_clip,
    nn.GELU: _gelu,
    nn.Identity: lambda layer, x: (x, np.ones_like(x)),
    nn.ReLU: _relu,
    nn.Sigmoid: _sigmoid,
    nn.SiLU: _silu,
    nn.Tanh: _tanh,
}


class LayerForms(NamedTuple):
    """A layer as a function, or as a matrix and a bias."""

    layer: nn.Module
    function: Elementwise | None
    matrix: Vector
    bias: Vector


class Point(NamedTuple):
    """A code, and the decoder there."""

    code: Vector
    residual: Vector
    slopes: list[Vector | None]  # the derivatives of the elementwise layers
    fade: float
    loss: float


class RowProjection:
    """The projection of one row onto the image of a dense decoder, for the squared error."""

    def __init__(self, network: Autoencoder, decoder: LayeredDecoder):
        form, scales = network.decoder_form(), network.scales
        self._inverse_scale = _array(form.inverse_code_scale)
        self._output_scale, self._mean = _array(scales.output_scale), _array(network.pca_path.mean)
        self._components = None if form.components is None else _array(form.components)
        starts_at_pca = network.pca_code(network.pca_path.mean[None]) is not None
        self._pca_axes = _array(network.pca_path.components) if starts_at_pca else None
        self._axes = np.diag(self._inverse_scale)
        self._fade_width = network.fade_width
        self._distance = np.inf if form.fade is None else network.max_train_distance.item()
        self._layers = [_forms(layer) for layer in decoder.layers]
        self._anchors = _array(network.anchors)
        self._tolerance = loss_tolerance(network.anchors.dtype)
        with torch.no_grad():
            self._anchor_rows = _array(network.decode(network.anchors))
        self._anchor_squares = self._anchor_rows**2
        (self._solve,) = get_lapack_funcs(("posv",), (self._axes,))

    def __call__(self, x: Tensor, code: Tensor, n_steps: int) -> Tensor:
        """The code of a row, both (1, n); see `Projection`."""
        row, start = x[0].detach().numpy(), code[0].detach().numpy()
        missing = np.isnan(row)
        observed = ~missing if missing.any() else None
        with np.errstate(all="ignore"):
            point = self._best_start(row, start, observed)
            damping = START_DAMPING
            for step in range(n_steps):
                change = self._change(point, damping, observed)
                trial = self._point(point.code + change, row, observed)
                lower = trial.loss < point.loss  # not where a loss is NaN
                if not lower and self._tolerance and step < MIN_STEPS:
                    lower = self._is_rounding(trial, point, row, observed)
                if not lower and (np.array_equal(trial.code, point.code) or np.isinf(damping)):
                    break
                point = trial if lower else point
                damping = max(damping * (DECREASE if lower else INCREASE), MIN_DAMPING)
        return torch.from_numpy(point.code)[None]

    def _is_rounding(
        self, trial: Point, point: Point, row: Vector, observed: Vector | None
    ) -> bool:
        """Whether a step is small, and its loss higher by no more than rounding."""
        if not np.abs((trial.code - point.code) * self._inverse_scale).max() < SMALL_STEP:
            return False
        filled = row if observed is None else np.where(observed, row, 0)
        size = float(np.sqrt(filled @ filled))
        return trial.loss < point.loss + self._tolerance * (point.loss + point.loss**0.5 * size)

    def _best_start(self, row: Vector, code: Vector, observed: Vector | None) -> Point:
        filled = row if observed is None else np.where(observed, row, 0)
        starts = [code]
        if self._pca_axes is not None:
            centred = row - self._mean
            centred = centred if observed is None else np.where(observed, centred, 0)
            starts.append(self._pca_axes @ centred)
        if len(self._anchors):
            mask = np.ones_like(row) if observed is None else observed.astype(row.dtype)
            losses = self._anchor_squares @ mask - 2 * (self._anchor_rows @ filled)
            starts.append(self._anchors[losses.argmin()])
        points = [self._point(start, row, observed) for start in starts]
        return min(points, key=lambda point: np.inf if np.isnan(point.loss) else point.loss)

    def _point(self, code: Vector, row: Vector, observed: Vector | None) -> Point:
        x = code * self._inverse_scale
        distance = float(np.sqrt(x @ x)) / self._distance
        fade = min(max((1 + self._fade_width - distance) / self._fade_width, 0.0), 1.0)
        slopes: list[Vector | None] = []
        for layer, function, matrix, bias in self._layers:
            slope = None
            if function is None:
                x = x @ matrix + bias
            else:
                x, slope = function(layer, x)
            slopes.append(slope)
        raw = self._mean if self._components is None else code @ self._components + self._mean
        residual = row - (raw + fade * x * self._output_scale)
        if observed is not None:
            residual = np.where(observed, residual, 0)
        return Point(code, residual, slopes, fade, float(residual @ residual))

    def _change(self, point: Point, damping: float, observed: Vector | None) -> Vector:
        """The change of the code by one step."""
        tangents = point.fade * self._axes
        for layer, slope in zip(self._layers, point.slopes, strict=True):
            tangents = tangents @ layer.matrix if slope is None else tangents * slope
        jacobian = tangents * self._output_scale
        if self._components is not None:
            jacobian += self._components
        if observed is not None:
            jacobian *= observed
        gram = jacobian @ jacobian.T
        size = len(gram)
        gram.flat[:: size + 1] += max(damping * gram.trace() / size, MIN_DAMPING)
        _, change, _ = self._solve(gram, jacobian @ point.residual)
        longest = np.abs(change * self._inverse_scale).max()
        return change * (MAX_STEP / longest) if longest > MAX_STEP else change


def row_projection(network: Autoencoder) -> RowProjection | None:
    """The projection of one row in NumPy, or None for networks of other layers."""
    decoder, loss = decoder_tangents(network), loss_of_link(network.link)
    if type(loss) is not SquaredError or network.scales.output_scale.device.type != "cpu":
        return None
    if not (isinstance(decoder, LayeredDecoder) and decoder.has_closed_form):
        return None
    if not all(type(layer) is nn.Linear or type(layer) in ELEMENTWISE for layer in decoder.layers):
        return None
    return RowProjection(network, decoder)


def _forms(layer: nn.Module) -> LayerForms:
    if not isinstance(layer, nn.Linear):
        return LayerForms(layer, ELEMENTWISE[type(layer)], np.zeros(()), np.zeros(()))
    return LayerForms(layer, None, _array(layer.weight).T, _array(layer.bias))


def _array(tensor: Tensor | None) -> Vector:
    """The memory of a tensor as an array; zero for no bias."""
    return np.zeros(()) if tensor is None else tensor.detach().numpy()
