"""Dense networks, one for each fold, that correct the filled cells of rows."""

from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from .._nn.batched_linear import BatchedLinear
from .._nn.custom_layers import SoftClip
from .._training.optimizer import Optimizer, WarmupLinearDecay
from .masking import N_FOLDS, MaskedCells

# Width of both hidden layers. Narrower for few columns: networks for six were no better with 256
# units than with 96, which took a half to a third of the time, and those for ten tables of 4 to 16
# columns no better with 16 units a column than with 10.
UNITS_PER_COLUMN, MIN_WIDTH = 10, 64
# Of which the width is a multiple: a product with 96 columns takes two thirds of one with 100.
WIDTH_STEP = 16
MANY_ROWS = 1000

LEARNING_RATE = 3e-3
MAX_BATCH_SIZE = 128
PATIENCE = 6  # checks without an improvement
# With more columns a step takes most of the time of the imputer, and networks seldom gain: they are
# then half as wide and end at once after two checks without an improvement.
MANY_COLUMNS, WIDE_PATIENCE = 1000, 2

# Standard deviations of a column up to which the networks' inputs are linear in the filled cells.
CLIP_LIMIT = 2.0


silu_backward = torch.ops.aten.silu_backward


class CorrectionConfig(NamedTuple):
    """Sizes of the corrections and of their training.

    Chosen on digits, letter, wine, wine_quality, diabetes and cardio, with 20 % of the cells
    missing.
    """

    max_width: tuple[int, int] = (128, 256)  # of the networks, with few rows and with many
    max_steps: int = 3000
    check_interval: int = 100  # steps between two checks on validation cells
    max_training_entries: int = 2**21  # of rows with masked cells
    max_ridge_rows: int = 32_768
    max_train_rows: int = 2048  # rows of `fit` that are stored as possible neighbours


class CorrectionNetworks(nn.Module):
    """Networks of one shape, computed as one; each predicts a correction of the filled rows.

    Their inputs are the filled rows and which cells were missing. The initial correction is zero.
    """

    def __init__(self, n_features: int, width: int, rng: torch.Generator):
        super().__init__()
        self.clip = SoftClip(CLIP_LIMIT)
        self.layers = nn.Sequential(
            BatchedLinear(N_FOLDS, 2 * n_features, width, rng, bias_std=0.3),
            nn.SiLU(),
            BatchedLinear(N_FOLDS, width, width, rng, bias_std=0.3),
            nn.SiLU(),
            BatchedLinear(N_FOLDS, width, n_features, rng, gain=0.0),
        )

    def forward(self, filled: Tensor, missing: Tensor) -> Tensor:
        """Corrections by each network, (N_FOLDS, n, d).

        `filled` and `missing` are of shape (n, d) or, with different rows for each network,
        (N_FOLDS, n, d).
        """
        return self.layers(self.inputs(filled, missing).expand(N_FOLDS, -1, -1))

    def inputs(self, filled: Tensor, missing: Tensor) -> Tensor:
        """The inputs of the first layers, (..., n, 2 * d)."""
        return torch.cat([self.clip(filled), missing], -1)


class CorrectionGradient:
    """The squared error of the masked cells of rows, summed over the networks, and its gradient.

    The gradient is hand-written: autograd takes a quarter more time, and twice as much for few
    columns.
    """

    @torch.no_grad()
    def __init__(self, networks: CorrectionNetworks, cells: MaskedCells):
        self._layers = cast(list[BatchedLinear], list(networks.layers))
        inputs = networks.inputs(cells.filled, cells.missing)
        # One table, so that a step gathers its rows once.
        self._table = torch.cat([inputs, cells.target, cells.masked], -1)  # (N_FOLDS, n, 4 * d)
        self.n_rows, n_features = cells.target.shape[1:]
        self._widths = 2 * n_features, n_features, n_features

    @torch.inference_mode()
    def __call__(self, index: Tensor) -> Tensor:
        """Return the mean over the rows at `index`; its gradient is written to the parameters."""
        x, target, masked = self._table.index_select(1, index).split(self._widths, -1)
        first, _, second, _, last = self._layers
        raw_1 = first(x)
        hidden_1 = silu(raw_1)
        raw_2 = second(hidden_1)
        hidden_2 = silu(raw_2)
        error = (last.forward_to_few(hidden_2) - target) * masked

        gradient = error * (2 / len(index))
        last.write_parameter_gradients(hidden_2, gradient)
        gradient = silu_backward(last.input_gradient(gradient), raw_2)
        second.write_parameter_gradients(hidden_1, gradient)
        gradient = silu_backward(second.input_gradient(gradient), raw_1)
        first.write_parameter_gradients(x, gradient)
        return error.square().sum() / len(index)


def fit_networks(
    training: MaskedCells,
    validation: MaskedCells,
    n_samples: int,
    config: CorrectionConfig,
    rng: torch.Generator,
) -> CorrectionNetworks:
    """Train networks on the masked cells of `n_samples` rows, with early stopping.

    The weights are those with the lowest error on the validation cells.
    """
    n_features = training.filled.shape[-1]
    networks = CorrectionNetworks(n_features, _width(n_samples, n_features, config), rng)
    _train(networks, training, validation, batch_size(n_samples), config, rng)
    return networks


def batch_size(n_samples: int) -> int:
    """Rows in a training step."""
    return min(MAX_BATCH_SIZE, max(16, n_samples // 8))


def _width(n_samples: int, n_features: int, config: CorrectionConfig) -> int:
    width = max(WIDTH_STEP * round(UNITS_PER_COLUMN * n_features / WIDTH_STEP), MIN_WIDTH)
    widest = config.max_width[n_samples >= MANY_ROWS]
    return min(width, widest // 2 if n_features > MANY_COLUMNS else widest)


def _train(
    networks: CorrectionNetworks,
    training: MaskedCells,
    validation: MaskedCells,
    batch_size: int,
    config: CorrectionConfig,
    rng: torch.Generator,
) -> None:
    loss_scale = N_FOLDS * training.masked.sum(2).mean().item()
    schedule = WarmupLinearDecay(LEARNING_RATE, config.max_steps)
    optimizer = Optimizer(networks, "adam", schedule, loss_scale)
    gradient = CorrectionGradient(networks, training)
    best_ratio, best_weights, n_worse = 1.0, _copy_weights(networks), 0
    patience = PATIENCE if training.filled.shape[-1] <= MANY_COLUMNS else WIDE_PATIENCE
    for step in range(1, config.max_steps + 1):
        optimizer.step(gradient, torch.randint(gradient.n_rows, (batch_size,), generator=rng))
        if step % config.check_interval:
            continue
        n_worse += 1
        with optimizer.ema_weights():
            ratio = _error_ratio(networks, validation)
            if ratio < best_ratio:
                best_ratio, best_weights, n_worse = ratio, _copy_weights(networks), 0
        if n_worse >= patience:
            break
    networks.load_state_dict(best_weights)
    optimizer.release()


def _error_ratio(networks: CorrectionNetworks, cells: MaskedCells) -> float:
    """Squared error with the correction over that without."""
    with torch.no_grad():
        correction = networks(cells.filled, cells.missing) * cells.masked
    return ((correction - cells.target).square().sum() / cells.target.square().sum()).item()


def _copy_weights(networks: CorrectionNetworks) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in networks.state_dict().items()}
