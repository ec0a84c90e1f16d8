"""What processes that learn together send to each other in a step, and how long it takes.

    python benchmarks/ranks.py [--quick]

Fits by one process and by two on this machine, one thread each, that share the rows of each step.
Bytes are those of the vectors that are summed; in a ring each of n processes sends 2 (n - 1) / n
times as many. Sums are also timed alone, for networks of other sizes.
"""

import json
import time
from collections import Counter
from datetime import timedelta
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
import torch.distributed as dist
from _timing import Results, parser

from skae import AutoencoderTransformer
from skae._data import process_group as group

N_ROWS, N_FEATURES = 20_000, 784
BATCH_SIZE = 1024
HIDDEN = {"(256, 128)": (256, 128), "(1024, 512)": (1024, 512)}
N_RANKS = (1, 2)
TIMEOUT = timedelta(minutes=10)


class Counted(group.ProcessGroup):
    """Ranks that count their sums and clock them."""

    bytes_sent, seconds, calls = Counter(), Counter(), Counter()

    def all_reduce(self, values: torch.Tensor) -> torch.Tensor:
        """The sum over the ranks, in place."""
        return self._counted("sum", values.nbytes, super().add_up, values)

    def gather(self, value):
        """The value of each rank."""
        return self._counted("gather", 0, super().gather, value)

    def _counted(self, what, n_bytes, collective, value):
        start = time.perf_counter()
        result = collective(value)
        self.seconds[what] += time.perf_counter() - start
        self.bytes_sent[what] += n_bytes
        self.calls[what] += 1
        return result


def fit(rank: int, n_ranks: int, hidden: tuple[int, ...], n_epochs: int, folder: str) -> None:
    """One process: its shard, its fit, what it counted."""
    torch.set_num_threads(1)
    where = f"file://{folder}/meeting"
    dist.init_process_group("gloo", where, TIMEOUT, n_ranks, rank)
    group.ProcessGroup = Counted
    X = np.random.RandomState(0).normal(size=(N_ROWS, N_FEATURES)).astype(np.float32)
    X[:, 1:] += X[:, :-1]  # something to find
    shard = np.array_split(X, n_ranks)[rank]
    parameters = {"batch_size": BATCH_SIZE, "n_iter_no_change": 1000, "random_state": 0}

    def measured(max_iter: int) -> tuple[Counter, ...]:
        for counter in (Counted.bytes_sent, Counted.seconds, Counted.calls):
            counter.clear()
        reducer = AutoencoderTransformer(
            32, hidden_layer_sizes=hidden, max_iter=max_iter, **parameters
        )
        start, worked = time.perf_counter(), time.process_time()
        reducer.fit(shard)
        clocks = Counter(wall=time.perf_counter() - start, work=time.process_time() - worked)
        return clocks, *map(Counter, (Counted.bytes_sent, Counted.seconds, Counted.calls))

    measured(1)  # the first fit of a process loads what it needs
    # The difference of two fits is that of their epochs alone.
    (short, *before), (long, *after) = measured(1), measured(1 + n_epochs)
    n_sent, waited, calls = (
        {what: second[what] - first[what] for what in ("sum", "gather")}
        for first, second in zip(before, after, strict=True)
    )
    n_steps = n_epochs * int(np.ceil(0.9 * N_ROWS / BATCH_SIZE))
    record = {
        "seconds_per_step": (long["wall"] - short["wall"]) / n_steps,
        "processor_seconds_per_step_and_rank": (long["work"] - short["work"]) / n_steps,
        "bytes_summed_per_step": n_sent["sum"] / n_steps,
        "seconds_of_sums_per_step": waited["sum"] / n_steps,
        "sums_per_step": calls["sum"] / n_steps,
        "seconds_of_a_fit_of_one_epoch": short["wall"],
        "n_steps": n_steps,
    }
    if rank == 0:
        (Path(folder) / "record.json").write_text(json.dumps(record))
    dist.destroy_process_group()


def sum_alone(rank: int, n_ranks: int, n_numbers: int, repetitions: int, folder: str) -> None:
    """One process: the median seconds of a sum of vectors of this size, nothing else going on."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder}/meeting", TIMEOUT, n_ranks, rank)
    values, times = torch.ones(n_numbers), []
    for _ in range(repetitions):
        start = time.perf_counter()
        dist.all_reduce(values)
        times.append(time.perf_counter() - start)
        values.fill_(1.0)
    if rank == 0:
        (Path(folder) / "record.json").write_text(json.dumps({"seconds": float(np.median(times))}))
    dist.destroy_process_group()


def together(n_ranks: int, function, *arguments) -> dict:
    """What rank 0 of some processes records."""
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
            record = together(n_ranks, fit, hidden, 1 if quick else 3)
            results.save(f"hidden {name}, {n_ranks} ranks", **record)
    for n_numbers in (1, 10_000, 1_000_000):
        record = together(2, sum_alone, n_numbers, 20 if quick else 200)
        results.save(f"sum of {n_numbers} numbers, 2 ranks", **record)


if __name__ == "__main__":
    main()
