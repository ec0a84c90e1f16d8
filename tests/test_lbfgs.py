import pytest
import torch

from skae._training.lbfgs import minimize_loss, minimize_sum


@pytest.fixture
def quadratic(global_random_seed):
    """A positive definite matrix and the minimum of its quadratic form, (5,)."""
    rng = torch.Generator().manual_seed(global_random_seed)
    root, minimum = torch.randn(6, 5, generator=rng, dtype=torch.float64).tensor_split([5])
    return root @ root.T + torch.eye(5), minimum[0]


def test_the_minimum_of_a_quadratic_function_is_found(quadratic):
    matrix, minimum = quadratic
    # Parameters of two shapes.
    point = [torch.zeros(2, dtype=torch.float64), torch.zeros(3, 1, dtype=torch.float64)]
    for values in point:
        values.requires_grad_()

    def loss():
        difference = torch.cat([values.flatten() for values in point]) - minimum
        return difference @ matrix @ difference

    minimize_loss(loss, point, 100)
    found = torch.cat([values.detach().flatten() for values in point])
    torch.testing.assert_close(found, minimum, rtol=0, atol=1e-4)


def test_iterations_are_limited(quadratic):
    matrix, minimum = quadratic
    losses = []

    def minimized(max_iter):
        point = torch.full_like(minimum, 100.0).requires_grad_()

        def loss():
            losses.append((point - minimum) @ matrix @ (point - minimum))
            return losses[-1]

        minimize_loss(loss, [point], max_iter)
        return loss().item()

    assert minimized(50) < 1e-3 * minimized(1) < 1e-3 * losses[0].item()


def test_the_minimum_of_a_sum_is_found_from_its_terms(quadratic):
    matrix, minimum = quadratic
    point = [torch.zeros(5, dtype=torch.float64, requires_grad=True) for _ in range(2)]

    def losses():
        for row, value in zip(matrix, minimum, strict=True):
            yield (row @ (point[0] - minimum)).square() + (value - row.sum()).square()
        yield (point[1] - minimum).square().sum()  # of one of the parameters, as those before

    minimize_sum(losses, point, 200)
    for found in point:
        torch.testing.assert_close(found.detach(), minimum, rtol=0, atol=1e-3)
