"""Which pixels are for training, validation and testing."""

import hashlib
import json
from itertools import groupby, product
from math import ceil
from pathlib import Path

import numpy as np

from lkca.core.files import read_json, write_json
from lkca.data.settings import SplitSettings
from lkca.errors import LkcaError

Corners = list[tuple[int, int]]


def grid(rows: range, columns: range, size: int, stride: int) -> list[Corners]:
    """Top-left corners of a regular grid of patches, one list a row of the grid.

    Args:
        rows, columns: The pixels to cover; patches stay inside.
        size: Height and width of a patch, pixels.
        stride: Step from one patch to the next, pixels.
    """
    return [
        [(row, column) for column in range(columns.start, columns.stop - size + 1, stride)]
        for row in range(rows.start, rows.stop - size + 1, stride)
    ]


def split(settings: SplitSettings, manifest: Path, out: Path) -> None:
    """Divide a scene: test tiles at the top, patches below, the last rows for validation.

    Patches overlap, so training patches that share pixels with validation are left out: no pixel serves twice.

    Args:
        settings: How the scene is divided. In a file for both uses, the rows of the test area are never trained on.
        manifest: The scene's manifest.
        out: The JSON to write: corners and windows, their numbers, the crop and the divisor of the scene, and hashes.

    Raises:
        LkcaError: If the scene is too small for it.
    """
    scene = read_json(manifest)
    grid_patches, places = make_split(settings, scene["areas"], str(manifest))
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
            "numbers": {"grid": grid_patches, **{name: len(each) for name, each in places.items()}},
            "scene_sha256": scene["sha256"],
            "windows_sha256": hashlib.sha256(json.dumps(places).encode()).hexdigest(),
            **places,
        },
    )


def make_split(settings: SplitSettings, areas: list[dict], where: str) -> tuple[int, dict[str, list]]:
    """Divide the areas of a scene.

    Args:
        settings: How the scene is divided.
        areas: Of each file its `use`, first `row` in the scene, `rows` and `columns`, pixels.
        where: What a sentence of refusal begins with.

    Returns:
        The number of patches of the whole grid, and the corners `train` and `validation` and the windows `test`.

    Raises:
        LkcaError: If the scene is too small for it.
    """
    test_area, size = settings.test, settings.size
    rows, columns, tile = test_area.rows, test_area.columns, test_area.tile
    test, lines = [], []
    for area in areas:
        top, bottom, width = area["row"], area["row"] + area["rows"], area["columns"]
        if area["use"] != "train":
            if rows > area["rows"] or columns > width:
                raise LkcaError(
                    f"{where}: a test area of {rows} x {columns} does not fit {area['rows']} x {width} pixels: "
                    "make it smaller."
                )
            corners = product(range(top, top + rows, tile[0]), range(0, columns, tile[1]))
            test += [(row, column, *tile) for row, column in corners]
        if area["use"] != "test":
            first = top + rows if area["use"] == "both" else top
            lines += [(area, line) for line in grid(range(first, bottom), range(width), size, settings.stride) if line]
    held_out = lines[len(lines) - ceil(settings.validation * len(lines)) :]
    training = [
        (area, line)
        for area, line in lines[: len(lines) - len(held_out)]
        if area is not held_out[0][0] or line[0][0] + size <= held_out[0][1][0][0]
    ]
    if not training:
        raise LkcaError(
            f"{where}: beside its test rows the scene has no room for training and for validation with patches of "
            f"{size} pixels: choose smaller patches or a smaller test area."
        )
    places = {"train": _corners(settings, training), "validation": _corners(settings, held_out), "test": test}
    return sum(len(line) for _, line in lines), places


def _corners(settings: dict, lines: list[tuple[dict, Corners]]) -> Corners:
    """The corners of lines of a grid, or as many random ones in the rows that they cover, file by file."""
    if settings.sampling == "grid":
        return [corner for _, line in lines for corner in line]
    corners: Corners = []
    generator = np.random.default_rng([settings.size, settings.stride, lines[0][1][0][0]])
    for _, group in groupby(lines, key=lambda line: line[0]["row"]):
        covered = list(group)
        last = covered[-1][1][0][0], covered[0][0]["columns"] - settings.size
        number = sum(len(line) for _, line in covered)
        places = generator.integers(covered[0][1][0], last, (number, 2), endpoint=True)
        corners += [(int(row), int(column)) for row, column in places]
    return corners
