"""
Dictionary of a sparse autoencoder
==================================

Of which parts do handwritten digits consist? A sparse autoencoder learns a dictionary of 128
images, called atoms. It reconstructs each digit as the mean plus a sum of at most eight atoms.
These explain far more of the variance than eight principal components, because each digit can use
other atoms.
"""

# %%
# The dictionary has more atoms than the images have pixels; each digit uses few of them.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split

from skae import SparseAutoencoder

X, y = load_digits(return_X_y=True)
X_train, X_test, _, y_test = train_test_split(X, y, test_size=0.25, stratify=y, random_state=0)
coder = SparseAutoencoder(n_components=128, n_nonzero_coefs=8, random_state=0).fit(X_train)
pca = PCA(8).fit(X_train)

share = coder.score(X_test)
residual = ((X_test - pca.inverse_transform(pca.transform(X_test))) ** 2).sum()
pca_share = 1 - residual / ((X_test - pca.mean_) ** 2).sum()
print("Explained variance of unseen digits:")
print(f"  8 of 128 atoms          {share:.1%}")
print(f"  8 principal components  {pca_share:.1%}")
print(f"atoms that no training digit uses: {len(coder.dead_components_)}")

# %%
# The figure shows the most frequently used atoms, and four unseen digits as sums of atoms times
# their codes. Red is darker than the mean, blue is lighter. The terms are smaller than the sums, so
# they have another colour scale.

figure = plt.figure(figsize=(8, 7.2), layout="constrained")
top, bottom = figure.subfigures(2, 1, height_ratios=[3, 5])


def draw(axes, image, title="", limit=None):
    axes.imshow(image.reshape(8, 8), cmap="RdBu_r", vmin=-limit, vmax=limit)
    axes.set_title(title, fontsize=8)
    axes.set_axis_off()


top.suptitle("The 36 most frequently used of 128 atoms")
in_use = np.argsort(-coder.activation_frequency_)[:36]
for axes, unit in zip(top.subplots(3, 12).flat, in_use, strict=True):
    draw(axes, coder.components_[unit], limit=np.abs(coder.components_[unit]).max())

bottom.suptitle("Four unseen digits, each the mean plus a sum of at most 8 atoms")
selected = [np.flatnonzero(y_test == digit)[0] for digit in (0, 3, 4, 8)]
codes = coder.transform(X_test[selected])
reconstructed = coder.inverse_transform(codes)
scale = np.abs(codes[:, :, np.newaxis] * coder.components_).max()
for row, index, code, image in zip(
    bottom.subplots(4, 10), selected, codes, reconstructed, strict=True
):
    draw(row[0], X_test[index] - coder.mean_, "digit - mean", 16)
    draw(row[1], image - coder.mean_, "sum", 16)
    largest = np.argsort(-code)[:8]
    for axes, unit in zip(row[2:], largest, strict=True):
        title = f"{code[unit]:.0f} x" if code[unit] > 0 else ""
        draw(axes, code[unit] * coder.components_[unit], title, scale)

plt.show()
