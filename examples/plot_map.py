"""
A map with new rows
===================

Does a map of the digits have a place for new digits? t-SNE places only the rows that it was fitted
to. A :class:`~skae.NeighborAutoencoder` learns a map in which similar rows are near to each other
from some of the digits. It then places digits that it has not seen, and maps points back to images.
"""

# %%
# The labels of unseen digits are those of their neighbours in the map.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.neighbors import KNeighborsClassifier

from skae import LatentSpaceDisplay, NeighborAutoencoder

X, y = load_digits(return_X_y=True)
X_train, X_new, y_train, y_new = X[:1300], X[1300:], y[:1300], y[1300:]
reducers = {"PCA": PCA(2), "NeighborAutoencoder": NeighborAutoencoder(max_iter=30, random_state=0)}
for name, reducer in reducers.items():
    codes = reducer.fit_transform(X_train)
    classifier = KNeighborsClassifier().fit(codes, y_train)
    print(f"{name}: {classifier.score(reducer.transform(X_new), y_new):.0%} of the new digits")

# %%
# The map of the training rows, with some of the images. The rings are new digits.
figure, axes = plt.subplots(1, 2, figsize=(13, 5.5), layout="constrained")
reducer = reducers["NeighborAutoencoder"]
LatentSpaceDisplay.from_estimator(reducer, X_train, y_train, X_new=X_new[:20], ax=axes[0])
LatentSpaceDisplay.from_estimator(reducer, X_train, y_train, image_shape=(8, 8), ax=axes[1])

# %%
# The images of the points on a line through the map.
ends = reducer.transform(X_new[:2])
points = ends[0] + np.linspace(0, 1, 8)[:, None] * (ends[1] - ends[0])
figure, axes = plt.subplots(1, 8, figsize=(8, 1.2))
for ax, image in zip(axes, reducer.inverse_transform(points), strict=True):
    ax.imshow(image.reshape(8, 8), cmap="gray")
    ax.set_axis_off()
