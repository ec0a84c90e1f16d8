"""`AutoencoderTransformer` is compared with five other libraries by test error and training time.

    python benchmarks/time_to_quality.py [--sets NAME ...] [--methods NAME ...] [--clock processor]
                                         [--quick]

Images: The data are MNIST and Fashion-MNIST. The encoder has layers of 784, 512, 128 and 32 units,
and the decoder the same in reverse order. The other libraries are trained for 10 epochs with a
constant learning rate, and evaluated after each epoch. The learning rate of skae depends on
`max_iter`, so there is a separate fit for each number of epochs.

Tables: Columns are standardised. Networks have the hidden layers (128, 128) and 8 components, or
half as many components as columns if that is fewer. skae has its default parameters, and
`max_iter=100` in a second fit. The other libraries are trained for 100 epochs, but at most for ten
times the seconds of the default fit of skae. Methods that were not measured together with skae are
left out. One test row of california_housing is 187 standard deviations from the mean, and has most
of the squared error of skae.
"""

from contextlib import suppress

import numpy as np
from _timing import (
    CLOCKS,
    Curve,
    Results,
    TimeUp,
    figure,
    in_fresh_process,
    markdown_table,
    parser,
    versions_sentence,
)
from data_sets import images, present, standardised
from peers import METHODS, PEERS, warm_up

IMAGES = ["fashion_mnist", "mnist"]
TABLES = ["letter", "california_housing", "isolet5", "cmapss_fd001"]
OUR_EPOCHS = (1, 2, 3, 5, 10, 15, 20, 30, 100)
THEIR_EPOCHS = 10
SHORT, REPEATS = 3, 3
TABLE_EPOCHS = 100
TABLE_TIME_FACTOR = 10  # of the seconds of skae's defaults
CLOCK_TITLES = {
    "elapsed": "elapsed seconds, with the default number of threads",
    "processor": "processor seconds with one thread, measured while other processes were running",
}


