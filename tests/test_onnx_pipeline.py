"""Exported pipelines that begin with a column transformer have one input for each column."""

import numpy as np
import pytest
from conftest import AUTOENCODERS
from frames import mixed_frame
from mixed_pipelines import KINDS, N_ROWS, RARE, dense, fitted, one_hot, ordinal, table
from onnx_models import session
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

import skae
from skae import to_onnx

runtime = pytest.importorskip("onnxruntime")
pytest.importorskip("skl2onnx")


def run(model, frame, dtype=np.float32):
    """The outputs for the columns of a frame, as they are."""
    made = session(model)
    texts = {value.name for value in made.get_inputs() if "string" in value.type}
    inputs = {
        value.name: frame[[value.name]].to_numpy(object if value.name in texts else dtype)
        for value in made.get_inputs()
    }
    return made.run(None, inputs)


def empty(value):
    """A column of strings without an observed entry."""
    return np.full(N_ROWS, value, dtype=object)


@pytest.mark.filterwarnings("ignore:Found unknown categories")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", KINDS)
def test_a_column_transformer_is_exported(kind, dtype, global_random_seed):
    frame = table(global_random_seed, missing=True).astype({"age": dtype, "pay": dtype})
    estimator = fitted(kind, frame)
    model = to_onnx(estimator, dtype=dtype)
    # One that takes another name, is missing, or was not in the rows of `fit`.
    for rows in (frame, frame.assign(town="Paris"), frame.assign(town=empty(np.nan))):
        (result,) = run(model, rows, dtype)
        assert result.dtype == dtype
        tolerance = 1e-5 if dtype == np.float32 else 1e-12
        expected = dense(estimator.transform(rows))
        np.testing.assert_allclose(result, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_pipeline_from_a_table_to_labels_is_exported(dtype, small, global_random_seed):
    frame = table(global_random_seed, missing=True).astype({"age": dtype, "pay": dtype})
    y = np.where(np.arange(len(frame)) % 3, "b", "a")
    steps = clone(fitted("names", frame)), small(skae.AutoencoderTransformer, 2, max_iter=1)
    pipeline = make_pipeline(make_pipeline(*steps), LogisticRegression()).fit(frame, y)
    labels, probabilities = run(to_onnx(pipeline, dtype=dtype), frame, dtype)
    np.testing.assert_array_equal(labels, pipeline.predict(frame))
    np.testing.assert_allclose(probabilities, pipeline.predict_proba(frame), atol=1e-5)


def test_inputs_are_the_columns_that_are_used_by_their_names(global_random_seed):
    names = {"age": "label", "town": "probabilities", "job": "my job-1", "code": "variable"}
    frame = table(global_random_seed).rename(columns=names)
    columns = ColumnTransformer(
        [("n", StandardScaler(), ["label", "variable"]), ("o", one_hot(), [*names.values()][1:3])]
    )
    pipeline = make_pipeline(columns, LogisticRegression()).fit(frame, frame["owner"])
    model = to_onnx(pipeline)
    assert [value.name for value in model.graph.input] == [*names.values()]
    _, probabilities = run(model, frame)
    np.testing.assert_allclose(probabilities, pipeline.predict_proba(frame), atol=1e-6)


ENCODERS = [
    OneHotEncoder(**RARE, drop="first"),
    OneHotEncoder(max_categories=2, handle_unknown="warn"),
    OneHotEncoder(drop=["Rome", "nurse"], handle_unknown="ignore"),
    ordinal(unknown_value=np.nan, min_frequency=25),
    ordinal(unknown_value=100, encoded_missing_value=-5, max_categories=2),
]


@pytest.mark.filterwarnings("ignore:Found unknown categories")
@pytest.mark.parametrize("encoder", ENCODERS, ids=str)
def test_infrequent_unknown_and_missing_categories_are_exported(encoder, global_random_seed):
    frame = table(global_random_seed, missing=True)
    frame.loc[20:22, "job"] = None
    estimator = ColumnTransformer([("e", clone(encoder), ["town", "job"])]).fit(frame)
    for rows in (
        frame,
        frame.assign(town="Paris", job=empty(np.nan)),
        frame.assign(job=empty(None)),
    ):
        (result,) = run(to_onnx(estimator), rows)
        np.testing.assert_array_equal(result, dense(estimator.transform(rows)))


@pytest.mark.parametrize("cls", [OneHotEncoder, OrdinalEncoder])
def test_a_category_that_is_an_error_is_one_in_the_model(cls, capfd, global_random_seed):
    frame = table(global_random_seed)
    estimator = ColumnTransformer([("e", cls(), ["town", "code"])]).fit(frame)
    model = to_onnx(estimator)
    np.testing.assert_array_equal(run(model, frame)[0], dense(estimator.transform(frame)))
    for rows in (frame.assign(town="Paris"), frame.assign(code=1.5)):
        with pytest.raises(runtime.capi.onnxruntime_pybind11_state.InvalidArgument):
            run(model, rows)
    capfd.readouterr()  # onnxruntime prints the error


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        (SimpleImputer(add_indicator=True), "`add_indicator`"),
        (OneHotEncoder(categories=[[0.1, 0.1 + 1e-12]]), "equal in single precision"),
    ],
)
def test_what_has_no_converter_is_refused_with_the_reason(step, reason):
    frame = table(0).assign(age=0.1)
    estimator = ColumnTransformer([("e", step, ["age"])]).fit(frame)
    with pytest.raises(TypeError, match=f"`estimator` cannot be exported to ONNX; .*{reason}"):
        to_onnx(estimator)


