"""
A table with categories in two dimensions
=========================================

Can a table with numbers and categories be reduced without encoding it? A data frame of the iris
flowers has three columns of numbers, a category for the length of the petals, and the species.
`AutoencoderTransformer` takes the frame as it is. Its reconstruction is a frame with the same
columns and dtypes, in which nothing is missing.
"""

# %%
# A third of the species and a tenth of the sepal widths are missing.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.datasets import load_iris

from skae import AutoencoderTransformer

iris = load_iris(as_frame=True)
frame = iris.data.rename(columns=lambda name: name.removesuffix(" (cm)"))
species = pd.Categorical.from_codes(iris.target, iris.target_names)
rng = np.random.RandomState(0)
is_unknown = rng.uniform(size=len(frame)) < 1 / 3
frame["petal"] = pd.cut(frame.pop("petal length"), [0, 2.5, 5, 7], labels=["short", "mid", "long"])
frame["species"] = pd.Series(species).where(~is_unknown)
frame.loc[rng.uniform(size=len(frame)) < 0.1, "sepal width"] = np.nan
print(frame.iloc[::20], "\n")
print(frame.dtypes)

# %%
# The frame is neither encoded nor imputed before the fit.

autoencoder = AutoencoderTransformer(n_components=2, random_state=0).fit(frame)
codes = autoencoder.transform(frame)
reconstructed = autoencoder.reconstruct(frame)
is_right = reconstructed["species"].to_numpy() == np.asarray(species)
print(f"Share of the deviance that two components explain: {autoencoder.score(frame):.2f}")
print(f"Unknown species that are reconstructed correctly: {is_right[is_unknown].mean():.0%}")
print(f"The dtypes are the same: {reconstructed.dtypes.equals(frame.dtypes)}")

# %%
# A cross marks a flower whose species was unknown. Its colour is the reconstructed species.

colours = dict(zip(iris.target_names, ["tab:blue", "tab:orange", "tab:green"], strict=True))
figure, ax = plt.subplots(figsize=(8, 4), layout="constrained")
for name, colour in colours.items():
    is_of_name = (reconstructed["species"] == name).to_numpy()
    for marker, rows in (("o", is_of_name & ~is_unknown), ("x", is_of_name & is_unknown)):
        label = name if marker == "o" else f"{name}, unknown before"
        ax.scatter(*codes[rows].T, c=colour, marker=marker, label=label)
ax.set(xlabel="component 0", ylabel="component 1", title="Codes of a table with categories")
figure.legend(loc="outside right upper")

plt.show()
