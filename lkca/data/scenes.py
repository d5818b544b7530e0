"""Download the files of a cube, and cut a scene from them."""

import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from rich.filesize import decimal

from lkca.core.files import atomic_write, sha256, write_json
from lkca.core.locks import exclusive_lock
from lkca.data.catalog import Cube, File
from lkca.data.checksums import verify_file
from lkca.data.composite import choose_bands
from lkca.data.download import download_cube
from lkca.data.inspection import (
    BLOCK_BYTES,
    compare_files,
    find_problems,
    inspect_file,
    measure,
    open_file,
    resolve_crop,
    resolve_wavelengths,
    spread_bands,
)
from lkca.data.measurement import Crop, Measurement
from lkca.data.sandbox import heartbeat, run_sandboxed
from lkca.data.settings import SceneSettings
from lkca.data.summary import find_remarks
from lkca.errors import ConfigError, DataError, ResourceError

EXAMINED_BANDS = 5  # number of bands that are read to check a file after its download
DIVIDED_RANGE = 0.01, 10  # the maximum of a scene after the division must be in this range


def cut_scene(settings: SceneSettings, out: Path, manifest: Path) -> None:
    """Cut a scene from the files of its cube and divide it by its maximum: the job `scene` of the workflow.

    If the cube has several files, the scene contains them one below the other; narrower ones are padded with zeros on
    the right. The manifest says which area of the scene each file fills.

    Args:
        settings: How the scene is cut.
        out: .npy file to write, float32 (bands, rows, columns).
        manifest: JSON file to write. It contains cube, bands, shape, range and divisor of the scene, the area of each
            file, and the hashes of the files and of `out`.

    Raises:
        ConfigError: If two files are the same, `divide_by` does not fit the values, or pictures cannot show the bands
            of `composite`.
        DataError: If a file is missing, damaged or not the right one, or does not contain an image.
        ResourceError: If the disk is full.
    """
    cube = settings.cube
    files = cube.resolve_files()
    bands = spread_bands(cube, settings.bands)
    with exclusive_lock(out), atomic_write(out) as part:
        written = run_sandboxed(_cut, part, settings, files, bands)
        digests = [verify_file(file, cube.source) for file in files]
        check_distinct(settings.name, files, digests)
        headers = [_header_digests(file) for file in files]
    areas = [
        {**area, "sha256": digest, "headers": headers_of_file}
        for area, digest, headers_of_file in zip(written.pop("areas"), digests, headers, strict=True)
    ]
    cut = {"cube": settings.cube_name, "bands": bands, "mirror": settings.mirror, **written, "areas": areas}
    write_json(manifest, {"scene": settings.name, **cut, "sha256": sha256(out)})


def _header_digests(file: File) -> dict[str, str]:
    """Return the SHA-256 of the ENVI headers next to a file, by path."""
    _, *headers = file.pixel_files().values()
    return {path: sha256(Path(path)) for path in headers}


def _cut(out: Path, settings: SceneSettings, files: Sequence[File], bands: Sequence[int]) -> dict[str, Any]:
    """Write the array of a scene.

    Args:
        out: .npy file to write, float32 (bands, rows, columns).
        settings: How the scene is cut.
        files: The files to read, from top to bottom.
        bands: Numbers of the bands to read, from 1, in ascending order.

    Returns:
        The entries of the manifest that describe the array: shape, wavelengths and FWHM of the bands, minimum and
        maximum before the division, divisor, number of invalid pixels, and the area that each file fills.
    """
    cube, mirror = settings.cube, settings.mirror
    with ExitStack() as stack:
        readers = [open_file(stack, cube, file) for file in files]
        nanometres, fwhm, source = resolve_wavelengths(cube, readers[0].description, bands)
        choose_bands(settings.name, settings.composite, nanometres, len(bands))  # fails now rather than after training
        areas = lay_out(files, [resolve_crop(cube, file, reader) for file, reader in zip(files, readers, strict=True)])
        width = max(area["columns"] for area in areas)
        shape = (len(bands), sum(area["rows"] for area in areas), width)
        start = _allocate(out, shape)
        measurements = []
        with out.open("r+b") as array:
            for file, reader, area in zip(files, readers, areas, strict=True):

                def write(i: int, image: np.ndarray, row: int = area["row"]) -> None:
                    array.seek(start + 4 * (i * shape[1] + row) * width)
                    array.write(_mirror_and_pad(image, mirror, width).tobytes())

                measured = measure(file, reader, area["crop"], bands, write)
                if problems := find_problems(cube, file, measured):
                    raise DataError(f"{file.local_path()} is not what it should be: {problems[0]}.")
                if cube.shape is None:
                    for name, remark in find_remarks(measured).items():
                        print(f"{file.local_path()}: {name}: {remark}.", flush=True)
                measurements.append(measured)
        compare_files(files, measurements)
    statistics = [band for measured in measurements for band in measured.statistics]
    minimum, maximum = min(band.minimum for band in statistics), max(band.maximum for band in statistics)
    mask = stack_masks(measurements, mirror)
    if num_invalid := int(np.count_nonzero(mask)):
        _mark_invalid(out, mask)
    divisor = choose_divisor(cube, files[0], maximum)
    _divide(out, start, divisor)
    return {
        "shape": shape,
        "nanometres": nanometres,
        "fwhm": fwhm,
        "wavelength_source": source,
        "minimum": minimum,
        "maximum": maximum,
        "divisor": divisor,
        "invalid_pixels": num_invalid,
        "areas": [
            {**area, "description": reader.description.to_json()} for area, reader in zip(areas, readers, strict=True)
        ],
    }


