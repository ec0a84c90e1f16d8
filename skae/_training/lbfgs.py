"""Minimisation of a differentiable loss of a few parameters by L-BFGS."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from .._data.forks import IMPORT_LOCK


def minimize_loss(loss: Callable[[], Tensor], parameters: Sequence[Tensor], max_iter: int) -> None:
    """Set parameters of type float64 on the host to those with the least loss."""
    with IMPORT_LOCK:  # here, as most fits do not need it
        # The optimiser of torch would import its compiler, which takes longer than most fits.
        from scipy.optimize import minimize

    def loss_and_gradient(vector: np.ndarray) -> tuple[float, np.ndarray]:
        vector_to_parameters(torch.from_numpy(vector), parameters)
        with torch.enable_grad():
            value = loss()
            gradient = torch.autograd.grad(value, parameters)
        return value.item(), parameters_to_vector(gradient).numpy()

    start = parameters_to_vector(parameters).detach().numpy()
    options = {"maxiter": max_iter}
    best = minimize(loss_and_gradient, start, jac=True, method="L-BFGS-B", options=options).x
    vector_to_parameters(torch.from_numpy(best), parameters)
