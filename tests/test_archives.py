"""Zip archives: the member that is read is the one whose size, checksum and name were checked."""

import struct
import zlib
from pathlib import Path
from typing import NamedTuple
from zipfile import ZIP_BZIP2, ZIP_DEFLATED, ZIP_LZMA, ZIP_STORED, ZipFile

import numpy as np
import pytest

from lkca.data.catalog import File
from lkca.data.readers import open_cube
from lkca.errors import DataError

BANDS, ROWS, COLUMNS = 2, 4, 5
HEADER = (
    f"ENVI\nsamples = {COLUMNS}\nlines = {ROWS}\nbands = {BANDS}\ndata type = 12\ninterleave = bsq\nbyte order = 0\n"
)
RIGHT, WRONG = 1000, 30000


def image(value: int) -> bytes:
    """Return the pixels of a cube that has one value everywhere."""
    return np.full((BANDS, ROWS, COLUMNS), value, "<u2").tobytes()


class Member(NamedTuple):
    """A member of an archive; `local` is its name in its local header, if it is another one."""

    name: bytes
    data: bytes
    local: bytes | None = None
    flags: int = 0
    method: int = ZIP_STORED
    extra: bytes = b""
    size: int | None = None
    more: bytes = b""


def build(*members: Member, comment: bytes = b"", before: bytes = b"") -> bytes:
    """Return a zip archive, in which the positions count from the start of the file."""
    out, directory = before, b""
    for member in members:
        name, data, local, flags, method, extra, size, more = member
        compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
        stored = compressor.compress(data) + compressor.flush() if method == ZIP_DEFLATED else data
        stored, size = stored + more, len(data) if size is None else size
        facts = flags, method, 0, 33, zlib.crc32(data), len(stored), size
        position, local = len(out), name if local is None else local
        out += struct.pack("<4s5H3I2H", b"PK\3\4", 20, *facts, len(local), 0) + local + stored
        directory += struct.pack("<4s6H3I", b"PK\1\2", 20, 20, *facts)
        directory += struct.pack("<5H2I", len(name), len(extra), 0, 0, 0, 0, position) + name + extra
    end = struct.pack("<4s4H", b"PK\5\6", 0, 0, len(members), len(members))
    return out + directory + end + struct.pack("<2IH", len(directory), len(out), len(comment)) + comment


CUBE, DEFLATED = Member(b"d/c.bsq", image(RIGHT)), Member(b"d/c.bsq", image(RIGHT), method=ZIP_DEFLATED)
HDR = Member(b"d/c.hdr", HEADER.encode())


def read(data: bytes, path: str | Path = "a.zip", member: str = "d/c.bsq") -> int:
    """Write an archive, and return the value that all pixels of one of its members have."""
    Path(path).write_bytes(data)
    with open_cube(File(path=f"{path}/{member}")) as reader:
        values = reader.read(0, BANDS, slice(0, ROWS), slice(0, COLUMNS), np.dtype("float32"))
    assert values.min() == values.max()
    return int(values.max())


def refusal(data: bytes, member: str = "d/c.bsq") -> str:
    """Return the message, one sentence, with which an archive is refused."""
    with pytest.raises(DataError) as error:
        read(data, member=member)
    message = str(error.value)
    assert message.startswith("a.zip cannot be read") and message.endswith(".") and message.isprintable()
    return message


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def unicode_path(name: bytes, shown: bytes) -> bytes:
    """Return the extra field with which Info-ZIP gives a member another name."""
    return struct.pack("<HHBI", 0x7075, 5 + len(shown), 1, zlib.crc32(name)) + shown


