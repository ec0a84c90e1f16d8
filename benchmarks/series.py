"""Outlier detection in time series: windows of several lengths, with several detectors.

    python benchmarks/series.py [--seeds 5] [--quick]

Needs `ecg5000.npz` and `cmapss_fd001.npz` in the data folder. Writes
`benchmarks/results/series.json` after each case, continues an interrupted run, and writes
`docs/series.md` and its figure. `--page` only writes the page and the figure.
"""

from collections.abc import Callable

import matplotlib.pyplot as plt
import numpy as np
from _timing import Results, Timer, markdown_table, page_parser
from data_sets import ROOT
from labelled_sets import path_of
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skae import AutoencoderOutlierDetector, TimeSeriesOutlierDetector

PAGE = ROOT / "docs" / "series.md"
FIGURE = ROOT / "docs" / "lead_time.png"

# Engines: the cycles that are healthy, those of them that every window size can score, the number
# of engines of `fit`, the share of engines that may have a false alarm, and the scores of a mean.
HEALTHY, FIRST_SCORED, N_KNOWN, FALSE_ALARMS, N_AVERAGED = 50, 30, 70, 0.05, 10
ENGINE_WINDOWS = (1, 5, 10, 20)
# Heartbeats: windows of `fit` at most, time steps between them, and beats that are scored at most.
MAX_WINDOWS, STRIDE, MAX_BEATS = 10_000, 5, 1000
BEAT_WINDOWS = (1, 10, 40, 140)


class NegativeErrors(OutlierMixin, BaseEstimator):
    """A detector whose threshold is not used; its methods are those of scikit-learn."""

    def fit(self, X, y=None):
        """Fit to rows."""
        self.errors_ = self.errors_function(X)
        return self

    def score_samples(self, X):
        """Negative errors of rows."""
        return -self.errors_(X)

    decision_function = score_samples


class FifthNeighbour(NegativeErrors):
    """The distance from the fifth nearest neighbour."""

    def errors_function(self, X):
        """The function of rows that returns the distances."""
        neighbours = NearestNeighbors(n_neighbors=5).fit(X)
        return lambda rows: neighbours.kneighbors(rows)[0][:, -1]


class PCAError(NegativeErrors):
    """The reconstruction error of PCA."""

    def errors_function(self, X):
        """The function of rows that returns the errors."""
        pca = PCA(0.9, svd_solver="full").fit(X)
        return lambda rows: ((rows - pca.inverse_transform(pca.transform(rows))) ** 2).sum(axis=1)


OURS = "AutoencoderOutlierDetector"
DETECTORS: dict[str, Callable[[int], BaseEstimator]] = {
    OURS: lambda seed: AutoencoderOutlierDetector(novelty=True, random_state=seed),
    "IsolationForest": lambda seed: IsolationForest(random_state=seed),
    "5-NN distance": lambda seed: make_pipeline(StandardScaler(), FifthNeighbour()),
    "PCA reconstruction": lambda seed: make_pipeline(StandardScaler(), PCAError()),
}


