"""The display of the loss of each epoch."""

import numpy as np
import pytest
from drawing import close_figures, labels  # noqa: F401
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError

from skae import AutoencoderTransformer, LossCurveDisplay


def test_curves_are_the_fitted_attributes(digits, small):
    fitted = small(AutoencoderTransformer, 4).fit(digits)
    display = LossCurveDisplay.from_estimator(fitted)
    training, held_out = display.lines_
    np.testing.assert_array_equal(training.get_xdata(), range(1, fitted.n_iter_ + 1))
    np.testing.assert_array_equal(training.get_ydata(), fitted.loss_curve_)
    np.testing.assert_array_equal(held_out.get_xdata(), range(fitted.n_iter_ + 1))
    np.testing.assert_array_equal(held_out.get_ydata(), fitted.validation_curve_)
    assert set(display.pca_line_.get_ydata()) == {fitted.validation_curve_[0]}
    marked = display.ax_.lines[-1]
    assert marked.get_xdata()[0] == fitted.best_iter_
    assert marked.get_ydata()[0] == fitted.validation_curve_[fitted.best_iter_]
    assert labels(display.ax_) == [
        "training rows", "held-out rows", "PCA, held-out rows", f"kept: epoch {fitted.best_iter_}",
    ]  # fmt: skip


def test_each_line_has_its_own_style(digits, small):
    display = LossCurveDisplay.from_estimator(small(AutoencoderTransformer, 4).fit(digits))
    styles = [line.get_linestyle() for line in (*display.lines_, display.pca_line_)]
    assert len(set(styles)) == 3


def test_the_level_of_pca_is_the_loss_of_pca(digits, small):
    # Without early stopping all rows are held out, so PCA can be fitted to them here.
    fitted = small(AutoencoderTransformer, 4, early_stopping=False).fit(digits)
    display = LossCurveDisplay.from_estimator(fitted)
    pca = PCA(4).fit(digits)
    reconstruction = pca.inverse_transform(pca.transform(digits))
    loss = np.mean(np.sum((digits - reconstruction) ** 2, axis=1))
    assert display.pca_level == pytest.approx(loss, rel=1e-5)  # it was computed in float32


@pytest.mark.parametrize("parameters", [{"init": "random"}, {"warm_start": True}])
def test_training_that_did_not_start_at_pca_has_no_level(digits, parameters, small):
    fitted = small(AutoencoderTransformer, **parameters).fit(digits)
    assert LossCurveDisplay.from_estimator(fitted).pca_line_ is None


def test_a_partial_fit_is_one_point(digits, small):
    fitted = small(AutoencoderTransformer).partial_fit(digits)
    (line,) = LossCurveDisplay.from_estimator(fitted).lines_
    assert len(line.get_ydata()) == 1


def test_a_fit_without_training_has_a_text_instead(digits, small):
    fitted = small(AutoencoderTransformer, hidden_layer_sizes=()).fit(digits)
    display = LossCurveDisplay.from_estimator(fitted)
    assert [text.get_text() for text in display.ax_.texts] == ["nothing to train: PCA is the best"]
    assert display.ax_.get_legend() is None


def test_an_estimator_without_curves_is_an_error():
    with pytest.raises(TypeError, match=r"must have `loss_curve_`, .*got PCA"):
        LossCurveDisplay.from_estimator(PCA().fit(np.eye(3)))


def test_an_unfitted_estimator_is_an_error_of_its_own():
    with pytest.raises(NotFittedError, match="AutoencoderTransformer instance is not fitted"):
        LossCurveDisplay.from_estimator(AutoencoderTransformer())


@pytest.mark.parametrize("n_epochs", [1, 2, 3, 7, 1000])
def test_ticks_are_at_whole_epochs(n_epochs):
    curve = np.linspace(1, 0, n_epochs + 1)
    display = LossCurveDisplay(training=curve[1:], held_out=curve).plot()
    display.figure_.canvas.draw()
    ticks = display.ax_.get_xticks()
    np.testing.assert_array_equal(ticks, ticks.round())
