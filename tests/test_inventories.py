"""The names that the pages link without a network: docs/inventories has one a line."""

import inspect
from importlib import import_module
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / "docs" / "inventories"
ENTRIES = [
    pytest.param(*line.split(), id=line.split()[0])
    for path in sorted(FOLDER.glob("*.txt"))
    for line in path.read_text(encoding="utf-8").splitlines()
    if not line.startswith("#")
]
EXPERIMENTAL = {  # modules whose import makes a name public
    "sklearn.impute.IterativeImputer": "sklearn.experimental.enable_iterative_imputer",
    "sklearn.model_selection.HalvingGridSearchCV": "sklearn.experimental.enable_halving_search_cv",
}


@pytest.mark.parametrize(("name", "kind", "page"), ENTRIES)
def test_a_name_of_an_inventory_exists(name, kind, page):
    module, _, last_part = name.rpartition(".")
    if module == "sklearn.callback":
        pytest.importorskip(module)  # from scikit-learn 1.9 on
    if name in EXPERIMENTAL:
        import_module(EXPERIMENTAL[name])
    thing = getattr(import_module(module), last_part)
    assert kind == ("class" if inspect.isclass(thing) else "function")
    assert page.endswith(".html")


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.txt")), ids=lambda path: path.stem)
def test_an_inventory_is_sorted(path):
    _, _, _, *entries = path.read_text(encoding="utf-8").splitlines()
    assert entries == sorted(entries)
