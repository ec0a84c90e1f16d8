"""Warnings and `diagnosis_` of a fit: what they report, and when they are empty."""

import re
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import ESTIMATORS, RECONSTRUCTING
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
def test_a_default_fit_to_standardised_rows_raises_no_warning(cls, name, small):
    X = StandardScaler().fit_transform(getattr(datasets, f"load_{name}")().data[:300])
    small(cls, n_components=2).fit(X)  # warnings are errors here


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array])
def test_dominant_columns_are_named(autoencoder, kind, small):
    X = datasets.load_wine().data
    with pytest.warns(UserWarning, match=r"^99.8% of the variance is in 1 of 13 columns \(12\), "):
        fitted = small(autoencoder, n_components=1).fit(kind(X))
    assert "scale them first" in fitted.diagnosis_[0]


def test_dominant_columns_are_named_by_their_feature_names(small):
    frame = datasets.load_wine(as_frame=True).data
    frame.iloc[3, 4] = np.nan
    with pytest.warns(UserWarning, match=r"\('proline'\)"):
        small(AutoencoderTransformer, n_components=1).fit(frame)


@pytest.mark.parametrize(("large", "common"), [(100.0, 1.0), (6.0, 0.0)])
def test_a_large_column_that_is_not_dominant_is_not_named(large, common, small, global_random_seed):
    """The others are reconstructed in part, or have a fifth of the variance."""
    rng = np.random.RandomState(global_random_seed)
    t = rng.normal(size=(200, 1))
    X = np.c_[large * t, common * t + rng.normal(size=(200, 10))]
    fitted = small(AutoencoderTransformer, n_components=1).fit(X)
    assert not any("of the variance is in" in text for text in fitted.diagnosis_)


def test_collapsed_codes_raise_a_warning(digits, small):
    class OneCode(nn.Module):
        """An encoder with a single code that is not zero."""

        def __init__(self, n_features, n_components):
            super().__init__()
            self.linear, self.n_zeros = nn.Linear(n_features, 1), n_components - 1

        def forward(self, x):
            code = self.linear(x)
            return nn.functional.pad(code, (0, self.n_zeros))

    def network(n_features, n_components):
        return OneCode(n_features, n_components), nn.Linear(n_components, n_features)

    # A projection would use the other components of the decoder.
    options = {"network": network, "init": "random", "transform_max_iter": 0}
    estimator = small(AutoencoderTransformer, 3, **options)
    with pytest.warns(ConvergenceWarning, match="2 of 3 components are constant over the rows"):
        fitted = estimator.fit(digits)
    assert (fitted.explained_variance_ > 1e-6).tolist() == [True, False, False]


def test_the_rank_of_rows_in_a_subspace_is_reported(digits, small):
    plane = digits[:, :2] @ np.ones((2, 5)) + digits[:, [20]] * np.arange(5)
    fitted = small(AutoencoderTransformer, n_components=4).fit(plane)
    assert fitted.diagnosis_ == (
        "The rows vary in 2 directions only: `n_components`=2 has the same reconstruction error.",
    )


def test_overfitting_is_reported(digits, small):
    # One stage: a second one begins with the best weights of the first.
    options = {"max_iter": 300, "n_iter_no_change": 300, "transform_max_iter": 0}
    few = small(AutoencoderTransformer, **options).fit(digits[:100], X_val=digits[100:])
    held_out, best = np.array(few.validation_curve_), few.best_iter_
    text = few.diagnosis_[-1]  # some pixels are constant
    lost = (held_out[-1] - held_out[best]) / (held_out[0] - held_out[best])
    assert text.startswith(f"After epoch {best} the held-out loss rose, by {lost:.0%} of its")
    assert lost > 0.25


def test_a_fit_without_gain_over_pca_is_reported(small, global_random_seed):
    noise = np.random.RandomState(global_random_seed).normal(size=(200, 10))
    fitted = small(AutoencoderTransformer).fit(noise)
    assert fitted.best_iter_ == 0
    assert len(fitted.diagnosis_) == 1
    assert fitted.diagnosis_[0].startswith("The held-out loss did not improve significantly")
    assert "the principal components are kept" in fitted.diagnosis_[0]


def test_a_fit_without_gain_names_the_last_epoch_only_if_it_was_the_last(small, global_random_seed):
    noise = np.random.RandomState(global_random_seed).normal(size=(200, 10))
    (found,) = small(AutoencoderTransformer, max_iter=1).fit(noise).diagnosis_
    assert "in 1 epoch: " in found
    assert found.endswith("`max_iter` was reached: more epochs may help.")
    (found,) = small(AutoencoderTransformer, max_iter=99, n_iter_no_change=2).fit(noise).diagnosis_
    assert found.endswith("the principal components are kept.")


def test_a_loss_that_is_not_finite_is_the_cause_if_no_epoch_was_better(digits, small):
    diverging = small(AutoencoderTransformer, learning_rate_init=1e30)
    with pytest.warns(ConvergenceWarning, match="a tenth of it may help"):
        found = diverging.fit(digits).diagnosis_
    assert any(
        re.match(r"The loss was not finite in epoch \d+: the principal components are kept", text)
        for text in found
    )
    assert not any("did not improve" in text for text in found)


def test_a_score_below_pca_is_reported(digits, small):
    fitted = small(AutoencoderTransformer, init="random", max_iter=1).fit(digits)
    assert fitted.score(digits) < fitted.pca_score_
    assert f"{fitted.pca_score_:.3f} against {fitted.score(digits):.3f}" in fitted.diagnosis_[-1]


