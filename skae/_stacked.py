"""Many small dense networks computed as one."""

import math
from itertools import pairwise

import torch
from torch import Generator, Tensor, nn

from ._networks import ACTIVATIONS


class StackedNetworks(nn.Module):
    """Dense networks of one shape, side by side.

    Layer by layer one batched product serves all of them; on a small machine most of the time of a
    small network is spent between the products, not in them. The networks share nothing: each
    learns as it would alone.
    """

    def __init__(
        self,
        n_networks: int,
        sizes: tuple[int, ...],
        activation: str,
        gain: float,
        generator: Generator,
    ):
        super().__init__()
        self.activation = ACTIVATIONS[activation]()
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for n_in, n_out in pairwise(sizes):
            weight = torch.randn(n_networks, n_in, n_out, generator=generator)
            bias = torch.randn(n_networks, 1, n_out, generator=generator)
            self.weights.append(weight * (gain / math.sqrt(n_in)))
            # Biases spread the bends of the hidden units over the range of standardised inputs.
            self.biases.append(bias * (0.5 if len(self.biases) == 0 else 0.0))

    def forward(self, x: Tensor) -> Tensor:
        """What each network makes of its rows, (n_networks, n_rows, sizes[0])."""
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = torch.baddbmm(bias, self.activation(x) if layer else x, weight)
        return x
