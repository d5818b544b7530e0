"""Resolve `bands: all` of a cube: the bands that none of its files declares as bad."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from lkca.core.files import json_digest, read_json, write_json
from lkca.core.paths import BANDS_CACHE
from lkca.data.catalog import ALL_BANDS, Cube, File, format_ranges
from lkca.data.sandbox import run_sandboxed
from lkca.errors import DataError, LkcaError


def resolve_bands(cube: Cube) -> Cube:
    """Return the cube with the numbers of its bands instead of `all`.

    The files are opened only if they have changed since the last call; the result is cached in `.snakemake`.

    Raises:
        DataError: If a file is missing or cannot be read, or they declare fewer than two good bands, or the cube has
            another number of wavelengths.
    """
    if cube.bands != ALL_BANDS:
        return cube
    try:
        files = cube.resolve_files()
    except DataError as error:
        hint = f"bands: {ALL_BANDS} needs the file; list the bands instead to let lkca download it."
        raise DataError(f"{error} {hint}" if any(file.sources for file in cube.files) else str(error)) from None
    paths = [path for file in files for path in file.pixel_files().values()]
    stamps = [(path, *_read_stamp(Path(path))) for path in paths]
    key = json_digest({"files": [file.model_dump(mode="json") for file in files], "stamps": stamps})
    bands = _read_cache().get(key)
    if not isinstance(bands, str):
        bands = run_sandboxed(_list_good_bands, files)
        if BANDS_CACHE.parent.is_dir():
            with suppress(LkcaError, OSError):  # the disk is full or read-only
                write_json(BANDS_CACHE, {**_read_cache(), key: bands})
    try:
        return Cube.model_validate({**cube.model_dump(), "bands": bands})
    except ValidationError as error:
        problem = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise DataError(f"{problem}: {bands}, which {files[0].local_path()} does not declare as bad.") from None


def _read_stamp(path: Path) -> tuple[int, ...]:
    """Return facts about a file of which a change of its content changes at least one; dates alone can be set."""
    status = path.stat()
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def _read_cache() -> Mapping[str, Any]:
    """Return the cached bands: digest of the entries and stamps of files -> bands."""
    with suppress(LkcaError):
        cached = read_json(BANDS_CACHE)
        return cached if isinstance(cached, Mapping) else {}
    return {}


def _list_good_bands(files: Sequence[File]) -> str:
    """Return the numbers of the bands of the first file that no file declares as bad, such as `1-103, 109-149`."""
    from lkca.data.readers import open_cube  # not at the top: every call of snakemake imports this module, not numpy

    numbers: list[int] = []
    for file in files:
        with open_cube(file) as reader:
            good, count = {*reader.description.good_bands()}, reader.shape[2]
            problem = reader.description.unusable.get("bad_bands")
        if count < 2:
            raise DataError(f"{file.local_path()} has one band: write all bands to one file (gdal_merge.py -separate).")
        if problem:
            raise DataError(f"{file.local_path()}: {problem}, or list the bands to use in its entry.")
        # Bands that a further file lacks remain, so that it is refused later.
        numbers = [number for number in numbers if number in good or number > count] if numbers else sorted(good)
        if len(numbers) < 2:
            raise DataError(
                f"{file.local_path()} declares fewer than two good bands: list the bands to use in its entry."
            )
    return format_ranges(numbers)
