"""Tables with numbers and categories: the deviance of new rows, compared with FAMD and others.

    python benchmarks/mixed.py [--seeds 1] [--quick]

Two thirds of the rows are training rows. Tables are adult, titanic and wine_quality of the data
folder, tables of numbers of which every second column is replaced by its quartile, and simulated
tables. Deviances are in squared standard deviations of the training rows for numbers, and twice the
negative log-probability for categories; their mean over the observed entries of new rows is
compared. The probabilities of the other methods are their reconstructions of the indicators, at
least a margin and divided by their sum; the margin is the best of five for the training rows.
Writes `benchmarks/results/mixed.json` after each table, continues an interrupted run, and writes
`docs/mixed.md`. `--page` only writes the page.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd
from _timing import Results, Timer, markdown_table, page_parser
from data_sets import ROOT, folder
from sklearn import datasets
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skae import AutoencoderTransformer

PAGE = ROOT / "docs" / "mixed.md"
SIZES = (2, 5)
MAX_ROWS = 6000
MARGINS = (1e-4, 1e-3, 1e-2, 3e-2, 1e-1)
BINNED = (
    "california_housing", "letter", "spam", "adbench/6_cardio", "adbench/7_Cardiotocography",
    "adbench/12_fault", "adbench/22_magic.gamma", "adbench/27_PageBlocks", "adbench/29_Pima",
    "adbench/38_thyroid", "adbench/40_vowels", "adbench/43_WDBC", "adbench/45_wine",
)  # fmt: skip
SHIPPED = ("iris", "wine", "breast_cancer", "diabetes")
Table = tuple[pd.DataFrame, np.ndarray | None]  # and labels of two classes


def adult() -> Table:
    with np.load(folder() / "adult.npz") as arrays:
        parts = {
            name: np.concatenate([arrays[f"{name}_train"], arrays[f"{name}_test"]])
            for name in ("X_num", "X_cat", "y")
        }
    frame = pd.DataFrame(parts["X_num"], columns=[f"number {j}" for j in range(6)])
    for j, codes in enumerate(parts["X_cat"].T):
        frame[f"category {j}"] = pd.Categorical(np.where(codes < 0, None, codes.astype(object)))
    return frame, parts["y"]


def titanic() -> Table:
    names = ["class", "female", "age", "siblings", "parents", "fare", "port"]
    with np.load(folder() / "titanic.npz") as arrays:
        frame, y = pd.DataFrame(arrays["X"], columns=names), arrays["y"]
    return frame.astype(dict.fromkeys(["class", "female", "port"], "category")), y


def wine_quality() -> Table:
    with np.load(folder() / "wine_quality.npz") as arrays:
        frame, y, colour = pd.DataFrame(arrays["X"]), arrays["y"], arrays["colour"]
    frame.columns = [f"number {j}" for j in frame.columns]
    return frame.assign(colour=pd.Categorical(colour)), y > 5


def of_file(name: str) -> Table:
    with np.load(folder() / f"{name}.npz") as arrays:
        return arrays["X"].astype(float), arrays.get("y")


def of_scikit_learn(name: str) -> Table:
    data = getattr(datasets, f"load_{name}")()
    return data.data, data.target if len(np.unique(data.target)) == 2 else None


def binned(load: Callable[[], tuple[np.ndarray, np.ndarray | None]]) -> Table:
    """Every second column is replaced by its quartile."""
    X, y = load()
    frame = pd.DataFrame(X, columns=[f"column {j}" for j in range(X.shape[1])])
    for name in frame.columns[::2]:
        ends = np.unique(np.quantile(frame[name], [0.25, 0.5, 0.75]))
        frame[name] = pd.Categorical(np.searchsorted(ends, frame[name]).astype(str))
    return frame, y if y is not None and len(np.unique(y)) == 2 else None


def simulated(kind: str) -> Table:
    """Six numbers and six categories of 1500 rows that depend on one factor, classes or nothing."""
    rng = np.random.RandomState(0)
    factor, classes = rng.normal(size=1500), rng.randint(5, size=1500)
    frame = {}
    for j in range(6):
        scores = {
            "curve": np.sin(factor + j)[:, None] * rng.normal(size=(1, 4)) * 3,
            "classes": rng.normal(size=(5, 4))[classes] * 2,
            "independent": np.zeros((1500, 4)),
        }[kind]
        frame[f"number {j}"] = scores[:, 0] + rng.normal(size=1500)
        frame[f"category {j}"] = pd.Categorical(
            (scores + rng.gumbel(size=(1500, 4))).argmax(1).astype(str)
        )
    return pd.DataFrame(frame), None


def tables() -> dict[str, Callable[[], Table]]:
    """Functions that load the available tables."""
    made = {f"simulated, {k}": partial(simulated, k) for k in ("curve", "classes", "independent")}
    made |= {f"{name}, binned": partial(binned, partial(of_scikit_learn, name)) for name in SHIPPED}
    if (where := folder()) is None:
        return made
    files = {"adult": adult, "titanic": titanic, "wine_quality": wine_quality}
    files |= {f"{n.split('/')[-1]}, binned": partial(binned, partial(of_file, n)) for n in BINNED}
    present = {n for n in files if (where / f"{n}.npz").exists()}
    present |= {f"{n.split('/')[-1]}, binned" for n in BINNED if (where / f"{n}.npz").exists()}
    return {n: load for n, load in files.items() if n in present} | made


class Columns(NamedTuple):
    """The columns of a table in training: for numbers mean and deviation, else frequencies."""

    name: str
    categories: list | None
    first: np.ndarray  # means, or frequencies
    second: np.ndarray  # standard deviations, or the same frequencies


def columns_of(frame: pd.DataFrame) -> list[Columns]:
    columns = []
    for name in frame:
        if isinstance(frame[name].dtype, pd.CategoricalDtype):
            shares = frame[name].value_counts(normalize=True)
            shares = shares[shares > 0].sort_index()
            columns.append(Columns(name, list(shares.index), *2 * (shares.to_numpy(),)))
        else:
            std = frame[name].std(ddof=0)
            moments = np.array([frame[name].mean()]), np.array([std if std > 0 else 1.0])
            columns.append(Columns(name, None, *moments))
    return columns


def blocks_of(frame: pd.DataFrame, columns: list[Columns]) -> list[np.ndarray]:
    """Standardised numbers, and indicators of categories; NaN where missing or unknown."""
    blocks = []
    for name, categories, first, second in columns:
        if categories is None:
            blocks.append((frame[[name]].to_numpy(dtype=float) - first) / second)
        else:
            block = (frame[name].to_numpy()[:, None] == np.array(categories)[None]).astype(float)
            block[block.sum(1) == 0] = np.nan
            blocks.append(block)
    return blocks


def deviance(blocks: list[np.ndarray], predicted: list[np.ndarray]) -> float:
    """The mean deviance of an observed entry; predictions are numbers and probabilities."""
    total, n = 0.0, 0
    for block, prediction in zip(blocks, predicted, strict=True):
        observed = ~np.isnan(block[:, 0])
        n += observed.sum()
        if block.shape[1] == 1:
            total += np.square(block - prediction)[observed].sum()
        else:
            total -= 2 * (block * np.log(np.maximum(prediction, 1e-300)))[observed].sum()
    return total / n


def probabilities(block: np.ndarray, margin: float) -> np.ndarray:
    clipped = np.maximum(block, margin)
    return clipped / clipped.sum(1, keepdims=True)


def of_reducer(reducer, scaled: bool, train: pd.DataFrame, test: pd.DataFrame):
    """Deviance and codes of a reducer of numbers and indicators; these are scaled for FAMD."""
    columns = columns_of(train)
    scales = [
        np.sqrt(c.first) if scaled and c.categories is not None else np.ones(len(c.first))
        for c in columns
    ]
    centres = [np.zeros(1) if c.categories is None else c.first for c in columns]
    own, new = blocks_of(train, columns), blocks_of(test, columns)
    ends = np.cumsum([len(scale) for scale in scales])[:-1]

    def rows(blocks):
        parts = zip(blocks, centres, scales, strict=True)
        return np.nan_to_num(np.hstack([(block - c) / s for block, c, s in parts]))

    with Timer() as timer:
        reducer.fit(rows(own))
    codes = [reducer.transform(rows(blocks)) for blocks in (own, new)]

    def predictions(code, margin):
        parts = np.split(reducer.inverse_transform(code), ends, axis=1)
        parts = [p * s + c for p, s, c in zip(parts, scales, centres, strict=True)]
        return [p if len(c) == 1 else probabilities(p, margin)
                for p, c in zip(parts, centres, strict=True)]  # fmt: skip

    margin = min(MARGINS, key=lambda margin: deviance(own, predictions(codes[0], margin)))
    return deviance(new, predictions(codes[1], margin)), codes, timer.processor


def of_table(n_components: int, seed: int, train: pd.DataFrame, test: pd.DataFrame):
    """Deviance and codes of an autoencoder that takes the table."""
    autoencoder = AutoencoderTransformer(n_components, random_state=seed)
    with Timer() as timer:
        autoencoder.fit(train)
    scores = autoencoder.score_samples(test)
    codes = [autoencoder.transform(frame) for frame in (train, test)]
    n_observed = sum((~np.isnan(b[:, 0])).sum() for b in blocks_of(test, columns_of(train)))
    return -scores.sum() / n_observed, codes, timer.processor


METHODS: dict[str, Callable] = {
    "AutoencoderTransformer": of_table,
    "FAMD": lambda k, seed, *parts: of_reducer(PCA(k, svd_solver="full"), True, *parts),
    "PCA of indicators": lambda k, seed, *parts: of_reducer(
        PCA(k, svd_solver="full"), False, *parts
    ),
    "AutoencoderTransformer of indicators": lambda k, seed, *parts: of_reducer(
        AutoencoderTransformer(k, random_state=seed), False, *parts
    ),
}


def area(codes, labels) -> float:
    """The area under the ROC curve of a logistic regression of codes, for new rows."""
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    scores = model.fit(codes[0], labels[0]).decision_function(codes[1])
    return float(roc_auc_score(labels[1], scores))


def run(results: Results, n_seeds: int, names: list[str]) -> None:
    for seed in range(n_seeds):
        for name in names:
            frame, y = tables()[name]()
            order = np.random.RandomState(seed).permutation(len(frame))[:MAX_ROWS]
            frame, n_train = frame.iloc[order].reset_index(drop=True), 2 * len(order) // 3
            labels = None if y is None else (y[order[:n_train]], y[order[n_train:]])
            for size in SIZES:
                key = f"{name}/{size}/{seed}"
                record = results.records.get(key, {})
                for title in [title for title in METHODS if title not in record]:
                    parts = frame[:n_train], frame[n_train:]
                    value, codes, seconds = METHODS[title](size, seed, *parts)
                    record[title] = {"deviance": float(value), "seconds": seconds}
                    if labels is not None:
                        record[title]["area"] = area(codes, labels)
                results.save(key, **record)


HEAD = """# Tables with categories compared with FAMD

