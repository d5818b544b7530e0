"""ENVI: a file of values and a header, which is written here, because GDAL's ends lists at 10 000 characters."""

import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from lkca.data.readers.envi_header import RPC_LISTS, RPC_NUMBERS, parse_header
from lkca.data.readers.raster import ENVI_TYPES
from lkca.data.sidecars import is_sidecar, list_folder
from lkca.data.writers.description import OutputDescription
from lkca.data.writers.output import clean_text, fill_missing
from lkca.data.writers.raster import try_position
from lkca.data.writers.raw import RawOutput
from lkca.errors import DataError

INTERLEAVES = {".img": "bsq", ".dat": "bsq", ".bsq": "bsq", ".bil": "bil", ".bip": "bip"}
MAX_LINE = 1000  # characters; GDAL and others give up at 10 000
PER_LINE = 8  # numbers
POSITION = ("map_info", "projection_info", "coordinate_system_string")
BRACES = {"{": "(", "}": ")"}


class EnviOutput(RawOutput):
    """A file of values, interleaved as its suffix says (BSQ for .img and .dat), and its header: a.hdr for a.img.

    The header has the usual fields, and for each fact of the description the one that GDAL and other programs know:
    wavelength, fwhm, bbl, band names, data gain values, data offset values, data ignore value, z plot titles (units),
    map info, coordinate system string, geo points, rpc info, description (history).

    Args:
        path: The final path.
        description: What the file says of itself.
    """

    def __init__(self, path: Path, description: OutputDescription) -> None:
        self._interleave = INTERLEAVES[path.suffix.lower()]
        super().__init__(path, description, self._interleave)
        self._header_path = path.with_suffix(".hdr")
        self._header_part = self.part.with_suffix(".hdr")
        self.parts[self._header_part] = self._header_path
        self._position: dict[str, str] = {}

    def check(self) -> None:
        description, path = self.description, self.path
        if description.dtype.name not in ENVI_TYPES.values():
            raise DataError(f"{path}: ENVI has no {description.dtype.name}: write float32.")
        others = [other.name for other in list_folder(path) if _is_namesake(other, path)]
        if self._header_path.exists() and others:
            raise DataError(f"{path}: its header {self._header_path.name} is that of {others[0]}: choose another name.")
        if description.gcps and not _is_wgs84(description.gcps.crs):
            raise DataError(f"{path}: ENVI holds ground control points in WGS 84 only: write GeoTIFF.")
        if description.crs or description.geotransform:
            placed = replace(description, gcps=None, rpcs=None)
            header = try_position(placed, "ENVI", f"write GeoTIFF instead of {path}")
            fields = parse_header(header.encode(), "header")
            self._position = {name: " ".join(fields[name].split()) for name in POSITION if name in fields}

    def _start(self) -> None:
        super()._start()
        with self._header_part.open("w", encoding="utf-8", newline="\n") as file:
            file.write(_format_header(self.description, self._interleave, self._position))

    def _list_stale(self) -> list[Path]:
        # Without a header, the values cannot be read; with an old one, they could be read wrongly if this is killed.
        headers = [self._header_path, self.path.with_name(f"{self.path.name}.hdr")]
        return [*super()._list_stale(), *headers]


def _is_namesake(other: Path, path: Path) -> bool:
    """Return whether a file has the name of another one with another suffix, and no header of its own."""
    same = other.stem == path.stem and other.suffix.lower() in (*INTERLEAVES, ".raw", "") and other.name != path.name
    return same and is_sidecar(other) and not other.with_name(f"{other.name}.hdr").exists()


def _is_wgs84(crs: str | None) -> bool:
    from rasterio.crs import CRS

    return crs is not None and CRS.from_wkt(crs) == CRS.from_epsg(4326)


def _format_header(description: OutputDescription, interleave: str, position: Mapping[str, str]) -> str:
    """Return the text of a header.

    Args:
        description: What the header says.
        interleave: bsq, bil or bip.
        position: Further fields, as GDAL writes them.
    """
    rows, columns, bands = description.shape
    codes = {name: code for code, name in ENVI_TYPES.items()}
    fields: dict[str, object] = {
        "description": _format_text([clean_text(line, BRACES) for line in description.history]),
        "samples": columns,
        "lines": rows,
        "bands": bands,
        "header offset": 0,
        "file type": "ENVI Standard",
        "data type": codes[description.dtype.name],
        "interleave": interleave,
        "byte order": int(sys.byteorder == "big"),
    }
    if description.invalid is not None:
        fields["data ignore value"] = f"{description.invalid!r}"
    if description.nanometres:
        fields["wavelength units"] = "Nanometers"
        fields["wavelength"] = _format_list(fill_missing(description.nanometres, 0))
        if description.fwhm:
            fields["fwhm"] = _format_list(fill_missing(description.fwhm, 0))
    if description.bad_bands:
        fields["bbl"] = _format_list([int(i not in description.bad_bands) for i in range(1, bands + 1)])
    if description.band_names:
        names = [clean_text(name, {**BRACES, ",": ";"}) for name in description.band_names]
        fields["band names"] = "{\n" + ",\n".join(name[:MAX_LINE] for name in names) + "}"
    if description.gains:
        fields["data gain values"] = _format_list(description.gains)
        fields["data offset values"] = _format_list(description.offsets)
    if description.units:
        fields["z plot titles"] = f"{{Wavelength, {clean_text(description.units, {**BRACES, ',': ';'})}}}"
    fields |= {name.replace("_", " "): text for name, text in position.items()}
    if description.gcps:
        # Columns and rows are counted from 1, and the latitude comes first.
        numbers = [n for row, column, x, y, _ in description.gcps.points for n in (column + 1, row + 1, y, x)]
        fields["geo points"] = _format_list(numbers)
    if rpcs := description.rpcs:
        lists = [number for name in RPC_LISTS for number in np.ravel(rpcs[name]).tolist()]
        # The last numbers say that the first pixel has the row 0 and the column 0, and that the RPCs are no emulation.
        fields["rpc info"] = _format_list([*(rpcs[name] for name in RPC_NUMBERS), *lists, 0, 0, 0])
    return "\n".join(["ENVI", *(f"{name} = {text}" for name, text in fields.items()), ""])


def _format_list(numbers: Iterable[object]) -> str:
    """Return a list of numbers in short lines."""
    texts = [repr(number) for number in numbers]
    lines = [", ".join(texts[i : i + PER_LINE]) for i in range(0, len(texts), PER_LINE)]
    return "{\n" + ",\n".join(lines) + "}"


def _format_text(lines: Iterable[str]) -> str:
    """Return a text in short lines."""
    parts = [line[i : i + MAX_LINE] for line in lines for i in range(0, len(line), MAX_LINE)]
    return "{\n" + "\n".join(parts) + "}"
