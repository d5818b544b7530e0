"""Two commands for arrays of one's own, kept as .npy files: score an image, resize an image."""

import json
import math
from pathlib import Path
from tokenize import TokenError

import numpy as np

from lkca.core.files import atomic_write
from lkca.data.resize import resize as resize_array
from lkca.data.resize import resized_length
from lkca.errors import LkcaError
from lkca.scoring.metrics import scores

FACTOR = 16  # the most that `resize` enlarges or shrinks by
SIDE = 16384  # pixels, before and after: n become m by an m x n matrix of float64
BYTES = 2**33  # the largest array that `resize` writes


def score(reference: Path, estimate: Path, scale: int) -> None:
    """Print the six scores of an image as one JSON object: MPSNR, MSSIM, SAM, CC, RMSE, ERGAS.

    Args:
        reference: .npy file of the ground truth: floats (bands, rows, columns), scaled so that the peak is 1.0.
        estimate: .npy file of the reconstruction, of the same shape.
        scale: Upsampling factor, a whole number from 1; only ERGAS depends on it.

    Raises:
        LkcaError: If a file is not such an array, or a score is undefined for the two (see `lkca.scoring.metrics`).
    """
    hr, sr = _read(reference), _read(estimate)
    try:
        result = scores(sr, hr, scale)["scores"]
    except ValueError as error:
        raise LkcaError(f"{estimate} cannot be scored against {reference}: {error}.") from error
    print(json.dumps(result, indent=1))


def resize(input: Path, factor: float, output: Path) -> None:
    """Resize an image as MATLAB's imresize(image, factor, 'bicubic') does.

    Args:
        input: .npy file: floats (bands, rows, columns).
        factor: From 1/16 to 16; above 1 enlarges, below 1 shrinks.
        output: .npy file to write, with the input's type; it may be the input, which is replaced when all went well.

    Raises:
        LkcaError: If the input is not such an array, the factor is out of range, a side is or would be longer than
            16384 pixels, the result would be larger than 8 GiB, or the output cannot be written.
    """
    if not 1 / FACTOR <= factor <= FACTOR:
        raise LkcaError(f"{input} cannot be resized by {factor}: choose a factor from 1/{FACTOR} to {FACTOR}.")
    if output.suffix != ".npy":
        raise LkcaError(f"{output} does not end in .npy: name a .npy file to write.")
    image = _read(input)
    bands, *sides = image.shape
    shape = (bands, *(resized_length(n, factor) for n in sides))
    if max(*sides, *shape[1:]) > SIDE or math.prod(shape) * image.itemsize > BYTES:
        raise LkcaError(
            f"{input} is too large to be resized from {image.shape} to {shape}: "
            f"crop it to sides of at most {SIDE} pixels and a result of at most {BYTES // 2**30} GiB."
        )
    result = resize_array(image, factor)
    if not np.isfinite(result).all():
        raise LkcaError(f"{input} holds values too large for the overshoot of bicubic: divide it by its largest value.")
    with atomic_write(output) as part:
        np.save(part, result)


def _read(path: Path) -> np.ndarray:
    """Read an image: finite floats (bands, rows, columns)."""
    try:
        image = np.lib.format.open_memmap(path, mode="r")  # the header is checked before any memory is taken
    except FileNotFoundError:
        raise LkcaError(f"{path} does not exist: name a .npy file.") from None
    except OSError as error:
        raise LkcaError(f"{path} cannot be read ({error.strerror or error}): name a .npy file.") from error
    except (ValueError, OverflowError, TokenError) as error:  # what numpy lets through from a broken header
        raise LkcaError(f"{path} is no whole .npy file of numbers ({error}): write it with numpy.save.") from error
    if image.dtype.kind != "f" or image.dtype.itemsize > 8:
        raise LkcaError(
            f"{path} holds {image.dtype}, not float16, float32 or float64: "
            "save it as float32, divided by the scene's largest value."
        )
    if image.ndim != 3 or not image.size:
        raise LkcaError(f"{path} has the shape {image.shape}: save a non-empty image as (bands, rows, columns).")
    if not np.isfinite(image).all():
        raise LkcaError(f"{path} holds NaN or infinite values: replace them or crop them away.")
    return np.array(image, order="C")