SAME_NAMES = [
    b"./d/c.bsq",
    b"d//c.bsq",
    b"d/./c.bsq",
    b"d\\c.bsq",
    b".\\d\\c.bsq",
    b"/d/c.bsq",
    b"//d/c.bsq",
    b"../d/c.bsq",
    b"x/../d/c.bsq",
    b"D/C.bsq",
    b"d/c.bsq.",
    b"d/c.bsq ",
    b"d. /c.bsq",
    b"C:/d/c.bsq",
    b"c:d\\c.bsq",
    b"d/c.bsq\0",
    b"d/c.bsq\0.txt",
    b"d/c.bsq/",
]


@pytest.mark.parametrize("name", SAME_NAMES)
def test_second_name_of_the_cube_is_refused(name):
    second = Member(name, image(WRONG))
    assert "twice" in refusal(build(second, CUBE, HDR))
    assert "twice" in refusal(build(DEFLATED, HDR, second))
    refusal(build(second, HDR))  # even if it is the only one


@pytest.mark.parametrize("name", [b"./d/c.hdr", b"d\\c.hdr", b"d/c.bsq.hdr.", b"d//c.HDR", b"d/c.hdr\0x"])
def test_second_name_of_the_header_is_refused(name):
    wrong = Member(name, HEADER.replace("data type = 12", "data type = 2").encode())
    assert "twice" in (message := refusal(build(CUBE, HDR, wrong))) or "differently" in message
    assert "read the name of its member" in refusal(build(CUBE, wrong))


@pytest.mark.parametrize("name", [b"d/c.bsq.aux.xml", b"d/c.bsq.msk"])
def test_second_name_of_another_neighbour_is_refused(name):
    assert "differently" in refusal(build(CUBE, HDR, Member(b"./" + name, b"x")))


@pytest.mark.parametrize(
    "extra", [unicode_path(b"z.bsq", b"d/c.bsq"), struct.pack("<HH", 1, 0) + unicode_path(b"z.bsq", b"./d/c.bsq")]
)
def test_name_in_an_extra_field_counts(extra):
    other = Member(b"z.bsq", image(WRONG), extra=extra)
    assert "twice" in refusal(build(other, CUBE, HDR))
    assert "differently" in refusal(build(other, HDR))


def test_name_without_a_declared_encoding_is_refused():
    name = "d/ü.bsq".encode()
    declared = [Member(name, image(RIGHT), flags=2048), HDR._replace(name="d/ü.hdr".encode(), flags=2048)]
    assert read(build(*declared), member="d/ü.bsq") == RIGHT
    assert "twice" in refusal(build(*declared, Member(name, image(WRONG))), "d/ü.bsq")
    assert "differently" in refusal(build(Member(name, image(WRONG)), declared[1]), "d/ü.bsq")


def test_local_name_must_be_that_of_the_directory():
    assert "differ" in refusal(build(CUBE._replace(local=b"d/x.bsq"), HDR))
    assert read(build(CUBE, HDR, Member(b"x", image(WRONG), local=b"d/c.bsq"))) == RIGHT  # another member


@pytest.mark.parametrize("cube", [CUBE, DEFLATED])
def test_directory_that_zipfile_takes_counts(cube):
    wrong = build(Member(b"d/c.bsq", image(WRONG)), HDR)
    assert read(wrong + build(cube, HDR)) == RIGHT  # positions count from the second archive
    assert read(build(cube, HDR, before=wrong)) == RIGHT
    assert read(build(cube, HDR, comment=wrong[: wrong.index(b"PK\5\6")])) == RIGHT


def test_archive_that_is_replaced_is_read_anew():
    for value in (RIGHT, WRONG, RIGHT):  # GDAL keeps the directory of an archive in memory
        assert read(build(Member(b"x" * value, b""), CUBE._replace(data=image(value)), HDR)) == value


@pytest.mark.parametrize("size", [len(image(0)) + 1, len(image(0)) * 2, len(image(0)) - 1])
@pytest.mark.parametrize("cube", [CUBE, DEFLATED])
def test_size_must_be_that_of_the_content(cube, size):
    lines = HEADER.replace(f"bands = {BANDS}", f"bands = {size * BANDS // len(image(0))}")
    message = refusal(build(cube._replace(size=size), HDR._replace(data=lines.encode())))
    assert f"instead of {size} bytes" in message or "CRC-32" in message


