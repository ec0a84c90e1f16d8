"""Values in files, and files that are made to do harm."""

import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import sklearn
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import LabelEncoder
from tampering import attribute, rewrite, state

from skae import VAE, AutoencoderTransformer, load, save
from skae._export.encoding import MAX_DEPTH
from skae._export.string_allowance import MAX_MORE_CHARACTERS, MAX_PADDING


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.skae"


@pytest.fixture(scope="module")
def estimator(digits, small):
    """A fitted estimator; tests save it and change the file."""
    return small(AutoencoderTransformer, max_iter=2).fit(digits)


@pytest.fixture(scope="module")
def whole(estimator, tmp_path_factory):
    """The bytes of a file of the estimator."""
    path = tmp_path_factory.mktemp("saved") / "model.skae"
    save(estimator, path)
    return path.read_bytes()


@pytest.fixture
def saved(whole, path):
    path.write_bytes(whole)
    return path


def nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


def add(name, value):
    """A tampering that adds an attribute."""
    return lambda header, arrays: state(header).append([name, value])


def use_twice(header, arrays):
    state(header).append(["network", attribute(header, "mean_")])


def structure(header):
    """The structure of the network, as a table."""
    return dict(attribute(header, "network_")["value"])["structure"]


def with_parts(table, place=""):
    """All parts of an encoded structure."""
    yield dict(table["value"])
    for _, part in dict(table["value"])["modules"]["value"]:
        yield from with_parts(part)


def change_value(cls, name, value):
    """A tampering that changes, or adds, an argument of each layer of a class."""

    def change(header, arrays):
        changed = [part for part in with_parts(structure(header)) if part["class"] == cls]
        assert changed
        for part in changed:
            values = part["values"]["value"]
            values[:] = [entry for entry in values if entry[0] != name] + [[name, value]]

    return change


def network_of_class(cls):
    """A tampering that adds a network whose class is a value of any kind."""

    def table(**entries):
        return {"kind": "dict", "value": [[name, entries[name]] for name in entries]}

    parts = {"values": table(), "parameters": [], "buffers": [], "modules": table()}
    described = table(**{"class": cls}, **parts)
    value = [["structure", described], ["arrays", table()]]
    return add("network", {"kind": "network", "value": value})


def random_state(position):
    """A tampering that adds a random state."""

    def change(header, arrays):
        arrays["key"] = np.zeros(624, np.uint32)
        key = {"kind": "array", "value": "key", "order": "C"}
        table = {"kind": "dict", "value": [["key", key], ["pos", position]]}
        entries = [["bit_generator", "MT19937"], ["state", table], ["has_gauss", 0], ["gauss", 0.0]]
        value = {"kind": "RandomState", "value": entries}
        state(header)[:] = [entry for entry in state(header) if entry[0] != "random_state"]
        state(header).append(["random_state", value])

    return change


def strings(**changes):
    value = {"kind": "strings", "dtype": "<U3", "shape": [1], "value": ["abc"]}
    return add("network", value | changes)


