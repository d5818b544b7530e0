"""Rendering of the templates of tables and page. HTML is escaped automatically, Markdown and LaTeX by filters."""

import re
from html import escape
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from lkca.core.printing import printable

TEMPLATES = Path(__file__).parent / "templates"
LATEX_ESCAPES: dict[str, str | int | None] = {
    **{special: f"\\{special}" for special in "{}$&#%_"},
    "\\": "\\textbackslash{}",
    "^": "\\textasciicircum{}",
    "~": "\\textasciitilde{}",
    "|": "\\textbar{}",
    "`": "\\textasciigrave{}",
    "<": "\\textless{}",
    ">": "\\textgreater{}",
    "×": "$\\times$",
    "±": "$\\pm$",
    "↑": "$\\uparrow$",
    "↓": "$\\downarrow$",
    "–": "--",
}
# Braces are frequent in LaTeX, so its templates have other delimiters.
LATEX_DELIMITERS: dict[str, Any] = {
    "block_start_string": "<%",
    "block_end_string": "%>",
    "variable_start_string": "<<",
    "variable_end_string": ">>",
    "comment_start_string": "<#",
    "comment_end_string": "#>",
}


def render(template: str, **variables: Any) -> str:
    """Return a filled template of lkca/report/templates.

    Args:
        template: Name of the file: *.html.j2, *.md.j2 or *.tex.j2.
        variables: The variables of the template.

    Raises:
        jinja2.UndefinedError: If the template has a variable that is not given.
    """
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        autoescape=template.endswith(".html.j2"),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=not template.endswith(".html.j2"),
        **(LATEX_DELIMITERS if template.endswith(".tex.j2") else {}),
    )
    environment.filters |= {"markdown": escape_markdown, "latex": escape_latex}
    return environment.get_template(template).render(variables)


def escape_markdown(text: str) -> str:
    r"""Return text that Markdown, with the HTML and the formulas that it may contain, shows unchanged, on one line.

    Example:
        >>> escape_markdown("a_b <c> $x$")
        'a\\_b &lt;c&gt; \\$x\\$'
    """
    escaped = re.sub(r"([\\`*_\[\]|~$#])", r"\\\1", escape(_join_lines(text), quote=False))
    return re.sub(r"^([-+=])|^(\d+)(?=[.)])", lambda mark: f"\\{mark[1]}" if mark[1] else f"{mark[2]}\\", escaped)


def escape_latex(text: str) -> str:
    r"""Return text that LaTeX typesets unchanged, on one line.

    Example:
        >>> escape_latex("5 % of x_1, a--b")
        '5 \\% of x\\_1, a-{}-b'
    """
    escapes = str.maketrans(LATEX_ESCAPES)
    return "-{}".join(part.translate(escapes) for part in re.split("-(?=-)", _join_lines(text)))  # no dash


def _join_lines(text: str) -> str:
    return printable(" ".join(text.split()))
