"""
Denoising digits
================

How well does a denoising autoencoder remove noise from digits? It removes more noise than PCA with
the best number of components, and than the best linear filter. The difference is largest in the
background. All methods are fitted to the same digits without noise. The figure shows other digits.
"""

# %%
# The standard deviation of the Gaussian noise is a quarter of the range of the pixels.
# `corruption_level` is in units of the root mean square of the columns' standard deviations, so
# that it does not depend on the units of `X`.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import train_test_split

from skae import DenoisingAutoencoder

X, y = load_digits(return_X_y=True)
X = X / X.max()
X_train, X_test, _, y_test = train_test_split(X, y, test_size=0.25, stratify=y, random_state=0)

noise_level = 0.25
rng = np.random.RandomState(0)


def with_noise(X):
    return X + noise_level * rng.normal(size=X.shape)


noisy = with_noise(X_test)
rms_std = np.sqrt(X_train.var(axis=0).mean())
denoiser = DenoisingAutoencoder(
    n_components=32, corruption_level=noise_level / rms_std, random_state=0
).fit(X_train)

# %%
# The linear methods have an advantage: PCA has the number of components that is best on the test
# rows, and the filter (a ridge regression from noisy pixels to clean ones) has ten draws of noise
# for each training row.

pca = [PCA(n_components).fit(X_train) for n_components in range(2, 41)]
copies = np.tile(X_train, (10, 1))
linear_filter = RidgeCV(alphas=np.logspace(-3, 3, 7)).fit(with_noise(copies), copies)


def decibels(reconstructed):
    """Peak signal-to-noise ratio in decibels, mean over the images."""
    error = ((reconstructed.clip(0, 1) - X_test) ** 2).mean(axis=1)
    return np.mean(-10 * np.log10(error))


by_pca = max((p.inverse_transform(p.transform(noisy)) for p in pca), key=decibels)
rows = {
    "original": X_test,
    "with noise": noisy,
    "PCA, best size": by_pca,
    "linear filter": linear_filter.predict(noisy),
    "DenoisingAutoencoder": denoiser.reconstruct(noisy),
}
print("Peak signal-to-noise ratio of unseen digits, in decibels (higher is better):")
for name, reconstructed in list(rows.items())[1:]:
    print(f"  {name:<22}{decibels(reconstructed):5.1f}")

# %%
# The figure shows the first unseen digit of each class.

selected = [np.flatnonzero(y_test == digit)[0] for digit in range(10)]
figure, axes = plt.subplots(len(rows), 10, figsize=(8, 4.2), layout="constrained")
figure.suptitle("Unseen digits, denoised")
for row_of_axes, (name, images) in zip(axes, rows.items(), strict=True):
    for ax, image in zip(row_of_axes, images[selected], strict=True):
        ax.imshow(image.reshape(8, 8), cmap="gray_r", vmin=0, vmax=1)
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_color("0.85")
    label = name if name == "original" else f"{name}\n{decibels(images):.1f} dB"
    row_of_axes[0].set_ylabel(label, rotation=0, ha="right", va="center")

plt.show()
