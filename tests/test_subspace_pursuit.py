"""Subspace pursuit: units that are known, errors that never increase, and special dictionaries."""

import numpy as np
import pytest
import torch
from networks import make_rng
from torch.nn.functional import normalize

from skae._nn.sparse_activations import TopK
from skae._nn.subspace_pursuit import subspace_pursuit


@pytest.fixture
def known(global_random_seed):
    """A dictionary, rows that are sums of 4 of its units, and their codes."""
    rng = np.random.default_rng(global_random_seed)
    directions = rng.normal(size=(60, 30))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    codes = np.zeros((40, 60))
    for code in codes:
        code[rng.choice(60, 4, replace=False)] = rng.uniform(1, 2, 4)
    return torch.tensor(directions), torch.tensor(codes @ directions), torch.tensor(codes)


def top_k(k, x, directions):
    """The codes of an encoder that projects rows on the directions."""
    return TopK(k, len(directions)).eval()(x @ directions.T)


def squared_errors(code, x, directions):
    return (x - code @ directions).square().sum(1)


def test_it_finds_the_units_of_each_row(known):
    directions, x, codes = known
    initial = top_k(4, x, directions)
    found = subspace_pursuit(initial, x, directions, 4, 10)
    correct = ((found > 0) == (codes > 0)).all(1)
    initially_correct = ((initial > 0) == (codes > 0)).all(1)
    assert correct.double().mean() > 0.9
    assert initially_correct.double().mean() < 0.6
    np.testing.assert_allclose(found[correct], codes[correct], atol=1e-5)


def test_no_step_increases_the_error_of_a_row(global_random_seed):
    rng = make_rng(global_random_seed)
    x, directions = (torch.randn(n, 6, generator=rng, dtype=torch.float64) for n in (300, 60))
    directions = normalize(directions, dim=1)
    code = top_k(4, x, directions) / 4
    for _ in range(4):
        found = subspace_pursuit(code, x, directions, 4, 1)
        before, after = (squared_errors(c, x, directions) for c in (code, found))
        assert (after <= before).all()
        assert (found >= 0).all()
        assert (found > 0).sum(1).max() <= 4
        code = found


def test_with_orthogonal_directions_it_is_a_projection(known):
    _, x, _ = known
    directions = torch.eye(30, dtype=x.dtype)
    found = subspace_pursuit(torch.zeros_like(x), x, directions, 5, 1)
    np.testing.assert_allclose(found, top_k(5, x, directions), rtol=1e-5)


def test_directions_may_be_equal(known):
    directions, x, _ = known
    twice = directions.repeat(2, 1)
    code = torch.zeros(40, 120, dtype=x.dtype)
    found = subspace_pursuit(code, x, twice, 4, 5)
    assert found.isfinite().all()
    assert (squared_errors(found, x, twice) < 0.5 * squared_errors(code, x, twice)).all()


def test_results_do_not_depend_on_the_size_of_blocks(known, monkeypatch):
    directions, x, _ = known
    code = top_k(4, x, directions)
    expected = subspace_pursuit(code, x, directions, 4, 3)
    monkeypatch.setattr("skae._nn.subspace_pursuit.MAX_GATHERED_ENTRIES", 1000)
    np.testing.assert_allclose(subspace_pursuit(code, x, directions, 4, 3), expected, atol=1e-12)


def test_steps_end_when_no_unit_changes(known):
    directions, x, _ = known
    code = top_k(4, x, directions)
    ended = subspace_pursuit(code, x, directions, 4, 10**9)
    np.testing.assert_array_equal(subspace_pursuit(code, x, directions, 4, 100), ended)
