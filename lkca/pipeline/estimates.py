"""Estimate the memory and the time that trainings and evaluations need.

The estimates are within about a factor of two. Times come from the finished and interrupted trainings of the same
model and scale, else from benchmarks/training_*.csv, in proportion to the multiply-accumulates (MACs). This module
does not import torch, because every call of snakemake imports it.
"""

import csv
from math import ceil, inf
from pathlib import Path
from typing import NamedTuple

import yaml

from lkca.config.load import read_config
from lkca.config.schema import Experiment, Train
from lkca.config.settings import make_split_settings
from lkca.core import gpus
from lkca.core.paths import RunGroup
from lkca.core.result_files import SceneAreas, read_result
from lkca.data import patches, splits
from lkca.data.windows import Area, InvalidPixels, SplitProblem, divide
from lkca.errors import LkcaError
from lkca.models.registry import MODELS, CostEstimate, estimate_cost
from lkca.pipeline.phrases import join_parts

REPOSITORY = Path(__file__).parents[2]
BENCHMARKS = REPOSITORY / "benchmarks"
MACS_PER_ACTIVATION = 75  # MACs that take as long as keeping one number for the gradient; measured
ASSUMED_THROUGHPUT = 4e10  # MACs per second and core, if nothing was measured
SPEED_SETTINGS = ("precision", "compile", "deterministic")  # training settings that change the speed of a step
MAX_MINUTES = 24 * 60  # limit of the requested time; a longer training continues in its retries
START_MINUTES = 15  # added to twice the estimate in each request
UNKNOWN_SCENE_PIXELS = 10**7  # assumed for a scene whose size is unknown


class SplitCounts(NamedTuple):
    """Numbers of training patches, validation patches and test images of a split, and of pixels of its scene."""

    train: int
    validation: int
    test: int
    pixels: int


class Estimate(NamedTuple):
    """The needs of a job: memory and GPU memory, bytes; seconds of one GPU or one core, inf if unknown."""

    memory: float
    gpu_memory: float
    seconds: float

    @property
    def mem_mb(self) -> int:
        """The memory to request, megabytes."""
        return ceil(self.memory / 1e6)

    @property
    def minutes(self) -> int:
        """The minutes to request: twice the estimate plus START_MINUTES, at most MAX_MINUTES."""
        return ceil(min(MAX_MINUTES, START_MINUTES + 2 * self.seconds / 60))


def network_cost(experiment: Experiment, group: RunGroup) -> CostEstimate:
    """Return the approximate cost of the network of a run."""
    model, bands = experiment.models[group.model], experiment.scenes[group.scene].bands
    upsampler = model.upsampler.model_dump() if model.upsampler else None
    return estimate_cost(model.arch, bands, group.scale, model.args, upsampler)


def sample_macs(experiment: Experiment, group: RunGroup) -> float:
    """Return the MACs of one patch in a training step: forward, backward as twice that, and forward of the teacher."""
    distill = experiment.models[group.model].distill
    macs = 3 * _pass_macs(network_cost(experiment, group))
    if distill:
        macs += _pass_macs(network_cost(experiment, group._replace(model=distill.teacher)))
    return macs * _patch_pixels(experiment, group.scale)


def _pass_macs(cost: CostEstimate) -> float:
    """Return the MACs of a forward pass for one LR pixel; the time to keep activations is expressed in MACs."""
    return cost.macs + MACS_PER_ACTIVATION * cost.activations


