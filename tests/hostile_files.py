"""Hostile files in every format that lkca reads: small valid files, each with one change, in classes of changes."""

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

import numpy as np

ROWS, COLUMNS, BANDS, LARGEST = 24, 20, 6, 5000
RASTER, ARRAY = "bands rows columns", "rows columns bands"
SECRET = 31337  # value of all pixels of a file outside the folder, which no reader may open
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
    """The file name of a format, the order of its axes, and the path of the raster in the archive if it is one."""

    name: str
    axes: str
    member: str | None = None


FORMATS = {
    "mat5": Format("a.mat", ARRAY),  # compressed
    "mat5plain": Format("a.mat", ARRAY),
    "mat73": Format("a.mat", ARRAY),
    "hdf5": Format("a.h5", RASTER),
    "netcdf3": Format("a.nc", RASTER),
    "envi": Format("a.bsq", RASTER),
    "pcidsk": Format("a.pix", RASTER),
    "pixel": Format("a.pix", RASTER),  # PCIDSK, interleaved by pixel
    "tiled": Format("a.pix", RASTER),  # PCIDSK, tiled
    "tiff": Format("a.tif", RASTER),
    "deflated": Format("a.tif", RASTER),  # GeoTIFF
    "zip-envi": Format("a.zip", RASTER, CHIKUSEI),
    "zip-pcidsk": Format("a.zip", RASTER, HOUSTON),
    "npy": Format("a.npy", ARRAY),
}


class HostileFile(NamedTuple):
    """A file with one change, and the expected outcome of reading it.

    Args:
        format: A key of FORMATS.
        data: The bytes of the file.
        message: Regular expression that the error message must match. "" allows any error and also a file that is
            read; None means that the file must be read.
        unchanged: Whether the pixels that are read must be those of the valid file.
        neighbours: Further files in its folder: name -> bytes.
        member: The path in the archive, if it is not the format's.
    """

    format: str
    data: bytes
    message: str | None = ""
    unchanged: bool = False
    neighbours: dict[str, bytes] = {}
    member: str | None = None


HostileFiles = Iterator[HostileFile]
CLASSES: dict[str, tuple[int, Callable[[], HostileFiles]]] = {}


def hostile_class(count: int) -> Callable[[Callable[[], HostileFiles]], Callable[[], HostileFiles]]:
    """Return a decorator that registers a function which yields `count` hostile files; its name is the class."""

    def add(make: Callable[[], HostileFiles]) -> Callable[[], HostileFiles]:
        CLASSES[make.__name__.replace("_", "-")] = count, make
        return make

    return add


@cache
def pixels() -> np.ndarray:
    """Return the cube that every valid file holds, uint16 (ROWS, COLUMNS, BANDS)."""
    from tests.generated_cubes import Scene

    return np.stack(list(Scene(ROWS, COLUMNS, BANDS, LARGEST)), 2)


@cache
def valid(name: str) -> bytes:
    """Return the valid file of a format."""
    import tempfile

    import rasterio
    from scipy.io import savemat

    from tests import generated_cubes

    bands = np.moveaxis(pixels(), 2, 0)
    in_memory = {
        "hdf5": lambda: hdf5(lambda file: file.create_dataset("cube", data=bands)),
        "netcdf3": netcdf3,
        "npy": lambda: npy(pixels()),
    }
    if name in in_memory:
        return in_memory[name]()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / FORMATS[name].name
        facts = {"width": COLUMNS, "height": ROWS, "count": BANDS, "dtype": "uint16"}
        match name:
            case "mat5":
                generated_cubes.write_matlab5(path, "cube", pixels())
            case "mat5plain":
                savemat(path, {"cube": pixels()})
            case "mat73":
                generated_cubes.write_matlab73(path, "cube", pixels(), chunks=(2, 10, 12))
            case "envi":
                return bands.tobytes()
            case "pcidsk":
                path = generated_cubes.write_houston(Path(folder), pixels())
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
                generated_cubes.write_chikusei_zip(path, pixels())
            case "zip-pcidsk":
                generated_cubes.write_houston_zip(path, pixels())
        return path.read_bytes()


def envi_neighbours(name: str) -> dict[str, bytes]:
    """Return the header that a valid file of this format has next to it, if any."""
    return {"a.hdr": envi_header()} if name == "envi" else {}


def envi_header(**changes: str | int | None) -> bytes:
    """Return the header of the ENVI file with changes; underscores in keys stand for spaces; None removes a line."""
    facts = ENVI_HEADER | {key.replace("_", " "): value for key, value in changes.items()}
    lines = [f"{key} = {value}" for key, value in facts.items() if value is not None]
    return "\n".join(["ENVI", *lines, ""]).encode()


