"""`lkca upscale`: enlarge a cube with a network that exists."""

import re
import shlex
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lkca import __version__
from lkca.core.files import is_file
from lkca.core.locks import exclusive_lock
from lkca.core.result_files import ManifestFile, read_result
from lkca.data.catalog import ALL_BANDS, format_ranges
from lkca.data.writers import SUFFIXES, list_sidecars
from lkca.errors import ConfigError, DataError, LkcaError
from lkca.inference.enlarge import Mode
from lkca.inference.model_file import SharedModel, load_model
from lkca.inference.own_cube import (
    FILLED_FILE,
    MANIFEST_FILE,
    SCENE_FILE,
    check_reading,
    cut_cube,
    describe_input,
    fill_invalid,
)
from lkca.inference.result import Result, describe_result, write_result

MAX_WAVELENGTH_ERROR = 0.5  # nm; GDAL rounds the wavelengths of a GeoTIFF to 1 nm
MAX_RATIO, MIN_RATIO = 4.0, 0.05  # of the maximum of the cube, compared with that of the training cube


def upscale(
    source: Path,
    output: Path,
    model: Path,
    mode: Mode,
    bands: str,
    set: Sequence[str],
    dtype: str | None,
    cog: bool,
) -> None:
    """Enlarge a cube with a trained network.

    Args:
        source: The cube, a file in any format of `lkca.data.readers`.
        output: The file to write.
        model: Folder of a run, or a .safetensors file of `lkca export`.
        mode: How exact the result is; see `lkca.inference.enlarge`.
        bands: The bands to use, as in `1-103, 109-149`; `all` for those of the network's wavelengths, or all good ones.
        set: What replaces or adds to what the file says of itself; see `lkca.inference.own_cube.describe_input`.
        dtype: Type of the result; None for that of the input.
        cog: Whether to write a Cloud Optimized GeoTIFF.

    Raises:
        LkcaError: If the cube does not fit the network, or a file cannot be read or written.
    """
    check_paths(source, output)
    loaded = load_model(model)
    with plain_words():
        cube = describe_input(source, bands, set)
    command = format_command(["upscale", source, output, "--model", model], mode, bands, set, dtype, cog)
    folder = output.with_name(f".{output.name}.upscale")
    with plain_words(), exclusive_lock(folder), _temporary(folder):
        cut_cube(cube, folder)
        fill_invalid(folder / SCENE_FILE, folder / FILLED_FILE)
        manifest = read_result(folder / MANIFEST_FILE, ManifestFile)
        check_reading(cube, manifest)
        for sentence in list_left_out(manifest):
            print(sentence)
        indices = match_bands(source, manifest, loaded.facts, bands)
        check_range(source, manifest, loaded.facts)
        description = describe_result(
            manifest,
            indices,
            loaded.facts.scale,
            dtype,
            f"{command}; {describe_network(loaded.facts.model, loaded.sha256)}",
        )
        result = write_result(
            loaded.network,
            loaded.facts.scale,
            folder,
            manifest,
            loaded.facts.divisor,
            indices,
            mode,
            description,
            output,
            cog,
        )
    print_result(output, result, loaded.facts.model)


def format_command(
    words: Sequence[object], mode: Mode, bands: str, set: Sequence[str], dtype: str | None, cog: bool
) -> str:
    """Return the command line of a call.

    Args:
        words: The command, its files and its own options.
        mode, bands, set, dtype, cog: As in `upscale`; those that are not the default are in the line.
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
    """Return the program, the network and the hash of its weights, for the history of the result."""
    return f"lkca {__version__}, network {model}, SHA-256 of the weights {digest}"


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


def check_paths(source: Path, output: Path, *others: Path) -> None:
    """Check the input and the output before anything is computed.

    Args:
        source: The input.
        output: The result.
        others: Files that are written next to the result.

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
    for path in (output, *others, *list_sidecars(output)):
        if path.is_symlink() and not path.exists():
            raise DataError(f"{path} is a link to a file that does not exist: delete it, or choose another name.")
        if path.exists() and source.exists() and path.samefile(source):
            raise ConfigError(f"{path} is the input: choose another name for the result.")
        if is_file(path):
            raise DataError(f"{path} exists: move it away, or choose another name for the result.")


@contextmanager
def _temporary(folder: Path) -> Iterator[None]:
    """Create a folder and delete it afterwards; one that a killed call has left is emptied."""
    _delete(folder)
    folder.mkdir()
    try:
        yield
    finally:
        _delete(folder)


def _delete(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)


def match_bands(source: Path, manifest: dict[str, Any], model: SharedModel, chosen: str) -> list[int]:
    """Return the bands of a cube that a network gets, as indices from 0.

    Bands are matched by wavelength where both have wavelengths: each band of the network gets the nearest band of the
    cube, which must be within 0.5 nm and be the nearest one of this band only. Without wavelengths, the number of bands
    must be that of the network; a line says so.

    Raises:
        DataError: If the bands do not fit.
    """
    found, wanted = manifest.get("nanometres"), model.nanometres
    count = len(manifest["bands"])
    if found and wanted:
        indices: list[int] = []
        for i, nanometres in enumerate(wanted, 1):
            j = min(range(count), key=lambda j: abs(found[j] - nanometres))
            if abs(found[j] - nanometres) > MAX_WAVELENGTH_ERROR or j in indices:
                raise DataError(
                    f"{source} has no band of its own within {MAX_WAVELENGTH_ERROR} nm of band {i} of the network, "
                    f"{nanometres:g} nm: use a network that was trained on this sensor, or lkca sharpen."
                )
            indices.append(j)
        if len(indices) < count:
            print(
                f"The network has {len(indices)} of the {count} bands, matched by wavelength; the others are left out."
            )
        return indices
    if count != model.bands:
        raise DataError(
            f"{source} has {count} bands and the network {model.bands}, and wavelengths to match them are not known in "
            "both: choose the bands with --bands, or use another network."
        )
    where = "the network" if found else f"{source}"
    print(f"The bands are taken in their order, because {where} declares no wavelengths.")
    return list(range(count))


def check_range(source: Path, manifest: dict[str, Any], model: SharedModel) -> None:
    """Check that the values of a cube have the range that the network was trained on.

    Raises:
        DataError: If they do not.
    """
    ratio = manifest["maximum"] / model.maximum
    if not MIN_RATIO <= ratio <= MAX_RATIO:
        raise DataError(
            f"{source} has values up to {manifest['maximum']:g}, and the network was trained on values up to "
            f"{model.maximum:g}: bring both to the same units, or use lkca sharpen."
        )


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
        message = re.sub(r"--bands [\d, -]*\d", lambda match: match[0].replace(", ", ","), message)
        raise type(error)(message) from error
