"""Networks that correct a first completion of incomplete rows. Knows no estimator."""

import math
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from ._networks import Tame, reciprocal
from ._radial import MAX_UNITS, RadialUnits, choose_units, decoders
from ._stacked import StackedLinear
from ._training import RiseAndFall, Stepper, better_than_chance, by_autograd

# Chosen on digits, letter, wine, wine_quality, diabetes and cardio, with 20 % of the cells missing.
N_NETWORKS = 5
# Of both hidden layers, at most: with few rows, and with many.
WIDTHS, MANY_ROWS = (128, 256), 1000
# Fewer for few columns: six were told no better by 256 units than by 96, in two to three times the
# time.
UNITS_FOR_A_COLUMN, LEAST_WIDTH = 16, 64
LEARNING_RATE = 3e-3
BATCH_SIZE = 128
MAX_STEPS = 3000
STEPS_BETWEEN_CHECKS = 100
PATIENCE = 6  # checks

# Entries of rows with hidden cells to learn from, and rows of them that judge.
POOL_ENTRIES = 2**21
JUDGING_ROWS = 2048
RADIAL_ROWS = 32_768
UNITS_BY_COLUMNS = 2**16

# How strongly factors of single columns are drawn to the common ones.
DRAW = 0.5


class Gaussian(Protocol):
    """What makes the first completion."""

    def fill(self, x: Tensor, missing: Tensor) -> Tensor:
        """Rows with the conditional mean at their missing cells."""


class Pool(NamedTuple):
    """Rows with more cells hidden than were missing: what is seen of them, and what is wanted."""

    row: Tensor  # (n,): which row of the data each is
    filled: Tensor  # (n, d): the first completion
    unseen: Tensor  # (n, d): 1 where a cell is missing or hidden, else 0
    wanted: Tensor  # (n, d): truth minus first completion where hidden, else 0
    hidden: Tensor  # (n, d): 1 where hidden, else 0

    def take(self, index: Tensor) -> "Pool":
        """Some of the rows."""
        return Pool(*(part[index] for part in self))


class StackedNetworks(nn.Module):
    """Networks of one shape, run at once; each makes one correction of the completed rows.

    They see which cells were filled, besides the rows, and start at a correction of zero.
    """

    def __init__(self, n_features: int, width: int, noise: torch.Generator):
        super().__init__()
        self.tame = Tame(2.0)
        self.layers = nn.Sequential(
            StackedLinear(N_NETWORKS, 2 * n_features, width, noise, spread=0.3),
            nn.SiLU(),
            StackedLinear(N_NETWORKS, width, width, noise, spread=0.3),
            nn.SiLU(),
            StackedLinear(N_NETWORKS, width, n_features, noise, gain=0.0),
        )

    def forward(self, filled: Tensor, unseen: Tensor) -> Tensor:
        """Correct rows (n, d) of which cells (n, d) were filled: (N_NETWORKS, n, d)."""
        shown = torch.cat([self.tame(filled), unseen], 1)
        return self.layers(shown.expand(N_NETWORKS, -1, -1))


class Correction(nn.Module):
    """What was learned of rows that a Gaussian completes: radial units and dense networks."""

    centres: Tensor
    width: Tensor
    whitening: Tensor
    decoder: Tensor  # (n_units, d)
    size: Tensor  # (2, d): of a correction of one by either, in standard units

    def __init__(
        self, units: RadialUnits, decoder: Tensor, networks: StackedNetworks, size: Tensor
    ):
        super().__init__()
        for name, value in zip(units._fields, units, strict=True):
            self.register_buffer(name, value)
        self.register_buffer("decoder", decoder)
        self.register_buffer("size", size)
        self.networks = networks

    def forward(self, filled: Tensor, missing: Tensor) -> Tensor:
        """Completed rows with their missing cells corrected."""
        units = RadialUnits(self.centres, self.width, self.whitening)
        step = self.size[0] * (units.encode(filled) @ self.decoder)
        if self.size[1].any():
            step = step + self.size[1] * self.networks(filled, missing.to(filled)).mean(0)
        return torch.where(missing, filled + step, filled)


