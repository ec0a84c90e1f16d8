"""Denoising of test rows by autoencoders, PCA, kernel PCA and linear filters.

There are two protocols, each with one configuration of the autoencoder for all its cases:

- clean: the training set is 10,000 MNIST images without noise, the test set 2000 others with noise:
  Gaussian with standard deviation 0.25 and 0.5 (pixels in [0, 1]), or 25 and 50 % of the pixels set
  to zero. Peak signal-to-noise ratio, values clipped to [0, 1], mean over images.
- noisy: the training set is 1000 images with Gaussian noise of 0.25, the test set 1000 others
  (digits: 797) with such noise. No method is trained on images without noise. Mean squared error
  relative to the images without noise, as in scikit-learn's example of denoising with kernel PCA.

PCA has the best of several numbers of components, the linear filter (ridge regression from noisy to
clean rows) the best of several penalties, kernel PCA the best of several numbers of components,
widths and penalties. All these are chosen on the test images.

    python benchmarks/denoising.py [--quick] [--levels]

prints a line for each case, writes `benchmarks/results/denoising.json` and the page
`docs/denoising.md`. `--levels` also measures default levels of corruption on four sets; `--quick`
is a smoke test; `--page` only writes the page.
"""

import json
from itertools import product

import numpy as np
from _timing import Timer, markdown_table, page_parser
from data_sets import ROOT, folder
from sklearn.datasets import fetch_openml, load_digits
from sklearn.decomposition import PCA, KernelPCA
from sklearn.model_selection import train_test_split

from skae import AutoencoderTransformer, DenoisingAutoencoder

RESULTS = ROOT / "benchmarks" / "results" / "denoising.json"
PAGE = ROOT / "docs" / "denoising.md"

NAMES = {"without noise": "trained without corruption", "kernel pca": "kernel pca, best"}
FROM_CLEAN = {"n_components": 128, "hidden_layer_sizes": (512,), "max_iter": 60}
FROM_NOISY = {"hidden_layer_sizes": (128,), "corruption_level": 1.0, "alpha": 0.3}
SIZES = (8, 16, 24, 32, 48, 64, 96, 128, 192, 256)


def images(name: str) -> tuple[np.ndarray, np.ndarray]:
    """All training and test images, flat, pixels in [0, 1]."""
    if name == "digits":
        return train_test_split(load_digits().data / 16, train_size=1000, random_state=0)
    if where := folder():
        with np.load(where / f"{name}.npz", allow_pickle=False) as arrays:
            both = [arrays["X_train"], arrays["X_test"]]
    else:
        title = {"mnist": "mnist_784", "fashion_mnist": "Fashion-MNIST"}[name]
        X = fetch_openml(title, version=1, as_frame=False, parser="liac-arff").data
        both = [X[:60_000], X[60_000:]]
    return tuple((X.reshape(len(X), -1) / 255).astype(np.float32) for X in both)


def gaussian(X: np.ndarray, level: float, rng: np.random.RandomState) -> np.ndarray:
    return (X + level * rng.normal(size=X.shape)).astype(X.dtype)


def masking(X: np.ndarray, level: float, rng: np.random.RandomState) -> np.ndarray:
    return X * (rng.uniform(size=X.shape) >= level).astype(X.dtype)


NOISE = {"gaussian": gaussian, "masking": masking}


def psnr(restored: np.ndarray, X: np.ndarray) -> float:
    """Peak signal-to-noise ratio in decibels, mean over images."""
    error = ((restored.clip(0, 1) - X) ** 2).mean(axis=1)
    return float(np.mean(-10 * np.log10(error)))


def mse(restored: np.ndarray, X: np.ndarray) -> float:
    return float(np.mean((restored - X) ** 2))


def by_pca(X_train: np.ndarray, noisy: np.ndarray) -> list[np.ndarray]:
    """Reconstructions of noisy rows by PCA with each number of components."""
    pca = PCA(min(max(SIZES), *X_train.shape)).fit(X_train)
    codes = pca.transform(noisy)
    return [
        pca.mean_ + codes[:, :size] @ pca.components_[:size]
        for size in SIZES
        if size <= codes.shape[1]
    ]


def by_filter(X_train: np.ndarray, noisy_train: np.ndarray, noisy: np.ndarray) -> list[np.ndarray]:
    """Ridge regression from noisy rows to clean ones, for several penalties."""
    means = noisy_train.mean(axis=0), X_train.mean(axis=0)
    x, y = noisy_train - means[0], X_train - means[1]
    gram, cross = x.T @ x, x.T @ y
    scale = np.trace(gram) / len(gram)
    filters = (
        np.linalg.solve(gram + penalty * scale * np.eye(len(gram)), cross)
        for penalty in (1e-4, 1e-3, 1e-2, 1e-1)
    )
    return [(noisy - means[0]) @ matrix + means[1] for matrix in filters]


