"""Figures of the guide that its examples do not print.

    python benchmarks/guide_figures.py

Prints one line for each page. The data are in scikit-learn.
"""

import warnings

import numpy as np
from sklearn.datasets import load_digits, load_wine
from sklearn.decomposition import PCA
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, SimpleImputer
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from skae import AutoencoderTransformer, SparseAutoencoder


def denoising(train: np.ndarray, test: np.ndarray) -> str:
    noisy = test + np.random.RandomState(0).normal(scale=4, size=test.shape)
    errors = {}
    for n_components in range(2, 50):
        pca = PCA(n_components).fit(train)
        errors[n_components] = np.mean((pca.inverse_transform(pca.transform(noisy)) - test) ** 2)
    best = min(errors, key=errors.__getitem__)
    std = np.sqrt(train.var(axis=0).mean())
    return f"error of PCA {errors[best]:.1f} with {best} components; std of columns {std:.1f}"


def images(train: np.ndarray, test: np.ndarray) -> str:
    dense = AutoencoderTransformer(8, random_state=0).fit(train)
    layers = {"image_shape": (8, 8), "hidden_layer_sizes": (32,)}
    convolutions = AutoencoderTransformer(8, random_state=0, **layers).fit(train)
    return f"dense layers {dense.score(test):.2f}, convolutions {convolutions.score(test):.2f}"


def sparse_features(train: np.ndarray, test: np.ndarray) -> str:
    pca = PCA(8).fit(train)
    residual = pca.inverse_transform(pca.transform(test)) - test
    by_pca = 1 - np.sum(residual**2) / np.sum((test - pca.mean_) ** 2)
    options = {"n_components": 200, "n_nonzero_coefs": 8, "transform_max_iter": 3}
    coder = SparseAutoencoder(**options, random_state=0).fit(train)
    return f"PCA {by_pca:.2f}, transform_max_iter=3 {coder.score(test):.2f}"


def missing_values() -> str:
    X = StandardScaler().fit_transform(load_wine().data)
    gaps = np.random.RandomState(0).uniform(size=X.shape) < 0.2
    errors = {}
    for imputer in (SimpleImputer(), IterativeImputer()):
        imputed = imputer.fit_transform(np.where(gaps, np.nan, X))
        errors[type(imputer).__name__] = np.sqrt(np.mean((imputed - X)[gaps] ** 2))
    return ", ".join(f"{name} {error:.2f}" for name, error in errors.items())


def main() -> None:
    warnings.filterwarnings("ignore")
    train, test = train_test_split(load_digits().data, random_state=0)
    print("Denoising:", denoising(train, test))
    print("Images:", images(train, test))
    print("Sparse features:", sparse_features(train, test))
    print("Missing values:", missing_values())


if __name__ == "__main__":
    main()
