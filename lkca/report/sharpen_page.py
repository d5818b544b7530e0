"""The page beside a sharpened cube: what came out, pictures before and after, scores, and how far to trust it."""

import hashlib
import math
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from markupsafe import Markup
from matplotlib import colormaps
from PIL import Image

from lkca.core.files import atomic_write
from lkca.core.printing import printable
from lkca.data.composite import choose_bands
from lkca.data.readers import CubeReader, open_cube
from lkca.data.resize import resize
from lkca.inference.cube_file import CubeFile
from lkca.inference.tiles import BICUBIC_REACH
from lkca.inference.trust import FLAGS, INVALID, MEASURES, QUANTILE, TrustSummary, describe_result_file
from lkca.report.band_axis import BandAxis
from lkca.report.images import ERROR_COLOURS, encode_data_url, find_worst_window, quantize, stretch, stretch_limits
from lkca.report.render import TEMPLATES, render
from lkca.scoring.metrics import SCORES

OVERVIEW_SIDE = 1200  # pixels of the pictures of the whole image, at most
MAP_SIDE = 480  # pixels of the pictures of the map, at most
DETAIL_SIDE, MIN_DETAIL_SIDE = 240, 64  # pixels of the result; a third of a small image
# Largest pictures, bytes: all of them, a third larger in base64, stay below 3 MB. At the lowest quality, noise fits.
OVERVIEW_BYTES, DETAIL_BYTES, MAP_BYTES = 550_000, 120_000, 90_000
WEBP_QUALITIES = (90, 75, 60, 40, 20, 5)
STRIP_VALUES = 2**24  # that are read at once
GREY = 0.85  # of invalid pixels
FLAG_COLOURS = {1: "#c8ccd1", 2: "#8b949e", 4: "#d1495b", 8: "#e8a33d", 16: "#6a4c93", 32: "#2a7f9e"}
FINE_COLOUR, SEVERAL_COLOUR = "#eef3e6", "#1f2328"
OFTEN = 5  # times as many pixels above the yardstick as on the held-out blocks are worth a sentence
CHART = (560, 230)  # width and height of a chart, and the margins of its axes: left, right, top, bottom
MARGINS = (58, 16, 12, 38)


@dataclass(frozen=True)
class ScoreRow:
    """A score on the held-out blocks.

    Args:
        name: Key of SCORES.
        bicubic, network: The scores, means over the blocks.
        difference: The score of the network minus that of bicubic.
        low, high: The interval of the difference; None if there are too few blocks.
        outcome: Whether the network is better by this score.
    """

    name: str
    bicubic: float
    network: float
    difference: float
    low: float | None
    high: float | None
    outcome: Literal["better", "worse", "not resolved"]


@dataclass(frozen=True)
class SharpenFacts:
    """What the page shows.

    Args:
        method: Name of the network, as readers know it.
        written: Whose result OUTPUT holds: that of the network, that of bicubic, or nobody's.
        output: OUTPUT, complete; None if nothing was written.
        trust_map, trust: The map beside it, and its summary; both None if there is no map.
        lr: The cube that was enlarged: .npy, float32 (bands, rows, columns), divided, NaN where invalid.
        divisor: The number by which its values were divided.
        scale: Factor r.
        blur: How training images were degraded: `bicubic` or `mtf:x`.
        bands: Numbers of the bands in the input file, from 1.
        nanometres: Their wavelengths; None if these are not known.
        units: Unit of the values; None if it is not known.
        scores: The scores on the held-out blocks, MPSNR among them.
        interval: What the intervals are, as in `95 % interval over 8 held-out blocks`.
        input: The input file, and its SHA-256.
        command: The command line.
        split: Numbers of training patches, validation patches and test images, and the size of patches, as a sentence.
        training: Facts on the training: name -> text, such as epochs, steps, seconds and seed.
        software: Machine, versions and commit: name -> text.
        files: The files that were written.
        notes: Sentences on what the reader has to know, such as the number of values that were clipped.
    """

    method: str
    written: Literal["network", "bicubic", "nothing"]
    output: Path | None
    trust_map: Path | None
    trust: TrustSummary | None
    lr: Path
    divisor: float
    scale: int
    blur: str
    bands: Sequence[int]
    nanometres: Sequence[float] | None
    units: str | None
    scores: Sequence[ScoreRow]
    interval: str
    input: tuple[Path, str]
    command: str
    split: str
    training: Mapping[str, str]
    software: Mapping[str, str]
    files: Sequence[Path]
    notes: Sequence[str] = ()


