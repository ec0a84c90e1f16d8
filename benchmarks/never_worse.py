"""Test error of a default `AutoencoderTransformer` relative to PCA and to plain autoencoders.

Each dense data set is used with raw and with standardised columns. A quarter of the rows is the
test set. There are 2, 8 and 32 components, if the set has more columns than that. Errors are summed
over the observed entries; for PCA and the plain autoencoders missing entries are replaced by the
mean of their column.

    python benchmarks/never_worse.py [--plain] [--sets NAME ...] [--seeds 0 1 2] [--jobs 2]

prints one line for each fit and a summary, and stores the results in
`benchmarks/results/never_worse.json` (`--output` names another file), in place of older results of
the same fits. When all sets have results there, it writes `docs/never_worse_than_pca.md`;
`--page` writes this page from the stored results alone.

`--plain` also trains two plain autoencoders with layers of sizes 128, k and 128, which takes long:
`MLPRegressor`, and a torch loop with Adam and GELU. Each is trained for 100 epochs, or for ten
times the duration of the fit of `AutoencoderTransformer` if that is shorter. Both are trained on
standardised columns, also where the error is that of raw columns. Without `--plain` their stored
errors are kept.
"""

import json
import textwrap
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
from _timing import Timer, TimeUp, markdown_table, page_parser
from data_sets import ROOT, dense_sets, present
from joblib import Parallel, delayed
from peers import Reconstruct, mlp_regressor, torch_loop
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch import nn

from skae import AutoencoderTransformer

SIZES = (2, 8, 32)
SEEDS = (0, 1, 2)
RESULTS = ROOT / "benchmarks" / "results" / "never_worse.json"
PAGE = ROOT / "docs" / "never_worse_than_pca.md"
# Sets with outlying rows, heavy tails or many rows, where the comparison is most difficult.
REQUIRED = ["california_housing", "16_http", "32_shuttle", "cmapss_fd001", "spam", "5_campaign"]

PLAIN = {"MLPRegressor": mlp_regressor, "torch loop": partial(torch_loop, activation=nn.GELU)}
PLAIN_HIDDEN, PLAIN_EPOCHS, PLAIN_TIME_FACTOR = (128,), 100, 10


def case(
    name: str, X: np.ndarray, scaling: str, n_components: int, seed: int, *, plain: bool = False
) -> dict:
    """Fit all methods to the same training rows; their errors on the same test rows."""
    X_train, X_test = train_test_split(X, test_size=0.25, random_state=seed)
    if scaling == "standardised":
        scaler = StandardScaler().fit(X_train)
        X_train, X_test = scaler.transform(X_train), scaler.transform(X_test)
    with Timer() as timer:
        autoencoder = AutoencoderTransformer(n_components, random_state=seed).fit(X_train)
    ours = error(autoencoder.reconstruct(X_test), X_test)
    mean = np.nan_to_num(np.nanmean(X_train.astype(np.float64), axis=0))
    filled_train, filled_test = (np.where(np.isnan(A), mean, A) for A in (X_train, X_test))
    # The exact solver: the randomised one, the default for wide data, changes the error of unseen
    # rows by up to 1 % in either direction.
    solver = "full" if X.shape[1] > 100 and 10 * X.shape[1] > len(X) else "auto"
    pca = PCA(n_components, svd_solver=solver).fit(filled_train)
    theirs = error(pca.inverse_transform(pca.transform(filled_test)), X_test)
    of_mean = error(mean, X_test)
    result = {
        "set": name,
        "scaling": scaling,
        "n_components": n_components,
        "seed": seed,
        "rows": len(X_train),
        "features": X.shape[1],
        "mean_error": of_mean / len(X_test),
        "pca_error": theirs / len(X_test),
        "error": ours / len(X_test),
        # If the error of PCA is zero but for rounding, both are rounding errors.
        "ratio": ours / theirs if theirs > 1e-10 * of_mean else 1.0,
        "seconds": timer.elapsed,
        "best_epoch": autoencoder.best_iter_,
    }
    if plain:
        limit = PLAIN_TIME_FACTOR * timer.elapsed
        scaler = StandardScaler().fit(filled_train)
        rows, test_rows = (
            scaler.transform(A).astype(np.float32) for A in (filled_train, filled_test)
        )
        result["plain"] = {}
        for method, train in PLAIN.items():
            stop = AtTimeLimit(limit)
            with suppress(TimeUp):
                train(rows, PLAIN_HIDDEN, n_components, PLAIN_EPOCHS, seed, stop)
            reconstruction = scaler.inverse_transform(stop.reconstruct(test_rows))
            result["plain"][method] = {
                "error": error(reconstruction, X_test) / len(X_test),
                "epochs": stop.epoch,
                "seconds": stop.seconds,
            }
    return result