def make_envi(
    message: str | None = None, data: bytes | None = None, unchanged: bool = False, **changes: str | int | None
) -> HostileFile:
    """Return an ENVI file whose header has changes (see `envi_header`)."""
    return HostileFile(
        "envi", valid("envi") if data is None else data, message, unchanged, {"a.hdr": envi_header(**changes)}
    )


def hdf5(fill: Callable, **options) -> bytes:
    """Return an HDF5 file that a function of h5py's File has filled."""
    import h5py

    memory = io.BytesIO()
    with h5py.File(memory, "w", **options) as file:
        fill(file)
    return memory.getvalue()


def netcdf3(records: bool = False, version: int = 1) -> bytes:
    """Return a NetCDF 3 file of the cube, int16, and of the numbers of its bands; `records`: bands are its records."""
    from scipy.io import netcdf_file

    memory = io.BytesIO()
    file = netcdf_file(memory, "w", version=version)
    for name, length in (("band", None if records else BANDS), ("y", ROWS), ("x", COLUMNS)):
        file.createDimension(name, length)
    cube, number = file.createVariable("cube", "i2", ("band", "y", "x")), file.createVariable("n", "i2", ("band",))
    cube[:BANDS], number[:BANDS] = np.moveaxis(pixels(), 2, 0), np.arange(BANDS)
    cube.units = "1"
    file.flush()
    return memory.getvalue()


def npy(array: np.ndarray) -> bytes:
    """Return a .npy file of an array."""
    memory = io.BytesIO()
    np.save(memory, array)
    return memory.getvalue()


