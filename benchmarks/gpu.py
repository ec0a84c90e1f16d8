"""Quality, time and memory of fits on a GPU, beside the CPU and a plain torch loop on the same GPU.

    python benchmarks/gpu.py [--parts NAME ...] [--device cuda] [--quick]

Rows are the images of MNIST if the folder of data sets has them, and scikit-learn's digits
in any case. A full run takes about seven minutes on one GPU; it stores its results in
`benchmarks/results/gpu.json` and writes `docs/gpu_results.md`. `--quick` is a smoke run of seconds,
also on a CPU, and writes no page. `--page` only writes the page.
"""

import os
from collections.abc import Callable
from typing import Any, NamedTuple

os.environ.setdefault("SCIPY_ARRAY_API", "1")  # read on import of SciPy

import numpy as np
import torch
from _timing import (
    Curve,
    Results,
    Timer,
    markdown_table,
    mean_squared_error,
    page_parser,
    versions_sentence,
)
from data_sets import ROOT, folder
from peers import Network
from sklearn import config_context
from sklearn.datasets import load_digits
from sklearn.manifold import trustworthiness
from torch import nn

from skae import VAE, AutoencoderTransformer, NeighborAutoencoder

PAGE = ROOT / "docs" / "gpu_results.md"
SEED = 0
MAX_EVALUATED = 2000  # rows of which the trustworthiness is computed


class Images(NamedTuple):
    """Intensities between 0 and 1, (n_samples, n_features)."""

    name: str
    train: np.ndarray
    test: np.ndarray

    def first(self, n_train: int, n_test: int) -> "Images":
        """Fewer rows."""
        return Images(self.name, self.train[:n_train], self.test[:n_test])


class Sizes(NamedTuple):
    """Networks and numbers of epochs, for all parts of a run."""

    hidden: tuple[int, ...]
    n_components: int
    epochs: int
    our_epochs: tuple[int, ...]
    vae_hidden: int
    vae_epochs: int
    importance_samples: int
    map_epochs: int | None


FULL = Sizes((512, 128), 32, 10, (1, 2, 5, 10, 30), 200, 100, 1000, None)
QUICK = Sizes((32,), 8, 20, (1, 20), 16, 3, 10, 1)


def digits() -> Images:
    """The digits of scikit-learn, 64 pixels; a quarter is the test set."""
    X = (load_digits().data / 16).astype(np.float32)
    X = X[np.random.RandomState(SEED).permutation(len(X))]
    return Images("digits", X[450:], X[:450])


def mnist() -> Images | None:
    """MNIST, 784 pixels, if the folder of data sets has it."""
    where = folder()
    if where is None or not (where / "mnist.npz").exists():
        return None
    with np.load(where / "mnist.npz", allow_pickle=False) as arrays:
        train, test = (arrays[name].reshape(-1, 784) for name in ("X_train", "X_test"))
    return Images("mnist", *(X.astype(np.float32) / 255 for X in (train, test)))


def transformer(sizes: Sizes, epochs: int, device: str) -> AutoencoderTransformer:
    """The estimator of all parts but the density."""
    return AutoencoderTransformer(
        sizes.n_components,
        hidden_layer_sizes=sizes.hidden,
        max_iter=epochs,
        random_state=SEED,
        device=device,
    )


