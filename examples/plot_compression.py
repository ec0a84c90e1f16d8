"""
Compression of images
=====================

How many bytes does an image need, if sender and receiver have the same fitted autoencoder? The
sender encodes an image and sends one byte for each component of the code. The receiver loads
the autoencoder from a pickle and decodes the image.

The error of the autoencoder with two bytes is lower than that of PCA with eight bytes. With the
same number of bytes, its squared error is about 0.4 times that of PCA, and at most a third of that
of the cosine transform of JPEG, which is not fitted to data.
"""

# %%
# JPEG applies the cosine transform to blocks of 8 x 8 pixels, which is the size of these images.
# The header of a JPEG file has hundreds of bytes; here only coefficients are sent.

import pickle

import matplotlib.pyplot as plt
import numpy as np
from scipy.fft import dctn, idctn
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split

from skae import AutoencoderTransformer

X, y = load_digits(return_X_y=True)
X_train, X_test, _, y_test = train_test_split(X, y, test_size=0.25, stratify=y, random_state=0)


class CosineTransform(TransformerMixin, BaseEstimator):
    """The coefficients of the cosine transform with the largest variances."""

    def __init__(self, n_components):
        self.n_components = n_components

    def fit(self, X, y=None):
        """Choose the coefficients."""
        variances = self._all(X).var(axis=0)
        self.kept_ = np.argsort(-variances)[: self.n_components]
        self.mean_ = self._all(X).mean(axis=0)
        return self

    def transform(self, X):
        """Coefficients of images."""
        return self._all(X)[:, self.kept_]

    def inverse_transform(self, X):
        """Images of coefficients."""
        coefficients = np.tile(self.mean_, (len(X), 1))
        coefficients[:, self.kept_] = X
        return idctn(coefficients.reshape(-1, 8, 8), axes=(1, 2), norm="ortho").reshape(-1, 64)

    def _all(self, X):
        return dctn(X.reshape(-1, 8, 8), axes=(1, 2), norm="ortho").reshape(-1, 64)


# %%
# The sender rounds codes to 256 levels between the minimum and the maximum of the
# training images.


class Sender:
    """Encode images, one byte for each component of the code."""

    def __init__(self, reducer, X):
        codes = reducer.transform(X)
        self.reducer, self.low = reducer, codes.min(axis=0)
        self.step = (codes.max(axis=0) - self.low) / 255

    def send(self, X):
        """Convert images to bytes."""
        codes = self.reducer.transform(X)
        return ((codes - self.low) / self.step).round().clip(0, 255).astype(np.uint8).tobytes()


class Receiver:
    """Decode images from bytes."""

    def __init__(self, sender):
        self.reducer, self.low, self.step = sender.reducer, sender.low, sender.step

    def receive(self, message):
        """Convert bytes to images."""
        levels = np.frombuffer(message, np.uint8).reshape(-1, len(self.step))
        return self.reducer.inverse_transform(self.low + self.step * levels)


def sent_and_received(reducer, size):
    """The test images after a transmission of `size` bytes for each."""
    sender = Sender(reducer.fit(X_train), X_train)
    receiver = pickle.loads(pickle.dumps(Receiver(sender)))
    message = sender.send(X_test)
    assert len(message) == size * len(X_test)
    return receiver.receive(message)


def error(images):
    """Root mean squared error of a pixel, relative to the full range."""
    return np.sqrt(np.mean((images - X_test) ** 2)) / 16


sizes = (2, 4, 8, 16)
makers = {
    "cosine transform": CosineTransform,
    "PCA": PCA,
    "autoencoder": lambda size: AutoencoderTransformer(size, random_state=0),
}
received = {
    name: {size: sent_and_received(make(size), size) for size in sizes}
    for name, make in makers.items()
}
errors = {
    name: [error(images) for images in by_size.values()] for name, by_size in received.items()
}

print("Root mean squared error of a pixel of unseen digits, in % of the full range:")
print(f"  {'bytes for an image':<18}" + "".join(f"{size:>7}" for size in sizes))
for name, values in errors.items():
    print(f"  {name:<18}" + "".join(f"{100 * value:>7.1f}" for value in values))

# %%
# The figure shows the errors, and one unseen digit of each class that was sent in four bytes.

figure = plt.figure(figsize=(9, 3.6), layout="constrained")
left, right = figure.subfigures(1, 2, width_ratios=[1, 1.4])
ax = left.subplots()
for name, values in errors.items():
    ax.plot(sizes, [100 * value for value in values], "o-", label=name)
ax.set(xlabel="bytes for an image", ylabel="error of a pixel, % of the range", ylim=(0, None))
ax.set_xticks(sizes)
ax.legend(frameon=False)
ax.spines[["top", "right"]].set_visible(False)

right.suptitle("Unseen digits, sent in 4 bytes each")
selected = [np.flatnonzero(y_test == digit)[0] for digit in range(10)]
rows = {"original": X_test} | {name: by_size[4] for name, by_size in received.items()}
for row_of_axes, (name, images) in zip(right.subplots(len(rows), 10), rows.items(), strict=True):
    for ax, image in zip(row_of_axes, images[selected], strict=True):
        ax.imshow(image.reshape(8, 8), cmap="gray_r", vmin=0, vmax=16)
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_color("0.85")
    row_of_axes[0].set_ylabel(name, rotation=0, ha="right", va="center")

plt.show()
