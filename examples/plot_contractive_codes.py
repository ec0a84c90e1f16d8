"""
Codes that stay where they are
==============================

How far do the codes of an image move when its pixels tremble? Those of a plain autoencoder can
move a long way: nothing asks its encoder to be smooth. A `ContractiveAutoencoder`, which pays for
the slope of its encoder, moves them a fraction of that, and restores unseen digits as well.

Run it with the path of the picture, by default ``contractive_codes.png``.
"""

# %%
# Noise of a tenth of the spread of the data: hardly to be seen.

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skae import AutoencoderTransformer, ContractiveAutoencoder

X, y = load_digits(return_X_y=True)
X_train, X_test, _, y_test = train_test_split(X, y, test_size=0.25, stratify=y, random_state=0)
rng = np.random.RandomState(0)
noise = 0.1 * np.sqrt(X_train.var(axis=0).mean())
noisy = X_test + noise * rng.normal(size=X_test.shape)

estimators = {
    "AutoencoderTransformer": AutoencoderTransformer(n_components=2, random_state=0),
    "ContractiveAutoencoder": ContractiveAutoencoder(n_components=2, random_state=0),
}
for estimator in estimators.values():
    estimator.fit(X_train)

# %%
# Movement in units of the spread of the codes, so that a small code gains nothing.


def movement(estimator):
    """Root mean squared change of a code."""
    change = estimator.transform(noisy) - estimator.transform(X_test)
    return np.sqrt((change**2).sum(axis=1).mean() / estimator.explained_variance_.sum())


print("Unseen digits, codes of two numbers:")
print(f"  {'':<24}{'movement of codes':>18}{'variance restored':>19}")
for name, estimator in estimators.items():
    print(f"  {name:<24}{movement(estimator):>18.1%}{estimator.score(X_test):>19.1%}")

# %%
# A line leads from the code of an unseen digit to that of the same digit with noise.

figure, axes = plt.subplots(1, 2, figsize=(10, 4.8), layout="constrained")
figure.suptitle("Where codes go when pixels tremble")
for ax, (name, estimator) in zip(axes, estimators.items(), strict=True):
    ends = np.stack([estimator.transform(X_test), estimator.transform(noisy)])
    for digit in range(10):
        chosen = y_test == digit
        ax.plot(*ends[:, chosen].transpose(2, 0, 1), color=f"C{digit}", linewidth=1)
        ax.plot(*ends[0, chosen].T, "o", color=f"C{digit}", markersize=2)
    ax.set_title(f"{name}: by {movement(estimator):.1%} of their spread")
    ax.set(xlabel="component 0", ylabel="component 1")
    ax.spines[["top", "right"]].set_visible(False)

picture = Path(sys.argv[1] if len(sys.argv) > 1 else "contractive_codes.png")
figure.savefig(picture, dpi=150)
print(f"picture: {picture.resolve()}")
