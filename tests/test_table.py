"""Tables: factor analysis of mixed data, and the way back."""

import numpy as np
import pandas as pd
import pytest
from frames import mixed_frame
from scipy import sparse
from sklearn.decomposition import PCA

from skae._data.table import Table, make_table


@pytest.fixture
def rng(global_random_seed):
    return np.random.RandomState(global_random_seed)


def explained_inertia(frame, n_components):
    """Shares of inertia of multiple correspondence analysis, by its definition.

    Correspondence analysis of the table of all indicators.
    """
    indicators = pd.get_dummies(frame).to_numpy(dtype=float)
    shares = indicators / indicators.sum()
    rows, columns = shares.sum(1), shares.sum(0)
    residuals = (shares - np.outer(rows, columns)) / np.sqrt(np.outer(rows, columns))
    inertias = np.linalg.svd(residuals, compute_uv=False) ** 2
    return inertias[:n_components] / inertias.sum()


def test_pca_of_encoded_categories_is_multiple_correspondence_analysis(rng):
    frame = mixed_frame(rng)[["kind", "town"]].dropna()
    frame["pair"] = frame["town"].str.cat(frame["kind"].astype(str))
    encoded = make_table(frame, "from_dtype", "squared_error").encode(frame)
    ratios = PCA(4).fit(encoded).explained_variance_ratio_
    np.testing.assert_allclose(ratios, explained_inertia(frame.astype(str), 4), atol=1e-12)


def test_a_number_has_unit_variance_and_a_category_one_less_than_its_categories(rng):
    frame = mixed_frame(rng)
    table = make_table(frame, "from_dtype", "squared_error")
    variances = np.nanvar(table.encode(frame), axis=0)
    per_column = table.sum_by_column(variances[None])[0]
    np.testing.assert_allclose(per_column, [1, 1, 1, 2, 1], rtol=1e-12)


def test_complete_rows_are_decoded_as_they_were(rng):
    frame = mixed_frame(rng).dropna()
    table = make_table(frame, "from_dtype", "squared_error")
    pd.testing.assert_frame_equal(table.decode(table.encode(frame), frame), frame)


def test_missing_and_unknown_categories_are_missing_values(rng):
    frame = mixed_frame(rng)
    table = make_table(frame, "from_dtype", "squared_error")
    unknown = frame.assign(town="Paris")
    columns = table.columns_of_inputs() == list(frame.columns).index("town")
    assert np.isnan(table.encode(unknown)[:, columns]).all()
    is_missing = np.isnan(table.sum_by_column(table.encode(frame)))
    np.testing.assert_array_equal(is_missing, frame.isna())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_finite_numbers_of_any_size_are_encoded(dtype, rng):
    frame = pd.DataFrame(1e-3 * rng.normal(size=(20, 2)).astype(dtype), columns=["a", "b"])
    table = make_table(frame.assign(kind="x"), "from_dtype", "squared_error")
    largest = np.finfo(dtype).max
    frame.iloc[:2], frame.iloc[2:4] = largest, -largest  # which scikit-learn adds up to NaN
    encoded = table.encode(frame.assign(kind="x"))
    assert encoded.dtype == dtype
    np.testing.assert_array_equal(encoded[:4, 0], [largest, largest, -largest, -largest])
    frame.iloc[5, 0] = np.inf
    with pytest.raises(ValueError, match="X contains infinity"):
        table.encode(frame.assign(kind="x"))


def test_categories_with_the_largest_indicators_are_decoded(rng):
    frame = mixed_frame(rng)
    table = make_table(frame, "from_dtype", "squared_error")
    encoded = np.nan_to_num(table.encode(frame)) + 0.1 * rng.normal(size=(len(frame), table.width))
    decoded = table.decode(encoded)
    for j, (name, categories) in enumerate(zip(frame.columns, table.categories, strict=True)):
        if categories is not None:
            shares = encoded[:, table.columns_of_inputs() == j] * table.units(j)
            assert (decoded[name].astype(object) == categories[shares.argmax(1)]).all()


def test_the_most_probable_category_is_decoded(rng):
    frame = pd.DataFrame({"kind": rng.choice(["a", "b", "c"], p=[0.05, 0.15, 0.8], size=200)})
    table = make_table(frame, "from_dtype", "squared_error")
    shares = rng.dirichlet([1, 1, 1], size=50)
    decoded = table.decode(shares / np.array(table.units(0)))
    assert decoded["kind"].tolist() == table.categories[0][shares.argmax(1)].tolist()


