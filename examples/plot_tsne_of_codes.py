"""
t-SNE of codes and of pixels
============================

How much does a t-SNE map change if its input is eight components of an autoencoder instead of 64
pixels? Only a little: neighbours in the map of unseen digits belong to the same class almost as
often. With eight principal components, the classes are mixed more.
"""

# %%
# PCA and the autoencoder are fitted to most of the digits, without labels. The maps show the 500
# other digits.

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.model_selection import cross_val_score, train_test_split
from sklearn.neighbors import KNeighborsClassifier

from skae import AutoencoderTransformer

X, y = load_digits(return_X_y=True)
X_train, X_test, _, y_test = train_test_split(X, y, test_size=500, stratify=y, random_state=0)

size = 8
inputs = {
    "64 pixels": X_test,
    f"{size} principal components": PCA(size).fit(X_train).transform(X_test),
    f"{size} codes": AutoencoderTransformer(size, random_state=0).fit(X_train).transform(X_test),
}
maps = {name: TSNE(random_state=0).fit_transform(points) for name, points in inputs.items()}

# %%
# The accuracy of a classifier by five nearest neighbours measures how well the classes are
# separated.


def accuracy(points):
    """Accuracy of 5 nearest neighbours, five folds."""
    return cross_val_score(KNeighborsClassifier(5), points, y_test).mean()


print("Accuracy of 5 nearest neighbours on unseen digits:")
print(f"  {'':<24}{'input':>9}{'in the map':>12}")
for name, points in maps.items():
    print(f"  {name:<24}{accuracy(inputs[name]):>9.1%}{accuracy(points):>12.1%}")

# %%
# Each glyph is an unseen digit.

figure, axes = plt.subplots(1, 3, figsize=(9, 3.7), layout="constrained")
figure.suptitle("t-SNE maps of unseen digits, and accuracy of 5 nearest neighbours")
for ax, (name, points) in zip(axes, maps.items(), strict=True):
    for digit in range(10):
        of_digit = points[y_test == digit]
        ax.scatter(*of_digit.T, s=18, marker=f"${digit}$", color=f"C{digit}", linewidths=0.2)
    ax.set(title=f"of {name}: {accuracy(points):.1%}", xticks=[], yticks=[])
    ax.spines[:].set_color("0.85")

plt.show()