def synchronised(device: str) -> None:
    """Wait for the GPU, so that a clock shows its time."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()


def peak_memory(device: str, function: Callable[[], Any]) -> float | None:
    """Megabytes of the GPU that tensors occupy at most during a call; None on a CPU."""
    if torch.device(device).type != "cuda":
        function()
        return None
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    function()
    synchronised(device)
    return torch.cuda.max_memory_allocated() / 1e6


def agreement(images: Images, device: str, sizes: Sizes) -> dict[str, Any]:
    """Test errors and seconds of the same fit on the CPU and on the device."""
    record: dict[str, Any] = {"set": images.name, "rows": len(images.train)}
    for label, name in (("CPU", "cpu"), ("GPU", device)):
        model = transformer(sizes, sizes.epochs, name)
        with Timer() as timer:
            model.fit(images.train)
            synchronised(name)
        record[label] = {
            "error": mean_squared_error(model.reconstruct(images.test), images.test),
            "seconds": timer.elapsed,
            "best_epoch": model.best_iter_,
        }
    return record


def torch_loop(
    images: Images, device: str, sizes: Sizes, batch_size: int, curve: Curve
) -> list[dict]:
    """A minimal loop with Adam, whose rows and network are on the device."""
    torch.manual_seed(SEED)
    network = Network(images.train.shape[1], sizes.hidden, sizes.n_components).to(device)
    x = torch.from_numpy(images.train).to(device)
    optimizer = torch.optim.Adam(network.parameters())

    def reconstruct(X: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return network(torch.from_numpy(X).to(device)).cpu().numpy()

    for epoch in range(1, sizes.epochs + 1):
        for rows in torch.randperm(len(x), device=device).split(batch_size):
            batch = x[rows]
            optimizer.zero_grad()
            nn.functional.mse_loss(network(batch), batch).backward()
            optimizer.step()
        synchronised(device)
        curve(epoch, reconstruct)
    return curve.points


def our_points(images: Images, device: str, sizes: Sizes) -> list[dict]:
    """One fit for each number of epochs: the learning rate schedule depends on it."""
    points = []
    for epochs in sizes.our_epochs:
        model = transformer(sizes, epochs, device)
        curve = Curve(images.test)
        model.fit(images.train)
        synchronised(device)
        curve(epochs, model.reconstruct)
        points += curve.points
    return points


def time_to_quality(images: Images, device: str, sizes: Sizes) -> dict[str, Any]:
    """Test errors and seconds of training, beside a torch loop with small and large batches."""
    warm_up = images.first(500, 100)
    torch_loop(warm_up, device, sizes, 128, Curve(warm_up.test))
    our_points(warm_up, device, sizes._replace(our_epochs=(1,)))
    curves = {"skae": our_points(images, device, sizes)}
    for batch_size in (128, 1024):
        curve = Curve(images.test)
        curves[f"torch loop, batches of {batch_size}"] = torch_loop(
            images, device, sizes, batch_size, curve
        )
    return {"set": images.name, "rows": len(images.train), "curves": curves}


def density(images: Images, device: str, sizes: Sizes) -> dict[str, Any]:
    """Log-likelihood of binary images under a `VAE`, and the time of its fit."""
    test = (np.random.RandomState(SEED).uniform(size=images.test.shape) < images.test)[:1000]
    vae = VAE(
        min(50, images.train.shape[1] // 2),
        hidden_layer_sizes=(sizes.vae_hidden, sizes.vae_hidden),
        activation="tanh",
        loss="log_loss",
        binarize=True,
        max_iter=sizes.vae_epochs,
        n_iter_no_change=sizes.vae_epochs,
        random_state=SEED,
        device=device,
    )
    with Timer() as fit:
        vae.fit(images.train)
        synchronised(device)
    with Timer() as evaluation:
        nats = vae.log_likelihood(test.astype(np.float32), n_samples=sizes.importance_samples)
    return {
        "set": images.name,
        "rows": len(images.train),
        "epochs": vae.n_iter_,
        "fit_seconds": fit.elapsed,
        "negative_log_likelihood": -float(np.mean(nats, dtype=np.float64)),
        "test_rows": len(test),
        "importance_samples": sizes.importance_samples,
        "evaluation_seconds": evaluation.elapsed,
    }


def arrays(images: Images, device: str, sizes: Sizes) -> dict[str, Any]:
    """Tensors on the device as input and output, beside NumPy arrays."""
    tensor = torch.from_numpy(images.train).to(device)
    record: dict[str, Any] = {"set": images.name, "rows": len(tensor)}
    for name, rows in (("arrays", images.train), ("tensors", tensor)):
        with config_context(array_api_dispatch=True):
            model = transformer(sizes, sizes.our_epochs[0], device).fit(rows)
            codes = model.transform(rows)
            synchronised(device)
            with Timer() as timer:
                model.transform(rows)
                synchronised(device)
            restored = torch.as_tensor(model.inverse_transform(codes)).cpu().numpy()
        record[name] = {
            "device_of_codes": str(getattr(codes, "device", "cpu")),
            "error": mean_squared_error(restored, images.train),
            "transform_seconds": timer.elapsed,
        }
    return record


def memory(images: Images, device: str, sizes: Sizes) -> dict[str, Any]:
    """Megabytes that tensors occupy on the device at most, in `fit` and in `transform`."""
    model = transformer(sizes, sizes.our_epochs[0], device)
    fit = peak_memory(device, lambda: model.fit(images.train))
    transform = peak_memory(device, lambda: model.transform(images.train))
    return {
        "set": images.name,
        "rows": len(images.train),
        "data_megabytes": images.train.nbytes / 1e6,
        "fit_megabytes": fit,
        "transform_megabytes": transform,
    }


def maps(images: Images, device: str, sizes: Sizes) -> dict[str, Any]:
    """Two components: the default autoencoder and that for maps, with and without projection."""
    some = images.test[:MAX_EVALUATED]
    record: dict[str, Any] = {"set": images.name, "rows": len(images.train), "models": []}
    for cls in (AutoencoderTransformer, NeighborAutoencoder):
        for steps in ("auto", 0):
            options = {"max_iter": sizes.map_epochs, "random_state": SEED, "device": device}
            model = cls(2, transform_max_iter=steps, **options)
            with Timer() as fit:
                model.fit(images.train)
                synchronised(device)
            model.transform(images.train)  # allocates the memory that is timed below
            with Timer() as transform:
                model.transform(images.train)
            record["models"].append(
                {
                    "class": cls.__name__,
                    "transform_max_iter": steps,
                    "error": mean_squared_error(model.reconstruct(images.test), images.test),
                    "trustworthiness": trustworthiness(some, model.transform(some), n_neighbors=5),
                    "fit_seconds": fit.elapsed,
                    "rows_per_second": len(images.train) / transform.elapsed,
                }
            )
    return record


PARTS = {
    "agreement": agreement,
    "time_to_quality": time_to_quality,
    "density": density,
    "arrays": arrays,
    "memory": memory,
    "maps": maps,
}


def run(parts: list[str], sets: list[Images], device: str, sizes: Sizes, results: Results) -> None:
    """Run the parts on each data set, and store their records."""
    for images in sets:
        for part in parts:
            record = PARTS[part](images, device, sizes)
            results.save(f"{part}/{images.name}", part=part, device=device_name(device), **record)


def device_name(device: str) -> str:
    """The name of a GPU, or the type of another device."""
    resolved = torch.device(device)
    return torch.cuda.get_device_name(resolved) if resolved.type == "cuda" else resolved.type


def page(records: dict[str, dict]) -> list[str]:
    """The lines of the page."""
    by_part = {part: [r for r in records.values() if r["part"] == part] for part in PARTS}
    names = sorted({record["device"] for record in records.values()})
    return [
        "# Time and memory on a GPU",
        "",
        f"This page has errors, times and memory of fits on a GPU ({', '.join(names)}).",
        "The command `make gpu` measures them.",
        "",
        "The data are the images of MNIST, with 784 pixels, and the digits, with 64 pixels. Pixels",
        "are between 0 and 1. Errors are mean squared errors of test images. Each figure is from",
        "one run with one seed. " + versions_sentence(records.values()),
        *agreement_section(by_part["agreement"]),
        *time_section(by_part["time_to_quality"]),
        *density_section(by_part["density"]),
        *arrays_section(by_part["arrays"]),
        *memory_section(by_part["memory"]),
        *maps_section(by_part["maps"]),
        "",
    ]


def agreement_section(records: list[dict]) -> list[str]:
    """Errors and seconds on the CPU and the GPU."""
    rows = [
        (r["set"], r["rows"], *(r[d][k] for k in ("error", "seconds") for d in ("CPU", "GPU")))
        for r in records
    ]
    header = ("set", "rows", "error, CPU", "error, GPU", "seconds, CPU", "seconds, GPU")
    text = (
        "`AutoencoderTransformer` is fitted with the same parameters on both devices. Sums are\n"
        "rounded differently, and training amplifies the differences."
    )
    return ["", "## CPU and GPU", "", text, "", *markdown_table(header, rows)]


def time_section(records: list[dict]) -> list[str]:
    """Errors and seconds of each number of epochs that was recorded."""
    rows = [
        (r["set"], method, point["epoch"], point["seconds"], point["error"])
        for r in records
        for method, points in r["curves"].items()
        for point in points
        if point["epoch"] in {ours["epoch"] for ours in r["curves"]["skae"]}
    ]
    text = (
        "`AutoencoderTransformer` is fitted again for each number of epochs. The torch loop\n"
        "trains a network with the same layers by Adam, with a learning rate of 0.001. Its rows\n"
        "are on the GPU."
    )
    header = ("set", "method", "epochs", "seconds", "error")
    return ["", "## Error against training time", "", text, "", *markdown_table(header, rows)]


def density_section(records: list[dict]) -> list[str]:
    """Log-likelihood and seconds of the VAE."""
    keys = (
        "set", "rows", "epochs", "fit_seconds", "negative_log_likelihood", "evaluation_seconds"
    )  # fmt: skip
    header = ("set", "rows", "epochs", "seconds of `fit`", "nats", "seconds of `log_likelihood`")
    text = (
        'A `VAE` is fitted to binary images. The column "nats" has the negative log-likelihood\n'
        "of a test image, estimated by importance sampling. At most 1000 test images are used."
    )
    rows = [tuple(r[key] for key in keys) for r in records]
    return ["", "## Density estimation", "", text, "", *markdown_table(header, rows)]


def arrays_section(records: list[dict]) -> list[str]:
    """Errors and seconds with NumPy arrays and with tensors."""
    rows = [
        (r["set"], kind, *(r[kind][k] for k in ("device_of_codes", "error", "transform_seconds")))
        for r in records
        for kind in ("arrays", "tensors")
    ]
    header = ("set", "input", "device of the codes", "training error", "seconds of `transform`")
    text = (
        'The rows are NumPy arrays ("arrays"), or tensors on the GPU with array API dispatch of\n'
        'scikit-learn ("tensors").'
    )
    return ["", "## Arrays and tensors", "", text, "", *markdown_table(header, rows)]


def memory_section(records: list[dict]) -> list[str]:
    """Megabytes of the data, of `fit` and of `transform`."""
    keys = ("set", "rows", "data_megabytes", "fit_megabytes", "transform_megabytes")
    header = ("set", "rows", "MB of the rows", "MB in `fit`", "MB in `transform`")
    text = (
        "The table has the largest memory of tensors on the GPU. The rows are NumPy arrays in the\n"
        "memory of the host."
    )
    rows = [tuple(r[key] for key in keys) for r in records]
    return ["", "## Memory", "", text, "", *markdown_table(header, rows)]


def maps_section(records: list[dict]) -> list[str]:
    """Errors, trustworthiness and seconds of maps."""
    keys = (
        "class", "transform_max_iter", "error", "trustworthiness", "fit_seconds", "rows_per_second"
    )  # fmt: skip
    header = (
        "set", "estimator", "`transform_max_iter`", "error", "trustworthiness", "seconds of `fit`",
        "rows a second of `transform`",
    )  # fmt: skip
    text = (
        "All estimators have two components and default parameters. The trustworthiness is that\n"
        f"of five neighbours among the first {MAX_EVALUATED} test rows."
    )
    rows = [(r["set"], *(m[key] for key in keys)) for r in records for m in r["models"]]
    return ["", "## Maps", "", text, "", *markdown_table(header, rows)]


def main() -> None:
    options = page_parser(__doc__)
    options.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), metavar="NAME")
    options.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = options.parse_args()
    results = Results("gpu", quick=arguments.quick)
    if arguments.page:
        PAGE.write_text("\n".join(page(results.records)), encoding="utf-8")
        return
    if not (torch.cuda.is_available() or arguments.quick):
        raise SystemExit("torch finds no GPU: `--quick` is a smoke run on the CPU")
    sets = [digits(), mnist()]
    if arguments.quick:
        sets = [digits().first(300, 100)]
    sizes = QUICK if arguments.quick else FULL
    run(arguments.parts, [s for s in sets if s], arguments.device, sizes, results)
    if not arguments.quick:
        PAGE.write_text("\n".join(page(results.records)), encoding="utf-8")
        print(PAGE.relative_to(ROOT))


if __name__ == "__main__":
    main()
