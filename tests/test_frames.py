"""Columns keep their dtypes on the way to arrays and back."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from frames import as_polars, mixed_frame

from skae._data.frames import (
    column_of,
    container_of,
    declared_categories,
    dtype_name,
    is_missing,
    is_ordered,
    is_text,
    make_frame,
    numeric_columns,
    result_dtype,
    values_of,
    with_dtype,
    with_entries,
)

NUMBERS = ("int8", "uint8", "int64", "uint64", "Int16", "UInt32", "float32", "float64", "Float64")


def again(column, container):
    """A column, made from its entries and what is known of its dtype."""
    entries = np.empty(len(column), dtype=object)
    entries[:] = values_of(column)
    ordered = container == "pandas" and is_ordered(column)
    return with_dtype(
        dtype_name(column), entries, container, declared_categories(column), ordered=ordered
    )


def test_columns_of_pandas_are_made_again(global_random_seed):
    frame = mixed_frame(np.random.RandomState(global_random_seed)).reset_index(drop=True)
    frame["order"] = pd.Categorical(frame["town"], ["Rome", "Oslo", "Bonn"], ordered=True)
    columns = {name: again(frame[name], "pandas") for name in frame}
    pd.testing.assert_frame_equal(make_frame("pandas", columns, frame), frame)


def test_columns_of_polars_are_made_again(global_random_seed):
    frame = as_polars(mixed_frame(np.random.RandomState(global_random_seed)))
    columns = {name: again(frame[name], "polars") for name in frame.columns}
    assert make_frame("polars", columns).equals(frame)


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_are_rounded_and_limited_to_the_range_of_integers(name):
    values = np.array([-1e30, -2.6, 1.4, 1e30])
    column = with_dtype(name, values, "pandas", None, ordered=False)
    assert str(column.dtype) == name
    assert column.is_monotonic_increasing
    if name.startswith(("int", "Int")):
        assert column[1:3].tolist() == [-3, 1]


@pytest.mark.parametrize("name", ["bool", "boolean"])
def test_numbers_are_true_from_one_half_on(name):
    column = with_dtype(name, np.array([-1, 0.4, 0.5, 2]), "pandas", None, ordered=False)
    assert column.tolist() == [False, False, True, True]
    column = with_dtype("Boolean", np.array([0.4, 0.5]), "polars", None, ordered=False)
    assert column.to_list() == [False, True]


def polars_columns():
    """Numbers and dates of polars whose dtypes have parameters, or that NumPy does not have."""
    days = pl.datetime_range(pl.datetime(2020, 1, 1), pl.datetime(2020, 1, 5), eager=True)
    units = ("ms", "us", "ns")
    return [
        *(days.cast(pl.Datetime(unit)) for unit in units),
        *((days - days[0]).cast(pl.Duration(unit)) for unit in units),
        days.dt.replace_time_zone("Europe/Rome"),
        days.cast(pl.Date),
        pl.Series(range(5), dtype=pl.Decimal(10, 2)),
    ]


def pandas_columns():
    days = pd.Series(pd.date_range("2020-01-01", periods=5))
    units = ("s", "ns")
    return [
        *(days.astype(f"datetime64[{unit}]") for unit in units),
        *((days - days[0]).astype(f"timedelta64[{unit}]") for unit in units),
        days.dt.tz_localize("Europe/Rome"),
        pd.Series(range(5), dtype="Int8"),
        pd.Series(range(5), dtype=pd.SparseDtype(float)),
    ]


@pytest.mark.parametrize("column", [*polars_columns(), *pandas_columns()], ids=lambda c: c.dtype)
def test_numbers_of_every_dtype_become_equal_entries(column):
    library = type(column).__module__.partition(".")[0]
    frame = make_frame(library, {"a": column})
    numbers = np.asarray(numeric_columns(frame, [0]))[:, 0].astype(float)
    name = result_dtype(column, is_text=False)
    made = with_dtype(name, numbers, library, None, ordered=False)
    if library == "pandas":
        pd.testing.assert_series_equal(made, column)
    else:
        assert made.dtype == (pl.Float64 if column.dtype.is_decimal() else column.dtype)
        assert made.equals(column.cast(made.dtype))


@pytest.mark.parametrize("kind", ["string", "large_string", "pandas", "python"])
def test_text_in_memory_of_arrow_or_python_stays_there(kind):
    column = pd.Series(["b", "a", None], dtype="string[python]")
    if kind != "python":
        arrow = pytest.importorskip("pyarrow")
        dtype = "string[pyarrow]" if kind == "pandas" else pd.ArrowDtype(getattr(arrow, kind)())
        column = column.astype(dtype)
    assert is_text(column)
    name = result_dtype(column, is_text=True)
    made = with_dtype(name, column.to_numpy(object), "pandas", None, ordered=False)
    pd.testing.assert_series_equal(made, column)


@pytest.mark.parametrize("column", [pandas_columns()[0], pandas_columns()[2]], ids=["day", "time"])
def test_missing_dates_are_missing_numbers(column):
    frame = pd.DataFrame({("of", "pairs"): column.where(column.index != 2)})
    numbers = np.asarray(numeric_columns(frame, [0]))[:, 0]
    np.testing.assert_array_equal(np.isnan(numbers), np.arange(5) == 2)


def test_entries_that_a_column_cannot_have_give_it_another_dtype():
    where, words = np.array([True, False]), np.array(["a", None], dtype=object)
    assert with_entries(pd.Series([np.nan, 1.0]), where, words).tolist() == ["a", 1.0]
    assert with_entries(pl.Series([None, 1.0]), where, words).to_list() == ["a", "1.0"]


def test_missing_entries_of_all_libraries_are_recognised():
    for entry in (None, np.nan, float("nan"), np.float32("nan"), pd.NA, pd.NaT):
        assert is_missing(entry)
    for entry in ("", 0, False, "nan", np.inf):
        assert not is_missing(entry)


def test_dates_are_integers():
    days = pd.date_range("2020-01-01", periods=3)
    for frame in (pd.DataFrame({"day": days}), pl.DataFrame({"day": days.to_numpy()})):
        numbers = np.asarray(numeric_columns(frame, [0]))[:, 0]
        assert numbers.dtype == np.int64
        assert len(set(np.diff(numbers))) == 1


def test_arrays_have_columns_too():
    X = np.array([[1, "a"], [pd.NA, "b"]], dtype=object)
    assert container_of(X) == "numpy"
    assert values_of(column_of(X, 1)) == ["a", "b"]
    np.testing.assert_array_equal(numeric_columns(X, [0]).astype(float), [[1], [np.nan]])
