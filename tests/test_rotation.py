"""Ordering codes: moments that add up, and PCA of the codes."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from skae._training.rotation import CodeMoments, align_signs, explained_share, order_codes


@pytest.fixture
def codes():
    mixing = np.array([[3.0, 1.0, 0.0], [0.0, 1.0, 0.5], [0.0, 0.0, 0.2]])
    return np.random.RandomState(0).normal(size=(500, 3)) @ mixing + [1.0, 2.0, 3.0]


def moments_of(codes, charge=20.0, squares=100.0):
    totals = {"charge": charge, "pca_charge": 50.0, "mean_charge": 100.0, "squares": squares}
    return CodeMoments.of(torch.from_numpy(codes), **totals)


def test_blocks_add_up_to_the_whole(codes):
    whole = moments_of(codes)
    parts = [moments_of(part, charge=20 / 4, squares=25.0) for part in np.split(codes, [7, 8, 300])]
    total = parts[0]
    for part in parts[1:]:
        total = total.plus(part)
    np.testing.assert_allclose(total.code_mean, whole.code_mean)
    np.testing.assert_allclose(total.code_scatter, whole.code_scatter)
    assert total.n_samples == 500
    assert total.charge == pytest.approx(whole.charge)
    assert total.squares == pytest.approx(whole.squares)


def test_ordering_is_pca_of_the_codes_up_to_one_factor(codes):
    # All of the variance explained: the factor is one, and what remains is PCA.
    squares = ((codes - codes.mean(axis=0)) ** 2).sum()
    order = order_codes(moments_of(codes, charge=0.0, squares=squares))
    pca = PCA().fit(codes)
    np.testing.assert_allclose(order.explained_variance, pca.explained_variance_)
    np.testing.assert_allclose(order.explained_variance_ratio, pca.explained_variance_ratio_)
    np.testing.assert_allclose(np.abs(order.matrix.T), np.abs(pca.components_), atol=1e-12)


def test_ordered_codes_have_the_variance_that_they_explain(codes):
    moments = moments_of(codes, charge=20.0, squares=700.0)
    order = order_codes(moments)
    ordered = (codes - order.centre) @ order.matrix
    np.testing.assert_allclose(np.cov(ordered.T), np.diag(order.explained_variance), atol=1e-12)
    # 80 % of 700 / 499 are explained.
    assert order.explained_variance.sum() == pytest.approx(0.8 * 700 / 499)
    assert order.explained_variance_ratio.sum() == pytest.approx(moments.score) == 0.8


def test_the_turn_is_a_rotation_times_a_number(codes):
    matrix = order_codes(moments_of(codes)).matrix
    gram = matrix.T @ matrix
    np.testing.assert_allclose(gram, gram[0, 0] * np.eye(3), atol=1e-12)


def test_codes_that_explain_nothing_keep_their_size(codes):
    order = order_codes(moments_of(codes, charge=150.0))
    assert order.explained_variance.sum() == pytest.approx(np.cov(codes.T).trace())
    assert order.explained_variance_ratio.sum() == pytest.approx(-0.5)


def test_constant_codes_are_survived():
    order = order_codes(moments_of(np.ones((5, 2)), charge=0.0, squares=0.0))
    np.testing.assert_array_equal(order.explained_variance, 0)
    assert np.isfinite(order.matrix).all()


def test_signs_make_the_largest_entry_positive():
    directions = np.array([[1.0, -3.0], [-1.0, 0.5], [2.0, 1.0]])
    np.testing.assert_array_equal(align_signs(directions), [-1, -1, 1])


@pytest.mark.parametrize(
    ("charge", "mean_charge", "share"), [(1, 4, 0.75), (4, 4, 0), (0, 0, 1), (1, 0, 0)]
)
def test_the_share_explained(charge, mean_charge, share):
    assert explained_share(charge, mean_charge) == share


def test_moments_in_another_basis_are_those_of_the_changed_codes(codes):
    centre, matrix = np.array([0.5, -1.0, 2.0]), np.random.RandomState(1).normal(size=(3, 3))
    found, expected = (
        moments_of(codes).in_basis(centre, matrix),
        moments_of((codes - centre) @ matrix),
    )
    np.testing.assert_allclose(found.code_mean, expected.code_mean)
    np.testing.assert_allclose(found.code_scatter, expected.code_scatter)