def test_weights_of_rows_are_copies_of_rows(rng):
    frame = mixed_frame(rng).assign(rare="b")
    frame.loc[frame.index[:7], "rare"] = "a"
    weights = np.r_[np.zeros(7), rng.randint(4, size=113)]
    weighted = make_table(frame, "from_dtype", "squared_error", weights)
    repeated = frame.loc[frame.index.repeat(weights.astype(int))]
    expected = make_table(repeated, "from_dtype", "squared_error")
    assert weighted.width == expected.width
    np.testing.assert_allclose(weighted.encode(frame), expected.encode(frame))


def test_rows_of_numbers_are_no_table(rng):
    X = rng.normal(size=(5, 3))
    for rows in (X, pd.DataFrame(X), X.tolist(), pd.DataFrame(X).astype(str), pd.DataFrame(X > 0)):
        assert make_table(rows, "from_dtype", "squared_error") is None
        assert make_table(rows, None, "squared_error") is None


MASK = np.array([False, False, True, True, False])


@pytest.mark.parametrize(
    "chosen",
    [
        [2, 3], ["kind", "town"], MASK.tolist(), MASK, list(MASK), pd.Series(MASK), range(2, 4),
        list(np.flatnonzero(MASK)), pd.Index([2, 3]), pd.Index(["kind", "town"]), ["town", 2],
    ],
    ids=repr,
)  # fmt: skip
def test_columns_are_chosen_by_number_name_or_mask(chosen, rng):
    frame = mixed_frame(rng)
    expected = make_table(frame, "from_dtype", "squared_error").encode(frame)
    table = make_table(frame, chosen, "squared_error")
    np.testing.assert_array_equal(table.encode(frame), expected)
    as_numbers = frame.to_numpy(dtype=object)
    if "town" not in chosen:
        table = make_table(as_numbers, chosen, "squared_error")
        np.testing.assert_array_equal(
            np.sort(np.isnan(table.encode(as_numbers)).sum(0)), np.sort(np.isnan(expected).sum(0))
        )


@pytest.mark.parametrize("chosen", [["length"], [7], [-1], [True]])
def test_columns_that_are_not_there_are_refused(chosen, rng):
    with pytest.raises(ValueError, match="`categorical_features`"):
        make_table(mixed_frame(rng), chosen, "squared_error")


def test_each_column_has_its_loss(rng):
    frame = mixed_frame(rng)
    table = make_table(frame, "from_dtype", {"count": "poisson", 4: "log_loss"})
    assert table.losses == ["squared_error", "poisson", "categorical", "categorical", "log_loss"]
    (position,) = np.flatnonzero(table.columns_of_inputs() == list(frame.columns).index("count"))
    units = np.concatenate([units for _, units in table.loss_description()])
    counts = table.encode(frame)[:, position] * units[position]
    np.testing.assert_allclose(counts, frame["count"].to_numpy(float, na_value=np.nan))
    widths = [len(units) for _, units in table.loss_description()]
    assert sum(widths) == table.width
    with pytest.raises(ValueError, match=r"`loss`.*kind"):
        make_table(frame, "from_dtype", {"kind": "poisson"})


def test_dates_are_refused_unless_the_user_asks_for_numbers(rng):
    frame = mixed_frame(rng).assign(day=pd.date_range("2020-01-01", periods=120))
    with pytest.raises(TypeError, match="'day'"):
        make_table(frame, "from_dtype", "squared_error")
    table = make_table(frame, "from_dtype", {"day": "squared_error"})
    back = table.decode(table.encode(frame))["day"]
    assert back.dtype == frame["day"].dtype
    assert np.abs(back.to_numpy() - frame["day"].to_numpy()).max() < np.timedelta64(1, "ms")


def test_a_constant_category_and_an_empty_one_have_no_information(rng):
    frame = mixed_frame(rng).assign(constant="a", empty=pd.Categorical([None] * 120, ["a", "b"]))
    table = make_table(frame, "from_dtype", "squared_error")
    assert isinstance(table, Table)
    sizes = dict(zip([table.names[j] for j in table.order], table.sizes, strict=True))
    assert (sizes["constant"], sizes["empty"]) == (1, 0)
    back = table.decode(np.nan_to_num(table.encode(frame)), frame)
    assert (back["constant"] == "a").all()
    assert back["empty"].isna().all()
    assert back["empty"].dtype == frame["empty"].dtype


def test_large_encoded_tables_are_sparse(rng, monkeypatch):
    frame = mixed_frame(rng).assign(code=rng.randint(40, size=120).astype(str))
    frame["code"] = "c" + frame["code"]
    table = make_table(frame, "from_dtype", "squared_error")
    expected = table.encode(frame)
    monkeypatch.setattr("skae._data.table.MAX_DENSE_ENTRIES", 0)
    encoded = table.encode(frame)
    assert sparse.issparse(encoded)
    assert encoded.nnz < expected.size / 2
    np.testing.assert_array_equal(encoded.toarray(), expected)
