"""
Comparison of PCA and an autoencoder on handwritten digits
==========================================================

How much better is an autoencoder than PCA with the same number of components? On handwritten digits
it explains more of the variance of unseen rows for every number of components. The gain is largest
for few components. With two components, its codes also separate the classes far better. The fit
takes seconds instead of milliseconds.
"""

# %%
# All reducers are evaluated on the same unseen rows.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split

from skae import AutoencoderTransformer, compare_reducers

X, y = load_digits(return_X_y=True)
train, test = train_test_split(np.arange(len(X)), test_size=0.25, stratify=y, random_state=0)

reducers = {}
for n_components in (2, 8, 16):
    reducers[f"PCA {n_components}"] = PCA(n_components)
    reducers[f"autoencoder {n_components}"] = AutoencoderTransformer(
        n_components=n_components, random_state=0
    )

comparison = compare_reducers(reducers, X, y, cv=[(train, test)])
print(comparison)

# %%
# Above: the first unseen digit of each class, reconstructed from eight components. Below: codes of
# two components; each glyph is an unseen digit.


def fitted_pair(n_components):
    """Fit PCA and the autoencoder with a number of components, and return their scores."""
    for name in ("PCA", "autoencoder"):
        key = f"{name} {n_components}"
        yield name, reducers[key].fit(X[train]), comparison.mean()[key]


figure = plt.figure(figsize=(10, 8.4), layout="constrained")
top, bottom = figure.subfigures(2, 1, height_ratios=[3, 5.4])

selected = test[[np.flatnonzero(y[test] == digit)[0] for digit in range(10)]]
rows = {"original": X[selected]}
for name, reducer, scores in fitted_pair(8):
    label = f"{name}\n{scores.explained_variance:.0%} of variance"
    rows[label] = reducer.inverse_transform(reducer.transform(X[selected]))

top.suptitle("Unseen digits, reconstructed from 8 components")
axes = top.subplots(len(rows), 10)
for row_of_axes, (label, images) in zip(axes, rows.items(), strict=True):
    for ax, image in zip(row_of_axes, images, strict=True):
        ax.imshow(image.reshape(8, 8), cmap="gray_r", vmin=0, vmax=16)
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_color("0.85")
    row_of_axes[0].set_ylabel(label, rotation=0, ha="right", va="center")

bottom.suptitle("Codes of unseen digits, 2 components")
for ax, (name, reducer, scores) in zip(bottom.subplots(1, 2), fitted_pair(2), strict=True):
    codes = reducer.transform(X[test])
    for digit in range(10):
        of_digit = codes[y[test] == digit]
        ax.scatter(*of_digit.T, s=42, marker=f"${digit}$", color=f"C{digit}", linewidths=0.3)
    ax.set_title(f"{name}: 5-NN accuracy {scores.knn_score:.0%}")
    ax.set(xlabel="component 0", ylabel="component 1")
    ax.tick_params(labelsize="small")
    ax.spines[["top", "right"]].set_visible(False)

figure.savefig("pca_vs_autoencoder.png", dpi=150)
plt.show()
