"""The projection of rows: the codes whose reconstructions are nearest.

An encoder only approximates the best code of a row. From its code, a few damped Gauss-Newton steps
(Levenberg-Marquardt; Fisher scoring for losses other than the squared error) lead to a better one.
Each row has its own damping, and a step that does not lower its loss is not taken.
"""

import math

import torch
from torch import Tensor

from .._data.forks import cached_attribute
from .._losses.reconstruction import ReconstructionLoss, SquaredError, loss_of_link
from .autoencoder import Autoencoder, full_precision
from .decoder_span import decoder_span
from .decoder_tangents import DecoderTangents, LayeredDecoder, Values, decoder_tangents

# The damping is relative to the mean diagonal entry of the Gram matrix of the Jacobian.
START_DAMPING, DECREASE, INCREASE = 1e-2, 0.3, 5.0
# The largest change of a component in one step, in standard deviations of the code: the decoder is
# not linear over longer steps.
MAX_STEP = 1.0
# After more steps than this, those end that change no code any more.
MIN_STEPS = 8
# In float32 rounding decides whether a small step lowers the loss. Up to this length, in standard
# deviations of the code, a step among the first is also taken if the loss rises by at most so many
# rounding errors: else codes of a row by itself and among others differ by that length. They did by
# more than 1e-5 in 663 of 5568 rows, and do in 1. More rounding errors are no better.
SMALL_STEP, ROUNDING_ERRORS = 3e-3, 4
# Of a Gram matrix that is zero; and so that damping can increase again after any number of steps.
MIN_DAMPING = 1e-30
# Up to this number of entries of tangents are computed at once, unless these are fewer rows than
# `MIN_ROWS` and no Jacobian is needed: reading the decoder of wide rows takes most of the time.
MAX_TANGENT_ENTRIES, MIN_ROWS = 2**19, 32


