import numpy as np
import pytest
import torch

from skae._imputation.category_probabilities import (
    CategoryModel,
    default_model,
    fit_coefficients,
    packed_size,
)
from skae._imputation.conditional_frequencies import N_BINS, ConditionalFrequencies

IMPUTES_AS_FOR_USERS = True

N, K = 600, 3
SHARES = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)


@pytest.fixture
def rng(global_random_seed):
    return torch.Generator().manual_seed(global_random_seed)


def log_loss(coefficients, predicted, evidence, category):
    edges = torch.zeros(N_BINS - 1)
    none = ConditionalFrequencies(-1, edges, torch.zeros(N_BINS, K, dtype=torch.float64))
    logits = CategoryModel(none, coefficients).logits(predicted, evidence, evidence > 9)
    return torch.nn.functional.cross_entropy(logits, category).item()


def draw(probabilities, rng):
    return torch.multinomial(probabilities, 1, generator=rng)[:, 0]


def test_calibrated_probabilities_keep_those_that_are_right(rng):
    shares = torch.distributions.Dirichlet(3 * SHARES).sample((2 * N,))
    shares = (shares + 0.01) / 1.03
    category = draw(shares, rng)
    none = torch.zeros_like(shares)
    coefficients = fit_coefficients(shares[:N], none[:N], category[:N], SHARES, N)
    ours = log_loss(coefficients, shares[N:], none[N:], category[N:])
    assert ours < log_loss(default_model(K).coefficients, shares[N:], none[N:], category[N:]) + 0.02


def test_predictions_without_information_have_the_log_loss_of_the_frequencies(rng):
    predicted = SHARES + 0.02 * torch.randn(2 * N, K, generator=rng, dtype=torch.float64)
    category = draw(SHARES.expand(2 * N, K), rng)
    none = torch.zeros_like(predicted)
    coefficients = fit_coefficients(predicted[:N], none[:N], category[:N], SHARES, N)
    ours = log_loss(coefficients, predicted[N:], none[N:], category[N:])
    of_frequencies = -SHARES.log()[category[N:]].mean().item()
    assert ours < of_frequencies + 0.02


def test_wrong_predictions_are_corrected_by_the_pairs_of_categories(rng):
    # The first two categories are exchanged.
    category = draw(SHARES.expand(N, K), rng)
    predicted = 0.1 + 0.7 * torch.eye(K, dtype=torch.float64)[category][:, [1, 0, 2]]
    none = torch.zeros_like(predicted)
    coefficients = fit_coefficients(predicted, none, category, SHARES, N)
    assert log_loss(coefficients, predicted, none, category) < 0.3


def test_a_packed_model_is_the_same_model(rng):
    frequencies = ConditionalFrequencies(
        2,
        torch.randn(N_BINS - 1, generator=rng, dtype=torch.float64).sort().values,
        torch.randn(N_BINS, K, generator=rng, dtype=torch.float64),
    )
    coefficients = torch.randn(3 * K + 1, K, generator=rng, dtype=torch.float64)
    model = CategoryModel(frequencies, coefficients)
    packed = model.packed()
    assert packed.shape == (packed_size(K),)
    x = torch.randn(N, 4, generator=rng, dtype=torch.float64)
    missing = torch.rand(N, 4, generator=rng) < 0.2
    predicted = torch.rand(N, K, generator=rng, dtype=torch.float64)
    unpacked = CategoryModel.unpacked(packed, K)
    np.testing.assert_array_equal(
        unpacked.logits(predicted, x, missing), model.logits(predicted, x, missing)
    )


def test_the_default_probabilities_are_the_predicted_indicators(rng):
    predicted = torch.distributions.Dirichlet(3 * SHARES).sample((N,)).clamp_min(0.01)
    predicted = predicted / predicted.sum(1, keepdim=True)
    x = torch.zeros(N, 1, dtype=torch.float64)
    probabilities = default_model(K).logits(predicted, x, x > 0).softmax(1)
    torch.testing.assert_close(probabilities, predicted)
