"""Probabilities of categories, from predictions of their indicators by least squares."""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

# Predicted indicators below this number have the same logarithm.
SMALLEST_SHARE = 3e-3
# Penalties of the logistic regression, for rows with a weight of one. Of 1, 3 and 10 for each pair
# of categories, over nine tables, 10 had the lowest log loss if columns have many categories, and 3
# if they have few; the difference was up to 2 %.
PENALTY_OF_ALL, PENALTY_OF_PAIRS = 1.0, 6.0
MAX_ITER = 60


def logits(predicted: Tensor, coefficients: Tensor) -> Tensor:
    """Linear functions of predicted indicators and of their logarithms, (n, n_categories).

    `coefficients` is of shape (2 * n_categories + 1, n_categories).
    """
    features = torch.cat([_log(predicted), predicted], 1)
    return features @ coefficients[:-1] + coefficients[-1]


def default_coefficients(n_categories: int) -> Tensor:
    """Those with which probabilities are proportional to the predicted indicators."""
    coefficients = torch.zeros(2 * n_categories + 1, n_categories, dtype=torch.float64)
    coefficients[:n_categories] = torch.eye(n_categories)
    return coefficients


def fit_coefficients(
    predicted: Tensor, category: Tensor, shares: Tensor, n_distinct: int
) -> Tensor:
    """Logistic regression of out-of-fold predictions, (n, n_categories), of observed categories.

    Its coefficients are shrunk to a form with three numbers: multiples of the logarithm of the
    predicted indicator, of the logarithm of the frequency, and of the predicted indicator. The rows
    are `n_distinct` rows, some of them several times.
    """
    n_categories = len(shares)
    if len(predicted) == 0 or n_categories == 1:
        return default_coefficients(n_categories)
    weight = min(1.0, n_distinct / len(predicted))
    identity = torch.eye(n_categories, dtype=torch.float64)
    mean, root = predicted.mean(0), shares.sqrt()[:, None]

    def expand(common: Tensor, pairs: Tensor) -> Tensor:
        of_logarithms = common[0] * identity + pairs[0]
        of_shares = pairs[1] / root
        bias = common[1] * shares.log() - mean @ of_shares
        return torch.cat([of_logarithms, common[2] * identity + of_shares, bias[None]])

    common = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64, requires_grad=True)
    pairs = torch.zeros(2, n_categories, n_categories, dtype=torch.float64, requires_grad=True)
    start = common.detach().clone()
    optimizer = torch.optim.LBFGS([common, pairs], max_iter=MAX_ITER, line_search_fn="strong_wolfe")

    def penalized_loss() -> Tensor:
        optimizer.zero_grad()
        loss = cross_entropy(logits(predicted, expand(common, pairs)), category)
        penalty = PENALTY_OF_ALL * (common - start).square().sum()
        penalty = penalty + PENALTY_OF_PAIRS * pairs.square().sum()
        total = weight * loss + penalty / len(predicted)
        total.backward()
        return total

    optimizer.step(penalized_loss)
    return expand(common, pairs).detach()


def _log(predicted: Tensor) -> Tensor:
    return predicted.clamp_min(SMALLEST_SHARE).log()
