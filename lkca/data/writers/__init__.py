"""Writers of cubes with what they say of themselves: GeoTIFF, ENVI, NetCDF-4 and .npy.

A cube is written block by block, in any order, and appears under its name when it is complete.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lkca.data.writers.description import OutputDescription, enlarge_description
from lkca.data.writers.envi import INTERLEAVES, EnviOutput
from lkca.data.writers.geotiff import TiffOutput
from lkca.data.writers.netcdf import NetcdfOutput
from lkca.data.writers.output import STALE_ENDINGS, Output
from lkca.data.writers.raw import open_npy
from lkca.data.writers.values import encode
from lkca.errors import ConfigError

__all__ = [
    "SUFFIXES",
    "Output",
    "OutputDescription",
    "check_output",
    "encode",
    "enlarge_description",
    "list_sidecars",
    "open_output",
]

TIFF_SUFFIXES = (".tif", ".tiff")
WRITERS: dict[str, Callable[[Path, OutputDescription], Output]] = {
    **dict.fromkeys(INTERLEAVES, EnviOutput),
    ".nc": NetcdfOutput,
    ".npy": open_npy,
}
SUFFIXES = (*TIFF_SUFFIXES, *WRITERS)


@contextmanager
def open_output(path: Path, description: OutputDescription, cog: bool = False) -> Iterator[Output]:
    """Open a cube for writing. Nothing is at `path` before the block ends without an exception; then it is complete.

    Args:
        path: The file to write; its suffix is the format. An ENVI header, a.hdr for a.img, is written next to it.
        description: What the file says of itself.
        cog: Whether a GeoTIFF becomes a Cloud Optimized GeoTIFF at the end, which needs twice the space for a while.

    Raises:
        ConfigError: If the suffix is unknown, or `cog` does not fit it.
        DataError: If the format cannot hold the description, there is a folder, or no file can be created.
        ResourceError: If the disk is full or fails.
        ValueError: If not all blocks have been written when the block ends.
    """
    output = _make_output(path, description, cog)
    try:
        output.start()
        yield output
        output.finish()
    except BaseException:
        output.discard()
        raise


def check_output(path: Path, description: OutputDescription, cog: bool = False) -> None:
    """Check what `open_output` refuses before it writes, without writing; for the arguments see there.

    Raises:
        ConfigError: If the suffix is unknown, or `cog` does not fit it.
        DataError: If the format cannot hold the description.
    """
    _make_output(path, description, cog).check()


def list_sidecars(path: Path) -> list[Path]:
    """Return the files next to a cube that `open_output` replaces or deletes: its header, and what programs add."""
    headers = (
        [path.with_suffix(".hdr"), path.with_name(f"{path.name}.hdr")] if path.suffix.lower() in INTERLEAVES else []
    )
    return [*headers, *(path.with_name(path.name + ending) for ending in STALE_ENDINGS)]


def _make_output(path: Path, description: OutputDescription, cog: bool) -> Output:
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ConfigError(f"{path}: the suffix is not one of {', '.join(SUFFIXES)}: choose one of these.")
    if cog and suffix not in TIFF_SUFFIXES:
        raise ConfigError(f"{path}: only a GeoTIFF can be cloud optimized: choose the suffix .tif.")
    return TiffOutput(path, description, cog) if suffix in TIFF_SUFFIXES else WRITERS[suffix](path, description)
