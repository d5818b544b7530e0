"""Files of others are hostile: each is read as it is meant, or refused in one sentence; nothing else happens.

Small files in every format are changed in one way each. A process under guard looks at all of a class.
"""

import ctypes
import io
import json
import os
import re
import signal
import struct
import subprocess
import sys
import time
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import chdir
from functools import cache
from pathlib import Path
from typing import NamedTuple
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

import numpy as np
import pytest

from lkca.data import sandbox as guard
from lkca.data import scenes
from lkca.data.catalog import Cube, File
from lkca.data.sandbox import run_sandboxed, set_current_file
from lkca.errors import LkcaError

ROWS, COLUMNS, BANDS, LARGEST = 24, 20, 6, 5000
RASTER, ARRAY = "bands rows columns", "rows columns bands"
SECRET = 31337  # the pixels of a file that lies elsewhere
CHIKUSEI = "Chikusei_ENVI/HyperspecVNIR_Chikusei_20140729.bsq"
HOUSTON = "2018IEEE_Contest/Phase2/FullHSIDataset/20170218_UH_CASI_S4_NAD83.pix"
ENVI_HEADER = {
    "samples": COLUMNS,
    "lines": ROWS,
    "bands": BANDS,
    "header offset": 0,
    "file type": "ENVI Standard",
    "data type": 12,
    "interleave": "bsq",
    "byte order": 0,
}


class Format(NamedTuple):
    name: str
    axes: str
    inside: str | None = None


FORMATS = {
    "mat5": Format("a.mat", ARRAY),  # compressed
    "mat5plain": Format("a.mat", ARRAY),
    "mat73": Format("a.mat", ARRAY),
    "hdf5": Format("a.h5", RASTER),
    "envi": Format("a.bsq", RASTER),
    "pcidsk": Format("a.pix", RASTER),
    "pixel": Format("a.pix", RASTER),  # PCIDSK, all bands of a pixel together
    "tiled": Format("a.pix", RASTER),  # PCIDSK
    "tiff": Format("a.tif", RASTER),
    "deflated": Format("a.tif", RASTER),  # GeoTIFF
    "zip-envi": Format("a.zip", RASTER, CHIKUSEI),
    "zip-pcidsk": Format("a.zip", RASTER, HOUSTON),
    "npy": Format("a.npy", ARRAY),
}


class Hostile(NamedTuple):
    """A file with one change.

    Args:
        format: Of which it was, or pretends to be.
        data: Its bytes.
        said: What the refusal says, a regular expression; empty if it may be read too, None if it must.
        same: Whether it can only be read as what it was.
        beside: Further files, of these names.
        inside: The path in the archive, where it is another than the format's.
    """

    format: str
    data: bytes
    said: str | None = ""
    same: bool = False
    beside: dict[str, bytes] = {}
    inside: str | None = None


Made = Iterator[Hostile]
CLASSES: dict[str, tuple[int, Callable[[], Made]]] = {}


def of(count: int) -> Callable[[Callable[[], Made]], Callable[[], Made]]:
    """A class of so many files."""

    def add(make: Callable[[], Made]) -> Callable[[], Made]:
        CLASSES[make.__name__.replace("_", "-")] = count, make
        return make

    return add


@cache
def pixels() -> np.ndarray:
    from official import Scene

    return np.stack(list(Scene(ROWS, COLUMNS, BANDS, LARGEST)), 2)


@cache
def good(name: str) -> bytes:
    """The file of a format before any change."""
    import tempfile

    import official
    import rasterio
    from scipy.io import savemat

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / FORMATS[name].name
        bands = np.moveaxis(pixels(), 2, 0)
        facts = {"width": COLUMNS, "height": ROWS, "count": BANDS, "dtype": "uint16"}
        match name:
            case "mat5":
                official.matlab5(path, "cube", pixels())
            case "mat5plain":
                savemat(path, {"cube": pixels()})
            case "mat73":
                official.matlab73(path, "cube", pixels(), chunks=(2, 10, 12))
            case "hdf5":
                return hdf5(lambda file: file.create_dataset("cube", data=bands))
            case "envi":
                return bands.tobytes()
            case "pcidsk":
                path = official.houston(Path(folder), pixels())
            case "pixel" | "tiled":
                more = {"interleaving": name.upper(), "tilesize": 16}
                with rasterio.open(path, "w", driver="PCIDSK", **facts, **more) as raster:
                    raster.write(bands)
            case "tiff" | "deflated":
                more = {"compress": "deflate"} if name == "deflated" else {}
                with rasterio.open(
                    path, "w", driver="GTiff", interleave="band", blockysize=8, **facts, **more
                ) as raster:
                    raster.write(bands)
            case "zip-envi":
                official.chikusei_envi(path, pixels())
            case "zip-pcidsk":
                official.houston_zip(path, pixels())
            case "npy":
                return npy(pixels())
        return path.read_bytes()


def beside(name: str) -> dict[str, bytes]:
    return {"a.hdr": envi_header()} if name == "envi" else {}


def envi_header(**changes: str | int | None) -> bytes:
    """The header of the bare ENVI file; underscores stand for blanks; None leaves a line out."""
    facts = ENVI_HEADER | {key.replace("_", " "): value for key, value in changes.items()}
    lines = [f"{key} = {value}" for key, value in facts.items() if value is not None]
    return "\n".join(["ENVI", *lines, ""]).encode()


def envi(
    said: str | None = None, data: bytes | None = None, same: bool = False, **changes: str | int | None
) -> Hostile:
    return Hostile("envi", good("envi") if data is None else data, said, same, {"a.hdr": envi_header(**changes)})


def hdf5(fill: Callable, **options) -> bytes:
    """An HDF5 file, filled by a function of h5py's File."""
    import h5py

    memory = io.BytesIO()
    with h5py.File(memory, "w", **options) as file:
        fill(file)
    return memory.getvalue()


