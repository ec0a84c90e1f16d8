"""Imputation by autoencoders, means, nearest neighbours and chained regressions.

Columns are scaled to [0, 1]. Entries are removed in four ways: 10, 20 and 50 % completely at random
(mcar10, mcar20, mcar50), or 20 % of the entries of half of the columns, with a probability that
increases or decreases with a column of the other half (mar20). Three quarters of the rows, at most
1000, are fitted and imputed ("fitted"); at most as many other rows have missing entries of the same
kind and are only imputed ("unseen"). The error is the root mean square over the removed entries.
Small sets have several random draws of rows and missing entries: up to five, or as many as give
1000 removed entries of unseen rows, at most 30. `AutoencoderImputer` and `IterativeImputer` have
their defaults; the trees are scikit-learn's `ExtraTreesRegressor`, as `estimator` of
`IterativeImputer`.

With `--real`, values that are missing in the data: cross-validated accuracy of logistic regression
and of a random forest on the imputed columns of titanic and mice_protein. All rows of a mouse are
in one fold.

With `--mixed`, tables with categories: `mixed_tables.py`.

    python benchmarks/imputation.py [--sets a,b] [--gaps mcar20] [--trees 100] [--real] [--mixed]

adds missing results and those of other versions of skae to `benchmarks/results/imputation.json`,
and writes `docs/imputation.md`. `--page` only writes the page.
"""

import json
import warnings

import mixed_tables
import numpy as np
from _timing import Timer, markdown_table, page_parser, versions, versions_sentence
from data_sets import ROOT, folder, load, present
from sklearn.ensemble import ExtraTreesRegressor, RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skae
from skae import AutoencoderImputer

RESULTS = ROOT / "benchmarks" / "results" / "imputation.json"
PAGE = ROOT / "docs" / "imputation.md"

MAX_ROWS = 1000
TEST_ENTRIES, MAX_DRAWS = 1000, 30
SETS = (
    "iris", "14_glass", "29_Pima", "4_breastw", "wine", "diabetes", "2_annthyroid", "wine_quality",
    "california_housing", "40_vowels", "letter", "6_cardio", "43_WDBC", "breast_cancer",
    "18_Ionosphere", "19_landsat", "spam", "digits", "23_mammography", "38_thyroid", "42_WBC",
    "32_shuttle", "7_Cardiotocography", "cmapss_fd001",
)  # fmt: skip
# Not used to choose the method and its constants.
FRESH = ("32_shuttle", "7_Cardiotocography", "cmapss_fd001")
GAPS = {"mcar10": 0.1, "mcar20": 0.2, "mcar50": 0.5, "mar20": 0.2}
ROWS = ("fitted", "unseen")
OURS, RIDGE, TREES = "AutoencoderImputer", "BayesianRidge", "ExtraTrees"


def imputers(trees: int) -> dict:
    return {
        "mean": SimpleImputer(),
        "kNN": KNNImputer(n_neighbors=5),
        RIDGE: IterativeImputer(random_state=0),
        OURS: AutoencoderImputer(random_state=0),
        TREES: IterativeImputer(ExtraTreesRegressor(trees, random_state=0), random_state=0),
    }


