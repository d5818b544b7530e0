"""Describe in words what a file says of itself and what was measured in it, for `lkca verify`."""

from collections.abc import Sequence
from statistics import median

import numpy as np

from lkca.data.catalog import format_ranges
from lkca.data.measurement import Measurement
from lkca.data.readers.description import FORMAT_FACTS, CubeDescription

# Part of the variance. In images of the ground, less than 0.2 is between rows or between columns; if an axis holds the
# bands instead, more than 0.5 is.
SPECTRAL_SHARE = 0.5


def describe_file(description: CubeDescription, bands: Sequence[int]) -> dict[str, str]:
    """Return what a file says of itself, label -> text, for `lkca verify`.

    Args:
        description: The description of the open file.
        bands: Numbers of the bands that are used, from 1.
    """
    sources, possible = description.sources, FORMAT_FACTS[description.format]

    def tell(fact: str, text: str | None) -> str:
        """Return the text of a fact with its source, or why there is none."""
        if fact in description.unusable:
            return f"unusable: {description.unusable[fact]}"
        if not text:
            return "not declared" if fact in possible else f"not declared: {description.format} files cannot"
        return text + (f" ({sources[fact]})" if fact in sources else "")

    first, last = bands[0] - 1, bands[-1] - 1
    gains, offsets = description.gains, description.offsets
    low, high = description.valid_range or (-np.inf, np.inf)
    invalid = [f"{value}" for value in description.invalid]
    invalid += [f"below {low:g}"] * bool(low > -np.inf) + [f"above {high:g}"] * bool(high < np.inf)
    invalid += ["its mask"] * description.has_mask
    bad = [number for number in bands if number in description.bad_bands]
    layers = ", ".join(description.layers[:9])
    properties = {
        "format": description.format,
        "shape": "{} rows, {} columns, {} bands".format(*description.shape),
        "axes": " ".join(description.axes),
        "type": description.dtype.name,
        "calibration": tell(
            "gains",
            f"value = {gains[first]:g} x stored + {offsets[first]:g} in band {first + 1}, "
            f"{gains[last]:g} x stored + {offsets[last]:g} in band {last + 1}"
            if gains
            else None,
        ),
        "units": tell("units", description.units),
        "invalid": tell("invalid", ", ".join(invalid)),
        "wavelengths": tell("nanometres", _describe_range(description.nanometres, bands)),
        "FWHM": tell("fwhm", _describe_range(description.fwhm, bands)),
        "bad bands": tell(
            "bad_bands",
            f"{format_ranges(description.bad_bands)}, of which {format_ranges(bad) if bad else 'none'} used"
            if description.bad_bands
            else None,
        ),
        "position": tell("crs", _describe_position(description)),
        "history": tell("history", description.history and " ".join(description.history.split())[:200]),
    }
    if layers:
        properties["not applied"] = f"{layers}; set mask in the entry to one of them if it is not 0 at invalid pixels"
    return properties


def _describe_range(values: Sequence[float | None] | None, bands: Sequence[int]) -> str | None:
    """Return the values of the first and the last band that have one."""
    known = [value for band in bands if values and (value := values[band - 1]) is not None]
    return f"{known[0]:g} to {known[-1]:g} nm" if known else None


def _describe_position(description: CubeDescription) -> str | None:
    """Return the coordinate system and the size of a pixel."""
    if not description.geotransform:
        return None
    x, width, _, y, _, height = description.geotransform
    name = (description.crs or "unknown coordinate system").split('"')[1:2] or ["unknown coordinate system"]
    return f"{name[0]}, top left corner at {x:g}, {y:g}, pixels of {abs(width):g} x {abs(height):g}"


def describe_values(measured: Measurement) -> dict[str, str]:
    """Return what was measured in a file, label -> text."""
    statistics = [band for band in measured.statistics if band.invalid < measured.invalid.size]
    pixels = measured.invalid.size
    invalid = int(np.count_nonzero(measured.invalid))
    texts = {}
    if statistics:
        minimum, maximum = min(band.minimum for band in statistics), max(band.maximum for band in statistics)
        texts["values"] = f"{minimum:g} to {maximum:g} in the valid part"
        texts["neighbours"] = f"correlation {median(band.correlation for band in statistics):.2f}"
    texts["valid part"] = f"{pixels - invalid} of {pixels} pixels"
    if invalid and measured.first_invalid:
        texts["valid part"] += "; the first invalid value is in band {}, row {}, column {}".format(
            *measured.first_invalid
        )
    return texts | find_remarks(measured)


def find_remarks(measured: Measurement) -> dict[str, str]:
    """Return what may be wrong with a file although it is no error, label -> text."""
    return _describe_constant(measured) | _describe_axes(measured)


def _describe_constant(measured: Measurement) -> dict[str, str]:
    """Return which value most of the pixels hold that have one value in all bands: it may mark invalid pixels."""
    if len(measured.bands) < 2 or not measured.constant.size:
        return {}
    values, counts = np.unique(measured.constant, return_counts=True)
    value, count = values[counts.argmax()], counts.max()
    pixels = f"{count} pixel{'s are' if count > 1 else ' is'}"
    todo = f"set invalid: [{value:g}] in the entry if this marks invalid pixels"
    return {"constant": f"{pixels} {value:g} in all bands; {todo}"}


def _describe_axes(measured: Measurement) -> dict[str, str]:
    """Return that an axis of the image looks like the bands; nothing if none does."""
    *lines, bands = measured.share_of_variance()
    share, name = max(zip(lines, ("rows", "columns"), strict=True))
    if share < SPECTRAL_SHARE:
        return {}
    return {
        "axes wrong?": f"{share:.0%} of the variance is between {name}, as if they were bands, and {bands:.0%} between "
        "bands; if pictures of the scene look wrong, correct axes in the entry, or interleave in the header"
    }
