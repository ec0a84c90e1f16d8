"""The display of rows at two of their codes."""

import numpy as np
import pytest
from drawing import LIGHTNESS, close_figures, labels  # noqa: F401
from sklearn.exceptions import NotFittedError
from sklearn.manifold import TSNE

from skae import AutoencoderTransformer, LatentSpaceDisplay


@pytest.fixture(scope="module")
def fitted(digits, small):
    return small(AutoencoderTransformer, 4).fit(digits)


def n_markers(display):
    return len({points.get_paths()[0].vertices.tobytes() for points in display.points_})


def test_each_class_is_drawn_at_its_codes_with_its_own_marker(fitted, digits):
    y = np.arange(len(digits)) % 3
    names = np.array(["none", "one", "two"])[y]
    display = LatentSpaceDisplay.from_estimator(fitted, digits, names, components=(2, 1))
    codes = fitted.transform(digits)
    for i, points in enumerate(display.points_):
        np.testing.assert_array_equal(points.get_offsets(), codes[y == i][:, [2, 1]])
    assert labels(display.ax_) == ["none", "one", "two"]
    assert n_markers(display) == 3
    assert display.ax_.get_xlabel() == "component 2"


def test_classes_of_one_character_are_their_own_markers(fitted, digits):
    display = LatentSpaceDisplay.from_estimator(fitted, digits, np.arange(len(digits)) % 10)
    assert [points.get_label() for points in display.points_] == list("0123456789")
    assert display.ax_.get_legend() is None
    assert n_markers(display) == 10


@pytest.mark.parametrize("y", [np.linspace(0, 1, 300), np.arange(300)])
def test_numbers_are_drawn_from_dark_to_light(fitted, digits, y):
    display = LatentSpaceDisplay.from_estimator(fitted, digits, y)
    (points,) = display.points_
    np.testing.assert_array_equal(points.get_array(), y)
    assert len(display.figure_.axes) == 2  # the second is the colour bar
    shades = points.get_cmap()(np.linspace(0, 1, 20))[:, :3] @ LIGHTNESS
    assert (np.diff(shades) > 0).all()


def test_codes_without_y_are_drawn_together(fitted, digits):
    (points,) = LatentSpaceDisplay.from_estimator(fitted, digits).points_
    assert len(points.get_offsets()) == len(digits)


def test_wrong_arguments_are_named(fitted, digits):
    with pytest.raises(ValueError, match="`components` must be two of the 4 components"):
        LatentSpaceDisplay.from_estimator(fitted, digits, components=(0, 4))
    with pytest.raises(ValueError, match="`y` must have one entry for each of the 300 rows"):
        LatentSpaceDisplay.from_estimator(fitted, digits, [1, 2])


def test_an_embedding_without_transform_is_drawn(digits):
    tsne = TSNE(perplexity=5, init="random", max_iter=250, random_state=0).fit(digits[:30])
    display = LatentSpaceDisplay.from_estimator(tsne, digits[:30], np.arange(30) % 2)
    drawn = np.concatenate([points.get_offsets() for points in display.points_])
    np.testing.assert_array_equal(drawn, tsne.embedding_[np.r_[0:30:2, 1:30:2]])
    with pytest.raises(ValueError, match=r"`X` must be the 30 rows .* a TSNE cannot .* got 31"):
        LatentSpaceDisplay.from_estimator(tsne, digits[:31])
    with pytest.raises(NotFittedError):
        LatentSpaceDisplay.from_estimator(TSNE(), digits[:30])
