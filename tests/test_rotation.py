"""Moments of codes that merge, and the rotation of codes to principal axes."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from skae._training.rotation import (
    CodeMoments,
    UnitActivity,
    explained_share,
    principal_axes,
    sorted_axes,
)


@pytest.fixture
def codes(global_random_seed):
    mixing = np.array([[3.0, 1.0, 0.0], [0.0, 1.0, 0.5], [0.0, 0.0, 0.2]])
    normal = np.random.RandomState(global_random_seed).normal(size=(500, 3))
    return normal @ mixing + [1.0, 2.0, 3.0]


def moments_of(codes, cls=CodeMoments, deviance=20.0, squares=100.0):
    totals = {"deviance": deviance, "pca_deviance": 50.0, "mean_deviance": 100.0}
    return cls.from_codes(torch.from_numpy(codes), squares=squares, **totals)


@pytest.mark.parametrize("cls", [CodeMoments, UnitActivity])
def test_moments_of_blocks_merge_to_those_of_all_rows(codes, cls):
    expected = moments_of(codes, cls)
    blocks = [
        moments_of(block, cls, deviance=5.0, squares=25.0) for block in np.split(codes, [7, 8, 300])
    ]
    merged = blocks[0]
    for block in blocks[1:]:
        merged = merged.merge(block)
    for name, value in merged._asdict().items():
        scale = 1 if "mean_d" not in name and "pca" not in name else len(blocks)
        np.testing.assert_allclose(value, scale * getattr(expected, name), err_msg=name)


def test_principal_axes_are_pca_of_the_codes_up_to_one_factor(codes):
    # All of the variance is explained: the factor is one.
    squares = ((codes - codes.mean(axis=0)) ** 2).sum()
    basis = principal_axes(moments_of(codes, deviance=0.0, squares=squares))
    pca = PCA().fit(codes)
    np.testing.assert_allclose(basis.explained_variance, pca.explained_variance_)
    np.testing.assert_allclose(basis.explained_variance_ratio, pca.explained_variance_ratio_)
    np.testing.assert_allclose(np.abs(basis.matrix.T), np.abs(pca.components_), atol=1e-12)


def test_rotated_codes_have_the_variance_that_they_explain(codes):
    moments = moments_of(codes, squares=700.0)
    basis = principal_axes(moments)
    rotated = (codes - basis.centre) @ basis.matrix
    np.testing.assert_allclose(np.cov(rotated.T), np.diag(basis.explained_variance), atol=1e-12)
    # 80 % of 700 / 499 are explained.
    assert basis.explained_variance.sum() == pytest.approx(0.8 * 700 / 499)
    assert basis.explained_variance_ratio.sum() == pytest.approx(moments.score) == 0.8


def test_the_matrix_is_a_rotation_times_a_number(codes):
    matrix = principal_axes(moments_of(codes)).matrix
    gram = matrix.T @ matrix
    np.testing.assert_allclose(gram, gram[0, 0] * np.eye(3), atol=1e-12)


def test_codes_that_explain_nothing_keep_their_scale(codes):
    basis = principal_axes(moments_of(codes, deviance=150.0))
    assert basis.explained_variance.sum() == pytest.approx(np.cov(codes.T).trace())
    assert basis.explained_variance_ratio.sum() == pytest.approx(-0.5)


def test_constant_codes_have_a_finite_basis():
    basis = principal_axes(moments_of(np.ones((5, 2)), deviance=0.0, squares=0.0))
    np.testing.assert_array_equal(basis.explained_variance, 0)
    assert np.isfinite(basis.matrix).all()


def test_sorted_axes_are_a_permutation_by_explained_variance(codes):
    gains = np.array([0.1, 1.0, 500.0])
    basis = sorted_axes(moments_of(codes), gains)
    order = np.argsort(-codes.var(axis=0) * gains)
    np.testing.assert_array_equal((codes - basis.centre) @ basis.matrix, codes[:, order])
    assert basis.explained_variance_ratio.sum() == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("deviance", "mean_deviance", "share"), [(1, 4, 0.75), (4, 4, 0), (0, 0, 1), (1, 0, 0)]
)
def test_the_explained_share(deviance, mean_deviance, share):
    assert explained_share(deviance, mean_deviance) == share


def test_moments_in_another_basis_are_those_of_the_transformed_codes(codes, global_random_seed):
    rng = np.random.RandomState(global_random_seed + 1)
    centre, matrix = rng.normal(size=3), rng.normal(size=(3, 3))
    found = moments_of(codes).transform(centre, matrix)
    expected = moments_of((codes - centre) @ matrix)
    np.testing.assert_allclose(found.code_mean, expected.code_mean)
    np.testing.assert_allclose(found.code_scatter, expected.code_scatter)


def test_the_explained_share_of_sums_that_overflow_is_finite():
    assert explained_share(np.inf, np.inf) == 0
    assert np.isfinite(explained_share(np.inf, 1e-3))
