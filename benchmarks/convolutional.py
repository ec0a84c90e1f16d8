"""Convolutions, dense layers and PCA: error of Fashion-MNIST test images with 64 components.

    python benchmarks/convolutional.py [--networks NAME ...] [--epochs 50] [--rows 60000] [--quick]

The error is the mean squared error of a pixel in [0, 1] over the 10,000 test images. It is compared
with the published error of a convolutional autoencoder with 64 components after 50 epochs. Only the
layers and `max_iter` are set; other parameters have their defaults. Each network is trained in a
process of its own and stored with its epochs and rows in `benchmarks/results/convolutional.json`;
the page `docs/convolutional.md` lists all stored results. `--page` only writes the page.
"""

from _timing import (
    RESULTS,
    Results,
    Timer,
    in_fresh_process,
    markdown_table,
    mean_squared_error,
    page_parser,
    read,
    versions,
)
from data_sets import ROOT, images, present
from sklearn.decomposition import PCA

from skae import AutoencoderTransformer

PAGE = ROOT / "docs" / "convolutional.md"

N_COMPONENTS = 64
PUBLISHED = 0.005404  # Sainburg, McInnes and Gentner, "Parametric UMAP embeddings", 2021
IMAGES = {"image_shape": (28, 28)}
NETWORKS = {
    "convolutions 64": IMAGES | {"hidden_layer_sizes": (64,)},
    "convolutions 96": IMAGES | {"hidden_layer_sizes": (96,)},
    "convolutions 16-32": IMAGES | {"hidden_layer_sizes": (16, 32)},
    "convolutions 32-64": IMAGES | {"hidden_layer_sizes": (32, 64)},
    "convolutions 16-128": IMAGES | {"hidden_layer_sizes": (16, 128)},
    "dense 1024": {"hidden_layer_sizes": (1024,)},
}


def run(network: str, epochs: int, rows: int) -> dict:
    """Fit one network, and evaluate it on the test images."""
    X_train, X_test = images("fashion_mnist")
    if network == "PCA":
        reducer = PCA(N_COMPONENTS, svd_solver="covariance_eigh")
    else:
        reducer = AutoencoderTransformer(
            N_COMPONENTS, max_iter=epochs, random_state=0, **NETWORKS[network]
        )
    with Timer() as timer:
        reducer.fit(X_train[:rows])
    return {
        "network": network,
        "epochs": getattr(reducer, "n_iter_", 0),
        "rows": rows,
        "seconds": timer.elapsed,
        "processor_seconds": timer.processor,
        "error": mean_squared_error(reducer.inverse_transform(reducer.transform(X_test)), X_test),
    }


HEAD = f"""# Convolutions

This page compares three reductions of Fashion-MNIST images to 64 components:
`AutoencoderTransformer` with convolutions (`image_shape`), `AutoencoderTransformer` with dense
layers, and PCA. The error is the mean squared error of a pixel in [0, 1] over the 10,000 test
images. "Convolutions 16-32" has 16 channels in the first layer and 32 in the second.

    python benchmarks/convolutional.py

A published convolutional autoencoder with 64 components has an error of {PUBLISHED} after 50 epochs
(Sainburg, McInnes and Gentner, 2021).

"time" is the processor time of `fit` with one thread, divided by that of dense layers for the same
number of images. Early stopping may end a fit before its last epoch. The last column is the version
of skae that was measured.
"""


def page(records: dict) -> str:
    """The results as a page of documentation."""
    groups = [
        sorted((r for r in records.values() if r["rows"] == n), key=lambda r: r["error"])
        for n in sorted({r["rows"] for r in records.values() if r["network"].startswith("dense")})
    ]
    rows = [
        (
            r["network"],
            r["rows"],
            r["epochs"] or "",
            f"{r['error']:.5f}",
            "" if r["network"] == "PCA" else time_ratio(r, group),
            "" if r["network"] == "PCA" else versions([r])[0],
        )
        for group in groups
        for r in group
    ]
    header = ("network", "training images", "epochs", "error", "time", "version")
    lines = [*HEAD.splitlines(), "", *map(conclusion, groups), "", *markdown_table(header, rows)]
    return "\n".join([*lines, ""])


def of_dense(group: list[dict]) -> dict:
    """The record of dense layers."""
    return next(r for r in group if r["network"].startswith("dense"))


def time_ratio(record: dict, group: list[dict]) -> float:
    """The time of a fit relative to that of dense layers."""
    return record["processor_seconds"] / of_dense(group)["processor_seconds"]


def conclusion(group: list[dict]) -> str:
    """The convolutions with the lowest error beside dense layers, as an item of a list."""
    best = next(r for r in group if r["network"].startswith("convolutions"))
    return (
        f'- {best["rows"]:,} training images: "{best["network"]}" has the lowest error of the '
        f"networks with convolutions, {best['error'] / of_dense(group)['error']:.2f} times that of "
        f"dense layers. The fit takes {time_ratio(best, group):.1f} times as long."
    )


def main() -> None:
    options = page_parser(__doc__)
    options.add_argument("--networks", nargs="+", choices=NETWORKS, default=tuple(NETWORKS))
    options.add_argument("--epochs", type=int, default=50)
    options.add_argument("--rows", type=int, default=60_000)
    arguments = options.parse_args()
    if arguments.page:
        PAGE.write_text(page(read(RESULTS / "convolutional.json")["records"]))
        return
    if not present(["fashion_mnist"]):
        return
    epochs, rows = (1, 1000) if arguments.quick else (arguments.epochs, arguments.rows)
    results = Results("convolutional", quick=arguments.quick)
    for network in ("PCA", *arguments.networks):
        record = in_fresh_process(run, network, epochs, rows)
        results.save(f"{network}/{record['epochs']}/{rows}", **record)
    if not arguments.quick:
        PAGE.write_text(page(read(RESULTS / "convolutional.json")["records"]))


if __name__ == "__main__":
    main()
