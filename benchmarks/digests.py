"""Digests of the results of a fixed list of fits, to test if a change of the code changes a bit.

Run it before and after the change, on one machine, and compare::

    python benchmarks/digests.py > before.json
    python benchmarks/digests.py > after.json
    diff before.json after.json
"""

import hashlib
import json
import os
import warnings
from itertools import product

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.datasets import load_digits, load_wine
from sklearn.model_selection import GridSearchCV
from torch import nn

import skae

LOSSES = ("squared_error", "absolute_error", "log_loss", "poisson")
ARCHITECTURES = {
    "dense": {"hidden_layer_sizes": (16, 8)},
    "linear": {"hidden_layer_sizes": ()},
    "tied": {"hidden_layer_sizes": (16,), "tied_weights": True},
    "images": {"hidden_layer_sizes": (4, 6), "image_shape": (8, 8)},
    "tied images": {"hidden_layer_sizes": (4,), "image_shape": (8, 8), "tied_weights": True},
    "random": {"hidden_layer_sizes": (16,), "init": "random", "activation": "tanh"},
    "layerwise": {"hidden_layer_sizes": (16, 8), "pretraining": "layerwise"},
    "layerwise images": {
        "hidden_layer_sizes": (4,),
        "image_shape": (8, 8),
        "pretraining": "layerwise",
    },
    "penalised": {"hidden_layer_sizes": (16,), "alpha": 1e-3, "l1_ratio": 0.5},
    "gelu, sgd": {"hidden_layer_sizes": (16,), "activation": "gelu", "solver": "sgd"},
    "bfloat16": {"hidden_layer_sizes": (16,), "precision": "bfloat16"},
}
VARIANTS = {
    "DenoisingAutoencoder": [
        {"corruption": "masking"},
        {"corruption": "salt_and_pepper"},
        {"corruption": "swap"},
        {"corruption_level": 0.0},
    ],
    "ContractiveAutoencoder": [{"contraction": 0.0}],
    "SparseAutoencoder": [
        {"sparsity": "batch_topk"},
        {"sparsity": "lifetime", "with_mean": False},
        {"sparsity": "l1"},
        {"sparsity": "kl"},
        {"sparsity": "jumprelu"},
        {"transform_max_iter": 2, "n_components": 90},
        {"receptive_field": 3, "image_shape": (8, 8)},
    ],
    "VAE": [
        {"n_importance_samples": 3},
        {"kl_warmup": 0.5},
        {"binarize": True, "loss": "log_loss"},
    ],
}


def own_network(n_features, n_components):
    """A network with a layer that this package does not have."""
    return (
        nn.Sequential(nn.Linear(n_features, 12), nn.LeakyReLU(), nn.Linear(12, n_components)),
        nn.Sequential(nn.Linear(n_components, 12), nn.LeakyReLU(), nn.Linear(12, n_features)),
    )


def digest(*arrays) -> str:
    """Of the bytes of arrays, dense or sparse."""
    found = hashlib.sha256()
    for values in arrays:
        array = values.toarray() if sparse.issparse(values) else np.asarray(values)
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()[:16]


def of_autoencoder(estimator, X) -> str:
    """Of codes, reconstructions, scores and curves."""
    codes = estimator.fit(X).transform(X)
    return digest(
        codes,
        estimator.inverse_transform(codes),
        estimator.score_samples(X),
        estimator.components_,
        estimator.explained_variance_,
        estimator.loss_curve_,
        estimator.validation_curve_,
        [estimator.pca_score_, estimator.score(X)],
    )


def rows() -> dict[str, np.ndarray]:
    """Small data: images in [0, 1], the same with gaps and in single precision, a table."""
    images = load_digits().data[:240] / 16
    gaps = np.random.RandomState(0).uniform(size=images.shape) < 0.2
    table = load_wine().data
    return {
        "images": images,
        "single": images.astype(np.float32),
        "gaps": np.where(gaps, np.nan, images),
        "table": (table - table.mean(0)) / table.std(0),
        "wide": np.random.RandomState(1).normal(size=(300, 260)).cumsum(axis=1) / 16,
    }


