"""Calibration, invalid values and texts that arrays declare by attributes: the CF conventions, and other spellings.

Names are compared without case, spaces and underscores. An attribute that looks like a calibration or a mark of invalid
pixels, but is not one of the known ones, is an error, because wrong values could result from ignoring it.
"""

import math
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

import numpy as np

from lkca.data.readers.base import UnreadableError
from lkca.data.readers.container import ArrayInfo, Container

GAINS = ["scalefactor", "scalefactors", "scale", "scales", "gain", "gains", "slope", "slopes", "multiplier"]
DIVISORS = ["reflectancescalefactor", "quantificationvalue"]  # of ENVI and of Sentinel-2
OFFSETS = ["addoffset", "addoffsets", "offset", "offsets", "intercept", "intercepts", "bias"]
CALIBRATION = [*GAINS, *DIVISORS, *OFFSETS]
LIKE_CALIBRATION = r"scale|scaling|gain|offset|slope|intercept|calib|multipl|divisor|divideby|quanti[fz]"
NOT_CALIBRATION = r"err$|^calibratednt$|time|utc|date|dimension|geo|again"
LIKE_CALIBRATION_OF_FILE = r"scale\w*(min|max)$|scalefactor"
MARKS = [
    *("fillvalue", "fill", "missingvalue", "missingvalues", "missing", "missingdata", "nodata", "nodatavalue"),
    *("nodatavalues", "dataignorevalue", "ignorevalue", "nullvalue", "invalidvalue", "badvalue", "gdalnodata"),
]
LIKE_MARK = r"fill|missing|nodata|ignore|invalid|nullval|badval"
NOT_MARK = r"percent|count|num|fraction|pixels|time|filled|fillin"
MIN_DIVISOR = 100  # a factor from here on, unless CF defines it, is perhaps one by which values have to be divided
LIMITS = {"validrange": 2, "validmin": 1, "validmax": 1}  # name -> how many numbers
NOTHING = {"", "-", "none", "null", "n/a", "na", "unknown", "undefined", "not applicable"}  # texts that declare nothing
TEXTS = "title", "long_name", "description", "history", "source"

Calibration = tuple[tuple[float, ...], tuple[float, ...]] | None


def plain_name(name: str) -> str:
    """Return a name in the form in which names are compared: lower-case letters and digits."""
    return re.sub(r"[^a-z0-9]", "", name.rpartition("/")[2].lower())


def parse_numbers(value: Any) -> np.ndarray | None:
    """Return the numbers of an attribute, which may be a text, as an array of one axis; None if it has none."""
    if (text := parse_text(value)) is not None:
        parts = [part for part in re.split(r"[\s,;{}\[\]()]+", text) if part]
        kind = int if all(re.fullmatch(r"[+-]?\d+", part) for part in parts) else float
        try:
            return np.array([kind(part) for part in parts]) if parts else None
        except (ValueError, OverflowError):
            return None
    array = np.ravel(value)
    return array if array.dtype.kind in "iuf" and array.size else None


def parse_text(value: Any) -> str | None:
    """Return the text of an attribute, or its texts separated by commas; None if it is not a text."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace").strip("\0 ")
    if isinstance(value, str):
        return value.strip("\0 ")
    if isinstance(value, np.ndarray) and value.size and value.dtype.kind in "SUO":
        texts = [parse_text(part) for part in value.ravel().tolist()]
        return ", ".join(text for text in texts if text) if None not in texts else None
    return None


def to_floats(numbers: Any) -> list[float]:
    """Return numbers as Python's, the shortest ones that the type of the file rounds to them: 406.99, not 406.98999."""
    return [float(str(number)) for number in np.ravel(numbers)]


def find_text(attributes: Mapping[str, Any], *names: str) -> str | None:
    """Return the text of the first attribute that has one of the names, in any spelling."""
    texts = {plain_name(key): text for key, value in attributes.items() if (text := parse_text(value))}
    return next((texts[plain] for name in names if (plain := plain_name(name)) in texts), None)


def find_unsigned_type(array: ArrayInfo) -> np.dtype[Any] | None:
    """Return the unsigned type that the attribute `_Unsigned` declares, None if it declares none."""
    if array.dtype.kind == "i" and (find_text(array.attributes(), "_Unsigned") or "").lower() == "true":
        return np.dtype(array.dtype.str.replace("i", "u"))
    return None


