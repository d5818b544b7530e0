"""The layout of a figure: title, body and footer, key, axes and their limits. All lengths are in inches.

The code computes all positions itself instead of using matplotlib's constrained layout: names, footers and any number
of panels must keep their size in print, so the height of the page follows from them.
"""

from functools import partial
from math import ceil
from textwrap import shorten, wrap
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Annotation
from matplotlib.ticker import NullFormatter

from lkca.report.band_axis import BandAxis
from lkca.report.figures.data import FigureData
from lkca.report.figures.style import BADGE, MUTED, PAGE_WIDTH, method_style

MAX_NAME_LENGTH = 28  # characters of a line
MAX_DESCRIPTION = 1000  # characters
wrap_words = partial(wrap, break_on_hyphens=False)  # names such as LKCA-Net stay whole


class Page:
    """A page with a title, an empty body, and a footer: rows without runs, notes, untrained rows, seeds.

    Args:
        data: The figure's data.
        height: Height of the body.
        description: What the picture shows, with its numbers, for those who cannot see it.
        notes: Sentences of the footer; empty ones are left out.
        seeds: Whether the footer names the seeds.
    """

    def __init__(self, data: FigureData, height: float, description: str, *notes: str, seeds: bool = True) -> None:
        settings = data.settings
        title = wrap_words(f"{settings.title}, ×{settings.scale}", 70 if settings.stand_in else 80)
        sentences = [data.not_run_note(), *notes, data.untrained_note()]
        if seeds:
            plural = "s" if len(settings.seeds) > 1 else ""
            sentences.append(f"Seed{plural} {', '.join(map(str, settings.seeds))}.")
        footer = wrap_words(" ".join(filter(None, sentences)), 125)
        facts = "Stand-in data." if settings.stand_in else "", description, data.untrained_note()
        self.description = shorten(" ".join(facts), MAX_DESCRIPTION, placeholder=" (and more)")
        self._top, bottom = 0.2 + 0.17 * len(title), 0.15 + 0.13 * len(footer)
        self._height = self._top + height + bottom
        self.figure = Figure((PAGE_WIDTH, self._height))
        left, title_y, footer_y = 0.1 / PAGE_WIDTH, 1 - 0.08 / self._height, 0.06 / self._height
        heading = self.figure.text(left, title_y, "\n".join(title), size=10, weight="bold", va="top")
        if settings.stand_in:
            place: dict[str, Any] = {"xycoords": heading, "textcoords": "offset points", "va": "top"}
            self.figure.add_artist(Annotation("stand-in data", (1, 1), (9, -2.5), **place, size=7, bbox=BADGE))
        self.figure.text(left, footer_y, "\n".join(footer), size=7, color=MUTED, va="bottom")

    def add_axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """Add axes; `top` is the distance from the top of the body to that of the axes."""
        bottom = 1 - (self._top + top + height) / self._height
        return self.figure.add_axes((left / PAGE_WIDTH, bottom, width / PAGE_WIDTH, height / self._height))

    def add_key(self, handles: list[Line2D], height: float | None = None) -> None:
        """Add a key (a legend for all axes) at the top of the body."""
        names = [str(handle.get_label()) for handle in handles]
        axes = self.add_axes(0.1, 0, PAGE_WIDTH - 0.2, key_height(names) if height is None else height)
        hide_frame(axes)
        add_legend(
            axes,
            handles,
            ncols=_count_key_columns(names),
            loc="upper left",
            borderaxespad=0,
            borderpad=0,
            handlelength=3,
        )


def key_height(names: list[str]) -> float:
    """Return the height of a key."""
    return 0.16 * ceil(len(names) / _count_key_columns(names)) + 0.08


def _count_key_columns(names: list[str]) -> int:
    """Return how many columns of a key fit on the page."""

    def width(columns: int) -> float:
        return sum(0.55 + 0.065 * max(map(len, column)) for column in np.array_split(names, columns))

    return next((n for n in range(len(names), 1, -1) if width(n) < PAGE_WIDTH - 0.2), 1)


