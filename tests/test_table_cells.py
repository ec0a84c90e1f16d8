import pickle
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.decomposition import PCA

from skae import AutoencoderImputer, load, save
from skae._imputation.correction_networks import CorrectionConfig

SHORT = CorrectionConfig(
    max_width=(16, 16), max_steps=20, check_interval=20, max_training_entries=2**11
)
N = 80


@pytest.fixture(autouse=True)
def short_training(monkeypatch):
    monkeypatch.setattr(AutoencoderImputer, "_config", SHORT)


@pytest.fixture
def rng(global_random_seed):
    return np.random.RandomState(global_random_seed)


def entries(rng):
    """The columns of a table, by name, as lists without missing entries."""
    size = rng.randint(4, size=N)
    return {
        "weight": (size + 0.1 * rng.normal(size=N)).tolist(),
        "size": [["S", "M", "L", "XL"][k] for k in size],
        "count": (3 * size + rng.randint(2, size=N)).tolist(),
        "large": (size > 1).tolist(),
        "shop": [f"shop {k}" for k in rng.randint(3, size=N)],
        "only": ["a"] * N,
    }


def with_gaps(columns, rng):
    hidden = {name: rng.uniform(size=N) < 0.2 for name in columns}
    return {
        name: [None if h else v for h, v in zip(hidden[name], values, strict=True)]
        for name, values in columns.items()
    }


def pandas_table(rng):
    columns = with_gaps(entries(rng), rng)
    sizes = pd.CategoricalDtype(["S", "M", "L", "XL", "XXL"], ordered=True)
    table = pd.DataFrame(
        {
            "weight": pd.Series(columns["weight"], dtype="float32"),
            "size": pd.Series(columns["size"], dtype=sizes),
            "count": pd.Series(columns["count"], dtype="Int16"),
            "large": pd.Series(columns["large"], dtype="boolean"),
            "shop": pd.Series(columns["shop"], dtype="str"),
            "only": pd.Series(columns["only"], dtype=object),
        }
    )
    return table.set_index(rng.permutation(N) + 1000)


def polars_table(rng):
    columns = with_gaps(entries(rng), rng)
    schema = {
        "weight": pl.Float32,
        "size": pl.Enum(["S", "M", "L", "XL", "XXL"]),
        "count": pl.UInt8,
        "large": pl.Boolean,
        "shop": pl.Categorical,
        "only": pl.String,
    }
    return pl.DataFrame(columns, schema=schema)


def array(rng):
    columns = with_gaps(entries(rng), rng)
    return np.array([columns[name] for name in ("weight", "size", "shop")], dtype=object).T


@pytest.mark.parametrize("inner", [None, PCA(2)], ids=["stacked", "estimator"])
def test_a_pandas_table_is_returned_with_its_types_and_observed_entries(inner, rng):
    X = pandas_table(rng)
    filled = AutoencoderImputer(inner, random_state=0).fit(X).transform(X)
    pd.testing.assert_series_equal(filled.dtypes, X.dtypes)
    pd.testing.assert_index_equal(filled.index, X.index)
    pd.testing.assert_index_equal(filled.columns, X.columns)
    assert not filled.isna().any(axis=None)
    for name in X:
        given = X[name].notna()
        pd.testing.assert_series_equal(filled.loc[given, name], X.loc[given, name])
        if name not in ("weight", "count", "large"):
            assert set(filled[name]) == set(X.loc[given, name])


def test_a_polars_table_is_returned_with_its_types_and_observed_entries(rng):
    X = polars_table(rng)
    filled = AutoencoderImputer(PCA(2), random_state=0).fit(X).transform(X)
    assert filled.schema == X.schema
    assert not any(filled.null_count().row(0))
    for name in X.columns:
        given = X[name].is_not_null()
        assert filled[name].filter(given).equals(X[name].filter(given))


def test_an_array_of_objects_is_returned_with_its_observed_entries(rng):
    X = array(rng)
    imputer = AutoencoderImputer(PCA(2), categorical_features=[1, 2], random_state=0)
    filled = imputer.fit_transform(X)
    given = pd.notna(X)
    assert filled.dtype == object
    assert filled[given].tolist() == X[given].tolist()
    assert set(filled[:, 1]) == {"S", "M", "L", "XL"}


@pytest.mark.filterwarnings("ignore:X .* feature names")
@pytest.mark.parametrize("make", [pandas_table, polars_table, array])
def test_rows_of_any_library_are_filled_alike(make, rng):
    X = make(rng)
    categories = [1, 2] if make is array else "from_dtype"
    imputer = AutoencoderImputer(PCA(2), categorical_features=categories, random_state=0).fit(X)
    names = ["weight", "size", "shop"] if make is array else [*X.columns]
    columns = X.T.tolist() if make is array else [X[name].to_list() for name in names]
    entries = [[None if pd.isna(v) else v for v in column] for column in columns]
    by_name = dict(zip(names, entries, strict=True))
    rows = list(map(list, zip(*entries, strict=True)))
    filled = [pd.DataFrame(by_name), pl.DataFrame(by_name), rows, np.array(rows, dtype=object)]
    expected, *filled = [np.asarray(imputer.transform(like), dtype=object) for like in [X, *filled]]
    for other in filled:  # the numbers of the fit may be rounded to float32
        np.testing.assert_allclose(other[:, 0].astype(float), expected[:, 0].astype(float), 1e-6)
        assert other[:, 1:].tolist() == expected[:, 1:].tolist()


