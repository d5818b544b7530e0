"""Marks of points and the placement of their names.

A mark does not cover another one, and a name covers as little as possible of the marks and of the other names.
"""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg

from lkca.report.figures.style import MUTED, text_colour

SIDES = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1))  # right, left, above, below, corners
DISTANCES = (5, 13, 21, 29)  # points between a mark and its name
MARK_RADIUS = 7  # points
NEAR, MAX_RINGS = 6, 4  # points between two marks that would cover each other; marks around a mark
LEADER_LINE = {"arrowstyle": "-", "linewidth": 0.4, "color": MUTED, "shrinkA": 1, "shrinkB": 2}


def draw_marks(axes: Axes, marks: list[tuple[float, float, str, dict[str, Any]]]) -> None:
    """Draw marks; one that would cover marks of other methods is a larger, hollow one around them.

    Args:
        axes: The axes, with their final limits.
        marks: (x, y, label of the method, its style) of each, in data coordinates.
    """
    figure = axes.get_figure(root=True)
    assert figure is not None
    places = axes.transData.transform([mark[:2] for mark in marks]) * 72 / figure.dpi  # points
    for i, (x, y, label, style) in enumerate(marks):
        near = np.hypot(*(places[:i] - places[i]).T) < NEAR
        covered = len({marks[j][2] for j in np.flatnonzero(near)} - {label})
        size, face = 5 + 4 * min(covered, MAX_RINGS), "none" if covered else style["color"]
        mark_style = style | {"linestyle": "none", "markersize": size, "markerfacecolor": face}
        axes.plot(x, y, **mark_style, clip_on=False, label=label)


def label_points(axes: Axes, points: list[tuple[float, float, str, str]]) -> None:
    """Write a name at each point.

    Every name is tried on all sides and at all distances, and is written at the place with the lowest cost. The cost is
    the area that the name shares with marks and with names written before, three times its area outside of the axes,
    and a small penalty for its distance. A line joins a distant name to its point.

    Args:
        axes: The axes that the points are drawn in, with their final limits.
        points: (x, y, name, colour) of each, in data coordinates.
    """
    figure = axes.get_figure(root=True)
    assert figure is not None
    renderer, scale = FigureCanvasAgg(figure).get_renderer(), figure.dpi / 72  # pixels per point
    marks = axes.transData.transform([point[:2] for point in points])
    axes_box = axes.get_window_extent(renderer).get_points()
    # Boxes (lower left and upper right corner) of the marks, then of the names
    occupied = list(np.stack([marks - MARK_RADIUS * scale, marks + MARK_RADIUS * scale], 1))
    distances = np.repeat(DISTANCES, len(SIDES))[:, None]
    sides = np.tile(SIDES, (len(DISTANCES), 1))
    for i, (x, y, name, colour) in enumerate(points):
        text = axes.annotate(
            name,
            (x, y),
            (0, 0),
            textcoords="offset points",
            size=7,
            ha="center",
            va="center",
            color=text_colour(colour),
        )
        size = np.array(text.get_window_extent(renderer).size)
        centres = sides * (distances * scale + size / 2)  # relative to the mark: (places, 2)
        boxes = np.stack([centres - size / 2, centres + size / 2], 1) + marks[i]
        others = np.array(occupied[:i] + occupied[i + 1 :]).reshape(-1, 2, 2)
        covered = _compute_overlaps(boxes, others).sum(1) - 3 * _compute_overlaps(boxes, axes_box[None])[:, 0]
        best = int((covered + 3 * distances[:, 0]).argmin())
        x_offset, y_offset = centres[best] / scale
        text.set_position((x_offset, y_offset))
        occupied.append(boxes[best])
        if distances[best] > DISTANCES[0]:
            x_end, y_end = (np.clip(marks[i], *boxes[best]) - marks[i]) / scale
            axes.annotate("", (x, y), (x_end, y_end), textcoords="offset points", arrowprops=LEADER_LINE)


def _compute_overlaps(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the areas (n, m) that boxes (n, 2, 2) share with others (m, 2, 2)."""
    sides = np.minimum(boxes[:, None, 1], others[:, 1]) - np.maximum(boxes[:, None, 0], others[:, 0])
    return np.maximum(sides, 0).prod(-1)