TAMPERINGS = {
    "format": lambda h, a: h.update(format=99),
    "class": lambda h, a: h["content"].update({"class": "Popen"}),
    "base class": lambda h, a: h["content"].update({"class": "BaseAutoencoder"}),
    "custom class": lambda h, a: h["content"].update(
        {"class": "Popen", "kind": "custom_estimator"}
    ),
    "custom function": add("network", {"kind": "custom", "name": "eval"}),
    "kind": lambda h, a: h["content"].update(kind="object"),
    "no estimator": lambda h, a: h.update(content=[1]),
    "method": add("transform", "x"),
    "dunder": add("__class__", "x"),
    "class attribute": add("_doc_link_template", "javascript:alert(1)"),
    "no array": add("mean_", {"kind": "array", "value": "none"}),
    "array used twice": use_twice,
    "dtype": add("network", {"kind": "dtype", "value": "V1000000000"}),
    "strings of bytes": strings(dtype="S1000000000"),
    "wide strings": strings(dtype="<U1000000000"),
    "many empty strings": strings(dtype="<U256", shape=[10**5], value=[""] * 10**5),
    "one long string": strings(dtype="<U0", shape=[10**4], value=["a" * 10**4] + [""] * 9999),
    "class that is an estimator": network_of_class(
        {"kind": "estimator", "class": "PCA", "value": [["_sklearn_version", sklearn.__version__]]}
    ),
    "strings of numbers": strings(dtype="|O", value=[{"kind": "float"}]),
    "objects that are no numbers": add(
        "network", {"kind": "objects", "shape": [1], "value": [{"kind": "tuple", "value": []}]}
    ),
    "objects of another shape": add("network", {"kind": "objects", "shape": [2], "value": [0]}),
    "record": add("network", {"kind": "record", "class": "Q", "value": []}),
    "random state before its words": random_state(-1),
    "random state after its words": random_state(625),
    "network": add("network_", 3),
    "network of another kind": add("network_", {"kind": "record", "class": "Seeds", "value": []}),
    "layer": change_value("Linear", "in_features", 10**9),
    "layer on a device": change_value("Linear", "device", "cpu"),
    "class of a layer": lambda h, a: structure(h)["value"].append(["class", "Hardtanh"]),
    "depth": add("network", nested(900)),
    "width": add("n_features_in_", 63),
    "codes of another width": change_value("RotatedAutoencoder", "n_components", 2**30),
    "tensor": lambda h, a: {
        name: a[name][..., :-1].copy() if "decoder" in name and "weight" in name else a[name]
        for name in a
    },
    "missing array": lambda h, a: dict(list(a.items())[:-1]),
    "custom objects": lambda h, a: h.update(custom_objects=[{}]),
    "custom objects in a string": lambda h, a: h.update(custom_objects="abc"),
    "no custom objects": lambda h, a: h.update(custom_objects=None),
}


def nest(n_levels):
    """A tampering that puts the estimator into others."""

    def change(header, arrays):
        for _ in range(n_levels):
            entries = [["estimator", header["content"]], ["_sklearn_version", sklearn.__version__]]
            kind = {"kind": "estimator", "class": "FrozenEstimator"}
            header["content"] = kind | {"value": entries}

    return change


@pytest.mark.parametrize("n_levels", [MAX_DEPTH, 10 * MAX_DEPTH])
def test_estimators_are_nested_a_few_levels_deep(n_levels, saved):
    whole = saved.read_bytes()
    rewrite(saved, nest(MAX_DEPTH - 1))
    load(saved)
    saved.write_bytes(whole)
    rewrite(saved, nest(n_levels))
    with pytest.raises(ValueError, match=f"nested more than {MAX_DEPTH} levels deep"):
        load(saved)


def test_bytes_that_are_no_booleans_are_refused(digits, path, small):
    save(small(VAE, max_iter=1).fit(digits), path)
    bad = np.full(4, 2, np.uint8).view(bool)
    rewrite(path, lambda header, arrays: arrays | {"active_components_": bad})
    with pytest.raises(ValueError, match="an array of booleans has other entries"):
        load(path)


@pytest.mark.parametrize("change", TAMPERINGS.values(), ids=TAMPERINGS)
def test_a_tampered_file_with_a_correct_digest_is_refused(change, saved):
    rewrite(saved, change)
    with pytest.raises(ValueError, match="`path` must be"):
        load(saved)


@pytest.mark.parametrize("change", [lambda header, arrays: None, random_state(624), strings()])
def test_the_same_without_the_error_is_accepted(change, saved):
    before = type(load(saved))
    rewrite(saved, change)
    assert type(load(saved)) is before


