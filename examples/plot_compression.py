"""
An image in four bytes
======================

How small can images be sent, if both sides share what was learned from others? The sender encodes
an image and sends a byte for each code, the receiver, unpickled elsewhere, decodes it. For the
same bytes an autoencoder leaves about half the squared error of PCA; and half of that of the
cosine transform inside JPEG, which learns nothing, with two bytes, a fifth with sixteen.

Run it with the path of the picture, by default ``compression.png``.
"""

# %%
# The cosine transform of 8 x 8 pixels is the core of JPEG, and these images are 8 x 8. A JPEG file
# would spend hundreds of bytes on its header alone; here only coefficients are sent.

import pickle
import sys
from pathlib import Path

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
    """The cosine transform of 8 x 8 pixels, as in JPEG: those coefficients that vary most."""

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
# The two sides. Codes are rounded to 256 levels between the least and the largest that the training
# images have.


class Sender:
    """Has the encoder: an image becomes one byte for each code."""

    def __init__(self, reducer, X):
        codes = reducer.transform(X)
        self.reducer, self.low = reducer, codes.min(axis=0)
        self.step = (codes.max(axis=0) - self.low) / 255

    def send(self, X):
        """Images as bytes."""
        codes = self.reducer.transform(X)
        return ((codes - self.low) / self.step).round().clip(0, 255).astype(np.uint8).tobytes()


class Receiver:
    """Has the decoder, and what a byte stands for."""

    def __init__(self, sender):
        self.reducer, self.low, self.step = sender.reducer, sender.low, sender.step

    def receive(self, message):
        """Bytes as images."""
        levels = np.frombuffer(message, np.uint8).reshape(-1, len(self.step))
        return self.reducer.inverse_transform(self.low + self.step * levels)


def sent_and_received(reducer, size):
    """The test images as the receiver sees them; `size` bytes are sent for each."""
    sender = Sender(reducer.fit(X_train), X_train)
    elsewhere = pickle.loads(pickle.dumps(Receiver(sender)))
    message = sender.send(X_test)
    assert len(message) == size * len(X_test)
    return elsewhere.receive(message)


def error(images):
    """Root mean squared error of a pixel, in shares of the full range."""
    return np.sqrt(np.mean((images - X_test) ** 2)) / 16


sizes = (2, 4, 6, 8, 12, 16)
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
print(f"  {'bytes an image':<18}" + "".join(f"{size:>7}" for size in sizes))
for name, values in errors.items():
    print(f"  {name:<18}" + "".join(f"{100 * value:>7.1f}" for value in values))

# %%
# One unseen digit of each class, in four bytes.

figure = plt.figure(figsize=(12, 4.2), layout="constrained")
left, right = figure.subfigures(1, 2, width_ratios=[1, 1.4])
ax = left.subplots()
for name, values in errors.items():
    ax.plot(sizes, [100 * value for value in values], "o-", label=name)
ax.set(xlabel="bytes an image", ylabel="error of a pixel, % of the range", ylim=(0, None))
ax.legend(frameon=False)
ax.spines[["top", "right"]].set_visible(False)

right.suptitle("Unseen digits, sent in 4 bytes each")
shown = [np.flatnonzero(y_test == digit)[0] for digit in range(10)]
rows = {"original": X_test} | {name: by_size[4] for name, by_size in received.items()}
for row_of_axes, (name, images) in zip(right.subplots(len(rows), 10), rows.items(), strict=True):
    for ax, image in zip(row_of_axes, images[shown], strict=True):
        ax.imshow(image.reshape(8, 8), cmap="gray_r", vmin=0, vmax=16)
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_color("0.85")
    row_of_axes[0].set_ylabel(name, rotation=0, ha="right", va="center")

picture = Path(sys.argv[1] if len(sys.argv) > 1 else "compression.png")
figure.savefig(picture, dpi=150)
print(f"picture: {picture.resolve()}")
