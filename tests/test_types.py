"""What a type checker says of a user's script; mypy stands for all of them."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import skae

pytest.importorskip("mypy")

# Each line and the type that a checker is to reveal for the expression.
REVEALED = {
    "reducer": "AutoencoderTransformer",
    "reducer.fit(X)": "AutoencoderTransformer",
    "reducer.fit_transform(X)": "ndarray",
    "reducer.transform(X)": "ndarray",
    "reducer.inverse_transform(X)": "ndarray",
    "reducer.score(X)": "float",
    "reducer.components_": "ndarray",
    "reducer.diagnosis_": "tuple[str, ...]",
    "reducer.explained_variance_ratio_": "ndarray",
    "reducer.loss_curve_": "list[float]",
    "reducer.n_components_": "int",
    "reducer.pca_score_": "float",
    "skae.SparseAutoencoder(20).fit(X).activation_frequency_": "ndarray",
    "skae.VAE(2).fit(X).active_components_": "ndarray",
    "skae.VAE(2).sample(3)": "ndarray",
    "skae.AutoencoderClassifier().fit(X, y).predict(X)": "ndarray",
    "skae.AutoencoderImputer().fit_transform(X)": "ndarray",
    "skae.AutoencoderOutlierDetector().fit(X).offset_": "float",
    "skae.AutoencoderOutlierDetector().fit_predict(X)": "ndarray",
    "skae.ReconstructionTransformer(reducer).fit_transform(X)": "ndarray",
    "skae.SlidingWindows(2).fit_transform(X)": "ndarray",
    "skae.TimeSeriesOutlierDetector().fit(X).score_samples(X)": "ndarray",
    "skae.LossCurveDisplay.from_estimator(reducer)": "LossCurveDisplay",
    'skae.load("file")': "Any",
    'skae.save(reducer, "file", custom_objects=[print])': "None",
    'skae.export_numpy(reducer, "folder")': "None",
}
ACCEPTED = [
    "skae.VAE(hidden_layer_sizes=[64, 32])",
    'skae.VAE(activation="tanh", loss="log_loss", batch_size="auto", n_components=0.5)',
    'skae.DenoisingAutoencoder(corruption="swap")',
    "skae.DenoisingAutoencoder(corruption=lambda x, rng: x)",
    'skae.SparseAutoencoder(sparsity="l1", sparsity_weight=0.1)',
    "skae.ExplainedVarianceDisplay.from_estimator(reducer)",
    "skae.ReconstructionDisplay.from_estimator(make_pipeline(reducer), X)",
    "skae.compare_reducers({'vae': skae.VAE()}, X)",
    "skae.base.BaseAutoencoder",
    "Weighted(weight=0.5, n_components=3).fit(X).mean_",
]
REFUSED = {
    'skae.VAE(hidden_layer_sizes="64")': "hidden_layer_sizes",
    'skae.VAE(activation="swish")': "activation",
    'skae.VAE(loss="l2")': "loss",
    'skae.VAE(init="zero")': "init",
    'skae.VAE(solver="lbfgs")': "solver",
    'skae.VAE(pretraining="deep")': "pretraining",
    'skae.VAE(precision="float16")': "precision",
    'skae.VAE(batch_size="large")': "batch_size",
    'skae.SparseAutoencoder(sparsity="top")': "sparsity",
    'skae.DenoisingAutoencoder(corruption="salt")': "corruption",
    "skae.Autoencoder()": "Autoencoder",
}
PRELUDE = """
from dataclasses import dataclass
import numpy as np
from sklearn.pipeline import make_pipeline
import skae
from skae.base import parameter, positive

X, y = np.zeros((9, 4)), np.arange(9) % 2
reducer = skae.AutoencoderTransformer(2, random_state=0)

@dataclass(eq=False, repr=False, kw_only=True)
class Weighted(skae.AutoencoderTransformer):
    weight: float = parameter(0.1, positive())
"""
# Torch is skipped, which saves most of the time.
CONFIG = """
[mypy]
ignore_missing_imports = True
[mypy-torch.*]
follow_imports = skip
"""


@pytest.fixture(scope="module")
def messages(tmp_path_factory):
    """The messages of mypy about each line of a script that has all lines above."""
    lines = [*(f"reveal_type({line})" for line in REVEALED), *ACCEPTED, *REFUSED]
    folder = tmp_path_factory.mktemp("types")
    script, config = folder / "script.py", folder / "mypy.ini"
    script.write_text(PRELUDE + "\n".join(lines))
    config.write_text(CONFIG)
    run = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", config, "--cache-dir", folder, script],
        cwd=Path(skae.__file__).parents[1],
        capture_output=True,
        text=True,
    )
    found = dict.fromkeys(lines, "")
    for number, text in re.findall(r"script[.]py:(\d+): (.*)", run.stdout):
        found[lines[int(number) - PRELUDE.count("\n") - 1]] += text
    return found


@pytest.mark.parametrize("line", REVEALED)
def test_the_type_of_a_public_attribute_is_known(line, messages):
    revealed = re.search('Revealed type is "(.*?)"', messages[f"reveal_type({line})"])
    assert re.sub(r"[\w.]+[.](\w)", r"\1", revealed[1]).startswith(REVEALED[line])


@pytest.mark.parametrize("line", ACCEPTED)
def test_correct_code_is_accepted(line, messages):
    assert not messages[line]


@pytest.mark.parametrize("line", REFUSED)
def test_a_wrong_argument_is_refused_with_its_name(line, messages):
    assert "error" in messages[line]
    assert REFUSED[line] in messages[line]
