"""Laws for all displays: they fill their axes, draw where they should, and are documented."""

import inspect
import re

import matplotlib.pyplot as plt
import numpy as np
import pytest
from drawing import area, close_figures, pixels  # noqa: F401
from sklearn.decomposition import PCA

import skae
from skae import (
    AutoencoderTransformer,
    BiplotDisplay,
    DictionaryDisplay,
    ExplainedVarianceDisplay,
    LatentSpaceDisplay,
    LatentTraversalDisplay,
    LossCurveDisplay,
    ReconstructionDisplay,
    compare_reducers,
)


@pytest.fixture(scope="module")
def fitted(fitted_to_digits):
    return fitted_to_digits(AutoencoderTransformer)


def draw_all(fitted, digits, make_ax):
    """Each display in turn, on the axes that `make_ax()` returns."""
    y = np.arange(len(digits)) % 10
    yield LossCurveDisplay.from_estimator(fitted, ax=make_ax())
    yield ExplainedVarianceDisplay.from_estimator(fitted, digits, ax=make_ax())
    yield LatentSpaceDisplay.from_estimator(fitted, digits, y, ax=make_ax())
    yield BiplotDisplay.from_estimator(fitted, digits, y, ax=make_ax())
    yield ReconstructionDisplay.from_estimator(fitted, digits, image_shape=(8, 8), ax=make_ax())
    yield ReconstructionDisplay.from_estimator(fitted, digits, n_rows=2, ax=make_ax())
    yield LatentTraversalDisplay.from_estimator(fitted, digits, image_shape=(8, 8), ax=make_ax())
    yield LatentTraversalDisplay.from_estimator(fitted, digits, ax=make_ax())
    yield DictionaryDisplay.from_estimator(fitted, image_shape=(8, 8), ax=make_ax())
    yield DictionaryDisplay.from_estimator(fitted, ax=make_ax())
    yield compare_reducers({"PCA": PCA(2)}, digits, cv=2).plot(ax=make_ax())


def axes_of(display):
    return [display.ax_] if hasattr(display, "ax_") else [a for a in display.axes_.flat if a.axison]


def test_displays_fill_their_axes_cut_off_no_text_and_are_drawn_again(fitted, digits):
    for display in draw_all(fitted, digits, lambda: None):
        rendered = pixels(display.figure_)
        for ax in axes_of(display):
            inside = area(display.figure_, ax, rendered)
            assert min(inside.shape[:2]) > 20
            assert inside.std() > 1, type(display).__name__
        border = np.concatenate([rendered[0], rendered[-1], rendered[:, 0], rendered[:, -1]])
        assert (border == 255).all(), type(display).__name__
        first = display.figure_
        assert display.plot() is display  # draws again
        assert display.figure_ is not first
        plt.close("all")


def test_displays_are_drawn_on_the_axes_that_they_are_given(fitted, digits):
    figure, axes = plt.subplots(2, 6, figsize=(36, 14), layout="constrained")
    places = iter(axes.flat)
    displays = list(draw_all(fitted, digits, lambda: next(places)))
    assert {display.figure_ for display in displays} == {figure}
    assert len(plt.get_fignums()) == 1
    rendered = pixels(figure, dpi=30)
    for display in displays:
        assert all(area(figure, ax, rendered).std() > 1 for ax in axes_of(display)[:1])


@pytest.mark.parametrize(
    "cls", [getattr(skae, name) for name in skae.__all__ if name.endswith("Display")]
)
def test_every_parameter_of_a_display_is_documented(cls):
    for name in inspect.signature(cls).parameters:
        assert re.search(rf"^    (\w+, )*{name}(, \w+)* : ", cls.__doc__, re.MULTILINE), name
