"""The images of the page's viewer: one test image of each scene and scale, as every method reconstructs it."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from lkca.config.settings import ReportSettings
from lkca.core.paths import IMAGE_FILE
from lkca.report.band_axis import BandAxis
from lkca.report.figures.data import format_steps
from lkca.report.images import encode_test_image
from lkca.report.page_runs import ReportRun, RowLabels, line_style, select_main_rows


def encode_images(
    settings: ReportSettings, labels: RowLabels, manifests: Mapping[str, Mapping[str, Any]], runs: Iterable[ReportRun]
) -> Iterator[dict[str, Any]]:
    """Yield the data of the viewer for each scene and scale: the trained methods of its largest table, first seed.

    Args:
        settings: The report.
        labels: Scene and scale -> the labels of the models.
        manifests: Scene -> its manifest.
        runs: All runs.
    """
    first_seed = {(run.scene, run.scale, run.model): run for run in runs if run.seed == settings.seeds[0]}
    for (scene, scale), rows in labels.items():
        own = {
            model: first_seed[scene, scale, model]
            for model in select_main_rows(rows)
            if (scene, scale, model) in first_seed
        }
        shown = {model: run for model, run in own.items() if not run.scores["untrained"]}
        if not shown:
            continue
        facts, bands = settings.scenes[scene], BandAxis.of(manifests[scene])
        image = encode_test_image({model: run.path.with_name(IMAGE_FILE) for model, run in shown.items()})
        yield {
            **image,
            "title": f"{facts.title} ×{scale}",
            "image": facts.image + 1,
            "bands": {
                "names": [bands.name(i) for i in range(len(bands.numbers))],
                "positions": bands.positions.tolist(),
                "unit": "band" if bands.nanometres is None else "nm",
                "segments": bands.segments(),
            },
            "methods": [
                {
                    **image["methods"][model],
                    "label": rows[model].label,
                    "psnr": run.scores["images"][facts.image]["scores"]["MPSNR"],
                    "style": line_style(settings, model),
                }
                for model, run in shown.items()
            ],
            "untrained": [
                f"{rows[model].label} ({format_steps(run.scores['steps'])})"
                for model, run in own.items()
                if model not in shown
            ],
        }
