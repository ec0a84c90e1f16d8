"""Positions of training rows that keep neighbours close: a neighbour embedding.

The loss is that of t-SNE [1]_ with other weights of neighbours, which add up to one for each row:
a neighbour that has the row among its own neighbours has a larger weight. The sum over all pairs of
rows is estimated from random pairs [2]_::

    mean over rows i of the sum over neighbours j of  w_ij log(1 + |z_i - z_j|^2)
      + log of the mean over pairs (i, j) of  1 / (1 + |z_i - z_j|^2)

.. [1] L. van der Maaten and G. Hinton, "Visualizing data using t-SNE", JMLR, 2008.
.. [2] S. Damrich, N. Böhm, F. A. Hamprecht and D. Kobak, "From t-SNE to UMAP with contrastive
   learning", ICLR, 2023.
"""

import torch
from torch import Generator, Tensor

# Random rows that repel each row in an iteration, and that it repels.
N_NEGATIVES = 16
# The weight of a neighbour that does not have the row among its own neighbours, relative to the
# others: it is often of another group.
ONE_SIDED_WEIGHT = 0.3
# At first neighbours attract each other more, so that groups of similar rows find each other.
EXAGGERATION, EXAGGERATED_SHARE = 4.0, 0.25
# Of Adam; the learning rate is in units of the kernel's width, and decreases to zero.
LEARNING_RATE, MOMENTUM, SQUARE_DECAY = 0.5, 0.9, 0.99


def neighbor_layout(start: Tensor, neighbors: Tensor, n_iter: int, rng: Generator) -> Tensor:
    """Minimise the loss over the positions of all rows.

    Parameters
    ----------
    start : Tensor of shape (n_samples, n_components)
        The positions before the first iteration.
    neighbors : Tensor of int, of shape (n_samples, n_neighbors)
        The rows that are the nearest neighbours of each row.
    n_iter : int
        Number of iterations over all rows.
    rng : Generator
        Draws the random pairs; on the host.

    Returns
    -------
    positions : Tensor of shape (n_samples, n_components)
    """
    # Each component is contiguous, with which the operations below take a third of the time.
    positions = start.mT.contiguous()
    weights = neighbor_weights(neighbors)
    mean, square = torch.zeros_like(positions), torch.zeros_like(positions)
    for step in range(n_iter):
        gradient = attraction(positions, neighbors, weights)
        if step < EXAGGERATED_SHARE * n_iter:
            gradient *= EXAGGERATION
        gradient += repulsion(positions, rng)
        mean.lerp_(gradient, 1 - MOMENTUM)
        square.lerp_(gradient.square(), 1 - SQUARE_DECAY)
        size = (square / (1 - SQUARE_DECAY ** (step + 1))).sqrt_().add_(1e-8)
        rate = LEARNING_RATE * (1 - step / n_iter) / (1 - MOMENTUM ** (step + 1))
        positions.addcdiv_(mean, size, value=-rate)
    return positions.mT.contiguous()


def neighbor_weights(neighbors: Tensor) -> Tensor:
    """Weights of neighbours, (n_samples, n_neighbors), with the sum one for each row."""
    rows = torch.arange(len(neighbors), device=neighbors.device)[:, None]
    is_mutual = torch.isin(neighbors * len(neighbors) + rows, rows * len(neighbors) + neighbors)
    weights = torch.where(is_mutual, 1.0, ONE_SIDED_WEIGHT)
    return weights / weights.sum(1, keepdim=True)


def attraction(positions: Tensor, neighbors: Tensor, weights: Tensor) -> Tensor:
    """The gradient of the first term, times the number of rows; (n_components, n_samples)."""
    difference = torch.stack([z[:, None] - z.take(neighbors) for z in positions])
    difference *= 2 * weights / (1 + difference.square().sum(0))
    gradient = difference.sum(2)
    for of_component, pulls in zip(gradient, difference, strict=True):
        of_component.scatter_add_(0, neighbors.reshape(-1), -pulls.reshape(-1))
    return gradient


def repulsion(positions: Tensor, rng: Generator) -> Tensor:
    """The gradient of the second term, times the number of rows, from random pairs.

    In a random order of the rows, each row and those after it are pairs.
    """
    n_samples = positions.shape[1]
    order = torch.randperm(n_samples, generator=rng).to(positions.device)
    shuffled = positions.index_select(1, order)
    gradient, total = torch.zeros_like(shuffled), positions.new_zeros(())
    for distance in range(1, min(N_NEGATIVES, n_samples - 1) + 1):
        difference = shuffled - shuffled.roll(-distance, 1)
        kernel = 1 / (1 + difference.square().sum(0))
        total += kernel.mean()
        difference *= kernel.square()
        gradient += difference.roll(distance, 1) - difference
    return torch.zeros_like(positions).index_copy_(1, order, gradient * (2 / total))
