"""Rasters that GDAL reads: ENVI, GeoTIFF and PCIDSK."""

import logging
import math
import os
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import IO, Any

import numpy as np

from lkca.data.catalog import find_envi_headers, find_namesakes, find_raw_header
from lkca.data.readers.base import NUMBER_KINDS, SettingsError, StoredCube, UnreadableError, check_claimed_size
from lkca.data.readers.description import ControlPoints, CubeDescription
from lkca.data.readers.envi_header import check_header, format_gdal_header, read_header, read_warp
from lkca.data.readers.gdal_names import StoredBytes, name_bytes, name_file
from lkca.data.readers.raster_facts import read_facts
from lkca.data.readers.raster_items import BandItems, RasterItems, parse_aux_xml, read_gdal_items
from lkca.data.sandbox import heartbeat
from lkca.data.sidecars import MAX_AUX_BYTES, find_aux_xml, find_mask_file, read_world_file

MAX_BLOCK_BYTES = 2**28  # GDAL holds a whole block in memory
MAX_PAGES = 1000  # GDAL walks through all earlier pages to open one
CACHE_BYTES = 2**25  # size of GDAL's cache of blocks
# Data type of an ENVI header -> name of numpy's type.
ENVI_TYPES = {
    "1": "uint8",
    "2": "int16",
    "3": "int32",
    "4": "float32",
    "5": "float64",
    "12": "uint16",
    "13": "uint32",
    "14": "int64",
    "15": "uint64",
}
TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


@dataclass(frozen=True)
class RasterFile:
    """A raster as GDAL names it, and what stands next to it.

    Args:
        driver: GDAL's name of the format.
        content: Where its bytes are.
        size: Bytes of the raster.
        fields: The fields of the ENVI header of the file, None if it has none.
        place: What messages call the header.
        aux: Content of its .aux.xml file, None if there is none or it declares nothing.
        aux_name: Name of this file.
        mask: Its .msk file, None if there is none.
        transform: The transform of its world file in GDAL's order, None if there is none.
    """

    driver: str
    content: Path | StoredBytes
    size: int
    fields: Mapping[str, str] | None = None
    place: str = "its header"
    aux: bytes | None = None
    aux_name: str = ""
    mask: Path | None = None
    transform: tuple[float, ...] | None = None


def find_raster_file(driver: str, path: Path) -> RasterFile:
    """Return a raster on the disk with what stands next to it.

    Raises:
        UnreadableError: If its header or .aux.xml file cannot be used.
    """
    fields, place = None, "its header"
    if driver == "ENVI":
        fields = read_only_header(find_envi_headers(path))
    elif driver == "GTiff":
        headers = [header for header in find_envi_headers(path) if _read_start(header) == b"ENVI"]
        own = [header for header in headers if header.name.lower() == f"{path.name}.hdr".lower()]
        headers = own or headers
        if own or (headers and not _find_raw_file(path, headers)):
            fields, place = read_only_header(headers), f"its header {headers[0].name}"
    aux = find_aux_xml(path, find_raw_header(path, find_envi_headers(path)))
    if aux and aux.stat().st_size > MAX_AUX_BYTES:
        raise SettingsError(f"its metadata, {aux.name}, have more than {MAX_AUX_BYTES // 2**20} MiB: delete this file")
    size = path.stat().st_size
    content = StoredBytes(path, 0, size, size) if driver == "ENVI" else path
    mask, transform = find_mask_file(path), read_world_file(path)
    raster = RasterFile(driver, content, size, fields, place, mask=mask, transform=transform)
    return replace(raster, aux=aux.read_bytes(), aux_name=aux.name) if aux else raster


def read_only_header(headers: Sequence[Path]) -> dict[str, str]:
    """Return the fields of the ENVI header of a file.

    Raises:
        UnreadableError: If there are two headers with different content, or the header is damaged.
    """
    contents = [read_header(header) for header in headers]
    if any(fields != contents[0] for fields in contents):
        names = " and ".join(header.name for header in headers)
        raise SettingsError(f"its headers {names} differ: delete or rename the wrong one")
    return contents[0]


