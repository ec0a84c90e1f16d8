"""The display of components."""

import numpy as np
import pytest
from drawing import close_figures, image, pixel_table  # noqa: F401
from sklearn.decomposition import PCA, KernelPCA

from skae import AutoencoderTransformer, DictionaryDisplay


def test_components_are_images_with_zero_in_the_middle(digits):
    pca = PCA(5).fit(digits)
    display = DictionaryDisplay.from_estimator(pca, image_shape=(8, 8), components=[4, 0, 1])
    assert display.axes_.shape == (2, 2)
    for ax, i in zip(display.axes_.flat, [4, 0, 1], strict=False):
        atom = pca.components_[i]
        np.testing.assert_allclose(image(ax).ravel(), 0.5 + atom / (2 * np.abs(atom).max()))
        assert ax.get_title() == str(i)
    assert not display.axes_[1, 1].axison


def test_components_of_a_table_are_one_image(digits, small):
    table = pixel_table(digits)
    fitted = small(AutoencoderTransformer, 3).fit(table)
    display = DictionaryDisplay.from_estimator(fitted)
    ax = display.axes_[0, 0]
    np.testing.assert_array_equal(image(ax), fitted.components_)
    assert [tick.get_text() for tick in ax.get_xticklabels()] == list(table.columns)
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["0", "1", "2"]
    low, high = ax.images[0].get_clim()
    assert low == -high == -np.abs(fitted.components_).max()


def test_an_estimator_without_components_is_an_error():
    with pytest.raises(TypeError, match=r"must have `components_`, .*got KernelPCA"):
        DictionaryDisplay.from_estimator(KernelPCA().fit(np.eye(3)))
