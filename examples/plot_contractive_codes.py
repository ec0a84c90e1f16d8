"""
Codes that change little under noise
====================================

How much do the codes of an image change if a little noise is added? Some codes of an
`AutoencoderTransformer` change a lot: the code of an image is that of the nearest point of a curved
surface, and after a small change this point can be in another part of the surface. The codes of a
`ContractiveAutoencoder` change less than half as much, because its objective has a penalty on
the Jacobian of the encoder. It explains less of the variance of unseen digits.
"""

# %%
# The standard deviation of the noise is a tenth of that of the data.

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
# The change is divided by the standard deviation of the codes, so that their scale does not matter.


def relative_change(estimator):
    """Root mean squared change of the codes, divided by their standard deviation."""
    change = estimator.transform(noisy) - estimator.transform(X_test)
    return np.sqrt((change**2).sum(axis=1).mean() / estimator.explained_variance_.sum())


print("Unseen digits, two components:")
print(f"  {'':<24}{'change of codes':>18}{'variance explained':>20}")
for name, estimator in estimators.items():
    print(f"  {name:<24}{relative_change(estimator):>18.1%}{estimator.score(X_test):>20.1%}")

# %%
# A line connects the code of an unseen digit with that of the same digit with noise. Each class has
# its own colour.

figure, axes = plt.subplots(1, 2, figsize=(8, 4.4), layout="constrained")
figure.suptitle("Root mean squared change of codes under noise, divided by their std")
for ax, (name, estimator) in zip(axes, estimators.items(), strict=True):
    ends = np.stack([estimator.transform(X_test), estimator.transform(noisy)])
    for digit in range(10):
        chosen = y_test == digit
        ax.plot(*ends[:, chosen].transpose(2, 0, 1), color=f"C{digit}", linewidth=1)
        ax.plot(*ends[0, chosen].T, "o", color=f"C{digit}", markersize=2)
    ax.set_title(f"{name}: {relative_change(estimator):.1%}")
    ax.set(xlabel="component 0", ylabel="component 1")
    ax.spines[["top", "right"]].set_visible(False)

plt.show()
