"""What rasters say of themselves: calibration, invalid values, wavelengths, bad bands, position and history."""

from collections.abc import Mapping, Sequence
from typing import Any

from lkca.data.readers.base import UnreadableError
from lkca.data.readers.wavelengths import to_nanometres


def read_facts(raster: Any, driver: str, tags: Mapping[str, str], transposed: bool) -> dict[str, Any]:
    """Return the facts that a raster declares, as fields of `CubeDescription`.

    Args:
        raster: The open raster, a rasterio dataset.
        driver: GDAL's name of the format.
        tags: The fields of its ENVI header, with underscores instead of spaces; empty for another format.
        transposed: Whether the lines of the raster are columns of the cube.
    """
    facts: dict[str, Any] = {"sources": {}, "unusable": {}}
    x, width, row_turn, y, column_turn, height = raster.transform.to_gdal()
    if raster.crs:
        facts["crs"] = raster.crs.to_wkt()
    if not raster.transform.is_identity:
        straight, turned = (width, row_turn), (column_turn, height)
        facts["geotransform"] = (
            (x, *reversed(straight), y, *reversed(turned)) if transposed else (x, *straight, y, *turned)
        )
    if driver == "ENVI":
        add_envi_facts(facts, tags, raster.count)
    else:
        _read_gdal(facts, raster)
    return facts


def add_envi_facts(facts: dict[str, Any], tags: Mapping[str, str], bands: int) -> None:
    """Add the facts of an ENVI header, as fields of `CubeDescription`, to `facts`.

    Args:
        facts: The facts, with `sources` and `unusable`.
        tags: The fields of the header, with underscores instead of spaces.
        bands: Number of bands of the raster.
    """
    _add_transform(facts, tags, bands)
    if "data_ignore_value" in tags:
        _add(facts, "invalid", "data ignore value", lambda: (str(float(tags["data_ignore_value"])),))
    if "wavelength" in tags:
        _add_wavelengths(
            facts,
            lambda: (
                _parse_list(tags["wavelength"], bands),
                _parse_list(tags["fwhm"], bands) if "fwhm" in tags else [],
            ),
            tags.get("wavelength_units"),
            "wavelength",
        )
    if "bbl" in tags:
        _add(facts, "bad_bands", "bbl", lambda: _list_zeros(_parse_list(tags["bbl"], bands)))
    if description := tags.get("description", "").strip("{} \n"):
        facts["history"] = description


def _read_gdal(facts: dict[str, Any], raster: Any) -> None:
    """Add the facts of a raster that GDAL describes band by band."""
    if {*raster.scales} != {1} or {*raster.offsets} != {0}:
        facts |= {"gains": tuple(raster.scales), "offsets": tuple(raster.offsets)}
        facts["sources"]["gains"] = "scale and offset of its bands"
    if values := tuple(dict.fromkeys(value for value in raster.nodatavals if value is not None)):
        facts["invalid"] = values
        facts["sources"]["invalid"] = "nodata of its bands"


def _add_transform(facts: dict[str, Any], tags: Mapping[str, str], bands: int) -> None:
    """Add the gains and offsets of an ENVI header."""

    def parse() -> tuple[float, ...]:
        gains = _parse_list(tags["data_gain_values"], bands) if "data_gain_values" in tags else [1.0] * bands
        offsets = _parse_list(tags["data_offset_values"], bands) if "data_offset_values" in tags else [0.0] * bands
        if "reflectance_scale_factor" in tags:
            if {*gains} != {1} or {*offsets} != {0}:
                raise UnreadableError("its header has data gain values and a reflectance scale factor")
            gains = [1 / float(tags["reflectance_scale_factor"])] * bands
        facts["offsets"] = tuple(offsets)
        return tuple(gains)

    present = [name for name in ("data_gain_values", "data_offset_values", "reflectance_scale_factor") if name in tags]
    if present:
        _add(facts, "gains", " and ".join(present).replace("_", " "), parse)
    if {*facts.get("gains", ())} == {1} and {*facts["offsets"]} == {0}:
        del facts["gains"], facts["offsets"], facts["sources"]["gains"]


def _add_wavelengths(facts: dict[str, Any], parse: Any, unit: str | None, source: str) -> None:
    """Add wavelengths and FWHM."""

    def convert() -> tuple[float | None, ...]:
        wavelengths, widths = parse()
        nanometres, facts["fwhm"], remark = to_nanometres(wavelengths, widths, unit)
        facts["sources"]["nanometres"] += remark
        return nanometres

    _add(facts, "nanometres", source, convert)


def _add(facts: dict[str, Any], name: str, source: str, parse: Any) -> None:
    """Add a fact and its source; if it cannot be parsed, add what is wrong with it to `unusable`."""
    facts["sources"][name] = f"{source} in its header"
    try:
        facts[name] = parse()
    except (ValueError, ZeroDivisionError, UnreadableError) as error:
        del facts["sources"][name]
        facts["unusable"][name] = f"{source} in its header cannot be used ({error})"


def _parse_list(text: str, bands: int) -> list[float]:
    """Return the numbers of a list in an ENVI header.

    Raises:
        UnreadableError: If there is not one number for each band.
    """
    values = [float(value) for value in text.strip("{} \n").split(",") if value.strip()]
    if len(values) != bands:
        raise UnreadableError(f"it has {len(values)} numbers for {bands} bands")
    return values


def _list_zeros(flags: Sequence[float]) -> tuple[int, ...]:
    """Return the positions, from 1, of the zeros."""
    return tuple(i for i, flag in enumerate(flags, 1) if flag == 0)
