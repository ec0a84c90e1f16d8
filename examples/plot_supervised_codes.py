"""
Codes that predict classes
==========================

Can two numbers describe an image and also predict its class? PCA and `AutoencoderTransformer` do
not use the classes. Linear discriminant analysis (LDA) separates them, but has no reconstructions.
The codes of `SupervisedAutoencoder` predict the classes best, and explain nearly as much of the
variance as those of `AutoencoderTransformer`.
"""

# %%
# The reducers are compared on new digits, by the variance that the reconstructions explain, and by
# the accuracy of a logistic regression that is fitted to the codes.

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import r2_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skae import AutoencoderTransformer, LatentSpaceDisplay, SupervisedAutoencoder

X, y = load_digits(return_X_y=True)
X_train, X_new, y_train, y_new = X[:1200], X[1200:], y[:1200], y[1200:]
reducers = {
    "PCA": PCA(2),
    "LDA": LinearDiscriminantAnalysis(n_components=2),
    "AutoencoderTransformer": AutoencoderTransformer(2, max_iter=30, random_state=0),
    "SupervisedAutoencoder": SupervisedAutoencoder(2, max_iter=30, random_state=0),
}
print(f"{'':<24}{'explained variance':>18}{'accuracy':>10}")
for name, reducer in reducers.items():
    classifier = make_pipeline(reducer, StandardScaler(), LogisticRegression(max_iter=1000))
    accuracy = classifier.fit(X_train, y_train).score(X_new, y_new)
    explained = "none"
    if hasattr(reducer, "inverse_transform"):
        reconstructed = reducer.inverse_transform(reducer.transform(X_new))
        explained = f"{r2_score(X_new, reconstructed, multioutput='variance_weighted'):.0%}"
    print(f"{name:<24}{explained:>18}{accuracy:>10.0%}")

# %%
# The codes of new digits. The markers are their classes.

figure, axes = plt.subplots(1, 2, figsize=(9.5, 4.4), layout="constrained")
for ax, name in zip(axes, ["AutoencoderTransformer", "SupervisedAutoencoder"], strict=True):
    LatentSpaceDisplay.from_estimator(reducers[name], X_new, y_new, ax=ax)
    ax.set_title(name)
plt.show()
