"""Read an image from a file of the user's own, in any format that a cube may have."""

from pathlib import Path
from tempfile import TemporaryDirectory
from tokenize import TokenError
from typing import Any, NamedTuple

import numpy as np

from lkca.core.files import is_file
from lkca.data.catalog import File, describe_path
from lkca.data.inspection import read_bands
from lkca.data.readers import CubeDescription, open_cube
from lkca.data.sandbox import run_sandboxed
from lkca.errors import DataError, ResourceError

NPY_START = b"\x93NUMPY"
NPY_AXES = "bands rows columns"
FACTS_OF_VALUES = ("gains", "invalid", "valid_range")  # fields of CubeDescription that change values
AXES = ("bands", "rows", "columns")


class UserImage(NamedTuple):
    """An image of the user's own.

    Args:
        path: The file.
        values: (bands, rows, columns), the physical values: float16, float32 or float64.
        is_integer: Whether they are the integers of the file, to which it declares no scaling.
        description: What the file says of itself; None for a .npy file, which says nothing.
    """

    path: Path
    values: np.ndarray
    is_integer: bool
    description: CubeDescription | None

    def doubt_axes(self) -> str:
        """Return a note if the bands are probably another axis than the usual one; an empty string if not.

        They are probably the last axis instead of the first, or the first instead of the last, if that axis is shorter
        than both others.
        """
        if self.description and not self.description.format.startswith("MATLAB"):
            return ""
        axes = self.description.axes if self.description else NPY_AXES.split()
        lengths = dict(zip(AXES, self.values.shape, strict=True))
        other_end = lengths.pop("rows" if self.description else "columns")
        if other_end >= min(lengths.values()):
            return ""
        shape = " x ".join(str(self.values.shape[AXES.index(name)]) for name in axes)
        return f"{self.path} has the shape {shape}, read as {' '.join(axes)}: correct it with --axes if that is wrong."


def read_image(path: Path, axes: str | None = None, variable: str | None = None) -> UserImage:
    """Read an image as a whole.

    Args:
        path: A .npy file, a file in any other format of `lkca.data.readers`, or `archive.zip/path/inside`.
        axes: Names of the axes in the order of the file; None for `bands rows columns` in a .npy file, and for the
            order that `File.axes` describes in other formats.
        variable: Name of the array in a MATLAB or HDF5 file; None for the only one with three axes.

    Returns:
        The image: not empty, all values finite. The type of the values is that of the file, or the smallest of float32
        and float64 that has all its integers.

    Raises:
        DataError: If the file is missing or damaged, or does not contain such an image.
        ResourceError: If the disk for temporary files is full.
    """
    file = describe_path(path, axes=axes, variable=variable)
    local = file.local_path()
    if not is_file(local):
        raise DataError(f"{local} does not exist: correct the path.")
    if local.suffix.lower() == ".npz":
        raise DataError(f"{local} is a .npz archive, which may hold several arrays: save one of them as .npy.")
    with local.open("rb") as opened:
        is_npy = local.suffix.lower() == ".npy" or opened.read(len(NPY_START)) == NPY_START
    image = _read_npy(local, axes or NPY_AXES) if is_npy else _read_cube(file)
    _check_finite(image)
    return image


def _read_npy(path: Path, axes: str) -> UserImage:
    try:
        image = np.lib.format.open_memmap(path, mode="r")  # checks the header before it allocates memory
    except (ValueError, OverflowError, TokenError) as error:  # numpy raises all of them for a damaged header
        raise DataError(f"{path} is not a complete .npy file ({error}): write it with numpy.save.") from error
    if image.dtype.kind not in "iuf" or image.dtype.itemsize > 8:
        raise DataError(f"{path} holds {image.dtype}: save it as integers or as float16, float32 or float64.")
    if image.ndim != 3 or not image.size:
        raise DataError(f"{path} has the shape {image.shape}: save a non-empty image with the axes {axes}.")
    dtype = image.dtype if image.dtype.kind == "f" else np.result_type(image.dtype, np.float32)
    names = axes.split()
    values = np.array(image.transpose([names.index(name) for name in AXES]), dtype, order="C")
    return UserImage(path, values, image.dtype.kind != "f", None)


def _read_cube(file: File) -> UserImage:
    try:
        with TemporaryDirectory() as folder:
            description = run_sandboxed(_copy, file, copy := Path(folder) / "image.npy")
            values = np.load(copy)
    except OSError as error:
        raise ResourceError(
            f"no temporary file can be written ({error.strerror or error}): free disk space or set TMPDIR to another "
            "folder."
        ) from error
    if unusable := [text for fact, text in description.unusable.items() if fact in FACTS_OF_VALUES]:
        raise DataError(f"{file.path}: {unusable[0]}: correct it, since the values depend on it.")
    return UserImage(Path(file.path), values, description.dtype.kind != "f" and not description.gains, description)


def _copy(file: File, out: Path) -> CubeDescription:
    """Write the physical values of a file to a .npy file, float32 or float64; return what the file says of itself."""
    with open_cube(file) as reader, out.open("wb") as array:
        rows, columns, bands = reader.shape
        dtype = np.result_type(reader.description.dtype, np.float32)
        header: dict[str, Any] = {"descr": dtype.str, "fortran_order": False, "shape": (bands, rows, columns)}
        np.lib.format.write_array_header_1_0(array, header)
        for _, image in read_bands(file, reader, (0, rows, 0, columns), range(1, bands + 1), dtype):
            array.write(image.tobytes())
            del image  # frees its memory before the next one is read
        return reader.description


def _check_finite(image: UserImage) -> None:
    """Refuse NaN and infinite values, and those that the file declares as invalid, which are NaN here.

    Raises:
        DataError: If there is such a value.
    """
    invalid = np.zeros(image.values.shape[1:], bool)
    number, first = 0, ""
    for i, band in enumerate(image.values, 1):
        wrong = ~np.isfinite(band)
        if wrong.any() and not number:
            row, column = np.argwhere(wrong)[0]
            first = f"the first in band {i} (from 1), row {row} and column {column} (from 0)"
        number += int(np.count_nonzero(wrong))
        invalid |= wrong
    if number:
        facts = image.description
        declares = facts and (facts.invalid or facts.valid_range or facts.has_mask)
        kinds = "NaN, infinite or invalid as the file declares" if declares else "NaN or infinite"
        pixels = int(np.count_nonzero(invalid))
        raise DataError(
            f"{image.path} holds {number} values in {pixels} pixel{'s' * (pixels > 1)} that are {kinds}, {first}: "
            "crop these pixels away or replace them."
        )