def _read_start(path: Path) -> bytes:
    """Return the first four bytes of a file."""
    with path.open("rb") as file:
        return file.read(4)


def _find_raw_file(tiff: Path, headers: Sequence[Path]) -> Path | None:
    """Return the raw file next to a TIFF to which the ENVI header next to it belongs, None if there is none."""
    fields = read_only_header(headers)
    shape = _read_shape(fields)
    if not shape or fields.get("data_type") not in ENVI_TYPES:
        return None
    itemsize = np.dtype(ENVI_TYPES[fields["data_type"]]).itemsize
    size = math.prod(shape) * itemsize + int(
        fields["header_offset"] if fields.get("header_offset", "").isdigit() else 0
    )
    return next((path for path in find_namesakes(tiff, headers) if path.stat().st_size == size), None)


def _read_shape(fields: Mapping[str, str]) -> tuple[int, int, int] | None:
    """Return the lines, samples and bands of an ENVI header, None if they are not numbers."""
    lines, samples, bands = (fields.get(name, "") for name in ("lines", "samples", "bands"))
    return (int(lines), int(samples), int(bands)) if (lines + samples + bands).isdigit() else None


@contextmanager
def _refuse_lost_tags() -> Iterator[None]:
    """Raise an error where GDAL only warns that it ignores a tag, because the file ends before the end of the tag.

    Such a file lacks wavelengths, gains or its position, but opens.

    Raises:
        UnreadableError: If GDAL has warned.
    """
    messages: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: messages.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("rasterio._env")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
    if any("IO error during reading" in message for message in messages):
        raise UnreadableError("it ends before the end of its description, which has its wavelengths or its position")


