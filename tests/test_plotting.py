"""Helpers that the displays share."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from drawing import close_figures, image  # noqa: F401
from sklearn.decomposition import PCA

from skae import (
    AutoencoderTransformer,
    DictionaryDisplay,
    LatentTraversalDisplay,
    ReconstructionDisplay,
)
from skae._inspection.plotting import choose_components, mean_and_std, symmetric_limits


def test_the_image_shape_of_the_estimator_is_used(digits, small):
    fitted = small(
        AutoencoderTransformer, 2, image_shape=(8, 8), hidden_layer_sizes=(4,), max_iter=2
    ).fit(digits)
    displays = (
        ReconstructionDisplay.from_estimator(fitted, digits),
        DictionaryDisplay.from_estimator(fitted),
        LatentTraversalDisplay.from_estimator(fitted, digits),
    )
    assert {image(display.axes_[0, 0]).shape for display in displays} == {(8, 8)}


def test_an_image_shape_that_does_not_fit_is_an_error(digits):
    pca = PCA(2).fit(digits)
    with pytest.raises(ValueError, match="`image_shape` must have n_features = 64 pixels"):
        DictionaryDisplay.from_estimator(pca, image_shape=(8, 9))
    with pytest.raises(ValueError, match="with 1 or 3 channels"):
        DictionaryDisplay.from_estimator(pca, image_shape=(2, 8, 4))


def test_a_grid_replaces_only_axes_that_are_part_of_a_grid(digits):
    free = plt.figure().add_axes((0, 0, 1, 1))
    with pytest.raises(ValueError, match="`ax` must be part of a grid of subplots"):
        DictionaryDisplay.from_estimator(PCA(2).fit(digits), image_shape=(8, 8), ax=free)


def test_the_first_components_are_chosen_by_default():
    assert choose_components(None, 3, 5) == [0, 1, 2]
    assert choose_components(None, 9, 5) == [0, 1, 2, 3, 4]
    assert choose_components((8, 0), 9, 5) == [8, 0]


@pytest.mark.parametrize("components", [[], [9], [-1]])
def test_components_that_do_not_exist_are_an_error(components):
    with pytest.raises(ValueError, match="`components` must be among the 9 components"):
        choose_components(components, 9, 5)


def test_limits_and_units_have_no_zero_width():
    assert symmetric_limits(np.array([-3.0, 1.0, np.nan])) == (-3, 3)
    assert symmetric_limits(np.zeros(3)) == (-1, 1)
    mean, std = mean_and_std(np.array([[1.0, 2.0], [3.0, 2.0], [np.nan, 2.0]]))
    np.testing.assert_array_equal(mean, [2, 2])
    np.testing.assert_array_equal(std, [1, 1])


def test_rows_and_columns_without_observed_entries_are_drawn(digits, small):
    X = digits[:30, 16:32].copy()
    X[:, 3] = X[1] = np.nan
    mean, std = mean_and_std(X)
    assert (mean[3], std[3]) == (0, 1)
    fitted = small(AutoencoderTransformer, 2, max_iter=2).fit(X)
    for rows in (X[:2], X[1:2]):
        for display in (ReconstructionDisplay, LatentTraversalDisplay):
            for shape in (None, (4, 4)):
                display.from_estimator(fitted, rows, image_shape=shape)
