"""Cut a scene from the files of its cube, and tell whether a file is the right one."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
from rich.filesize import decimal

from lkca.core.files import atomic_write, sha256, write_json
from lkca.core.locks import exclusive_lock
from lkca.data.catalog import Cube, File
from lkca.data.download import download_cube, verify_file
from lkca.data.readers import Source, opened
from lkca.data.sandbox import heartbeat, run_sandboxed, set_current_file
from lkca.data.settings import SceneSettings
from lkca.errors import LkcaError, WrongFile

BLOCK = 2**28  # bytes of float32 that are held at a time
ALIKE = 0.3  # least correlation of neighbouring pixels; images of the ground have 0.6 and more
NANOMETRES = 15  # by which wavelengths may differ from what is published of a sensor


def scene(settings: SceneSettings, out: Path, manifest: Path) -> None:
    """Cut a scene from the files of its cube, divide it by its one maximum and write it with its manifest.

    Several files lie one below the other, narrower ones with zeros beside them; the manifest tells where.

    Args:
        settings: How the scene is cut.
        out: The array to write, .npy, float32 (bands, rows, columns).
        manifest: The JSON to write: what was read and done, with hashes.

    Raises:
        LkcaError: If a file is missing, is not the right one, is damaged or holds no image, or the disk is full.
    """
    cube = settings.cube
    files = cube.resolve_files()
    bands = _spread(cube, settings.bands)
    with exclusive_lock(out), atomic_write(out) as part:
        told = run_sandboxed(_cut, part, cube, files, bands, settings.mirror)
        digests = [verify_file(file, cube.source) for file in files]
        headers = _headers(files)
        contents = [(digest, file.archive_member(), file.variable) for digest, file in zip(digests, files, strict=True)]
        if len(set(contents)) < len(contents):
            raise LkcaError(
                f"two files of {settings.name} are the same: leave one out, with use: both if it is for both."
            )
    areas = [
        {**area, "sha256": digest, "headers": of}
        for area, digest, of in zip(told.pop("areas"), digests, headers, strict=True)
    ]
    cut = {"cube": settings.cube_name, "bands": bands, "mirror": settings.mirror, **told, "areas": areas}
    write_json(manifest, {"scene": settings.name, **cut, "sha256": sha256(out)})


def _headers(files: tuple[File, ...]) -> list[dict[str, str]]:
    """The SHA-256 of the headers that lie beside each file, by path."""
    return [{path: sha256(Path(path)) for path in [*file.pixel_files().values()][1:]} for file in files]


def _spread(cube: Cube, number: int) -> list[int]:
    """So many of a cube's bands, evenly spaced."""
    numbers = cube.band_numbers()
    return [numbers[int(i)] for i in np.linspace(0, len(numbers) - 1, number).round()]


def _cut(part: Path, cube: Cube, files: tuple[File, ...], bands: list[int], mirror: list[str]) -> dict[str, Any]:
    """Write the array of a scene; returns what the manifest says of it."""
    with ExitStack() as stack:
        sources = [_source(stack, cube, file) for file in files]
        crops = [_crop(cube, file, source) for file, source in zip(files, sources, strict=True)]
        heights = [crop[1] - crop[0] for crop in crops]
        tops = [sum(heights[:i]) for i in range(len(files))]
        width = max(crop[3] - crop[2] for crop in crops)
        shape = (len(bands), sum(heights), width)
        needed, free = 4 * int(np.prod(shape)), shutil.disk_usage(part.parent).free
        if needed > free:
            raise LkcaError(
                f"{part.parent} has room for {decimal(free)}, and the scene takes {decimal(needed)}: make room."
            )
        del np.lib.format.open_memmap(part, mode="w+", dtype=np.float32, shape=shape)._mmap
        start = part.stat().st_size - needed
        low, high = np.inf, -np.inf
        with part.open("r+b") as array:
            for file, source, crop, top in zip(files, sources, crops, tops, strict=True):
                measured = []
                for i, image in _images(file, source, crop, [band - 1 for band in bands]):
                    measured.append(_measure(image))
                    turned = image[:: -1 if "rows" in mirror else 1, :: -1 if "columns" in mirror else 1]
                    array.seek(start + 4 * (i * shape[1] + top) * width)
                    array.write(np.pad(turned, ((0, 0), (0, width - image.shape[1]))).tobytes())
                    del image, turned
                problems = _problems(cube, source, bands, measured)
                if problems:
                    raise LkcaError(f"{file.local_path()} is not what it should be: {problems[0]}.")
                low = min(low, *(each.low for each in measured))
                high = max(high, *(each.high for each in measured))
    # One divisor for the whole crop, before the split, no minimum, no clipping: as the published scripts do it.
    divisor = cube.divide_by or high
    if not 0.01 <= high / divisor <= 10:
        raise LkcaError(
            f"{files[0].local_path()} has the maximum {high / divisor:g} after division by {divisor:g}: choose another "
            "divide_by, so that it comes near 1, or null for the maximum itself."
        )
    _divide(part, start, divisor)
    areas = [
        {"file": file.path, "use": file.use, "row": top, "rows": height, "columns": crop[3] - crop[2], "crop": crop}
        for file, top, height, crop in zip(files, tops, heights, crops, strict=True)
    ]
    return {"shape": shape, "minimum": low, "maximum": high, "divisor": divisor, "areas": areas}


