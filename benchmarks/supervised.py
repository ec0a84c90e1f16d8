"""Codes that also predict a target, compared with PCovR, PLS, LDA and PCA on new rows.

    python benchmarks/supervised.py [--seeds 1] [--quick]

Two thirds of the rows are training rows. Reported are the squared error of reconstructions of new
rows, relative to PCA's, and the accuracy or R2 of models of the codes: a linear one and that of the
nearest neighbours. Writes `benchmarks/results/supervised.json` after each set, continues an
interrupted run, and writes `docs/supervised.md`. `--page` only writes the page.
"""

from collections.abc import Callable
from textwrap import fill
from typing import NamedTuple

import numpy as np
from _timing import Results, Timer, markdown_table, page_parser
from data_sets import ROOT
from labelled_sets import SETS, available
from sklearn.cross_decomposition import PLSRegression
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression, Ridge, RidgeCV
from sklearn.model_selection import GroupShuffleSplit, ShuffleSplit
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skae import AutoencoderTransformer, SupervisedAutoencoder

PAGE = ROOT / "docs" / "supervised.md"
SIZES = (2, 5)
MIXINGS = (0.9, 0.5, 0.1)
MAX_ROWS = 2400
# The sets on which the estimator was developed come first.
DEVELOPMENT = ("digits", "breast_cancer", "diabetes", "mice_protein", "wine_quality")
HELD_OUT = (
    "iris", "wine", "isolet5", "ecg5000", "california_housing", "7_Cardiotocography",
    "binary_alphadigits", "mnist", "cmapss_fd001",
)  # fmt: skip
PICTURES = ("digits", "mnist", "binary_alphadigits")
NUMBERS = ("wine_quality",)  # a number with few values


class Split(NamedTuple):
    """Training rows and new rows, standardised, with their targets."""

    X: np.ndarray
    y: np.ndarray
    X_new: np.ndarray
    y_new: np.ndarray
    are_classes: bool


def load(name: str, seed: int) -> Split:
    found = SETS[name]()
    options = {"n_splits": 1, "train_size": 2 / 3, "random_state": seed}
    order = np.random.RandomState(seed).permutation(len(found.X))[:MAX_ROWS]
    X, y = found.X[order].astype(float), found.y[order]
    if found.groups is None:
        train, new = next(ShuffleSplit(**options).split(X))
    else:
        train, new = next(GroupShuffleSplit(**options).split(X, groups=found.groups[order]))
    if name not in PICTURES:
        scaler = StandardScaler().fit(X[train])
        X = np.nan_to_num(scaler.transform(X))
    are_classes = found.target == "class" and name not in NUMBERS
    y = y if are_classes else y.astype(float)
    return Split(X[train], y[train], X[new], y[new], are_classes)


def indicators(split: Split) -> np.ndarray:
    """Targets of mean zero and variance one; those of classes are the indicators of each."""
    y = split.y[:, None] == np.unique(split.y) if split.are_classes else split.y[:, None]
    return (y - y.mean(axis=0)) / y.std(axis=0)


class Linear:
    """Linear codes, with the decoder of least squares."""

    def __init__(self, codes: Callable[[np.ndarray], np.ndarray], X: np.ndarray):
        self.transform, self._mean = codes, X.mean(axis=0)
        code = codes(X)
        self._code_mean = code.mean(axis=0)
        self._decoder = np.linalg.lstsq(code - self._code_mean, X - self._mean, rcond=None)[0]

    def inverse_transform(self, code: np.ndarray) -> np.ndarray:
        """Decode."""
        return self._mean + (code - self._code_mean) @ self._decoder


def pcovr(split: Split, k: int, mixing: float) -> Linear:
    """Principal covariates regression; the regression is ridge regression."""
    X, Y = split.X - split.X.mean(axis=0), indicators(split)
    left, sizes, axes = np.linalg.svd(X, full_matrices=False)
    kept = sizes > 1e-10 * sizes[0]
    left, sizes, axes = left[:, kept], sizes[kept], axes[kept]
    penalties = np.logspace(-6, 3, 19) * (sizes**2).mean()
    predicted = RidgeCV(penalties).fit(left * sizes, Y).predict(left * sizes)
    slopes = left.T @ predicted.reshape(Y.shape) / np.linalg.norm(Y)
    matrix = mixing * np.diag(sizes**2) / (sizes**2).sum() + (1 - mixing) * slopes @ slopes.T
    vectors = np.linalg.eigh(matrix)[1][:, ::-1][:, :k]
    encoder, mean = axes.T @ (vectors / sizes[:, None]), split.X.mean(axis=0)
    return Linear(lambda rows: (rows - mean) @ encoder, split.X)


