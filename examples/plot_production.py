"""
From a CSV file to an ONNX file
===============================

How is a pipeline with an autoencoder deployed to a server that has neither torch nor scikit-learn?
It is exported to one ONNX file. The columns of the data are numbers and categories, and some values
are missing. A grid search chooses the parameters of the pipeline.

For comparison, the same pipeline is fitted with PCA, and without a reduction. The accuracy of all
three is the same, so these data need no reduction.

The script needs pandas and the optional dependencies ``onnx``, ``plot`` and ``save`` of skae. It
writes ``rows.csv``, ``pipeline.skae`` and ``pipeline.onnx`` to the current directory.
"""

# %%
# The CSV file contains the breast cancer data of scikit-learn. Two columns are converted to
# categories, and 5 % of the values are removed.

import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import onnxruntime
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_breast_cancer
from sklearn.decomposition import PCA
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import skae

data = load_breast_cancer(as_frame=True)
table = data.data.rename(columns=lambda name: name.replace(" ", "_"))
for column in ("mean_radius", "mean_texture"):
    table[column] = pd.qcut(table[column], 3, labels=["small", "medium", "large"]).astype(str)
table = table.mask(np.random.RandomState(0).uniform(size=table.shape) < 0.05)
table.assign(target=data.target_names[data.target]).to_csv("rows.csv", index=False)

# %%
# The rest of the script uses the file only. A missing string is a category like the others. The
# inputs of the ONNX model have single precision, so the pipeline is fitted to data of single
# precision.

table = pd.read_csv("rows.csv")
y = table.pop("target").to_numpy(object)
numbers = list(table.select_dtypes("number"))
texts = [name for name in table if name not in numbers]
n_gaps = int(table.isna().to_numpy().sum())
table = table.astype(dict.fromkeys(numbers, np.float32) | dict.fromkeys(texts, object))
X, X_test, y, y_test = train_test_split(table, y, test_size=0.25, stratify=y, random_state=0)
print(f"{len(table)} rows, {len(numbers)} columns of numbers, {len(texts)} of categories")
print(f"{n_gaps} cells are missing; the test set has {len(X_test)} rows")

# %%
# The pipeline is fitted with the autoencoder, with PCA and without a reduction. A grid search on
# the training rows chooses the number of components.

columns = ColumnTransformer(
    [
        ("numbers", make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), numbers),
        ("texts", OneHotEncoder(handle_unknown="ignore", sparse_output=False), texts),
    ]
)
sizes = {"reduce__n_components": [8, 16, 32]}
choices = {
    "autoencoder": (skae.AutoencoderTransformer(random_state=0), sizes),
    "PCA": (PCA(random_state=0), sizes),
    "no reduction": ("passthrough", {}),
}
searches = {}
for name, (reducer, grid) in choices.items():
    classifier = LogisticRegression(max_iter=2000)
    steps = [("columns", columns), ("reduce", reducer), ("classify", classifier)]
    searches[name] = GridSearchCV(Pipeline(steps), grid, cv=3).fit(X, y)

n_columns = searches["PCA"].best_estimator_["reduce"].n_features_in_
print(f"\naccuracy on the test set, with {n_columns} columns after encoding, reduced by")
for name, search in searches.items():
    accuracy = search.score(X_test, y_test)
    print(f"  {name:13} {accuracy:.1%}, best parameters {search.best_params_ or 'none'}")
error = np.sqrt(accuracy * (1 - accuracy) / len(y_test))
print(f"  two standard errors: {2 * error:.1%}")

# %%
# The whole pipeline is saved to a file, to use it in Python or to continue the training. It is also
# exported to one ONNX file with one input for each column.

pipeline = searches["autoencoder"].best_estimator_
saved, exported = Path("pipeline.skae"), Path("pipeline.onnx")
skae.save(pipeline, saved)
same = np.array_equal(skae.load(saved).predict_proba(X_test), pipeline.predict_proba(X_test))
print(f"\n{saved.name}: {saved.stat().st_size / 1000:.0f} kB, same after loading: {same}")
_ = exported.write_bytes(skae.to_onnx(pipeline).SerializeToString())

# %%
# The server needs neither scikit-learn nor torch nor skae.

session = onnxruntime.InferenceSession(exported)
kinds = {cell.name: cell.type for cell in session.get_inputs()}


def serve(row: dict) -> dict:
    """Predict for one row; columns that are absent or None are missing values."""
    cells = {}
    for name, kind in kinds.items():
        value = np.nan if row.get(name) is None else row[name]
        dtype = object if kind == "tensor(string)" else np.float32
        cells[name] = np.array([[value]], dtype=dtype)
    labels, probabilities = session.run(None, cells)
    return {"label": labels[0], "probability": round(float(probabilities.max()), 3)}


labels, probabilities = session.run(None, {name: X_test[[name]].to_numpy() for name in kinds})
expected = pipeline.predict_proba(X_test)
print(f"{exported.name}: {exported.stat().st_size / 1000:.0f} kB, on the {len(X_test)} test rows")
print(f"  same label as the pipeline: {np.mean(labels == pipeline.predict(X_test)):.2%}")
print(f"  largest difference of a probability: {np.abs(probabilities - expected).max():.0e}")

request = json.loads(X_test.iloc[[0]].to_json(orient="records"))[0]  # missing values are None
print(f"\na request of {len(request)} columns; its true label is {y_test[0]!r}")
print("  response:", serve(request))
unusual = {**request, numbers[0]: None, texts[-1]: "unknown"}
print(f"the same with {numbers[0]} missing and {texts[-1]} unknown")
print("  response:", serve(unusual))

# %%
# The figure shows the accuracy in the grid search by the number of columns.

figure, ax = plt.subplots(figsize=(7, 4), layout="constrained")
for name, style, shift in (("autoencoder", "o-C0", 0.985), ("PCA", "s--C1", 1.015)):
    results = searches[name].cv_results_
    size = np.array(results["param_reduce__n_components"], dtype=int)
    accuracy, std = 100 * results["mean_test_score"], 100 * results["std_test_score"]
    # Shifted, because the two are equal if the autoencoder keeps PCA.
    ax.errorbar(shift * size, accuracy, std, fmt=style, capsize=3, label=name)
ax.axhline(
    100 * searches["no reduction"].best_score_,
    color="0.4",
    ls=":",
    label=f"all {n_columns} columns",
)
ax.set(xlabel="columns after reduction", ylabel="accuracy, %, mean of 3 folds", xscale="log")
ax.set_xticks(size, size)
ax.minorticks_off()
ax.set_title("Accuracy of a logistic regression on the codes")
ax.legend(frameon=False, loc="lower right")
ax.spines[["top", "right"]].set_visible(False)

plt.show()
