"""Minimisation of a differentiable loss of a few parameters by L-BFGS."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from .._data.forks import IMPORT_LOCK


def minimize_loss(loss: Callable[[], Tensor], parameters: Sequence[Tensor], max_iter: int) -> None:
    """Set parameters of type float64 on the host to those with the least loss."""
    minimize_sum(lambda: [loss()], parameters, max_iter)


def minimize_sum(
    losses: Callable[[], Iterable[Tensor]], parameters: Sequence[Tensor], max_iter: int
) -> None:
    """Set parameters to those with the least sum of losses; see `minimize_loss`.

    The losses may be those of blocks of rows. Only one of them is in memory at a time.
    """
    with IMPORT_LOCK:  # here, as most fits do not need it
        # The optimiser of torch would import its compiler, which takes longer than most fits.
        from scipy.optimize import minimize

    def loss_and_gradient(vector: np.ndarray) -> tuple[float, np.ndarray]:
        vector_to_parameters(torch.from_numpy(vector), parameters)
        value, gradient = 0.0, np.zeros_like(vector)
        with torch.enable_grad():
            for loss in losses():
                value += loss.item()
                parts = torch.autograd.grad(loss, parameters, materialize_grads=True)
                gradient += parameters_to_vector(parts).numpy()
        return value, gradient

    start = parameters_to_vector(parameters).detach().numpy()
    options = {"maxiter": max_iter}
    best = minimize(loss_and_gradient, start, jac=True, method="L-BFGS-B", options=options).x
    vector_to_parameters(torch.from_numpy(best), parameters)