def open_raster(
    stack: ExitStack, file: RasterFile, axes: list[str] | None, offset: int | None = None, line_multiple: int = 1
) -> StoredCube:
    """Open a raster until the stack closes.

    Args:
        stack: The stack that closes the raster.
        file: The raster.
        axes: `bands rows columns`, the default; `bands columns rows` if the lines of the raster are columns of the
            cube; or `rows columns` for a raster of one band.
        offset: Bytes before the pixels; None if it is unknown or in an ENVI header.
        line_multiple: Each line but the last is padded to a multiple of this number of bytes.

    Raises:
        UnreadableError: If the axes are not supported, or the values, blocks or size of the file are wrong.
    """
    import rasterio
    from rasterio.enums import ColorInterp
    from rasterio.errors import NotGeoreferencedWarning

    # GDAL must not read files next to the raster, and must not print: its errors are exceptions. The header next to an
    # ENVI raster is one that `name_bytes` provides.
    options = {
        "GDAL_PAM_ENABLED": "NO",
        "GDAL_CACHEMAX": CACHE_BYTES,
        "GDAL_DISABLE_READDIR_ON_OPEN": "FALSE" if file.driver == "ENVI" else "EMPTY_DIR",
        "CPL_LOG": os.devnull,
    }
    stack.enter_context(rasterio.Env(**options))
    stack.enter_context(warnings.catch_warnings())
    warnings.simplefilter("ignore", NotGeoreferencedWarning)
    axes = axes or ["bands", "rows", "columns"]
    if axes not in (["bands", "rows", "columns"], ["bands", "columns", "rows"], ["rows", "columns"]):
        raise SettingsError(
            f"a raster has the axes 'bands rows columns' or 'bands columns rows', not '{' '.join(axes)}': "
            "correct axes in its entry"
        )
    header = None
    if file.driver == "ENVI":
        check_header(file.fields or {})
        header = format_gdal_header(file.fields or {})
    content = file.content
    name = name_file(content) if isinstance(content, Path) else name_bytes(stack, content, header)
    with _refuse_lost_tags():
        raster = stack.enter_context(rasterio.open(name, driver=file.driver))
    dtype = _check_dtype(raster)
    pages, items = _read_pages(raster, file.driver)
    bands = len(pages) or raster.count
    fields = _select_header(file, raster, dtype)
    if file.driver == "ENVI":
        offset = int((fields or {}).get("header_offset", 0))
        names = (fields or {}).get("band_names", "").strip("{} \n").split(",")
        named = len(names) == bands
        items = RasterItems(
            [BandItems(name=names[i].strip() if named else None) for i in range(bands)], place=file.place
        )
    _check_size(file, raster, bands * dtype.itemsize, offset, line_multiple)
    transposed = axes[1:] == ["columns", "rows"]

    def read_lines(read: Callable[..., np.ndarray], bands: Any, rows: slice, columns: slice, **more: Any) -> np.ndarray:
        lines, samples = (columns, rows) if transposed else (rows, columns)
        window = ((lines.start, lines.stop), (samples.start, samples.stop))
        values = read(bands, window=window, **more)
        return values.swapaxes(-1, -2) if transposed else values

    def read_image(numbers: list[int], **window: Any) -> np.ndarray:
        if not pages:
            return raster.read(numbers, **window)
        images = []
        for number in numbers:
            heartbeat()
            with rasterio.Env(**options), rasterio.open(pages[number - 1], driver=file.driver) as page:
                images.append(page.read(1, **window))
        return np.stack(images)

    def read(first: int, last: int, rows: slice, columns: slice, out_dtype: Any) -> np.ndarray:
        return read_lines(read_image, list(range(first + 1, last + 1)), rows, columns, out_dtype=out_dtype)

    masks = _open_masks(stack, file, raster)

    def read_mask(rows: slice, columns: slice) -> np.ndarray:
        return np.logical_or.reduce([read_lines(read, 1, rows, columns) == 0 for read in masks])

    declared = [items]
    if file.aux is not None:
        declared.append(replace(parse_aux_xml(file.aux, file.aux_name, bands), is_copy=file.driver == "ENVI"))
    alpha = [i for i, color in enumerate(raster.colorinterp, 1) if color == ColorInterp.alpha]
    lines, samples = raster.shape
    description = CubeDescription(
        format={"GTiff": "GeoTIFF"}.get(file.driver, file.driver),
        shape=(samples, lines, bands) if transposed else (lines, samples, bands),
        dtype=dtype,
        axes=tuple(axes),
        has_mask=bool(masks),
        **read_facts(declared, fields, file.place, dtype, alpha),
        **_read_position(file, raster, declared, transposed),
        **(_read_warp(file, raster) if not transposed else {}),
    )
    return StoredCube(description, 1, read, read_mask if masks else None)


def _check_size(file: RasterFile, raster: Any, bytes_per_pixel: int, offset: int | None, line_multiple: int) -> None:
    """Refuse a file of another size than its header says; arguments as in `open_raster`.

    If it ends before its pixels, GDAL would read zeros. If it is larger, the header has too few lines, samples or
    bands, or a wrong offset, and the pixels would be read from wrong places.
    """
    line = raster.width * bytes_per_pixel
    if offset is None:
        check_claimed_size("its header", raster.height * line, file.size)
    elif file.size < (needed := offset + raster.height * line + (raster.height - 1) * (-line % line_multiple)):
        raise UnreadableError(f"it ends after {file.size} of {needed} bytes")
    elif file.driver == "ENVI" and file.size > needed:
        raise SettingsError(
            f"it has {file.size} bytes, but its header describes {needed}: correct samples, lines, bands, data type or "
            "header offset in the header"
        )


def _open_masks(stack: ExitStack, file: RasterFile, raster: Any) -> list[Callable[..., np.ndarray]]:
    """Return functions that read the masks of a raster, which have 0 for invalid pixels."""
    from rasterio.enums import MaskFlags

    # For ENVI, GDAL would open a .msk file in any format.
    internal = file.driver != "ENVI" and any(MaskFlags.per_dataset in flags for flags in raster.mask_flag_enums)
    mask = _open_mask_file(stack, file.mask, raster.shape) if file.mask else None
    return [*([raster.read_masks] if internal else []), *([mask.read] if mask else [])]


