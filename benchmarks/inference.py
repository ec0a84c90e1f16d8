"""`transform` and `reconstruct` are compared with the network alone, PCA and other libraries.

    OMP_NUM_THREADS=1 python benchmarks/inference.py [--quick]

The first table is for 100,000 rows of 784 columns in float32. The encoder has layers of 784, 512,
128 and 32 units, and rows are not projected. "The bare network" is a call of `network_.encode` in
torch, for all rows at once or in blocks of rows. The functions are called in turn, and each ratio
is a median. The last table has the ratios of the median times for a single row. Other processes
were running.
"""

import copy
import time

import numpy as np
import torch
from _timing import (
    Results,
    in_fresh_process,
    interleaved,
    markdown_table,
    median_ratio,
    parser,
)
from peers import METHODS, PEERS, warm_up
from sklearn.decomposition import PCA

from skae import AutoencoderTransformer

HIDDEN, N_COMPONENTS = (512, 128), 32
BLOCKS = (512, 1024, 2048, 4096, 8192, 16384)
SHAPES = {"784-512-128-32": (784, (512, 128), 32), "64-128-128-8": (64, (128, 128), 8)}


def rows(n_rows: int, n_features: int, dtype=np.float32) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((n_rows, n_features), dtype=dtype)


def fitted(n_features: int, hidden: tuple[int, ...], k: int) -> AutoencoderTransformer:
    """Fit an estimator for one epoch: only the sizes of its layers matter here."""
    model = AutoencoderTransformer(k, hidden_layer_sizes=hidden, max_iter=1, random_state=0)
    return model.fit(rows(2000, n_features))


def bare_network(network: torch.nn.Module, x: torch.Tensor, block: int):
    """Return a function that encodes in blocks, into one tensor."""

    def encode() -> None:
        with torch.inference_mode():
            if block >= len(x):
                network.encode(x)
                return
            codes = torch.empty(len(x), network.encode(x[:1]).shape[1])
            for start in range(0, len(x), block):
                codes[start : start + block] = network.encode(x[start : start + block])

    return encode


def transform_rates(n_rows: int, repetitions: int) -> dict[str, list[float]]:
    X = rows(n_rows, 784)
    model, pca = fitted(784, HIDDEN, N_COMPONENTS), PCA(N_COMPONENTS).fit(X[:2000])
    x = torch.from_numpy(X)
    return interleaved(
        {"skae": lambda: model.transform(X), "PCA": lambda: pca.transform(X)}
        | {f"bare, {b}": bare_network(model.network_, x, b) for b in (*BLOCKS, n_rows)},
        repetitions,
    )


def reconstruct_rates(peer: str, n_rows: int, repetitions: int) -> dict[str, list[float]]:
    """Time reconstructions by skae and by another library, as some libraries have no codes."""
    warm_up(peer)
    X = rows(n_rows, 784)
    model = fitted(784, HIDDEN, N_COMPONENTS)
    theirs = METHODS[peer](X[:2000], HIDDEN, N_COMPONENTS, 1, 0, lambda *_: None)
    functions = {"skae": lambda: model.reconstruct(X), peer: lambda: theirs(X)}
    return interleaved(functions, repetitions)


def latency(shape: str, dtype: str, calls: int) -> dict[str, float]:
    """Median microseconds of one row, for `transform` and the bare network in turn."""
    n_features, hidden, k = SHAPES[shape]
    model, X = fitted(n_features, hidden, k), rows(1, n_features).astype(dtype)
    network, x = copy.deepcopy(model.network_).to(getattr(torch, dtype)), torch.from_numpy(X)
    encode = bare_network(network, x, 1)
    times = {"transform": [], "bare": []}
    for _ in range(calls):
        for name, function in (("transform", lambda: model.transform(X)), ("bare", encode)):
            start = time.perf_counter_ns()
            function()
            times[name].append(time.perf_counter_ns() - start)
    return {name: float(np.median(values[calls // 10 :])) / 1000 for name, values in times.items()}


def main() -> None:
    quick = parser(__doc__).parse_args().quick
    n_rows, repetitions, calls = (2000, 2, 50) if quick else (100_000, 9, 3000)
    results = Results("inference", quick=quick)
    times = in_fresh_process(transform_rates, n_rows, repetitions)
    results.save("transform", rows=n_rows, seconds=times)
    for peer in PEERS:
        times = in_fresh_process(reconstruct_rates, peer, n_rows, max(2, repetitions // 3))
        results.save(f"reconstruct/{peer}", peer=peer, rows=n_rows, seconds=times)
    for shape in SHAPES:
        for dtype in ("float32", "float64"):
            microseconds = in_fresh_process(latency, shape, dtype, calls)
            results.save(f"row/{shape}/{dtype}", shape=shape, dtype=dtype, **microseconds)


def section(records: dict) -> list[str]:
    """The figures as lines of the page."""
    times = records["transform"]["seconds"]
    n_rows = records["transform"]["rows"]
    blocks = [name for name in times if name.startswith("bare")]
    quickest = min(blocks, key=lambda name: np.median(times[name]))
    rates = [
        (label, median_ratio(times[name], times["skae"]))
        for label, name in (
            ("`transform`", "skae"),
            ("the bare network, all rows at once", f"bare, {n_rows}"),
            (f"the bare network, {quickest[6:]} rows at once (the best)", quickest),
            ("`PCA.transform`", "PCA"),
        )
    ]
    peers = [
        (r["peer"], median_ratio(r["seconds"][r["peer"]], r["seconds"]["skae"]))
        for key, r in records.items()
        if key.startswith("reconstruct/")
    ]
    latencies = [
        (r["shape"], r["dtype"], r["transform"] / r["bare"])
        for key, r in records.items()
        if key.startswith("row/")
    ]
    return [
        *markdown_table(("many rows", "seconds / seconds of `transform`"), rates),
        "",
        "Many rows, `reconstruct` and the corresponding functions of other libraries:",
        "",
        *markdown_table(("library", "seconds / seconds of skae"), peers),
        "",
        "One row. Both functions project it if the layers are 64-128-128-8:",
        "",
        *markdown_table(("layers", "dtype", "seconds / seconds of the bare network"), latencies),
    ]


if __name__ == "__main__":
    main()
