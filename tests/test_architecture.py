"""Sub-packages and the dependencies between them, sizes, names, imports."""

import ast
import io
import os
import subprocess
import sys
import tokenize
from functools import cache
from pathlib import Path

import pytest

import skae

PACKAGE = Path(skae.__file__).parent
TESTS = Path(__file__).parent
PATHS = sorted(PACKAGE.rglob("*.py"))

# Lowest first: a sub-package imports from those above it in this list only, hence without a cycle.
# `base` is the public module for objectives of one's own.
DEPENDENCIES = {
    "_graph": set(),
    "_data": set(),
    "_losses": {"_graph"},
    "_nn": {"_graph", "_data", "_losses"},
    "_training": {"_data", "_losses", "_nn"},
    "_autoencoders": {"_data", "_losses", "_nn", "_training"},
    "base": {"_data", "_losses", "_nn", "_training", "_autoencoders"},
    "_imputation": {"_data", "_nn", "_training"},
    "_outliers": {"_data", "_nn", "_training", "_autoencoders"},
    "_series": {"_data", "_nn", "_outliers"},
    "_semi_supervised": {"_data", "_nn", "_training", "_autoencoders"},
    "_inspection": {"_data"},
    "_export": {"_graph", "_data", "_losses", "_nn", "_autoencoders"},
}
# SciPy, joblib and threadpoolctl are installed with scikit-learn.
RUN_TIME = {"numpy", "sklearn", "torch", "scipy", "joblib", "threadpoolctl"}

MAX_MODULE_LINES, MAX_CLASS_LINES, MAX_FUNCTION_LINES = 400, 300, 50

# Names of earlier versions that a reader who knows scikit-learn and torch did not understand, and
# what replaced them.
RETIRED = {
    # Data and results of a fit
    "Task": "FitData",
    "Outcome": "FitResult",
    "make_task": "make_fit_data",
    "conclude": "finish",
    "turn_to_axes": "rotate_codes",
    "_measure": "code_statistics",
    "Order": "CodeBasis",
    "in_basis": "transform",
    "charge": "deviance",
    # Training
    "Plan": "TrainingConfig",
    "Observer": "EpochCallback",
    "Stepper": "Optimizer",
    "averaged": "ema_weights",
    "usual_norm": "running_norm",
    "LONG_GRADIENT": "CLIP_RATIO",
    "RiseAndFall": "WarmupLinearDecay",
    "rise_and_fade": "warmup_inverse_sqrt",
    "better_than_chance": "Acceptance.best_factor",
    "Watch": "FitCallbackContext",
    "WrittenOut": "ManualGradient",
    "can_write_out": "has_manual_backward",
    "Chain": "ManualSequential",
    "Rounded": "LowPrecisionCopy",
    "Prepared": "CachedInputs",
    "Together": "BatchedBackend",
    "laid_on_each_other": "stack_networks",
    "Finding": "Diagnostic",
    # Networks
    "Codec": "FittedAutoencoder",
    "OrderedCodec": "RotatedAutoencoder",
    "Tame": "SoftClip",
    "Gate": "LayerScale",
    "unfilled": "skip_init",
    "own_pair": "user_encoder_decoder",
    "dense_pair": "mlp_encoder_decoder",
    "beside_pca": "residual_to_pca",
    "LinearPath": "PCAPath",
    "reach": "max_train_distance",
    "code_step": "delta_scale",
    "HoldsModule": "ModulePickleMixin",
    "_described": "_to_spec",
    "_built": "_from_spec",
    # Hooks of the base class
    "_shown": "Objective.network_input",
    "_settle": "Objective.calibrate",
    "_equip": "Objective.prepare_network",
    "_assemble": "_initialize",
    "_in_order": "_summarize",
    "_publish": "_set_fitted_attributes",
    "_tell": "warn_after_fit",
    "_collapse": "collapsed_codes",
    "_only_reconstructs": "Objective.is_reconstruction",
    "_starts_at_pca": "Objective.minimised_by_pca",
    # Rows and processes
    "HostRows": "ArrayDataset",
    "TensorRows": "TensorDataset",
    "StandardRows": "CachedDataset",
    "plain_torch": "training_mode",
    "grad_mode": "training_mode",
    "on_host": "as_numpy",
    "in_pieces": "halve_on_oom",
    "_by_passes": "lobpcg",
    "Alone": "SingleProcess",
    "Ranks": "ProcessGroup",
    "unify": "broadcast_module",
    "agreement": "synchronize_errors",
    # Sparse codes and densities
    "drive": "pre_activation",
    "idle": "rows_since_active",
    "granted": "training_threshold",
    "GENEROSITY": "K_ANNEAL_FACTOR",
    "HOLD": "RIDGE",
    "pursue": "subspace_pursuit",
    "_surprise": "_negative_log_likelihood",
    "_warmth": "_kl_weight",
    "RESOLUTION": "MIN_NOISE_SCALE",
    "balanced_noise": "antithetic_normal",
    # Imputation, outliers, few labels
    "HiddenCells": "MaskedCells",
    "hide": "mask_cells",
    "weigh": "stacking_weights",
    "DRAW": "SHRINKAGE",
    "RadialUnits": "NystroemFeatures",
    "ExactDenoisers": "PosteriorMeanDenoisers",
    "usual_error": "error_scale",
    "_better_half": "_concentration_step",
    "_guess": "pseudo_label",
    "TRUE_SHARE": "LABELED_FRACTION",
    # Data names
    "told": "prediction",
    "asked": "query",
    "wanted": "target",
    "judges": "validation",
    "left_over": "residual",
    "shown": "corrupted",
    "chance": "rng",
    "usual": "mean",
    "tame": "clip",
    "who": "caller",
}

