"""What rasters say of themselves: calibration, invalid values, wavelengths, bad bands, position and history.

A fact can be in several places. For wavelengths, the first of these places counts: an ENVI header or the domain
ENVI, items of the bands, the domain IMAGERY (which GDAL rounds to 1 nm), the names of the bands. Gains that contradict
each other cannot be used; all values that are declared as invalid are. Gains that are only metadata of a TIFF, which
programs copy to files of floating-point numbers to which they have applied them, count for integers only.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from lkca.data.readers.attributes import CALIBRATION, MARKS, OFFSETS, plain_name
from lkca.data.readers.base import UnreadableError
from lkca.data.readers.envi_header import (
    GAIN_FIELDS,
    add_envi_facts,
    add_fact,
    add_wavelengths,
    list_zeros,
    parse_number,
)
from lkca.data.readers.raster_items import BandItems, Items, RasterItems
from lkca.data.readers.wavelengths import UNITS, find_unit, is_band_index

# Names of an item of a band, in lower case -> the unit that the name contains.
WAVELENGTH_ITEMS = {
    f"{name}{suffix}": unit
    for name in ("wavelength", "wavelengths", "center_wavelength", "centre_wavelength", "central_wavelength", "wvl")
    for suffix, unit in (("", None), ("_nm", "nm"), ("_um", "um"), ("(nm)", "nm"), ("(um)", "um"))
}
FWHM_ITEMS = {
    f"{name}{suffix}": unit
    for name in ("fwhm", "bandwidth")
    for suffix, unit in (("", None), ("_nm", "nm"), ("_um", "um"), ("(nm)", "nm"), ("(um)", "um"))
}
UNIT_ITEMS = ("wavelength_units", "wavelength_unit", "units_of_wavelength")
FWHM_UNIT_ITEMS = ("fwhm_units", "fwhm_unit", "bandwidth_unit", "bandwidth_units")
BBL_ITEMS = ("bbl", "bad_band_multiplier")
# Items of a whole raster that are lists as in an ENVI header.
LIST_ITEMS = ("wavelength", "fwhm", "bbl", "data_gain_values", "data_offset_values")
HISTORY_ITEMS = (
    "tifftag_imagedescription",
    "description",
    "history",
    "tifftag_software",
    "tifftag_datetime",
    "tifftag_artist",
    "tifftag_copyright",
)
NUMBER_WITH_UNIT = re.compile(r"([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*([^\W\d_]+)?")
# The name of a band that ends with its wavelength: "450 nm", "Band 1 (0.45 um)", "Band 1 (0.4500)", "B1_450.0nm".
# "B02_10m" does not: it says the size of a pixel.
NAMED_WAVELENGTH = re.compile(
    r"(?:.*[\s(\[=]|.*[^\d.](?=[\d.]+\s*(?:nm|nano|um|\u00b5m|\u03bcm|micro)))?"
    r"(\d+(?:\.\d+)?|\.\d+)\s*([^\W\d_]+)?[)\]]?\s*",
    re.IGNORECASE,
)


def read_facts(
    items: Sequence[RasterItems],
    fields: Mapping[str, str] | None,
    place: str,
    dtype: np.dtype[Any],
    alpha: Sequence[int] = (),
) -> dict[str, Any]:
    """Return the facts that a raster declares, as fields of `CubeDescription`, without its position.

    Args:
        items: What GDAL and the files of metadata next to it say; the first that declares a fact counts.
        fields: The fields of its ENVI header, None if it has none.
        place: Where the header is, for messages.
        dtype: Type of the values.
        alpha: Numbers of the bands, from 1, that are a mask.
    """
    facts: dict[str, Any] = {"sources": {}, "unusable": {}}
    bands = len(items[0].bands)
    if fields is not None:
        add_envi_facts(facts, fields, bands, place)
    for each in items:
        # A raw file's .aux.xml often is a copy, perhaps of an earlier state, of its header: the header counts.
        added = {"sources": {}, "unusable": {}} if each.is_copy else facts
        _add_scales(added, each)
        _add_gain_items(added, each, is_integer=dtype.kind in "biu")
        for add in (_add_lists, _add_invalid, _add_band_wavelengths, _add_bad_bands, _add_texts):
            add(added, each)
        if each.is_copy:
            _add_missing(facts, added)
    names = next((names for each in items if any(names := [band.name or "" for band in each.bands])), [])
    if names:
        facts["band_names"] = tuple(names)
    if alpha:
        facts["bad_bands"] = tuple(sorted({*facts.get("bad_bands", ()), *alpha}))
        facts["sources"]["bad_bands"] = "; ".join(filter(None, (facts["sources"].get("bad_bands"), "its alpha band")))
    return facts


def _add_missing(facts: dict[str, Any], more: Mapping[str, Any]) -> None:
    """Add the facts that are not known yet, neither in a usable nor in an unusable form."""
    known = {*facts, *facts["unusable"]}
    for fact in {*more, *more["unusable"]} - known:
        if fact in more:
            facts[fact] = more[fact]
        for notes in ("sources", "unusable"):
            if fact in more[notes]:
                facts[notes][fact] = more[notes][fact]


def _find_fields(items: RasterItems) -> dict[str, str]:
    """Return the items of the whole raster that are fields of an ENVI header; free text is left out."""
    fields = dict(items.envi)
    for name, text in items.items.items():
        field = "wavelength" if name == "wavelengths" else name
        parts = [part for part in re.split(r"[,;\s]+", text.strip("{}[]() \n")) if part]
        is_list = field in LIST_ITEMS and len(parts) > 1 and all(map(_is_number, parts))
        if is_list or field in ("wavelength_units", "reflectance_scale_factor"):
            fields.setdefault(field, text)
    return fields


def _is_number(text: str) -> bool:
    try:
        parse_number(text)
    except ValueError:
        return False
    return True


def _add_lists(facts: dict[str, Any], items: RasterItems) -> None:
    """Add the facts, besides gains, of lists for the whole raster, as in an ENVI header."""
    fields = {name: text for name, text in _find_fields(items).items() if name not in GAIN_FIELDS}
    found: dict[str, Any] = {"sources": {}, "unusable": {}}
    add_envi_facts(found, fields, len(items.bands), f"the metadata of {items.place}")
    for fact in ("nanometres", "fwhm", "bad_bands", "invalid", "units", "history"):
        if fact in found and fact not in facts:
            facts[fact], facts["sources"][fact] = found[fact], found["sources"][fact]
    for fact, problem in found["unusable"].items():
        if fact not in facts:
            facts["unusable"].setdefault(fact, problem)


def merge_gains(facts: dict[str, Any], source: str, gains: Sequence[float], offsets: Sequence[float]) -> None:
    """Add gains and offsets, unless they are those that are known already."""
    if {*gains} == {1} and {*offsets} == {0}:
        return
    if "gains" not in facts:
        facts["gains"], facts["offsets"], facts["sources"]["gains"] = tuple(gains), tuple(offsets), source
    elif not _are_known(facts, gains, offsets):
        facts["unusable"]["gains"] = (
            f"{facts['sources']['gains']} and {source} contradict each other: set gain and offset in its entry"
        )


def _are_known(facts: Mapping[str, Any], gains: Sequence[float], offsets: Sequence[float]) -> bool:
    """Return whether the gains and the offsets are those that are known already."""
    if "gains" not in facts:
        return False
    pairs = zip((*facts["gains"], *facts["offsets"]), (*gains, *offsets), strict=True)
    return all(math.isclose(known, other, rel_tol=1e-6, abs_tol=1e-12) for known, other in pairs)


def _add_scales(facts: dict[str, Any], items: RasterItems) -> None:
    """Add the scale and the offset of each band."""
    scales = [1.0 if band.scale is None else band.scale for band in items.bands]
    offsets = [0.0 if band.offset is None else band.offset for band in items.bands]
    source = f"scale and offset of the bands in {items.place}"
    if all(map(math.isfinite, (*scales, *offsets))):
        merge_gains(facts, source, scales, offsets)
    else:
        facts["unusable"]["gains"] = f"{source} are not finite: set gain and offset in its entry"


def _add_gain_items(facts: dict[str, Any], items: RasterItems, is_integer: bool) -> None:
    """Add the gains and offsets in items of the bands or of the whole raster."""
    found: dict[str, Any] = {"sources": {}, "unusable": {}}
    fields = {name: text for name, text in _find_fields(items).items() if name in GAIN_FIELDS}
    add_envi_facts(found, fields, len(items.bands), f"the metadata of {items.place}")
    if problem := found["unusable"].get("gains"):
        facts["unusable"].setdefault("gains", problem)
    declared = [(found["sources"]["gains"], found["gains"], found["offsets"])] if "gains" in found else []
    texts = [
        [band.items.get(name) or items.items.get(name) or neutral for band in items.bands]
        for name, neutral in (("scale_factor", "1"), ("add_offset", "0"))
    ]
    with suppress(ValueError):  # they are free text
        gains, offsets = (list(map(parse_number, numbers)) for numbers in texts)
        if all(map(math.isfinite, (*gains, *offsets))):
            declared.append((f"scale_factor and add_offset in {items.place}", gains, offsets))
    for source, gains, offsets in declared:
        if is_integer or _are_known(facts, gains, offsets):
            merge_gains(facts, source, gains, offsets)
        elif {*gains} != {1} or {*offsets} != {0}:
            facts["unusable"].setdefault(
                "gains",
                f"{source} may have been applied to its floating-point values already: set gain and offset in its "
                "entry, 1 and 0 if so",
            )
    unclear = dict.fromkeys(
        name for band in items.bands for name, text in band.items.items() if _is_unclear(name, text)
    )
    if is_integer and unclear:
        facts["unusable"].setdefault(
            "gains",
            f"the item {' and '.join(unclear)} of the bands in {items.place} looks like a calibration: set gain and "
            "offset in its entry, 1 and 0 if it is none",
        )


def _is_unclear(name: str, text: str) -> bool:
    """Return whether an item looks like a calibration, but is none that GDAL or the conventions of NetCDF define."""
    plain = plain_name(name)
    return (
        plain in CALIBRATION
        and name not in ("scale_factor", "add_offset")
        and _is_number(text)
        and parse_number(text) != (0 if plain in OFFSETS else 1)
    )


def _add_invalid(facts: dict[str, Any], items: RasterItems) -> None:
    """Add the values that mark invalid pixels."""
    texts = [_find_mark(band.items) for band in items.bands]
    general = _find_mark(items.items)
    for name, marks in (
        ("nodata of the bands", [_unify_nan(band.nodata) for band in items.bands]),
        ("the item of the bands for no data", [text and text.strip("{} ") for text in texts]),
        ("its item for no data", [general] * len(items.bands)),
    ):
        if not any(mark is not None for mark in marks):
            continue
        if len({*marks}) > 1:
            shown = ", ".join("none" if mark is None else str(mark) for mark in [*dict.fromkeys(marks)][:4])
            facts["unusable"]["invalid"] = f"{name} in {items.place} differ ({shown}): set invalid in its entry"
            continue
        with suppress(ValueError):  # an item can be a text such as "none"
            number = parse_number(str(marks[0]))
            if not any(number == float(known) for known in facts.get("invalid", ())):
                mark = str(int(number)) if number.is_integer() and abs(number) < 2**53 else str(marks[0])
                facts["invalid"] = (*facts.get("invalid", ()), mark)
                source = f"{name} in {items.place}"
                facts["sources"]["invalid"] = "; ".join(filter(None, (facts["sources"].get("invalid"), source)))


def _find_mark(items: Items) -> str | None:
    """Return the first item that marks invalid pixels."""
    return next((text for name, text in items.items() if text and plain_name(name) in MARKS), None)


def _unify_nan(mark: float | str | None) -> float | str | None:
    """Return NaN as a text, because equal marks must compare as equal."""
    return "nan" if isinstance(mark, float) and math.isnan(mark) else mark


def _add_band_wavelengths(facts: dict[str, Any], items: RasterItems) -> None:
    """Add the wavelengths and the FWHM that are declared band by band."""
    general = _find(items.items, UNIT_ITEMS)
    places: list[tuple[str, Callable[[BandItems], tuple[str | None, str | None, str | None]]]] = [
        ("item wavelength of the bands", lambda band: _find_wavelength(band.items, general)),
        (
            "domain IMAGERY of the bands",
            lambda band: (band.imagery.get("central_wavelength_um"), band.imagery.get("fwhm_um"), "um"),
        ),
        ("names of the bands", lambda band: _parse_name(band.name)),
    ]
    for name, find in places:
        if "nanometres" in facts or "nanometres" in facts["unusable"]:
            return
        found = [find(band) for band in items.bands]
        if name.startswith("names") and (len(found) < 2 or None in {centre for centre, _, _ in found}):
            continue
        if any(centre is not None for centre, _, _ in found):
            _add_found(facts, found, f"{name} in {items.place}")


def _add_found(facts: dict[str, Any], found: Sequence[tuple[str | None, str | None, str | None]], source: str) -> None:
    """Add wavelengths and FWHM.

    Args:
        facts: The facts.
        found: Text of the wavelength, of the FWHM, and the unit of each band.
        source: Where they are.
    """
    units = {unit and unit.lower() for centre, _, unit in found if centre is not None}
    named = units - {None}

    def parse() -> tuple[list[float], list[float], str | None]:
        if len({find_unit(unit) or unit for unit in named}) > 1:
            raise UnreadableError(f"its bands have different units: {', '.join(sorted(map(str, named)))}")
        centres, widths = ([parse_number(pair[i] or "nan") for pair in found] for i in (0, 1))
        return centres, widths if any(map(math.isfinite, widths)) else [], next(iter(named), None)

    with suppress(ValueError, UnreadableError):
        centres, _, unit = parse()
        if is_band_index(centres, unit):
            return
    add_wavelengths(facts, parse, source)


def _find_wavelength(items: Items, general: str | None) -> tuple[str | None, str | None, str | None]:
    """Return the text of the wavelength and of the FWHM of a band, and their unit.

    Args:
        items: The items of the band.
        general: The unit that is declared for all bands.
    """
    centre, unit = _split_number(items, WAVELENGTH_ITEMS, _find(items, UNIT_ITEMS) or general)
    if centre is None:
        return None, None, None
    width, width_unit = _split_number(items, FWHM_ITEMS, _find(items, FWHM_UNIT_ITEMS) or unit)
    names = find_unit(unit), find_unit(width_unit)
    if width and names[0] != names[1] and {*names} <= UNITS.keys():
        with suppress(ValueError):
            width = repr(parse_number(width) * UNITS[names[1] or ""][0] / UNITS[names[0] or ""][0])
    return centre, width, unit


def _split_number(items: Items, names: Mapping[str, str | None], unit: str | None) -> tuple[str | None, str | None]:
    """Return the text and the unit of the number in the first of some items that is there.

    Args:
        items: The items.
        names: Names of items -> the unit that the name contains.
        unit: The unit of a number that has none, neither itself nor in the name of its item.
    """
    name = next((name for name in names if items.get(name)), None)
    if name is None:
        return None, unit
    match = NUMBER_WITH_UNIT.fullmatch(items[name])
    number, own = (match[1], match[2]) if match else (items[name], None)
    return number, own or names[name] or unit


def _parse_name(name: str | None) -> tuple[str | None, str | None, str | None]:
    """Return the wavelength with which the name of a band ends, and its unit."""
    match = NAMED_WAVELENGTH.fullmatch(name or "")
    if not match or not (find_unit(match[2]) if match[2] else "." in match[1]):
        return None, None, None
    return match[1], None, match[2]


def _add_bad_bands(facts: dict[str, Any], items: RasterItems) -> None:
    """Add the bands whose item says that they are bad."""
    flags = [_find(band.items, BBL_ITEMS) for band in items.bands]
    if any(flags) and "bad_bands" not in facts:
        add_fact(
            facts,
            "bad_bands",
            f"item bbl of the bands in {items.place}",
            lambda: list_zeros([1.0 if flag is None else _parse_flag(flag) for flag in flags]),
        )


def _parse_flag(text: str) -> float:
    words = {"true": 1.0, "false": 0.0}
    return words[text.lower()] if text.lower() in words else parse_number(text)


def _add_texts(facts: dict[str, Any], items: RasterItems) -> None:
    """Add units and history."""
    units = [band.unit for band in items.bands if band.unit] or [
        text for band in items.bands if (text := band.items.get("units"))
    ]
    if units and "units" not in facts:
        facts["units"] = ", ".join(dict.fromkeys(units))[:200]
        facts["sources"]["units"] = f"units of the bands in {items.place}"
    history = [items.items[name] for name in HISTORY_ITEMS if items.items.get(name)]
    if history and "history" not in facts:
        facts["history"], facts["sources"]["history"] = "; ".join(history), f"metadata of {items.place}"


def _find(items: Items, names: Sequence[str]) -> str | None:
    """Return the first of these items that is there."""
    return next((items[name] for name in names if items.get(name)), None)
