"""Projected codes beside those of the encoder: error, codes as features, noise and time.

    python benchmarks/projection.py [--parts NAME ...] [--quick]

- error: standardised sets, at most 3000 training rows, 2, 8 and 32 components; fits with each
  number of steps, errors of test rows relative to those of exact PCA.
- features: codes with and without steps, and those of PCA, as features of test rows.
- objectives: denoising, contraction and VAE, fitted with no step and with two.
- time: `transform` with the default number of steps and with none, in turn, and the ratio.

A fit with another number of steps is another fit: where codes are projected, the training has other
default values and can end at projected codes. Stores each case in
`benchmarks/results/projection.json`, and writes the tables of `docs/projection.md`.
"""

import warnings
from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
from _timing import Results, interleaved, markdown_table, median_ratio, parser
from data_sets import ROOT, present, standardised
from downstream import MODELS, Split, split
from labelled_sets import SETS, available
from sklearn.decomposition import PCA
from sklearn.manifold import trustworthiness

from skae import VAE, AutoencoderTransformer, ContractiveAutoencoder, DenoisingAutoencoder

PAGE = ROOT / "docs" / "projection.md"
ERROR_SETS = [
    "digits", "isolet5", "wine_quality", "letter", "california_housing", "spam", "6_cardio",
    "breast_cancer",
]  # fmt: skip
FEATURE_SETS = ["digits", "isolet5", "wine_quality", "breast_cancer"]
OBJECTIVE_SETS = ["digits", "letter", "wine_quality"]
SIZES, STEPS = (2, 8, 32), (0, 1, 2, 4, 8)
SEEDS = {"error": (0,), "features": (0, 1)}
MAX_ROWS = 3000
N_ROWS, N_FEATURES = 10_000, 50  # for the times
REPETITIONS = {1: 2000, N_ROWS: 20}  # by the number of rows
NOISE = 0.25  # standard deviation of the noise, for standardised columns
# The noise of the denoiser, as `corruption` and `corruption_level`.
CORRUPTIONS = {"gaussian": NOISE, "salt_and_pepper": 0.1}


def squared_error(reconstruction: np.ndarray, X: np.ndarray) -> float:
    return float(np.square(reconstruction - X.astype(np.float64)).sum())


