"""The settings of the jobs that cut and divide scenes.

They are not in scenes.py and splits.py because these import numpy, and the Snakefile, which uses the settings, should
start fast.
"""

from typing import Literal

from pydantic import BaseModel

from lkca.data.catalog import Cube


class SceneSettings(BaseModel, extra="forbid", strict=True, frozen=True):
    """How a scene is cut from its cube.

    Args:
        name: Key of the scene in config.yaml.
        cube_name: Key of the cube in the catalog; None for a cube that config.yaml describes.
        cube: The cube.
        bands: Number of bands of the scene, which are evenly spaced bands of the cube.
        mirror: The axes that are reversed: none, "rows", "columns", or both.
        composite: The bands that pictures show, as in `lkca.data.composite.choose_bands`; they are only checked.
    """

    name: str
    cube_name: str | None
    cube: Cube
    bands: int
    mirror: list[str]
    composite: list[int | str] | None


MAX_PATCHES = 10**6  # of a scene: far above any real use, and low enough to be listed in seconds


def count_patches(rows: int, columns: int, size: int, stride: int) -> int:
    """Return the number of patches of a regular grid on an area.

    Example:
        >>> count_patches(10, 7, 4, 3)
        6
    """
    return max(0, (rows - size) // stride + 1) * max(0, (columns - size) // stride + 1)


MIN_TILE = 7  # pixels, of a side of a test image: the window of SSIM must fit


class TestTiles(BaseModel, extra="forbid", strict=True, frozen=True):
    """The test area of a file.

    Args:
        row, column: Position of its top left pixel in the area of the file, after crop and mirror.
        rows: Height of the area, HR pixels.
        columns: Width of the area, HR pixels.
        tile: Height and width of a test image, HR pixels.
        invalid: What happens to test images with invalid pixels: "refuse" makes them an error, "drop" leaves them out.
    """

    row: int
    column: int
    rows: int
    columns: int
    tile: list[int]
    invalid: Literal["refuse", "drop"]


class SplitSettings(BaseModel, extra="forbid", strict=True, frozen=True):
    """How a scene is divided into test images, training patches and validation patches.

    Args:
        scale: Upsampling factor.
        size: Height and width of a patch, HR pixels.
        stride: Step from one patch of the grid to the next, HR pixels.
        sampling: "grid"; or "random" for the same number of patches at random places in the same pixel rows.
        validation: Fraction of the grid's rows that are for validation; the number of rows is rounded up.
        test: The test area.
    """

    scale: int
    size: int
    stride: int
    sampling: Literal["grid", "random"]
    validation: float
    test: TestTiles
