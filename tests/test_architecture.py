"""Sub-packages and the dependencies between them, sizes, names, imports."""

import ast
import io
import os
import subprocess
import sys
import tokenize
from pathlib import Path

import pytest

import skae

PACKAGE = Path(skae.__file__).parent
TESTS = Path(__file__).parent
PATHS = sorted(PACKAGE.rglob("*.py"))
NAMES = [path.relative_to(PACKAGE).as_posix() for path in PATHS]
each_module = pytest.mark.parametrize("path", PATHS, ids=NAMES)

# Lowest first: a sub-package imports from those above it in this list only, hence without a cycle.
# `base` is the public module for objectives of one's own.
DEPENDENCIES = {
    "_graph": set(),
    "_data": set(),
    "_losses": set(),
    "_nn": set(),
    "_training": set(),
    "_autoencoders": set(),
    "base": set(),
    "_imputation": set(),
    "_outliers": set(),
    "_semi_supervised": set(),
    "_inspection": set(),
    "_export": set(),
}
# SciPy, joblib and threadpoolctl are installed with scikit-learn.
RUN_TIME = {"numpy", "sklearn", "torch", "scipy", "joblib", "threadpoolctl"}

MAX_MODULE_LINES, MAX_CLASS_LINES, MAX_FUNCTION_LINES = 400, 300, 50

# Names that a reader who knows scikit-learn and torch does not understand at once, and the names
# that have replaced them.
RETIRED = {}

# Modules without a test file of their name, and the file that tests them.
TESTED_ELSEWHERE = {}


