import copy

import numpy as np
import pandas as pd
import pytest
from sklearn.decomposition import PCA

from skae import AutoencoderImputer
from skae._imputation.correction_networks import CorrectionConfig

IMPUTES_AS_FOR_USERS = True
SHORT = CorrectionConfig(
    max_width=(16, 16), max_steps=40, check_interval=20, max_training_entries=2**11
)


@pytest.fixture(autouse=True)
def short_training(monkeypatch):
    monkeypatch.setattr(AutoencoderImputer, "_config", SHORT)


@pytest.fixture(scope="module")
def rng(global_random_seed):
    return np.random.RandomState(global_random_seed)


def with_gaps(X, rng):
    return np.where(rng.uniform(size=X.shape) < 0.2, np.nan, X)


@pytest.fixture(scope="module")
def table(rng):
    """Colours that depend on two numbers, and a column of names that depends on nothing."""
    x = rng.normal(size=(600, 2))
    colour = (x[:, 0] + 0.3 * rng.normal(size=600) > 0).astype(int) + (x[:, 1] > 1)
    frame = pd.DataFrame({"a": x[:, 0], "b": x[:, 1]})
    frame["colour"] = np.array(["red", "green", "blue"], dtype=object)[colour]
    frame["name"] = np.array(["x", "y"], dtype=object)[(rng.uniform(size=600) < 0.3).astype(int)]
    return frame


@pytest.fixture(scope="module")
def gaps(table, rng):
    return rng.uniform(size=table.shape) < 0.2


@pytest.fixture(scope="module")
def fitted(table, gaps, global_random_seed):
    imputer = AutoencoderImputer(PCA(2), random_state=global_random_seed)
    return imputer.fit(table.mask(gaps)[:300])


def test_probabilities_agree_with_the_imputed_and_the_observed_categories(table, gaps, fitted):
    X = table.mask(gaps)
    filled = fitted.transform(X)
    columns = zip(["colour", "name"], fitted.predict_proba(X), fitted.categories_, strict=True)
    for name, probabilities, categories in columns:
        assert probabilities.shape == (len(X), len(categories))
        np.testing.assert_allclose(probabilities.sum(axis=1), 1)
        assert (categories[probabilities.argmax(axis=1)] == filled[name]).all()
        observed = X[name].notna().to_numpy()
        assert set(probabilities[observed].ravel()) == {0, 1}
        assert (probabilities[~observed].max(axis=1) < 1).all()


def test_the_log_loss_of_new_rows_is_at_most_that_of_the_frequencies(table, gaps, fitted):
    X = table.mask(gaps)
    for name, p, categories, gain in zip(
        ["colour", "name"], fitted.predict_proba(X), fitted.categories_, (0.05, -0.05), strict=True
    ):
        hidden = gaps[:, table.columns.get_loc(name)] & (np.arange(600) >= 300)
        position = [list(categories).index(v) for v in table.loc[hidden, name]]
        shares = [(X[name][:300] == category).sum() for category in categories]
        of_frequencies = -np.log(np.array(shares) / np.sum(shares))[position].mean()
        log_loss = -np.log(p[hidden][np.arange(len(position)), position]).mean()
        assert log_loss < of_frequencies - gain


@pytest.mark.parametrize("level", [0.5, 0.9])
def test_intervals_cover_hidden_numbers_of_new_rows(level, rng, global_random_seed):
    n, coverage = 6000, []
    for _ in range(4):  # the quantiles of one fit are those of a sample of masked cells
        X = rng.standard_t(5, size=(2 * n, 2)) @ rng.normal(size=(2, 5))
        X += np.abs(X[:, :1]) * rng.normal(size=X.shape)
        holed = with_gaps(X, rng)
        imputer = AutoencoderImputer(PCA(2), random_state=global_random_seed).fit(holed[:n])
        X, new = X[n:], holed[n:]
        lower, upper = imputer.predict_interval(new, confidence_level=level)
        hidden = np.isnan(new)
        coverage.append(((lower <= X) & (upper >= X))[hidden].mean())
        np.testing.assert_array_equal(lower[~hidden], X[~hidden])
        np.testing.assert_array_equal(upper[~hidden], X[~hidden])
        filled = imputer.transform(new)
        assert (upper - lower)[hidden].min() > 0
        assert ((lower <= filled) & (filled <= upper)).mean() > 0.9
    assert np.mean(coverage) == pytest.approx(level, abs=0.05)


def test_intervals_are_nested(table, gaps, fitted):
    X = table.mask(gaps)
    narrow, wide = (fitted.predict_interval(X, confidence_level=c) for c in (0.5, 0.95))
    numbers = slice(0, 2)
    assert (wide[0][:, numbers] <= narrow[0][:, numbers]).all()
    assert (wide[1][:, numbers] >= narrow[1][:, numbers]).all()


def test_samples_of_categories_have_the_predicted_frequencies(table, gaps, fitted):
    X = table.mask(gaps)[300:].copy()
    X["name"] = None
    expected = fitted.predict_proba(X)[1][:, 0]
    drawn = []
    imputer = copy.copy(fitted).set_params(sample_posterior=True)
    for seed in range(10):
        imputer.set_params(random_state=seed)
        drawn.append(imputer.transform(X)["name"] == fitted.categories_[1][0])
    # 3000 draws: three standard errors are 0.025.
    assert np.mean(drawn) == pytest.approx(expected.mean(), abs=0.04)


def test_probabilities_need_categories_and_levels_are_checked(rng):
    X = with_gaps(rng.normal(size=(30, 3)), rng)
    imputer = AutoencoderImputer(PCA(1), random_state=0).fit(X)
    assert not hasattr(imputer, "predict_proba")
    assert not hasattr(imputer, "categories_")
    for level in (0, 1, "high"):
        with pytest.raises((ValueError, TypeError), match=r"`confidence_level` must be .* got"):
            imputer.predict_interval(X, confidence_level=level)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("marker", [-1, 0.1, 1e30])
def test_intervals_do_not_depend_on_the_marker_of_missing_values(rng, dtype, marker):
    X = with_gaps(rng.normal(size=(15, 3)), rng).astype(dtype)
    X[:2] = [[-2, -2, -2], [2, 2, 2]]
    marked = np.where(np.isnan(X), np.array(marker, dtype), X)
    imputer = AutoencoderImputer(random_state=0)
    expected = imputer.fit(X).predict_interval(X)
    found = imputer.set_params(missing_values=marker).fit(marked).predict_interval(marked)
    np.testing.assert_array_equal(found, expected)
