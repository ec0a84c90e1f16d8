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

from skae._base import BaseAutoencoder  # noqa: E402
from skae._training import Plan  # noqa: E402

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("plot_*.py"))


@pytest.fixture
def one_epoch(monkeypatch):
    """Every fit ends after one epoch, whatever the example asks for."""
    of = Plan.of
    monkeypatch.setattr(Plan, "of", lambda *args: of(*args)._replace(max_epochs=1))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_each_example_leaves_a_picture(path, tmp_path, monkeypatch, one_epoch, capsys):
    picture = tmp_path / "picture.png"
    monkeypatch.setattr(sys, "argv", [str(path), str(picture)])
    pyplot.switch_backend("agg")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # one epoch is too few
        runpy.run_path(str(path), run_name="__main__")
    pyplot.close("all")
    assert image.imread(picture).std() > 0
    assert str(picture.resolve()) in capsys.readouterr().out


def test_there_is_an_example_for_every_autoencoder():
    scripts = "\n".join(path.read_text(encoding="utf-8") for path in EXAMPLES)
    leaves = [cls.__name__ for cls in AUTOENCODERS if issubclass(cls, BaseAutoencoder)]
    assert leaves
    assert [name for name in leaves if f"{name}(" not in scripts] == []
