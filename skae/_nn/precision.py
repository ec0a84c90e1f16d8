"""Results that float32 cannot compute: they are computed in float64, as those of any other row.

In float32 the square of 1e20 is infinite, that of 1e-25 is zero, and 1e6 + 0.01 is 1e6. So data in
such units, and rows that are far from all others, are processed in float64, and only the result is
rounded to the precision of the rows.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, cast
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor, nn

from .._data.device import halve_on_oom, inference_dtype, max_float_dtype
from .fitted import Snapshot, cached_cast

# The scales of columns, the means in standard deviations, and the sizes of rows in residuals that
# float32 can process. Rows are rounded by 6e-8 of the mean, their reconstructions by 6e-8 of the
# rows.
SMALLEST_SCALE, LARGEST_SCALE, LARGEST_OFFSET, LARGEST_SIZE = 1e-12, 1e12, 1e4, 1e3

# Farther from the mean than so many scales a row is processed in float64. There it is moved to this
# distance if it is farther.
FAR = {torch.float32: 1e6, torch.float64: 1e100}


class Trained(Protocol):
    """A network for rows in the units of `X`: ``(x - shift) / scale``."""

    shift: Tensor
    scale: Tensor

    def offsets(self) -> Tensor:
        """The mean of each column in its standard deviations; 0 for constant columns."""

    def size_in_residuals(self) -> float:
        """The size of rows divided by the size of the part that is not linear in the code."""


def precision(trained: Any, dtype: np.dtype | torch.dtype, device: torch.device) -> torch.dtype:
    """The precision in which a network has to process rows of a dtype."""
    requested = inference_dtype(dtype, device)
    if requested == torch.float64 or not _units_of(trained).need_double:
        return requested
    return max_float_dtype(device)


def apply_to_rows(
    original: Any,
    x: Tensor,
    apply: Callable[[Any, Tensor], Tensor],
    *,
    are_codes: bool = False,
) -> Tensor:
    """`apply` to a network in the precision of `x` and to the rows of `x`, or codes.

    The results of a finite row are finite, and independent of the other rows.
    """
    trained = cached_cast(original, x.dtype, x.device)
    result = halve_on_oom(partial(apply, trained), x)
    # Two cheap tests, which are sufficient: one row takes little more time than these.
    near = are_codes or not len(x) or x.abs().max().item() <= _units_of(original).near[x.dtype]
    if near and math.isfinite(result.sum().item()):
        return result
    is_odd = ~result.isfinite().all(1)
    if not are_codes:
        is_odd |= ((x - trained.shift).abs() > FAR[x.dtype] * trained.scale).any(1)
    if not is_odd.any():
        return result
    double = max_float_dtype(x.device)
    odd = _of_odd_rows(cached_cast(original, double, x.device), x[is_odd].to(double), apply)
    # An exponential link overflows in float64, too.
    return result.to(odd.dtype).index_put((is_odd,), saturated(odd, odd.dtype))


def _of_odd_rows(trained: Any, x: Tensor, apply: Callable[[Any, Tensor], Tensor]) -> Tensor:
    """Results in float64, of rows whose squares are finite in float64."""
    limit = FAR[torch.float64] * trained.scale
    centre = trained.shift if x.shape[1] == len(trained.shift) else torch.zeros_like(x[0])
    x = centre + torch.clamp(x - centre, -limit, limit)
    return halve_on_oom(partial(apply, trained), x)


def saturated(result: Tensor, dtype: torch.dtype) -> Tensor:
    """Numbers in another precision; those beyond its largest one become the largest one."""
    limits = torch.finfo(dtype)
    return result.to(dtype).clamp(limits.min, limits.max)


class _Units:
    """Values of a network on which the precision depends."""

    def __init__(self, trained: Trained) -> None:
        self._snapshot = Snapshot(cast(nn.Module, trained))
        scale, shift = trained.scale.double(), trained.shift.double().abs()
        self.need_double = bool(
            (scale < SMALLEST_SCALE).any()
            or (scale > LARGEST_SCALE).any()
            or (trained.offsets() > LARGEST_OFFSET).any()
            or trained.size_in_residuals() > LARGEST_SIZE
        )
        # Rows of which no entry is larger are not far.
        self.near = {kind: (far * scale - shift).min().item() for kind, far in FAR.items()}

    def are_current(self) -> bool:
        """Whether the network has not changed."""
        return self._snapshot.is_current()


_UNITS: WeakKeyDictionary[nn.Module, _Units] = WeakKeyDictionary()


def _units_of(trained: Any) -> _Units:
    units = _UNITS.get(trained)
    if units is None or not units.are_current():
        units = _UNITS[trained] = _Units(trained)
    return units
