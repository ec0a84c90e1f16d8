"""The deep autoencoder of Hinton and Salakhutdinov: MNIST, 784-1000-500-250-30 and back.

    python benchmarks/classic.py [--budgets 60 180 300 900] [--arms NAME ...] [--quick]

Squared error of a test image, summed over pixels in [0, 1], against seconds of `fit`. `max_iter` is
chosen for each budget from the measured seconds of an epoch. *squared error*: everything else is
the default. *log loss*: `loss="log_loss"`, the cross-entropy that the inventors of this network
trained it with, and `alpha` out of four, the best by squared error on the last 10,000 training
images after 12 epochs on the others. For comparison a bare torch loop with Adam, for the seconds of
the third budget.
"""

from contextlib import suppress
from functools import partial

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
from peers import ours, torch_loop, warm_up

HIDDEN, N_COMPONENTS = (1000, 500, 250), 30
N_PIXELS = 784
BAR_SECONDS, BAR_ERROR = 300, 3.0
LOOP_EPOCHS = 1000  # more than any budget allows
SQUARED, LOG, LOOP = "skae, squared error", "skae, log loss", "torch loop"
OURS = {SQUARED: ours, LOG: partial(ours, loss="log_loss")}
FOREVER = float("inf")
ALPHAS, N_JUDGES, EPOCHS_TO_CHOOSE = (0.0, 1e-4, 1e-3, 1e-2), 10_000, 12


def run(
    arm: str, epochs: int, limit: float, quick: bool, alpha: float = 0.0, n_judges: int = 0
) -> list[dict]:
    """The points of one training, in this process; judged by the last training images if asked."""
    X, X_test = images("mnist")
    if n_judges:
        X, X_test = X[:-n_judges], X[-n_judges:]
    warm_up("skae" if arm in OURS else arm)
    curve = Curve(X_test, limit)
    X, hidden = (X[:1000], (32,)) if quick else (X, HIDDEN)
    fit = partial(OURS[arm], alpha=alpha) if arm in OURS else torch_loop
    with suppress(TimeUp):
        fit(X, hidden, N_COMPONENTS, epochs, 0, curve)
    return [p | {"error": N_PIXELS * p["error"]} for p in curve.points]


def chosen_alpha(results: Results, quick: bool) -> float:
    """The penalty on the weights that is best for images that were held out of the training."""
    epochs, errors = 1 if quick else EPOCHS_TO_CHOOSE, {}
    for alpha in ALPHAS:
        points = in_fresh_process(run, LOG, epochs, FOREVER, quick, alpha, N_JUDGES)
        errors[alpha] = points[-1]["error"]
        results.save(f"alpha/{alpha:g}", alpha=alpha, held_out_error=errors[alpha])
    return min(errors, key=errors.__getitem__)


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--budgets", nargs="+", type=float, default=[60, 180, BAR_SECONDS, 900])
    names = [*OURS, LOOP]
    options.add_argument("--arms", nargs="+", choices=names, default=names, metavar="NAME")
    arguments = options.parse_args()
    quick = arguments.quick
    budgets = [2.0, 4.0] if quick else arguments.budgets
    if not present(["mnist"]):
        return
    results = Results("classic", quick=quick)
    for arm in [arm for arm in OURS if arm in arguments.arms]:
        alpha = chosen_alpha(results, quick) if arm == LOG else 0.0
        few, more = (
            in_fresh_process(run, arm, epochs, FOREVER, quick, alpha)[0]["seconds"]
            for epochs in (1, 3)
        )
        epoch = (more - few) / 2
        for budget in budgets:
            max_iter = max(1, round(1 + (budget - few) / epoch))
            points = in_fresh_process(run, arm, max_iter, FOREVER, quick, alpha)
            record = {"arm": arm, "alpha": alpha, "max_iter": max_iter, "points": points}
            results.save(f"{arm}/{budget:g}", **record)
    if LOOP in arguments.arms:
        limit = budgets[min(2, len(budgets) - 1)]
        points = in_fresh_process(run, LOOP, LOOP_EPOCHS, limit, quick)
        results.save(LOOP, arm=LOOP, points=points)


def section(records: dict) -> list[str]:
    """The figures as lines of the page."""
    fits = [r for r in records.values() if "max_iter" in r]
    rows = [
        (r["arm"], r["alpha"], r["max_iter"], p["epoch"], p["seconds"], p["error"])
        for r in sorted(fits, key=lambda r: (r["arm"], r["max_iter"]))
        for p in r["points"]
    ]
    if loop := records.get(LOOP):
        last = loop["points"][-1]
        best = min(loop["points"], key=lambda p: p["error"])
        rows += [("torch loop, last epoch", "", "", *last.values())]
        rows += [("torch loop, best epoch", "", "", *best.values())]
    own = [row for row in rows if row[0] in OURS]
    in_time = [row[-1] for row in own if row[4] <= 1.05 * BAR_SECONDS]
    header = (
        "arm",
        "`alpha`",
        "`max_iter`",
        "epochs run",
        "seconds, this run",
        "error of an image",
    )
    return [
        bar_line(
            f"error within {BAR_SECONDS} s (and 5 %)",
            min(in_time, default=None),
            below=BAR_ERROR,
        ),
        bar_line("lowest error", min((row[-1] for row in own), default=None)),
        "",
        *markdown_table(header, rows),
        "",
        "Error of a held-out training image by `alpha`: "
        + ", ".join(
            f"{r['alpha']:g} {r['held_out_error']:.3g}"
            for r in records.values()
            if "held_out_error" in r
        )
        + ".",
    ]


if __name__ == "__main__":
    main()
