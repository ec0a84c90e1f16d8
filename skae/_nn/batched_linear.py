"""Many small dense networks that are computed as one.

One batched product per layer serves all networks: on a small machine most of the time of a small
network is spent between the products, not in them. The networks share no weights.
"""

import math

import torch
from torch import Generator, Tensor, nn


class BatchedLinear(nn.Module):
    """One linear layer of each of several networks."""

    def __init__(
        self,
        n_networks: int,
        n_in: int,
        n_out: int,
        rng: Generator,
        gain: float = 1.0,
        bias_std: float = 0.0,
    ):
        """Draw normal weights and biases; `gain` is the ratio of output to input size."""
        super().__init__()
        weight = torch.randn(n_networks, n_in, n_out, generator=rng)
        bias = torch.randn(n_networks, 1, n_out, generator=rng)
        self.weight = nn.Parameter(weight * (gain / math.sqrt(n_in)))
        self.bias = nn.Parameter(bias * bias_std)

    def forward(self, x: Tensor) -> Tensor:
        """Apply each layer to the rows of its network, (n_networks, n_rows, n_in)."""
        return torch.baddbmm(self.bias, x, self.weight)
