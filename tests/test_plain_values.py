"""Categories of tables in files: those that need no code are restored, others are refused."""

import datetime
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pytest

from skae import AutoencoderTransformer, load, save
from skae._export.plain_values import MAKE

N = 30
DAYS = pd.to_datetime(["2020-01-01", "2021-06-01", "2020-03-01"])
KINDS = {
    "intervals": pd.cut(np.arange(3.0), 3),
    "intervals of integers": pd.cut([0, 4, 8], [0, 3, 5, 9], right=False),
    "dates": DAYS,
    "dates in seconds": DAYS.astype("datetime64[s]"),
    "differences": DAYS - DAYS[0],
    "Booleans": [True, False, True],
    "numbers and strings": ["a", 1, 2.5],
}
NEEDING_CODE = {
    "dates with a time zone": DAYS.tz_localize("UTC"),
    "periods": DAYS.to_period("M"),
    "dates of Python": [datetime.date(2020, 1, day) for day in (1, 2, 3)],
    "decimals": [Decimal(1), Decimal(2), Decimal(3)],
    "intervals of dates": pd.IntervalIndex.from_breaks(pd.date_range("2020-01-01", periods=4)),
}


def fitted(values, seed):
    column = pd.Series(pd.Categorical(values)).sample(N, replace=True, random_state=seed)
    numbers = np.random.RandomState(seed).normal(size=N)
    frame = pd.DataFrame({"a": numbers, "kind": column.to_numpy(), "b": numbers**2})
    frame["kind"] = frame["kind"].astype(column.dtype)
    frame.loc[0, "kind"] = None
    return frame, AutoencoderTransformer(max_iter=1, random_state=seed).fit(frame)


@pytest.mark.parametrize("kind", KINDS)
def test_categories_are_restored(kind, tmp_path, global_random_seed):
    frame, model = fitted(KINDS[kind], global_random_seed)
    save(model, tmp_path / "model.skae")
    rows = load(tmp_path / "model.skae").reconstruct(frame)
    pd.testing.assert_frame_equal(rows, model.reconstruct(frame))
    assert rows.dtypes.equals(frame.dtypes)


@pytest.mark.parametrize("kind", NEEDING_CODE)
def test_other_categories_are_refused_with_the_column_and_a_remedy(kind, tmp_path):
    _, model = fitted(NEEDING_CODE[kind], 0)
    message = r"^the categories of column 1 cannot .* convert the column to strings before `fit`"
    with pytest.raises(TypeError, match=message):
        save(model, tmp_path / "model.skae")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("columns", [pd.Index(["b"]), pd.Series([1]), pl.Series([False, True])])
def test_columns_are_saved_as_an_array_whatever_they_were_given_as(columns, tmp_path):
    frame = pd.DataFrame({"a": np.arange(6.0), "b": list("xyz") * 2})
    model = AutoencoderTransformer(1, max_iter=1, categorical_features=columns, random_state=0)
    save(model.fit(frame), tmp_path / "model.skae")
    loaded = load(tmp_path / "model.skae")
    assert loaded.categorical_features.tolist() == list(columns)
    np.testing.assert_array_equal(loaded.transform(frame), model.transform(frame))


@pytest.mark.parametrize(
    ("kind", "parts"),
    [
        ("dates", ["<M8[D]", np.zeros(3, np.int32)]),
        ("dates", ["<f8", np.zeros(3, np.int64)]),
        ("dates", ["<M8[4D]", np.zeros(3, np.int64)]),
        ("date_objects", ["|O", np.zeros(3, np.int64)]),
        ("intervals", [np.zeros(2), np.ones(2), "all"]),
        ("intervals", [np.array(["a"]), np.array(["b"]), "left"]),
        ("intervals", [np.ones(2), np.zeros(2), "left"]),
        ("intervals", [np.zeros(2), np.ones(3), "left"]),
    ],
)
def test_parts_that_no_value_has_are_refused(kind, parts):
    with pytest.raises(ValueError, match=r"."):
        MAKE[kind](parts)
