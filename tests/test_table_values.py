"""Displays of tables: each category is an indicator with the name that scikit-learn gives it."""

import numpy as np
import pandas as pd
import pytest
from drawing import close_figures  # noqa: F401
from frames import as_polars, mixed_frame
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from skae import (
    AutoencoderTransformer,
    BiplotDisplay,
    ExplainedVarianceDisplay,
    LatentTraversalDisplay,
    ReconstructionDisplay,
    make_reconstruction_scorer,
)
from skae._inspection.table_values import numeric_rows

CATEGORIES = ["kind", "town"]


@pytest.fixture
def frame(global_random_seed):
    return mixed_frame(np.random.RandomState(global_random_seed))


def as_objects(frame):
    """The entries as an array, whose columns of categories have to be named."""
    return frame.astype(object).where(frame.notna(), None).to_numpy()


def expected_numbers(frame, categories=CATEGORIES):
    """The rows without missing entries as numbers, by scikit-learn's encoder."""
    frame = frame.dropna()
    encoder = OneHotEncoder(sparse_output=False).fit(frame[categories].astype(str))
    indicators = encoder.transform(frame[categories].astype(str))
    numbers = frame.drop(columns=categories).astype(float)
    return numbers.join(pd.DataFrame(indicators, frame.index, encoder.get_feature_names_out()))


@pytest.mark.parametrize("convert", [lambda frame: frame, as_polars])
def test_rows_are_numbers_and_indicators(frame, convert, small):
    X = convert(frame)
    to_numbers = numeric_rows(small(AutoencoderTransformer, 2, max_iter=1).fit(X), X)
    found = pd.DataFrame(to_numbers(X), frame.index, to_numbers.names)
    expected = expected_numbers(frame)
    assert set(expected) <= set(found)
    columns = found.loc[expected.index, expected.columns]
    np.testing.assert_allclose(columns, expected, rtol=1e-6, atol=1e-6)
    of_kind = found.filter(regex="^kind_")
    np.testing.assert_array_equal(of_kind.isna().all(axis=1), frame["kind"].isna())


@pytest.mark.parametrize("in_pipeline", [False, True])
def test_arrays_have_the_categories_of_the_fit(frame, in_pipeline, small):
    X = as_objects(frame)
    fitted = small(AutoencoderTransformer, 2, max_iter=1, categorical_features=[2, 3]).fit(X)
    fitted = make_pipeline(fitted) if in_pipeline else fitted
    of_frame = small(AutoencoderTransformer, 2, max_iter=1).fit(frame)
    found, expected = numeric_rows(fitted, X), numeric_rows(of_frame, frame)
    np.testing.assert_allclose(found(X), expected(frame))
    without_names = [f"x{j}" for j in range(frame.shape[1])]
    renamed = expected_numbers(frame.set_axis(without_names, axis=1), ["x2", "x3"])
    assert set(renamed) == set(found.names)


def test_loadings_of_a_biplot_are_correlations_with_indicators(frame, small):
    frame = frame.dropna()
    fitted = small(AutoencoderTransformer, 2, max_iter=3).fit(frame)
    codes = pd.DataFrame(fitted.transform(frame), frame.index)
    expected = pd.DataFrame(
        {name: codes.corrwith(column) for name, column in expected_numbers(frame).items()}
    ).T
    found = BiplotDisplay.from_estimator(fitted, frame).to_frame()
    np.testing.assert_allclose(found.loc[expected.index], expected, atol=1e-6)


def test_displays_of_rows_draw_the_table_that_comes_back(frame, small):
    fitted = small(AutoencoderTransformer, 2, max_iter=3).fit(frame)
    to_numbers = numeric_rows(fitted, frame)
    display = ReconstructionDisplay.from_estimator(fitted, frame, n_rows=4)
    np.testing.assert_array_equal(display.original, to_numbers(frame[:4]))
    (restored,) = display.restored.values()
    np.testing.assert_allclose(restored, to_numbers(fitted.reconstruct(frame[:4])))
    traversal = LatentTraversalDisplay.from_estimator(fitted, frame, components=[1], n_steps=3)
    assert list(traversal.feature_names) == list(display.feature_names) == to_numbers.names
    codes = np.tile(fitted.transform(frame).mean(axis=0), (3, 1))
    codes[:, 1] = traversal.values[0]
    expected = to_numbers(fitted.inverse_transform(codes))
    np.testing.assert_allclose(traversal.decoded[0], expected, rtol=1e-5, atol=1e-5)


def test_what_needs_numbers_says_so(frame, small):
    fitted = small(AutoencoderTransformer, 2, max_iter=1).fit(frame)
    with pytest.raises(ValueError, match=r"X must have columns of numbers only.*scoring=None"):
        make_reconstruction_scorer()(fitted, frame)
    with pytest.raises(ValueError, match=r"X must have columns of numbers only.*pass X=None"):
        ExplainedVarianceDisplay.from_estimator(fitted, frame)
    assert ExplainedVarianceDisplay.from_estimator(fitted).pca_line_ is not None
