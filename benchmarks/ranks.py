"""Communication of several processes that fit one model: bytes and seconds a step.

    python benchmarks/ranks.py [--quick]

Fits by one process and by two on this machine, with one thread each. Each process has a part of
the rows of each step. The bytes are those of the vectors that are summed; in a ring, each of n
processes sends 2 (n - 1) / n times as many. Sums of other sizes are timed without a fit. Writes
`benchmarks/results/ranks.json`.
"""

import json
from collections import Counter
from datetime import timedelta
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
import torch.distributed as dist
from _timing import Results, Timer, parser

from skae import AutoencoderTransformer
from skae._data import process_group as group

N_ROWS, N_FEATURES = 20_000, 784
BATCH_SIZE = 1024
HIDDEN = {"(256, 128)": (256, 128), "(1024, 512)": (1024, 512)}
N_RANKS = (1, 2)
TIMEOUT = timedelta(minutes=10)


class Counted(group.ProcessGroup):
    """A process group that counts and times its collectives."""

    bytes_sent, seconds, calls = Counter(), Counter(), Counter()

    def all_reduce(self, values: torch.Tensor) -> torch.Tensor:
        """Sum over the ranks, in place."""
        return self._counted("sum", values.nbytes, super().all_reduce, values)

    def gather(self, value):
        """Gather the value of each rank."""
        return self._counted("gather", 0, super().gather, value)

    def _counted(self, what, n_bytes, collective, value):
        with Timer() as timer:
            result = collective(value)
        self.seconds[what] += timer.elapsed
        self.bytes_sent[what] += n_bytes
        self.calls[what] += 1
        return result


def fit(rank: int, n_ranks: int, hidden: tuple[int, ...], n_epochs: int, folder: str) -> None:
    """Run in each process: fit to its shard and write down the counts."""
    torch.set_num_threads(1)
    address = f"file://{folder}/rendezvous"
    dist.init_process_group("gloo", address, TIMEOUT, n_ranks, rank)
    group.ProcessGroup = Counted
    X = np.random.RandomState(0).normal(size=(N_ROWS, N_FEATURES)).astype(np.float32)
    X[:, 1:] += X[:, :-1]  # correlated columns
    shard = np.array_split(X, n_ranks)[rank]
    parameters = {"batch_size": BATCH_SIZE, "n_iter_no_change": 1000, "random_state": 0}

    def measured(max_iter: int) -> tuple[Counter, ...]:
        for counter in (Counted.bytes_sent, Counted.seconds, Counted.calls):
            counter.clear()
        reducer = AutoencoderTransformer(
            32, hidden_layer_sizes=hidden, max_iter=max_iter, **parameters
        )
        with Timer() as timer:
            reducer.fit(shard)
        clocks = Counter(elapsed=timer.elapsed, processor=timer.processor)
        return clocks, *map(Counter, (Counted.bytes_sent, Counted.seconds, Counted.calls))

    measured(1)  # the first fit of a process sets torch up
    # The difference of two fits is that of their epochs.
    (short, *before), (long, *after) = measured(1), measured(1 + n_epochs)
    n_bytes, seconds, calls = (
        {what: second[what] - first[what] for what in ("sum", "gather")}
        for first, second in zip(before, after, strict=True)
    )
    n_steps = n_epochs * int(np.ceil(0.9 * N_ROWS / BATCH_SIZE))
    record = {
        "seconds_per_step": (long["elapsed"] - short["elapsed"]) / n_steps,
        "processor_seconds_per_step_and_rank": (long["processor"] - short["processor"]) / n_steps,
        "bytes_summed_per_step": n_bytes["sum"] / n_steps,
        "seconds_of_sums_per_step": seconds["sum"] / n_steps,
        "sums_per_step": calls["sum"] / n_steps,
        "seconds_of_a_fit_of_one_epoch": short["elapsed"],
        "n_steps": n_steps,
    }
    if rank == 0:
        (Path(folder) / "record.json").write_text(json.dumps(record))
    dist.destroy_process_group()


def sum_alone(rank: int, n_ranks: int, n_numbers: int, repetitions: int, folder: str) -> None:
    """Run in each process: the median seconds of a sum of vectors of this size."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder}/rendezvous", TIMEOUT, n_ranks, rank)
    values, times = torch.ones(n_numbers), []
    for _ in range(repetitions):
        with Timer() as timer:
            dist.all_reduce(values)
        times.append(timer.elapsed)
        values.fill_(1.0)
    if rank == 0:
        (Path(folder) / "record.json").write_text(json.dumps({"seconds": float(np.median(times))}))
    dist.destroy_process_group()


def in_processes(n_ranks: int, function, *arguments) -> dict:
    """Run a function in several processes; the record of rank 0."""
    with TemporaryDirectory() as folder:
        context = get_context("spawn")
        processes = [
            context.Process(target=function, args=(rank, n_ranks, *arguments, folder))
            for rank in range(n_ranks)
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        return json.loads((Path(folder) / "record.json").read_text())


def main() -> None:
    quick = parser(__doc__).parse_args().quick
    results = Results("ranks", quick=quick)
    for name, hidden in HIDDEN.items():
        for n_ranks in N_RANKS:
            record = in_processes(n_ranks, fit, hidden, 1 if quick else 3)
            results.save(f"hidden {name}, {n_ranks} ranks", **record)
    for n_numbers in (1, 10_000, 1_000_000):
        record = in_processes(2, sum_alone, n_numbers, 20 if quick else 200)
        results.save(f"sum of {n_numbers} numbers, 2 ranks", **record)


if __name__ == "__main__":
    main()
