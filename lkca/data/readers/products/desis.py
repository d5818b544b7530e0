"""DESIS L2A: a GeoTIFF, described by an ENVI header next to it, and METADATA.xml."""

from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

from lkca.data.catalog import find_envi_headers
from lkca.data.readers.base import UnreadableError, WrongProductError
from lkca.data.readers.description import CubeDescription
from lkca.data.readers.envi_header import add_envi_facts, read_header
from lkca.data.readers.raster_facts import merge_gains
from lkca.data.sidecars import select_equal, split_name

EMPTY_PIXEL = -32768.0
NEEDED = {"gains": ("data gain values", "gain and offset"), "nanometres": ("wavelength", "nanometres")}


def describe_desis(path: Path, root: Element | None, description: CubeDescription) -> CubeDescription:
    """Return the description of an image with the facts of its header.

    Args:
        path: The image.
        root: Its metadata, None if there are none.
        description: What the image says of itself.

    Raises:
        WrongProductError: If it is not L2A, or does not fit its header.
    """
    name = split_name(path)[0]
    level = next((kind.text or "" for kind in root.iter("productType")), name) if root is not None else name
    if "L2A" not in level:
        raise WrongProductError(
            f"it is DESIS {level[:40]}, not DESIS L2A, which has the reflectance of the surface: order the scene as L2A"
        )
    header = select_equal(find_envi_headers(path))
    facts: dict[str, Any] = {"sources": {}, "unusable": {}}
    if header:
        rows, columns, bands = description.shape
        size = (columns, rows, bands) if description.axes[1] == "columns" else (rows, columns, bands)
        add_envi_facts(facts, _read_header(header, size), bands)
    if description.gains:
        merge_gains(facts, description.sources["gains"], description.gains, description.offsets)
    for fact, (key, setting) in NEEDED.items():
        if fact not in facts and not getattr(description, fact):
            lack = f"{header.name} has no {key}" if header else f"{path.stem}.hdr, which has its {key}, is missing"
            remedy = "get the original one" if header else "put it next to it"
            facts["unusable"].setdefault(fact, f"it is DESIS, but {lack}: {remedy}, or set {setting} in its entry")
    invalid = {float(value) for value in (*description.invalid, *facts.pop("invalid", ()), EMPTY_PIXEL)}
    return replace(
        description,
        format="DESIS L2A",
        invalid=tuple(sorted(invalid)),
        units="surface reflectance",
        unusable={**description.unusable, **facts.pop("unusable")},
        sources={**description.sources, **facts.pop("sources"), "invalid": "that of all DESIS L2A"},
        **facts,
    )


def _read_header(header: Path, size: tuple[int, int, int]) -> dict[str, str]:
    """Return the fields of an ENVI header, with underscores instead of spaces.

    Raises:
        WrongProductError: If it is damaged, or is not that of a raster of this size (lines, samples, bands).
    """
    try:
        tags = read_header(header)
    except UnreadableError as error:
        raise WrongProductError(f"{error}: get the original one") from None
    described = [tags.get(key, "?") for key in ("lines", "samples", "bands")]
    if described != [*map(str, size)]:
        raise WrongProductError(
            f"it has {' x '.join(map(str, size))} lines, samples and bands, but its header, {header.name}, describes "
            f"{' x '.join(described)}: get the image and the header of one product"
        )
    return tags
