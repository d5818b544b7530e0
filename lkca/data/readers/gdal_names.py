"""Names under which GDAL opens exactly the bytes that the readers have checked.

GDAL looks up an ENVI header or a member of an archive by its own rules, and may find another one than the reader.
Therefore it opens neither the header nor the archive, but an archive in memory that has two members: the bytes of the
raster, which stay where they are on the disk, and a header that the reader has written.
"""

import os
import struct
import zlib
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

from lkca.data.readers.base import SettingsError

RASTER, HEADER = b"raster.bin", b"raster.hdr"
IN_EXTRA = 2**32 - 1  # in place of a size of 64 bits, which is in the extra field
DATE = 0x21  # 1980-01-01
STORED, DEFLATED = 0, 8  # methods of compression


@dataclass(frozen=True)
class StoredBytes:
    """Consecutive bytes of a file on the disk, which are the content of a raster, perhaps deflated.

    Args:
        path: The file.
        start: Position of the first byte.
        length: Number of bytes.
        size: Number of bytes of the raster, another one if they are deflated.
        method: STORED or DEFLATED.
        crc: CRC-32 of the raster; GDAL uses it only if it is deflated.
    """

    path: Path
    start: int
    length: int
    size: int
    method: int = STORED
    crc: int = 0


def name_file(path: Path) -> str:
    """Return GDAL's name of a file on the disk, which cannot be mistaken for one of GDAL's other names.

    Raises:
        SettingsError: If GDAL would take the path for something else.
    """
    name = str(path.absolute())  # a relative one may begin like a driver of GDAL, as in GTIFF_DIR:2:a.tif
    if name.startswith("/vsi"):
        raise SettingsError("its path begins with /vsi, which has another meaning for GDAL: move it to another folder")
    return name


def name_bytes(stack: ExitStack, raster: StoredBytes, header: bytes | None = None) -> str:
    """Return GDAL's name of a raster that is stored inside of a file, valid until the stack closes.

    Args:
        stack: The stack that frees the memory.
        raster: The bytes of the raster.
        header: The ENVI header that GDAL finds next to the raster, None for none.
    """
    from rasterio.io import MemoryFile

    name_file(raster.path)  # refuses a path with another meaning
    before, after = _frame(raster, header)
    frame = stack.enter_context(MemoryFile(before + after))
    regions = [
        (frame.name, 0, 0, len(before)),
        (str(raster.path.absolute()), len(before), raster.start, raster.length),
        (frame.name, len(before) + raster.length, len(before), len(after)),
    ]
    tags = ("Filename", "DestinationOffset", "SourceOffset", "RegionLength")
    texts = [
        "".join(f"<{tag}>{escape(str(value))}</{tag}>" for tag, value in zip(tags, region, strict=True))
        for region in regions
        if region[-1]
    ]
    parts = "".join(f"<SubfileRegion>{text}</SubfileRegion>" for text in texts)
    length = len(before) + raster.length + len(after)
    xml = f"<VSISparseFile><Length>{length}</Length>{parts}</VSISparseFile>"
    index = stack.enter_context(MemoryFile(os.fsencode(xml), ext=".xml"))
    return f"/vsizip/{{/vsisparse/{index.name}}}/{RASTER.decode()}"


def _frame(raster: StoredBytes, header: bytes | None) -> tuple[bytes, bytes]:
    """Return what a zip archive with the raster and its header has before and after the bytes of the raster."""
    sizes = struct.pack("<HHQQ", 1, 16, raster.size, raster.length)
    before = (
        struct.pack("<4s5H3I2H", b"PK\3\4", 45, 0, raster.method, 0, DATE, raster.crc, IN_EXTRA, IN_EXTRA, 10, 20)
        + RASTER
        + sizes
    )
    entries = [
        struct.pack("<4s6H3I", b"PK\1\2", 45, 45, 0, raster.method, 0, DATE, raster.crc, IN_EXTRA, IN_EXTRA)
        + struct.pack("<5H2I", 10, 20, 0, 0, 0, 0, 0)
        + RASTER
        + sizes
    ]
    after = b""
    if header is not None:
        crc, size, place = zlib.crc32(header), len(header), len(before) + raster.length
        after = struct.pack("<4s5H3I2H", b"PK\3\4", 45, 0, STORED, 0, DATE, crc, size, size, 10, 0) + HEADER + header
        entries.append(
            struct.pack("<4s6H3I", b"PK\1\2", 45, 45, 0, STORED, 0, DATE, crc, size, size)
            + struct.pack("<5H2I", 10, 12, 0, 0, 0, 0, IN_EXTRA)
            + HEADER
            + struct.pack("<HHQ", 1, 8, place)
        )
    directory, number = b"".join(entries), len(entries)
    start = len(before) + raster.length + len(after)
    end = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, number, number, len(directory), start)
    end += struct.pack("<4sIQI", b"PK\6\7", 0, start + len(directory), 1)
    end += struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 2**16 - 1, 2**16 - 1, IN_EXTRA, IN_EXTRA, 0)
    return before, after + directory + end
