"""Writes `docs/downstream.md` from the results of `benchmarks/downstream.py`.

    python benchmarks/downstream_page.py

The page has those seeds of a reducer that all measured sets have.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from _timing import RESULTS, markdown_table, read
from data_sets import ROOT
from downstream import DEFAULT, MAX_ROWS, MODELS, NO_REDUCTION, OTHERS, OURS, SIZES

PAGE = ROOT / "docs" / "downstream.md"
MARGIN = 0.005  # smaller differences between two scores are not counted

HEAD = f"""\
# Features for other models

This page compares the codes of several reducers as the input of other models. The reducers are the
autoencoders, PCA, kernel PCA with a Gaussian kernel and, for two components, `NeighborAutoencoder`
and UMAP. Three models are fitted to the codes:

- "linear" is logistic regression, or ridge regression if the target is a number. Codes are
  standardised for these models.
- "5-NN" is five nearest neighbours.
- "forest" is a random forest.

Apart from this, all reducers and models have their default parameters. Columns are standardised.
At most {MAX_ROWS} training rows and {MAX_ROWS} test rows of a data set are used. Each seed has
other training and test rows, and another `random_state`. In cmapss_fd001, all rows of an engine are
either training rows or test rows, and so are all rows of a mouse in mice_protein. Engines and mice
are the `groups` of `fit`.

    python benchmarks/downstream.py         # adds what is missing to the stored results
    python benchmarks/downstream_page.py    # writes this page

`benchmarks/results/downstream.json` contains all scores.

## Error relative to PCA

The error of a model is one minus its score. The score is the accuracy, or R² if the target is a
number. The tables have the error with the codes of a reducer divided by the error with the codes of
PCA. Less than 1 is better than PCA. Figures are geometric means over data sets and seeds. The last
table counts the comparisons with a higher and a lower score than with PCA: the scores for all seeds
differ by more than {MARGIN} in the same direction.

Differences from a reducer with one seed are less reliable than those from one with three seeds. The
sparse autoencoder is made for more units than the components of this benchmark."""

TWO_COMPONENTS = """\
## Two components

These tables are for two components. The trustworthiness is 1 at best, if the five nearest
neighbours of a test row in two dimensions are near to it in all columns. The columns "all" are
means over all data sets, for the accuracy over all data sets with classes."""

LOWER = """\
## Lower scores than with PCA

These are the comparisons in which the score with the codes of `AutoencoderTransformer` is lower
than with the codes of PCA. Scores are means over the seeds."""

CAUSES = """\
## Causes of the lower scores

`AutoencoderTransformer` minimises the reconstruction error of all columns, and does not use the
target. Two causes were found for the lower scores with two components:

- **The codes contain other directions.** If the target depends only on the first principal
  components, other directions are of no use. In cmapss_fd001, the two components of the
  autoencoder also describe the third and the fourth principal component, and describe the second
  one less precisely. The reconstruction error is 0.63 times that of PCA, but the third and the
  fourth principal component do not increase the score of the linear model.
- **The principal components are nonlinear functions of the codes.** A linear model cannot use such
  a function. In diabetes and iris, the linear model has lower scores with the codes, and the random
  forest has higher scores.

The data set adult has one column for each category. After standardisation, rare categories have
large values, and the codes describe them. If the columns of the categories are not standardised,
the difference between the scores of the linear models is about a sixth as large.

If a linear model has a low score, try more components, `alpha`, or PCA. With `alpha=1`, the codes
of cmapss_fd001 and diabetes are those of PCA, and those of adult have correlations of 0.95 to 0.99
with the principal components. The figures of this section are printed by

    python benchmarks/downstream_causes.py"""


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


class Pair(NamedTuple):
    """A score with the codes of a reducer, that with PCA's, and the ratio of the errors."""

    score: float
    of_pca: float
    ratio: float


