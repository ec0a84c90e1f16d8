"""Outlier detection with a few known outliers: areas under the ROC curve of several detectors.

    python benchmarks/known_outliers.py [--seeds 5] [--detectors DevNet] [--quick]

Needs PyOD with xgboost, and the ADBench sets as `adbench/*.npz` in the data folder. The training
set is half of at most 6000 rows of a set, with its outliers. The labels of 1, 5 or 10 outliers are
known. The test set is the other half. Sets with fewer than 10 outliers in the training set are left
out. Columns are standardised with the training rows. Writes
`benchmarks/results/known_outliers.json` after each set, continues an interrupted run, and writes
`docs/known_outliers.md`. `--page` only writes the page.
"""

import numpy as np
import torch
from _timing import Results, Timer, markdown_table, page_parser
from data_sets import ROOT
from outliers import Detector, n_seeds, sets
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from skae import AutoencoderOutlierDetector

PAGE = ROOT / "docs" / "known_outliers.md"
MAX_ROWS = 6000
N_KNOWN = (0, 1, 5, 10)


def ours(train, test, is_known, seed):
    detector = AutoencoderOutlierDetector(random_state=seed)
    return -detector.fit(train, np.where(is_known, -1, 0)).score_samples(test)


def xgbod(train, test, is_known, seed):
    from pyod.models.xgbod import XGBOD

    return XGBOD(random_state=seed).fit(train, is_known.astype(int)).decision_function(test)


def deviation_network(train, test, is_known, seed):
    """DevNet (Pang, Shen and van den Hengel, KDD 2019), with the parameters of the paper.

    Not by PyOD 3.6: it trains on the labels and the scores in exchanged roles.
    """
    torch.manual_seed(seed)
    rng = np.random.RandomState(seed)
    network = torch.nn.Sequential(
        torch.nn.Linear(train.shape[1], 20), torch.nn.ReLU(), torch.nn.Linear(20, 1)
    )
    optimizer = torch.optim.RMSprop(network.parameters(), lr=1e-3, alpha=0.9, weight_decay=1e-2)
    known, others = np.flatnonzero(is_known), np.flatnonzero(~is_known)
    rows, target = torch.from_numpy(train).float(), torch.arange(512) % 2
    for _ in range(50 * 20):
        index = np.empty(512, dtype=int)
        index[::2], index[1::2] = rng.choice(others, 256), rng.choice(known, 256)
        reference = torch.randn(5000)
        deviation = (network(rows[index])[:, 0] - reference.mean()) / reference.std()
        loss = torch.where(target == 1, (5 - deviation).clamp_min(0), deviation.abs()).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        return network(torch.from_numpy(test).float())[:, 0].numpy()


def classifier(make) -> Detector:
    def score(train, test, is_known, seed):
        return make(seed).fit(train, is_known).predict_proba(test)[:, 1]

    return score


OURS = "AutoencoderOutlierDetector"
DETECTORS: dict[str, Detector] = {
    OURS: ours,
    "PyOD XGBOD": xgbod,
    "DevNet": deviation_network,
    "LogisticRegression": classifier(lambda seed: LogisticRegression(class_weight="balanced")),
    "RandomForestClassifier": classifier(
        lambda seed: RandomForestClassifier(class_weight="balanced_subsample", random_state=seed)
    ),
}


