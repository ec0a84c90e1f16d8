"""Causes of low scores with two codes: the figures of a section of `docs/downstream.md`.

    python benchmarks/downstream_causes.py

Prints the figures; each is the mean over three splits.
"""

import warnings

import numpy as np
from downstream import DEFAULT, MODELS, OTHERS, OURS, SEEDS, Split, split
from labelled_sets import SETS
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestRegressor

from skae import AutoencoderTransformer


def splits(name: str) -> list[Split]:
    return [split(SETS[name](), seed) for seed in SEEDS]


def codes_of(data: Split, reducer: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two codes of the training and of the test rows."""
    fit_params = {"groups": data.groups_train} if reducer in OURS else {}
    fitted = (OURS | OTHERS)[reducer](2, seed).fit(data.X_train, **fit_params)
    return fitted.transform(data.X_train), fitted.transform(data.X_test)


def components() -> None:
    """Which principal components of cmapss_fd001 two codes describe."""
    errors, shares, scores = [], [], []
    for seed, data in zip(SEEDS, splits("cmapss_fd001"), strict=True):
        pca = PCA(4, svd_solver="full").fit(data.X_train)
        fitted = OURS[DEFAULT](2, seed).fit(data.X_train, groups=data.groups_train)
        two = PCA(2, svd_solver="full").fit(data.X_train)
        by_pca = two.inverse_transform(two.transform(data.X_test))
        ours = np.sum((fitted.reconstruct(data.X_test) - data.X_test) ** 2)
        errors.append(ours / np.sum((by_pca - data.X_test) ** 2))
        forest = RandomForestRegressor(random_state=seed)
        forest.fit(fitted.transform(data.X_train), pca.transform(data.X_train))
        predicted = forest.predict(fitted.transform(data.X_test))
        target = pca.transform(data.X_test)
        linear = MODELS["number"]["linear"](seed)
        train = pca.transform(data.X_train)
        scores.append(
            [
                linear.fit(train[:, :k], data.y_train).score(target[:, :k], data.y_test)
                for k in (2, 3, 4)
            ]
        )
        shares.append(1 - ((predicted - target) ** 2).mean(axis=0) / target.var(axis=0))
    print(f"cmapss_fd001: reconstruction error relative to PCA {np.mean(errors):.2f}")
    print(f"  linear scores with 2, 3 and 4 principal components: {np.mean(scores, 0)}")
    print(f"  R2 of four principal components, predicted from the codes: {np.mean(shares, 0)}")


def categories() -> None:
    """The linear scores on adult, with and without standardised columns of categories."""
    for standardised in (True, False):
        scores = {"PCA": [], DEFAULT: []}
        for seed in SEEDS:
            raw = SETS["adult"]()
            data = split(raw, seed)
            if not standardised:
                is_category = np.array([len(np.unique(column)) <= 2 for column in raw.X.T])
                factors = np.where(is_category, raw.X.std(axis=0), 1).astype(np.float32)
                data = data._replace(X_train=data.X_train * factors, X_test=data.X_test * factors)
            for reducer, values in scores.items():
                train, test = codes_of(data, reducer, seed)
                model = MODELS["class"]["linear"](seed).fit(train, data.y_train)
                values.append(model.score(test, data.y_test))
        means = {reducer: float(np.mean(values)) for reducer, values in scores.items()}
        print(f"adult, categories standardised: {standardised}: linear scores {means}")


def penalty() -> None:
    """Whether the codes with `alpha=1` are those of PCA."""
    for name in ("cmapss_fd001", "diabetes", "adult"):
        for seed, data in zip(SEEDS, splits(name), strict=True):
            fitted = AutoencoderTransformer(2, alpha=1, random_state=seed)
            fitted.fit(data.X_train, groups=data.groups_train)
            pca = PCA(2, svd_solver="full").fit(data.X_train)
            ours, theirs = fitted.transform(data.X_test), pca.transform(data.X_test)
            correlations = np.abs(np.diag(np.corrcoef(ours.T, theirs.T)[:2, 2:]))
            print(f"{name}, alpha=1: correlations with principal components {correlations}")


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    components()
    categories()
    penalty()
