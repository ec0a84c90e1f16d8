"""Writes `docs/downstream.md` from the results of `benchmarks/downstream.py`.

    python benchmarks/downstream_page.py

The page has those seeds of a reducer that all measured sets have.
"""

from itertools import product
from typing import NamedTuple

import numpy as np
from _timing import RESULTS, markdown_table, read
from data_sets import ROOT
from downstream import DEFAULT, MAX_ROWS, MODELS, NO_REDUCTION, OTHERS, OURS, SIZES

PAGE = ROOT / "docs" / "downstream.md"
MARGIN = 0.005  # smaller differences between two scores are not counted

HEAD = f"""\
# Features for other models

Models that are fitted to codes instead of all columns, and their scores on test rows. The codes of
autoencoders are compared with those of PCA, kernel PCA with a Gaussian kernel, and, for two
components, UMAP. All reducers and models have their defaults otherwise. The models are

- linear: logistic regression, or ridge regression where the target is a number, with standardised
  codes;
- 5-NN: five nearest neighbours;
- forest: a random forest.

Columns are standardised, and at most {MAX_ROWS} training rows and {MAX_ROWS} test rows of a set are
used. An engine of cmapss_fd001 has many rows, as has a mouse of mice_protein: these are all
training rows or all test rows, and the engines and mice are passed to `fit` as `groups`. Training
and test rows, and the random states, differ from seed to seed.

    python benchmarks/downstream.py         # adds what is missing to the stored results
    python benchmarks/downstream_page.py    # writes this page

`benchmarks/results/downstream.json` contains all scores.

## Error relative to PCA

The error is one minus the score; the score is the accuracy, or R2 where the target is a number. The
table has the error with the codes of a reducer over that with PCA's codes: geometric means over
data sets and seeds, for each model and number of components. Values below 1 are better than PCA.

A cell is a data set, a number of components and a model. "Higher" is the number of cells in which
the score is more than {MARGIN} above that with PCA's codes for every seed, "lower" the number of
those in which it is more than {MARGIN} below. Each reducer is compared with PCA for its own seeds;
with one seed more differences are due to chance. The sparse autoencoder has as many units as the
others have components, and few of them are active in a row: it is made for more units."""

TWO_COMPONENTS = """\
## Two components

Trustworthiness is close to 1 if the five nearest neighbours of a test row in two dimensions are
near to it in all columns; it is averaged over all sets. 5-NN is the accuracy of five nearest
neighbours, averaged over the sets with classes."""

LOWER = """\
## Lower scores than with PCA

The cells of `AutoencoderTransformer` that the column "lower" counts; scores are means over the
seeds."""

CAUSES = """\
## Causes of the lower scores

`AutoencoderTransformer` minimises the reconstruction error of all columns, and does not use the
target. Two causes were found for the lower scores with two components:

- The target depends on the directions of the first principal components, and the codes also
  describe other directions. In cmapss_fd001 the third and the fourth component have no correlation
  with the target. Five nearest neighbours and the forest have lower scores there because these two
  components can be predicted from the two codes, and the second one less precisely than from PCA's
  codes. The reconstruction error is a third lower.
- The principal components are nonlinear functions of the codes. A linear model cannot use such a
  dependence: in adult, cmapss_fd001, diabetes and iris the linear model has lower scores, while
  those of the forest are higher in diabetes and iris.

Adult has a column for each category. After standardisation a rare category has a large value, and
the codes describe rare categories. If the columns of the categories are not standardised, the
difference between the linear models is about a quarter as large with two components.

In cmapss_fd001 and diabetes the codes are those of PCA with `transform_max_iter=0`, and also with
`alpha=1`. In adult they are nearly those of PCA with `alpha=1`, and the linear model has the same
accuracy. Where a linear model has a low score, try more components, `alpha`, or PCA."""


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
    lines = [f"Error with codes of `{DEFAULT}` over that with PCA's codes, all models:", ""]
    for k in SIZES:
        own = {cell: pairs for cell, pairs in cells.items() if cell.n_components == k}
        if own:
            lines.append(
                f"- {k} components: {mean_ratio(own):.2f}. The score is higher in"
                f" {len(higher(own))} of {len(own)} cells and lower in {len(lower(own))}."
            )
    return lines


def ratios_table(records: dict) -> list[str]:
    """Errors over those with PCA's codes, and the numbers of cells with every seed."""
    rows = []
    for reducer in reducers_in(records):
        cells = cells_of(records, reducer)
        means = []
        for size_and_model in product(SIZES, MODELS["class"]):
            ratio = mean_ratio({c: p for c, p in cells.items() if c[1:] == size_and_model})
            means.append("" if ratio is None else f"{ratio:.2f}")
        counts = len(higher(cells)), len(lower(cells)), len(cells)
        if reducer == "PCA":
            counts = "", "", len(cells)
        rows.append((reducer, seeds_in(records, reducer), *means, *counts))
    sizes = (f"{model}, {k}" for k, model in product(SIZES, MODELS["class"]))
    return markdown_table(("codes", "seeds", *sizes, "higher", "lower", "cells"), rows)


def maps_table(records: dict) -> list[str]:
    """Two components: means over the seeds, of all sets and of single ones."""
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
        rows.append((reducer, seeds_in(records, reducer), *figures))
    columns = [f"{m}, {n}" for n in ("all", *names) for m in ("trustworthiness", "5-NN")]
    return markdown_table(("codes", "seeds", *columns), rows)


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
    lines = []
    for model in MODELS["class"]:
        cells = [cell for cell in umap if cell.model == model]
        names = sorted(cell.set for cell in cells if umap[cell] > ours[cell])
        lines.append(f"- {model}: {len(names)} of {len(cells)} sets ({', '.join(names)})")
    return lines


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
        *ratios_table(records),
        "",
        *TWO_COMPONENTS.splitlines(),
        "",
        *maps_table(records),
        "",
        f"Sets in which UMAP's codes have a higher score than those of `{DEFAULT}`:",
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
