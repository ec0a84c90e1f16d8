"""The display of codes with the features that they are correlated with."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from drawing import close_figures  # noqa: F401
from matplotlib.text import Text
from sklearn.datasets import load_breast_cancer
from sklearn.decomposition import PCA
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skae import AutoencoderTransformer, BiplotDisplay


@pytest.fixture(scope="module")
def tumours():
    """Thirty standardised features, many of them correlated."""
    table = load_breast_cancer(as_frame=True).data[:200]
    return (table - table.mean()) / table.std()


def boxes(display):
    display.figure_.draw_without_rendering()
    return [Text.get_window_extent(label) for label in display.labels_]


def test_arrows_are_those_of_the_longest_correlations(tumours):
    pca = PCA(3).fit(tumours)
    display = BiplotDisplay.from_estimator(pca, tumours, components=(2, 0), max_features=5)
    frame = pd.DataFrame(pca.transform(tumours)[:, [2, 0]]).reset_index(drop=True)
    columns = {name: tumours[name].reset_index(drop=True) for name in tumours}
    expected = pd.DataFrame({name: frame.corrwith(column) for name, column in columns.items()}).T
    lengths = np.hypot(expected[0], expected[1]).sort_values(ascending=False)
    assert [label.get_text() for label in display.labels_] == list(lengths.index[:5])
    table = display.to_frame()
    assert list(table.columns) == ["component 2", "component 0"]
    assert list(table.index[:5]) == list(lengths.index[:5])
    np.testing.assert_allclose(table.to_numpy(), expected.loc[table.index], atol=1e-9)
    tips = np.array([arrow.xy for arrow in display.arrows_])
    ratios = tips / table.to_numpy()[:5]  # to the correlations, the same for all arrows
    np.testing.assert_allclose(ratios, np.broadcast_to(ratios[0], ratios.shape))


def test_names_of_correlated_features_do_not_overlap_and_are_in_the_axes(tumours):
    display = BiplotDisplay.from_estimator(PCA(2).fit(tumours), tumours, max_features=12)
    found = boxes(display)
    assert len(found) == 12
    assert not any(first.overlaps(second) for first, second in combinations(found, 2))
    inside = display.ax_.bbox
    assert all(inside.x0 <= box.x0 and box.x1 <= inside.x1 for box in found)
    assert all(inside.y0 <= box.y0 and box.y1 <= inside.y1 for box in found)


def test_the_loadings_of_an_autoencoder_are_drawn(tumours, small):
    fitted = small(AutoencoderTransformer, 2).fit(tumours)
    display = BiplotDisplay.from_estimator(fitted, tumours, np.arange(200) % 2)
    np.testing.assert_allclose(display.loadings, fitted.loadings_, atol=1e-9)
    pipeline = make_pipeline(StandardScaler(), PCA(2)).fit(tumours)
    assert len(BiplotDisplay.from_estimator(pipeline, tumours).arrows_) == 10
    assert BiplotDisplay.from_estimator(fitted, tumours, max_features=0).labels_ == []


def test_features_without_names_are_numbered_and_constant_ones_have_no_arrow():
    X = np.c_[np.random.RandomState(0).normal(size=(50, 2)), np.ones(50)]
    X[3, 0] = np.nan
    display = BiplotDisplay.from_estimator(make_pipeline(SimpleImputer(), PCA(2)).fit(X), X)
    assert sorted(label.get_text() for label in display.labels_) == ["x0", "x1"]
