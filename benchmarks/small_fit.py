"""A default fit to the digits (1797 x 64) is timed with and without another process.

    python benchmarks/small_fit.py [--fits 7] [--quick]

The figures are medians over several fits. In two rows of the table another process is running,
which multiplies matrices on one core or on all cores.
"""

from contextlib import contextmanager
from multiprocessing import get_context

import numpy as np
import torch
from _timing import Results, in_fresh_process, markdown_table, parser, seconds
from sklearn.datasets import load_digits

from skae import AutoencoderTransformer

NEIGHBOURS = {"alone": 0, "another process on one core": 1, "another process on all cores": None}


def fits(n_fits: int) -> list[float]:
    """Seconds of each fit in this process; the first one includes the set-up of torch."""
    X = load_digits().data
    return [seconds(AutoencoderTransformer(random_state=seed).fit, X) for seed in range(n_fits)]


def work(n_threads: int | None) -> None:
    if n_threads is not None:
        torch.set_num_threads(n_threads)
    x = torch.ones(1000, 1000)
    while True:
        x @ x


@contextmanager
def busy(n_threads: int | None):
    """Run another process with this number of threads; none for zero threads."""
    process = get_context("spawn").Process(target=work, args=(n_threads,), daemon=True)
    if n_threads != 0:
        process.start()
    try:
        yield
    finally:
        if process.pid is not None:
            process.terminate()
            process.join()


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--fits", type=int, default=7)
    arguments = options.parse_args()
    results = Results("small_fit", quick=arguments.quick)
    for name, n_threads in NEIGHBOURS.items():
        with busy(n_threads):
            times = in_fresh_process(fits, 2 if arguments.quick else arguments.fits)
        results.save(name, seconds=times)


def section(records: dict) -> list[str]:
    """The figures as lines of the page."""
    medians = {name: float(np.median(r["seconds"])) for name, r in records.items()}
    rows = [(name, median, median / medians["alone"]) for name, median in medians.items()]
    return markdown_table(("", "median seconds", "relative to alone"), rows)


if __name__ == "__main__":
    main()
