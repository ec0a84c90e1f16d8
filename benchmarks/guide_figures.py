"""Figures of the guide that its examples do not print.

    python benchmarks/guide_figures.py                   # all pages, in ten minutes
    python benchmarks/guide_figures.py missing_values    # one page

Prints the figures of each page. The data are in scikit-learn. Times are processor seconds.
"""

import sys
import warnings
from collections.abc import Iterator
from itertools import product

import numpy as np
import pandas as pd
from _timing import processor_seconds
from sklearn.datasets import load_digits, load_wine, make_swiss_roll
from sklearn.decomposition import PCA
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, SimpleImputer
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from skae import AutoencoderImputer, AutoencoderTransformer, SparseAutoencoder


def denoising() -> Iterator[str]:
    train, test = digits()
    noisy = test + np.random.RandomState(0).normal(scale=4, size=test.shape)
    errors = {}
    for n_components in range(2, 50):
        pca = PCA(n_components).fit(train)
        errors[n_components] = np.mean((pca.inverse_transform(pca.transform(noisy)) - test) ** 2)
    best = min(errors, key=errors.__getitem__)
    std = np.sqrt(train.var(axis=0).mean())
    yield f"error of PCA {errors[best]:.1f} with {best} components; std of columns {std:.1f}"


def images() -> Iterator[str]:
    train, test = digits()
    dense = AutoencoderTransformer(8, random_state=0).fit(train)
    layers = {"image_shape": (8, 8), "hidden_layer_sizes": (32,)}
    convolutions = AutoencoderTransformer(8, random_state=0, **layers).fit(train)
    yield f"dense layers {dense.score(test):.2f}, convolutions {convolutions.score(test):.2f}"


def interpretation() -> Iterator[str]:
    """Time of `feature_contributions` relative to `transform`, for 1000 and 5000 rows."""
    rng = np.random.RandomState(0)
    tables = {
        "wine": StandardScaler().fit_transform(load_wine().data),
        "digits": load_digits().data,
        "400 columns": rng.normal(size=(500, 400)) @ rng.normal(size=(400, 400)),
    }
    cases = product((2, 0), (2, 8, 16), tables)
    for transform_max_iter, n_components, name in cases:
        X = tables[name]
        if n_components > X.shape[1]:
            continue
        options = {"transform_max_iter": transform_max_iter, "max_iter": 10, "random_state": 0}
        reducer = AutoencoderTransformer(n_components, **options).fit(X)
        ratios = [
            time_ratio(reducer, np.resize(X, (n_rows, X.shape[1]))) for n_rows in (1000, 5000)
        ]
        shown = ", ".join(f"{ratio:.1f}" for ratio in ratios)
        yield f"transform_max_iter={transform_max_iter}, {n_components} components, {name}: {shown}"


def time_ratio(reducer: AutoencoderTransformer, rows: np.ndarray, repetitions: int = 6) -> float:
    """Median time of `feature_contributions`, divided by that of `transform`."""
    methods = (reducer.feature_contributions, reducer.transform)
    times = [[processor_seconds(method, rows) for method in methods] for _ in range(repetitions)]
    contributions, transform = np.median(times[1:], axis=0)  # the first call allocates memory
    return contributions / transform


def missing_values() -> Iterator[str]:
    X = StandardScaler().fit_transform(load_wine().data)
    gaps = np.random.RandomState(0).uniform(size=X.shape) < 0.2
    errors = {}
    for imputer in (SimpleImputer(), IterativeImputer()):
        imputed = imputer.fit_transform(np.where(gaps, np.nan, X))
        errors[type(imputer).__name__] = np.sqrt(np.mean((imputed - X)[gaps] ** 2))
    yield ", ".join(f"{name} {error:.2f}" for name, error in errors.items())
    yield from multiple_imputation()


def multiple_imputation(repetitions: int = 12, m: int = 5) -> Iterator[str]:
    """The regression of the page, with other rows and gaps in each repetition."""
    pooled, expected = [], []
    for seed in range(repetitions):
        incomplete = incomplete_table(np.random.RandomState(seed))
        imputer = AutoencoderImputer(random_state=seed).fit(incomplete)
        expected.append(regression(imputer.transform(incomplete))[0])
        imputer.set_params(sample_posterior=True)
        samples = [imputer.set_params(random_state=i).transform(incomplete) for i in range(m)]
        coefficients, variances = map(np.array, zip(*map(regression, samples), strict=True))
        between = coefficients.var(axis=0, ddof=1)
        standard_errors = np.sqrt(variances.mean(axis=0) + (1 + 1 / m) * between)
        pooled.append((coefficients.mean(axis=0), standard_errors))
    estimates, standard_errors = map(np.array, zip(*pooled, strict=True))
    yield f"mean estimates {estimates.mean(axis=0).round(2)}"
    yield f"their standard deviations {estimates.std(axis=0, ddof=1).round(2)}"
    yield f"mean standard errors {standard_errors.mean(axis=0).round(2)}"
    yield f"mean estimates with expected values {np.mean(expected, axis=0).round(2)}"


