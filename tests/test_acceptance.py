"""A trained network replaces the initial weights only if held-out rows improve enough."""

import pytest
import torch

from skae._training.acceptance import Acceptance, in_standard_errors, quantile_of_t

STRICT, LENIENT = Acceptance(), Acceptance(1.0, 1.0, (1.0, 0.75, 0.5, 0.25))


@pytest.fixture
def before(global_random_seed):
    """The errors of 50 held-out rows."""
    return 0.5 + torch.rand(50, generator=torch.Generator().manual_seed(global_random_seed))


@pytest.mark.parametrize("acceptance", [STRICT, LENIENT])
def test_an_improvement_of_all_rows_is_accepted_and_no_other(acceptance, before):
    assert acceptance.best_factor(lambda factor: (1 - 0.5 * factor) * before, before) == 1
    assert acceptance.best_factor(lambda factor: before, before) == 0
    assert acceptance.best_factor(lambda factor: (1 + factor) * before, before) == 0
    # One row has no standard error.
    assert acceptance.best_factor(lambda factor: 0 * before[:1], before[:1]) == 0


@pytest.mark.parametrize("acceptance", [STRICT, LENIENT])
def test_neither_a_few_rows_nor_most_rows_alone_are_evidence(acceptance, before):
    few = 1.01 * before
    few[0] = 0
    far_before = before.index_fill(0, torch.tensor([0]), 100.0)
    assert acceptance.best_factor(lambda factor: few, far_before) == 0
    most = 0.5 * before
    most[0] = 1000.0
    assert acceptance.best_factor(lambda factor: most, before) == 0


def test_the_evidence_is_measured_in_standard_errors(before):
    """The same mean gain is evidence with many rows, and none with few."""
    after = before - 0.005 - 0.1 * torch.linspace(-1, 1, 50)
    many_before, many_after = before.repeat(100), after.repeat(100)
    for acceptance in (STRICT, LENIENT):
        assert acceptance.best_factor(lambda factor: after, before) == 0
        assert acceptance.best_factor(lambda factor: many_after, many_before) == 1


def test_a_network_that_overfits_is_shrunk(before):
    """The error is least at half of the network, and larger than PCA's at all of it."""

    def errors(factor):
        return before * (1 + (factor - 0.5) ** 2 - 0.2)

    assert LENIENT.best_factor(errors, before) == 0.5
    assert STRICT.best_factor(errors, before) == 0


@pytest.mark.parametrize("least", [1.0, 0.75, 0.5, 0.25])
def test_factors_below_the_best_one_are_tried_once(least, before):
    tried = []

    def errors(factor):
        tried.append(factor)
        return before * (0.5 + (factor - least) ** 2)

    assert LENIENT.best_factor(errors, before) == least
    assert tried == [factor for factor in LENIENT.factors if factor >= least - 0.25]


def test_a_smaller_factor_is_preferred_if_its_gain_is_more_certain(global_random_seed):
    rng = torch.Generator().manual_seed(global_random_seed)
    before = torch.full((50,), 2.0)
    noise = torch.randn(50, generator=rng)
    noise = (noise - noise.mean()) / noise.std()

    def errors(factor):
        # The mean gain is nearly the same, the standard error is ten times larger.
        return before - 0.2 - 0.01 * factor - (0.8 if factor == 1 else 0.08) * noise

    assert LENIENT.best_factor(errors, before) == 0.75


@pytest.mark.parametrize("n_rows", [2, 3, 5, 50])
def test_chance_is_taken_for_evidence_as_seldom_with_few_rows_as_with_many(
    n_rows, global_random_seed
):
    rng = torch.Generator().manual_seed(global_random_seed)
    gains = torch.randn(4000, n_rows, generator=rng)
    limit = quantile_of_t(1.0, n_rows)
    share = sum(in_standard_errors(gain) > limit for gain in gains) / len(gains)
    assert share == pytest.approx(0.1587, abs=0.03)  # of a normal distribution, above 1