class Pictures(NamedTuple):
    """The pictures before and after, as data URLs.

    Args:
        size: Columns and rows of the pictures of the whole image.
        factor: Pixels of the result on a side of a pixel of these pictures.
        before, after: The whole image: the input's pixels, and the result.
        detail: Row, column and side of the detail, in pixels of the result.
        details: The input's pixels, bicubic and the result: name -> the detail at full resolution.
        bands: The bands shown as red, green and blue, as text.
    """

    size: tuple[int, int]
    factor: int
    before: str
    after: str
    detail: tuple[int, int, int]
    details: dict[str, str]
    bands: list[str]


class Layer(NamedTuple):
    """A picture of a layer of the map."""

    title: str
    unit: str
    url: str
    limit: float  # the value at the end of the colour scale
    threshold: float
    says: str


class SpectrumChart(NamedTuple):
    """The spectra of a pixel of the input and of the pixels of the result in it, as paths of SVG."""

    row: int  # of the input, from 1
    column: int
    input: str
    mean: str
    range: str
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    angle: float | None  # between the input and the mean of the result, degrees


def write_sharpen_page(path: Path, facts: SharpenFacts) -> None:
    """Write the page, which needs no other file, font or script.

    Args:
        path: The HTML to write.
        facts: What it shows. OUTPUT, the map and the LR cube are read by windows.

    Raises:
        DataError: If a file cannot be read, or the page cannot be written.
        ResourceError: If the disk is full or fails.
    """
    axis = BandAxis(facts.bands, facts.nanometres, None, None)
    pictures, charts = None, []
    if facts.output:
        with CubeFile(facts.lr) as cube, open_cube(describe_result_file(facts.output)) as result:
            pictures = _draw_pictures(facts, axis, cube, result)
            charts = [_draw_spectrum(facts, axis, cube, result, *pixel) for pixel in _choose_pixels(cube)]
    script = (TEMPLATES / "sharpen.js").read_text(encoding="utf-8")
    page = render(
        "sharpen.html.j2",
        facts=facts,
        finding=state_finding(facts),
        title=f"{printable(facts.input[0].name)}, sharpened {facts.scale} times",
        scores=[_format_score(row) for row in facts.scores],
        pictures=pictures,
        charts=charts,
        chart_size=CHART,
        margins=MARGINS,
        axis_label=axis.label,
        units=facts.units or "unit of the values",
        layers=_draw_layers(facts),
        flags=_draw_flags(facts),
        trust=_describe_trust(facts),
        files=[printable(file) for file in facts.files],
        percent=_percent,
        error_colours=ERROR_COLOURS,
        script=Markup(script),
        script_sha256=b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )
    with atomic_write(path) as part:
        part.write_text(page, encoding="utf-8")


# Words


def state_finding(facts: SharpenFacts) -> tuple[str, str]:
    """Return what came out, and what was written, as the two halves of a sentence."""
    psnr = next(row for row in facts.scores if row.name == "MPSNR")
    interval = (
        "" if psnr.low is None or psnr.high is None else f" ({_signed(psnr.low, '')} to {_signed(psnr.high, '')})"
    )
    if psnr.outcome == "not resolved":
        amount = f"{_signed(psnr.difference)} dB{interval or ', no interval'}"
        found = f"On the held-out blocks {facts.method} is not shown to be better than bicubic: {amount}"
    else:
        found = f"On the held-out blocks {facts.method} is {abs(psnr.difference):.2f} dB {psnr.outcome} than bicubic"
        found += f" (difference {_signed(psnr.difference)} dB{interval})" if psnr.outcome == "worse" else interval
    name = printable(facts.output.name) if facts.output else ""
    written = {
        "network": f"its result was written to {name}.",
        "bicubic": f"bicubic's result was written to {name}, as asked.",
        "nothing": "nothing was written.",
    }[facts.written]
    return found, written


def _signed(value: float, sign: str = "+", decimals: int = 2) -> str:
    """Return a number with a minus that is as wide as a plus.

    Example:
        >>> _signed(-0.1234), _signed(0.5), _signed(0.5, "")
        ('−0.12', '+0.50', '0.50')
    """
    return f"{value:{sign}.{decimals}f}".replace("-", "\N{MINUS SIGN}")


def _format_score(row: ScoreRow) -> dict[str, Any]:
    """Return a row of the table of scores as text."""
    score = SCORES[row.name]
    bicubic, network = (_signed(value, "", score.decimals) for value in (row.bicubic, row.network))
    interval = ""
    if row.low is not None and row.high is not None:
        interval = " to ".join(_signed(value, "+", score.decimals) for value in (row.low, row.high))
    return {
        "heading": score.heading,
        "unit": score.unit,
        "direction": score.direction,
        "bicubic": bicubic,
        "network": network,
        "difference": _signed(row.difference, "+", score.decimals),
        "interval": interval,
        "outcome": row.outcome,
    }


