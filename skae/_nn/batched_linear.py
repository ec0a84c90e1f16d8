"""Many small dense networks computed as one.

Layer by layer one batched product serves all of them; on a small machine most of the time of a
small network is spent between the products, not in them. The networks share nothing: each learns
as it would alone.
"""

import math

import torch
from torch import Generator, Tensor, nn


class StackedLinear(nn.Module):
    """One linear layer of each of several networks."""

    def __init__(
        self,
        n_networks: int,
        n_in: int,
        n_out: int,
        generator: Generator,
        gain: float = 1.0,
        spread: float = 0.0,
    ):
        """Normal weights that multiply the size of their inputs by `gain`; biases of `spread`."""
        super().__init__()
        weight = torch.randn(n_networks, n_in, n_out, generator=generator)
        bias = torch.randn(n_networks, 1, n_out, generator=generator)
        self.weight = nn.Parameter(weight * (gain / math.sqrt(n_in)))
        self.bias = nn.Parameter(bias * spread)

    def forward(self, x: Tensor) -> Tensor:
        """Each network's own rows, (n_networks, n_rows, n_in), through its layer."""
        return torch.baddbmm(self.bias, x, self.weight)
