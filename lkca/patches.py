"""Which pixels are for training, validation and testing, and how a batch of patches is gathered and degraded."""

from collections.abc import Sequence
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lkca.errors import InputError
from lkca.files import read_json, sha256, write_json

if TYPE_CHECKING:
    from torch import Tensor

ORIENTATIONS = 8  # identity, three rotations and their mirror images

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


def split(
    manifest: Path, scale: int, size: int, stride: int, validation: float, rows: int, columns: int, tile: int, out: Path
) -> None:
    """Divide a scene: test tiles at the top, a grid of patches below, its last rows for validation.

    Patches of a grid overlap, so training rows that share pixels with validation are left out: no pixel serves twice.

    Args:
        manifest: The scene's manifest.
        scale: Upsampling factor r.
        size, stride: Of the HR patches, pixels.
        validation: Share of the grid's rows for validation, rounded up.
        rows, columns: The top-left area for testing, pixels; rows 0 to `rows` are never trained on.
        tile: Side of a test image, pixels.
        out: The JSON to write.

    Raises:
        InputError: If the scene is too small for it.
    """
    scene = read_json(manifest)
    _, height, width = scene["shape"]
    if rows > height or columns > width:
        raise InputError(
            f"{manifest}: a test area of {rows} x {columns} does not fit {height} x {width} pixels: make it smaller."
        )
    test = [(row, column, tile, tile) for row in range(0, rows, tile) for column in range(0, columns, tile)]
    patches = grid(range(rows, height), range(width), size, stride)
    held_out = patches[len(patches) - ceil(validation * len(patches)) :]
    training = [line for line in patches if held_out and line and line[0][0] + size <= held_out[0][0][0]]
    if not training:
        raise InputError(
            f"{manifest}: below its {rows} test rows the scene has no room for training and for validation with "
            f"patches of {size} pixels: choose smaller patches or a smaller test area."
        )
    write_json(
        out,
        {
            "scene": scene["scene"],
            "scale": scale,
            "size": size,
            "stride": stride,
            "train": [corner for line in training for corner in line],
            "validation": [corner for line in held_out for corner in line],
            "test": test,
        },
    )


def gather(scene: "Tensor", corners: Sequence[tuple[int, int]], size: int, orientations: Sequence[int]) -> "Tensor":
    """Cut patches from a scene, each turned and mirrored as asked.

    Args:
        scene: (bands, rows, columns).
        corners: Top-left pixel of each patch.
        size: Height and width, pixels.
        orientations: 0 to 7 for each patch: quarter turns, plus 4 for mirrored columns.

    Returns:
        (n, bands, size, size), on the scene's device.
    """
    import torch

    patches = []
    for (row, column), orientation in zip(corners, orientations, strict=True):
        patch = scene[:, row : row + size, column : column + size]
        if orientation >= 4:
            patch = patch.flip(-1)
        patches.append(patch.rot90(orientation % 4, (-2, -1)))
    return torch.stack(patches)


def load(scene: Path, digest: str, device: str) -> "Tensor":
    """A scene as a tensor: in the memory of a GPU, on a CPU mapped from the file and read where it is used.

    Raises:
        InputError: If the file's SHA-256 is not `digest`.
    """
    import torch

    if sha256(scene) != digest:
        raise InputError(f"{scene} is not the scene that the run was set for: delete it and run snakemake again.")
    return torch.from_numpy(np.load(scene, mmap_mode="c", allow_pickle=False)).to(device)
