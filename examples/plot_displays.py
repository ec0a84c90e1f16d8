"""
Displays of a fitted autoencoder
================================

What has an autoencoder learned? The six displays of this page draw the loss curves, the explained
variance, the reconstructions of unseen rows, the codes, the effect of each component, and the
components. Three of them also draw PCA for comparison.
"""

# %%
# An autoencoder and PCA are fitted with 16 components. The unexplained variance of unseen digits is
# less than half that of PCA.

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.metrics import r2_score
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

autoencoder = AutoencoderTransformer(n_components=16, random_state=0).fit(X_train)
pca = PCA(n_components=16).fit(X_train)

by_pca = pca.inverse_transform(pca.transform(X_test))
explained = r2_score(X_test, by_pca, multioutput="variance_weighted")
print(f"unexplained variance of unseen digits: {1 - autoencoder.score(X_test):.1%}")
print(f"the same for PCA: {1 - explained:.1%}")

# %%
# `diagnosis_` lists possible problems of a fit.

print("\n".join(autoencoder.diagnosis_) or "no problems found")

# %%
# **Loss curves.** The circle is the epoch whose weights were kept. The last epochs continue from
# these weights, so the training loss increases there.

LossCurveDisplay.from_estimator(autoencoder)
plt.show()

# %%
# **Explained variance.** The curves show the share of variance that the first components explain.

ExplainedVarianceDisplay.from_estimator(autoencoder, X_train)
plt.show()

# %%
# **Reconstructions.** Unseen digits are compared with their reconstructions.

ReconstructionDisplay.from_estimator(autoencoder, X_test, image_shape=(8, 8), baseline=pca)
plt.show()

# %%
# **Effect of single components.** In each row of images, one component of the code varies, and the
# others have their mean.

LatentTraversalDisplay.from_estimator(autoencoder, X_test, image_shape=(8, 8))
plt.show()

# %%
# **Components.** Each image shows the effect of a small change of one component at the mean.

DictionaryDisplay.from_estimator(autoencoder, image_shape=(8, 8))
plt.show()

# %%
# **Codes.** For this plot, an autoencoder with two components is fitted.

two = AutoencoderTransformer(n_components=2, random_state=0).fit(X_train)
LatentSpaceDisplay.from_estimator(two, X_test, y_test)
plt.show()
