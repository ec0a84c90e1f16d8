"""Positions that keep neighbours close."""

import numpy as np
import pytest
import torch
from sklearn.manifold import TSNE, trustworthiness

from skae._training.layout import (
    N_NEGATIVES,
    ONE_SIDED_WEIGHT,
    attraction,
    neighbor_layout,
    neighbor_weights,
    repulsion,
)
from skae._training.neighbors import nearest_neighbors


@pytest.fixture
def positions(global_random_seed):
    return torch.randn(
        N_NEGATIVES + 1, 2, generator=torch.Generator().manual_seed(global_random_seed)
    )


def squared_distances(positions):
    return (positions[:, None] - positions).square().sum(2)


def gradient_of(loss, positions):
    positions = positions.clone().requires_grad_()
    return torch.autograd.grad(loss(positions) * len(positions), positions)[0]


def test_attraction_is_the_gradient_of_the_first_term(positions):
    neighbors = torch.stack([torch.arange(len(positions)).roll(i) for i in (1, 2, 5)], 1)

    weights = torch.rand(neighbors.shape)

    def first_term(z):
        return (weights * squared_distances(z).log1p().gather(1, neighbors)).sum(1).mean()

    expected = gradient_of(first_term, positions)
    torch.testing.assert_close(attraction(positions.mT, neighbors, weights).mT, expected)


def test_neighbours_of_each_other_have_larger_weights():
    weights = neighbor_weights(torch.tensor([[1, 2], [0, 2], [1, 3], [2, 1]]))
    expected = torch.ones(4, 2)
    expected[0, 1] = expected[3, 1] = ONE_SIDED_WEIGHT
    torch.testing.assert_close(weights, expected / expected.sum(1, keepdim=True))


def test_repulsion_from_all_rows_is_the_gradient_of_the_second_term(positions, global_random_seed):
    def second_term(z):
        off_diagonal = ~torch.eye(len(z), dtype=torch.bool)
        return (1 / (1 + squared_distances(z)))[off_diagonal].mean().log()

    rng = torch.Generator().manual_seed(global_random_seed)
    expected = gradient_of(second_term, positions)
    torch.testing.assert_close(repulsion(positions.mT, rng).mT, expected)


def test_positions_keep_neighbours_as_those_of_t_sne_do(digits, global_random_seed):
    neighbors = torch.from_numpy(nearest_neighbors(digits, 10, "euclidean", 0))
    rng = torch.Generator().manual_seed(global_random_seed)
    start = torch.randn(len(digits), 2, generator=rng)
    found = neighbor_layout(start, neighbors, 300, rng).numpy()
    expected = TSNE(random_state=global_random_seed).fit_transform(digits)
    kept, kept_by_tsne = (trustworthiness(digits, z, n_neighbors=10) for z in (found, expected))
    assert kept > kept_by_tsne - 0.03
    assert np.isfinite(found).all()