def _divide(array: Path, start: int, divisor: float) -> None:
    """Divide the float32 behind byte `start` of a file."""
    for first in range(start, array.stat().st_size, BLOCK // 4):
        count = min(BLOCK // 4, array.stat().st_size - first) // 4
        np.divide(block := np.memmap(array, np.float32, "r+", first, count), np.float32(divisor), out=block)
        heartbeat()


def _source(stack: ExitStack, cube: Cube, file: File) -> Source:
    """Open a file of a cube; one that is known to be taken for it is called by its name."""
    path = file.local_path()
    try:
        source = stack.enter_context(opened(path, file.archive_member(), file.variable, file.axes))
    except LkcaError as error:
        with ExitStack() as other:
            try:
                shape = other.enter_context(opened(path, file.archive_member(), None, file.axes)).shape
            except LkcaError:
                raise error from None
        told = _other(cube, shape)
        raise LkcaError(f"{path} is not what it should be: {told}.") if told else error from None
    told = _misshapen(cube, source.shape)
    if told:
        raise LkcaError(f"{path} is not what it should be: {told}.")
    return source


def _other(cube: Cube, shape: tuple[int, int, int]) -> WrongFile | None:
    """Which known file of another content has this shape, in whatever order of axes."""
    known = [told for other, told in cube.not_this if sorted(other) == sorted(shape)]
    return WrongFile(f"it is {known[0]}; get the scene from {cube.source}") if known else None


def _misshapen(cube: Cube, shape: tuple[int, int, int]) -> WrongFile | None:
    """What is wrong with a shape, rows, columns and bands."""
    told = " x ".join(map(str, shape))
    if cube.shape is None:
        most = cube.band_numbers()[-1]
        return WrongFile(f"it has {shape[2]} bands, not {most}: correct axes or bands") if shape[2] < most else None
    if shape == cube.shape:
        return None
    right = " x ".join(map(str, cube.shape))
    if sorted(shape) == sorted(cube.shape):
        return WrongFile(
            f"its axes are in another order, {told} instead of {right} rows, columns and bands: transpose it"
        )
    other = _other(cube, shape)
    return other or WrongFile(f"it has {told} rows, columns and bands instead of {right}; get it from {cube.source}")


def _crop(cube: Cube, file: File, source: Source) -> tuple[int, int, int, int]:
    rows, columns, _ = source.shape
    crop = cube.crop or (0, rows, 0, columns)
    if crop[1] > rows or crop[3] > columns:
        raise LkcaError(f"{file.local_path()} has {rows} x {columns} pixels, too few for the crop {list(crop)}.")
    return crop


def _images(
    file: File, source: Source, crop: tuple[int, int, int, int], bands: list[int]
) -> Iterator[tuple[int, np.ndarray]]:
    """The crop of each of `bands`, rising, from 0: its place in the list, (rows, columns). To be dropped at once."""
    set_current_file(file.local_path())
    rows, columns = slice(*crop[:2]), slice(*crop[2:])
    most = max(1, BLOCK // (4 * (crop[1] - crop[0]) * (crop[3] - crop[2])))
    # Bands that are stored together are read together, even if that takes more memory.
    most = max(most // source.together * source.together, min(source.together, 4 * most))
    done = 0
    while done < len(bands):
        first = bands[done]
        aligned = (first + most) // source.together * source.together
        wanted = [band for band in bands[done:] if band < (aligned if aligned > first else first + most)]
        block = source.read(first, wanted[-1] + 1, rows, columns)
        heartbeat()
        for band in wanted:
            yield done, block[band - first]
            done += 1
        del block


class Measured(NamedTuple):
    """Of one band: least and largest value, and the lower of its correlations with the next row and the next column."""

    low: float
    high: float
    alike: float


def _measure(image: np.ndarray) -> Measured:
    low, high = float(image.min()), float(image.max())  # NaN if there is one
    if not (np.isfinite(low) and np.isfinite(high)) or low == high or min(image.shape) < 2:
        return Measured(low, high, 1)
    flat = np.subtract(image, np.float32(image.mean(dtype=np.float64)), order="C").ravel()
    flat /= np.float32(max(high, -low))
    width = image.shape[1]
    down, across = flat[width:] @ flat[:-width], flat[1:] @ flat[:-1]  # with a row's end beside the next one's start
    return Measured(low, high, float(min(down, across) / (flat @ flat)))


def _problems(cube: Cube, source: Source, bands: list[int], measured: list[Measured]) -> list[WrongFile]:
    """What is wrong with a cube's values and wavelengths."""
    problems = []
    high = max(each.high for each in measured)
    constant = [band for band, each in zip(bands, measured, strict=True) if each.low == each.high]
    if not all(np.isfinite(each[:2]).all() for each in measured):
        problems.append(WrongFile("it holds NaN or infinite values; get it anew, or crop them away"))
    elif constant:
        problems.append(WrongFile(f"band {constant[0]} has one value everywhere; get it anew, or leave the band out"))
    elif cube.shape is None and any(source.nodata in each[:2] for each in measured):
        problems.append(WrongFile(f"it holds {source.nodata:g}, which it says is no value; crop these pixels away"))
    elif high <= 0:
        problems.append(WrongFile("none of its values is positive; get it anew"))
    elif cube.least_maximum and high < cube.least_maximum:
        problems.append(
            WrongFile(
                f"its largest value is {high:g} where the published file reaches {cube.least_maximum:g} at least: "
                "somebody has divided it already; get the published file"
            )
        )
    alike = median(each.alike for each in measured)
    if not problems and alike < ALIKE:
        problems.append(
            WrongFile(
                f"neighbouring pixels have little in common (correlation {alike:.2f}): it is damaged, or its axes or "
                "byte order are others than said"
            )
        )
    if source.nanometres:
        first, last = (source.nanometres[band - 1] for band in (bands[0], bands[-1]))
        numbers = cube.band_numbers()
        off = [abs(first - cube.nanometres[0]), abs(last - cube.nanometres[1])]
        if (bands[0], bands[-1]) == (numbers[0], numbers[-1]) and not all(each <= NANOMETRES for each in off):  # or NaN
            published = "{:g} to {:g}".format(*cube.nanometres)
            problems.append(WrongFile(f"its bands reach from {first:g} to {last:g} nm instead of {published}"))
    return problems


def fetch_files(scene: str, cube: Cube, receipt: Path) -> None:
    """Do what `fetch` does, as a job of the workflow.

    Args:
        scene: Its key in config.yaml.
        cube: Its cube.
        receipt: The JSON to write: which files, with hashes.

    Raises:
        LkcaError: As `fetch`.
    """
    fetch_cube(scene, cube, False, receipt)


def fetch_cube(scene: str, cube: Cube, accept_terms: bool, receipt: Path | None) -> None:
    def examine(file: File) -> None:
        """A few bands tell most that can be wrong."""
        _, problems = run_sandboxed(inspect_file, cube, file, _spread(cube, min(5, len(cube.band_numbers()))))
        if problems:
            raise LkcaError(problems[0])

    download_cube(scene, cube, accept_terms, receipt, examine)


def inspect_file(cube: Cube, file: File, bands: list[int]) -> tuple[dict[str, str], list[str]]:
    """What is found in these bands of a file, and what is wrong with it."""
    with ExitStack() as stack:
        source = _source(stack, cube, file)
        crop = _crop(cube, file, source)
        measured = []
        for _, image in _images(file, source, crop, [band - 1 for band in bands]):
            measured.append(_measure(image))
            del image
    problems = _problems(cube, source, bands, measured)
    low, high = min(each.low for each in measured), max(each.high for each in measured)
    alike = median(each.alike for each in measured)
    lines = {
        "shape": "{} rows, {} columns, {} bands".format(*source.shape),
        "values": f"{source.dtype}, {low:g} to {high:g} in the valid part",
        "neighbours": f"correlation {alike:.2f}",
        "wavelengths": f"{source.nanometres[bands[0] - 1]:g} to {source.nanometres[bands[-1] - 1]:g} nm"
        if source.nanometres
        else "the file does not say",
    }
    return lines, [f"{file.local_path()} is not what it should be: {problem}." for problem in problems]
