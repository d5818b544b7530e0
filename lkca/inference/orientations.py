"""How far the reconstructions of the eight orientations of an image differ: what a network has not learned for sure.

A rotated or mirrored image shows the same ground, so a network that knew the detail would give the same detail. The
orientations are those of the training (`lkca.data.patches.ORIENTATIONS`).
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.linalg import vector_norm

from lkca.data.patches import ORIENTATIONS
from lkca.inference.enlarge import (
    MAX_SAMPLES,
    Image,
    Window,
    cut_image,
    exact_convolutions,
    make_method,
    pick_tiles,
)
from lkca.inference.tiles import Tile

MAX_PIXELS = 2**17  # of an LR image for which the spread is computed: about three minutes on two cores for LKCA-LR
MAX_TILE_BYTES = 2**29  # of the result of a tile, which is three times in memory


def orient(image: Tensor, orientation: int) -> Tensor:
    """Return an image (..., rows, columns), mirrored if the orientation is 4 or more, and turned by quarter turns."""
    return torch.rot90(image.flip(-1) if orientation >= 4 else image, orientation % 4, (-2, -1))


def restore(image: Tensor, orientation: int) -> Tensor:
    """Return the image of which `orient` has made this one."""
    turned = torch.rot90(image, -(orientation % 4), (-2, -1))
    return turned.flip(-1) if orientation >= 4 else turned


def orient_window(window: Window, orientation: int, shape: tuple[int, int]) -> Window:
    """Return where a window of an image is in the oriented image; rows and columns as first and last + 1."""
    (rows, columns), (height, width) = window, shape
    if orientation >= 4:
        columns = (width - columns[1], width - columns[0])
    for _ in range(orientation % 4):
        rows, columns = (width - columns[1], width - columns[0]), rows
        height, width = width, height
    return rows, columns


def restore_window(window: Window, orientation: int, shape: tuple[int, int]) -> Window:
    """Return where a window of the oriented image is in the image, whose shape is given."""
    rows, columns = window
    for i in reversed(range(orientation % 4)):
        width = shape[(i + 1) % 2]  # of the image before this turn
        rows, columns = columns, (width - rows[1], width - rows[0])
    if orientation >= 4:
        columns = (shape[1] - columns[1], shape[1] - columns[0])
    return rows, columns


class OrientedImage:
    """An image that is mirrored and turned when it is read.

    Args:
        image: The image.
        orientation: 0 to 7.
    """

    def __init__(self, image: Image, orientation: int) -> None:
        bands, rows, columns = image.shape
        self._image, self._orientation, self._size = image, orientation, (rows, columns)
        self.shape = (bands, columns, rows) if orientation % 2 else image.shape

    def read(self, rows: tuple[int, int], columns: tuple[int, int] | None = None) -> Tensor:
        """Return a window of all bands, (bands, rows, columns)."""
        window = rows, columns or (0, self.shape[2])
        original = restore_window(window, self._orientation, self._size)
        return orient(self._image.read(*original), self._orientation)


def measure_spread(reconstructions: Iterable[Tensor]) -> Tensor:
    """Return the standard deviation over reconstructions (bands, rows, columns), as RMS over the bands.

    Three images are in memory at a time: the first reconstruction, another one, and the sum of the differences from the
    first one. Without these differences, the small deviations would be lost in rounding.

    Args:
        reconstructions: At least one; each but the first one is changed.
    """
    iterator = iter(reconstructions)
    first = next(iterator)
    total, squares, count = torch.zeros_like(first), torch.zeros_like(first[0]), 1
    for values in iterator:
        count += 1
        difference = values.sub_(first)
        total.add_(difference)
        squares += vector_norm(difference, dim=0).square_()
    bands = len(first)
    mean = vector_norm(total, dim=0).div_(count).square_()  # over the bands: the squared length of the mean difference
    return (squares / count - mean).clamp_(min=0).div_(bands).sqrt_()


@torch.no_grad()
def spread_of_block(network: nn.Module, lr: Tensor) -> np.ndarray:
    """Return the spread of a small image, (r * rows, r * columns).

    Args:
        network: The network, in evaluation mode.
        lr: The LR image, (bands, rows, columns), on the device of the network.
    """
    results = (restore(network(orient(lr, k)[None].contiguous())[0], k) for k in range(ORIENTATIONS))
    with exact_convolutions():
        return measure_spread(results).cpu().numpy()


def can_compute_spread(network: nn.Module, scale: int, shape: tuple[int, int, int]) -> bool:
    """Return whether time and memory of the spread are moderate for an LR image of this shape."""
    bands, *size = shape
    largest = max(tile.pixels for tile in cut_image(network, (size[0], size[1])))
    return size[0] * size[1] <= MAX_PIXELS and 4 * bands * scale**2 * largest <= MAX_TILE_BYTES


def write_spread(network: nn.Module, scale: int, image: Image, out: Path) -> None:
    """Write the spread of an image, tile by tile.

    Each orientation is enlarged in the mode `halo`: see `lkca.inference.enlarge`.

    Args:
        network: The network, in evaluation mode.
        scale: Its factor r.
        image: The LR image, without NaN.
        out: The .npy file to write, float32 (r * rows, r * columns).
    """
    size = image.shape[1], image.shape[2]
    tiles = cut_image(network, size)
    images = [OrientedImage(image, k) for k in range(ORIENTATIONS)]
    spread = np.lib.format.open_memmap(out, mode="w+", dtype=np.float32, shape=(scale * size[0], scale * size[1]))
    with exact_convolutions():
        methods = [
            make_method(network, oriented, [_orient_tile(tile, k, size) for tile in pick_tiles(tiles, MAX_SAMPLES)])
            for k, oriented in enumerate(images)
        ]
        for tile in tiles:
            results = (restore(method.reconstruct(_orient_tile(tile, k, size)), k) for k, method in enumerate(methods))
            (top, bottom), (left, right) = tile.inner_rows, tile.inner_columns
            spread[scale * top : scale * bottom, scale * left : scale * right] = measure_spread(results).cpu().numpy()
    spread.flush()


def _orient_tile(tile: Tile, orientation: int, size: tuple[int, int]) -> Tile:
    """Return where a tile of an image is in the oriented image."""
    rows, columns = orient_window(tile.window, orientation, size)
    inner_rows, inner_columns = orient_window((tile.inner_rows, tile.inner_columns), orientation, size)
    return Tile(
        rows[0],
        columns[0],
        rows[1] - rows[0],
        columns[1] - columns[0],
        (inner_rows[0] - rows[0], inner_rows[1] - rows[0]),
        (inner_columns[0] - columns[0], inner_columns[1] - columns[0]),
    )
