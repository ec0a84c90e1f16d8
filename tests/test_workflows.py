"""The workflows of CI call targets of the Makefile, with the versions that the package names."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")

pytestmark = pytest.mark.skipif(not WORKFLOWS, reason="a source distribution has no workflows")


def texts():
    paths = [*WORKFLOWS, ROOT / ".ci" / "run"]
    return {path.name: path.read_text(encoding="utf-8") for path in paths}


def test_every_target_that_is_called_is_in_the_makefile():
    targets = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.M)) | {".venv/.installed"}
    called = re.findall(r"(?:^|run: )make ([\w./-]+)", "\n".join(texts().values()), re.M)
    assert len(called) > 8
    assert set(called) <= targets


def test_every_phony_target_exists_and_has_a_description():
    phony = re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.M)[1].split()
    described = re.findall(r"^([a-z-]+):.*## ", MAKEFILE, re.M)
    assert sorted(phony) == sorted(described)


def test_every_variable_that_a_call_sets_is_one_of_the_makefile():
    variables = set(re.findall(r"^(\w+) \?=", MAKEFILE, re.M))
    calls = re.findall(r"make [\w./-]+((?: \w+=(?:\"[^\"]*\"|\S*))*)", "\n".join(texts().values()))
    given = {name for call in calls for name in re.findall(r" (\w+)=", call)}
    assert {"PYTHON", "TORCH", "CONSTRAINTS"} <= given <= variables


def test_the_versions_of_python_that_are_tested_are_those_of_the_classifiers():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    stated = re.findall(r"Python :: (3[.]\d+)", "\n".join(project["classifiers"]))
    matrix = re.search(r"python: \[(.*)\]", texts()["ci.yml"])[1]
    assert re.findall(r"3[.]\d+", matrix) == stated


def test_the_formatter_has_the_same_version_in_all_places():
    hooks = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    pinned = re.search(r"^ruff==(.*)$", (ROOT / "constraints.txt").read_text(), re.M)[1]
    assert re.search(r"ruff-pre-commit\s+rev: v(\S+)", hooks)[1] == pinned


def test_only_the_job_that_publishes_may_write_or_request_a_token():
    for name, text in texts().items():
        granted = re.findall(r"^ +([a-z-]+): write", text, re.M)
        assert granted == (["id-token"] if name == "release.yml" else []), name
