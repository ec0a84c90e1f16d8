"""The display of rows decoded while one component changes."""

import matplotlib as mpl
import numpy as np
import pytest
from drawing import LIGHTNESS, close_figures, image, labels, pixel_table  # noqa: F401

from skae import VAE, AutoencoderTransformer, LatentTraversalDisplay


@pytest.fixture(scope="module")
def fitted(fitted_to_digits):
    return fitted_to_digits(AutoencoderTransformer)


def test_the_mean_code_is_decoded_while_one_component_changes(fitted, digits):
    display = LatentTraversalDisplay.from_estimator(
        fitted, digits, components=[3, 0], n_steps=5, spread=0.5, image_shape=(8, 8)
    )
    codes = fitted.transform(digits)
    expected = np.tile(codes.mean(0), (5, 1))
    expected[:, 3] = codes[:, 3].mean() + np.linspace(-0.5, 0.5, 5) * codes[:, 3].std()
    np.testing.assert_allclose(display.values[0], expected[:, 3], atol=1e-9)
    np.testing.assert_allclose(display.decoded[0], fitted.inverse_transform(expected))
    # The middle of each traversal is the mean code.
    np.testing.assert_allclose(display.decoded[0, 2], display.decoded[1, 2], atol=1e-9)


def test_images_are_drawn_in_one_scale(fitted, digits):
    display = LatentTraversalDisplay.from_estimator(
        fitted, digits, components=[3, 0], n_steps=5, image_shape=(8, 8)
    )
    low, high = display.decoded.min(), display.decoded.max()
    drawn = image(display.axes_[0, 4]).ravel()
    np.testing.assert_allclose(drawn, (display.decoded[0, 4] - low) / (high - low))
    assert display.axes_[0, 0].get_title() == f"{display.values[0, 0]:.2g}"


def test_values_stay_within_the_range_of_the_codes(fitted, digits):
    display = LatentTraversalDisplay.from_estimator(fitted, digits, spread=100)
    codes = fitted.transform(digits)
    np.testing.assert_allclose(display.values[:, 0], codes.min(0))
    np.testing.assert_allclose(display.values[:, -1], codes.max(0))


def test_rows_of_a_table_are_lines_from_dark_to_light(digits, small):
    table = pixel_table(digits)
    fitted = small(VAE, 2).fit(table)
    display = LatentTraversalDisplay.from_estimator(fitted, table)
    for ax, rows in zip(display.axes_[:, 0], display.decoded, strict=True):
        standard = (rows - table.mean().to_numpy()) / table.std(ddof=0).to_numpy()
        np.testing.assert_allclose([line.get_ydata() for line in ax.lines], standard)
        colours = mpl.colors.to_rgba_array([line.get_color() for line in ax.lines])
        assert (np.diff(colours[:, :3] @ LIGHTNESS) > 0).all()
        assert len(labels(ax)) == 3


def test_components_that_do_not_exist_are_an_error(fitted, digits):
    with pytest.raises(ValueError, match="`components` must be among the 4 components"):
        LatentTraversalDisplay.from_estimator(fitted, digits, components=[4])
