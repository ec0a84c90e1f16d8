"""The display of a comparison of reducers."""

import numpy as np
from drawing import close_figures  # noqa: F401
from sklearn.decomposition import PCA

from skae import compare_reducers

REDUCERS = {"two": PCA(2), "four": PCA(4)}


def test_panels_have_the_means_and_deviations_of_the_table(digits):
    comparison = compare_reducers(REDUCERS, digits, random_state=0)
    display = comparison.plot()
    mean, std = comparison.mean(), comparison.std()
    titles = [ax.get_title() for ax in display.axes_]
    assert titles == ["explained variance", "trustworthiness", "fit s", "transform s"]
    points, _, (bars,) = display.axes_[0].containers[0]
    np.testing.assert_allclose(
        points.get_xdata().astype(float), [mean[name].explained_variance for name in REDUCERS]
    )
    widths = [np.ptp(segment[:, 0]) for segment in bars.get_segments()]
    np.testing.assert_allclose(widths, [2 * std[name].explained_variance for name in REDUCERS])


def test_reducers_are_drawn_from_the_top_and_times_on_a_logarithmic_scale(digits):
    display = compare_reducers(REDUCERS, digits, random_state=0).plot()
    assert [tick.get_text() for tick in display.axes_[0].get_yticklabels()] == list(REDUCERS)
    bottom, top = display.axes_[0].get_ylim()
    assert top < 0 < 1 < bottom
    assert [ax.get_xscale() for ax in display.axes_] == ["linear", "linear", "log", "log"]
