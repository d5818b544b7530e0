"""The kinds of figures: the files that each one reads, and the conditions on its rows.

A figure is drawn by the module of `lkca.report.figures` that has the name of its kind.
"""

import re
from pathlib import Path
from typing import Literal, NamedTuple

from lkca.core.paths import HISTORY_FILE, IMAGE_FILE, SCORES_FILE, SPECTRUM_FILE
from lkca.errors import ConfigError

DRAWING_FUNCTIONS_FILE = Path(__file__).parents[1] / "report/figures/__init__.py"

RunFile = Literal["scores", "spectra", "images", "histories"]
RUN_FILES: dict[RunFile, str] = {
    "scores": SCORES_FILE,
    "spectra": SPECTRUM_FILE,
    "images": IMAGE_FILE,
    "histories": HISTORY_FILE,
}


class FigureKind(NamedTuple):
    """What the jobs and the checks need to know about a kind of figure.

    Args:
        reads: The files of each run that it reads; these are also the parameters of `lkca.report.figures.draw_figure`.
        reads_efficiency: Whether it reads the measured time and memory of its scenes.
        reads_manifests: Whether it reads the manifests of its scenes, which have the wavelengths of the bands.
        all_seeds: Whether it shows every seed of a run, not only the first one.
        one_scene: Whether it shows one scene only.
        compares_rows: Whether it compares the other rows with the first one.
        draws_untrained: Whether it draws networks whose training did not see all patches once.
        untrained_lacks: What a model without training lacks for this kind, in words; None if it can be shown.
    """

    reads: tuple[RunFile, ...] = ("scores",)
    reads_efficiency: bool = False
    reads_manifests: bool = False
    all_seeds: bool = False
    one_scene: bool = False
    compares_rows: bool = False
    draws_untrained: bool = False
    untrained_lacks: str | None = None


FIGURE_KINDS = {
    "share": FigureKind(draws_untrained=True),
    "spectrum": FigureKind(reads=("scores", "spectra"), untrained_lacks="no trained upsampling layer"),
    "composite": FigureKind(reads=("scores", "images"), reads_manifests=True, one_scene=True),
    "speed": FigureKind(reads_efficiency=True, all_seeds=True),
    "bands": FigureKind(reads_manifests=True),
    "pixels": FigureKind(reads=("scores", "images"), reads_manifests=True),
    "curves": FigureKind(reads=("scores", "histories"), all_seeds=True, untrained_lacks="no training"),
    "differences": FigureKind(all_seeds=True, compares_rows=True),
}


def check_kind(kind: str) -> None:
    """Check that a declared kind reads files that exist and has a drawing function, without importing matplotlib.

    Raises:
        ConfigError: If it reads other files, or has no drawing function.
    """
    for name in FIGURE_KINDS[kind].reads:
        if name not in RUN_FILES:
            raise ConfigError(
                f"the kind {kind} in lkca/config/figure_kinds.py reads {name}, which is not a file of a run: "
                f"choose from {', '.join(RUN_FILES)}."
            )
    if not re.search(rf"""["']{kind}["']:""", DRAWING_FUNCTIONS_FILE.read_text(encoding="utf-8")):
        raise ConfigError(
            f"the kind {kind} has no drawing function: add it to DRAWING_FUNCTIONS in lkca/report/figures/__init__.py."
        )