def whole(records: dict) -> dict:
    """The results without those of a reducer and a seed that some set lacks."""
    seeds_of: dict[str, dict[str, set[int]]] = {}
    for key, record in records.items():
        name, seed = key.split("/")
        for reducer in {c["reducer"] for c in record["cases"]}:
            seeds_of.setdefault(reducer, {}).setdefault(name, set()).add(int(seed))
    names = {key.split("/")[0] for key in records}
    common = {
        reducer: set.intersection(*(sets.get(name, set()) for name in names))
        for reducer, sets in seeds_of.items()
    }
    return {
        key: record | {"cases": cases}
        for key, record in records.items()
        if (cases := [c for c in record["cases"] if int(key.split("/")[1]) in common[c["reducer"]]])
    }


def seeds_in(records: dict, reducer: str) -> int:
    """The number of seeds of a reducer."""
    return len(
        {
            key.split("/")[1]
            for key, record in records.items()
            if any(c["reducer"] == reducer for c in record["cases"])
        }
    )


def cells_of(records: dict, reducer: str) -> dict[Cell, list[Pair]]:
    """The scores beside those with PCA, one for each seed."""
    cells: dict[Cell, list[Pair]] = {}
    for key, record in records.items():
        scores = {(c["reducer"], c["n_components"]): c["scores"] for c in record["cases"]}
        for k in sorted({k for _, k in scores if k is not None}):
            own = scores.get((reducer, None if reducer == NO_REDUCTION else k), {})
            for model, score in own.items():
                of_pca = scores["PCA", k][model]
                pair = Pair(score, of_pca, error(score, record) / error(of_pca, record))
                cells.setdefault(Cell(key.split("/")[0], k, model), []).append(pair)
    return cells


def lower(cells: dict[Cell, list[Pair]]) -> dict[Cell, list[Pair]]:
    """The cells with a lower score than with PCA, by more than `MARGIN`, for every seed."""
    return {c: p for c, p in cells.items() if all(pair.score < pair.of_pca - MARGIN for pair in p)}


def higher(cells: dict[Cell, list[Pair]]) -> dict[Cell, list[Pair]]:
    """The cells with a higher score than with PCA, by more than `MARGIN`, for every seed."""
    return {c: p for c, p in cells.items() if all(pair.score > pair.of_pca + MARGIN for pair in p)}


def mean_ratio(cells: dict[Cell, list[Pair]]) -> float | None:
    """The geometric mean of the ratios of errors."""
    logs = [np.log([pair.ratio for pair in pairs]).mean() for pairs in cells.values()]
    return float(np.exp(np.mean(logs))) if logs else None


def reducers_in(records: dict) -> list[str]:
    found = {c["reducer"] for record in records.values() for c in record["cases"]}
    return [name for name in dict.fromkeys((*OURS, *OTHERS, "UMAP", NO_REDUCTION)) if name in found]


def summary(records: dict) -> list[str]:
    """The figures of the default autoencoder."""
    cells = cells_of(records, DEFAULT)
    lines = [f"The error with the codes of `{DEFAULT}`, over all models, is:", ""]
    for k in SIZES:
        own = {cell: pairs for cell, pairs in cells.items() if cell.n_components == k}
        if own:
            lines.append(
                f"- {k} components: {mean_ratio(own):.2f} times that with PCA. The score is higher"
                f" in {len(higher(own))} of {len(own)} comparisons and lower in"
                f" {len(lower(own))}."
            )
    return lines


def ratios_tables(records: dict) -> list[str]:
    """For each number of components, the errors over those with PCA's codes."""
    lines = []
    for k in SIZES:
        rows = []
        for reducer in reducers_in(records):
            cells = cells_of(records, reducer)
            means = [
                mean_ratio({c: p for c, p in cells.items() if c[1:] == (k, model)})
                for model in MODELS["class"]
            ]
            if None not in means:
                rows.append((reducer, *(f"{mean:.2f}" for mean in means)))
        lines += ["", f"{k} components:", "", *markdown_table(("codes", *MODELS["class"]), rows)]
    return lines[1:]


def counts_table(records: dict) -> list[str]:
    """The numbers of cells in which the scores with every seed differ from those with PCA."""
    rows = []
    for reducer in reducers_in(records):
        if reducer != "PCA":
            cells = cells_of(records, reducer)
            counts = len(cells), len(higher(cells)), len(lower(cells))
            rows.append((reducer, seeds_in(records, reducer), *counts))
    return markdown_table(("codes", "seeds", "comparisons", "higher", "lower"), rows)


