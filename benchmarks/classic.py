"""The deep autoencoder of Hinton and Salakhutdinov: MNIST, 784-1000-500-250-30 and back.

    python benchmarks/classic.py [--budgets 60 180 300 900] [--quick]

Squared error of a test image, summed over pixels in [0, 1], against seconds of `fit`. `max_iter` is
chosen for each budget from the measured seconds of an epoch; everything else is the default. For
comparison a bare torch loop with Adam, for the seconds of the third budget.
"""

from contextlib import suppress

from _timing import (
    Curve,
    Results,
    TimeUp,
    bar_line,
    in_fresh_process,
    markdown_table,
    parser,
)
from data_sets import images, present
from peers import ARMS, warm_up

HIDDEN, N_COMPONENTS = (1000, 500, 250), 30
N_PIXELS = 784
BAR_SECONDS, BAR_ERROR = 300, 3.0
LOOP_EPOCHS = 1000  # more than any budget allows


def run(arm: str, epochs: int, limit: float, quick: bool) -> list[dict]:
    """The points of one training, in this process."""
    X_train, X_test = images("mnist")
    warm_up(arm)
    curve = Curve(X_test, limit)
    rows, hidden = (X_train[:1000], (32,)) if quick else (X_train, HIDDEN)
    with suppress(TimeUp):
        ARMS[arm](rows, hidden, N_COMPONENTS, epochs, 0, curve)
    return [p | {"error": N_PIXELS * p["error"]} for p in curve.points]


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--budgets", nargs="+", type=float, default=[60, 180, BAR_SECONDS, 900])
    arguments = options.parse_args()
    quick = arguments.quick
    budgets = [2.0, 4.0] if quick else arguments.budgets
    if not present(["mnist"]):
        return
    results = Results("classic", quick=quick)
    few, more = (
        in_fresh_process(run, "skae", epochs, float("inf"), quick)[0]["seconds"]
        for epochs in (1, 3)
    )
    epoch = (more - few) / 2
    results.save("epoch", arm="skae", seconds=epoch, seconds_of_first=few)
    for budget in budgets:
        max_iter = max(1, round(1 + (budget - few) / epoch))
        points = in_fresh_process(run, "skae", max_iter, float("inf"), quick)
        results.save(f"skae/{budget:g}", arm="skae", max_iter=max_iter, points=points)
    limit = budgets[min(2, len(budgets) - 1)]
    points = in_fresh_process(run, "torch loop", LOOP_EPOCHS, limit, quick)
    results.save("torch loop", arm="torch loop", points=points)


def section(records: dict) -> list[str]:
    """The figures as lines of the page."""
    ours = [r for r in records.values() if "max_iter" in r]
    rows = [
        ("skae", r["max_iter"], p["epoch"], p["seconds"], p["error"])
        for r in sorted(ours, key=lambda r: r["max_iter"])
        for p in r["points"]
    ]
    if loop := records.get("torch loop"):
        last = loop["points"][-1]
        best = min(loop["points"], key=lambda p: p["error"])
        rows += [("torch loop, last epoch", "", *last.values())]
        rows += [("torch loop, best epoch", "", *best.values())]
    in_time = [row[-1] for row in rows if row[0] == "skae" and row[3] <= 1.05 * BAR_SECONDS]
    header = ("arm", "`max_iter`", "epochs run", "seconds, this run", "error of an image")
    return [
        bar_line(
            f"error within {BAR_SECONDS} s (and 5 %)",
            min(in_time, default=None),
            below=BAR_ERROR,
        ),
        bar_line("lowest error", min((row[-1] for row in rows if row[0] == "skae"), default=None)),
        "",
        *markdown_table(header, rows),
    ]


if __name__ == "__main__":
    main()
