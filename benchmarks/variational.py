"""Test log-likelihood of `VAE` on binary images and on tables.

    python benchmarks/variational.py [--quick] [--only images tables] [--trained-with 1 5]
        [--epochs 400] [--test-rows 10000] [--samples 5000] [--device auto] [--jobs 2]

The images are MNIST. Each step draws zeros and ones, with the intensities of the pixels as
probabilities (dynamic binarisation). The network has the published size: 50 components, two hidden
layers of 200 tanh units. The test images are drawn once, and their negative log-likelihood is
estimated by importance sampling. This takes a quarter of an hour on two cores:

    python benchmarks/variational.py --only images --trained-with 1 --epochs 150 --test-rows 1000

The tables are standardised, a quarter of their rows is the test set, and densities of scikit-learn
are fitted to the same rows. Prints a line for each case, stores it in
`benchmarks/results/variational.json` in place of an older one with the same number of epochs, and
writes `docs/variational.md`. A full run takes about an hour on two cores; `--quick` is a smoke test
of two minutes, and writes no files; `--page` only writes the page.
"""

import json
import math
import warnings
from collections.abc import Callable

import numpy as np
from _timing import Timer, markdown_table, page_parser, versions_sentence
from data_sets import ROOT, dense_sets, folder
from joblib import Parallel, delayed
from sklearn.datasets import fetch_openml
from sklearn.decomposition import PCA, FactorAnalysis
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

import skae
from skae import VAE

RESULTS = ROOT / "benchmarks" / "results" / "variational.json"
PAGE = ROOT / "docs" / "variational.md"

# Nats on the MNIST test images, from 5000 importance samples; trained for 3280 epochs (Burda et
# al., 2016).
PUBLISHED = {1: 86.76, 5: 85.54}
PUBLISHED_EPOCHS = 3280
BATCH_SIZE = 128  # of "auto", for this number of rows
IMAGE_EPOCHS = {1: 400, 5: 160}

TABLES = ("letter", "wine_quality")
TABLE_SIZES = (2, 4, 8)
SEEDS = (0, 1, 2)


def images() -> tuple[np.ndarray, np.ndarray]:
    """Intensities of the training and the test images of MNIST, (60000, 784) and (10000, 784)."""
    where = folder()
    if where is None:
        X = fetch_openml("mnist_784", version=1, as_frame=False, parser="liac-arff").data
        X_train, X_test = X[:60_000], X[60_000:]
    else:
        with np.load(where / "mnist.npz", allow_pickle=False) as arrays:
            X_train, X_test = arrays["X_train"], arrays["X_test"]
    return tuple(X.reshape(len(X), -1).astype(np.float32) / 255 for X in (X_train, X_test))


