"""The loss of several columns together against its parts, and categories against cross-entropy."""

import copy

import numpy as np
import pytest
import torch
from networks import make_rng
from torch.nn.functional import cross_entropy

from skae._graph.graph import Graph
from skae._graph.numpy_runtime import OPERATIONS
from skae._losses.mixed import (
    CategoricalLoss,
    LossPart,
    MixedLoss,
    describe_loss,
    feature_of_columns,
    loss_from,
)
from skae._losses.reconstruction import LOSSES

SHARES = torch.tensor([0.2, 0.5, 0.3, 0.6, 0.1, 0.3], dtype=torch.float64)  # of two features
PARTS = (
    LossPart(LOSSES["squared_error"], (1.0, 1.0)),
    LossPart(LOSSES["absolute_error"], (1.0,)),
    LossPart(LOSSES["log_loss"], (0.5,)),
    LossPart(LOSSES["poisson"], (2.0,)),
    LossPart(CategoricalLoss(3, 2), tuple(SHARES.sqrt().tolist())),
)


@pytest.fixture
def loss():
    return MixedLoss(PARTS)


@pytest.fixture
def raw(global_random_seed):
    return torch.randn(5, 11, dtype=torch.float64, generator=make_rng(global_random_seed))


@pytest.fixture
def x(global_random_seed):
    """Five rows in the units of the loss: numbers, shares, counts and two categories."""
    rng = np.random.RandomState(global_random_seed)
    categories = np.eye(3)[rng.randint(3, size=(5, 2))].reshape(5, 6)
    numbers = np.c_[rng.normal(size=(5, 3)), rng.uniform(size=5), rng.poisson(3, size=5)]
    units = torch.cat([torch.tensor(part.units, dtype=torch.float64) for part in PARTS])
    return torch.from_numpy(np.c_[numbers, categories]) / units


def one_hot(x):
    return (x[:, 5:] * SHARES.sqrt()).unflatten(1, (2, 3))


def test_the_loss_of_categories_is_the_cross_entropy(loss, raw, x):
    logits = raw[:, 5:].reshape(-1, 3)
    expected = cross_entropy(logits, one_hot(x).argmax(2).flatten(), reduction="none")
    found = loss.pointwise(raw, x)[:, 5:].unflatten(1, (2, 3)).sum(2) / 2
    torch.testing.assert_close(found.flatten(), expected)


def test_the_loss_is_that_of_each_column_in_its_units(loss, raw, x):
    found = loss.pointwise(raw, x)
    for column, (name, unit, weight) in enumerate(
        [
            ("squared_error", 1, 1),
            ("squared_error", 1, 1),
            ("absolute_error", 1, 2),
            ("log_loss", 0.5, 2),
            ("poisson", 2, 2),
        ]
    ):
        part = slice(column, column + 1)
        expected = weight * LOSSES[name].pointwise(raw[:, part], unit * x[:, part])
        torch.testing.assert_close(found[:, part], expected)


def test_the_gradient_is_the_derivative(loss, raw, x):
    raw = raw.requires_grad_()
    (expected,) = torch.autograd.grad(loss.loss(raw, x).sum(), raw)
    torch.testing.assert_close(loss.gradient(raw, x), expected)


def test_the_curvature_of_categories_bounds_the_fisher_information(loss, raw, x):
    p = loss.curvature(raw, x)[:, 5:].unflatten(1, (2, 3)) / 2
    fisher = torch.diag_embed(p) - p[..., None] * p[..., None, :]
    excess = torch.linalg.eigvalsh(torch.diag_embed(p) - fisher)
    assert (excess > -1e-12).all()
    torch.testing.assert_close(p.sum(2), torch.ones_like(p[..., 0]))


def test_the_bilinear_terms_give_the_loss_up_to_a_term_of_the_row(raw, x):
    loss = MixedLoss(tuple(part for part in PARTS if part.loss.name != "absolute_error"))
    keep = [0, 1, *range(3, 11)]
    raw, x = raw[:, keep], x[:, keep]
    constant, slope = loss.bilinear_terms(raw)
    difference = loss.loss(raw, x) - (constant + slope * x).sum(1)
    other = raw.roll(1, 0)
    constant, slope = loss.bilinear_terms(other)
    torch.testing.assert_close(loss.loss(other, x) - (constant + slope * x).sum(1), difference)
    assert MixedLoss(PARTS).bilinear_terms(raw.new_zeros(1, 11)) is None


