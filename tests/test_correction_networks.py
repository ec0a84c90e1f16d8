import pytest
import torch

from skae._imputation.correction_networks import (
    CorrectionConfig,
    CorrectionGradient,
    CorrectionNetworks,
    fit_networks,
)
from skae._imputation.masking import N_FOLDS, MaskedCells

IMPUTES_AS_FOR_USERS = True
SHORT = CorrectionConfig(max_width=(32, 32), max_steps=200, check_interval=20)


@pytest.fixture
def rng(global_random_seed):
    return torch.Generator().manual_seed(global_random_seed)


def draw_cells(rng, n, *, signal):
    """Rows of which the second column is masked; with a signal its value is that of the first."""
    filled = torch.randn(N_FOLDS, n, 2, generator=rng)
    filled[..., 1] = 0
    masked = torch.zeros_like(filled)
    masked[..., 1] = 1
    target = torch.zeros_like(filled)
    target[..., 1] = filled[..., 0] if signal else torch.randn(N_FOLDS, n, generator=rng)
    return MaskedCells(torch.arange(n).expand(N_FOLDS, n), filled, masked, target, masked)


def test_the_initial_correction_is_zero(rng):
    networks = CorrectionNetworks(3, 16, rng)
    x = torch.randn(10, 3, generator=rng)
    assert not networks(x, torch.zeros_like(x)).any()


def test_each_network_corrects_its_own_rows_or_shared_rows(rng):
    networks = CorrectionNetworks(3, 16, rng)
    torch.nn.init.normal_(networks.layers[-1].weight, generator=rng)
    x, missing = torch.randn(10, 3, generator=rng), torch.ones(10, 3)
    shared = networks(x, missing)
    assert shared.shape == (N_FOLDS, 10, 3)
    own = networks(x.expand(N_FOLDS, 10, 3), missing.expand(N_FOLDS, 10, 3))
    torch.testing.assert_close(own, shared)
    assert (shared[0] != shared[1]).any()


def test_the_hand_written_gradient_equals_that_of_autograd(rng):
    networks, cells = CorrectionNetworks(2, 16, rng), draw_cells(rng, 30, signal=True)
    torch.nn.init.normal_(networks.layers[-1].weight, generator=rng)
    index = torch.tensor([3, 8, 8, 20])
    residual = networks(cells.filled, cells.missing) - cells.target
    expected = (residual * cells.masked).square().sum((0, 2))[index].mean()
    gradients = torch.autograd.grad(expected, list(networks.parameters()))
    for parameter in networks.parameters():
        parameter.grad = torch.full_like(parameter, torch.nan)
    torch.testing.assert_close(CorrectionGradient(networks, cells)(index), expected)
    for parameter, gradient in zip(networks.parameters(), gradients, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)


def test_a_dependence_between_columns_is_learned(rng):
    training, validation = (draw_cells(rng, n, signal=True) for n in (400, 200))
    networks = fit_networks(training, validation, 400, SHORT, rng)
    with torch.no_grad():
        residual = networks(validation.filled, validation.missing) - validation.target
    assert (
        residual[..., 1].square().mean() < 0.2 * validation.target[..., 1].square().mean()
    ).all()


def test_the_correction_stays_zero_if_training_increases_the_validation_error(rng):
    training = draw_cells(rng, 20, signal=False)
    validation = training._replace(target=-training.target)
    networks = fit_networks(training, validation, 20, SHORT, rng)
    assert not networks(validation.filled, validation.missing).any()
