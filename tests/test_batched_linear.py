"""Batched layers equal the separate layers, and their weights have the given sizes."""

import pytest
import torch
from networks import make_rng

from skae._nn.batched_linear import FEW_OUTPUTS, BatchedLinear


def test_each_network_has_its_own_rows_and_weights(global_random_seed):
    rng = make_rng(global_random_seed)
    layer, x = BatchedLinear(3, 4, 2, rng, bias_std=1.0), torch.randn(3, 7, 4, generator=rng)
    expected = torch.stack([x[i] @ layer.weight[i] + layer.bias[i] for i in range(3)])
    torch.testing.assert_close(layer(x), expected)


def test_gain_is_the_ratio_of_output_to_input_size(global_random_seed):
    rng = make_rng(global_random_seed)
    layer = BatchedLinear(2, 200, 300, rng, gain=3.0, bias_std=0.5)
    output = layer(torch.randn(2, 100, 200, generator=rng)) - layer.bias
    assert output.std().item() == pytest.approx(3.0, rel=0.05)
    assert layer.bias.std().item() == pytest.approx(0.5, rel=0.2)


def test_without_bias_std_biases_are_zero():
    assert not BatchedLinear(2, 3, 4, make_rng()).bias.any()


@pytest.mark.parametrize("n_out", [2, FEW_OUTPUTS])
def test_hand_written_gradients_equal_those_of_autograd(n_out, global_random_seed):
    rng = make_rng(global_random_seed)
    layer, x = BatchedLinear(3, 4, n_out, rng, bias_std=1.0), torch.randn(3, 7, 4, generator=rng)
    y = layer(x.requires_grad_())
    gradient = torch.randn(y.shape, generator=rng)
    expected = torch.autograd.grad(y, [x, layer.weight, layer.bias], gradient)
    with torch.no_grad():
        torch.testing.assert_close(layer.forward_to_few(x), y)
        torch.testing.assert_close(layer.input_gradient(gradient), expected[0])
        for parameter in layer.parameters():
            parameter.grad = torch.full_like(parameter, torch.nan)
        layer.write_parameter_gradients(x, gradient)
    torch.testing.assert_close((layer.weight.grad, layer.bias.grad), expected[1:])
