"""Readers of the formats of cubes: MATLAB v5 and v7.3, HDF5, ENVI, GeoTIFF, PCIDSK, .npy, rasters in zip archives.

Files are untrusted. Readers check what they can before a library parses a file. Callers run them in a sandbox
(lkca/data/sandbox.py) against crashes, hangs and excessive use of memory.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from lkca.data.readers.archive import open_archive
from lkca.data.readers.base import CubeReader, UnreadableError, make_array_reader
from lkca.data.readers.hdf5 import open_hdf5
from lkca.data.readers.matlab import open_matlab5
from lkca.data.readers.raster import MAX_HEADER_BYTES, open_pcidsk, open_raster
from lkca.data.sandbox import set_current_file
from lkca.errors import DataError

__all__ = ["CubeReader", "open_cube"]


@contextmanager
def open_cube(path: Path, archive_member: str | None, variable: str | None, axes: str) -> Iterator[CubeReader]:
    """Open a cube for the block. The format is recognised by the content of the file, not by its name.

    Args:
        path: The file, or the archive that contains it.
        archive_member: Path inside the archive.
        variable: Name of the array in a MATLAB or HDF5 file; None for the only array with three axes.
        axes: Names of the axes in the order of the file, as in `File.axes`.

    Raises:
        DataError: If the file cannot be read as these arguments describe it; the reader's `read` raises it, too.
    """
    set_current_file(path)
    with ExitStack() as stack:
        with _data_errors(path):
            reader = _open_format(stack, path, archive_member, variable, axes.split())
        yield replace(reader, read=partial(_read, path, reader.read))


def _read(path: Path, read: Callable[..., np.ndarray], *window: Any) -> np.ndarray:
    """Return `read(*window)`; raise DataError if it fails."""
    with _data_errors(path), np.errstate(over="ignore", invalid="ignore"):  # find_problems refuses infinite values
        return read(*window)


@contextmanager
def _data_errors(path: Path) -> Iterator[None]:
    """Turn any exception of any library into a DataError of one sentence."""
    try:
        yield
    except MemoryError as error:
        raise DataError(f"{path} cannot be read (out of memory): it is damaged or the wrong file.") from error
    except Exception as error:
        text = " ".join(str(error.__cause__ or error).split()).rstrip(".")  # rasterio explains errors in their cause
        reason = "".join(c if c.isprintable() else "?" for c in text or type(error).__name__)
        raise DataError(
            f"{path} cannot be read ({reason[:300]}): it is damaged, the wrong file, or not as its entry describes it."
        ) from error


def _open_format(
    stack: ExitStack, path: Path, archive_member: str | None, variable: str | None, axes: list[str]
) -> CubeReader:
    """Open a cube with the reader of its format, until the stack closes.

    Raises:
        UnreadableError: If no reader fits, or the reader refuses the file. Libraries may raise any other exception.
    """
    with path.open("rb") as file:
        start = file.read(520)
    if start.lstrip()[:1] == b"<":
        raise UnreadableError("it is a web page, not data")
    if start[:4] == b"PK\x03\x04":
        if not archive_member:
            raise UnreadableError("it is a zip archive: name the file in it, as in archive.zip/folder/file")
        return open_archive(stack, path, archive_member, axes)
    if archive_member:
        raise UnreadableError("it is not a zip archive")
    if b"\x89HDF\r\n\x1a\n" in (start[:8], start[512:520]):
        return open_hdf5(stack, path, variable, axes)
    if start[:10] == b"MATLAB 5.0" or start[124:128] in (b"\x00\x01IM", b"\x01\x00MI"):
        return open_matlab5(path, variable, axes)
    if start[:6] == b"\x93NUMPY":
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        return make_array_reader(array, array.shape, array.dtype, axes)
    size = path.stat().st_size
    if start[:8] == b"PCIDSK  ":
        with path.open("rb") as file:
            return open_pcidsk(stack, file, str(path), size, axes)
    if start[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return open_raster(stack, "GTiff", str(path), size, axes)
    candidates = (path.with_suffix(".hdr"), Path(f"{path}.hdr"), path.with_suffix(".HDR"))
    if headers := [header for header in candidates if header.is_file()]:
        if max(header.stat().st_size for header in headers) > MAX_HEADER_BYTES:
            raise UnreadableError("its header is too large")
        return open_raster(stack, "ENVI", str(path), size, axes)
    raise UnreadableError("it is not a MATLAB, HDF5, TIFF, PCIDSK or .npy file, and there is no ENVI header next to it")