def _select_header(file: RasterFile, raster: Any, dtype: np.dtype[Any]) -> Mapping[str, str] | None:
    """Return the fields of the ENVI header of a raster; None for one next to a TIFF that describes another file."""
    if file.driver == "ENVI" or file.fields is None:
        return file.fields
    same_type = ENVI_TYPES.get(file.fields.get("data_type", "")) == dtype.name
    return file.fields if same_type and _read_shape(file.fields) == (*raster.shape, raster.count) else None


def _read_pages(raster: Any, driver: str) -> tuple[list[str], RasterItems]:
    """Return GDAL's names of the pages of a TIFF that are its bands, none if it has one page, and what it says.

    Raises:
        SettingsError: If its pages are not the bands of one image.
    """
    import rasterio

    pages = raster.subdatasets if driver == "GTiff" else []
    pages = sorted(pages, key=lambda name: int(name.split(":")[1]))  # rasterio has page 10 before page 2
    items = read_gdal_items(raster)
    if len(pages) < 2:
        return [], items
    if len(pages) > MAX_PAGES:
        raise SettingsError(
            f"it has {len(pages)} pages, more than {MAX_PAGES}: write a TIFF of one page with all bands"
        )
    bands: list[BandItems] = []
    kinds = []
    for name in pages:
        with rasterio.open(name, driver=driver) as page:
            heartbeat()
            kinds.append((page.height, page.width, page.count, *{*page.dtypes}))
            bands += read_gdal_items(page).bands
    if raster.count > 1 and kinds.count(kinds[0]) == 1:  # the others are previews
        return [], items
    if raster.count > 1 or len({*kinds}) > 1:
        text = ", ".join("{} x {} x {} of {}".format(*kind) for kind, _ in groupby(kinds))
        raise SettingsError(
            f"its {len(pages)} pages are not the bands of one image (rows x columns x bands: {text}): write a TIFF "
            "that has one page with all bands"
        )
    images = re.match(r"ImageJ=[^\n]*\nimages=(\d+)", items.items.get("tifftag_imagedescription", ""))
    if images and int(images[1]) != len(pages):
        raise SettingsError(f"it holds {images[1]} images of ImageJ in {len(pages)} pages: save it as another TIFF")
    return pages, RasterItems(bands, items.items, items.envi)


def _open_mask_file(stack: ExitStack, path: Path, shape: tuple[int, int]) -> Any:
    """Open a .msk file, which has 0 for invalid pixels, until the stack closes; return None if GDAL ignores it.

    Raises:
        SettingsError: If it is no TIFF of this shape, or has another mask for each band.
    """
    import rasterio

    if _read_start(path) not in TIFF_STARTS:
        raise SettingsError(f"its mask, {path.name}, is not a TIFF: delete or rename it")
    with rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR"):  # the mask has no files next to it, either
        mask = stack.enter_context(rasterio.open(name_file(path), driver="GTiff"))
        flags = mask.tags().get("INTERNAL_MASK_FLAGS_1", "")
    _check_dtype(mask)
    if not flags:
        return None
    if not (flags.isdigit() and int(flags) & 2):
        raise SettingsError(f"{path.name} has another mask for each band: delete it, and set mask in the entry")
    if mask.shape != shape:
        sizes = " x ".join(map(str, mask.shape)), " x ".join(map(str, shape))
        raise SettingsError(f"its mask, {path.name}, has {sizes[0]} pixels instead of {sizes[1]}: delete it")
    return mask