def test_the_mean_of_the_link_is_the_mean(loss, raw, x):
    mean = loss.mean(raw)
    inside = (mean[:, 5:] * SHARES.sqrt() > 1e-3).all(1)
    torch.testing.assert_close(loss.mean(loss.link(mean))[inside], mean[inside])


def test_the_derivative_of_the_link_is_that_of_autograd(loss, raw):
    mean = loss.mean(raw).requires_grad_()
    (expected,) = torch.autograd.grad(loss.link(mean).sum(), mean)
    torch.testing.assert_close(loss.link_derivative(mean), expected)


def test_missing_entries_have_no_loss_and_perfect_rows_no_deviance(loss, raw, x):
    missing = x.clone()
    missing[:, 5:8] = torch.nan
    change = loss.loss(raw, x) - loss.loss(raw, missing)
    torch.testing.assert_close(change, loss.pointwise(raw, x)[:, 5:8].sum(1))
    perfect = 50 * loss.link(x)[:, 5:]
    deviance = CategoricalLoss(3).deviance(perfect, x[:, 5:] * SHARES.sqrt())
    torch.testing.assert_close(deviance, torch.zeros(5, dtype=x.dtype))


def test_samples_have_the_probabilities(global_random_seed):
    loss = MixedLoss((LossPart(CategoricalLoss(3), tuple(SHARES[:3].sqrt().tolist())),))
    raw = torch.tensor([[0.3, -0.7, 1.1]], dtype=torch.float64).expand(20_000, 3)
    samples = loss.sample(raw, torch.tensor(0.0), make_rng(global_random_seed))
    indicators = samples * SHARES[:3].sqrt()
    assert ((indicators == 0) | (indicators - 1).abs().lt(1e-12)).all()
    torch.testing.assert_close(indicators.sum(1), torch.ones(20_000, dtype=torch.float64))
    # Five standard errors.
    torch.testing.assert_close(indicators.mean(0), raw[0].softmax(0), atol=0.018, rtol=0)


@pytest.mark.parametrize(
    "method", ["pointwise", "gradient", "curvature", "mean", "link", "link_derivative"]
)
def test_the_operations_of_a_graph_give_the_same(method, loss, raw, x):
    graph = Graph()
    arguments = ("raw", "x") if method in ("pointwise", "gradient", "curvature") else ("raw",)
    values = {"raw": raw if method == "mean" else loss.mean(raw) if "link" in method else raw}
    values = {"x": x.numpy(), "raw": values["raw"].numpy()}
    output = getattr(loss, f"{method}_graph")(graph, *arguments)
    expected = getattr(loss, method)(*(torch.from_numpy(values[name]) for name in arguments))
    values |= graph.constants
    for node in graph.nodes:
        inputs = (values[name] for name in node.inputs)
        values[node.output] = OPERATIONS[node.operation](*inputs, **node.attributes)
    np.testing.assert_allclose(values[output], expected, rtol=1e-10, atol=1e-12)


def test_a_description_makes_the_same_loss(loss, raw, x):
    again = loss_from(copy.deepcopy(describe_loss(loss)))
    assert torch.equal(again.loss(raw, x), loss.loss(raw, x))
    for name in LOSSES:
        assert loss_from(describe_loss(LOSSES[name])) is LOSSES[name]


@pytest.mark.parametrize(
    "description",
    [[["squared_error", [0.0]]], [[2, [-1.0, 1.0]]], [[2, [1.0]]], [[True, [1.0]]], 0, None],
)
def test_descriptions_without_a_meaning_are_refused(description):
    with pytest.raises(ValueError):
        loss_from(description)


def test_the_columns_of_a_category_are_one_feature(loss):
    assert feature_of_columns(loss).tolist() == [0, 1, 2, 3, 4, 5, 5, 5, 6, 6, 6]
    assert feature_of_columns(LOSSES["poisson"]) is None


def test_rows_outside_the_domain_of_a_part_are_refused(loss, x):
    loss.check(x.numpy())
    x[0, 4] = -1
    with pytest.raises(ValueError, match="poisson"):
        loss.check(x.numpy())
