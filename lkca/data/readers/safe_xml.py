"""XML of untrusted files."""

from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from lkca.data.readers.base import UnreadableError

MAX_DEPTH = 50


def parse_xml(data: bytes, name: str) -> Element:
    """Return the root element of XML.

    Args:
        data: The XML.
        name: What messages call it.

    Raises:
        UnreadableError: If it is not XML, or has a DOCTYPE, whose entities can grow without bounds.
    """
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
        raise UnreadableError(f"{name} have a DOCTYPE, which metadata of images do not have")

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler, parser.StartDoctypeDeclHandler = builder.data, refuse
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise UnreadableError(f"{name} are not XML: {error}") from None
    return builder.close()
