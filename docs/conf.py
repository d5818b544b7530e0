"""Sphinx configuration: MyST pages, and reference pages generated from the sources. Build with `make docs`."""

import sys
from importlib.metadata import version as installed_version
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]  # for generated.py and lkca

project = "lkca"
author = "The lkca authors"
version = release = installed_version("lkca")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "generated"]
exclude_patterns = ["_build"]
myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3
autodoc_typehints_format = "short"
napoleon_custom_sections = [("Source", "notes_style")]

default_role = "code"

html_theme = "furo"
html_title = "lkca"
html_show_copyright = False
html_copy_source = False
