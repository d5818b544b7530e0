"""Find the files next to an image that describe it: metadata of a product, GDAL's .aux.xml and .msk, a world file."""

import re
from contextlib import suppress
from pathlib import Path

MAX_AUX_BYTES = 2**24  # largest .aux.xml file
# What an .aux.xml file must contain to matter. Programs that only show an image write one with statistics.
AUX_FACTS = re.compile(
    rb"<(Scale|Offset|NoDataValue|UnitType|Description|GeoTransform|SRS)\b|wavelength|fwhm|bbl|bad_band|scale_factor"
    rb"|add_offset|data_(gain|offset|ignore)|_FillValue|missing_value",
    re.IGNORECASE,
)
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


def find_aux_xml(image: Path) -> Path | None:
    """Return the file .aux.xml of an image if it declares something about its values, None otherwise."""
    path = image.with_name(f"{image.name}.aux.xml")
    with suppress(OSError):
        if path.stat().st_size > MAX_AUX_BYTES or AUX_FACTS.search(path.read_bytes()):
            return path
    return None


def find_mask_file(image: Path) -> Path | None:
    """Return the file .msk of an image, GDAL's mask of its pixels; None if there is none."""
    path = image.with_name(f"{image.name}.msk")
    return path if path.is_file() else None


def find_world_file(image: Path) -> Path | None:
    """Return the world file of an image, such as a.tfw for a.tif; None if there is none."""
    ending = image.suffix[1:].lower()
    names = {f"{image.stem}.{end}".lower() for end in (ending[:1] + ending[-1:] + "w", f"{ending}w", "wld")}
    with suppress(OSError):
        return next((path for path in sorted(image.parent.iterdir()) if path.name.lower() in names), None)
    return None


def read_world_file(image: Path) -> tuple[float, float, float, float, float, float] | None:
    """Return the transform of an image's world file in GDAL's order; None without one."""
    path = find_world_file(image)
    if path is None:
        return None
    with suppress(OSError, ValueError):
        with path.open("rb") as file:
            width, column_turn, row_turn, height, x, y = map(float, file.read(1024).split())
        # A world file has the centre of the first pixel, GDAL its corner.
        left, top = x - (width + row_turn) / 2, y - (column_turn + height) / 2
        return left, width, row_turn, top, column_turn, height
    return None