def _read_position(file: RasterFile, raster: Any, items: Sequence[RasterItems], transposed: bool) -> dict[str, Any]:
    """Return the coordinate reference system and the transform of a raster, as fields of `CubeDescription`.

    They can be in an .aux.xml file, and the transform in a world file, if the raster does not have them.
    """
    position: dict[str, Any] = {}
    crs = raster.crs.to_wkt() if raster.crs else next((each.crs for each in items if each.crs), None)
    if crs:
        position["crs"] = crs
    transform = raster.transform.to_gdal()
    if raster.transform.is_identity:
        transform = next((each.geotransform for each in items if each.geotransform), None)
        transform = transform or file.transform
    if transform:
        x, width, row_turn, y, column_turn, height = transform
        straight, turned = (width, row_turn), (column_turn, height)
        position["geotransform"] = (
            (x, *reversed(straight), y, *reversed(turned)) if transposed else (x, *straight, y, *turned)
        )
    return position


def _read_warp(file: RasterFile, raster: Any) -> dict[str, Any]:
    """Return the ground control points and the RPCs of a raster, as fields of `CubeDescription`.

    Those that are damaged are left out, as they do not change the pixels.
    """
    if file.driver == "ENVI":
        return read_warp(file.fields or {})
    facts: dict[str, Any] = {}
    with suppress(Exception):
        points, crs = raster.gcps
        numbers = tuple((float(p.row), float(p.col), float(p.x), float(p.y), float(p.z or 0)) for p in points)
        if numbers and np.isfinite(numbers).all():
            facts["gcps"] = ControlPoints(crs.to_wkt() if crs else None, numbers)
    with suppress(Exception):
        declared = {name: value for name, value in raster.rpcs.to_dict().items() if value is not None}
        if all(np.isfinite(value).all() for value in declared.values()):
            facts["rpcs"] = {name: tuple(v) if isinstance(v, list) else v for name, v in declared.items()}
    return facts


def _check_dtype(raster: Any) -> np.dtype[Any]:
    """Return the type of the values; refuse several types and blocks that are too large."""
    dtypes = set(raster.dtypes)
    dtype = np.dtype(raster.dtypes[0])
    if len(dtypes) > 1 or dtype.kind not in NUMBER_KINDS:
        raise UnreadableError(f"its bands hold {', '.join(sorted(dtypes))} instead of one kind of real numbers")
    if max(math.prod(shape) for shape in raster.block_shapes) * dtype.itemsize > MAX_BLOCK_BYTES:
        raise UnreadableError("its blocks are too large to be read one by one")
    return dtype


def open_pcidsk(stack: ExitStack, file: IO[bytes], raster: RasterFile, axes: list[str] | None) -> StoredCube:
    """Open a PCIDSK raster until the stack closes; refuse one that refers to other files.

    Args:
        stack: The stack that closes the raster.
        file: The file, positioned at its start, from which the header is read.
        raster: The raster.
        axes: As in `open_raster`.

    Raises:
        UnreadableError: If the file is damaged or refers to other files.
    """
    header = file.read(512)

    def number(first: int, last: int) -> int:
        """Return the number that the bytes first to last - 1 of the header contain as text."""
        if not (text := header[first:last].strip()).isdigit():
            raise UnreadableError("its header has letters instead of numbers")
        return int(text)

    interleaving = header[360:368]
    offset = None if interleaving == b"FILE    " else 512 * (number(304, 320) - 1)
    if interleaving == b"PIXEL   ":  # then GDAL ignores the names in the headers of the channels
        return open_raster(stack, raster, axes, offset, line_multiple=512)
    file.seek(512 * (number(336, 352) - 1))
    for _ in range(number(376, 384)):
        channel_file = file.read(1024)[64:128]
        if len(channel_file) < 64:
            raise UnreadableError("it ends before its pixels")
        # A tiled channel names a part of this file ("/SIS=..."); any other channel in this file has no name.
        if not channel_file.startswith(b"/SIS=") if offset is None else channel_file.strip(b" \0"):
            raise UnreadableError("it refers to other files")
    return open_raster(stack, raster, axes, offset)
