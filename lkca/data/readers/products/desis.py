"""DESIS L2A: a GeoTIFF, described by an ENVI header next to it, and METADATA.xml."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

from lkca.data.catalog import find_envi_headers
from lkca.data.readers.base import UnreadableError
from lkca.data.readers.description import CubeDescription
from lkca.data.readers.raster import MAX_HEADER_BYTES
from lkca.data.readers.raster_facts import add_envi_facts
from lkca.data.sidecars import split_name

FIELD = re.compile(r"^\s*([^={}\n]+?)\s*=\s*(\{[^}]*\}|[^\n]*)", re.MULTILINE)
FORMAT = "DESIS L2A"
EMPTY_PIXEL = -32768.0


def describe_desis(path: Path, root: Element | None, description: CubeDescription) -> CubeDescription:
    """Return the description of an image with the facts of its header.

    Args:
        path: The image.
        root: Its metadata, None if there are none.
        description: What the image says of itself.

    Raises:
        UnreadableError: If it is not L2A, or does not fit its header.
    """
    name = split_name(path)[0]
    level = next((kind.text or "" for kind in root.iter("productType")), name) if root is not None else name
    if not re.search("L2A", level):
        raise UnreadableError(
            f"it is DESIS {level[:40]}, not DESIS L2A, which has the reflectance of the surface: order the scene as L2A"
        )
    headers = find_envi_headers(path)
    if not headers:
        problem = (
            f"it is an image of DESIS, but {path.stem}.hdr, which has its gains and wavelengths, is not next to it: "
            "put it there, or set gain and nanometres in its entry"
        )
        unusable = dict.fromkeys(("gains", "nanometres"), problem)
        return replace(description, format=FORMAT, unusable={**description.unusable, **unusable})
    header = headers[0]
    if header.stat().st_size > MAX_HEADER_BYTES:
        raise UnreadableError(f"its header, {header.name}, is too large")
    fields = FIELD.findall(header.read_text("utf-8", errors="replace"))
    tags = {key.lower().replace(" ", "_"): value.strip() for key, value in fields}
    shape = [tags.get(key) for key in ("lines", "samples", "bands")]
    if shape != [str(size) for size in description.shape]:
        raise UnreadableError(
            f"it has {' x '.join(map(str, description.shape))} rows, columns and bands, but its header, {header.name}, "
            f"describes {' x '.join(map(str, shape))}: get the image and the header of one product"
        )
    facts: dict[str, Any] = {"sources": {}, "unusable": {}}
    add_envi_facts(facts, tags, description.shape[2])
    sources = {fact: f"{source}, {header.name}" for fact, source in facts.pop("sources").items()}
    unusable = {**description.unusable, **facts.pop("unusable")}
    for fact, key in (("gains", "data gain values"), ("nanometres", "wavelength")):
        if fact not in facts and fact not in unusable:
            unusable[fact] = f"its header, {header.name}, has no {key}: set {fact.rstrip('s')} in its entry"
    invalid = {float(value) for value in (*description.invalid, *facts.pop("invalid", ()), EMPTY_PIXEL)}
    return replace(
        description,
        format=FORMAT,
        invalid=tuple(sorted(invalid)),
        units="surface reflectance",
        **facts,
        sources={**description.sources, "invalid": "that of all DESIS L2A", **sources},
        unusable=unusable,
    )
