"""A module whose loss has a known optimum, for the tests of the optimiser and the loop."""

import torch
from torch import nn

from skae._training.loop import by_autograd


class Point(nn.Module):
    """A vector; the optimum of its loss is the mean of the rows."""

    def __init__(self):
        super().__init__()
        self.at = nn.Parameter(torch.zeros(3))

    def loss(self, x):
        return (x - self.at).square().sum(1)


def make_rows(seed):
    """400 rows with mean (1, 2, 3)."""
    noise = torch.randn(400, 3, generator=torch.Generator().manual_seed(seed))
    return noise + torch.tensor([1.0, 2, 3])


def gradient_of(point, rows):
    """The gradient of the loss by the index of rows."""
    return by_autograd(lambda index: point.loss(rows[index]))