class AtTimeLimit:
    """Ends a training after the first epoch that ends after the time limit."""

    reconstruct: Reconstruct
    epoch: int
    seconds: float

    def __init__(self, limit: float):
        self._limit, self._start = limit, time.perf_counter()

    def __call__(self, epoch: int, reconstruct: Reconstruct) -> None:
        """Keep the network after an epoch."""
        self.epoch, self.reconstruct = epoch, reconstruct
        self.seconds = time.perf_counter() - self._start
        if self.seconds > self._limit:
            raise TimeUp


def error(reconstruction: np.ndarray, X: np.ndarray) -> float:
    """Summed squared error over observed entries."""
    return float(np.nansum((reconstruction.astype(np.float64) - X) ** 2))


def run_set(name: str, X: np.ndarray, seeds: list[int], jobs: int, *, plain: bool) -> list[dict]:
    cases = product(("raw", "standardised"), SIZES, seeds)
    n_train = int(0.75 * len(X))
    return Parallel(n_jobs=jobs)(
        delayed(case)(name, X, scaling, size, seed, plain=plain)
        for scaling, size, seed in cases
        if size < X.shape[1] and size <= n_train
    )


def over_plain(result: dict) -> float:
    """The error over that of the better plain autoencoder, NaN if none was trained."""
    if "plain" not in result:
        return float("nan")
    rounding = 1e-10 * result["mean_error"]
    best = min(plain["error"] for plain in result["plain"].values())
    return max(result["error"], rounding) / max(best, rounding)


def over_pca(result: dict) -> float:
    """The error over that of PCA."""
    return result["ratio"]


def ratios_of(results: list[dict], over: Callable[[dict], float]) -> np.ndarray:
    """The ratios of all cases that have one."""
    ratios = np.array([over(result) for result in results], dtype=float)
    return ratios[~np.isnan(ratios)]


def geometric_mean(ratios: np.ndarray) -> float:
    return float(np.exp(np.log(ratios).mean())) if len(ratios) else float("nan")


def summary(results: list[dict]) -> dict[str, float]:
    """The summary of all fits."""
    ratios, plain = ratios_of(results, over_pca), ratios_of(results, over_plain)
    small = [r["seconds"] for r in results if r["rows"] < 10_000]
    figures = {
        "fits": len(ratios),
        "error relative to PCA, geometric mean": geometric_mean(ratios),
        "error relative to PCA, largest": float(ratios.max()),
        "fits with an error above 1.0005 times that of PCA": int((ratios > 1.0005).sum()),
        "fits with the error of PCA, up to 0.05 %": int((abs(ratios - 1) <= 0.0005).sum()),
        "median seconds under 10,000 rows": float(np.median(small)) if small else float("nan"),
    }
    if len(plain):
        figures |= {
            "fits beside plain autoencoders": len(plain),
            "error relative to the better plain autoencoder, geometric mean": geometric_mean(plain),
            "error relative to the better plain autoencoder, largest": float(plain.max()),
            "fits with an error above 1.05 times that of the better plain autoencoder": int(
                (plain > 1.05).sum()
            ),
        }
    return figures


