"""The formats that cubes come in: MATLAB v5 and v7.3, HDF5, ENVI, GeoTIFF, PCIDSK, .npy, and rasters in a zip archive.

Files are taken as hostile; what their libraries may still do is for `guarded` (guard.py) to hold.
"""

import math
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO
from zipfile import ZipFile, ZipInfo

import numpy as np

from lkca.data.sandbox import set_current_file
from lkca.errors import LkcaError

UNIT = 2**28  # the largest piece of a file that a library takes into memory by itself
VARIABLE = 2**32  # the largest array that is read whole, where a format allows nothing else
HEADER = 2**22  # the largest text that GDAL has to parse
CACHE = 2**25  # of GDAL
NUMBERS = "biuf"  # kinds of numpy


@dataclass(frozen=True)
class Source:
    """An open cube.

    Args:
        shape: Rows, columns, bands.
        dtype: Of its values in the file.
        nanometres: Of each band, None where the file does not say.
        nodata: The value that stands for none, None where the file does not say.
        together: Bands that come at no more cost than one of them.
        read: First band, band behind the last, rows, columns -> float32 (bands, rows, columns).
    """

    shape: tuple[int, int, int]
    dtype: np.dtype
    nanometres: list[float] | None
    nodata: float | None
    together: int
    read: Callable[[int, int, slice, slice], np.ndarray]


class Unreadable(Exception):
    """What is wrong with a file, for a sentence that names it."""


@contextmanager
def opened(path: Path, inside: str | None, variable: str | None, axes: str) -> Iterator[Source]:
    """Open a cube; what its bytes are decides, not its name.

    Args:
        path: The file, or the archive that it is in.
        inside: Its path inside the archive.
        variable: The array's name in a MATLAB or HDF5 file; None where there is only one of three axes.
        axes: Their names in the file's order, as File.axes.

    Raises:
        LkcaError: If the file cannot be read as what it is; one sentence.
    """
    set_current_file(path)
    with ExitStack() as stack:
        with _called(path):
            source = _open(stack, path, inside, variable, axes.split())
        yield replace(source, read=partial(_read, path, source.read))


def _read(path: Path, read: Callable[..., np.ndarray], *where: Any) -> np.ndarray:
    with _called(path), np.errstate(over="ignore", invalid="ignore"):  # what float32 does not hold is refused later
        return read(*where)


@contextmanager
def _called(path: Path) -> Iterator[None]:
    """Whatever a library says of a damaged file becomes one sentence; each has exceptions of its own."""
    try:
        yield
    except MemoryError as error:
        raise LkcaError(f"{path} wants more memory than it may have: it is damaged or another file.") from error
    except Exception as error:
        words = " ".join(str(error.__cause__ or error).split()).rstrip(".")  # rasterio's are those of the cause
        told = "".join(letter if letter.isprintable() else "?" for letter in words or type(error).__name__)
        raise LkcaError(
            f"{path} cannot be read ({told[:300]}): it is damaged, another file, or not what its entry says."
        ) from error


