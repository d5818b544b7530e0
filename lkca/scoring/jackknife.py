"""Means over an image, and over the image without each of its blocks, for a delete-one-block jackknife.

An image is cut into BLOCKS x BLOCKS blocks of equal size, row by row (fewer where a side has fewer pixels). A score is
computed for several *subsets* of the blocks: first for all blocks, then for all blocks but one, for each block in turn.
An array with an axis of subsets has this order; a subset without any value (no window, no angle) has NaN.
"""

from collections.abc import Callable
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np

BLOCKS = 4  # along each side of the image


class ImagePair:
    """A reconstruction and its ground truth, to be compared block by block.

    Args:
        sr: (bands, rows, columns), the reconstruction.
        hr: (bands, rows, columns), the ground truth.
        scale: Upsampling factor r.

    Raises:
        ValueError: If the images are not two finite (bands, rows, columns) arrays of one shape.
    """

    def __init__(self, sr: np.ndarray, hr: np.ndarray, scale: int = 1) -> None:
        check_images(sr, hr)
        self.sr, self.hr, self.scale = sr, hr, scale
        self.rows, self.columns = hr.shape[1:]

    def over_bands(self, function: Callable[[np.ndarray, np.ndarray], list[Any]]) -> np.ndarray:
        """Return a function's results for each pair of bands, (bands, ...); only one pair at a time becomes float64."""
        pairs = zip(self.sr, self.hr, strict=True)
        return np.array([function(x.astype(np.float64), y.astype(np.float64)) for x, y in pairs])

    def block_means(self, values: Callable[[np.ndarray, np.ndarray], np.ndarray], border: int = 0) -> np.ndarray:
        """Return the mean of each band over each subset of the blocks.

        Args:
            values: Returns the values to average, (rows, columns) without the border, from a pair of bands.
            border: Width of the border of the image that has no values, in pixels.

        Returns:
            (bands, subsets), NaN where a subset has no value.

        Example:
            >>> pair = ImagePair(np.full((2, 8, 8), 0.75), np.full((2, 8, 8), 0.5))
            >>> error = pair.block_means(lambda x, y: abs(x - y))
            >>> error.shape, float(error[0, 0])
            ((2, 17), 0.25)
        """

        def sums(x: np.ndarray, y: np.ndarray) -> list[float]:
            array = values(x, y)
            return [array[block].sum() for block in blocks]

        blocks = block_slices(self.rows, self.columns, border)
        return subset_means(self.over_bands(sums), block_sizes(blocks))

    @cached_property
    def mean_squared_error(self) -> np.ndarray:
        """The mean squared error of each band, (bands, subsets)."""
        return self.block_means(lambda x, y: (x - y) ** 2)

    @cached_property
    def mean_of_truth(self) -> np.ndarray:
        """The mean of each band of the ground truth, (bands, subsets)."""
        return self.block_means(lambda _, y: y)


def check_images(sr: np.ndarray, hr: np.ndarray) -> None:
    """Raise ValueError unless the images are two finite (bands, rows, columns) arrays of one shape."""
    if sr.ndim != 3 or sr.shape != hr.shape or not hr.size:
        raise ValueError(f"two images (bands, rows, columns) of one shape are needed, not {sr.shape} and {hr.shape}")
    if not (np.isfinite(sr).all() and np.isfinite(hr).all()):
        raise ValueError("an image holds NaN or infinite values, which have no score")


def block_edges(side: int) -> np.ndarray:
    """Return the first pixel of each block along a side, and the end of the last block."""
    return np.unique(np.linspace(0, side, BLOCKS + 1).round().astype(int))


def block_slices(rows: int, columns: int, border: int = 0) -> list[tuple[slice, slice]]:
    """Return the slices of the blocks of an image, row by row, in an array without the border of the image."""
    down, across = ((block_edges(side) - border).clip(0, side - 2 * border) for side in (rows, columns))
    return [
        (slice(top, bottom), slice(left, right)) for top, bottom in pairwise(down) for left, right in pairwise(across)
    ]


def block_sizes(blocks: list[tuple[slice, slice]]) -> np.ndarray:
    """Return the number of pixels of each block, (blocks,)."""
    return np.array([(down.stop - down.start) * (across.stop - across.start) for down, across in blocks])


def subset_membership(blocks: int) -> np.ndarray:
    """Return whether each block is in each subset, (subsets, blocks), 1 or 0."""
    return np.vstack([np.ones(blocks), 1 - np.eye(blocks)])


def subset_sums(sums: np.ndarray) -> np.ndarray:
    """Return sums over subsets, (..., subsets), from sums over blocks, (..., blocks).

    The sums of the blocks in a subset are added. Subtracting one block from the whole would lose digits if that block
    had nearly all of the sum.
    """
    return sums @ subset_membership(sums.shape[-1]).T


def subset_means(sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return means over subsets, (..., subsets), from sums (..., blocks) and counts (blocks,); NaN without a count."""
    with np.errstate(invalid="ignore"):
        return subset_sums(sums) / subset_sums(counts)
