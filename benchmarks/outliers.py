"""Outlier detection: area under the ROC curve beside other detectors.

    python benchmarks/outliers.py [--seeds 5] [--detectors LOF,OneClassSVM] [--quick]

Needs the ADBench sets as `adbench/*.npz` in the data folder. There are two protocols. One-class:
the training set is half of the inliers, the test set the other half and all outliers. Unsupervised:
all rows, without labels, are the training set and the test set. At most 20,000 rows of a set are
drawn with the seed; columns are standardised with the training rows. Each detector has one
configuration for all sets. Writes `benchmarks/results/outliers.json` after each set, continues an
interrupted run, and writes `docs/outliers.md`. `--page` only writes the page.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from _timing import Results, Timer, markdown_table, page_parser
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
# The ADBench numbers of the sets on which the constants were chosen.
CHOSEN_ON = (4, 6, 7, 14, 19, 20, 24, 29, 30, 31, 34, 42)

# Functions of training rows, test rows, whether they are the same, and a seed: outlier scores, high
# for outliers.
Detector = Callable[[np.ndarray, np.ndarray, bool, int], np.ndarray]


def ours(train, test, same, seed):
    detector = AutoencoderOutlierDetector(novelty=not same, random_state=seed)
    return -detector.fit(train).score_samples(test)


def fifth_neighbour(train, test, same, seed):
    neighbours = NearestNeighbors(n_neighbors=5).fit(train)
    return neighbours.kneighbors(None if same else test)[0][:, -1]


def local_outlier_factor(train, test, same, seed):
    if same:
        return -LocalOutlierFactor().fit(train).negative_outlier_factor_
    return -LocalOutlierFactor(novelty=True).fit(train).score_samples(test)


def scored_by(make: Callable[[int], BaseEstimator]) -> Detector:
    return lambda train, test, same, seed: -make(seed).fit(train).score_samples(test)


def pca_reconstruction(share: float) -> Detector:
    def score(train, test, same, seed):
        pca = PCA(share, svd_solver="full").fit(train)
        return ((test - pca.inverse_transform(pca.transform(test))) ** 2).sum(axis=1)

    return score


def pyod_autoencoder(train, test, same, seed):
    from pyod.models.auto_encoder import AutoEncoder

    return AutoEncoder(random_state=seed, verbose=0).fit(train).decision_function(test)


OURS = "AutoencoderOutlierDetector"
DETECTORS: dict[str, Detector] = {
    OURS: ours,
    "5-NN distance": fifth_neighbour,
    "LOF": local_outlier_factor,
    "IsolationForest": scored_by(lambda seed: IsolationForest(random_state=seed)),
    "OneClassSVM": scored_by(lambda seed: OneClassSVM()),
    "PCA of 90 % of variance": pca_reconstruction(0.9),
    "PCA of 50 % of variance": pca_reconstruction(0.5),
    "PyOD AutoEncoder": pyod_autoencoder,
}


def sets() -> dict[str, Path]:
    """Paths of the sets by name, in the order of ADBench's numbers."""
    if (where := folder()) is None:
        raise SystemExit("no data folder: set SKAE_DATA")
    paths = sorted((where / "adbench").glob("*.npz"), key=lambda path: number(path.stem))
    return {path.stem: path for path in paths}


def number(name: str) -> int:
    return int(name.split("_")[0])


