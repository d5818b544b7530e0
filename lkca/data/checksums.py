"""Checksums of the files of a cube: the published ones, and those recorded in SHA256SUMS at first use."""

import fcntl
import os
import re
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

from lkca.core.files import atomic_write, sha256
from lkca.data.catalog import File
from lkca.errors import DataError, FileProblem, LkcaError

HEAD_BYTES = 512  # of a file, which tell a web page or message from data
TEXT = re.compile(rb"(\xef\xbb\xbf)?\s*[<{\[][^\x00-\x08\x0e-\x1f]*")  # HTML, XML and JSON; binary data have zeros soon
SUMS_LINE = re.compile(r"(?im)^([0-9a-f]{64}) [ *](.+)$")  # as the program sha256sum writes it


def verify_file(file: File, source: str, inspect: Callable[[File], None] | None = None) -> str:
    """Check that an existing file is the right one, whoever put it there, and return its SHA-256.

    If no SHA-256 is published, that of the first file which passes is recorded in SHA256SUMS next to it; later files
    have to match it.

    Args:
        file: The file; if it is in an archive, the archive is checked.
        source: Where to get it, for error messages.
        inspect: Checks the content; raises LkcaError.

    Raises:
        DataError: If it is unreadable, a web page, or neither the published nor the recorded file.
    """
    path = file.local_path()
    try:
        with path.open("rb") as data:
            head = data.read(HEAD_BYTES)
        digest = sha256(path)
    except OSError as error:
        raise DataError(
            f"{path} cannot be read ({error.strerror}): make it readable or get it from {source}."
        ) from error
    if mismatch := find_mismatch(file, digest):
        raise DataError(f"{path} {mismatch}: get it from {source}.")
    if not file.sha256 and is_text(
        head
    ):  # otherwise the hash of the page would be recorded, and the file refused later
        raise DataError(f"{path} is a web page or a message instead of data: delete it and get the file from {source}.")
    if inspect:
        inspect(file)
    _record(file, digest)
    return digest


def find_mismatch(file: File, digest: str) -> FileProblem | None:
    """Return how a SHA-256 contradicts the published or the recorded one, None if it does not."""
    if file.sha256:
        mismatch = FileProblem(f"has the SHA-256 {digest}, but the published one is {file.sha256}")
        return None if digest == file.sha256 else mismatch
    recorded = _read_recorded(file)
    if recorded in (None, digest):
        return None
    hint = f"if this file is right, delete its line in {_sums_path(file)}"
    return FileProblem(f"has the SHA-256 {digest}, but {recorded} was recorded at first use ({hint})")


def is_text(head: bytes) -> bool:
    """Return whether the first HEAD_BYTES of a file are HTML, XML or JSON."""
    return bool(TEXT.fullmatch(head[:HEAD_BYTES]))


def _sums_path(file: File) -> Path:
    return file.local_path().with_name("SHA256SUMS")


def _read_recorded(file: File) -> str | None:
    """Return the recorded SHA-256 of a file, None if there is none."""
    if file.package():  # the package manager verifies the files of a package
        return None
    sums = _sums_path(file)
    try:
        lines = SUMS_LINE.findall(sums.read_text("utf-8", "surrogateescape")) if sums.exists() else []
    except OSError as error:
        raise DataError(f"{sums} cannot be read ({error.strerror}): make it readable or delete it.") from error
    return next((digest.lower() for digest, name in lines if name == file.local_path().name), None)


def _record(file: File, digest: str) -> None:
    """Add the SHA-256 of a file to SHA256SUMS, but not in folders of the user outside of data/raw."""
    path, raw = file.local_path(), Path("data/raw").absolute()
    if file.sha256 or file.package() or not (file.sources or raw in Path(os.path.abspath(path)).parents):
        return
    with ExitStack() as stack:
        with suppress(OSError):  # the file system has no locks
            folder = os.open(path.parent, os.O_RDONLY)
            stack.callback(os.close, folder)
            fcntl.flock(folder, fcntl.LOCK_EX)  # another process may be adding a line
        if _read_recorded(file):
            return
        sums = _sums_path(file)
        text = sums.read_text("utf-8", "surrogateescape") if sums.exists() else ""
        text += "\n" if text and not text.endswith("\n") else ""
        try:
            with atomic_write(sums) as part:
                part.write_text(f"{text}{digest}  {path.name}\n", "utf-8", "surrogateescape")
        except LkcaError:  # data on a read-only disk can be used without a record
            print(f"{sums} cannot be written: the SHA-256 of {path} is not recorded ({digest}).", flush=True)
