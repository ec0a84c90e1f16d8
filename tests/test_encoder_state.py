"""Encoders of categories in files: their positions, which scikit-learn does not check."""

import numpy as np
import pytest
from file_mutations import mutate
from mixed_pipelines import RARE, dense, table
from sklearn.base import clone
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder
from tampering import attribute, rewrite

from skae import load, save

COLUMNS = ["town", "job", "code", "owner"]
UNKNOWN = {"handle_unknown": "use_encoded_value", "unknown_value": -1}
ENCODERS = {
    "one-hot": OneHotEncoder(),
    "ignored": OneHotEncoder(handle_unknown="ignore", sparse_output=False, dtype=np.float32),
    "dropped": OneHotEncoder(drop="first", dtype=np.int64),
    "dropped if binary": OneHotEncoder(drop="if_binary", handle_unknown="ignore"),
    "dropped by name": OneHotEncoder(drop=["Rome", "nurse", 1, True]),
    "infrequent": OneHotEncoder(**RARE, drop="first"),
    "few": OneHotEncoder(max_categories=2, handle_unknown="warn"),
    "given": OneHotEncoder(
        categories=[["Rome", "Oslo", "Bonn", np.nan], ["nurse", "clerk"], [0, 1, 2], [False, True]]
    ),
    "ordinal": OrdinalEncoder(encoded_missing_value=-3, dtype=np.int16),
    "unknown": OrdinalEncoder(**UNKNOWN | {"unknown_value": np.nan}),
    "few ordinal": OrdinalEncoder(**UNKNOWN, max_categories=2, encoded_missing_value=-2),
}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.skae"


@pytest.fixture(params=ENCODERS)
def encoder(request):
    return clone(ENCODERS[request.param])


def rows(seed, *, missing=True):
    return table(seed, missing=missing)[COLUMNS]


def test_an_encoder_is_restored(encoder, path, global_random_seed):
    for missing in (False, True):
        frame = rows(global_random_seed, missing=missing)
        save(encoder.fit(frame), path)
        again = load(path)
        codes = encoder.transform(frame)
        np.testing.assert_array_equal(dense(again.transform(frame)), dense(codes))
        assert again.get_params().keys() == encoder.get_params().keys()
        assert again.dtype is encoder.dtype


@pytest.mark.filterwarnings("ignore")
def test_positions_in_a_changed_file_stay_within_the_output(encoder, path, global_random_seed):
    """Wrong positions would be written outside of the memory of the output."""
    frame, rng = rows(global_random_seed), np.random.RandomState(global_random_seed)
    save(encoder.fit(frame), path)
    whole = path.read_bytes()
    for _ in range(10):
        path.write_bytes(whole)
        mutate(path, rng)
        try:
            codes = load(path).transform(frame)
        except (AttributeError, ValueError, TypeError, IndexError):
            continue
        if not isinstance(codes, np.ndarray):
            codes.check_format(full_check=True)


def change_entry(name, i, value):
    """A tampering of one entry of an attribute that is a list."""

    def change(header, arrays):
        entries = attribute(header, name)
        (entries if isinstance(entries, list) else entries["value"])[i] = value

    return change


def change_array(name, *values, dtype=np.int64):
    return lambda header, arrays: arrays | {name: np.array(values, dtype=dtype)}


BROKEN = {
    "unsorted numbers": change_array("categories_.2", 2, 1, 0),
    "equal numbers": change_array("categories_.2", 0, 1, 1),
    "NaN before numbers": change_array("categories_.2", np.nan, 1, 2, dtype=float),
    "no categories": change_array("categories_.2"),
    "no columns": lambda header, arrays: attribute(header, "categories_").clear(),
    "wide output": change_entry("_n_features_outs", 0, 10**12),
    "narrow output": change_entry("_n_features_outs", 0, 1),
    "negative output": change_entry("_n_features_outs", 0, -1),
    "a category out of range": change_entry("_drop_idx_after_grouping", 0, 7),
    "a negative category": change_entry("_drop_idx_after_grouping", 0, -1),
    "no category": change_entry("_drop_idx_after_grouping", 0, None),
    "half a category": change_entry("drop_idx_", 0, 0.5),
    "infrequent out of range": change_array("_infrequent_indices.0", 9),
    "infrequent and negative": change_array("_infrequent_indices.0", -1, 0),
    "other infrequent": change_array("_infrequent_indices.0", 0),
    "a mapping out of range": change_array("_default_to_infrequent_mappings.0", 0, 1, 9, 2),
    "a short mapping": change_array("_default_to_infrequent_mappings.0", 0),
    "no mapping": change_entry("_default_to_infrequent_mappings", 0, None),
    "a dtype of strings": lambda header, arrays: attribute(header, "dtype").update(value="str"),
}


@pytest.mark.parametrize("change", BROKEN.values(), ids=BROKEN)
def test_a_tampered_encoder_is_refused(change, path):
    encoder = OneHotEncoder(drop="first", min_frequency=18, handle_unknown="infrequent_if_exist")
    save(encoder.fit(rows(0)), path)
    assert encoder._infrequent_indices[0] is not None
    rewrite(path, lambda header, arrays: None)
    load(path)
    rewrite(path, change)
    with pytest.raises(ValueError, match="`path` must be"):
        load(path)


@pytest.mark.parametrize("position", [-1, 1, 10**6])
def test_a_tampered_position_of_missing_entries_is_refused(position, path):
    save(OrdinalEncoder().fit(rows(0)), path)
    rewrite(
        path,
        lambda header, arrays: attribute(header, "_missing_indices")["value"][0].__setitem__(
            1, position
        ),
    )
    with pytest.raises(ValueError, match="`path` must be"):
        load(path)
