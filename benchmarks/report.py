"""Write `docs/performance.md` and its figure from the results of the benchmarks.

python benchmarks/report.py [--results FOLDER] [--docs FOLDER]
"""

import argparse
from pathlib import Path

import classic
import growth
import inference
import larger_than_memory
import matplotlib.pyplot as plt
import numpy as np
import precision
import search
import small_fit
import time_to_quality
from _timing import RESULTS, item_line, markdown_table, read, runs, versions_sentence
from data_sets import ROOT

SECTIONS = {
    time_to_quality: "Error against training time",
    classic: "Deep autoencoder",
    small_fit: "Time of a small fit",
    search: "Grid search",
    precision: "bfloat16",
    inference: "Inference",
    growth: "Memory, size of pickles and import",
    larger_than_memory: "Data larger than memory",
}
# Colours that also differ in lightness (Okabe and Ito), and a marker for each method.
STYLES = {
    "skae": ("black", "o"),
    "torch loop": ("#999999", "x"),
    "skorch": ("#e69f00", "s"),
    "Keras": ("#0072b2", "^"),
    "PyOD": ("#009e73", "v"),
    "pythae": ("#d55e00", "D"),
    "MLPRegressor": ("#56b4e9", "P"),
}
NOTES = Path(__file__).with_name("notes.md")

HEAD = """# Performance

This page compares skae with other libraries by training time, inference time and memory. `make
bench` repeats all measurements and writes this page.

**Versions.** Each section states the version of skae that was measured. In version 0.2.0, small
networks [project rows](projection.md), and the number of steps and the learning rate have other
defaults. So the figures of version 0.1.0 for tables and for small fits differ from those of version
0.2.0. The networks for images on this page are large, so they do not project rows.
[Reconstruction error compared with PCA](never_worse_than_pca.md) has errors of version 0.2.0.

**Method.** The methods run one after the other, each in a new process. The number of threads is the
default, or one where processor seconds are stated. Imports and the loading of data are not timed.
Times depend on the machine and on other processes, so compare ratios of times. The test rows are
not used for training or early stopping. The other libraries have their default batch sizes and the
optimiser Adam with a learning rate of 0.001. `benchmarks/peers.py` lists other parameters that were
set to reduce their errors.
"""


def sections(results: Path) -> list[str]:
    lines = []
    for module, title in SECTIONS.items():
        lines += ["", f"## {title}", "", *description(module), ""]
        path = file(results, module)
        if not path.exists():
            lines += ["Not measured yet."]
            continue
        records = read(path)["records"]
        if module not in (time_to_quality, larger_than_memory):  # they name versions themselves
            lines += [versions_sentence(records.values()), ""]
        if len(when := runs(records)) > 1:
            lines += [
                f"The figures were measured in {len(when)} runs of the script, so ratios between",
                "them are less accurate.",
                "",
            ]
        if module is time_to_quality:
            lines += ["![Test error against seconds of training](time_to_quality.png)"]
        try:
            lines += module.section(records)
        except KeyError as missing:  # an interrupted run
            lines += [f"Not complete: {missing} has no result."]
    return lines


def description(module) -> list[str]:
    """The docstring of a benchmark."""
    return module.__doc__.strip().splitlines()


def small_data(results: Path) -> list[str]:
    """Seconds of the default fits of `never_worse.py`."""
    path = results / "never_worse.json"
    if not path.exists():
        return ["Not measured yet."]
    cases = [case for case in read(path) if case["rows"] < 10_000]
    seconds = np.array([case["seconds"] for case in cases])
    return [
        f"These are the times of the {len(cases)} fits to fewer than 10,000 rows in",
        "[Reconstruction error compared with PCA](never_worse_than_pca.md), by version 0.2.0 with",
        "default parameters. Two fits were running at a time, with one thread each.",
        "",
        "    python benchmarks/never_worse.py",
        "",
        item_line("median time of a fit, s", float(np.median(seconds))),
        item_line("geometric mean of the times, s", float(np.exp(np.log(seconds).mean()))),
        item_line("longest time, s", float(seconds.max())),
    ]


def machines(results: Path) -> list[str]:
    """The machine and the library versions of the benchmarks; those with equal ones in one row."""
    rows: dict[tuple, list[str]] = {}
    packages: list[str] = []
    for module in SECTIONS:
        if (path := file(results, module)).exists():
            machine = read(path)["machine"]
            # Only the records have the version of skae, as a file can contain several.
            of_package = {k: v for k, v in machine["versions"].items() if k != "skae"}
            packages = packages or list(of_package)
            figures = (machine["cores"], *(of_package.get(name, "absent") for name in packages))
            rows.setdefault(figures, []).append(f"`{module.__name__}.py`")
    lines = list(zip(("cores", *packages), *rows, strict=True))
    header = ("version of", *(", ".join(names) for names in rows.values()))
    return markdown_table(header, lines) if rows else []


def file(results: Path, module) -> Path:
    return results / f"{module.__name__}.json"


def picture(records: dict, path: Path) -> None:
    """Plot error against seconds for the image sets, each method with a marker and a colour."""
    names = [n for n in time_to_quality.IMAGES if any(r["set"] == n for r in records.values())]
    if not names:
        return
    figure, axes = plt.subplots(1, len(names), figsize=(5 * len(names), 4.5), squeeze=False)
    for axis, name in zip(axes[0], names, strict=True):
        for method, (colour, marker) in STYLES.items():
            curves = [r for r in records.values() if (r["set"], r["method"]) == (name, method)]
            for record in curves[:1]:
                points = sorted((p["seconds"], p["error"]) for p in record["points"])
                axis.plot(
                    *zip(*points, strict=True),
                    color=colour,
                    linewidth=2.5 if method == "skae" else 1,
                    marker=marker,
                    markersize=5,
                    label=method,
                )
        axis.set(xscale="log", yscale="log", title=name)
        axis.set(xlabel="seconds of training", ylabel="mean squared error of an entry")
        axis.grid(alpha=0.3, which="both")
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=4, frameon=False, fontsize=9)
    figure.tight_layout(rect=(0, 0.1, 1, 1))
    figure.savefig(path, dpi=120)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--results", type=Path, default=RESULTS)
    options.add_argument("--docs", type=Path, default=ROOT / "docs")
    arguments = options.parse_args()
    results = arguments.results
    arguments.docs.mkdir(parents=True, exist_ok=True)
    if (path := file(results, time_to_quality)).exists():
        picture(read(path)["records"], arguments.docs / "time_to_quality.png")
    lines = [
        HEAD,
        *machines(results),
        *sections(results),
        *["", "## Time of fits to real tables", "", *small_data(results)],
        *["", "## Changes that did not help", "", NOTES.read_text().strip()],
    ]
    (arguments.docs / "performance.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
