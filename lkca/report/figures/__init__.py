"""The paper's figures and additional ones, drawn from the results of evaluation, analysis and measurement.

Each kind of figure is declared in lkca/config/figure_kinds.py. The module of its name here has the function that draws
it, which DRAWING_FUNCTIONS lists.
"""

from collections.abc import Callable
from pathlib import Path

from matplotlib import rc_context

from lkca.config.figure_kinds import FIGURE_KINDS, RUN_FILES
from lkca.config.settings import FigureSettings
from lkca.core.files import atomic_write
from lkca.errors import ConfigError
from lkca.report.figures.bands import draw_bands
from lkca.report.figures.composite import draw_composite
from lkca.report.figures.curves import draw_curves
from lkca.report.figures.data import FigureData
from lkca.report.figures.differences import draw_differences
from lkca.report.figures.layout import Page
from lkca.report.figures.pixels import draw_pixels
from lkca.report.figures.share import draw_share
from lkca.report.figures.spectrum import draw_spectrum
from lkca.report.figures.speed import draw_speed
from lkca.report.figures.style import RC_PARAMS

# Kind -> the function that draws it, for figures with at least one row to draw
DRAWING_FUNCTIONS: dict[str, Callable[[FigureData], Page]] = {
    "share": draw_share,
    "spectrum": draw_spectrum,
    "composite": draw_composite,
    "speed": draw_speed,
    "bands": draw_bands,
    "pixels": draw_pixels,
    "curves": draw_curves,
    "differences": draw_differences,
}


def draw_figure(
    settings: FigureSettings,
    scores: list[Path],
    spectra: list[Path],
    images: list[Path],
    histories: list[Path],
    efficiency: list[Path],
    manifests: list[Path],
    png: Path,
    pdf: Path,
) -> None:
    """Draw one figure and write it as PNG (200 dpi) and PDF; the same input gives the same bytes.

    Both files have a description of the picture in their metadata: Description of the PNG, Subject of the PDF.

    Args:
        settings: What the figure shows.
        scores: scores.json of the runs; those of other scales and seeds are ignored.
        spectra: spectrum.json of the runs, each next to its scores.json, for the kind "spectrum".
        images: image.npz of the runs, each next to its scores.json, for the kinds "composite" and "pixels".
        histories: history.csv of the runs, each next to its scores.json, for the kind "curves".
        efficiency: Measured time and memory of each scene, for the kind "speed".
        manifests: Manifests of the scenes, with the wavelengths of their bands, for the kinds "bands", "pixels" and
            "composite".
        png: The PNG to write.
        pdf: The PDF to write.

    Raises:
        ConfigError: If the drawing function does not return a page.
    """
    reads = FIGURE_KINDS[settings.kind].reads
    required = [RUN_FILES[name] for name in reads if name != "scores"]
    existing = {*spectra, *images, *histories}
    paths = [path for path in scores if all(path.with_name(name) in existing for name in required)]
    data = FigureData.read(settings, paths, efficiency, manifests)
    with rc_context(RC_PARAMS):
        draw = DRAWING_FUNCTIONS[settings.kind]
        page = draw(data) if data.runs else Page(data, 0, "No row of this figure can be drawn.")
        if not isinstance(page, Page):
            raise ConfigError(
                f"figures.{settings.name}: {draw.__name__} returned {type(page).__name__}, not a Page: return page."
            )
        metadata = {"Title": f"{settings.title}, ×{settings.scale}"}
        formats = {
            png: metadata | {"Software": None, "Description": page.description},
            pdf: metadata | {"CreationDate": None, "Subject": page.description},
        }
        for path, facts in formats.items():
            with atomic_write(path) as part:
                page.figure.savefig(part, dpi=200, metadata=facts)