def test_a_name_in_a_file_is_not_looked_up_in_the_program(saved):
    rewrite(saved, lambda header, arrays: header.update(custom_objects=["os", "system", "a b"]))
    with pytest.raises(ValueError, match=r"refers to by name: os, system, 'a b'[.]"):
        load(saved)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, object])
@pytest.mark.parametrize("strategy", ["mean", "median", "most_frequent", "constant"])
def test_an_imputer_of_any_strategy_is_restored(strategy, dtype, path, global_random_seed):
    X = np.random.RandomState(global_random_seed).randint(9, size=(20, 3)).astype(dtype)
    marker = 5 if dtype is np.int64 else np.nan
    X[::4, 0] = marker
    for column, keep in [(X[:, 0], True), (X[:, 0], False), (np.full(20, marker), True)]:
        rows = np.c_[column, X[:, 1:]].astype(dtype)
        fill_value = 3 if strategy == "constant" else None
        imputer = SimpleImputer(
            missing_values=marker, strategy=strategy, fill_value=fill_value,
            add_indicator=True, keep_empty_features=keep,
        )  # fmt: skip
        save(make_pipeline(imputer.fit(rows)), path)
        loaded, expected = load(path)[0].transform(rows), imputer.transform(rows)
        np.testing.assert_array_equal(loaded, expected)
        assert loaded.dtype == expected.dtype


def in_wide_array(width, n=2):
    return LabelEncoder().fit(np.array([f"{i}" for i in range(n)], dtype=f"U{width}"))


@pytest.mark.parametrize(("width", "n"), [(4, 2), (256, 1000), (10_000, 26)])
def test_the_dtype_of_strings_is_restored(width, n, path):
    encoder = in_wide_array(width, n)
    save(encoder, path)
    np.testing.assert_array_equal(load(path).classes_, encoder.classes_)
    assert load(path).classes_.dtype == encoder.classes_.dtype == f"U{width}"


def test_strings_of_different_lengths_are_restored(path):
    encoder = LabelEncoder().fit(["long" * 1000, *map(str, range(1000))])
    save(encoder, path)
    np.testing.assert_array_equal(load(path).classes_, encoder.classes_)


def test_very_wide_strings_are_narrowed(path):
    encoder = in_wide_array(MAX_MORE_CHARACTERS)
    save(encoder, path)
    np.testing.assert_array_equal(load(path).classes_, encoder.classes_)
    assert load(path).classes_.dtype == "U1"


def test_strings_that_no_file_may_hold_are_refused_on_saving(path):
    encoder = LabelEncoder()
    encoder.classes_ = np.array(["long" * 1000] + [""] * 3000)
    with pytest.raises(TypeError, match=r"`classes_` cannot be saved: one string .* joblib"):
        save(encoder, path)


def test_arrays_of_strings_share_their_allowance(path):
    n = 1000
    width = MAX_MORE_CHARACTERS // n + MAX_PADDING
    save(AutoencoderTransformer(), path)
    value = {"kind": "strings", "dtype": f"<U{width}", "shape": [n], "value": [""] * n}
    rewrite(path, add("network", value))
    load(path)
    rewrite(path, add("loss", value))
    with pytest.raises(ValueError, match="an array of strings would need too much memory"):
        load(path)


def test_loading_takes_little_more_memory_than_the_file(saved):
    """The peak of a process that loads, beyond that of one that loads nothing, per byte of it."""
    rewrite(saved, lambda header, arrays: arrays.update(more=np.zeros(2**21)))
    rewrite(saved, add("network", {"kind": "array", "value": "more", "order": "C"}))
    program = """
        import resource, sys, skae
        skae.load(sys.argv[1])
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        skae.load(sys.argv[2])
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    """
    small = saved.with_name("small.skae")
    save(AutoencoderTransformer(), small)
    command = [sys.executable, "-c", textwrap.dedent(program), small, saved]
    more = int(subprocess.run(command, check=True, capture_output=True).stdout) * 1024
    assert more < 6 * os.path.getsize(saved)
