"""
Sampling and interpolation of digits
====================================

Can a variational autoencoder generate digits? Yes: most of the images that are decoded from random
codes are legible. The right half of the figure shows images between two digits. If their codes are
interpolated, the decoded images look like digits. If their pixels are interpolated, the two digits
are superimposed.
"""

# %%
# With ``loss="log_loss"``, the values of pixels in [0, 1] are probabilities of a black pixel. With
# ``beta=0.5`` all six components are active. With the default of 1, only four are.

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
# Codes of the prior are standard normal; `inverse_transform` returns the probabilities of black
# pixels (``vae.sample()`` also draws each pixel as black or white). For comparison, images are
# drawn from PCA: the codes have the variances of the components.

rng = np.random.RandomState(0)
pca = PCA(n_components, whiten=True).fit(X)
codes = rng.normal(size=(len(X), n_components))
drawn = {
    name: reducer.inverse_transform(codes).clip(0, 1)
    for name, reducer in [("VAE", vae), ("PCA", pca)]
}


def distance(images, others):
    """Median distance of images to the nearest of the others, root mean square of a pixel."""
    skip = int(images is others)  # itself
    distances, _ = NearestNeighbors(n_neighbors=1 + skip).fit(others).kneighbors(images)
    return np.median(distances[:, skip]) / np.sqrt(X.shape[1])


print("Median distance to the nearest image; pixels are in [0, 1]:")
print(f"  from a digit to another digit   {distance(X, X):.3f}")
for name, images in drawn.items():
    print(f"  from an image of {name} to a digit  {distance(images, X):.3f}")
    print(f"  from a digit to an image of {name}  {distance(X, images):.3f}")

# %%
# Left: images that are decoded from random codes. Right: four interpolations between two digits.

figure = plt.figure(figsize=(8, 4.3), layout="constrained")
left, right = figure.subfigures(1, 2, width_ratios=[1, 1.1])


def show(ax, image):
    ax.imshow(image.reshape(8, 8), cmap="gray_r", vmin=0, vmax=1)
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_color("0.85")


left.suptitle("Drawn from the prior")
for ax, image in zip(left.subplots(8, 8).flat, drawn["VAE"], strict=False):
    show(ax, image)

steps = np.linspace(0, 1, 8)[:, None]
right.suptitle("Interpolated codes (above), pixels (below)")
axes = right.subplots(8, 8)
for pair, ends in enumerate([(0, 6), (3, 8), (4, 9), (1, 7)]):
    first, last = (np.flatnonzero(y == digit)[0] for digit in ends)
    start, end = vae.transform(X[[first, last]])
    paths = (
        vae.inverse_transform((1 - steps) * start + steps * end),
        (1 - steps) * X[first] + steps * X[last],
    )
    for row_of_axes, path in zip(axes[2 * pair :], paths, strict=False):
        for ax, image in zip(row_of_axes, path, strict=True):
            show(ax, image)

plt.show()
