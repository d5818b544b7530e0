"""Divide a scene into test images, training patches and validation patches."""

import hashlib
import json
from collections.abc import Sequence
from itertools import groupby, product
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

import numpy as np

from lkca.core.files import read_json, write_json
from lkca.data.settings import SplitSettings
from lkca.errors import ConfigError

Corner = tuple[int, int]  # row and column of the top left pixel
Window = tuple[int, int, int, int]  # row and column of the top left pixel, number of rows, number of columns


class Area(TypedDict):
    """The rectangle of a scene that one file fills, in pixels; it starts at column 0."""

    use: str  # "train", "test" or "both"
    row: int  # the row of the scene at which the area starts
    rows: int
    columns: int


class GridRow(NamedTuple):
    """One row of the grid of patches.

    Args:
        area: The area that contains the patches.
        corners: The corners of the patches, at least one, from left to right.
    """

    area: Area
    corners: list[Corner]

    @property
    def top(self) -> int:
        """The first pixel row of the patches."""
        return self.corners[0][0]


class Split(NamedTuple):
    """The parts of a scene.

    Args:
        num_grid_patches: Number of patches of the whole grid, including those that are in no part.
        train: Corners of the training patches.
        validation: Corners of the validation patches.
        test: Windows of the test images.
    """

    num_grid_patches: int
    train: list[Corner]
    validation: list[Corner]
    test: list[Window]


def write_split(settings: SplitSettings, manifest: Path, out: Path) -> None:
    """Divide a scene and write its split: the job `split` of the workflow.

    Args:
        settings: How the scene is divided.
        manifest: The manifest of the scene.
        out: JSON file to write. It contains the corners of the patches, the windows of the test images, the number of
            each, crops and divisor of the scene, and hashes.

    Raises:
        ConfigError: If the scene is too small for these settings.
    """
    scene = read_json(manifest)
    num_grid_patches, train, validation, test = make_split(settings, scene["areas"], str(manifest))
    parts: dict[str, Sequence[Any]] = {"train": train, "validation": validation, "test": test}
    write_json(
        out,
        {
            "scene": scene["scene"],
            "scale": settings.scale,
            "size": settings.size,
            "stride": settings.stride,
            "sampling": settings.sampling,
            "crops": [area["crop"] for area in scene["areas"]],
            "divisor": scene["divisor"],
            "numbers": {"grid": num_grid_patches, **{name: len(part) for name, part in parts.items()}},
            "scene_sha256": scene["sha256"],
            "windows_sha256": hashlib.sha256(json.dumps(parts).encode()).hexdigest(),
            **parts,
        },
    )


def make_split(settings: SplitSettings, areas: Sequence[Area], name: str) -> Split:
    """Divide the areas of a scene into test images, training patches and validation patches.

    In an area for both uses, the test images are at the top left and the patches below the rows of the test images. Of
    all rows of the grid of patches, the last ones are for validation. No pixel is in two parts: training patches that
    share pixels with validation patches are left out.

    Args:
        settings: How the scene is divided.
        areas: The areas of the scene, from top to bottom.
        name: What error messages call the scene.

    Raises:
        ConfigError: If the scene is too small for these settings.
    """
    size = settings.size
    rows = [row for area in areas if area["use"] != "test" for row in _grid_rows(settings, area)]
    num_train = len(rows) - ceil(settings.validation * len(rows))
    validation = rows[num_train:]
    train = [
        row
        for row in rows[:num_train]
        if row.area is not validation[0].area or row.top + size <= validation[0].top  # shares no pixel with validation
    ]
    test = [window for area in areas if area["use"] != "train" for window in _test_windows(settings, area, name)]
    if not train:
        raise ConfigError(
            f"{name}: the scene has no room for training and validation patches of {size} pixels below its test rows: "
            "choose smaller patches or a smaller test area."
        )
    num_grid_patches = sum(len(row.corners) for row in rows)
    return Split(num_grid_patches, _sample_corners(settings, train), _sample_corners(settings, validation), test)


def grid(rows: range, columns: range, size: int, stride: int) -> list[list[Corner]]:
    """Return the corners of a regular grid of patches, one list for each row of the grid.

    Args:
        rows, columns: The pixels to cover; no patch goes beyond them.
        size: Height and width of a patch, pixels.
        stride: Step from one patch to the next, pixels.
    """
    return [
        [(row, column) for column in range(columns.start, columns.stop - size + 1, stride)]
        for row in range(rows.start, rows.stop - size + 1, stride)
    ]


def _grid_rows(settings: SplitSettings, area: Area) -> list[GridRow]:
    """Return the rows of the grid of patches in an area, below its test images if it has any."""
    top = area["row"] + (settings.test.rows if area["use"] == "both" else 0)
    rows = grid(range(top, area["row"] + area["rows"]), range(area["columns"]), settings.size, settings.stride)
    return [GridRow(area, corners) for corners in rows if corners]


def _test_windows(settings: SplitSettings, area: Area, name: str) -> list[Window]:
    """Return the windows of the test images of an area, row by row.

    Raises:
        ConfigError: If the area is smaller than the test area.
    """
    test = settings.test
    if test.rows > area["rows"] or test.columns > area["columns"]:
        raise ConfigError(
            f"{name}: a test area of {test.rows} x {test.columns} does not fit into {area['rows']} x "
            f"{area['columns']} pixels: make the test area smaller."
        )
    height, width = test.tile
    rows = range(area["row"], area["row"] + test.rows, height)
    return [(row, column, height, width) for row, column in product(rows, range(0, test.columns, width))]


def _sample_corners(settings: SplitSettings, rows: list[GridRow]) -> list[Corner]:
    """Return the corners of rows of the grid, or the same number of random corners if the settings say so.

    The random corners of an area are in the pixel rows that the given rows cover in it.
    """
    if settings.sampling == "grid":
        return [corner for row in rows for corner in row.corners]
    corners: list[Corner] = []
    generator = np.random.default_rng([settings.size, settings.stride, rows[0].top])
    for _, group in groupby(rows, key=lambda row: row.area["row"]):
        covered = list(group)
        first = covered[0].corners[0]
        last = covered[-1].top, covered[0].area["columns"] - settings.size
        number = sum(len(row.corners) for row in covered)
        sampled = generator.integers(first, last, (number, 2), endpoint=True)
        corners += [(int(row), int(column)) for row, column in sampled]
    return corners
