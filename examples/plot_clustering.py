"""
Clusters of codes, of components and of pixels
==============================================

Do clusters of codes correspond to the ten digits? k-means clusters handwritten digits into ten
clusters, by 64 pixels, by eight principal components or by eight components of an autoencoder.

The clusters of codes correspond better to the digits than those of principal components, but not
better than those of pixels. An autoencoder minimises the reconstruction error, and does not use the
classes. The advantage of codes is their small number. With ``whiten=True`` the clusters are
worse.
"""

# %%
# The reducers have eight components. In each run, the reducer and k-means have another seed.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from sklearn.preprocessing import StandardScaler

from skae import AutoencoderTransformer

X, y = load_digits(return_X_y=True)
n_components, seeds = 8, range(3)


def inputs(seed):
    """Inputs of k-means. Codes are uncorrelated, so scaling them to unit variance whitens them."""
    components = PCA(n_components).fit_transform(X)
    codes = AutoencoderTransformer(n_components, random_state=seed).fit_transform(X)
    return {
        "pixels": X,
        "PCA": components,
        "PCA, whitened": StandardScaler().fit_transform(components),
        "autoencoder": codes,
        "autoencoder, whitened": StandardScaler().fit_transform(codes),
    }


# %%
# The labels are used for the evaluation of the clusters only.

measures = {
    "adjusted Rand index": adjusted_rand_score,
    "normalised mutual information": normalized_mutual_info_score,
}
scores = {}
for seed in seeds:
    for name, points in inputs(seed).items():
        clusters = KMeans(10, n_init=10, random_state=seed).fit_predict(points)
        row = [measure(y, clusters) for measure in measures.values()]
        scores.setdefault(name, []).append(row)
scores = {name: np.array(rows) for name, rows in scores.items()}

print(f"{len(seeds)} seeds, mean and range (1 is perfect):")
print(f"  {'':<22}" + "".join(f"{measure:>31}" for measure in measures))
for name, values in scores.items():
    cells = (f"{v.mean():.3f} ({v.min():.3f} to {v.max():.3f})" for v in values.T)
    print(f"  {name:<22}" + "".join(f"{cell:>31}" for cell in cells))

# %%
# The bars are means over the seeds, and each dot is the value for one seed.

figure, axes = plt.subplots(1, 2, figsize=(8, 3), layout="constrained", sharey=True)
figure.suptitle("Agreement of ten clusters with the ten digits (1 is perfect)")
for ax, measure, column in zip(axes, measures, (0, 1), strict=True):
    for position, (name, values) in enumerate(scores.items()):
        color = "C0" if "autoencoder" in name else "0.5"
        ax.barh(position, values[:, column].mean(), height=0.6, color=color, alpha=0.4)
        ax.plot(values[:, column], [position] * len(values), "o", color=color, markersize=4)
    ax.set(xlabel=measure, yticks=range(len(scores)), yticklabels=scores)
    ax.spines[["top", "right"]].set_visible(False)
axes[0].invert_yaxis()

plt.show()
