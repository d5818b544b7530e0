"""Wavelengths as files declare them, converted to nanometres."""

import math
import re
from collections.abc import Sequence

from lkca.data.readers.base import UnreadableError

# Unit -> nanometres in it, and the values in that unit that optical sensors have: the ranges of two units are disjoint.
UNITS = {
    "nm": (1.0, (150, 30_000)),
    "um": (1e3, (0.15, 30)),
    "mm": (1e6, (0.15e-3, 30e-3)),
    "m": (1e9, (0.15e-6, 30e-6)),
}
SPELLINGS = {
    "nm": r"nm|nano-?met(er|re)s?",
    "um": r"[uµμ]m|micro-?met(er|re)s?|microns?",
    "mm": r"mm|milli-?met(er|re)s?",
    "m": r"m|met(er|re)s?",
}


def to_nanometres(
    wavelengths: Sequence[float], widths: Sequence[float], unit: str | None
) -> tuple[tuple[float | None, ...], tuple[float | None, ...] | None, str]:
    """Return wavelengths and FWHM in nanometres, and a remark on the unit for messages.

    The unit is that in which all wavelengths are those of an optical sensor. If the declared unit is another one, is
    missing or is unknown, the remark says so. A number that is 0, negative or NaN means that a band has none.

    Args:
        wavelengths: The wavelength of each band.
        widths: The FWHM of each band, in the same unit; empty if unknown.
        unit: The unit that the file declares, in any spelling; None if it declares none.

    Raises:
        UnreadableError: If there is no unit in which all values are such wavelengths, or the numbers of wavelengths and
            widths differ.
    """
    known = [value for value in wavelengths if math.isfinite(value) and value > 0]
    fitting = [name for name, (_, (low, high)) in UNITS.items() if known and low <= min(known) and max(known) <= high]
    if not fitting:
        shown = f"{min(known):g} to {max(known):g} {unit or ''}".strip() if known else "none of them positive"
        raise UnreadableError(f"its wavelengths, {shown}, are not those of an optical sensor")
    if widths and len(widths) != len(wavelengths):
        raise UnreadableError(f"it has {len(widths)} FWHM for {len(wavelengths)} wavelengths")
    (name,) = fitting
    remark = ""
    if not unit or not unit.strip():
        remark = f" (without a unit, taken as {name})"
    elif not re.fullmatch(SPELLINGS[name], unit.strip(" \0[]()").lower()):
        remark = f" (the unit {unit.strip()!r} does not fit, taken as {name})"
    factor = UNITS[name][0]
    return _convert(wavelengths, factor), _convert(widths, factor) if widths else None, remark


def _convert(values: Sequence[float], factor: float) -> tuple[float | None, ...]:
    """Return lengths in nanometres, rounded so that 0.55 um is 550 nm; None for what is not a positive number."""
    return tuple(round(value * factor, 6) if math.isfinite(value) and value > 0 else None for value in values)
