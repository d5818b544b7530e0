"""Colours, line styles and text sizes of all figures."""

from typing import Any

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.patheffects import withStroke

GOLDEN_RATIO = (5**0.5 - 1) / 2  # the fractional parts of its multiples are far from each other
PAGE_WIDTH = 7.2  # inches: the text width of a printed page, so that fonts keep their size
BLUE, GREY, RED = "#0072B2", "#C4C8CC", "#E3120B"
INK, MUTED, FAINT = "#1F2328", "#5B6370", "#E4E7EA"  # text, secondary text, grid lines
# Methods have Paul Tol's colour scheme "muted", which colour-blind readers can tell apart. Dashes and markers differ as
# well, for prints without colours.
COLOURS = [MUTED, "#999933", "#88CCEE", "#117733", "#AA4499", "#CC6677", "#332288", "#44AA99", "#882255"]
DASHES: list[tuple[float, ...]] = [  # lengths of lines and gaps
    (),
    (5, 2),
    (5, 1.5, 1, 1.5),
    (1.5, 1.5),
    (9, 3),
    (4, 1.2, 1, 1.2, 1, 1.2),
    (3, 2),
]
MARKERS = "osD^vPX<>*"
# Coinciding lines stay visible: dashed lines are above solid ones, and of lines with the same dashes the later ones are
# above and thinner
SOLID_WIDTHS, DASHED_WIDTHS = [2.0, 1.2, 0.8], [1.1, 0.9, 0.7]  # points
BADGE: dict[str, Any] = {"boxstyle": "round,pad=0.35", "facecolor": "#FFE9B0", "edgecolor": "none"}
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


def method_colour_and_dash(number: int) -> tuple[str, str]:
    """Return colour and dashes of the method with this number, as SVG has them.

    Example:
        >>> method_colour_and_dash(0), method_colour_and_dash(1)
        (('#5B6370', ''), ('#999933', '5 2'))
    """
    return COLOURS[number % len(COLOURS)], " ".join(f"{length:g}" for length in DASHES[number % len(DASHES)])


def method_style(number: int) -> dict[str, Any]:
    """Return colour, line and marker of the method with this number."""
    repetition, position = divmod(number, len(DASHES))
    dashes = DASHES[position]
    widths = DASHED_WIDTHS if dashes else SOLID_WIDTHS
    return {
        "color": COLOURS[number % len(COLOURS)],
        "linestyle": (0, dashes) if dashes else "-",
        "linewidth": widths[repetition % len(widths)],
        "zorder": (2.5 if dashes else 2) + number / 1000,
        "marker": MARKERS[number % len(MARKERS)],
    }


def curve_style(number: int, num_points: int) -> dict[str, Any]:
    """Return the style of a curve, with a few markers along it, shifted so that those of several curves differ."""
    step = max(num_points // 4, 1)
    shift = int(number * GOLDEN_RATIO % 1 * step)
    return method_style(number) | {"markersize": 3, "markevery": (shift, step)}


def text_colour(colour: str) -> np.ndarray:
    """Return a darker form of a colour, readable as text."""
    return (np.array(to_rgb(colour)) + np.array(to_rgb(INK))) / 2