# Modules that are tested by a file of another name.
TESTED_ELSEWHERE = {
    "_data/table_columns.py": "test_table.py",
    "_export/methods.py": "test_export.py",
    "_export/onnx_columns.py": "test_onnx_pipeline.py",
    "_export/onnx_encoders.py": "test_onnx_pipeline.py",
    "_export/onnx_nodes.py": "test_export.py",
    "_export/state_rules.py": "test_fitted_state.py",
    "_export/string_allowance.py": "test_encoding.py",
    "_export/table_graph.py": "test_network_rows.py",
    "_export/table_state.py": "test_network_rows.py",
    "_inspection/protocols.py": "test_types.py",
    "_nn/blocks.py": "test_inference.py",
    "_nn/old_names.py": "test_old_versions.py",
}


def name_of(path):
    """The path of a module inside the package."""
    return path.relative_to(PACKAGE).as_posix()


@cache  # each law reads all modules
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


def n_lines(node):
    return node.end_lineno - node.lineno + 1


def n_code_lines(function):
    """Lines of a function without its decorators and its docstring."""
    has_docstring = ast.get_docstring(function) is not None
    return n_lines(function) - (n_lines(function.body[0]) if has_docstring else 0)


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


def test_modules_are_short():
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in PATHS}
    assert not {name_of(path): n for path, n in lengths.items() if n > MAX_MODULE_LINES}


def test_classes_and_functions_are_short():
    too_long = []
    for path in PATHS:
        for node in ast.walk(parse(path)):
            if isinstance(node, ast.ClassDef) and n_lines(node) > MAX_CLASS_LINES:
                too_long.append((name_of(path), node.name, n_lines(node)))
            if isinstance(node, ast.FunctionDef) and n_code_lines(node) > MAX_FUNCTION_LINES:
                too_long.append((name_of(path), node.name, n_code_lines(node)))
    assert not too_long


def test_no_retired_name_is_used_again():
    used = []
    for path in PATHS:
        tokens = tokenize.generate_tokens(io.StringIO(path.read_text(encoding="utf-8")).readline)
        names = {token.string for token in tokens if token.type == tokenize.NAME}
        used += [(name_of(path), name, RETIRED[name]) for name in names & RETIRED.keys()]
    assert not used


def test_every_module_has_a_test_file_of_its_name():
    names = {name_of(path): f"test_{path.stem}.py" for path in PATHS if path.stem != "__init__"}
    untested = {name for name, test_file in names.items() if not (TESTS / test_file).exists()}
    assert untested == TESTED_ELSEWHERE.keys()
    assert all((TESTS / test_file).exists() for test_file in TESTED_ELSEWHERE.values())


def test_only_public_names_of_scikit_learn_are_imported():
    for path in PATHS:
        names = [name for name in imports_of(path) if name.startswith("sklearn")]
        assert not [name for name in names if "._" in name], name_of(path)


def test_importing_needs_only_the_run_time_dependencies():
    for path in PATHS:
        packages = {name.split(".")[0] for name in imports_of(path, at_import(parse(path)))}
        assert packages - set(sys.stdlib_module_names) - {"skae"} <= RUN_TIME, name_of(path)


def test_losses_and_graphs_import_no_scikit_learn():
    for path in PATHS:
        if part(path) in ("_losses", "_graph"):
            names = imports_of(path)
            assert not [name for name in names if name.startswith("sklearn")], name_of(path)


def test_the_stub_imports_every_public_name_from_its_home():
    stub = ast.parse((PACKAGE / "__init__.pyi").read_text(encoding="utf-8"))
    homes = {
        alias.name: node.module
        for node in stub.body
        if isinstance(node, ast.ImportFrom) and node.module  # else it is the module `base`
        for alias in node.names
    }
    assert homes == skae._HOMES
    assert [name for name in dir(skae) if name[0] != "_"] == sorted([*homes, "base"])


def test_importing_the_package_imports_neither_torch_nor_scikit_learn():
    code = "import sys, skae; assert not {'torch', 'sklearn'} & set(sys.modules)"
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

WITHOUT_MATPLOTLIB = """
import skae
[getattr(skae, name) for name in skae.__all__]
assert "matplotlib" not in sys.modules
sys.modules["matplotlib"] = None
try:
    skae.LossCurveDisplay(training=[1.0]).plot()
except ImportError as error:
    print(error)
"""


@pytest.fixture(scope="module")
def imports(tmp_path_factory):
    """What a new process prints of its imports."""
    program = IMPORT_TIME + WITHOUT_MATPLOTLIB
    command = [sys.executable, "-c", program, str(tmp_path_factory.mktemp("cache"))]
    run = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ)
    return run.stdout.splitlines()


def test_importing_an_autoencoder_takes_little_more_than_scikit_learn_and_torch(imports):
    own, dependencies = map(float, imports[0].split())
    assert own < 0.027 * dependencies  # 50 ms where the dependencies take 1.85 s


def test_without_matplotlib_the_package_works_and_displays_name_the_extra(imports):
    assert imports[1:] == ["LossCurveDisplay needs matplotlib: `pip install matplotlib`."]


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
