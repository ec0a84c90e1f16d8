"""Two-dimensional maps of PCA, t-SNE, UMAP and autoencoders: neighbours, new rows, errors, time.

    python benchmarks/maps.py [--sets NAME ...] [--reducers NAME ...] [--seeds 0 1] [--quick]
    python benchmarks/maps.py --page

The first call adds what is missing to `benchmarks/results/maps.json` and writes `docs/maps.md`; the
second one only writes the page. t-SNE is that of openTSNE, which can transform new rows. It and
UMAP are left out if they are not installed.
"""

import warnings
from collections.abc import Callable
from importlib.util import find_spec
from itertools import compress
from typing import Any

import numpy as np
from _timing import (
    RESULTS,
    Results,
    Timer,
    figure,
    markdown_table,
    mean_squared_error,
    page_parser,
    read,
)
from data_sets import ROOT, load
from labelled_sets import SETS, path_of
from scipy.spatial.distance import pdist
from scipy.stats import spearmanr
from sklearn.decomposition import PCA
from sklearn.manifold import trustworthiness
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier

from skae import AutoencoderTransformer, NeighborAutoencoder

PAGE = ROOT / "docs" / "maps.md"
MAX_EVALUATED, N_NEW = 2000, 10_000
# Of the images, a random part of this size or all of the training rows.
SUBSETS = {f"{name} (5000 rows)": (name, 5000) for name in ("mnist", "fashion_mnist")}
NAMES = ("digits", "letter", "pbmc3k", "olivetti", *SUBSETS, "mnist", "fashion_mnist")

HEAD = """\
# Two-dimensional maps

This page compares two-dimensional maps. Each reducer has its default parameters and two components.
It is fitted to the training rows, and all figures but the times are of test rows that it has not
seen:

- trustworthiness: 1 at best, if the five nearest neighbours of each row in the map are also near to
  it in the space of all columns;
- accuracy: of five nearest neighbours in the map, whose labels are those of training rows, if the
  rows have labels;
- error: the mean squared error of the reconstruction, relative to that of PCA;
- agreement of seeds: the rank correlation of the distances of two maps, of two values of
  `random_state` and the same rows;
- fit and transform: the seconds of `fit`, and of `transform` for 10,000 rows, relative to those of
  `NeighborAutoencoder`, in the same run on one core.

t-SNE is that of openTSNE, and UMAP that of umap-learn. Their reconstructions are not measured:
t-SNE has none, and those of UMAP take minutes. Figures are means over two seeds. For all images
of MNIST and Fashion-MNIST, those of `AutoencoderTransformer` and UMAP are of one seed, and t-SNE
was not fitted.

    python benchmarks/maps.py

`benchmarks/results/maps.json` has all figures.
"""


def umap(seed: int) -> Any:
    """UMAP with one thread, as it needs for results that can be repeated."""
    from umap import UMAP

    return UMAP(random_state=seed, n_jobs=1)


class OpenTSNE:
    """The embedding of openTSNE, with the methods of scikit-learn."""

    def __init__(self, seed: int):
        self.seed = seed

    def fit(self, X: np.ndarray) -> "OpenTSNE":
        """Fit."""
        from openTSNE import TSNE

        self.embedding = TSNE(random_state=self.seed, n_jobs=1).fit(X)
        return self

    def transform(self, X: np.ndarray) -> np.ndarray:
        """Place new rows between those of `fit`."""
        return np.asarray(self.embedding.transform(X))


REDUCERS: dict[str, Callable[[int], Any]] = {
    "PCA": lambda seed: PCA(2, random_state=seed),
    "t-SNE": OpenTSNE,
    "UMAP": umap,
    "AutoencoderTransformer": lambda seed: AutoencoderTransformer(2, random_state=seed),
    "NeighborAutoencoder": lambda seed: NeighborAutoencoder(2, random_state=seed),
}
MODULES = {"t-SNE": "openTSNE", "UMAP": "umap"}
OURS = "NeighborAutoencoder"


