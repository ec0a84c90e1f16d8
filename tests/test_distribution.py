"""What is installed: metadata, files, and versions that agree with each other.

`make test-dist` runs these tests with an installed wheel and an installed source distribution.
"""

import re
import tomllib
from importlib.metadata import metadata, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import skae
from skae._data.versions import PACKAGES

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS_OF_USERS = ("plot", "progress", "onnx", "save", "distributed")
TESTED_WITH_THE_OLDEST = ("plot", "save")


def requirements(*extras):
    """The run-time dependencies and those of extras, by name."""
    optional = PROJECT["optional-dependencies"]
    lines = [*PROJECT["dependencies"], *(line for extra in extras for line in optional[extra])]
    return {canonicalize_name(Requirement(line).name): Requirement(line) for line in lines}


def pins(name):
    """The versions of a file of constraints, by name."""
    text = (ROOT / name).read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return {canonicalize_name(name): v for name, _, v in (line.partition("==") for line in lines)}


def test_the_installed_version_is_that_of_the_package():
    assert version("skae") == skae.__version__


def test_the_version_has_a_section_of_the_changelog_and_is_cited():
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    release = re.sub(r"[.]dev\d+$", "", skae.__version__)
    assert re.search(rf"^## {re.escape(release)}$", changelog, re.M)
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8").splitlines()
    assert f"version: {release}" in citation
    assert f"license: {PROJECT['license']}" in citation
    assert f"  version = {{{release}}}" in (ROOT / "docs" / "about.md").read_text(encoding="utf-8")


def test_metadata_have_the_licence_the_types_and_the_supported_versions_of_python():
    installed = metadata("skae")
    assert installed["License-Expression"] == "BSD-3-Clause"
    assert installed.get_all("License-File") == ["LICENSE"]
    classifiers = installed.get_all("Classifier")
    assert "Typing :: Typed" in classifiers
    assert not [name for name in classifiers if name.startswith("License ::")]
    oldest = installed["Requires-Python"].removeprefix(">=")
    assert f"Programming Language :: Python :: {oldest}" in classifiers


def test_files_for_type_checkers_are_installed():
    folder = Path(skae.__file__).parent
    assert (folder / "py.typed").is_file()
    assert (folder / "__init__.pyi").is_file()


@pytest.mark.parametrize("name", skae.__all__)
def test_every_public_name_can_be_imported(name):
    assert getattr(skae, name).__name__ == name


def test_the_oldest_versions_that_are_tested_are_those_that_are_allowed():
    oldest = pins("constraints-oldest.txt")
    for name, requirement in requirements(*TESTED_WITH_THE_OLDEST).items():
        assert requirement.specifier.contains(oldest[name]), name
        lower = next(s.version for s in requirement.specifier if s.operator == ">=")
        assert oldest[name] in (f"{lower}.0", lower), name


def test_every_dependency_is_pinned():
    pinned = pins("constraints.txt")
    for name, requirement in requirements(*PROJECT["optional-dependencies"]).items():
        assert requirement.specifier.contains(pinned[name]), name


def test_all_dependencies_of_users_are_in_show_versions():
    assert requirements(*EXTRAS_OF_USERS).keys() <= set(PACKAGES)


def test_the_conda_recipe_has_the_version_and_the_dependencies():
    recipe = (ROOT / "recipe" / "recipe.yaml").read_text(encoding="utf-8")
    assert f'  version: "{skae.__version__}"' in recipe
    for requirement in requirements("plot", "save", "onnx").values():
        name = {"torch": "pytorch", "matplotlib": "matplotlib-base"}.get(
            requirement.name, requirement.name
        )
        assert f"    - {name} {requirement.specifier}\n" in recipe