This page compares how well codes describe new rows of tables with numbers and categories. The
tables are adult, titanic and wine_quality, tables of numbers of which every second column is
replaced by its quartile, and three simulated tables. There are {n_tables} tables with at most
{max_rows} rows; two thirds of the rows are training rows.

- "FAMD" is factor analysis of mixed data: PCA of standardised numbers and of indicators that are
  divided by the root of their frequency.
- "PCA of indicators" and "AutoencoderTransformer of indicators" reduce standardised numbers and
  one-hot columns.
- "AutoencoderTransformer" takes the table itself.

The deviance of a number is its squared error in standard deviations, and that of a category is
-2 log p, where p is the predicted probability. The methods with indicators do not
predict probabilities. Their reconstructions are limited to at least a margin, and divided by their
sum. The margin is the best of five for the training rows. Missing entries have no deviance. For all
methods except "AutoencoderTransformer", they are replaced by means and frequencies.

    python benchmarks/mixed.py
"""

AFTER = """The area under the ROC curve is that of a logistic regression of the codes, for tables
with two classes, in percent. The codes of the autoencoder describe the tables better, but are no
better features for this linear classifier.
"""


def page(records: dict) -> str:
    names = list(dict.fromkeys(key.split("/")[0] for key in records))
    lines = HEAD.format(n_tables=len(names), max_rows=f"{MAX_ROWS:,}").splitlines()
    ratios = {
        title: np.array([r[title]["deviance"] / r["FAMD"]["deviance"] for r in records.values()])
        for title in METHODS
    }
    areas = {title: [r[title]["area"] for r in records.values() if "area" in r[title]]
             for title in METHODS}  # fmt: skip
    rows = [
        (
            title,
            f"{np.exp(np.log(ratio).mean()):.3f}",
            f"{ratio.max():.3f}",
            f"{100 * np.mean(areas[title]):.1f}",
        )
        for title, ratio in ratios.items()
    ]
    header = (
        "method",
        "deviance relative to FAMD, geometric mean",
        "maximum",
        "area under the ROC curve, mean",
    )
    lines += ["", "## Summary", "", *markdown_table(header, rows), ""]
    lines += [*AFTER.splitlines(), "", "## Deviance of an entry", ""]
    rows = [
        (*key.split("/")[:2], *(f"{record[title]['deviance']:.3f}" for title in METHODS))
        for key, record in records.items()
    ]
    lines += markdown_table(("table", "components", *METHODS), rows)
    return "\n".join([*lines, ""])


def main() -> None:
    options = page_parser(__doc__)
    options.add_argument("--seeds", type=int, default=1)
    arguments = options.parse_args()
    results = Results("mixed", quick=arguments.quick)
    if not arguments.page:
        names = ["iris, binned"] if arguments.quick else list(tables())
        run(results, arguments.seeds, names)
    if not arguments.quick:
        PAGE.write_text(page(results.records))


if __name__ == "__main__":
    main()
