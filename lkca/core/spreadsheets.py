"""Keep texts in CSV files from being formulas: a spreadsheet computes a cell that begins with =, +, - or @.

Such a text gets an apostrophe in front, as OWASP advises ("CSV Injection"). A label like "+ distillation" stays
readable, and `restore_text` gives the original back. Numbers stay as they are.
"""

import re
from typing import Any

SEPARATORS = re.compile(r"([;\t\r\n\v\f]+)")  # a spreadsheet may begin a new cell after these
FORMULA_STARTS = "=+-@＝＋－＠﹢﹣﹦﹫"  # and their wide and small forms, which some spreadsheets read as the same
QUOTES = "\"'"
MARK = "'"
NUMBER = re.compile(r" *[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)? *", re.ASCII)


def guard_text(text: str) -> str:
    """Return a text with an apostrophe before each part that a spreadsheet would take for a formula.

    Example:
        >>> guard_text("+ distillation"), guard_text("-0.31"), guard_text("LKCA-Net")
        ("'+ distillation", '-0.31', 'LKCA-Net')
    """
    if NUMBER.fullmatch(text):
        return text
    return "".join(MARK + part if _is_formula(part) else part for part in SEPARATORS.split(text))


def guard_cell(value: Any) -> Any:
    """Return a value for a cell: `guard_text` of a text, and anything else as it is."""
    return guard_text(value) if isinstance(value, str) else value


def guard_line(text: str) -> str:
    """Return a line of text outside of the cells, such as a comment, with `guard_text` of each part between commas."""
    return ",".join(map(guard_text, text.split(",")))


def restore_text(text: str) -> str:
    """Return the text from which `guard_text` has made this one."""
    parts = SEPARATORS.split(text)
    return "".join(part[1:] if part.startswith(MARK) and _is_formula(part[1:]) else part for part in parts)


def _is_formula(text: str) -> bool:
    """Return whether the first character is one that begins a formula, after spaces, quotes and invisible ones.

    Quotes count as such, so that a text that has an apostrophe already gets another one and can be restored.
    """
    for char in text:
        if char in FORMULA_STARTS:
            return True
        if not (char in QUOTES or char.isspace() or not char.isprintable()):
            return False
    return False
