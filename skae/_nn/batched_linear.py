"""Many small dense networks that are computed as one.

One batched product per layer serves all networks: on a small machine most of the time of a small
network is spent between the products, not in them. The networks share no weights.
"""

import math
from typing import cast

import torch
from torch import Generator, Tensor, nn

# With fewer outputs, products of transposed matrices take less time: a third for ten.
FEW_OUTPUTS = 32


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

    def forward_to_few(self, x: Tensor) -> Tensor:
        """The same as `forward`, by transposed matrices, which are faster for few outputs."""
        return torch.baddbmm(self.bias.mT, self.weight.mT, x.mT).mT

    def input_gradient(self, gradient: Tensor) -> Tensor:
        """The gradient in the input, from that in the output."""
        return torch.bmm(gradient, self.weight.mT)

    def write_parameter_gradients(self, x: Tensor, gradient: Tensor) -> None:
        """Write the gradients in the weights and biases to their `grad`, for the input `x`."""
        if gradient.shape[-1] < FEW_OUTPUTS:
            cast(Tensor, self.weight.grad).copy_(torch.bmm(gradient.mT, x).mT)
        else:
            torch.bmm(x.mT, gradient, out=self.weight.grad)
        torch.sum(gradient, -2, keepdim=True, out=self.bias.grad)
