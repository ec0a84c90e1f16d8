"""The result of a comparison: means, deviations, the table and the data frame."""

import pickle
import sys
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from sklearn.datasets import load_iris
from sklearn.decomposition import PCA, KernelPCA
from sklearn.svm import SVC

from skae import compare_reducers

ONE_SPLIT = [(np.arange(0, 150, 2), np.arange(1, 150, 2))]


@pytest.fixture
def X():
    return load_iris().data


@pytest.fixture
def y():
    return load_iris().target


def test_a_name_takes_one_line_of_the_table(X):
    comparison = compare_reducers({"a\nb\tc\x1b": PCA(1), "ä": PCA(1)}, X, cv=ONE_SPLIT)
    lines = repr(comparison).splitlines()
    assert [line.split()[0] for line in lines[1:3]] == [r"a\nb\tc\x1b", "ä"]
    assert len(lines) == 4
    assert "\n" not in comparison._repr_html_()


def test_mean_std_and_frame_agree_with_the_folds(X, y):
    comparison = compare_reducers({"one": PCA(1), "two": PCA(2)}, X, y, random_state=0)
    folds = pd.DataFrame(comparison.folds["two"])
    frame = comparison.to_frame()
    assert list(frame.index) == ["one", "two"]
    assert frame.index.name == "reducer"
    assert_allclose(comparison.mean()["two"], folds.mean())
    assert_allclose(comparison.std()["two"], folds.std(ddof=0))
    assert_allclose(frame.loc["two"], folds.mean()[frame.columns])
    assert list(frame.columns) == list(folds.columns[:7])  # without those not asked for


def test_the_table_is_aligned_and_shows_the_means(X, y):
    reducers = {"a": PCA(1), "a longer name": KernelPCA(2)}
    comparison = compare_reducers(reducers, X, y, random_state=0, downstream=SVC())
    header, first, second, note = str(comparison).splitlines()
    mean, std = comparison.mean()["a"], comparison.std()["a"]
    assert len(header) == len(first) == len(second)
    assert header.split("  ")[0] == "reducer"
    assert f"{mean.explained_variance:.3f} ± {std.explained_variance:.3f}" in first
    assert "5-NN accuracy" in header
    assert "downstream" in header
    assert note == "mean ± std over 3 folds, 150 unseen rows"


def test_the_table_has_no_deviation_for_one_split_and_no_column_without_y(X):
    text = str(compare_reducers({"pca": PCA(1)}, X, cv=ONE_SPLIT))
    assert "±" not in text
    assert "NN" not in text
    assert "downstream" not in text
    assert text.endswith("75 unseen rows")


def test_a_comparison_can_be_pickled(X):
    comparison = compare_reducers({"pca": PCA(1)}, X)
    assert str(pickle.loads(pickle.dumps(comparison))) == str(comparison)


def test_to_frame_without_pandas_is_an_import_error_that_names_it(monkeypatch, X):
    comparison = compare_reducers({"pca": PCA(1)}, X)
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match="`to_frame` needs pandas"):
        comparison.to_frame()


def test_the_view_in_notebooks_has_the_cells_of_the_table(X, y):
    comparison = compare_reducers({"<b>1</b>": PCA(1), "two": PCA(2)}, X, y, random_state=0)
    table, _, notes = comparison._repr_html_().partition("<small>")
    rows = [[cell.text for cell in row] for row in ElementTree.fromstring(table).iter("tr")]
    lines = repr(comparison).splitlines()
    assert [" ".join(row).split() for row in rows] == [line.split() for line in lines[:-1]]
    assert notes == f"{lines[-1]}</small>"
