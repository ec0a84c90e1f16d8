"""What is charged beside the reconstruction."""

from collections.abc import Iterable

import torch
from torch import Tensor


def elastic_net(weights: Iterable[Tensor], alpha: float, l1_ratio: float) -> Tensor:
    """alpha * (l1_ratio * |W|_1 + (1 - l1_ratio) / 2 * |W|_2^2), as in `ElasticNet`; one number."""
    l1 = torch.stack([w.abs().sum() for w in weights]).sum()
    l2 = torch.stack([w.square().sum() for w in weights]).sum()
    return alpha * (l1_ratio * l1 + (1 - l1_ratio) / 2 * l2)