def fits(data: dict[str, np.ndarray]):
    """Names, and the digests of autoencoders and of their continued fits."""
    classes = {
        name: cls
        for name in skae.__all__
        if isinstance(cls := getattr(skae, name), type) and hasattr(cls, "inverse_transform")
    }
    shared = {"max_iter": 6, "random_state": 0}
    for (name, cls), loss, architecture in product(classes.items(), LOSSES, ARCHITECTURES):
        if architecture == "bfloat16" and loss != "squared_error":
            continue
        parameters = shared | ARCHITECTURES[architecture] | {"loss": loss}
        estimator = cls(n_components=5, **parameters)
        yield f"{name}, {loss}, {architecture}", of_autoencoder(estimator, data["images"])
    for name, cls in classes.items():
        for variant in VARIANTS.get(name, []):
            estimator = cls(**({"n_components": 6} | shared | variant))
            yield f"{name}, {variant}", of_autoencoder(estimator, data["images"])
        for rows_name in ("single", "gaps", "table", "wide"):
            estimator = cls(n_components=4, **shared)
            yield f"{name}, {rows_name}", of_autoencoder(estimator, data[rows_name])
        if name != "VAE":
            estimator = cls(n_components=4, network=own_network, **shared)
            yield f"{name}, own network", of_autoencoder(estimator, data["images"])
        csr = sparse.csr_array(np.where(data["images"] > 0.5, data["images"], 0))
        yield f"{name}, CSR", of_autoencoder(cls(n_components=4, **shared), csr)
        warm = cls(n_components=4, warm_start=True, **shared).fit(data["images"][:120])
        yield f"{name}, warm start", of_autoencoder(warm, data["images"])
        stream = cls(n_components=4, **shared)
        for part in np.split(data["images"], 3):
            stream.partial_fit(part)
        yield f"{name}, partial_fit", digest(stream.transform(data["images"]), stream.components_)
    search = skae.AutoencoderTransformer(n_components=0.8, **shared)
    yield "search of n_components", of_autoencoder(search, data["images"])
    vae = skae.VAE(3, **shared).fit(data["images"])
    yield (
        "VAE, density",
        digest(vae.sample(7), *vae.posterior(data["images"]), vae.log_likelihood(data["images"])),
    )


def of_others(data: dict[str, np.ndarray]):
    """Names and digests of the estimators that hold an autoencoder."""
    X, y = data["images"], load_digits().target[:240]
    imputer = skae.AutoencoderImputer(random_state=0)
    yield "imputer", digest(imputer.fit_transform(data["gaps"]))
    draws = skae.AutoencoderImputer(random_state=0, sample_posterior=True)
    yield "imputer, draws", digest(draws.fit_transform(data["gaps"]))
    held = skae.AutoencoderTransformer(3, max_iter=4, random_state=0)
    yield (
        "imputer, estimator",
        digest(skae.AutoencoderImputer(held, random_state=0).fit_transform(data["gaps"])),
    )
    for novelty in (False, True):
        detector = skae.AutoencoderOutlierDetector(novelty=novelty, random_state=0).fit(X)
        yield f"detector, novelty={novelty}", digest(detector.score_samples(X), detector.offset_)
    detector = skae.AutoencoderOutlierDetector(held).fit(X)
    yield "detector, estimator", digest(detector.score_samples(X), detector.offset_)
    ensemble = skae.DenoisingEnsemble(n_steps=50, random_state=0).fit(X)
    yield "ensemble", digest(ensemble.score_features(X), ensemble.reconstruct(X))
    classifier = skae.AutoencoderClassifier(held, max_iter=4, random_state=0)
    classifier.fit(X, np.where(np.arange(240) % 6, -1, y))
    yield "classifier", digest(classifier.predict_proba(X), classifier.loss_curve_)
    yield "cleaned rows", digest(skae.ReconstructionTransformer(held).fit_transform(X))
    grid = {"n_components": [2, 3], "corruption": ["gaussian", "masking"]}
    denoiser = skae.DenoisingAutoencoder(hidden_layer_sizes=(8,), max_iter=4, random_state=0)
    with skae.fit_together():
        search = GridSearchCV(denoiser, grid, cv=2).fit(X)
    yield "fit_together", digest(search.cv_results_["mean_test_score"])


def main() -> None:
    warnings.simplefilter("ignore")
    data = rows()
    estimators = [
        getattr(skae, name)
        for name in skae.__all__
        if isinstance(getattr(skae, name), type) and issubclass(getattr(skae, name), BaseEstimator)
    ]
    found = dict([*fits(data), *of_others(data)])
    print(json.dumps({"estimators": len(estimators)} | found, indent=1))


if __name__ == "__main__":
    main()