def pls(split: Split, k: int) -> Linear:
    model = PLSRegression(min(k, *split.X.shape), scale=False).fit(split.X, indicators(split))
    return Linear(model.transform, split.X)


def lda(split: Split, k: int) -> Linear | None:
    if not split.are_classes:
        return None
    k = min(k, len(np.unique(split.y)) - 1)
    model = LinearDiscriminantAnalysis(solver="eigen", shrinkage="auto", n_components=k)
    return Linear(model.fit(split.X, split.y).transform, split.X)


METHODS: dict[str, Callable] = {
    "PCA": lambda split, k, seed: PCA(k, random_state=seed).fit(split.X),
    "PLS": lambda split, k, seed: pls(split, k),
    "LDA": lambda split, k, seed: lda(split, k),
    **{
        f"PCovR, mixing={mixing}": lambda split, k, seed, mixing=mixing: pcovr(split, k, mixing)
        for mixing in MIXINGS
    },
    "AutoencoderTransformer": lambda split, k, seed: AutoencoderTransformer(
        k, random_state=seed
    ).fit(split.X),
    **{
        f"SupervisedAutoencoder, mixing={mixing}": lambda split, k, seed, mixing=mixing: (
            SupervisedAutoencoder(k, mixing=mixing, random_state=seed).fit(split.X, split.y)
        )
        for mixing in MIXINGS
    },
}


def measured(reducer, split: Split) -> dict[str, float]:
    codes, new = reducer.transform(split.X), reducer.transform(split.X_new)
    if split.are_classes:
        models = LogisticRegression(max_iter=3000), KNeighborsClassifier(5)
    else:
        models = Ridge(1e-3), KNeighborsRegressor(10)
    linear, neighbors = (
        make_pipeline(StandardScaler(), model).fit(codes, split.y).score(new, split.y_new)
        for model in models
    )
    error = np.square(reducer.inverse_transform(new) - split.X_new).sum()
    total = np.square(split.X_new - split.X.mean(axis=0)).sum()
    return {"error": float(error / total), "linear": linear, "neighbors": neighbors}


def run(results: Results, n_seeds: int, names: list[str]) -> None:
    for seed in range(n_seeds):
        for name in names:
            split = load(name, seed)
            for size in [size for size in SIZES if size < split.X.shape[1]]:
                key = f"{name}/{size}/{seed}"
                record = results.records.get(key, {"are_classes": split.are_classes})
                for title in [title for title in METHODS if title not in record]:
                    with Timer() as timer:
                        reducer = METHODS[title](split, size, seed)
                    if reducer is not None:
                        record[title] = measured(reducer, split) | {"seconds": timer.processor}
                results.save(key, **record)


HEAD = """# Codes that predict a target, compared with PCovR, PLS and LDA

This page compares codes of `SupervisedAutoencoder` with linear codes, by two properties on new
rows: the reconstruction error, and the prediction of a target from the codes. There are {n_sets}
data sets with at most {max_rows} rows; two thirds of the rows are training rows. All codes have
{sizes} components.

{targets}

- "error" is the squared error of the reconstructions of new rows, divided by that of PCA with as
  many components. Values are geometric means over the data sets.
- "linear" and "neighbours" are the accuracy on new rows of a logistic regression and of the five
  nearest neighbours, in percent, with the codes as features; for numbers it is 100 R² of ridge
  regression and of the ten nearest neighbours. Values are means over the data sets.

PCovR (principal covariates regression) has the same parameter `mixing` as `SupervisedAutoencoder`
for linear codes: 1 is PCA, and smaller values give the prediction a larger weight. The decoders of
PCovR, PLS and LDA are fitted by least squares. For k classes, LDA has at most k - 1 components.

    python benchmarks/supervised.py
"""

EQUAL = """## Prediction at equal reconstruction

A smaller `mixing` improves the prediction and worsens the reconstruction. Here each method has the
smallest of the three values of `mixing` with which its error on new rows is at most 5 % larger than
that of PCA. If there is no such value, the table has PCA. PLS and LDA have no such
parameter, and on average a larger error than PCA.
"""

DETAILS = """## Data sets

The column "PCA" has the accuracy of the linear model in percent, or 100 R². The other columns have
the error relative to PCA, and in brackets the accuracy or 100 R².
"""


