"""Convolutions, dense layers and PCA: error of unseen Fashion-MNIST images with 64 components.

    python benchmarks/convolutional.py [--networks NAME ...] [--epochs 50] [--rows 60000] [--quick]

The mean squared error of a pixel, with pixels in [0, 1], over the 10,000 test images. The target is
the published error of a convolutional autoencoder with 64 components after 50 epochs. Only the
layers and `max_iter` are set; other parameters have their defaults. Each network is trained in a
process of its own and recorded with its epochs and rows in `benchmarks/results/convolutional.json`;
the page `docs/convolutional.md` lists all records.
"""

from _timing import (
    RESULTS,
    Results,
    Timer,
    in_fresh_process,
    markdown_table,
    mean_squared_error,
    parser,
    read,
    target_line,
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


def page(records: dict) -> str:
    """The results as a page of documentation."""
    best = {
        kind: min(
            (r["error"] for r in records.values() if r["network"].startswith(kind)), default=None
        )
        for kind in ("convolutions", "dense", "PCA")
    }
    rows = sorted(records.values(), key=lambda r: (r["rows"], r["network"], r["epochs"]))
    header = (
        "network",
        "training images",
        "epochs",
        "error of a pixel",
        "seconds",
        "of the processor",
    )
    return "\n".join(
        [
            "# Convolutions",
            "",
            "Fashion-MNIST, 64 components: mean squared error of a pixel in [0, 1] over the 10,000",
            "test images. Made by `python benchmarks/convolutional.py`. Seconds are those of",
            "`fit`, elapsed and of the processor (one core, on a machine with other load). Early",
            "stopping may end a run before its last epoch.",
            "",
            target_line("convolutions", best["convolutions"], at_most=PUBLISHED),
            target_line("dense layers", best["dense"], at_most=PUBLISHED),
            target_line("PCA", best["PCA"]),
            "",
            *markdown_table(
                header,
                [
                    (
                        r["network"],
                        r["rows"],
                        r["epochs"] or "",
                        f"{r['error']:.5f}",
                        r["seconds"],
                        r["processor_seconds"],
                    )
                    for r in rows
                ],
            ),
            "",
        ]
    )


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--networks", nargs="+", choices=NETWORKS, default=tuple(NETWORKS))
    options.add_argument("--epochs", type=int, default=50)
    options.add_argument("--rows", type=int, default=60_000)
    arguments = options.parse_args()
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
