"""Figures of the guide: outliers among heartbeats and engines, imputed faces.

    python benchmarks/pictures.py [heartbeats] [engines] [faces]

Needs `ecg5000.npz`, `cmapss_fd001.npz` and `olivetti.npz` in the data folder. Detectors of
outliers have `novelty=True`, else all estimators have their defaults. Writes
`docs/heartbeats.png`, `docs/engines.png` and `docs/faces.png`, and prints the figures of the
guide.
"""

import sys
from pathlib import Path

import matplotlib

matplotlib.use("agg")

import matplotlib.pyplot as plt
import numpy as np
from data_sets import ROOT, folder
from PIL import Image
from sklearn.ensemble import IsolationForest
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import LocalOutlierFactor
from sklearn.preprocessing import StandardScaler

from skae import AutoencoderImputer, AutoencoderOutlierDetector

plt.rcParams.update({"axes.spines.top": False, "axes.spines.right": False})

# The channels of C-MAPSS as Saxena et al. (2008) list them; some of them are constant.
CHANNELS = {
    "setting 1": "altitude",
    "setting 2": "Mach number",
    "setting 3": "throttle",
    "T2": "temperature, fan inlet",
    "T24": "temperature, low-pr. compressor",
    "T30": "temperature, high-pr. compressor",
    "T50": "temperature, low-pr. turbine",
    "P2": "pressure, fan inlet",
    "P15": "pressure, bypass duct",
    "P30": "pressure, high-pr. compressor",
    "Nf": "speed of the fan",
    "Nc": "speed of the core",
    "epr": "engine pressure ratio",
    "Ps30": "static pressure, high-pr. compressor",
    "phi": "fuel flow over Ps30",
    "NRf": "corrected speed of the fan",
    "NRc": "corrected speed of the core",
    "BPR": "bypass ratio",
    "farB": "fuel-air ratio of the burner",
    "htBleed": "bleed enthalpy",
    "Nf_dmd": "demanded speed of the fan",
    "PCNfR_dmd": "demanded corrected speed",
    "W31": "coolant bleed, high-pr. turbine",
    "W32": "coolant bleed, low-pr. turbine",
}
EARLY, LATE, N_KNOWN = 50, 30, 70  # cycles, cycles, engines


def arrays_of(name: str) -> dict[str, np.ndarray]:
    if (where := folder()) is None or not (where / f"{name}.npz").is_file():
        raise SystemExit(f"{name}.npz: not in the data folder; SKAE_DATA names it.")
    with np.load(where / f"{name}.npz") as arrays:
        return {key: arrays[key] for key in arrays}


def area_beside_others(detector, train, test, abnormal) -> float:
    """Area under the ROC curve; prints that of two other detectors with their defaults."""
    area = roc_auc_score(abnormal, -detector.score_samples(test))
    print(f"  area under the ROC curve {area:.3f}")
    scaler = StandardScaler().fit(train)
    for other in (LocalOutlierFactor(novelty=True), IsolationForest(random_state=0)):
        scores = other.fit(scaler.transform(train)).score_samples(scaler.transform(test))
        print(f"  {type(other).__name__}: {roc_auc_score(abnormal, -scores):.3f}")
    return area


def heartbeats() -> plt.Figure:
    """A normal beat and three abnormal ones: percentiles 95, 50 and 5 of the scores."""
    data = arrays_of("ecg5000")
    X, abnormal = data["X_test"], data["y_test"].astype(bool)
    detector = AutoencoderOutlierDetector(novelty=True, random_state=0).fit(data["X_train"])
    area = area_beside_others(detector, data["X_train"], X, abnormal)
    scores, contributions = detector.score_samples(X), -detector.feature_contributions(X)
    found, alarms = (scores[part] < detector.offset_ for part in (abnormal, ~abnormal))
    print(f"  called outliers: {found.mean():.1%} of abnormal beats, {alarms.mean():.1%} of normal")
    for share in (0.01, 0.05, 0.1):
        threshold = np.quantile(detector.score_samples(data["X_train"]), share)
        found, alarms = (np.mean(scores[part] < threshold) for part in (abnormal, ~abnormal))
        print(f"  contamination={share}: {found:.1%} of abnormal beats, {alarms:.1%} of normal")

    def at(part, percentile):  # the row of `part` whose score is nearest to that percentile
        return np.argmin(abs(scores - np.percentile(scores[part], percentile)) + 1e9 * ~part)

    beats = {"a normal beat, median score": at(~abnormal, 50)} | {
        f"an abnormal beat, {name}": at(abnormal, percentile)
        for name, percentile in (("95th percentile", 95), ("median", 50), ("5th percentile", 5))
    }
    low, high = np.percentile(data["X_train"], [5, 95], axis=0)
    time = np.arange(X.shape[1])
    figure, axes = plt.subplots(
        2, 4, figsize=(11, 4), sharex=True, sharey="row", height_ratios=[2, 1], layout="constrained"
    )
    for (above, below), (title, row) in zip(axes.T, beats.items(), strict=True):
        marked = contributions[row] > 4 * contributions[~abnormal].mean()
        above.fill_between(time, low, high, color="0.85", lw=0, label="90 % of the normal beats")
        above.plot(time, X[row], color="black", lw=1, label="this beat")
        label = "contribution above 4 times the mean of normal beats"
        above.plot(
            time[marked],
            X[row, marked],
            "o",
            color="C1",
            mec="black",
            mew=0.4,
            ms=4.5,
            label=label,
        )
        below.bar(time, contributions[row], width=1, color=np.where(marked, "C1", "0.5"))
        above.set_title(f"{title}\nscore {scores[row]:.1f}", fontsize=10)
        below.set_xlabel("sample of the beat")
    axes[0, 0].set_ylabel("voltage, scaled")
    axes[1, 0].set_ylabel("- contribution", fontsize=9)
    figure.legend(
        *above.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False
    )
    figure.suptitle(
        f"Fitted to {len(data['X_train'])} normal beats; scores of {len(X)} others, "
        f"AUROC {area:.3f}"
    )
    return figure