def test_an_unknown_category_stays_and_counts_as_missing(rng):
    X = pandas_table(rng)
    imputer = AutoencoderImputer(PCA(2), random_state=0).fit(X)
    unknown, missing = X.copy(), X.copy()
    unknown["shop"], missing["shop"] = "another", np.nan
    filled, expected = imputer.transform(unknown), imputer.transform(missing)
    assert (filled["shop"] == "another").all()
    pd.testing.assert_frame_equal(filled.drop(columns="shop"), expected.drop(columns="shop"))
    for ours, theirs in zip(*map(imputer.predict_proba, (unknown, missing)), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("keep", [False, True])
def test_empty_columns_and_indicators_of_a_table_are_columns_of_the_user(keep, rng):
    X = pandas_table(rng)
    X["none"], X["nothing"] = pd.Series([None] * N, dtype="category", index=X.index), np.nan
    options = {"keep_empty_features": keep, "add_indicator": True, "random_state": 0}
    imputer = AutoencoderImputer(PCA(2), **options)
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        filled = imputer.fit(X).transform(X)
    names = list(X) if keep else list(X)[:-2]
    assert list(filled) == [*names, *(f"missingindicator_{name}" for name in X)]
    assert list(imputer.get_feature_names_out()) == list(filled)
    np.testing.assert_array_equal(filled.iloc[:, len(names) :], X.isna())
    if keep:
        assert filled["none"].isna().all()
        assert not filled["nothing"].any()
    assert imputer.predict_proba(X)[-1].shape == (N, 0)
    assert len(imputer.categories_[-1]) == 0
    lower, upper = imputer.predict_interval(X)
    assert lower.shape == upper.shape == (N, len(names))


def test_pickles_and_files_of_imputers_of_tables_give_the_same_results(rng, tmp_path):
    X = pandas_table(rng)
    imputer = AutoencoderImputer(random_state=0).fit(X)
    save(imputer, tmp_path / "model")
    for loaded in (pickle.loads(pickle.dumps(imputer)), load(tmp_path / "model")):
        pd.testing.assert_frame_equal(loaded.transform(X), imputer.transform(X))
        for ours, theirs in zip(loaded.predict_proba(X), imputer.predict_proba(X), strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_columns_whose_dtype_is_another_one_than_in_fit_are_filled(rng):
    X = pandas_table(rng)
    imputer = AutoencoderImputer(PCA(2), random_state=0).fit(X)
    expected = imputer.transform(X)
    other = X.assign(count=X["count"].astype("float64"), shop=X["shop"].astype("category"))
    filled = imputer.transform(other)
    pd.testing.assert_series_equal(filled.dtypes, other.dtypes)
    assert (filled["count"] == expected["count"].astype(float)).all()
    assert (filled["shop"].astype(str) == expected["shop"]).all()
    imputed = expected.loc[X["shop"].isna(), "shop"].iloc[0]
    few = X[X["shop"] != imputed]  # so that it is no category of the column
    filled = imputer.transform(few.assign(shop=few["shop"].astype("category")))
    assert (filled["shop"].astype(str) == expected.loc[few.index, "shop"]).all()


def test_another_marker_than_nan_is_refused_for_categories(rng):
    with pytest.raises(ValueError, match=r"`missing_values` must be np.nan .* got -1"):
        AutoencoderImputer(missing_values=-1).fit(pandas_table(rng))
    with pytest.raises(ValueError, match="Every entry of X is missing"):
        AutoencoderImputer().fit(pd.DataFrame({"a": pd.Series([None, None], dtype="category")}))


def test_limits_and_set_output_are_those_of_the_columns_of_the_table(rng):
    X = pandas_table(rng)
    high = [0.5, *[np.inf] * 5]
    imputer = AutoencoderImputer(PCA(2), max_value=high, random_state=0)
    filled = imputer.set_output(transform="pandas").fit_transform(X)
    assert filled["weight"][X["weight"].isna()].max() <= 0.5
    lower, upper = imputer.predict_interval(X, confidence_level=0.99)
    missing = X["weight"].isna().to_numpy()
    assert upper[missing, 0].max() <= 0.5
    given = ~missing
    np.testing.assert_array_equal(lower[given, 0], X["weight"].to_numpy()[given])
    assert np.isnan(lower[:, 1]).all()