def method_handles(data: FigureData, labels: list[str]) -> list[Line2D]:
    """Return the entries of a key for these rows."""
    return [Line2D([], [], **method_style(data.settings.looks[label]), markersize=4, label=label) for label in labels]


def add_legend(axes: Axes, handles: list[Line2D], **options: Any) -> None:
    """Add a legend; unlike matplotlib's, it shows names that begin with an underscore, too."""
    legend = axes.legend(handles, [""] * len(handles), **options)
    for text, handle in zip(legend.get_texts(), handles, strict=True):
        text.set_text(handle.get_label())


def wrap_name(name: str) -> str:
    """Return the name of a method in lines that leave room for the rest of the figure."""
    return "\n".join(wrap_words(name, MAX_NAME_LENGTH))


def names_width(names: list[str]) -> float:
    """Return the width that names at the left of axes need, as `wrap_name` returns them."""
    return max([0.95, *(0.15 + 0.07 * len(line) for name in names for line in wrap_name(name).split("\n"))])


def pad_limits(low: float, high: float, fraction: float, min_margin: float = 1e-6) -> tuple[float, float]:
    """Return axis limits with a margin, a fraction of the range but at least `min_margin`."""
    margin = max(fraction * (high - low), min_margin)
    return low - margin, high + margin


def set_ylabel(axes: Axes, text: str, width: float) -> None:
    """Set the label of the y axis at a fixed distance from axes of this width, so that labels of several axes align."""
    axes.set_ylabel(text)
    axes.yaxis.set_label_coords(-0.47 / width, 0.5)


def plot_over_bands(axes: Axes, bands: BandAxis, values: np.ndarray, **style: Any) -> None:
    """Draw a curve over the bands of a scene with gaps where bands are missing; a band between two gaps is a marker.

    Args:
        axes: The axes.
        bands: The bands.
        values: The value of each band, (bands,).
        style: The style of the curve, such as `curve_style` returns.
    """
    segments = bands.segments()
    order, lengths = np.concatenate(segments), np.array([len(segment) for segment in segments])
    starts = np.cumsum(lengths) - lengths  # of each segment in `order`
    x, y = (np.insert(each[order].astype(float), starts[1:], np.nan) for each in (bands.positions, values))
    places = np.flatnonzero(~np.isnan(x))  # of each band of `order` in x and y
    first, step = style.pop("markevery", (len(order), 1))
    marked = {*places[first::step].tolist(), *places[starts[lengths == 1]].tolist()}
    axes.plot(x, y, **{"marker": ".", **style}, markevery=sorted(marked))


def band_label_height(data: FigureData) -> float:
    """Return the additional height of a row of axes over bands, for labels if those of several scenes differ."""
    return 0.17 * (len({data.bands[scene].label for scene in data.scenes}) > 1)


def label_band_axes(data: FigureData, axes_by_scene: dict[str, list[Axes]]) -> None:
    """Label the x axes below the last of all scenes whose axes show the same, and set their limits.

    Args:
        data: The figure's data.
        axes_by_scene: Scene -> its axes, in the order of the page.
    """
    labels = [data.bands[scene].label for scene in axes_by_scene]
    for i, (scene, row) in enumerate(axes_by_scene.items()):
        for axes in row:
            axes.set_xlim(data.bands[scene].limits())
            if labels[i + 1 : i + 2] != labels[i : i + 1]:
                axes.set_xlabel(labels[i])


def format_log_axis(axes: Axes) -> None:
    """Write the numbers of a logarithmic x axis without powers of ten, and draw the grid."""
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:g}".replace("-", "−"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.grid(True)


def hide_frame(axes: Axes) -> None:
    """Hide ticks and borders."""
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def write_below(axes: Axes, text: str) -> None:
    """Write a small text below axes."""
    axes.text(0.5, -0.03, text, transform=axes.transAxes, size=7, ha="center", va="top")
