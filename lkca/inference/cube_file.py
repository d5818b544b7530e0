"""Read windows of a cube from a .npy file without mapping it: a mapped file would count as memory of this process."""

import os
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import numpy as np

from lkca.errors import DataError

# Gets a block (bands, rows, columns) of a result, and the row and the column of its top left pixel.
WriteArray = Callable[[np.ndarray, int, int], None]


class ArrayImage(Protocol):
    """An LR image of which windows are read."""

    shape: tuple[int, int, int]

    def read(self, rows: tuple[int, int], columns: tuple[int, int] | None = None) -> np.ndarray:
        """Return a window of all bands, (bands, rows, columns); None stands for all columns."""
        ...


class CubeFile:
    """A cube in a .npy file, float32 (bands, rows, columns), of which parts are read; use it in a `with` statement.

    Args:
        path: The file.

    Raises:
        DataError: If the file is not such an array, or is not complete.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            mapped = np.load(path, mmap_mode="r", allow_pickle=False)
        except ValueError as error:
            raise DataError(f"{path} is not a complete .npy file ({error}): delete it and try again.") from error
        if not isinstance(mapped, np.memmap) or mapped.ndim != 3 or mapped.dtype != np.float32 or np.isfortran(mapped):
            raise DataError(
                f"{path} is not a cube of float32 with the axes (bands, rows, columns): delete it and try again."
            )
        self.shape: tuple[int, int, int] = mapped.shape
        self._start = mapped.offset
        self._file = path.open("rb", buffering=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()

    def read(self, rows: tuple[int, int], columns: tuple[int, int] | None = None) -> np.ndarray:
        """Return a window of all bands, (bands, rows, columns).

        Args:
            rows: First row and last row + 1.
            columns: First column and last column + 1; None for all.
        """
        bands, height, width = self.shape
        first, last = columns or (0, width)
        window = np.empty((bands, rows[1] - rows[0], last - first), np.float32)
        whole = window if last - first == width else np.empty((rows[1] - rows[0], width), np.float32)
        for band in range(bands):
            target = window[band] if whole is window else whole
            self._read_into(target, self._start + 4 * width * (band * height + rows[0]))
            if whole is not window:
                window[band] = whole[:, first:last]
        return window

    def _read_into(self, target: np.ndarray, offset: int) -> None:
        view, done = target.data.cast("B"), 0
        while done < len(view):
            count = os.preadv(self._file.fileno(), [view[done:]], offset + done)
            if not count:
                raise DataError(f"{self.path} became shorter while it was read: try again.")
            done += count
