"""Every example runs to its end and leaves a picture; its figures are those of a short training."""

import runpy
import sys
import warnings
from pathlib import Path

import pytest

pyplot = pytest.importorskip("matplotlib.pyplot")
image = pytest.importorskip("matplotlib.image")

from conftest import AUTOENCODERS  # noqa: E402
from sklearn.exceptions import ConvergenceWarning  # noqa: E402
from sklearn.manifold import TSNE  # noqa: E402

from skae._autoencoders.base import BaseAutoencoder  # noqa: E402
from skae._training.loop import TrainingConfig  # noqa: E402

# What an example needs beside the extra "plot".
NEEDS = {"plot_production": ("onnxruntime", "pandas", "safetensors", "skl2onnx")}
EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("plot_*.py"))


@pytest.fixture
def one_epoch(monkeypatch):
    """Every fit ends after one epoch, whatever the example asks for."""
    of = TrainingConfig.of
    monkeypatch.setattr(TrainingConfig, "of", lambda *args: of(*args)._replace(max_epochs=1))
    # What imputers learn, and maps by t-SNE, is cut short as well.
    monkeypatch.setattr("skae._imputation.stacked_correction.MAX_STEPS", 100)
    monkeypatch.setattr("skae._imputation.stacked_correction.RADIAL_ROWS", 500)
    monkeypatch.setattr("skae._imputation.gaussian.MAX_ITERATIONS", 2)
    monkeypatch.setitem(TSNE.__init__.__kwdefaults__, "max_iter", 250)


@pytest.fixture
def run(tmp_path, monkeypatch, one_epoch):
    """What runs an example, without the data folder, and returns its picture and its names."""

    def run_path(path):
        for module in NEEDS.get(path.stem, ()):
            pytest.importorskip(module)
        picture = tmp_path / "picture.png"
        monkeypatch.setattr(sys, "argv", [str(path), str(picture)])
        monkeypatch.delenv("SKAE_DATA", raising=False)
        pyplot.switch_backend("agg")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # one epoch is too few
            names = runpy.run_path(str(path), run_name="__main__")
        pyplot.close("all")
        return picture, names

    return run_path


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_each_example_leaves_a_picture(path, run, capsys):
    picture, _ = run(path)
    assert image.imread(picture).std() > 0
    assert str(picture.resolve()) in capsys.readouterr().out


def test_the_server_answers_as_the_pipeline_does_also_where_cells_are_missing_or_unheard_of(run):
    _, names = run(next(path for path in EXAMPLES if path.stem == "plot_production"))
    pipeline, serve, rows = names["pipeline"], names["serve"], names["X_test"].iloc[:5].copy()
    # Texts are missing as "", in a request as None; the last row has none of its numbers.
    rows.iloc[0, rows.columns.get_loc(names["texts"][0])] = ""
    rows.iloc[1, rows.columns.get_loc(names["texts"][0])] = "unheard of"
    rows.loc[rows.index[-1], names["numbers"]] = float("nan")
    expected = pipeline.predict_proba(rows).max(axis=1)
    for (_, row), label, probability in zip(
        rows.iterrows(), pipeline.predict(rows), expected, strict=True
    ):
        known = {name: value for name, value in row.items() if value == value and value != ""}
        answer = serve(known)
        assert answer["label"] == label
        assert answer["probability"] == pytest.approx(probability, abs=1e-3)  # three digits


def test_there_is_an_example_for_every_autoencoder():
    scripts = "\n".join(path.read_text(encoding="utf-8") for path in EXAMPLES)
    leaves = [cls.__name__ for cls in AUTOENCODERS if issubclass(cls, BaseAutoencoder)]
    assert leaves
    assert [name for name in leaves if f"{name}(" not in scripts] == []
