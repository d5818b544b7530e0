"""Verify the files of a cube by SHA-256: the published hash, or the one that SHA256SUMS records at first use."""

import fcntl
import os
import re
from codecs import BOM_UTF8, getincrementaldecoder
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

from lkca.core.files import atomic_write, sha256
from lkca.data.catalog import File, find_envi_headers
from lkca.errors import DataError, FileProblem, LkcaError

HEAD_BYTES = 512  # number of bytes at the start of a file that show whether it is a web page or data
PAGE = re.compile(rb"<(!doctype|html|head|\?xml|!--)", re.IGNORECASE)  # the start of a page in any encoding
TEXT = re.compile(rb"""<[a-z!?/]|\{\s*(["}]|$)|\[\s*["\d\[\]{tfn-]""", re.IGNORECASE)  # that of XML or JSON
CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")  # characters that binary data contain early
SUMS_LINE = re.compile(r"(?im)^([0-9a-f]{64}) [ *](.+)$")  # a line of the program sha256sum


def verify_file(file: File, source: str | None, inspect: Callable[[File], None] | None = None) -> str:
    """Check that an existing file, downloaded or put there by the user, is the right one; return its SHA-256.

    If no SHA-256 is published, the SHA-256 of the first file that passes all checks is recorded in SHA256SUMS next to
    it. Later files of that name must have the recorded SHA-256.

    Args:
        file: The file; if it is in an archive, the archive is checked.
        source: Where to get the file, for error messages, if known.
        inspect: Function that checks the content and raises LkcaError if it is wrong.

    Returns:
        64 hexadecimal digits.

    Raises:
        DataError: If the file is unreadable or a web page, or has neither the published nor the recorded SHA-256.
        LkcaError: If `inspect` raises it.
    """
    path = file.local_path()
    get_it = f"get it from {source}" if source else "get the right file"
    try:
        with path.open("rb") as data:
            head = data.read(HEAD_BYTES)
        digest = sha256(path)
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}): make it readable or {get_it}.") from error
    if mismatch := find_mismatch(file, digest):
        raise DataError(f"{path} {mismatch}: {get_it}.")
    # A web page must not pass: its hash would be recorded, and the right file would be refused later.
    # The pixels of a raw file, which has a header, may look like text.
    if not file.sha256 and is_text(head) and not find_envi_headers(path):
        raise DataError(f"{path} is a web page or a message instead of data: delete it and {get_it}.")
    if inspect:
        inspect(file)
    _record_digest(file, digest)
    return digest


def find_mismatch(file: File, digest: str) -> FileProblem | None:
    """Return what is wrong if a SHA-256 differs from the published or the recorded one, None if it does not."""
    if file.sha256:
        mismatch = FileProblem(f"has the SHA-256 {digest}, but the published one is {file.sha256}")
        return None if digest == file.sha256 else mismatch
    recorded = _read_recorded_digest(file)
    if recorded in (None, digest):
        return None
    hint = f"if this file is right, delete its line in {_sums_path(file)}"
    return FileProblem(f"has the SHA-256 {digest}, but {recorded} was recorded at first use ({hint})")


def is_text(head: bytes) -> bool:
    """Return whether the first HEAD_BYTES of a file are HTML, XML or JSON, and not pixels that start like them."""
    head = head[:HEAD_BYTES].removeprefix(BOM_UTF8).lstrip()
    if CONTROL.search(head):
        return False
    if PAGE.match(head):
        return True
    try:
        getincrementaldecoder("utf-8")().decode(head)  # the last character may be incomplete
    except UnicodeDecodeError:
        return False
    return bool(TEXT.match(head))


def _sums_path(file: File) -> Path:
    return file.local_path().with_name("SHA256SUMS")


def _read_recorded_digest(file: File) -> str | None:
    """Return the SHA-256 that SHA256SUMS records for a file, None if it records none."""
    if file.package():  # the package manager verifies the files of a package
        return None
    sums = _sums_path(file)
    try:
        lines = SUMS_LINE.findall(sums.read_text("utf-8", "surrogateescape")) if sums.exists() else []
    except OSError as error:
        raise DataError(f"{sums} cannot be read ({error.strerror}): make it readable or delete it.") from error
    return next((digest.lower() for digest, name in lines if name == file.local_path().name), None)


def _record_digest(file: File, digest: str) -> None:
    """Add the SHA-256 of a file to SHA256SUMS, unless one is recorded, published, or verified by a package manager.

    Outside of data/raw, record only files that have sources: other folders belong to the user.
    """
    path, raw = file.local_path(), Path("data/raw").absolute()
    if file.sha256 or file.package() or not (file.sources or raw in Path(os.path.abspath(path)).parents):
        return
    with ExitStack() as stack:
        with suppress(OSError):  # the file system has no locks
            folder = os.open(path.parent, os.O_RDONLY)
            stack.callback(os.close, folder)
            fcntl.flock(folder, fcntl.LOCK_EX)  # another process may be adding a line
        if _read_recorded_digest(file):
            return
        sums = _sums_path(file)
        text = sums.read_text("utf-8", "surrogateescape") if sums.exists() else ""
        text += "\n" if text and not text.endswith("\n") else ""
        try:
            with atomic_write(sums) as part:
                part.write_text(f"{text}{digest}  {path.name}\n", "utf-8", "surrogateescape")
        except LkcaError:  # data on a read-only disk can be used without a record
            print(f"{sums} cannot be written: the SHA-256 of {path} is not recorded ({digest}).", flush=True)