def by_kernel_pca(X_train: np.ndarray, noisy: np.ndarray, quick: bool) -> list[np.ndarray]:
    """Kernel PCA as in scikit-learn's example, and with other parameters."""
    grid = [(400, 1e-3, 5e-3)]
    if not quick:
        grid += product((32, 64, 128, 400), (1e-3, 1e-2, 3e-2), (5e-3, 0.1, 0.5))
    return [
        (kernel := KernelPCA(
            n_components=size, kernel="rbf", gamma=gamma, alpha=alpha,
            fit_inverse_transform=True, random_state=0,
        ).fit(X_train)).inverse_transform(kernel.transform(noisy))
        for size, gamma, alpha in grid
    ]  # fmt: skip


def from_clean(kind: str, level: float, quick: bool) -> dict:
    """Training on clean rows: PSNR of each method on noisy rows."""
    n_train, n_test = (500, 200) if quick else (10_000, 2000)
    X_train, X = images("mnist")
    X_train, X = X_train[:n_train], X[:n_test]
    rng = np.random.RandomState(0)
    noisy = NOISE[kind](X, level, rng)
    copies = np.tile(X_train, (3, 1))  # three draws of noise for each row
    filtered = by_filter(copies, NOISE[kind](copies, level, rng), noisy)
    rms_std = np.sqrt(X_train.var(axis=0).mean())
    parameters = FROM_CLEAN | ({"max_iter": 2} if quick else {})
    denoiser = DenoisingAutoencoder(
        corruption=kind,
        corruption_level=float(level / rms_std) if kind == "gaussian" else level,
        random_state=0,
        **parameters,
    )
    with Timer() as timer:
        denoiser.fit(X_train)
    return {
        "noise": kind,
        "level": level,
        "untreated": psnr(noisy, X),
        "pca": max(psnr(restored, X) for restored in by_pca(X_train, noisy)),
        "linear filter": max(psnr(restored, X) for restored in filtered),
        "autoencoder": psnr(denoiser.reconstruct(noisy), X),
        "seconds": timer.elapsed,
    }


def bottleneck(X: np.ndarray) -> int:
    """64 components, or half as many as features: one for each feature would copy the noise."""
    return min(64, X.shape[1] // 2)


def from_noisy(name: str, quick: bool) -> dict:
    """Training on noisy rows: squared error of each method on other noisy rows."""
    rng = np.random.RandomState(0)
    X_train, X = (part[rng.permutation(len(part))[:1000]] for part in images(name))
    noisy_train, noisy = gaussian(X_train, 0.25, rng), gaussian(X, 0.25, rng)
    parameters = FROM_NOISY | {"n_components": bottleneck(X)} | ({"max_iter": 2} if quick else {})
    denoiser = DenoisingAutoencoder(random_state=0, **parameters)
    with Timer() as timer:
        denoiser.fit(noisy_train)
    plain = AutoencoderTransformer(random_state=0, **without_noise(parameters)).fit(noisy_train)
    by_kernels = [mse(restored, X) for restored in by_kernel_pca(noisy_train, noisy, quick)]
    return {
        "set": name,
        "untreated": mse(noisy, X),
        "pca": min(mse(restored, X) for restored in by_pca(noisy_train, noisy)),
        "kernel pca, as in the example": by_kernels[0],
        "kernel pca": min(by_kernels),
        "without noise": mse(plain.reconstruct(noisy), X),
        "autoencoder": mse(denoiser.reconstruct(noisy), X),
        "seconds": timer.elapsed,
    }


def without_noise(parameters: dict) -> dict:
    return {k: v for k, v in parameters.items() if not k.startswith("corruption")}


def levels(name: str, kind: str, level: float, quick: bool) -> dict:
    """Train with one level; the error of test rows at several levels of noise."""
    if name == "digits":
        X = load_digits().data
    else:
        X = images("mnist")[0][:2000] if name == "mnist" else table(name)
    X = X[np.random.RandomState(0).permutation(len(X))[: 300 if quick else 2000]]
    X_train, X = train_test_split(X.astype(np.float64), random_state=0)
    mean, std = X_train.mean(axis=0), X_train.std(axis=0)
    if name in TABLES:  # columns have different units
        X_train, X = (X_train - mean) / std, (X - mean) / std
    rms_std = np.sqrt(X_train.var(axis=0).mean())
    size = bottleneck(X)
    fitted = DenoisingAutoencoder(
        size, corruption=kind, corruption_level=level, max_iter=2 if quick else None, random_state=0
    ).fit(X_train)
    pca = PCA(size).fit(X_train)
    ratios = {}
    for strength in (0.0, 0.25, 0.5, 1.0):
        rng = np.random.RandomState(1)
        noisy = X + strength * rms_std * rng.normal(size=X.shape)
        theirs = mse(pca.inverse_transform(pca.transform(noisy)), X)
        ratios[str(strength)] = mse(fitted.reconstruct(noisy), X) / theirs
    return {"set": name, "corruption": kind, "level": level, "ratios": ratios}


TABLES = ("letter", "wine_quality")
LEVELS = {
    "gaussian": (0.0, 0.1, 0.25, 0.5, 1.0),
    "masking": (0.1, 0.25, 0.5),
    "salt_and_pepper": (0.1, 0.25, 0.5),
    "swap": (0.1, 0.25, 0.5),
}


def table(name: str) -> np.ndarray:
    with np.load(folder() / f"{name}.npz", allow_pickle=False) as arrays:
        return arrays["X"]


def page(results: dict) -> str:
    """The results as a page of documentation."""
    lines = [
        "# Denoising",
        "",
        "This page compares `DenoisingAutoencoder` with PCA, a linear filter and kernel PCA. The",
        "parameters of these three methods are the best ones for the test images. The autoencoder",
        "has the same parameters for all rows of a table. The times are those of the fit of the",
        "autoencoder, while other processes were running. The figures are for version 0.2.0.",
        "",
        "    python benchmarks/denoising.py",
        "",
        "## Training on rows without noise",
        "",
        "The training set contains 10,000 images of MNIST without noise. The test set contains",
        "2000 other images, to which Gaussian noise is added, or in which some pixels are set to",
        "zero (masking). The table has the peak signal-to-noise ratio in decibels. Higher is",
        "better. The linear filter is a ridge regression from noisy to clean rows. The autoencoder",
        "is",
        f"`DenoisingAutoencoder({_arguments(FROM_CLEAN)})`,",
        "trained with the noise of the test set.",
        "",
        *_table(results["clean"], ".2f"),
        "",
        "## Training on noisy rows",
        "",
        "Here all training images and all test images have Gaussian noise of standard deviation",
        "0.25, so no method is trained on images without noise. The training set contains 1000",
        "images. The table has the mean squared difference between the denoised images and the",
        "images without noise; lower is better.",
        "",
        '- "kernel pca, as in the example" has the parameters of the example "Image denoising',
        '  using kernel PCA" of scikit-learn.',
        '- "kernel pca, best" has the best of 37 combinations of parameters for each data set.',
        '- "autoencoder" is',
        f"  `DenoisingAutoencoder({_arguments(FROM_NOISY)})`.",
        "  It has 64 components, or half as many components as pixels if that is fewer.",
        '- "trained without corruption" is `AutoencoderTransformer` with the same parameters.',
        "",
        *_table([_renamed(case) for case in results["noisy"]], ".4f"),
        "",
        "On MNIST and Fashion-MNIST, kernel PCA with the best parameters has the lowest error. On",
        "the digits, the autoencoder has the lowest error.",
    ]
    if results.get("levels"):
        lines += [
            "",
            "## Level of corruption in training",
            "",
            "The table has the squared error of test rows divided by that of PCA. Gaussian noise",
            "is added to the test rows, with a standard deviation of 0, 0.25, 0.5 or 1 times the",
            "root mean square of the columns' standard deviations. Figures are geometric means",
            "over digits, 2000 images of MNIST, letter and wine_quality.",
            "",
            *_table(_over_sets(results["levels"]), ".2f"),
        ]
    return "\n".join(lines) + "\n"


def _arguments(parameters: dict) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in parameters.items())


