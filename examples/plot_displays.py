"""
A fit in six pictures
=====================

What did an autoencoder learn, and what would PCA have made of it? Six displays tell, each in one
line: how training went, what the codes explain, what comes back of unseen rows, where the rows lie
in the code, what each code does, and what the components look like. On the digits training gains
most in its first ten epochs, and with 16 codes it leaves half as much of unseen digits unexplained
as PCA does.

Run it with the path of the picture, by default ``displays.png``.
"""

# %%
# Progress shows while it trains, if scikit-learn has callbacks (1.9) and rich is installed.

import sys
from pathlib import Path

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split

from skae import (
    AutoencoderTransformer,
    DictionaryDisplay,
    ExplainedVarianceDisplay,
    LatentSpaceDisplay,
    LatentTraversalDisplay,
    LossCurveDisplay,
    ReconstructionDisplay,
)

X, y = load_digits(return_X_y=True)
X_train, X_test, _, y_test = train_test_split(X, y, test_size=0.25, stratify=y, random_state=0)

autoencoder = AutoencoderTransformer(n_components=16, random_state=0)
try:
    from sklearn.callback import ProgressBar

    autoencoder.set_callbacks(ProgressBar())
except ImportError:
    pass
autoencoder.fit(X_train)
pca = PCA(n_components=16).fit(X_train)

restored = pca.inverse_transform(pca.transform(X_test))
pca_left = ((X_test - restored) ** 2).sum() / ((X_test - X_train.mean(axis=0)) ** 2).sum()
print(f"left unexplained of unseen digits: {1 - autoencoder.score(X_test):.1%}, PCA {pca_left:.1%}")

# %%
# All in one figure here; each display makes a figure of its own if it is not told where to draw.

titles = [
    "How training went", "What the first codes explain", "What comes back of unseen digits",
    "What single codes do", "Where unseen digits lie, 2 codes", "What the components look like",
]  # fmt: skip
figure = plt.figure(figsize=(15, 14), layout="constrained")
places = []
for part, title in zip(figure.subfigures(3, 2, hspace=0.04).flat, titles, strict=True):
    part.suptitle(title, weight="bold")
    places.append(part.subplots())

LossCurveDisplay.from_estimator(autoencoder, ax=places[0])
ExplainedVarianceDisplay.from_estimator(autoencoder, X_train, ax=places[1])
ReconstructionDisplay.from_estimator(
    autoencoder, X_test, image_shape=(8, 8), baseline=pca, ax=places[2]
)
LatentTraversalDisplay.from_estimator(autoencoder, X_test, image_shape=(8, 8), ax=places[3])
two = AutoencoderTransformer(n_components=2, random_state=0).fit(X_train)
LatentSpaceDisplay.from_estimator(two, X_test, y_test, ax=places[4])
DictionaryDisplay.from_estimator(autoencoder, image_shape=(8, 8), ax=places[5])

# %%
# What a fit would have to complain of stands in `diagnosis_`.

print(autoencoder.diagnosis_ or "nothing odd about this fit")

picture = Path(sys.argv[1] if len(sys.argv) > 1 else "displays.png")
figure.savefig(picture, dpi=100)
print(f"picture: {picture.resolve()}")
