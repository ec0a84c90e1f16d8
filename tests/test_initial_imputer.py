import numpy as np
import pytest
from sklearn.base import clone
from sklearn.impute import SimpleImputer

from skae import AutoencoderImputer
from skae._imputation.initial_imputer import fit_initial_imputer, is_marker, is_nan


def test_nan_and_the_marker_of_pandas_are_nan():
    pandas = pytest.importorskip("pandas")
    assert all(map(is_nan, (np.nan, np.float32("nan"), float("nan"), pandas.NA)))
    assert not any(map(is_nan, (0, np.inf, -1.0, None, "nan", pandas.NaT)))
    cells = np.array([[np.nan, -1.0]])
    np.testing.assert_array_equal(is_marker(cells, pandas.NA), [[True, False]])
    np.testing.assert_array_equal(is_marker(cells, -1), [[False, True]])


@pytest.mark.parametrize("dtype", ["Float64", "Int64"])
def test_frames_with_the_marker_of_pandas_are_imputed_as_those_with_nan(dtype, global_random_seed):
    pandas = pytest.importorskip("pandas")
    rng = np.random.RandomState(global_random_seed)
    X = rng.randint(9, size=(15, 3)).astype(float)
    X[rng.uniform(size=X.shape) < 0.3] = np.nan
    frame = pandas.DataFrame(X).astype(dtype)
    imputer = AutoencoderImputer(missing_values=pandas.NA)
    expected = AutoencoderImputer().fit_transform(X)
    np.testing.assert_array_equal(clone(imputer).fit_transform(frame), expected)
    np.testing.assert_array_equal(imputer.fit_transform(X), expected)
    assert imputer.__sklearn_tags__().input_tags.allow_nan


def test_empty_columns_are_named_and_dropped():
    cells = np.array([[1.0, np.nan], [2.0, np.nan]])
    names = np.array(["a", "b"], dtype=object)
    with pytest.warns(UserWarning, match=r"columns \['b'\] have no observed value"):
        imputer = fit_initial_imputer(SimpleImputer(), cells, np.isnan(cells), names)
    assert imputer.get_feature_names_out().tolist() == ["a"]
