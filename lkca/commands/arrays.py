"""`lkca score` and `lkca resize`: commands for the user's own arrays, in .npy files."""

import json
import math
from pathlib import Path
from tokenize import TokenError

import numpy as np

from lkca.core.files import atomic_write
from lkca.data.resize import resize as resize_array
from lkca.data.resize import resized_length
from lkca.errors import ConfigError, DataError
from lkca.scoring.metrics import scores

MAX_FACTOR = 16  # factors from 1 / MAX_FACTOR to MAX_FACTOR are allowed
MAX_SIDE = 16384  # pixels of a side before and after; an m x n matrix of float64 resizes n pixels to m
MAX_BYTES = 2**33  # largest size of the resized array


def score(reference: Path, estimate: Path, scale: int) -> None:
    """Print the scores of an image as one JSON object: each of `SCORES` (lkca/scoring/metrics.py).

    Args:
        reference: .npy file of the ground truth: floats (bands, rows, columns), divided by the scene's maximum.
        estimate: .npy file of the reconstruction, same shape.
        scale: Upsampling factor, at least 1; only ERGAS depends on it.

    Raises:
        DataError: If a file is missing or does not contain such an array, or a score is not defined for the two arrays
            (see `lkca.scoring.metrics`).
    """
    hr, sr = _read_image(reference), _read_image(estimate)
    try:
        result = scores(sr, hr, scale)["scores"]
    except ValueError as error:
        raise DataError(f"{estimate} cannot be scored against {reference}: {error}.") from error
    print(json.dumps(result, indent=1))


def resize(input: Path, factor: float, output: Path) -> None:
    """Resize an image as MATLAB's imresize(image, factor, 'bicubic') does.

    Args:
        input: .npy file: floats (bands, rows, columns).
        factor: From 1/16 to 16; above 1 enlarges, below 1 shrinks.
        output: .npy file to write, with the dtype of the input. It may be the input file, which is then replaced if
            there is no error.

    Raises:
        ConfigError: If the factor is out of range or the name of the output does not end in .npy.
        DataError: If the input is missing or does not contain such an array; a side is or would be longer than 16384
            pixels; the result would be larger than 8 GiB or overflow; or the folder of the output cannot be written.
        ResourceError: If the disk is full or fails.
    """
    if not 1 / MAX_FACTOR <= factor <= MAX_FACTOR:
        raise ConfigError(f"{input}: the factor {factor} is out of range: choose from 1/{MAX_FACTOR} to {MAX_FACTOR}.")
    if output.suffix != ".npy":
        raise ConfigError(f"{output} does not end in .npy: name a .npy file to write.")
    image = _read_image(input)
    bands, *sides = image.shape
    shape = (bands, *(resized_length(n, factor) for n in sides))
    if max(*sides, *shape[1:]) > MAX_SIDE or math.prod(shape) * image.itemsize > MAX_BYTES:
        raise DataError(
            f"{input} is too large to be resized from {image.shape} to {shape}: "
            f"crop it to sides of at most {MAX_SIDE} pixels and a result of at most {MAX_BYTES // 2**30} GiB."
        )
    result = resize_array(image, factor)
    if not np.isfinite(result).all():
        raise DataError(
            f"{input} holds values so large that bicubic resizing overflows {image.dtype}: divide it by its maximum."
        )
    with atomic_write(output) as part:
        np.save(part, result)


def _read_image(path: Path) -> np.ndarray:
    """Read an image from a .npy file.

    Returns:
        (bands, rows, columns), not empty, finite, float16, float32 or float64.

    Raises:
        DataError: If the file is missing or damaged, or does not contain such an array.
    """
    try:
        image = np.lib.format.open_memmap(path, mode="r")  # checks the header before it allocates memory
    except FileNotFoundError:
        raise DataError(f"{path} does not exist: name a .npy file.") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error}): name a .npy file.") from error
    except (ValueError, OverflowError, TokenError) as error:  # numpy raises all of them for a damaged header
        raise DataError(f"{path} is not a complete .npy file ({error}): write it with numpy.save.") from error
    if image.dtype.kind != "f" or image.dtype.itemsize > 8:
        raise DataError(
            f"{path} holds {image.dtype}, not float16, float32 or float64: "
            "save it as float32, divided by the scene's maximum."
        )
    if image.ndim != 3 or not image.size:
        raise DataError(f"{path} has the shape {image.shape}: save a non-empty image as (bands, rows, columns).")
    if not np.isfinite(image).all():
        raise DataError(f"{path} holds NaN or infinite values: replace them or crop them away.")
    return np.array(image, order="C")