def parts(path, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Training rows, test rows, and whether each of them is an outlier."""
    with np.load(path, allow_pickle=False) as arrays:
        X, y = arrays["X"].astype(np.float64), arrays["y"].astype(int)
    if len(X) > MAX_ROWS:
        drawn = np.random.RandomState(seed).choice(len(X), MAX_ROWS, replace=False)
        X, y = X[drawn], y[drawn]
    train, test, *labels = train_test_split(X, y, test_size=0.5, stratify=y, random_state=seed)
    scaler = StandardScaler().fit(train)
    return scaler.transform(train), scaler.transform(test), *labels


def run(results: Results, n_draws: int, names: list[str], titles: list[str]) -> None:
    for seed in range(n_draws):
        for name in names:
            train, test, train_labels, labels = parts(sets()[name], seed)
            if train_labels.sum() < max(N_KNOWN):
                continue
            outliers = np.random.RandomState(seed).permutation(np.flatnonzero(train_labels))
            for n_known in N_KNOWN:
                key = f"{n_known}/{name}/{seed}"
                record = results.records.get(key, {})
                is_known = np.zeros(len(train), dtype=bool)
                is_known[outliers[:n_known]] = True
                for title in [OURS] if n_known == 0 else titles:
                    if title in record:
                        continue
                    with Timer() as timer:
                        scores = DETECTORS[title](train, test, is_known, seed)
                    measures = roc_auc_score, average_precision_score
                    percent = [100 * float(measure(labels, scores)) for measure in measures]
                    record = record | {title: [*percent, timer.processor]}
                    results.save(key, **record)


HEAD = """# Outlier detection with known outliers

This page compares `AutoencoderOutlierDetector.fit(X, y)` with other detectors that use known
outliers, on {n_sets} data sets of ADBench, by the area under the ROC curve and the average
precision, in percent.

The training set is half of the rows, with their outliers. The labels of 1, 5 or 10 outliers are
known, and all other rows are unlabelled. The test set is the other half. At most {max_rows} rows of
a data set are used, and columns are standardised with the training rows. Figures are means over
the data sets, for {n_draws} of rows and labels.

XGBOD is a gradient-boosting classifier on the features and on the scores of several outlier
detectors, with PyOD's parameters. DevNet is a network that is trained so that known outliers have
large scores, with the parameters of its paper. The classifiers of scikit-learn take the unlabelled
rows as inliers, and have balanced class weights.

The results of `AutoencoderOutlierDetector` are optimistic, because its constants were chosen on
these data sets, for the first two draws.

    python benchmarks/known_outliers.py
"""


def mean(cases: list[dict], title: str, column: int) -> float:
    return float(np.mean([case[title][column] for case in cases if title in case]))


def page(records: dict) -> str:
    cases = [
        record | dict(zip(("known", "name", "seed"), key.split("/"), strict=True))
        for key, record in records.items()
    ]
    draws = n_seeds([case for case in cases if case["known"] == "1"], OURS)
    cases = [case for case in cases if int(case["seed"]) < draws]
    lines = HEAD.format(
        n_sets=len({case["name"] for case in cases}),
        max_rows=f"{MAX_ROWS:,}",
        n_draws="one draw" if draws == 1 else f"{draws} draws",
    ).splitlines()
    by_number = {n: [case for case in cases if case["known"] == str(n)] for n in N_KNOWN}
    without = by_number.pop(0)
    for column, measure in enumerate(("Area under the ROC curve", "Average precision")):
        rows = [
            (title, *(f"{mean(part, title, column):.1f}" for part in by_number.values()))
            for title in DETECTORS
        ]
        rows.append((f"{OURS} without labels", *[f"{mean(without, OURS, column):.1f}"] * 3))
        header = ("detector", *(f"{n} known" for n in by_number))
        lines += ["", f"## {measure}", "", *markdown_table(header, rows)]
    return "\n".join([*lines, "", *differences(without, by_number), ""])


def differences(without: list[dict], by_number: dict[int, list[dict]]) -> list[str]:
    """What labels change on single sets."""
    before = {(case["name"], case["seed"]): case[OURS][0] for case in without}
    lines = ["## Single data sets", ""]
    for n_known, part in by_number.items():
        gains: dict[str, list[float]] = {}
        for case in part:
            gain = case[OURS][0] - before[case["name"], case["seed"]]
            gains.setdefault(case["name"], []).append(gain)
        mean_gains = {name: float(np.mean(values)) for name, values in gains.items()}
        worst = min(mean_gains, key=mean_gains.__getitem__)
        n_worse = sum(gain < -0.5 for gain in mean_gains.values())
        lines.append(
            f"- {n_known} known: the area is more than 0.5 points smaller than without labels on "
            f"{n_worse} of {len(gains)} data sets, at most by {max(-mean_gains[worst], 0):.1f} "
            f"points ({worst})."
        )
    return lines


def main() -> None:
    options = page_parser(__doc__)
    options.add_argument("--seeds", type=int, default=5)
    options.add_argument("--detectors", default=",".join(DETECTORS))
    arguments = options.parse_args()
    results = Results("known_outliers", quick=arguments.quick)
    if not arguments.page:
        names = ["14_glass", "4_breastw"] if arguments.quick else list(sets())
        n_draws = 1 if arguments.quick else arguments.seeds
        run(results, n_draws, names, arguments.detectors.split(","))
    if not arguments.quick:
        PAGE.write_text(page(results.records))


if __name__ == "__main__":
    main()
