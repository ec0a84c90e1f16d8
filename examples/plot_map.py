"""
A map with new rows
===================

Can new digits be added to a two-dimensional map of digits? t-SNE maps only the rows that it was
fitted to. `NeighborAutoencoder` has `transform` for new digits, and `inverse_transform`, which
returns images for points of the map. The new digits are near to training digits of the same class.
"""

# %%
# A nearest-neighbour classifier is fitted to the maps of the training digits. Its accuracy on the
# new digits is high if they are near to training digits of the same class.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.neighbors import KNeighborsClassifier

from skae import LatentSpaceDisplay, NeighborAutoencoder

X, y = load_digits(return_X_y=True)
X_train, X_new, y_train, y_new = X[:1300], X[1300:], y[:1300], y[1300:]
reducers = {"PCA": PCA(2), "NeighborAutoencoder": NeighborAutoencoder(max_iter=30, random_state=0)}
print("Accuracy of nearest neighbours in the map, for new digits:")
for name, reducer in reducers.items():
    codes = reducer.fit_transform(X_train)
    classifier = KNeighborsClassifier().fit(codes, y_train)
    print(f"  {name:<22}{classifier.score(reducer.transform(X_new), y_new):.0%}")

# %%
# Left: the map of the training digits by class; the rings are new digits. Right: some of the images
# at their positions.

figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 4.4), layout="constrained")
reducer = reducers["NeighborAutoencoder"]
LatentSpaceDisplay.from_estimator(reducer, X_train, y_train, X_new=X_new[:20], ax=left)
LatentSpaceDisplay.from_estimator(reducer, X_train, image_shape=(8, 8), ax=right)
plt.show()

# %%
# `inverse_transform` of eight points on the line between two new digits:

ends = reducer.transform(X_new[:2])
points = ends[0] + np.linspace(0, 1, 8)[:, None] * (ends[1] - ends[0])
figure, axes = plt.subplots(1, 8, figsize=(8, 1.2))
for ax, image in zip(axes, reducer.inverse_transform(points), strict=True):
    ax.imshow(image.reshape(8, 8), cmap="gray")
    ax.set_axis_off()
plt.show()