def _describe_trust(facts: SharpenFacts) -> dict[str, Any] | None:
    """Return the figures of the map in words."""
    trust = facts.trust
    if not trust:
        return None
    often = [
        f"{measure.title} ({_percent(measure.above)})"
        for measure in trust.measures.values()
        if measure.above > OFTEN * (1 - QUANTILE)
    ]
    consistency = None
    if trust.consistency_bands:
        bands = np.array(trust.consistency_bands)
        worst = int(bands.argmax())
        consistency = {
            "median": f"{np.median(bands):.3g}",
            "held_out": f"{np.median(trust.held_out_consistency_bands):.3g}",
            "largest": f"{bands[worst]:.3g}",
            "band": BandAxis(facts.bands, facts.nanometres, None, None).name(worst),
        }
    return {
        "unflagged": _percent(trust.unflagged),
        "often": often,
        "consistency": consistency,
    }


def _percent(share: float) -> str:
    """Return a share in percent; only exactly 0 and 1 are 0 % and 100 %.

    Example:
        >>> _percent(0.1234), _percent(0.0123), _percent(0), _percent(0.99999)
        ('12 %', '1.2 %', '0 %', '> 99.99 %')
    """
    if 0 < share < 1e-4:
        return "< 0.01 %"
    if 1 - 1e-4 < share < 1:
        return "> 99.99 %"
    smaller = min(share, 1 - share)
    return f"{100 * share:.{2 if smaller < 0.01 else 1 if smaller < 0.1 else 0}f}".removesuffix(".00") + " %"


# Pictures


