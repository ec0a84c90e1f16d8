"""
Image retrieval by codes
========================

How many numbers must be stored for each image to find similar images? With two components of an
autoencoder, the nearest neighbours show the digit of the query more often than with eight principal
components. With 16 principal components they show this digit as often as with all 64 pixels. An
autoencoder is then not needed.
"""

# %%
# Three quarters of the digits are stored; the others are queries.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split
from sklearn.neighbors import NearestNeighbors

from skae import AutoencoderTransformer

X, y = load_digits(return_X_y=True)
X_stored, X_query, y_stored, y_query = train_test_split(
    X, y, test_size=0.25, stratify=y, random_state=0
)
n_found = 10


def nearest(stored, queries):
    """Indices of the stored images that are nearest to each query."""
    return NearestNeighbors(n_neighbors=n_found).fit(stored).kneighbors(queries)[1]


def precision(neighbours):
    """The share of retrieved images that show the digit of the query."""
    return np.mean(y_stored[neighbours] == y_query[:, None])


# %%
# The reducers are fitted to the stored images, without labels.

sizes = (2, 4, 8, 16)
makers = {
    "PCA": PCA,
    "autoencoder": lambda size: AutoencoderTransformer(size, random_state=0),
}
results = {name: {} for name in makers}
for name, make in makers.items():
    for size in sizes:
        reducer = make(size).fit(X_stored)
        results[name][size] = nearest(reducer.transform(X_stored), reducer.transform(X_query))
by_pixels = nearest(X_stored, X_query)

print(f"Share of the {n_found} nearest images that show the digit of the query:")
print(f"  {'numbers per image':<18}" + "".join(f"{size:>7}" for size in sizes))
for name, by_size in results.items():
    print(f"  {name:<18}" + "".join(f"{precision(indices):>7.1%}" for indices in by_size.values()))
print(f"  all 64 pixels: {precision(by_pixels):.1%}")

# %%
# Left: the precision by the number of stored numbers. Right: queries, and the images that were
# found with two components of the autoencoder. A red frame marks an image of another digit.

figure = plt.figure(figsize=(9, 3.8), layout="constrained")
left, right = figure.subfigures(1, 2, width_ratios=[1, 1.25])
ax = left.subplots()
for name, by_size in results.items():
    ax.plot(sizes, [100 * precision(f) for f in by_size.values()], "o-", label=name)
ax.axhline(100 * precision(by_pixels), color="0.5", linestyle="--", label="64 pixels")
ax.set(xlabel="numbers stored for an image", ylabel=f"precision of the {n_found} nearest, %")
ax.set_xticks(sizes)
ax.legend(frameon=False)
ax.spines[["top", "right"]].set_visible(False)

size = 2
right.suptitle(f"Queries (blue frame), and nearest images by {size} codes")
neighbours = results["autoencoder"][size]
queries = [np.flatnonzero(y_query == digit)[0] for digit in range(0, 10, 2)]
for row_of_axes, i in zip(right.subplots(len(queries), n_found + 1), queries, strict=True):
    images = [X_query[i], *X_stored[neighbours[i]]]
    wrong = [False, *(y_stored[neighbours[i]] != y_query[i])]
    for ax, image, is_wrong in zip(row_of_axes, images, wrong, strict=True):
        ax.imshow(image.reshape(8, 8), cmap="gray_r", vmin=0, vmax=16)
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set(color="C3" if is_wrong else "0.85", linewidth=2 if is_wrong else 1)
    row_of_axes[0].spines[:].set(color="C0", linewidth=2)

plt.show()
