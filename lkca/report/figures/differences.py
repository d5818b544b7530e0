"""Differences of each method's MPSNR and SAM from the first row's, paired, with 95 % intervals."""

from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from lkca.report.figures.data import FigureData, RowKey
from lkca.report.figures.layout import Page, format_log_axis, names_width, wrap_name, wrap_words
from lkca.report.figures.style import BLUE, INK, PAGE_WIDTH

LINEAR_LIMIT = 0.1  # an axis with large differences is linear up to this and logarithmic beyond
LINE_HEIGHT, ABOVE, BELOW = 0.2, 0.4, 0.25  # inches: height of a row, and space above and below the panels of a scene
KEY_HEIGHT, NUMBERS_WIDTH = 0.2, 1.4  # inches; the numbers are to the right of each panel
SCORE_TITLES = {"MPSNR": "MPSNR (dB), better →", "SAM": "SAM (degrees), ← better"}
IMAGE_INTERVAL: dict[str, Any] = {"color": BLUE, "linewidth": 4, "solid_capstyle": "butt", "alpha": 0.55}
BLOCK_INTERVAL: dict[str, Any] = {"color": INK, "linewidth": 0.9, "marker": "|", "markersize": 3}
POINT: dict[str, Any] = {"color": INK, "marker": "o", "markersize": 4}


class Difference(NamedTuple):
    """The score of a row minus that of the first row."""

    value: float
    interval: tuple[float, float] | None  # over test images and seeds
    block_interval: np.ndarray  # over spatial blocks of the test images: (low, high)
    missing_reasons: frozenset[str]  # why there is no interval

    @property
    def resolved(self) -> bool:
        """Whether 0 is outside of the interval over test images and seeds."""
        return self.interval is not None and not self.interval[0] <= 0 <= self.interval[1]


def draw_differences(data: FigureData) -> Page:
    """Draw the figure: for each scene two panels, a line for each row."""
    reference = next(iter(data.settings.rows))
    labels = {
        scene: scene_labels[1:]
        for scene in data.scenes
        if (scene_labels := data.labels(scene))[0] == reference and len(scene_labels) > 1
    }
    headings = {scene: wrap_words(f"{data.title(scene)}, differences from {reference}", 100) for scene in labels}
    above = {scene: ABOVE + 0.13 * (len(lines) - 1) for scene, lines in headings.items()}
    heights = (above[scene] + len(labels[scene]) * LINE_HEIGHT + BELOW for scene in labels)
    tops = np.cumsum([0.25, *heights])
    differences = {scene: _compare(data, scene, reference, scene_labels) for scene, scene_labels in labels.items()}
    description = _describe(data, reference, differences)
    page = Page(data, tops[-1], description, *_compose_notes(data, reference, differences))
    if labels:
        page.add_key(_create_key_handles(), KEY_HEIGHT)
    left = names_width([label for scene_labels in labels.values() for label in scene_labels])
    width = (PAGE_WIDTH - left - 2 * NUMBERS_WIDTH) / 2
    for (scene, scene_labels), top in zip(labels.items(), tops, strict=False):
        for j, (score, title) in enumerate(SCORE_TITLES.items()):
            height = len(scene_labels) * LINE_HEIGHT
            axes = page.add_axes(left + j * (width + 1.45), top + above[scene] - 0.05, width, height)
            _draw_panel(axes, [differences[scene][label, score] for label in scene_labels])
            axes.set(yticks=range(len(scene_labels)), yticklabels=map(wrap_name, scene_labels) if j == 0 else [])
            for name in axes.get_yticklabels():
                name.set_linespacing(0.9)  # two lines fit into a row
            axes.tick_params(axis="y", length=0)
            axes.yaxis.grid(False)
            axes.set_title(title, loc="left")
            if j == 0:
                axes.annotate(
                    "\n".join(headings[scene]),
                    (0, 1),
                    (72 * (0.1 - left), 18),
                    xycoords="axes fraction",
                    textcoords="offset points",
                    weight="bold",
                )
    return page


