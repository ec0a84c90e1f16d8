"""Outliers told from usual rows: area under the ROC curve beside other detectors.

    python benchmarks/outliers.py [--seeds 5] [--quick]

Needs the ADBench sets as `adbench/*.npz` in the data folder. Two protocols: *one-class*, half of
the usual rows train, the rest and all outliers are judged; *unsupervised*, all rows train without
labels and are judged. At most 20,000 rows of a set, drawn by the seed; no row is copied to enlarge
a set; columns are standardised on the training rows. Each detector has one configuration for all
sets. Writes `benchmarks/results/outliers.json` after each set, goes on where it stopped, and writes
`docs/outliers.md`.
"""

import time
from collections.abc import Callable

import numpy as np
from _timing import Results, figure, markdown_table, parser
from data_sets import ROOT, folder
from sklearn.base import BaseEstimator
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors
from sklearn.preprocessing import StandardScaler
from sklearn.svm import OneClassSVM

from skae import AutoencoderOutlierDetector

PAGE = ROOT / "docs" / "outliers.md"
MAX_ROWS = 20_000
PROTOCOLS = ("one-class", "unsupervised")
# By these sets the configuration was chosen; the others were looked at afterwards.
CHOSEN_ON = (4, 6, 7, 14, 19, 20, 24, 29, 30, 31, 34, 42)

# Scores: higher is more unusual.
Detector = Callable[[np.ndarray, np.ndarray, bool, int], np.ndarray]


def ours(train, judged, same, seed):
    detector = AutoencoderOutlierDetector(novelty=not same, random_state=seed)
    return -detector.fit(train).score_samples(judged)


def fifth_neighbour(train, judged, same, seed):
    neighbours = NearestNeighbors(n_neighbors=5).fit(train)
    return neighbours.kneighbors(None if same else judged)[0][:, -1]


def local_outlier_factor(train, judged, same, seed):
    if same:
        return -LocalOutlierFactor().fit(train).negative_outlier_factor_
    return -LocalOutlierFactor(novelty=True).fit(train).score_samples(judged)


def scored_by(make: Callable[[int], BaseEstimator]) -> Detector:
    return lambda train, judged, same, seed: -make(seed).fit(train).score_samples(judged)


def pca_reconstruction(share: float) -> Detector:
    def score(train, judged, same, seed):
        pca = PCA(share, svd_solver="full").fit(train)
        return ((judged - pca.inverse_transform(pca.transform(judged))) ** 2).sum(axis=1)

    return score


def pyod_autoencoder(train, judged, same, seed):
    from pyod.models.auto_encoder import AutoEncoder

    return AutoEncoder(random_state=seed, verbose=0).fit(train).decision_function(judged)


DETECTORS: dict[str, Detector] = {
    "AutoencoderOutlierDetector": ours,
    "5-NN distance": fifth_neighbour,
    "LOF": local_outlier_factor,
    "IsolationForest": scored_by(lambda seed: IsolationForest(random_state=seed)),
    "OneClassSVM": scored_by(lambda seed: OneClassSVM()),
    "PCA, 90 % of variance": pca_reconstruction(0.9),
    "PCA, 50 % of variance": pca_reconstruction(0.5),
    "PyOD AutoEncoder": pyod_autoencoder,
}


def sets() -> dict[str, list[np.ndarray]]:
    """Rows and labels by name, in the order of ADBench's numbers."""
    if (where := folder()) is None:
        raise SystemExit("no data folder: set SKAE_DATA")
    paths = sorted((where / "adbench").glob("*.npz"), key=lambda path: number(path.stem))
    return {path.stem: path for path in paths}


def number(name: str) -> int:
    return int(name.split("_")[0])


