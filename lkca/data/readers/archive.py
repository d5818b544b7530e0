"""Rasters in zip archives, which are read without unpacking."""

import re
import struct
from collections import defaultdict
from contextlib import ExitStack, suppress
from pathlib import Path
from unicodedata import normalize
from zipfile import ZipFile, ZipInfo

from lkca.data.readers.base import SettingsError, StoredCube, UnreadableError, check_claimed_size
from lkca.data.readers.envi_header import parse_header
from lkca.data.readers.gdal_names import DEFLATED, STORED, StoredBytes
from lkca.data.readers.raster import TIFF_STARTS, RasterFile, open_pcidsk, open_raster
from lkca.data.sidecars import MAX_HEADER_BYTES, declares_facts

# First bytes of files of other formats -> the name of the format.
OTHER_FORMATS = {
    **dict.fromkeys(TIFF_STARTS, "a TIFF"),
    b"MATLAB": "a MATLAB file",
    b"\x89HDF": "an HDF5 or MATLAB 7.3 file",
    b"CDF\1": "a NetCDF file",
    b"CDF\2": "a NetCDF file",
    b"CDF\5": "a NetCDF file",
    b"\x93NUMPY": "a .npy file",
    b"PK\x03\x04": "a zip archive or .npz file",
}
METHODS = (STORED, DEFLATED)
UNICODE_PATH = 0x7075  # an extra field with another name of the member, which not all programs read


def open_archive(stack: ExitStack, path: Path, archive_member: str, axes: list[str] | None) -> StoredCube:
    """Open an ENVI or PCIDSK raster in a zip archive until the stack closes; GDAL reads it without unpacking.

    zipfile reads the raster and its headers once before, because GDAL does not verify the checksums of the archive.
    GDAL then gets the bytes that were verified, and does not look for the member by itself.
    """
    archive = stack.enter_context(ZipFile(path))
    raster, headers, aux = _find_members(archive, archive_member)
    for member in (raster, *headers, *aux):
        _check_member(archive, member, is_raster=member is raster)
    content = _locate(path, raster)
    more = archive.read(aux[0]) if aux else None
    if more is not None and not declares_facts(more, archive.read(headers[0]) if headers else b""):
        more = None
    with archive.open(raster) as file:
        start = file.read(8)
        if start == b"PCIDSK  ":
            file.seek(0)
            found = RasterFile("PCIDSK", content, raster.file_size, aux=more, aux_name=f"{archive_member}.aux.xml")
            return open_pcidsk(stack, file, found, axes)
    if not headers:
        found_format = next((kind for first, kind in OTHER_FORMATS.items() if start.startswith(first)), None)
        problem = f"its {archive_member} is {found_format}" if found_format else f"{archive_member} has no ENVI header"
        raise SettingsError(f"{problem}: only ENVI and PCIDSK are read inside an archive, unpack it for other formats")
    contents = {archive.read(header) for header in headers}
    if len(contents) > 1:
        names = " and ".join(Path(header.filename).name for header in headers)
        raise SettingsError(f"its headers {names} differ: unpack it and delete the wrong one")
    fields = parse_header(contents.pop(), Path(headers[0].filename).name)
    return open_raster(
        stack,
        RasterFile("ENVI", content, raster.file_size, fields, aux=more, aux_name=f"{archive_member}.aux.xml"),
        axes,
    )


