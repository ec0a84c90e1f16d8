"""Units of a sparse autoencoder that are active in too few rows: their revival, a diagnostic."""

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import relu

from .._data.process_group import SINGLE_PROCESS
from .._nn.sparse_coder import SparseCoder
from .._training.result import Diagnostic

# Weight of the revival loss of an inactive unit. Training inactive units on the residual without
# raising their pre-activation (Gao et al., 2024) left an eighth of 200 units dead on digits.
REVIVAL_WEIGHT = 1 / 32
REVIVAL_MARGIN = 1.5  # target pre-activation: this multiple of the smallest active code of the row
REVIVAL_OFFSET = 1e-3  # added to that code, which is zero if no unit is active


def revival_loss(
    network: SparseCoder, pre_activation: Tensor, code: Tensor, residual: Tensor
) -> Tensor:
    """Loss of inactive units on the row of the batch where each has its largest pre-activation.

    There the unit is raised to where it would be active, and its direction is fitted to the
    residual of the others. The gradient changes inactive units only.
    """
    encoder = network.encoder
    encoder.update_inactivity(code, network.group or SINGLE_PROCESS)
    inactive = (encoder.rows_since_active > encoder.max_inactive_rows).nonzero()[:, 0]
    if not len(inactive):
        return pre_activation.new_zeros(())
    largest, row = pre_activation[:, inactive].max(0)
    smallest_active = torch.where(code > 0, code, torch.inf).amin(1).nan_to_num(posinf=0.0)
    target = REVIVAL_MARGIN * (smallest_active.detach()[row] + REVIVAL_OFFSET)
    reconstruction = largest[:, None] * network.decoder.directions[inactive]
    error = torch.nan_to_num(residual.detach()[row] - reconstruction).square().sum(1)
    return (relu(target - largest) + REVIVAL_WEIGHT * error).sum() / len(pre_activation)


def dead_units(activation_frequency: np.ndarray) -> Diagnostic | None:
    """Units that are active in no training row."""
    n_dead = int(np.sum(activation_frequency == 0))
    if not n_dead:
        return None
    return Diagnostic(
        f"{n_dead} of {len(activation_frequency)} units are active in no training row (see "
        "`dead_components_`). Fewer `n_components`, more `n_nonzero_coefs` or a smaller "
        "`sparsity_weight` would use them."
    )
