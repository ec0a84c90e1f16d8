"""
Displays of a fitted autoencoder
================================

What did an autoencoder learn, and how does it compare with PCA? There are six displays, each a
single call: the loss curves, the explained variance, reconstructions of unseen rows, the latent
space, the effect of each code, and the components. On the digits most of the improvement is in the
first ten epochs, and with 16 components the unexplained variance of unseen digits is half that of
PCA.
"""

# %%
# The progress bar needs scikit-learn 1.9 and rich.

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

reconstructed = pca.inverse_transform(pca.transform(X_test))
pca_residual = ((X_test - reconstructed) ** 2).sum() / ((X_test - X_train.mean(axis=0)) ** 2).sum()
print(f"unexplained variance of unseen digits: {1 - autoencoder.score(X_test):.1%}")
print(f"the same for PCA: {pca_residual:.1%}")

# %%
# Here all displays share one figure; without `ax` each display makes a figure of its own.

titles = [
    "Loss curves", "Explained variance of the first components", "Reconstructions of unseen digits",
    "Effect of single codes", "Codes of unseen digits, 2 components", "Components",
]  # fmt: skip
figure = plt.figure(figsize=(15, 14), layout="constrained")
axes = []
for part, title in zip(figure.subfigures(3, 2, hspace=0.04).flat, titles, strict=True):
    part.suptitle(title, weight="bold")
    axes.append(part.subplots())

LossCurveDisplay.from_estimator(autoencoder, ax=axes[0])
ExplainedVarianceDisplay.from_estimator(autoencoder, X_train, ax=axes[1])
ReconstructionDisplay.from_estimator(
    autoencoder, X_test, image_shape=(8, 8), baseline=pca, ax=axes[2]
)
LatentTraversalDisplay.from_estimator(autoencoder, X_test, image_shape=(8, 8), ax=axes[3])
two = AutoencoderTransformer(n_components=2, random_state=0).fit(X_train)
LatentSpaceDisplay.from_estimator(two, X_test, y_test, ax=axes[4])
DictionaryDisplay.from_estimator(autoencoder, image_shape=(8, 8), ax=axes[5])

# %%
# `diagnosis_` lists possible problems of a fit.

print(autoencoder.diagnosis_ or "no problems found")

plt.show()
