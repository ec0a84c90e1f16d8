"""
Alarms before a failure in time series
======================================

How long before a failure does a detector raise an alarm? Two sensors of a pump oscillate. In the
last 100 time steps before a failure, the oscillation becomes slower, but all values remain usual.
Scores of single time steps hardly change. With windows of one period, the first alarm is about 70
time steps before the failure.
"""

# %%
# 20 pumps are observed until they fail. The rows of the table are the time steps of all pumps, and
# ``pump`` is the label of the series of each row.

import matplotlib.pyplot as plt
import numpy as np

from skae import AutoencoderOutlierDetector, TimeSeriesOutlierDetector

N_PUMPS, N_STEPS, PERIOD, N_SLOWER = 20, 300, 16, 100
rng = np.random.RandomState(0)
step = np.arange(N_STEPS)


def until_failure():
    """Two sensors, (n_steps, 2)."""
    slower = np.clip((step - (N_STEPS - N_SLOWER)) / N_SLOWER, 0, 1)
    phase = rng.uniform(0, 2 * np.pi) + np.cumsum(2 * np.pi / (PERIOD + 4 * slower))
    return np.c_[np.sin(phase), np.sin(2 * phase)] + 0.1 * rng.normal(size=(N_STEPS, 2))


X = np.concatenate([until_failure() for _ in range(N_PUMPS)])
pump, steps = np.repeat(np.arange(N_PUMPS), N_STEPS), np.tile(step, N_PUMPS)

# %%
# The detectors are fitted to the first 120 time steps of 12 pumps. ``cv`` and ``contamination`` set
# the threshold so that about one of 1000 healthy time steps of other pumps is below it. The pumps
# are held out together, because they are passed as ``groups``.

N_HEALTHY, N_KNOWN = 120, 12
healthy = (pump < N_KNOWN) & (steps < N_HEALTHY)
rows = AutoencoderOutlierDetector(novelty=True, cv=3, contamination=0.001, random_state=0)
detectors = {
    size: TimeSeriesOutlierDetector(rows, window_size=size).fit(X[healthy], groups=pump[healthy])
    for size in (1, PERIOD)
}

# %%
# An alarm before the oscillation becomes slower is a false alarm. The lead time is the number of
# time steps from the first later alarm to the failure. A score does not depend on later time steps.

is_new = pump >= N_KNOWN
print("window size | false alarms | pumps with an alarm | lead time, median")
for size, detector in detectors.items():
    alarms = detector.predict(X[is_new], groups=pump[is_new]).reshape(-1, N_STEPS) == -1
    before, after = alarms[:, :-N_SLOWER], alarms[:, -N_SLOWER:]
    lead_times = (N_SLOWER - 1 - after.argmax(axis=1))[after.any(axis=1)]
    lead_time = f"{np.median(lead_times):.0f}" if len(lead_times) else "none"
    print(f"{size:11} | {before.mean():12.1%} | {after.any(axis=1).mean():19.0%} | {lead_time:>17}")

# %%
# One sensor and the scores of one pump. Its first scores for windows of one period are missing,
# because these windows are not complete.

last = pump == N_PUMPS - 1
figure, axes = plt.subplots(3, 1, figsize=(9, 6), sharex=True, layout="constrained")
axes[0].plot(X[last, 0], lw=1, color="0.3")
axes[0].axvspan(N_STEPS - N_SLOWER, N_STEPS, color="C1", alpha=0.2, label="slower oscillation")
axes[0].set(ylabel="sensor 0")
axes[0].legend(loc="lower right", bbox_to_anchor=(1, 1), frameon=False, borderaxespad=0)
axes[1].sharey(axes[2])
for ax, (size, detector) in zip(axes[1:], detectors.items(), strict=True):
    scores = detector.score_samples(X[last])
    is_alarm = scores < detector.offset_
    ax.plot(scores, lw=1, color="0.3")
    ax.plot(step[is_alarm], scores[is_alarm], "o", ms=3, color="C1", label="alarms")
    ax.axhline(detector.offset_, ls="--", color="C1", label="threshold")
    ax.set(ylabel=f"score, window_size={size}")
    ax.legend(loc="lower left")
axes[-1].set(xlabel="time step", xlim=(0, N_STEPS))
figure.suptitle("Scores of a pump until it fails")

plt.show()
