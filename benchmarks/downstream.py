"""Codes as features of other models: scores on test rows with codes of each reducer.

    python benchmarks/downstream.py [--sets NAME ...] [--seeds 0 1 2] [--jobs 1] [--quick]
    python benchmarks/downstream_page.py

The second script writes `docs/downstream.md`, which describes the comparison. The first one adds
what is missing to `benchmarks/results/downstream.json`, and can be interrupted. UMAP is left out if
it is not installed.
"""

import warnings
from collections.abc import Callable
from importlib.util import find_spec
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from _timing import Results, parser
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
    NeighborAutoencoder,
    SparseAutoencoder,
)

SIZES, SEEDS = (2, 8, 16), (0, 1, 2)
MAX_ROWS = 2000


def umap(k: int, seed: int) -> Any:
    from umap import UMAP  # here, as the import takes ten seconds

    return UMAP(n_components=k, random_state=seed)


OURS: dict[str, Callable[..., Any]] = {
    cls.__name__: lambda k, seed, cls=cls: cls(k, random_state=seed)
    for cls in (
        AutoencoderTransformer, DenoisingAutoencoder, ContractiveAutoencoder, NeighborAutoencoder,
        SparseAutoencoder, VAE,
    )
}  # fmt: skip
OTHERS: dict[str, Callable[..., Any]] = {
    "PCA": lambda k, seed: PCA(k, svd_solver="full"),
    "KernelPCA": lambda k, seed: KernelPCA(k, kernel="rbf", random_state=seed),
}
if find_spec("umap") is not None:
    OTHERS["UMAP"] = umap
FOR_PLOTS = ("NeighborAutoencoder", "UMAP")  # with two components only
NO_REDUCTION = "no reduction"
DEFAULT = "AutoencoderTransformer"
FIRST = (NO_REDUCTION, "PCA", "KernelPCA", DEFAULT)

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
        fitted = (OURS | OTHERS)[reducer](k, seed).fit(X_train, **fit_params)
        codes = (dense(fitted.transform(X)) for X in (X_train, X_test))
        (X_train, X_test), rows = codes, np.nan_to_num(data.X_test)
        result["trustworthiness"] = float(trustworthiness(rows, X_test, n_neighbors=5))
    result["scores"] = {
        name: float(model(seed).fit(X_train, data.y_train).score(X_test, data.y_test))
        for name, model in MODELS[data.target].items()
    }
    return result


def sizes_of(reducer: str, sizes: tuple[int, ...]) -> tuple[int | None, ...]:
    """The numbers of components of a reducer."""
    if reducer == NO_REDUCTION:
        return (None,)
    return tuple(k for k in sizes if k == 2) if reducer in FOR_PLOTS else sizes


def dense(codes: Any) -> np.ndarray:
    return codes.toarray() if hasattr(codes, "toarray") else codes


def run_set(
    name: str, seed: int, jobs: int, wanted: list[tuple[str, int | None]], n_rows: int | None
) -> dict[str, Any]:
    """The properties of a split of a set, and the scores of these pairs of reducer and size."""
    data = SETS[name]()
    if n_rows is not None:
        order = np.random.RandomState(0).permutation(len(data.y))[:n_rows]
        groups = None if data.groups is None else data.groups[order]
        data = Labelled(data.X[order], data.y[order], groups, data.target)
    rows = split(data, seed)
    cases = [(reducer, k) for reducer, k in wanted if k is None or k < min(rows.X_train.shape)]
    scores = Parallel(n_jobs=jobs)(delayed(quiet_case)(rows, *c, seed) for c in cases)
    shape = rows.X_train.shape
    return {"target": rows.target, "shape": shape, "n_test": len(rows.y_test), "cases": scores}


def quiet_case(*arguments: Any) -> dict[str, Any]:
    with warnings.catch_warnings():  # here, as processes of joblib do not inherit the filters
        warnings.simplefilter("ignore")
        return case(*arguments)


def measure(results: Results, names: list[str], seeds: list[int], jobs: int, quick: bool) -> None:
    """Add what is missing, seed by seed, the reducers that take longest at the end of each."""
    slow = [reducer for reducer in OTHERS | OURS if reducer not in FIRST]
    sizes, n_rows = ((2,), 200) if quick else (SIZES, None)
    for seed, reducers, name in product(seeds, (FIRST, slow), names):
        key = f"{name}/{seed}"
        stored = results.records.get(key, {"cases": []})["cases"]
        wanted = [
            (reducer, k)
            for reducer in reducers
            for k in sizes_of(reducer, sizes)
            if not any(c["reducer"] == reducer for c in stored)
        ]
        if wanted:
            record = run_set(name, seed, jobs, wanted, n_rows)
            results.save(key, **record | {"cases": stored + record["cases"]})


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--sets", nargs="+", default=list(SETS), choices=SETS, metavar="NAME")
    options.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS))
    options.add_argument("--jobs", type=int, default=1)
    arguments = options.parse_args()
    results = Results("downstream", quick=arguments.quick)
    names = available(arguments.sets)
    if missing := set(arguments.sets) - set(names):
        print(f"not in the data folder, left out: {', '.join(sorted(missing))}")
    measure(results, names, arguments.seeds, arguments.jobs, arguments.quick)


if __name__ == "__main__":
    main()
