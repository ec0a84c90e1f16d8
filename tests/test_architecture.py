"""Imports point down the layers, and reach outside only for what is installed with the package."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import skae

PACKAGE = Path(skae.__file__).parent
MODULES = sorted(path.stem for path in PACKAGE.glob("*.py"))

# Lowest first. A module imports from lower layers only. A new file fails until it has a place here.
LAYERS = [
    {"_tensors", "_validation", "_numpy_program", "_stacked"},
    {
        "_losses",
        "_penalties",
        "_bounds",
        "_pursuit",
        "_corruptions",
        "_networks",
        "_codec",
        "_conditional_gaussian",
        "_low_rank_gaussian",
        "_hidden_cells",
    },
    {"_ranks"},
    {
        "_training",
        "_gradients",
        "_convolution",
        "_namespaces",
        "_probabilistic",
        "_sparse_codes",
        "_packing",
        "_radial",
        "_recall",
    },
    {"_pretraining", "_completion", "_stacking"},
    {"_parameters", "_pca_start", "_ordering", "_spreading", "_graph", "_callbacks", "_diagnosis"},
    {"_task", "_denoisers", "_trained", "_together"},
    {"_outcome", "_refit", "_sparse_start"},
    {"_fitting"},
    {"_base"},
    {"_autoencoder", "_denoising", "_sparse", "_contractive", "_variational", "_ensemble"},
    {"_outlier", "_imputer", "_reconstruction", "_classifier"},
    {"_scoring", "_programs", "_plotting"},
    {"_displays", "_code_displays", "_reconstruction_display", "_comparison_display"},
    {"_comparison"},
    {"_compare", "_persistence", "_export"},
    {"__init__"},
]
LAYER_OF = {module: depth for depth, layer in enumerate(LAYERS) for module in layer}

# Arithmetic below the estimators: torch and NumPy's numbers, no scikit-learn, nothing of skae.
ARITHMETIC = LAYERS[1]
# SciPy, joblib and threadpoolctl are installed with scikit-learn.
RUN_TIME = {"numpy", "sklearn", "torch", "scipy", "joblib", "threadpoolctl"}


def tree_of(module):
    return ast.parse((PACKAGE / f"{module}.py").read_text(encoding="utf-8"))


def imported(nodes):
    """Absolute dotted names that import statements among `nodes` bring in."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = ".".join(filter(None, ["skae" if node.level else "", node.module]))
            yield from (f"{origin}.{alias.name}" for alias in node.names)


def at_import(tree):
    """Nodes that run when the module is imported: all but the bodies of functions."""
    pending = [tree]
    while pending:
        node = pending.pop()
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            pending.extend(ast.iter_child_nodes(node))


def siblings(nodes):
    """Modules of skae that import statements among `nodes` name."""
    names = (name.split(".") for name in imported(nodes))
    return {parts[1] for parts in names if parts[0] == "skae" and len(parts) > 1}


def test_every_module_has_a_layer():
    assert set(MODULES) <= set(LAYER_OF)


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_down(module):
    lower = {name for name, depth in LAYER_OF.items() if depth < LAYER_OF[module]}
    assert siblings(ast.walk(tree_of(module))) <= lower


@pytest.mark.parametrize("module", sorted(ARITHMETIC & set(MODULES)))
def test_arithmetic_knows_neither_scikit_learn_nor_its_neighbours(module):
    nodes = list(ast.walk(tree_of(module)))
    assert siblings(nodes) == set()
    assert not [name for name in imported(nodes) if name.split(".")[0] == "sklearn"]


@pytest.mark.parametrize("module", MODULES)
def test_only_public_names_of_scikit_learn_are_imported(module):
    names = [name for name in imported(ast.walk(tree_of(module))) if name.startswith("sklearn")]
    assert not [name for name in names if any(part.startswith("_") for part in name.split("."))]


@pytest.mark.parametrize("module", MODULES)
def test_importing_needs_only_the_run_time_dependencies(module):
    packages = {name.split(".")[0] for name in imported(at_import(tree_of(module)))}
    assert packages - set(sys.stdlib_module_names) - {"skae"} <= RUN_TIME


def test_type_checkers_see_the_public_names_at_their_homes():
    stub = ast.parse((PACKAGE / "__init__.pyi").read_text(encoding="utf-8"))
    told = {
        alias.name: node.module
        for node in stub.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert told == skae._HOMES
    for name, home in told.items():
        thing = getattr(skae, name)
        assert thing.__module__ == f"skae.{home}"
        assert thing.__name__ == name in dir(skae)


def test_the_package_itself_imports_nothing_until_it_is_asked():
    code = "import sys, skae; assert not {'torch', 'sklearn'} & set(sys.modules); skae.VAE"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'skae' has no attribute 'PCA'"):
        skae.PCA  # noqa: B018


# The helpers above are the law's eyes: what they overlook is allowed.


def test_every_way_to_import_is_seen():
    source = """
import torch.nn as nn
from . import _losses
from ._tensors import blocks
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
    assert siblings(ast.walk(tree)) == {"_losses", "_tensors", "_networks", "_training"}
    assert "sklearn.utils._param_validation.Interval" in set(imported(ast.walk(tree)))
    assert {"pandas", "rich", "dask"} <= set(imported(ast.walk(tree)))
    assert set(imported(at_import(tree))) & {"pandas", "rich", "dask"} == {"rich", "dask"}
