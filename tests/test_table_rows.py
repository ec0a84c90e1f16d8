"""Validation of tables by the estimators that take them."""

import warnings

import numpy as np
import pandas as pd
import pytest
from conftest import AUTOENCODERS, ESTIMATORS
from frames import mixed_frame
from sklearn.base import clone

import skae

TAKING_TABLES = [cls for cls in ESTIMATORS if hasattr(cls, "categorical_features")]
# The autoencoders share the code that sets attributes.
SETTING_ATTRIBUTES = [cls for cls in TAKING_TABLES if cls is skae.VAE or cls not in AUTOENCODERS]


@pytest.fixture
def frame(global_random_seed):
    return mixed_frame(np.random.RandomState(global_random_seed))


@pytest.fixture(params=TAKING_TABLES, ids=lambda cls: cls.__name__)
def make(request, small):
    return lambda **parameters: small(request.param, **parameters)


def fit(estimator, X):
    return estimator.fit(X, np.arange(len(X)) % 2)


@pytest.mark.parametrize("value", [3, {"a"}, "columns"])
def test_other_values_of_the_parameter_are_refused(value, make, frame):
    with pytest.raises((TypeError, ValueError), match="`categorical_features` must be"):
        fit(make(categorical_features=value), frame)


def test_text_is_refused_if_it_is_no_category(frame, small):
    estimator = small(skae.AutoencoderTransformer, categorical_features=None)
    with pytest.raises(ValueError, match="convert"):
        estimator.fit(frame)
    assert not vars(estimator).keys() & {"n_features_in_", "_table"}


@pytest.mark.parametrize("cls", [*TAKING_TABLES, skae.ReconstructionTransformer])
def test_names_of_columns_are_distinct_and_one_column_has_an_entry(cls, frame, small):
    empty = frame[["kind"]].assign(kind=pd.Categorical([None] * len(frame)))
    with pytest.raises(ValueError, match="distinct names"):
        fit(small(cls, 1), pd.concat([frame, frame], axis=1))
    with pytest.raises(ValueError, match="Every entry of X is missing"):
        fit(small(cls, 1), empty)


def test_a_table_must_have_the_columns_of_the_fit(frame, small):
    fitted = small(skae.AutoencoderTransformer, 2).fit(frame)
    with pytest.raises(ValueError, match="feature names should match"):
        fitted.transform(frame[frame.columns[::-1]])
    with pytest.raises(ValueError, match="now missing"):
        fitted.transform(frame[frame.columns[1:]])
    with pytest.raises(ValueError, match=r"\(0, 5\)\) while a minimum of 1 is required by Auto"):
        fitted.transform(frame[:0])
    with pytest.raises(ValueError, match="distinct names"):
        small(skae.AutoencoderTransformer, 2).fit(pd.concat([frame, frame], axis=1))
    with pytest.raises(ValueError, match="distinct names"):
        fitted.transform(frame.rename(columns={"kind": "town"}))
    with pytest.raises(ValueError, match="Input X contains infinity"):
        fitted.transform(frame.assign(size=np.inf))
    with pytest.raises(ValueError, match=r"convert.* Column 'size' has"):
        fitted.transform(frame.assign(size="long"))
    with pytest.raises(TypeError, match=r"Column 'kind' of X must have .* of type 'list'"):
        fitted.transform(frame.assign(kind=[[]] * len(frame)))


def test_entries_of_another_kind_than_the_categories_are_reported(frame, small):
    X = frame.assign(kind=np.arange(len(frame)) % 3)
    categories = ["kind", "town"]
    fitted = small(skae.AutoencoderTransformer, 2, categorical_features=categories).fit(X)
    with pytest.warns(UserWarning, match="'kind' of X has strings.* `fit` are numbers") as caught:
        fitted.transform(X.assign(kind=X["kind"].astype(str)))
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for kind in (7, 1.0, None):
            fitted.transform(X.assign(kind=kind))


def test_the_column_that_has_no_numbers_is_named(make, frame):
    with pytest.raises(ValueError, match=r"convert.* Column 'pairs' has the dtype object"):
        fit(make(), frame.assign(pairs=[[1, 2]] * len(frame)))
    one = frame.iloc[:1]
    with pytest.raises(ValueError, match=r"\b1 sample\(s\)") as raised:
        fit(make(), one)
    assert "sample_weight" not in str(raised.value)


@pytest.mark.parametrize("values", [[(), (1, 2), (3,)], [b"a", b"a\0", b"b"]])
def test_categories_may_be_tuples_or_bytes(values, frame, small):
    entries = np.empty(len(frame), dtype=object)
    entries[:] = [values[i % 3] for i in range(len(frame))]
    X = frame.assign(kind=pd.Categorical(entries))
    assert small(skae.AutoencoderTransformer, 2).fit(X).categories_[0].tolist() == values


def test_the_size_of_the_code_of_a_classifier_is_at_most_the_encoded_columns(frame):
    X = frame[["size", "kind"]].assign(kind=pd.Categorical([None] * len(frame)))
    classifier = fit(skae.AutoencoderClassifier(max_iter=1, random_state=0), X)
    assert classifier.transform(X).shape == (len(X), 1)


@pytest.mark.parametrize("cls", SETTING_ATTRIBUTES, ids=lambda cls: cls.__name__)
def test_a_fit_to_numbers_forgets_the_table(cls, frame, small):
    X = np.nan_to_num(frame[["size", "is_new", "size"]].to_numpy(dtype=float))
    estimator = small(cls, 2)
    fresh = fit(clone(estimator), X)
    fitted = fit(fit(estimator, frame), X)
    assert vars(fitted).keys() == vars(fresh).keys()
    name = "score_samples" if hasattr(fitted, "score_samples") else "transform"
    results = (getattr(model, name)(X) for model in (fitted, fresh))
    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize("n_categories", [30, 31, 60])
def test_a_column_of_identifiers_gives_a_warning(n_categories):
    names = [f"customer {i % n_categories}" for i in range(60)]
    frame = pd.DataFrame({"x": np.arange(60.0), "id": names})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        skae.AutoencoderTransformer(1, max_iter=1, random_state=0).fit(frame).transform(frame)
    messages = [str(warning.message) for warning in caught]
    found = [text for text in messages if text.endswith("Leave it out if it identifies rows.")]
    expected = f"Column 'id' of X has {n_categories} categories in 60 rows"
    assert [text[: len(expected)] for text in found] == [expected] * (n_categories > 30)
