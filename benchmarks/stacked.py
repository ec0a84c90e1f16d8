"""Layer-wise pretraining and fine-tuning beside end-to-end training for the same time.

    python benchmarks/stacked.py [--quick] [--rows 10000] [--sets NAME ...] [--epochs 3 6 12]

Three hidden layers (500, 250, 120) and 30 components, on images of MNIST and Fashion-MNIST with
pixels in [0, 1]; with default parameters, whose training starts at PCA, and with the network for
which the method was proposed: sigmoids and random weights. Each of the layers, and then the whole
network, is trained for up to `epochs` epochs; end-to-end training has the number of epochs that
takes the same processor time. Early stopping is off. The error is the squared error of a test
image, relative to that of PCA with as many components. Prints a line for each case, and writes
`benchmarks/results/stacked.json` and `docs/stacked.md`; `--page` only writes the page.
"""

import json

import numpy as np
from _timing import Timer, markdown_table, page_parser, versions_sentence
from data_sets import ROOT, images
from sklearn.decomposition import PCA

import skae
from skae import AutoencoderTransformer

RESULTS = ROOT / "benchmarks" / "results" / "stacked.json"
PAGE = ROOT / "docs" / "stacked.md"

HIDDEN = (500, 250, 120)
SETS = ("mnist", "fashion_mnist")
EPOCHS = (3, 6, 12)
KINDS = {
    "default": {},
    "sigmoids, random start": {"activation": "logistic", "init": "random"},
}


def fitted(X: np.ndarray, epochs: int, pretraining: str | None, kind: str):
    """Train an autoencoder for this number of epochs; returns it and the processor seconds."""
    autoencoder = AutoencoderTransformer(
        30,
        hidden_layer_sizes=HIDDEN,
        max_iter=epochs,
        n_iter_no_change=epochs,
        pretraining=pretraining,
        random_state=0,
        **KINDS[kind],
    )
    with Timer() as timer:
        autoencoder.fit(X)
    return autoencoder, timer.processor


def error(reducer, X: np.ndarray) -> float:
    restored = reducer.inverse_transform(reducer.transform(X))
    return float(np.square(restored - X).sum(axis=1).mean())


def cases(name: str, kind: str, n_rows: int, budgets: tuple[int, ...]):
    """Train in both ways, for each budget."""
    X, X_test = images(name)
    X = X[:n_rows]
    pca = error(PCA(30, svd_solver="full").fit(X), X_test)
    for epochs in budgets:
        stacked, seconds = fitted(X, epochs, "layerwise", kind)
        one, three = (fitted(X, n, None, kind)[1] for n in (1, 3))
        n = max(round(1 + (seconds - one) / max((three - one) / 2, 1e-3)), 1)
        end_to_end, seconds_end_to_end = fitted(X, n, None, kind)
        yield {
            "set": name,
            "kind": kind,
            "version": skae.__version__,
            "rows": n_rows,
            "epochs": epochs,
            "epochs_end_to_end": n,
            "seconds": seconds,
            "seconds_end_to_end": seconds_end_to_end,
            "stacked": error(stacked, X_test) / pca,
            "end_to_end": error(end_to_end, X_test) / pca,
        }


COLUMNS = (
    "images",
    "network",
    "epochs of a layer",
    "error, layer-wise",
    "epochs, end to end",
    "error, end to end",
    "time, layer-wise / end to end",
)
HEAD = """# Layer-wise pretraining

This page compares `pretraining="layerwise"` with training of the whole network from the start ("end
to end"). Layer-wise pretraining trains each hidden layer for the number of epochs in the table, and
then the whole network for the same number of epochs. End-to-end training has so many epochs that it
takes about the same processor time.

The data are {rows:,} images of MNIST or of Fashion-MNIST. The network has hidden layers of 500, 250
and 120 units and 30 components. The error is the squared error of test images divided by that of
PCA with 30 components, so PCA has the error 1.

    python benchmarks/stacked.py

Layer-wise pretraining was proposed for networks with sigmoid functions and random weights at the
start ("sigmoids, random start"). The networks named "default" have the default parameters.

Times are processor times. There is one seed.
"""


def page(results: list[dict]) -> str:
    """The results as a page of documentation."""
    lines = [
        *HEAD.format(rows=results[0]["rows"]).splitlines(),
        versions_sentence(results),
        "",
        *conclusion(results),
        "",
        *markdown_table(COLUMNS, [row(r) for r in results]),
    ]
    return "\n".join(lines) + "\n"


def row(result: dict) -> tuple:
    """A row of the table."""
    return (
        result["set"],
        result["kind"],
        result["epochs"],
        f"{result['stacked']:.3f}",
        result["epochs_end_to_end"],
        f"{result['end_to_end']:.3f}",
        f"{result['seconds'] / result['seconds_end_to_end']:.2f}",
    )


def conclusion(results: list[dict]) -> list[str]:
    """The range of the ratios and the failures of end-to-end training, as a list."""
    lines = []
    for kind in KINDS:
        ratios = [r["stacked"] / r["end_to_end"] for r in results if r["kind"] == kind]
        if ratios:
            lines.append(
                f"- {kind}: the error of layer-wise training is {min(ratios):.2f} to "
                f"{max(ratios):.2f} times that of end-to-end training."
            )
    n_lower = {kind: sum(r[kind] < 1 for r in results) for kind in ("stacked", "end_to_end")}
    return [
        *lines,
        f"- The error is lower than that of PCA in {n_lower['stacked']} of {len(results)} cases "
        f"with layer-wise training, and in {n_lower['end_to_end']} with end-to-end training.",
        "",
        "If an error is far above 1 and hardly changes with the number of epochs, it is the error",
        "of the mean image: this training had no effect, and `fit` gave a warning.",
    ]


def main() -> None:
    options = page_parser(__doc__)
    options.add_argument("--rows", type=int, default=10_000)
    options.add_argument("--sets", nargs="+", choices=SETS, default=SETS)
    options.add_argument("--epochs", nargs="+", type=int, default=EPOCHS)
    arguments = options.parse_args()
    if arguments.page:
        PAGE.write_text(page(json.loads(RESULTS.read_text())))
        return
    rows, budgets = (1000, (1,)) if arguments.quick else (arguments.rows, arguments.epochs)
    results = []
    for name in arguments.sets:
        for kind in KINDS:
            for result in cases(name, kind, rows, budgets):
                print(json.dumps(result), flush=True)
                results.append(result)
                if not arguments.quick:
                    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
                    PAGE.write_text(page(results))


if __name__ == "__main__":
    main()