def equal_reconstruction(record: dict, method: str) -> dict[str, float]:
    """The measures of a method with the smallest mixing whose error is that of PCA, or PCA's."""
    for mixing in sorted(MIXINGS):
        found = record[f"{method}, mixing={mixing}"]
        if found["error"] <= 1.05 * record["PCA"]["error"]:
            return found
    return record["PCA"]


def summary(records: list[dict], methods: dict[str, Callable]) -> list[tuple]:
    """One row for each method: its name, and the means of its measures."""
    rows = []
    for title, measures_of in methods.items():
        found = [measures_of(record) for record in records]
        if None in found:
            continue
        ratios = [f["error"] / r["PCA"]["error"] for f, r in zip(found, records, strict=True)]
        rows.append(
            (
                title,
                f"{np.exp(np.log(ratios).mean()):.2f}",
                f"{100 * np.mean([f['linear'] for f in found]):.1f}",
                f"{100 * np.mean([f['neighbors'] for f in found]):.1f}",
            )
        )
    return rows


def page(records: dict) -> str:
    names = list(dict.fromkeys(key.split("/")[0] for key in records))
    numbers = [n for n in names if not records[next(k for k in records if k.split("/")[0] == n)][
        "are_classes"]]  # fmt: skip
    development = _listed([name for name in names if name in DEVELOPMENT])
    targets = (
        f"Targets are classes, or numbers for {_listed(numbers)}. The estimator was developed on "
        f"{development}. The other sets were not used before."
    )
    lines = HEAD.format(
        n_sets=len(names),
        max_rows=f"{MAX_ROWS:,}",
        sizes=" or ".join(map(str, SIZES)),
        targets=fill(targets, 100, break_on_hyphens=False),
    ).splitlines()
    header = ("method", "error", "linear", "neighbours")
    everything = {t: lambda r, t=t: r.get(t) for t in METHODS}
    at_equal = {t: lambda r, t=t: r[t] for t in ("PCA", "AutoencoderTransformer")} | {
        t: lambda r, t=t: equal_reconstruction(r, t) for t in ("PCovR", "SupervisedAutoencoder")
    }
    parts = (
        ("Classification, {} components, data sets of the development:", True, DEVELOPMENT),
        ("Classification, {} components, other data sets:", True, HELD_OUT),
        ("Regression, {} components, data sets of the development:", False, DEVELOPMENT),
        ("Regression, {} components, other data sets:", False, HELD_OUT),
    )
    for intro, methods in (("## Summary", everything), (EQUAL, at_equal)):
        lines += ["", *intro.splitlines()]
        for title, are_classes, group in parts:
            for size in SIZES:
                chosen = [
                    record for key, record in records.items()
                    if record["are_classes"] == are_classes
                    and key.split("/")[0] in group and key.split("/")[1] == str(size)
                ]  # fmt: skip
                if chosen:
                    lines += ["", title.format(size), ""]
                    lines += markdown_table(header, summary(chosen, methods))
    columns = ("PLS", "LDA", f"PCovR, mixing={MIXINGS[1]}", "AutoencoderTransformer",
               f"SupervisedAutoencoder, mixing={MIXINGS[1]}")  # fmt: skip
    lines += ["", *DETAILS.splitlines(), ""]
    rows = [
        (*key.split("/")[:2], f"{100 * record['PCA']['linear']:.1f}",
         *(_cell(record, title) for title in columns))
        for key, record in records.items()
    ]  # fmt: skip
    lines += markdown_table(("data set", "components", "PCA", *columns), rows)
    return "\n".join([*lines, ""])


def _cell(record: dict, title: str) -> str:
    if title not in record:
        return ""
    ratio = record[title]["error"] / record["PCA"]["error"]
    return f"{ratio:.2f} ({100 * record[title]['linear']:.1f})"


def _listed(names: list[str]) -> str:
    return ", ".join(names[:-1]) + (f" and {names[-1]}" if len(names) > 1 else names[0])


def main() -> None:
    options = page_parser(__doc__)
    options.add_argument("--seeds", type=int, default=1)
    arguments = options.parse_args()
    results = Results("supervised", quick=arguments.quick)
    if not arguments.page:
        names = ["iris"] if arguments.quick else available([*DEVELOPMENT, *HELD_OUT])
        run(results, arguments.seeds, names)
    if not arguments.quick:
        PAGE.write_text(page(results.records))


if __name__ == "__main__":
    main()
