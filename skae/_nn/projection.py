"""The projection of rows: the codes whose reconstructions are nearest.

An encoder only approximates the best code of a row. From its code, a few damped Gauss-Newton steps
(Levenberg-Marquardt; Fisher scoring for losses other than the squared error) lead to a better one.
Each row has its own damping, and a step that does not lower its loss is not taken.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from .._losses.reconstruction import SquaredError, loss_of_link
from .autoencoder import Autoencoder, full_precision
from .decoder_tangents import DecoderTangents, LayeredDecoder, Values, decoder_tangents

# The damping is relative to the mean diagonal entry of the Gram matrix of the Jacobian.
START_DAMPING, DECREASE, INCREASE = 1e-2, 0.3, 5.0
# The largest change of a component in one step, in standard deviations of the code: the decoder is
# not linear over longer steps.
MAX_STEP = 1.0
# Of a Gram matrix that is zero.
MIN_DAMPING = 1e-30
# Up to this number of entries of tangents are computed at once.
MAX_TANGENT_ENTRIES = 2**19


Visit = Callable[[Tensor], None]  # of codes, (n_samples, n_components)


def ignore(code: Tensor) -> None:
    """Do nothing with the codes of a step."""


@torch.no_grad()
def project(
    network: Autoencoder, x: Tensor, code: Tensor, n_steps: int, visit: Visit = ignore
) -> Tensor:
    """Codes with a loss as low as that of `code` or lower, after a number of Gauss-Newton steps.

    The rows `x`, (n_samples, n_features), are in the network's units; entries that are NaN have no
    influence. The loss is the one whose link the network has. `visit` is called with `code` and
    with the codes of each step.
    """
    if not n_steps or not len(x):
        return code
    decoder = decoder_tangents(network)
    entries = decoder.n_tangent_values * code.shape[1]
    n_rows = max(MAX_TANGENT_ENTRIES // entries, 1)
    if len(x) <= n_rows:
        return _project_rows(decoder, RowLosses(network, x), code, n_steps, visit)
    return torch.cat(
        [
            _project_rows(decoder, RowLosses(network, rows), start, n_steps, visit)
            for rows, start in zip(x.split(n_rows), code.split(n_rows), strict=True)
        ]
    )


@torch.no_grad()
def start_codes(network: Autoencoder, x: Tensor, code: Tensor, visit: Visit = ignore) -> Tensor:
    """The best of `code`, PCA's code and the code of the anchor with the nearest reconstruction.

    `visit` is called with the codes of PCA and the anchors.
    """
    losses, pca_code = RowLosses(network, x), network.pca_code(x)
    candidates = []
    if pca_code is not None:
        visit(pca_code)
        candidates.append((pca_code, losses(network.decode(pca_code))))
    if len(network.anchors):
        visit(network.anchors)
        raw = network.decode(network.anchors)
        nearest = loss_of_link(network.link).pairwise(raw, x).argmin(1)
        candidates.append((network.anchors[nearest], losses(raw[nearest])))
    loss = losses(network.decode(code)) if candidates else None
    for candidate, candidate_loss in candidates:
        lower = candidate_loss < loss
        code = torch.where(lower[:, None], candidate, code)
        loss = torch.where(lower, candidate_loss, loss)
    return code


def nearest_codes(network: Autoencoder, x: Tensor, code: Tensor) -> Tensor:
    """The projection of rows from the best start, as a constant; `code` is that of the encoder.

    In training it is one step, and the result replaces the oldest anchors.
    """
    with full_precision(x.device.type):
        start = start_codes(network, x, code.detach())
        n_steps = 1 if network.training else network.n_projection_steps
        code = project(network, x, start, n_steps)
        if network.training:
            network.replace_anchors(code)
    return code


class RowLosses:
    """The loss of some rows as a function of their raw reconstructions."""

    def __init__(self, network: Autoencoder, x: Tensor):
        self._loss = loss_of_link(network.link)
        missing = x.isnan()
        any_missing = bool(missing.any())
        self._x = x.masked_fill(missing, 0.0) if any_missing else x
        self._observed = (~missing).to(x.dtype) if any_missing else None
        self._squared = type(self._loss) is SquaredError
        self.is_unweighted = self._squared and not any_missing

    def __call__(self, raw: Tensor) -> Tensor:
        """The loss of each row, (n_samples,)."""
        losses = self._loss.pointwise(raw, self._x)
        return self._masked(losses).sum(1)

    def descent(self, raw: Tensor) -> Tensor:
        """The negative derivative of the loss of each entry; half of it for the squared error."""
        if self._squared:
            return self._masked(self._x - raw)
        return self._masked(self._loss.gradient(raw, self._x)).neg()

    def curvature(self, raw: Tensor) -> Tensor | None:
        """The second derivative, or half of it; None if it is one everywhere."""
        if self._squared:
            return self._observed
        return self._masked(self._loss.curvature(raw, self._x))

    def _masked(self, values: Tensor) -> Tensor:
        return values if self._observed is None else values * self._observed


def _project_rows(
    decoder: DecoderTangents, losses: RowLosses, code: Tensor, n_steps: int, visit: Visit
) -> Tensor:
    visit(code)
    equations = _equations(decoder, losses, len(code))
    values = decoder.values(code)
    loss = losses(values[-1])
    damping = torch.full_like(loss, START_DAMPING)[:, None]
    for step in range(n_steps):
        change = _solve_damped(*equations(values), damping)
        longest = (change * decoder.inverse_code_scale).abs().amax(1, keepdim=True)
        trial = decoder.values(values[0] + change * (MAX_STEP / longest).clamp_max_(1.0))
        visit(trial[0])
        trial_loss = losses(trial[-1])
        lower = trial_loss < loss  # not where a loss is NaN
        if step == n_steps - 1:
            return torch.where(lower[:, None], trial[0], values[0])
        if lower.all():
            values, loss, damping = trial, trial_loss, damping * DECREASE
            continue
        values = [_where_rows(lower, *pair) for pair in zip(trial, values, strict=True)]
        loss = torch.where(lower, trial_loss, loss)
        damping = damping * torch.where(lower, DECREASE, INCREASE)[:, None]
    return values[0]


def _where_rows(condition: Tensor, yes: Tensor, no: Tensor) -> Tensor:
    return torch.where(condition.view(-1, *(1,) * (no.ndim - 1)), yes, no)


Equations = Callable[[Values], tuple[Tensor, Tensor]]  # Gram matrices and right-hand sides


def _equations(decoder: DecoderTangents, losses: RowLosses, n_rows: int) -> Equations:
    """The normal equations of a Gauss-Newton step for so many rows."""
    if losses.is_unweighted and isinstance(decoder, LayeredDecoder):  # noqa: SIM102
        if decoder.matrix is not None and _pays(decoder.matrix, decoder, n_rows):
            return _factored_equations(decoder, losses)

    def equations(values: Values) -> tuple[Tensor, Tensor]:
        jacobian, raw = decoder.jacobian(values), values[-1]
        right = (jacobian @ losses.descent(raw)[:, :, None]).squeeze(2)
        curvature = losses.curvature(raw)
        if curvature is not None:
            jacobian = jacobian.mul_(curvature.sqrt_()[:, None])
        return jacobian @ jacobian.mT, right

    return equations


def _pays(matrix: Tensor, decoder: DecoderTangents, n_rows: int) -> bool:
    """Whether factors of the Jacobian need fewer multiplications than the Jacobian."""
    (n_hidden, n_features), k = matrix.shape, len(decoder.inverse_code_scale)
    once = n_hidden * n_features * (n_hidden + k)
    per_row = k * n_hidden * (n_hidden + 3 * k) + n_hidden * n_features
    return once + n_rows * per_row < n_rows * k * n_features * (n_hidden + k + 1)


def _factored_equations(decoder: LayeredDecoder, losses: RowLosses) -> Equations:
    """The same from ``J = components + tangents @ matrix``, without J, for unit curvature."""
    matrix, components = decoder.matrix, decoder.components
    assert matrix is not None
    inner = matrix @ matrix.mT  # (n_hidden, n_hidden)
    if components is not None:
        cross = components @ matrix.mT  # (n_components, n_hidden)
        outer = components @ components.mT

    def equations(values: Values) -> tuple[Tensor, Tensor]:
        tangents, residual = decoder.tangents(values), losses.descent(values[-1])
        right = (tangents @ (residual @ matrix.mT)[:, :, None]).squeeze(2)
        if components is None:
            return (tangents @ inner) @ tangents.mT, right
        left = (tangents @ inner).add_(cross)
        gram = torch.baddbmm(tangents @ cross.mT, left, tangents.mT).add_(outer)
        return gram, right.add_(residual @ components.mT)

    return equations


def _solve_damped(gram: Tensor, right: Tensor, damping: Tensor) -> Tensor:
    """The changes of the codes; `gram` is overwritten."""
    diagonal = gram.diagonal(dim1=1, dim2=2)
    diagonal += (damping * diagonal.mean(1, keepdim=True)).clamp_min_(MIN_DAMPING)
    factor, _ = torch.linalg.cholesky_ex(gram)
    return torch.cholesky_solve(right[:, :, None], factor).squeeze(2)