def read_calibration(container: Container, array: ArrayInfo, bands: int) -> tuple[dict[str, Any], str] | None:
    """Return gains and offsets of an array, and where they are declared; None if there are none.

    Raises:
        UnreadableError: If they cannot be used, or there are numbers that may be a calibration.
    """
    numbers = _list_numbers(array.attributes())
    for name, values in numbers.items():
        plain = plain_name(name)
        if plain in CALIBRATION or re.search(NOT_CALIBRATION, plain) or {*values.tolist()} <= {0, 1}:
            continue
        if re.search(LIKE_CALIBRATION, plain):
            raise UnreadableError(
                f"its attribute {name}, {_show(values)}, looks like a calibration of unknown meaning: set gain and "
                "offset in its entry, or gain: 1 and offset: 0 if the values are calibrated"
            )
    found = {name: values for name, values in numbers.items() if plain_name(name) in CALIBRATION}
    _refuse_words(array, CALIBRATION, "set gain and offset in its entry")
    if not found:
        _refuse_calibration_elsewhere(container, array, bands)
        return None
    gains, offsets = [1.0] * bands, [0.0] * bands
    for kinds in (GAINS + DIVISORS, OFFSETS):
        names = [name for name in found if plain_name(name) in kinds]
        if len(names) > 1 and any(not np.array_equal(found[names[0]], found[name]) for name in names):
            raise UnreadableError(f"its attributes {' and '.join(names)} differ: set gain and offset in its entry")
        if names:
            per_band = _one_per_band(names[0], found[names[0]], bands)
            if kinds is OFFSETS:
                offsets = per_band
            else:
                gains = _check_gains(names[0], per_band)
    if {*gains} == {1} and {*offsets} == {0}:
        return None
    names = sorted(found, key=lambda name: plain_name(name) in OFFSETS)
    return {"gains": tuple(gains), "offsets": tuple(offsets)}, " and ".join(names)


