"""Autoencoders that correct a first completion of incomplete rows. Knows no estimator."""

import numpy as np
import torch
from torch import Tensor, nn

from .._nn.autoencoder import SoftClip, reciprocal
from .._nn.batched_linear import StackedLinear
from .._training.loop import Optimizer, WarmupLinearDecay, by_autograd, gains_in_standard_errors
from .masking import N_FOLDS, Folds, Gaussian, MaskedCells
from .nearest_neighbors import MAX_ROWS, N_NEAREST, NeighborImputer, recalled
from .rbf import MAX_UNITS, NystroemFeatures, choose_units, decoders

# Chosen on digits, letter, wine, wine_quality, diabetes and cardio, with 20 % of the cells missing.
# Of both hidden layers, at most: with few rows, and with many.
WIDTHS, MANY_ROWS = (128, 256), 1000
# Fewer for few columns: six were told no better by 256 units than by 96, in two to three times the
# time, and ten tables of 4 to 16 columns no better by 16 units a column than by 10.
UNITS_FOR_A_COLUMN, LEAST_WIDTH = 10, 64
LEARNING_RATE = 3e-3
BATCH_SIZE = 128
MAX_STEPS = 3000
STEPS_BETWEEN_CHECKS = 100
PATIENCE = 6  # checks

# Entries of rows with hidden cells: to learn from, and to judge by, the latter of no fewer and no
# more rows than these. The first of them judge what is chosen on the way.
POOL_ENTRIES = 2**21
JUDGING_ENTRIES, JUDGING_ROWS = 2**19, (2**11, 2**14)
CHECKING_ROWS = 2**13
RADIAL_ROWS = 32_768
UNITS_BY_COLUMNS = 2**16

# Of a factor at a time; after twenty nothing moved by more than 1e-3.
N_SWEEPS = 50

# How strongly factors of single columns are drawn to the common ones.
SHRINKAGE = 0.5

# Rows are corrected so many at a time.
BLOCK_ROWS = 4096


class StackedNetworks(nn.Module):
    """Networks of one shape, run at once; each makes one correction of the completed rows.

    They see which cells were filled, besides the rows, and start at a correction of zero.
    """

    def __init__(self, n_features: int, width: int, noise: torch.Generator):
        super().__init__()
        self.tame = SoftClip(2.0)
        self.layers = nn.Sequential(
            StackedLinear(N_FOLDS, 2 * n_features, width, noise, spread=0.3),
            nn.SiLU(),
            StackedLinear(N_FOLDS, width, width, noise, spread=0.3),
            nn.SiLU(),
            StackedLinear(N_FOLDS, width, n_features, noise, gain=0.0),
        )

    def forward(self, filled: Tensor, unseen: Tensor) -> Tensor:
        """Correct rows (n, d) of which cells (n, d) were filled, or rows of each network's own.

        Shape (N_FOLDS, n, d).
        """
        shown = torch.cat([self.tame(filled), unseen], -1)
        return self.layers(shown.expand(N_FOLDS, -1, -1))


class Correction(nn.Module):
    """What was learned of rows that a Gaussian completes: radial units, networks, and a memory."""

    centres: Tensor
    width: Tensor
    whitening: Tensor
    decoder: Tensor  # (n_units, d)
    rows: Tensor  # (n_remembered, d)
    observed: Tensor  # (n_remembered, d)
    size: Tensor  # (3, d): how much is made of the correction by each

    def __init__(
        self,
        units: NystroemFeatures,
        decoder: Tensor,
        networks: StackedNetworks,
        neighbors: NeighborImputer,
        n_nearest: int,
        size: Tensor,
    ):
        super().__init__()
        parts = units._asdict() | neighbors._asdict() | {"decoder": decoder, "size": size}
        for name, value in parts.items():
            self.register_buffer(name, value)
        self.networks, self.n_nearest = networks, n_nearest

    def forward(self, filled: Tensor, missing: Tensor) -> Tensor:
        """Completed rows with their missing cells corrected."""
        blocks = zip(filled.split(BLOCK_ROWS), missing.split(BLOCK_ROWS), strict=True)
        return torch.cat([self._corrected(*block) for block in blocks])

    def _corrected(self, filled: Tensor, missing: Tensor) -> Tensor:
        unseen = missing.to(filled)
        units = NystroemFeatures(self.centres, self.width, self.whitening)
        step = self.size[0] * (units.encode(filled) @ self.decoder)
        if self.size[1].any():
            step = step + self.size[1] * self.networks(filled, unseen).mean(0)
        if self.size[2].any():
            neighbors = NeighborImputer(self.rows, self.observed)
            step = step + self.size[2] * neighbors.correct(filled, unseen, self.n_nearest)
        return torch.where(missing, filled + step, filled)