def _open(stack: ExitStack, path: Path, inside: str | None, variable: str | None, axes: list[str]) -> Source:
    with path.open("rb") as file:
        start = file.read(520)
    if start.lstrip()[:1] == b"<":
        raise Unreadable("it is a web page, not data")
    if start[:4] == b"PK\x03\x04":
        if not inside:
            raise Unreadable("it is a zip archive: name the file in it, as in archive.zip/folder/file")
        return _in_archive(stack, path, inside, axes)
    if inside:
        raise Unreadable("it is no zip archive")
    if b"\x89HDF\r\n\x1a\n" in (start[:8], start[512:520]):
        return _hdf5(stack, path, variable, axes)
    if start[:10] == b"MATLAB 5.0" or start[124:128] in (b"\x00\x01IM", b"\x01\x00MI"):
        return _matlab5(path, variable, axes)
    if start[:6] == b"\x93NUMPY":
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        return _of_array(array, array.shape, array.dtype, axes, 1)
    if start[:8] == b"PCIDSK  ":
        with path.open("rb") as file:
            layout = _pcidsk(file)
        return _raster(stack, "PCIDSK", str(path), path.stat().st_size, axes, *layout)
    if start[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return _raster(stack, "GTiff", str(path), path.stat().st_size, axes)
    beside = (path.with_suffix(".hdr"), Path(f"{path}.hdr"), path.with_suffix(".HDR"))
    if headers := [header for header in beside if header.is_file()]:
        if max(header.stat().st_size for header in headers) > HEADER:
            raise Unreadable("its header is too large")
        return _raster(stack, "ENVI", str(path), path.stat().st_size, axes)
    raise Unreadable("it is no MATLAB, HDF5, TIFF, PCIDSK or .npy file, and no ENVI header lies beside it")


def _of_array(
    array: Any, shape: tuple[int, ...], dtype: np.dtype, axes: list[str], together: int, reverse: bool = False
) -> Source:
    """Anything that is sliced like an array; `reverse`: its axes are in the reverse of `axes`."""
    if len(shape) != 3 or min(shape) < 1:
        raise Unreadable(f"its array has the shape {shape} instead of three axes")
    if dtype.kind not in NUMBERS:
        raise Unreadable(f"its array holds {dtype} instead of real numbers")
    order = axes[::-1] if reverse else axes
    place = [order.index(name) for name in ("bands", "rows", "columns")]

    def read(first: int, last: int, rows: slice, columns: slice) -> np.ndarray:
        wanted = {"bands": slice(first, last), "rows": rows, "columns": columns}
        return np.asarray(array[tuple(wanted[name] for name in order)], np.float32).transpose(place)

    rows, columns, bands = (shape[order.index(name)] for name in ("rows", "columns", "bands"))
    return Source((rows, columns, bands), dtype, None, None, together, read)


def _chosen(variable: str | None, arrays: dict[str, tuple[int, ...]]) -> str:
    """The name of the array to read, of those in a file."""
    cubes = [name for name, shape in arrays.items() if len(shape) == 3]
    if variable is None and len(cubes) == 1:
        return cubes[0]
    if variable in arrays:
        return variable
    there = ", ".join(f"{name} {shape}" for name, shape in list(arrays.items())[:9]) or "nothing"
    raise Unreadable(f"it holds {there} and no {variable or 'single array of three axes'}")


def _hdf5(stack: ExitStack, path: Path, variable: str | None, axes: list[str]) -> Source:
    """MATLAB v7.3 is HDF5 with the axes reversed; other HDF5 files have them as they are."""
    import h5py

    file = stack.enter_context(h5py.File(path, "r"))
    arrays = {}

    def note(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            arrays[name] = item.shape

    file.visititems(note)  # which follows no links: they could lead to other files
    matlab = file.userblock_size >= 512
    name = _chosen(variable, {key: shape[::-1] if matlab else shape for key, shape in arrays.items()})
    cube = file[name]
    if cube.is_virtual or cube.external:
        raise Unreadable(f"{name} only points to other files")
    chunk = cube.chunks or (1,) * len(cube.shape)
    if math.prod(chunk) * cube.dtype.itemsize > UNIT:
        raise Unreadable(f"{name} has chunks of {chunk}, too large to be read in parts")
    _plausible(name, math.prod(cube.shape) * cube.dtype.itemsize, path.stat().st_size)
    place = (axes[::-1] if matlab else axes).index("bands")
    together = chunk[place] if len(chunk) == 3 else 1
    as_float32 = cube.astype(np.float32) if cube.dtype.kind in NUMBERS else cube  # converted in small parts on the way
    return _of_array(as_float32, cube.shape, cube.dtype, axes, together, reverse=matlab)


def _matlab5(path: Path, variable: str | None, axes: list[str]) -> Source:
    """scipy reads a variable as a whole."""
    from scipy.io import loadmat, whosmat

    listed = {name: (shape, kind) for name, shape, kind in whosmat(path)}
    name = _chosen(variable, {key: shape for key, (shape, _) in listed.items()})
    shape, kind = listed[name]
    if kind not in ("double", "single", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"):
        raise Unreadable(f"{name} is a {kind} instead of an array of numbers")
    _plausible(name, math.prod(shape) * np.dtype(kind).itemsize, path.stat().st_size)
    if math.prod(shape) * np.dtype(kind).itemsize > VARIABLE:
        raise Unreadable(f"{name} has the shape {shape}, more than {VARIABLE // 2**30} GiB")
    cube = loadmat(path, variable_names=[name])[name]
    return _of_array(cube, cube.shape, cube.dtype, axes, 1)


def _plausible(name: str, claimed: int, held: int) -> None:
    """Refuse what nothing but endless repetition could be; deflate makes zeros a thousand times smaller."""
    if claimed > 1000 * held + 2**20:
        raise Unreadable(f"{name} claims {claimed} bytes in {held}")


def _in_archive(stack: ExitStack, path: Path, inside: str, axes: list[str]) -> Source:
    """A raster in a zip archive, which is not unpacked: GDAL reads it in place and does not check it; zipfile does."""
    archive = stack.enter_context(ZipFile(path))
    headers = (str(Path(inside).with_suffix(".hdr")).lower(), f"{inside}.hdr".lower())  # GDAL takes either, in any case
    members: dict[str, ZipInfo] = {}
    for member in archive.infolist():
        if member.filename == inside or member.filename.lower() in headers:
            if member.filename.lower() in members:
                raise Unreadable(f"it holds {member.filename} twice")
            members[member.filename.lower()] = member
    if not (raster := members.get(inside.lower())):
        there = ", ".join(member.filename[:80] for member in archive.infolist()[:9])
        raise Unreadable(f"it holds {there or 'nothing'} and no {inside}")
    for member in members.values():
        _plausible(member.filename, member.file_size, member.compress_size)
        if member is not raster and member.file_size > HEADER:
            raise Unreadable("its header is too large")
        with archive.open(member) as file:  # to the end, where its checksum is compared
            while file.read(2**22):
                pass
    name = f"/vsizip/{{{path.resolve()}}}/{inside}"
    with archive.open(raster) as file:
        if file.read(8) != b"PCIDSK  ":
            return _raster(stack, "ENVI", name, raster.file_size, axes)
        file.seek(0)
        return _raster(stack, "PCIDSK", name, raster.file_size, axes, *_pcidsk(file))


def _pcidsk(file: BinaryIO) -> tuple[int | None, int]:
    """Where the pixels of a PCIDSK file begin, None if in tiles; and to what multiple of bytes its lines are filled up.

    GDAL would follow the names in its channels' headers to other files, but not where bands are interleaved by pixel.
    """
    start = file.read(512)

    def number(first: int, last: int) -> int:
        if not (text := start[first:last].strip()).isdigit():
            raise Unreadable("its header has letters for numbers")
        return int(text)

    if start[360:368] == b"PIXEL   ":
        return 512 * (number(304, 320) - 1), 512
    tiles = start[360:368] == b"FILE    "
    file.seek(512 * (number(336, 352) - 1))
    for _ in range(number(376, 384)):
        name = file.read(1024)[64:128]
        if len(name) < 64:
            raise Unreadable("it ends before its pixels")
        if not name.startswith(b"/SIS=") if tiles else name.strip(b" \0"):
            raise Unreadable("it points to other files")
    return None if tiles else 512 * (number(304, 320) - 1), 1


def _raster(
    stack: ExitStack, driver: str, name: str, size: int, axes: list[str], offset: int | None = None, fill: int = 1
) -> Source:
    """A raster of so many bytes that GDAL reads: bands, lines, columns.

    Where the pixels begin at `offset`, each line filled up to a multiple of `fill` bytes, the end is known.
    """
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning

    # No sidecar files that could change what is read; messages of GDAL come as exceptions.
    stack.enter_context(rasterio.Env(GDAL_PAM_ENABLED="NO", GDAL_CACHEMAX=CACHE, CPL_LOG=os.devnull))
    stack.enter_context(warnings.catch_warnings())
    warnings.simplefilter("ignore", NotGeoreferencedWarning)
    if axes[0] != "bands":
        raise Unreadable(f"a raster has the axes 'bands rows columns' or 'bands columns rows', not '{' '.join(axes)}'")
    raster = stack.enter_context(rasterio.open(name, driver=driver))
    dtypes = set(raster.dtypes)
    dtype = np.dtype(raster.dtypes[0])
    if len(dtypes) > 1 or dtype.kind not in NUMBERS:
        raise Unreadable(f"its bands hold {', '.join(sorted(dtypes))} instead of one kind of real numbers")
    block = max(math.prod(shape) for shape in raster.block_shapes) * dtype.itemsize
    if block > UNIT:
        raise Unreadable("its blocks are too large to be read in parts")
    tags = raster.tags(ns="ENVI")
    if driver == "ENVI":
        offset = int(tags.get("header_offset", 0))
        if tags.get("file_compression", "0") != "0":
            raise Unreadable("it is compressed")
    line = raster.count * raster.width * dtype.itemsize
    if offset is None:
        _plausible("its header", raster.height * line, size)
    elif size < (needed := offset + raster.height * line + (raster.height - 1) * (-line % fill)):  # GDAL reads on
        raise Unreadable(f"it ends after {size} of {needed} bytes")
    turned = axes[1] == "columns"

    def read(first: int, last: int, rows: slice, columns: slice) -> np.ndarray:
        lines, samples = (columns, rows) if turned else (rows, columns)
        window = ((lines.start, lines.stop), (samples.start, samples.stop))
        bands = raster.read(list(range(first + 1, last + 1)), window=window, out_dtype=np.float32)
        return bands.transpose(0, 2, 1) if turned else bands

    lines, samples = raster.shape
    shape = (samples, lines, raster.count) if turned else (lines, samples, raster.count)
    return Source(shape, dtype, _wavelengths(tags, raster.count), raster.nodata, 1, read)


def _wavelengths(tags: dict[str, str], bands: int) -> list[float] | None:
    """Of an ENVI header, in nanometres."""
    unit = {"nanometers": 1, "micrometers": 1000}.get(tags.get("wavelength_units", "").lower())
    try:
        values = [float(value) for value in tags.get("wavelength", "").strip("{} ").split(",")]
    except ValueError:
        return None
    return [value * unit for value in values] if unit and len(values) == bands else None