def test_a_good_fit_has_an_empty_diagnosis(reconstructing, curve, small):
    assert small(reconstructing, n_components=1, max_iter=30).fit(curve).diagnosis_ == ()


def test_verbose_prints_the_diagnosis(capsys, small, global_random_seed):
    noise = np.random.RandomState(global_random_seed).normal(size=(200, 10))
    fitted = small(AutoencoderTransformer, verbose=1).fit(noise)
    assert capsys.readouterr().out.splitlines()[-1] == fitted.diagnosis_[0]


def test_columns_of_a_table_are_counted_and_named_as_in_the_table(
    autoencoder, small, global_random_seed
):
    frame = pd.DataFrame(
        {
            "one": pd.Categorical(["a"] * 60, categories=["a", "b", "c"]),
            "two": pd.Categorical(list("uvw") * 20),
            "number": np.random.RandomState(global_random_seed).normal(size=60),
            "empty": pd.Categorical([None] * 60, categories=["x", "y"]),
            "zero": np.zeros(60),
        }
    )
    weight = np.ones(60)
    weight[0], frame.loc[0, "one"] = 0, "b"
    fitted = small(autoencoder, n_components=1, max_iter=1).fit(frame, sample_weight=weight)
    assert fitted.diagnosis_[:2] == (
        "1 of 5 columns ('empty') have no observed value: nothing can be learned of them.",
        "2 of 5 columns ('one', 'zero') are constant: they have no influence on the codes.",
    )


def test_the_diagnosis_after_partial_fit_is_that_of_the_columns(digits, small):
    fitted = small(AutoencoderTransformer, init="random", max_iter=1).fit(digits)
    of_columns = tuple(text for text in fitted.diagnosis_ if "are constant" in text)
    assert len(of_columns) == 1 < len(fitted.diagnosis_)
    assert fitted.partial_fit(digits).diagnosis_ == of_columns


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix, pd.DataFrame], ids=str)
def test_columns_without_variance_are_named(autoencoder, form, small, global_random_seed):
    X = np.random.RandomState(global_random_seed).randn(60, 7)
    X[:, 5], X[:, 1] = np.nan, global_random_seed + 0.1
    X[::2, 2], X[1::2, 2] = np.nan, 0.0
    rows = form(X)
    names = [1, 2, 5]
    if form is pd.DataFrame:
        rows.columns = list("abcdefg")
        names = ["b", "c", "f"]
    fitted = small(autoencoder, 2, max_iter=1).fit(rows)
    empty, constant = (
        f"1 of 7 columns ({names[2]!r}) have no observed value: nothing can be learned of them.",
        f"2 of 7 columns ({names[0]!r}, {names[1]!r}) are constant: they have no influence on the "
        "codes.",
    )
    assert fitted.diagnosis_[:2] == (empty, constant)
    # As is said, a constant column has no influence.
    other = X.copy()
    other[:, 1] += 3.0
    assert not any(
        "constant:" in text or "observed value" in text
        for text in small(autoencoder, 2, max_iter=1).fit(X[:, [0, 3, 4, 6]]).diagnosis_
    )
    if form is np.asarray:
        # A projection ends where its steps change the loss by less than the rounding error.
        np.testing.assert_allclose(fitted.transform(other), fitted.transform(X), atol=1e-7)


@pytest.mark.parametrize("cls", ESTIMATORS, ids=lambda cls: cls.__name__)
@pytest.mark.filterwarnings("always")
def test_one_column_of_large_units_raises_one_warning(cls, small, global_random_seed):
    rng = np.random.RandomState(global_random_seed)
    X = rng.randn(80, 6) * [1e6, 1, 1, 1, 1, 1]
    inner = AutoencoderTransformer(3, init="random", max_iter=3, random_state=global_random_seed)
    if hasattr(cls(), "estimator"):
        estimator = cls(inner)
    else:
        estimator = small(
            cls, 3, max_iter=3, **({"init": "random"} if hasattr(cls(), "init") else {})
        )
    X[rng.uniform(size=X.shape) < 0.05] = np.nan
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        estimator.fit(X, 1 + np.arange(80) % 2)
    assert len(caught) <= 1, [str(warning.message) for warning in caught]
    assert all("scale them first" in str(warning.message) for warning in caught)


class NotFinite(nn.Linear):
    def forward(self, x):
        return super().forward(x) * torch.nan


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_a_loss_that_is_not_finite_before_training_is_no_fault_of_the_learning_rate(
    method, small, autoencoder, global_random_seed
):
    def network(n_features, n_components):
        n_outputs = n_components * (2 if autoencoder.__name__ == "VAE" else 1)
        return nn.Linear(n_features, n_outputs), NotFinite(n_components, n_features)

    X = np.random.RandomState(global_random_seed).randn(60, 6)
    estimator = small(autoencoder, 2, network=network, init="random", max_iter=2)
    with pytest.raises(ValueError, match="not finite at the initial weights, before any step"):
        getattr(estimator, method)(X)


def test_a_loss_that_steps_make_infinite_names_their_size(autoencoder, small, global_random_seed):
    X = np.random.RandomState(global_random_seed).randn(60, 6)
    options = {"init": "random", "solver": "sgd", "learning_rate_init": 1e30, "max_iter": 9}
    message = r"finite at the initial weights, and is not after .* `learning_rate_init` = 1e\+30"
    with pytest.raises(ValueError, match=message):
        small(autoencoder, 2, **options).fit(X)