def parts(path, protocol: str, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Training rows, judged rows, and which of the latter are outliers."""
    rng = np.random.RandomState(seed)
    with np.load(path, allow_pickle=False) as arrays:
        X, y = arrays["X"].astype(np.float32), arrays["y"].astype(int)
    if len(X) > MAX_ROWS:
        drawn = rng.choice(len(X), MAX_ROWS, replace=False)
        X, y = X[drawn], y[drawn]
    train = judged = np.arange(len(X))
    if protocol == "one-class":
        usual = rng.permutation(np.flatnonzero(y == 0))
        train = usual[: len(usual) // 2]
        judged = np.setdiff1d(judged, train)
    scaler = StandardScaler().fit(X[train])
    return scaler.transform(X[train]), scaler.transform(X[judged]), y[judged]


def run(results: Results, n_seeds: int, names: list[str] | None) -> None:
    for seed in range(n_seeds):
        for protocol in PROTOCOLS:
            for name, path in sets().items():
                key = f"{protocol}/{name}/{seed}"
                if key in results.records or (names and name not in names):
                    continue
                train, judged, labels = parts(path, protocol, seed)
                record = {}
                for title, detector in DETECTORS.items():
                    start = time.perf_counter()
                    scores = detector(train, judged, protocol == "unsupervised", seed)
                    seconds = time.perf_counter() - start
                    record[title] = [100 * float(roc_auc_score(labels, scores)), seconds]
                results.save(key, shape=list(train.shape), **record)


def average(records: dict, protocol: str, title: str, column: int, names: list[str]) -> float:
    """Mean over sets of the mean over seeds."""
    return float(
        np.mean(
            [
                np.mean([r[title][column] for k, r in records.items() if within(k, protocol, name)])
                for name in names
            ]
        )
    )


def within(key: str, protocol: str, name: str) -> bool:
    return key.rsplit("/", 1)[0] == f"{protocol}/{name}"


def page(records: dict) -> str:
    lines = [
        "# Outliers",
        "",
        "How well does `AutoencoderOutlierDetector` tell outliers from usual rows? Area under the",
        "ROC curve in percent (50 is chance), and seconds for fitting and judging a set. Made by",
        "`python benchmarks/outliers.py`, which says how the sets are split; one configuration for",
        "all sets, with `novelty=True` where the training rows are all usual.",
    ]
    for protocol in PROTOCOLS:
        done = [k for k in records if k.startswith(protocol)]
        names = list(dict.fromkeys(k.split("/")[1] for k in done))
        if not names:
            continue
        n_seeds = len({k.split("/")[2] for k in done})
        chosen = [name for name in names if number(name) in CHOSEN_ON]
        others = [name for name in names if name not in chosen]
        lines += ["", f"## {protocol.capitalize()}", ""]
        lines += [f"{len(names)} sets, {n_seeds} {'seed' if n_seeds == 1 else 'seeds'}. The"]
        lines += [f"configuration was chosen on {len(chosen)} of them, with one seed.", ""]
        header = ("detector", "all sets", "chosen on", "the others", "seconds a set")
        rows = [
            (
                title,
                *(
                    round_1(average(records, protocol, title, 0, n))
                    for n in (names, chosen, others)
                ),
                average(records, protocol, title, 1, names),
            )
            for title in DETECTORS
        ]
        lines += markdown_table(header, sorted(rows, key=lambda row: -float(row[1])))
        lines += ["", "Set by set (area, then seconds):", ""]
        table = [
            (
                f"{name} {records[next(k for k in done if within(k, protocol, name))]['shape']}",
                *(
                    f"{average(records, protocol, title, 0, [name]):.1f} "
                    f"({figure(average(records, protocol, title, 1, [name]))})"
                    for title in DETECTORS
                ),
            )
            for name in names
        ]
        lines += markdown_table(("set", *DETECTORS), table)
    return "\n".join([*lines, ""])


def round_1(value: float) -> str:
    return f"{value:.1f}"


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--seeds", type=int, default=5)
    arguments = options.parse_args()
    results = Results("outliers", quick=arguments.quick)
    run(results, 1 if arguments.quick else arguments.seeds, ["14_glass"] * arguments.quick)
    if not arguments.quick:
        PAGE.write_text(page(results.records))


if __name__ == "__main__":
    main()