def _reduce_rows(
    read: Callable[[int, int], np.ndarray], rows: int, columns: int, factor: int, combine: Callable[..., np.ndarray]
) -> np.ndarray:
    """Return an image reduced by a factor, read in strips.

    Args:
        read: Function that returns the rows from the first to the last + 1, (bands, rows, columns).
        rows, columns: Size of the image.
        factor: Pixels on a side of a block that becomes one pixel; blocks at the lower and right border are smaller.
        combine: Function of a block of rows (bands, rows, columns) that returns (bands, reduced columns).
    """
    step = max(1, STRIP_VALUES // (8 * columns * factor)) * factor
    parts = []
    for first in range(0, rows, step):
        strip = read(first, min(first + step, rows))
        parts += [combine(strip[:, row : row + factor], factor) for row in range(0, strip.shape[1], factor)]
    return np.stack(parts, 1)


def _mean_blocks(strip: np.ndarray, factor: int) -> np.ndarray:
    """Return the mean of the values that are not NaN; NaN if there are none."""
    starts = np.arange(0, strip.shape[2], factor)
    known = np.isfinite(strip)
    totals = np.add.reduceat(np.where(known, strip, 0).sum(1, dtype=np.float64), starts, 1)
    with np.errstate(invalid="ignore"):
        return totals / np.add.reduceat(known.sum(1), starts, 1)


def _join_flags(strip: np.ndarray, factor: int) -> np.ndarray:
    """Return the union of the flags of each block."""
    joined = np.bitwise_or.reduce(strip.astype(np.uint8), 1)
    return np.bitwise_or.reduceat(joined, np.arange(0, strip.shape[2], factor), 1)


def _draw_pictures(facts: SharpenFacts, axis: BandAxis, cube: CubeFile, result: CubeReader) -> Pictures:
    bands = [band - 1 for band in choose_bands("input", None, facts.nanometres, len(facts.bands))]
    rows, columns, _ = result.shape
    scale = facts.scale
    factor = math.ceil(max(rows, columns) / OVERVIEW_SIDE)

    def read_after(first: int, last: int, left: int = 0, right: int = columns) -> np.ndarray:
        strips = [result.read(band, band + 1, slice(first, last), slice(left, right)) for band in bands]
        return np.concatenate(strips) / np.float32(facts.divisor)

    def read_before(first: int, last: int) -> np.ndarray:
        top = first // scale
        strip = cube.read((top, -(-last // scale)))[bands]
        return _repeat(strip, scale)[:, first - top * scale : last - top * scale]

    before, after = (
        np.moveaxis(_reduce_rows(read, rows, columns, factor, _mean_blocks), 0, -1)
        for read in (read_before, read_after)
    )
    valid = np.isfinite(before).all(-1)
    limits = stretch_limits(before[valid][:, None]) if valid.any() else np.array([[0.0] * 3, [1.0] * 3])
    difference = np.nan_to_num(abs(after - before).mean(-1))
    shortest = min(rows, columns)
    side = max(1, min(DETAIL_SIDE, max(shortest // 3, MIN_DETAIL_SIDE), shortest) // scale) * scale
    top, left = (factor * i for i in find_worst_window(difference, max(1, min(side // factor, *difference.shape))))
    top, left = (min(i, length - side) // scale * scale for i, length in ((top, rows), (left, columns)))
    details = {
        "Input": read_before(top, top + side)[:, :, left : left + side],
        "Bicubic": _enlarge_part(cube, bands, top // scale, left // scale, side // scale, scale),
        "Result": read_after(top, top + side, left, left + side),
    }

    def encode(image: np.ndarray, max_bytes: int) -> str:
        return _encode(np.where(np.isfinite(image), stretch(image, limits), GREY), max_bytes)

    return Pictures(
        size=(before.shape[1], before.shape[0]),
        factor=factor,
        before=encode(before, OVERVIEW_BYTES),
        after=encode(after, OVERVIEW_BYTES),
        detail=(top, left, side),
        details={name: encode(np.moveaxis(detail, 0, -1), DETAIL_BYTES) for name, detail in details.items()},
        bands=[axis.name(band) for band in bands],
    )


def _enlarge_part(cube: CubeFile, bands: list[int], row: int, column: int, side: int, scale: int) -> np.ndarray:
    """Return a square part of the LR cube, enlarged by bicubic interpolation, as it is in the whole image.

    Args:
        cube: The LR cube.
        bands: Indices of the bands.
        row, column, side: Top left pixel and side of the part, LR pixels.
        scale: Factor r.
    """
    _, rows, columns = cube.shape
    top, left = max(0, row - BICUBIC_REACH), max(0, column - BICUBIC_REACH)
    bottom, right = min(rows, row + side + BICUBIC_REACH), min(columns, column + side + BICUBIC_REACH)
    part = resize(cube.read((top, bottom), (left, right))[bands], scale)
    row, column = (row - top) * scale, (column - left) * scale
    return part[:, row : row + side * scale, column : column + side * scale]


def _repeat(image: np.ndarray, scale: int) -> np.ndarray:
    return image.repeat(scale, -2).repeat(scale, -1)


def _draw_layers(facts: SharpenFacts) -> list[Layer]:
    """Return pictures of the measures of the map, and of none if there is no map."""
    if not (facts.trust_map and facts.trust):
        return []
    layers = []
    colours = colormaps["magma"]
    with open_cube(describe_result_file(facts.trust_map)) as reader:
        for band, (name, measure) in enumerate(facts.trust.measures.items()):
            image = _read_layer(reader, band, _mean_blocks)
            largest = np.nanquantile(image, 0.995) if np.isfinite(image).any() else 0
            limit = max(float(largest), measure.threshold, 1e-12)
            pixels = colours(np.nan_to_num(np.clip(image / limit, 0, 1)))[..., :3]
            pixels[np.isnan(image)] = GREY
            layers.append(
                Layer(
                    MEASURES[name].title,
                    measure.unit,
                    _encode(pixels, MAP_BYTES),
                    limit,
                    measure.threshold,
                    measure.says,
                )
            )
    return layers


def _draw_flags(facts: SharpenFacts) -> dict[str, Any] | None:
    """Return a picture of the flags as a data URL, and its legend: (colour, text, share)."""
    if not (facts.trust_map and facts.trust):
        return None
    with open_cube(describe_result_file(facts.trust_map)) as reader:
        flags = _read_layer(reader, reader.shape[2] - 1, _join_flags).astype(np.uint8)
    flags[(flags & INVALID > 0) & (flags != INVALID)] &= ~np.uint8(INVALID)  # a block with some valid pixels
    colours = {0: FINE_COLOUR, **FLAG_COLOURS}
    table = np.array([_parse_colour(colours.get(i, SEVERAL_COLOUR)) for i in range(2 * max(FLAGS))])
    legend = [
        (FLAG_COLOURS[flag], text, _percent(facts.trust.flags[flag]))
        for flag, text in FLAGS.items()
        if flag in facts.trust.flags
    ]
    fine = (FINE_COLOUR, "no flag", _percent(facts.trust.unflagged))
    picture = _encode(table[flags] / 255, MAP_BYTES)
    return {"url": picture, "legend": [fine, *legend, (SEVERAL_COLOUR, "several flags", "")]}


def _read_layer(reader: CubeReader, band: int, combine: Callable[..., np.ndarray]) -> np.ndarray:
    """Return a layer of the map, reduced (rows, columns)."""
    rows, columns, _ = reader.shape
    factor = math.ceil(max(rows, columns) / MAP_SIDE)

    def read(first: int, last: int) -> np.ndarray:
        return reader.read(band, band + 1, slice(first, last), slice(0, columns))

    return _reduce_rows(read, rows, columns, factor, combine)[0]


def _parse_colour(colour: str) -> list[int]:
    return [int(colour[i : i + 2], 16) for i in (1, 3, 5)]


def _encode(image: np.ndarray, max_bytes: int) -> str:
    """Return an image (rows, columns, 3), values in [0, 1], as a data URL of WebP, lossless if that is small."""
    picture, url = Image.fromarray(quantize(image)), ""
    options: list[dict[str, Any]] = [{"lossless": True, "quality": 0}, *({"quality": q} for q in WEBP_QUALITIES)]
    for option in options:
        url = encode_data_url(picture, method=2, **option)
        if len(url) <= 4 / 3 * max_bytes:  # base64 has four characters for three bytes
            break
    return url


# Spectra


def _choose_pixels(cube: CubeFile) -> Iterator[tuple[int, int]]:
    """Yield row and column of the LR pixels whose spectra are shown: in the middle of each quarter of the image.

    If such a pixel is invalid, a valid one near it is shown.
    """
    _, rows, columns = cube.shape
    places = [(rows * i // 4, columns * j // 4) for i in (1, 3) for j in (1, 3)]
    for row, column in dict.fromkeys(places):
        for nearby in sorted(range(rows), key=lambda other: abs(other - row)):
            valid = np.flatnonzero(np.isfinite(cube.read((nearby, nearby + 1))[:, 0]).all(0))
            if valid.size:
                yield nearby, int(valid[abs(valid - column).argmin()])
                break


def _draw_spectrum(
    facts: SharpenFacts, axis: BandAxis, cube: CubeFile, result: CubeReader, row: int, column: int
) -> SpectrumChart:
    scale, bands = facts.scale, len(facts.bands)
    source = cube.read((row, row + 1), (column, column + 1))[:, 0, 0].astype(np.float64) * facts.divisor
    window = (slice(i * scale, (i + 1) * scale) for i in (row, column))
    pixels = result.read(0, bands, *window).reshape(bands, -1).astype(np.float64)
    low, high, mean = pixels.min(1), pixels.max(1), pixels.mean(1)
    width, height = CHART
    left, right, top, bottom = MARGINS
    x0, x1 = axis.limits()
    y0, y1 = float(np.nanmin([source, low])), float(np.nanmax([source, high]))
    margin = 0.05 * (y1 - y0) or 1.0
    y0, y1 = y0 - margin, y1 + margin
    x = left + (axis.positions - x0) / ((x1 - x0) or 1) * (width - left - right)

    def place(values: Any) -> np.ndarray:
        return height - bottom - (np.asarray(values) - y0) / (y1 - y0) * (height - top - bottom)

    def draw_line(values: np.ndarray, bands: Sequence[int], start: str = "M") -> str:
        points = [f"{x[band]:.1f} {y:.1f}" for band, y in zip(bands, place(values)[bands], strict=True)]
        return start + "L".join(points) + ("h.1" if len(points) == 1 else "")  # a line without length is not drawn

    segments = axis.segments()
    lengths = float(np.linalg.norm(source) * np.linalg.norm(mean))
    cosine = float(source @ mean) / lengths if lengths else math.nan
    return SpectrumChart(
        row=row + 1,
        column=column + 1,
        input="".join(draw_line(source, part) for part in segments),
        mean="".join(draw_line(mean, part) for part in segments),
        range="".join(draw_line(high, part) + draw_line(low, part[::-1], "L") + "Z" for part in segments),
        x_ticks=[(float(np.interp(t, (x0, x1), (left, width - right))), f"{t:g}") for t in _find_ticks(x0, x1, 6)],
        y_ticks=[(float(place(t)), f"{t:g}") for t in _find_ticks(y0, y1, 4)],
        angle=math.degrees(math.acos(min(1.0, max(-1.0, cosine)))) if math.isfinite(cosine) else None,
    )


def _find_ticks(low: float, high: float, number: int) -> list[float]:
    """Return about `number` round numbers between two limits.

    Example:
        >>> _find_ticks(0.3, 4.2, 4)
        [1.0, 2.0, 3.0, 4.0]
    """
    rough = (high - low or 1) / number
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [float(f"{i * step:.12g}") for i in range(first, last + 1)]
