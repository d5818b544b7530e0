"""Files that hold the values one after the other: .npy and the data of ENVI."""

import io
import os
from pathlib import Path
from typing import Any

import numpy as np

from lkca.data.writers.description import OutputDescription
from lkca.data.writers.output import Output

# The order of the axes of each interleaving, as axes of (bands, rows, columns).
ORDERS = {"bsq": (0, 1, 2), "bil": (1, 0, 2), "bip": (1, 2, 0)}


class RawOutput(Output):
    """A file of values in a given order after some bytes.

    The values are written by calls of the system: pages of a mapped file would count as memory of the process, and a
    full disk would kill it.

    Args:
        path: The final path.
        description: What the file says of itself.
        interleave: A key of ORDERS.
        header: The bytes before the values.
    """

    def __init__(
        self, path: Path, description: OutputDescription, interleave: str = "bsq", header: bytes = b""
    ) -> None:
        super().__init__(path, description)
        self._order = ORDERS[interleave]
        rows, columns, bands = description.shape
        self._lengths = [(bands, rows, columns)[axis] for axis in self._order]
        self._header = header
        self._file = -1

    def _start(self) -> None:
        self._file = os.open(self.part, os.O_RDWR)
        _write_all(self._file, self._header, 0)

    def _write(self, first_band: int, row: int, column: int, block: np.ndarray) -> None:
        itemsize = block.dtype.itemsize
        first = [(first_band, row, column)[axis] for axis in self._order]
        block = block.transpose(self._order)
        _, length, width = self._lengths
        if self._order[2] == 0 and block.shape[2] < width:
            self._write_into_lines(first, block)
            return
        block = np.ascontiguousarray(block)
        if block.shape[2] == width:  # lines of the file are whole: several are written at once
            block = block.reshape(block.shape[0], 1, -1)
        for i, plane in enumerate(block):
            for j, line in enumerate(plane):
                position = ((first[0] + i) * length + first[1] + j) * width + first[2]
                _write_all(self._file, line.tobytes(), len(self._header) + position * itemsize)

    def _write_into_lines(self, first: list[int], block: np.ndarray) -> None:
        """Write some bands of pixels whose bands are neighbours: read the pixels, change them and write them back."""
        _, length, width = self._lengths
        itemsize = block.dtype.itemsize
        for i, plane in enumerate(block):
            position = len(self._header) + ((first[0] + i) * length + first[1]) * width * itemsize
            size = len(plane) * width * itemsize
            line = np.frombuffer(os.pread(self._file, size, position).ljust(size, b"\0"), block.dtype).copy()
            line.reshape(len(plane), width)[:, first[2] : first[2] + plane.shape[1]] = plane
            _write_all(self._file, line.tobytes(), position)

    def _close(self) -> None:
        if self._file >= 0:
            file, self._file = self._file, -1
            os.close(file)


def _write_all(file: int, data: bytes, position: int) -> None:
    """Write bytes at a position; the system may write fewer than it is given."""
    view = memoryview(data)
    while view:
        written = os.pwrite(file, view, position)
        view, position = view[written:], position + written


def open_npy(path: Path, description: OutputDescription) -> RawOutput:
    """Return an output that writes an array of numpy (bands, rows, columns), which holds nothing of the description."""
    rows, columns, bands = description.shape
    header = io.BytesIO()
    layout: dict[str, Any] = {
        "descr": np.lib.format.dtype_to_descr(description.dtype),
        "fortran_order": False,
        "shape": (bands, rows, columns),
    }
    np.lib.format.write_array_header_1_0(header, layout)
    return RawOutput(path, description, header=header.getvalue())