def hidden_entries(X: np.ndarray, kind: str, rng: np.random.RandomState) -> np.ndarray:
    """The mask of the entries to remove."""
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
    """Number of draws of rows and missing entries: the error of 40 unseen rows varies much."""
    X, n_fitted = split(name, 0)
    n_columns = X.shape[1] if kind.startswith("mcar") else X.shape[1] // 2
    n_test_entries = (len(X) - n_fitted) * n_columns * GAPS[kind]
    few_rows = int(np.clip(1500 // len(load(name)), 1, 5))
    return int(np.clip(np.ceil(TEST_ENTRIES / n_test_entries), few_rows, MAX_DRAWS))


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
    hidden = hidden_entries(X, kind, np.random.RandomState(seed + 1))
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


def of_version(scores: dict) -> dict:
    """The scores, and the version of skae."""
    return {"version": skae.__version__, **scores}


HEAD = """# Imputation

This page compares `AutoencoderImputer` with four imputers of scikit-learn:

- "mean" is `SimpleImputer`.
- "kNN" is `KNNImputer` with five neighbours.
- "BayesianRidge" is `IterativeImputer` with its default estimator.
- "ExtraTrees" is `IterativeImputer` with `ExtraTreesRegressor` (100 trees).

All other parameters have their defaults. The data sets are complete. Some entries are removed, and
the imputers predict them. The error is the root mean squared error of these entries, with columns
scaled to [0, 1].

Up to 1000 rows of a data set are used for `fit_transform` (*fitted* rows). The same number of other
rows is imputed by `transform` (*unseen* rows). The entries are removed in four ways:

- "mcar10", "mcar20" and "mcar50": 10, 20 and 50 % of all entries are removed, completely at random.
- "mar20": 20 % of the entries of half of the columns are removed. The probability that an entry is
  removed depends on a column of the other half.

Sets with a star were not used to choose the method and its constants. All other sets were used, so
the results for them are optimistic.

    python benchmarks/imputation.py           # adds what is missing or of another version
    python benchmarks/imputation.py --real    # values that are missing in the data
    python benchmarks/imputation.py --mixed   # tables with categories
    python benchmarks/imputation.py --page    # only writes this page

`benchmarks/results/imputation.json` contains all errors and seconds.
"""


def page(results: dict) -> str:
    complete = {
        key: scores
        for key, scores in results["made"].items()
        if {OURS, RIDGE, TREES, "kNN", "mean"} <= set(scores)
    }
    # By kind, then by set.
    cases = {
        kind: {k.split("|")[0]: v for k, v in complete.items() if k.endswith(f"|{kind}")}
        for kind in GAPS
    }
    lines = [
        *HEAD.splitlines(),
        "",
        "## All sets",
        "",
        '"Lowest error" is the number of data sets for which `AutoencoderImputer` has the lowest',
        "error. The next two columns are ratios: the error of `AutoencoderImputer` divided by that",
        "of `BayesianRidge`, and divided by that of the best other imputer for each data set. They",
        "are geometric means, with the largest ratio in brackets. If a ratio is below 1,",
        '`AutoencoderImputer` is better. "version" is the version of skae in these tables and in',
        "the following ones.",
        "",
        *summary(cases),
        "",
        "## Each set",
        "",
        "The tables have the error of `AutoencoderImputer` divided by that of the best other",
        "imputer.",
    ]
    for rows in ROWS:
        lines += ["", f"{rows.capitalize()} rows:", "", *table_of_ratios(cases, rows)]
    lines += [
        "",
        "## Errors with 20 % missing at random",
        "",
        "The table has the root mean squared errors of the fitted rows. The lowest error of a set",
        "is bold.",
        "",
        *table_of_errors(cases["mcar20"]),
        "",
        "## Time",
        "",
        "The table has the processor time of `fit_transform` of `AutoencoderImputer` with one",
        f"thread, divided by that of `{TREES}`, for 20 % missing at random. Over all kinds of",
        f"missing entries, this ratio is {seconds_ratio(complete)}.",
        f"`{TREES}` was timed in another run, and other processes were running.",
        "",
        *table_of_seconds(cases["mcar20"]),
    ]
    lines += mixed_section(results.get("mixed", {}))
    if results.get("real"):
        labels = ["logistic regression", "random forest"]
        rows = [
            (*key.split("|"), *(f"{scores[label]:.3f}" for label in labels))
            for key, scores in results["real"].items()
        ]
        lines += [
            "",
            "## Values that are missing in the data",
            "",
            "In these data sets some values are missing, so the error of the imputed values is",
            "not known. The table has the accuracy of two classifiers that are fitted to the",
            "imputed columns, in cross-validation. The imputer is fitted to the training rows of",
            "each fold.",
            "",
            *markdown_table(("set", "imputer", *labels), rows),
            "",
            *accuracy_conclusion(results["real"], labels),
            "",
            versions_sentence(s for key, s in results["real"].items() if key.endswith(OURS)),
        ]
    return "\n".join(lines) + "\n"


def accuracy_conclusion(results: dict, labels: list[str]) -> list[str]:
    """The imputers with the highest accuracy of each set and classifier, as a list."""
    lines = []
    for name in dict.fromkeys(key.split("|")[0] for key in results):
        of_set = {key.split("|")[1]: s for key, s in results.items() if key.startswith(f"{name}|")}
        for label in labels:
            highest = max(scores[label] for scores in of_set.values())
            best = [imputer for imputer, scores in of_set.items() if scores[label] == highest]
            difference = 100 * (highest - of_set[OURS][label])
            less = f"; {OURS} is {difference:.1f} percentage points lower" if difference else ""
            lines.append(f"- {name}, {label}: {' and '.join(best)}{less}.")
    return ["The imputers with the highest accuracy are:", "", *lines]


MIXED = """
## Numbers and categories

The tables have numbers and categories: titanic, adult, and sets whose every second column was
replaced by its quartile, as a category. Up to 500 rows are fitted, and the errors are those of the
removed entries of up to 500 other rows. With "mcar10", "mcar20" and "mcar50", 10, 20 and 50 % of
all entries are removed at random. With "mar20" and "mnar20", 20 % are removed, with a probability
that depends on another column, or on the entry itself. Seven of the sets were used to choose the
method: adult, titanic, wine, wine_quality, california_housing, 29_Pima and 6_cardio.

- "most frequent" is `SimpleImputer`: the mean, and the frequencies of the categories.
- "kNN" is `KNNImputer`, and "IterativeImputer" that of scikit-learn. Both are fitted
  to standardised numbers and an indicator for each category.
- "boosting" is `HistGradientBoostingClassifier` or `HistGradientBoostingRegressor` for each column,
  fitted to all other columns.
- "miceforest" is multiple imputation by chained LightGBM models: the means of ten imputations, and
  the shares of the categories in them. Only "mcar10" is measured, as a fit takes minutes.

The table has means over the sets: the share of wrong categories, the logarithmic loss of the
probabilities of categories, and the root mean squared error of numbers in standard deviations.
All indicators of a column are missing together, so `IterativeImputer`, which predicts each of them
from the others, hardly changes their means. If the predictions of an imputer are not probabilities,
they are limited to at least 0.01 and divided by their sum.
"""
MEASURES = {"wrong": "wrong categories", "log loss": "log loss", "rmse": "error of numbers"}


def mixed_section(results: dict) -> list[str]:
    labels = list(mixed_tables.IMPUTERS)
    needed = {*labels} - {mixed_tables.SLOW}
    complete = {key: scores for key, scores in results.items() if needed <= {*scores}}
    if not complete:
        return []
    lines = []
    for kind in mixed_tables.GAPS:
        of_kind = [scores for key, scores in complete.items() if key.endswith(f"|{kind}")]
        for measure_name, title in MEASURES.items() if of_kind else ():
            means = {
                label: np.mean([scores[label][measure_name] for scores in of_kind])
                for label in labels
                if all(label in scores for scores in of_kind)
            }
            lowest = min(means, key=means.__getitem__)
            texts = {label: f"{mean:.3f}" for label, mean in means.items()}
            texts[lowest] = f"**{texts[lowest]}**"
            cells = [texts.get(label, "") for label in labels]
            lines.append((kind, title, str(len(of_kind)), *cells))
    header = ("missing", "mean of", "sets", *labels)
    ours = mixed_tables.OURS
    counts = [
        f"- {title}: {sum(_is_lowest(scores, ours, name) for scores in complete.values())}"
        for name, title in MEASURES.items()
    ]
    n_worse = sum(s[ours]["log loss"] > s["most frequent"]["log loss"] for s in complete.values())
    return [
        *MIXED.splitlines(),
        "",
        *markdown_table(header, lines),
        "",
        f"Number of the {len(complete)} cases in which `AutoencoderImputer` has the lowest result:",
        "",
        *counts,
        "",
        f"Cases in which its log loss is higher than that of the frequencies: {n_worse}.",
        "",
        versions_sentence(scores[ours] for scores in complete.values()),
    ]


def _is_lowest(scores: dict, label: str, name: str) -> bool:
    return min(scores, key=lambda other: scores[other][name]) == label


def relative(scores: dict, rows: str, other: str | None = None) -> float:
    """The error of `AutoencoderImputer` over that of another imputer, or of the best other one."""
    others = [s[rows] for name, s in scores.items() if name != OURS and other in (None, name)]
    return scores[OURS][rows] / min(others)


def summary(cases: dict[str, dict]) -> list[str]:
    lines = []
    for kind, of_kind in cases.items():
        for rows in ROWS:
            cells = []
            for other in (RIDGE, None):
                ratios = [relative(scores, rows, other) for scores in of_kind.values()]
                mean = float(np.exp(np.log(ratios).mean()))
                cells.append(f"{mean:.3f} ({max(ratios):.3f})")
            n_best = sum(relative(scores, rows) < 1 for scores in of_kind.values())
            found = " and ".join(versions(scores[OURS] for scores in of_kind.values()))
            lines.append((kind, rows, f"{n_best} of {len(of_kind)}", *cells, found))
    header = (
        "missing", "rows", "lowest error", "relative to BayesianRidge", "to the best other",
        "version",
    )  # fmt: skip
    return markdown_table(header, lines)


def seconds_ratio(complete: dict) -> str:
    ratios = [scores[OURS]["seconds"] / scores[TREES]["seconds"] for scores in complete.values()]
    return f"{min(ratios):.2f} to {max(ratios):.2f}, median {np.median(ratios):.2f}"


def table_of_ratios(cases: dict[str, dict], rows: str) -> list[str]:
    lines = []
    for name in next(iter(cases.values())):
        cells = [f"{relative(of_kind[name], rows):.3f}" for of_kind in cases.values()]
        lines.append((marked(name), *cells))
    return markdown_table(("set", *cases), lines)


def table_of_errors(cases: dict) -> list[str]:
    names = ["mean", "kNN", RIDGE, TREES, OURS]
    lines = []
    for name, scores in cases.items():
        errors = [scores[n]["fitted"] for n in names]
        cells = [f"**{e:.4f}**" if e == min(errors) else f"{e:.4f}" for e in errors]
        lines.append((marked(name), *cells))
    return markdown_table(("set", *names), lines)


def table_of_seconds(cases: dict) -> list[str]:
    lines = [
        (marked(name), f"{scores[OURS]['seconds'] / scores[TREES]['seconds']:.2f}")
        for name, scores in cases.items()
    ]
    return markdown_table(("set", "ratio"), lines)


def marked(name: str) -> str:
    return f"{name}*" if name in FRESH else name


def main() -> None:
    options = page_parser(__doc__)
    options.add_argument("--sets", default=",".join(SETS))
    options.add_argument("--gaps", default=",".join(GAPS))
    options.add_argument("--imputers", default="")
    options.add_argument("--trees", type=int, default=100)
    options.add_argument("--real", action="store_true")
    options.add_argument("--mixed", action="store_true")
    arguments = options.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"made": {}, "real": {}}
    if arguments.page:
        PAGE.write_text(page(results))
        return
    chosen = arguments.imputers.split(",") if arguments.imputers else list(imputers(1))
    if arguments.quick:
        for label in chosen:
            print(label, measure("iris", "mcar20", imputers(5)[label]))
        return

    def needed(part: str, key: str, label: str) -> bool:
        """Whether there is no result, or one of another version of skae."""
        scores = results.get(part, {}).get(key, {}).get(label)
        return scores is None or (label == OURS and scores.get("version") != skae.__version__)

    def keep(part: str, key: str, scores: dict) -> None:
        results.setdefault(part, {}).setdefault(key, {}).update(scores)
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")
        PAGE.write_text(page(results))
        print(key, scores, flush=True)

    for kind in mixed_tables.GAPS if arguments.mixed else ():
        for name in mixed_tables.SETS:
            for label in mixed_tables.IMPUTERS:
                if label == mixed_tables.SLOW and kind != mixed_tables.GAPS_OF_SLOW:
                    continue
                if needed("mixed", f"{name}|{kind}", label):
                    scores = mixed_tables.measure(name, kind, label)
                    keep("mixed", f"{name}|{kind}", {label: of_version(scores)})
    for kind in [] if arguments.real or arguments.mixed else arguments.gaps.split(","):
        for name in present(arguments.sets.split(",")):
            for label in chosen:
                if needed("made", f"{name}|{kind}", label):
                    imputer = imputers(arguments.trees)[label]
                    scores = of_version(measure(name, kind, imputer))
                    keep("made", f"{name}|{kind}", {label: scores})
    for name in ("titanic", "mice_protein") if arguments.real else ():
        for label in chosen:
            # The trees take an hour for the 77 columns of mice_protein in five folds.
            if label != TREES or name == "titanic":
                scores = real_gaps(name, imputers(arguments.trees)[label])
                keep("real", f"{name}|{label}", of_version(scores))


if __name__ == "__main__":
    main()
