"""Readers of the formats of cubes.

They are MATLAB v5 and v7.3, HDF5, NetCDF 3 and 4, ENVI, GeoTIFF, PCIDSK, .npy, and rasters in zip archives.

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
from typing import Any, NoReturn

import numpy as np

from lkca.core.files import is_file
from lkca.core.printing import printable
from lkca.data.catalog import File, find_envi_headers
from lkca.data.checksums import is_text
from lkca.data.readers.archive import describe_archive, open_archive
from lkca.data.readers.arrays import open_array
from lkca.data.readers.base import SettingsError, StoredCube, UnreadableError, WrongProductError
from lkca.data.readers.container import ArrayInfo, Container
from lkca.data.readers.description import CubeDescription
from lkca.data.readers.hdf5 import is_hdf5, open_hdf5
from lkca.data.readers.matlab import open_matlab5
from lkca.data.readers.netcdf3 import open_netcdf3
from lkca.data.readers.products import describe_image, open_hdf5_product
from lkca.data.readers.raster import TIFF_STARTS, find_raster_file, open_pcidsk, open_raster, read_only_header
from lkca.data.readers.values import CubeReader, make_reader
from lkca.data.sandbox import set_current_file
from lkca.errors import DataError

__all__ = ["CubeDescription", "CubeReader", "open_cube"]

# Files with these suffixes are recognised by their content even if an ENVI header is next to them.
CONTAINER_SUFFIXES = {".tif", ".tiff", ".mat", ".h5", ".hdf5", ".he5", ".nc", ".nc4", ".cdf", ".npy", ".pix", ".zip"}


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
            stored = _open_format(stack, path, file)
        mask = None
        if mask_file := file.mask_file():
            mask_path = mask_file.local_path()
            if not is_file(mask_path):
                raise DataError(f"{mask_path}, the mask of {path}, is missing: correct mask in its entry.")
            with _data_errors(mask_path):
                mask = _open_format(stack, mask_path, mask_file, is_mask=True)
        with _data_errors(path):
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
    except (SettingsError, WrongProductError) as error:
        raise DataError(f"{path} cannot be read: {printable(error, 700)}.") from error
    except Exception as error:
        text = " ".join(str(error.__cause__ or error).split()).rstrip(".")  # rasterio explains errors in their cause
        reason = printable(text or type(error).__name__, 300)
        raise DataError(
            f"{path} cannot be read ({reason}): it is damaged, the wrong file, or not as described."
        ) from error


def _open_format(stack: ExitStack, path: Path, file: File, is_mask: bool = False) -> StoredCube:
    """Open a cube with the reader of its format, until the stack closes.

    Args:
        stack: The stack that closes the file.
        path: The path of the file, or of the archive that contains it.
        file: How the file is read.
        is_mask: Whether it is a mask, which has rows and columns, but no bands.

    Raises:
        UnreadableError: If no reader fits, or the reader refuses the file. Libraries may raise any other exception.
    """
    axes = ["rows", "columns"] if is_mask else file.axes.split() if file.axes else None
    archive_member = file.archive_member()
    with path.open("rb") as opened:
        start = opened.read(520)
    headers = find_envi_headers(path)
    # The header decides, because the pixels of a raw file may look like another format.
    if headers and not archive_member and _is_raw(path, start, headers):
        return _open_envi(stack, path, axes)
    if is_text(start) and not headers:
        _refuse_text(path, start)
    if start[:4] == b"PK\x03\x04":
        if not archive_member:
            raise SettingsError(describe_archive(path))
        return open_archive(stack, path, archive_member, axes)
    if archive_member:
        raise UnreadableError("it is not a zip archive")
    if start[:3] == b"CDF":
        return open_netcdf3(path, file, is_mask)
    if start[:10] == b"MATLAB 5.0" or start[124:128] in (b"\x00\x01IM", b"\x01\x00MI"):
        return open_matlab5(path, file, is_mask)
    if start[:6] == b"\x93NUMPY":
        return _open_npy(path, file, is_mask)
    if is_hdf5(path):
        product = None if is_mask else open_hdf5_product(stack, path, file)
        return product or open_hdf5(stack, path, file, is_mask)
    if headers and not start.startswith((*TIFF_STARTS, b"PCIDSK  ")):
        return _open_envi(stack, path, axes)
    return _open_raster(stack, path, start, axes)


def _refuse_text(path: Path, start: bytes) -> NoReturn:
    """Refuse a text, which starts with these bytes, and say what to do."""
    if b"<VRTDataset" in start:
        raise WrongProductError("it is a VRT, which points to other files: convert it with gdal_translate to GeoTIFF")
    if path.suffix.lower() == ".xml":
        raise WrongProductError("it is XML: name the image that it describes, such as ...-SPECTRAL_IMAGE.TIF")
    raise UnreadableError("it is a web page, not data")


def _open_npy(path: Path, file: File, is_mask: bool) -> StoredCube:
    """Open an array of numpy, which declares nothing but its shape and its type."""
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    info = ArrayInfo("array", array.shape, array.dtype, lambda: lambda _: array)
    return open_array(Container("NumPy", {"array": info}), file.model_copy(update={"variable": "array"}), is_mask)


def _is_raw(path: Path, start: bytes, headers: Sequence[Path]) -> bool:
    """Return whether a file with an ENVI header is raw; ENVI also writes headers for files of other formats."""
    if path.suffix.lower() in CONTAINER_SUFFIXES:
        return False
    kind = read_only_header(headers).get("file_type", "").lower()
    return not kind or kind.startswith("envi") or not start.startswith((*TIFF_STARTS, b"\x89HDF", b"PCIDSK  "))


def _open_envi(stack: ExitStack, path: Path, axes: list[str] | None) -> StoredCube:
    """Open a raw file with the ENVI header next to it."""
    return describe_image(path, open_raster(stack, find_raster_file("ENVI", path), axes))


def _open_raster(stack: ExitStack, path: Path, start: bytes, axes: list[str] | None) -> StoredCube:
    """Open a PCIDSK raster or a TIFF, which its first bytes `start` show."""
    if start[:8] == b"PCIDSK  ":
        with path.open("rb") as file:
            return open_pcidsk(stack, file, find_raster_file("PCIDSK", path), axes)
    if start.startswith(TIFF_STARTS):
        return describe_image(path, open_raster(stack, find_raster_file("GTiff", path), axes))
    if start[:4] == b"ENVI" and path.suffix.lower() == ".hdr":
        raise SettingsError("it is an ENVI header: name the file with the pixels, which is next to it")
    raise UnreadableError(
        "it is not a MATLAB, HDF5, NetCDF, TIFF, PCIDSK or .npy file, and there is no ENVI header next to it"
    )
