"""Codes as features of other models: their test error with codes of each reducer.

    python benchmarks/downstream.py [--sets NAME ...] [--seeds 0 1 2] [--jobs 1] [--quick]

Labelled sets, standardised, at most 2000 training rows and as many test rows; engines and mice of
the test rows are not among the training rows, and these groups are passed to `fit`. A linear model
(logistic regression, or ridge regression where the target is a number), five nearest neighbours and
a random forest, with their defaults, are fitted to codes of 2, 8 and 16 components and to all
columns. KernelPCA has a Gaussian kernel. UMAP is left out if it is not installed. Writes
`benchmarks/results/downstream.json` after each set and, when all sets have results, the page
`docs/downstream.md`.
"""

import warnings
from collections.abc import Callable
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from _timing import Results, Timer, markdown_table, parser
from data_sets import ROOT
from joblib import Parallel, delayed
from labelled_sets import SETS, Labelled, available
from sklearn.decomposition import PCA, KernelPCA
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.manifold import trustworthiness
from sklearn.model_selection import GroupShuffleSplit, ShuffleSplit
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skae import (
    VAE,
    AutoencoderTransformer,
    ContractiveAutoencoder,
    DenoisingAutoencoder,
    SparseAutoencoder,
)

try:
    from umap import UMAP
except ImportError:
    UMAP = None

PAGE = ROOT / "docs" / "downstream.md"
SIZES, SEEDS = (2, 8, 16), (0, 1, 2)
MAX_ROWS = 2000
LOSS = 0.005  # of the score; a smaller loss against PCA is not counted


OURS: dict[str, Callable[..., Any]] = {
    cls.__name__: lambda k, seed, cls=cls: cls(k, random_state=seed)
    for cls in (
        AutoencoderTransformer, DenoisingAutoencoder, ContractiveAutoencoder, SparseAutoencoder, VAE
    )
}  # fmt: skip
OTHERS: dict[str, Callable[..., Any]] = {
    "PCA": lambda k, seed: PCA(k, svd_solver="full"),
    "KernelPCA": lambda k, seed: KernelPCA(k, kernel="rbf", random_state=seed),
}
if UMAP is not None:
    OTHERS["UMAP"] = lambda k, seed: UMAP(n_components=k, random_state=seed)
NO_REDUCTION = "no reduction"

MODELS: dict[str, dict[str, Callable[[int], Any]]] = {
    "class": {
        "linear": lambda seed: make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
        "5-NN": lambda seed: KNeighborsClassifier(5),
        "forest": lambda seed: RandomForestClassifier(random_state=seed),
    },
    "number": {
        "linear": lambda seed: make_pipeline(StandardScaler(), Ridge()),
        "5-NN": lambda seed: KNeighborsRegressor(5),
        "forest": lambda seed: RandomForestRegressor(random_state=seed),
    },
}


class Split(NamedTuple):
    """Standardised training and test rows of a set."""

    X_train: np.ndarray
    X_test: np.ndarray
    y_train: np.ndarray
    y_test: np.ndarray
    groups_train: np.ndarray | None
    target: str


def split(data: Labelled, seed: int) -> Split:
    """A quarter of the rows, or of the groups, is for the test."""
    X, y, groups, target = data
    splitter = ShuffleSplit if groups is None else GroupShuffleSplit
    train, test = next(splitter(1, test_size=0.25, random_state=seed).split(X, y, groups))
    rng = np.random.RandomState(seed)
    train, test = (rng.permutation(rows)[:MAX_ROWS] for rows in (train, test))
    scaler = StandardScaler().fit(X[train])
    rows = (scaler.transform(X[part]).astype(np.float32) for part in (train, test))
    groups_train = None if groups is None else groups[train]
    return Split(*rows, y[train], y[test], groups_train, target)


def case(data: Split, reducer: str, k: int | None, seed: int) -> dict[str, Any]:
    """Scores of the models with codes of a reducer, or with all columns."""
    if reducer in OURS:
        X_train, X_test = data.X_train, data.X_test
        fit_params = {"groups": data.groups_train}
    else:  # missing entries are replaced by the mean
        X_train, X_test = np.nan_to_num(data.X_train), np.nan_to_num(data.X_test)
        fit_params = {}
    result: dict[str, Any] = {"reducer": reducer, "n_components": k}
    if reducer != NO_REDUCTION:
        with Timer() as timer:
            fitted = (OURS | OTHERS)[reducer](k, seed).fit(X_train, **fit_params)
        codes = (dense(fitted.transform(X)) for X in (X_train, X_test))
        (X_train, X_test), rows = codes, np.nan_to_num(data.X_test)
        result["trustworthiness"] = float(trustworthiness(rows, X_test, n_neighbors=5))
        result["seconds"] = timer.elapsed
    result["scores"] = {
        name: float(model(seed).fit(X_train, data.y_train).score(X_test, data.y_test))
        for name, model in MODELS[data.target].items()
    }
    return result


