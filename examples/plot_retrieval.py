"""
Finding similar images by their codes
=====================================

How few numbers must be stored of an image to find others like it? Nearest neighbours among four
codes of an autoencoder show the digit asked for as often as those among seven or so principal
components; with two numbers the gap is widest. From 12 numbers on both do as well as all 64
pixels, and PCA is enough.

Run it with the path of the picture, by default ``retrieval.png``.
"""

# %%
# Three quarters of the digits are stored; the others ask for images like themselves.

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split
from sklearn.neighbors import NearestNeighbors

from skae import AutoencoderTransformer

X, y = load_digits(return_X_y=True)
X_stored, X_asked, y_stored, y_asked = train_test_split(
    X, y, test_size=0.25, stratify=y, random_state=0
)
n_found = 10


def found(stored, asked):
    """Places of the stored images that are nearest to those asked for."""
    return NearestNeighbors(n_neighbors=n_found).fit(stored).kneighbors(asked)[1]


def precision(neighbours):
    """The share of found images that show the digit asked for."""
    return np.mean(y_stored[neighbours] == y_asked[:, None])


# %%
# The reducers learn from the stored images alone, without labels.

sizes = (2, 3, 4, 6, 8, 12, 16)
makers = {
    "PCA": PCA,
    "autoencoder": lambda size: AutoencoderTransformer(size, random_state=0),
}
results = {name: {} for name in makers}
for name, make in makers.items():
    for size in sizes:
        reducer = make(size).fit(X_stored)
        results[name][size] = found(reducer.transform(X_stored), reducer.transform(X_asked))
by_pixels = found(X_stored, X_asked)

print(f"Share of the {n_found} images found that show the digit asked for:")
print(f"  {'numbers an image':<18}" + "".join(f"{size:>7}" for size in sizes))
for name, by_size in results.items():
    print(f"  {name:<18}" + "".join(f"{precision(found_):>7.1%}" for found_ in by_size.values()))
print(f"  all 64 pixels: {precision(by_pixels):.1%}")

# %%

figure = plt.figure(figsize=(12, 4.6), layout="constrained")
left, right = figure.subfigures(1, 2, width_ratios=[1, 1.25])
ax = left.subplots()
for name, by_size in results.items():
    ax.plot(sizes, [100 * precision(f) for f in by_size.values()], "o-", label=name)
ax.axhline(100 * precision(by_pixels), color="0.5", linestyle="--", label="64 pixels")
ax.set(xlabel="numbers stored for an image", ylabel=f"right ones among {n_found} found, %")
ax.legend(frameon=False)
ax.spines[["top", "right"]].set_visible(False)

size = 4
right.suptitle(f"Asked for (left), and found by {size} codes; a red frame is another digit")
neighbours = results["autoencoder"][size]
asked = [np.flatnonzero(y_asked == digit)[0] for digit in range(0, 10, 2)]
for row_of_axes, i in zip(right.subplots(len(asked), n_found + 1), asked, strict=True):
    images = [X_asked[i], *X_stored[neighbours[i]]]
    wrong = [False, *(y_stored[neighbours[i]] != y_asked[i])]
    for ax, image, is_wrong in zip(row_of_axes, images, wrong, strict=True):
        ax.imshow(image.reshape(8, 8), cmap="gray_r", vmin=0, vmax=16)
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set(color="C3" if is_wrong else "0.85", linewidth=2 if is_wrong else 1)
    row_of_axes[0].spines[:].set(color="C0", linewidth=2)

picture = Path(sys.argv[1] if len(sys.argv) > 1 else "retrieval.png")
figure.savefig(picture, dpi=150)
print(f"picture: {picture.resolve()}")