def _patch_pixels(experiment: Experiment, scale: int) -> int:
    """Return the number of LR pixels of a patch."""
    return (experiment.patches[f"x{scale}"].size // scale) ** 2


def find_areas(experiment: Experiment, scene: str) -> tuple[list[Area], InvalidPixels | None] | None:
    """Return the areas and the invalid pixels of a scene; None if they are unknown until it is cut from its files.

    Raises:
        StaleInput: If the scene is not that of its manifest.
    """
    cube, paths = experiment.scenes[scene].resolve_cube(), experiment.paths
    manifest, array = Path(paths.manifest(scene)), Path(paths.scene(scene))
    cut = read_result(manifest, SceneAreas) if manifest.exists() else None
    if cut and cut.get("invalid_pixels") and not array.exists():
        cut = None
    if crop := cube.crop or (cube.shape and (0, cube.shape[0], 0, cube.shape[1])):
        rows, columns = crop[1] - crop[0], crop[3] - crop[2]
        areas: list[Area] = [
            {"use": file.use, "row": i * rows, "rows": rows, "columns": columns} for i, file in enumerate(cube.files)
        ]
        if not cut or [{name: area[name] for name in areas[0]} for area in cut["areas"]] != areas:
            return areas, None
    if not cut:
        return None
    return cut["areas"], splits.read_invalid_pixels(array, cut)


def count_split(experiment: Experiment, scene: str, scale: int) -> SplitCounts | None:
    """Return the size of a scene and of its split.

    Return None if they are unknown until the scene is cut from its files, or if it cannot be divided, which the job
    that divides it reports.
    """
    found = find_areas(experiment, scene)
    if found is None:
        return None
    areas, invalid = found
    try:
        split = divide(make_split_settings(experiment, scene, scale), areas, invalid)
    except SplitProblem:
        return None
    pixels = sum(area["rows"] for area in areas) * max(area["columns"] for area in areas)
    return SplitCounts(len(split.train), len(split.validation), len(split.test), pixels)


class Estimates:
    """Estimates for the jobs of an experiment on one kind of machine.

    Args:
        experiment: The experiment.
        gpu: Whether the jobs run on GPUs.
        folder: The folder of the measurements, training_*.csv.

    Attributes:
        per_gpu: Whether seconds are those of a GPU; else they are those of a core, as without measurements of a GPU.
        source: The origin of the times, in words.
        observed_throughput: (model, scale) -> MACs per second that runs reached; preferred to the measurements.
    """

    def __init__(self, experiment: Experiment, gpu: bool, folder: Path = BENCHMARKS) -> None:
        self.experiment, self.gpu = experiment, gpu
        self.observed_throughput: dict[tuple[str, int], float] = {}
        self._split_counts: dict[tuple[str, int], SplitCounts | None] = {}
        self._rows: list[dict[str, str]] = []  # the measurements
        file, self.per_gpu = _find_measurements(folder, gpu)
        self.source = (
            file.name if file else f"a guess, {ASSUMED_THROUGHPUT:.0e} multiply-accumulates per second and core"
        )
        if gpu and not self.per_gpu:
            self.source += ", as no GPU was measured"
        if file:
            self._measured = read_config([REPOSITORY / "config.yaml"])
            with file.open(newline="", encoding="utf-8") as lines:
                self._rows = [row for row in csv.DictReader(lines) if row["network"] in self._measured.models]
            if missing := self._unmeasured_networks():
                verbs = "were not measured and count" if missing[1:] else "was not measured and counts"
                self.source += f"; {join_parts(missing)} {verbs} as lkca"

    def _unmeasured_networks(self) -> list[str]:
        """Return the networks that the experiment trains and no measurement has, if there are measurements."""
        measured = {self._measured.models[row["network"]].arch for row in self._rows}
        models = (self.experiment.models[run.model] for run in self.experiment.runs())
        trained = {model.arch for model in models if model.train}
        return [arch for arch in MODELS if measured and arch in trained - measured]

    def training(self, group: RunGroup) -> Estimate:
        """Return the estimate for a whole training."""
        train, steps, cost = self._train(group), self.steps_per_epoch(group), network_cost(self.experiment, group)
        images = train.batch if self.gpu else min(train.batch, patches.CPU_MICRO_BATCH)
        activations = images * _patch_pixels(self.experiment, group.scale) * cost.activations
        tensors = 4 * activations + 16 * cost.parameters  # float32; with the gradient and Adam's two moments
        return self._estimate(group, tensors, train.epochs * steps * self.step_seconds(group) if steps else inf)

    def evaluation(self, group: RunGroup) -> Estimate:
        """Return the estimate for the reconstruction and the scores of all test images."""
        model, scene = self.experiment.models[group.model], self.experiment.scenes[group.scene]
        cost, counts = network_cost(self.experiment, group), self.split_counts(group)
        rows, columns = scene.test.tile_shape()
        pixels = rows * columns  # of a test image
        full_size_channels = 6 * model.args["width"] if MODELS[model.arch].power_of_two_only else 0
        tensors = 4 * pixels * (5 * scene.bands + full_size_channels) + 4 * cost.parameters
        throughput = self.throughput(group) if model.train else ASSUMED_THROUGHPUT
        reconstruction = _pass_macs(cost) / group.scale**2 / throughput  # seconds for an HR pixel
        scores = 2e-7 * scene.bands
        images = counts.test if counts else 1
        return self._estimate(group, tensors, 15 + images * pixels * (reconstruction + scores))

    def _estimate(self, group: RunGroup, tensors: float, seconds: float) -> Estimate:
        counts = self.split_counts(group)
        scene = 4 * self.experiment.scenes[group.scene].bands * (counts.pixels if counts else UNKNOWN_SCENE_PIXELS)
        if (
            self.gpu
        ):  # the GPU also holds the scene, and its allocator takes half as much again; the host holds CUDA's context
            return Estimate(4e9 + scene, 1e9 + scene + 1.5 * tensors, seconds)
        return Estimate(5e8 + tensors, 0, seconds)  # the scene is mapped from its file

    def step_seconds(self, group: RunGroup) -> float:
        """Return the seconds of a training step."""
        return sample_macs(self.experiment, group) * self._train(group).batch / self.throughput(group)

    def steps_per_epoch(self, group: RunGroup) -> int | None:
        """Return the number of steps in an epoch; None if it is unknown until the scene is cut from its files."""
        train, counts = self._train(group), self.split_counts(group)
        if counts is None:
            return None
        steps = ceil(counts.train * patches.ORIENTATIONS / train.batch)
        return min(train.steps, steps) if train.steps else steps

    def split_counts(self, group: RunGroup) -> SplitCounts | None:
        """Return the size of the scene and of its split; None if it is unknown, or too small for the split."""
        key = group.scene, group.scale
        if key not in self._split_counts:
            try:
                self._split_counts[key] = count_split(self.experiment, *key)
            except LkcaError:  # the job that splits the scene reports the error
                self._split_counts[key] = None
        return self._split_counts[key]

    def throughput(self, group: RunGroup) -> float:
        """Return the MACs per second that runs of this model or the most similar measured network reached."""
        observed = self.observed_throughput.get((group.model, group.scale))
        if observed or not self._rows:
            return observed or ASSUMED_THROUGHPUT
        row = min(self._rows, key=lambda row: self._dissimilarity(group, row))
        measured = RunGroup("chikusei", 4, row["network"])  # the benchmark has 128 bands, x4, LR patches of 16 x 16
        macs = sample_macs(self._measured, measured)
        return float(row["samples_per_second"]) * macs / (1 if self.per_gpu else int(row["threads"]))

    def _dissimilarity(self, group: RunGroup, row: dict[str, str]) -> tuple[int, ...]:
        """Return the differences between a measured network and the network of a run, the most important one first."""
        model, train = self.experiment.models[group.model], self._train(group)
        measured = self._measured.models[row["network"]]
        changes = dict(word.split("=", 1) for word in row["settings"].split())
        settings = measured.train.model_dump() if measured.train else {}
        settings |= {name: yaml.safe_load(value) for name, value in changes.items()}
        return (
            (model.arch != measured.arch) * (1 + (measured.arch != "lkca")),
            sum(settings.get(name) != getattr(train, name) for name in SPEED_SETTINGS),
            row["network"] != group.model,
            (model.distill is None) != (measured.distill is None),
            model.upsampler != measured.upsampler,
        )

    def _train(self, group: RunGroup) -> Train:
        train = self.experiment.train_settings(group)
        if train is None:
            raise ValueError(f"{group.model} is not trained: estimate trainings of networks only.")
        return train


def _find_measurements(folder: Path, gpu: bool) -> tuple[Path | None, bool]:
    """Return the file of measurements that suits this machine best, or None, and whether it is of a GPU.

    Files of installed GPUs come first; otherwise the order of the names decides.
    """
    installed = ["-".join(name.lower().split()) for _, name in gpus.installed_gpus()] if gpu else []
    files = sorted(
        folder.glob("training_*.csv"), key=lambda file: (not any(name in file.stem for name in installed), file)
    )
    gpu_files = [file for file in files if file.stem.startswith("training_nvidia")]
    if gpu and gpu_files:
        return gpu_files[0], True
    return next((file for file in files if file not in gpu_files), None), False