def image_case(
    n_importance_samples: int, epochs: int, rows: int, test_rows: int, samples: int, device: str
) -> dict:
    """Train once on the images; the log-likelihood of the test images."""
    X_train, X_test = images()
    X_train, X_test = X_train[:rows], X_test[:: len(X_test) // test_rows]
    X_test = (np.random.RandomState(0).uniform(size=X_test.shape) < X_test).astype(np.float32)
    vae = VAE(
        50,
        hidden_layer_sizes=(200, 200),
        activation="tanh",
        loss="log_loss",
        binarize=True,
        n_importance_samples=n_importance_samples,
        max_iter=epochs,
        n_iter_no_change=epochs,
        validation_fraction=1 / 60,
        random_state=0,
        device=device,
    )
    seconds = fit(vae, X_train)
    nats = -vae.log_likelihood(X_test, n_samples=samples).astype(np.float64)
    return {
        "part": "images",
        "device": str(vae.network_.shift.device.type),
        "n_importance_samples": n_importance_samples,
        "epochs": epochs,
        "best_epoch": vae.best_iter_,
        "rows": len(X_train),
        "test_rows": len(X_test),
        "samples": samples,
        "nll": float(nats.mean()),
        "nll_standard_error": float(nats.std() / np.sqrt(len(nats))),
        "negative_elbo": -float(vae.score_samples(X_test).mean(dtype=np.float64)),
        "active": int(vae.active_components_.sum()),
        "seconds": seconds,
    }


def densities(max_iter: int | None, samples: int) -> dict[str, Callable]:
    """Functions of training rows, test rows and seed, by name: mean log-likelihood of the latter.

    For a VAE the lower bound too.
    """

    def mixture(X, X_test, seed):
        fitted = [GaussianMixture(k, random_state=seed).fit(X) for k in (1, 2, 5, 10, 20)]
        return {"log_likelihood": min(fitted, key=lambda gm: gm.bic(X)).score(X_test)}

    def vae(size):
        def run(X, X_test, seed):
            estimator = VAE(size, max_iter=max_iter, random_state=seed)
            seconds = fit(estimator, X)
            return {
                "log_likelihood": float(estimator.log_likelihood(X_test, samples).mean()),
                "elbo": float(estimator.score_samples(X_test).mean()),
                "active": int(estimator.active_components_.sum()),
                "seconds": seconds,
            }

        return run

    def linear(make):
        return lambda X, X_test, seed: {"log_likelihood": float(make().fit(X).score(X_test))}

    cases = {"Gaussian mixture, by BIC": mixture}
    for size in TABLE_SIZES:
        cases[f"probabilistic PCA, {size}"] = linear(lambda size=size: PCA(size, svd_solver="full"))
        cases[f"factor analysis, {size}"] = linear(lambda size=size: FactorAnalysis(size))
        cases[f"VAE, {size}"] = vae(size)
    return cases


def table_case(name: str, density: str, seed: int, max_iter: int | None, samples: int) -> dict:
    """Fit one density to one table."""
    X = dense_sets()[name]().astype(np.float64)
    X_train, X_test = train_test_split(X, test_size=0.25, random_state=seed)
    scaler = StandardScaler().fit(X_train)
    found = densities(max_iter, samples)[density](
        scaler.transform(X_train), scaler.transform(X_test), seed
    )
    return {"part": "tables", "set": name, "density": density, "seed": seed, **found}


def fit(vae: VAE, X: np.ndarray) -> float:
    """Fit, without warnings about inactive components; returns the seconds."""
    with warnings.catch_warnings(), Timer() as timer:
        warnings.simplefilter("ignore", ConvergenceWarning)
        vae.fit(X)
    return timer.elapsed


def page(results: list[dict]) -> str:
    """The results as a page of documentation."""
    lines = [
        "# Variational autoencoder",
        "",
        "This page compares the density that `VAE` assigns to test rows with published figures.",
        versions_sentence(results),
    ]
    if pictures := [r for r in results if r["part"] == "images"]:
        lines += [
            "",
            "## Binary images",
            "",
            "The data are the images of MNIST. In each training step, the pixels are drawn as 0 or",
            "1, with the grey value as the probability of 1. The network has 50 components and two",
            "hidden layers of 200 units with tanh. The table has the negative log-likelihood of a",
            "test image in nats, estimated by importance sampling, with its standard error over",
            "the test images. Lower is better. The published figure is that of Burda, Grosse and",
            f"Salakhutdinov (2016) after {PUBLISHED_EPOCHS} epochs.",
            "",
        ]
        pictures.sort(key=lambda r: (r["n_importance_samples"], r["epochs"]))
        lines += [*map(command, pictures), ""]
        lines += markdown_table(
            ("", *(f"fit {i + 1}" if len(pictures) > 1 else "value" for i in range(len(pictures)))),
            [
                ("importance samples in training", *(r["n_importance_samples"] for r in pictures)),
                ("epochs", *(r["epochs"] for r in pictures)),
                ("active components", *(r["active"] for r in pictures)),
                ("test images", *(r["test_rows"] for r in pictures)),
                ("importance samples for each test image", *(r["samples"] for r in pictures)),
                ("negative ELBO", *(f"{r['negative_elbo']:.2f}" for r in pictures)),
                ("negative log-likelihood", *(f"{r['nll']:.2f}{plus_minus(r)}" for r in pictures)),
                (
                    "published negative log-likelihood",
                    *(str(PUBLISHED[r["n_importance_samples"]]) for r in pictures),
                ),
            ],
        )
        lines += [
            "",
            *comparison_with_published(min(pictures, key=lambda r: r["n_importance_samples"])),
        ]
    if tables := [r for r in results if r["part"] == "tables"]:
        names = list(dict.fromkeys(r["set"] for r in tables))
        lines += [
            "",
            "## Tables",
            "",
            "    python benchmarks/variational.py --only tables",
            "",
            "The table has the mean log-likelihood of a test row in nats over three splits. Higher",
            "is better. The figure in brackets is the lower bound of `score_samples`. Columns are",
            "standardised. The training of a VAE starts with probabilistic PCA.",
            "",
            "| density, size | " + " | ".join(names) + " |",
            "| --- |" + " ---: |" * len(names),
        ]
        for density in dict.fromkeys(r["density"] for r in tables):
            cells = [
                cell([r for r in tables if (r["set"], r["density"]) == (name, density)])
                for name in names
            ]
            lines.append(f"| {density} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def command(case: dict) -> str:
    """The command that repeats a case of the images, as a line of code."""
    return (
        "    python benchmarks/variational.py --only images --trained-with "
        f"{case['n_importance_samples']} --epochs {case['epochs']} --test-rows {case['test_rows']}"
    )


def comparison_with_published(case: dict) -> list[str]:
    """The differences between a case and the published experiment."""
    steps = math.ceil(case["rows"] * 59 / 60 / BATCH_SIZE)
    items = [
        ("steps of the optimiser", f"{case['epochs'] * steps:,}", "9.8 million"),
        ("batch size", BATCH_SIZE, 20),
        ("learning rate", "rises to 0.005, then falls to 0", "falls from 0.001 to 0.0001"),
        ("test images", f"{case['test_rows']:,}", "10,000"),
    ]
    difference = case["nll"] - PUBLISHED[case["n_importance_samples"]]
    return [
        f"With {case['epochs']} epochs, the negative log-likelihood is {abs(difference):.2f} nats "
        f"{'higher' if difference > 0 else 'lower'} than the published figure.",
        "",
        "The published experiment has the same network, the same density and the same optimiser",
        "(Adam), and its pixels are drawn in each step, too. These settings are different:",
        "",
        *markdown_table(("setting", "this benchmark", "published"), items),
        "",
        "In addition, this benchmark averages the weights over about 100 steps, and holds out a",
        "sixtieth of the images to choose the epoch.",
    ]


def plus_minus(case: dict) -> str:
    """The standard error over the test images, if the record has it."""
    return f" ± {error:.2f}" if (error := case.get("nll_standard_error")) else ""


def cell(results: list[dict]) -> str:
    if not results:
        return ""
    mean = f"{np.mean([r['log_likelihood'] for r in results]):.2f}"
    bounds = [r["elbo"] for r in results if "elbo" in r]
    return f"{mean} ({np.mean(bounds):.2f})" if bounds else mean


def merged(old: list[dict], new: list[dict]) -> list[dict]:
    """All cases; new ones replace old ones of the same kind."""

    def key(result: dict) -> tuple:
        names = ("part", "n_importance_samples", "epochs", "set", "density", "seed")
        return tuple(result.get(name, 0) for name in names)

    by_case = {key(r): r for r in old} | {key(r): r for r in new}
    return list(by_case.values())


def main() -> None:
    options = page_parser(__doc__)
    options.add_argument("--only", nargs="+", choices=("images", "tables"), default=())
    options.add_argument(
        "--trained-with", nargs="+", type=int, choices=PUBLISHED, default=PUBLISHED
    )
    options.add_argument("--epochs", type=int, help="of the images; default: 400, and 160 for IWAE")
    options.add_argument("--test-rows", type=int, default=10_000, help="of the images")
    options.add_argument("--samples", type=int, default=5000, help="for the test images")
    options.add_argument("--device", default="auto")
    options.add_argument("--jobs", type=int, default=2)
    arguments = options.parse_args()
    if arguments.page:
        PAGE.write_text(page(json.loads(RESULTS.read_text())))
        return
    quick, samples = arguments.quick, 50 if arguments.quick else arguments.samples
    cases: list = []
    if "images" in arguments.only or not arguments.only:
        for k in arguments.trained_with:
            epochs = 2 if quick else arguments.epochs or IMAGE_EPOCHS[k]
            rows, test_rows = (5000, 500) if quick else (60_000, arguments.test_rows)
            cases.append(delayed(image_case)(k, epochs, rows, test_rows, samples, arguments.device))
    if "tables" in arguments.only or not arguments.only:
        cases += [
            delayed(table_case)(name, density, seed, 2 if quick else None, min(samples, 500))
            for name in TABLES
            for density in densities(None, 1)
            for seed in (SEEDS[:1] if quick else SEEDS)
        ]
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    for result in Parallel(n_jobs=arguments.jobs, return_as="generator")(cases):
        result = {"version": skae.__version__, **result}
        print(json.dumps(result), flush=True)
        results = merged(results, [result])
        if not quick:
            RESULTS.parent.mkdir(parents=True, exist_ok=True)
            RESULTS.write_text(json.dumps(results, indent=1) + "\n")
            PAGE.write_text(page(results))


if __name__ == "__main__":
    main()