def run(
    method, name, hidden, k, epochs, seed, clock, limit=float("inf"), n_rows=None
) -> list[dict]:
    """Errors and seconds of one training, in this process."""
    load = images(name) if name in IMAGES else standardised(name, seed)
    X_train, X_test = (np.ascontiguousarray(X[:n_rows]) for X in load)
    k = min(k, X_train.shape[1] // 2)
    warm_up(method)
    curve = Curve(X_test, limit, clock)
    with suppress(TimeUp):
        METHODS[method](X_train, hidden, k, epochs, seed, curve)
    return curve.points


def compare_on_images(
    name: str, methods: list[str], seed: int, clock: str, results: Results, quick: bool
) -> None:
    n_rows, hidden, k = (1000, (32,), 8) if quick else (None, (512, 128), 32)
    for method in methods:
        runs = OUR_EPOCHS if method == "skae" else (THEIR_EPOCHS,)
        points = []
        for epochs in runs[:2] if quick else runs:
            epochs = min(epochs, 2) if quick else epochs
            case = (run, method, name, hidden, k, epochs, seed, clock, float("inf"), n_rows)
            repeats = REPEATS if method == "skae" and epochs <= SHORT and not quick else 1
            curves = [in_fresh_process(*case) for _ in range(repeats)]
            points += sorted(curves, key=lambda curve: curve[-1]["seconds"])[repeats // 2]
        case = {"set": name, "method": method, "seed": seed, "clock": clock}
        results.save(f"{name}/{method}/{seed}", **case, points=points)


def compare_on_table(
    name: str, methods: list[str], seed: int, clock: str, results: Results, quick: bool
) -> None:
    n_rows, epochs = (500, 2) if quick else (None, TABLE_EPOCHS)
    limit = float("inf")
    for method in sorted(methods, key=lambda method: method != "skae"):  # it sets the time limit
        ours, points = method == "skae", []
        for max_iter in (None, epochs) if ours else (epochs,):
            points += in_fresh_process(
                run, method, name, (128, 128), 8, max_iter, seed, clock, limit, n_rows
            )
        if ours:
            limit = TABLE_TIME_FACTOR * points[0]["seconds"]
        case = {"set": name, "method": method, "seed": seed, "clock": clock}
        results.save(f"{name}/{method}/{seed}", **case, points=points)


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--sets", nargs="+", default=[*IMAGES, *TABLES], metavar="NAME")
    options.add_argument(
        "--methods", nargs="+", choices=METHODS, default=list(METHODS), metavar="NAME"
    )
    options.add_argument("--seeds", nargs="+", type=int, default=[0])
    options.add_argument(
        "--clock", choices=CLOCKS, default="elapsed", help="of the processor if it is busy"
    )
    arguments = options.parse_args()
    results = Results("time_to_quality", quick=arguments.quick)
    for name in present(arguments.sets):
        compare = compare_on_images if name in IMAGES else compare_on_table
        for seed in arguments.seeds:
            compare(name, arguments.methods, seed, arguments.clock, results, arguments.quick)


def share_of_seconds(ours: list[dict], theirs: dict[str, list[dict]]) -> tuple[float, str]:
    """Our seconds to the final error of the best other library, over its own; its name."""
    best = lowest_final_error(theirs)
    end = theirs[best][-1]
    reached = [p["seconds"] for p in ours if p["error"] <= end["error"]]
    return min(reached, default=float("nan")) / end["seconds"], best


def share_of_error(ours: list[dict], theirs: dict[str, list[dict]]) -> tuple[float, str]:
    """Our error after the seconds of the fastest other library, over the best; its name."""
    fastest = min(theirs, key=lambda method: theirs[method][-1]["seconds"])
    error = error_after(ours, theirs[fastest][-1]["seconds"])
    return error / theirs[lowest_final_error(theirs)][-1]["error"], fastest


def lowest_final_error(theirs: dict[str, list[dict]]) -> str:
    """The library with the lowest final error."""
    return min(theirs, key=lambda method: theirs[method][-1]["error"])


def error_after(points: list[dict], time: float) -> float:
    """The lowest error within the time."""
    return min((p["error"] for p in points if p["seconds"] <= time), default=float("nan"))


def section(records: dict) -> list[str]:
    """The figures as lines of the page; the first seed of each set."""
    lines = []
    for name in [*IMAGES, *TABLES]:
        of_set = {r["method"]: r for r in reversed(records.values()) if r["set"] == name}
        if "skae" not in of_set:
            continue
        clock = clock_of(of_set["skae"])
        # Seconds of another clock, in an older run, must not be compared.
        points = {m: of_set[m]["points"] for m in METHODS if m in of_set}
        points = {m: p for m, p in points.items() if clock_of(of_set[m]) == clock}
        theirs = {method: p for method, p in points.items() if method in PEERS}
        if theirs:
            seconds = f"Seconds are {CLOCK_TITLES[clock]}."
            describe = describe_images if name in IMAGES else describe_table
            lines += ["", f"### {name}", "", f"{versions_sentence([of_set['skae']])} {seconds}"]
            lines += ["", *describe(points, theirs)]
    return lines


def clock_of(record: dict) -> str:
    """The clock of a training."""
    return record.get("clock", "elapsed")


def describe_images(points: dict[str, list[dict]], theirs: dict[str, list[dict]]) -> list[str]:
    seconds, best = share_of_seconds(points["skae"], theirs)
    error, fastest = share_of_error(points["skae"], theirs)
    last = points["skae"][-1]
    best_error = theirs[best][-1]["error"]
    epochs = sorted({p["epoch"] for p in points["skae"]})
    found = {
        (method, p["epoch"]): f"{p['error']:.5f} ({figure(p['seconds'])})"
        for method, curve in points.items()
        for p in curve
    }
    rows = [(epoch, *(found.get((method, epoch), "") for method in points)) for epoch in epochs]
    return [
        f"After {THEIR_EPOCHS} epochs, {best} has the lowest error of the other libraries, "
        f"{best_error:.5f}. {fastest} is the fastest of them.",
        "",
        f"- To reach this error, skae needs **{figure(seconds)}** times the training time of "
        f"{best}.",
        f"- If skae is trained for as long as {fastest}, its error is **{figure(error)}** times "
        "this error.",
        f"- After {last['epoch']} epochs, the error of skae is "
        f"**{figure(last['error'] / best_error)}** times this error.",
        "",
        "The table has the mean squared error of an entry after each number of epochs, with the",
        "seconds of training in brackets:",
        "",
        *markdown_table(("epochs", *points), rows),
    ]


def describe_table(points: dict[str, list[dict]], theirs: dict[str, list[dict]]) -> list[str]:
    ours, longer = points["skae"]
    rows = [
        ("skae", ours["epoch"], 1.0, 1.0, 1.0, 1.0),
        (
            f"skae, max_iter={TABLE_EPOCHS}",
            longer["epoch"],
            "",
            longer["error"] / ours["error"],
            longer["seconds"] / ours["seconds"],
            "",
        ),
    ]
    for method in [method for method in points if method != "skae"]:
        curve = points[method]
        reached = [p["seconds"] for p in curve if p["error"] <= ours["error"]]
        end = curve[-1]
        rows.append(
            (
                method,
                end["epoch"],
                error_after(curve, ours["seconds"]) / ours["error"],
                end["error"] / ours["error"],
                end["seconds"] / ours["seconds"],
                min(reached, default=float("nan")) / ours["seconds"],
            )
        )
    header = (
        "method", "epochs", "error within the seconds of skae", "final error", "seconds",
        "seconds until the error of skae",
    )  # fmt: skip
    return [
        f"The default fit of skae took {ours['seconds']:.3g} s, and its mean squared error of an "
        f"entry is {ours['error']:.4g}. Errors and seconds in the table are divided by these two "
        "figures, so a method with an error below 1 is better than the default fit of skae.",
        "",
        "- Methods with a lower error than the default fit after the same time: "
        f"{names_below_1(rows[2:], 2)}",
        "- Methods with a lower error than the default fit at the end of their training: "
        f"{names_below_1(rows[2:], 3)}",
        "",
        *markdown_table(header, rows),
    ]


def names_below_1(rows: list[tuple], column: int) -> str:
    """The methods whose figure in this column of the table is below 1."""
    return ", ".join(row[0] for row in rows if row[column] < 1) or "none"


if __name__ == "__main__":
    main()
