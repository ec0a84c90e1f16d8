"""Sparse activations and their penalties against independent formulas."""

import numpy as np
import pytest
import torch
from networks import make_rng
from scipy.special import expit, rel_entr

from skae._nn.sparse_activations import (
    BANDWIDTH,
    KL,
    L1,
    MIN_SHARE,
    BatchTopK,
    JumpReLU,
    Lifetime,
    TopK,
)


@pytest.fixture
def pre_activation(global_random_seed):
    """Pre-activations of 20 units in 50 rows."""
    return torch.randn(50, 20, generator=make_rng(global_random_seed), dtype=torch.float64)


def test_topk_keeps_the_largest_of_each_row(pre_activation):
    code = TopK(3, 20).eval()(pre_activation)
    by_hand = np.where(
        pre_activation >= pre_activation.sort(dim=1).values[:, [-3]], pre_activation, 0
    )
    np.testing.assert_array_equal(code, by_hand.clip(min=0))
    assert (code > 0).sum(1).max() == 3


def test_topk_starts_with_more_active_units(pre_activation):
    activation = TopK(2, 20)
    activation.anneal_steps = 4
    n_active = [(activation(pre_activation.abs()) > 0).sum(1).unique().tolist() for _ in range(6)]
    assert n_active == [[20], [16], [8], [4], [2], [2]]  # 2 * 16^(1 - step / 4), 20 at most


def test_topk_of_negative_pre_activations_is_zero(pre_activation):
    assert torch.equal(TopK(3, 20)(-pre_activation.abs()), torch.zeros_like(pre_activation))


def test_topk_of_all_units_is_a_relu(pre_activation):
    assert torch.equal(TopK(99, 20)(pre_activation), pre_activation.relu())


def test_batch_topk_keeps_k_units_a_row_in_the_mean_of_a_batch(pre_activation):
    code = BatchTopK(3, 20).double()(pre_activation)
    assert (code > 0).sum() == 3 * 50
    assert code[code > 0].min() > pre_activation[code == 0].max()


@pytest.mark.parametrize("cls", [BatchTopK, Lifetime])
def test_rounding_does_not_decide_which_units_are_above_a_threshold(cls, pre_activation):
    activation = cls(4, 20).double().eval()
    activation.threshold.copy_(activation.batch_threshold(pre_activation))
    active = activation(pre_activation) > 0
    for factor in (1 - 1e-6, 1 + 1e-6):
        assert torch.equal(activation(factor * pre_activation) > 0, active)
    assert torch.equal(activation.float()(pre_activation.float()) > 0, active)


def test_batch_topk_of_all_units_is_a_relu(pre_activation):
    activation = BatchTopK(20, 20).double()
    assert torch.equal(activation(pre_activation), pre_activation.relu())
    assert torch.equal(activation.eval()(pre_activation), pre_activation.relu())


def test_batch_topk_uses_a_fixed_threshold_at_inference(pre_activation):
    activation = BatchTopK(3, 20).double()
    activation(pre_activation)
    assert torch.equal(activation.eval()(pre_activation), BatchTopK(3, 20).double()(pre_activation))
    before = activation.threshold.clone()
    activation(5 * pre_activation)
    assert torch.equal(activation.threshold, before)


def test_lifetime_activates_every_unit_in_equally_many_rows(pre_activation):
    pre_activation = pre_activation.abs()  # 50 rows, 20 units, 4 of them a row: 10 rows a unit
    activation = Lifetime(4, 20).double()
    activation.threshold.copy_(activation.batch_threshold(pre_activation))
    code = activation.eval()(pre_activation)
    assert ((code > 0).sum(0) == 10).all()
    for unit, inputs in zip(code.T, pre_activation.T, strict=True):
        assert unit[unit > 0].min() > inputs[unit == 0].max()
    assert torch.equal(code[code > 0], pre_activation[code > 0])


