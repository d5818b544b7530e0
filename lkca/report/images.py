"""Images of the figures and of the page: their stretch and colours, and their encoding for the page."""

import io
from base64 import b64encode
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from PIL import Image

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


def error_limit(errors: Mapping[str, np.ndarray], untrained: Collection[str]) -> float:
    """Return the error at the end of the colour scale: the largest of the methods' 99.5 % quantiles.

    Args:
        errors: Method -> its error map (rows, columns).
        untrained: Methods whose training did not see all patches once; they count only if there are no others.
    """
    names = [name for name in errors if name not in untrained] or list(errors)
    return max(float(np.quantile(errors[name], 0.995)) for name in names)


def encode_test_image(images: Mapping[str, Path], untrained: Collection[str]) -> dict[str, Any]:
    """Return the ground truth and every method's reconstruction of one test image, for the script of the page.

    Args:
        images: Method -> its image.npz, all of one test image.
        untrained: Methods whose training did not see all patches once, as in `error_limit`.

    Returns:
        {"shape": [rows, columns], "rows", "columns": the pixels that have spectra, from 0, "rgb": the bands shown as
        red, green and blue, from 1, "limit": the error at the end of the colour scale, "truth" and "methods" by name:
        {"picture", "error" (grey): WebP as a data URL, "spectra": {"low", "high", "values": (rows, columns, bands) as
        16-bit integers from low to high, little-endian, base64}}}.
    """
    arrays = {name: np.load(path) for name, path in images.items()}
    first = next(iter(arrays.values()))
    hr, errors = first["hr"], {name: image["error"] for name, image in arrays.items()}
    limits, max_error = stretch_limits(hr), error_limit(errors, untrained)

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


def encode_png(path: Path) -> str:
    """Return the pixels of a PNG file as a data URL of lossless WebP, which is a third smaller."""
    with Image.open(path) as image:
        return _encode_data_url(image.convert("RGB"), lossless=True, quality=0, method=2)


def _encode_webp(image: np.ndarray, quality: int) -> str:
    """Return an image (rows, columns, 3) with values in [0, 1] as a data URL."""
    levels = np.round(np.clip(image, 0, 1) * 255).astype(np.uint8)
    return _encode_data_url(Image.fromarray(levels), quality=quality, method=2)  # slower methods save nothing here


def _encode_data_url(image: Image.Image, **options: Any) -> str:
    file = io.BytesIO()
    image.save(file, "webp", **options)
    return f"data:image/webp;base64,{b64encode(file.getvalue()).decode()}"


def _pack_spectra(spectra: np.ndarray) -> dict[str, Any]:
    """Return spectra (bands, rows, columns) as 16-bit integers from `low` to `high`, base64."""
    low, high = float(spectra.min()), float(spectra.max())
    levels = np.round((spectra.transpose(1, 2, 0) - low) / max(high - low, 1e-12) * 65535).astype("<u2")
    return {"low": low, "high": high, "values": b64encode(levels.tobytes()).decode()}