def dense(codes: Any) -> np.ndarray:
    return codes.toarray() if hasattr(codes, "toarray") else codes


def run_set(name: str, seed: int, jobs: int, sizes: tuple[int, ...], n_rows: int | None) -> dict:
    data = SETS[name]()
    if n_rows is not None:
        order = np.random.RandomState(0).permutation(len(data.y))[:n_rows]
        groups = None if data.groups is None else data.groups[order]
        data = Labelled(data.X[order], data.y[order], groups, data.target)
    rows = split(data, seed)
    sizes = [k for k in sizes if k < min(rows.X_train.shape)]
    cases = [(NO_REDUCTION, None), *product(OURS | OTHERS, sizes)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scores = Parallel(n_jobs=jobs)(delayed(quiet_case)(rows, *c, seed) for c in cases)
    shape = rows.X_train.shape
    return {"target": rows.target, "shape": shape, "n_test": len(rows.y_test), "cases": scores}


def quiet_case(*arguments: Any) -> dict[str, Any]:
    warnings.simplefilter("ignore")  # in the processes of joblib, too
    return case(*arguments)


def error(score: float, record: dict) -> float:
    """The share of wrong classes, with half a row added as it may be none, or 1 - R2."""
    if record["target"] == "number":
        return 1 - score
    return ((1 - score) * record["n_test"] + 0.5) / (record["n_test"] + 1)


class Cell(NamedTuple):
    """A set, a number of components and a model."""

    set: str
    n_components: int
    model: str


def cells_of(records: dict, reducer: str) -> dict[Cell, list[tuple[float, float, float]]]:
    """For each seed: the error over that with PCA, the score, and the score with PCA."""
    cells: dict[Cell, list[tuple[float, float, float]]] = {}
    for key, record in records.items():
        scores = {(c["reducer"], c["n_components"]): c["scores"] for c in record["cases"]}
        for k in sorted({k for _, k in scores if k is not None}):
            own = scores.get((reducer, None if reducer == NO_REDUCTION else k), {})
            for model, score in own.items():
                of_pca = scores["PCA", k][model]
                ratio = error(score, record) / error(of_pca, record)
                cell = Cell(key.split("/")[0], k, model)
                cells.setdefault(cell, []).append((ratio, score, of_pca))
    return cells


def losses(records: dict, reducer: str) -> dict[Cell, float]:
    """The mean change of the score of the cells that lose more than `LOSS` with every seed."""
    changes = {
        cell: [score - of_pca for _, score, of_pca in seeds]
        for cell, seeds in cells_of(records, reducer).items()
    }
    return {cell: float(np.mean(c)) for cell, c in changes.items() if max(c) < -LOSS}


def reducers_in(records: dict) -> list[str]:
    found = {c["reducer"] for record in records.values() for c in record["cases"]}
    return [name for name in dict.fromkeys((*OTHERS, "UMAP", *OURS, NO_REDUCTION)) if name in found]


def ratios_table(records: dict) -> list[str]:
    """Geometric means of errors over those with PCA's codes, over sets and seeds."""
    models = list(MODELS["class"])
    rows = []
    for reducer in reducers_in(records):
        cells = cells_of(records, reducer)
        means = []
        for k, model in product(SIZES, models):
            logs = [
                np.log([ratio for ratio, *_ in seeds]).mean()
                for cell, seeds in cells.items()
                if cell[1:] == (k, model)
            ]
            means.append(f"{np.exp(np.mean(logs)):.3f}" if logs else "")
        n_losses = f"{len(losses(records, reducer))} of {len(cells)}"
        rows.append((reducer, *means, n_losses))
    header = ("codes", *(f"{model}, {k}" for k, model in product(SIZES, models)), "cells that lose")
    return markdown_table(header, rows)


def summary(records: dict) -> list[str]:
    """The figures of the default autoencoder, with the linear model and five neighbours."""
    reducer, models = "AutoencoderTransformer", ("linear", "5-NN")
    cells = {c: s for c, s in cells_of(records, reducer).items() if c.model in models}
    lines = [f"- {reducer}, error of {' and '.join(models)} over that with PCA's codes:"]
    for k in SIZES:
        logs = [np.log([r for r, *_ in s]).mean() for c, s in cells.items() if c.n_components == k]
        if logs:
            lines.append(f"  - {k} components: {np.exp(np.mean(logs)):.3f}")
    n_losses = sum(cell.model in models for cell in losses(records, reducer))
    return [
        *lines,
        f"- cells that lose more than {LOSS} with every seed: {n_losses} of {len(cells)}",
    ]


def maps_table(records: dict) -> list[str]:
    """What two components keep: means over the seeds, of all sets and of single ones."""
    names = [name for name in ("digits", "isolet5") if any(name in key for key in records)]
    rows = []
    for reducer in reducers_in(records):
        cases = [
            (key.split("/")[0], record["target"], c)
            for key, record in records.items()
            for c in record["cases"]
            if c["reducer"] == reducer and c["n_components"] == 2
        ]
        if not cases:
            continue
        trust = {n: [c["trustworthiness"] for name, _, c in cases if name == n] for n in names}
        knn = {n: [c["scores"]["5-NN"] for name, _, c in cases if name == n] for n in names}
        trust = {"all": [c["trustworthiness"] for *_, c in cases]} | trust
        knn = {"all": [c["scores"]["5-NN"] for _, t, c in cases if t == "class"]} | knn
        figures = (f"{np.mean(v):.3f}" for n in knn for v in (trust[n], knn[n]) if v)
        rows.append((reducer, *figures))
    columns = [f"{m}, {n}" for n in ("all", *names) for m in ("trustworthiness", "5-NN")]
    return markdown_table(("codes", *columns), rows)


def losses_table(records: dict) -> list[str]:
    rows = [
        (reducer, cell.set, cell.n_components, cell.model, f"{change:+.3f}")
        for reducer in OURS
        for cell, change in sorted(losses(records, reducer).items(), key=lambda item: item[1])
    ]
    header = ("codes", "set", "components", "model", "change of the score")
    return markdown_table(header, rows)


def sets_table(records: dict) -> list[str]:
    rows = []
    for name in dict.fromkeys(key.split("/")[0] for key in records):
        own = [record for key, record in records.items() if key.split("/")[0] == name]
        n_rows, n_columns = own[0]["shape"]
        rows.append((name, str(n_rows), n_columns, own[0]["n_test"], own[0]["target"], len(own)))
    return markdown_table(("set", "rows", "columns", "test rows", "target", "seeds"), rows)


def page(records: dict) -> str:
    """The results as a page of documentation."""
    lines = [
        "# Codes as features",
        "",
        "Test error of models that are fitted to the codes of a reducer instead of the columns.",
        "Written by `benchmarks/downstream.py`. Columns are standardised; the linear model is",
        "logistic regression, or ridge regression where the target is a number. The rows of an",
        "engine of cmapss_fd001, and of a mouse of mice_protein, are all for training or all for",
        "the test, and are passed to `fit` as `groups`. `SparseAutoencoder` has as many units as",
        "the others have components, few for a sparse code.",
        "",
        "## Error over that with PCA's codes",
        "",
        "Geometric means over sets and seeds, for each model and number of components: below 1",
        "is better than PCA. The last column counts the cells (a set, a number of components and",
        f"a model) whose score is more than {LOSS} below that of PCA with every seed. The score is",
        "the accuracy, or R2 where the target is a number.",
        "",
        *summary(records),
        "",
        *ratios_table(records),
        "",
        "## Two components",
        "",
        "Of test rows: trustworthiness, the share of the five neighbours in two dimensions that",
        "are neighbours in the columns, too, over all sets; and the accuracy of five nearest",
        "neighbours, over the sets with classes.",
        "",
        *maps_table(records),
        "",
        "## Cells that lose",
        "",
        *losses_table(records),
        "",
        "## Sets",
        "",
        *sets_table(records),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--sets", nargs="+", default=list(SETS), choices=SETS, metavar="NAME")
    options.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS))
    options.add_argument("--jobs", type=int, default=1)
    arguments = options.parse_args()
    results = Results("downstream", quick=arguments.quick)
    sizes, n_rows = ((2,), 200) if arguments.quick else (SIZES, None)
    names = available(arguments.sets)
    if missing := set(arguments.sets) - set(names):
        print(f"not in the data folder, left out: {', '.join(sorted(missing))}")
    for name, seed in product(names, arguments.seeds):
        record = run_set(name, seed, arguments.jobs, sizes, n_rows)
        results.save(f"{name}/{seed}", **record)
    tables = summary(results.records), ratios_table(results.records), maps_table(results.records)
    print("\n\n".join("\n".join(table) for table in tables))
    wanted = {f"{name}/{seed}" for name, seed in product(available(list(SETS)), SEEDS)}
    if missing := wanted - set(results.records):
        print(f"{PAGE.name} is not written without results of {', '.join(sorted(missing))}")
    elif not arguments.quick:
        PAGE.write_text(page(results.records))


if __name__ == "__main__":
    main()
