"""Every example runs to its end and draws a figure, with one epoch and a third of the digits."""

import ast
import contextlib
import functools
import io
import re
import runpy
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from sklearn import datasets

pyplot = pytest.importorskip("matplotlib.pyplot")

from conftest import AUTOENCODERS  # noqa: E402
from shortening import shorten  # noqa: E402
from sklearn.exceptions import ConvergenceWarning  # noqa: E402
from sklearn.manifold import TSNE  # noqa: E402

from skae import AutoencoderImputer  # noqa: E402
from skae._imputation.correction_networks import CorrectionConfig  # noqa: E402

# Modules that an example needs in addition to the extra "plot".
NEEDS = {"plot_production": ("onnxruntime", "pandas", "safetensors", "skl2onnx")}
ROOT = Path(__file__).parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("plot_*.py"))
GALLERY_ORDER = ROOT / "docs" / "gallery_order.py"
# Examples that take rows by their number, which fewer digits do not have.
ALL_DIGITS = {"plot_map", "plot_supervised_codes"}
SHORT_CORRECTION = CorrectionConfig(max_steps=20, check_interval=10, max_training_entries=2**12)


def shorten_all(monkeypatch):
    """Shorten the training of all estimators, and the maps of t-SNE."""
    shorten(monkeypatch)
    # The imputer has no such parameter.
    fit = AutoencoderImputer.fit
    monkeypatch.setattr(AutoencoderImputer, "fit", lambda self, X, y=None: fit(self, X[:100]))
    monkeypatch.setattr(AutoencoderImputer, "_config", SHORT_CORRECTION)
    monkeypatch.setitem(TSNE.__init__.__kwdefaults__, "max_iter", 250)


@dataclass
class Run:
    """What an example leaves: its variables, its output, its folder, its figures as pixels."""

    names: dict
    printed: str
    folder: Path
    figures: list


def run_in(folder, path):
    """Run an example in an empty folder."""
    with pytest.MonkeyPatch.context() as monkeypatch, warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # one epoch is too few
        shorten_all(monkeypatch)
        if path.stem not in ALL_DIGITS:
            X, y = datasets.load_digits(return_X_y=True)
            monkeypatch.setattr(datasets, "load_digits", lambda return_X_y: (X[:600], y[:600]))
        monkeypatch.chdir(folder)
        monkeypatch.setattr(pyplot, "show", lambda: None)
        pyplot.switch_backend("agg")
        with contextlib.redirect_stdout(io.StringIO()) as output:
            names = runpy.run_path(str(path), run_name="__main__")
        canvases = [pyplot.figure(number).canvas for number in pyplot.get_fignums()]
        for canvas in canvases:
            canvas.draw()
        figures = [np.asarray(canvas.buffer_rgba()) for canvas in canvases]
    pyplot.close("all")
    return Run(names, output.getvalue(), folder, figures)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Return a function that runs an example of this name, once."""

    @functools.cache
    def run_once(name):
        for module in NEEDS.get(name, ()):
            pytest.importorskip(module)
        path = next(path for path in EXAMPLES if path.stem == name)
        return run_in(tmp_path_factory.mktemp(name), path)

    return run_once


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_each_example_prints_a_result_and_draws_a_figure(path, run):
    done = run(path.stem)
    assert any(character.isdigit() for character in done.printed)
    assert str(done.folder) not in done.printed
    assert " at 0x" not in done.printed  # the address of an object
    assert done.figures
    assert all(figure.std() > 0 for figure in done.figures)


def test_the_example_of_make_demo_writes_its_figure(run):
    folder = run("plot_pca_vs_autoencoder").folder
    assert pyplot.imread(folder / "pca_vs_autoencoder.png").std() > 0


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_begins_with_a_question(path):
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    title, underline, _, text = docstring.split("\n", 3)
    assert underline == "=" * len(title)
    assert re.match(r"[^.:]*\?", text)


def test_the_gallery_has_a_position_for_each_example():
    order = runpy.run_path(str(GALLERY_ORDER))
    assert sorted(order["EXAMPLES"]) == [path.stem.removeprefix("plot_") for path in EXAMPLES]
    positions = [order["example_position"](f"plot_{name}.py") for name in order["EXAMPLES"]]
    assert positions == sorted(positions)


def test_server_predicts_as_pipeline_with_missing_and_unknown_values(run):
    names = run("plot_production").names
    pipeline, serve, rows = names["pipeline"], names["serve"], names["X_test"].iloc[:5].copy()
    # A missing text is NaN in the table and absent in a request; the last row has no numbers.
    rows.iloc[0, rows.columns.get_loc(names["texts"][0])] = float("nan")
    rows.iloc[1, rows.columns.get_loc(names["texts"][0])] = "unknown"
    rows.loc[rows.index[-1], names["numbers"]] = float("nan")
    expected = pipeline.predict_proba(rows).max(axis=1)
    for (_, row), label, probability in zip(
        rows.iterrows(), pipeline.predict(rows), expected, strict=True
    ):
        known = {name: value for name, value in row.items() if value == value}
        answer = serve(known)
        assert answer["label"] == label
        assert answer["probability"] == pytest.approx(probability, abs=1e-3)  # three digits


def test_there_is_an_example_of_every_autoencoder():
    scripts = "\n".join(path.read_text(encoding="utf-8") for path in EXAMPLES)
    assert [cls.__name__ for cls in AUTOENCODERS if f"{cls.__name__}(" not in scripts] == []