HEAD = """# Reconstruction error compared with PCA

This page compares the squared reconstruction error of `AutoencoderTransformer` with default
parameters on unseen rows with that of two other methods:

- **PCA** with the same number of components, fitted to the same rows.
{plain}

{outcome}

## How `fit` chooses between PCA and the network

1. The model is PCA plus two networks, one in the encoder and one in the decoder. At the start of
   training, their outputs are zero.
2. Some rows are held out: a tenth of the rows, but at least 50 rows (or a quarter of all rows, if
   that is fewer) and at most 5000 rows. If you pass `X_val`, these rows are used instead. If there
   are at most 2000 rows, the PCA of the model is fitted without the held-out rows.
3. After each epoch, but at most once in 40 steps, the squared error of each held-out row is
   computed, with a moving average of the weights. The code of the row is its [projected
   code](projection.md), as in `transform`.
4. The epoch with the lowest mean error is compared with PCA by two one-sided paired t-tests, in
   which e is the error of a held-out row. One test is for the mean of the differences d = e(PCA) -
   e(network). The other is for the mean of the relative differences d / (e(PCA) + e(network)).
5. If both tests reject the hypothesis of no improvement at a level of 16 % (about one standard
   error), the network is used. Otherwise `fit` returns PCA of all rows.

The errors of PCA for the rows that it was fitted to are lower than those for new rows. In a table
with few rows, the difference can be larger than the improvement by the network. This is why PCA is
fitted without the held-out rows. But PCA of all rows, with which the network is compared, has lower
errors than PCA of fewer rows. So e(PCA) is an estimate, (1 - w) e1 + w e2. Here e1 is the error of
PCA fitted without the held-out rows, e2 is that of PCA fitted to all rows, and w = h / (2 - h) for
a share h of held-out rows. The estimate is correct if the errors of new rows and of known rows
differ from a common limit by c / n and -c / n, where n is the number of rows that PCA is fitted to
and c is a constant. With more than 2000 rows, e(PCA) is the error of PCA of all rows.

Two tests are needed because each has a weakness. The mean difference is what matters for new rows,
but a few rows with large errors can determine it. The mean relative difference limits the influence
of each row, but large errors then have no more weight than small ones.

The comparison is also made with the output of the networks multiplied by 0.75, 0.5 and 0.25. Of the
factors that pass both tests, `fit` uses the one with the largest mean difference minus its standard
error.

If you pass `groups`, complete groups are held out. The errors of the rows of a group are added
before the tests, because rows of a group are not independent.

With `early_stopping=False` no rows are held out, and the tests use the training rows. With
`transform_max_iter=0` the tests require about two standard errors of the mean difference and three
of the mean relative difference, and only the factor 1 is tried.

## Limits of the comparison

A lower error than that of PCA on new rows is not guaranteed:

- The constants of the comparison were chosen on public data sets. Many of these are in the tables
  below.
- The tests use the same held-out rows as the choice of the epoch and of the factor. This favours
  the network.
- New rows may differ from the training rows.

To limit errors for unusual rows, the decoder uses PCA alone for codes that are far from those of
all training rows. The output of its network is multiplied by a factor. The factor is 1 up to the
second largest distance of a training code from the mean, and decreases linearly to zero at four
times this distance.
"""
COLUMNS = list(product(("raw", "standardised"), SIZES))
GROUPS = {
    "under 1000": (0, 1000),
    "1000 to 2500": (1000, 2501),
    "more than 2500": (2501, float("inf")),
}