def rows(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, np.ndarray | None]:
    """Training and test rows, and their labels if there are any."""
    name, n_rows = SUBSETS.get(name, (name, None))
    if name in ("mnist", "fashion_mnist"):
        with np.load(path_of(name), allow_pickle=False) as arrays:
            X, X_test = (
                arrays[f"X_{part}"].reshape(-1, 784).astype(np.float32) / np.float32(255)
                for part in ("train", "test")
            )
            return X[:n_rows], X_test, arrays["y_train"][:n_rows], arrays["y_test"]
    if name == "letter":
        return (*train_test_split(load(name), test_size=0.25, random_state=0), None, None)
    data = SETS[name]()
    X, y = data.X.astype(np.float32), data.y
    return tuple(train_test_split(X, y, test_size=0.25, random_state=0, stratify=y))


def measure(name: str, reducer: str, seeds: list[int]) -> dict[str, float | None]:
    """The figures of a reducer, means over the seeds."""
    X, X_test, y, y_test = rows(name)
    some = np.random.RandomState(0).permutation(len(X_test))[:MAX_EVALUATED]
    new = X_test[np.arange(N_NEW) % len(X_test)]
    codes, found = [], []
    for seed in seeds:
        fitted = REDUCERS[reducer](seed)
        with Timer() as fit:
            fitted.fit(X)
        with Timer() as transform:
            fitted.transform(new)
        train, test = fitted.transform(X), fitted.transform(X_test)
        codes.append(test[some])
        record = {
            "fit": fit.elapsed,
            "transform": transform.elapsed,
            "trustworthiness": trustworthiness(X_test[some], test[some], n_neighbors=5),
        }
        if y is not None:
            record["accuracy"] = KNeighborsClassifier(5).fit(train, y).score(test, y_test)
        if reducer not in MODULES:
            record["error"] = mean_squared_error(fitted.inverse_transform(test), X_test)
        found.append(record)
    means = {key: float(np.mean([record[key] for record in found])) for key in found[0]}
    if len(codes) > 1:
        means["agreement"] = float(spearmanr(*map(pdist, codes[:2])).statistic)
    return means


def page(records: dict[str, dict]) -> str:
    """The page: a table for each set."""
    sections = [HEAD]
    for name in NAMES:
        of_set = {r: records[f"{name}/{r}"] for r in REDUCERS if f"{name}/{r}" in records}
        if OURS not in of_set or "PCA" not in of_set:
            continue
        ours, pca = of_set[OURS], of_set["PCA"]
        table = [
            (
                reducer,
                record["trustworthiness"],
                record.get("accuracy"),
                record["error"] / pca["error"] if "error" in record else None,
                record.get("agreement"),
                # Seconds of different runs must not be compared.
                record["fit"] / ours["fit"] if record["run"] == ours["run"] else None,
                record["transform"] / ours["transform"] if record["run"] == ours["run"] else None,
            )
            for reducer, record in of_set.items()
        ]
        header = (
            "reducer", "trustworthiness", "accuracy", "error", "agreement of seeds", "fit",
            "transform",
        )  # fmt: skip
        measured = [any(cell is not None for cell in column) for column in zip(*table, strict=True)]
        header, *table = (tuple(compress(row, measured)) for row in (header, *table))
        error = f"The mean squared error of `{OURS}` is {figure(ours['error'])}."
        sections.append("\n".join([f"## {name}\n", *markdown_table(header, table), "", error, ""]))
    return "\n".join(sections)


def main() -> None:
    """Measure and write the page."""
    options = page_parser(__doc__)
    options.add_argument("--sets", nargs="+", default=list(NAMES), choices=NAMES, metavar="NAME")
    options.add_argument("--reducers", nargs="+", default=list(REDUCERS), choices=REDUCERS)
    options.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    arguments = options.parse_args()
    results = Results("maps", quick=arguments.quick)
    if not arguments.page:
        names = ["digits"] if arguments.quick else arguments.sets
        for name in names:
            for reducer in arguments.reducers:
                key = f"{name}/{reducer}"
                if key in results.records or find_spec(MODULES.get(reducer, "skae")) is None:
                    continue
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    results.save(key, **measure(name, reducer, arguments.seeds))
    if not arguments.quick:
        PAGE.write_text(page(read(RESULTS / "maps.json")["records"]))


if __name__ == "__main__":
    main()