def _list_numbers(attributes: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return the attributes that are numbers."""
    return {name: numbers for name, value in attributes.items() if (numbers := parse_numbers(value)) is not None}


def _refuse_words(array: ArrayInfo, names: Iterable[str], remedy: str) -> None:
    """Refuse attributes that should be numbers, but are not; texts such as `none` declare nothing."""
    for name, value in array.attributes().items():
        text = parse_text(value)
        if plain_name(name) in names and parse_numbers(value) is None and (text is None or text.lower() not in NOTHING):
            shown = "" if text is None else f", {text[:40]!r},"
            raise UnreadableError(f"its attribute {name}{shown} is not a number: {remedy}")


def _refuse_calibration_elsewhere(container: Container, array: ArrayInfo, bands: int) -> None:
    """Refuse a calibration that is next to the array or in a group: it may belong to other arrays."""
    places: list[tuple[str, str, np.ndarray]] = [
        (f"attribute {'/' * bool(group)}{group}/{name}", plain_name(name), values)
        for group in array.groups()
        for name, values in _list_numbers(container.group_attributes(group)).items()
    ]
    own = array.groups()[0]
    below = [other for other in container.arrays.values() if own in other.groups()[1:]]
    for other in (*container.beside(array), *below):
        name, count = plain_name(other.name), math.prod(other.shape)
        if name in CALIBRATION and count in (1, bands) and other.dtype.kind in "iuf":
            with suppress(UnreadableError):
                places.append((f"array {container.show(other.name)}", name, other.load()))
    for place, name, values in places:
        if not (name in CALIBRATION or re.search(LIKE_CALIBRATION_OF_FILE, name)):
            continue
        if values.size in (1, bands) and {*np.ravel(values).tolist()} != {0 if name in OFFSETS else 1}:
            raise UnreadableError(
                f"its {place}, {_show(values)}, looks like a calibration of {container.show(array.name)}: set gain and "
                "offset in its entry, or gain: 1 and offset: 0 if the values are calibrated"
            )


def _one_per_band(name: str, values: np.ndarray, bands: int) -> list[float]:
    if values.size not in (1, bands) or not np.isfinite(values).all():
        raise UnreadableError(
            f"its attribute {name}, {_show(values)}, is not one finite number or one for each of {bands} bands"
        )
    return to_floats(values) * (bands // values.size)


def _check_gains(name: str, values: list[float]) -> list[float]:
    """Return the gains that an attribute declares."""
    if 0 in values:
        raise UnreadableError(f"its attribute {name} is 0: set gain and offset in its entry")
    if plain_name(name) in DIVISORS:
        return [1 / value for value in values]
    largest = max(map(abs, values))
    if name != "scale_factor" and largest >= MIN_DIVISOR:
        raise UnreadableError(
            f"its attribute {name} is {largest:g}, which may be a factor or a divisor: set gain: {1 / largest:g} or "
            f"gain: {largest:g}, and offset, in its entry"
        )
    return values


def _show(values: np.ndarray) -> str:
    """Return numbers for a message."""
    return ", ".join(f"{value:g}" for value in to_floats(values)[:3]) + (", ..." if values.size > 3 else "")


def read_invalid(
    container: Container, array: ArrayInfo, dtype: np.dtype[Any], calibration: Calibration
) -> tuple[dict[str, Any], str] | None:
    """Return the stored values that mark invalid pixels and the valid range, and where they are declared.

    Args:
        container: The file.
        array: The array.
        dtype: The type of its values, after `_Unsigned`.
        calibration: The gains and the offsets of its bands, None if there are none.

    Raises:
        UnreadableError: If they cannot be used, or there are numbers that may be such marks.
    """
    numbers = _list_numbers(array.attributes())
    _refuse_words(array, [*MARKS, *LIMITS], "set invalid in its entry")
    for name, values in numbers.items():
        plain = plain_name(name)
        if plain not in MARKS and re.search(LIKE_MARK, plain) and not re.search(NOT_MARK, plain):
            raise UnreadableError(
                f"its attribute {name}, {_show(values)}, looks like a mark of invalid pixels, but is unknown: set "
                f"invalid: [{_show(values)}] in its entry, or invalid: []"
            )
    groups = [_list_numbers(container.group_attributes(group)) for group in array.groups()]
    for attributes in (numbers, *groups):
        found = {name: values for name, values in attributes.items() if plain_name(name) in MARKS}
        if found:
            break
    marks = [mark for name, values in found.items() for mark in _convert_marks(name, values, array.dtype, dtype)]
    sources = [*found]
    if array.fill is not None and dtype == array.dtype and "fillvalue" not in map(plain_name, found):
        marks.append(array.fill)
        sources.append(f"the fill value of {container.format}")
    limits = _read_limits(numbers, array.dtype, dtype, calibration)
    sources += [name for name in numbers if limits and plain_name(name) in LIMITS]
    if not sources:
        return None
    return {"invalid": tuple(dict.fromkeys(marks)), "valid_range": limits}, ", ".join(sources)


def _convert_marks(name: str, values: np.ndarray, stored: np.dtype[Any], dtype: np.dtype[Any]) -> Iterable[float]:
    """Yield the values of an attribute as numbers that the type of the pixels can hold; NaN is invalid anyway."""
    if values.dtype.kind in "iu":
        for value in values.tolist():
            yield value % 2 ** (8 * dtype.itemsize) if stored != dtype else value
        return
    for value in to_floats(values):
        if math.isnan(value):
            continue
        if dtype.kind in "iu" and math.isfinite(value) and value % 1:
            raise UnreadableError(
                f"its attribute {name} is {value:g}, which no {dtype.name} is: set invalid in its entry"
            )
        yield int(value) if dtype.kind in "iu" and math.isfinite(value) else value


def _read_limits(
    numbers: Mapping[str, np.ndarray], stored: np.dtype[Any], dtype: np.dtype[Any], calibration: Calibration
) -> tuple[float, float] | None:
    """Return the smallest and the largest valid stored value, None if all values are valid."""
    named = {plain_name(name): values for name, values in numbers.items()}
    for name, count in LIMITS.items():
        if name in named and (named[name].size != count or np.isnan(named[name]).any()):
            raise UnreadableError(f"its {name} is {_show(named[name])}: set invalid in its entry")
    low, high = named.get("validrange", (None, None))
    if "validrange" not in named:
        low, high = (named[name][0] if name in named else None for name in ("validmin", "validmax"))
    if low is None and high is None:
        return None
    ends = [None if end is None else _to_stored(end, stored, dtype, calibration) for end in (low, high)]
    physical = any(end is not None and _is_physical(end, dtype, calibration) for end in (low, high))
    if physical and calibration and calibration[0][0] < 0:
        ends.reverse()
    return -math.inf if ends[0] is None else ends[0], math.inf if ends[1] is None else ends[1]


def _is_physical(limit: Any, dtype: np.dtype[Any], calibration: Calibration) -> bool:
    """Return whether a limit is one of the physical values: the conventions of NetCDF tell it from its type."""
    return bool(calibration and limit.dtype.kind == "f" and dtype.kind in "iu" and np.isfinite(limit))


def _to_stored(limit: Any, stored: np.dtype[Any], dtype: np.dtype[Any], calibration: Calibration) -> float:
    """Return the stored value that a limit stands for."""
    if stored != dtype and limit.dtype.kind == "i":
        return float(int(limit) % 2 ** (8 * dtype.itemsize))
    if not calibration or not _is_physical(limit, dtype, calibration):
        return float(str(limit))
    gains, offsets = calibration
    if len({*gains}) > 1 or len({*offsets}) > 1:
        raise UnreadableError(
            "it has a valid range of physical values and gains of each band: set invalid in its entry"
        )
    value = (float(str(limit)) - offsets[0]) / gains[0]
    return float(round(value)) if math.isclose(value, round(value), rel_tol=1e-9, abs_tol=1e-6) else value


def read_texts(container: Container, array: ArrayInfo) -> dict[str, str]:
    """Return the units of an array, and what the file says about its origin."""
    attributes = array.attributes()
    facts = {}
    if units := find_text(attributes, "units", "unit"):
        facts["units"] = units
    texts = [find_text(attributes, name) or find_text(container.group_attributes(""), name) for name in TEXTS]
    if any(texts):
        facts["history"] = "; ".join(dict.fromkeys(text for text in texts if text))
    return facts
