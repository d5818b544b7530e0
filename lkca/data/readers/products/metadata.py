"""The metadata, XML, that stand next to the image of an EnMAP or DESIS product."""

import math
from collections.abc import Iterable
from pathlib import Path
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from lkca.data.readers.base import UnreadableError

MAX_BYTES = 2**25  # those of EnMAP have 4 MB
MAX_DEPTH = 50


def parse_metadata(path: Path) -> Element:
    """Return the root element of an XML file.

    Raises:
        UnreadableError: If the file is too large or not XML, or has a DOCTYPE, whose entities can grow without bounds.
    """
    name = f"its metadata, {path.name},"
    if path.stat().st_size > MAX_BYTES:
        raise UnreadableError(f"{name} have more than {MAX_BYTES // 2**20} MiB")
    builder, parser, depth = TreeBuilder(), expat.ParserCreate(), 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > MAX_DEPTH:
            raise UnreadableError(f"{name} are nested too deeply")
        builder.start(tag, attributes)

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(tag)

    def refuse(*_: object) -> None:
        raise UnreadableError(f"{name} have a DOCTYPE, which those of a product do not have")

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler, parser.StartDoctypeDeclHandler = builder.data, refuse
    try:
        parser.Parse(path.read_bytes(), True)
    except expat.ExpatError as error:
        raise UnreadableError(f"{name} are not XML: {error}") from None
    return builder.close()


def read_numbers(bands: Iterable[Element], tag: str) -> tuple[float, ...]:
    """Return the number in the element `tag` of each band.

    Raises:
        UnreadableError: If a band does not have one.
    """
    numbers = []
    for i, band in enumerate(bands, 1):
        try:
            numbers.append(float(band.findtext(tag, "")))
        except ValueError:
            numbers.append(math.nan)
        if not math.isfinite(numbers[-1]):
            raise UnreadableError(f"its metadata have no number in {tag} of band {i}")
    return tuple(numbers)
