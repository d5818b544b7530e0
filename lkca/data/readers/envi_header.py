"""Headers of ENVI: their fields, and the facts about a cube that they declare."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from lkca.data.readers.base import SettingsError, UnreadableError
from lkca.data.readers.description import ControlPoints
from lkca.data.readers.wavelengths import is_band_index, to_nanometres
from lkca.data.sidecars import MAX_HEADER_BYTES

FIELD = re.compile(r"^[ \t]*([^={}\n;]+?)[ \t]*=[ \t]*(\{[^}]*\}?|[^\n]*)", re.MULTILINE)
# Fields that make the stored bytes something else than pixels in rows, columns and bands.
UNSUPPORTED = {
    "file_compression": "it is compressed: decompress it and set file compression = 0",
    "major_frame_offsets": "it has bytes between its frames (major frame offsets): save it as ENVI Standard",
    "minor_frame_offsets": "it has bytes between its lines (minor frame offsets): save it as ENVI Standard",
    "read_procedures": "programs that its header names make its values (read procedures): save it as ENVI Standard",
}
# Fact -> what else than a correction makes the file readable.
REMEDIES = {
    "gains": ", or set gain and offset in its entry",
    "invalid": ", or set invalid in its entry",
    "nanometres": ", or set nanometres in its entry",
    "fwhm": ", or set fwhm in its entry",
}
# Fields that GDAL reads: the kind of the file, where the pixels are, and the position of the image.
GDAL_FIELDS = (
    "file_type",
    "samples",
    "lines",
    "bands",
    "header_offset",
    "data_type",
    "interleave",
    "byte_order",
    "map_info",
    "projection_info",
    "coordinate_system_string",
)
# The numbers at the start of the field rpc info, and the lists of 20 numbers after them, as rasterio names them.
RPC_NUMBERS = tuple(f"{axis}_{kind}" for kind in ("off", "scale") for axis in ("line", "samp", "lat", "long", "height"))
RPC_LISTS = tuple(f"{axis}_{part}_coeff" for axis in ("line", "samp") for part in ("num", "den"))
# The coordinate reference system of geo points.
WGS84 = (
    'GEOGCS["WGS 84",DATUM["WGS_1984",SPHEROID["WGS 84",6378137,298.257223563,AUTHORITY["EPSG","7030"]],'
    'AUTHORITY["EPSG","6326"]],PRIMEM["Greenwich",0],UNIT["degree",0.0174532925199433],AUTHORITY["EPSG","4326"]]'
)
LINEAR_FIELDS = ("data_gain_values", "data_offset_values")
REFLECTANCE_FIELDS = ("data_reflectance_gain_values", "data_reflectance_offset_values")
# Other fields with which programs may mean a calibration.
LIKE_GAIN_FIELD = r"(\w+_)?scale_factors?|(data_|radiance_|reflectance_)?(gain|offset|scale)(_values?|s)?"
GAIN_FIELDS = (*LINEAR_FIELDS, *REFLECTANCE_FIELDS, "reflectance_scale_factor")


def read_header(path: Path) -> dict[str, str]:
    """Return the fields of a header, as `parse_header`.

    Raises:
        UnreadableError: If the header is too large, or `parse_header` raises it.
    """
    if path.stat().st_size > MAX_HEADER_BYTES:
        raise UnreadableError(f"its header, {path.name}, is too large")
    return parse_header(path.read_bytes(), path.name)


def parse_header(data: bytes, name: str) -> dict[str, str]:
    """Return the fields of a header: name in lower case, with underscores instead of spaces -> text.

    Args:
        data: The bytes of the header.
        name: What messages call it.

    Raises:
        SettingsError: If it is not a header of ENVI, or has a field twice with different texts.
    """
    text = data.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n")
    if not text.startswith("ENVI"):
        raise SettingsError(
            f"its header, {name[:80]}, does not start with the line ENVI: correct the header, or convert the file to "
            "ENVI or GeoTIFF"
        )
    fields: dict[str, str] = {}
    for key, value in FIELD.findall(text):
        field = re.sub(r"\s+", "_", key.strip().lower())
        if fields.setdefault(field, value.strip()) != value.strip():
            raise SettingsError(f"its header, {name[:80]}, has the field {key[:40]!r} twice: remove the wrong one")
    return fields


def check_header(fields: Mapping[str, str]) -> None:
    """Refuse a header that describes something else than an image whose pixels are stored one after the other.

    Raises:
        SettingsError: If it does; the message names the field.
    """
    for field, problem in UNSUPPORTED.items():
        if fields.get(field, "").strip("{} \n").lower().replace(" ", "") not in ("", "0", "0,0", "none", "none,none"):
            raise SettingsError(problem)
    if "spectral library" in fields.get("file_type", "").lower():
        raise SettingsError("it is a spectral library, a table of spectra: name the file of an image")


def format_gdal_header(fields: Mapping[str, str]) -> bytes:
    """Return a header for GDAL that has the fields as `parse_header` has read them, one in each line.

    GDAL would read some headers differently: a field inside of braces or with a comment, a number such as 1_0.

    Raises:
        ValueError: If the header offset is not a number.
    """
    texts = {name: " ".join(fields[name].splitlines()) for name in GDAL_FIELDS if name in fields}
    if "header_offset" in texts:
        texts["header_offset"] = str(int(texts["header_offset"]))
    return "\n".join(["ENVI", *(f"{name.replace('_', ' ')} = {text}" for name, text in texts.items()), ""]).encode()


def add_envi_facts(facts: dict[str, Any], fields: Mapping[str, str], bands: int, place: str = "its header") -> None:
    """Add the facts of an ENVI header, as fields of `CubeDescription`, to `facts`.

    Args:
        facts: The facts, with `sources` and `unusable`.
        fields: The fields of the header, as `parse_header` returns them.
        bands: Number of bands of the raster.
        place: Where the fields are.
    """
    fields = {
        re.sub(r"\s+", "_", name.strip().lower()): text for name, text in fields.items() if text.strip("{}, \n\t")
    }
    _add_transform(facts, fields, bands, place)
    if "data_ignore_value" in fields:
        add_fact(facts, "invalid", f"data ignore value in {place}", lambda: (_parse_mark(fields["data_ignore_value"]),))
    _add_wavelengths(facts, fields, bands, place)
    if "bbl" in fields:
        add_fact(facts, "bad_bands", f"bbl in {place}", lambda: list_zeros(parse_list(fields["bbl"], bands)))
    titles = fields.get("z_plot_titles", "").strip("{} \n").split(",")
    if len(titles) == 2 and titles[1].strip():
        facts["units"], facts["sources"]["units"] = titles[1].strip(), f"z plot titles in {place}"
    history = [fields.get(name, "").strip("{} \n") for name in ("description", "sensor_type", "acquisition_time")]
    if any(history):
        facts["history"], facts["sources"]["history"] = "; ".join(filter(None, history)), f"description in {place}"


def read_warp(fields: Mapping[str, str]) -> dict[str, Any]:
    """Return the ground control points and the RPCs of a header, as fields of `CubeDescription`.

    ENVI counts the corners of pixels from 1 in its points, which are latitudes and longitudes; its RPCs may be those
    of a larger image, in which the first pixel has the row and the column at the end of the list. Lists of another
    length are left out.
    """
    facts: dict[str, Any] = {}
    with suppress(ValueError):
        numbers = _list_finite(fields.get("geo_points", ""))
        if numbers and len(numbers) % 4 == 0:
            quadruples = zip(*(numbers[i::4] for i in range(4)), strict=True)
            points = tuple((row - 1, column - 1, x, y, 0.0) for column, row, y, x in quadruples)
            facts["gcps"] = ControlPoints(WGS84, points)
    with suppress(ValueError):
        numbers = _list_finite(fields.get("rpc_info", ""))
        if len(numbers) in (90, 93):
            row, column = numbers[90:92] or (0.0, 0.0)
            offsets = dict(zip(RPC_NUMBERS, numbers, strict=False))
            offsets |= {"line_off": offsets["line_off"] - row, "samp_off": offsets["samp_off"] - column}
            lists = {name: tuple(numbers[10 + 20 * i : 30 + 20 * i]) for i, name in enumerate(RPC_LISTS)}
            facts["rpcs"] = {**offsets, **lists}
    return facts


def _list_finite(text: str) -> list[float]:
    """Return the numbers of a list.

    Raises:
        ValueError: If it contains something else than finite numbers.
    """
    numbers = [parse_number(part) for part in re.split(r"[,\s]+", text.strip("{}, \n")) if part]
    if not all(map(math.isfinite, numbers)):
        raise ValueError("it has numbers that are not finite")
    return numbers


def _add_transform(facts: dict[str, Any], fields: Mapping[str, str], bands: int, place: str) -> None:
    """Add the gains and offsets of a header."""
    present = [name for name in GAIN_FIELDS if name in fields]

    def pair(names: tuple[str, str]) -> tuple[list[float], list[float]] | None:
        lists = [
            _spread(fields[name], bands) if name in present else [neutral] * bands
            for name, neutral in zip(names, (1.0, 0.0), strict=True)
        ]
        return None if {*lists[0]} == {1} and {*lists[1]} == {0} else (lists[0], lists[1])

    def parse() -> tuple[float, ...]:
        pairs = [pair(LINEAR_FIELDS), pair(REFLECTANCE_FIELDS)]
        if "reflectance_scale_factor" in present and (factor := _spread(fields["reflectance_scale_factor"], 1)[0]) != 1:
            pairs.append(([1 / factor] * bands, [0.0] * bands))
        declared = [each for each in pairs if each]
        if any(each != declared[0] for each in declared):
            raise UnreadableError("they contradict each other")
        gains, offsets = declared[0] if declared else ([1.0] * bands, [0.0] * bands)
        facts["offsets"] = tuple(offsets)
        return tuple(gains)

    if unclear := [name.replace("_", " ") for name, text in fields.items() if _is_unclear(name, text)]:
        facts["unusable"]["gains"] = (
            f"{' and '.join(unclear)} in {place} looks like a calibration: set gain and offset in its entry, 1 and 0 "
            "if the values are calibrated"
        )
        return
    if present:
        add_fact(facts, "gains", f"{' and '.join(present)} in {place}".replace("_", " "), parse)
    if {*facts.get("gains", ())} == {1} and {*facts["offsets"]} == {0}:
        del facts["gains"], facts["offsets"], facts["sources"]["gains"]


def _is_unclear(name: str, text: str) -> bool:
    """Return whether a field looks like a calibration, but is none that ENVI defines."""
    if name in GAIN_FIELDS or not re.fullmatch(LIKE_GAIN_FIELD, name):
        return False
    try:
        numbers = {parse_number(part) for part in re.split(r"[,\s]+", text.strip("{}, \n"))}
    except ValueError:  # it is free text
        return False
    return numbers != {0 if "offset" in name else 1}


def _add_wavelengths(facts: dict[str, Any], fields: Mapping[str, str], bands: int, place: str) -> None:
    """Add the wavelengths and the FWHM of a header."""
    unit = fields.get("wavelength_units")
    if text := fields.get("wavelength", ""):
        with suppress(ValueError, UnreadableError):
            if is_band_index(parse_list(text, bands), unit):
                return
        add_wavelengths(
            facts,
            lambda: (parse_list(text, bands), _parse_widths(facts, fields.get("fwhm"), bands, place), unit),
            f"wavelength in {place}",
        )


def _parse_widths(facts: dict[str, Any], text: str | None, bands: int, place: str) -> list[float]:
    """Return the FWHM; an empty list if there are none, or none that can be used, which is added to `unusable`."""
    try:
        return parse_list(text, bands) if text else []
    except (ValueError, UnreadableError) as error:
        _add_problem(facts, "fwhm", f"fwhm in {place}", error)
        return []


def add_wavelengths(facts: dict[str, Any], parse: Callable[[], tuple[Any, Any, str | None]], source: str) -> None:
    """Add wavelengths and FWHM.

    Args:
        facts: The facts.
        parse: Function that returns the wavelengths, the FWHM, which may be empty, and the unit that is declared.
        source: Where they are.
    """

    def convert() -> tuple[float | None, ...]:
        nanometres, fwhm, remark = to_nanometres(*parse())
        facts["sources"]["nanometres"] += remark
        if fwhm:
            facts["fwhm"], facts["sources"]["fwhm"] = fwhm, source.replace("wavelength", "fwhm")
        return nanometres

    add_fact(facts, "nanometres", source, convert)


def add_fact(facts: dict[str, Any], name: str, source: str, parse: Callable[[], Any]) -> None:
    """Add a fact and its source; if it cannot be parsed, add what is wrong with it to `unusable`."""
    facts["sources"][name] = source
    try:
        facts[name] = parse()
    except (ArithmeticError, ValueError, UnreadableError) as error:
        del facts["sources"][name]
        _add_problem(facts, name, source, error)


def _add_problem(facts: dict[str, Any], name: str, source: str, error: Exception) -> None:
    facts["unusable"][name] = f"{source} cannot be used ({error}): correct it{REMEDIES.get(name, '')}"


def parse_list(text: str, bands: int) -> list[float]:
    """Return the numbers of a list.

    Raises:
        UnreadableError: If there is not one number for each band.
        ValueError: If it contains something else than numbers.
    """
    parts = [part for part in re.split(r"[,;\s]+", text.strip("{}[]() \n")) if part]
    if len(parts) != bands:
        raise UnreadableError(f"it has {len(parts)} numbers for {bands} bands")
    return [parse_number(part) for part in parts]


def parse_number(text: str) -> float:
    """Return a number, also one in IDL's notation of double precision, 1d-4.

    Raises:
        ValueError: If it is not a number.
    """
    try:
        return float(re.sub(r"(?<=[\d.])[dD](?=[+-]?\d)", "e", text.strip()))
    except ValueError:
        raise ValueError(f"{text.strip()[:40]!r} is not a number") from None


def _spread(text: str, bands: int) -> list[float]:
    """Return the numbers of a list, or one number for all bands; refuse what is not finite."""
    parts = text.strip("{} \n").strip(",")
    values = [parse_number(parts)] * bands if not re.search(r"[,\s]", parts) else parse_list(text, bands)
    if not all(map(math.isfinite, values)):
        raise UnreadableError("it has numbers that are not finite")
    return values


def _parse_mark(text: str) -> str:
    """Return the text of a value that marks invalid pixels."""
    mark = text.strip("{}, \n")
    number = parse_number(mark)
    try:
        float(mark)
    except ValueError:
        return str(number)
    return mark


def list_zeros(flags: Sequence[float]) -> tuple[int, ...]:
    """Return the positions, from 1, of the zeros."""
    return tuple(i for i, flag in enumerate(flags, 1) if flag == 0)
