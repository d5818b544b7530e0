"""Write the enlarged cube: apply the network, and turn its output into the values of a file."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from lkca.data.readers.description import CubeDescription
from lkca.data.writers import OutputDescription, encode, enlarge_description, open_output
from lkca.errors import DataError
from lkca.inference.cube_file import ArrayImage, CubeFile, WriteArray
from lkca.inference.own_cube import FILLED_FILE, SCENE_FILE, read_mask

MEMORY_SHARE = 0.8  # of the available memory that a network may use for a whole image
Mode = Literal["whole", "stats", "halo"]  # see `lkca.inference.enlarge`


class Deviation(NamedTuple):
    """How far the result of `halo` is from that of `stats`, measured on a part of the image.

    Args:
        rms, max: Root of the mean square and largest difference.
        rows, columns: Size of the part, LR pixels.
    """

    rms: float
    max: float
    rows: int
    columns: int


# Enlarges an LR image: gets the image, the mode, a folder for temporary files, and the function that writes each block.
Enlarge = Callable[[ArrayImage, Mode, Path, WriteArray], Deviation | None]


@dataclass(frozen=True)
class Result:
    """What was written.

    Args:
        description: What the file says of itself.
        num_changed: Number of values outside of the range of the file's type, which became its limit.
        deviation: For the mode `halo`, how far the result is from that of `stats`, in units of the cube; else None.
    """

    description: OutputDescription
    num_changed: int
    deviation: Deviation | None


class ScaledCube:
    """A cube in a file whose values are multiplied by a factor when they are read.

    Args:
        cube: The open file.
        factor: The factor.
        bands: Indices of the bands to read, from 0; None for all.
    """

    def __init__(self, cube: CubeFile, factor: float, bands: list[int] | None = None) -> None:
        self._cube, self._factor, self._bands = cube, factor, bands
        self.shape = (len(bands), *cube.shape[1:]) if bands else cube.shape

    def read(self, rows: tuple[int, int], columns: tuple[int, int] | None = None) -> np.ndarray:
        """Return a window of all bands, (bands, rows, columns)."""
        window = self._cube.read(rows, columns)
        if self._bands:
            window = window[self._bands]
        if self._factor != 1:
            window *= np.float32(self._factor)
        return window


def describe_result(
    manifest: Mapping[str, Any], bands: list[int], scale: int, dtype: str | None, history: str
) -> OutputDescription:
    """Return the description of the enlarged cube.

    Args:
        manifest: The manifest of the scene.
        bands: Indices of the bands of the scene that the result has, from 0.
        scale: The factor r.
        dtype: Name of the type of the result; None for that of the input.
        history: A line on what was done.
    """
    area, has_invalid = manifest["areas"][0], bool(manifest.get("invalid_pixels"))
    description = CubeDescription.from_json(area["description"])
    numbers = [manifest["bands"][i] for i in bands]
    kind = None if dtype is None else np.dtype(dtype)
    return enlarge_description(description, numbers, tuple(area["crop"]), scale, kind, has_invalid, history)


def write_result(
    enlarge: Enlarge,
    scale: int,
    folder: Path,
    manifest: Mapping[str, Any],
    divisor: float,
    bands: list[int],
    mode: Mode,
    description: OutputDescription,
    path: Path,
    cog: bool,
) -> Result:
    """Enlarge a prepared scene and write the result.

    Args:
        enlarge: Function that applies the network.
        scale: The factor r of the network.
        folder: Folder with the prepared scene; temporary files are written there, too.
        manifest: The manifest of the scene.
        divisor: Number by which physical values are divided for the network.
        bands: Indices of the bands of the scene that the network gets, from 0.
        mode: How the network is applied; see `lkca.inference.enlarge`.
        description: What the file says of itself.
        path: The file to write.
        cog: Whether to write a Cloud Optimized GeoTIFF.

    Raises:
        DataError: If the network gives values that are NaN or infinite.
        LkcaError: As in `lkca.data.writers.open_output`.
    """
    mask = read_mask(folder / SCENE_FILE)
    num_changed = 0
    with CubeFile(folder / FILLED_FILE) as cube, open_output(path, description, cog) as output:
        image = ScaledCube(cube, manifest["divisor"] / divisor, None if bands == list(range(cube.shape[0])) else bands)

        def write(block: np.ndarray, row: int, column: int) -> None:
            nonlocal num_changed
            _, rows, columns = block.shape
            invalid = mask[row // scale : (row + rows) // scale, column // scale : (column + columns) // scale]
            invalid = invalid.repeat(scale, 0).repeat(scale, 1)
            if not np.isfinite(block).all():
                raise DataError(
                    f"{path} is not written: the network gives values that are NaN or infinite for this cube."
                )
            stored, changed = encode(block * np.float32(divisor), invalid, description, 0)
            output.write(0, row, column, stored)
            num_changed += changed

        deviation = enlarge(image, mode, folder, write)
    if deviation:
        deviation = deviation._replace(rms=deviation.rms * divisor, max=deviation.max * divisor)
    return Result(description, num_changed, deviation)
