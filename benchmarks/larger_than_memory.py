"""Memory is measured for data ten times as large as the available memory, and for many fits.

    python benchmarks/larger_than_memory.py [--parts NAME ...] [--quick]

The rows are in memory-mapped files. After the imports, a process may allocate 250 MB more. The
operating system enforces this limit (`RLIMIT_DATA`), which does not count mapped files. The results
of `transform` and `inverse_transform` are written into a file, one block of rows after the other.
The explained variance is the share of the variance that the reconstructions explain. It is compared
with that of PCA with as many components. The script needs Linux.
"""

import resource
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from _timing import Results, in_fresh_process, markdown_table, parser, seconds, versions
from scipy import sparse
from sklearn.utils import gen_batches

from skae import AutoencoderTransformer

MB = 10**6
LIMIT, FACTOR = 250 * MB, 10  # rows have FACTOR times the limit
# Columns, and whether only half of the entries are stored. Narrow rows have their components from
# the covariance, wide ones by passes over the rows because the covariance would be large.
CASES = {
    "memory map": (784, False),
    "memory map, wide": (4000, False),
    "CSR": (1000, True),
    "CSR, wide": (4000, True),
}
BLOCK = 4096


def status(name: str) -> int:
    """A field of the status of this process, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(name))


@contextmanager
def peak() -> Iterator[dict[str, int]]:
    """Record the largest anonymous memory of this process while the body runs."""
    found, done = {"peak": 0}, threading.Event()

    def sample() -> None:
        while not done.wait(0.005):
            found["peak"] = max(found["peak"], status("RssAnon"))

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield found
    finally:
        done.set()
        thread.join()


def write_rows(folder: Path, n_columns: int, half: bool, n_bytes: int) -> None:
    """Write rows near a curved surface of 8 dimensions, as files of arrays."""
    rng = np.random.default_rng(0)
    maps = rng.standard_normal((8, 64)), rng.standard_normal((64, n_columns)) / 8
    per_row = 8 * (n_columns // 2) if half else 4 * n_columns  # a float32, and a column as int32
    n_rows = n_bytes // per_row
    places = np.arange(0, n_columns, 2, dtype=np.int32)
    names = ("data", "indices") if half else ("data",)
    with (folder / "data").open("wb") as data, (folder / "indices").open("wb") as indices:
        for rows in gen_batches(n_rows, BLOCK):
            size = rows.stop - rows.start
            x = np.tanh(rng.standard_normal((size, 8)) @ maps[0]) @ maps[1]
            x = (x + 0.1 * rng.standard_normal(x.shape, dtype=np.float32)).astype(np.float32)
            if half:  # even and odd columns in turn
                odd = np.arange(rows.start, rows.stop)[:, None] % 2
                index = places + odd.astype(np.int32)
                indices.write(index.tobytes())
                x = np.take_along_axis(x, index, 1)
            data.write(x.tobytes())
    assert n_rows * per_row == sum((folder / name).stat().st_size for name in names)


def open_rows(folder: Path, n_columns: int, half: bool):
    """Map these rows into memory."""
    data = np.memmap(folder / "data", np.float32, "r")
    if not half:
        return data.reshape(-1, n_columns)
    indices = np.memmap(folder / "indices", np.int32, "r")
    starts = np.arange(
        0, len(data) + 1, n_columns // 2, dtype=np.int32
    )  # of the dtype of the indices, else scipy copies them
    return sparse.csr_array((data, indices, starts), shape=(len(starts) - 1, n_columns))


def fit_under_limit(folder: str, n_columns: int, half: bool, limit: int) -> dict:
    """Fit one epoch to all rows, encode and decode them, in a process with this limit."""
    imported, allowed = status("RssAnon"), status("VmData") + limit
    resource.setrlimit(resource.RLIMIT_DATA, (allowed, allowed))
    X = open_rows(Path(folder), n_columns, half)
    model = AutoencoderTransformer(8, max_iter=1, batch_size=2**18 // n_columns, random_state=0)
    with peak() as fitting:
        fit_seconds = seconds(model.fit, X)
    shape = (X.shape[0], 8), X.shape
    with peak() as restoring:
        codes, restored = (
            np.memmap(Path(folder) / name, np.float32, "w+", shape=size)
            for name, size in zip(("codes", "restored"), shape, strict=True)
        )
        for rows in gen_batches(len(codes), BLOCK):
            codes[rows] = model.transform(X[rows])
            restored[rows] = model.inverse_transform(codes[rows])
    with peak() as all_at_once:
        same = np.array_equal(model.transform(X), codes)
    rows_of = sum(part.nbytes for part in (X.data, X.indices)) if half else X.nbytes
    return {
        "rows": X.shape[0],
        "columns": n_columns,
        "data": rows_of,
        "limit": limit,
        "fit_peak": fitting["peak"] - imported,
        "restore_peak": restoring["peak"] - imported,
        "transform_peak": all_at_once["peak"] - imported,
        "codes": codes.nbytes,
        "same": bool(same),
        "fit_seconds": fit_seconds,
        "score": sum(model.explained_variance_ratio_),
        "pca_score": model.pca_score_,
    }


def many_fits(n_fits: int) -> dict:
    """Memory after each of many small fits, in this process."""
    X = np.random.default_rng(0).standard_normal((200, 20), dtype=np.float32)
    sizes = []
    for seed in range(n_fits):
        model = AutoencoderTransformer(3, max_iter=2, random_state=seed).fit(X)
        model.transform(X)
        sizes.append(status("RssAnon"))
    return {
        "fits": n_fits,
        "growth": sizes[-1] - sizes[n_fits // 6],
        "sizes": sizes[:: n_fits // 6],
    }


def many_rows(n_rows: int) -> dict:
    """One fit with the default number of epochs."""
    rng = np.random.default_rng(0)
    X = np.tanh(rng.standard_normal((n_rows, 4), dtype=np.float32) @ np.ones((4, 20), np.float32))
    X += 0.3 * rng.standard_normal(X.shape, dtype=np.float32)
    before = status("RssAnon")
    model = AutoencoderTransformer(4, random_state=0, batch_size=1024)
    with peak() as fitting:
        fit_seconds = seconds(model.fit, X)
    return {
        "rows": n_rows,
        "data": X.nbytes,
        "fit_seconds": fit_seconds,
        "epochs": model.n_iter_,
        "fit_peak": fitting["peak"] - before,
        "score": model.score(X),
        "pca_score": model.pca_score_,
    }


def main() -> None:
    options = parser(__doc__)
    parts = [*CASES, "many fits", "many rows"]
    options.add_argument("--parts", nargs="+", choices=parts, default=parts, metavar="NAME")
    arguments = options.parse_args()
    results = Results("larger_than_memory", quick=arguments.quick)
    limit = 150 * MB if arguments.quick else LIMIT
    for name, (n_columns, half) in CASES.items():
        if name in arguments.parts:
            with tempfile.TemporaryDirectory() as folder:
                write_rows(Path(folder), n_columns, half, FACTOR * limit)
                record = in_fresh_process(fit_under_limit, folder, n_columns, half, limit)
            results.save(name, **record)
    if "many fits" in arguments.parts:
        results.save("many fits", **in_fresh_process(many_fits, 60 if arguments.quick else 300))
    if "many rows" in arguments.parts:
        results.save(
            "many rows", **in_fresh_process(many_rows, 10**5 if arguments.quick else 10**6)
        )


def section(records: dict) -> list[str]:
    """The figures as lines of the page."""
    cases = {name: records[name] for name in CASES}
    fits, million = records["many fits"], records["many rows"]
    header = (
        "data", "rows x columns", "files, MB", "`fit`, MB", "`transform` and "
        "`inverse_transform` of blocks, MB", "`transform` of all rows, MB",
        "codes in this memory, MB", "explained variance", "of PCA", "version",
    )  # fmt: skip
    table = [
        (
            name, f"{r['rows']} x {r['columns']}", r["data"] / MB, r["fit_peak"] / MB,
            r["restore_peak"] / MB, r["transform_peak"] / MB, r["codes"] / MB, r["score"],
            r["pca_score"], versions([r])[0],
        )
        for name, r in cases.items()
    ]  # fmt: skip
    limit = next(iter(cases.values()))["limit"] / MB
    peaks = [max(r["fit_peak"], r["restore_peak"]) / MB for r in cases.values()]
    figures = [
        (f"largest additional memory, MB (limit: {limit:.0f} MB)", max(peaks), cases.values()),
        (
            f"memory after {fits['fits']} fits minus memory after {fits['fits'] // 6} fits, MB",
            fits["growth"] / MB,
            [fits],
        ),
        (
            f"epochs of a fit to {million['rows']:,} rows of 20 columns",
            million["epochs"],
            [million],
        ),
        ("size of the data of this fit, MB", million["data"] / MB, [million]),
        ("additional memory of this fit, MB", million["fit_peak"] / MB, [million]),
        ("explained variance of this fit", f"{million['score']:.3f}", [million]),
        ("explained variance of PCA", f"{million['pca_score']:.3f}", [million]),
    ]
    figures = [(name, value, " and ".join(versions(found))) for name, value, found in figures]
    return [
        *markdown_table(("measure", "value", "version"), figures),
        "",
        *markdown_table(header, table),
    ]


if __name__ == "__main__":
    main()
