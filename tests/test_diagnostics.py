"""A fit says what went wrong, in words, and only if something did."""

import numpy as np
import pytest
from conftest import RECONSTRUCTING, quick
from scipy import sparse
from sklearn import datasets
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import StandardScaler
from torch import nn

from skae import AutoencoderTransformer


@pytest.mark.parametrize(
    "name", ["breast_cancer", "diabetes", "digits", "iris", "linnerud", "wine"]
)
@pytest.mark.parametrize("cls", RECONSTRUCTING)
def test_a_default_fit_to_standardised_rows_warns_of_nothing(cls, name):
    X = StandardScaler().fit_transform(getattr(datasets, f"load_{name}")().data[:300])
    quick(cls, n_components=2).fit(X)  # warnings are errors here


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array])
def test_columns_that_drown_the_others_are_named(autoencoder, kind):
    X = datasets.load_wine().data
    with pytest.warns(UserWarning, match=r"^1 of 13 columns \(12\) carry 99.8% of the variance"):
        fitted = quick(autoencoder, n_components=1).fit(kind(X))
    assert "scale them first" in fitted.diagnosis_[0]


def test_drowning_columns_are_named_as_the_user_does():
    frame = datasets.load_wine(as_frame=True).data
    frame.iloc[3, 4] = np.nan
    with pytest.warns(UserWarning, match=r"\('proline'\)"):
        quick(AutoencoderTransformer, n_components=1).fit(frame)


@pytest.mark.parametrize(("large", "common"), [(100.0, 1.0), (6.0, 0.0)])
def test_a_large_column_that_drowns_none_is_no_mistake(large, common):
    """The others come back half by what they share with it, or they weigh a fifth of all."""
    rng = np.random.RandomState(0)
    t = rng.normal(size=(200, 1))
    X = np.c_[large * t, common * t + rng.normal(size=(200, 10))]
    fitted = quick(AutoencoderTransformer, n_components=1).fit(X)
    assert not any("carry" in text for text in fitted.diagnosis_)


def test_collapsed_codes_are_warned_of(digits):
    class OneCode(nn.Module):
        """An encoder that uses the first of its codes only."""

        def __init__(self, n_features, n_components):
            super().__init__()
            self.linear, self.n_idle = nn.Linear(n_features, 1), n_components - 1

        def forward(self, x):
            code = self.linear(x)
            return nn.functional.pad(code, (0, self.n_idle))

    def network(n_features, n_components):
        return OneCode(n_features, n_components), nn.Linear(n_components, n_features)

    estimator = quick(AutoencoderTransformer, 3, network=network, init="random")
    with pytest.warns(ConvergenceWarning, match="2 of 3 components say nothing of the rows"):
        fitted = estimator.fit(digits)
    assert (fitted.explained_variance_ > 1e-6).tolist() == [True, False, False]


def test_rows_of_few_directions_are_told_how_many_are_enough(digits):
    plane = digits[:, :2] @ np.ones((2, 5)) + digits[:, [20]] * np.arange(5)
    fitted = quick(AutoencoderTransformer, n_components=4).fit(plane)
    assert fitted.diagnosis_ == (
        "The rows vary in 2 directions only: `n_components`=2 restores them as well.",
    )


def test_learning_by_heart_is_noticed(digits):
    few = quick(
        AutoencoderTransformer, max_iter=300, n_iter_no_change=300, learning_rate_init=0.01
    ).fit(digits[:100], X_val=digits[100:])
    held_out, best = np.array(few.validation_curve_), few.best_iter_
    (text,) = few.diagnosis_
    lost = (held_out[-1] - held_out[best]) / (held_out[0] - held_out[best])
    assert text.startswith(f"After epoch {best} the held-out loss rose, by {lost:.0%} of what")
    assert lost > 0.25


def test_noise_leaves_nothing_to_gain():
    noise = np.random.RandomState(0).normal(size=(200, 10))
    fitted = quick(AutoencoderTransformer).fit(noise)
    assert fitted.best_iter_ == 0
    assert len(fitted.diagnosis_) == 1
    assert fitted.diagnosis_[0].startswith("The network gained nothing in")
    assert "the principal components are kept" in fitted.diagnosis_[0]


def test_a_random_start_that_ends_below_pca_says_so(digits):
    fitted = quick(AutoencoderTransformer, init="random", max_iter=1).fit(digits)
    assert fitted.score(digits) < fitted.pca_score_
    assert f"{fitted.pca_score_:.3f} against {fitted.score(digits):.3f}" in fitted.diagnosis_[-1]


def test_a_healthy_fit_is_not_talked_about(reconstructing, curve):
    assert quick(reconstructing, n_components=1, max_iter=60).fit(curve).diagnosis_ == ()


def test_verbose_prints_the_diagnosis(capsys):
    noise = np.random.RandomState(0).normal(size=(200, 10))
    fitted = quick(AutoencoderTransformer, verbose=1).fit(noise)
    assert capsys.readouterr().out.splitlines()[-1] == fitted.diagnosis_[0]


def test_a_batch_is_not_diagnosed(digits):
    fitted = quick(AutoencoderTransformer, init="random", max_iter=1).fit(digits)
    assert fitted.diagnosis_
    assert fitted.partial_fit(digits).diagnosis_ == ()
