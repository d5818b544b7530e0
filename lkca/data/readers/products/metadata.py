"""The metadata, XML, that stand next to the image of an EnMAP or DESIS product."""

import math
from collections.abc import Iterable
from pathlib import Path
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from lkca.data.readers.base import WrongProductError

MAX_BYTES = 2**25  # those of EnMAP have 4 MB
MAX_DEPTH = 50


def parse_metadata(path: Path) -> Element:
    """Return the root element of an XML file.

    Raises:
        WrongProductError: If the file is too large or not XML, or has a DOCTYPE, whose entities could grow without
            bounds.
    """
    name = f"its metadata, {path.name},"
    if path.stat().st_size > MAX_BYTES:
        raise WrongProductError(f"{name} have more than {MAX_BYTES // 2**20} MiB: get the original ones")
    builder, parser, depth = TreeBuilder(), expat.ParserCreate(), 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > MAX_DEPTH:
            raise WrongProductError(f"{name} are nested too deeply: get the original ones")
        builder.start(tag, attributes)

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(tag)

    def refuse(*_: object) -> None:
        raise WrongProductError(f"{name} have a DOCTYPE, which those of a product do not have: get the original ones")

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler, parser.StartDoctypeDeclHandler = builder.data, refuse
    try:
        parser.Parse(path.read_bytes(), True)
    except expat.ExpatError as error:
        raise WrongProductError(f"{name} are not XML ({error}): get the original ones") from None
    return builder.close()


def read_numbers(bands: Iterable[Element], tag: str) -> tuple[float, ...]:
    """Return the number in the element `tag` of each band.

    Raises:
        WrongProductError: If a band does not have one.
    """
    numbers = []
    for i, band in enumerate(bands, 1):
        try:
            numbers.append(float(band.findtext(tag, "")))
        except ValueError:
            numbers.append(math.nan)
        if not math.isfinite(numbers[-1]):
            raise WrongProductError(f"its metadata have no number in {tag} of band {i}: get the original ones")
    return tuple(numbers)
