"""Reading and writing files so that nothing is ever half-written."""

import csv
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lkca.errors import LkcaError


@contextmanager
def atomic_write(path: Path, fsync: bool = False) -> Iterator[Path]:
    """Yield a temporary name beside `path`; it becomes `path` when the block ends well and vanishes when it does not.

    Args:
        path: The file to write; its folder is made when missing. The temporary name keeps the suffix.
        lasting: Wait until the disk has it, so that not even a power loss leaves less than the old or the new file.

    Raises:
        LkcaError: If the folder or the file cannot be written.
    """
    part = path.with_name(f".{path.stem}.part{path.suffix}")  # one name: what a kill left behind is written over
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        if fsync:
            with part.open("rb") as file:
                os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        with suppress(OSError):  # gone already, or never there
            part.unlink()


def unwritable(path: Path, error: OSError) -> LkcaError:
    return LkcaError(f"{path} cannot be written ({error.strerror or error}): choose another place.")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, whole or not at all. NaN and infinity are refused: JSON has no word for them."""
    text = json.dumps(value, indent=1, allow_nan=False) + "\n"
    with atomic_write(path) as part:
        part.write_text(text, encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        LkcaError: If the file is missing or is no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise LkcaError(f"{path} does not exist: make it with snakemake, or name the right file.") from None
    except ValueError as error:
        raise LkcaError(f"{path} is no JSON file ({error}): delete it and make it again.") from error


def read_csv(path: Path, delimiter: str = ",") -> list[dict[str, str]]:
    """The lines of a table with a header, each by its columns."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter=delimiter))


def write_csv(path: Path, fields: Iterable[str], lines: Iterable[Mapping[str, Any]], comment: str = "") -> None:
    """Write a table, whole or not at all; what a line does not have is empty; `comment` stands before the header."""
    with atomic_write(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        file.write(comment)
        writer = csv.DictWriter(file, list(fields), lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)


def sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def json_digest(value: dict[str, Any]) -> str:
    """The SHA-256 of an object that is kept as JSON, without its key "digest": a file that holds it shows every edit.

    Returns:
        64 hexadecimal digits, of json.dumps(..., sort_keys=True, separators=(",", ":")).

    Example:
        >>> json_digest({"b": [1, 2.5], "a": None}) == json_digest({"a": None, "b": [1, 2.5], "digest": "of these"})
        True
    """
    rest = {name: each for name, each in value.items() if name != "digest"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