def parts(path, protocol: str, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Training rows, test rows, and whether each test row is an outlier."""
    rng = np.random.RandomState(seed)
    with np.load(path, allow_pickle=False) as arrays:
        X, y = arrays["X"].astype(np.float32), arrays["y"].astype(int)
    if len(X) > MAX_ROWS:
        drawn = rng.choice(len(X), MAX_ROWS, replace=False)
        X, y = X[drawn], y[drawn]
    train = test = np.arange(len(X))
    if protocol == "one-class":
        inliers = rng.permutation(np.flatnonzero(y == 0))
        train = inliers[: len(inliers) // 2]
        test = np.setdiff1d(test, train)
    scaler = StandardScaler().fit(X[train])
    return scaler.transform(X[train]), scaler.transform(X[test]), y[test]


def run(results: Results, n_seeds: int, names: list[str], titles: list[str]) -> None:
    for seed in range(n_seeds):
        for protocol in PROTOCOLS:
            for name in names:
                key = f"{protocol}/{name}/{seed}"
                record = results.records.get(key, {})
                absent = [title for title in titles if title not in record]
                if not absent:
                    continue
                train, test, labels = parts(sets()[name], protocol, seed)
                for title in absent:
                    with Timer() as timer:
                        scores = DETECTORS[title](train, test, protocol == "unsupervised", seed)
                    record[title] = [100 * float(roc_auc_score(labels, scores)), timer.processor]
                results.save(key, **record | {"shape": list(train.shape)})


def average(cases: list[dict], title: str, column: int) -> float:
    """Mean over sets of the mean over seeds."""
    of_set: dict[str, list[float]] = {}
    for case in cases:
        if title in case:
            of_set.setdefault(case["name"], []).append(case[title][column])
    return float(np.mean([np.mean(values) for values in of_set.values()]))


def n_seeds(cases: list[dict], title: str) -> int:
    """Number of seeds for which all sets have been run."""
    names = {case["name"] for case in cases}
    seeds = [{c["seed"] for c in cases if c["name"] == name and title in c} for name in names]
    return len(set.intersection(*seeds))


HEAD = """# Outlier detection

This page compares `AutoencoderOutlierDetector` with other detectors on 25 data sets of ADBench. The
tables have the area under the ROC curve in percent. It is 100 at best, and 50 for random scores.
Each detector has the same parameters for all data sets. The detectors of scikit-learn and PyOD have
their default parameters. "5-NN distance" is the distance from the fifth nearest neighbour. "PCA" is
the reconstruction error of PCA, with as many components as explain 50 or 90 % of the variance.
In the tables of all data sets, the names are shortened: "autoencoder" is
`AutoencoderOutlierDetector`, "forest" is `IsolationForest`, and "SVM" is `OneClassSVM`.

There are two tasks:

- One-class: the training set is half of the inliers. The test set is the other half and all
  outliers. `AutoencoderOutlierDetector` has `novelty=True`.
- Unsupervised: all rows, without labels, are both the training set and the test set.

At most 20,000 rows of a data set are used, and columns are standardised with the training rows.
Figures are means over five draws of rows.

The results of `AutoencoderOutlierDetector` are optimistic. Its constants were chosen on 12 of the
data sets, and its kinds of denoisers and the scales of their errors on all of them. The figures are
for version 0.1.0.

    python benchmarks/outliers.py
"""


def page(records: dict) -> str:
    cases = [
        record | dict(zip(("protocol", "name", "seed"), key.split("/"), strict=True))
        for key, record in records.items()
    ]
    lines = HEAD.splitlines()
    for protocol in PROTOCOLS:
        done = [case for case in cases if case["protocol"] == protocol]
        titles = [title for title in DETECTORS if done and n_seeds(done, title)]
        if titles:
            lines += ["", f"## {protocol.capitalize()}", "", *tables(done, titles)]
    lines += ["", "## Data sets", "", *table_of_sets(cases)]
    return "\n".join([*lines, ""])


def table_of_sets(cases: list[dict]) -> list[str]:
    """Numbers of training rows and of columns."""
    shapes = {(case["name"], case["protocol"]): case["shape"] for case in cases}
    rows = [
        (name, *(str(shapes.get((name, p), [""])[0]) for p in PROTOCOLS), str(shape[1]))
        for (name, protocol), shape in shapes.items()
        if protocol == PROTOCOLS[0]
    ]
    return markdown_table(
        ("set", *(f"training rows, {protocol}" for protocol in PROTOCOLS), "columns"), rows
    )


# Names of detectors that would make the table of all sets wider than a page.
SHORT = {
    "AutoencoderOutlierDetector": "autoencoder",
    "5-NN distance": "5-NN",
    "IsolationForest": "forest",
    "OneClassSVM": "SVM",
    "PCA of 50 % of variance": "PCA 50 %",
    "PCA of 90 % of variance": "PCA 90 %",
    "PyOD AutoEncoder": "PyOD",
}


def tables(cases: list[dict], titles: list[str]) -> list[str]:
    """The means over all sets, and a table of the sets."""
    chosen = [case for case in cases if number(case["name"]) in CHOSEN_ON]
    others = [case for case in cases if number(case["name"]) not in CHOSEN_ON]
    n_sets, n_chosen = (len({case["name"] for case in part}) for part in (cases, chosen))
    header = (
        "detector",
        f"area, {n_sets} sets",
        f"{n_chosen} sets with chosen constants",
        f"{n_sets - n_chosen} other sets",
        "processor seconds for a set",
    )
    rows = [
        (
            title,
            *(f"{average(part, title, 0):.1f}" for part in (cases, chosen, others)),
            average(cases, title, 1),
        )
        for title in sorted(titles, key=lambda title: -average(cases, title, 0))
    ]
    by_set = {case["name"]: [c for c in cases if c["name"] == case["name"]] for case in cases}
    table = [
        (name, *(f"{average(part, t, 0):.1f}" for t in titles)) for name, part in by_set.items()
    ]
    best = [max(average(part, t, 0) for t in titles) for part in by_set.values()]
    own = [average(part, OURS, 0) for part in by_set.values()]
    n_best = sum(area >= largest for area, largest in zip(own, best, strict=True))
    return [
        *markdown_table(header, rows),
        "",
        f"`{OURS}` has the largest area on {n_best} of {n_sets} data sets. Area for each data set:",
        "",
        *markdown_table(("set", *(SHORT.get(title, title) for title in titles)), table),
    ]


def main() -> None:
    options = page_parser(__doc__)
    options.add_argument("--seeds", type=int, default=5)
    options.add_argument("--detectors", default=",".join(DETECTORS))
    arguments = options.parse_args()
    results = Results("outliers", quick=arguments.quick)
    if arguments.page:
        PAGE.write_text(page(results.records))
        return
    names = ["14_glass"] if arguments.quick else list(sets())
    seeds = 1 if arguments.quick else arguments.seeds
    run(results, seeds, names, arguments.detectors.split(","))
    if not arguments.quick:
        PAGE.write_text(page(results.records))


if __name__ == "__main__":
    main()
