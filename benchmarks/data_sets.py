"""The data sets of the benchmarks, by name.

Files come from a folder of ``.npz`` files that the environment variable ``SKAE_DATA`` names
(``../shared/data`` if it exists); without one, data sets are those that scikit-learn ships or can
fetch from OpenML.
"""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from sklearn import datasets
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

ROOT = Path(__file__).resolve().parent.parent


def folder() -> Path | None:
    """The folder of the ``.npz`` files, or None."""
    path = Path(os.environ.get("SKAE_DATA", ROOT.parent / "shared" / "data"))
    return path if path.is_dir() else None


def load_file(path: Path) -> np.ndarray:
    """All dense rows of a file, images flattened; training rows first where there are two parts."""
    with np.load(path, allow_pickle=False) as arrays:
        names = [n for n in ("X", "X_train", "X_test", "X_num_train", "X_num_test") if n in arrays]
        X = np.concatenate([arrays[name] for name in names])
    return X.reshape(len(X), -1).astype(np.float32)


def is_dense(path: Path) -> bool:
    """Whether a file holds dense rows, not the parts of a CSR matrix."""
    with np.load(path, allow_pickle=False) as arrays:
        return not any(name.endswith("indptr") for name in arrays)


def dense_sets() -> dict[str, Callable[[], np.ndarray]]:
    """Functions that load each dense set as an array (n_samples, n_features)."""
    shipped = {
        name: lambda name=name: getattr(datasets, f"load_{name}")().data
        for name in ("iris", "wine", "breast_cancer", "digits", "diabetes")
    }
    if (where := folder()) is None:
        california = {"california_housing": lambda: datasets.fetch_california_housing().data}
        return (
            shipped
            | california
            | {
                name: lambda name=name: datasets.fetch_openml(
                    name, version=1, as_frame=False, parser="liac-arff"
                ).data.astype(np.float32)
                for name in FROM_OPENML
            }
        )
    files = [*sorted(where.glob("*.npz")), *sorted(where.glob("adbench/*.npz"))]
    return shipped | {
        path.stem: lambda path=path: load_file(path) for path in files if is_dense(path)
    }


FROM_OPENML = (
    "letter", "spambase", "isolet", "Fashion-MNIST", "mnist_784", "satimage", "shuttle"
)  # fmt: skip
OPENML_NAMES = {
    "mnist": "mnist_784",
    "fashion_mnist": "Fashion-MNIST",
    "spam": "spambase",
    "32_shuttle": "shuttle",
}


def load(name: str) -> np.ndarray:
    """A dense set in float32."""
    sets = dense_sets()
    return sets[name if name in sets else OPENML_NAMES.get(name, name)]().astype(np.float32)


def present(names: list[str]) -> list[str]:
    """The available ones of these sets; prints the names of the others."""
    sets = dense_sets()
    for name in (available := {n: n in sets or OPENML_NAMES.get(n) in sets for n in names}):
        if not available[name]:
            print(f"{name}: not in the data folder, left out")
    return [name for name in names if available[name]]


def images(name: str, n_test: int = 10_000) -> tuple[np.ndarray, np.ndarray]:
    """Training and test images with pixels in [0, 1]; the last rows are the test set."""
    X = load(name) / np.float32(255)
    return X[:-n_test], X[-n_test:]


def standardised(name: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Training rows and 25 % test rows, scaled by the training rows."""
    X_train, X_test = train_test_split(load(name), test_size=0.25, random_state=seed)
    scaler = StandardScaler().fit(X_train)
    return scaler.transform(X_train), scaler.transform(X_test)
