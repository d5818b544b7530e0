"""Wavelengths as files declare them, converted to nanometres."""

import math
import re
from collections.abc import Sequence

from lkca.data.readers.base import UnreadableError

# Unit -> nanometres in it, and the values in that unit that optical sensors have. The ranges are disjoint.
UNITS = {
    "nm": (1.0, (150, 30_000)),
    "um": (1e3, (0.15, 30)),
    "mm": (1e6, (0.15e-3, 30e-3)),
    "m": (1e9, (0.15e-6, 30e-6)),
}
# These units have values in the ranges of others: they count only if a file declares them.
DECLARED_UNITS = {
    "angstrom": (0.1, (1_500, 300_000)),
    "cm": (1e7, (0.15e-4, 30e-4)),
}
# Units of the inverse of the wavelength -> nanometres x value, and the values that optical sensors have.
INVERSE_UNITS = {
    "1/cm": (1e7, (330, 67_000)),
    "GHz": (299_792_458.0, (1e4, 2e6)),
    "MHz": (299_792_458e3, (1e7, 2e9)),
}
SPELLINGS = {
    "nm": r"nms?|nano-?met(er|re)s?",
    "um": r"[uµμ]ms?|micro-?met(er|re)s?|microns?|mu",
    "mm": r"mms?|milli-?met(er|re)s?",
    "m": r"m|met(er|re)s?",
    "angstrom": r"[aåÅ]|[aåÅ]ngstr[oöø]ms?",
    "cm": r"cms?|centi-?met(er|re)s?",
    "1/cm": r"1/cm|cm\^?-1|cm⁻¹|wave-?numbers?",
    "GHz": r"ghz|giga-?hertz",
    "MHz": r"mhz|mega-?hertz",
}
INDEX = r"index|band ?(numbers?|index)?"  # what files declare instead of a unit if the numbers are not wavelengths


def is_band_index(wavelengths: Sequence[float], unit: str | None) -> bool:
    """Return whether the numbers that a file declares as wavelengths only number its bands."""
    counted = [*wavelengths] in ([*range(1, len(wavelengths) + 1)], [*range(len(wavelengths))])
    if re.fullmatch(INDEX, _normalise(unit)):
        return True
    return counted and not _fits(wavelengths, find_unit(unit))


def _fits(wavelengths: Sequence[float], unit: str | None) -> bool:
    """Return whether all numbers are wavelengths of an optical sensor in a unit; 0, negative and NaN do not count."""
    known = [value for value in wavelengths if math.isfinite(value) and value > 0]
    _, (low, high) = (UNITS | DECLARED_UNITS | INVERSE_UNITS).get(unit or "", (0, (1, 0)))
    return bool(known) and low <= min(known) and max(known) <= high


def find_unit(text: str | None) -> str | None:
    """Return the unit that a text in any spelling names, None if it names none."""
    return next((name for name, spelling in SPELLINGS.items() if re.fullmatch(spelling, _normalise(text))), None)


def _normalise(unit: str | None) -> str:
    return (unit or "").strip(" \t\n\0[](){}\"'.").lower()


def to_nanometres(
    wavelengths: Sequence[float], widths: Sequence[float], unit: str | None
) -> tuple[tuple[float | None, ...], tuple[float | None, ...] | None, str]:
    """Return wavelengths and FWHM in nanometres, and a remark on the unit for messages.

    The unit is the declared one if all wavelengths are those of an optical sensor in it, otherwise the unit in which
    they are. Then the remark says that the declared unit is another one, is missing or is unknown. A number that is 0,
    negative or NaN means that a band has none.

    Args:
        wavelengths: The wavelength of each band.
        widths: The FWHM of each band, in the same unit; empty if unknown.
        unit: The unit that the file declares, in any spelling; None if it declares none.

    Raises:
        UnreadableError: If there is no unit in which all values are such wavelengths, or the numbers of wavelengths and
            widths differ.
    """
    known = [value for value in wavelengths if math.isfinite(value) and value > 0]
    if widths and len(widths) != len(wavelengths):
        raise UnreadableError(f"it has {len(widths)} FWHM for {len(wavelengths)} wavelengths")
    declared = find_unit(unit)
    if declared in INVERSE_UNITS and _fits(wavelengths, declared):
        return *_invert(wavelengths, widths, INVERSE_UNITS[declared][0]), ""
    fitting = [name for name in (declared, *UNITS) if _fits(wavelengths, name)]
    if not fitting or declared in INVERSE_UNITS:
        shown = f"{min(known):g} to {max(known):g} {unit or ''}".strip() if known else "none of them positive"
        raise UnreadableError(f"its wavelengths, {shown}, are not those of an optical sensor")
    name = fitting[0] or ""
    remark = ""
    if not _normalise(unit):
        remark = f" (without a unit, taken as {name})"
    elif name != declared:
        remark = f" (the unit {_normalise(unit)!r} does not fit, taken as {name})"
    factor = (UNITS | DECLARED_UNITS)[name][0]
    return _convert(wavelengths, factor), _convert(widths, factor) if widths else None, remark


def _invert(
    values: Sequence[float], widths: Sequence[float], factor: float
) -> tuple[tuple[float | None, ...], tuple[float | None, ...] | None]:
    """Return the wavelengths of wave numbers or frequencies, and the FWHM, in nanometres."""
    lengths = tuple(round(factor / value, 6) if math.isfinite(value) and value > 0 else None for value in values)
    if not widths:
        return lengths, None
    pairs = zip(values, widths, strict=True)
    return lengths, _convert([factor * width / value**2 if value else 0 for value, width in pairs], 1)


def _convert(values: Sequence[float], factor: float) -> tuple[float | None, ...]:
    """Return lengths in nanometres, rounded so that 0.55 um is 550 nm; None for what is not a positive number."""
    return tuple(round(value * factor, 6) if math.isfinite(value) and value > 0 else None for value in values)