def learn_correction(
    x: Tensor, missing: Tensor, gaussian: Gaussian, noise: torch.Generator
) -> tuple[Correction, Tensor]:
    """Learn to tell hidden cells, several times, each time from all rows but those of one fold.

    What is so told of the rows left out decides how much of the corrections is made. Also returns
    the share of the Gaussian's squared error that is left in each column.
    """
    folds = Folds.of(x, missing, gaussian, noise)
    drawn = max(MAX_STEPS * _batch_size(len(x)), RADIAL_ROWS)  # few are drawn twice
    pool = folds.to_learn(min(POOL_ENTRIES // x.shape[1], drawn) // N_FOLDS + 1, noise)
    judges = folds.to_judge(n_judges(x.shape[1]) // N_FOLDS, noise)
    unit = (pool.wanted.square().sum((0, 1)) / pool.hidden.sum((0, 1)).clamp_min(1)).sqrt()
    pool, judges = (part._replace(wanted=part.wanted * reciprocal(unit)) for part in (pool, judges))

    completed, order = gaussian.fill(x, missing), torch.randperm(len(x), generator=noise)
    # Each column has a regression of its own on them.
    n_units = min(MAX_UNITS, max(UNITS_BY_COLUMNS // x.shape[1], 1))
    some = pool.first(RADIAL_ROWS // N_FOLDS)
    units, penalty = choose_units(completed[order[:n_units]].float(), some, judges)
    decoder = decoders(units, some, penalty)
    networks = StackedNetworks(x.shape[1], _width(*x.shape), noise)
    few = judges.first(CHECKING_ROWS // N_FOLDS)
    _train(networks, pool, few, _batch_size(len(x)), noise)
    kept = order[:MAX_ROWS]
    neighbors = NeighborImputer(completed[kept], (~missing[kept]).to(x))
    n_nearest = max(N_NEAREST, key=lambda n: _gain(recalled(neighbors, kept, few, n), few))

    with torch.no_grad():
        by_networks = networks(judges.filled, judges.unseen)
    by_memory = recalled(neighbors, kept, judges, n_nearest) * reciprocal(unit)
    steps = torch.stack([units.encode(judges.filled) @ decoder, by_networks, by_memory])
    factors, left = stacking_weights((steps * judges.hidden).flatten(1, 2), judges.together())
    units_of_steps = torch.stack([unit, unit, torch.ones_like(unit)])  # recalled cells are raw
    size = (factors * units_of_steps).double().contiguous()
    parts = units.double(), decoder.mean(0).double(), networks.double()
    correction = Correction(*parts, neighbors, n_nearest, size)
    return correction.eval(), left.double()


def _gain(told: Tensor, judges: MaskedCells) -> float:
    """Squared error that a correction saves if it is made as far as is best in each column."""
    told = told * judges.hidden
    along = (told * judges.wanted).sum((0, 1)).clamp_min(0)
    return (along.square() / told.square().sum((0, 1)).clamp_min(1e-30)).sum().item()


def stacking_weights(steps: Tensor, judges: MaskedCells) -> tuple[Tensor, Tensor]:
    """How much of each correction to make in each column: (n_corrections, d), within 0 and 1.

    Least squares over hidden cells of rows that the corrections were not learned from; nothing, if
    rows do not gain by more than chance. Also returns the share of squared error left,
    (d,).
    """
    factors = _least_squares(steps, judges.wanted)
    change = (factors[:, None] * steps).sum(0)
    before, after = (
        _by_row((judges.wanted - told).square() * judges.hidden, judges.row)
        for told in (torch.zeros_like(change), change)
    )
    if not _gains(after, before):
        return torch.zeros_like(factors), torch.ones_like(factors[0])
    return factors, _share(judges.wanted - change, judges.wanted, judges.hidden)


def _gains(after: Tensor, before: Tensor) -> bool:
    """Whether rows come back better: on the whole by two standard errors, or by one and typically.

    A few rows far from all others carry most of the error of some tables: all may gain but for
    these, or these alone.
    """
    on_the_whole, typically = gains_in_standard_errors(after, before)
    return on_the_whole > 2 or (on_the_whole > 1 and typically > 3)


def _least_squares(steps: Tensor, wanted: Tensor) -> Tensor:
    """Factors of single columns are drawn to those of all columns together."""
    gram = torch.einsum("knd,lnd->dkl", steps, steps)
    right = torch.einsum("knd,nd->dk", steps, wanted)
    small = 1e-6 * (1 + gram.sum()) * torch.eye(len(steps), dtype=steps.dtype)
    common = _within_bounds(gram.sum(0)[None] + small, right.sum(0)[None])[0]
    prior = SHRINKAGE * gram.mean(0) + small
    return _within_bounds(gram + prior, right + prior @ common).T


def _within_bounds(gram: Tensor, right: Tensor) -> Tensor:
    """Factors (n, k) within 0 and 1 with the least x'Gx - 2 r'x each, one at a time."""
    factors = torch.zeros_like(right)
    for _ in range(N_SWEEPS):
        for k in range(right.shape[1]):
            slope = right[:, k] - (gram[:, k] * factors).sum(1)
            factors[:, k] = (factors[:, k] + slope / gram[:, k, k]).clamp(0, 1)
    return factors


def n_judges(n_features: int) -> int:
    """How many rows judge: about as many hidden cells, unless columns are very many or very few."""
    return int(np.clip(JUDGING_ENTRIES // n_features, *JUDGING_ROWS))


def _width(n_samples: int, n_features: int) -> int:
    return min(max(UNITS_FOR_A_COLUMN * n_features, LEAST_WIDTH), WIDTHS[n_samples >= MANY_ROWS])


def _batch_size(n_samples: int) -> int:
    return min(BATCH_SIZE, max(16, n_samples // 8))


def _train(
    networks: StackedNetworks,
    pool: MaskedCells,
    judges: MaskedCells,
    batch_size: int,
    noise: torch.Generator,
) -> None:
    """Train in place, and leave the networks where they told their own folds best."""

    def objective(index: Tensor) -> Tensor:
        filled, unseen, wanted, hidden = table.index_select(1, index).chunk(4, -1)
        error = (networks(filled, unseen) - wanted) * hidden
        return error.square().sum((0, 2))

    table = torch.cat(pool[1:], -1)  # side by side, so that a step looks each row up once
    best = 1.0
    kept = {name: value.clone() for name, value in networks.state_dict().items()}
    since = 0
    gradient = by_autograd(objective)
    schedule = WarmupLinearDecay(LEARNING_RATE, MAX_STEPS)
    optimizer = Optimizer(networks, "adam", schedule, N_FOLDS * pool.hidden.sum(2).mean().item())
    n_rows = pool.row.shape[1]
    for step in range(1, MAX_STEPS + 1):
        optimizer.step(gradient, torch.randint(n_rows, (batch_size,), generator=noise))
        if step % STEPS_BETWEEN_CHECKS:
            continue
        with optimizer.ema_weights(), torch.no_grad():
            change = networks(judges.filled, judges.unseen) * judges.hidden
            left = (change - judges.wanted).square().sum() / judges.wanted.square().sum()
            since += 1
            if left < best:
                best, since = left.item(), 0
                kept = {name: value.clone() for name, value in networks.state_dict().items()}
        if since >= PATIENCE:
            break
    networks.load_state_dict(kept)
    optimizer.release()


def _by_row(errors: Tensor, row: Tensor) -> Tensor:
    """Errors of each row of the data, over all its copies."""
    rows, index = torch.unique(row, return_inverse=True)
    return errors.new_zeros(len(rows)).index_add_(0, index, errors.sum(1))


def _share(after: Tensor, before: Tensor, hidden: Tensor) -> Tensor:
    """Squared error left of each column, at most 1."""
    squares = [((part * hidden).square()).sum(0) for part in (after, before)]
    return torch.where(squares[1] > 0, squares[0] / squares[1], 1.0).clamp(0, 1)
