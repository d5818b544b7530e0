"""EnMAP L2A: a GeoTIFF with all bands of both detectors, described by METADATA.XML."""

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

from lkca.data.readers.base import WrongProductError
from lkca.data.readers.description import CubeDescription
from lkca.data.readers.products.metadata import read_numbers
from lkca.data.readers.raster_facts import merge_gains
from lkca.data.sidecars import split_name

EMPTY_PIXEL = -32768.0  # the backgroundValue of the metadata is wrong in some products
EMPTY_MEAN = -1_000_000  # in the statistics of a band without data


def describe_enmap(path: Path, root: Element | None, description: CubeDescription) -> CubeDescription:
    """Return the description of an image with the facts of its metadata.

    Args:
        path: The image.
        root: Its metadata, None if there are none.
        description: What the image says of itself.

    Raises:
        WrongProductError: If it is not L2A, or does not fit its metadata.
    """
    history = root.findtext("metadata/name") if root is not None else None
    description = replace(
        description,
        format="EnMAP L2A",
        invalid=tuple(sorted({*map(float, description.invalid), EMPTY_PIXEL})),
        units="surface reflectance",
        history=history or description.history,
        sources={**description.sources, "invalid": "that of all EnMAP L2A"},
    )
    if root is None:
        return _miss_metadata(path, description)
    level = root.findtext("base/level", "of an unknown level").strip()
    if level != "L2A":
        raise WrongProductError(
            f"it is EnMAP {level}, not EnMAP L2A, which holds the reflectance of the surface: order the scene as L2A"
        )
    bands = root.findall("specific/bandCharacterisation/bandID")
    count = description.shape[2]
    if [band.get("number") for band in bands] != [str(number) for number in range(1, count + 1)]:
        raise WrongProductError(
            f"it has {count} bands, but its metadata describe {len(bands)}: get the image and the metadata of one "
            "product"
        )
    wavelengths = read_numbers(bands, "wavelengthCenterOfBand")
    empty = _find_empty_bands(root)
    place = "bandCharacterisation in its METADATA.XML"
    facts: dict[str, Any] = {
        "gains": read_numbers(bands, "GainOfBand"),
        "offsets": read_numbers(bands, "OffsetOfBand"),
        "sources": {**description.sources, **dict.fromkeys(("nanometres", "fwhm", "gains"), place)},
        "unusable": dict(description.unusable),
    }
    if description.gains:
        merge_gains(facts, description.sources["gains"], description.gains, description.offsets)
    if empty:
        facts["sources"]["bad_bands"] = "bandStatistics in its METADATA.XML: no pixel has data"
    if description.dtype.kind == "f":
        facts["unusable"]["gains"] = (
            f"its values are {description.dtype}, but those of EnMAP L2A are integers: set gain: 1 and offset: 0 in "
            "its entry if they are reflectance"
        )
    return replace(
        description,
        nanometres=tuple(value if value > 0 else None for value in wavelengths),
        fwhm=read_numbers(bands, "FWHMOfBand"),
        bad_bands=empty,
        **facts,
    )


def _find_empty_bands(root: Element) -> tuple[int, ...]:
    """Return the numbers of the bands without data: they have the same mean and no deviation."""
    empty = []
    for band in root.findall("product/bandStatistics/bandID"):
        with suppress(ValueError):
            mean, deviation = (float(band.findtext(tag, "")) for tag in ("mean", "stdDeviation"))
            if (mean, deviation) == (EMPTY_MEAN, 0):
                empty.append(int(band.get("number", "")))
    return tuple(sorted(empty))


def _miss_metadata(path: Path, description: CubeDescription) -> CubeDescription:
    """Return the description of an image without metadata, which can be used if its entry replaces them."""
    problem = (
        f"it is an image of EnMAP, but {split_name(path)[0]}-METADATA.XML, which has its gains and wavelengths, is not "
        "next to it: put it there, or set gain, offset and nanometres in its entry"
    )
    missing = {fact: problem for fact in ("gains", "nanometres") if not getattr(description, fact)}
    return replace(description, unusable={**description.unusable, **missing})