def _compare(data: FigureData, scene: str, reference: str, labels: list[str]) -> dict[tuple[str, str], Difference]:
    """Return the differences of rows from the reference, by label and score."""
    from lkca.paper.statistics import block_intervals, estimate_score, pseudovalues  # scipy.stats is slow to import

    runs = {label: [run.content for run in data.runs[scene, label]] for label in (reference, *labels)}
    differences = {}
    for name in SCORE_TITLES:
        blocks = {label: pseudovalues(contents, name) for label, contents in runs.items()}
        intervals = block_intervals(np.stack([blocks[label] - blocks[reference] for label in labels]))
        for label, block_interval in zip(labels, intervals, strict=True):
            difference = estimate_score(runs[label], name) - estimate_score(runs[reference], name)
            differences[label, name] = Difference(
                difference.value, difference.interval(), block_interval, difference.missing_reasons
            )
    return differences


def _describe(data: FigureData, reference: str, differences: dict[str, dict[tuple[str, str], Difference]]) -> str:
    by_row = {
        (scene, label): [by_label[label, score] for score in SCORE_TITLES]
        for scene, by_label in differences.items()
        for label, _ in by_label
    }
    facts = {
        row: f"{format_signed(mpsnr.value)} dB and {format_signed(sam.value)}°" for row, (mpsnr, sam) in by_row.items()
    }
    resolved = [row for row, (mpsnr, _) in by_row.items() if mpsnr.resolved]
    names = data.name_rows(resolved) if resolved else "no method"
    return (
        f"MPSNR and SAM minus those of {reference}, as points with intervals, {data.list_facts(facts)} "
        f"The difference of MPSNR is resolved for {names}."
    )


def _compose_notes(
    data: FigureData, reference: str, differences: dict[str, dict[tuple[str, str], Difference]]
) -> list[str]:
    if not differences:
        return [f"{reference}, from which differences are taken, or all others have no results to draw."]
    notes = [
        "Intervals: Student's t over test images and seeds; bootstrap over the blocks of these test images. "
        f"Where there are large differences, the axis is linear to ±{LINEAR_LIMIT:g} and logarithmic beyond."
    ]
    missing: dict[str, set[RowKey]] = {}  # reason -> rows
    rows = set()
    for scene, by_label in differences.items():
        for (label, _), difference in by_label.items():
            rows.add((scene, label))
            for reason in difference.missing_reasons:
                missing.setdefault(reason, set()).add((scene, label))
    reasons = [
        reason if missing_rows == rows else f"{reason} ({data.name_rows(missing_rows)})"
        for reason, missing_rows in sorted(missing.items())
    ]
    if reasons:
        notes.append(f"No interval over test images and seeds: {', '.join(reasons)}.")
    return notes


def _create_key_handles() -> list[Line2D]:
    filled = "filled: 0 is outside the first interval"
    return [
        Line2D([], [], **IMAGE_INTERVAL, label="95 % over images, seeds"),
        Line2D([], [], **BLOCK_INTERVAL, label="95 % over blocks"),
        Line2D([], [], **POINT, linestyle="none", markerfacecolor=INK, label=filled),
    ]


def _draw_panel(axes: Axes, differences: list[Difference]) -> None:
    """Draw the differences of one score below each other, each with its intervals and numbers."""
    axes.axvline(0, color=INK, linewidth=0.8)
    ends = [0.0]
    for y, difference in enumerate(differences):
        value, interval, block_interval, _ = difference
        if interval is None:
            text = f"{format_signed(value)}, no interval"
        else:
            text = f"{format_signed(value)} [{format_signed(interval[0])}, {format_signed(interval[1])}]"
        axes.text(1.04, y, text, transform=axes.get_yaxis_transform(), va="center", size=7)
        axes.plot(block_interval, [y + 0.3] * 2, **BLOCK_INTERVAL)
        if interval:
            axes.plot(interval, [y] * 2, **IMAGE_INTERVAL)
        axes.plot(value, y, **POINT, markerfacecolor=INK if difference.resolved else "white")
        ends += [value, *block_interval, *(interval or ())]
    if max(map(abs, ends)) > 3 * LINEAR_LIMIT:  # small differences next to large ones
        axes.set_xscale("symlog", linthresh=LINEAR_LIMIT)
    format_log_axis(axes)
    axes.set_ylim(len(differences) - 0.4, -0.6)


def format_signed(value: float) -> str:
    """Return a difference in three decimals.

    Example:
        >>> format_signed(-0.1234), format_signed(0.5), format_signed(-1e-9)
        ('−0.123', '+0.500', '0.000')
    """
    return f"{value:+.3f}".replace("-", "−") if abs(value) >= 5e-4 else "0.000"
