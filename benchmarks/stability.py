"""Agreement of the codes between seeds: whether another `random_state` finds the same codes.

    python benchmarks/stability.py [--sets NAME ...] [--quick]

Ten fits of standardised rows differ by `random_state` alone. For each pair of fits, the codes of
one are predicted by those of the other. The predictions are fitted to the training rows, and their
R2 is that of the test rows, for the components that carry 95 % of the variance of the codes. They
are linear, orthogonal (one factor and a rotation), or the mean of 10 nearest neighbours, which
follows a curved relation. Besides, the R2 of the reconstructions of one fit as predictions of those
of the other is computed. Stores each case in `benchmarks/results/stability.json`, and writes the
table of `docs/stability.md`.
"""

import warnings
from collections.abc import Callable
from functools import partial
from itertools import permutations
from typing import Any
from unittest import mock

import numpy as np
from _timing import Results, markdown_table, parser
from data_sets import ROOT, present, standardised
from scipy.linalg import orthogonal_procrustes
from sklearn.linear_model import LinearRegression
from sklearn.neighbors import KNeighborsRegressor

from skae import AutoencoderTransformer
from skae._training import fit_data

PAGE = ROOT / "docs" / "stability.md"
SETS = ["digits", "letter", "wine_quality", "ecg5000"]
Fit = Callable[..., AutoencoderTransformer]


def fit(X: np.ndarray, *, n_rows: int | None = None, **parameters: Any) -> AutoencoderTransformer:
    return AutoencoderTransformer(K, **parameters).fit(X[:n_rows])


def fit_with_fixed_held_out_rows(X: np.ndarray, **parameters: Any) -> AutoencoderTransformer:
    n_held_out = len(X) // 10
    return AutoencoderTransformer(K, **parameters).fit(X[n_held_out:], X_val=X[:n_held_out])


def fit_with_fixed_seeds(X: np.ndarray, *, fixed: list[str], **parameters: Any) -> Any:
    """Fit with the same seeds of some random parts, which have no public parameters."""

    def seeds(*drawn: int) -> fit_data.Seeds:
        return real(*drawn)._replace(**dict.fromkeys(fixed, 0))

    real = fit_data.Seeds
    with mock.patch.object(fit_data, "Seeds", seeds):
        return fit(X, **parameters)


ALL_BUT_HELD_OUT = [name for name in fit_data.Seeds._fields if name != "split"]

# The fits of all sets, and those that show how the agreement depends on a setting.
FITS: dict[str, Fit] = {"default": fit, "no projection": partial(fit, transform_max_iter=0)}
SETTINGS: dict[str, dict[str, Fit]] = {
    "digits": {
        "20 steps of projection": partial(fit, transform_max_iter=20),
        "the same held-out rows": fit_with_fixed_held_out_rows,
        "the same initial weights": partial(fit_with_fixed_seeds, fixed=["weights"]),
        "only other held-out rows": partial(fit_with_fixed_seeds, fixed=ALL_BUT_HELD_OUT),
        "300 epochs": partial(fit, max_iter=300),
        "weight decay 0.001": partial(fit, alpha=1e-3),
        "one hidden layer of 256": partial(fit, hidden_layer_sizes=(256,)),
        "half of the rows": partial(fit, n_rows=673),
        "a quarter of the rows": partial(fit, n_rows=337),
    },
    "letter": {"750 rows": partial(fit, n_rows=750), "3000 rows": partial(fit, n_rows=3000)},
}
K, SHARE = 8, 0.95
N_SEEDS = {"default": 10, "no projection": 10}  # otherwise 4
N_NEIGHBOR_PAIRS, MAX_TEST_ROWS = 6, 4000


def carrying(codes: np.ndarray) -> int:
    """The number of components that carry the share of the variance of the codes."""
    shares = np.cumsum(codes.var(axis=0)) / codes.var(axis=0).sum()
    return int(np.searchsorted(shares, SHARE) + 1)


def explained(prediction: np.ndarray, target: np.ndarray) -> float:
    """The share of the variance of all columns together that is predicted."""
    residual = np.square(target - prediction).sum()
    return float(1 - residual / np.square(target - target.mean(axis=0)).sum())


