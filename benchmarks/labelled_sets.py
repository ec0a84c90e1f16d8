"""Labelled sets, by name: those that scikit-learn ships, and files of the data folder."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from data_sets import folder
from scipy.sparse import csr_array
from sklearn import datasets
from sklearn.preprocessing import OneHotEncoder

MAX_CYCLES = 125  # larger numbers of remaining cycles can hardly be predicted, and are set to this


class Labelled(NamedTuple):
    """Rows with a target; rows of the same group are either for training or for the test."""

    X: np.ndarray
    y: np.ndarray
    groups: np.ndarray | None = None
    target: str = "class"  # or "number"


def shipped(name: str, target: str = "class") -> Labelled:
    """A set that scikit-learn ships."""
    X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    return Labelled(X, y, target=target)


def path_of(name: str) -> Path:
    """The file of a set; names that begin with a number are those of ADBench."""
    where = folder() or Path()
    return (where / "adbench" if name[0].isdigit() else where) / f"{name}.npz"


def from_file(name: str, part: str = "", target: str = "class") -> Labelled:
    """A set from a file, or the training or the test part of it."""
    with np.load(path_of(name), allow_pickle=False) as arrays:
        y, groups = arrays[f"y{part}"], arrays.get("groups")
        if f"X{part}" in arrays:
            X = arrays[f"X{part}"].reshape(len(y), -1)
        else:
            parts = arrays["data"], arrays["indices"].astype(np.int32), arrays["indptr"]
            X = csr_array(parts, shape=tuple(arrays["shape"])).toarray()
    return Labelled(X, y, groups, target)


def adult() -> Labelled:
    """The numbers, and an indicator of each category."""
    with np.load(path_of("adult"), allow_pickle=False) as arrays:
        indicators = OneHotEncoder(sparse_output=False).fit_transform(arrays["X_cat_train"])
        return Labelled(np.hstack([arrays["X_num_train"], indicators]), arrays["y_train"])


def cmapss() -> Labelled:
    """Remaining cycles of engines that run until they fail."""
    with np.load(path_of("cmapss_fd001"), allow_pickle=False) as arrays:
        X, unit, cycle = (arrays[f"{name}_train"] for name in ("X", "unit", "cycle"))
    last = np.zeros(unit.max() + 1, dtype=int)
    np.maximum.at(last, unit, cycle)
    return Labelled(X, np.minimum(last[unit] - cycle, MAX_CYCLES), unit, "number")


SHIPPED = {
    **{name: partial(shipped, name) for name in ("iris", "wine", "breast_cancer", "digits")},
    "diabetes": partial(shipped, "diabetes", "number"),
}
FROM_FILES = (
    "wine_quality", "mice_protein", "isolet5", "pbmc3k", "olivetti", "titanic",
    "binary_alphadigits", "29_Pima", "7_Cardiotocography",
)  # fmt: skip
SETS: dict[str, Callable[[], Labelled]] = {
    **SHIPPED,
    **{name: partial(from_file, name) for name in FROM_FILES},
    "ecg5000": partial(from_file, "ecg5000", "_test"),
    "mnist": partial(from_file, "mnist", "_train"),
    "fashion_mnist": partial(from_file, "fashion_mnist", "_train"),
    "california_housing": partial(from_file, "california_housing", target="number"),
    "adult": adult,
    "cmapss_fd001": cmapss,
}


def available(names: list[str]) -> list[str]:
    """The sets of these that can be loaded."""
    return [name for name in names if name in SHIPPED or path_of(name).exists()]
