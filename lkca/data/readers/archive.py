"""Rasters in zip archives, which are read without unpacking."""

from contextlib import ExitStack
from pathlib import Path
from zipfile import ZipFile, ZipInfo

from lkca.data.readers.base import SettingsError, StoredCube, UnreadableError, check_claimed_size
from lkca.data.readers.envi_header import parse_header
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


def open_archive(stack: ExitStack, path: Path, archive_member: str, axes: list[str] | None) -> StoredCube:
    """Open an ENVI or PCIDSK raster in a zip archive until the stack closes; GDAL reads it without unpacking.

    GDAL does not verify the checksums of the archive; therefore zipfile reads the raster and its headers once before.
    """
    archive = stack.enter_context(ZipFile(path))
    raster, headers, aux = _find_members(archive, archive_member)
    for member in (raster, *headers, *aux):
        check_claimed_size(member.filename, member.file_size, member.compress_size)
        if member is not raster and member.file_size > MAX_HEADER_BYTES:
            raise UnreadableError(f"its {member.filename} is too large")
        with archive.open(member) as file:
            while file.read(2**22):  # at the end, zipfile compares the checksum
                pass
    name = f"/vsizip/{{{path.resolve()}}}/{archive_member}"
    more = archive.read(aux[0]) if aux else None
    if more is not None and not declares_facts(more, archive.read(headers[0]) if headers else b""):
        more = None
    with archive.open(raster) as file:
        start = file.read(8)
        if start == b"PCIDSK  ":
            file.seek(0)
            found = RasterFile("PCIDSK", name, raster.file_size, aux=more, aux_name=f"{archive_member}.aux.xml")
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
        RasterFile("ENVI", name, raster.file_size, fields, aux=more, aux_name=f"{archive_member}.aux.xml"),
        axes,
    )


def _find_members(archive: ZipFile, archive_member: str) -> tuple[ZipInfo, list[ZipInfo], list[ZipInfo]]:
    """Return the raster, its ENVI headers in upper or lower case, and its .aux.xml file; refuse duplicates."""
    headers = (str(Path(archive_member).with_suffix(".hdr")).lower(), f"{archive_member}.hdr".lower())
    aux, mask = f"{archive_member}.aux.xml".lower(), f"{archive_member}.msk".lower()
    members: dict[str, ZipInfo] = {}
    for member in archive.infolist():
        if member.filename == archive_member or member.filename.lower() in (*headers, aux, mask):
            if member.filename.lower() in members:
                raise UnreadableError(f"it holds {member.filename} twice")
            members[member.filename.lower()] = member
    raster = members.pop(archive_member.lower(), None)
    if not raster:
        content = ", ".join(member.filename[:80] for member in archive.infolist()[:9])
        raise SettingsError(f"it holds {content or 'nothing'} and no {archive_member}: correct path in its entry")
    if mask in members:
        raise SettingsError(f"it holds a mask of the image, {members[mask].filename}: unpack it to use the mask")
    return raster, [members[name] for name in headers if name in members], [members[aux]] if aux in members else []


def describe_archive(path: Path) -> str:
    """Return what to do about an archive of which no file is named, as the reason of a message."""
    with ZipFile(path) as archive:
        names = archive.namelist()
    if names and all(name.endswith(".npy") for name in names):
        content = ", ".join(name.removesuffix(".npy")[:80] for name in names[:9])
        return f"it is a .npz file, which holds {content}: write the cube to a .npy file, with numpy.save"
    return "it is a zip archive: name the file in it, as in archive.zip/folder/file"
