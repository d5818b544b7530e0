"""Generate files of any size in the formats of the published cubes, with the other files of their archives.

The published files were not available; CUBES (lkca/data/catalog.py) and comments here say what is known about them. A
cube is an array (rows, columns, bands) or a Scene. The writers hold one band of a Scene in memory at a time; the
writers of MATLAB files hold more.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import h5py
import numpy as np
import rasterio
from rasterio import Affine
from rasterio.crs import CRS
from rasterio.io import MemoryFile
from scipy.io import savemat

CHIKUSEI = "HyperspecVNIR_Chikusei_20140729"
CHIKUSEI_ZIP = "Hyperspec_Chikusei_ENVI.zip"
CHIKUSEI_FOLDER = "Chikusei_ENVI"
HOUSTON = "20170218_UH_CASI_S4_NAD83"
HOUSTON_ZIP = "phase2.zip"
HOUSTON_FOLDER = "2018IEEE_Contest/Phase2"
# MATLAB's chunks are unknown. With these, a reader that reads band by band decompresses each chunk 16 times.
CHUNKS = (16, 128, 128)


@dataclass(frozen=True)
class Scene:
    """A synthetic landscape. Iteration yields its bands, uint16 (rows, columns), the same in each iteration.

    It consists of noise and of a few materials, each with a smooth spectrum and a smooth abundance that has edges. The
    central pixel of the central band has the maximum, `largest`.
    """

    rows: int
    columns: int
    bands: int
    largest: int
    seed: int = 0

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.rows, self.columns, self.bands

    def __iter__(self) -> Iterator[np.ndarray]:
        rng, materials = np.random.default_rng(self.seed), 4
        shape = (self.rows, self.columns)
        down, across = (_interpolation_matrix(size, max(4, size // 32)) for size in shape)
        fields = np.empty((materials, *shape), np.float32)
        for field in fields:
            smooth, parcels = (down @ rng.random((down.shape[1], across.shape[1])) @ across.T for _ in range(2))
            field[:] = 0.8 * smooth + 0.2 * (parcels > 0.5)
        nodes = min(6, self.bands)
        spectra = _interpolation_matrix(self.bands, nodes) @ rng.uniform(0.1, 1, (nodes, materials))
        spectra = (spectra * 0.5 * self.largest / materials).astype(np.float32)
        middle, noise = self.bands // 2, max(1, self.largest // 300)
        glare = np.multiply.outer(*(_bell_curve(size) for size in shape))
        for i, spectrum in enumerate(spectra):
            band = (spectrum @ fields.reshape(materials, -1)).reshape(shape)
            band += (self.largest * (1 - 0.3 * abs(i - middle) / self.bands) - band) * glare
            band += rng.integers(-noise, noise, shape, np.int16, endpoint=True)
            if i == middle:
                band[self.rows // 2, self.columns // 2] = self.largest
            yield band.clip(0, self.largest).astype(np.uint16)


Cube = np.ndarray | Scene


def write_chikusei_zip(path: Path, cube: Cube) -> None:
    """Write Hyperspec_Chikusei_ENVI.zip: the cube, int16, reflectance times 10 000, the ground truth, and headers."""
    rows, columns, bands = cube.shape
    wavelengths = np.linspace(0.36259, 1.01802, bands)
    location = {
        "map info": "{UTM, 1, 1, 408041.5, 4020265.5, 2.5, 2.5, 54, North, WGS-84, units=Meters}",
        "wavelength units": "Micrometers",
        "wavelength": "{" + ", ".join(f"{value:.5f}" for value in wavelengths) + "}",
    }
    with ZipFile(path, "w", ZIP_DEFLATED) as archive:
        folder = ZipInfo(f"{CHIKUSEI_FOLDER}/", (2016, 5, 27, 12, 0, 0))
        folder.external_attr = 0o40755 << 16 | 0x10
        archive.writestr(folder, b"")
        with _open_member(archive, f"{CHIKUSEI_FOLDER}/{CHIKUSEI}.bsq") as file:
            for band in _iterate_bands(cube, "<i2"):
                file.write(band.tobytes())
        with _open_member(archive, f"{CHIKUSEI_FOLDER}/{CHIKUSEI}.hdr") as file:
            file.write(envi_header(cube.shape, 2, **location))
        with _open_member(archive, f"{CHIKUSEI_FOLDER}/{CHIKUSEI}_Ground_Truth.bsq") as file:
            file.write(_make_labels(rows, columns, 19).tobytes())
        with _open_member(archive, f"{CHIKUSEI_FOLDER}/{CHIKUSEI}_Ground_Truth.hdr") as file:
            file.write(envi_header((rows, columns, 1), 1, **{"map info": location["map info"]}))
        with _open_member(archive, f"{CHIKUSEI_FOLDER}/Readme.txt") as file:
            file.write(b"A generated file in the format of the Chikusei data set.\r\n")


def write_houston(folder: Path, cube: Cube, pcidsk: bool = True) -> Path:
    """Write 20170218_UH_CASI_S4_NAD83.pix, uint16 (lines, samples, bands), and the ENVI header next to it.

    Args:
        folder: Where to write.
        cube: The values.
        pcidsk: Whether the .pix is a PCIDSK file, as its name says, or a raw array that only the header describes.

    Returns:
        The path of the .pix.
    """
    lines, samples, bands = cube.shape
    path = folder / f"{HOUSTON}.pix"
    if pcidsk:
        facts = {"width": samples, "height": lines, "count": bands, "dtype": "uint16", "crs": CRS.from_epsg(26915)}
        location = {"transform": Affine(1, 0, 271460, 0, -1, 3290891)}
        with (
            rasterio.Env(GDAL_CACHEMAX=2**26),  # bytes
            rasterio.open(path, "w", driver="PCIDSK", **facts, **location) as raster,
        ):
            for i, band in enumerate(_iterate_bands(cube, "<u2")):
                raster.write(band, i + 1)
        with path.open("rb") as file:  # the number, from 1, of the first block of pixels
            file.seek(304)
            offset = 512 * (int(file.read(16)) - 1)
    else:
        offset = 0
        with path.open("wb") as file:
            for band in _iterate_bands(cube, "<u2"):
                file.write(band.tobytes())
    wavelengths = [*np.linspace(374.4, 1047.1, bands - 2), 49, 50]  # the last two bands are not spectral
    path.with_suffix(".hdr").write_bytes(
        envi_header(
            cube.shape,
            12,
            offset,
            **{
                "byte order": int(pcidsk),  # 1: the high byte first, as GDAL writes PCIDSK
                "map info": "{UTM, 1, 1, 271460, 3290891, 1, 1, 15, North, North America 1983, units=Meters}",
                "wavelength units": "Nanometers",
                "wavelength": "{" + ", ".join(f"{value:.1f}" for value in wavelengths) + "}",
            },
        )
    )
    return path


def write_houston_zip(path: Path, cube: Cube, pcidsk: bool = True) -> None:
    """Write phase2.zip: the cube and its header; the other members are stubs."""
    others = {
        "TrainingGT/2018_IEEE_GRSS_DFC_GT_TR.tif": _make_labels(60, 240, 20),
        "Lidar GeoTiff Rasters/Intensity_C1/UH17_GI1F051.tif": _make_labels(60, 240, 200).astype(np.float32),
        "Final RGB HR Imagery/UH_NAD83_272056_3289689.tif": _make_labels(60, 240, 255),
    }
    with tempfile.TemporaryDirectory(dir=path.parent) as folder, ZipFile(path, "w", ZIP_DEFLATED) as archive:
        raster = write_houston(Path(folder), cube, pcidsk)
        for file in (raster, raster.with_suffix(".hdr")):
            archive.write(file, f"{HOUSTON_FOLDER}/FullHSIDataset/{file.name}")
        for name, array in others.items():
            archive.writestr(f"{HOUSTON_FOLDER}/{name}", _encode_tiff(array))


def write_matlab73(
    path: Path,
    variable: str,
    cube: Cube,
    dtype: str = "int16",
    chunks: tuple[int, int, int] | None = CHUNKS,
) -> None:
    """Write a MATLAB v7.3 file: HDF5 after a block of 512 bytes, axes reversed, compressed in chunks at level 3.

    Args:
        path: Where to write.
        variable: Name of the array.
        cube: The values; (bands, columns, rows) in the file.
        dtype: `int16` or `float64`, which MATLAB calls double.
        chunks: Bands, columns, rows; this many bands are held in memory. None: contiguous and uncompressed.
    """
    rows, columns, bands = cube.shape
    shape = (bands, columns, rows)
    chunks = chunks and tuple(min(sizes) for sizes in zip(chunks, shape, strict=True))
    with h5py.File(path, "w", userblock_size=512) as file:
        compressed = {"chunks": chunks, "compression": "gzip", "compression_opts": 3} if chunks else {}
        array = file.create_dataset(variable, shape, dtype, **compressed)
        array.attrs["MATLAB_class"] = np.bytes_({"float64": "double"}.get(dtype, dtype))
        bands_per_chunk = chunks[0] if chunks else 1
        buffer = np.empty((bands_per_chunk, columns, rows), dtype)
        for i, band in enumerate(_iterate_bands(cube, dtype)):
            buffer[i % bands_per_chunk] = band.T
            if (i + 1) % bands_per_chunk == 0 or i + 1 == bands:
                array[i - i % bands_per_chunk : i + 1] = buffer[: i % bands_per_chunk + 1]
    text = "MATLAB 7.3 MAT-file, Platform: PCWIN64, Created on: Fri May 27 12:00:00 2016 HDF5 schema 1.00 ."
    with path.open("r+b") as file:  # text, eight bytes for subsystem data, version, byte order
        file.write(text.encode().ljust(116) + bytes(8) + b"\x00\x02IM")


def write_matlab5(path: Path, variable: str, cube: Cube) -> None:
    """Write a compressed MATLAB v5 file, uint16; the whole array is held in memory."""
    array = np.empty(cube.shape, np.uint16, order="F")
    for i, band in enumerate(_iterate_bands(cube, "<u2")):
        array[:, :, i] = band
    savemat(path, {variable: array}, do_compression=True)


def write_pavia_centre(path: Path, cube: Cube) -> None:
    """Write Pavia.mat, the file of Pavia Centre."""
    write_matlab5(path, "pavia", cube)


def write_pavia_university(path: Path, cube: Cube) -> None:
    """Write PaviaU.mat, which is another scene, (610, 340, 103)."""
    write_matlab5(path, "paviaU", cube)


def envi_header(shape: tuple[int, int, int], data_type: int, offset: int = 0, **more: str | int) -> bytes:
    """Return an ENVI header for band-sequential values; data type 1: uint8, 2: int16, 12: uint16."""
    lines, samples, bands = shape
    facts = {
        "description": "{\n  Generated for tests}",
        "samples": samples,
        "lines": lines,
        "bands": bands,
        "header offset": offset,
        "file type": "ENVI Standard",
        "data type": data_type,
        "interleave": "bsq",
        "sensor type": "Unknown",
        "byte order": 0,
        **more,
    }
    return "\n".join(["ENVI", *(f"{key} = {value}" for key, value in facts.items()), ""]).encode()


def _interpolation_matrix(size: int, nodes: int) -> np.ndarray:
    """Return the matrix (size, nodes) that interpolates linearly between `nodes` evenly spaced values."""
    at = np.linspace(0, nodes - 1, size)
    return np.stack([np.interp(at, np.arange(nodes), node) for node in np.eye(nodes)], 1)


def _bell_curve(size: int) -> np.ndarray:
    """Return a bell curve with its maximum, 1, in the middle."""
    distance = (np.arange(size) - size // 2) / min(12, size / 6)
    return np.exp(-(distance**2) / 2).astype(np.float32)


def _iterate_bands(cube: Cube, dtype: str) -> Iterator[np.ndarray]:
    """Yield the bands (rows, columns), converted to a type that can hold the values."""
    for band in np.moveaxis(cube, 2, 0) if isinstance(cube, np.ndarray) else cube:
        converted = band.astype(dtype)
        if (band.min(), band.max()) != (converted.min(), converted.max()):
            raise ValueError(f"{dtype} cannot hold {band.min()} to {band.max()}")
        yield converted


def _make_labels(rows: int, columns: int, classes: int) -> np.ndarray:
    """Return a map of square fields with classes from 1, and 0 for unlabelled pixels."""
    row, column = np.ogrid[:rows, :columns]
    number = row // 8 * 7 + column // 8
    return np.where(number % 5 == 0, number % classes + 1, 0).astype(np.uint8)


def _encode_tiff(array: np.ndarray) -> bytes:
    rows, columns = array.shape
    facts = {"width": columns, "height": rows, "count": 1, "dtype": array.dtype, "crs": CRS.from_epsg(26915)}
    with MemoryFile() as memory:
        with memory.open(driver="GTiff", transform=Affine(0.5, 0, 272056, 0, -0.5, 3290290), **facts) as raster:
            raster.write(array, 1)
        return memory.read()


def _open_member(archive: ZipFile, name: str) -> IO[bytes]:
    """Open a new member for writing."""
    info = ZipInfo(name, (2016, 5, 27, 12, 0, 0))
    info.compress_type, info.external_attr = ZIP_DEFLATED, 0o100644 << 16
    return archive.open(info, "w")
