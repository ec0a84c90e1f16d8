"""The deep autoencoder of Hinton and Salakhutdinov (784-1000-500-250-30 units) is fitted to MNIST.

    python benchmarks/classic.py [--budgets 60 180 300 900] [--methods NAME ...] [--quick]

The error is the squared error of a test image, summed over pixels in [0, 1]. There are several time
limits. For each of them, `max_iter` is computed from the measured seconds of an epoch.

- In the rows "squared error", all other parameters have their defaults.
- In the rows "log loss", the loss is that of the original paper, `loss="log_loss"`. `alpha` is the
  best of four values for held-out training images.

The script can also run a training loop in torch with Adam. If it was run, the table has its rows.
"""

from contextlib import suppress
from functools import partial

from _timing import (
    Curve,
    Results,
    TimeUp,
    in_fresh_process,
    item_line,
    markdown_table,
    parser,
)
from data_sets import images, present
from peers import ours, torch_loop, warm_up

HIDDEN, N_COMPONENTS = (1000, 500, 250), 30
N_PIXELS = 784
LIMIT_SECONDS = 300
LOOP_EPOCHS = 1000  # more than the budgets allow
SQUARED, LOG, LOOP = "skae, squared error", "skae, log loss", "torch loop"
OURS = {SQUARED: ours, LOG: partial(ours, loss="log_loss")}
FOREVER = float("inf")
ALPHAS, N_VALIDATION, EPOCHS_TO_CHOOSE = (0.0, 1e-4, 1e-3, 1e-2), 10_000, 12


def run(
    method: str, epochs: int, limit: float, quick: bool, alpha: float = 0.0, n_validation: int = 0
) -> list[dict]:
    """Errors and seconds of one training, in this process.

    The error is that of the last `n_validation` training images, which are then held out, or of the
    test images.
    """
    X, X_test = images("mnist")
    if n_validation:
        X, X_test = X[:-n_validation], X[-n_validation:]
    warm_up("skae" if method in OURS else method)
    curve = Curve(X_test, limit)
    X, hidden = (X[:1000], (32,)) if quick else (X, HIDDEN)
    fit = partial(OURS[method], alpha=alpha) if method in OURS else torch_loop
    with suppress(TimeUp):
        fit(X, hidden, N_COMPONENTS, epochs, 0, curve)
    return [p | {"error": N_PIXELS * p["error"]} for p in curve.points]


def chosen_alpha(results: Results, quick: bool) -> float:
    """The weight penalty with the lowest error on held-out training images."""
    epochs, errors = 1 if quick else EPOCHS_TO_CHOOSE, {}
    for alpha in ALPHAS:
        points = in_fresh_process(run, LOG, epochs, FOREVER, quick, alpha, N_VALIDATION)
        errors[alpha] = points[-1]["error"]
        results.save(f"alpha/{alpha:g}", alpha=alpha, held_out_error=errors[alpha])
    return min(errors, key=errors.__getitem__)


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--budgets", nargs="+", type=float, default=[60, 180, LIMIT_SECONDS, 900])
    names = [*OURS, LOOP]
    options.add_argument("--methods", nargs="+", choices=names, default=names, metavar="NAME")
    arguments = options.parse_args()
    quick = arguments.quick
    budgets = [2.0, 4.0] if quick else arguments.budgets
    if not present(["mnist"]):
        return
    results = Results("classic", quick=quick)
    for method in [method for method in OURS if method in arguments.methods]:
        alpha = chosen_alpha(results, quick) if method == LOG else 0.0
        few, more = (
            in_fresh_process(run, method, epochs, FOREVER, quick, alpha)[0]["seconds"]
            for epochs in (1, 3)
        )
        epoch = (more - few) / 2
        for budget in budgets:
            max_iter = max(1, round(1 + (budget - few) / epoch))
            points = in_fresh_process(run, method, max_iter, FOREVER, quick, alpha)
            record = {"method": method, "alpha": alpha, "max_iter": max_iter, "points": points}
            results.save(f"{method}/{budget:g}", **record)
    if LOOP in arguments.methods:
        limit = budgets[min(2, len(budgets) - 1)]
        points = in_fresh_process(run, LOOP, LOOP_EPOCHS, limit, quick)
        results.save(LOOP, method=LOOP, points=points)


def section(records: dict) -> list[str]:
    """The figures as lines of the page."""
    fits = [r for r in records.values() if "max_iter" in r]
    rows = [
        (r["method"], r["alpha"], r["max_iter"], p["epoch"], p["seconds"], p["error"])
        for r in sorted(fits, key=lambda r: (r["method"], r["max_iter"]))
        for p in r["points"]
    ]
    if loop := records.get(LOOP):
        last = loop["points"][-1]
        best = min(loop["points"], key=lambda p: p["error"])
        rows += [("torch loop, last epoch", "", "", *last.values())]
        rows += [("torch loop, best epoch", "", "", *best.values())]
    own = [row for row in rows if row[0] in OURS]
    in_time = [row[-1] for row in own if row[4] <= LIMIT_SECONDS]
    header = (
        "method",
        "`alpha`",
        "`max_iter`",
        "epochs run",
        "seconds",
        "error of an image",
    )
    return [
        item_line(f"lowest error within {LIMIT_SECONDS} s", min(in_time, default=None)),
        item_line("lowest error", min((row[-1] for row in own), default=None)),
        "",
        *markdown_table(header, rows),
        "",
        "The errors of a held-out training image are: "
        + ", ".join(
            f"{r['held_out_error']:.3g} with `alpha={r['alpha']:g}`"
            for r in records.values()
            if "held_out_error" in r
        )
        + ".",
    ]


if __name__ == "__main__":
    main()
