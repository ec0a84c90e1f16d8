"""Layer-wise pretraining and fine-tuning, against training end to end for as many seconds.

    python benchmarks/stacked.py [--quick] [--rows 10000]

Three hidden layers (500, 250, 120) and 30 components, on images of MNIST and Fashion-MNIST with
pixels in [0, 1]; twice with default settings, which start at PCA, and as the method was invented
for: sigmoids and random weights. Each of the layers, and then the whole, gets up to `epochs`
epochs; the network that is trained end to end gets as many as take the same processor time.
Patience is switched off. The error is the squared error of a test image, over that of PCA with as
many components. Prints a line a case, and writes `benchmarks/results/stacked.json` and
`docs/stacked.md`.
"""

import argparse
import json
import time

import numpy as np
from data_sets import ROOT, images
from sklearn.decomposition import PCA

from skae import AutoencoderTransformer

RESULTS = ROOT / "benchmarks" / "results" / "stacked.json"
PAGE = ROOT / "docs" / "stacked.md"

HIDDEN = (500, 250, 120)
EPOCHS = (3, 6, 12)
KINDS = {
    "default": {},
    "sigmoids, random start": {"activation": "logistic", "init": "random"},
}


def fitted(X: np.ndarray, epochs: int, pretraining: str | None, kind: str):
    """An autoencoder after so many epochs, and the processor seconds that they took."""
    autoencoder = AutoencoderTransformer(
        30,
        hidden_layer_sizes=HIDDEN,
        max_iter=epochs,
        n_iter_no_change=epochs,
        pretraining=pretraining,
        random_state=0,
        **KINDS[kind],
    )
    start = time.process_time()
    autoencoder.fit(X)
    return autoencoder, time.process_time() - start


def error(reducer, X: np.ndarray) -> float:
    restored = reducer.inverse_transform(reducer.transform(X))
    return float(np.square(restored - X).sum(axis=1).mean())


def cases(name: str, kind: str, n_rows: int, budgets: tuple[int, ...]):
    """Both ways to train, for each budget."""
    X, X_test = images(name)
    X = X[:n_rows]
    pca = error(PCA(30, svd_solver="full").fit(X), X_test)
    for epochs in budgets:
        stacked, seconds = fitted(X, epochs, "layerwise", kind)
        begin, at_once = (fitted(X, n, None, kind)[1] for n in (1, 3))
        n = max(round(1 + (seconds - begin) / max((at_once - begin) / 2, 1e-3)), 1)
        end_to_end, as_long = fitted(X, n, None, kind)
        yield {
            "set": name,
            "kind": kind,
            "rows": n_rows,
            "epochs": epochs,
            "epochs_end_to_end": n,
            "seconds": seconds,
            "seconds_end_to_end": as_long,
            "stacked": error(stacked, X_test) / pca,
            "end_to_end": error(end_to_end, X_test) / pca,
        }


def page(results: list[dict]) -> str:
    """The results as a page of documentation."""
    lines = [
        "# Layer by layer, or all at once",
        "",
        "Made by `python benchmarks/stacked.py` (2 CPU cores, no GPU, one seed).",
        "",
        "Squared error of unseen images over that of PCA with as many components (30), for a",
        "network with hidden layers of 500, 250 and 120 units, after",
        f'training on {results[0]["rows"]:,} images. `pretraining="layerwise"` trains each layer',
        "and then the whole for so many epochs; end to end, the network is trained for as many as",
        "take the same processor time, whose ratio is the last column. An error that stays the",
        "same for more epochs is that of the mean image: nothing was learned, and `fit` warned.",
        "",
        "| images | network | epochs a stage | layer-wise | epochs end to end | end to end "
        "| seconds, layer-wise over end to end |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {r['set']} | {r['kind']} | {r['epochs']} | {r['stacked']:.3f} "
        f"| {r['epochs_end_to_end']} | {r['end_to_end']:.3f} "
        f"| {r['seconds'] / r['seconds_end_to_end']:.2f} |"
        for r in results
    ]
    return "\n".join([*lines, "", *verdict(results)]) + "\n"


def verdict(results: list[dict]) -> list[str]:
    """What the figures say."""
    lines = []
    for kind in KINDS:
        ratios = [r["stacked"] / r["end_to_end"] for r in results if r["kind"] == kind]
        if ratios:
            lines.append(
                f"- {kind}: the error layer by layer is {min(ratios):.2f} to {max(ratios):.2f} "
                "times that of training end to end."
            )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a smoke test: writes nothing")
    parser.add_argument("--rows", type=int, default=10_000)
    arguments = parser.parse_args()
    rows, budgets = (1000, (1,)) if arguments.quick else (arguments.rows, EPOCHS)
    results = []
    for name in ("mnist", "fashion_mnist"):
        for kind in KINDS:
            for result in cases(name, kind, rows, budgets):
                print(json.dumps(result), flush=True)
                results.append(result)
                if not arguments.quick:
                    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
                    PAGE.write_text(page(results))


if __name__ == "__main__":
    main()
