"""Find the metadata that stand next to the image of a product of EnMAP or DESIS."""

import re
from contextlib import suppress
from pathlib import Path

PART = re.compile(r"(?:^|-)((?:SPECTRAL_IMAGE|QL_)[^./]*)\.[^./]+$", re.IGNORECASE)


def split_name(image: Path) -> tuple[str, str | None]:
    """Return the name of the product to which an image belongs, and which of its images it is, as in SPECTRAL_IMAGE.

    The second is None if the file is not named like an image of a product. The first is empty if the product does not
    repeat its name in those of its files.
    """
    part = PART.search(image.name)
    return (image.name[: part.start()], part[1]) if part else (image.stem, None)


def find_metadata(image: Path) -> Path | None:
    """Return the metadata, XML, next to an image of a product; None if there are none."""
    name, part = split_name(image)
    if not part:
        return None
    wanted = f"{name}-metadata.xml".lower().removeprefix("-")
    names = {wanted, f"{wanted}.xml"}  # some downloads have the suffix twice
    with suppress(OSError):
        found = sorted(file for file in image.parent.iterdir() if file.name.lower() in names and file.is_file())
        return found[0] if found else None
    return None
