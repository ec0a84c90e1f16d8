"""
Cleaned rows for a classifier
=============================

Does it help a classifier to clean its rows first? On digits with strong noise it does: nearest
neighbours are right more often among rows restored by PCA or by a denoising autoencoder than among
the rows as they are. The two are alike here, at the best of several sizes each; neither has seen a
clean image.

Run it with the path of the picture, by default ``reconstruction.png``.
"""

# %%
# All images are noisy, those that train too.

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline

from skae import DenoisingAutoencoder, ReconstructionTransformer

X, y = load_digits(return_X_y=True)
noisy = X + np.random.RandomState(0).normal(scale=5, size=X.shape)
train, test = train_test_split(np.arange(len(X)), test_size=0.3, stratify=y, random_state=0)

# %%
# One step before the classifier, or none.

denoiser = DenoisingAutoencoder(16, corruption_level=1.5, alpha=1.0, random_state=0)
cleaners = {
    "as they are": None,
    "PCA, 24 components": ReconstructionTransformer(PCA(24)),
    "denoising autoencoder": ReconstructionTransformer(denoiser),
}
rows = {"without noise": X[test]}
for name, cleaner in cleaners.items():
    pipeline = make_pipeline(cleaner or "passthrough", KNeighborsClassifier())
    accuracy = pipeline.fit(noisy[train], y[train]).score(noisy[test], y[test])
    print(f"{name}: accuracy {accuracy:.3f}")
    rows[f"{name}\naccuracy {accuracy:.1%}"] = pipeline[:-1].transform(noisy[test])

# %%
# What the classifier gets to see: the first unseen digit of each class.

shown = [np.flatnonzero(y[test] == digit)[0] for digit in range(10)]
figure, axes = plt.subplots(len(rows), 10, figsize=(10, 4.6), layout="constrained")
for row_of_axes, (label, images) in zip(axes, rows.items(), strict=True):
    for ax, image in zip(row_of_axes, images[shown], strict=True):
        ax.imshow(image.reshape(8, 8), cmap="gray_r", vmin=0, vmax=16)
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_color("0.85")
    row_of_axes[0].set_ylabel(label, rotation=0, ha="right", va="center")
figure.suptitle("Noisy digits, restored before nearest neighbours")

picture = Path(sys.argv[1] if len(sys.argv) > 1 else "reconstruction.png")
figure.savefig(picture, dpi=150)
print(f"picture: {picture.resolve()}")
