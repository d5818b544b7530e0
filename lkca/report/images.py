"""Images of the figures and of the page: their stretch and colours, and their encoding for the page."""

import io
import math
import os
import struct
import zlib
from base64 import b64encode
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tokenize import TokenError
from typing import Any
from zipfile import BadZipFile, ZipFile

import numpy as np
from matplotlib import colormaps
from PIL import Image
from rich.filesize import decimal

from lkca.core.files import open_file
from lkca.core.printing import printable
from lkca.core.result_files import MAX_NUMBER, damaged
from lkca.errors import DataError, LkcaError, StaleInput

IMAGE_ARRAYS = ("hr", "sr", "bands", "error", "rows", "columns", "spectra_hr", "spectra_sr")  # of an image.npz
ZIP_ERRORS = (BadZipFile, KeyError, ValueError, EOFError, RuntimeError, zlib.error)  # of damaged archives
PNG_ERRORS = (OSError, Image.DecompressionBombError, SyntaxError, ValueError, EOFError, struct.error, zlib.error)
HEADER_ERRORS = (SyntaxError, TokenError, MemoryError)  # of damaged arrays; a ValueError, too
MAX_ARRAY_BYTES = 2**29  # of an array in an image.npz; those of a test image of 512 x 512 pixels have 2**22
MAX_PNG_BYTES = 2**27
MAX_PIXELS, WEBP_MAX_DIMENSION = 2**26, 16383  # of a figure; the second is the limit of the format
MAX_DESCRIPTION = 2000  # characters of the alternative text of a figure
DETAIL_SIDE = 64  # pixels of the picture at the top of the page
MIN_RANGE = 1e-6  # smallest range of a stretch, so that a constant band stays finite
# Colours of error maps from 0 to the error limit, those of the figures: (17, 3)
ERROR_COLOURS = colormaps["magma"](np.linspace(0, 1, 17))[:, :3].round(3).tolist()


def stretch_limits(hr: np.ndarray) -> np.ndarray:
    """Return the values that are shown as black and as white, (2, 3): the 2 % and 98 % quantiles of each band.

    Args:
        hr: The ground truth (rows, columns, 3), whose limits are used for all methods.
    """
    return np.percentile(hr, (2, 98), axis=(0, 1))


