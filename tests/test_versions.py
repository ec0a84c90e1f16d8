"""The output of `show_versions`."""

import platform
from importlib.metadata import version
from pathlib import Path

import pytest
import torch

import skae
from skae._data.versions import PACKAGES


@pytest.fixture
def lines(capsys):
    """The entries that are printed, by name."""
    skae.show_versions()
    printed = [line.strip().partition(": ") for line in capsys.readouterr().out.splitlines()]
    return {name: value for name, separator, value in printed if separator}


def test_versions_are_those_of_the_packages(lines):
    assert lines["skae"] == skae.__version__
    assert lines["torch"] == version("torch")
    assert lines["scikit-learn"] == version("scikit-learn")
    assert lines["Python"] == platform.python_version()
    assert lines.keys() >= set(PACKAGES)


def test_an_absent_package_is_not_installed(monkeypatch, capsys):
    monkeypatch.setattr("skae._data.versions.PACKAGES", ("torch", "no-such-package"))
    skae.show_versions()
    assert "no-such-package: not installed" in capsys.readouterr().out


def test_devices_are_those_of_torch(lines, monkeypatch, capsys):
    assert lines["threads of torch"] == str(torch.get_num_threads())
    assert (lines["GPUs"] == "none") == (not torch.cuda.is_available())
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda i: f"GPU {i}")
    skae.show_versions()
    assert "GPUs: GPU 0, GPU 1" in capsys.readouterr().out


def test_the_output_does_not_identify_the_user(lines):
    text = "\n".join(lines.values())
    assert str(Path.home()) not in text
    assert str(Path.cwd()) not in text
