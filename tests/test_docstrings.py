"""Public names belong to the module `skae`, and the examples in their docstrings run.

`--doctest-modules` does not find them: it takes a module's own objects only.
"""

import doctest
import importlib
import inspect
import re

import pytest

import skae
import skae.base

IMPUTES_AS_FOR_USERS = True
FINDER = doctest.DocTestFinder()
PUBLIC = [
    pytest.param(thing, id=f"{module.__name__}.{name}")
    for module in (skae, skae.base)
    for name in module.__all__
    if inspect.isclass(thing := getattr(module, name)) or inspect.isfunction(thing)
]


@pytest.mark.parametrize("name", skae.__all__)
def test_a_public_name_says_that_it_is_public(name):
    thing = getattr(skae, name)
    assert thing.__module__ == "skae"
    assert thing.__name__ == thing.__qualname__ == name
    home = importlib.import_module(f"skae.{skae._HOMES[name]}")
    assert getattr(home, name) is thing


@pytest.mark.parametrize("name", skae.__all__)
def test_a_public_name_has_an_example(name):
    tests = FINDER.find(getattr(skae, name), name, module=False)
    assert any(test.examples for test in tests)


@pytest.mark.parametrize("thing", PUBLIC)
def test_the_examples_run(thing, capsys):
    if not thing.__module__.startswith("skae._"):  # else `--doctest-modules` runs them
        runner = doctest.DocTestRunner()
        for test in FINDER.find(thing, thing.__name__, module=False, globs={}):
            runner.run(test)
        assert runner.failures == 0, capsys.readouterr().out


@pytest.mark.parametrize("thing", PUBLIC)
def test_the_summary_is_one_short_line(thing):
    summary, *rest = inspect.getdoc(thing).splitlines()
    assert len(summary) < 80
    assert summary.endswith(".")
    assert rest[:1] in ([], [""])


@pytest.mark.parametrize("thing", PUBLIC)
def test_parameters_are_documented_in_the_order_of_the_signature(thing):
    section = inspect.getdoc(thing).partition("Parameters\n----------\n")[2].partition("\n---")[0]
    entries = re.findall(r"^(\*?\w.*?) : ", section, re.MULTILINE)
    names = [name.lstrip("*") for entry in entries for name in entry.split(", ")]
    assert not names or names == list(inspect.signature(thing).parameters)
