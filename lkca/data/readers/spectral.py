"""Wavelengths, FWHM and bad bands that a file with several arrays declares for one of them.

They are in the coordinate variable of its bands, in attributes, or in arrays of one axis next to it.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np

from lkca.data.readers.attributes import find_text, parse_numbers, parse_text, plain_name, to_floats
from lkca.data.readers.base import UnreadableError
from lkca.data.readers.container import ArrayInfo, Container, is_list
from lkca.data.readers.layout import Layout
from lkca.data.readers.wavelengths import DECLARED_UNITS, UNITS, find_unit, is_band_index, to_nanometres

UNIT_SUFFIX = r"(in)?(?P<unit>nm|um|mm|nanomet(er|re)s?|micromet(er|re)s?|microns?)?"
OF_BANDS = r"(cent(er|re|ral)s?|mean|bands?|sensor|spectral|list|good|image)*"
WAVELENGTHS = (
    rf"{OF_BANDS}(wavelengths?|wavelenghts?|waves?|wls?|wvls?|lambdas?|lam|cwl|cw|bandcent(er|re)s?)"
    r"(cent(er|re)s?|grid|axis|vector|list|values?)?"
)
WIDTHS = rf"{OF_BANDS}(wavelengths?)?(fwhms?|bandwidths?|fullwidth(at)?halfmax(imum)?s?)(list|values?)?"
CENTRES = {"radiation_wavelength", "sensor_band_central_radiation_wavelength"}  # standard names of the CF conventions
GOOD_FLAGS = {"bbl", "badbandlist", "badbandslist", "goodwavelengths", "goodbands", "goodbandlist", "validbands"}
BAD_FLAGS = {"badbands", "badband", "isbad", "bandisbad", "badbandmask"}  # in these, 1 is bad
BAND_NAMES = {"bandname", "bandnames"}
NAMES = rf"({WAVELENGTHS}|{WIDTHS}){UNIT_SUFFIX}|{'|'.join((*GOOD_FLAGS, *BAD_FLAGS))}"
LENGTHS = UNITS | DECLARED_UNITS
REMEDIES = {"nanometres": "set nanometres in its entry", "fwhm": "set fwhm in its entry", "bad_bands": "correct it"}
MIN_WIDTH, MAX_WIDTH = 0.01, 2000  # nm


class _Candidate(NamedTuple):
    """Numbers that may be one for each band.

    Args:
        place: Where they stand, for messages.
        name: Their name.
        values: The numbers; None if they are not numbers.
        unit: Their unit, None if none is declared.
        near: Whether they stand so near to the array that they have to be about it.
        is_wavelength: Whether they are wavelengths whatever their name is.
        elsewhere: The group in whose subgroups they are if they are not in a group that contains the array; None for
            all others. They may be about another array.
    """

    place: str
    name: str
    values: np.ndarray | None
    unit: str | None
    near: bool
    is_wavelength: bool
    elsewhere: str | None = None


def read_spectral(container: Container, array: ArrayInfo, layout: Layout) -> dict[str, Any]:
    """Return wavelengths, FWHM and bad bands of an array, as fields of `CubeDescription`.

    Args:
        container: The file.
        array: The array.
        layout: The order of its axes.
    """
    bands = layout.lengths(array.shape)["bands"]
    search = _Search(list(_list_candidates(container, array, layout, bands)), bands)
    if found := search.find("nanometres", WAVELENGTHS + UNIT_SUFFIX, _read_wavelengths):
        search.leave_out_others(found[0])
        search.find("fwhm", WIDTHS + UNIT_SUFFIX, partial(_read_widths, *found))
    search.find("bad_bands", "|".join((*GOOD_FLAGS, *BAD_FLAGS)), _read_flags)
    if names := _read_names(container, array, bands):
        search.facts["band_names"] = names
    return search.facts


def _read_names(container: Container, array: ArrayInfo, bands: int) -> tuple[str, ...]:
    """Return the names of the bands in an array of texts next to the cube, nothing if there is none."""
    for other in container.beside(array):
        if plain_name(other.name) in BAND_NAMES and other.shape == (bands,) and other.dtype.kind in "OS":
            with suppress(Exception):  # the texts of an untrusted file
                names = tuple(parse_text(name) or "" for name in other.load().tolist())
                return names if any(names) else ()
    return ()


class _Search:
    """The search of facts in candidates.

    Attributes:
        facts: The fields of `CubeDescription` that were found, with `sources` and `unusable`.
    """

    def __init__(self, candidates: list[_Candidate], bands: int) -> None:
        self._candidates, self._bands = candidates, bands
        self.facts: dict[str, Any] = {"sources": {}, "unusable": {}}

    def find(self, fact: str, names: str, read: Callable[[_Candidate, list[float]], Any]) -> Any:
        """Add a fact from the first candidate that has a fitting name and can be read; return it and its numbers.

        If there is none, what is wrong with a candidate near to the array is added to `unusable`. Candidates elsewhere
        in the file do not count if they differ: it is unknown which of them belongs to the array.
        """
        problem = None
        readable: list[tuple[_Candidate, list[float], Any, str]] = []
        for candidate in self._candidates:
            named = re.fullmatch(names, plain_name(candidate.name))
            if not named and not (candidate.is_wavelength and fact == "nanometres"):
                continue
            try:
                values = _one_per_band(candidate, self._bands)
                readable.append((candidate, values, *read(candidate, values)))
            except UnreadableError as error:
                if candidate.near:
                    problem = problem or f"its {candidate.place} cannot be used: {error}: {REMEDIES[fact]}"
        for place, found in groupby(readable, key=lambda each: each[0].elsewhere):
            (candidate, values, value, remark), *others = found
            if place is None or all(other[2] == value for other in others):
                self.facts[fact], self.facts["sources"][fact] = value, candidate.place + remark
                return candidate, values
        if problem:
            self.facts["unusable"][fact] = problem
        return None

    def leave_out_others(self, chosen: _Candidate) -> None:
        """Leave out candidates elsewhere in the file, except those where the chosen one is."""
        self._candidates = [each for each in self._candidates if each.elsewhere in (None, chosen.elsewhere)]


def _read_wavelengths(candidate: _Candidate, values: list[float]) -> tuple[tuple[float | None, ...], str]:
    if is_band_index(values, candidate.unit):
        raise UnreadableError("it only numbers the bands")
    if {*values} <= {0, 1}:
        raise UnreadableError("it only flags the bands")
    nanometres, _, remark = to_nanometres(values, [], _find_unit(candidate))
    return nanometres, remark


def _read_widths(
    wavelengths: _Candidate, centres: list[float], candidate: _Candidate, values: list[float]
) -> tuple[tuple[float | None, ...], str]:
    """Return FWHM, nm; without a unit of their own, they have that of the wavelengths."""
    unit, own = _find_unit(wavelengths), find_unit(_find_unit(candidate))
    if own in LENGTHS and own != find_unit(unit):
        values = [value * LENGTHS[own][0] for value in values]
        centres = [value or 0 for value in to_nanometres(centres, [], unit)[0]]
        unit = "nm"
    widths = to_nanometres(centres, values, unit)[1] or ()
    if not all(MIN_WIDTH <= width <= MAX_WIDTH for width in widths if width is not None):
        raise UnreadableError(f"{min(values):g} to {max(values):g} are not those of an optical sensor")
    return widths, ""


def _read_flags(candidate: _Candidate, values: list[float]) -> tuple[tuple[int, ...], str]:
    """Return the numbers of the bad bands."""
    if not {*values} <= {0, 1}:
        raise UnreadableError("it does not have a 0 or a 1 for each band")
    bad = int(plain_name(candidate.name) in BAD_FLAGS)
    return tuple(i for i, value in enumerate(values, 1) if value == bad), ""


def _list_candidates(container: Container, array: ArrayInfo, layout: Layout, bands: int) -> Iterator[_Candidate]:
    """Yield numbers that may be one for each band, those that are nearest to the array first."""
    dimension = array.dimensions[layout.axes.index("bands")] if array.dimensions and "bands" in layout.axes else ""
    coordinates = [other for other in container.beside(array) if dimension and other.name == dimension]
    yield from (_read_array(container, other, True, True) for other in coordinates)
    yield from _read_attributes("attribute ", array.attributes())
    own, *_ = groups = array.groups()
    lists = [
        other
        for other in container.arrays.values()
        if other is not array and not other.is_axis and other not in coordinates and is_list(other.shape)
        if re.fullmatch(NAMES, plain_name(other.name)) and (max(other.shape) == bands or other.groups()[0] == own)
    ]
    for path in groups:
        yield from (_read_array(container, other, path == own) for other in lists if other.groups()[0] == path)
        yield from _read_attributes(f"attribute /{path}" + "/" * bool(path), container.group_attributes(path))
    for path in groups:
        below = [other for other in lists if path in other.groups() and not {*groups} & {other.groups()[0]}]
        lists = [other for other in lists if other not in below]
        below = [other for other in below if not _is_beside_cube(container, array, other, path)]
        yield from (_read_array(container, other, False)._replace(elsewhere=path) for other in below)


def _is_beside_cube(container: Container, array: ArrayInfo, other: ArrayInfo, group: str) -> bool:
    """Return whether the part of a group in which `other` is holds another cube, to which it belongs then."""
    part = other.groups()[other.groups().index(group) - 1]
    return any(
        each is not array and len(each.shape) > 2 and part in each.groups() for each in container.arrays.values()
    )


def _read_array(container: Container, array: ArrayInfo, near: bool, is_coordinate: bool = False) -> _Candidate:
    """Return the values of an array; a coordinate of the bands is their wavelength if its unit says so."""
    attributes, values = array.attributes(), None
    with suppress(UnreadableError):
        values = parse_numbers(array.load())
    standard = find_text(attributes, "standard_name")
    unit = find_text(attributes, "units", "unit")
    return _Candidate(
        f"array {container.show(array.name)}",
        array.short_name,
        values,
        unit,
        near,
        standard in CENTRES or (is_coordinate and find_unit(unit) in ("nm", "um", "angstrom")),
    )


def _read_attributes(place: str, attributes: Mapping[str, Any]) -> Iterator[_Candidate]:
    """Yield the attributes whose names are those of wavelengths, FWHM or bad bands."""
    for name, value in attributes.items():
        if re.fullmatch(NAMES, plain_name(name)):
            unit = find_text(attributes, *(f"{name}{suffix}" for suffix in ("_units", "_unit", "units", "unit")))
            unit = unit or find_text(attributes, "wavelength_units", "wavelength_unit", "wavelengths_units")
            numbers = parse_numbers(value)
            yield _Candidate(place + name, name, numbers, unit, numbers is not None and numbers.size > 1, False)


def _one_per_band(candidate: _Candidate, bands: int) -> list[float]:
    if candidate.values is None or candidate.values.size != bands:
        count = "no" if candidate.values is None else candidate.values.size
        raise UnreadableError(f"it has {count} numbers for {bands} bands")
    return to_floats(candidate.values)


def _find_unit(candidate: _Candidate) -> str | None:
    """Return the declared unit of a candidate, or the one at the end of its name."""
    suffix = re.fullmatch(rf"({WAVELENGTHS}|{WIDTHS}){UNIT_SUFFIX}", plain_name(candidate.name))
    return candidate.unit or (suffix["unit"] if suffix else None)