def _find_members(archive: ZipFile, archive_member: str) -> tuple[ZipInfo, list[ZipInfo], list[ZipInfo]]:
    """Return the raster, its ENVI headers in upper or lower case, and its .aux.xml file.

    Raises:
        SettingsError: If the archive does not hold the raster, or holds a mask of it, which is not read.
        UnreadableError: If the archive holds one of these files twice, or under a name that has several meanings.
    """
    names = (
        archive_member,
        str(Path(archive_member).with_suffix(".hdr")),
        f"{archive_member}.hdr",
        f"{archive_member}.aux.xml",
        f"{archive_member}.msk",
    )
    members: dict[str, list[ZipInfo]] = defaultdict(list)
    wanted = [*map(_fold, names)]
    for member in archive.infolist():
        for key in {_fold(name) for name in _list_names(member)}.intersection(wanted):
            members[key].append(member)
    for same in members.values():
        if len(same) > 1:
            raise UnreadableError(f"it holds {same[0].filename} twice, also as {same[1].orig_filename}")
    for (member,) in members.values():
        name = member.orig_filename
        if {_clean(other) for other in _list_names(member)} != {name}:
            raise SettingsError(f"programs read the name of its member {name} differently: unpack it")
    raster, *headers, aux, mask = (members.get(key, []) for key in wanted)
    if not raster or raster[0].filename != archive_member:
        content = ", ".join(member.filename[:80] for member in archive.infolist()[:9])
        raise SettingsError(f"it holds {content or 'nothing'} and no {archive_member}: correct path in its entry")
    if mask:
        raise SettingsError(f"it holds a mask of the image, {mask[0].filename}: unpack it to use the mask")
    return raster[0], [header for found in headers for header in found], aux


def _list_names(member: ZipInfo) -> set[str]:
    """Return the names that programs may read for a member: those of other encodings and of its extra fields."""
    name, extra = member.orig_filename, member.extra
    names = {name, member.filename}
    with suppress(UnicodeError):
        names.add(name.encode("cp437").decode("utf-8"))  # the encoding that the archive should declare
    while len(extra) >= 4:
        kind, length = struct.unpack("<HH", extra[:4])
        if kind == UNICODE_PATH:
            names.add(extra[9 : 4 + length].decode("utf-8", "replace"))
        extra = extra[4 + length :]
    return names


def _clean(name: str) -> str:
    """Return the one normal form of the name of a member: parts between slashes, none empty or of dots."""
    name = re.sub(r"^[A-Za-z]:", "", name.partition("\0")[0]).replace("\\", "/")
    parts: list[str] = []
    for part in (part.rstrip(". ") if part != ".." else part for part in name.split("/")):
        if part == "..":
            parts[-1:] = []
        elif part:
            parts.append(part)
    return "/".join(parts)


def _fold(name: str) -> str:
    """Return the normal form of a name as a system sees it that does not distinguish upper and lower case."""
    return normalize("NFC", _clean(name)).casefold()


def _check_member(archive: ZipFile, member: ZipInfo, is_raster: bool) -> None:
    """Read a member as a whole, and refuse one that has another size or checksum than the archive states.

    Raises:
        SettingsError: If it is encrypted, or compressed in a way that GDAL does not read.
        UnreadableError: If it is too large, or has another size. zipfile raises further errors.
    """
    name = member.filename
    if member.flag_bits & 1:
        raise SettingsError(f"its {name} is encrypted: unpack it with its password")
    if member.compress_type not in METHODS:
        raise SettingsError(f"its {name} is compressed by method {member.compress_type}, not deflate: unpack it")
    check_claimed_size(name, member.file_size, member.compress_size)
    if not is_raster and member.file_size > MAX_HEADER_BYTES:
        raise UnreadableError(f"its {name} is too large")
    size = 0
    with archive.open(member) as file:
        while block := file.read(2**22):  # at the end, zipfile compares the checksum
            size += len(block)
    if size != member.file_size:
        raise UnreadableError(f"its {name} has {size} instead of {member.file_size} bytes")


def _locate(path: Path, member: ZipInfo) -> StoredBytes:
    """Return where in an archive the bytes of a member are, whose local header zipfile has checked."""
    with path.open("rb") as file:
        file.seek(member.header_offset)
        name_length, extra_length = struct.unpack("<26x2H", file.read(30))
    start = member.header_offset + 30 + name_length + extra_length
    return StoredBytes(path, start, member.compress_size, member.file_size, member.compress_type, member.CRC)


def describe_archive(path: Path) -> str:
    """Return what to do about an archive of which no file is named, as the reason of a message."""
    with ZipFile(path) as archive:
        names = archive.namelist()
    if names and all(name.endswith(".npy") for name in names):
        content = ", ".join(name.removesuffix(".npy")[:80] for name in names[:9])
        return f"it is a .npz file, which holds {content}: write the cube to a .npy file, with numpy.save"
    return "it is a zip archive: name the file in it, as in archive.zip/folder/file"