@pytest.mark.filterwarnings("ignore:Skipping features")
def test_columns_that_an_imputer_drops_are_refused():
    frame = table(0).assign(age=np.nan)
    estimator = make_pipeline(SimpleImputer(), StandardScaler()).fit(frame[["age", "pay"]])
    with pytest.raises(TypeError, match="columns without observed entries"):
        to_onnx(estimator)


@pytest.mark.parametrize("cls", AUTOENCODERS, ids=lambda cls: cls.__name__)
def test_an_autoencoder_of_a_table_takes_positions_of_categories(cls, small, global_random_seed):
    frame = mixed_frame(np.random.RandomState(global_random_seed), 60)
    steps = 2 if cls().transform_max_iter else 0  # each adds many operations
    fitted = small(cls, 2, max_iter=1, transform_max_iter=steps).fit(frame)
    frame = frame[:30].assign(town=frame["town"].where(frame["size"] < 1, "Paris"))
    names = ["kind", "town"]
    encoder = OrdinalEncoder(
        categories=fitted.categories_, handle_unknown="use_encoded_value", unknown_value=np.nan
    )
    rows = frame.copy()
    rows[names] = encoder.fit_transform(frame[names].astype(object))
    rows = rows.astype(float).to_numpy()
    expected = {name: getattr(fitted, name)(frame) for name in ("transform", "score_samples")}
    # It returns numbers, and then the probabilities of all categories.
    expected["reconstruct"] = fitted.reconstruct(frame)["size"].to_numpy()
    width = 3 + sum(map(len, fitted.categories_))
    # Projected codes differ by more than the rounding of one step.
    cases = [(name, np.float32, 2e-3) for name in expected] + [("transform", np.float64, 1e-6)]
    for method, dtype, rtol in cases:
        model, values = to_onnx(fitted, method, dtype=dtype), expected[method]
        (result,) = session(model).run(None, {"X": rows.astype(dtype)})
        if method == "reconstruct":
            assert result.shape == (len(frame), width)
            result = result[:, 0]
        atol = rtol * np.abs(values).max()
        np.testing.assert_allclose(result, values, rtol=rtol, atol=atol)


@pytest.mark.parametrize(
    "columns", [[False, True, True, False], np.array([False, False, True, True]), [-1, 1]]
)
def test_columns_of_an_array_may_be_selected_in_any_way(columns, global_random_seed):
    X = np.random.RandomState(global_random_seed).rand(20, 4).astype(np.float32)
    steps = ColumnTransformer([("a", StandardScaler(), columns)], remainder="passthrough")
    pipeline = make_pipeline(steps, StandardScaler()).fit(X)
    (codes,) = session(to_onnx(pipeline)).run(None, {"X": X})
    np.testing.assert_allclose(codes, pipeline.transform(X), rtol=0, atol=1e-4)
