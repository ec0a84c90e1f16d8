"""Outlier detection: areas under the ROC curve and average precisions of several detectors.

    python benchmarks/outliers.py [--seeds 5] [--detectors LOF,OneClassSVM] [--quick]

Needs PyOD, and the ADBench sets as `adbench/*.npz` in the data folder. There are two protocols.
One-class: the training set is half of the inliers, the test set the other half and all outliers.
Unsupervised: all rows, without labels, are the training set and the test set. At most 10,000 rows
of a set are drawn with the seed; columns are standardised with the training rows. Each detector has
one configuration for all sets. Writes `benchmarks/results/outliers.json` after each set, continues
an interrupted run, and writes `docs/outliers.md`. `--page` only writes the page.
"""

from collections.abc import Callable
from importlib import import_module
from inspect import signature
from pathlib import Path

import numpy as np
import torch
from _timing import Results, Timer, markdown_table, page_parser
from data_sets import ROOT, folder
from sklearn.base import BaseEstimator
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors
from sklearn.preprocessing import StandardScaler
from sklearn.svm import OneClassSVM

from skae import AutoencoderOutlierDetector, AutoencoderTransformer

PAGE = ROOT / "docs" / "outliers.md"
MAX_ROWS = 10_000
PROTOCOLS = ("one-class", "unsupervised")
# Functions of training rows, test rows, whether they are the same, and a seed: outlier scores, high
# for outliers.
Detector = Callable[[np.ndarray, np.ndarray, bool, int], np.ndarray]


def ours(novelty: bool | str) -> Detector:
    def score(train, test, same, seed):
        detector = AutoencoderOutlierDetector(novelty=novelty, random_state=seed)
        return -detector.fit(train).score_samples(test)

    return score


def autoencoder(transform_max_iter: int | str) -> Detector:
    """The reconstruction error of one autoencoder, of codes that are projected or not."""

    def score(train, test, same, seed):
        reducer = AutoencoderTransformer(
            min(8, train.shape[1] - 1), transform_max_iter=transform_max_iter, random_state=seed
        )
        return -reducer.fit(train).score_samples(test)

    return score


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


def pyod(module: str, name: str, **parameters) -> Detector:
    """A detector of PyOD."""

    def score(train, test, same, seed):
        cls = getattr(import_module(f"pyod.models.{module}"), name)
        seeded = {"random_state": seed} if "random_state" in signature(cls).parameters else {}
        torch.manual_seed(seed)
        return cls(**seeded, **parameters).fit(train).decision_function(test)

    return score


def pyod_deep_svdd(train, test, same, seed):
    detector = pyod("deep_svdd", "DeepSVDD", n_features=train.shape[1], verbose=0)
    return detector(train, test, same, seed)


OURS = "AutoencoderOutlierDetector"
CODES = "AutoencoderTransformer"
DETECTORS: dict[str, Detector] = {
    OURS: ours("auto"),
    f"{OURS} (novelty=True)": ours(True),
    f"{OURS} (novelty=False)": ours(False),
    f"{CODES} (codes of the encoder)": autoencoder(0),
    f"{CODES} (projected codes)": autoencoder("auto"),
    "5-NN distance": fifth_neighbour,
    "LOF": local_outlier_factor,
    "IsolationForest": scored_by(lambda seed: IsolationForest(random_state=seed)),
    "OneClassSVM": scored_by(lambda seed: OneClassSVM()),
    "PCA of 90 % of variance": pca_reconstruction(0.9),
    "PCA of 50 % of variance": pca_reconstruction(0.5),
    "PyOD AutoEncoder": pyod("auto_encoder", "AutoEncoder", verbose=0),
    "PyOD ECOD": pyod("ecod", "ECOD"),
    "PyOD COPOD": pyod("copod", "COPOD"),
    "PyOD LUNAR": pyod("lunar", "LUNAR"),
    "PyOD DeepSVDD": pyod_deep_svdd,
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
                    measures = roc_auc_score, average_precision_score
                    percent = [100 * float(measure(labels, scores)) for measure in measures]
                    record[title] = [*percent, timer.processor]
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

This page compares `AutoencoderOutlierDetector` with other detectors on {n_sets} data sets of
ADBench, by the area under the ROC curve and the average precision, in percent. Both are 100 at
best. Random scores have an area of 50, and an average precision equal to the share of outliers.
Each detector has the same parameters for all data sets. The detectors of scikit-learn and PyOD have
their default parameters. "5-NN distance" is the distance from the fifth nearest neighbour. "PCA" is
the reconstruction error of PCA, with as many components as explain 50 or 90 % of the variance.
"AutoencoderTransformer" is the reconstruction error of one autoencoder with at most eight
components, for the codes of its encoder or for projected codes.

There are two tasks:

- One-class: the training set is half of the inliers. The test set is the other half and all
  outliers.
- Unsupervised: all rows, without labels, are both the training set and the test set.

At most {max_rows} rows of a data set are used, and columns are standardised with the training rows.
Figures are means over {n_seeds} of rows; those of `AutoencoderTransformer` are for one draw.

The results of `AutoencoderOutlierDetector` are optimistic, because its constants were chosen on
these data sets. Those of `novelty="auto"`, the default, were chosen on at most 3000 rows of each
data set.

    python benchmarks/outliers.py
"""


def page(records: dict) -> str:
    cases = [
        record | dict(zip(("protocol", "name", "seed"), key.split("/"), strict=True))
        for key, record in records.items()
    ]
    done = n_seeds(cases, OURS)
    head = HEAD.format(
        n_sets=len({case["name"] for case in cases}),
        max_rows=f"{MAX_ROWS:,}",
        n_seeds="one draw" if done == 1 else f"{done} draws",
    )
    lines = head.splitlines()
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


# Names of detectors in the table of all sets, which has few columns.
SHORT = {
    OURS: "default",
    f"{OURS} (novelty=True)": "novelty=True",
    f"{OURS} (novelty=False)": "novelty=False",
    "5-NN distance": "5-NN",
    "IsolationForest": "forest",
    "OneClassSVM": "SVM",
}


def tables(cases: list[dict], titles: list[str]) -> list[str]:
    """The means over all sets, and a table of the sets."""
    n_sets = len({case["name"] for case in cases})
    header = (
        "detector",
        f"area, {n_sets} sets",
        "average precision",
        "processor seconds for a set",
    )
    rows = [
        (title, *(f"{average(cases, title, i):.1f}" for i in (0, 1)), average(cases, title, 2))
        for title in sorted(titles, key=lambda title: -average(cases, title, 0))
    ]
    by_set = {case["name"]: [c for c in cases if c["name"] == case["name"]] for case in cases}
    others = [title for title in titles if not title.startswith((OURS, CODES))]
    shown = [title for title in titles if title in SHORT]
    table = []
    for name, part in by_set.items():
        best = max(others, key=lambda title: average(part, title, 0))
        areas = [f"{average(part, title, 0):.1f}" for title in shown]
        table.append((name, *areas, f"{average(part, best, 0):.1f}", best))
    gaps = {row[0]: float(row[1]) - float(row[-2]) for row in table}
    worst = min(gaps, key=gaps.__getitem__)
    return [
        *markdown_table(header, rows),
        "",
        f"The default has a larger area than all detectors of other packages on "
        f"{sum(gap > 0 for gap in gaps.values())} of {n_sets} data sets. On {worst} it is "
        f"{-gaps[worst]:.1f} points below the best of them, which is the largest difference.",
        "",
        "Area for each data set:",
        "",
        *markdown_table(
            ("set", *(SHORT[title] for title in shown), "best other", "detector"), table
        ),
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
