"""What displays show: the data of what is drawn, and the pixels of the files that are rendered."""

import inspect
import io
import re
import subprocess
import sys

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from conftest import quick
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skae
from skae import (
    VAE,
    AutoencoderTransformer,
    DictionaryDisplay,
    ExplainedVarianceDisplay,
    LatentSpaceDisplay,
    LatentTraversalDisplay,
    LossCurveDisplay,
    ReconstructionDisplay,
    compare_reducers,
)

mpl.use("Agg")
GLYPHS = list("0123456789")


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def fitted(digits):
    return quick(AutoencoderTransformer, 4).fit(digits)


@pytest.fixture
def table(digits):
    return pd.DataFrame(digits[:, 18:24], columns=[f"pixel {i}" for i in range(6)])


def labels(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def image(ax):
    return np.asarray(ax.images[0].get_array())


def pixels(figure, dpi=80):
    """The rendered file, as numbers from 0 to 255 of shape (height, width, 3)."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=dpi)
    file.seek(0)
    return np.round(255 * plt.imread(file)[..., :3]).astype(int)


def area(figure, ax, rendered):
    """The pixels of one axes within its frame."""
    box = ax.get_window_extent(figure.canvas.get_renderer())
    scale = rendered.shape[0] / figure.bbox.height
    x0, y0, x1, y1 = (round(v * scale) for v in (box.x0, box.y0, box.x1, box.y1))
    height = rendered.shape[0]
    return rendered[height - y1 + 3 : height - y0 - 3, x0 + 3 : x1 - 3]


def test_the_curves_of_a_training_are_drawn_with_the_level_of_pca(fitted):
    display = LossCurveDisplay.from_estimator(fitted)
    training, held_out = display.lines_
    np.testing.assert_array_equal(training.get_xdata(), range(1, fitted.n_iter_ + 1))
    np.testing.assert_array_equal(training.get_ydata(), fitted.loss_curve_)
    np.testing.assert_array_equal(held_out.get_xdata(), range(fitted.n_iter_ + 1))
    np.testing.assert_array_equal(held_out.get_ydata(), fitted.validation_curve_)
    assert set(display.pca_line_.get_ydata()) == {fitted.validation_curve_[0]}
    kept = display.ax_.lines[-1]
    assert kept.get_xdata()[0] == fitted.best_iter_
    assert kept.get_ydata()[0] == min(fitted.validation_curve_)
    # Each line has a style of its own, so that none is told by its colour.
    styles = [line.get_linestyle() for line in (*display.lines_, display.pca_line_)]
    assert len(set(styles)) == 3
    assert labels(display.ax_) == [
        "training rows", "held-out rows", "PCA, held-out rows", f"kept: epoch {fitted.best_iter_}",
    ]  # fmt: skip


def test_the_level_of_pca_is_the_loss_of_pca(digits):
    """Of the rows that judge, which are all here."""
    fitted = quick(AutoencoderTransformer, 4, early_stopping=False).fit(digits)
    display = LossCurveDisplay.from_estimator(fitted)
    pca = PCA(4).fit(digits)
    restored = pca.inverse_transform(pca.transform(digits))
    loss = np.mean(np.sum((digits - restored) ** 2, axis=1))
    assert display.pca_level == pytest.approx(loss, rel=1e-5)  # it was computed in float32


@pytest.mark.parametrize("parameters", [{"init": "random"}, {"warm_start": True}])
def test_a_training_that_did_not_begin_at_pca_has_no_level(digits, parameters):
    fitted = quick(AutoencoderTransformer, **parameters).fit(digits)
    assert LossCurveDisplay.from_estimator(fitted).pca_line_ is None


def test_one_batch_is_one_point_and_no_training_says_so(digits):
    streamed = quick(AutoencoderTransformer).partial_fit(digits)
    assert len(LossCurveDisplay.from_estimator(streamed).lines_) == 1
    solved = quick(AutoencoderTransformer, hidden_layer_sizes=()).fit(digits)
    display = LossCurveDisplay.from_estimator(solved)
    assert [text.get_text() for text in display.ax_.texts] == ["nothing to train: PCA is the best"]


def test_explained_variance_adds_up_to_the_scores(fitted, digits):
    display = ExplainedVarianceDisplay.from_estimator(fitted, digits)
    own, pca = display.line_.get_ydata(), display.pca_line_.get_ydata()
    assert own[-1] == pytest.approx(fitted.score(digits))
    assert pca[-1] == pytest.approx(fitted.pca_score_)
    np.testing.assert_array_equal(display.line_.get_xdata(), [1, 2, 3, 4])
    assert display.line_.get_marker() != display.pca_line_.get_marker()
    level = ExplainedVarianceDisplay.from_estimator(fitted).pca_line_
    assert set(level.get_ydata()) == {fitted.pca_score_}


def test_each_class_is_drawn_at_its_codes_with_a_marker_of_its_own(fitted, digits):
    y = np.arange(len(digits)) % 3
    names = np.array(["none", "one", "two"])[y]
    display = LatentSpaceDisplay.from_estimator(fitted, digits, names, components=(2, 1))
    codes = fitted.transform(digits)
    for i, points in enumerate(display.points_):
        np.testing.assert_array_equal(points.get_offsets(), codes[y == i][:, [2, 1]])
    assert labels(display.ax_) == ["none", "one", "two"]
    outlines = {points.get_paths()[0].vertices.tobytes() for points in display.points_}
    assert len(outlines) == 3
    assert display.ax_.get_xlabel() == "component 2"


def test_classes_of_one_character_are_their_own_markers(fitted, digits):
    display = LatentSpaceDisplay.from_estimator(fitted, digits, np.arange(len(digits)) % 10)
    assert [points.get_label() for points in display.points_] == GLYPHS
    assert display.ax_.get_legend() is None
    outlines = {points.get_paths()[0].vertices.tobytes() for points in display.points_}
    assert len(outlines) == 10


@pytest.mark.parametrize("y", [np.linspace(0, 1, 300), np.arange(300)])
def test_numbers_are_a_scale_of_lightness(fitted, digits, y):
    display = LatentSpaceDisplay.from_estimator(fitted, digits, y)
    (points,) = display.points_
    np.testing.assert_array_equal(points.get_array(), y)
    assert len(display.figure_.axes) == 2  # the other is the scale
    shades = points.get_cmap()(np.linspace(0, 1, 20))[:, :3] @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(shades) > 0).all()


def test_codes_without_y_are_one_cloud(fitted, digits):
    (points,) = LatentSpaceDisplay.from_estimator(fitted, digits).points_
    assert len(points.get_offsets()) == len(digits)


def test_reconstructions_of_images_are_shown_with_their_differences(fitted, digits):
    pca = PCA(4).fit(digits)
    display = ReconstructionDisplay.from_estimator(
        fitted, digits, n_rows=3, image_shape=(8, 8), baseline=pca
    )
    shown = digits[:3]
    restored = [fitted.reconstruct(shown), pca.inverse_transform(pca.transform(shown))]
    largest = max(np.abs(rows - shown).max() for rows in restored)
    original, first, difference, second, _ = display.axes_
    for i in range(3):
        np.testing.assert_allclose(image(original[i]).ravel(), shown[i] / 16)
        for row_of_axes, rows in ((first, restored[0]), (second, restored[1])):
            expected = np.clip(rows[i] / 16, 0, 1)
            np.testing.assert_allclose(image(row_of_axes[i]).ravel(), expected, atol=1e-12)
        apart = restored[0][i] - shown[i]
        np.testing.assert_allclose(image(difference[i]).ravel(), 0.5 + apart / (2 * largest))
        assert difference[i].get_xlabel() == f"rms {np.sqrt(np.mean(apart**2)):.2g}"
    sides = [axes[0].get_ylabel() for axes in display.axes_]
    assert sides == ["original", "AutoencoderTransformer", "difference", "PCA", "difference"]


def test_the_rendered_file_of_an_image_has_its_pixels(fitted, digits):
    display = ReconstructionDisplay.from_estimator(fitted, digits, n_rows=2, image_shape=(8, 8))
    rendered = pixels(display.figure_)
    for ax, row in zip(display.axes_[0], digits, strict=False):
        inside = area(display.figure_, ax, rendered)
        assert (np.ptp(inside, axis=2) == 0).all()  # grey: the same without colour vision
        at = [((i + 0.5) * np.array(inside.shape[:2]) / 8).astype(int) for i in range(8)]
        centres = np.array([[inside[y[0], x[1], 0] for x in at] for y in at])
        np.testing.assert_allclose(centres.ravel(), row / 16 * 255, atol=2)


def test_reconstructions_of_a_table_are_lines_in_standard_deviations(table):
    scale = [1.0, 1e3, 1e-3, 1.0, 5.0, 1.0]
    X = table * scale
    pipeline = make_pipeline(StandardScaler(), quick(AutoencoderTransformer, 2)).fit(X)
    display = ReconstructionDisplay.from_estimator(pipeline, X, n_rows=2)
    standard = StandardScaler().fit_transform(X)
    restored = (
        StandardScaler()
        .fit(X)
        .transform(
            pd.DataFrame(pipeline.inverse_transform(pipeline.transform(X)), columns=X.columns)
        )
    )
    above, below = display.axes_
    for i in range(2):
        original, other = above[i].lines
        np.testing.assert_allclose(original.get_ydata(), standard[i], atol=1e-9)
        np.testing.assert_allclose(other.get_ydata(), restored[i], atol=1e-9)
        difference = below[i].lines[1]
        np.testing.assert_allclose(difference.get_ydata(), (restored - standard)[i], atol=1e-9)
        assert original.get_linestyle() != other.get_linestyle()
    assert [tick.get_text() for tick in below[0].get_xticklabels()] == list(X.columns)
    assert labels(above[0]) == ["original", "AutoencoderTransformer"]


def test_a_way_through_the_code_is_decoded(fitted, digits):
    display = LatentTraversalDisplay.from_estimator(
        fitted, digits, components=[3, 0], n_steps=5, spread=0.5, image_shape=(8, 8)
    )
    codes = fitted.transform(digits)
    expected = np.tile(codes.mean(0), (5, 1))
    expected[:, 3] = codes[:, 3].mean() + np.linspace(-0.5, 0.5, 5) * codes[:, 3].std()
    np.testing.assert_allclose(display.values[0], expected[:, 3], atol=1e-9)
    np.testing.assert_allclose(display.decoded[0], fitted.inverse_transform(expected))
    # The middle of each way is the same place.
    np.testing.assert_allclose(display.decoded[0, 2], display.decoded[1, 2], atol=1e-9)
    low, high = display.decoded.min(), display.decoded.max()
    shown = image(display.axes_[0, 4]).ravel()
    np.testing.assert_allclose(shown, (display.decoded[0, 4] - low) / (high - low))
    assert display.axes_[0, 0].get_title() == f"{expected[0, 3]:.2g}"


def test_a_way_ends_where_the_codes_do(fitted, digits):
    display = LatentTraversalDisplay.from_estimator(fitted, digits, spread=100)
    codes = fitted.transform(digits)
    np.testing.assert_allclose(display.values[:, 0], codes.min(0))
    np.testing.assert_allclose(display.values[:, -1], codes.max(0))


def test_ways_of_a_table_are_lines_that_grow_lighter(table):
    fitted = quick(VAE, 2).fit(table)
    display = LatentTraversalDisplay.from_estimator(fitted, table)
    for ax, rows in zip(display.axes_[:, 0], display.decoded, strict=True):
        standard = (rows - table.mean().to_numpy()) / table.std(ddof=0).to_numpy()
        np.testing.assert_allclose([line.get_ydata() for line in ax.lines], standard)
        colours = mpl.colors.to_rgba_array([line.get_color() for line in ax.lines])
        assert (np.diff(colours[:, :3] @ [0.2126, 0.7152, 0.0722]) > 0).all()
        assert len(labels(ax)) == 3


def test_components_are_images_with_zero_in_the_middle(digits):
    pca = PCA(5).fit(digits)
    display = DictionaryDisplay.from_estimator(pca, image_shape=(8, 8), components=[4, 0, 1])
    assert display.axes_.shape == (2, 2)
    for ax, i in zip(display.axes_.flat, [4, 0, 1], strict=False):
        atom = pca.components_[i]
        np.testing.assert_allclose(image(ax).ravel(), 0.5 + atom / (2 * np.abs(atom).max()))
        assert ax.get_title() == str(i)
    assert not display.axes_[1, 1].axison


def test_components_of_a_table_are_one_picture(table):
    fitted = quick(AutoencoderTransformer, 3).fit(table)
    display = DictionaryDisplay.from_estimator(fitted)
    ax = display.axes_[0, 0]
    np.testing.assert_array_equal(image(ax), fitted.components_)
    assert [tick.get_text() for tick in ax.get_xticklabels()] == list(table.columns)
    low, high = ax.images[0].get_clim()
    assert low == -high == -np.abs(fitted.components_).max()


def test_the_image_shape_of_the_estimator_is_used(digits):
    fitted = quick(
        AutoencoderTransformer, 2, image_shape=(8, 8), hidden_layer_sizes=(4,), max_iter=2
    ).fit(digits)
    assert image(ReconstructionDisplay.from_estimator(fitted, digits).axes_[0, 0]).shape == (8, 8)
    assert image(DictionaryDisplay.from_estimator(fitted).axes_[0, 0]).shape == (8, 8)
    ways = LatentTraversalDisplay.from_estimator(fitted, digits)
    assert image(ways.axes_[0, 0]).shape == (8, 8)


def test_colour_images_keep_their_channels():
    X = np.random.RandomState(0).uniform(size=(50, 3 * 4 * 5))
    display = ReconstructionDisplay.from_estimator(PCA(2).fit(X), X, image_shape=(3, 4, 5))
    expected = np.moveaxis(X[0].reshape(3, 4, 5), 0, -1)
    low, high = X[:6].min(), X[:6].max()
    np.testing.assert_allclose(image(display.axes_[0, 0]), (expected - low) / (high - low))


def test_a_comparison_is_drawn_as_it_is_printed(digits):
    reducers = {"two": PCA(2), "four": PCA(4)}
    comparison = compare_reducers(reducers, digits, random_state=0)
    display = comparison.plot()
    mean, std = comparison.mean(), comparison.std()
    titles = [ax.get_title() for ax in display.axes_]
    assert titles == ["explained variance", "trustworthiness", "fit s", "transform s"]
    points, _, (bars,) = display.axes_[0].containers[0]
    np.testing.assert_allclose(
        points.get_xdata().astype(float), [mean[name].explained_variance for name in reducers]
    )
    widths = [np.ptp(segment[:, 0]) for segment in bars.get_segments()]
    np.testing.assert_allclose(widths, [2 * std[name].explained_variance for name in reducers])
    assert [tick.get_text() for tick in display.axes_[0].get_yticklabels()] == list(reducers)
    assert display.axes_[0].get_ylim()[0] > display.axes_[0].get_ylim()[1]  # the first is on top
    assert [ax.get_xscale() for ax in display.axes_] == ["linear", "linear", "log", "log"]


def draw_all(fitted, digits, ax):
    """Each display in turn, in the place that `ax()` gives."""
    y = np.arange(len(digits)) % 10
    yield LossCurveDisplay.from_estimator(fitted, ax=ax())
    yield ExplainedVarianceDisplay.from_estimator(fitted, digits, ax=ax())
    yield LatentSpaceDisplay.from_estimator(fitted, digits, y, ax=ax())
    yield ReconstructionDisplay.from_estimator(fitted, digits, image_shape=(8, 8), ax=ax())
    yield ReconstructionDisplay.from_estimator(fitted, digits, n_rows=2, ax=ax())
    yield LatentTraversalDisplay.from_estimator(fitted, digits, image_shape=(8, 8), ax=ax())
    yield LatentTraversalDisplay.from_estimator(fitted, digits, ax=ax())
    yield DictionaryDisplay.from_estimator(fitted, image_shape=(8, 8), ax=ax())
    yield DictionaryDisplay.from_estimator(fitted, ax=ax())
    yield compare_reducers({"PCA": PCA(2)}, digits, cv=2).plot(ax=ax())


def axes_of(display):
    return [display.ax_] if hasattr(display, "ax_") else [a for a in display.axes_.flat if a.axison]


def test_every_display_fills_its_axes_with_ink_and_cuts_no_text(fitted, digits):
    for display in draw_all(fitted, digits, lambda: None):
        rendered = pixels(display.figure_)
        for ax in axes_of(display):
            inside = area(display.figure_, ax, rendered)
            assert min(inside.shape[:2]) > 20
            assert inside.std() > 1, type(display).__name__
        border = np.concatenate([rendered[0], rendered[-1], rendered[:, 0], rendered[:, -1]])
        assert (border == 255).all(), type(display).__name__


def test_displays_are_drawn_in_the_place_they_are_given(fitted, digits):
    figure, axes = plt.subplots(2, 5, figsize=(30, 14), layout="constrained")
    places = iter(axes.flat)
    displays = list(draw_all(fitted, digits, lambda: next(places)))
    assert {display.figure_ for display in displays} == {figure}
    assert len(plt.get_fignums()) == 1
    rendered = pixels(figure, dpi=30)
    for display in displays:
        assert all(area(figure, ax, rendered).std() > 1 for ax in axes_of(display)[:1])


def test_plot_draws_again(fitted, digits):
    display = DictionaryDisplay.from_estimator(fitted, image_shape=(8, 8))
    first = display.figure_
    assert display.plot() is display
    assert display.figure_ is not first


@pytest.mark.parametrize(
    "cls", [getattr(skae, name) for name in skae.__all__ if name.endswith("Display")]
)
def test_every_parameter_of_a_display_is_documented(cls):
    for name in inspect.signature(cls).parameters:
        assert re.search(rf"^    (\w+, )*{name}(, \w+)* : ", cls.__doc__, re.MULTILINE), name


def test_what_cannot_be_drawn_is_refused(fitted, digits):
    with pytest.raises(TypeError, match=r"must have `loss_curve_`, .*got PCA"):
        LossCurveDisplay.from_estimator(PCA())
    with pytest.raises(ValueError, match="`image_shape` must be of n_features = 64 pixels in all"):
        DictionaryDisplay.from_estimator(fitted, image_shape=(8, 9))
    with pytest.raises(ValueError, match="with 1 or 3 channels"):
        DictionaryDisplay.from_estimator(fitted, image_shape=(2, 8, 4))
    with pytest.raises(ValueError, match="`components` must be among the 4 components"):
        LatentTraversalDisplay.from_estimator(fitted, digits, components=[4])
    with pytest.raises(ValueError, match="`components` must be two of the 4 components"):
        LatentSpaceDisplay.from_estimator(fitted, digits, components=(0, 4))
    with pytest.raises(ValueError, match="`y` must have one entry for each of the 300 rows"):
        LatentSpaceDisplay.from_estimator(fitted, digits, [1, 2])


def test_without_matplotlib_the_package_works_and_displays_say_what_is_missing():
    script = """
import sys
import skae
[getattr(skae, name) for name in skae.__all__]
assert "matplotlib" not in sys.modules
sys.modules["matplotlib"] = None
try:
    skae.LossCurveDisplay(training=[1.0]).plot()
except ImportError as error:
    print(error)
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert run.stdout.strip() == "LossCurveDisplay needs matplotlib: pip install 'skae[plot]'."
