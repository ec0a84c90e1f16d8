"""Imputation by autoencoders, means, nearest neighbours and chained regressions.

Columns are scaled to [0, 1]. Cells are masked: 10, 20 and 50 % completely at random (mcar), or 20 %
of the cells of half of the columns, with a probability that increases (or decreases) with a column
of the other half (mar). Three quarters of the rows, 1000 at most, are fitted and imputed
("fitted"); at most as many others have gaps of the same kind and are only imputed ("unseen"). Root
mean squared error of the masked cells. Small sets have several draws of rows and gaps: up to five,
or as many as give 1000 unseen masked cells, 30 at most. Every imputer has one configuration:
`AutoencoderImputer` and `IterativeImputer` with their defaults, the trees are scikit-learn's
`ExtraTreesRegressor`.

With `--real`, values that are missing in the data: cross-validated accuracy of a logistic
regression and a random forest on the imputed columns of titanic and mice_protein (all rows of a
mouse in one fold).

    python benchmarks/imputation.py [--sets a,b] [--gaps mcar20,mar20] [--trees 100] [--real]

adds missing cases to `benchmarks/results/imputation.json`, and writes `docs/imputation.md`.
"""

import argparse
import json
import warnings

import numpy as np
from _timing import Timer
from data_sets import ROOT, folder, load, present
from sklearn.ensemble import ExtraTreesRegressor, RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skae import AutoencoderImputer

RESULTS = ROOT / "benchmarks" / "results" / "imputation.json"
PAGE = ROOT / "docs" / "imputation.md"

MAX_ROWS = 1000
TEST_CELLS, MAX_DRAWS = 1000, 30
SETS = (
    "iris", "14_glass", "29_Pima", "4_breastw", "wine", "diabetes", "2_annthyroid", "wine_quality",
    "california_housing", "40_vowels", "letter", "6_cardio", "43_WDBC", "breast_cancer",
    "18_Ionosphere", "19_landsat", "spam", "digits", "23_mammography", "38_thyroid", "42_WBC",
    "32_shuttle", "7_Cardiotocography", "cmapss_fd001",
)  # fmt: skip
# Not used to choose the design and its constants.
FRESH = ("32_shuttle", "7_Cardiotocography", "cmapss_fd001")
GAPS = {"mcar20": 0.2, "mar20": 0.2, "mcar50": 0.5, "mcar10": 0.1}
OURS, RIDGE, TREES = "AutoencoderImputer", "BayesianRidge", "ExtraTrees"


def imputers(trees: int) -> dict:
    return {
        "mean": SimpleImputer(),
        "kNN": KNNImputer(n_neighbors=5),
        RIDGE: IterativeImputer(random_state=0),
        OURS: AutoencoderImputer(random_state=0),
        TREES: IterativeImputer(ExtraTreesRegressor(trees, random_state=0), random_state=0),
    }


def hidden_cells(X: np.ndarray, kind: str, rng: np.random.RandomState) -> np.ndarray:
    """The mask of the cells to hide."""
    rate = GAPS[kind]
    if kind.startswith("mcar"):
        return rng.uniform(size=X.shape) < rate
    columns = rng.permutation(X.shape[1])
    complete, incomplete = np.array_split(columns, 2)
    hidden = np.zeros(X.shape, bool)
    for column in incomplete:
        cause = X[:, rng.choice(complete)] * rng.choice([-1, 1])
        strength = 1 / (1 + np.exp(-2 * (cause - cause.mean()) / max(cause.std(), 1e-9)))
        hidden[:, column] = rng.uniform(size=len(X)) < strength * rate / strength.mean()
    return hidden


