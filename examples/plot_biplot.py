"""
Features behind the codes
=========================

Which features make a component, and why does a row have its code? A biplot shows the codes of
tumours together with the features that they are correlated with. For a single tumour,
`feature_contributions` shows how much each feature contributes to its code.
"""

# %%
# The breast cancer data have 30 features of cell nuclei, which are standardised. Two components
# explain more of the variance than two principal components.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.datasets import load_breast_cancer
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from skae import AutoencoderTransformer, BiplotDisplay

data = load_breast_cancer(as_frame=True)
X = StandardScaler().set_output(transform="pandas").fit_transform(data.data)
y = data.target_names[data.target]
pca = PCA(2).fit(X)
reducer = AutoencoderTransformer(n_components=2, random_state=0).fit(X)
print(f"Explained variance: PCA {pca.explained_variance_ratio_.sum():.0%}, ", end="")
print(f"autoencoder {reducer.score(X):.0%}")

# %%
# `loadings_` has the correlations of the features with the codes. These features have the largest
# correlations with the first component:

loadings = pd.DataFrame(reducer.loadings_.T, index=X.columns, columns=["first", "second"])
print(loadings.sort_values("first", key=abs, ascending=False).head(6).round(2))

# %%
# In a biplot, each arrow has the correlations of one feature as its coordinates. The eight longest
# arrows are drawn.

figure, (left, right) = plt.subplots(1, 2, figsize=(11, 5), layout="constrained")
BiplotDisplay.from_estimator(pca, X, y, max_features=8, ax=left)
BiplotDisplay.from_estimator(reducer, X, y, max_features=8, ax=right)
left.set_title("PCA")
right.set_title("Autoencoder")

# %%
# For a single row, `feature_contributions` returns the contribution of each feature to each
# component of its code. For the tumour with the largest first component, these are the largest
# contributions. The contributions of all features sum to the difference between its code and the
# code of the mean row.

row = int(np.argmax(reducer.transform(X)[:, 0]))
contributions = reducer.feature_contributions(X.iloc[[row]])[0, 0]
largest = np.argsort(-np.abs(contributions))[:10][::-1]
figure, ax = plt.subplots(figsize=(7, 4), layout="constrained")
ax.barh(X.columns[largest], contributions[largest])
ax.axvline(0, color="black", lw=0.8)
ax.set(
    xlabel="contribution to the first component",
    title=f"Tumour {row}: sum {contributions.sum():.1f}",
)
plt.show()
