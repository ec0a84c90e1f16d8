"""Our own dense layers against their definitions."""

import torch
from networks import make_rng
from torch import nn

from skae._nn.custom_layers import LayerScale, SoftClip, TransposedLinear, Whitening


def test_soft_clip_is_the_identity_up_to_its_limit_and_a_logarithm_beyond():
    x = torch.tensor([-1.9, 0.0, 2.0, 3.0, -3.0], dtype=torch.float64)
    log2 = torch.log(torch.tensor(2.0, dtype=torch.float64)).item()
    expected = torch.tensor([-1.9, 0, 2, 2 + log2, -2 - log2], dtype=torch.float64)
    torch.testing.assert_close(SoftClip(2.0)(x), expected)


def test_soft_clip_is_increasing_with_a_continuous_slope():
    x = torch.linspace(-60, 60, 4001, dtype=torch.float64, requires_grad=True)
    slope = torch.autograd.grad(SoftClip(2.0)(x).sum(), x)[0]
    assert (slope > 0).all()
    assert (slope <= 1).all()
    assert slope.diff().abs().max() < 0.05


def test_layer_scale_is_zero_at_first_and_multiplies_each_output(global_random_seed):
    layer, x = LayerScale(2), torch.randn(5, 2, generator=make_rng(global_random_seed))
    assert torch.equal(layer(x), torch.zeros(5, 2))
    with torch.no_grad():
        layer.factor.copy_(torch.tensor([1.0, -2.0]))
    assert torch.equal(layer(x), x * torch.tensor([1.0, -2.0]))


def test_whitening_multiplies_by_its_matrix_and_has_no_parameters(global_random_seed):
    x = torch.randn(5, 3, generator=make_rng(global_random_seed))
    layer = Whitening(torch.arange(6.0).reshape(3, 2))
    torch.testing.assert_close(layer(x), x @ torch.arange(6.0).reshape(3, 2))
    assert not list(layer.parameters())


def test_a_transposed_layer_applies_the_transposed_matrix(global_random_seed):
    layer = nn.Linear(3, 4)
    transposed = TransposedLinear(layer)
    x = torch.randn(5, 4, generator=make_rng(global_random_seed))
    torch.testing.assert_close(transposed(x), x @ layer.weight)
    torch.testing.assert_close(transposed(x[:, :2]), x[:, :2] @ layer.weight[:2])
    assert [name for name, _ in transposed.named_parameters()] == ["bias"]