def linear(codes: np.ndarray, target: np.ndarray, test_codes: np.ndarray) -> np.ndarray:
    return LinearRegression().fit(codes, target).predict(test_codes)


def orthogonal(codes: np.ndarray, target: np.ndarray, test_codes: np.ndarray) -> np.ndarray:
    centre, target_centre = codes.mean(axis=0), target.mean(axis=0)
    rotation, _ = orthogonal_procrustes(codes - centre, target - target_centre)
    rotated = (codes - centre) @ rotation
    factor = (rotated * (target - target_centre)).sum() / np.square(rotated).sum()
    return target_centre + factor * (test_codes - centre) @ rotation


def neighbors(codes: np.ndarray, target: np.ndarray, test_codes: np.ndarray) -> np.ndarray:
    return KNeighborsRegressor(10).fit(codes, target).predict(test_codes)


def case(name: str, make: Fit, n_seeds: int, options: dict) -> dict[str, Any]:
    """The agreement of the fits of one set."""
    X, X_test = standardised(name, 0)
    X_test = X_test[:MAX_TEST_ROWS]
    fits = [make(X, random_state=seed, **options) for seed in range(n_seeds)]
    codes = [[one.transform(part).astype(np.float64) for part in (X, X_test)] for one in fits]
    rows = [one.reconstruct(X_test).astype(np.float64) for one in fits]
    found: dict[str, list[float]] = {"linear": [], "orthogonal": [], "neighbors": [], "rows": []}
    for i, (a, b) in enumerate(permutations(range(n_seeds), 2)):
        (own, own_test), (target, target_test) = codes[a], codes[b]
        n = carrying(target)
        prediction = linear(own, target[:, :n], own_test)
        found["linear"].append(explained(prediction, target_test[:, :n]))
        prediction = orthogonal(own, target, own_test)[:, :n]
        found["orthogonal"].append(explained(prediction, target_test[:, :n]))
        if i < N_NEIGHBOR_PAIRS:
            prediction = neighbors(own, target[:, :n], own_test)
            found["neighbors"].append(explained(prediction, target_test[:, :n]))
        found["rows"].append(explained(rows[a], rows[b]))
    return {
        **{measure: float(np.mean(values)) for measure, values in found.items()},
        "lowest": float(np.min(found["linear"])),
        "score": float(np.mean([explained(one, X_test) for one in rows])),
        "components": carrying(codes[0][0]),
        "seeds": n_seeds,
    }


def table(records: dict) -> list[str]:
    lines = []
    for key, record in records.items():
        (name, kind), r = key.split("/"), record["result"]
        lines.append((
            name, kind, r["seeds"], r["components"], r["linear"], r["lowest"], r["orthogonal"],
            r["neighbors"], r["rows"], r["score"],
        ))  # fmt: skip
    header = (
        "set", "fits", "seeds", "components", "linear", "lowest pair", "orthogonal", "neighbours",
        "reconstructions", "score",
    )  # fmt: skip
    return markdown_table(header, lines)


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--sets", nargs="+", default=SETS, metavar="NAME")
    arguments = options.parse_args()
    results = Results("stability", quick=arguments.quick)
    warnings.filterwarnings("ignore", category=UserWarning, module="skae")
    names = present(arguments.sets)[: 1 if arguments.quick else None]
    cases = [(name, kind, make) for kind, make in FITS.items() for name in names]
    cases += [(n, kind, make) for n in names for kind, make in SETTINGS.get(n, {}).items()]
    for name, kind, make in cases:
        n_seeds = 2 if arguments.quick else N_SEEDS.get(kind, 4)
        result = case(name, make, n_seeds, {"max_iter": 1} if arguments.quick else {})
        results.save(f"{name}/{kind}", result=result)
    if not arguments.quick:
        before, rest = PAGE.read_text(encoding="utf-8").split("<!-- table -->\n")
        after = rest[rest.index("<!-- end -->") :]
        text = "\n".join([f"{before}<!-- table -->\n", *table(results.records), "", after])
        PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
