"""Colours, line styles and text sizes of all figures."""

from typing import Any

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.patheffects import withStroke

PAGE_WIDTH = 7.2  # inches: the text width of a printed page, so that fonts keep their size
BLUE, GREY, RED = "#0072B2", "#C4C8CC", "#E3120B"
INK, MUTED, FAINT = "#1F2328", "#5B6370", "#E4E7EA"  # text, secondary text, grid lines
# Methods have Paul Tol's colour scheme "muted", which colour-blind readers can tell apart. Dashes and markers differ as
# well, for prints without colours.
COLOURS = [MUTED, "#999933", "#88CCEE", "#117733", "#AA4499", "#CC6677", "#332288", "#44AA99", "#882255"]
DASHES = ["-", (0, (5, 1.5)), (0, (5, 1.2, 1, 1.2)), (0, (1.5, 1))]
MARKERS = "osD^vPX<>*"
WHITE_OUTLINE = withStroke(linewidth=2.2, foreground="white")  # visible on dark and on light
DARK_OUTLINE = withStroke(linewidth=2.2, foreground=INK)
RC_PARAMS: dict[Any, Any] = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 7.5,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.5,
    "legend.frameon": False,
    "text.color": INK,
    "text.parse_math": False,  # a dollar sign in a name is plain text
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "pdf.fonttype": 42,
}


def method_style(number: int) -> dict[str, Any]:
    """Return colour, dashes and marker of the method with this number."""
    return {
        "color": COLOURS[number % len(COLOURS)],
        "linestyle": DASHES[number % len(DASHES)],
        "marker": MARKERS[number % len(MARKERS)],
    }


def curve_style(number: int, num_points: int) -> dict[str, Any]:
    """Return the style of a curve, with a few markers along it, shifted so that those of several curves differ."""
    step = max(num_points // 4, 1)
    return method_style(number) | {"linewidth": 0.9, "markersize": 3, "markevery": (number * step // 7 % step, step)}


def text_colour(colour: str) -> np.ndarray:
    """Return a darker form of a colour, readable as text."""
    return (np.array(to_rgb(colour)) + np.array(to_rgb(INK))) / 2
