"""Read and write files; an interrupted write never leaves half a file."""

import csv
import errno
import hashlib
import json
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from io import BufferedReader, StringIO
from pathlib import Path
from typing import Any, TextIO

from lkca.core.spreadsheets import guard_cell, guard_line, restore_text
from lkca.errors import DataError, LkcaError, ResourceError

# Errors of the system that a later try may not meet, unlike a missing permission, for example.
TEMPORARY_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOMEM, errno.EMFILE}
REMEDIES = {
    errno.EACCES: "give yourself the permission to use it and to enter its folders",
    errno.EISDIR: "a file is needed there: move the folder away or correct the path",
    errno.ENOTDIR: "a part of its path is a file: correct the path",
    errno.EEXIST: "a part of its path is a file: correct the path",
    errno.ENOENT: "create it or correct the path",
    errno.ENAMETOOLONG: "choose a shorter path",
    errno.ELOOP: "its links lead to each other: correct them",
    errno.ENOSPC: "free disk space or choose another folder",
    errno.EDQUOT: "free disk space or choose another folder",
    errno.EROFS: "choose a folder on a disk that can be written",
    errno.EIO: "try again, and check the disk if this comes again",
    errno.ESTALE: "try again, and check the network disk if this comes again",
    errno.ENOMEM: "free memory and try again",
    errno.EMFILE: "raise the limit of open files (ulimit -n) and try again",
}
REMEDIES[errno.EPERM] = REMEDIES[errno.EACCES]
RECREATE = "delete it and create it again"
MAX_TEXT_BYTES = 2**26  # of a JSON or CSV file; those of the paper's experiment are much smaller


