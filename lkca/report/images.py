"""Pictures of the page: figures, and of a test image pictures, error maps and spectra, small enough to travel in it."""

import io
from base64 import b64encode
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from PIL import Image

MIN_RANGE = 1e-6  # of a stretch: a constant band stays finite
COLOURS = colormaps["magma"](np.linspace(0, 1, 17))[:, :3].round(3).tolist()  # of errors, as in the figures


def view(images: Mapping[str, Path], untrained: Collection[str]) -> dict[str, Any]:
    """One test image, its ground truth and what every method makes of it, for the page's script.

    Args:
        images: Method -> its image.npz, all of one test image.
        untrained: The methods whose errors do not set the colours of the error maps.

    Returns:
        {"shape": [rows, columns], "rows", "columns": the pixels that have spectra, from 0, "limit": the error that is
        white, "truth" and "methods" by name: {"picture", "error" (grey): WebP as a data URL,
        "spectra": {"low", "high", "values": (rows, columns, bands) as 16-bit integers from low to high, little-endian,
        base64}}}. Pictures have one stretch, from 2 to 98 % of the truth's values in each of the three bands.
    """
    arrays = {name: np.load(path) for name, path in images.items()}
    first = next(iter(arrays.values()))
    hr, errors = first["hr"], {name: array["error"] for name, array in arrays.items()}
    limits, limit = stretch_limits(hr), error_limit(errors, untrained)

    def shown(picture: np.ndarray, error: np.ndarray, spectra: np.ndarray) -> dict[str, Any]:
        grey = np.repeat(error[..., None] / max(limit, 1e-12), 3, -1)  # since WebP halves the resolution of colours
        return {"picture": _webp(stretch(picture, limits), 90), "error": _webp(grey, 80), "spectra": _packed(spectra)}

    def method(name: str) -> dict[str, Any]:
        return shown(arrays[name]["sr"], errors[name], arrays[name]["spectra_sr"])

    with ThreadPoolExecutor() as pool:  # WebP's encoder lets other threads run
        methods = dict(zip(arrays, pool.map(method, arrays), strict=True))
    return {
        "shape": hr.shape[:2],
        "rows": first["rows"].tolist(),
        "columns": first["columns"].tolist(),
        "limit": limit,
        "truth": shown(hr, np.zeros_like(hr[..., 0]), first["spectra_hr"]),
        "methods": methods,
    }


def figure(path: Path) -> str:
    """A figure's PNG as a data URL, a third smaller and the same pixel for pixel."""
    with Image.open(path) as image:
        return _url(image.convert("RGB"), lossless=True, quality=0, method=2)


def stretch_limits(hr: np.ndarray) -> np.ndarray:
    """Return the values that are shown as black and as white: 2 and 98 % of the ground truth's, by band: (2, 3).

    Args:
        hr: The ground truth (rows, columns, 3); all methods are shown with its limits.
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
        untrained: Methods that are as good as untrained; they count only if there are no others.
    """
    names = [name for name in errors if name not in untrained] or list(errors)
    return max(float(np.quantile(errors[name], 0.995)) for name in names)


def _webp(image: np.ndarray, quality: int) -> str:
    """(rows, columns, 3), shown from 0 to 1, as a data URL."""
    levels = np.round(np.clip(image, 0, 1) * 255).astype(np.uint8)
    return _url(Image.fromarray(levels), quality=quality, method=2)  # slower methods save nothing here


def _url(image: Image.Image, **how: Any) -> str:
    file = io.BytesIO()
    image.save(file, "webp", **how)
    return f"data:image/webp;base64,{b64encode(file.getvalue()).decode()}"


def _packed(spectra: np.ndarray) -> dict[str, Any]:
    """(bands, rows, columns) as 16-bit integers."""
    low, high = float(spectra.min()), float(spectra.max())
    steps = np.round((spectra.transpose(1, 2, 0) - low) / max(high - low, 1e-12) * 65535).astype("<u2")
    return {"low": low, "high": high, "values": b64encode(steps.tobytes()).decode()}
