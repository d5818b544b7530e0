"""Texts of users stay what they are in the formats of tables."""

import re
from html import unescape

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lkca.report.render import escape_latex, escape_markdown

LINES = st.text(st.characters(exclude_categories=["C"]), max_size=60)  # without control characters
MARKS = st.text(st.sampled_from("$_^{}[]()!*#+-=|~`\\<>&\"'1. a"), max_size=30)  # dense in marks


@given(LINES | MARKS)
@example("R^{2} $L_{1}$ \\cite{Shi2024} {IEEE} https://x.org/{id} <b>&amp; `x`")
@example("- x")
@example("1) x")
@example("# x ##")
@example("![a](b)")
def test_markdown_shows_the_text(text):
    """As another program reads it, with formulas and tables."""
    markdown = pytest.importorskip("markdown_it").MarkdownIt("commonmark").enable(["table", "strikethrough"])
    markdown.use(pytest.importorskip("mdit_py_plugins.dollarmath").dollarmath_plugin)
    html = markdown.render(escape_markdown(text))
    shown = unescape(re.sub("<[^>]*>", "", html))
    assert " ".join(shown.split()) == " ".join(text.split())
    assert re.findall("<([a-z0-9]+)", html) in (["p"], [])


@given(LINES | MARKS)
def test_latex_has_no_active_marks(text):
    """Besides the commands that are known here and their empty arguments, there is no mark that TeX interprets."""
    escaped = escape_latex(text)
    known = r"\\(?:[{}$&#%_]|text\w+\{\})|\$\\\w+\$|-\{\}(?=-)"
    rest = re.sub(known, " ", escaped)
    assert not set("\\{}$&#%_^~|<>`") & set(rest)
    assert "--" not in rest or "–" in text


def test_latex_of_all_marks():
    marks = {"R^{2}": r"R\textasciicircum{}\{2\}", r"\cite{x}": r"\textbackslash{}cite\{x\}", "a--b": "a-{}-b"}
    assert {text: escape_latex(text) for text in marks} == marks