def incomplete_table(rng: np.random.RandomState) -> pd.DataFrame:
    x = rng.normal(size=400)
    group = np.where(rng.uniform(size=400) < 1 / (1 + np.exp(-2 * x)), "treated", "control")
    y = x + 2 * (group == "treated") + rng.normal(size=400)
    table = pd.DataFrame({"x": x, "group": pd.Categorical(group), "y": y})
    return table.mask(rng.uniform(size=table.shape) < 0.2)


def regression(table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients of y on x and group, and their variances."""
    A = np.c_[np.ones(len(table)), table["x"], table["group"] == "treated"].astype(float)
    coefficients, residual, *_ = np.linalg.lstsq(A, table["y"], rcond=None)
    variance = residual[0] / (len(A) - A.shape[1])
    return coefficients, variance * np.diag(np.linalg.inv(A.T @ A))


def replacing_pca() -> Iterator[str]:
    X = load_digits().data
    splits = {
        "random digits": train_test_split(X, train_size=1200, random_state=0),
        "last digits": (X[:1200], X[1200:]),  # mostly by other people than the first ones
    }
    for name, (train, test) in splits.items():
        for n_components in (2, 8, 16):
            pca = PCA(n_components).fit(train)
            yield f"{name}, PCA({n_components}): {density_figures(pca, pca.score(test), train)}"
            for seed in range(3):
                reducer = AutoencoderTransformer(n_components, random_state=seed).fit(train)
                likelihood = reducer.log_likelihood(test).mean()
                figures = density_figures(reducer, likelihood, train)
                yield f"{name}, AutoencoderTransformer({n_components}): {figures}"
    roll = make_swiss_roll(1000, random_state=0)[0]
    rng = np.random.RandomState(0)
    rows = roll @ rng.normal(size=(3, 10)) + rng.normal(size=(1000, 10))
    estimates = {"Swiss roll": rows, "digits": X}
    for name, rows in estimates.items():
        yield f"dimension of {name}: {PCA('mle').fit(rows).n_components_}"


def density_figures(
    model: PCA | AutoencoderTransformer, likelihood: float, train: np.ndarray
) -> str:
    covariance = np.cov(train, rowvar=False)
    difference = np.linalg.norm(model.get_covariance() - covariance) / np.linalg.norm(covariance)
    return f"mean log-likelihood {likelihood:.0f}, difference of covariances {difference:.2f}"


def sparse_features() -> Iterator[str]:
    train, test = digits()
    pca = PCA(8).fit(train)
    residual = pca.inverse_transform(pca.transform(test)) - test
    by_pca = 1 - np.sum(residual**2) / np.sum((test - pca.mean_) ** 2)
    options = {"n_components": 200, "n_nonzero_coefs": 8, "transform_max_iter": 3}
    coder = SparseAutoencoder(**options, random_state=0).fit(train)
    yield f"PCA {by_pca:.2f}, transform_max_iter=3 {coder.score(test):.2f}"
    options = {"n_components": 200, "n_nonzero_coefs": 8, "sparsity": "kl"}
    for weight in (0.1, 1, 10):
        coder = SparseAutoencoder(**options, sparsity_weight=weight, random_state=0).fit(train)
        n_active = coder.activation_frequency_.sum()
        yield f"kl, sparsity_weight={weight}: {n_active:.0f} active units on average"


def digits() -> list[np.ndarray]:
    return train_test_split(load_digits().data, random_state=0)


PAGES = {
    page.__name__: page
    for page in (denoising, images, interpretation, missing_values, replacing_pca, sparse_features)
}


def main() -> None:
    warnings.filterwarnings("ignore")
    for name in sys.argv[1:] or PAGES:
        for line in PAGES[name]():
            print(f"{name}: {line}", flush=True)


if __name__ == "__main__":
    main()