def npy_header(text: str, version: int = 1, data: bytes | None = None) -> bytes:
    """Return a .npy file with this header; its data are by default the pixels of the valid file."""
    length = struct.pack("<H" if version == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes((version, 0)) + length + text.encode() + (pixels().tobytes() if data is None else data)


def mat5(**variables) -> bytes:
    """Return a MATLAB v5 file of these variables."""
    from scipy.io import savemat

    memory = io.BytesIO()
    savemat(memory, variables)
    return memory.getvalue()


def make_zip(members: list[tuple[str | ZipInfo, bytes]], method: int = ZIP_DEFLATED) -> bytes:
    memory = io.BytesIO()
    with ZipFile(memory, "w", method) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return memory.getvalue()


def zip_envi(raster: bytes | None = None, header: bytes | None = None, method: int = ZIP_DEFLATED) -> bytes:
    """Return a zip archive of an ENVI raster and its header, by default those of the valid file."""
    members = [(CHIKUSEI, valid("envi") if raster is None else raster)]
    return make_zip([*members, (f"{CHIKUSEI[:-3]}hdr", header or envi_header())], method)


def patch(data: bytes, *changes: tuple[int, bytes]) -> bytes:
    """Return data in which these bytes replace those at their offsets."""
    changed = bytearray(data)
    for offset, new in changes:
        changed[offset : offset + len(new)] = new
    return bytes(changed)


def zeros_deflated(size: int) -> bytes:
    """Return a raw deflate stream of `size` zeros, a multiple of 2^20; one compressed MiB is repeated to save time."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = bytes(2**20)
    first = compressor.compress(block) + compressor.flush(zlib.Z_FULL_FLUSH)
    again = compressor.compress(block) + compressor.flush(zlib.Z_FULL_FLUSH)
    return first + again * (size // 2**20 - 1) + compressor.flush()


def flip_bit(data: bytes, offset: int, bit: int) -> bytes:
    return patch(data, (offset, bytes([data[offset] ^ 1 << bit])))


@hostile_class(142)
def truncated() -> HostileFiles:
    """Files that end too early; the missing data must not be read as zeros."""
    for name in FORMATS:
        data = valid(name)
        parts = {"pcidsk": (30, 60, 80, 88), "pixel": (30, 60, 80, 88), "tiled": (10, 30)}.get(name, (30, 60, 80, 95))
        # The last byte of these files is not part of a pixel, so that they may be read without it.
        last = [] if name in ("pcidsk", "pixel", "tiled", "netcdf3") else [len(data) - 1]
        for end in [0, 5, 60, 130, 400, *(len(data) * part // 100 for part in parts), *last]:
            yield HostileFile(name, data[:end], "cannot be read", neighbours=envi_neighbours(name))
    for end in (0, 3, 10, 20, 30):  # before all of "samples = 20, lines = 24, ..."
        yield HostileFile("envi", valid("envi"), "cannot be read", neighbours={"a.hdr": envi_header()[:end]})
    yield HostileFile("zip-envi", zip_envi(raster=valid("envi")[:-1]), "ends after 5759 of 5760 bytes")
    yield HostileFile("zip-envi", zip_envi(header=envi_header()[:30]), "cannot be read")
    yield HostileFile("zip-pcidsk", make_zip([(HOUSTON, valid("pcidsk")[:-5000])]), "ends after")


@hostile_class(84)
def flipped_header() -> HostileFiles:
    """Files with one flipped bit in the header or the directory."""
    rng = np.random.default_rng(1)
    spans = {"mat5": 200, "mat5plain": 192, "mat73": 2400, "hdf5": 1400, "npy": 128, "pcidsk": 512, "pixel": 512}
    for name in FORMATS:
        for _ in range(6):
            data, bit = valid(name), int(rng.integers(8))
            if name == "envi":
                header = envi_header()
                changed = {"a.hdr": flip_bit(header, int(rng.integers(len(header))), bit)}
                yield HostileFile(name, data, neighbours=changed)
            elif name.startswith("zip"):  # the directory, at the end
                offset = data.index(b"PK\1\2") + int(rng.integers(len(data) - data.index(b"PK\1\2")))
                yield HostileFile(name, flip_bit(data, offset, bit), unchanged=True)
            else:
                yield HostileFile(name, flip_bit(data, int(rng.integers(spans.get(name, 300))), bit))


@hostile_class(56)
def flipped_data() -> HostileFiles:
    """Files with one flipped bit in the pixels; archives reveal it by their checksums."""
    rng = np.random.default_rng(2)
    for name in FORMATS:
        data = valid(name)
        for _ in range(4):
            offset = int(
                len(data) * rng.uniform(0.92, 0.99)
                if name in ("pcidsk", "pixel")
                else len(data) * rng.uniform(0.3, 0.7)
            )
            if name.startswith("zip"):
                offset = data.index(Path(FORMATS[name].member).name.encode()) + 100 + int(rng.integers(1500))
            message = "cannot be read" if name.startswith("zip") else ""
            yield HostileFile(
                name, flip_bit(data, offset, int(rng.integers(8))), message, neighbours=envi_neighbours(name)
            )


@hostile_class(41)
def wrong_envi_header() -> HostileFiles:
    """ENVI headers with wrong, missing or unusual entries."""
    for key in ("lines", "samples", "bands"):
        for value in (ROWS + 10, 0, -1, 2**31 - 1, 2**31, 2**63, "x", "", None):
            yield make_envi("ends after .* bytes|cannot be read|has 0 bands|has 1 bands", **{key: value})
    yield make_envi("ends after 5760 of 11520 bytes", data_type=4)
    yield make_envi("instead of one kind of real numbers", data_type=6, data=valid("envi") * 4)
    yield make_envi("cannot be read", data_type=99)
    yield make_envi("ends after", header_offset=1)
    yield make_envi("cannot be read", header_offset=-1000)
    yield make_envi("cannot be read", header_offset="-1_0")
    yield make_envi("cannot be read", header_offset="x")
    yield make_envi("cannot be read", header_offset=2**63 - 5000)
    yield make_envi("neighbouring pixels are hardly correlated", byte_order=1)
    yield make_envi("neighbouring pixels are hardly correlated", interleave="bip")
    yield make_envi(None, interleave="bil")
    yield make_envi(None, interleave="spiral")
    yield make_envi("cannot be read", file_compression=1)
    yield make_envi("compressed", data=zlib.compress(valid("envi"), wbits=31) + bytes(5760), file_compression=1)


def mat5_of_class(number: int, flags: int = 0) -> bytes:
    """Return a MATLAB v5 file whose variable has another class number."""
    return patch(valid("mat5plain"), (144, bytes((number, flags))))


@hostile_class(41)
def wrong_class() -> HostileFiles:
    """Variables that are cells, structs, text, sparse, complex, function handles, opaque or logical, or invalid."""
    import h5py
    from scipy.sparse import csc_array

    numbers, message = pixels(), "instead of|cannot be read"
    for number in (*range(6), 16, 17, 18, 19, 255):  # 6 to 15 are kinds of numbers
        yield HostileFile("mat5plain", mat5_of_class(number), message)
    for flags in (2, 8, 10):  # logical, complex
        yield HostileFile("mat5plain", mat5_of_class(11, flags), message)
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
        yield HostileFile("mat5", mat5(cube=value), message)
    for value in (numbers[0], numbers[0, 0], 7.0, np.empty((0, 4, 5))):
        yield HostileFile("mat5", mat5(cube=value), "shape")
    yield HostileFile("mat5", mat5(cube=numbers[None]), None, unchanged=True)
    kinds = [complex, "S9", [("a", "i2"), ("b", "i2")], h5py.string_dtype(), h5py.vlen_dtype(np.int16)]
    for kind in (*kinds, h5py.ref_dtype, h5py.regionref_dtype, np.dtype("V4")):
        data = hdf5(lambda file, kind=kind: file.create_dataset("cube", (BANDS, ROWS, COLUMNS), kind))
        yield HostileFile("hdf5", data, "instead of real numbers")
    yield HostileFile("hdf5", hdf5(lambda file: file.create_group("cube")), "no cube")
    yield HostileFile("hdf5", hdf5(lambda file: file.__setitem__("cube", np.dtype("i2"))), "no cube")
    for shape in ((), (9,), (9, 9), (1, 2, 3, 4)):
        yield HostileFile(
            "hdf5",
            hdf5(lambda file, shape=shape: file.create_dataset("cube", shape)),
            "instead of bands x rows x columns|runs through all pixels|has 2 bands, not 6",
        )
    yield HostileFile("hdf5", hdf5(lambda file: file.__setitem__("cube", h5py.Empty("i2"))), "cannot be read")


@hostile_class(12)
def wrong_values() -> HostileFiles:
    """Arrays that cannot be images."""
    numbers = pixels().astype(float)
    values = {
        None: [np.where(numbers == LARGEST, np.nan, numbers)],  # these pixels are invalid
        "band 1 holds 480 infinite values": [
            np.where(numbers > 0, numbers, np.inf) * np.inf,
            numbers * 1e300,  # beyond float32
        ],
        "one value": [numbers * 0, numbers * 0 + 7],
        "positive": [-1 - numbers],
    }
    for message, arrays in values.items():
        for array in arrays:
            yield HostileFile("npy", npy(array), message)
            yield HostileFile("mat5", mat5(cube=array), message)


@hostile_class(13)
def missing_variable() -> HostileFiles:
    """Files without an array of the expected name."""
    numbers = pixels()
    for variables in ({}, {"other": numbers}, {"Cube": numbers}, {"cube2": numbers, "cubE": numbers}):
        yield HostileFile("mat5", mat5(**variables), "no cube")
        yield HostileFile("hdf5", hdf5(lambda file, variables=variables: file.update(variables)), "no cube")
    yield HostileFile("hdf5", hdf5(lambda file: file.__setitem__("deep/cube", numbers)), "no cube")
    yield HostileFile("hdf5", hdf5(lambda file: file.__setitem__("\x1b[31mred\nX", numbers)), "no cube")
    yield HostileFile("mat73", hdf5(lambda file: None, userblock_size=512), "no cube")
    yield HostileFile("mat5", patch(valid("mat5plain"), (180, b"\x1b[3m")), "no cube")
    yield HostileFile("mat5", patch(valid("mat5plain"), (178, b"\xff\xff")), "cannot be read")


def tiff(message: str, form: str = "tiff", **tags: int) -> HostileFile:
    """Return a TIFF with other numbers in its directory."""
    data, numbers = (
        valid(form),
        {"width": 256, "height": 257, "bits": 258, "compression": 259, "samples": 277, "strip": 278},
    )
    for name, value in tags.items():
        offset = next(
            offset for offset in range(10, 200, 12) if data[offset : offset + 2] == struct.pack("<H", numbers[name])
        )
        data = patch(data, (offset + 2, struct.pack("<HII", 4, 1, value)))
    return HostileFile(form, data, message)


@hostile_class(35)
def huge_shape() -> HostileFiles:
    """Files that claim shapes for which they have no data."""
    message = "cannot be read|memory"
    for sizes in (
        (2**31 - 1, 1, 1),
        (2**31 - 1, 2**31 - 1, 2**31 - 1),
        (-1, -1, 1),
        (2**16, 2**16, 6),
        (65535, 3, 6),
        (24, 20, 7),
    ):
        yield HostileFile("mat5plain", patch(valid("mat5plain"), (160, struct.pack("<3i", *sizes))), message)
    for sizes in (
        (6, 20, 10**12),
        (10**6, 10**6, 10**6),
        (2**63, 2, 2),
        (6, 2**32, 2**32),
        (6, 10**5, 10**5),
        (6, 20, 2**40),
    ):
        dims = struct.pack("<3Q", BANDS, COLUMNS, ROWS)
        yield HostileFile("mat73", valid("mat73").replace(dims, struct.pack("<3Q", *sizes)), message)
        dims = struct.pack("<3Q", BANDS, ROWS, COLUMNS)
        yield HostileFile("hdf5", valid("hdf5").replace(dims, struct.pack("<3Q", *sizes)), message)
    for shape in (
        "2147483648, 2, 6",
        "99999999999999999999, 20, 6",
        "24, 20, 7",
        "-24, 20, -6",
        "1000000, 1000000, 6",
        "24, 0, 6",
    ):
        yield HostileFile(
            "npy", npy_header(f"{{'descr': '<u2', 'fortran_order': False, 'shape': ({shape})}}\n"), message
        )
    yield tiff(message, width=2**31 - 1)
    yield tiff(message, height=2**31 - 1)
    yield tiff(message, width=2**31 - 1, height=2**31 - 1)
    yield tiff(message, width=10**5, height=10**5)
    yield tiff(message, width=2**32 - 1, strip=2**31 - 1)
    yield tiff(message, samples=65535)
    yield tiff(message, height=100, strip=1)
    for offset, text in ((384, b"99999999"), (392, b"99999999"), (376, b"99999999"), (384, b"      -1")):
        yield HostileFile("pcidsk", patch(valid("pcidsk"), (offset, text)), "cannot be read")


@hostile_class(9)
def huge_chunks() -> HostileFiles:
    """Files with a chunk that is too large for memory."""
    for sizes in (
        (2**31, 1, 1, 2),
        (1, 2**16, 2**16, 2),
        (2**32 - 1, 2**32 - 1, 2**32 - 1, 2),
        (0, 0, 0, 0),
        (2, 10, 12, 2**31),
    ):
        chunk = struct.pack("<4I", 2, 10, 12, 2)
        assert chunk in valid("mat73")
        yield HostileFile("mat73", valid("mat73").replace(chunk, struct.pack("<4I", *sizes)), "cannot be read")
    whole = (BANDS, 20_000, 20_000)
    yield HostileFile("hdf5", hdf5(lambda file: file.create_dataset("cube", whole, "u2", chunks=whole)), "too large")
    whole = (1, 20_000, 20_000)
    yield HostileFile(
        "hdf5", hdf5(lambda file: file.create_dataset("cube", (6, *whole[1:]), "u2", chunks=whole)), "too large"
    )
    yield tiff("cannot be read", width=60_000, height=60_000, strip=60_000)
    yield tiff("cannot be read", "deflated", width=30_000, height=30_000, strip=30_000)


@hostile_class(30)
def wrong_compression() -> HostileFiles:
    """Files whose compressed data are damaged or have the number of another method."""
    deflate = valid("mat73").index(b"deflate\0") - 8  # the filter's number, eight bytes before its name
    for number in (0, 2, 4, 6, 32001, 32015, 65535):
        yield HostileFile(
            "mat73",
            patch(valid("mat73"), (deflate, struct.pack("<H", number))),
            "cannot be read|hardly correlated|far below zero",
        )
    for number in (2, 5, 7, 8, 32773, 32946, 34712, 34887, 50000, 50001, 65000):  # of TIFF
        yield tiff("cannot be read|hardly correlated", compression=number)
    start = valid("mat5").index(b"\x78", 128)
    yield HostileFile("mat5", patch(valid("mat5"), (start, b"\0\0")), "cannot be read")
    yield HostileFile("mat5", patch(valid("mat5"), (start + 40, b"\xff" * 20)), "cannot be read")
    yield HostileFile("mat5", valid("mat5")[:-4] + bytes(4), "cannot be read")  # Adler-32
    for name in ("zip-envi", "zip-pcidsk"):
        data, member = valid(name), FORMATS[name].member.encode()
        local = data.rindex(b"PK\3\4", 0, data.index(member))
        central = data.rindex(b"PK\1\2", 0, data.rindex(member))
        for number in (0, 9, 99):  # stored, Deflate64, encrypted
            method = struct.pack("<H", number)
            yield HostileFile(name, patch(data, (local + 8, method), (central + 10, method)), "cannot be read")
        yield HostileFile(name, patch(data, (central + 16, b"1234")), "cannot be read.*CRC-32")
    yield HostileFile("zip-envi", zip_envi(method=ZIP_STORED), None, True)


@hostile_class(20)
def zip_structure() -> HostileFiles:
    """Archives whose sizes, offsets or flags contradict each other, or whose members are missing."""
    data = zip_envi()
    central, last = data.index(b"PK\1\2"), data.rindex(b"PK\5\6")
    for size in (0, 10, 2**31, 2**32 - 1):
        packed = struct.pack("<I", size)
        yield HostileFile("zip-envi", patch(data, (central + 20, packed)), "cannot be read")  # compressed size
        yield HostileFile("zip-envi", patch(data, (central + 24, packed)), "cannot be read")  # uncompressed size
        yield HostileFile("zip-envi", patch(data, (18, packed), (22, packed)), "", True)  # both, in the local header
    yield HostileFile("zip-envi", patch(data, (central + 42, struct.pack("<I", 2**31))), "cannot be read")
    yield HostileFile("zip-envi", patch(data, (last + 16, struct.pack("<I", 2**31))), "cannot be read")
    yield HostileFile("zip-envi", patch(data, (6, b"\1"), (central + 8, b"\1")), "cannot be read.*encrypted")
    yield HostileFile("zip-envi", patch(data, (30, b"X")), "cannot be read")  # the local name
    yield HostileFile(
        "zip-envi", data + zip_envi(valid("envi")[::-1]), "hardly correlated"
    )  # the last directory counts
    yield HostileFile("zip-envi", make_zip([(CHIKUSEI, valid("envi"))]), "cannot be read")  # without a header
    yield HostileFile("zip-envi", make_zip([(CHIKUSEI, b""), (f"{CHIKUSEI[:-3]}hdr", b"")]), "cannot be read")
    yield HostileFile("zip-envi", make_zip([]), "cannot be read")


@hostile_class(21)
def zip_names() -> HostileFiles:
    """Members with paths outside the archive, links and duplicates: nothing is unpacked, only the cube is read."""
    names = ("../../canary", "/etc/canary", "..\\canary", "C:\\canary", "a/../../canary", "\x1b[31m", "x" * 60_000)
    ours = [(CHIKUSEI, valid("envi")), (f"{CHIKUSEI[:-3]}hdr", envi_header())]
    for name in names:
        yield HostileFile("zip-envi", make_zip([*ours, (name, b"out!" * 99)]), None, True)
        yield HostileFile("zip-envi", make_zip([(name, b"out!" * 99)]), "and no Chikusei_ENVI")
    link = ZipInfo(CHIKUSEI)
    link.create_system, link.external_attr = 3, 0o120777 << 16
    yield HostileFile(
        "zip-envi", make_zip([(link, b"../../../../outside/secret.bsq"), ours[1]]), "ends after 30 of 5760 bytes"
    )
    yield HostileFile("zip-envi", make_zip([ours[1], (link, valid("envi"))]), None, True)
    yield HostileFile("zip-envi", make_zip([*ours, (CHIKUSEI, valid("envi")[::-1])]), "twice")
    yield HostileFile("zip-envi", make_zip([*ours, (f"{CHIKUSEI[:-3]}hdr", envi_header(bands=1))]), "twice")
    yield HostileFile("zip-envi", make_zip([*ours, (f"{CHIKUSEI[:-3]}HDR", envi_header(bands=1))]), "twice")
    yield HostileFile("zip-envi", make_zip([*ours, (f"{CHIKUSEI}.hdr", envi_header(bands=9))]), "differ")
    yield HostileFile("zip-envi", zip_envi(), "and no \\.\\./outside", member="../outside/secret.bsq")


def pcidsk_elsewhere(interleaving: bytes, name: str) -> HostileFile:
    """Return a PCIDSK file whose channels refer to another file for their pixels."""
    data = valid("pcidsk")
    first = 512 * (int(data[336:352]) - 1)
    changes = [(360, interleaving.ljust(8))]
    for channel in range(first, first + BANDS * 1024, 1024):
        where = b"0".rjust(16) + b"2".rjust(8) + b"40".rjust(8)
        changes += [(channel + 64, name.encode().ljust(64)), (channel + 168, where)]
    return HostileFile("pcidsk", patch(data, *changes), "other files")


@hostile_class(29)
def files_elsewhere() -> HostileFiles:
    """Files that refer to another file for their pixels, such as the existing files of SECRET in ../../outside."""
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
        lambda file: file.__setitem__("cube", h5py.ExternalLink("a.h5", "/cube")),  # itself, endlessly
    ]
    for fill in fills:
        yield HostileFile("hdf5", hdf5(fill), "no cube")
    for name in (raw, "/etc/passwd", "/dev/zero"):
        data = hdf5(lambda file, name=name: file.create_dataset("cube", shape, "u2", external=[(name, 0, size)]))
        yield HostileFile("hdf5", data, "other files")
    yield HostileFile("hdf5", hdf5(lambda file: file.create_virtual_dataset("cube", layout)), "other files")
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
        message = "ends after 1187 of 5760 bytes" if name == "envi" else "it is a VRT"
        yield HostileFile(name, vrt, message, neighbours=envi_neighbours(name))
    yield HostileFile("zip-envi", zip_envi(raster=vrt), "ends after|hardly correlated")
    for key in ("data file", "data filename", "file", "dem file"):
        yield make_envi(None, unchanged=True, **{key: raw})
    yield make_envi("cannot be read", file_type="ENVI Virtual Mosaic")
    yield HostileFile("envi", b"ENVI MOSAIC TEMPLATE (G)\n" + valid("envi")[25:], neighbours=envi_neighbours("envi"))


@hostile_class(34)
def sidecars() -> HostileFiles:
    """Valid files next to files that could change the pixels that are read."""
    band = "<Scale>9</Scale><Offset>7</Offset><Source>../../outside/secret.bsq</Source>"
    bands = "".join(f"<PAMRasterBand band='{i + 1}'>{band}</PAMRasterBand>" for i in range(BANDS))
    aux = f"<PAMDataset><Metadata domain='x'/>{bands}</PAMDataset>".encode()
    entity = b"<!DOCTYPE x [<!ENTITY a 'b'>]>" + aux
    for name in ("tiff", "envi", "pcidsk"):
        file = FORMATS[name].name
        for data, message in (
            (aux, None),  # applied: the pixels are others
            (entity, "DOCTYPE"),
            (aux[:-5], "are not XML"),
            (aux.replace(b"'6'", b"'7'"), "describes band '7' of 6"),
            (aux.replace(b">9<", b">x<"), "has the Scale 'x'"),
            (b"<x>" * 99 + b"<Scale>", "nested too deeply"),
            (b"<Scale>" + b"x" * 2**24, "more than 16 MiB"),
        ):
            neighbours = envi_neighbours(name) | {f"{file}.aux.xml": data}
            yield HostileFile(name, valid(name), message, False, neighbours)
        vrt = b"<VRTDataset/>"
        yield HostileFile(name, valid(name), "not a TIFF", neighbours=envi_neighbours(name) | {f"{file}.msk": vrt})
        yield HostileFile(
            name,
            valid(name),
            None,
            True,
            envi_neighbours(name) | {f"{file}.ovr": valid("tiff"), f"{file}.msk": valid("tiff")},
        )
        yield HostileFile(
            name,
            valid(name),
            None,
            True,
            envi_neighbours(name) | {"a.tfw": b"x" * 999, "a.sta": b"\xff" * 999, "a.rpb": b"x"},
        )
    yield HostileFile("tiff", valid("tiff"), None, True, {"a.hdr": envi_header(file_type="ENVI Classification")})
    yield HostileFile(
        "envi", valid("envi"), None, False, {"a.hdr": envi_header(file_type="ENVI Classification", classes=2**31)}
    )
    yield HostileFile(
        "envi",
        valid("envi"),
        "headers a.bsq.hdr and a.hdr differ",
        False,
        {"a.hdr": envi_header(), "a.bsq.hdr": envi_header(lines=9)},
    )
    yield HostileFile("envi", valid("envi"), None, True, {"a.hdr": envi_header(), "a.bsq.aux.xml": b"<" * 9999})


@hostile_class(15)
def disguised() -> HostileFiles:
    """Other content under the name of a format."""
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
            yield HostileFile(name, data, "cannot be read")
    yield HostileFile("npy", pickle.dumps(pixels()), "cannot be read")
    yield HostileFile("mat5", gzip.compress(valid("mat5"), mtime=0), "cannot be read")
    yield HostileFile("tiff", valid("zip-envi"), "it is a zip archive")
    yield HostileFile("zip-envi", valid("tiff"), "it is not a zip archive")
    yield HostileFile("npy", make_zip([("cube.npy", valid("npy"))]), "it is a .npz file, which holds cube")


@hostile_class(19)
def npy_headers() -> HostileFiles:
    """.npy files with unusual or wrong headers."""
    usual = "{'descr': '<u2', 'fortran_order': False, 'shape': (24, 20, 6), }"
    yield HostileFile("npy", npy_header(usual), None, True)
    yield HostileFile("npy", npy_header(usual, 2), None, True)
    for kind in ("'|O'", "'<c16'", "'<U4'", "'|V2'", "'<M8[s]'", "[('a', '<u1'), ('b', '<u1')]", "'<u3'", "'>>>'", "7"):
        yield HostileFile("npy", npy_header(usual.replace("'<u2'", kind), data=bytes(99999)), "cannot be read")
    yield HostileFile("npy", npy(np.full((4, 5, 6), None)), "cannot be read")
    for text in (
        "(" * 5000,
        "{'descr': '<u2'",
        "[" * 90 + "]" * 90,
        "__import__('os').system('touch canary')",
        "\0",
        "-" * 9999,
    ):
        yield HostileFile("npy", npy_header(text), "cannot be read|memory")
    yield HostileFile("npy", npy_header(usual + " " * 10**5, 2), "cannot be read")


@hostile_class(37)
def netcdf3_headers() -> HostileFiles:
    """NetCDF 3 files with unusual or wrong headers."""
    plain, records = netcdf3(), netcdf3(records=True)
    yield HostileFile("netcdf3", netcdf3(version=2), None, True)
    yield HostileFile("netcdf3", records, None, True)
    yield HostileFile("netcdf3", patch(records, (4, b"\xff" * 4)), None, True)  # the number of records is unknown
    for number in (7, 2**20, 2**31 - 1):
        yield HostileFile("netcdf3", patch(records, (4, struct.pack(">I", number))), "ends after 5956 of ")
    yield HostileFile("netcdf3", patch(records, (4, bytes(4))), "cannot be read")  # no records
    for name in (b"band", b"y\0\0\0", b"x\0\0\0"):
        start = plain.index(name) + len(name)
        for length in (0, 2**31, 2**32 - 1, 1000):
            data = patch(plain, (start, struct.pack(">I", length)))
            yield HostileFile("netcdf3", data, "cannot be read|ends after")
    for version in (0, 3, 4, 5, 67, 255):
        yield HostileFile("netcdf3", patch(plain, (3, bytes([version]))), "cannot be read")
    for offset in (8, 12):  # tag and length of the list of dimensions
        for number in (0, 2**31 - 1, 2**32 - 1):
            yield HostileFile("netcdf3", patch(plain, (offset, struct.pack(">I", number))), "cannot be read")
    cube = plain.index(b"cube") + 4
    for number in (0, 2, 4, 2**20, 2**32 - 1):  # of axes
        yield HostileFile("netcdf3", patch(plain, (cube, struct.pack(">I", number))), "cannot be read")
    yield HostileFile("netcdf3", patch(plain, (cube + 4, struct.pack(">I", 77))), "has an unknown dimension")


def zip_bomb(num_zeros: int, claimed_size: int) -> bytes:
    """Return an archive whose raster is a number of zeros, deflated, and claims to have another size."""
    stream = zeros_deflated(num_zeros)
    data = zip_envi(raster=b"", header=envi_header(lines=2**20, samples=2**8, bands=2))
    body, next_header, central = 30 + len(CHIKUSEI), data.index(b"PK\3\4", 4), data.index(b"PK\1\2")
    sizes = struct.pack("<II", len(stream), claimed_size)
    data = patch(data, (18, sizes), (central + 20, sizes))
    for offset in (data.rindex(b"PK\1\2") + 42, data.rindex(b"PK\5\6") + 16):  # offsets after the raster have changed
        (place,) = struct.unpack_from("<I", data, offset)
        data = patch(data, (offset, struct.pack("<I", place + len(stream) - next_header + body)))
    return data[:body] + stream + data[next_header:]


def mat5_bomb(body: bytes, zeros: int) -> bytes:
    """Return a MATLAB v5 file of one compressed element: `body`, then zeros."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    start = b"\x78\x9c" + compressor.compress(body) + compressor.flush(zlib.Z_FULL_FLUSH)
    compressed = start + zeros_deflated(zeros) + bytes(4)
    return valid("mat5")[:128] + struct.pack("<II", 15, len(compressed)) + compressed


@hostile_class(17)
def bombs() -> HostileFiles:
    """Small files that would take gigabytes of memory or hours."""
    message = "cannot be read|memory"
    yield HostileFile("zip-envi", zip_bomb(2**28, 2**28), "claims|one value")
    yield HostileFile("zip-envi", zip_bomb(2**28, 2**32 - 1), message)
    yield HostileFile("zip-envi", zip_bomb(2**28, 2**20), message)
    yield HostileFile("zip-envi", make_zip([(CHIKUSEI, zip_bomb(2**28, 2**28))]), message)
    yield HostileFile("zip-envi", zip_envi(header=b"ENVI\n" + b"x" * 10**7), "hdr is too large")
    yield HostileFile("envi", valid("envi"), message, neighbours={"a.hdr": b"ENVI\n" + b"a = {" + b"x\n" * 50_000})
    yield HostileFile("zip-envi", zip_envi(header=b"ENVI\n" + b"a = 1\n" * 10**6), "hdr is too large")
    tag = struct.pack("<IIIIII", 14, 2**30, 6, 8, 11, 0) + struct.pack("<IIiii", 5, 12, 2**14, 2**12, 6) + bytes(4)
    yield HostileFile("mat5", mat5_bomb(tag + struct.pack("<HH4sII", 1, 4, b"cube", 4, 6 * 2**27), 2**27), message)
    yield HostileFile("mat5", mat5_bomb(tag + struct.pack("<II", 1, 2**31 - 1), 2**27), message)  # the name
    yield HostileFile("mat5", mat5_bomb(tag[:24] + struct.pack("<II", 5, 2**31 - 4), 2**27), message)  # the axes
    for chunks in (None, (1, 1000, 1000)):
        for shape in ((BANDS, 10**6, 10**6), (10**6, 10**3, 10**3)):
            options = {"fillvalue": 7, "chunks": chunks}
            data = hdf5(lambda file, options=options, shape=shape: file.create_dataset("cube", shape, "u2", **options))
            yield HostileFile("hdf5", data, message)
    yield HostileFile("hdf5", hdf5(gzipped_zeros), message)
    yield sparse_tiff(30_000)
    yield sparse_tiff(3_000)


def gzipped_zeros(file) -> None:
    """Write a cube of terabytes, of which two chunks, 64 MiB of zeros in 64 KiB each, are stored."""
    cube = file.create_dataset("cube", (BANDS, 2**20, 2**20), "u2", chunks=(1, 2**12, 2**13), compression="gzip")
    chunk = zlib.compress(bytes(2**26), 9)
    for i in range(2):
        cube.id.write_direct_chunk((i, 0, 0), chunk)


def sparse_tiff(size: int) -> HostileFile:
    """Return a compressed TIFF without stored tiles."""
    from rasterio.io import MemoryFile

    facts = {"width": size, "height": size, "count": BANDS, "dtype": "uint16", "tiled": True}
    with MemoryFile() as memory:
        with memory.open(driver="GTiff", sparse_ok=True, blockxsize=4096, blockysize=4096, compress="deflate", **facts):
            pass
        return HostileFile("deflated", memory.read(), "cannot be read|memory")
