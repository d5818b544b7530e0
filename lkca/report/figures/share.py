"""The share of the parameters in the learnable upsampling layer, a bar for each network (Fig. 1)."""

from matplotlib.axes import Axes

from lkca.report.figures.data import FigureData
from lkca.report.figures.layout import Page, hide_frame, names_width, wrap_name
from lkca.report.figures.style import BLUE, GREY, INK, MUTED, PAGE_WIDTH

LINE_HEIGHT = 0.24  # inches
COLUMN_ENDS = {"upsampling": 1.22, "backbone": 1.46, "total": 1.7}  # of the numbers, in lengths of a whole bar
MIN_SHARE_WITH_TEXT = 0.2  # the percentage is to the right of a shorter bar


def draw_share(data: FigureData) -> Page:
    """Draw the figure: for each scene a heading, then a line for each network."""
    num_lines = sum(1 + len(data.labels(scene)) for scene in data.scenes)
    height = LINE_HEIGHT * (num_lines + 1)  # one line above for the key
    params = {row: (run.content["upsampler_params"], run.content["params"]) for row, (run,) in data.runs.items()}
    shares = {
        row: f"{upsampler / total:.1%} of {_format_millions(total)}" if total else "no parameters"
        for row, (upsampler, total) in params.items()
    }
    description = f"Share of the learnable upsampling layer in the parameters, as bars, {data.list_facts(shares)}"
    page = Page(data, height, description, seeds=False)  # the seed does not change the number of parameters
    left = names_width(data.all_labels())
    width = (PAGE_WIDTH - left - 0.2) / max(COLUMN_ENDS.values())
    axes = page.add_axes(left, 0, width, height)
    hide_frame(axes)
    axes.set(xlim=(0, 1), ylim=(num_lines - 0.5, -1.5))
    for x, colour, part in ((0, BLUE, "learnable upsampling layer"), (0.56, GREY, "backbone")):
        axes.barh(-1, 0.03, left=x, height=0.5, color=colour)
        axes.text(x + 0.045, -1, part, va="center")
    for heading, x in COLUMN_ENDS.items():
        axes.text(x, -1, heading, va="center", ha="right", color=MUTED)
    y = 0
    for scene in data.scenes:
        heading = f"{data.title(scene)}, ×{data.settings.scale}"
        axes.text((0.1 - left) / width, y, heading, va="center", weight="bold")
        for label in data.labels(scene):
            y += 1
            run = data.first(scene, label).content
            axes.text(-0.02, y, wrap_name(label), va="center", ha="right", linespacing=0.9)
            _draw_bar(axes, y, run["upsampler_params"], run["params"])
        y += 1
    return page


def _format_millions(number: int) -> str:
    return f"{number / 1e6:.3f} M"


def _draw_bar(axes: Axes, y: int, upsampler: int, total: int) -> None:
    """Draw the bar of a network and write its numbers of parameters."""
    for x, number in zip(COLUMN_ENDS.values(), (upsampler, total - upsampler, total), strict=True):
        axes.text(x, y, _format_millions(number), va="center", ha="right")
    if not total:
        axes.text(0, y, "no parameters", va="center", color=MUTED)
        return
    share = upsampler / total
    axes.barh(y, [share, 1 - share], left=[0, share], height=0.7, color=[BLUE, GREY])
    side, colour = ("right", "white") if share > MIN_SHARE_WITH_TEXT else ("left", INK)
    axes.text(share, y, f" {share:.1%} ", va="center", ha=side, color=colour)
