"""What the writers of all formats have in common: checks, atomic replacement, errors of one sentence."""

import errno
import math
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from rich.filesize import decimal

from lkca.core.files import TEMPORARY_ERRORS, write_error
from lkca.core.printing import printable
from lkca.data.writers.description import OutputDescription
from lkca.errors import DataError, LkcaError, ResourceError

STALE_ENDINGS = (".aux.xml", ".ovr", ".msk")  # of files that programs make for a cube, behind its name


class Output:
    """A cube that is being written, block by block, to a temporary file next to the final one.

    Subclasses write the blocks and the description.

    Args:
        path: The final path.
        description: What the file says of itself.

    Attributes:
        parts: The temporary files -> the final ones, in the order in which they are renamed.
    """

    def __init__(self, path: Path, description: OutputDescription) -> None:
        self.path, self.description = path, description
        # The name does not vary, so that the next run overwrites what a killed one has left.
        self.part = path.with_name(f".{path.stem}.part{path.suffix}")
        self.parts = {self.part: path}
        self._missing = math.prod(description.shape)
        self._copies = 1  # of the values, on the disk at the end

    def start(self) -> None:
        """Create the temporary file; refuse a path where that is not possible, or a disk with too little space.

        Raises:
            DataError: If the description does not fit into the format, or the file cannot be created.
            ResourceError: If the disk has too little space.
        """
        self.check()
        _check_target(self.path, self.part, self._copies * count_bytes(self.description))
        with write_errors(self.path):
            self._start()

    def write(self, first_band: int, row: int, column: int, block: np.ndarray) -> None:
        """Write a block. Blocks come in any order; each value of the cube comes once.

        Args:
            first_band: Band of the cube, from 0, of the first band of the block.
            row, column: Row and column of its top left pixel, from 0.
            block: Stored values (bands, rows, columns), as `encode` returns them.

        Raises:
            ResourceError: If the disk is full or fails.
            ValueError: If the block is not a part of the cube, or has another type.
        """
        rows, columns, bands = self.description.shape
        limits = zip((first_band, row, column), block.shape, (bands, rows, columns), strict=True)
        if any(first < 0 or first + length > limit for first, length, limit in limits):
            raise ValueError(f"the block {block.shape} at {first_band, row, column} is not in {bands, rows, columns}")
        if block.dtype != self.description.dtype:
            raise ValueError(f"the block has the type {block.dtype} instead of {self.description.dtype}")
        self._missing -= block.size
        with write_errors(self.path):
            self._write(first_band, row, column, block)

    def finish(self) -> None:
        """Complete the temporary files and give them their final names.

        Raises:
            DataError: If files cannot be replaced.
            ResourceError: If the disk is full or fails.
            ValueError: If values are missing, or came twice.
        """
        if self._missing:
            raise ValueError(f"{self._missing} values of {self.path} were not written")
        with write_errors(self.path):
            self._finish()
            for sidecar in self._list_stale():
                sidecar.unlink(missing_ok=True)
            for part, path in self.parts.items():
                os.replace(part, path)

    def discard(self) -> None:
        """Close the file and delete the temporary files that are left."""
        with suppress(OSError):  # if the disk is full, libraries need space to close the file
            os.truncate(self.part, 0)
        with suppress(Exception):  # the first error counts
            self._close()
        for part in self.parts:
            with suppress(OSError):
                part.unlink()

    def _list_stale(self) -> list[Path]:
        """Return the files that programs have made for an earlier file of this name, which would describe this one."""
        return [self.path.with_name(self.path.name + ending) for ending in STALE_ENDINGS]

    def check(self) -> None:
        """Refuse a description that the format cannot hold."""

    def _start(self) -> None:
        """Create the temporary file, or use the one that is there: it has the size of the values."""
        raise NotImplementedError

    def _write(self, first_band: int, row: int, column: int, block: np.ndarray) -> None:
        raise NotImplementedError

    def _finish(self) -> None:
        """Complete the temporary files."""
        self._close()

    def _close(self) -> None:
        raise NotImplementedError


@contextmanager
def write_errors(path: Path) -> Iterator[None]:
    """Turn errors of the system and of GDAL and HDF5 into a DataError or a ResourceError with the name of a file."""
    try:
        yield
    except (LkcaError, ValueError) as error:
        if "errno = " in str(error):  # h5py's
            raise disk_error(path, str(error)) from error
        raise
    except OSError as error:
        if error.errno is None or error.strerror is None:  # GDAL's and HDF5's do not say what has failed
            raise disk_error(path, str(error.__cause__ or error)) from error
        raise write_error(path, OSError(error.errno, os.strerror(error.errno))) from error
    except Exception as error:
        if isinstance(error, RuntimeError) or type(error).__module__.startswith("rasterio"):
            raise disk_error(path, str(error.__cause__ or error)) from error
        raise


def disk_error(path: Path, message: str) -> LkcaError:
    """Return the exception for an error of a library while it writes a file: a full disk, as far as is known."""
    codes = [code for code in TEMPORARY_ERRORS if os.strerror(code) in message]
    if match := re.search(r"errno = (\d+)", message):  # HDF5's
        codes.append(int(match[1]))
    if codes:
        return write_error(path, OSError(codes[0], os.strerror(codes[0])))
    text = printable(" ".join(message.split()).rstrip("."), 200)
    return ResourceError(f"{path} cannot be written ({text}): free disk space or choose another folder.")


def _check_target(path: Path, part: Path, num_bytes: int) -> None:
    """Refuse a path at which no file can be created, or for which the disk has too little space.

    Args:
        path: The final path. Its folder is created.
        part: The temporary path, where a file of this size is created; what a killed run has left there is deleted.
        num_bytes: Size of the file.

    Raises:
        DataError: If there is a folder, or no file can be created.
        ResourceError: If the disk has too little space.
    """
    if path.is_dir():
        raise DataError(f"{path} is a folder, but a file is to be written there: choose another name.")
    with write_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        part.unlink(missing_ok=True)
        with part.open("wb") as file:
            free = shutil.disk_usage(path.parent).free
            if free < num_bytes:
                raise ResourceError(
                    f"{path} needs {decimal(num_bytes)}, but {decimal(free)} are free: free disk space or choose "
                    "another folder."
                )
            try:
                os.posix_fallocate(file.fileno(), 0, num_bytes)  # a quota or a limit may leave less space
            except OSError as error:
                if error.errno not in (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL):  # not all disks can reserve space
                    raise


def count_bytes(description: OutputDescription) -> int:
    """Return the bytes of the values of a cube."""
    return math.prod(description.shape) * description.dtype.itemsize


def clean_text(text: str, replaced: Mapping[str, str] | None = None) -> str:
    """Return a text of one line without control characters, and with some characters replaced."""
    line = "".join(character if character.isprintable() else " " for character in text)
    for character, other in (replaced or {}).items():
        line = line.replace(character, other)
    return line.strip()


def fill_missing(values: Any, missing: float) -> list[float]:
    """Return numbers with another one in place of None."""
    return [missing if value is None else value for value in values]
