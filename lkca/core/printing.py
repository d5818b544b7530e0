"""Print texts from files, paths and servers so that a terminal interprets nothing in them.

A terminal obeys control characters: they move the cursor, hide or overwrite text, set the title of the window or copy
to the clipboard. Bidirectional overrides show text in another order. `escape_output` escapes all of them in everything
that the process prints; the bars and colours of rich are ours and pass it.
"""

import sys
from collections.abc import Iterable
from typing import Any, TextIO, cast

MAX_MESSAGE = 4000  # characters of an error message
LAYOUT = "\n\t"  # characters of printed text that are not escaped although they are not printable


def printable(text: object, max_length: int | None = None, keep: str = "") -> str:
    r"""Return a text with the characters that are not printable as escape sequences of Python.

    Args:
        text: The text, or an object with a text.
        max_length: A longer text is cut and ends in "...".
        keep: Characters that are not escaped.

    Example:
        >>> printable("a\x1b[2J\u202eb"), printable("abcdef", 3)
        ('a\\x1b[2J\\u202eb', 'abc...')
    """
    plain = str(text) if max_length is None else str(text)[: max_length + 1]
    if not plain.isprintable():
        plain = "".join(
            char if char.isprintable() or char in keep else char.encode("unicode_escape").decode() for char in plain
        )
    return plain if max_length is None or len(plain) <= max_length else f"{plain[:max_length]}..."


class PrintableStream:
    """A text stream that escapes what is not printable, or what the encoding of the stream does not have.

    Args:
        stream: The stream to write to.

    Attributes:
        rich_proxied_file: The same stream under the name by which rich finds where to write its own escape sequences.
    """

    def __init__(self, stream: TextIO) -> None:
        self.rich_proxied_file = stream

    def write(self, text: str) -> int:
        """Write a text; return its length."""
        encoding = self.encoding or "utf-8"
        plain = printable(text, keep=LAYOUT).encode(encoding, "backslashreplace").decode(encoding)
        self.rich_proxied_file.write(plain)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write several texts."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.rich_proxied_file, name)


def escape_output() -> None:
    """Escape what is not printable in everything that this process writes to `sys.stdout` and `sys.stderr`."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None and not isinstance(stream, PrintableStream):
            setattr(sys, name, cast(TextIO, PrintableStream(stream)))