def hide(missing: Tensor, noise: torch.Generator) -> Tensor:
    """More cells of each row to hide, so that each pattern of gaps may be met.

    Most rows take the gaps of another row, as those to be filled will have such gaps, too; the
    others hide each cell with a probability between 0.05 and 0.6.
    """
    n, d = missing.shape
    rate = 0.05 + 0.55 * torch.rand(n, 1, generator=noise)
    anything = torch.rand(n, d, generator=noise) < rate
    others = missing[torch.randint(n, (n,), generator=noise)]
    others |= torch.rand(n, d, generator=noise) < 0.05  # complete columns, too, may have gaps
    like_others = torch.rand(n, 1, generator=noise) < 0.75
    return torch.where(like_others, others, anything) & ~missing


def make_pool(
    x: Tensor, missing: Tensor, gaussian: Gaussian, noise: torch.Generator, n_rows: int
) -> Pool:
    """Each row several times, with other cells hidden each time; some of the rows if many."""
    times = math.ceil(n_rows / len(x)) if n_rows > len(x) else 1
    row = torch.cat([torch.randperm(len(x), generator=noise) for _ in range(times)])[:n_rows]
    hidden = hide(missing[row], noise)
    unseen = missing[row] | hidden
    filled = gaussian.fill(x[row], unseen)
    wanted = torch.where(hidden, x[row] - filled, 0.0)
    return Pool(row, filled.float(), unseen.float(), wanted.float(), hidden.float())


