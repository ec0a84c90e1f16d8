"""Time and memory of fits, and the size of pickles, are measured for several sizes of the data.

    python benchmarks/growth.py [--quick]

For each size of the data there are two fits, each in a new process: one with the default number of
epochs and one with `max_iter=1`. Before the fit, torch is initialised by another fit to a hundred
rows, which is not timed. Seconds are processor seconds, measured while other processes were
running.

Memory is the largest memory of the process (`ru_maxrss`) minus that after the imports. It includes
the float32 data, the initialisation of torch and the fit. The column "memory / data" has the memory
divided by the size of the data.
"""

import pickle
import resource
import subprocess
import sys
from collections import Counter

import numpy as np
import psutil
from _timing import (
    Results,
    in_fresh_process,
    markdown_table,
    parser,
    processor_seconds,
)

from skae import AutoencoderTransformer

ROWS = [(n, 32) for n in (10**3, 10**4, 10**5, 10**6)]
COLUMNS = [(2000, n) for n in (10, 100, 1000, 10_000)]
IMAGES = (100_000, 784)
BASELINE = "import sklearn, torch"
MIB = 2**20


def peak() -> int:
    """Largest resident set so far, in bytes; Linux counts in KiB, macOS in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def run(n_rows: int, n_features: int, max_iter: int | None) -> dict:
    """Run one fit and one `transform` in this process."""
    imported = psutil.Process().memory_info().rss
    rng = np.random.default_rng(0)
    small = rng.standard_normal((100, 10), dtype=np.float32)
    set_up_seconds = processor_seconds(AutoencoderTransformer(max_iter=1).fit, small)
    set_up = psutil.Process().memory_info().rss
    X = rng.standard_normal((n_rows, n_features), dtype=np.float32)
    loaded = psutil.Process().memory_info().rss
    model = AutoencoderTransformer(8, max_iter=max_iter, random_state=0)
    fit_seconds = processor_seconds(model.fit, X)
    fit_peak = peak()
    return {
        "fit_seconds": fit_seconds,
        "epochs": model.n_iter_,
        "transform_seconds": processor_seconds(model.transform, X),
        "set_up_seconds": set_up_seconds,
        "imported": imported,
        "set_up": set_up,
        "loaded": loaded,
        "fit_peak": fit_peak,
        "transform_peak": peak(),
        "data": X.nbytes,
        "pickle": len(pickle.dumps(model)),
    }


def import_costs() -> dict[str, float]:
    """Milliseconds of the modules that skae imports in addition to the baseline, by package."""
    report = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", f"{BASELINE}\nimport skae"],
        check=True,
        capture_output=True,
        text=True,
    ).stderr
    lines = [line.split("|") for line in report.splitlines() if line.count("|") == 2]
    # A module is listed after all that it imports; the baseline ends with torch itself.
    names = [name.strip() for _, _, name in lines]
    costs = Counter()
    for (microseconds, _, _), name in list(zip(lines, names, strict=True))[
        names.index("torch") + 1 :
    ]:
        package = ".".join(name.split(".")[:2])
        costs[package] += int(microseconds.removeprefix("import time:")) / 1000
    return dict(costs.most_common(12))


def main() -> None:
    quick = parser(__doc__).parse_args().quick
    results = Results("growth", quick=quick)
    shapes = [(1000, 32), (10_000, 32), (2000, 100)] if quick else [*ROWS, *COLUMNS, IMAGES]
    for n_rows, n_features in shapes:
        for epochs in (1,) if quick else (None, 1):
            record = in_fresh_process(run, n_rows, n_features, epochs)
            key = f"{n_rows}x{n_features}/{epochs or 'default'}"
            results.save(key, rows=n_rows, features=n_features, max_iter=epochs, **record)
    results.save("import costs", milliseconds=import_costs())


def section(records: dict) -> list[str]:
    """The figures as lines of the page."""
    shapes = {key: r for key, r in records.items() if "rows" in r}
    costs = records["import costs"]["milliseconds"]
    header = (
        "rows x columns", "`max_iter`", "epochs", "`fit` seconds", "`transform` seconds",
        "`fit` MiB", "memory / data", "pickle MiB",
    )  # fmt: skip
    table = [
        (
            f"{r['rows']} x {r['features']}", r["max_iter"] or "default", r["epochs"],
            r["fit_seconds"], r["transform_seconds"], (r["fit_peak"] - r["imported"]) / MIB,
            in_units(r), r["pickle"] / MIB,
        )
        for r in shapes.values()
    ]  # fmt: skip
    first = next(iter(shapes.values()))
    pickles = {
        r["rows"]: r["pickle"] for r in shapes.values() if r["features"] == 32 and r["max_iter"]
    }
    largest = shapes.get(f"{IMAGES[0]}x{IMAGES[1]}/1")
    image_rows = f"{IMAGES[0]:,} x {IMAGES[1]}"
    memory = [largest and in_units(largest)]
    memory.append(largest and (largest["fit_peak"] - largest["set_up"]) / largest["data"])
    figures = [
        (f"memory of a fit to {image_rows} float32 numbers, divided by the data", memory[0]),
        ("the same memory without the initialisation of torch, divided by the data", memory[1]),
        (
            f"difference of the sizes of pickles after fits to {max(pickles):,} and to "
            f"{min(pickles):,} rows, bytes",
            pickles[max(pickles)] - pickles[min(pickles)],
        ),
        (
            "time of `import skae`, if scikit-learn and torch are imported already, ms",
            float(sum(costs.values())),
        ),
    ]
    return [
        *markdown_table(("measure", "value"), figures),
        "",
        "The initialisation of torch took "
        f"{first['set_up_seconds']:.2g} s and "
        f"{(first['set_up'] - first['imported']) / MIB:.0f} MiB. "
        "The table below includes this memory, but not this time.",
        "",
        *markdown_table(header, table),
    ]


def in_units(record: dict) -> float:
    """The memory of a fit above the import, as a multiple of the data."""
    return (record["fit_peak"] - record["imported"]) / record["data"]


if __name__ == "__main__":
    main()