def rows(name: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Training and test rows, in float64."""
    X_train, X_test = standardised(name, seed)
    return X_train[:MAX_ROWS].astype(np.float64), X_test[:MAX_ROWS].astype(np.float64)


def pca_of(X: np.ndarray, k: int) -> PCA:
    return PCA(k, svd_solver="full").fit(X)


def pca_error(pca: PCA, X: np.ndarray, target: np.ndarray) -> float:
    return squared_error(pca.inverse_transform(pca.transform(X)), target)


def error_case(name: str, k: int, seed: int, options: dict) -> dict[str, float]:
    """The test error over PCA's with each number of steps."""
    X, X_test = rows(name, seed)
    theirs = pca_error(pca_of(X, k), X_test, X_test)
    result = {}
    for n_steps in STEPS:
        reducer = AutoencoderTransformer(
            k, transform_max_iter=n_steps, random_state=seed, **options
        )
        result[str(n_steps)] = squared_error(reducer.fit(X).reconstruct(X_test), X_test) / theirs
    return result


def feature_scores(reducer: Any, data: Split) -> dict[str, float]:
    """The error of test rows, and how useful their codes are."""
    codes, test_codes = reducer.fit_transform(data.X_train), reducer.transform(data.X_test)
    models = {name: MODELS["class"][name](0) for name in ("5-NN", "linear")}
    return {
        "error": squared_error(reducer.inverse_transform(test_codes), data.X_test)
        / float(np.square(data.X_test - data.X_train.mean(axis=0)).sum()),
        "trustworthiness": float(trustworthiness(data.X_test, test_codes, n_neighbors=5)),
        **{
            name: float(model.fit(codes, data.y_train).score(test_codes, data.y_test))
            for name, model in models.items()
        },
    }


def feature_case(name: str, k: int, seed: int, options: dict) -> dict[str, dict[str, float]]:
    """The scores of PCA's codes, and of codes without and with steps."""
    shared = {"random_state": seed, **options}
    reducers = {
        "PCA": PCA(k, svd_solver="full"),
        "0 steps": AutoencoderTransformer(k, transform_max_iter=0, **shared),
        "default": AutoencoderTransformer(k, **shared),
    }
    data = split(SETS[name](), seed)
    return {title: feature_scores(reducer, data) for title, reducer in reducers.items()}


def salt_and_pepper(X: np.ndarray, level: float, rng: np.random.RandomState) -> np.ndarray:
    """Replace entries by the minimum or the maximum of their column."""
    extremes = np.where(rng.uniform(size=X.shape) < 0.5, X.min(axis=0), X.max(axis=0))
    return np.where(rng.uniform(size=X.shape) < level, extremes, X)


def gaussian(X: np.ndarray, level: float, rng: np.random.RandomState) -> np.ndarray:
    return X + level * rng.normal(size=X.shape)


ADD_NOISE: dict[str, Callable[..., np.ndarray]] = {
    "gaussian": gaussian,
    "salt_and_pepper": salt_and_pepper,
}
OBJECTIVES: dict[str, Callable[..., Any]] = {
    **{
        f"denoising, {kind}": lambda k, kind=kind, level=level, **options: DenoisingAutoencoder(
            k, corruption=kind, corruption_level=level, **options
        )
        for kind, level in CORRUPTIONS.items()
    },
    "contraction": ContractiveAutoencoder,
    "VAE": VAE,
}


def objective_case(name: str, k: int, objective: str, seed: int, options: dict) -> dict[str, Any]:
    """Errors of rows without and with noise, to those without, and the change of their codes."""
    X, X_test = rows(name, seed)
    kind = objective.removeprefix("denoising, ")
    kind = kind if kind in ADD_NOISE else "gaussian"
    noisy = ADD_NOISE[kind](X_test, CORRUPTIONS[kind], np.random.RandomState(seed))
    pca = pca_of(X, k)
    result = {}
    for n_steps in (0, 2):
        reducer = OBJECTIVES[objective](
            k, transform_max_iter=n_steps, random_state=seed, **options
        ).fit(X)
        clean, moved = reducer.transform(X_test), reducer.transform(noisy)
        change = np.square(moved - clean).sum() / np.square(clean).sum()
        result[str(n_steps)] = {
            "error": squared_error(reducer.inverse_transform(clean), X_test)
            / pca_error(pca, X_test, X_test),
            "error with noise": squared_error(reducer.inverse_transform(moved), X_test)
            / pca_error(pca, noisy, X_test),
            "change": float(np.sqrt(change)),
        }
    return result


def time_case(k: int, repetitions: dict[int, int]) -> dict[str, float]:
    """Seconds of `transform` without steps, and the ratio of those with the default."""
    rng = np.random.RandomState(0)
    X = np.tanh(rng.normal(size=(N_ROWS, 40)) @ rng.normal(size=(40, N_FEATURES)) / 4)
    X = X.astype(np.float32)
    fitted = {
        name: AutoencoderTransformer(k, random_state=0, max_iter=5, **extra).fit(X)
        for name, extra in {"0": {"transform_max_iter": 0}, "default": {}}.items()
    }
    result = {}
    for n_rows, n_calls in repetitions.items():
        part = X[:n_rows]
        calls = {name: lambda r=r, part=part: r.transform(part) for name, r in fitted.items()}
        times = interleaved(calls, n_calls)
        result[f"{n_rows} rows, seconds"] = float(np.median(times["0"]))
        result[f"{n_rows} rows, ratio"] = median_ratio(times["default"], times["0"])
    return result


def geometric_mean(values: list[float]) -> float:
    return float(np.exp(np.log(values).mean()))


def by_case(records: dict, part: str) -> dict[tuple[str, ...], list[dict]]:
    """The records of a part, over the seeds, by set, number of components and so on."""
    found: dict[tuple[str, ...], list[dict]] = {}
    for key, record in records.items():
        first, *names, _ = key.split("/")
        if first == part:
            found.setdefault(tuple(names), []).append(record["result"])
    return found


def error_table(records: dict) -> list[str]:
    lines, logs = [], {k: [] for k in SIZES}
    for (name, k), seeds in by_case(records, "error").items():
        means = [geometric_mean([result[str(n)] for result in seeds]) for n in STEPS]
        logs[int(k)].append(means)
        lines.append((name, k, *means))
    for k in filter(logs.get, SIZES):
        lines.append(("geometric mean", k, *np.exp(np.log(logs[k]).mean(axis=0)).tolist()))
    return markdown_table(("set", "components", *map(str, STEPS)), lines)


def feature_table(records: dict) -> list[str]:
    lines = []
    for (name, k), seeds in by_case(records, "features").items():
        for title in seeds[0]:
            measures = seeds[0][title]
            means = [float(np.mean([result[title][m] for result in seeds])) for m in measures]
            lines.append((name, k, title, *means))
    header = ("set", "components", "codes", "error", "trustworthiness", "5-NN", "linear model")
    return markdown_table(header, lines)


def objective_table(records: dict) -> list[str]:
    """Geometric means over sets and seeds."""
    grouped: dict[tuple[str, str], list[dict]] = {}
    for (objective, _, k), seeds in by_case(records, "objectives").items():
        grouped.setdefault((objective, k), []).extend(seeds)
    lines = []
    for (objective, k), results in grouped.items():
        figures = (
            geometric_mean([result[n][measure] for result in results])
            for measure in results[0]["0"]
            for n in ("0", "2")
        )
        lines.append((objective, k, *figures))
    measures = ("error", "error, noise", "change of codes")
    header = [f"{measure}, {n} steps" for measure in measures for n in (0, 2)]
    return markdown_table(("objective", "components", *header), lines)


def time_table(records: dict) -> list[str]:
    lines = []
    for (k,), (result,) in by_case(records, "time").items():
        one, many = (f"{n} rows" for n in (1, N_ROWS))
        lines.append((
            k,
            1e6 * result[f"{one}, seconds"],
            result[f"{one}, ratio"],
            1e3 * result[f"{many}, seconds"],
            result[f"{many}, ratio"],
        ))  # fmt: skip
    header = ("components", "one row, µs", "ratio", f"{N_ROWS:,} rows, ms", "ratio")
    return markdown_table(header, lines)


TABLES = {
    "error": error_table,
    "features": feature_table,
    "objectives": objective_table,
    "time": time_table,
}


def write_tables(text: str, records: dict) -> str:
    """The page with new tables between the comments that name them."""
    for part, table in TABLES.items():
        if by_case(records, part):
            before, rest = text.split(f"<!-- {part} -->\n")
            after = rest[rest.index("<!-- end -->") :]
            text = "\n".join([f"{before}<!-- {part} -->\n", *table(records), "", after])
    return text


def cases(part: str, options: dict) -> dict[str, Callable[[], dict]]:
    """The cases of a part by name."""
    found: dict[str, Callable[[], dict]] = {}
    if part == "error":
        for name, k, seed in product(present(ERROR_SETS), SIZES, SEEDS[part]):
            if k < rows(name, seed)[0].shape[1]:
                found[f"{name}/{k}/{seed}"] = lambda c=(name, k, seed): error_case(*c, options)
    elif part == "features":
        for name, k, seed in product(available(FEATURE_SETS), SIZES[:2], SEEDS[part]):
            found[f"{name}/{k}/{seed}"] = lambda c=(name, k, seed): feature_case(*c, options)
    elif part == "objectives":
        for objective, k in product(OBJECTIVES, SIZES[:2]):
            for name in present(OBJECTIVE_SETS):
                found[f"{objective}/{name}/{k}/0"] = lambda c=(name, k, objective, 0): (
                    objective_case(*c, options)
                )
    else:
        repetitions = dict.fromkeys(REPETITIONS, 1) if options else REPETITIONS
        found = {f"{k}/0": lambda k=k: time_case(k, repetitions) for k in SIZES}
    return found


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--parts", nargs="+", choices=TABLES, default=list(TABLES), metavar="NAME")
    options.add_argument("--sets", nargs="+", help="of the first two parts", metavar="NAME")
    arguments = options.parse_args()
    results = Results("projection", quick=arguments.quick)
    warnings.filterwarnings("ignore", category=UserWarning, module="skae")
    for part in arguments.parts:
        found = cases(part, {"max_iter": 1} if arguments.quick else {})
        if arguments.sets:
            found = {key: f for key, f in found.items() if key.split("/")[0] in arguments.sets}
        for key in list(found)[: 1 if arguments.quick else None]:
            results.save(f"{part}/{key}", result=found[key]())
    text = write_tables(PAGE.read_text(encoding="utf-8"), results.records)
    if not arguments.quick:
        PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
