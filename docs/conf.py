"""Configuration of Sphinx: `make docs` in the root of the repository builds these pages."""

import os
import re
import sys
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault("MPLBACKEND", "Agg")

from torch import nn

import skae

project = "skae"
author = copyright = "the skae developers"
version = release = skae.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
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

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "filename_pattern": "/plot_",
    "download_all_examples": False,
    "show_memory": False,
    "show_signature": False,
    "min_reported_time": 1_000_000,
    "remove_config_comments": True,
}
# Warnings about short trainings are not part of the examples.
warnings.filterwarnings("ignore", category=UserWarning, module="skae")

html_theme = "pydata_sphinx_theme"
html_title = "skae"
html_static_path = ["_static"]
html_favicon = "_static/favicon.svg"
html_theme_options = {
    "navbar_align": "left",
    "show_prev_next": True,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "navbar_end": ["theme-switcher"],
}
html_context = {"default_mode": "auto"}
html_sidebars = {"index": []}
html_show_sourcelink = False
html_copy_source = False


def escape_shapes(app, what, name, obj, options, lines) -> None:
    """Escape `n_components_` in shapes, which reStructuredText would parse as a reference."""
    for i, line in enumerate(lines):
        if "of shape" in line:
            lines[i] = re.sub(r"(\w)_(?=[,)])", r"\1\\_", line)


def setup(app) -> None:
    """Connect the handler; called by Sphinx."""
    app.connect("autodoc-process-docstring", escape_shapes, priority=900)  # after numpydoc
