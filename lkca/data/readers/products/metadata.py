"""The metadata, XML, that stand next to the image of an EnMAP or DESIS product."""

import math
from collections.abc import Iterable
from pathlib import Path
from xml.etree.ElementTree import Element

from lkca.data.readers.base import UnreadableError, WrongProductError
from lkca.data.readers.safe_xml import parse_xml

MAX_BYTES = 2**25  # those of EnMAP have 4 MB


def parse_metadata(path: Path) -> Element:
    """Return the root element of an XML file.

    Raises:
        WrongProductError: If the file is too large or not XML, or has a DOCTYPE, whose entities could grow without
            bounds.
    """
    name = f"its metadata, {path.name},"
    if path.stat().st_size > MAX_BYTES:
        raise WrongProductError(f"{name} have more than {MAX_BYTES // 2**20} MiB: get the original ones")
    try:
        return parse_xml(path.read_bytes(), name)
    except UnreadableError as error:
        raise WrongProductError(f"{error}: get the original ones") from None


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
