"""Sphinx configuration: MyST pages, and reference pages generated from the sources. Build with `make docs`."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

from importlib.metadata import version as installed

project = "lkca"
author = "The lkca authors"
version = release = installed("lkca")
copyright = "The lkca authors, MIT licence"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "generated"]
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
napoleon_custom_sections = [("Source", "notes_style"), ("Shapes", "notes_style")]
python_use_unqualified_type_names = True

html_theme = "furo"
html_title = "lkca"
html_theme_options = {"navigation_with_keys": True}
html_show_copyright = False
html_copy_source = False
html_show_sphinx = False
