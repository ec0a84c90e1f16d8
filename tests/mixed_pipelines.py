"""Fitted column transformers of all kinds, for tests of files and of exported models."""

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    StandardScaler,
)

N_ROWS = 60


def table(seed, *, missing=False):
    """Numbers, strings and codes; with missing entries if wanted."""
    rng = np.random.RandomState(seed)
    frame = pd.DataFrame(
        {
            "age": rng.normal(size=N_ROWS).astype(np.float32),
            "town": pd.Series(rng.choice(["Rome", "Oslo", "Bonn"], size=N_ROWS), dtype=object),
            "job": pd.Series(rng.choice(["nurse", "clerk"], size=N_ROWS), dtype=object),
            "code": np.arange(N_ROWS) % 3,
            "pay": rng.normal(size=N_ROWS).astype(np.float32),
            "owner": np.arange(N_ROWS) % 2 == 0,
        }
    )
    if missing:
        frame.loc[:6, "town"] = np.nan
        frame.loc[3:9, "age"] = np.nan
    return frame


def numbers():
    return make_pipeline(SimpleImputer(), StandardScaler())


def one_hot(**parameters):
    return OneHotEncoder(**{"handle_unknown": "ignore"} | parameters)


def ordinal(**parameters):
    unknown = {"handle_unknown": "use_encoded_value", "unknown_value": -1}
    return OrdinalEncoder(**unknown | parameters)


def constant(fill_value="none"):
    return SimpleImputer(strategy="constant", fill_value=fill_value)


TEXTS, INDEX = ["town", "job"], pd.Index(["age", "pay"], dtype=object)
RARE = {"min_frequency": 25, "handle_unknown": "infrequent_if_exist"}
SELECTOR = make_column_selector(dtype_include=np.number)
# The transformers and other parameters, by name. All take missing entries of "age" and "town" and
# unknown towns.
KINDS = {
    "names": ([("n", numbers(), ["age"]), ("o", one_hot(), TEXTS)], {"remainder": "passthrough"}),
    "index": ([("n", numbers(), INDEX), ("o", one_hot(), TEXTS)], {}),
    "selectors": (
        [("n", numbers(), SELECTOR), ("o", one_hot(), make_column_selector("^town$|^job$"))],
        {},
    ),
    "numbers": (
        [("n", numbers(), np.array([0, -2])), ("m", "passthrough", [np.int64(3)])],
        {"remainder": ordinal()},
    ),
    "slices": (
        [("n", numbers(), slice(0, 1)), ("o", ordinal(dtype=np.float32), slice("town", "job"))],
        {"transformer_weights": {"n": 2.0}},
    ),
    "masks": (
        [("n", numbers(), [True, False, False, True, True, False]), ("e", numbers(), [])],
        {"remainder": one_hot(**RARE, dtype="float32")},
    ),
    "drops": (
        [("d", "drop", ["age"]), ("o", one_hot(drop="if_binary", max_categories=2), TEXTS)],
        {"verbose_feature_names_out": "{feature_name}-{transformer_name}"},
    ),
    "imputed strings": (
        [("s", make_pipeline(constant(), one_hot(drop="first")), TEXTS)],
        {"remainder": numbers()},
    ),
    "frequent strings": (
        [("s", make_pipeline(SimpleImputer(strategy="most_frequent"), ordinal()), TEXTS)],
        {"sparse_threshold": 0},
    ),
    "missing codes": (
        [("o", ordinal(encoded_missing_value=-2, max_categories=3), ["town", "owner", "code"])],
        {"remainder": "drop"},
    ),
    "nested": (
        [("k", ColumnTransformer([("n", numbers(), ["age"]), ("o", one_hot(), ["town"])]),
          ["age", "town"]), ("f", FunctionTransformer(feature_names_out="one-to-one"), ["pay"])],
        {"remainder": make_pipeline(one_hot(sparse_output=False), MinMaxScaler())},
    ),
}  # fmt: skip


def fitted(kind, frame):
    """A new column transformer, fitted to the frame."""
    transformers, parameters = KINDS[kind]
    return ColumnTransformer(transformers, **parameters).fit(frame)


def dense(X):
    """An array of numbers."""
    return np.asarray(X.toarray() if hasattr(X, "toarray") else X, dtype=float)