def check_distinct(scene: str, files: Sequence[File], digests: Sequence[str]) -> None:
    """Check that no two files of a scene have the same content.

    Args:
        scene: Key of the scene in config.yaml.
        files: The files.
        digests: Their SHA-256.

    Raises:
        ConfigError: If two files are the same.
    """
    contents = {(digest, file.archive_member(), file.variable) for digest, file in zip(digests, files, strict=True)}
    if len(contents) < len(files):
        raise ConfigError(f"scenes.{scene}: two files are the same: remove one, and write use: both if it is for both.")


def lay_out(files: Sequence[File], crops: Sequence[Crop]) -> list[dict[str, Any]]:
    """Return the area of the scene that each file fills, one below the other, as in the manifest."""
    heights = [crop[1] - crop[0] for crop in crops]
    return [
        {
            "file": file.path,
            "use": file.use,
            "row": sum(heights[:i]),
            "rows": heights[i],
            "columns": crop[3] - crop[2],
            "crop": crop,
        }
        for i, (file, crop) in enumerate(zip(files, crops, strict=True))
    ]


def stack_masks(measurements: Sequence[Measurement], mirror: Sequence[str]) -> np.ndarray:
    """Return the invalid pixels of a scene, bool (rows, columns), from those of its files."""
    width = max(measured.invalid.shape[1] for measured in measurements)
    return np.concatenate([_mirror_and_pad(measured.invalid, mirror, width) for measured in measurements])


def _mark_invalid(out: Path, mask: np.ndarray) -> None:
    """Set the masked pixels of a scene to NaN in all bands."""
    for band in np.load(out, mmap_mode="r+", allow_pickle=False):
        band[mask] = np.nan
        heartbeat()


def _mirror_and_pad(image: np.ndarray, mirror: Sequence[str], width: int) -> np.ndarray:
    """Reverse the axes of an image (rows, columns) that `mirror` names, and pad it with zeros to `width` columns."""
    mirrored = image[:: -1 if "rows" in mirror else 1, :: -1 if "columns" in mirror else 1]
    return np.pad(mirrored, ((0, 0), (0, width - image.shape[1])))


def choose_divisor(cube: Cube, file: File, maximum: float) -> float:
    """Return the number by which the whole scene is divided.

    As in the published scripts, all bands and all files of the scene have the same divisor, no minimum is subtracted,
    and nothing is clipped.

    Raises:
        ConfigError: If the maximum is far from 1 after the division.
    """
    divisor = cube.divide_by or maximum
    lowest, highest = DIVIDED_RANGE
    if not lowest <= maximum / divisor <= highest:
        raise ConfigError(
            f"{file.local_path()} has the maximum {maximum / divisor:g} after division by {divisor:g}: choose another "
            "divide_by, so that the maximum is near 1, or null to divide by the maximum."
        )
    return divisor


def _allocate(out: Path, shape: tuple[int, int, int]) -> int:
    """Create a .npy file of float32 zeros; return the byte of the file at which they start.

    Raises:
        ResourceError: If the disk has no room for it.
    """
    needed, free = 4 * int(np.prod(shape)), shutil.disk_usage(out.parent).free
    if needed > free:
        raise ResourceError(
            f"{out.parent} has {decimal(free)} free and the scene takes {decimal(needed)}: make room on the disk."
        )
    np.lib.format.open_memmap(out, mode="w+", dtype=np.float32, shape=shape)
    return out.stat().st_size - needed


def _divide(array: Path, start: int, divisor: float) -> None:
    """Divide the float32 values of a file, which start at byte `start`, in place."""
    size, step = array.stat().st_size, BLOCK_BYTES // 4
    for first in range(start, size, step):
        block = np.memmap(array, np.float32, "r+", first, min(step, size - first) // 4)
        np.divide(block, np.float32(divisor), out=block)
        heartbeat()


def fetch_files(scene: str, cube: Cube, receipt: Path) -> None:
    """Download the missing files of a scene's cube and check all files: the job `fetch` of the workflow.

    Args:
        scene: Key of the scene in config.yaml.
        cube: Its cube.
        receipt: JSON file to write: the files with their hashes.

    Raises:
        LkcaError: As in `fetch_cube`.
    """
    fetch_cube(scene, cube, accept_terms=False, receipt=receipt)


def fetch_cube(scene: str, cube: Cube, accept_terms: bool, receipt: Path | None) -> None:
    """Download the missing files of a cube, and check the hash and the content of all files.

    Args:
        scene: Key of the scene in config.yaml.
        cube: Its cube.
        accept_terms: Whether the user accepts the terms of the cube's owner.
        receipt: JSON file to write: the files with their hashes; None to write none.

    Raises:
        LkcaError: If a file cannot be downloaded or is not the right one, or the terms are not accepted.
    """

    def examine(file: File) -> None:
        """Read a few bands, which suffice to find most problems; raise DataError if there is one."""
        bands = spread_bands(cube, min(EXAMINED_BANDS, len(cube.band_numbers())))
        _, problems, _ = run_sandboxed(inspect_file, cube, file, bands)
        if problems:
            raise DataError(problems[0])

    download_cube(scene, cube, accept_terms, receipt, examine)