def learn_correction(
    x: Tensor, missing: Tensor, gaussian: Gaussian, noise: torch.Generator
) -> tuple[Correction, Tensor]:
    """Learn to tell hidden cells, several times, each time from all rows but those of one fold.

    What is so told of the rows left out decides how much of the corrections is made. Also returns
    the share of the Gaussian's squared error that is left in each column.
    """
    fold = torch.randperm(len(x), generator=noise) % N_NETWORKS
    drawn = max(MAX_STEPS * _batch_size(len(x)), RADIAL_ROWS)  # no row is drawn twice on average
    pool = make_pool(x, missing, gaussian, noise, min(POOL_ENTRIES // x.shape[1] + 1, drawn))
    unit = (pool.wanted.square().sum(0) / pool.hidden.sum(0).clamp_min(1)).sqrt()
    pool = pool._replace(wanted=pool.wanted * reciprocal(unit))
    judges = pool.take(torch.randperm(len(pool.row), generator=noise)[:JUDGING_ROWS])

    some = pool.take(torch.arange(min(len(pool.row), RADIAL_ROWS)))
    # Each column has a regression of its own on them.
    n_units = min(MAX_UNITS, max(UNITS_BY_COLUMNS // x.shape[1], 1))
    centres = gaussian.fill(x, missing)[torch.randperm(len(x), generator=noise)[:n_units]]
    seen = some.filled, some.wanted, some.hidden, fold[some.row]
    units, penalty = choose_units(centres.float(), *seen)
    decoder = decoders(units.encode(some.filled), *seen[1:], N_NETWORKS, penalty)
    networks = StackedNetworks(x.shape[1], _width(*x.shape), noise)
    _train(networks, pool, fold, judges, noise)

    by_units = torch.zeros_like(judges.wanted)
    for k in range(N_NETWORKS):
        own = fold[judges.row] == k
        by_units[own] = units.encode(judges.filled[own]) @ decoder[k]
    steps = torch.stack([by_units * judges.hidden, _out_of_fold(networks, fold, judges)])
    factors, left = weigh(steps, judges)
    size = (factors * unit).double()
    correction = Correction(units.double(), decoder.mean(0).double(), networks.double(), size)
    return correction.eval(), left.double()


def weigh(steps: Tensor, judges: Pool) -> tuple[Tensor, Tensor]:
    """How much of each correction to make in each column: (n_corrections, d), within 0 and 1.

    Least squares over hidden cells of rows that the corrections were not learned from; nothing, if
    rows do not gain by more than chance. Also returns the share of squared error left, (d,).
    """
    factors = _least_squares(steps, judges.wanted)
    change = (factors[:, None] * steps).sum(0)
    before, after = (
        _by_row((judges.wanted - told).square() * judges.hidden, judges.row)
        for told in (torch.zeros_like(change), change)
    )
    if not better_than_chance(after, before):
        return torch.zeros_like(factors), torch.ones_like(factors[0])
    return factors, _share(judges.wanted - change, judges.wanted, judges.hidden)


def _least_squares(steps: Tensor, wanted: Tensor) -> Tensor:
    """Factors of single columns are drawn to those of all columns together."""
    gram = torch.einsum("knd,lnd->dkl", steps, steps)
    right = torch.einsum("knd,nd->dk", steps, wanted)
    small = 1e-6 * (1 + gram.sum()) * torch.eye(len(steps), dtype=steps.dtype)
    common = torch.linalg.solve(gram.sum(0) + small, right.sum(0)).clamp(0, 1)
    prior = DRAW * gram.mean(0) + small
    return torch.linalg.solve(gram + prior, right + prior @ common).clamp(0, 1).T


def _width(n_samples: int, n_features: int) -> int:
    return min(max(UNITS_FOR_A_COLUMN * n_features, LEAST_WIDTH), WIDTHS[n_samples >= MANY_ROWS])


def _batch_size(n_samples: int) -> int:
    return min(BATCH_SIZE, max(16, n_samples // 8))


def _train(
    networks: StackedNetworks, pool: Pool, fold: Tensor, judges: Pool, noise: torch.Generator
) -> None:
    """Train in place, and leave the networks where they told their own folds best."""
    n_rows = _batch_size(len(fold))
    members = torch.arange(N_NETWORKS)[:, None]

    def objective(index: Tensor) -> Tensor:
        batch = pool.take(index)
        error = (networks(batch.filled, batch.unseen) - batch.wanted) * batch.hidden
        others = fold[batch.row] != members  # (N_NETWORKS, n): no network learns its own fold
        return (error.square().sum(2) * others).sum(0)

    best = 1.0
    kept = {name: value.clone() for name, value in networks.state_dict().items()}
    since = 0
    gradient = by_autograd(objective)
    schedule = RiseAndFall(LEARNING_RATE, MAX_STEPS)
    stepper = Stepper(networks, "adam", schedule, N_NETWORKS * pool.hidden.sum(1).mean().item())
    for step in range(1, MAX_STEPS + 1):
        stepper.step(gradient, torch.randint(len(pool.row), (n_rows,), generator=noise))
        if step % STEPS_BETWEEN_CHECKS:
            continue
        with stepper.averaged():
            change = _out_of_fold(networks, fold, judges)
            left = (change - judges.wanted).square().sum() / judges.wanted.square().sum()
            since += 1
            if left < best:
                best, since = left.item(), 0
                kept = {name: value.clone() for name, value in networks.state_dict().items()}
        if since >= PATIENCE:
            break
    networks.load_state_dict(kept)
    stepper.release()


def _out_of_fold(networks: StackedNetworks, fold: Tensor, judges: Pool) -> Tensor:
    """Corrections of hidden cells, each by the network that has not learned from the row."""
    with torch.no_grad():
        steps = networks(judges.filled, judges.unseen)
    return steps[fold[judges.row], torch.arange(len(judges.row))] * judges.hidden


def _by_row(errors: Tensor, row: Tensor) -> Tensor:
    """Errors of each row of the data, over all its copies."""
    rows, index = torch.unique(row, return_inverse=True)
    return errors.new_zeros(len(rows)).index_add_(0, index, errors.sum(1))


def _share(after: Tensor, before: Tensor, hidden: Tensor) -> Tensor:
    """Squared error left of each column, at most 1."""
    squares = [((part * hidden).square()).sum(0) for part in (after, before)]
    return torch.where(squares[1] > 0, squares[0] / squares[1], 1.0).clamp(0, 1)
