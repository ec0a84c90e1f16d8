"""
Classification with few labels
==============================

How many labels does a classifier need? `AutoencoderClassifier` needs far fewer labels than logistic
regression: on handwritten digits, it is more accurate with three labels of each class than logistic
regression with ten. It also uses the rows without labels. The gain decreases with the number of
labels.
"""

# %%
# Half of the digits are the training set. One autoencoder is fitted to all of them, without labels;
# then each classifier gets a few labels of each class, in three random draws.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.svm import SVC

from skae import AutoencoderClassifier, DenoisingAutoencoder

X, y = load_digits(return_X_y=True)
X, X_test, y, y_test = train_test_split(X / 16, y, test_size=0.5, stratify=y, random_state=0)
autoencoder = DenoisingAutoencoder(32, corruption_level=0.5, random_state=0).fit(X)

counts, draws = (1, 3, 10), 3
accuracy = {name: np.zeros((draws, len(counts))) for name in ("skae", "SVC", "logistic")}
for draw in range(draws):
    rng = np.random.RandomState(draw)
    order = [rng.permutation(np.flatnonzero(y == digit)) for digit in range(10)]
    for column, count in enumerate(counts):
        known = np.concatenate([rows[:count] for rows in order])
        few = np.full(len(y), -1)  # -1 means "no label"
        few[known] = y[known]
        classifier = AutoencoderClassifier(
            FrozenEstimator(autoencoder), max_iter=30, random_state=draw
        )
        others = {
            "SVC": SVC().fit(X[known], y[known]),
            "logistic": LogisticRegression(max_iter=1000).fit(X[known], y[known]),
        }
        for name, fitted in {"skae": classifier.fit(X, few), **others}.items():
            accuracy[name][draw, column] = fitted.score(X_test, y_test)

labels = {
    "skae": ("AutoencoderClassifier", "C0"),
    "SVC": ("SVC, labelled rows only", "C1"),
    "logistic": ("logistic regression, labelled rows only", "0.5"),
}
print("Accuracy on unseen digits, mean of the draws:")
print(f"  {'labels of each class':<42}" + "".join(f"{count:>7}" for count in counts))
for name, (label, _) in labels.items():
    print(f"  {label:<42}" + "".join(f"{mean:>7.1%}" for mean in accuracy[name].mean(axis=0)))

# %%
# The lines are means over the draws, and the bands range from the minimum to the maximum.

figure, ax = plt.subplots(figsize=(7, 4.4), layout="constrained")
for name, (label, colour) in labels.items():
    values = 100 * accuracy[name]
    ax.plot(counts, values.mean(axis=0), "o-", color=colour, label=label)
    ax.fill_between(counts, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.15, lw=0)
ax.set_xscale("log")
ax.set_xticks(counts, counts)
ax.minorticks_off()
ax.set(xlabel="labels of each class", ylabel="accuracy on unseen digits, %")
ax.legend(frameon=False, loc="lower right")
ax.spines[["top", "right"]].set_visible(False)

plt.show()