class Projection:
    """The projection of rows, with what does not depend on the rows.

    The rows, (n_samples, n_features), are in the network's units; entries that are NaN have no
    influence. The loss is the one whose link the network has. `n_rows` is the number of rows that
    are projected with the current weights. `tolerance` is the relative rounding error of a loss by
    which it may rise in a small step.
    """

    def __init__(self, network: Autoencoder, n_rows: float = math.inf, tolerance: float = 0.0):
        self._tolerance = tolerance
        self._network, self._loss = network, loss_of_link(network.link)
        self._decoder = decoder = decoder_tangents(network)
        self._equations = NormalEquations(decoder)
        self._equations_of_complete_rows = self._equations
        self._span = decoder_span(network, decoder, n_rows)
        if self._span is not None:
            self._in_span = Projection(self._span.network, n_rows, tolerance)
        if type(self._loss) is SquaredError and isinstance(decoder, LayeredDecoder):  # noqa: SIM102
            if decoder.matrix is not None and _pays(decoder.matrix, decoder, n_rows):
                self._equations_of_complete_rows = FactoredEquations(decoder, decoder.matrix)

    @torch.no_grad()
    def __call__(self, x: Tensor, code: Tensor, n_steps: int) -> Tensor:
        """Codes after a number of steps from the best of `code`, PCA's code and all anchors.

        The loss of each is at most the loss of `code`.
        """
        equations, span = self._equations_of_complete_rows, self._span
        if (span is not None or equations is not self._equations) and _has_missing(x):
            equations = self._equations
        elif span is not None:
            return self._in_span(span.coordinates(x), code, n_steps)
        n_rows = max(MAX_TANGENT_ENTRIES // equations.n_values, equations.min_rows)
        codes = []
        for rows, start in zip(x.split(n_rows), code.split(n_rows), strict=True):
            if len(rows):
                losses = RowLosses(self._loss, rows, self._tolerance)
                values, loss = self._best_values(losses, self._starts(losses, start))
                codes.append(_steps(equations, losses, values, loss, n_steps))
        return torch.cat(codes) if codes else code

    def _starts(self, losses: "RowLosses", code: Tensor) -> list[Tensor]:
        """The codes from which the projection of each row may start."""
        starts = [code]
        if (pca_code := self._network.pca_code(losses.x)) is not None:
            starts.append(pca_code)
        if len(anchors := self._network.anchors):
            starts.append(anchors[self._anchor_losses.nearest(losses)])
        return starts

    def _best_values(self, losses: "RowLosses", starts: list[Tensor]) -> tuple[Values, Tensor]:
        """The values of the decoder and the loss at the best of the starts of each row."""
        values, n_samples = self._decoder.values(torch.cat(starts)), len(losses.x)
        if len(starts) == 1:
            return values, losses(values[-1])
        all_losses = losses(values[-1].unflatten(0, (-1, n_samples)))  # (n_starts, n_samples)
        loss, best = all_losses.nan_to_num(torch.inf).min(0)
        if n_samples == 1:
            row = int(best)
            return [v[row : row + 1] for v in values], all_losses[row]
        index = best * n_samples + torch.arange(n_samples, device=best.device)
        return [v.index_select(0, index) for v in values], loss

    @cached_attribute
    def _anchor_losses(self) -> "AnchorLosses":
        return AnchorLosses(self._loss, self._network.decode(self._network.anchors))


def nearest_codes(network: Autoencoder, x: Tensor, code: Tensor) -> Tensor:
    """The projection of rows from the best start, as a constant; `code` is that of the encoder.

    In training it is one step, and the result replaces the oldest anchors.
    """
    with full_precision(x.device.type):
        n_steps = 1 if network.training else network.n_projection_steps
        code = code.detach()
        surface = network.for_projection()
        rows = surface.with_added_columns(x, code)
        code = Projection(surface, len(x))(rows, code, n_steps)
        if network.training:
            network.replace_anchors(code)
    return code


def loss_tolerance(dtype: torch.dtype) -> float:
    """The relative rounding error of a loss by which it may rise in a small step."""
    return 0.0 if dtype == torch.float64 else ROUNDING_ERRORS * torch.finfo(dtype).eps


def _has_missing(x: Tensor) -> bool:
    """Whether an entry is NaN; also where finite entries overflow, which is no error."""
    return math.isnan(x.sum().item())  # a fifth of the time of a search


class RowLosses:
    """The loss of some rows as a function of their raw reconstructions."""

    def __init__(self, loss: ReconstructionLoss, x: Tensor, tolerance: float = 0.0):
        self._loss, self.x, self.tolerance = loss, x, tolerance
        missing = x.isnan()
        any_missing = bool(missing.any())
        self.filled = x.masked_fill(missing, 0.0) if any_missing else x
        self.observed = (~missing).to(x.dtype) if any_missing else None
        self._squared = type(loss) is SquaredError

    def __call__(self, raw: Tensor) -> Tensor:
        """The loss of each row, (n_samples,), or (n, n_samples) for n reconstructions of each."""
        return self._masked(self._loss.pointwise(raw, self.filled)).sum(-1)

    @cached_attribute
    def _size(self) -> Tensor:
        return self.filled.square().sum(1).sqrt()

    def rounding_error(self, loss: Tensor) -> Tensor:
        """The rounding error of the loss of each row: that of residuals, and that of entries."""
        return self.tolerance * (loss.abs() + loss.abs().sqrt() * self._size)

    def descent(self, raw: Tensor) -> Tensor:
        """The negative derivative of the loss of each entry; half of it for the squared error."""
        if self._squared:
            return self._masked(self.filled - raw)
        return self._masked(self._loss.gradient(raw, self.filled)).neg()

    def curvature(self, raw: Tensor) -> Tensor | None:
        """The second derivative, or half of it; None if it is one everywhere."""
        if self._squared:
            return self.observed
        return self._masked(self._loss.curvature(raw, self.filled))

    def _masked(self, values: Tensor) -> Tensor:
        return values if self.observed is None else values * self.observed


class AnchorLosses:
    """The losses of any rows at the reconstructions of all anchors, (n_anchors, n_features)."""

    def __init__(self, loss: ReconstructionLoss, raw: Tensor):
        self._loss, self._raw, self._terms = loss, raw, loss.bilinear_terms(raw)
        self._constant = torch.zeros(()) if self._terms is None else self._terms[0].sum(1)

    def nearest(self, rows: RowLosses) -> Tensor:
        """The index of the anchor with the lowest loss for each row."""
        return self.pairwise(rows).argmin(1)

    def pairwise(self, rows: RowLosses) -> Tensor:
        """The losses up to a term of the row, (n_samples, n_anchors)."""
        if self._terms is None:
            return torch.stack([rows(raw) for raw in self._raw], dim=1)
        constant, slope = self._terms
        if rows.observed is None:
            return torch.addmm(self._constant, rows.filled, slope.mT)
        return torch.addmm(rows.observed @ constant.mT, rows.filled, slope.mT)


def _steps(
    equations: "NormalEquations",
    losses: RowLosses,
    values: Values,
    loss: Tensor,
    n_steps: int,
) -> Tensor:
    """The codes after a number of steps, from values of the decoder and the losses there."""
    decoder = equations.decoder
    damping = torch.full_like(loss, START_DAMPING)[:, None]
    for step in range(n_steps):
        change = _solve_damped(*equations(losses, values), damping)
        longest = (change * decoder.inverse_code_scale).abs().amax(1, keepdim=True)
        trial = decoder.values(values[0] + change * (MAX_STEP / longest).clamp_max_(1.0))
        trial_loss = losses(trial[-1])
        lower = trial_loss < loss  # not where a loss is NaN
        if losses.tolerance and step < MIN_STEPS:
            as_low = trial_loss < loss + losses.rounding_error(loss)
            lower |= as_low & (longest[:, 0] < SMALL_STEP)
        if step == n_steps - 1:
            return torch.where(lower[:, None], trial[0], values[0])
        if lower.all():
            values, loss = trial, trial_loss
            damping = (damping * DECREASE).clamp_min_(MIN_DAMPING)
            continue
        values = [_where_rows(lower, *pair) for pair in zip(trial, values, strict=True)]
        loss = torch.where(lower, trial_loss, loss)
        factor = torch.where(lower, DECREASE, INCREASE)[:, None]
        damping = (damping * factor).clamp_min_(MIN_DAMPING)
        if step >= MIN_STEPS and _have_ended(trial[0], values[0], loss, damping):
            break
    return values[0]


def _have_ended(trial: Tensor, code: Tensor, loss: Tensor, damping: Tensor) -> bool:
    """Whether no further step changes a code: it rounds to the same, or its loss is NaN."""
    ended = (trial == code).all(1) | loss.isnan() | damping[:, 0].isinf()
    return bool(ended.all())


def _where_rows(condition: Tensor, yes: Tensor, no: Tensor) -> Tensor:
    return torch.where(condition.view(-1, *(1,) * (no.ndim - 1)), yes, no)


class NormalEquations:
    """The Gram matrices and right-hand sides of Gauss-Newton steps, from the Jacobian."""

    min_rows = 1  # that are computed at once

    def __init__(self, decoder: DecoderTangents):
        self.decoder = decoder
        # The largest number of values that are computed for a row.
        self.n_values = decoder.n_tangent_values * len(decoder.inverse_code_scale)

    def __call__(self, losses: RowLosses, values: Values) -> tuple[Tensor, Tensor]:
        """The equations of some rows at values of the decoder."""
        jacobian, raw = self.decoder.jacobian(values), values[-1]
        right = (jacobian @ losses.descent(raw)[:, :, None]).squeeze(2)
        curvature = losses.curvature(raw)
        if curvature is not None:
            jacobian = jacobian.mul_(curvature.sqrt_()[:, None])
        return jacobian @ jacobian.mT, right


class FactoredEquations(NormalEquations):
    """Normal equations for ``J = components + tangents @ matrix``, without J.

    For the squared error of rows without missing entries. The `matrix` is that of the decoder.
    """

    decoder: LayeredDecoder
    min_rows = MIN_ROWS

    def __init__(self, decoder: LayeredDecoder, matrix: Tensor):
        super().__init__(decoder)
        n_hidden, n_features = matrix.shape
        n_components, components = len(decoder.inverse_code_scale), decoder.components
        self.n_values = max(n_components * n_hidden, n_features)
        self._matrix = matrix = matrix.detach()
        self._inner = matrix @ matrix.mT  # (n_hidden, n_hidden)
        if components is not None:
            self._cross = components @ matrix.mT  # (n_components, n_hidden)
            self._outer = components @ components.mT

    def __call__(self, losses: RowLosses, values: Values) -> tuple[Tensor, Tensor]:
        """The equations of some rows at values of the decoder."""
        tangents, residual = self.decoder.tangents(values), losses.descent(values[-1])
        right = (tangents @ (residual @ self._matrix.mT)[:, :, None]).squeeze(2)
        if self.decoder.components is None:
            return (tangents @ self._inner) @ tangents.mT, right
        left = (tangents @ self._inner).add_(self._cross)
        gram = torch.baddbmm(tangents @ self._cross.mT, left, tangents.mT).add_(self._outer)
        return gram, right.add_(residual @ self.decoder.components.mT)


def _pays(matrix: Tensor, decoder: DecoderTangents, n_rows: float) -> bool:
    """Whether factors of the Jacobian need fewer multiplications than the Jacobian."""
    (n_hidden, n_features), k = matrix.shape, len(decoder.inverse_code_scale)
    once = n_hidden * n_features * (n_hidden + k)
    per_row = k * n_hidden * (n_hidden + 3 * k) + n_hidden * n_features
    return once / max(n_rows, 1) + per_row < k * n_features * (n_hidden + k + 1)


def _solve_damped(gram: Tensor, right: Tensor, damping: Tensor) -> Tensor:
    """The changes of the codes; `gram` is overwritten."""
    diagonal = gram.diagonal(dim1=1, dim2=2)
    diagonal += (damping * diagonal.mean(1, keepdim=True)).clamp_min_(MIN_DAMPING)
    factor, _ = torch.linalg.cholesky_ex(gram)
    return torch.cholesky_solve(right[:, :, None], factor).squeeze(2)