def _renamed(case: dict) -> dict:
    return {NAMES.get(name, name): value for name, value in case.items()}


def _table(rows: list[dict], form: str) -> list[str]:
    cells = [
        tuple(
            format(v, ".0f" if name == "seconds" else form) if isinstance(v, float) else v
            for name, v in row.items()
        )
        for row in rows
    ]
    return markdown_table(tuple(rows[0]), cells)


def _over_sets(results: list[dict]) -> list[dict]:
    rows = []
    for kind, level in dict.fromkeys((r["corruption"], r["level"]) for r in results):
        mine = [r["ratios"] for r in results if (r["corruption"], r["level"]) == (kind, level)]
        means = {
            f"noise {s}": float(np.exp(np.mean([np.log(ratios[s]) for ratios in mine])))
            for s in mine[0]
        }
        rows.append({"corruption": kind, "level": str(level), **means})
    return rows


def main() -> None:
    options = page_parser(__doc__)
    options.add_argument("--levels", action="store_true", help="also measure levels of corruption")
    arguments = options.parse_args()
    if arguments.page:
        PAGE.write_text(page(json.loads(RESULTS.read_text())))
        return
    quick = arguments.quick
    results: dict[str, list] = {"clean": [], "noisy": []}
    if RESULTS.exists() and not quick:
        results["levels"] = json.loads(RESULTS.read_text()).get("levels", [])

    def keep(part: str, case: dict) -> None:
        print(part, *(f"{k}={v:.4g}" if isinstance(v, float) else v for k, v in case.items()))
        results[part].append(case)

    if arguments.levels:
        results["levels"] = []
        for name, kind in product(("digits", "mnist", *TABLES), LEVELS):
            for level in LEVELS[kind][: 1 if quick else None]:
                keep("levels", levels(name, kind, level, quick))
    for kind, level in product(NOISE, (0.25, 0.5)):
        keep("clean", from_clean(kind, level, quick))
    for name in ("digits", "mnist", "fashion_mnist"):
        keep("noisy", from_noisy(name, quick))
    text = page(results)
    if not quick:
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")
        PAGE.write_text(text)


if __name__ == "__main__":
    main()
