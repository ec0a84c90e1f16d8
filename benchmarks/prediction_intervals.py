"""Prediction intervals of missing numbers: how many of them contain the number, and their width.

    python benchmarks/prediction_intervals.py [--sets wine_quality,letter] [--draws 3] [--quick]

The tables and the ways in which entries are removed are those of `imputation.py`. An imputer is
fitted to the first part of the rows, and its 90 % intervals are computed for the other rows. Writes
`benchmarks/results/prediction_intervals.json` after each set, continues an interrupted run, and
writes `docs/prediction_intervals.md`. `--page` only writes the page.
"""

import warnings

import numpy as np
from _timing import Results, markdown_table, page_parser, versions_sentence
from data_sets import ROOT, present
from imputation import GAPS, hidden_entries, split
from sklearn.exceptions import ConvergenceWarning
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer

from skae import AutoencoderImputer

PAGE = ROOT / "docs" / "prediction_intervals.md"
SETS = (
    "diabetes", "breast_cancer", "2_annthyroid", "7_Cardiotocography", "wine_quality",
    "california_housing", "letter", "cmapss_fd001",
)  # fmt: skip
LEVEL, N_SAMPLES = 0.9, 50


def ours(fitted, new, seed):
    imputer = AutoencoderImputer(random_state=seed).fit(fitted)
    return imputer.predict_interval(new, confidence_level=LEVEL)


def of_samples(fitted, new, seed):
    """Quantiles of random samples of the posterior of Bayesian regressions."""
    imputer = IterativeImputer(sample_posterior=True, random_state=seed).fit(fitted)
    samples = [imputer.transform(new) for _ in range(N_SAMPLES)]
    return np.quantile(samples, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)


METHODS = {"AutoencoderImputer": ours, "IterativeImputer": of_samples}


def measure(name: str, kind: str, title: str, seed: int) -> dict:
    """The share of hidden numbers of new rows that are in their interval, and the mean width."""
    X, n = split(name, seed)
    hidden = hidden_entries(X, kind, np.random.RandomState(seed + 1))
    gaps = np.where(hidden, np.nan, X)
    lower, upper = METHODS[title](gaps[:n], gaps[n:], seed)
    inside = (lower <= X[n:]) & (X[n:] <= upper)
    return {
        "set": name,
        "gaps": kind,
        "method": title,
        "coverage": float(inside[hidden[n:]].mean()),
        "width": float((upper - lower)[hidden[n:]].mean()),
    }


HEAD = f"""# Prediction intervals of missing numbers

This page has the coverage of 90 % prediction intervals: the share of removed numbers that are in
their intervals, in percent. [Imputation](imputation.md) describes the data sets and the ways in
which entries are removed. Intervals are computed for rows that are not in `fit`, from which entries
are removed in the same way.

`AutoencoderImputer` computes intervals by `predict_interval`. `IterativeImputer` has no intervals:
quantiles of {N_SAMPLES} imputations with `sample_posterior=True` are used. "mcar10" means that
10 % of the entries are removed at random; with "mar20", it depends on another column which ones.

    python benchmarks/prediction_intervals.py
"""


def page(records: dict) -> str:
    cases = list(records.values())

    def mean(title: str, name: str, kind: str, figure: str) -> float:
        keys = (("method", title), ("set", name), ("gaps", kind))
        found = [case[figure] for case in cases if all(case[k] == v for k, v in keys)]
        return float(np.mean(found)) if found else np.nan

    names = [name for name in SETS if any(case["set"] == name for case in cases)]
    draws = {key.rsplit("/", 1)[1] for key in records}
    coverage = {
        title: [[100 * mean(title, name, kind, "coverage") for kind in GAPS] for name in names]
        for title in METHODS
    }
    first, second = METHODS
    width = [
        [mean(first, name, kind, "width") / mean(second, name, kind, "width") for kind in GAPS]
        for name in names
    ]

    def table(figures: list[list[float]], digits: int) -> list[str]:
        rows = [
            (name, *(f"{figure:.{digits}f}" for figure in row))
            for name, row in zip(names, figures, strict=True)
        ]
        return markdown_table(("set", *GAPS), rows)

    ranges = [
        f"{np.min(figures):.1f} to {np.max(figures):.1f} % with `{title}`"
        for title, figures in coverage.items()
    ]
    shown = "for one draw" if len(draws) == 1 else f"means over {len(draws)} draws"
    lines = [*HEAD.splitlines(), "", f"The coverage is {ranges[0]},", f"and {ranges[1]}.", ""]
    lines += [f"Figures are {shown} of rows and entries. {versions_sentence(cases)}"]
    for title, figures in coverage.items():
        lines += ["", f"## {title}", "", *table(figures, 1)]
    lines += ["", "## Width", "", f"Mean width of the intervals of `{first}`, relative to that of"]
    lines += [f"`{second}`:", "", *table(width, 2)]
    return "\n".join([*lines, ""])


def main() -> None:
    options = page_parser(__doc__)
    options.add_argument("--sets", default=",".join(SETS))
    options.add_argument("--draws", type=int, default=3)
    arguments = options.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    results = Results("prediction_intervals", quick=arguments.quick)
    names = ["breast_cancer"] if arguments.quick else present(arguments.sets.split(","))
    for seed in [] if arguments.page else range(1 if arguments.quick else arguments.draws):
        for name in names:
            for kind in list(GAPS)[: 1 if arguments.quick else None]:
                for title in METHODS:
                    key = f"{name}/{kind}/{title}/{seed}"
                    if key not in results.records:
                        results.save(key, **measure(name, kind, title, seed))
    if not arguments.quick:
        PAGE.write_text(page(results.records))


if __name__ == "__main__":
    main()
