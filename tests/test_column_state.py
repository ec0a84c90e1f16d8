"""Column transformers in files: they are restored, and changed ones are refused or work."""

import numpy as np
import pandas as pd
import pytest
from file_mutations import mutate
from mixed_pipelines import KINDS, constant, dense, fitted, one_hot, table
from sklearn.base import clone
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from tampering import attribute, rewrite, state

import skae
from skae import load, save
from skae._export.column_state import MAX_FORMAT
from skae._export.plain_values import TYPES

N_MUTATIONS = 4


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.skae"


def names_out(estimator):
    return estimator.get_feature_names_out().tolist()


@pytest.mark.filterwarnings("ignore:Found unknown categories")
@pytest.mark.parametrize("kind", KINDS)
def test_a_column_transformer_is_restored(kind, path, global_random_seed):
    frame = table(global_random_seed, missing=True)
    estimator = fitted(kind, frame)
    save(estimator, path)
    again, new = load(path), frame.assign(town="Paris")
    for rows in (frame, new, frame[frame.columns[::-1]]):
        expected, result = estimator.transform(rows), again.transform(rows)
        assert type(result) is type(expected)
        np.testing.assert_array_equal(dense(result), dense(expected))
    assert names_out(again) == names_out(estimator)
    again._repr_html_()
    refitted = clone(again).fit(frame).transform(frame)
    np.testing.assert_array_equal(dense(refitted), dense(estimator.transform(frame)))


def test_a_pipeline_from_a_table_to_labels_is_restored(path, small, global_random_seed):
    frame = table(global_random_seed, missing=True)
    pipeline = make_pipeline(
        fitted("names", frame),
        small(skae.AutoencoderTransformer, 2, max_iter=1),
        LogisticRegression(),
    ).fit(frame, np.arange(len(frame)) % 3)
    save(pipeline, path)
    np.testing.assert_array_equal(load(path).predict_proba(frame), pipeline.predict_proba(frame))
    pipeline.steps[0] = ("columntransformer", fitted("index", frame))
    with pytest.raises(TypeError, match="a step takes 10 columns, the one before returns 8"):
        save(pipeline, path)


def test_frames_are_returned_as_before(path, global_random_seed):
    frame = table(global_random_seed)
    kinds = ColumnTransformer(
        [("o", OneHotEncoder(sparse_output=False), ["town"])],
        remainder="passthrough",
        verbose_feature_names_out=False,
    ).set_output(transform="pandas")
    save(kinds.fit(frame), path)
    pd.testing.assert_frame_equal(load(path).transform(frame), kinds.transform(frame))


def test_types_and_selectors_in_parameters_are_restored(path):
    for cls in TYPES.values():
        save(
            OneHotEncoder(dtype=cls) if cls in (float, np.float32, np.int64) else selecting(cls),
            path,
        )
        loaded = load(path)
        if isinstance(loaded, OneHotEncoder):
            assert loaded.dtype is cls
            continue
        selector = loaded.transformers[0][2]
        assert (selector.dtype_include, selector.dtype_exclude) == (cls, [cls, "category"])
        assert selector.pattern == "^a"


def selecting(cls):
    selector = make_column_selector("^a", dtype_include=cls, dtype_exclude=[cls, "category"])
    return ColumnTransformer([("n", StandardScaler(), selector)])


def double(X):
    return 2 * X


def first(frame):
    return ["age"]


def test_functions_are_stored_by_name_or_refused(path, global_random_seed):
    frame = table(global_random_seed)
    own = ColumnTransformer([("f", FunctionTransformer(double), first)]).fit(frame)
    save(own, path, custom_objects=[double, first])
    again = load(path, custom_objects=[double, first])
    np.testing.assert_array_equal(again.transform(frame), own.transform(frame))
    with pytest.raises(TypeError, match=r"`transformers.0.1.func` cannot be saved without code"):
        save(own, path, custom_objects=[first])
    with pytest.raises(TypeError, match=r"`transformers.0.2` cannot be saved without code"):
        save(own, path, custom_objects=[double])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", KINDS)
def test_a_changed_file_is_refused_or_gives_an_estimator_that_works(kind, path, global_random_seed):
    frame = table(global_random_seed, missing=True)
    rng = np.random.RandomState(global_random_seed)
    save(fitted(kind, frame), path)
    whole = path.read_bytes()
    for _ in range(N_MUTATIONS):
        path.write_bytes(whole)
        mutate(path, rng)
        try:
            loaded = load(path)
        except ValueError:
            continue
        repr(loaded)
        try:
            loaded.transform(frame)
        except (AttributeError, ValueError, TypeError):  # one that is not fitted, or of other rows
            continue