def page(results: list[dict]) -> str:
    """The results as a page of documentation."""
    with_plain = [result for result in results if "plain" in result]
    not_run = sorted(set(dense_sets()) - {result["set"] for result in results})
    n_sets = n_sets_of(results)
    seeds = sorted({result["seed"] for result in results})
    lines = [
        *HEAD.format(
            plain=against_plain(with_plain), outcome=outcome(results, with_plain)
        ).splitlines(),
        "",
        "## Data and methods",
        "",
        f"There are {len(results)} fits to {n_sets} data sets. Each data set is used with raw and",
        "with standardised columns, and with 2, 8 and 32 components if it has more columns than",
        "components. A quarter of the rows is the test set, by "
        + ("one random split." if len(seeds) == 1 else f"each of {len(seeds)} random splits."),
        "PCA is computed with an exact solver. The ratio of the errors is one if the error of PCA",
        "is zero up to rounding.",
        "",
        "Some defaults of `AutoencoderTransformer` were chosen on some of these data sets. Some",
        "data sets are nearly the same, for example 19_landsat, 30_satellite and 31_satimage-2;",
        "35_SpamBase and spam; 43_WDBC and breast_cancer; 4_breastw and 42_WBC; 45_wine and wine.",
        "",
        "Data sets whose names begin with a number are from ADBench. The data sets iris, wine,",
        "breast_cancer, digits, diabetes and california_housing are in scikit-learn. The others",
        "are public, too.",
        *(["", f"Not run: {', '.join(not_run)}."] if not_run else []),
        "",
        "    python benchmarks/never_worse.py          # AutoencoderTransformer and PCA",
        "    python benchmarks/never_worse.py --plain  # plain autoencoders as well",
        "",
        "## Error relative to PCA",
        "",
        "The tables have the error of the test rows divided by that of PCA. Less than 1 is better",
        'than PCA. The column "raw, 2" is for raw columns and 2 components. The first table has',
        "geometric means by the number of training rows:",
        "",
        *table_by_rows(results, over_pca),
        "",
        "The second table has each data set, with its number of training rows:",
        "",
        *table_by_set(results, over_pca),
    ]
    if with_plain:
        lines += [
            "",
            "## Error relative to plain autoencoders",
            "",
            "The tables have the error of the test rows divided by that of a plain autoencoder.",
            "There are two plain autoencoders with layers of 128, k and 128 units for k",
            "components: `MLPRegressor().fit(X, X)`, and a training loop in torch with Adam and",
            f"GELU. Both are trained for {PLAIN_EPOCHS} epochs, and the one with the lower test",
            "error is used. `AutoencoderTransformer` has its default layers: for 2 components",
            "three layers of 96 units in the encoder and in the decoder, for more components two",
            "layers of 128 units.",
            "",
            f"Plain autoencoders were trained for {n_sets_of(with_plain)} of the {n_sets} data",
            "sets: those with fewer than 3700 training rows and fewer than 100 columns,",
            "california_housing and wine_quality.",
            "",
            "The plain autoencoders are always trained on standardised columns. This is a",
            "disadvantage for them in the comparison on raw columns, where a few columns can have",
            "most of the error. So the comparison on standardised columns is more informative.",
            "",
            *table_by_rows(with_plain, over_plain),
            "",
            *table_by_set(with_plain, over_plain),
        ]
    return "\n".join(lines) + "\n"


def outcome(results: list[dict], with_plain: list[dict]) -> str:
    """The results in a paragraph, losses included."""
    ratios = ratios_of(results, over_pca)
    n_below, n_above = int((ratios < 0.9995).sum()), int((ratios > 1.0005).sum())
    equal = [r for r in results if abs(over_pca(r) - 1) <= 0.0005]
    n_pca = sum(r["best_epoch"] == 0 for r in equal)
    text = (
        f"In {len(ratios)} fits to {n_sets_of(results)} data sets the error is on average "
        f"{geometric_mean(ratios):.2f} times that of PCA (geometric mean). It is lower than that "
        f"of PCA in {n_below} fits, equal to within 0.05 % in {len(equal)} fits, and higher in "
        f"{n_above} fits. In {n_pca} of the fits with an equal error, `fit` returned PCA."
    )
    if with_plain:
        standardised = [r for r in with_plain if r["scaling"] == "standardised"]
        mean = geometric_mean(ratios_of(standardised, over_plain))
        text += (
            " On standardised columns, the error is on average "
            f"{mean:.2f} times that of the better of two plain autoencoders."
        )
    return textwrap.fill(text, 100)


def against_plain(with_plain: list[dict]) -> str:
    """The statement about plain autoencoders, with its exceptions by name."""
    above = sorted((r for r in with_plain if over_plain(r) > 1.05), key=over_plain)[::-1]
    named = "; ".join(
        f"{r['set']}, {r['scaling']}, {r['n_components']} components: {over_plain(r):.2f}"
        for r in above
    )
    text = (
        "- **Plain autoencoders** of similar size, of which the one with the lower error is used. "
        "The error of `AutoencoderTransformer` is at most 1.05 times that of this autoencoder in "
        f"{len(with_plain) - len(above)} of the {len(with_plain)} fits with this comparison"
    )
    text += f". The exception: {named}." if above else "."
    return textwrap.fill(text, 100, subsequent_indent="  ")


def n_sets_of(results: list[dict]) -> int:
    """The number of data sets."""
    return len({result["set"] for result in results})


