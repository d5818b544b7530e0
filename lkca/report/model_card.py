"""The model card of a network to share: what it is, how it was trained and scored, its limits, and how to use it."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lkca import __version__
from lkca.config.run import read_run
from lkca.config.schema import RunConfig, Train
from lkca.core.files import is_file, sha256
from lkca.core.paths import RUN_FILE, SCORES_FILE, ExperimentPaths, RunGroup
from lkca.core.printing import printable
from lkca.core.result_files import ShownManifest, SplitFile, read_result
from lkca.errors import LkcaError
from lkca.inference.model_file import LoadedModel, experiment_folder, find_scene_file, read_scores_of
from lkca.inference.onnx_export import Deviation
from lkca.inference.onnx_model import OPSET
from lkca.inference.self_training import BICUBIC_FOLDER, SPLIT_FILE
from lkca.inference.shared_model import SharedModel, describe_bands, describe_blur, describe_network, describe_values
from lkca.paper.statistics import MIN_IMAGES, Uncertain, estimate_mean
from lkca.report.render import render
from lkca.scoring.metrics import SCORES

LICENCE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]{0,63}")  # SPDX
MAX_NAME = 100  # characters
BICUBIC = "bicubic"


def make_model_card(run: Path, model: LoadedModel, deviations: Sequence[Deviation]) -> str:
    """Return the model card of a network, as Markdown with the front matter that Hugging Face reads.

    Args:
        run: The folder of the run.
        model: The network and the hash of the file to share.
        deviations: How far its ONNX graph is from torch; empty if it has none.

    Raises:
        DataError, StaleInput: If a file of the run is damaged or of another run.
    """
    settings, facts = read_run(run / RUN_FILE), model.facts
    manifest, scores = read_result(find_scene_file(run, settings), ShownManifest), read_scores_of(run)
    split = _read_split(run, settings)
    bicubic = _read_bicubic(run, settings, scores) if scores else None
    images = scores["images"] if scores else []
    rows = _score_rows(scores, bicubic) if scores else []
    return render(
        "model_card.md.j2",
        facts=facts,
        licence_id=facts.licence.lower() if facts.licence and LICENCE_ID.fullmatch(facts.licence) else "other",
        network=describe_network(facts),
        scene=printable(settings.scene, MAX_NAME),
        size=" × ".join(map(str, manifest["shape"][1:])) + " pixels",
        bands=describe_bands(facts),
        values=describe_values(facts),
        blur=describe_blur(facts),
        numbers=split["numbers"] if split else None,
        size_of_patch=split["size"] if split else None,
        seed=settings.seed,
        training=_describe_training(settings),
        rows=rows,
        num_images=len(images),
        has_intervals=len(images) >= MIN_IMAGES,
        min_images=MIN_IMAGES,
        untrained=bool(scores and scores["untrained"]),
        has_bicubic=bicubic is not None,
        code=_describe_code(facts),
        deviation=max((each.onnx for each in deviations), default=None),
        opset=OPSET,
        sizes=", ".join(f"{each.rows} × {each.columns}" for each in deviations),
        version=__version__,
        sha256=model.sha256,
        scene_sha256=settings.scene_sha256,
    )


def _describe_training(settings: RunConfig) -> dict[str, str]:
    """Return the settings of the training: name -> value."""
    train = settings.train
    assert isinstance(train, Train)
    shown = {name: str(value) for name, value in train.model_dump().items() if value is not None}
    if settings.distill:
        shown["learns from"] = printable(settings.distill.teacher, MAX_NAME)
    return {name.replace("_", " "): value for name, value in shown.items()}


def _describe_code(facts: SharedModel) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in facts.versions.items())
    return f"commit {facts.commit or 'unknown'}; {versions}"


def _read_split(run: Path, settings: RunConfig) -> dict[str, Any] | None:
    """Return the split of a run; None if neither its folder nor its experiment has it any more."""
    for path in (run / SPLIT_FILE, experiment_folder(run) / ExperimentPaths().split(settings.scene, settings.scale)):
        if is_file(path) and sha256(path) == settings.split_sha256:
            return read_result(path, SplitFile)
    return None


def _read_bicubic(run: Path, settings: RunConfig, scores: dict[str, Any]) -> dict[str, Any] | None:
    """Return the scores of bicubic on the same test images; None if there are none beside the run."""
    group = RunGroup(settings.scene, settings.scale, BICUBIC)
    folder = (experiment_folder(run) / group.with_seed(0).folder).parent
    beside = run / BICUBIC_FOLDER / SCORES_FILE  # in the folder of lkca sharpen
    for path in [*([beside] if is_file(beside) else []), *sorted(folder.glob(f"seed*/{SCORES_FILE}"))]:
        try:
            other, bicubic = read_run(path.with_name(RUN_FILE)), read_scores_of(path.parent)
        except LkcaError:
            continue
        same = (other.scene_sha256, other.split_sha256) == (settings.scene_sha256, settings.split_sha256)
        if bicubic and same and other.arch == BICUBIC and _windows(bicubic) == _windows(scores):
            return bicubic
    return None


def _windows(scores: dict[str, Any]) -> list[list[int]]:
    return [image["window"] for image in scores["images"]]


def _score_rows(scores: dict[str, Any], bicubic: dict[str, Any] | None) -> list[dict[str, str]]:
    """Return a row for each score: its name, our mean, that of bicubic and the difference, with intervals."""
    rows = []
    for name, score in SCORES.items():
        ours, other = _mean(scores, name), _mean(bicubic, name) if bicubic else None
        unit = f" ({score.unit})" if score.unit else ""
        row = {"name": f"{score.heading}{unit} {'↑' if score.direction > 0 else '↓'}"}
        row["ours"] = _format(ours, score.decimals, limits=score.limits)
        if other is not None:
            row["bicubic"] = _format(other, score.decimals, limits=score.limits)
            row["difference"] = _format(ours - other, score.decimals, sign="+")
        rows.append(row)
    return rows


def _mean(scores: dict[str, Any], name: str) -> Uncertain:
    """Return the mean of a score over the test images, which are random; the weights are not."""
    values = np.array([[image["scores"][name] for image in scores["images"]]], float)
    return estimate_mean(values, images="test images", seeds=None)


def _format(number: Uncertain, decimals: int, sign: str = "", limits: tuple[float, float] = (-np.inf, np.inf)) -> str:
    """Return a number with its interval, without impossible values, if it has one."""
    text = f"{number.value:{sign}.{decimals}f}"
    if (interval := number.interval()) is None:
        return text
    low, high = np.clip(interval, *limits)
    return f"{text} ({low:{sign}.{decimals}f} to {high:{sign}.{decimals}f})"
