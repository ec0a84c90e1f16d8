"""
Denoising before a classifier
=============================

Does a classifier become more accurate if its input is denoised? With strong noise on digits it
does: the accuracy of nearest neighbours is higher for rows that are reconstructed by PCA or by a
denoising autoencoder than for the noisy rows. Both reducers are fitted to noisy images. With the
best number of components for each, PCA and the autoencoder are about equal here.
"""

# %%
# All images are noisy, including the training set.

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
# The classifier is fitted with and without a denoising step.

denoiser = DenoisingAutoencoder(16, corruption_level=1.5, alpha=1.0, random_state=0)
denoisers = {
    "noisy": None,
    "PCA, 24 components": ReconstructionTransformer(PCA(24)),
    "denoising autoencoder": ReconstructionTransformer(denoiser),
}
rows = {"without noise": X[test]}
print("Accuracy of nearest neighbours on unseen digits:")
for name, step in denoisers.items():
    pipeline = make_pipeline(step or "passthrough", KNeighborsClassifier())
    accuracy = pipeline.fit(noisy[train], y[train]).score(noisy[test], y[test])
    print(f"  {name:<24}{accuracy:.1%}")
    rows[f"{name}\naccuracy {accuracy:.1%}"] = pipeline[:-1].transform(noisy[test])

# %%
# The figure shows inputs of the classifier, for the first unseen digit of each class.

selected = [np.flatnonzero(y[test] == digit)[0] for digit in range(10)]
figure, axes = plt.subplots(len(rows), 10, figsize=(8, 3.6), layout="constrained")
for row_of_axes, (label, images) in zip(axes, rows.items(), strict=True):
    for ax, image in zip(row_of_axes, images[selected], strict=True):
        ax.imshow(image.reshape(8, 8), cmap="gray_r", vmin=0, vmax=16)
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_color("0.85")
    row_of_axes[0].set_ylabel(label, rotation=0, ha="right", va="center")
figure.suptitle("Noisy digits, denoised before nearest neighbours")

plt.show()
