"""What GDAL, or an .aux.xml file next to a raster, says of a raster and of each of its bands."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from xml.etree.ElementTree import Element

from lkca.data.readers.base import SettingsError, UnreadableError
from lkca.data.readers.safe_xml import parse_xml

Items = Mapping[str, str]  # name in lower case -> text


@dataclass(frozen=True)
class BandItems:
    """What is said of a band; None or empty if nothing is.

    Args:
        scale, offset: physical value = scale x stored value + offset.
        nodata: The stored value that marks invalid pixels.
        unit: Unit of the physical values.
        name: The name or description of the band.
        items: Further items.
        imagery: The items of GDAL's domain IMAGERY.
    """

    scale: float | None = None
    offset: float | None = None
    nodata: float | str | None = None
    unit: str | None = None
    name: str | None = None
    items: Items = field(default_factory=dict)
    imagery: Items = field(default_factory=dict)


@dataclass(frozen=True)
class RasterItems:
    """What is said of a raster.

    Args:
        bands: What is said of each band.
        items: Items of the whole raster.
        envi: Items of its domain ENVI, the fields of an ENVI header.
        place: Where all this is, for messages.
        crs: Coordinate reference system, WKT.
        geotransform: As in `CubeDescription`.
        is_copy: Whether this counts only for facts that are declared nowhere else.
    """

    bands: Sequence[BandItems]
    items: Items = field(default_factory=dict)
    envi: Items = field(default_factory=dict)
    place: str = "the file"
    crs: str | None = None
    geotransform: tuple[float, ...] | None = None
    is_copy: bool = False


def lower(items: Mapping[str, str]) -> dict[str, str]:
    """Return items with names in lower case and underscores instead of spaces."""
    return {re.sub(r"\s+", "_", name.strip().lower()): text.strip() for name, text in items.items()}


def read_gdal_items(raster: Any) -> RasterItems:
    """Return what an open rasterio data set says."""
    bands = [
        BandItems(
            raster.scales[i],
            raster.offsets[i],
            raster.nodatavals[i],
            raster.units[i],
            raster.descriptions[i],
            lower(raster.tags(i + 1)),
            lower(raster.tags(i + 1, ns="IMAGERY")),
        )
        for i in range(raster.count)
    ]
    return RasterItems(bands, lower(raster.tags()), lower(raster.tags(ns="ENVI")))


def parse_aux_xml(data: bytes, name: str, num_bands: int) -> RasterItems:
    """Return what an .aux.xml file says.

    Args:
        data: The content of the file.
        name: Its name.
        num_bands: Number of bands of the raster.

    Raises:
        SettingsError: If it is not such a file; the message says what to do.
    """
    try:
        root = parse_xml(data, f"its metadata, {name},")
    except UnreadableError as error:
        raise SettingsError(f"{error}: delete this file, or let the program that wrote it write it again") from None
    bands = [BandItems()] * num_bands
    for element in root.iter("PAMRasterBand"):
        number = element.get("band", "")
        if not (number.isdigit() and 1 <= int(number) <= num_bands):
            raise SettingsError(f"{name} describes band {number[:20]!r} of {num_bands}: delete it if it is wrong")
        bands[int(number) - 1] = BandItems(
            _find_number(element, "Scale", name),
            _find_number(element, "Offset", name),
            element.findtext("NoDataValue", "").strip() or None,
            element.findtext("UnitType"),
            element.findtext("Description"),
            _find_items(element, None),
            _find_items(element, "IMAGERY"),
        )
    numbers = (root.findtext("GeoTransform") or "").split(",")
    try:
        transform = tuple(map(float, numbers)) if len(numbers) == 6 else None
    except ValueError:
        transform = None
    return RasterItems(bands, _find_items(root, None), _find_items(root, "ENVI"), name, root.findtext("SRS"), transform)


def _find_number(element: Element, tag: str, name: str) -> float | None:
    """Return the number in a child of an element, None if there is no such child."""
    text = element.findtext(tag)
    try:
        return None if text is None else float(text)
    except ValueError:
        raise SettingsError(f"{name} has the {tag} {text!r:.40}, which is not a number: delete or correct it") from None


def _find_items(element: Element, domain: str | None) -> dict[str, str]:
    """Return the items of a domain."""
    return lower(
        {
            item.get("key", ""): item.text or ""
            for metadata in element.findall("Metadata")
            if metadata.get("domain") == domain
            for item in metadata.findall("MDI")
        }
    )
