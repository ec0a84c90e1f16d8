"""The display of rows and their reconstructions."""

import numpy as np
import pandas as pd
import pytest
from drawing import area, close_figures, image, labels, pixel_table, pixels  # noqa: F401
from scipy import sparse
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skae import AutoencoderTransformer, ReconstructionDisplay


@pytest.fixture(scope="module")
def fitted(fitted_to_digits):
    return fitted_to_digits(AutoencoderTransformer)


def test_images_are_drawn_with_their_reconstructions_and_differences(fitted, digits):
    pca = PCA(4).fit(digits)
    display = ReconstructionDisplay.from_estimator(
        fitted, digits, n_rows=3, image_shape=(8, 8), baseline=pca
    )
    X = digits[:3]
    reconstructions = [fitted.reconstruct(X), pca.inverse_transform(pca.transform(X))]
    largest = max(np.abs(rows - X).max() for rows in reconstructions)
    original, first, difference, second, _ = display.axes_
    for i in range(3):
        np.testing.assert_allclose(image(original[i]).ravel(), X[i] / 16)
        for row_of_axes, rows in zip((first, second), reconstructions, strict=True):
            expected = np.clip(rows[i] / 16, 0, 1)
            np.testing.assert_allclose(image(row_of_axes[i]).ravel(), expected, atol=1e-12)
        change = reconstructions[0][i] - X[i]
        np.testing.assert_allclose(image(difference[i]).ravel(), 0.5 + change / (2 * largest))
        assert difference[i].get_xlabel() == f"rms {np.sqrt(np.mean(change**2)):.2g}"
    row_labels = [axes[0].get_ylabel() for axes in display.axes_]
    assert row_labels == ["original", "AutoencoderTransformer", "difference", "PCA", "difference"]


def test_the_rendered_file_has_the_pixels_of_the_images(fitted, digits):
    display = ReconstructionDisplay.from_estimator(fitted, digits, n_rows=2, image_shape=(8, 8))
    rendered = pixels(display.figure_)
    for ax, row in zip(display.axes_[0], digits, strict=False):
        inside = area(display.figure_, ax, rendered)
        assert (np.ptp(inside, axis=2) == 0).all()  # grey: the same without colour vision
        at = [((i + 0.5) * np.array(inside.shape[:2]) / 8).astype(int) for i in range(8)]
        centres = np.array([[inside[y[0], x[1], 0] for x in at] for y in at])
        np.testing.assert_allclose(centres.ravel(), row / 16 * 255, atol=2)


def test_rows_of_a_table_are_lines_in_standard_deviations(digits, small):
    X = pixel_table(digits) * [1.0, 1e3, 1e-3, 1.0, 5.0, 1.0]
    pipeline = make_pipeline(StandardScaler(), small(AutoencoderTransformer, 2)).fit(X)
    display = ReconstructionDisplay.from_estimator(pipeline, X, n_rows=2)
    scaler = StandardScaler().fit(X)
    reconstruction = pipeline.inverse_transform(pipeline.transform(X))
    expected = scaler.transform(pd.DataFrame(reconstruction, columns=X.columns))
    standard = scaler.transform(X)
    above, below = display.axes_
    for i in range(2):
        original, other = above[i].lines
        np.testing.assert_allclose(original.get_ydata(), standard[i], atol=1e-9)
        np.testing.assert_allclose(other.get_ydata(), expected[i], atol=1e-9)
        difference = below[i].lines[1]
        np.testing.assert_allclose(difference.get_ydata(), (expected - standard)[i], atol=1e-9)
        assert original.get_linestyle() != other.get_linestyle()
    assert [tick.get_text() for tick in below[0].get_xticklabels()] == list(X.columns)
    assert labels(above[0]) == ["original", "AutoencoderTransformer"]


def test_colour_images_keep_their_channels(global_random_seed):
    X = np.random.RandomState(global_random_seed).uniform(size=(50, 3 * 4 * 5))
    display = ReconstructionDisplay.from_estimator(PCA(2).fit(X), X, image_shape=(3, 4, 5))
    expected = np.moveaxis(X[0].reshape(3, 4, 5), 0, -1)
    low, high = X[:6].min(), X[:6].max()
    np.testing.assert_allclose(image(display.axes_[0, 0]), (expected - low) / (high - low))


@pytest.mark.parametrize("format", ["csr", "csc", "coo", "lil", "dok", "dia", "bsr"])
def test_sparse_rows_of_any_format_are_drawn_as_dense_ones(format, digits, small):
    X = digits[:9]
    fitted = small(AutoencoderTransformer, 2, max_iter=1).fit(X)
    shown = ReconstructionDisplay.from_estimator(fitted, sparse.coo_array(X).asformat(format))
    expected = ReconstructionDisplay.from_estimator(fitted, X)
    np.testing.assert_array_equal(shown.original, expected.original)
    (restored,), (expected_restored,) = shown.restored.values(), expected.restored.values()
    np.testing.assert_allclose(restored, expected_restored)
