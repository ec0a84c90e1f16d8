"""False alarms of outlier detectors on new inliers, and the outliers that are found at that rate.

    python benchmarks/false_alarms.py [--seeds 1] [--quick]

Needs the ADBench sets as `adbench/*.npz` in the data folder. The training set is half of the
inliers of at most 4000 rows of a set, the test set the other half and all outliers. Columns are
standardised with the training rows. Thresholds are for 5 % of false alarms. Writes
`benchmarks/results/false_alarms.json` after each set, continues an interrupted run, and writes
`docs/false_alarms.md`. `--page` only writes the page.
"""

from collections.abc import Callable

import numpy as np
import outliers
from _timing import Results, markdown_table, page_parser
from data_sets import ROOT
from sklearn.base import clone
from sklearn.ensemble import IsolationForest
from sklearn.model_selection import cross_val_predict
from sklearn.neighbors import LocalOutlierFactor

from skae import AutoencoderOutlierDetector

PAGE = ROOT / "docs" / "false_alarms.md"
RATE, N_FOLDS = 0.05, 5
outliers.MAX_ROWS = 4000
# Functions of training rows, test rows and a seed: whether each test row is called an outlier.
Method = Callable[[np.ndarray, np.ndarray, int], np.ndarray]


def by_training_scores(train, test, seed):
    detector = AutoencoderOutlierDetector(contamination=RATE, random_state=seed)
    return detector.fit(train).predict(test) == -1


def by_p_values(train, test, seed):
    detector = AutoencoderOutlierDetector(cv=N_FOLDS, random_state=seed)
    return detector.fit(train).p_values(test) <= RATE


def forest(train, test, seed):
    return IsolationForest(contamination=RATE, random_state=seed).fit(train).predict(test) == -1


def held_out_forest(train, test, seed):
    detector = IsolationForest(random_state=seed)
    held_out = cross_val_predict(clone(detector), train, cv=N_FOLDS, method="decision_function")
    return detector.fit(train).decision_function(test) < np.quantile(held_out, RATE)


def local_outlier_factor(train, test, seed):
    detector = LocalOutlierFactor(novelty=True, contamination=RATE)
    return detector.fit(train).predict(test) == -1


METHODS: dict[str, Method] = {
    "AutoencoderOutlierDetector": by_training_scores,
    f"AutoencoderOutlierDetector, p_values with cv={N_FOLDS}": by_p_values,
    "IsolationForest": forest,
    f"IsolationForest, {N_FOLDS} folds held out": held_out_forest,
    "LocalOutlierFactor": local_outlier_factor,
}


def run(results: Results, n_draws: int, names: list[str]) -> None:
    for seed in range(n_draws):
        for name in names:
            key = f"{name}/{seed}"
            record = results.records.get(key, {})
            absent = [title for title in METHODS if title not in record]
            if not absent:
                continue
            train, test, labels = outliers.parts(outliers.sets()[name], "one-class", seed)
            for title in absent:
                is_alarm = METHODS[title](train, test, seed)
                shares = is_alarm[labels == 0].mean(), is_alarm[labels == 1].mean()
                record[title] = [100 * float(share) for share in shares]
            results.save(key, **record | {"n_train": len(train)})


HEAD = """# False alarms

This page compares the rate of false alarms of detectors: the share of new inliers that are called
outliers. There are {n_sets} data sets of ADBench, with {n_draws}. The training set is half of the
inliers, and the test set is the other half and all outliers. At most {max_rows} rows of a data set
are used. Thresholds are chosen for a rate of 5 %: a quantile of the scores of the training rows, or
of held-out scores. Figures are in percent.

    python benchmarks/false_alarms.py
"""


AFTER = """An autoencoder reconstructs its training rows better than new rows. If there are few
training rows, a threshold from their scores is therefore too high. With held-out scores (`cv`), the
mean rate is at most about 5 %.
"""


def page(records: dict) -> str:
    cases = list(records.values())
    draws = len({key.split("/")[1] for key in records})
    lines = HEAD.format(
        n_sets=len({key.split("/")[0] for key in records}),
        max_rows=f"{outliers.MAX_ROWS:,}",
        n_draws="one draw of rows" if draws == 1 else f"{draws} draws of rows",
    ).splitlines()
    rows = []
    for title in METHODS:
        alarms, found = np.transpose([case[title] for case in cases])
        small = [case["n_train"] < 300 for case in cases]
        figures = alarms.mean(), alarms[small].mean(), alarms.max(), found.mean()
        rows.append((title, *(f"{figure:.1f}" for figure in figures)))
    header = (
        "method",
        "false alarms, mean",
        "with fewer than 300 rows, mean",
        "maximum",
        "outliers found, mean",
    )
    table = markdown_table(header, rows)
    return "\n".join([*lines, "", *table, "", *AFTER.splitlines(), ""])


def main() -> None:
    options = page_parser(__doc__)
    options.add_argument("--seeds", type=int, default=1)
    arguments = options.parse_args()
    results = Results("false_alarms", quick=arguments.quick)
    if not arguments.page:
        names = ["14_glass"] if arguments.quick else list(outliers.sets())
        run(results, arguments.seeds, names)
    if not arguments.quick:
        PAGE.write_text(page(results.records))


if __name__ == "__main__":
    main()