def npy(array: np.ndarray) -> bytes:
    memory = io.BytesIO()
    np.save(memory, array)
    return memory.getvalue()


def npy_header(text: str, version: int = 1, data: bytes | None = None) -> bytes:
    length = struct.pack("<H" if version == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes((version, 0)) + length + text.encode() + (pixels().tobytes() if data is None else data)


def mat5(**variables) -> bytes:
    from scipy.io import savemat

    memory = io.BytesIO()
    savemat(memory, variables)
    return memory.getvalue()


def zipped(members: list[tuple[str | ZipInfo, bytes]], method: int = ZIP_DEFLATED) -> bytes:
    memory = io.BytesIO()
    with ZipFile(memory, "w", method) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return memory.getvalue()


def zip_envi(raster: bytes | None = None, header: bytes | None = None, method: int = ZIP_DEFLATED) -> bytes:
    members = [(CHIKUSEI, good("envi") if raster is None else raster)]
    return zipped([*members, (f"{CHIKUSEI[:-3]}hdr", header or envi_header())], method)


def patched(data: bytes, *changes: tuple[int, bytes]) -> bytes:
    changed = bytearray(data)
    for at, new in changes:
        changed[at : at + len(new)] = new
    return bytes(changed)


def zeros_deflated(size: int) -> bytes:
    """A raw deflate stream of so many zeros, a multiple of 2^20, made quickly."""
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = bytes(2**20)
    first = squeeze.compress(block) + squeeze.flush(zlib.Z_FULL_FLUSH)
    again = squeeze.compress(block) + squeeze.flush(zlib.Z_FULL_FLUSH)
    return first + again * (size // 2**20 - 1) + squeeze.flush()


def flipped(data: bytes, at: int, bit: int) -> bytes:
    return patched(data, (at, bytes([data[at] ^ 1 << bit])))


@of(133)
def truncated() -> Made:
    """Whatever is missing at the end is never read as zeros."""
    for name in FORMATS:
        data = good(name)
        parts = {"pcidsk": (30, 60, 80, 88), "pixel": (30, 60, 80, 88), "tiled": (10, 30)}.get(name, (30, 60, 80, 95))
        last = [] if name in ("pcidsk", "pixel", "tiled") else [len(data) - 1]  # behind the pixels
        for end in [0, 5, 60, 130, 400, *(len(data) * part // 100 for part in parts), *last]:
            yield Hostile(name, data[:end], "cannot be read", beside=beside(name))
    for end in (0, 3, 10, 20, 30):  # "samples = 20, lines = 24, ..."
        yield Hostile("envi", good("envi"), "cannot be read", beside={"a.hdr": envi_header()[:end]})
    yield Hostile("zip-envi", zip_envi(raster=good("envi")[:-1]), "ends after 5759 of 5760 bytes")
    yield Hostile("zip-envi", zip_envi(header=envi_header()[:30]), "cannot be read")
    yield Hostile("zip-pcidsk", zipped([(HOUSTON, good("pcidsk")[:-5000])]), "ends after")


@of(78)
def flipped_header() -> Made:
    rng = np.random.default_rng(1)
    spans = {"mat5": 200, "mat5plain": 192, "mat73": 2400, "hdf5": 1400, "npy": 128, "pcidsk": 512, "pixel": 512}
    for name in FORMATS:
        for _ in range(6):
            data, bit = good(name), int(rng.integers(8))
            if name == "envi":
                header = envi_header()
                changed = {"a.hdr": flipped(header, int(rng.integers(len(header))), bit)}
                yield Hostile(name, data, beside=changed)
            elif name.startswith("zip"):  # the directory, at the end
                at = data.index(b"PK\1\2") + int(rng.integers(len(data) - data.index(b"PK\1\2")))
                yield Hostile(name, flipped(data, at, bit), same=True)
            else:
                yield Hostile(name, flipped(data, int(rng.integers(spans.get(name, 300))), bit))


@of(52)
def flipped_data() -> Made:
    rng = np.random.default_rng(2)
    for name in FORMATS:
        data = good(name)
        for _ in range(4):
            at = int(
                len(data) * rng.uniform(0.92, 0.99)
                if name in ("pcidsk", "pixel")
                else len(data) * rng.uniform(0.3, 0.7)
            )
            if name.startswith("zip"):
                at = data.index(Path(FORMATS[name].inside).name.encode()) + 100 + int(rng.integers(1500))
            said = "cannot be read" if name.startswith("zip") else ""
            yield Hostile(name, flipped(data, at, int(rng.integers(8))), said, beside=beside(name))


@of(41)
def wrong_envi_header() -> Made:
    for key in ("lines", "samples", "bands"):
        for value in (ROWS + 10, 0, -1, 2**31 - 1, 2**31, 2**63, "x", "", None):
            yield envi("ends after .* bytes|cannot be read|has 0 bands|has 1 bands", **{key: value})
    yield envi("ends after 5760 of 11520 bytes", data_type=4)
    yield envi("instead of one kind of real numbers", data_type=6, data=good("envi") * 4)
    yield envi("cannot be read", data_type=99)
    yield envi("ends after", header_offset=1)
    yield envi("cannot be read", header_offset=-1000)
    yield envi("cannot be read", header_offset="-1_0")
    yield envi("cannot be read", header_offset="x")
    yield envi("cannot be read", header_offset=2**63 - 5000)
    yield envi("neighbouring pixels have little in common", byte_order=1)
    yield envi("neighbouring pixels have little in common", interleave="bip")
    yield envi(None, interleave="bil")
    yield envi(None, interleave="spiral")
    yield envi("cannot be read", file_compression=1)
    yield envi("compressed", data=zlib.compress(good("envi"), wbits=31) + bytes(5760), file_compression=1)


def of_class(number: int, flags: int = 0) -> bytes:
    """A MATLAB v5 file whose variable calls itself of another class."""
    return patched(good("mat5plain"), (144, bytes((number, flags))))


@of(41)
def wrong_class() -> Made:
    """Of a variable: cell, struct, char, sparse, complex, function handle, opaque, logical, and none at all."""
    import h5py
    from scipy.sparse import csc_array

    numbers, said = pixels(), "instead of|cannot be read"
    for number in (*range(6), 16, 17, 18, 19, 255):  # 6 to 15 are kinds of numbers
        yield Hostile("mat5plain", of_class(number), said)
    for flags in (2, 8, 10):  # logical, complex
        yield Hostile("mat5plain", of_class(11, flags), said)
    cells = np.empty((3, 4, 5), object)
    cells[:] = 1.0
    for value in (
        cells,
        {"a": numbers},
        np.full((3, 4, 5), "x"),
        csc_array(np.eye(9)),
        numbers + 1j,
        numbers > 9,
        "text",
    ):
        yield Hostile("mat5", mat5(cube=value), said)
    for value in (numbers[0], numbers[0, 0], 7.0, np.empty((0, 4, 5)), numbers[None]):
        yield Hostile("mat5", mat5(cube=value), "shape")
    kinds = [complex, "S9", [("a", "i2"), ("b", "i2")], h5py.string_dtype(), h5py.vlen_dtype(np.int16)]
    for kind in (*kinds, h5py.ref_dtype, h5py.regionref_dtype, np.dtype("V4")):
        data = hdf5(lambda file, kind=kind: file.create_dataset("cube", (BANDS, ROWS, COLUMNS), kind))
        yield Hostile("hdf5", data, "instead of real numbers")
    yield Hostile("hdf5", hdf5(lambda file: file.create_group("cube")), "no cube")
    yield Hostile("hdf5", hdf5(lambda file: file.__setitem__("cube", np.dtype("i2"))), "no cube")
    for shape in ((), (9,), (9, 9), (1, 2, 3, 4)):
        yield Hostile(
            "hdf5", hdf5(lambda file, shape=shape: file.create_dataset("cube", shape)), "instead of three axes"
        )
    yield Hostile("hdf5", hdf5(lambda file: file.__setitem__("cube", h5py.Empty("i2"))), "cannot be read")


@of(12)
def wrong_values() -> Made:
    """What is no image, though it is an array."""
    numbers = pixels().astype(float)
    values = {
        "NaN or infinite": [
            np.where(numbers == LARGEST, np.nan, numbers),
            np.where(numbers > 0, numbers, np.inf) * np.inf,
        ],
        "NaN or infinite values|cannot be read": [numbers * 1e300],  # no float32
        "one value": [numbers * 0, numbers * 0 + 7],
        "positive": [-1 - numbers],
    }
    for said, arrays in values.items():
        for array in arrays:
            yield Hostile("npy", npy(array), said)
            yield Hostile("mat5", mat5(cube=array), said)


@of(13)
def missing_variable() -> Made:
    numbers = pixels()
    for variables in ({}, {"other": numbers}, {"Cube": numbers}, {"cube2": numbers, "cubE": numbers}):
        yield Hostile("mat5", mat5(**variables), "no cube")
        yield Hostile("hdf5", hdf5(lambda file, variables=variables: file.update(variables)), "no cube")
    yield Hostile("hdf5", hdf5(lambda file: file.__setitem__("deep/cube", numbers)), "no cube")
    yield Hostile("hdf5", hdf5(lambda file: file.__setitem__("\x1b[31mred\nX", numbers)), "no cube")
    yield Hostile("mat73", hdf5(lambda file: None, userblock_size=512), "no cube")
    yield Hostile("mat5", patched(good("mat5plain"), (180, b"\x1b[3m")), "no cube")
    yield Hostile("mat5", patched(good("mat5plain"), (178, b"\xff\xff")), "cannot be read")


def tiff(said: str, form: str = "tiff", **tags: int) -> Hostile:
    """A TIFF with other numbers in its directory."""
    data, numbers = (
        good(form),
        {"width": 256, "height": 257, "bits": 258, "compression": 259, "samples": 277, "strip": 278},
    )
    for name, value in tags.items():
        at = next(at for at in range(10, 200, 12) if data[at : at + 2] == struct.pack("<H", numbers[name]))
        data = patched(data, (at + 2, struct.pack("<HII", 4, 1, value)))
    return Hostile(form, data, said)


@of(35)
def huge_shape() -> Made:
    said = "cannot be read|memory"
    for sizes in (
        (2**31 - 1, 1, 1),
        (2**31 - 1, 2**31 - 1, 2**31 - 1),
        (-1, -1, 1),
        (2**16, 2**16, 6),
        (65535, 3, 6),
        (24, 20, 7),
    ):
        yield Hostile("mat5plain", patched(good("mat5plain"), (160, struct.pack("<3i", *sizes))), said)
    for sizes in (
        (6, 20, 10**12),
        (10**6, 10**6, 10**6),
        (2**63, 2, 2),
        (6, 2**32, 2**32),
        (6, 10**5, 10**5),
        (6, 20, 2**40),
    ):
        dims = struct.pack("<3Q", BANDS, COLUMNS, ROWS)
        yield Hostile("mat73", good("mat73").replace(dims, struct.pack("<3Q", *sizes)), said)
        dims = struct.pack("<3Q", BANDS, ROWS, COLUMNS)
        yield Hostile("hdf5", good("hdf5").replace(dims, struct.pack("<3Q", *sizes)), said)
    for shape in (
        "2147483648, 2, 6",
        "99999999999999999999, 20, 6",
        "24, 20, 7",
        "-24, 20, -6",
        "1000000, 1000000, 6",
        "24, 0, 6",
    ):
        yield Hostile("npy", npy_header(f"{{'descr': '<u2', 'fortran_order': False, 'shape': ({shape})}}\n"), said)
    yield tiff(said, width=2**31 - 1)
    yield tiff(said, height=2**31 - 1)
    yield tiff(said, width=2**31 - 1, height=2**31 - 1)
    yield tiff(said, width=10**5, height=10**5)
    yield tiff(said, width=2**32 - 1, strip=2**31 - 1)
    yield tiff(said, samples=65535)
    yield tiff(said, height=100, strip=1)
    for at, text in ((384, b"99999999"), (392, b"99999999"), (376, b"99999999"), (384, b"      -1")):
        yield Hostile("pcidsk", patched(good("pcidsk"), (at, text)), "cannot be read")


@of(9)
def huge_chunks() -> Made:
    """Pieces of which one is too large for memory."""
    for sizes in (
        (2**31, 1, 1, 2),
        (1, 2**16, 2**16, 2),
        (2**32 - 1, 2**32 - 1, 2**32 - 1, 2),
        (0, 0, 0, 0),
        (2, 10, 12, 2**31),
    ):
        chunk = struct.pack("<4I", 2, 10, 12, 2)
        assert chunk in good("mat73")
        yield Hostile("mat73", good("mat73").replace(chunk, struct.pack("<4I", *sizes)), "cannot be read")
    whole = (BANDS, 20_000, 20_000)
    yield Hostile("hdf5", hdf5(lambda file: file.create_dataset("cube", whole, "u2", chunks=whole)), "too large")
    whole = (1, 20_000, 20_000)
    yield Hostile(
        "hdf5", hdf5(lambda file: file.create_dataset("cube", (6, *whole[1:]), "u2", chunks=whole)), "too large"
    )
    yield tiff("cannot be read", width=60_000, height=60_000, strip=60_000)
    yield tiff("cannot be read", "deflated", width=30_000, height=30_000, strip=30_000)


@of(30)
def wrong_compression() -> Made:
    deflate = good("mat73").index(b"deflate\0") - 8  # the number of the filter, of eight bytes with its name's length
    for number in (0, 2, 4, 6, 32001, 32015, 65535):
        yield Hostile("mat73", patched(good("mat73"), (deflate, struct.pack("<H", number))), "cannot be read|in common")
    for number in (2, 5, 7, 8, 32773, 32946, 34712, 34887, 50000, 50001, 65000):  # of TIFF
        yield tiff("cannot be read|in common", compression=number)
    start = good("mat5").index(b"\x78", 128)
    yield Hostile("mat5", patched(good("mat5"), (start, b"\0\0")), "cannot be read")
    yield Hostile("mat5", patched(good("mat5"), (start + 40, b"\xff" * 20)), "cannot be read")
    yield Hostile("mat5", good("mat5")[:-4] + bytes(4), "cannot be read")  # Adler-32
    for name in ("zip-envi", "zip-pcidsk"):
        data, member = good(name), FORMATS[name].inside.encode()
        local = data.rindex(b"PK\3\4", 0, data.index(member))
        central = data.rindex(b"PK\1\2", 0, data.rindex(member))
        for number in (0, 9, 99):  # stored, Deflate64, encrypted
            method = struct.pack("<H", number)
            yield Hostile(name, patched(data, (local + 8, method), (central + 10, method)), "cannot be read")
        yield Hostile(name, patched(data, (central + 16, b"1234")), "cannot be read.*CRC-32")
    yield Hostile("zip-envi", zip_envi(method=ZIP_STORED), None, True)


@of(20)
def zip_structure() -> Made:
    """Sizes that contradict each other, and names that lead out of the archive or are there twice."""
    data = zip_envi()
    central, last = data.index(b"PK\1\2"), data.rindex(b"PK\5\6")
    for size in (0, 10, 2**31, 2**32 - 1):
        told = struct.pack("<I", size)
        yield Hostile("zip-envi", patched(data, (central + 20, told)), "cannot be read")  # bytes in the archive
        yield Hostile("zip-envi", patched(data, (central + 24, told)), "cannot be read")  # bytes of the file
        yield Hostile("zip-envi", patched(data, (18, told), (22, told)), "", True)  # both, said locally
    yield Hostile("zip-envi", patched(data, (central + 42, struct.pack("<I", 2**31))), "cannot be read")
    yield Hostile("zip-envi", patched(data, (last + 16, struct.pack("<I", 2**31))), "cannot be read")
    yield Hostile("zip-envi", patched(data, (6, b"\1"), (central + 8, b"\1")), "cannot be read.*encrypted")
    yield Hostile("zip-envi", patched(data, (30, b"X")), "cannot be read")  # the local name
    yield Hostile("zip-envi", data + zip_envi(good("envi")[::-1]), "in common")  # the last directory is the one
    yield Hostile("zip-envi", zipped([(CHIKUSEI, good("envi"))]), "cannot be read")  # without a header
    yield Hostile("zip-envi", zipped([(CHIKUSEI, b""), (f"{CHIKUSEI[:-3]}hdr", b"")]), "cannot be read")
    yield Hostile("zip-envi", zipped([]), "cannot be read")


@of(21)
def zip_names() -> Made:
    """Members that want to lie elsewhere: nothing is unpacked, and only the two that are asked for are read."""
    names = ("../../canary", "/etc/canary", "..\\canary", "C:\\canary", "a/../../canary", "\x1b[31m", "x" * 60_000)
    ours = [(CHIKUSEI, good("envi")), (f"{CHIKUSEI[:-3]}hdr", envi_header())]
    for name in names:
        yield Hostile("zip-envi", zipped([*ours, (name, b"out!" * 99)]), None, True)
        yield Hostile("zip-envi", zipped([(name, b"out!" * 99)]), "and no Chikusei_ENVI")
    link = ZipInfo(CHIKUSEI)
    link.create_system, link.external_attr = 3, 0o120777 << 16
    yield Hostile(
        "zip-envi", zipped([(link, b"../../../../outside/secret.bsq"), ours[1]]), "ends after 30 of 5760 bytes"
    )
    yield Hostile("zip-envi", zipped([ours[1], (link, good("envi"))]), None, True)
    yield Hostile("zip-envi", zipped([*ours, (CHIKUSEI, good("envi")[::-1])]), "twice")
    yield Hostile("zip-envi", zipped([*ours, (f"{CHIKUSEI[:-3]}hdr", envi_header(bands=1))]), "twice")
    yield Hostile("zip-envi", zipped([*ours, (f"{CHIKUSEI[:-3]}HDR", envi_header(bands=1))]), "twice")
    yield Hostile("zip-envi", zipped([*ours, (f"{CHIKUSEI}.hdr", envi_header(bands=9))]), "ends after")
    yield Hostile("zip-envi", zip_envi(), "and no \\.\\./outside", inside="../outside/secret.bsq")


def pcidsk_elsewhere(interleaving: bytes, name: str) -> Hostile:
    """A PCIDSK file whose channels say that their pixels are in another file."""
    data = good("pcidsk")
    first = 512 * (int(data[336:352]) - 1)
    changes = [(360, interleaving.ljust(8))]
    for channel in range(first, first + BANDS * 1024, 1024):
        where = b"0".rjust(16) + b"2".rjust(8) + b"40".rjust(8)
        changes += [(channel + 64, name.encode().ljust(64)), (channel + 168, where)]
    return Hostile("pcidsk", patched(data, *changes), "other files")


@of(29)
def files_elsewhere() -> Made:
    """Pixels that are said to be in another file: a raw image of SECRET in ../../outside, which is there."""
    import h5py

    raw, array = "../../outside/secret.bsq", "../../outside/secret.h5"
    size = 2 * ROWS * COLUMNS * BANDS
    shape = (BANDS, ROWS, COLUMNS)
    layout = h5py.VirtualLayout(shape, "u2")
    layout[:] = h5py.VirtualSource(array, "cube", shape)
    fills = [
        lambda file: file.__setitem__("cube", h5py.ExternalLink(array, "cube")),
        lambda file: file.__setitem__("cube", h5py.SoftLink("/elsewhere")),
        lambda file: file.update({"x": 1, "cube": h5py.SoftLink("/x")}),
        lambda file: file.__setitem__("cube", h5py.ExternalLink("a.h5", "/cube")),  # itself, for ever
    ]
    for fill in fills:
        yield Hostile("hdf5", hdf5(fill), "no cube")
    for name in (raw, "/etc/passwd", "/dev/zero"):
        data = hdf5(lambda file, name=name: file.create_dataset("cube", shape, "u2", external=[(name, 0, size)]))
        yield Hostile("hdf5", data, "other files")
    yield Hostile("hdf5", hdf5(lambda file: file.create_virtual_dataset("cube", layout)), "other files")
    for name in (raw, "/etc/passwd", "/dev/zero", "a.pix"):
        yield pcidsk_elsewhere(b"FILE", name)
        yield pcidsk_elsewhere(b"BAND", name)
    yield pcidsk_elsewhere(b"FILE", "/LNK=0001")
    vrt = "".join(
        f"<VRTRasterBand dataType='UInt16' band='{i + 1}'><SimpleSource><SourceFilename relativeToVRT='1'>{raw}"
        f"</SourceFilename><SourceBand>{i + 1}</SourceBand></SimpleSource></VRTRasterBand>"
        for i in range(BANDS)
    )
    vrt = f"<VRTDataset rasterXSize='{COLUMNS}' rasterYSize='{ROWS}'>{vrt}</VRTDataset>".encode()
    for name in ("tiff", "pcidsk", "envi", "npy", "mat5"):
        yield Hostile(name, vrt, "web page", beside=beside(name))
    yield Hostile("zip-envi", zip_envi(raster=vrt), "ends after|in common")
    for key in ("data file", "data filename", "file", "dem file"):
        yield envi(None, same=True, **{key: raw})
    yield envi("cannot be read", file_type="ENVI Virtual Mosaic")
    yield Hostile("envi", b"ENVI MOSAIC TEMPLATE (G)\n" + good("envi")[25:], beside=beside("envi"))


@of(13)
def sidecars() -> Made:
    """Files beside that could change what is read."""
    scaled = "".join(
        f"<PAMRasterBand band='{i + 1}'><Scale>9</Scale><Offset>{SECRET}</Offset></PAMRasterBand>" for i in range(6)
    )
    aux = f"<PAMDataset><Metadata domain='x'/>{scaled}</PAMDataset>".encode()
    for name in ("tiff", "envi", "pcidsk"):
        file = FORMATS[name].name
        yield Hostile(name, good(name), None, True, beside(name) | {f"{file}.aux.xml": aux})
        yield Hostile(
            name, good(name), None, True, beside(name) | {f"{file}.ovr": good("tiff"), f"{file}.msk": good("tiff")}
        )
        yield Hostile(
            name, good(name), None, True, beside(name) | {"a.tfw": b"x" * 999, "a.sta": b"\xff" * 999, "a.rpb": b"x"}
        )
    yield Hostile("tiff", good("tiff"), None, True, {"a.hdr": envi_header(file_type="ENVI Classification")})
    yield Hostile(
        "envi", good("envi"), None, False, {"a.hdr": envi_header(file_type="ENVI Classification", classes=2**31)}
    )
    yield Hostile(
        "envi", good("envi"), "ends after", False, {"a.hdr": envi_header(), "a.bsq.hdr": envi_header(lines=10**9)}
    )
    yield Hostile("envi", good("envi"), None, True, {"a.hdr": envi_header(), "a.bsq.aux.xml": b"<" * 9999})


@of(15)
def disguised() -> Made:
    """Something else under the name of a format."""
    import gzip
    import pickle

    for data in (
        b"",
        b"\0" * 6000,
        b"<!doctype html><title>403</title>",
        b'{"error": "forbidden"}',
        b"\x7fELF" + bytes(6000),
    ):
        for name in ("mat5", "tiff"):
            yield Hostile(name, data, "cannot be read")
    yield Hostile("npy", pickle.dumps(pixels()), "cannot be read")
    yield Hostile("mat5", gzip.compress(good("mat5"), mtime=0), "cannot be read")
    yield Hostile("tiff", good("zip-envi"), "it is a zip archive")
    yield Hostile("zip-envi", good("tiff"), "it is no zip archive")
    yield Hostile("npy", zipped([("cube.npy", good("npy"))]), "it is a zip archive")


@of(19)
def npy_headers() -> Made:
    usual = "{'descr': '<u2', 'fortran_order': False, 'shape': (24, 20, 6), }"
    yield Hostile("npy", npy_header(usual), None, True)
    yield Hostile("npy", npy_header(usual, 2), None, True)
    for kind in ("'|O'", "'<c16'", "'<U4'", "'|V2'", "'<M8[s]'", "[('a', '<u1'), ('b', '<u1')]", "'<u3'", "'>>>'", "7"):
        yield Hostile("npy", npy_header(usual.replace("'<u2'", kind), data=bytes(99999)), "cannot be read")
    yield Hostile("npy", npy(np.full((4, 5, 6), None)), "cannot be read")
    for text in (
        "(" * 5000,
        "{'descr': '<u2'",
        "[" * 90 + "]" * 90,
        "__import__('os').system('touch canary')",
        "\0",
        "-" * 9999,
    ):
        yield Hostile("npy", npy_header(text), "cannot be read|memory")
    yield Hostile("npy", npy_header(usual + " " * 10**5, 2), "cannot be read")


def zip_bomb(held: int, claimed: int) -> bytes:
    """An archive whose raster is so many zeros, deflated, and claims to be of another size."""
    stream = zeros_deflated(held)
    data = zip_envi(raster=b"", header=envi_header(lines=2**20, samples=2**8, bands=2))
    body, behind, central = 30 + len(CHIKUSEI), data.index(b"PK\3\4", 4), data.index(b"PK\1\2")
    sizes = struct.pack("<II", len(stream), claimed)
    data = patched(data, (18, sizes), (central + 20, sizes))
    for at in (data.rindex(b"PK\1\2") + 42, data.rindex(b"PK\5\6") + 16):  # what lies behind has moved
        (place,) = struct.unpack_from("<I", data, at)
        data = patched(data, (at, struct.pack("<I", place + len(stream) - behind + body)))
    return data[:body] + stream + data[behind:]


def mat5_bomb(body: bytes, zeros: int) -> bytes:
    """A MATLAB v5 file of one compressed element: a beginning, then so many zeros."""
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -15)
    start = b"\x78\x9c" + squeeze.compress(body) + squeeze.flush(zlib.Z_FULL_FLUSH)
    squeezed = start + zeros_deflated(zeros) + bytes(4)
    return good("mat5")[:128] + struct.pack("<II", 15, len(squeezed)) + squeezed


@of(17)
def bombs() -> Made:
    """A few kilobytes that want gigabytes, or for ever."""
    said = "cannot be read|memory"
    yield Hostile("zip-envi", zip_bomb(2**28, 2**28), "claims|one value")
    yield Hostile("zip-envi", zip_bomb(2**28, 2**32 - 1), said)
    yield Hostile("zip-envi", zip_bomb(2**28, 2**20), said)
    yield Hostile("zip-envi", zipped([(CHIKUSEI, zip_bomb(2**28, 2**28))]), said)
    yield Hostile("zip-envi", zip_envi(header=b"ENVI\n" + b"x" * 10**7), "header is too large")
    yield Hostile("envi", good("envi"), said, beside={"a.hdr": b"ENVI\n" + b"a = {" + b"x\n" * 50_000})
    yield Hostile("zip-envi", zip_envi(header=b"ENVI\n" + b"a = 1\n" * 10**6), "header is too large")
    tag = struct.pack("<IIIIII", 14, 2**30, 6, 8, 11, 0) + struct.pack("<IIiii", 5, 12, 2**14, 2**12, 6) + bytes(4)
    yield Hostile("mat5", mat5_bomb(tag + struct.pack("<HH4sII", 1, 4, b"cube", 4, 6 * 2**27), 2**27), said)
    yield Hostile("mat5", mat5_bomb(tag + struct.pack("<II", 1, 2**31 - 1), 2**27), said)  # the name
    yield Hostile("mat5", mat5_bomb(tag[:24] + struct.pack("<II", 5, 2**31 - 4), 2**27), said)  # the axes
    for chunks in (None, (1, 1000, 1000)):
        for shape in ((BANDS, 10**6, 10**6), (10**6, 10**3, 10**3)):
            options = {"fillvalue": 7, "chunks": chunks}
            data = hdf5(lambda file, options=options, shape=shape: file.create_dataset("cube", shape, "u2", **options))
            yield Hostile("hdf5", data, said)
    yield Hostile("hdf5", hdf5(gzipped_zeros), said)
    yield sparse_tiff(30_000)
    yield sparse_tiff(3_000)


def gzipped_zeros(file) -> None:
    """A chunk of 64 MiB in 64 KiB, at every place of a cube of terabytes that is written."""
    cube = file.create_dataset("cube", (BANDS, 2**20, 2**20), "u2", chunks=(1, 2**12, 2**13), compression="gzip")
    chunk = zlib.compress(bytes(2**26), 9)
    for i in range(2):
        cube.id.write_direct_chunk((i, 0, 0), chunk)


def sparse_tiff(size: int) -> Hostile:
    """Deflated and empty; a few strips stand for all."""
    from rasterio.io import MemoryFile

    facts = {"width": size, "height": size, "count": BANDS, "dtype": "uint16", "tiled": True}
    with MemoryFile() as memory:
        with memory.open(driver="GTiff", sparse_ok=True, blockxsize=4096, blockysize=4096, compress="deflate", **facts):
            pass
        return Hostile("deflated", memory.read(), "cannot be read|memory")


class Outcome(NamedTuple):
    """What became of a file.

    Args:
        refused: The sentence, None if the file was read.
        digest: Of all pixels.
        secret: Whether pixels of another file were among them.
        seconds: That it took.
        memory: Most bytes that the process had held until then.
    """

    refused: str | None
    digest: int = 0
    secret: bool = False
    seconds: float = 0
    memory: int = 0


def look_at_all(files: list[tuple[Cube, File]], log: Path) -> None:
    """In a guarded process: read files as `verify` does, and write a line of JSON for each."""
    measure, seen = scenes._measure, {}

    def spy(image: np.ndarray) -> scenes.Measured:
        seen["digest"] = zlib.crc32(np.ascontiguousarray(image), seen["digest"])
        seen["secret"] |= bool((image == SECRET).any())
        return measure(image)

    scenes._measure = spy
    with log.open("a", encoding="utf-8") as lines:
        for cube, file in files:
            start = time.monotonic()
            seen.update(digest=0, secret=False)
            try:
                told, problems = scenes.inspect_file(cube, file, cube.band_numbers())
                refused = problems[0] if problems else None
                assert refused or re.search(r", -?\d\S* to -?\d", told["values"])  # finite
            except LkcaError as error:
                refused = str(error)
            except Exception as error:
                refused = f"Traceback: {error!r}"  # no sentence
            peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
            outcome = Outcome(refused, **seen, seconds=time.monotonic() - start, memory=1024 * int(peak[1]))
            print(json.dumps(outcome), file=lines, flush=True)


def outcomes(files: list[tuple[Cube, File]], log: Path) -> list[Outcome]:
    """Of each file; where one ends the process, the guard has the word on it, and a new process goes on."""
    log.touch()
    while len(lines := log.read_text(encoding="utf-8").splitlines()) < len(files):
        try:
            run_sandboxed(look_at_all, files[len(lines) :], log)
        except LkcaError as error:
            assert str(files[0][1].local_path().parents[2]) in str(error)  # else it is not for a file that it ended
            # What it had finished is in the log; this is the one at which it ended.
            with log.open("a", encoding="utf-8") as more:
                print(json.dumps(Outcome(str(error))), file=more)
    return [Outcome(*json.loads(line)) for line in lines]


def described(file: File) -> Cube:
    return Cube(
        files=(file,),
        bands=f"1-{BANDS}",
        sensor="x",
        gsd_m=1,
        nanometres=(400, 1000),
        source="x",
        citation="x",
        terms="x",
    )


def laid(folder: Path, hostile: Hostile) -> File:
    """A hostile file in a folder of its own."""
    folder.mkdir(parents=True)
    form = FORMATS[hostile.format]
    for name, data in {form.name: hostile.data, **hostile.beside}.items():
        (folder / name).write_bytes(data)
    inside = hostile.inside or form.inside
    path = f"{folder / form.name}/{inside}" if inside else str(folder / form.name)
    return File(path=path, variable="cube" if form.name in ("a.mat", "a.h5") else None, axes=form.axes)


def secrets(folder: Path) -> None:
    """Files that hostile ones point to."""
    folder.mkdir(parents=True)
    cube = np.full((BANDS, ROWS, COLUMNS), SECRET, np.uint16)
    (folder / "secret.bsq").write_bytes(cube.tobytes())
    (folder / "secret.hdr").write_bytes(envi_header())
    (folder / "secret.h5").write_bytes(hdf5(lambda file: file.__setitem__("cube", cube)))


def tree(folder: Path) -> dict[str, bytes | None]:
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


class Look(NamedTuple):
    hostile: Hostile
    file: File
    outcome: Outcome


@pytest.fixture(scope="module")
def looked(tmp_path_factory) -> dict[str, list[Look]]:
    """All files of all classes, and what became of them; nothing around them has changed."""
    folder = tmp_path_factory.mktemp("hostile")
    secrets(folder / "outside")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of those who write such files
        hostile = {name: list(make()) for name, (_, make) in CLASSES.items()}
    files = {
        name: [laid(folder / name / f"{i:03}", each) for i, each in enumerate(made)] for name, made in hostile.items()
    }
    before = tree(folder)
    every = [(described(file), file) for made in files.values() for file in made]
    with chdir(files["truncated"][0].local_path().parent):  # ../../outside is there from here too
        found = iter(outcomes(every, tmp_path_factory.mktemp("log") / "log"))
    assert tree(folder) == before
    return {
        name: [Look(*each, next(found)) for each in zip(hostile[name], files[name], strict=True)] for name in CLASSES
    }


@pytest.mark.parametrize("name", CLASSES)
def test_a_file_is_read_as_it_is_meant_or_refused_in_a_sentence(looked, name):
    assert len(looked[name]) == CLASSES[name][0]
    wrong = [f"{look.file.path} {told}: {look.outcome}" for look in looked[name] if (told := what_is_wrong(*look))]
    assert not wrong, "\n".join(wrong)


def test_there_are_hundreds_of_files(looked):
    assert sum(map(len, looked.values())) >= 200
    assert sum(look.outcome.refused is None for looks in looked.values() for look in looks) >= 50


def what_is_wrong(hostile: Hostile, file: File, outcome: Outcome) -> str | None:
    """With what became of a file."""
    if outcome.secret:
        return "another file's pixels were read"
    if outcome.seconds > 30 or outcome.memory > 4 * 10**9:
        return "too slow or too large"
    if outcome.refused is None:
        if hostile.said:
            return f"is not refused with {hostile.said}"
        return "is read as something else" if hostile.same and outcome.digest != original() else None
    if hostile.said is None:
        return "is refused"
    if not (is_a_sentence(outcome.refused) and str(file.local_path()) in outcome.refused):
        return "is no sentence"
    return None if re.search(hostile.said, outcome.refused) else f"is not refused with {hostile.said}"


def is_a_sentence(text: str) -> bool:
    return text.isprintable() and text.endswith(".") and "Traceback" not in text and len(text) < 2000


@cache
def original() -> int:
    """The digest of the pixels before any change."""
    digest = 0
    for band in np.moveaxis(pixels(), 2, 0).astype(np.float32):
        digest = zlib.crc32(np.ascontiguousarray(band), digest)
    return digest


def settings_of(file: File) -> str:
    cube = described(file).model_dump(mode="json")
    return json.dumps({"name": "x", "cube": cube, "cube_name": None, "bands": 3, "mirror": []})


SAMPLES = [  # of a class, the number of a file in it
    ("truncated", 25),
    ("wrong-values", 4),  # numpy would warn
    ("files-elsewhere", 12),
    ("bombs", 10),
]


def test_the_commands_say_one_line_and_leave_nothing(looked, tmp_path):
    """The same by the commands themselves: exit code, stderr, and no other file."""
    words = []
    for i, (name, number) in enumerate(SAMPLES):
        file, out = looked[name][number].file, tmp_path / str(i)
        assert looked[name][number].outcome.refused
        words.append(["scene", "--settings", settings_of(file), "--out", out / "a.npy", "--manifest", out / "a.json"])
    for name, number in SAMPLES[:2]:
        words.append(["verify", "pavia_centre", looked[name][number].file.path])
    words.append(["scene", "--settings", settings_of(looked["sidecars"][0].file)])
    words[-1] += ["--out", tmp_path / "good" / "a.npy", "--manifest", tmp_path / "good" / "a.json"]
    before = tree(tmp_path.parent)
    running = []
    for each in words:
        command = [sys.executable, "-m", "lkca", *map(str, each)]
        running.append(subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True))
    for process, each in zip(running, words, strict=True):
        said = process.communicate()[1]
        if each is words[-1]:
            assert (process.returncode, said) == (0, "")
        else:
            assert process.returncode == 2 and said.startswith("lkca: ") and said.count("\n") == 1, said
            assert is_a_sentence(said.strip())
    new = {name for name, data in tree(tmp_path.parent).items() if before.get(name, b"new") != data}
    assert {Path(name).name for name in new} <= {"good", "a.npy", "a.json", *map(str, range(len(SAMPLES)))}
    assert np.load(tmp_path / "good" / "a.npy").shape == (3, ROWS, COLUMNS)


def crash(path: Path) -> None:
    set_current_file(path)
    ctypes.string_at(0)


def want_memory(path: Path) -> None:
    set_current_file(path)
    np.ones(5 * 2**30, np.uint8)


def never_end(path: Path) -> None:
    guard.SECONDS = 1
    set_current_file(path)
    re.match(r"(a+)+$", "a" * 64 + "b")  # in C, where no signal handler of Python would run


def exit_early(path: Path) -> None:
    set_current_file(path.parent)
    set_current_file(path)
    sys.exit(0)


def refuse(path: Path) -> None:
    raise LkcaError("one sentence.")


def answer(path: Path) -> dict[str, list[int]]:
    print("a line", flush=True)
    return {"numbers": [1, 2]}


@pytest.mark.parametrize(
    "function,said",
    [
        (crash, "{} cannot be read (reading it ends in a crash): "),
        (want_memory, "{} wants more than 3.5 GiB of memory: "),
        (never_end, "{} cannot be read (reading it takes too long): "),
        (exit_early, "{} cannot be read (reading it ends in a crash): "),
        (refuse, "one sentence."),
    ],
)
def test_whatever_happens_in_a_guarded_process_becomes_a_sentence(tmp_path, capfd, function, said):
    path = tmp_path / "a.mat"
    path.write_bytes(b"MATLAB")
    start = time.monotonic()
    with pytest.raises(LkcaError) as error:
        run_sandboxed(function, path)
    assert str(error.value).startswith(said.format(path)) and is_a_sentence(str(error.value))
    assert time.monotonic() - start < 20
    assert capfd.readouterr() == ("", "")


def test_a_guarded_process_answers_and_prints(tmp_path, capfd):
    assert run_sandboxed(answer, tmp_path) == {"numbers": [1, 2]}
    assert capfd.readouterr() == ("a line\n", "")


def sleep_on(pid: Path) -> None:
    pid.write_text(str(os.getpid()))
    time.sleep(60)


@pytest.mark.parametrize("kill", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda s: s.name)
def test_a_parent_that_ends_leaves_no_process(tmp_path, kill):
    pid = tmp_path / "pid"
    code = f"from pathlib import Path; from test_hostile_files import *; run_sandboxed(sleep_on, Path({str(pid)!r}))"
    parent = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parent,
        env=os.environ | {"PYTHONPATH": ".."},
        stderr=subprocess.DEVNULL,
    )
    while not (pid.is_file() and pid.read_text()):
        assert parent.poll() is None
        time.sleep(0.05)
    parent.send_signal(kill)
    assert parent.wait(20) != 0
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid.read_text()}/stat").exists():
        if Path(f"/proc/{pid.read_text()}/stat").read_text().split()[2] == "Z":  # dead, and nobody has asked for it yet
            break
        assert time.monotonic() < deadline
        time.sleep(0.05)
