"""Divide a scene into windows: test images, training patches and validation patches."""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import accumulate, groupby, product
from typing import NamedTuple, TypedDict

import numpy as np

from lkca.data.catalog import format_ranges
from lkca.data.settings import MAX_PATCHES, SplitSettings, TestTiles, count_patches

Corner = tuple[int, int]  # row and column of the top left pixel
Window = tuple[int, int, int, int]  # row and column of the top left pixel, number of rows, number of columns


class SplitProblem(Exception):
    """Why a scene cannot be divided, as a part of a sentence to which the caller adds the scene and what to do.

    Attributes:
        remedy: What to do; empty if that depends on the scene.
    """

    def __init__(self, problem: str, remedy: str = "") -> None:
        super().__init__(problem)
        self.remedy = remedy


class Area(TypedDict):
    """The rectangle of a scene that one file fills, in pixels; it starts at column 0."""

    use: str  # "train", "test" or "both"
    row: int  # the row of the scene at which the area starts
    rows: int
    columns: int


class InvalidPixels:
    """The invalid pixels of a scene, in a form that counts those of many rectangles at once.

    Args:
        mask: (rows, columns), true at invalid pixels.
    """

    def __init__(self, mask: np.ndarray) -> None:
        # Entry (r, c) is the number of invalid pixels above row r and left of column c.
        self._sums = np.zeros((mask.shape[0] + 1, mask.shape[1] + 1), np.int32)
        np.cumsum(mask, 0, np.int32, out=self._sums[1:, 1:])
        np.cumsum(self._sums[1:, 1:], 1, out=self._sums[1:, 1:])

    def count(self, corners: Sequence[Corner] | np.ndarray, height: int, width: int) -> np.ndarray:
        """Return the number of invalid pixels in each of the rectangles with these corners.

        Args:
            corners: Row and column of the top left pixel of each rectangle, none of which leaves the scene.
            height, width: Height and width of all rectangles, pixels.
        """
        top, left = np.asarray(corners, int).reshape(-1, 2).T
        sums, bottom, right = self._sums, top + height, left + width
        return sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]


class Strip(NamedTuple):
    """A part of an area that a grid of patches covers: all of its columns, and the rows that no test image is in."""

    rows: range
    columns: range

    @property
    def size(self) -> int:
        """The number of its pixels."""
        return len(self.rows) * len(self.columns)


class GridRow(NamedTuple):
    """One row of the grid of patches.

    Args:
        strip: The strip that contains the patches.
        top: The first pixel row of the patches.
        corners: The corners of the patches without invalid pixels, from left to right.
        share: The share of these patches in all patches of the row.
    """

    strip: Strip
    top: int
    corners: list[Corner]
    share: Fraction


class Split(NamedTuple):
    """The parts of a scene.

    Args:
        train: Corners of the training patches.
        validation: Corners of the validation patches.
        test: Windows of the test images.
        num_grid_patches: Number of patches of the whole grid, including those that are in no part.
        num_invalid: Number of patches of the grid that are in no part because they contain invalid pixels.
        num_invalid_tests: Number of test images that are left out because they contain invalid pixels.
        valid_share: Share of valid pixels in the strips that the grid covers.
    """

    train: list[Corner]
    validation: list[Corner]
    test: list[Window]
    num_grid_patches: int
    num_invalid: int
    num_invalid_tests: int
    valid_share: float

    @property
    def numbers(self) -> dict[str, int]:
        """The numbers of the split, as in the file of the split."""
        return {
            "grid": self.num_grid_patches,
            "train": len(self.train),
            "validation": len(self.validation),
            "test": len(self.test),
        }

    @property
    def left_out(self) -> dict[str, float]:
        """What is left out because of invalid pixels, as in the file of the split; empty if the scene has none."""
        if not (self.num_invalid or self.num_invalid_tests or self.valid_share < 1):
            return {}
        numbers = {"patches": self.num_invalid, "test": self.num_invalid_tests}
        return {**numbers, "valid_share": self.valid_share}


def divide(settings: SplitSettings, areas: Sequence[Area], invalid: InvalidPixels | None = None) -> Split:
    """Divide the areas of a scene into test images, training patches and validation patches.

    In an area for both uses, the patches are above and below the rows of the test images. Patches with an invalid pixel
    are in no part. Of the rows of the grid of patches, the last ones are for validation: as many as are needed for the
    fraction `validation` of the rows, where a row with invalid patches counts as the share of its valid ones. No pixel
    is in two parts: training patches that share pixel rows with validation patches are left out.

    Args:
        settings: How the scene is divided.
        areas: The areas of the scene, from top to bottom.
        invalid: The invalid pixels of the scene; None if it has none.

    Raises:
        SplitProblem: If the scene is too small for these settings, or has too many invalid pixels.
    """
    test, num_invalid_tests = _choose_tests(settings.test, areas, invalid)
    strips = [strip for area in areas if area["use"] != "test" for strip in _cut_strips(settings.test, area)]
    number = sum(count_patches(len(rows), len(columns), settings.size, settings.stride) for rows, columns in strips)
    if number > MAX_PATCHES:
        raise SplitProblem(f"there are {number:,} patches, more than {MAX_PATCHES:,}", "choose a larger stride")
    rows, num_grid_patches = _valid_rows(settings, strips, invalid)
    # The share of the last row, that of the last two rows, and so on; without invalid pixels these are whole numbers.
    shares = [float(share) for share in accumulate(row.share for row in reversed(rows))]
    num_train = len(rows) - int(np.searchsorted(shares, settings.validation * shares[-1])) - 1 if rows else 0
    validation = rows[num_train:]
    train = [row for row in rows[:num_train] if row.top + settings.size <= validation[0].top]
    if not train:
        place = "below" if settings.test.row == 0 else "above and below"
        invalid_pixels = "" if invalid is None else " and without invalid pixels"
        raise SplitProblem(
            f"the scene has no room for training and validation patches of {settings.size} pixels {place} its test "
            f"rows{invalid_pixels}"
        )
    num_valid = sum(len(row.corners) for row in rows)
    return Split(
        _sample_corners(settings, train, invalid),
        _sample_corners(settings, validation, invalid),
        test,
        num_grid_patches,
        num_grid_patches - num_valid,
        num_invalid_tests,
        _valid_share(strips, invalid),
    )


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


