"""
Outliers, and the features that cause them
==========================================

Which pixels make an image an outlier? A detector is fitted to undamaged digits. Then 2 x 2 pixels
of other digits are inverted. In four of five damaged digits, the pixel with the lowest
contribution is one of these pixels. The score of a damaged digit is lower than that of an undamaged
digit in nine of ten pairs.
"""

# %%
# Every second unseen digit is damaged: four neighbouring pixels are inverted.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split

from skae import AutoencoderOutlierDetector

X, y = load_digits(return_X_y=True)
X_train, X_test, _, y_test = train_test_split(X, y, test_size=0.25, stratify=y, random_state=0)

rng = np.random.RandomState(0)
damaged = np.flatnonzero(np.arange(len(X_test)) % 2)
overwritten = np.zeros((len(X_test), 8, 8), dtype=bool)
for index in damaged:
    row, column = rng.randint(1, 6, size=2)
    overwritten[index, row : row + 2, column : column + 2] = True
overwritten = overwritten.reshape(len(X_test), 64)
X_test = np.where(overwritten, 16 - X_test, X_test)

# %%
# The training digits are all undamaged, so ``novelty=True``. Outliers have low scores.

detector = AutoencoderOutlierDetector(novelty=True, random_state=0).fit(X_train)
area = roc_auc_score(overwritten.any(axis=1), -detector.score_samples(X_test))
contributions = detector.feature_contributions(X_test)
worst = contributions.argmin(axis=1)
found = overwritten[damaged, worst[damaged]].mean()
print(f"area under the ROC curve: {area:.3f}")
print(f"lowest contribution within the damage: {found:.0%} of damaged digits")

# %%
# The figure shows the first damaged digit of each class, and the contribution of each pixel to its
# score. The damage is within the frame.

selected = [damaged[y_test[damaged] == digit][0] for digit in range(10)]
figure, axes = plt.subplots(2, 10, figsize=(8, 2.4), layout="constrained")
figure.suptitle("Damaged digits, and the contributions of their pixels to the score")
for index, (above, below) in zip(selected, axes.T, strict=True):
    above.imshow(X_test[index].reshape(8, 8), cmap="gray_r", vmin=0, vmax=16)
    below.imshow(-contributions[index].reshape(8, 8), cmap="Reds", vmin=0)
    for ax in (above, below):
        rows, columns = np.nonzero(overwritten[index].reshape(8, 8))
        corner = (columns.min() - 0.5, rows.min() - 0.5)
        ax.add_patch(plt.Rectangle(corner, 2, 2, fill=False, edgecolor="C0", linewidth=1.5))
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_color("0.85")
axes[0, 0].set_ylabel("digit")
axes[1, 0].set_ylabel("contribution")

plt.show()
