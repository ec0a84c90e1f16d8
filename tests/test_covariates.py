"""Principal covariates: the linear codes at which supervised training starts."""

import numpy as np
import pytest
from fitting import make_data
from scipy.linalg import orth
from sklearn.linear_model import RidgeCV

from skae import SupervisedAutoencoder
from skae._training.covariates import PENALTIES, principal_covariates
from skae._training.prediction import standardised


@pytest.fixture
def data(digits, global_random_seed):
    y = np.random.RandomState(global_random_seed).randint(3, size=len(digits))
    y = y + (digits[:, 20] > 8)
    estimator = SupervisedAutoencoder(random_state=global_random_seed, early_stopping=False)
    return make_data(estimator, digits, y=y)


def test_without_the_targets_they_are_principal_components(data):
    found = principal_covariates(data, standardised(data), 3, 1.0)
    expected = data.principal_components(3)
    np.testing.assert_allclose(found.encoder, expected.components, atol=1e-9)
    np.testing.assert_allclose(found.pca.components, expected.components, atol=1e-9)
    np.testing.assert_allclose(found.pca.code_std, expected.code_std)
    np.testing.assert_allclose(found.pca.residual_std, expected.residual_std, atol=1e-7)


@pytest.mark.parametrize("mixing", [0.9, 0.3])
def test_the_codes_span_the_leading_eigenvectors_of_the_mixed_gram_matrix(data, digits, mixing):
    X = (digits - digits.mean(axis=0)) / data.moments.rms_std
    Y = standardised(data)
    penalties = PENALTIES * len(X) * np.var(X, axis=0).sum() / X.shape[1]
    predicted = RidgeCV(penalties).fit(X, Y[:, 0]).predict(X)[:, None]
    for y in Y[:, 1:].T:
        predicted = np.column_stack([predicted, RidgeCV(penalties).fit(X, y).predict(X)])
    gram = mixing * X @ X.T / (X**2).sum()
    gram += (1 - mixing) * predicted @ predicted.T / (Y**2).sum()
    expected = np.linalg.eigh(gram)[1][:, -2:]
    codes = X @ principal_covariates(data, Y, 2, mixing).encoder.T
    basis = orth(codes)
    np.testing.assert_allclose(basis @ basis.T, expected @ expected.T, atol=1e-6)


def test_the_decoder_is_that_of_least_squares_and_orthonormal(data, digits):
    X = (digits - digits.mean(axis=0)) / data.moments.rms_std
    start, encoder = principal_covariates(data, standardised(data), 3, 0.5)
    codes = X @ encoder.T
    np.testing.assert_allclose(np.linalg.lstsq(codes, X)[0], start.components, atol=1e-9)
    np.testing.assert_allclose(start.components @ start.components.T, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(codes.std(axis=0), start.code_std)
    residual = X - codes @ start.components
    np.testing.assert_allclose(residual.std(axis=0), start.residual_std, atol=1e-7)