def _cut_strips(test: TestTiles, area: Area) -> list[Strip]:
    """Return the strips of an area that is not for testing only: above and below its test rows, if it has any."""
    start, stop, columns = area["row"], area["row"] + area["rows"], range(area["columns"])
    if area["use"] == "train":
        return [Strip(range(start, stop), columns)]
    first = start + test.row
    return [Strip(range(start, first), columns), Strip(range(first + test.rows, stop), columns)]


def _valid_rows(
    settings: SplitSettings, strips: Iterable[Strip], invalid: InvalidPixels | None
) -> tuple[list[GridRow], int]:
    """Return the rows of the grid that have a patch without invalid pixels, and the number of patches of all rows."""
    rows, number = [], 0
    for strip in strips:
        for corners in grid(strip.rows, strip.columns, settings.size, settings.stride):
            valid = _keep_valid(corners, settings.size, invalid)
            number += len(corners)
            if valid:
                rows.append(GridRow(strip, valid[0][0], valid, Fraction(len(valid), len(corners))))
    return rows, number


def _keep_valid(corners: list[Corner], size: int, invalid: InvalidPixels | None) -> list[Corner]:
    """Return the corners of the patches that contain no invalid pixel."""
    if invalid is None or not corners:
        return corners
    counts = invalid.count(corners, size, size)
    return [corner for corner, count in zip(corners, counts, strict=True) if count == 0]


def _valid_share(strips: Iterable[Strip], invalid: InvalidPixels | None) -> float:
    """Return the share of valid pixels in strips."""
    strips = [strip for strip in strips if strip.size]
    if invalid is None:
        return 1.0
    counts = [invalid.count([(strip.rows[0], 0)], len(strip.rows), len(strip.columns))[0] for strip in strips]
    return 1 - float(sum(counts)) / sum(strip.size for strip in strips)


def _choose_tests(test: TestTiles, areas: Iterable[Area], invalid: InvalidPixels | None) -> tuple[list[Window], int]:
    """Return the windows of the test images of all areas, and the number of those that are left out.

    Raises:
        SplitProblem: If an area is smaller than the test area, or if test images contain invalid pixels and the
            settings refuse that or no others are left.
    """
    windows = [window for area in areas if area["use"] != "train" for window in _test_windows(test, area)]
    if invalid is None:
        return windows, 0
    counts = invalid.count([window[:2] for window in windows], *test.tile)
    valid = [window for window, count in zip(windows, counts, strict=True) if count == 0]
    touched = np.flatnonzero(counts)
    if not valid or (touched.size and test.invalid == "refuse"):
        raise SplitProblem(
            f"{len(touched)} of {len(windows)} test images contain invalid pixels "
            f"({format_ranges(touched.tolist())}, counted from 0)"
        )
    return valid, len(touched)


def _test_windows(test: TestTiles, area: Area) -> list[Window]:
    """Return the windows of the test images of an area, row by row.

    Raises:
        SplitProblem: If the area is smaller than the test area.
    """
    if test.row + test.rows > area["rows"] or test.column + test.columns > area["columns"]:
        position = f" at row {test.row} and column {test.column}" if test.row or test.column else ""
        raise SplitProblem(
            f"a test area of {test.rows} x {test.columns}{position} does not fit into {area['rows']} x "
            f"{area['columns']} pixels"
        )
    height, width = test.tile
    first = area["row"] + test.row
    rows, columns = range(first, first + test.rows, height), range(test.column, test.column + test.columns, width)
    return [(row, column, height, width) for row, column in product(rows, columns)]


def _sample_corners(settings: SplitSettings, rows: list[GridRow], invalid: InvalidPixels | None) -> list[Corner]:
    """Return the corners of rows of the grid, or the same number of random corners if the settings say so.

    The random corners of a strip are in the pixel rows that the given rows cover in it, at patches without invalid
    pixels; those of the grid are among them, so that there are always enough.
    """
    if settings.sampling == "grid":
        return [corner for row in rows for corner in row.corners]
    corners: list[Corner] = []
    generator = np.random.default_rng([settings.size, settings.stride, rows[0].top])
    for strip, group in groupby(rows, key=lambda row: row.strip):
        covered = list(group)
        number = sum(len(row.corners) for row in covered)
        first, last = covered[0].top, covered[-1].top
        last_column = len(strip.columns) - settings.size
        if invalid is None:
            sampled = generator.integers((first, 0), (last, last_column), (number, 2), endpoint=True)
        else:
            positions = np.indices((last + 1 - first, last_column + 1)).reshape(2, -1).T
            positions[:, 0] += first
            valid = positions[invalid.count(positions, settings.size, settings.size) == 0]
            sampled = valid[generator.integers(0, len(valid), number)]
        corners += [(int(row), int(column)) for row, column in sampled]
    return corners
