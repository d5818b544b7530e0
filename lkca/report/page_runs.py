"""The runs of the page: their files, their lines in the table of runs, and the data of the run window."""

import gzip
import json
from base64 import b64encode
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from lkca.config.settings import ReportSettings, ReportTable
from lkca.core.files import sha256
from lkca.core.paths import HISTORY_FILE, IMAGE_FILE, SCORES_FILE, WEIGHTS_FILE
from lkca.core.result_files import RunIdentity, read_history, read_result, read_table
from lkca.report.figures.style import method_colour_and_dash
from lkca.scoring.score_files import read_scores

UNKNOWN = "–"
HISTORY_COLUMNS = ("epoch", "steps", "loss", "val_mpsnr", "seconds")
IMAGE_FIELDS = ("window", "scores", "mae", "mae_edges")  # not the many numbers of bands and blocks


class RowLabel(NamedTuple):
    """The label of a model, and the table or figure that the label is from."""

    label: str
    source: str


RowLabels = dict[tuple[str, int], dict[str, RowLabel]]  # scene and scale -> model -> its label


class ReportRun:
    """A run with the files next to its run.json.

    Args:
        path: Its run.json.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.settings: dict[str, Any] = read_result(path, RunIdentity)
        self.scores: dict[str, Any] = read_scores(path.with_name(SCORES_FILE))
        self.scores["images"] = [{name: image[name] for name in IMAGE_FIELDS} for image in self.scores["images"]]
        self.scene, self.scale, self.model, self.seed = (
            self.settings[name] for name in ("scene", "scale", "model", "seed")
        )

    @cached_property
    def history(self) -> pd.DataFrame | None:
        """The history.csv of the training, all cells as text; None for a method without training."""
        path = self.path.with_name(HISTORY_FILE)
        return pd.DataFrame(read_history(path, *HISTORY_COLUMNS)) if path.exists() else None

    def hashes(self) -> dict[Path, str]:
        """Return the SHA-256 of the files of the run; take those that scores.json records from there."""
        hashes = {path: sha256(path) for path in (self.path, self.path.with_name(SCORES_FILE))}
        for name, key in ((WEIGHTS_FILE, "weights"), (HISTORY_FILE, "history"), (IMAGE_FILE, "image")):
            if digest := self.scores[f"{key}_sha256"]:
                hashes[self.path.with_name(name)] = digest
        return hashes

    def table_line(self) -> dict[str, Any]:
        """Return the line of the run in the table of runs: column -> text, and `seconds`."""
        seconds = self.scores["seconds"]
        return {
            "scene": self.scene,
            "scale": self.scale,
            "model": self.model,
            "seed": self.seed,
            **self._training(),
            "evaluation": format_duration(seconds["evaluation"]),
            "seconds": seconds,
            "memory": self._peak_memory(),
        }

    def _training(self) -> dict[str, str]:
        if self.history is None:
            return dict.fromkeys(("steps", "epoch", "loss", "mpsnr", "training"), UNKNOWN)
        first, last = self.history.iloc[0], self.history.iloc[-1]
        return {
            "steps": f"{int(last['steps']):,}",
            "epoch": f"{self.scores['epoch']} of {len(self.history)}",
            "loss": f"{float(first['loss']):.4f} → {float(last['loss']):.4f}",
            "mpsnr": f"{float(last['val_mpsnr']):.2f}",
            "training": format_duration(float(last["seconds"])),
        }

    def _peak_memory(self) -> str:
        """Return the highest resident memory that Snakemake measured, in words."""
        peaks = [
            float(line["max_rss"])
            for job in ("train", "evaluate")
            for line in read_benchmark(self.path.with_name(f"{job}.benchmark.tsv"))
            if line["max_rss"]
        ]
        return f"{max(peaks) / 1024:.2f} GiB" if peaks else UNKNOWN

    def window_data(self) -> dict[str, Any]:
        """Return what the run window shows of this seed: settings, scores, training curve, end of the history."""
        history = None
        if self.history is not None:
            history = {
                "steps": self.history["steps"].astype(int).tolist(),
                "mpsnr": self.history["val_mpsnr"].astype(float).round(4).tolist(),
                "last": self.history.tail(3).to_csv(index=False, lineterminator="\n").rstrip(),
            }
        return {"run": self.settings, "scores": self.scores, "history": history}


def sort_tables(settings: ReportSettings) -> list[ReportTable]:
    """Return the tables, the largest one first."""
    return sorted(settings.tables, key=lambda table: -len(table.scales) * len(table.rows))


def label_rows(settings: ReportSettings) -> RowLabels:
    """Return the labels of all models: each from the largest table that has the model, else from a figure."""
    labels: RowLabels = {}
    for table in sort_tables(settings):
        for scale in table.scales:
            models = labels.setdefault((table.scene, scale), {})
            for label, model in table.rows.items():
                models.setdefault(model or "", RowLabel(label, f"Table {table.name}"))
    for figure in settings.figures:
        for scene in figure.scenes:
            models = labels.setdefault((scene, figure.scale), {})
            for label, model in figure.rows.items():
                models.setdefault(model or "", RowLabel(label, f"Figure {figure.name}"))
    return labels


def select_main_rows(models: Mapping[str, RowLabel]) -> dict[str, str]:
    """Return the rows of the largest table of a scene and scale: model -> label.

    Args:
        models: The labels of the scene and scale, as `label_rows` returns them.
    """
    source = next(iter(models.values())).source
    return {model: row.label for model, row in models.items() if row.source == source}


def pack_run_windows(
    settings: ReportSettings, labels: RowLabels, runs: Iterable[ReportRun], verdicts: Iterable[Mapping[str, str]]
) -> str:
    """Return the data of the run windows, as JSON, gzip, base64: anchor of the run's line -> data of its window.

    Args:
        settings: The report.
        labels: Scene and scale -> the labels of the models.
        runs: All runs; the seeds of a model share a window.
        verdicts: Lines of all *.verdicts.csv.
    """
    rows = {table.name: table.rows for table in settings.tables}
    printed: dict[tuple[str, int, str | None], list[dict[str, str]]] = {}
    for line in verdicts:
        key = line["scene"], int(line["scale"]), rows[line["table"]].get(line["row"])
        shown = {name: line[name] for name in ("table", "column", "printed", "verdict", "why")}
        printed.setdefault(key, []).append(shown)
    windows: dict[str, dict[str, Any]] = {}
    for run in runs:
        row = labels.get((run.scene, run.scale), {}).get(run.model)
        window = windows.setdefault(
            f"run-{run.scene}-{run.scale}-{run.model}",
            {
                "title": f"{run.model} on {settings.scenes[run.scene].title} ×{run.scale}",
                "label": f"{row.label}, {row.source}" if row else "",
                "printed": printed.get((run.scene, run.scale, run.model), []),
                "style": line_style(settings, run.model),
                "seeds": [],
            },
        )
        window["seeds"].append(run.window_data())
    return b64encode(gzip.compress(json.dumps(windows).encode(), 6, mtime=0)).decode()


def line_style(settings: ReportSettings, model: str) -> dict[str, str]:
    """Return the attributes of a line of a model in charts, with the colour and the dashes that it has in figures."""
    colour, dash = method_colour_and_dash(settings.looks.get(model, 0))
    return {"stroke": colour, "stroke-dasharray": dash}


def read_benchmark(path: Path) -> list[dict[str, str]]:
    """Return the lines of a benchmark file of Snakemake; none if the file is missing.

    `s` and `max_rss` are empty if they were not measured, because the job was too short.

    Raises:
        DataError: If it is damaged.
    """
    return read_table(path, (), ("s", "max_rss"), "\t", unknown=("-", "NA")) if path.exists() else []


def format_duration(seconds: float) -> str:
    """Return a duration in words.

    Example:
        >>> format_duration(12.34), format_duration(200), format_duration(3725)
        ('12.3 s', '3 min 20 s', '1 h 02 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min {rest:02d} s"