def heartbeats(name: str, size: int, seed: int) -> dict:
    """Area under the ROC curve of the lowest score of each beat."""
    rng = np.random.RandomState(seed)
    with np.load(path_of("ecg5000"), allow_pickle=False) as arrays:
        train, test, abnormal = (arrays[key] for key in ("X_train", "X_test", "y_test"))
    chosen = rng.permutation(len(test))[:MAX_BEATS]
    length = train.shape[1]
    n_beats = min(len(train), MAX_WINDOWS // ((length - size) // STRIDE + 1))
    known = rng.permutation(len(train))[:n_beats]
    detector = TimeSeriesOutlierDetector(DETECTORS[name](seed), window_size=size, stride=STRIDE)
    detector.fit(train[known].reshape(-1, 1), groups=np.repeat(known, length))
    groups = np.repeat(np.arange(len(chosen)), length)
    scores = detector.score_samples(test[chosen].reshape(-1, 1), groups=groups)
    lowest = np.nanmin(scores.reshape(len(chosen), length), axis=1)
    return {"area": float(roc_auc_score(abnormal[chosen], -lowest))}


def engines(name: str, size: int, seed: int) -> dict:
    """Cycles between the first alarm and the failure of each unseen engine, and false alarms."""
    with np.load(path_of("cmapss_fd001"), allow_pickle=False) as arrays:
        X, unit, cycle = (arrays[f"{key}_train"] for key in ("X", "unit", "cycle"))
    order = np.random.RandomState(seed).permutation(np.unique(unit))
    healthy = np.isin(unit, order[:N_KNOWN]) & (cycle <= HEALTHY)

    def fitted(rows: np.ndarray) -> TimeSeriesOutlierDetector:
        detector = TimeSeriesOutlierDetector(DETECTORS[name](seed), window_size=size)
        return detector.fit(X[rows], groups=unit[rows])

    rows, held_out = np.flatnonzero(healthy), np.full(len(X), np.nan)
    for fit, score in GroupKFold(5).split(rows, groups=unit[rows]):
        part = rows[score]
        held_out[part] = fitted(rows[fit]).score_samples(X[part], groups=unit[part])
    scores = fitted(rows).score_samples(X, groups=unit)
    alarms = {}
    for title, n_averaged in (("score", 1), ("mean", N_AVERAGED)):
        threshold = np.quantile(
            [
                trailing_mean(held_out[unit == engine], n_averaged)[
                    FIRST_SCORED - 1 : HEALTHY
                ].min()
                for engine in order[:N_KNOWN]
            ],
            FALSE_ALARMS,
        )
        lead, n_false = [], 0
        for engine in order[N_KNOWN:]:
            is_low = trailing_mean(scores[unit == engine], n_averaged) < threshold
            n_false += int(is_low[FIRST_SCORED - 1 : HEALTHY].any())
            places = HEALTHY + np.flatnonzero(is_low[HEALTHY:])
            lead.append(int(len(is_low) - 1 - places[0]) if len(places) else 0)
        alarms[title] = {"lead": lead, "false": n_false / len(lead)}
    return alarms


def trailing_mean(scores: np.ndarray, n: int) -> np.ndarray:
    """Mean of the score and the n - 1 before it; NaN where one of them is."""
    return np.r_[np.full(n - 1, np.nan), np.convolve(scores, np.full(n, 1 / n), "valid")]


TASKS = {"heartbeats": (heartbeats, BEAT_WINDOWS), "engines": (engines, ENGINE_WINDOWS)}


def run(results: Results, n_seeds: int, names: list[str]) -> None:
    for seed in range(n_seeds):
        for task, (measure, sizes) in TASKS.items():
            for size in sizes:
                for name in names:
                    key = f"{task}/{size}/{name}/{seed}"
                    if key not in results.records:
                        with Timer() as timer:
                            measured = measure(name, size, seed)
                        results.save(key, **measured, seconds=timer.processor)


HEAD = """# Outlier detection in time series

This page measures `TimeSeriesOutlierDetector` with several window sizes and several detectors. Each
detector has the same parameters everywhere. "5-NN distance" is the distance from the fifth nearest
neighbour. "PCA reconstruction" is the reconstruction error of PCA, with as many components as
explain 90 % of the variance. Columns are standardised for both. `AutoencoderOutlierDetector` has
`novelty=True`, because the training series are normal. Figures are means over {n_seeds} draws of
series.

    python benchmarks/series.py

## Heartbeats

Each heartbeat of ECG5000 is a series of 140 samples with one column. The detectors are fitted to
at most {max_windows} windows of normal beats. The score of a beat is the lowest score of
its samples. The table contains the area under the ROC curve for {max_beats} other beats, in
percent.
"""
AFTER_BEATS = """
With `window_size=1`, the input is a single voltage, and abnormal beats are not found. An area below
50 means that abnormal beats have fewer extreme voltages than normal beats. The best window is the
complete beat. `AutoencoderOutlierDetector` and the distance from the fifth neighbour have nearly
the same area with 40 samples.
"""
ENGINES = """
## Engines before a failure

C-MAPSS FD001 has 100 simulated engines that run until they fail, and 24 columns for each cycle. The
detectors are fitted to the first {healthy} cycles of {n_known} engines. An alarm is a cycle with a
score below a threshold. To find the threshold, these engines are divided into five folds, and each
fold is scored by a detector that is fitted to the other folds. With the threshold, {false_alarms} %
of these engines have an alarm between cycles {first} and {healthy}.

The other {n_new} engines are new. The *lead time* of an engine is the number of cycles between the
first alarm after cycle {healthy} and the failure; it is 0 if there is no alarm. The tables contain
the median and the 10th percentile over engines. The rate of false alarms is the share of new
engines with an alarm between cycles {first} and {healthy}; it should be {false_alarms} %.

![Share of engines with an alarm against cycles before the failure](lead_time.png)
"""
AVERAGES = """
The score is the mean of the last {n} scores of the engine. The threshold is computed from such
means.
"""
AFTER_ENGINES = """
## Result for engines

The best window size is 1: larger windows have shorter lead times, except with PCA, whose lead times
are always short. The engines degrade slowly, and each column contains independent noise, so a
larger window contains more noise and no pattern. Windows reduce the lead time of `IsolationForest`
the least.

The mean of the last {n} scores contains less noise. With `window_size=1`,
`AutoencoderOutlierDetector` then has the longest median lead time, but also more false alarms than
the distance from the fifth neighbour, whose lead time is a few cycles shorter. The number {n} was
chosen among 1, 5, 10 and 20 on these data.

The rate of false alarms should be {false_alarms} %. The table has the lowest and the highest rate
of each detector in the two tables above, in percent:

"""


def page(records: dict) -> str:
    n_seeds = 1 + max(int(key.rpartition("/")[2]) for key in records)
    lines = HEAD.format(
        n_seeds=n_seeds, max_windows=f"{MAX_WINDOWS:,}", max_beats=f"{MAX_BEATS:,}"
    ).splitlines()
    rows = []
    for name in DETECTORS:
        areas = [
            mean(records, "heartbeats", size, name, lambda r: r["area"]) for size in BEAT_WINDOWS
        ]
        rows.append((name, *(f"{100 * area:.1f}" for area in areas)))
    header = ("detector", *(f"window_size={size}" for size in BEAT_WINDOWS))
    lines += ["", *markdown_table(header, rows), *AFTER_BEATS.splitlines()]
    lines += ENGINES.format(
        healthy=HEALTHY,
        n_known=N_KNOWN,
        n_new=100 - N_KNOWN,
        first=FIRST_SCORED,
        false_alarms=round(100 * FALSE_ALARMS),
        n=N_AVERAGED,
    ).splitlines()
    lines += ["", "### Score of a cycle", "", *table_of_engines(records, "score")]
    lines += ["", "### Mean of scores", *AVERAGES.format(n=N_AVERAGED).splitlines(), ""]
    lines += table_of_engines(records, "mean")
    lines += AFTER_ENGINES.format(n=N_AVERAGED, false_alarms=round(100 * FALSE_ALARMS)).splitlines()
    return "\n".join([*lines, *table_of_false_alarms(records), ""])


def mean(records: dict, task: str, size: int, name: str, measure: Callable[[dict], float]) -> float:
    """Mean over the seeds."""
    prefix = f"{task}/{size}/{name}/"
    return float(np.mean([measure(r) for key, r in records.items() if key.startswith(prefix)]))


def table_of_false_alarms(records: dict) -> list[str]:
    rows = []
    for name in DETECTORS:
        rates = [
            100 * mean(records, "engines", size, name, lambda r, title=title: r[title]["false"])
            for size in ENGINE_WINDOWS
            for title in ("score", "mean")
        ]
        rows.append((name, f"{min(rates):.1f}", f"{max(rates):.1f}"))
    return markdown_table(("detector", "lowest", "highest"), rows)


def table_of_engines(records: dict, title: str) -> list[str]:
    measures = (
        lambda record: np.median(record[title]["lead"]),
        lambda record: np.quantile(record[title]["lead"], 0.1),
        lambda record: 100 * record[title]["false"],
    )
    rows = [
        (name, str(size), *(f"{mean(records, 'engines', size, name, m):.1f}" for m in measures))
        for name in DETECTORS
        for size in ENGINE_WINDOWS
    ]
    header = (
        *("detector", "window_size", "lead time, median"),
        *("lead time, 10th percentile", "false alarms, %"),
    )
    return markdown_table(header, rows)


def picture(records: dict) -> plt.Figure:
    """Share of engines with an alarm against cycles before the failure."""
    figure, axes = plt.subplots(1, 2, figsize=(10, 4), sharey=True, layout="constrained")
    cycles = np.arange(151)
    for ax, (title, heading) in zip(
        axes,
        {"score": "score of a cycle", "mean": f"mean of the last {N_AVERAGED} scores"}.items(),
        strict=True,
    ):
        for name, colour in zip(DETECTORS, ("black", "#e69f00", "#0072b2", "#009e73"), strict=True):
            for size, style in ((1, "-"), (10, "--")):
                prefix = f"engines/{size}/{name}/"
                lead = np.concatenate(
                    [r[title]["lead"] for key, r in records.items() if key.startswith(prefix)]
                )
                share = (lead[:, None] >= np.maximum(cycles, 1)).mean(axis=0)
                ax.plot(cycles, 100 * share, style, color=colour, label=f"{name}, window {size}")
        ax.set(xlabel="cycles before the failure", title=heading, xlim=(150, 0), ylim=(0, 101))
        ax.grid(alpha=0.3)
    axes[0].set_ylabel("engines with an alarm, %")
    figure.legend(
        *axes[0].get_legend_handles_labels(),
        loc="outside lower center",
        ncols=4,
        frameon=False,
        fontsize=8,
    )
    return figure


def write(records: dict) -> None:
    PAGE.write_text(page(records))
    picture(records).savefig(FIGURE, dpi=110)


def main() -> None:
    options = page_parser(__doc__)
    options.add_argument("--seeds", type=int, default=5)
    arguments = options.parse_args()
    results = Results("series", quick=arguments.quick)
    if not arguments.page:
        names = list(DETECTORS)[1:2] if arguments.quick else list(DETECTORS)
        run(results, 1 if arguments.quick else arguments.seeds, names)
    if not arguments.quick:
        write(results.records)


if __name__ == "__main__":
    main()