def stretch(composite: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """Return a composite (rows, columns, 3) stretched to [0, 1] between these limits."""
    low, high = limits
    return np.clip((composite - low) / np.maximum(high - low, MIN_RANGE), 0, 1)


def error_limit(errors: Mapping[str, np.ndarray]) -> float:
    """Return the error at the end of the colour scale: the largest of the methods' 99.5 % quantiles.

    Args:
        errors: Method -> its error map (rows, columns).
    """
    return max(float(np.quantile(error, 0.995)) for error in errors.values())


def encode_test_image(images: Mapping[str, Path]) -> dict[str, Any]:
    """Return the ground truth and every method's reconstruction of one test image, for the script of the page.

    Args:
        images: Method -> its image.npz, all of one test image.

    Returns:
        {"shape": [rows, columns], "rows", "columns": the pixels that have spectra, from 0, "rgb": the bands shown as
        red, green and blue, from 1, "limit": the error at the end of the colour scale, "truth" and "methods" by name:
        {"picture", "error" (grey): WebP as a data URL, "spectra": {"low", "high", "values": (rows, columns, bands) as
        16-bit integers from low to high, little-endian, base64}}}.
    """
    arrays = read_images(images)
    first = next(iter(arrays.values()))
    hr, errors = first["hr"], {name: image["error"] for name, image in arrays.items()}
    limits, max_error = stretch_limits(hr), error_limit(errors)

    def encode(composite: np.ndarray, error: np.ndarray, spectra: np.ndarray) -> dict[str, Any]:
        grey = np.repeat(error[..., None] / max(max_error, 1e-12), 3, -1)  # WebP halves the resolution of colours
        return {
            "picture": _encode_webp(stretch(composite, limits), 90),
            "error": _encode_webp(grey, 80),
            "spectra": _pack_spectra(spectra),
        }

    def encode_method(name: str) -> dict[str, Any]:
        return encode(arrays[name]["sr"], errors[name], arrays[name]["spectra_sr"])

    with ThreadPoolExecutor() as pool:  # the WebP encoder releases the interpreter lock
        methods = dict(zip(arrays, pool.map(encode_method, arrays), strict=True))
    return {
        "shape": hr.shape[:2],
        "rows": first["rows"].tolist(),
        "columns": first["columns"].tolist(),
        "rgb": first["bands"].tolist(),
        "limit": max_error,
        "truth": encode(hr, np.zeros_like(hr[..., 0]), first["spectra_hr"]),
        "methods": methods,
    }


def encode_details(images: Mapping[str, Path]) -> tuple[str, dict[str, str], int]:
    """Return a detail of the ground truth and of reconstructions of one test image: where the first has most error.

    Args:
        images: Method -> its image.npz, all of one test image.

    Returns:
        The ground truth and the methods as data URLs, and the side of the detail in pixels.
    """
    arrays = read_images(images)
    first = next(iter(arrays.values()))
    limits, side = stretch_limits(first["hr"]), min(DETAIL_SIDE, *first["error"].shape)
    row, column = find_worst_window(first["error"], side)

    def encode(composite: np.ndarray) -> str:
        detail = stretch(composite, limits)[row : row + side, column : column + side]
        return encode_data_url(Image.fromarray(quantize(detail)), lossless=True, quality=0, method=2)

    return encode(first["hr"]), {name: encode(image["sr"]) for name, image in arrays.items()}, side


def find_worst_window(error: np.ndarray, side: int) -> tuple[int, int]:
    """Return row and column of the square window with the largest mean error.

    Args:
        error: Error map (rows, columns).
        side: Side of the window, pixels.
    """
    sums = np.pad(error, ((1, 0), (1, 0))).cumsum(0, dtype=np.float64).cumsum(1)
    window_sums = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    row, column = np.unravel_index(window_sums.argmax(), window_sums.shape)
    return int(row), int(column)


def read_images(paths: Mapping[str, Path]) -> dict[str, dict[str, np.ndarray]]:
    """Return the arrays of several image.npz of one test image, by the names of their methods.

    Raises:
        DataError: If a file is missing or has not the form that `lkca.scoring.evaluate.write_picture` writes.
        StaleInput: If they show different test images.
    """
    images = {name: read_image(path) for name, path in paths.items()}
    first, *others = images
    for name in others:
        if any(array.shape != images[first][key].shape for key, array in images[name].items()):
            raise StaleInput(f"{paths[first]} and {paths[name]} show different test images: run snakemake again.")
    return images


def read_image(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of an image.npz; see `read_images`."""
    arrays = _read_arrays(path)
    side, grid = arrays["hr"].shape[:2], (arrays["rows"].size, arrays["columns"].size)
    bands = arrays["spectra_hr"].size // max(1, grid[0] * grid[1])
    shapes = {"hr": (*side, 3), "sr": (*side, 3), "bands": (3,), "error": side, "rows": grid[:1], "columns": grid[1:]}
    shapes |= {"spectra_hr": (bands, *grid), "spectra_sr": (bands, *grid)}
    for name, shape in shapes.items():
        array, integers = arrays[name], name in ("bands", "rows", "columns")
        if array.shape != shape or not array.size or (array.dtype.kind == "i") != integers:
            raise damaged(path, f"{name} is {array.dtype} of shape {array.shape}")
        if not (np.abs(array) <= MAX_NUMBER).all():
            raise damaged(path, f"{name} has NaN, infinity or a huge number")
    for name, limit in {"bands": bands + 1, "rows": side[0], "columns": side[1]}.items():
        first = 1 if name == "bands" else 0
        if arrays[name].min() < first or arrays[name].max() >= limit:
            raise damaged(path, f"{name} has a number outside of {first} to {limit - 1}")
    return arrays


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of an .npz file, without pickle, and without more memory than the file declares.

    Raises:
        DataError: If the file is missing or damaged.
    """
    try:
        with open_file(path) as file, ZipFile(file) as archive:
            return {name: _read_array(archive, f"{name}.npy") for name in IMAGE_ARRAYS}
    except FileNotFoundError:
        raise DataError(f"{path} does not exist: run snakemake again.") from None
    except (*ZIP_ERRORS, *HEADER_ERRORS) as error:
        if isinstance(error, LkcaError):
            raise
        raise damaged(path, error) from error


def _read_array(archive: ZipFile, name: str) -> np.ndarray:
    """Return an array of an archive.

    Raises:
        ValueError: If its header does not fit its size, or it is too large.
    """
    size = archive.getinfo(name).file_size
    if size > MAX_ARRAY_BYTES:
        raise ValueError(f"{name} has {decimal(size)}")
    with archive.open(name) as member:
        if np.lib.format.read_magic(member) != (1, 0):
            raise ValueError(f"{name} has another version of the format")
        shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(member)
        if dtype.kind not in "fi" or dtype.itemsize > 8 or math.prod(shape) * dtype.itemsize != size - member.tell():
            raise ValueError(f"{name} is declared as {dtype} of shape {shape}, which is not what it has")
        values = np.frombuffer(member.read(), dtype)
    return values.reshape(shape, order="F" if fortran_order else "C")


def encode_png(path: Path) -> tuple[str, str]:
    """Return the pixels of a PNG file as a data URL of lossless WebP, which is a third smaller, and its description.

    Raises:
        DataError: If the file is missing, damaged or too large.
    """
    try:
        with open_file(path) as file, Image.open(file, formats=["PNG"]) as image:
            if os.fstat(file.fileno()).st_size > MAX_PNG_BYTES:
                raise damaged(path, f"it has more than {decimal(MAX_PNG_BYTES)}")
            if image.width * image.height > MAX_PIXELS or max(image.size) > WEBP_MAX_DIMENSION:
                raise damaged(path, f"it has {image.width} x {image.height} pixels")
            pixels = encode_data_url(image.convert("RGB"), lossless=True, quality=0, method=2)
            return pixels, printable(str(image.info.get("Description", "")), MAX_DESCRIPTION)
    except FileNotFoundError:
        raise DataError(f"{path} does not exist: run snakemake again.") from None
    except PNG_ERRORS as error:
        if isinstance(error, LkcaError):
            raise
        raise damaged(path, error) from error


def _encode_webp(image: np.ndarray, quality: int) -> str:
    """Return an image (rows, columns, 3) with values in [0, 1] as a data URL."""
    return encode_data_url(Image.fromarray(quantize(image)), quality=quality, method=2)  # slower ones save nothing


def quantize(image: np.ndarray) -> np.ndarray:
    """Return an image with values in [0, 1] as bytes; other values become the nearest of these."""
    return np.round(np.clip(image, 0, 1) * 255).astype(np.uint8)


def encode_data_url(image: Image.Image, **options: Any) -> str:
    """Return an image as a data URL of WebP; the options are those of pillow."""
    file = io.BytesIO()
    image.save(file, "webp", **options)
    return f"data:image/webp;base64,{b64encode(file.getvalue()).decode()}"


def _pack_spectra(spectra: np.ndarray) -> dict[str, Any]:
    """Return spectra (bands, rows, columns) as 16-bit integers from `low` to `high`, base64."""
    low, high = float(spectra.min()), float(spectra.max())
    levels = np.round((spectra.transpose(1, 2, 0) - low) / max(high - low, 1e-12) * 65535).astype("<u2")
    return {"low": low, "high": high, "values": b64encode(levels.tobytes()).decode()}
