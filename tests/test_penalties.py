"""What is charged beside the reconstruction."""

import pytest
import torch

from skae._losses.penalties import (
    elastic_net,
    gaussian_kl,
    random_directions,
    squared_jacobian_norm,
)


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


@pytest.fixture
def encoded():
    """A nonlinear map of 7 rows from 5 features to 3 codes, and what it was applied to."""
    generator = torch.Generator().manual_seed(0)
    first, second = (torch.randn(s, generator=generator).double() for s in ((5, 4), (4, 3)))
    x = torch.randn(7, 5, generator=generator).double().requires_grad_()

    def encode(x):
        return (x @ first).tanh() @ second

    return encode, x


def frobenius(encode, x):
    """Row by row from the whole Jacobian."""
    jacobian = torch.autograd.functional.jacobian(encode, x)  # (n, n_components, n, n_features)
    return torch.stack([jacobian[i, :, i].square().sum() for i in range(len(x))])


def test_the_axes_of_the_code_give_the_norm_of_the_jacobian(encoded):
    encode, x = encoded
    norm = squared_jacobian_norm(encode(x), x, torch.eye(3).double())
    torch.testing.assert_close(norm, frobenius(encode, x))


def test_random_directions_estimate_it_without_bias(encoded):
    encode, x = encoded
    code, generator = encode(x), torch.Generator().manual_seed(0)
    draws = torch.cat(
        [squared_jacobian_norm(code, x, random_directions(code, generator)) for _ in range(4000)]
    ).view(4000, 7)
    error = draws.mean(0) - frobenius(encode, x)
    assert (error.abs() < 4 * draws.std(0) / 4000**0.5).all()


def test_for_one_component_and_for_an_isometry_the_estimate_is_exact(encoded):
    encode, x = encoded
    generator = torch.Generator().manual_seed(0)
    for map_ in (lambda x: encode(x)[:, :1], lambda x: x[:, :3]):
        code = map_(x)
        estimate = squared_jacobian_norm(code, x, random_directions(code, generator))
        torch.testing.assert_close(estimate, frobenius(map_, x))


def test_the_norm_has_a_gradient(encoded):
    _, x = encoded
    weight = torch.full((5, 1), 2.0, dtype=torch.float64, requires_grad=True)
    squared_jacobian_norm(x @ weight, x, torch.eye(1).double()).sum().backward()
    # Of 7 rows' |w|^2: 7 * 2 * w.
    torch.testing.assert_close(weight.grad, torch.full_like(weight, 28.0))


def test_the_gaussian_kl_is_that_of_torch():
    generator = torch.Generator().manual_seed(0)
    mean, log_var = (torch.randn(5, 3, generator=generator, dtype=torch.float64) for _ in range(2))
    normal = torch.distributions.Normal
    expected = torch.distributions.kl_divergence(
        normal(mean, (log_var / 2).exp()), normal(torch.zeros_like(mean), 1.0)
    )
    torch.testing.assert_close(gaussian_kl(mean, log_var), expected.sum(1))


def test_the_gaussian_kl_of_the_prior_is_zero():
    torch.testing.assert_close(gaussian_kl(torch.zeros(4, 3), torch.zeros(4, 3)), torch.zeros(4))
