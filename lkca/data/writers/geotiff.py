"""GeoTIFF: tiles of one band without compression, or at the end a Cloud Optimized GeoTIFF.

On two cores, 128 x 1024 x 1024 float32 take 0.4 s without compression, and 5 s with DEFLATE at its fastest, which saves
a third. Tiles without compression can be written again in place, so that blocks need not end where tiles end.
"""

import errno
import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from lkca.data.writers.description import OutputDescription
from lkca.data.writers.output import Output, clean_text, disk_error, fill_missing
from lkca.data.writers.raster import gdal_environment, set_position, try_position
from lkca.errors import DataError

TILE = 256  # pixels; 512 takes three times as long with blocks of 256 pixels
TYPES = {"uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64"}
MAX_COG_BLOCK = 2**25  # bytes of a tile of all bands, which programs hold in memory
MAX_LINE = 9_000  # characters; longer lines of an ENVI header are lost in GDAL


class TiffOutput(Output):
    """A GeoTIFF.

    Wavelengths and FWHM are in items of each band (wavelength, wavelength_units, fwhm; bbl for bad bands), in GDAL's
    domain IMAGERY, in micrometres, and in the domain ENVI, which GDAL copies to ENVI headers.

    Args:
        path: The final path.
        description: What the file says of itself.
        cog: Whether it becomes a Cloud Optimized GeoTIFF.
    """

    def __init__(self, path: Path, description: OutputDescription, cog: bool) -> None:
        super().__init__(path, description)
        self._stack = ExitStack()
        self._raster: Any = None
        self._cog = self.part.with_suffix(f".cog{path.suffix}") if cog else None
        if self._cog:
            self.parts = {self._cog: path, self.part: path}
            self._copies = 2

    def check(self) -> None:
        description = self.description
        if description.dtype.name not in TYPES:
            raise DataError(f"{self.path}: GeoTIFF has no {description.dtype.name}: write float32.")
        if description.gcps and description.geotransform:
            raise DataError(
                f"{self.path}: GeoTIFF cannot hold both a transform and ground control points: write ENVI (.img)."
            )
        try_position(description, "GTiff", f"choose another format for {self.path}")

    def _start(self) -> None:
        import rasterio

        description = self.description
        rows, columns, bands = description.shape
        self._stack.enter_context(gdal_environment())
        # MINISBLACK: GDAL would take three bands for colours and the fourth for a mask.
        options = {"tiled": True, "blockxsize": TILE, "blockysize": TILE, "interleave": "band", "bigtiff": "IF_SAFER"}
        with rasterio.open(
            self.part,
            "w",
            driver="GTiff",
            height=rows,
            width=columns,
            count=bands,
            dtype=description.dtype.name,
            nodata=description.invalid,
            photometric="MINISBLACK",
            **options,
        ) as raster:
            self._describe(raster)
        # GDAL has filled all tiles: the disk has the space, and the places of the tiles do not depend on the order of
        # the blocks. When a file is closed, rasterio does not tell whether GDAL has failed.
        tiles = bands * -(-rows // TILE) * -(-columns // TILE)
        if self.part.stat().st_size < tiles * TILE**2 * description.dtype.itemsize:
            raise disk_error(self.path, os.strerror(errno.ENOSPC))
        self._raster = rasterio.open(self.part, "r+", driver="GTiff")

    def _describe(self, raster: Any) -> None:
        """Write the description into a new raster."""
        description = self.description
        set_position(raster, description)
        if description.gains:
            raster.scales, raster.offsets = description.gains, description.offsets
        if description.units:
            raster.units = [clean_text(description.units)] * description.shape[2]
        for i, items in enumerate(_list_band_items(description), 1):
            raster.update_tags(i, **items)
        for i, imagery in enumerate(_list_imagery(description), 1):
            raster.update_tags(i, ns="IMAGERY", **imagery)
        for i, name in enumerate(description.band_names, 1):
            raster.set_band_description(i, clean_text(name))
        raster.update_tags(ns="ENVI", **_list_envi_items(description))
        raster.update_tags(HISTORY="\n".join(map(clean_text, description.history)))

    def _write(self, first_band: int, row: int, column: int, block: np.ndarray) -> None:
        numbers = list(range(first_band + 1, first_band + 1 + block.shape[0]))
        window = ((row, row + block.shape[1]), (column, column + block.shape[2]))
        self._raster.write(block, numbers, window=window)

    def _finish(self) -> None:
        self._close()
        if self._cog:
            self._convert(self._cog)
            self.part.unlink()
            del self.parts[self.part]

    def _convert(self, cog: Path) -> None:
        """Write the Cloud Optimized GeoTIFF from the temporary file."""
        import rasterio
        from rasterio.shutil import copy

        rows, columns, bands = self.description.shape
        block = next((n for n in (512, 256) if n * n * bands * self.description.dtype.itemsize <= MAX_COG_BLOCK), 128)
        with gdal_environment():
            copy(
                self.part,
                cog,
                driver="COG",
                blocksize=block,
                compress="DEFLATE",
                level=1,
                predictor="YES",
                bigtiff="IF_SAFER",
                overview_resampling="AVERAGE",
            )
            with rasterio.open(cog, driver="GTiff") as raster:  # refuse a file that is not complete
                raster.read(1, window=((rows - 1, rows), (columns - 1, columns)))

    def _close(self) -> None:
        raster, self._raster = self._raster, None
        try:
            if raster is not None:
                raster.close()
        finally:
            self._stack.close()


def _list_band_items(description: OutputDescription) -> list[dict[str, str]]:
    """Return the items of each band."""
    bands = description.shape[2]
    items: list[dict[str, str]] = [{} for _ in range(bands)]
    for i, nanometres in enumerate(description.nanometres or ()):
        if nanometres is not None:
            items[i] |= {"wavelength": f"{nanometres:.10g}", "wavelength_units": "Nanometers"}
            if description.fwhm and (width := description.fwhm[i]) is not None:
                items[i]["fwhm"] = f"{width:.10g}"
    if description.bad_bands:
        for i in range(bands):
            items[i]["bbl"] = str(int(i + 1 not in description.bad_bands))
    return items


def _list_imagery(description: OutputDescription) -> list[dict[str, str]]:
    """Return the items of each band in GDAL's domain IMAGERY."""
    widths = description.fwhm or (None,) * description.shape[2]
    return [
        {
            **({"CENTRAL_WAVELENGTH_UM": f"{nanometres / 1000:.10g}"} if nanometres is not None else {}),
            **({"FWHM_UM": f"{width / 1000:.10g}"} if nanometres is not None and width is not None else {}),
        }
        for nanometres, width in zip(description.nanometres or (), widths, strict=False)
    ]


def _list_envi_items(description: OutputDescription) -> dict[str, str]:
    """Return the fields of an ENVI header that GDAL would not write from other items; too long lists are left out."""
    lists = {
        "wavelength": fill_missing(description.nanometres or (), 0),
        "fwhm": fill_missing(description.fwhm or (), 0) if description.nanometres else [],
        "bbl": [float(i not in description.bad_bands) for i in range(1, description.shape[2] + 1)]
        if description.bad_bands
        else [],
    }
    texts = {name: f"{{{', '.join(f'{value:.10g}' for value in values)}}}" for name, values in lists.items() if values}
    fields = {name: text for name, text in texts.items() if len(text) <= MAX_LINE}
    return {**fields, **({"wavelength_units": "Nanometers"} if "wavelength" in fields else {})}