def test_lifetime_varies_the_number_of_rows_between_steps(pre_activation):
    pre_activation = pre_activation.abs()
    activation = Lifetime(16, 20).double()  # 40 rows a unit
    n_active = [(activation(pre_activation) > 0).sum(0).unique().tolist() for _ in range(200)]
    assert {len(counts) for counts in n_active} == {1}  # all units alike
    counts = np.array(n_active).ravel()
    assert (counts.min(), counts.max()) == (40 * MIN_SHARE, 40)
    # As many steps below as above the middle of the range, in logarithms.
    assert np.median(counts) == pytest.approx(40 * MIN_SHARE**0.5, rel=0.1)


def test_lifetime_activates_each_unit_in_at_least_one_row(pre_activation):
    activation = Lifetime(1, 20).double()
    for _ in range(9):
        assert ((activation(pre_activation.abs()[:5]) > 0).sum(0) == 1).all()
    assert activation(pre_activation[:0]).shape == (0, 20)  # a process may have no row of a batch


def test_lifetime_of_all_units_is_a_relu_at_inference(pre_activation):
    activation = Lifetime(20, 20).double()
    activation(pre_activation)
    assert torch.equal(activation.eval()(pre_activation), pre_activation.relu())


def test_the_l1_penalty_is_the_sum_of_the_code(pre_activation):
    activation = L1(3, 20)
    code = activation(pre_activation)
    np.testing.assert_allclose(
        activation.penalty(pre_activation, code), pre_activation.numpy().clip(min=0).sum(1)
    )


def test_the_kl_penalty_is_the_relative_entropy_of_the_mean_activations(pre_activation):
    activation = KL(3, 20)
    rate = expit(pre_activation.numpy()).mean(axis=0)
    expected = (rel_entr(3 / 20, rate) + rel_entr(17 / 20, 1 - rate)).sum()
    np.testing.assert_allclose(
        activation.penalty(pre_activation, activation(pre_activation)), np.full(50, expected)
    )
    at_target = torch.full_like(pre_activation, np.log(3 / 17))  # logistic(log(3 / 17)) = 3 / 20
    np.testing.assert_allclose(activation.penalty(at_target, at_target), 0, atol=1e-12)


def test_jumprelu_is_the_identity_beyond_its_threshold(pre_activation):
    activation = JumpReLU(3, 20).double()
    threshold = float(np.exp(-1))
    code = activation(pre_activation)
    np.testing.assert_array_equal(
        code.detach(), np.where(pre_activation > threshold, pre_activation, 0)
    )
    np.testing.assert_array_equal(
        activation.penalty(pre_activation, code).detach(), (pre_activation > threshold).sum(1)
    )


def test_the_gradient_of_jumprelu_by_its_threshold_is_that_of_the_expectation():
    # The expectation over rows is smooth, so finite differences approximate its derivative. The
    # kernel estimate is exact for a density that is constant over the width of the kernel.
    x = torch.linspace(-2, 4, 60_001, dtype=torch.float64)[:, None]
    activation = JumpReLU(1, 1).double()
    activation.log_threshold.data.fill_(0.0)

    def expected_penalty(log_threshold):
        return float((x > np.exp(log_threshold)).double().mean())

    activation.penalty(x, activation(x)).mean().backward()
    slope = (expected_penalty(0.01) - expected_penalty(-0.01)) / 0.02  # -1/6, the density
    assert activation.log_threshold.grad.item() == pytest.approx(slope, rel=1e-3)

    # For the sum of the code: -threshold times the density.
    activation.log_threshold.grad = None
    activation(x).mean().backward()
    assert activation.log_threshold.grad.item() == pytest.approx(-1 / 6, rel=1e-2)
    assert BANDWIDTH < 2  # a wider kernel would include values below zero, where the code is zero


def test_jumprelu_passes_the_gradient_of_active_units_only(pre_activation):
    x = pre_activation.clone().requires_grad_()
    code = JumpReLU(3, 20).double()(x)
    code.sum().backward()
    np.testing.assert_array_equal(x.grad, (code > 0).double())
