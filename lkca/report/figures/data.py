"""The data of a figure: the files of its rows, and sentences for its footer."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lkca.config.figure_kinds import FIGURE_KINDS
from lkca.config.settings import FigureSettings
from lkca.core.paths import IMAGE_FILE
from lkca.core.result_files import EfficiencyFile, ShownManifest, damaged, read_result
from lkca.report.band_axis import BandAxis
from lkca.report.images import read_images
from lkca.scoring.score_files import read_scores

OUTLIER_GAP_DB = 6.0  # a method further below the best one of its scene would hide the differences of the others
RowKey = tuple[str, str]  # scene, label


class LoadedRun(NamedTuple):
    """A run with the content of its scores.json."""

    path: Path
    content: dict[str, Any]


@dataclass(frozen=True)
class FigureData:
    """The runs of a figure.

    Args:
        settings: The figure's settings.
        runs: Row -> its runs, one for each seed; rows that are drawn, in the order of the settings.
        untrained: Row -> steps of its longest training; rows that are not drawn, because their training did not see all
            patches once.
        efficiency: Scene -> content of its efficiency file at the scale of the figure.
        bands: Scene -> its bands, for the kinds of figures that read manifests.
    """

    settings: FigureSettings
    runs: dict[RowKey, list[LoadedRun]]
    untrained: dict[RowKey, int]
    efficiency: dict[str, dict[str, Any]]
    bands: dict[str, BandAxis]

    @classmethod
    def read(
        cls, settings: FigureSettings, paths: Iterable[Path], efficiency: Iterable[Path], manifests: Iterable[Path]
    ) -> "FigureData":
        """Read the files of this figure's rows, scale and seeds; others are ignored."""
        by_run = {}
        for path in paths:
            content = _read_scores(path, settings)
            if content["scale"] == settings.scale:
                by_run[content["scene"], content["model"], content["seed"]] = LoadedRun(path, content)
        runs = {
            (scene, label): [by_run[scene, model, seed] for seed in settings.seeds if (scene, model, seed) in by_run]
            for scene in settings.scenes
            for label, model in settings.rows.items()
        }
        runs = {row: files for row, files in runs.items() if files}
        untrained = {}
        if not FIGURE_KINDS[settings.kind].draws_untrained:
            untrained = {
                row: max(run.content["steps"] for run in files)
                for row, files in runs.items()
                if any(run.content["untrained"] for run in files)
            }
        costs = [read_result(path, EfficiencyFile) for path in efficiency]
        measured = [content for content in costs if content["scale"] == settings.scale]
        shown = [read_result(path, ShownManifest) for path in manifests]
        axes = {manifest["scene"]: BandAxis.of(manifest) for manifest in shown}
        for (scene, _), files in runs.items():
            for path, content in files:
                if scene in axes:
                    axes[scene].check_count(len(content["images"][0]["bands"]["MPSNR"]), path)
        return cls(
            settings,
            {row: files for row, files in runs.items() if row not in untrained},
            untrained,
            {content["scene"]: content for content in measured},
            axes,
        )

    @property
    def scenes(self) -> list[str]:
        """The scenes with at least one row that is drawn."""
        return [scene for scene in self.settings.scenes if self.labels(scene)]

    def labels(self, scene: str) -> list[str]:
        """Return the labels of the rows that are drawn for a scene."""
        return [label for run_scene, label in self.runs if run_scene == scene]

    def all_labels(self, without: Collection[RowKey] = ()) -> list[str]:
        """Return the labels of the rows that are drawn for any scene, except for those in `without` on all scenes."""
        labels = {label for _, label in self.runs.keys() - set(without)}
        return [label for label in self.settings.rows if label in labels]

    def first(self, scene: str, label: str) -> LoadedRun:
        """Return the run of a row with the first seed."""
        return self.runs[scene, label][0]

    def title(self, scene: str) -> str:
        """Return the title of a scene."""
        return self.settings.scenes[scene].title

    def load_images(self, scene: str, labels: Iterable[str]) -> dict[str, dict[str, np.ndarray]]:
        """Return the arrays of the image.npz of rows, by label."""
        paths = {label: self.first(scene, label).path.with_name(IMAGE_FILE) for label in labels}
        images = read_images(paths)
        for label, arrays in images.items():
            self.bands[scene].check_count(len(arrays["spectra_hr"]), paths[label])
        return images

    # Sentences for the footer and the description

    def name_rows(self, rows: Collection[RowKey]) -> str:
        """Return labels separated by commas, each with its scenes unless it is on all scenes."""
        names = []
        for label in self.settings.rows:
            scenes = [self.title(scene) for scene in self.settings.scenes if (scene, label) in rows]
            if scenes:
                everywhere = len(scenes) == len(self.settings.scenes)
                names.append(label if everywhere else f"{label} ({', '.join(scenes)})")
        return ", ".join(names)

    def list_facts(self, facts: Mapping[RowKey, str]) -> str:
        """Return the rest of a sentence that lists a fact about each row, scene by scene."""
        texts: dict[str, list[str]] = {}
        for (scene, label), fact in facts.items():
            texts.setdefault(scene, []).append(f"{label} {fact}")
        return "; ".join(f"on {self.title(scene)}: {', '.join(of_scene)}" for scene, of_scene in texts.items()) + "."

    def not_run_note(self) -> str:
        """Return the sentence about rows without runs; empty if there are none."""
        rows = {(scene, label) for scene in self.settings.scenes for label in self.settings.rows}
        rows -= self.runs.keys() | self.untrained.keys()
        return f"Not run: {self.name_rows(rows)}." if rows else ""

    def untrained_note(self) -> str:
        """Return the sentence about rows whose training did not see all patches once; empty if there are none."""
        if not self.untrained:
            return ""
        steps = format_steps(max(self.untrained.values()))
        return f"Not drawn, untrained ({steps} at most, not every patch was seen): {self.name_rows(self.untrained)}."

    def outlier_note(self, outliers: Collection[RowKey]) -> str:
        """Return the sentence about outliers that are not drawn; empty if there are none."""
        return (
            f"Not drawn, more than {OUTLIER_GAP_DB:g} dB below the best: {self.name_rows(outliers)}."
            if outliers
            else ""
        )

    def wavelengths_note(self) -> str:
        """Return the sentences that say where wavelengths come from and why lines have gaps; empty if none is due."""
        all_titles = [self.title(scene) for scene in self.scenes]
        scenes: dict[str, list[str]] = {}  # source of the wavelengths -> titles
        for scene in self.scenes:
            if source := self.bands[scene].source:
                scenes.setdefault(source, []).append(self.title(scene))
        whose = {source: f" of {', '.join(titles)}" * (titles != all_titles) for source, titles in scenes.items()}
        notes = [f"Wavelengths{whose[source]}: {source}." for source in scenes]
        if any(len(self.bands[scene].segments()) > 1 for scene in self.scenes):
            notes.append("Lines have gaps where bands are missing.")
        return " ".join(notes)

    def image_note(self, scene: str) -> str:
        """Return the part of a sentence that says which test image of a scene is shown."""
        number = self.settings.scenes[scene].image
        images = self.first(scene, self.labels(scene)[0]).content["images"]
        row, column, rows, columns = images[number]["window"]
        return f"Test image {number + 1} of {len(images)}, {rows} × {columns} pixels from ({row}, {column})"


def _read_scores(path: Path, settings: FigureSettings) -> dict[str, Any]:
    """Return the content of a scores.json.

    Raises:
        DataError: If it is missing or damaged, or lacks the test image that the figure shows.
    """
    content = read_scores(path)
    scene = settings.scenes.get(content["scene"])
    if scene and scene.image >= len(content["images"]):
        raise damaged(path, f"it has no test image {scene.image + 1}")
    return content


def format_steps(steps: int) -> str:
    """Return a number of steps in words.

    Example:
        >>> format_steps(1), format_steps(2)
        ('1 step', '2 steps')
    """
    return f"{steps} step{'' if steps == 1 else 's'}"


def find_outliers(psnr: dict[RowKey, float]) -> set[RowKey]:
    """Return the rows that lie more than OUTLIER_GAP_DB below the best of their scene."""
    best = {scene: max(value for (other, _), value in psnr.items() if other == scene) for scene, _ in psnr}
    return {(scene, label) for (scene, label), value in psnr.items() if value < best[scene] - OUTLIER_GAP_DB}
