"""The pages for maintainers name files and identifiers that exist."""

import ast
import re
from pathlib import Path

import pytest
from test_architecture import dependencies

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "architecture.md"
PAGES = [PAGE, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs" / "decisions").glob("*.md"))]
FOLDERS = ("skae", "tests", "docs", "benchmarks", "examples")

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


def text_of(page):
    """The page with each run of white space as one space, so that a phrase is on one line."""
    return " ".join(page.read_text(encoding="utf-8").split())


def definitions(path):
    """Names that a module defines at the top, and `Class.name` for those that a class defines."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        yield from names_of(node)
        if isinstance(node, ast.ClassDef):
            yield from (f"{node.name}.{name}" for child in node.body for name in names_of(child))


def names_of(node):
    if isinstance(node, ast.ClassDef | ast.FunctionDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return [target.id for target in targets if isinstance(target, ast.Name)]


@each_page
def test_every_file_that_a_page_names_exists(page):
    paths = re.findall(rf"`((?:{'|'.join(FOLDERS)})/[\w/.]*)`", text_of(page))
    assert [path for path in paths if "foo" not in path and not (ROOT / path).exists()] == []
    names = re.findall(r"`(\w+\.pyi?)`", text_of(page))
    found = {path.name for folder in FOLDERS for path in (ROOT / folder).rglob("*.py*")}
    assert [name for name in names if "foo" not in name and name not in found] == []


@each_page
def test_every_identifier_that_a_page_places_in_a_file_is_defined_there(page):
    places = re.findall(r"`([\w.]+)`(?: in| \() ?`(skae/[\w/]+\.py)`", text_of(page))
    assert places or page != PAGE
    absent = [(name, path) for name, path in places if name not in set(definitions(ROOT / path))]
    assert absent == []


def test_the_table_names_the_dependencies_of_each_sub_package_in_order():
    rows = re.findall(r"^\| `skae/(\w+)(?:\.py)?` \|.*\| (.*) \|$", PAGE.read_text(), re.M)
    table = {name: set(re.findall(r"`(\w+)`", imports)) for name, imports in rows}
    assert table == dependencies()
    order = list(table)
    for name, lower in table.items():
        assert lower <= set(order[: order.index(name)])
