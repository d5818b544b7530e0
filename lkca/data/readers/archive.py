"""Rasters in zip archives, which are read without unpacking."""

from contextlib import ExitStack
from pathlib import Path
from zipfile import ZipFile, ZipInfo

from lkca.data.readers.base import StoredCube, UnreadableError, check_claimed_size
from lkca.data.readers.raster import MAX_HEADER_BYTES, open_pcidsk, open_raster


def open_archive(stack: ExitStack, path: Path, archive_member: str, axes: list[str] | None) -> StoredCube:
    """Open an ENVI or PCIDSK raster in a zip archive until the stack closes; GDAL reads it without unpacking.

    GDAL does not verify the checksums of the archive; therefore zipfile reads the raster and its headers once before.
    """
    archive = stack.enter_context(ZipFile(path))
    raster, headers = _find_members(archive, archive_member)
    for member in (raster, *headers):
        check_claimed_size(member.filename, member.file_size, member.compress_size)
        if member is not raster and member.file_size > MAX_HEADER_BYTES:
            raise UnreadableError("its header is too large")
        with archive.open(member) as file:
            while file.read(2**22):  # at the end, zipfile compares the checksum
                pass
    name = f"/vsizip/{{{path.resolve()}}}/{archive_member}"
    with archive.open(raster) as file:
        if file.read(8) == b"PCIDSK  ":
            file.seek(0)
            return open_pcidsk(stack, file, name, raster.file_size, axes)
    return open_raster(stack, "ENVI", name, raster.file_size, axes)


def _find_members(archive: ZipFile, archive_member: str) -> tuple[ZipInfo, list[ZipInfo]]:
    """Return the raster and the headers that GDAL may read for it, in upper or lower case; refuse duplicates."""
    headers = (str(Path(archive_member).with_suffix(".hdr")).lower(), f"{archive_member}.hdr".lower())
    members: dict[str, ZipInfo] = {}
    for member in archive.infolist():
        if member.filename == archive_member or member.filename.lower() in headers:
            if member.filename.lower() in members:
                raise UnreadableError(f"it holds {member.filename} twice")
            members[member.filename.lower()] = member
    raster = members.pop(archive_member.lower(), None)
    if not raster:
        content = ", ".join(member.filename[:80] for member in archive.infolist()[:9])
        raise UnreadableError(f"it holds {content or 'nothing'} and no {archive_member}")
    return raster, list(members.values())
