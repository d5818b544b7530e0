"""Find the files next to an image that describe it: metadata of a product, GDAL's .aux.xml and .msk, a world file."""

import re
import stat
from collections.abc import Sequence
from contextlib import suppress
from filecmp import cmp
from pathlib import Path

from lkca.core.files import system_error
from lkca.errors import DataError

MAX_AUX_BYTES = 2**24  # largest .aux.xml file
MAX_HEADER_BYTES = 2**22  # largest ENVI header; GDAL parses it as a whole
# What an .aux.xml file contains if it declares a fact, and the fields of an ENVI header that do. Programs that only
# show an image write an .aux.xml file with statistics and a copy of the header.
AUX_FACTS = [
    (
        rb'<(scale|offset)\b|"(scale_factor|add_offset|data_(gain|offset)_values|reflectance_scale_factor)"',
        rb"data (reflectance )?(gain|offset) values|reflectance scale factor",
    ),
    (rb'<nodatavalue\b|"(_fillvalue|missing_value|no_?data(_value)?|data_ignore_value)"', rb"data ignore value"),
    (rb'"([a-z_]*wavelengths?|wvl)(_nm|_um|\(nm\)|\(um\))?"|<description\b', rb"wavelength|band names"),
    (rb'"(fwhm|bandwidth)(_nm|_um|\(nm\)|\(um\))?"', rb"fwhm"),
    (rb'"(bbl|bad_band_multiplier)"', rb"bbl"),
    (rb"<unittype\b", rb"z plot titles"),
    (rb"<(geotransform|srs)\b", rb"map info|coordinate system string|projection info"),
]
PART = re.compile(r"(?:^|-)((?:SPECTRAL_IMAGE|QL_)[^./]*)\.[^./]+$", re.IGNORECASE)


def is_sidecar(path: Path) -> bool:
    """Return whether there is a file at a path; a folder does not count.

    Raises:
        DataError: If there is something that cannot be read, such as a broken link or a pipe. Whether it would change
            the pixels is unknown.
        ResourceError: If the disk fails.
    """
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: no file has such a name
        if path.is_symlink():
            raise DataError(f"{path} is a link to a file that does not exist: correct or delete the link.") from None
        return False
    except OSError as error:
        raise system_error(error) from error
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise DataError(f"{path} is a device or a pipe instead of a file: move it away.")
    return stat.S_ISREG(mode)


def list_folder(file: Path) -> list[Path]:
    """Return what is in the folder of a file, sorted; nothing if there is no such folder.

    Raises:
        DataError: If the folder cannot be read.
        ResourceError: If the disk fails.
    """
    try:
        return sorted(file.parent.iterdir())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return []
    except OSError as error:
        raise system_error(error) from error


def split_name(image: Path) -> tuple[str, str | None]:
    """Return the name of the product to which an image belongs, and which of its images it is, as in SPECTRAL_IMAGE.

    The second is None if the file is not named like an image of a product. The first is empty if the product does not
    repeat its name in those of its files.
    """
    part = PART.search(image.name)
    return (image.name[: part.start()], part[1]) if part else (image.stem, None)


def find_metadata(image: Path) -> Path | None:
    """Return the metadata, XML, next to an image of a product; None if there are none.

    Raises:
        DataError: If there are two files with different metadata.
        ResourceError: If the disk fails.
    """
    name, part = split_name(image)
    if not part:
        return None
    wanted = f"{name}-metadata.xml".lower().removeprefix("-")
    names = {wanted, f"{wanted}.xml"}  # some downloads have the suffix twice
    return select_equal([file for file in list_folder(image) if file.name.lower() in names and is_sidecar(file)])


def select_equal(files: Sequence[Path]) -> Path | None:
    """Return the first of some files with the same content; None if there are none.

    Raises:
        DataError: If the content of one is different.
        ResourceError: If the disk fails.
    """
    try:
        if any(not cmp(files[0], other, shallow=False) for other in files[1:]):
            names = " and ".join(file.name for file in files)
            raise DataError(f"{files[0].parent}: {names} differ: delete or rename the wrong one.")
    except OSError as error:
        raise system_error(error) from error
    return files[0] if files else None


def find_aux_xml(image: Path, header: Path | None) -> Path | None:
    """Return the file .aux.xml of an image if it declares something about its values, None otherwise.

    Args:
        image: The image.
        header: The ENVI header of a raw file, whose facts count before those of the .aux.xml file; None for others.
    """
    path = image.with_name(f"{image.name}.aux.xml")
    if not is_sidecar(path):
        return None
    try:
        is_used = path.stat().st_size > MAX_AUX_BYTES or declares_facts(path.read_bytes(), _read_header(header))
    except OSError as error:
        raise system_error(error) from error
    return path if is_used else None


def _read_header(header: Path | None) -> bytes:
    if header is None:
        return b""
    with header.open("rb") as file:
        return file.read(MAX_HEADER_BYTES)


def declares_facts(aux: bytes, header: bytes) -> bool:
    """Return whether an .aux.xml file declares a fact that the ENVI header, which may be empty, does not declare."""
    return any(
        re.search(items, aux, re.IGNORECASE)
        and not re.search(rb"^[ \t]*(%s)[ \t]*=[ \t]*(\{\s*)?[^\s{}]" % fields, header, re.IGNORECASE | re.MULTILINE)
        for items, fields in AUX_FACTS
    )


def find_mask_file(image: Path) -> Path | None:
    """Return the file .msk of an image, GDAL's mask of its pixels; None if there is none."""
    path = image.with_name(f"{image.name}.msk")
    return path if is_sidecar(path) else None


def find_world_file(image: Path) -> Path | None:
    """Return the world file of an image, such as a.tfw for a.tif; None if there is none."""
    ending = image.suffix[1:].lower()
    names = {f"{image.stem}.{end}".lower() for end in (ending[:1] + ending[-1:] + "w", f"{ending}w", "wld")}
    return next((path for path in list_folder(image) if path.name.lower() in names and is_sidecar(path)), None)


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
