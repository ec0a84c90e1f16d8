"""The display of explained variance."""

import numpy as np
import pandas as pd
import pytest
from drawing import close_figures  # noqa: F401

from skae import AutoencoderTransformer, ExplainedVarianceDisplay, SparseAutoencoder


@pytest.fixture(scope="module")
def fitted(fitted_to_digits):
    return fitted_to_digits(AutoencoderTransformer)


def test_the_curves_end_at_the_scores(fitted, digits):
    display = ExplainedVarianceDisplay.from_estimator(fitted, digits)
    own, pca = display.line_.get_ydata(), display.pca_line_.get_ydata()
    assert own[-1] == pytest.approx(fitted.score(digits))
    assert pca[-1] == pytest.approx(fitted.pca_score_)
    np.testing.assert_array_equal(display.line_.get_xdata(), [1, 2, 3, 4])
    assert display.line_.get_marker() != display.pca_line_.get_marker()


def test_pca_is_a_level_without_the_rows(fitted):
    level = ExplainedVarianceDisplay.from_estimator(fitted).pca_line_
    assert set(level.get_ydata()) == {fitted.pca_score_}


def test_ticks_are_whole_numbers_of_components(fitted):
    display = ExplainedVarianceDisplay.from_estimator(fitted)
    ticks = display.ax_.get_xticks()
    np.testing.assert_array_equal(ticks, np.round(ticks))


def test_pca_has_fewer_components_than_wide_codes(digits, small):
    X = digits[:, 20:24]
    display = ExplainedVarianceDisplay.from_estimator(small(SparseAutoencoder, 9).fit(X), X)
    assert len(display.line_.get_ydata()) == 9
    np.testing.assert_allclose(display.pca_line_.get_ydata()[-1], 1)
    np.testing.assert_array_equal(display.pca_line_.get_xdata(), [1, 2, 3, 4])


@pytest.mark.parametrize(
    ("X", "message"),
    [
        ([[np.nan, 0.0], [1.0, 2.0]], "^X must not have missing values"),
        ([[0.0, 1.0]], "^X must have at least two rows"),
        (np.ones((3, 2)), "^X must have a variance that is finite and not zero"),
        (np.diag([1e200, 1.0]), "^X must have a variance that is finite and not zero"),
        (pd.DataFrame({"a": ["u", "v"]}), "^X must have columns of numbers only"),
    ],
)
def test_rows_that_pca_does_not_take_are_explained(fitted, X, message):
    with pytest.raises(ValueError, match=message):
        ExplainedVarianceDisplay.from_estimator(fitted, X)
