"""Configuration of Sphinx: `make docs` in the root of the repository builds these pages."""

import os
import re
import sys
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))  # gallery_order
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # skae
os.environ.setdefault("MPLBACKEND", "Agg")

from docutils import nodes
from sphinx.addnodes import pending_xref
from torch import nn

import skae
import skae.base

project = "skae"
author = copyright = "the skae developers"
version = release = skae.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
]
source_suffix = {".rst": "restructuredtext", ".md": "markdown"}
exclude_patterns = ["_build", "gallery/*.ipynb", "sg_execution_times.rst"]
templates_path = ["_templates"]
autosummary_context = {"module_methods": dir(nn.Module)}  # inherited, documented by torch
suppress_warnings = ["ref.ref"]  # inherited docstrings refer to sections of scikit-learn's guide
default_role = "literal"  # as in the docstrings: `X` is code

myst_heading_anchors = 3
autodoc_typehints = "none"  # the docstrings have more detail
toc_object_entries_show_parents = "hide"
numpydoc_show_class_members = False  # `_templates/autosummary/class.rst` lists them

# Without a network the inventories in this repository replace those of the projects. They have
# the names that these pages mention, one a line.
intersphinx_mapping = {
    name: (address, (None, f"inventories/{name}.txt"))
    for name, address in {
        "sklearn": "https://scikit-learn.org/stable",
        "numpy": "https://numpy.org/doc/stable",
        "scipy": "https://docs.scipy.org/doc/scipy",
        "torch": "https://docs.pytorch.org/docs/stable",
    }.items()
}
intersphinx_timeout = 5  # seconds

copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "filename_pattern": "/plot_",
    "within_subsection_order": "gallery_order.example_position",
    "minigallery_sort_order": "gallery_order.example_position",
    "backreferences_dir": "gallery/backreferences",
    "doc_module": ("skae",),
    "reference_url": {"skae": None},
    "capture_repr": ("_repr_html_",),  # no addresses of objects
    "download_all_examples": False,
    "thumbnail_size": (640, 448),
    "show_memory": False,
    "show_signature": False,
    "min_reported_time": 1_000_000,
    "write_computation_times": False,
    "remove_config_comments": True,
}
# Warnings about short trainings are not part of the examples.
warnings.filterwarnings("ignore", category=UserWarning, module="skae")

html_theme = "pydata_sphinx_theme"
html_title = f"skae {version}"
html_static_path = ["_static"]
html_css_files = ["skae.css"]
html_js_files = [("layout.js", {"defer": "defer"})]
html_favicon = "_static/favicon.svg"
html_theme_options = {
    "logo": {"text": html_title},
    "navbar_align": "left",
    "show_prev_next": True,
    "secondary_sidebar_items": {"**": ["page-toc"], "index": [], "search": [], "genindex": []},
    "footer_start": ["copyright"],
    "footer_end": [],
    "navbar_end": ["theme-switcher"],
}
html_context = {"default_mode": "auto"}
html_sidebars = {"index": [], "start": [], "search": [], "genindex": []}
html_show_sourcelink = False
html_copy_source = False


def full_names() -> dict[str, str]:
    """Full name of each class and function that running text may mention by its last part.

    Names in lower case without underscore, such as `load`, may also mean something else.
    """
    names = []
    for path in sorted(Path(__file__).parent.glob("inventories/*.txt")):
        lines = path.read_text(encoding="utf-8").splitlines()
        names += [line.split()[0] for line in lines if not line.startswith("#")]
    for module in (skae.base, skae):  # of two equal names, the one in `skae`
        names += [f"{module.__name__}.{name}" for name in module.__all__]
    last_parts = {name.rpartition(".")[2]: name for name in names}
    short = {last: name for last, name in last_parts.items() if "_" in last or last != last.lower()}
    return {name: name for name in names} | short


FULL_NAMES = full_names()


def link_names(app, doctree) -> None:
    """Link `PCA` or `VAE.sample` in running text to the reference, as roles would."""
    for literal in list(doctree.findall(nodes.literal)):
        inside_link = (nodes.reference, pending_xref, nodes.title)
        if isinstance(literal.parent, inside_link):
            continue
        text = literal.astext().removesuffix("()")
        owner, _, method = text.rpartition(".")
        target = FULL_NAMES.get(text) or (owner in FULL_NAMES and f"{FULL_NAMES[owner]}.{method}")
        page = app.env.docname.removeprefix("api/")
        if not target or target == page:
            continue
        link = pending_xref("", refdomain="py", reftype="obj", reftarget=target, refwarn=False)
        link["refdoc"] = app.env.docname
        literal.replace_self(link)
        link += literal


def escape_markup(app, what, name, obj, options, lines) -> None:
    """Escape text that reStructuredText would parse as markup.

    `n_components_` in shapes would be a reference, and the initial of an author a list.
    """
    for i, line in enumerate(lines):
        if "of shape" in line:
            line = re.sub(r"(\w)_(?=[,)])", r"\1\\_", line)
        lines[i] = re.sub(r"^(\s*\.\. \[\S+\] )(?=[A-Z]\.)", r"\1\\", line)


def name_defaults(
    app, what, name, obj, options, signature, returns
) -> tuple[str | None, str | None]:
    """Write a default that is an instance of a class of `skae`, or a class, as in Python.

    Private parameters are left out.
    """
    if signature:
        signature = re.sub(r", _\w+=[^,()]*(?=[,)])", "", signature)
        signature = re.sub(r"<skae[\w.]*\.(\w+) object(?: at \w+)?>", r"\1()", signature)
        signature = re.sub(r"<class '([\w.]+)'>", r"\1", signature)
    return signature, returns


def name_attributes(app, doctree) -> None:
    """Write the names of attributes that are properties as numpydoc writes those of others."""
    for term in doctree.findall(nodes.term):
        in_field = isinstance(term.parent.parent.parent, nodes.field_body)
        if in_field and isinstance(term[0], pending_xref):
            term[0] = nodes.strong("", term[0].astext())


def keep_percent_signs(app, doctree) -> None:
    """Let no line end between a number and its percent sign."""
    for text in list(doctree.findall(nodes.Text)):
        in_code = isinstance(text.parent, nodes.literal | nodes.literal_block)
        if not in_code and re.search(r"\d %", text):
            text.parent.replace(text, nodes.Text(re.sub(r"(\d) %", "\\1\N{NO-BREAK SPACE}%", text)))


def strip_code(app, doctree) -> None:
    """Remove the empty line that ends the last output of a doctest, and colours of formulas."""
    for block in doctree.findall(nodes.literal_block):
        if block.get("language", "default") == "default" and ">>>" not in block.rawsource:
            block["language"] = "none"  # formulas, not Python
            if "\n " in block.astext():  # parts of a formula that are below each other
                block["classes"].append("aligned")
        if block.rawsource == block.astext():  # else it is highlighted already
            block.rawsource = block.rawsource.rstrip()
            block[:] = [nodes.Text(block.rawsource)]


def setup(app) -> None:
    """Connect the handlers; called by Sphinx."""
    app.connect("autodoc-process-docstring", escape_markup, priority=900)  # after numpydoc
    app.connect("autodoc-process-signature", name_defaults)
    app.connect("doctree-read", name_attributes)
    app.connect("doctree-read", link_names)
    app.connect("doctree-read", keep_percent_signs)
    app.connect("doctree-read", strip_code)
