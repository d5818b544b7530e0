"""What `lkca sharpen` and `lkca upscale` have in common: checks of paths, words of messages, and what they print."""

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lkca import __version__
from lkca.core.files import is_file
from lkca.data.catalog import ALL_BANDS, format_ranges
from lkca.data.writers import SUFFIXES, list_sidecars
from lkca.errors import ConfigError, DataError, LkcaError
from lkca.inference.result import Mode, Result

# Words of messages about an entry in config.yaml -> what they mean for a command with options.
REPLACEMENTS = {
    "its entry sets axes: ": "--set axes=",
    "leave axes out of its entry": "leave --set axes out",
    "set invalid: to": "set invalid with --set to",
    "in its entry": "with --set",
    "in the entry": "with --set",
    "its entry": "--set",
    "correct axes or bands": "correct --bands or --set axes",
    "it out with bands: ": "it out with --bands ",
    "them out with bands: ": "them out with --bands ",
    "run snakemake again": "call the command again",
}

MARKED = re.compile(r"set invalid: (\[[^\]]*\]) with --set, or invalid: \[\]")  # two settings of an entry


def format_command(
    words: Sequence[object], mode: Mode, bands: str, set: Sequence[str], dtype: str | None, cog: bool
) -> str:
    """Return the command line of a call.

    Args:
        words: The command, its files and its own options.
        mode, bands, set, dtype, cog: As in `lkca.commands.upscale.upscale`; the line has those that
            are not the default.
    """
    options = [*words, "--mode", mode, *(["--bands", bands] if bands != ALL_BANDS else [])]
    options += ["--set", *set] if set else []
    options += ["--dtype", dtype] if dtype else []
    options += ["--cog"] if cog else []
    return shlex.join(map(str, ["lkca", *options]))


def list_left_out(manifest: Mapping[str, Any]) -> list[str]:
    """Return a sentence on the bands of the file that are not used; an empty list if all are."""
    count, used = manifest["areas"][0]["description"]["shape"][2], manifest["bands"]
    if not (others := [band for band in range(1, count + 1) if band not in used]):
        return []
    return [
        f"The result has {len(used)} of the {count} bands of the file: without {format_ranges(others)}, which the file "
        "declares as bad or empty or which --bands does not name."
    ]


def describe_network(model: str, digest: str) -> str:
    """Return the program, the network and the hash of its file, for the history of the result."""
    return f"lkca {__version__}, network {model}, SHA-256 of its file {digest}"


def print_result(output: Path, result: Result, model: str) -> None:
    """Print what was written, and by which network."""
    rows, columns, bands = result.description.shape
    print(f"{output}: {rows} x {columns} pixels, {bands} bands, {result.description.dtype.name}, by {model}")
    for note in list_notes(result):
        print(note)


def list_notes(result: Result) -> list[str]:
    """Return sentences on what the reader of a result has to know."""
    notes = []
    if result.num_changed:
        kind = result.description.dtype.name
        notes.append(f"{result.num_changed} values were outside of the range of {kind} and became its limit.")
    if deviation := result.deviation:
        notes.append(
            f"--mode halo differs from the exact result, measured on the {deviation.rows} x {deviation.columns} pixels "
            f"in the middle, by {deviation.rms:.3g} (root mean square) and at most {deviation.max:.3g}."
        )
    return notes


def check_paths(source: Path, output: Path, *others: Path, moved: Sequence[Path] = ()) -> None:
    """Check the input and the output before anything is computed.

    Args:
        source: The input.
        output: The result.
        others: Files that are written next to the result.
        moved: Files of the result that an earlier call has written, which need not be checked.

    Raises:
        ConfigError: If the format of the output is unknown, or a file to write is the input.
        DataError: If there is a file at a place where one is to be written, or the folder does not exist.
    """
    if output.suffix.lower() not in SUFFIXES:
        raise ConfigError(f"{output}: the suffix is not one of {', '.join(SUFFIXES)}: choose one of these.")
    if not output.parent.is_dir():
        raise DataError(f"{output.parent} is no folder: create it, or correct the path of the result.")
    if not output.name.isprintable():
        raise ConfigError(f"{output} has characters in its name that cannot be printed: choose another name.")
    written = (output, *others)
    for path in (*written, *(sidecar for each in written for sidecar in list_sidecars(each))):
        if path in moved:
            continue
        if path.is_symlink() and not path.exists():
            raise DataError(f"{path} is a link to a file that does not exist: delete it, or choose another name.")
        if path.exists() and source.exists() and path.samefile(source):
            raise ConfigError(f"{path} is the input: choose another name for the result.")
        if is_file(path):
            raise DataError(f"{path} exists: move it away, or choose another name for the result.")


@contextmanager
def plain_words() -> Iterator[None]:
    """Replace words about the workflow in the messages of errors by the options of a command.

    Raises:
        LkcaError: The error, with the changed message.
    """
    try:
        yield
    except LkcaError as error:
        message = str(error)
        for old, new in REPLACEMENTS.items():
            message = message.replace(old, new)
        message = MARKED.sub(r"give --set invalid='\1', or --set invalid='[]'", message)
        message = re.sub(r"--bands [\d, -]*\d", lambda match: match[0].replace(", ", ","), message)
        raise type(error)(message) from error