def table_by_rows(results: list[dict], over: Callable[[dict], float]) -> list[str]:
    rows = []
    for name, (low, high) in GROUPS.items():
        group = [r for r in results if low <= r["rows"] < high]
        means = [geometric_mean(ratios_of(select(group, column), over)) for column in COLUMNS]
        n_sets = n_sets_of(group)
        rows.append((name, n_sets, *(ratio(m) if m == m else "" for m in means)))
    return markdown_table(("training rows", "sets", *(f"{s}, {k}" for s, k in COLUMNS)), rows)


def table_by_set(results: list[dict], over: Callable[[dict], float]) -> list[str]:
    """Geometric means over the seeds, with the largest in brackets if there are several."""
    rows = []
    for name in dict.fromkeys(r["set"] for r in results):
        cases = [r for r in results if r["set"] == name]
        cells = [cell(ratios_of(select(cases, column), over)) for column in COLUMNS]
        rows.append((name, str(cases[0]["rows"]), cases[0]["features"], *cells))
    header = ("set", "rows", "columns", *(f"{s}, {k}" for s, k in COLUMNS))
    return markdown_table(header, rows)


def select(results: list[dict], column: tuple[str, int]) -> list[dict]:
    """The cases of a column."""
    return [r for r in results if (r["scaling"], r["n_components"]) == column]


def cell(ratios: np.ndarray) -> str:
    if not len(ratios):
        return ""
    largest = f" ({ratio(ratios.max())})" if len(ratios) > 1 else ""
    return f"{ratio(geometric_mean(ratios))}{largest}"


def ratio(value: float) -> str:
    return f"{value:.3f}" if value >= 0.0005 else "< 0.0005"


def _figure(value: float) -> str:
    return f"{value}" if isinstance(value, int) else f"{value:.4f}"


def main() -> None:
    options = page_parser(__doc__)
    sets = dense_sets()
    options.add_argument("--sets", nargs="+", choices=sets, default=list(sets), metavar="NAME")
    options.add_argument("--seeds", nargs="+", type=int, default=SEEDS)
    options.add_argument("--jobs", type=int, default=2)
    options.add_argument("--plain", action="store_true", help="also train plain autoencoders")
    options.add_argument("--output", type=Path, default=RESULTS, help="the file of the results")
    arguments = options.parse_args()
    present(REQUIRED)  # prints those that are missing
    path = arguments.output
    results = json.loads(path.read_text()) if path.exists() else []
    if arguments.quick:
        cases = run_set("iris", sets["iris"](), SEEDS[:1], arguments.jobs, plain=False)
        print_cases(cases, "iris", SEEDS[:1])
        return
    if arguments.page:
        PAGE.write_text(page(results))
        return
    for name in arguments.sets:
        new = run_set(name, sets[name](), arguments.seeds, arguments.jobs, plain=arguments.plain)
        results = merged(results, new)
        print_cases(results, name, arguments.seeds)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(results, indent=1) + "\n")
    for figure, value in summary(results).items():
        print(f"{figure}: {_figure(value)}")
    if missing := set(sets) - {r["set"] for r in results}:
        print(f"{PAGE.name} is not written without results of {', '.join(sorted(missing))}")
    elif path.resolve() == RESULTS:
        PAGE.write_text(page(results))


def print_cases(results: list[dict], name: str, seeds: list[int]) -> None:
    for result in results:
        if result["set"] == name and result["seed"] in seeds:
            print(
                "{set:18s} {rows:6d} x {features:<5d} {scaling:12s} k={n_components:<3d} "
                "seed {seed}  {ratio:.4f}  {seconds:6.1f} s".format(**result),
                f"  over plain {over_plain(result):.4f}" if "plain" in result else "",
                flush=True,
            )


def merged(old: list[dict], new: list[dict]) -> list[dict]:
    """All cases; new ones replace old ones of the same set, scaling, size and seed.

    They keep the errors of plain autoencoders if the test rows are the same.
    """

    def key(result: dict) -> tuple:
        return tuple(result[k] for k in ("set", "scaling", "n_components", "seed"))

    by_case = {key(r): r for r in old}
    for result in new:
        before = by_case.get(key(result), {})
        same_rows = np.isclose(before.get("pca_error", np.nan), result["pca_error"], rtol=1e-6)
        if "plain" in before and "plain" not in result and same_rows:
            result = result | {"plain": before["plain"]}
        by_case[key(result)] = result
    return [by_case[k] for k in sorted(by_case)]


if __name__ == "__main__":
    main()
