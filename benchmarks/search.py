"""A grid search over 16 small autoencoders with three folds is made by skae and by skorch.

    python benchmarks/search.py [--sets digits wine_quality] [--jobs 1 2] [--quick]

Both libraries search the same hidden layers and numbers of components. Columns are standardised.
The score is the share of the variance of the held-out fold that the reconstructions explain.

- "skae" has its default parameters.
- "skae, together" is the search of skae within `with fit_together():`. It uses one process for any
  `n_jobs`.
- "skorch" uses Adam with a learning rate of 0.001 and the default batch size. It holds out a fifth
  of the rows, and stops after 10 epochs without a lower error, at the latest after 500 epochs.
"""

from contextlib import nullcontext

import numpy as np
import torch
from _timing import Results, in_fresh_process, markdown_table, parser, seconds
from data_sets import load, present
from peers import Network, warm_up
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.preprocessing import StandardScaler

from skae import AutoencoderTransformer, fit_together

HIDDEN = [(32,), (64,), (64, 32), (128, 128)]
SIZES = {"digits": [2, 4, 8, 16], "wine_quality": [1, 2, 4, 8]}


def explained(estimator, X, y=None) -> float:
    """Share of the variance that the reconstruction explains, for either library."""
    ours = isinstance(estimator, AutoencoderTransformer)
    reconstructed = (estimator.reconstruct if ours else estimator.predict)(X)
    return 1 - float(((X - reconstructed) ** 2).sum() / ((X - X.mean(axis=0)) ** 2).sum())


def skae_model(n_features: int, sizes: list[int]) -> tuple:
    """The estimator and its grid."""
    grid = {"hidden_layer_sizes": HIDDEN, "n_components": sizes}
    return AutoencoderTransformer(random_state=0), grid


def skorch_model(n_features: int, sizes: list[int]) -> tuple:
    """The estimator and its grid."""
    from skorch import NeuralNetRegressor
    from skorch.callbacks import EarlyStopping

    net = NeuralNetRegressor(
        Network,
        module__n_features=n_features,
        optimizer=torch.optim.Adam,
        lr=0.001,
        max_epochs=500,
        iterator_train__shuffle=True,
        callbacks=[EarlyStopping(patience=10, load_best=True)],
        verbose=0,
    )
    return net, {"module__hidden": HIDDEN, "module__k": sizes}


TOGETHER, PEER = "skae, together", "skorch"
MODELS = {"skae": skae_model, TOGETHER: skae_model, PEER: skorch_model}


def run(library: str, name: str, n_jobs: int, quick: bool) -> dict:
    """Run one search in this process."""
    warm_up(library.partition(",")[0])
    X = np.ascontiguousarray(StandardScaler().fit_transform(load(name)), dtype=np.float32)
    model, grid = MODELS[library](X.shape[1], SIZES[name])
    if quick:
        X, grid = X[:200], {key: values[1:2] for key, values in grid.items()}
    torch.manual_seed(0)
    folds = KFold(3, shuffle=True, random_state=0)
    search = GridSearchCV(model, grid, scoring=explained, cv=folds, n_jobs=n_jobs)
    with fit_together() if library == TOGETHER else nullcontext():
        spent = seconds(search.fit, X, X)
    scores = search.cv_results_["mean_test_score"]
    return {
        "seconds": spent,
        "best_score": float(search.best_score_),
        "mean_score": float(scores.mean()),
        "best": str(search.best_params_),
    }


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--sets", nargs="+", choices=SIZES, default=list(SIZES), metavar="NAME")
    options.add_argument("--jobs", nargs="+", type=int, default=[1, 2])
    arguments = options.parse_args()
    results = Results("search", quick=arguments.quick)
    for name in present(arguments.sets):
        for n_jobs in arguments.jobs:
            for library in MODELS:
                result = in_fresh_process(run, library, name, n_jobs, arguments.quick)
                key = f"{name}/{n_jobs}/{library}"
                results.save(key, set=name, n_jobs=n_jobs, library=library, **result)


def section(records: dict) -> list[str]:
    """The figures as lines of the page."""
    rows = []
    for record in records.values():
        peer = records.get(f"{record['set']}/{record['n_jobs']}/{PEER}")
        rows.append([record[key] for key in ("set", "n_jobs", "library")])
        rows[-1] += [f"{record[key]:.4f}" for key in ("best_score", "mean_score")]
        rows[-1] += [record["seconds"], record["seconds"] / peer["seconds"] if peer else ""]
    header = (
        "set", "`n_jobs`", "library", "best score", "mean score", "seconds", "relative to skorch",
    )  # fmt: skip
    return markdown_table(header, rows)


if __name__ == "__main__":
    main()