@contextmanager
def atomic_write(path: Path, fsync: bool = False) -> Iterator[Path]:
    """Yield a temporary path next to `path`; rename it to `path` if the block succeeds, delete it otherwise.

    Args:
        path: The file to write. Its folder is created. The temporary path has the same suffix.
        fsync: Whether to wait until the data are on the disk before the rename. Then even a power failure leaves the
            whole old file or the whole new one.

    Raises:
        DataError: If the folder or the file cannot be written.
        ResourceError: If the disk is full or fails.
    """
    # The name does not vary, so that the next write overwrites the file that a killed process has left.
    part = path.with_name(f".{path.stem}.part{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        if fsync:
            with part.open("rb") as file:
                os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        raise write_error(path, error) from error
    finally:
        with suppress(OSError):  # renamed, or never created
            part.unlink()


def write_error(path: Path, error: OSError) -> LkcaError:
    """Return the exception to raise when `path` cannot be written."""
    return _make_error(f"{path} cannot be written", error, "free disk space or choose a writable folder")


def system_error(error: OSError) -> LkcaError:
    """Return the exception for an error of the system that nothing else has handled: a sentence with the file."""
    files = [str(file) for file in (error.filename, error.filename2) if file is not None]
    subject = f"{' and '.join(files)} cannot be used" if files else "standard output or a file cannot be used"
    return _make_error(subject, error, "correct the cause and try again")


def _make_error(subject: str, error: OSError, otherwise: str) -> LkcaError:
    """Return a ResourceError if a later try may succeed, else a DataError; both name a remedy."""
    kind = ResourceError if error.errno in TEMPORARY_ERRORS else DataError
    return kind(f"{subject} ({error.strerror or error}): {remedy(error) or otherwise}.")


def remedy(error: OSError) -> str | None:
    """Return what to do about an error of the system, None if that is unknown."""
    return REMEDIES.get(error.errno or 0)


def is_file(path: Path) -> bool:
    """Return whether there is a file at a path.

    Raises:
        DataError: If there is something else, such as a folder, or if one may not find out.
        ResourceError: If the disk fails.
    """
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: no file has such a name
        return False
    except OSError as error:
        raise system_error(error) from error
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "a device or a pipe"
        raise DataError(f"{path} is {kind}, but a file is needed there: name the file itself, or move it away.")
    return True


def list_files(folder: Path, suffix: str) -> list[Path]:
    """Return the files below a folder whose names end in a suffix, sorted; none if there is no such folder.

    Raises:
        OSError: If a folder cannot be read, which `Path.rglob` would ignore.
    """

    def fail(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            raise error

    walk = os.walk(folder, onerror=fail)
    return sorted(Path(top, name) for top, _, names in walk for name in names if name.endswith(suffix))


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically.

    Raises:
        ValueError: If `value` contains NaN or infinity, which JSON does not have.
        DataError, ResourceError: If the file cannot be written, as in `atomic_write`.
    """
    text = json.dumps(value, indent=1, allow_nan=False) + "\n"
    with atomic_write(path) as part:
        part.write_text(text, encoding="utf-8")


def read_json(path: Path) -> Any:
    """Return the content of a JSON file.

    Raises:
        DataError: If the file is missing, too large or not JSON; NaN and infinity are not JSON.
    """
    text = read_text(path)
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deep" if isinstance(error, RecursionError) else error
        raise DataError(f"{path} is not a JSON file ({reason}): {RECREATE}.") from error


def _refuse_constant(name: str) -> None:
    raise ValueError(f"it has {name} for a number")


def read_text(path: Path) -> str:
    """Return the content of a text file of this workflow.

    Raises:
        DataError: If the file is missing, too large or not UTF-8.
    """
    try:
        with open_file(path) as file:
            content = file.read(MAX_TEXT_BYTES + 1)
    except FileNotFoundError:
        raise DataError(f"{path} does not exist: create it with snakemake, or correct the path.") from None
    if len(content) > MAX_TEXT_BYTES:
        raise DataError(f"{path} has more than {MAX_TEXT_BYTES // 2**20} MiB: {RECREATE}.")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not a text in UTF-8 ({error}): {RECREATE}.") from error


def open_file(path: Path) -> BufferedReader:
    """Open a file for reading, and do not wait for a writer if it is a pipe.

    Raises:
        DataError: If it is not a regular file, such as a pipe or a device.
        OSError: If it cannot be opened.
    """
    file = open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK))  # noqa: SIM115 (returned)
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise DataError(f"{path} is a device or a pipe, but a file is needed there: move it away.")
    return file


def read_csv(path: Path, delimiter: str = ",") -> list[dict[str, str]]:
    """Return the rows of a CSV file with a header, each a dict: column -> text, without the marks of `write_csv`.

    Raises:
        DataError: If the file is missing, is not CSV in UTF-8, or has a line with fewer or more cells than the header.
    """
    try:
        reader = csv.DictReader(StringIO(read_text(path), newline=""), delimiter=delimiter, strict=True)
        rows = list(reader)
    except csv.Error as error:
        raise DataError(f"{path} is not a CSV file ({error}): {RECREATE}.") from error
    if any(None in row or None in row.values() for row in rows):
        raise DataError(f"{path} has a line with fewer or more cells than its header: {RECREATE}.")
    return [{name: restore_text(cell) for name, cell in row.items()} for row in rows]


def write_csv(path: Path, columns: Iterable[str], rows: Iterable[Mapping[str, Any]], comment: str = "") -> None:
    """Write a CSV file, atomically, in which no cell is a formula for a spreadsheet: see `lkca.core.spreadsheets`.

    Args:
        path: The file to write.
        columns: The header.
        rows: The rows, column -> value; a missing column becomes an empty field.
        comment: Text before the header, with its newlines.

    Raises:
        ValueError: If a row has a column that is not in the header.
        DataError, ResourceError: If the file cannot be written, as in `atomic_write`.
    """
    with atomic_write(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        file.write(guard_line(comment))
        writer = csv.DictWriter(_UnixLines(file), list(columns))
        writer.writeheader()
        writer.writerows({name: guard_cell(value) for name, value in row.items()} for row in rows)


class _UnixLines:
    """A stream for csv.writer, which quotes a carriage return only if its own lines end in one; here they do not.

    Args:
        file: The file to write to.
    """

    def __init__(self, file: TextIO) -> None:
        self.file = file

    def write(self, line: str) -> int:
        """Write a line."""
        return self.file.write(line.removesuffix("\r\n") + "\n")


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, 64 hexadecimal digits."""
    with open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def json_digest(value: dict[str, Any]) -> str:
    """Return the SHA-256 of a JSON object without its key "digest", under which files store it to reveal edits.

    Returns:
        64 hexadecimal digits: the hash of json.dumps(..., sort_keys=True, separators=(",", ":")).

    Example:
        >>> json_digest({"b": [1, 2.5], "a": None}) == json_digest({"a": None, "b": [1, 2.5], "digest": "of these"})
        True
    """
    rest = {key: item for key, item in value.items() if key != "digest"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def check_digest(value: Any) -> Any:
    """Return the content of a JSON file, after comparing it with its `json_digest` if it has one.

    Raises:
        ValueError: If the digest is that of other content.
    """
    if isinstance(value, dict) and "digest" in value and value["digest"] != json_digest(value):
        raise ValueError("it was edited: its digest is that of other content")
    return value
