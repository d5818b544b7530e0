"""Download the files of a cube; a file gets its final name only when it is complete and has the right SHA-256."""

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import date
from pathlib import Path
from urllib.parse import quote

from rich.filesize import decimal

from lkca.core.files import atomic_write, is_file, sha256, write_json
from lkca.data.catalog import Cube, File
from lkca.data.checksums import verify_file
from lkca.data.partial_file import PartialFile
from lkca.data.transfer import SourceFailed, transfer
from lkca.data.urls import is_public, public_url
from lkca.errors import ConfigError, DataError, ResourceError


def download_cube(
    scene: str,
    cube: Cube,
    accept_terms: bool,
    receipt: Path | None,
    inspect: Callable[[File], None] | None = None,
) -> None:
    """Download the missing files of a cube, and verify all of them.

    If the environment variable LKCA_MIRROR is set to the URL of a folder with files of the same names, that folder is
    the first source.

    Args:
        scene: Name of the scene, for messages.
        cube: The cube.
        accept_terms: Whether the user confirms the terms by this call, if they have to be confirmed.
        receipt: JSON file to write at the end, None to write none. It contains path, SHA-256 and size of each file on
            which pixels depend, including ENVI headers.
        inspect: Function that checks the content of a file before its SHA-256 is recorded, and raises LkcaError.

    Raises:
        ConfigError: If the terms are not confirmed.
        DataError: If a file is missing and has no source, or if an existing file is not the right one.
        LkcaError: If `inspect` raises it.
        ResourceError: If no source provides a file, or the disk is full.
    """
    try:
        files = cube.resolve_files()
    except DataError:
        files = cube.files
        if not all(file.sources or is_file(file.local_path()) for file in files):
            raise
    missing = [file.local_path() for file in files if not is_file(file.local_path())]
    if missing:
        if cube.confirm:
            _confirm_terms(scene, cube, missing[0], accept_terms)
        print(_describe(scene, cube), flush=True)
    rows: dict[str, dict[str, str | int]] = {}
    for file in files:
        path = file.local_path()
        if is_file(path):
            print(f"{path} exists: verifying it.", flush=True)
        else:
            _download(file)
        digest = verify_file(file, cube.source, inspect)
        for label, name in file.pixel_files().items():  # two files of one archive are one entry
            file_digest = digest if name == str(path) else sha256(Path(name))
            rows.setdefault(label, {"path": label, "sha256": file_digest, "bytes": Path(name).stat().st_size})
    if receipt:
        write_json(receipt, {"files": list(rows.values())})


def _describe(scene: str, cube: Cube) -> str:
    """Return scene, source, citation and terms, which the user should read before a download."""
    facts = {"Source": cube.source, "Citation": cube.citation, "Terms": cube.terms}
    return "\n".join([scene, *(f"{name}: {text or 'not stated'}" for name, text in facts.items())])


def _python_command() -> str:
    """Return the path of this Python, relative to the current folder if it is below it."""
    path, folder = Path(sys.executable), Path.cwd()
    return str(path.relative_to(folder) if path.is_relative_to(folder) else path)


def _confirm_terms(scene: str, cube: Cube, missing: Path, accepted: bool) -> None:
    """Ask the user to confirm the terms, unless the file TERMS next to the data shows that they were confirmed before.

    Args:
        scene: Name of the scene, for messages.
        cube: The cube.
        missing: Path of a file that is to be downloaded.
        accepted: Whether the user has confirmed the terms on the command line.

    Raises:
        ConfigError: If the user does not confirm the terms or cannot be asked.
    """
    note = missing.with_name("TERMS")
    with suppress(OSError, UnicodeError):
        if note.read_text(encoding="utf-8").partition("\nTerms: ")[2] == f"{cube.terms or 'not stated'}\n":
            return
    if not accepted and sys.stdin.isatty() and sys.stderr.isatty():
        print(
            _describe(scene, cube), "Type yes to confirm these terms: ", sep="\n", end="", file=sys.stderr, flush=True
        )
        accepted = sys.stdin.readline().strip().lower() == "yes"
    if not accepted:
        raise ConfigError(
            f"{missing} can be downloaded only after its terms are confirmed ({cube.terms}; {cube.source}): "
            f"read them, then confirm once with: {_python_command()} -m lkca fetch {scene} --accept-terms."
        )
    with atomic_write(note) as part:
        part.write_text(f"Confirmed on {date.today()}: {_describe(scene, cube)}\n", encoding="utf-8")


def _download(file: File) -> None:
    """Download a file from the first source that provides it.

    Raises:
        ResourceError: If no source provides the file, another process downloads it, or the disk is full.
    """
    path = file.local_path()
    urls = [*file.sources]
    if mirror := os.environ.get("LKCA_MIRROR"):
        folder, mark, query = mirror.partition("?")
        urls.insert(0, f"{folder.rstrip('/')}/{quote(path.name)}{mark}{query}")
    failures = []
    with PartialFile(path).open() as part:
        if is_file(path):
            return  # another process has downloaded it meanwhile
        for url in urls:
            try:
                transfer(url, file, part)
            except SourceFailed as error:
                failures.append(f"{public_url(url)}: {error}")
                print(failures[-1], flush=True)
                continue
            part.finish()
            return
        resumes = file.sha256 or ((note := part.read_note()) and note.validator)
        resume = f"; the next call resumes after {decimal(part.size())}" if part.size() and resumes else ""
    source = file.sources[0] if is_public(file.sources[0]) else "the first of its sources"
    raise ResourceError(
        f"{path} could not be downloaded ({'; '.join(failures)}): download {source} in a browser and put it at {path}, "
        f"or try again later{resume}."
    )
