"""The display of rows at two of their codes."""

import numpy as np
import pytest
from drawing import LIGHTNESS, close_figures, labels  # noqa: F401
from sklearn.exceptions import NotFittedError
from sklearn.manifold import TSNE

from skae import AutoencoderTransformer, LatentSpaceDisplay
from skae._inspection import latent_space_display


@pytest.fixture(scope="module")
def fitted(fitted_to_digits):
    return fitted_to_digits(AutoencoderTransformer)


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


@pytest.fixture
def large(monkeypatch):
    """A map of 300 rows counts as one of many rows."""
    monkeypatch.setattr(latent_space_display, "MAX_FEW_ROWS", 299)


def test_names_of_classes_are_in_a_map_of_many_rows(fitted, digits, large):
    names = np.array(["zero", "one", "2"])[np.arange(len(digits)) % 3]
    display = LatentSpaceDisplay.from_estimator(fitted, digits, names)
    written = [text.get_text() for text in display.labels_]
    assert sorted(set(written)) == labels(display.ax_)
    codes = fitted.transform(digits)[:, :2]
    for text, name in zip(display.labels_, written, strict=True):
        own = codes[names == name]
        assert (own.min(0) <= text.get_position()).all()
        assert (text.get_position() <= own.max(0)).all()


def test_a_legend_is_beside_the_map_and_within_the_figure():
    rng = np.random.RandomState(0)
    for n_classes in (4, 60):
        y = np.char.add("a class ", (np.arange(300) % n_classes).astype(str))
        display = LatentSpaceDisplay(codes=rng.normal(size=(300, 2)), y=y).plot()
        display.figure_.canvas.draw()
        box, map_box = display.ax_.get_legend().get_window_extent(), display.ax_.get_window_extent()
        width, height = display.figure_.canvas.get_width_height()
        assert map_box.x1 < box.x0
        assert box.x1 <= width
        assert box.y0 >= 0
        assert box.y1 <= height
        looks = {
            (points.get_facecolor().tobytes(), points.get_paths()[0].vertices.tobytes())
            for points in display.points_
        }
        assert len(looks) == n_classes


@pytest.mark.parametrize("y", [None, "numbers", "classes"])
def test_very_many_rows_are_drawn_as_one_image(digits, fitted, y, monkeypatch):
    monkeypatch.setattr(latent_space_display, "MAX_POINTS", 299)
    values = {None: None, "numbers": np.arange(300) / 7, "classes": np.arange(300) % 4}[y]
    (image,) = LatentSpaceDisplay.from_estimator(fitted, digits, values).points_
    codes = fitted.transform(digits)[:, :2]
    left, right, bottom, top = image.get_extent()
    np.testing.assert_allclose([left, bottom, right, top], [*codes.min(0), *codes.max(0)])


def test_new_rows_are_rings_at_their_codes(fitted, digits):
    display = LatentSpaceDisplay.from_estimator(fitted, digits[:200], X_new=digits[200:])
    offsets = display.new_points_.get_offsets()
    np.testing.assert_array_equal(offsets, fitted.transform(digits[200:])[:, :2])
    assert labels(display.ax_) == ["new rows"]
    assert LatentSpaceDisplay.from_estimator(fitted, digits).new_points_ is None


def test_rings_do_not_hide_names_of_classes(digits, fitted, monkeypatch):
    monkeypatch.setattr(latent_space_display, "MAX_FEW_ROWS", 99)
    y = np.arange(len(digits)) % 3
    display = LatentSpaceDisplay.from_estimator(fitted, digits, y, X_new=digits)
    assert display.labels_
    rings = display.new_points_.get_zorder()
    assert all(text.get_zorder() > rings for text in display.labels_)


def test_images_are_drawn_at_the_codes_of_their_rows(fitted, digits):
    display = LatentSpaceDisplay.from_estimator(fitted, digits, image_shape=(8, 8))
    codes = fitted.transform(digits)[:, :2]
    assert len(display.images_) > 10
    for box in display.images_:
        (row,) = np.flatnonzero((codes == box.xy).all(axis=1))
        shown = np.asarray(box.offsetbox.get_data())
        np.testing.assert_allclose(shown * digits.max(), digits[row].reshape(8, 8))
    with pytest.raises(ValueError, match="`image_shape` must have n_features = 64 pixels"):
        LatentSpaceDisplay.from_estimator(fitted, digits, image_shape=(8, 9))


def test_files_in_vector_formats_stay_small(tmp_path, large):
    codes = np.random.RandomState(0).normal(size=(5000, 2))
    LatentSpaceDisplay(codes=codes, y=np.arange(5000) % 3).plot().figure_.savefig(
        tmp_path / "m.svg"
    )
    assert (tmp_path / "m.svg").stat().st_size < 200_000


def test_errors_name_the_rows_that_they_are_about(fitted, digits):
    draw = LatentSpaceDisplay.from_estimator
    with pytest.raises(NotFittedError, match="not fitted"):
        draw(AutoencoderTransformer(), digits, X_new=digits)
    with pytest.raises(TypeError, match=r"^`estimator` must have"):
        draw(None, digits, X_new=digits)
    with pytest.raises(ValueError, match="X_new has 3 features"):
        draw(fitted, digits, X_new=digits[:, :3])