def engines() -> plt.Figure:
    """Scores of unseen engines until they fail, and the sensors with the largest contributions."""
    data = arrays_of("cmapss_fd001")
    X, unit, cycle = data["X_train"], data["unit_train"], data["cycle_train"]
    left = np.array([cycle[unit == one].max() for one in unit]) - cycle
    train, new = (unit <= N_KNOWN) & (cycle <= EARLY), unit > N_KNOWN
    detector = AutoencoderOutlierDetector(novelty=True, random_state=0).fit(X[train])
    early, late = new & (cycle <= EARLY), new & (left < LATE)
    area = area_beside_others(detector, X[train], X[early | late], late[early | late])
    for name, part in (("early", early), ("late", late)):
        called = detector.predict(X[part]) < 0
        print(f"  called outliers: {called.mean():.1%} of {name} cycles")

    figure, (over, sensors) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    scores, bins = detector.score_samples(X), np.arange(0, 201, 5)
    low, middle, high = np.transpose(
        [np.percentile(-scores[new & (left // 5 == b // 5)], [10, 50, 90]) for b in bins]
    )
    over.fill_between(bins, low, high, color="0.85", label="percentiles 10 to 90", lw=0)
    over.plot(bins, middle, color="black", label="median")
    over.axhline(-detector.offset_, color="C1", ls="--", label="threshold of outliers")
    over.set(xlabel="cycles until the engine fails", ylabel="- score", yscale="log", xlim=(200, 0))
    over.set_yticks([1, 2, 5, 10], [1, 2, 5, 10])
    over.minorticks_off()
    over.legend(frameon=False, loc="upper left")
    over.set_title(
        f"{len(set(unit[new]))} unseen engines, AUROC {area:.3f}\n"
        f"(first {EARLY} cycles against last {LATE})",
        fontsize=10,
    )

    contributions = [
        -detector.feature_contributions(X[part]).mean(axis=0) for part in (early, late)
    ]
    worst = np.argsort(contributions[1])[-8:]
    places = np.arange(len(worst))
    sensors.barh(
        places + 0.2,
        contributions[1][worst],
        0.4,
        color="C1",
        ec="black",
        label=f"last {LATE} cycles",
    )
    sensors.barh(
        places - 0.2,
        contributions[0][worst],
        0.4,
        color="0.85",
        ec="black",
        label=f"first {EARLY} cycles",
    )
    names = [f"{name}: {meaning}" for name, meaning in CHANNELS.items()]
    sensors.set_yticks(places, [names[i] for i in worst])
    sensors.set(xlabel="- contribution, mean")
    sensors.legend(frameon=False, loc="lower right")
    sensors.set_title("Largest contributions", fontsize=10)
    return figure


def faces() -> plt.Figure:
    """Faces of unseen people with a hole, imputed."""
    data = arrays_of("olivetti")
    X, person = data["X"].reshape(len(data["X"]), -1) / np.float32(255), data["y"]
    holes = np.zeros(data["X"].shape, dtype=bool)
    places = np.random.RandomState(0).randint(8, 33, size=(len(X), 2))
    for hole, (top, left) in zip(holes, places, strict=True):
        hole[top : top + 24, left : left + 24] = True
    holes, new = holes.reshape(X.shape), person >= 30
    holed = np.where(holes, np.nan, X)
    rows = {"with a hole": holed[new]}
    imputers = {
        "mean": SimpleImputer(),
        "5 neighbours": KNNImputer(),
        "Autoencoder-\nImputer": AutoencoderImputer(random_state=0),
    }
    for name, imputer in imputers.items():
        filled = imputer.fit(holed[~new]).transform(holed[new])
        error = np.sqrt(np.mean((filled - X[new])[holes[new]] ** 2))
        print(f"  {type(imputer).__name__}: root mean squared error {error:.3f}, pixels are 0 to 1")
        rows[f"{name}\nerror {error:.3f}"] = filled
    ratio = imputers["Autoencoder-\nImputer"].error_ratio_.mean()
    print(f"  error_ratio_ (squared error over that of the Gaussian, masked cells): {ratio:.2f}")
    rows["original"] = X[new]
    figure, axes = plt.subplots(len(rows), 6, figsize=(6.4, 5.2), layout="constrained")
    colours = plt.get_cmap("gray").with_extremes(bad="white")
    for row_of_axes, (label, images) in zip(axes, rows.items(), strict=True):
        for ax, image in zip(row_of_axes, images[:60:10], strict=True):
            ax.imshow(image.reshape(64, 64), cmap=colours, vmin=0, vmax=1)
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set_visible(False)
        row_of_axes[0].set_ylabel(label, rotation=0, ha="right", va="center")
    figure.suptitle(
        "Imputed faces of unseen people; training set:\npictures of 30 others, all with a hole"
    )
    return figure


PICTURES = {picture.__name__: picture for picture in (heartbeats, engines, faces)}

if __name__ == "__main__":
    for name in sys.argv[1:] or PICTURES:
        print(name)
        path = ROOT / "docs" / f"{name}.png"
        PICTURES[name]().savefig(path, dpi=110)
        with Image.open(path) as image:  # 64 colours, in a third of the bytes
            image.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)
        print(f"  {path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}")