def maps_tables(records: dict) -> list[str]:
    """Two components: means over the seeds, of all sets and of single ones."""
    names = ["all", *(n for n in ("digits", "isolet5") if any(n in key for key in records))]
    trust, knn = [], []
    for reducer in reducers_in(records):
        cases = [
            (key.split("/")[0], record["target"], c)
            for key, record in records.items()
            for c in record["cases"]
            if c["reducer"] == reducer and c["n_components"] == 2
        ]
        if cases:
            of_set = {n: [case for case in cases if n in ("all", case[0])] for n in names}
            trust.append(
                (reducer, *(_mean(c["trustworthiness"] for *_, c in of_set[n]) for n in names))
            )
            knn.append(
                (
                    reducer,
                    *(
                        _mean(c["scores"]["5-NN"] for _, t, c in of_set[n] if t == "class")
                        for n in names
                    ),
                )
            )
    return [
        "Trustworthiness:",
        "",
        *markdown_table(("codes", *names), trust),
        "",
        "Accuracy of five nearest neighbours:",
        "",
        *markdown_table(("codes", *names), knn),
    ]


def _mean(values: Iterable[float]) -> str:
    return f"{np.mean(list(values)):.3f}"


def beside_umap(records: dict) -> list[str]:
    """For each model: the sets with a higher mean score with two components of UMAP."""
    seeds = {  # the others have no results of UMAP
        key: record
        for key, record in records.items()
        if any(c["reducer"] == "UMAP" for c in record["cases"])
    }
    ours, umap = (
        {c: np.mean([p.score for p in pairs]) for c, pairs in cells_of(seeds, reducer).items()}
        for reducer in (DEFAULT, "UMAP")
    )
    rows = []
    for model in MODELS["class"]:
        cells = [cell for cell in umap if cell.model == model]
        names = sorted(cell.set for cell in cells if umap[cell] > ours[cell])
        rows.append((model, f"{len(names)} of {len(cells)}", ", ".join(names)))
    return markdown_table(("model", "number", "data sets"), rows)


def lower_table(records: dict) -> list[str]:
    """The cells of the default with a lower score, the largest difference first."""
    means = [
        (cell, np.mean([p.score for p in pairs]), np.mean([p.of_pca for p in pairs]))
        for cell, pairs in lower(cells_of(records, DEFAULT)).items()
    ]
    rows = [
        (*cell, f"{own:.3f}", f"{of_pca:.3f}")
        for cell, own, of_pca in sorted(means, key=lambda row: row[1] - row[2])
    ]
    return markdown_table(("set", "components", "model", "score", "with PCA's codes"), rows)


def sets_table(records: dict) -> list[str]:
    rows = []
    for name in dict.fromkeys(key.split("/")[0] for key in records):
        own = next(record for key, record in records.items() if key.split("/")[0] == name)
        n_rows, n_columns = own["shape"]
        rows.append((name, str(n_rows), n_columns, own["n_test"], own["target"]))
    return markdown_table(("set", "training rows", "columns", "test rows", "target"), rows)


def page(records: dict) -> str:
    """The results as a page of documentation."""
    lines = [
        *HEAD.splitlines(),
        "",
        *summary(records),
        "",
        *ratios_tables(records),
        "",
        "The table counts the comparisons with a higher and with a lower score than with PCA. A",
        "comparison is for one data set, one number of components and one model.",
        "",
        *counts_table(records),
        "",
        *TWO_COMPONENTS.splitlines(),
        "",
        *maps_tables(records),
        "",
        f"In these data sets, the score with UMAP is higher than with `{DEFAULT}`:",
        "",
        *beside_umap(records),
        "",
        *LOWER.splitlines(),
        "",
        *lower_table(records),
        "",
        *CAUSES.splitlines(),
        "",
        "## Data sets",
        "",
        *sets_table(records),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(whole(read(RESULTS / "downstream.json")["records"])))
