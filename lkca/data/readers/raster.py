"""Rasters that GDAL reads: ENVI, GeoTIFF and PCIDSK."""

import math
import os
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from typing import IO, Any

import numpy as np

from lkca.data.readers.base import NUMBER_KINDS, StoredCube, UnreadableError, check_claimed_size
from lkca.data.readers.description import CubeDescription
from lkca.data.readers.raster_facts import read_facts

MAX_BLOCK_BYTES = 2**28  # GDAL holds a whole block in memory
MAX_HEADER_BYTES = 2**22  # largest ENVI header; GDAL parses it as a whole
CACHE_BYTES = 2**25  # size of GDAL's cache of blocks


def open_raster(
    stack: ExitStack,
    driver: str,
    name: str,
    size: int,
    axes: list[str] | None,
    offset: int | None = None,
    line_multiple: int = 1,
) -> StoredCube:
    """Open a raster until the stack closes.

    Args:
        stack: The stack that closes the raster.
        driver: GDAL's name of the format.
        name: GDAL's name of the file.
        size: Bytes of the file.
        axes: `bands rows columns`, the default; `bands columns rows` if the lines of the raster are columns of the
            cube; or `rows columns` for a raster of one band.
        offset: Bytes before the pixels; None if it is unknown or in an ENVI header.
        line_multiple: Each line but the last is padded to a multiple of this number of bytes.

    Raises:
        UnreadableError: If the axes are not supported, or the values, blocks or size of the file are wrong.
    """
    import rasterio
    from rasterio.enums import MaskFlags
    from rasterio.errors import NotGeoreferencedWarning

    # Ignore .aux.xml files, which could change the values; GDAL must not print, its errors are exceptions.
    stack.enter_context(rasterio.Env(GDAL_PAM_ENABLED="NO", GDAL_CACHEMAX=CACHE_BYTES, CPL_LOG=os.devnull))
    stack.enter_context(warnings.catch_warnings())
    warnings.simplefilter("ignore", NotGeoreferencedWarning)
    axes = axes or ["bands", "rows", "columns"]
    if axes[0] != "bands" and len(axes) == 3:
        raise UnreadableError(
            f"a raster has the axes 'bands rows columns' or 'bands columns rows', not '{' '.join(axes)}'"
        )
    raster = stack.enter_context(rasterio.open(name, driver=driver))
    dtype = _check_dtype(raster)
    tags = raster.tags(ns="ENVI")
    if driver == "ENVI":
        offset = int(tags.get("header_offset", 0))
        if tags.get("file_compression", "0") != "0":
            raise UnreadableError("it is compressed")
    line = raster.count * raster.width * dtype.itemsize
    if offset is None:
        check_claimed_size("its header", raster.height * line, size)
    elif size < (needed := offset + raster.height * line + (raster.height - 1) * (-line % line_multiple)):
        raise UnreadableError(f"it ends after {size} of {needed} bytes")  # GDAL would read zeros
    transposed = axes[1:] == ["columns", "rows"]

    def read_lines(read: Callable[..., np.ndarray], bands: Any, rows: slice, columns: slice, **more: Any) -> np.ndarray:
        lines, samples = (columns, rows) if transposed else (rows, columns)
        window = ((lines.start, lines.stop), (samples.start, samples.stop))
        values = read(bands, window=window, **more)
        return values.swapaxes(-1, -2) if transposed else values

    def read(first: int, last: int, rows: slice, columns: slice, out_dtype: Any) -> np.ndarray:
        return read_lines(raster.read, list(range(first + 1, last + 1)), rows, columns, out_dtype=out_dtype)

    def read_mask(rows: slice, columns: slice) -> np.ndarray:
        return read_lines(raster.read_masks, 1, rows, columns) == 0

    lines, samples = raster.shape
    has_mask = any(MaskFlags.per_dataset in flags for flags in raster.mask_flag_enums)
    description = CubeDescription(
        format={"GTiff": "GeoTIFF"}.get(driver, driver),
        shape=(samples, lines, raster.count) if transposed else (lines, samples, raster.count),
        dtype=dtype,
        axes=tuple(axes),
        has_mask=has_mask,
        **read_facts(raster, driver, tags, transposed),
    )
    return StoredCube(description, 1, read, read_mask if has_mask else None)


def _check_dtype(raster: Any) -> np.dtype[Any]:
    """Return the type of the values; refuse several types and blocks that are too large."""
    dtypes = set(raster.dtypes)
    dtype = np.dtype(raster.dtypes[0])
    if len(dtypes) > 1 or dtype.kind not in NUMBER_KINDS:
        raise UnreadableError(f"its bands hold {', '.join(sorted(dtypes))} instead of one kind of real numbers")
    if max(math.prod(shape) for shape in raster.block_shapes) * dtype.itemsize > MAX_BLOCK_BYTES:
        raise UnreadableError("its blocks are too large to be read one by one")
    return dtype


def open_pcidsk(stack: ExitStack, file: IO[bytes], name: str, size: int, axes: list[str] | None) -> StoredCube:
    """Open a PCIDSK raster until the stack closes; refuse one that refers to other files.

    Args:
        stack: The stack that closes the raster.
        file: The file, positioned at its start, from which the header is read.
        name: GDAL's name of the file.
        size: Bytes of the file.
        axes: As in `open_raster`.

    Raises:
        UnreadableError: If the file is damaged or refers to other files.
    """
    header = file.read(512)

    def number(first: int, last: int) -> int:
        """Return the number that the bytes first to last - 1 of the header contain as text."""
        if not (text := header[first:last].strip()).isdigit():
            raise UnreadableError("its header has letters instead of numbers")
        return int(text)

    interleaving = header[360:368]
    offset = None if interleaving == b"FILE    " else 512 * (number(304, 320) - 1)
    if interleaving == b"PIXEL   ":  # then GDAL ignores the names in the headers of the channels
        return open_raster(stack, "PCIDSK", name, size, axes, offset, line_multiple=512)
    file.seek(512 * (number(336, 352) - 1))
    for _ in range(number(376, 384)):
        channel_file = file.read(1024)[64:128]
        if len(channel_file) < 64:
            raise UnreadableError("it ends before its pixels")
        # A tiled channel names a part of this file ("/SIS=..."); any other channel in this file has no name.
        if not channel_file.startswith(b"/SIS=") if offset is None else channel_file.strip(b" \0"):
            raise UnreadableError("it refers to other files")
    return open_raster(stack, "PCIDSK", name, size, axes, offset)
