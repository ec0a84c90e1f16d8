"""Attributes and methods of PCA: equal to those of PCA if the autoencoder is linear."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import AUTOENCODERS
from sklearn import config_context
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from skae import AutoencoderTransformer
from skae.base import LOSSES

PAGE = Path(__file__).parents[1] / "docs" / "guide" / "replacing_pca.md"
LIKE_PCA = [cls for cls in AUTOENCODERS if hasattr(cls, "get_covariance")]
OTHER_LOSSES = sorted(LOSSES.keys() - {"squared_error"})


@pytest.fixture(params=LIKE_PCA, ids=lambda cls: cls.__name__)
def like_pca(request):
    """Each class with the attributes of PCA."""
    return request.param


@pytest.fixture
def rows(global_random_seed):
    """Rows near a parabola, (200, 5)."""
    rng = np.random.RandomState(global_random_seed)
    t = rng.normal(size=(200, 2))
    return np.c_[t, t**2, t[:, :1] * t[:, 1:]] + 0.1 * rng.normal(size=(200, 5))


@pytest.mark.parametrize("whiten", [False, True])
@pytest.mark.parametrize(("n_rows", "n_components"), [(300, 1), (300, 7), (300, 64), (40, 7)])
def test_a_linear_autoencoder_equals_pca(digits, n_rows, n_components, whiten):
    X = digits[:n_rows]
    linear = AutoencoderTransformer(n_components, hidden_layer_sizes=(), whiten=whiten).fit(X)
    pca = PCA(n_components).fit(X)
    assert linear.n_samples_ == pca.n_samples_
    # Those of constant columns are roots of sums of squares with rounding errors.
    rounding = np.sqrt(np.finfo(float).eps) * pca.singular_values_[0]
    np.testing.assert_allclose(linear.singular_values_, pca.singular_values_, atol=rounding)
    assert linear.noise_variance_ == pytest.approx(pca.noise_variance_)
    np.testing.assert_allclose(linear.get_covariance(), pca.get_covariance(), atol=1e-9)
    if pca.noise_variance_:
        np.testing.assert_allclose(linear.get_precision(), pca.get_precision(), atol=1e-9)


def test_the_model_has_the_variance_that_the_code_explains_and_that_it_leaves_out(
    like_pca, rows, small
):
    fitted = small(like_pca, 2).fit(rows)
    explained = (fitted.singular_values_**2).sum() / (fitted.n_samples_ - 1)
    total = np.var(rows, axis=0, ddof=1).sum()
    assert explained + 3 * fitted.noise_variance_ == pytest.approx(total)


def test_the_covariance_is_that_of_decoded_normal_codes_and_noise(
    like_pca, rows, small, global_random_seed
):
    fitted = small(like_pca, 2, max_iter=20).fit(rows)
    rng = np.random.RandomState(global_random_seed)
    signal = np.sqrt((fitted.explained_variance_ - fitted.noise_variance_).clip(min=0))
    X = fitted.inverse_transform(signal * rng.normal(size=(50_000, 2)))
    X += np.sqrt(fitted.noise_variance_) * rng.normal(size=X.shape)
    covariance = fitted.get_covariance()
    error = np.linalg.norm(np.cov(X.T) - covariance)
    assert error < 0.1 * np.linalg.norm(covariance)  # random, of 8192 codes
    np.testing.assert_array_equal(covariance, fitted.get_covariance())
    np.testing.assert_allclose(covariance @ fitted.get_precision(), np.eye(5), atol=1e-9)


def test_the_model_does_not_depend_on_whitening(like_pca, rows, small):
    plain, whitened = (small(like_pca, 2, whiten=whiten).fit(rows) for whiten in (False, True))
    assert whitened.noise_variance_ == pytest.approx(plain.noise_variance_)
    np.testing.assert_allclose(whitened.singular_values_, plain.singular_values_)
    np.testing.assert_allclose(whitened.get_covariance(), plain.get_covariance(), atol=1e-9)


def test_a_covariance_without_an_inverse_is_explained(like_pca, small):
    fitted = small(like_pca, 1, max_iter=1).fit(np.ones((9, 3)))
    with pytest.raises(np.linalg.LinAlgError, match="`noise_variance_` is 0: use fewer"):
        fitted.get_precision()


def test_the_attributes_of_tensors_are_tensors(like_pca, rows, small, monkeypatch):
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")
    expected = small(like_pca, 2, max_iter=2).fit(rows)
    with config_context(array_api_dispatch=True):
        fitted = small(like_pca, 2, max_iter=2).fit(torch.from_numpy(rows))
        found = [fitted.singular_values_, fitted.get_covariance(), fitted.get_precision()]
    assert [type(value) for value in found] == 3 * [torch.Tensor]
    np.testing.assert_array_equal(found[1].numpy(), expected.get_covariance())


def test_partial_fit_counts_all_rows(like_pca, rows, small):
    fitted = small(like_pca, 2).partial_fit(rows).partial_fit(rows)
    assert fitted.n_samples_ == 400
    expected = np.sqrt(399 * fitted.explained_variance_)
    np.testing.assert_allclose(fitted.singular_values_, expected)


@pytest.mark.parametrize("loss", OTHER_LOSSES)
def test_other_losses_have_no_normal_noise(like_pca, loss, small):
    fitted = small(like_pca, 2, loss=loss, max_iter=1).fit(np.eye(4).repeat(5, axis=0))
    assert fitted.singular_values_.shape == (2,)
    fitted.set_params(loss="squared_error")  # of a later fit
    for estimator in (fitted, like_pca(loss=loss)):
        for name in ("noise_variance_", "get_covariance", "get_precision", "log_likelihood"):
            assert not hasattr(estimator, name)
    with pytest.raises(AttributeError, match="defined for loss='squared_error' only"):
        fitted.noise_variance_  # noqa: B018


def test_what_is_not_fitted_has_no_attributes(like_pca):
    estimator = like_pca()
    for name in ("singular_values_", "noise_variance_", "n_samples_"):
        assert not hasattr(estimator, name)
    for method in (estimator.get_covariance, estimator.get_precision):
        with pytest.raises(NotFittedError):
            method()
    with pytest.raises(NotFittedError):
        check_is_fitted(estimator, "singular_values_")


def test_a_page_has_every_public_name_of_pca(digits):
    _, _, rest = PAGE.read_text(encoding="utf-8").partition("## Attributes, methods and parameters")
    table = re.findall(r"^\| (`.*?) \| (.*) \|$", rest, re.MULTILINE)
    answers = {name: answer for cell, answer in table for name in re.findall(r"`(\w+)`", cell)}
    X = pd.DataFrame(digits).rename(columns=str)
    fitted = AutoencoderTransformer(2, hidden_layer_sizes=()).fit(X)
    names = {name for name in dir(PCA(2).fit(X)) if not name.startswith("_")}
    assert names <= answers.keys()
    for name in answers:
        exists = not answers[name].startswith(("does not exist", "do not exist"))
        assert hasattr(fitted, name) == exists, name
    same = {name for name, answer in answers.items() if answer.startswith("the same")}
    assert {name for name in names if name.endswith("_")} <= same


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_exact_reconstructions_have_no_noise(dtype, small, global_random_seed):
    rng = np.random.RandomState(global_random_seed)
    plane = rng.randint(-9, 9, size=(40, 2)) @ rng.randint(-9, 9, size=(2, 5))
    for X in (rng.normal(size=(2, 4)), plane):
        fitted = small(AutoencoderTransformer, len(X) // 40 + 1, max_iter=1).fit(X.astype(dtype))
        assert fitted.noise_variance_ == 0
        with pytest.raises(ValueError, match="`log_likelihood` is not defined without noise"):
            fitted.log_likelihood(X)