def entry(header, name):
    """The encoded value of an attribute, to be changed."""
    return attribute(header, name)["value"]


def first_place(header):
    """The output columns of the first transformer: start, stop and step."""
    return entry(header, "output_indices_")[0][1]["value"]


def columns_of(header, i):
    return entry(header, "transformers_")[i]["value"]


def fitted_entries(header):
    return attribute(header, "transformers_")


def set_attribute(name, value):
    def change(header, arrays):
        state(header)[:] = [pair for pair in state(header) if pair[0] != name] + [[name, value]]

    return change


def select(value):
    """A tampering of the columns of the first fitted transformer."""

    def change(header, arrays):
        fitted_entries(header)[0]["value"][2] = value

    return change


def set_indices(value):
    def change(header, arrays):
        entry(header, "_transformer_to_input_indices")[0][1] = value

    return change


def rename_second(header, arrays):
    fitted_entries(header)[1]["value"][0] = fitted_entries(header)[0]["value"][0]


def set_place(*place):
    def change(header, arrays):
        first_place(header)[:] = place

    return change


WIDE = [0, 10**12, None]
BROKEN = {
    "another column": select(["pay"]),
    "an unknown column": select(["wage"]),
    "a column out of range": select([6]),
    "a mask of another length": select([True]),
    "columns of two kinds": select(["age", 0]),
    "no columns": select(None),
    "a long slice": select({"kind": "slice", "value": WIDE}),
    "a slice of lists": select({"kind": "slice", "value": [[], None, None]}),
    "numbers out of range": set_indices([10**6]),
    "negative numbers": set_indices([-1]),
    "numbers of another length": set_indices([0, 0]),
    "a column in no selection": set_attribute("n_features_in_", 7),
    "many columns": set_attribute("n_features_in_", 10**12),
    "two of one name": rename_second,
    "output elsewhere": set_place(1, 2, None),
    "wide output": set_place(0, 10**12, None),
    "negative output": set_place(0, -1, None),
    "many processes": set_attribute("n_jobs", "all"),
    "wide weights": set_attribute("transformer_weights", {"kind": "dict", "value": [["n", [1]]]}),
    "a format with attributes": set_attribute("verbose_feature_names_out", "{feature_name.x}"),
    "a format with a width": set_attribute("verbose_feature_names_out", "{feature_name:>99999}"),
    "a long format": set_attribute("verbose_feature_names_out", "a" * (MAX_FORMAT + 1)),
    "no transformers": set_attribute("transformers", 3),
    "another type": select({"kind": "type", "value": "Popen"}),
    "another selector": select({"kind": "column_selector", "value": [1, None, None]}),
    "a selector of lists": select({"kind": "column_selector", "value": ["", [[]], None]}),
    "another output": set_attribute("sparse_output_", "sparse"),
    "a function": set_attribute("remainder", {"kind": "custom", "name": "eval"}),
}  # fmt: skip


@pytest.mark.parametrize("change", BROKEN.values(), ids=BROKEN)
def test_a_tampered_column_transformer_is_refused(change, path):
    save(fitted("names", table(0)), path)
    rewrite(path, lambda header, arrays: None)
    load(path)
    rewrite(path, change)
    with pytest.raises(ValueError, match="`path` must be"):
        load(path)


def test_a_small_file_takes_little_memory(path):
    estimator = ColumnTransformer([("n", "passthrough", [0])], remainder="passthrough")
    save(estimator.fit(np.eye(3)), path)
    for change in (
        set_attribute("n_features_in_", 10**12),
        select({"kind": "slice", "value": WIDE}),
    ):
        whole = path.read_bytes()
        rewrite(path, change)
        with pytest.raises(ValueError, match="`path` must be"):
            load(path)
        path.write_bytes(whole)


def test_parts_of_another_width_are_refused(path):
    frame = table(0)
    estimator = fitted("index", frame)
    name, _, columns = estimator.transformers_[0]
    for part in (
        StandardScaler().fit(frame[["age"]]),
        one_hot().fit(frame[["code", "owner"]]),
        constant().fit(frame[["town"]]),
    ):
        estimator.transformers_[0] = (name, part, columns)
        with pytest.raises(TypeError, match=r"takes another number of columns|returns 5 columns"):
            save(estimator, path)


def test_a_transformer_that_an_older_version_of_scikit_learn_has_saved_is_read(path):
    estimator = fitted("names", table(0))
    save(estimator, path)
    rewrite(path, set_attribute("force_int_remainder_cols", True))  # a parameter until 1.8
    again = load(path)
    np.testing.assert_array_equal(again.transform(table(1)), estimator.transform(table(1)))
