import numpy as np
import pandas as pd
import polars as pl
import pytest

from skae import AutoencoderImputer
from skae._imputation.limits import limits_of_columns


@pytest.fixture
def holed(global_random_seed):
    """Rows with missing values, fewer than needed for a correction."""
    rng = np.random.RandomState(global_random_seed)
    X = rng.normal(size=(15, 3))
    X[rng.uniform(size=X.shape) < 0.3] = np.nan
    X[0] = X[1] + 1
    X[:2] = [[-2, -2, -2], [2, 2, 2]]
    return X


def test_scalars_none_and_sequences_are_limits():
    largest = np.finfo(np.float64).max
    expected = [[-1.0, -1.0], [largest, largest]]
    for low in (-1, [-1, -1.0], np.array([-1, -1]), (-1, np.float32(-1))):
        np.testing.assert_array_equal(limits_of_columns(low, None, 2), expected)
    np.testing.assert_array_equal(
        limits_of_columns(None, [1, np.inf], 2), [[-largest] * 2, [1, largest]]
    )


@pytest.mark.parametrize("sample", [False, True])
@pytest.mark.parametrize(
    ("low", "high"), [(-0.1, 0.1), ([-np.inf, -0.1, 0.5], [0, np.inf, 0.6]), (3, None)]
)
def test_imputed_values_are_those_without_limits_within_the_limits(holed, low, high, sample):
    imputer = AutoencoderImputer(sample_posterior=sample, random_state=0)
    imputed = imputer.fit_transform(holed)
    limited = imputer.set_params(min_value=low, max_value=high).fit_transform(holed)
    clipped = np.clip(imputed, *limits_of_columns(low, high, 3))
    np.testing.assert_array_equal(limited, np.where(np.isnan(holed), clipped, holed))
    assert not np.array_equal(limited, imputed)


def test_limits_of_dropped_columns_are_dropped(holed):
    limits = {"min_value": [-0.1, 5, -0.3, -0.4], "max_value": [0.1, 6, 0.3, 0.4]}
    empty = np.insert(holed, 1, np.nan, axis=1)
    with pytest.warns(UserWarning, match="no observed value"):
        filled = AutoencoderImputer(**limits).fit_transform(empty)
    low, high = np.delete(list(limits.values()), 1, axis=1)
    expected = AutoencoderImputer(min_value=low, max_value=high).fit_transform(holed)
    np.testing.assert_array_equal(filled, expected)


@pytest.mark.parametrize("sample", [False, True])
@pytest.mark.parametrize("container", ["pandas", "polars"])
def test_limits_of_a_table_are_those_of_its_numbers(holed, container, sample, global_random_seed):
    rng = np.random.RandomState(global_random_seed)
    X = holed + 0.1 * rng.normal(size=holed.shape)
    table = pd.DataFrame(X, columns=list("abc"))
    table["a"] = table["a"].astype("float32")
    table["b"] = (2 * table["b"]).round().astype("Int16")
    table["c"] = table["c"].gt(0).map({True: "yes", False: "no"}).where(table["c"].notna())
    if container == "polars":
        columns = {name: values.tolist() for name, values in table.astype(object).items()}
        table = pl.DataFrame(
            {
                name: [None if pd.isna(value) else value for value in values]
                for name, values in columns.items()
            },
            schema={"a": pl.Float32, "b": pl.Int16, "c": pl.String},
        )
    low, high = np.array([-0.1, 0.6, 5]), np.array([0.7, 2.6, 9])
    imputer = AutoencoderImputer(sample_posterior=sample, random_state=0)
    expected = imputer.fit_transform(table)["c"].to_list()
    limited = imputer.set_params(min_value=low, max_value=high).fit_transform(table)
    if not sample:
        assert limited["c"].to_list() == expected
    for j, name in enumerate("ab"):
        values = np.array(limited[name].to_list(), dtype=float)[np.isnan(X[:, j])]
        assert (values >= low[j]).all()
        assert (values <= high[j]).all()
    imputer.set_params(max_value=0.9)
    with pytest.raises(ValueError, match=r"an integer between .* got 0.6 and 0.9 for column 'b'"):
        imputer.set_params(min_value=[0, 0.6, 0]).fit(table)


@pytest.mark.parametrize("sample", [False, True])
def test_limits_of_float32_rows_are_not_rounded_outwards(holed, sample, global_random_seed):
    low = 0.3 + np.random.RandomState(global_random_seed).uniform(size=3)  # in float64
    imputer = AutoencoderImputer(sample_posterior=sample, random_state=0)
    for sign in (1, -1):
        ends = np.sort(np.stack([sign * low, sign * (low + 0.001)]), axis=0)
        imputer.set_params(min_value=ends[0], max_value=ends[1])
        filled = imputer.fit_transform(holed.astype(np.float32)).astype(np.float64)
        is_filled = np.isnan(holed)
        assert (filled >= ends[0])[is_filled].all()
        assert (filled <= ends[1])[is_filled].all()


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        ("0", TypeError),
        (True, TypeError),
        (np.nan, ValueError),
        ([0, 1], ValueError),
        ([0, np.nan, 0], ValueError),
        (["a", 0, 0], ValueError),
        ([[0, 0, 0]], ValueError),
        pytest.param(10**400, ValueError, id="too large"),
    ],
)
@pytest.mark.parametrize("name", ["min_value", "max_value"])
def test_the_error_for_a_bad_limit_names_it(holed, name, bad, error):
    imputer = AutoencoderImputer().set_params(**{name: bad})
    with pytest.raises(error, match=f"`{name}` must .*got"):
        imputer.fit(holed)


def test_the_lower_limit_must_be_below_the_upper(holed):
    imputer = AutoencoderImputer(min_value=[0, 2, 0], max_value=[1, 2, 1])
    with pytest.raises(ValueError, match=r"less than `max_value`.*got 2 and 2 for column 1"):
        imputer.fit(holed)
