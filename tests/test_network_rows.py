"""Tables in all autoencoders: reconstructions have the columns and dtypes of the table."""

import pickle

import numpy as np
import pandas as pd
import pytest
from conftest import AUTOENCODERS
from file_mutations import at, places
from frames import as_polars, mixed_frame
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder
from tampering import attribute, rewrite

import skae
from skae._export.methods import program
from skae._graph.numpy_runtime import OPERATIONS

FITTED = {}


@pytest.fixture
def frame(global_random_seed):
    return mixed_frame(np.random.RandomState(global_random_seed))


@pytest.fixture(params=AUTOENCODERS, ids=lambda cls: cls.__name__)
def fitted(request, small, frame):
    """Each autoencoder, fitted to the frame; do not change it."""
    if request.param not in FITTED:
        FITTED[request.param] = small(request.param, 2).fit(frame)
    return FITTED[request.param]


def test_the_same_table_comes_back(fitted, frame):
    back = fitted.reconstruct(frame)
    pd.testing.assert_series_equal(back.dtypes, frame.dtypes)
    assert back.index.equals(frame.index)
    assert not back.isna().any(axis=None)
    codes = pd.DataFrame(fitted.transform(frame), index=frame.index)
    pd.testing.assert_frame_equal(fitted.inverse_transform(codes), back)


def test_unknown_categories_are_missing_values(fitted, frame):
    unknown, missing = frame.assign(town="Paris"), frame.assign(town=None)
    np.testing.assert_array_equal(fitted.transform(unknown), fitted.transform(missing))
    np.testing.assert_array_equal(fitted.score_features(unknown)[:, 3], np.zeros(len(frame)))


def test_names_of_categories_and_the_container_do_not_matter(fitted, frame, small):
    renamed = frame.assign(town=frame["town"].map({"Rome": "c", "Oslo": "b", "Bonn": "a"}))
    again = small(type(fitted), 2).fit(renamed)
    np.testing.assert_array_equal(again.transform(renamed), fitted.transform(frame))
    rows = frame.to_numpy(dtype=object)
    again = small(type(fitted), 2, categorical_features=[2, 3]).fit(rows)
    np.testing.assert_array_equal(again.transform(rows), fitted.transform(frame))
    assert again.reconstruct(rows).dtype == object


def test_pickles_and_files_have_the_table(fitted, frame, tmp_path):
    skae.save(fitted, tmp_path / "fitted.skae")
    for again in (pickle.loads(pickle.dumps(fitted)), skae.load(tmp_path / "fitted.skae")):
        np.testing.assert_array_equal(again.transform(frame), fitted.transform(frame))
        pd.testing.assert_frame_equal(again.reconstruct(frame), fitted.reconstruct(frame))


def lists_of_categories(header):
    """The categories of each column of strings in a file, those of its dtype and of its rows."""
    table = attribute(header, "_table")
    found = [at(table, path) for path in places(table)]
    return [
        entry["value"]
        for entry in found
        if isinstance(entry, dict) and entry.get("kind") in ("strings", "objects")
    ]


def test_a_file_whose_categories_are_not_distinct_is_refused(fitted, tmp_path):
    path = tmp_path / "fitted.skae"
    skae.save(fitted, path)
    whole = path.read_bytes()
    for index in range(3):

        def repeat_category(header, arrays, index=index):
            categories = lists_of_categories(header)[index]
            categories[-1] = categories[0]

        path.write_bytes(whole)
        rewrite(path, repeat_category)
        with pytest.raises(ValueError, match="another kind of '_table'"):
            skae.load(path)


def positions_of_categories(fitted, frame):
    """The rows with each category as its position, and NaN for missing and unknown ones."""
    names = ["kind", "town"]
    encoder = OrdinalEncoder(
        categories=fitted.categories_, handle_unknown="use_encoded_value", unknown_value=np.nan
    )
    rows = frame.copy()
    rows[names] = encoder.fit_transform(frame[names].astype(object))
    return rows.astype(float).to_numpy()


def test_an_exported_model_takes_positions_of_categories(fitted, frame):
    rows = positions_of_categories(fitted, frame)
    for method in ("transform", "score_samples", "reconstruct"):
        made = program(fitted, method)
        values = {"X": rows} | made.graph.constants
        with np.errstate(all="ignore"):
            for node in made.graph.nodes:
                inputs = (values[name] for name in node.inputs)
                values[node.output] = OPERATIONS[node.operation](*inputs, **node.attributes)
        expected, found = getattr(fitted, method)(frame), values[made.output]
        if method == "reconstruct":  # first numbers, then probabilities
            expected, found = expected["size"].to_numpy(), found[:, 0]
            probabilities = values[made.output][:, 3:]
            np.testing.assert_allclose(probabilities.sum(1), 2)  # of two columns
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)


def test_scores_of_columns_are_those_of_rows(reconstructing, frame, small):
    fitted = small(reconstructing, 2).fit(frame)
    scores = fitted.score_features(frame)
    assert scores.shape == frame.shape
    np.testing.assert_allclose(scores.sum(1), fitted.score_samples(frame))
    contributions = fitted.feature_contributions(frame)
    assert contributions.shape == (len(frame), 2, frame.shape[1])
    assert (contributions[frame["kind"].isna(), :, 2] == 0).all()


def test_polars_frames_come_back(frame, small):
    table = as_polars(frame)
    back = small(skae.AutoencoderTransformer, 2).fit(table).reconstruct(table)
    assert back.schema == table.schema
    assert small(skae.VAE, 2).fit(table).sample(7).schema == table.schema


def test_categories_that_other_columns_determine_are_reconstructed(global_random_seed):
    rng = np.random.RandomState(global_random_seed)
    t = rng.normal(size=300)
    frame = pd.DataFrame({"t": t, "half": np.where(t > 0, "a", "b"), "s": t > 1})
    fitted = skae.AutoencoderTransformer(1, max_iter=60, random_state=0).fit(frame)
    back = fitted.reconstruct(frame)
    assert (back["half"] == frame["half"]).mean() > 0.98
    assert np.corrcoef(back["t"], t)[0, 1] > 0.98


def test_tables_go_through_pipelines_and_searches(frame, small):
    y = frame["is_new"].to_numpy()
    pipeline = make_pipeline(
        small(skae.AutoencoderTransformer, 2, max_iter=2).set_output(transform="pandas"),
        LogisticRegression(),
    )
    search = GridSearchCV(pipeline, {"autoencodertransformer__n_components": [1, 2]}, cv=2)
    assert np.isfinite(search.fit(frame, y).best_score_)


def test_a_later_batch_may_have_new_categories(autoencoder, frame, small):
    estimator = small(autoencoder, 2).partial_fit(frame)
    estimator.partial_fit(frame.assign(town="Paris"))
    assert list(estimator.categories_[1]) == ["Bonn", "Oslo", "Rome"]
    assert np.isfinite(estimator.transform(frame)).all()
