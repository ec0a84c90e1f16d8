"""What is charged beside the reconstruction."""

import pytest
import torch

from skae._penalties import elastic_net


@pytest.mark.parametrize(
    ("l1_ratio", "expected"),
    [
        (1.0, 0.1 * 7),  # |3| + |-4|
        (0.0, 0.1 * 25 / 2),  # (9 + 16) / 2
        (0.5, 0.1 * (0.5 * 7 + 0.25 * 25)),
    ],
)
def test_the_elastic_net_by_hand(l1_ratio, expected):
    weights = [torch.tensor([[3.0]]), torch.tensor([[-4.0]])]
    assert elastic_net(weights, 0.1, l1_ratio).item() == pytest.approx(expected)
