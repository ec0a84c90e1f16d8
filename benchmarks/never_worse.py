"""Test error of a default `AutoencoderTransformer` over PCA's, on every dense data set.

Each set raw and standardised, 25 % of the rows as the test set, three seeds, and 2, 8 and 32
components if the set has more columns. Errors are those of observed entries; for PCA missing
entries are replaced by the mean.

    python benchmarks/never_worse.py [--sets NAME ...] [--seeds 0 1 2] [--jobs 2]

prints a line a case and a summary, stores the cases in `benchmarks/results/never_worse.json` in
place of older ones, and writes the table in `docs/never_worse_than_pca.md`.
"""

import argparse
import json
from itertools import product
from pathlib import Path

import numpy as np
from _timing import Timer
from data_sets import ROOT, dense_sets
from joblib import Parallel, delayed
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from skae import AutoencoderTransformer

SIZES = (2, 8, 32)
SEEDS = (0, 1, 2)
RESULTS = ROOT / "benchmarks" / "results" / "never_worse.json"
PAGE = ROOT / "docs" / "never_worse_than_pca.md"


def case(name: str, X: np.ndarray, scaling: str, n_components: int, seed: int) -> dict:
    """Fit both to the same training rows; their errors on the same test rows."""
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
    return {
        "set": name,
        "scaling": scaling,
        "n_components": n_components,
        "seed": seed,
        "rows": len(X_train),
        "features": X.shape[1],
        "pca_error": theirs / len(X_test),
        "error": ours / len(X_test),
        # If the error of PCA is zero but for rounding, both are rounding errors.
        "ratio": ours / theirs if theirs > 1e-10 * error(mean, X_test) else 1.0,
        "seconds": timer.elapsed,
        "best_epoch": autoencoder.best_iter_,
    }


def error(reconstruction: np.ndarray, X: np.ndarray) -> float:
    """Summed squared error over observed entries."""
    return float(np.nansum((reconstruction.astype(np.float64) - X) ** 2))


def run_set(name: str, X: np.ndarray, seeds: list[int], jobs: int) -> list[dict]:
    cases = product(("raw", "standardised"), SIZES, seeds)
    n_train = int(0.75 * len(X))
    return Parallel(n_jobs=jobs)(
        delayed(case)(name, X, scaling, size, seed)
        for scaling, size, seed in cases
        if size < X.shape[1] and size <= n_train
    )


def summary(results: list[dict]) -> dict[str, float]:
    """The summary of all cases."""
    ratios = np.array([r["ratio"] for r in results])
    small = [r["seconds"] for r in results if r["rows"] < 10_000]
    return {
        "cases": len(ratios),
        "geometric mean": float(np.exp(np.log(ratios).mean())),
        "maximum": float(ratios.max()),
        "above 1.0005": int((ratios > 1.0005).sum()),
        "equal to PCA": int((ratios > 0.9995).sum() - (ratios > 1.0005).sum()),
        "median seconds under 10,000 rows": float(np.median(small)) if small else float("nan"),
    }


def page(results: list[dict]) -> str:
    """The results as a page of documentation."""
    figures = summary(results)
    missing = set(dense_sets()) - {r["set"] for r in results}
    lines = [
        "# Never worse than PCA",
        "",
        "Squared reconstruction error on unseen rows (25 %), default `AutoencoderTransformer` over",
        "`sklearn.decomposition.PCA` with as many components, fitted to the same rows. Below 1 is",
        "better than PCA. Made by `python benchmarks/never_worse.py` (on 2 CPU cores, no GPU).",
        "",
        *(f"- {name}: {_figure(value)}" for name, value in figures.items()),
        *(f"- not run: {name}" for name in sorted(missing)),
        "",
        "Each cell: geometric mean over the seeds (largest in brackets).",
        "",
        "| set | rows | features | seeds | " + " | ".join(f"{s}, {k}" for s, k in COLUMNS) + " |",
        "| --- | ---: | ---: | ---: |" + " ---: |" * len(COLUMNS),
    ]
    for name in dict.fromkeys(r["set"] for r in results):
        cases = [r for r in results if r["set"] == name]
        cells = [
            cell([r for r in cases if (r["scaling"], r["n_components"]) == c]) for c in COLUMNS
        ]
        n_seeds = len({r["seed"] for r in cases})
        head = f"| {name} | {cases[0]['rows']} | {cases[0]['features']} | {n_seeds} | "
        lines.append(head + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _figure(value: float) -> str:
    return f"{value}" if isinstance(value, int) else f"{value:.4f}"


COLUMNS = list(product(("raw", "standardised"), SIZES))


def cell(results: list[dict]) -> str:
    if not results:
        return ""
    ratios = np.array([r["ratio"] for r in results])
    return f"{np.exp(np.log(ratios).mean()):.3f} ({ratios.max():.3f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    sets = dense_sets()
    parser.add_argument("--sets", nargs="+", choices=sets, default=list(sets), metavar="NAME")
    parser.add_argument("--seeds", nargs="+", type=int, default=SEEDS)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    for name in arguments.sets:
        new = run_set(name, sets[name](), arguments.seeds, arguments.jobs)
        for result in new:
            print(
                "{set:18s} {rows:6d} x {features:<5d} {scaling:12s} k={n_components:<3d} "
                "seed {seed}  {ratio:.4f}  {seconds:6.1f} s".format(**result),
                flush=True,
            )
        results = merged(results, new)
        RESULTS.parent.mkdir(parents=True, exist_ok=True)
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")
        PAGE.write_text(page(results))
    for figure, value in summary(results).items():
        print(f"{figure}: {_figure(value)}")


def merged(old: list[dict], new: list[dict]) -> list[dict]:
    """All cases; new ones replace old ones of the same set, scaling, size and seed."""

    def key(result: dict) -> tuple:
        return tuple(result[k] for k in ("set", "scaling", "n_components", "seed"))

    by_case = {key(r): r for r in old} | {key(r): r for r in new}
    return [by_case[k] for k in sorted(by_case)]


if __name__ == "__main__":
    main()
