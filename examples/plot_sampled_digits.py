"""
Digits that nobody wrote
========================

Can a variational autoencoder write digits of its own? Yes: codes drawn from its prior become
images of which most can be read, and a straight line between the codes of two digits is a walk of
digit-like images, where a straight line between their pixels lays one over the other.

Run it with the path of the picture, by default ``sampled_digits.png``.
"""

# %%
# Pixels in [0, 1] are probabilities of ink for ``loss="log_loss"``. A `beta` below one keeps more
# components at work; with one, four of eight.

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

from skae import VAE

X, y = load_digits(return_X_y=True)
X = X / X.max()
n_components = 6
vae = VAE(n_components, loss="log_loss", beta=0.5, random_state=0).fit(X)

# %%
# Codes from the prior are normal numbers; `inverse_transform` gives the probabilities of ink.
# (``vae.sample()`` would go on and draw each pixel as black or white.) For comparison images from
# PCA, whose codes are drawn with the variances of its components.

rng = np.random.RandomState(0)
pca = PCA(n_components, whiten=True).fit(X)
codes = rng.normal(size=(len(X), n_components))
drawn = {
    name: reducer.inverse_transform(codes).clip(0, 1)
    for name, reducer in [("VAE", vae), ("PCA", pca)]
}


def distance(images, others):
    """Median distance of images from the nearest of the others, root mean square of a pixel."""
    skip = int(images is others)  # itself
    distances, _ = NearestNeighbors(n_neighbors=1 + skip).fit(others).kneighbors(images)
    return np.median(distances[:, skip]) / np.sqrt(X.shape[1])


print("Median distance to the nearest image; pixels are in [0, 1]:")
print(f"  from a digit to another digit    {distance(X, X):.3f}")
for name, images in drawn.items():
    print(f"  from an image of the {name} to a digit {distance(images, X):.3f}")
    print(f"  from a digit to an image of the {name} {distance(X, images):.3f}")

# %%
# On the left images drawn from the prior; on the right four walks from one digit to another.

figure = plt.figure(figsize=(11, 5.4), layout="constrained")
left, right = figure.subfigures(1, 2, width_ratios=[1, 1.1])


def show(ax, image):
    ax.imshow(image.reshape(8, 8), cmap="gray_r", vmin=0, vmax=1)
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_color("0.85")


left.suptitle("Drawn from the prior")
for ax, image in zip(left.subplots(8, 8).flat, drawn["VAE"], strict=False):
    show(ax, image)

steps = np.linspace(0, 1, 8)[:, None]
right.suptitle("From one digit to another, in codes (above) and in pixels (below)")
axes = right.subplots(8, 8)
for pair, ends in enumerate([(0, 6), (3, 8), (4, 9), (1, 7)]):
    first, last = (np.flatnonzero(y == digit)[0] for digit in ends)
    start, end = vae.transform(X[[first, last]])
    walks = (
        vae.inverse_transform((1 - steps) * start + steps * end),
        (1 - steps) * X[first] + steps * X[last],
    )
    for row_of_axes, walk in zip(axes[2 * pair :], walks, strict=False):
        for ax, image in zip(row_of_axes, walk, strict=True):
            show(ax, image)

picture = Path(sys.argv[1] if len(sys.argv) > 1 else "sampled_digits.png")
figure.savefig(picture, dpi=150)
print(f"picture: {picture.resolve()}")
