"""Choose the bands that pictures of a scene show as red, green and blue.

This module does not import numpy, because config.yaml is checked with it at every call of snakemake.
"""

import re
from collections.abc import Sequence
from itertools import pairwise
from statistics import median

from lkca.errors import ConfigError

DEFAULT_COLOURS = "660 nm", "550 nm", "480 nm"
SPREAD_COLOURS = 5 / 6, 3 / 6, 1 / 6  # fractions of the bands, for scenes that do not show these wavelengths
NEAR_STEPS, NEAR_NM = 3, (20, 50)  # a band is near a wavelength within 3 usual steps, at least 20 nm and at most 50 nm
UNITS = {"nm": 1, "um": 1000, "µm": 1000, "μm": 1000}  # the micro sign and the Greek letter


def parse_wavelength(text: str) -> float:
    """Return a wavelength in nm.

    Example:
        >>> parse_wavelength("660 nm"), parse_wavelength("0.55um")
        (660.0, 550.0)

    Raises:
        ValueError: If the text is not a positive number with a unit of UNITS.
    """
    match = re.fullmatch(rf"\s*(\d+(?:\.\d*)?|\.\d+)\s*({'|'.join(UNITS)})\s*", text.lower())
    if not match or not float(match[1]):
        raise ValueError("write the number of a band without quotes, or a wavelength such as 660 nm or 0.66 um")
    return float(match[1]) * UNITS[match[2]]


def usual_step(positions: Sequence[float]) -> float:
    """Return the median distance between neighbouring positions, such as wavelengths, in any order."""
    ascending = sorted(positions)
    return median(b - a for a, b in pairwise(ascending)) if len(ascending) > 1 else 0.0


def choose_bands(
    scene: str, composite: Sequence[int | str] | None, nanometres: Sequence[float] | None, num_bands: int
) -> list[int]:
    """Return the bands of a scene that are shown as red, green and blue, numbered from 1.

    Args:
        scene: Key of the scene, for messages.
        composite: For each colour the number of a band, or a wavelength as text, which stands for the nearest band;
            None for the bands nearest to DEFAULT_COLOURS, or bands spread over the scene if it does not have three
            such bands.
        nanometres: Wavelength of each band; None if they are not known.
        num_bands: Number of bands of the scene.

    Raises:
        ConfigError: If there is no such band, no band is near a wavelength, or the wavelengths are not known.
    """
    if composite is None:
        nearest = [_nearest_band(parse_wavelength(colour), nanometres) for colour in DEFAULT_COLOURS]
        found = [band for band in dict.fromkeys(nearest) if band is not None]
        return found if len(found) == len(nearest) else _spread(nanometres, num_bands)
    return [_choose_band(f"scenes.{scene}.composite.bands", band, nanometres, num_bands) for band in composite]


def _choose_band(key: str, band: int | str, nanometres: Sequence[float] | None, num_bands: int) -> int:
    if isinstance(band, int):
        if not 1 <= band <= num_bands:
            raise ConfigError(
                f"{key}: there is no band {band}: choose numbers from 1 to {num_bands}, or a wavelength such as 660 nm."
            )
        return band
    if nanometres is None:
        raise ConfigError(
            f"{key}: {band} stands for no band, because the wavelengths of the scene are not known: choose numbers "
            f"from 1 to {num_bands}, or give the wavelengths as nanometres of the cube."
        )
    wavelength = parse_wavelength(band)
    found = _nearest_band(wavelength, nanometres)
    if found is None:
        nearest = _closest(wavelength, nanometres)
        raise ConfigError(
            f"{key}: no band is near {band}; the nearest is band {nearest} at {nanometres[nearest - 1]:g} nm: choose "
            f"another wavelength, or numbers from 1 to {num_bands}."
        )
    return found


def _nearest_band(wavelength: float, nanometres: Sequence[float] | None) -> int | None:
    """Return the number of the band that is nearest to a wavelength; None if no band is near it."""
    if nanometres is None:
        return None
    band = _closest(wavelength, nanometres)
    reach = min(max(NEAR_STEPS * usual_step(nanometres), NEAR_NM[0]), NEAR_NM[1])
    return band if abs(nanometres[band - 1] - wavelength) <= reach else None


def _closest(wavelength: float, nanometres: Sequence[float]) -> int:
    """Return the number of the band with the smallest distance from a wavelength, however large that is."""
    return min(range(len(nanometres)), key=lambda i: abs(nanometres[i] - wavelength)) + 1


def _spread(nanometres: Sequence[float] | None, num_bands: int) -> list[int]:
    """Return bands at SPREAD_COLOURS, in ascending order of wavelength or number."""
    order = sorted(range(num_bands), key=lambda i: nanometres[i] if nanometres else i)
    return [order[int(fraction * num_bands)] + 1 for fraction in SPREAD_COLOURS]
