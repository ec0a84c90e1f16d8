"""Training in bfloat16 is compared with training in float32 by time and test error.

    python benchmarks/precision.py [--sets NAME ...] [--seeds 0] [--quick]

The same fit is made in both precisions, for three epochs on images and for twenty epochs on tables.
`precision="auto"` uses bfloat16 for networks with at least 150 million multiplications in a step,
if the processor has instructions for bfloat16.
"""

import numpy as np
from _timing import Results, in_fresh_process, markdown_table, parser, seconds
from data_sets import images, present, standardised
from peers import warm_up

from skae import AutoencoderTransformer
from skae._data.device import has_bfloat16_instructions

# Hidden layers, components and epochs.
CASES = {
    "fashion_mnist": ((512, 128), 32, 3),
    "mnist": ((1000, 500, 250), 30, 3),
    "isolet5": ((512, 512), 16, 20),
    "cmapss_fd001": ((512, 512), 8, 20),
    "letter": ((512, 512), 8, 20),
}
IMAGES = ("fashion_mnist", "mnist")
PRECISIONS = ("float32", "bfloat16")


def run(name: str, precision: str, seed: int, quick: bool) -> dict:
    """Run one fit in this process."""
    X_train, X_test = images(name) if name in IMAGES else standardised(name, seed)
    hidden, n_components, epochs = CASES[name]
    if quick:
        X_train, hidden, epochs = X_train[:500], (32,), 1
    warm_up("skae")
    model = AutoencoderTransformer(
        n_components,
        hidden_layer_sizes=hidden,
        max_iter=epochs,
        precision=precision,
        random_state=seed,
    )
    spent = seconds(model.fit, np.ascontiguousarray(X_train))
    error = float(((model.reconstruct(X_test) - X_test) ** 2).mean())
    return {"rows": len(X_train), "hidden": hidden, "seconds": spent, "error": error}


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--sets", nargs="+", choices=CASES, default=list(CASES), metavar="NAME")
    options.add_argument("--seeds", nargs="+", type=int, default=[0])
    arguments = options.parse_args()
    results = Results("precision", quick=arguments.quick)
    if not has_bfloat16_instructions():
        print("This processor has no instructions for bfloat16: expect it to be slower.")
    for name in present(arguments.sets):
        for seed in arguments.seeds:
            cases = {p: in_fresh_process(run, name, p, seed, arguments.quick) for p in PRECISIONS}
            results.save(f"{name}/{seed}", set=name, seed=seed, **cases)


def section(records: dict) -> list[str]:
    """The figures as lines of the page."""
    rows = []
    for record in records.values():
        full, low = (record[precision] for precision in PRECISIONS)
        shape = "-".join(map(str, full["hidden"]))
        ratios = [low[key] / full[key] for key in ("seconds", "error")]
        rows.append((record["set"], full["rows"], shape, full["seconds"], *ratios))
    header = (
        "set", "rows", "hidden layers", "float32 seconds",
        "bfloat16 seconds / float32 seconds", "bfloat16 error / float32 error",
    )  # fmt: skip
    times, errors = ([row[column] for row in rows] for column in (4, 5))
    return [
        f"The seconds with bfloat16 are {min(times):.2f} to {max(times):.2f} times those with",
        f"float32, and the errors {min(errors):.3f} to {max(errors):.3f} times.",
        "",
        *markdown_table(header, rows),
    ]


if __name__ == "__main__":
    main()
