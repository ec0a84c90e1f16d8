"""Functions of all benchmarks: new processes, timing, results on disk and tables."""

import argparse
import json
import os
import pickle
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from datetime import datetime
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

import skae

RESULTS = Path(__file__).resolve().parent / "results"
PACKAGES = ("skae", "torch", "numpy", "scikit-learn", "skorch", "keras", "pyod", "pythae")
# Cells such as 0.1, **0.1**, < 0.1, 0.9 (1.1), 0.9 ± 0.1, 2 of 3, and those without a figure.
NUMERIC = re.compile(
    r"(\*\*|< |-)?\d[\d,.]*(\*\*| \(\d[\d,.]*\)| ± [\d,.]+| of \d+)?||not (reached|measured)"
)


def in_fresh_process(function: Callable, *arguments: Any) -> Any:
    """Call a function of one of these files in a new interpreter, and return its result."""
    # Not by multiprocessing: a process with workers of its own (`n_jobs=2`) does not exit before
    # they have been idle for five minutes.
    call = (Path(function.__code__.co_filename).stem, function.__name__, arguments)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "call.pickle"
        path.write_bytes(pickle.dumps(call))
        subprocess.run([sys.executable, __file__, path], check=True)
        return pickle.loads(path.read_bytes())


def answer(path: Path) -> None:
    """Run in the new interpreter: replace the call in the file by its result."""
    module, name, arguments = pickle.loads(path.read_bytes())
    result = getattr(import_module(module), name)(*arguments)
    path.write_bytes(pickle.dumps(result))


class Timer:
    """Seconds that the body of a `with` statement takes: elapsed, and of the processor."""

    elapsed = processor = float("nan")

    def __enter__(self) -> "Timer":
        """Start."""
        self._start = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        elapsed, processor = time.perf_counter(), time.process_time()
        self.elapsed, self.processor = elapsed - self._start[0], processor - self._start[1]


def seconds(function: Callable, *arguments: Any) -> float:
    """Elapsed seconds of one call."""
    with Timer() as timer:
        function(*arguments)
    return timer.elapsed


def processor_seconds(function: Callable, *arguments: Any) -> float:
    """Processor seconds of one call in this process."""
    with Timer() as timer:
        function(*arguments)
    return timer.processor


def interleaved(functions: dict[str, Callable], repetitions: int) -> dict[str, list[float]]:
    """Seconds of each function, called in turn, so that other processes affect all alike."""
    for function in functions.values():
        function()
    times = {name: [] for name in functions}
    for _ in range(repetitions):
        for name, function in functions.items():
            times[name].append(seconds(function))
    return times


def median_ratio(times: list[float], others: list[float]) -> float:
    """Median of the ratios of two interleaved series."""
    return float(np.median(np.divide(times, others)))


CLOCKS = {"elapsed": time.perf_counter, "processor": time.process_time}


class TimeUp(Exception):
    """Raised in a training that has reached its time limit."""


class Curve:
    """Test error after each epoch against seconds of training, without those of the evaluation."""

    def __init__(self, X_test: np.ndarray, limit: float = float("inf"), clock: str = "elapsed"):
        self.points: list[dict] = []
        self._X_test, self._limit, self._clock = X_test, limit, CLOCKS[clock]
        self._start = self._clock()

    def __call__(self, epoch: int, reconstruct: Callable[[np.ndarray], np.ndarray]) -> None:
        """Record the error after an epoch."""
        now = self._clock()
        spent = now - self._start
        error = mean_squared_error(reconstruct(self._X_test), self._X_test)
        self.points.append({"epoch": epoch, "seconds": spent, "error": error})
        if spent > self._limit:
            raise TimeUp
        self._start += self._clock() - now


def mean_squared_error(reconstruction: np.ndarray, X: np.ndarray) -> float:
    """Per entry, in squared units of `X`."""
    return float(np.mean((reconstruction.astype(np.float64) - X) ** 2))


class Results:
    """The records of a benchmark, in a file that is rewritten after each of them."""

    def __init__(self, name: str, *, quick: bool):
        folder = RESULTS / "quick" if quick else RESULTS
        self._path = folder / f"{name}.json"
        self._run = datetime.now().isoformat(timespec="seconds")
        self.records = read(self._path)["records"] if self._path.exists() else {}

    def save(self, key: str, **record: Any) -> None:
        """Store a record, in place of an older one with this key, and print it."""
        self.records[key] = {"run": self._run, "version": skae.__version__, **record}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        content = {"machine": machine(), "records": self.records}
        self._path.write_text(json.dumps(content, indent=1) + "\n")
        print(f"{key}: {json.dumps(record)[:160]}", flush=True)


def read(path: Path) -> dict:
    """A file of results."""
    return json.loads(path.read_text())


def versions(records: Iterable[dict]) -> list[str]:
    """The versions of skae that were measured; records of version 0.1.0 do not name it."""
    return sorted({record.get("version", "0.1.0") for record in records})


def versions_sentence(records: Iterable[dict]) -> str:
    """The versions of skae that were measured, as a sentence of a page."""
    found = versions(records)
    return f"The figures of skae are for version{'s' * (len(found) > 1)} {' and '.join(found)}."


def runs(records: dict) -> list[str]:
    """The times of the runs: seconds of different runs must not be compared."""
    return sorted({record["run"] for record in records.values()})


def machine() -> dict[str, Any]:
    """Properties of the machine that the figures depend on."""
    return {
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": {"Python": platform.python_version()}
        | {name: _version(name) for name in PACKAGES},
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"


def parser(description: str) -> argparse.ArgumentParser:
    """An argument parser with the options that all benchmarks have."""
    result = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    result.add_argument("--quick", action="store_true", help="a smoke run of seconds")
    return result


def page_parser(description: str) -> argparse.ArgumentParser:
    """An argument parser of a benchmark that writes a page of its own."""
    result = parser(description)
    result.add_argument("--page", action="store_true", help="only write the page")
    return result


def markdown_table(header: tuple[str, ...], rows: list[tuple]) -> list[str]:
    """A table with columns of numbers aligned right and others left; numbers have three digits."""
    cells = [[figure(value) for value in row] for row in rows]
    columns = zip(*cells, strict=True)
    sides = ["---:" if all(map(NUMERIC.fullmatch, column)) else "---" for column in columns]
    return [f"| {' | '.join(line)} |" for line in [header, sides, *cells]]


def figure(value: Any) -> str:
    """A number with three digits, anything else as it is."""
    if value is None:
        return "not measured"
    if value != value:
        return "not reached"
    if not isinstance(value, float):
        return str(value)
    if 0 < abs(value) < 1e-4:  # without an exponent
        return np.format_float_positional(value, precision=3, fractional=False)
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def item_line(name: str, value: float | None) -> str:
    """A figure as an item of a list."""
    return f"- {name}: **{figure(value)}**"


if __name__ == "__main__":
    answer(Path(sys.argv[1]))