def n_draws(name: str, kind: str) -> int:
    """Number of draws of rows and gaps: the error of 40 unseen rows alone varies much."""
    X, n_fitted = split(name, 0)
    n_columns = X.shape[1] if kind.startswith("mcar") else X.shape[1] // 2
    n_test_cells = (len(X) - n_fitted) * n_columns * GAPS[kind]
    few_rows = int(np.clip(1500 // len(load(name)), 1, 5))
    return int(np.clip(np.ceil(TEST_CELLS / n_test_cells), few_rows, MAX_DRAWS))


def split(name: str, seed: int) -> tuple[np.ndarray, int]:
    """Shuffled rows, and how many of them are fitted."""
    X = load(name).astype(np.float64)
    X = X[np.random.RandomState(seed).permutation(len(X))]
    n_fitted = min(len(X) * 3 // 4, MAX_ROWS)
    X = X[: n_fitted + min(len(X) - n_fitted, MAX_ROWS)]
    X = X[:, X[:n_fitted].std(axis=0) > 0]
    return (X - X.min(axis=0)) / (X.max(axis=0) - X.min(axis=0)), n_fitted


def measure(name: str, kind: str, imputer) -> dict:
    """Errors over all draws, as root mean squares, and mean seconds."""
    draws = [measure_once(name, kind, imputer, seed) for seed in range(n_draws(name, kind))]
    fitted, unseen, seconds = (float(np.mean(values)) for values in zip(*draws, strict=True))
    return {"fitted": fitted**0.5, "unseen": unseen**0.5, "seconds": seconds}


def measure_once(name: str, kind: str, imputer, seed: int) -> tuple[float, float, float]:
    X, n = split(name, seed)
    hidden = hidden_cells(X, kind, np.random.RandomState(seed + 1))
    gaps = np.where(hidden, np.nan, X)
    with Timer() as timer:
        filled = imputer.fit_transform(gaps[:n])
    squares = (np.concatenate([filled, imputer.transform(gaps[n:])]) - X) ** 2
    return squares[:n][hidden[:n]].mean(), squares[n:][hidden[n:]].mean(), timer.processor


def real_gaps(name: str, imputer) -> dict:
    """Accuracy on the imputed columns; the imputer is fitted within each fold."""
    with np.load(folder() / f"{name}.npz", allow_pickle=False) as arrays:
        X, y = arrays["X"].astype(np.float64), arrays["y"]
        groups = arrays.get("groups")
    cv = StratifiedKFold(5, shuffle=True, random_state=0) if groups is None else GroupKFold(5)
    folds = list(cv.split(X, y, groups))
    classifiers = {
        "logistic regression": LogisticRegression(max_iter=2000),
        "random forest": RandomForestClassifier(random_state=0),
    }
    return {
        label: float(
            cross_val_score(
                make_pipeline(imputer, StandardScaler(), classifier), X, y, cv=folds
            ).mean()
        )
        for label, classifier in classifiers.items()
    }


def page(results: dict) -> str:
    lines = [
        "# Imputation",
        "",
        "`AutoencoderImputer` beside the mean, five neighbours, and `IterativeImputer` with its",
        "default `BayesianRidge` and with `ExtraTreesRegressor`. Made by",
        "`python benchmarks/imputation.py`, whose docstring describes the masks. Root mean squared",
        "error of masked cells, columns scaled to [0, 1]; CPU seconds of `fit_transform` on one",
        "thread. The sets marked with a star were not used to choose the design and its constants;",
        "all others were.",
    ]
    complete = {
        key: scores
        for key, scores in results["made"].items()
        if {OURS, RIDGE, TREES, "kNN", "mean"} <= set(scores)
    }
    for kind in dict.fromkeys(key.split("|")[1] for key in complete):
        cases = {k.split("|")[0]: v for k, v in complete.items() if k.endswith(f"|{kind}")}
        lines += ["", f"## {kind}", "", *summary(cases), "", *table(cases)]
    if results.get("real"):
        lines += ["", "## Values missing in the data", ""]
        lines += ["Cross-validated accuracy; the imputer is fitted in each fold.", ""]
        labels = ["logistic regression", "random forest"]
        lines += row(["set", "imputer", *labels]) + row(["---"] * 4)
        for key, scores in results["real"].items():
            lines += row([*key.split("|"), *(f"{scores[label]:.3f}" for label in labels)])
    return "\n".join(lines) + "\n"


def summary(cases: dict) -> list[str]:
    lines = []
    for rows in ("fitted", "unseen"):
        best = sum(
            v[OURS][rows] < min(s[rows] for k, s in v.items() if k != OURS) for v in cases.values()
        )
        worst = max(v[OURS][rows] / v[RIDGE][rows] for v in cases.values())
        lines.append(
            f"- {rows} rows: the lowest error in {best} of {len(cases)} sets; at most "
            f"{worst:.3f} times that of {RIDGE}."
        )
    faster = sum(v[OURS]["seconds"] < v[TREES]["seconds"] for v in cases.values())
    return [*lines, f"- faster than {TREES} in {faster} of {len(cases)} sets."]


def table(cases: dict) -> list[str]:
    names = ["mean", "kNN", RIDGE, TREES, OURS]
    lines = row(["set", "rows", *names, f"s {TREES}", f"s {OURS}"]) + row(["---"] * 9)
    for name, scores in cases.items():
        star = "*" if name in FRESH else ""
        for rows in ("fitted", "unseen"):
            errors = [scores[n][rows] for n in names]
            cells = [f"**{e:.4f}**" if e == min(errors) else f"{e:.4f}" for e in errors]
            seconds = [f"{scores[n]['seconds']:.1f}" for n in (TREES, OURS)]
            lines += row([name + star, rows, *cells, *seconds])
    return lines


def row(cells: list[str]) -> list[str]:
    return ["| " + " | ".join(cells) + " |"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--gaps", default=",".join(GAPS))
    parser.add_argument("--imputers", default="")
    parser.add_argument("--trees", type=int, default=100)
    parser.add_argument("--real", action="store_true")
    options = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"made": {}, "real": {}}
    chosen = options.imputers.split(",") if options.imputers else list(imputers(1))

    def keep(part: str, key: str, scores: dict) -> None:
        results[part].setdefault(key, {}).update(scores)
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")
        PAGE.write_text(page(results))
        print(key, scores, flush=True)

    for kind in [] if options.real else options.gaps.split(","):
        for name in present(options.sets.split(",")):
            for label in chosen:
                if label not in results["made"].get(f"{name}|{kind}", {}):
                    imputer = imputers(options.trees)[label]
                    keep("made", f"{name}|{kind}", {label: measure(name, kind, imputer)})
    for name in ("titanic", "mice_protein") if options.real else ():
        for label in chosen:
            # The trees take an hour for the 77 columns of mice_protein in five folds.
            if label != TREES or name == "titanic":
                keep("real", f"{name}|{label}", real_gaps(name, imputers(options.trees)[label]))


if __name__ == "__main__":
    main()
