"""Laws of imputed tables with categories."""

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
N = 200


@pytest.fixture(autouse=True)
def short_training(monkeypatch):
    monkeypatch.setattr(AutoencoderImputer, "_config", SHORT)


@pytest.fixture
def rng(global_random_seed):
    return np.random.RandomState(global_random_seed)


@pytest.fixture
def imputer(global_random_seed):
    return AutoencoderImputer(PCA(2), random_state=global_random_seed)


def labels(codes, names="abcdefgh"):
    return np.array(list(names), dtype=object)[codes]


def table(rng):
    size = rng.randint(4, size=N)
    return pd.DataFrame(
        {
            "size": labels(size),
            "weight": size + 0.3 * rng.normal(size=N),
            "kind": labels((size + (rng.uniform(size=N) < 0.1)) % 4),
            "price": 3.0 * size + rng.normal(size=N),
        }
    )


def with_gaps(X, rng, rate=0.2):
    return X.mask(rng.uniform(size=X.shape) < rate)


@pytest.mark.parametrize("inner", [None, PCA(2)], ids=["stacked", "estimator"])
def test_categories_that_are_functions_of_another_column_are_imputed_exactly(inner, rng):
    level = rng.randint(8, size=160)
    X = pd.DataFrame({"level": level.astype(float), "other": rng.normal(size=160)})
    X["grade"] = labels(rng.permutation(8)[level])  # no linear function of the level
    X["group"] = labels(rng.randint(2, size=8)[level], "xy")
    holed = X.copy()
    holed.loc[::3, "grade"], holed.loc[1::3, "group"] = None, None
    filled = AutoencoderImputer(inner, random_state=0).fit_transform(holed)
    pd.testing.assert_frame_equal(filled, X, check_dtype=False)


def test_names_of_categories_and_units_of_numbers_have_no_influence(rng, imputer):
    X = with_gaps(table(rng), rng)
    expected = imputer.fit_transform(X)
    rename = dict(zip("abcd", ["k1", "k2", "k3", "k4"], strict=True))
    renamed = X.assign(size=X["size"].map(rename), weight=1000 * X["weight"])
    filled = imputer.fit_transform(renamed)
    assert (filled["size"] == expected["size"].map(rename)).all()
    assert (filled["kind"] == expected["kind"]).all()
    np.testing.assert_allclose(filled["weight"], 1000 * expected["weight"], rtol=1e-5)


def test_other_orders_of_categories_and_rows_give_similar_tables(rng, imputer):
    X = with_gaps(table(rng), rng)
    expected = imputer.fit_transform(X)
    rename = dict(zip("abcd", "qzmb", strict=True))
    filled = imputer.fit_transform(X.assign(size=X["size"].map(rename))[::-1])[::-1]
    assert (filled["size"] == expected["size"].map(rename)).mean() > 0.95
    assert (filled["price"] - expected["price"]).std() < 0.2 * X["price"].std()


def test_rows_are_imputed_one_by_one(rng, imputer):
    X = with_gaps(table(rng), rng)
    expected = imputer.fit(X).transform(X)
    rows = pd.concat([imputer.transform(X.iloc[[i]]) for i in range(5)])
    pd.testing.assert_frame_equal(rows, expected[:5])


def test_samples_of_categories_that_depend_on_each_other_agree(rng, imputer):
    X = table(rng)
    X["again"] = X["size"]
    imputer.fit(with_gaps(X, rng))
    nothing = X.mask(np.ones(X.shape, dtype=bool))
    drawn = imputer.set_params(sample_posterior=True).transform(nothing)
    assert drawn["size"].nunique() == 4
    assert (drawn["size"] == drawn["again"]).mean() > 0.8
    # Numbers are drawn given the categories that were drawn.
    assert drawn.groupby("size")["weight"].std().mean() < 0.8 * X["weight"].std()


@pytest.mark.parametrize("names", [["size"], ["size", "kind"]])
def test_tables_of_categories_alone_are_imputed(names, rng, imputer):
    X = with_gaps(table(rng)[names], rng)
    filled = imputer.set_params(estimator=PCA(1)).fit_transform(X)
    assert not filled.isna().any(axis=None)
    lower, _ = imputer.predict_interval(X)
    assert np.isnan(lower).all()


def test_few_rows_and_many_categories_are_imputed(rng, imputer):
    X = pd.DataFrame({"name": [f"n{i}" for i in range(50)], "x": rng.normal(size=50)})
    X = pd.concat([X, X])
    for rows in (X[:5], X):
        holed = with_gaps(rows.reset_index(drop=True), rng)
        filled = imputer.fit_transform(holed)
        assert set(filled["name"]) == set(holed["name"].dropna())
