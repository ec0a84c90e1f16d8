"""
Codes that predict classes
==========================

Can two numbers describe an image and predict its class? The principal components of the digits, and
the codes of an autoencoder, do not know the classes. Those of linear discriminant analysis separate
them, but do not describe the images. A :class:`~skae.SupervisedAutoencoder` does both.
"""

# %%
# The share of the variance of new digits that the reconstructions explain, and the accuracy of a
# logistic regression of the codes. Linear discriminant analysis has no reconstructions.
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
for name, reducer in reducers.items():
    classifier = make_pipeline(reducer, StandardScaler(), LogisticRegression(max_iter=1000))
    accuracy = classifier.fit(X_train, y_train).score(X_new, y_new)
    explained = "no reconstruction"
    if hasattr(reducer, "inverse_transform"):
        reconstructed = reducer.inverse_transform(reducer.transform(X_new))
        explained = (
            f"{r2_score(X_new, reconstructed, multioutput='variance_weighted'):.0%} explained"
        )
    print(f"{name}: {explained}, accuracy {accuracy:.0%}")

# %%
# The codes of new digits.
figure, axes = plt.subplots(1, 2, figsize=(13, 5.5), layout="constrained")
for ax, name in zip(axes, ["AutoencoderTransformer", "SupervisedAutoencoder"], strict=True):
    LatentSpaceDisplay.from_estimator(reducers[name], X_new, y_new, ax=ax)
    ax.set_title(name)