def parse(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def imported(nodes, package=("skae",)):
    """Absolute dotted names that the import statements among `nodes` of a package import."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) + 1 - node.level] if node.level else ()
            origin = ".".join([*start, *filter(None, [node.module])])
            yield from (f"{origin}.{alias.name}" for alias in node.names)


def imports_of(path, nodes=None):
    package = ("skae", *path.relative_to(PACKAGE).parent.parts)
    return set(imported(ast.walk(parse(path)) if nodes is None else nodes, package))


def at_import(tree):
    """Nodes that run when the module is imported, not in functions or for type checkers only."""
    pending = [tree]
    while pending:
        node = pending.pop()
        yield node
        in_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for_types = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        if not in_function and not for_types:
            pending.extend(ast.iter_child_nodes(node))


def part(path):
    """The sub-package of a module, or its name if it is in the root of the package."""
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def dependencies():
    """The sub-packages that each sub-package imports from."""
    found = {part(path): set() for path in PATHS if part(path) != "__init__"}
    for path in PATHS:
        names = (name.split(".") for name in imports_of(path) if name.startswith("skae."))
        if part(path) != "__init__":
            found[part(path)] |= {name[1] for name in names} - {part(path), "__version__"}
    return found


def n_code_lines(function):
    """Lines of a function without its decorators, its docstring and its last comments."""
    docstring = function.body[0] if ast.get_docstring(function) is not None else None
    n_docstring = docstring.end_lineno - docstring.lineno + 1 if docstring else 0
    return function.end_lineno - function.lineno + 1 - n_docstring


def test_sub_packages_depend_on_those_that_are_named():
    assert dependencies() == DEPENDENCIES


def test_sub_packages_depend_on_lower_ones_only():
    order = list(DEPENDENCIES)
    for name, lower in DEPENDENCIES.items():
        assert lower <= set(order[: order.index(name)]), name


def test_the_root_of_the_package_holds_sub_packages_and_the_public_module():
    folders = {path.name for path in PACKAGE.iterdir() if path.is_dir()} - {"__pycache__"}
    files = {path.name for path in PACKAGE.iterdir() if path.is_file()}
    assert folders == DEPENDENCIES.keys() - {"base"}
    assert files == {"__init__.py", "__init__.pyi", "base.py", "py.typed"}


@each_module
def test_modules_classes_and_functions_are_short(path):
    source = path.read_text(encoding="utf-8")
    assert len(source.splitlines()) <= MAX_MODULE_LINES
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef):
            assert node.end_lineno - node.lineno < MAX_CLASS_LINES, node.name
        if isinstance(node, ast.FunctionDef):
            assert n_code_lines(node) <= MAX_FUNCTION_LINES, node.name


@each_module
def test_no_retired_name_is_used_again(path):
    with tokenize.open(path) as file:
        tokens = tokenize.generate_tokens(io.StringIO(file.read()).readline)
        names = {token.string for token in tokens if token.type == tokenize.NAME}
    assert not {name: RETIRED[name] for name in names & RETIRED.keys()}


@each_module
def test_every_module_has_a_test_file_of_its_name(path):
    if path.stem == "__init__":
        return
    name = path.relative_to(PACKAGE).as_posix()
    test_file = TESTED_ELSEWHERE.get(name, f"test_{path.stem}.py")
    assert (TESTS / test_file).exists()
    assert name not in TESTED_ELSEWHERE or not (TESTS / f"test_{path.stem}.py").exists()


@each_module
def test_only_public_names_of_scikit_learn_are_imported(path):
    names = [name for name in imports_of(path) if name.startswith("sklearn")]
    assert not [name for name in names if any(part.startswith("_") for part in name.split("."))]


@each_module
def test_importing_needs_only_the_run_time_dependencies(path):
    packages = {name.split(".")[0] for name in imports_of(path, at_import(parse(path)))}
    assert packages - set(sys.stdlib_module_names) - {"skae"} <= RUN_TIME


def test_losses_and_graphs_import_no_scikit_learn():
    for path in [*(PACKAGE / "_losses").glob("*.py"), *(PACKAGE / "_graph").glob("*.py")]:
        assert not [name for name in imports_of(path) if name.split(".")[0] == "sklearn"], path


def test_the_stub_imports_every_public_name_from_its_home():
    stub = ast.parse((PACKAGE / "__init__.pyi").read_text(encoding="utf-8"))
    homes = {
        alias.name: node.module
        for node in stub.body
        if isinstance(node, ast.ImportFrom) and node.module  # else it is the module `base`
        for alias in node.names
    }
    assert homes == skae._HOMES
    for name in homes:
        public = getattr(skae, name)
        assert public.__module__ == "skae"
        assert public.__name__ == name in dir(skae)


def test_importing_the_package_imports_neither_torch_nor_scikit_learn():
    code = "import sys, skae; assert not {'torch', 'sklearn'} & set(sys.modules); skae.VAE"
    subprocess.run([sys.executable, "-c", code], check=True)


# CPU time, which other processes change little, and the shortest of several imports. The ratio is
# the same on slow and quick machines: torch and scikit-learn take about 1.85 s of CPU time.
IMPORT_TIME = """
import sys, time

def cpu_time(function):
    start = time.process_time()
    function()
    return time.process_time() - start

def import_dependencies():
    import torch, sklearn.decomposition

def import_autoencoder():
    import skae
    skae.AutoencoderTransformer

def forget():
    for name in [name for name in sys.modules if name.split(".")[0] == "skae"]:
        del sys.modules[name]

dependencies = cpu_time(import_dependencies)
before = set(sys.modules)
sys.pycache_prefix, sys.dont_write_bytecode = sys.argv[1], False
import_autoencoder()
added = {name.split(".")[0] for name in set(sys.modules) - before}
assert added & {"sklearn", "torch"} == set(), set(sys.modules) - before
own = []
for _ in range(7):
    forget()
    own.append(cpu_time(import_autoencoder))
print(min(own), dependencies)
"""


def test_importing_an_autoencoder_takes_little_more_than_scikit_learn_and_torch(tmp_path):
    command = [sys.executable, "-c", IMPORT_TIME, str(tmp_path)]
    run = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ)
    own, dependencies = map(float, run.stdout.split())
    assert own < 0.027 * dependencies  # 50 ms where the dependencies take 1.85 s


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'skae' has no attribute 'PCA'"):
        skae.PCA  # noqa: B018


# An import that the helpers above overlook would be allowed.


def test_every_kind_of_import_is_found():
    source = """
import torch.nn as nn
from .. import _losses
from .._data.dataset import make_dataset
from ._local import thing
from . import sibling
from skae._nn import autoencoder
import skae._training.loop
from sklearn.utils._param_validation import Interval
def later():
    import pandas
class Body:
    import rich
if True:
    try:
        import dask
    except ImportError:
        pass
"""
    tree = ast.parse(source)
    names = set(imported(ast.walk(tree), ("skae", "_autoencoders")))
    assert {
        "skae._losses",
        "skae._data.dataset.make_dataset",
        "skae._autoencoders._local.thing",
        "skae._autoencoders.sibling",
        "skae._nn.autoencoder",
        "skae._training.loop",
        "sklearn.utils._param_validation.Interval",
    } <= names
    assert {"torch.nn", "pandas", "rich", "dask"} <= names
    assert set(imported(at_import(tree))) & {"pandas", "rich", "dask"} == {"rich", "dask"}


def test_a_docstring_is_no_code():
    function = ast.parse(
        'def f():\n    """One.\n\n    Two.\n    """\n    a = 1\n    return a\n'
    ).body[0]
    assert n_code_lines(function) == 3
