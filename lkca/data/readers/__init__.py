"""Readers of the formats of cubes: MATLAB v5 and v7.3, HDF5, ENVI, GeoTIFF, PCIDSK, .npy, rasters in zip archives.

Each format has a reader of the stored values and of what the file says of itself (`CubeDescription`). `open_cube`
returns a reader of the physical values.

Files are untrusted. Readers check what they can before a library parses a file. Callers run them in a sandbox
(lkca/data/sandbox.py) against crashes, hangs and excessive use of memory.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from lkca.data.catalog import File, find_envi_headers
from lkca.data.readers.archive import open_archive
from lkca.data.readers.base import StoredCube, UnreadableError, WrongProductError, make_array_reader
from lkca.data.readers.description import CubeDescription
from lkca.data.readers.hdf5 import open_hdf5
from lkca.data.readers.matlab import open_matlab5
from lkca.data.readers.products import describe_image, open_hdf5_product
from lkca.data.readers.raster import TIFF_STARTS, find_raster_file, open_pcidsk, open_raster, read_only_header
from lkca.data.readers.values import CubeReader, make_reader
from lkca.data.sandbox import set_current_file
from lkca.errors import DataError

__all__ = ["CubeDescription", "CubeReader", "open_cube"]

# Files with these suffixes are recognised by their content even if an ENVI header stands beside them.
CONTAINER_SUFFIXES = {".tif", ".tiff", ".mat", ".h5", ".hdf5", ".he5", ".nc", ".npy", ".pix", ".zip"}


@contextmanager
def open_cube(file: File) -> Iterator[CubeReader]:
    """Open a cube for the block. The format is recognised by the content of the file or the ENVI header beside it.

    Args:
        file: The path of the file, how it is read, and what replaces its own declarations.

    Raises:
        DataError: If the file cannot be read as described; the reader's `read` raises it, too.
    """
    path = file.local_path()
    set_current_file(path)
    with ExitStack() as stack:
        with _data_errors(path):
            axes = file.axes.split() if file.axes else None
            stored = _open_format(stack, path, file.archive_member(), file.variable, axes)
            mask = None
            if file.mask:
                mask = _open_format(stack, Path(file.mask).expanduser(), None, None, ["rows", "columns"])
            reader = make_reader(stored, file, mask)
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
        if isinstance(error, WrongProductError):
            raise DataError(f"{path} cannot be read: {reason[:600]}.") from error
        raise DataError(
            f"{path} cannot be read ({reason[:300]}): it is damaged, the wrong file, or not as described."
        ) from error


def _open_format(
    stack: ExitStack, path: Path, archive_member: str | None, variable: str | None, axes: list[str] | None
) -> StoredCube:
    """Open a cube with the reader of its format, until the stack closes.

    If `axes` is None, the order of the axes is that of the format.

    Raises:
        UnreadableError: If no reader fits, or the reader refuses the file. Libraries may raise any other exception.
    """
    with path.open("rb") as file:
        start = file.read(520)
    headers = find_envi_headers(path)
    # The header decides, because the pixels of a raw file may look like another format.
    if headers and not archive_member and _is_raw(path, start, headers):
        return _open_envi(stack, path, axes)
    if start.lstrip()[:1] == b"<" and not headers:
        if path.suffix.lower() == ".xml":
            raise WrongProductError("it is XML: name the image that it describes, such as ...-SPECTRAL_IMAGE.TIF")
        raise UnreadableError("it is a web page, not data")
    if start[:4] == b"PK\x03\x04":
        if not archive_member:
            raise UnreadableError("it is a zip archive: name the file in it, as in archive.zip/folder/file")
        return open_archive(stack, path, archive_member, axes)
    if archive_member:
        raise UnreadableError("it is not a zip archive")
    if b"\x89HDF\r\n\x1a\n" in (start[:8], start[512:520]):
        return open_hdf5_product(stack, path, variable, axes) or open_hdf5(stack, path, variable, axes)
    if start[:10] == b"MATLAB 5.0" or start[124:128] in (b"\x00\x01IM", b"\x01\x00MI"):
        return open_matlab5(path, variable, axes)
    if headers and not start.startswith((*TIFF_STARTS, b"\x93NUMPY", b"PCIDSK  ")):
        return _open_envi(stack, path, axes)
    return _open_array_or_raster(stack, path, start, axes)


def _is_raw(path: Path, start: bytes, headers: Sequence[Path]) -> bool:
    """Return whether a file with an ENVI header is raw; ENVI also writes headers for files of other formats."""
    if path.suffix.lower() in CONTAINER_SUFFIXES:
        return False
    kind = read_only_header(headers).get("file_type", "").lower()
    return not kind or kind.startswith("envi") or not start.startswith((*TIFF_STARTS, b"\x89HDF", b"PCIDSK  "))


def _open_envi(stack: ExitStack, path: Path, axes: list[str] | None) -> StoredCube:
    """Open a raw file with the ENVI header next to it."""
    return describe_image(path, open_raster(stack, find_raster_file("ENVI", path), axes))


def _open_array_or_raster(stack: ExitStack, path: Path, start: bytes, axes: list[str] | None) -> StoredCube:
    """Open a .npy file, a PCIDSK raster or a TIFF, which its first bytes `start` show."""
    if start[:6] == b"\x93NUMPY":
        if axes is None:
            raise UnreadableError("a .npy file does not say the order of its axes: set axes, as in: rows columns bands")
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        return make_array_reader(lambda _: array, array.shape, array.dtype, axes, "NumPy")
    if start[:8] == b"PCIDSK  ":
        with path.open("rb") as file:
            return open_pcidsk(stack, file, find_raster_file("PCIDSK", path), axes)
    if start.startswith(TIFF_STARTS):
        return describe_image(path, open_raster(stack, find_raster_file("GTiff", path), axes))
    raise UnreadableError("it is not a MATLAB, HDF5, TIFF, PCIDSK or .npy file, and there is no ENVI header next to it")