@pytest.mark.parametrize("more", [b"x", image(WRONG), DEFLATED.data])
def test_bytes_after_the_compressed_content_do_not_count(more):
    assert read(build(DEFLATED._replace(more=more), HDR)) == RIGHT


@pytest.mark.parametrize("method", [ZIP_BZIP2, ZIP_LZMA, 9, 93, 99])
def test_other_compression_is_refused(method):
    if method in (ZIP_BZIP2, ZIP_LZMA):
        with ZipFile("b.zip", "w", method) as archive:
            archive.writestr("d/c.bsq", image(RIGHT))
            archive.writestr("d/c.hdr", HEADER)
        data = Path("b.zip").read_bytes()
    else:
        data = build(CUBE._replace(method=method), HDR)
    assert f"compressed by method {method}, not deflate: unpack it" in refusal(data)


def test_encrypted_member_is_refused():
    assert "is encrypted: unpack it with its password" in refusal(build(CUBE._replace(flags=1), HDR))
    assert "c.hdr is encrypted" in refusal(build(CUBE, HDR._replace(flags=1)))


@pytest.mark.parametrize("method", [ZIP_STORED, ZIP_DEFLATED])
def test_large_archive_has_its_sizes_in_an_extra_field(method):
    with ZipFile("b.zip", "w", method) as archive:
        with archive.open("d/c.bsq", "w", force_zip64=True) as member:
            member.write(image(RIGHT))
        archive.writestr("d/c.hdr", HEADER)
    assert read(Path("b.zip").read_bytes()) == RIGHT


def test_position_beyond_four_gigabytes():
    with ZipFile("a.zip", "w", ZIP_DEFLATED) as archive:  # a sparse file
        archive.writestr("first", b"")
        archive.fp.seek(5 * 2**30)
        archive.start_dir = archive.fp.tell()
        archive.writestr("d/c.bsq", image(RIGHT))
        archive.writestr("d/c.hdr", HEADER)
    with open_cube(File(path="a.zip/d/c.bsq")) as reader:
        values = reader.read(0, 1, slice(0, 1), slice(0, 1), np.dtype("float32"))
    assert values.item() == RIGHT


@pytest.mark.parametrize(
    "name", ["{a}.zip", "}.zip", "a&<b>'\".zip", "ü ö.zip", "a!b.zip", "a.zip?b=c.zip", "{{.zip", "%41.zip"]
)
def test_archive_may_have_any_name(name):
    Path(" {folder} &amp;").mkdir()
    assert read(build(DEFLATED, HDR), Path(" {folder} &amp;", name)) == RIGHT


HEADERS = [  # that GDAL reads in another way: the pixels start at byte 10, or at 0
    ("header offset = 1_0\n", 10),
    ("header offset = \uff11\uff10\n", 10),  # digits of another alphabet
    ("note = a {\nheader offset = 10\n}\n", 10),
    ("header\toffset = 10\n", 10),
    ("note = {\nheader offset = 10\n}\n", 0),
    ("; header offset = 10\n", 0),
]


@pytest.mark.parametrize(("line", "offset"), HEADERS)
@pytest.mark.parametrize("in_archive", [False, True])
def test_header_has_one_meaning(line, offset, in_archive):
    header, data = HEADER + line, b"\xff" * offset + image(RIGHT)
    if in_archive:
        assert read(build(Member(b"d/c.bsq", data), HDR._replace(data=header.encode()))) == RIGHT
        return
    Path("c.bsq").write_bytes(data)
    Path("c.hdr").write_text(header, encoding="utf-8")
    with open_cube(File(path="c.bsq")) as reader:
        values = reader.read(0, BANDS, slice(0, ROWS), slice(0, COLUMNS), np.dtype("float32"))
    assert (values == RIGHT).all()
