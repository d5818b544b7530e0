"""Read the HTML of a table for the page. Only what the template of tables writes may be in it.

The page has a Content-Security-Policy that forbids foreign scripts, but a stranger's HTML could still lead readers
elsewhere or show them false words. The table is therefore parsed, checked and written anew: nothing but its elements,
attributes and texts reaches the page.
"""

from html.parser import HTMLParser
from pathlib import Path

from markupsafe import Markup, escape

from lkca.core.files import read_text
from lkca.core.result_files import damaged

GLOBAL = {"class", "title"}
ALLOWED = {  # element -> its attributes; the elements of table.html.j2
    "table": {"aria-label", "data-table"},
    "caption": set[str](),
    "thead": set[str](),
    "tbody": {"data-scale"},
    "tfoot": set[str](),
    "tr": {"data-model"},
    "th": {"scope"},
    "td": {"colspan", "data-value", "data-verdict"},
    "a": {"href"},
    "span": {"aria-hidden"},
    **{element: set[str]() for element in ("abbr", "div", "em", "mark", "p", "strong", "sup")},
}


class _Rewriter(HTMLParser):
    """Collects the elements and texts of a table; raises ValueError for anything else."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ALLOWED or (tag == "table") == bool(self.open):
            raise ValueError(f"it has the element {tag}")
        for name, value in attrs:
            if name not in ALLOWED[tag] | GLOBAL or (name == "href" and not str(value).startswith("#")):
                raise ValueError(f"the element {tag} has the attribute {name}")
        self.open.append(tag)
        attributes = (f' {name}="{escape(value)}"' for name, value in attrs if value is not None)
        self.parts.append(f"<{tag}{''.join(attributes)}>")

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            raise ValueError(f"the element {tag} ends before it begins")
        self.parts.append(f"</{tag}>")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        raise ValueError(f"it has the element {tag}/")

    def handle_data(self, data: str) -> None:
        if not self.open and data.strip():
            raise ValueError("it has text outside of its table")
        self.parts.append(str(escape(data)))

    def handle_comment(self, data: str) -> None:
        raise ValueError("it has a comment")

    def handle_decl(self, decl: str) -> None:
        raise ValueError("it has a declaration")

    def unknown_decl(self, data: str) -> None:
        raise ValueError("it has a declaration")

    def handle_pi(self, data: str) -> None:
        raise ValueError("it has a processing instruction")


def read_table_html(path: Path) -> Markup:
    """Return the HTML of a table.

    Raises:
        DataError: If the file is missing or has something else than a table as `lkca.report.tables` writes it.
    """
    rewriter, text = _Rewriter(), read_text(path)
    try:
        rewriter.feed(text)
        rewriter.close()
        if rewriter.open or not rewriter.parts:
            raise ValueError("it ends before its table does")
    except (ValueError, AssertionError) as error:
        raise damaged(path, error) from error
    return Markup("".join(rewriter.parts))
