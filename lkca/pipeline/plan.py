"""What there is to do, how far it is and what it will cost: estimates of memory and time, and `lkca plan`.

Nothing needs torch: the Snakefile asks on every call. Estimates are coarse, within about a factor of two. Times come
from what runs of the same model and scale took, else from benchmarks/training_*.csv, in proportion to the work.
"""

import csv
import json
import os
import sys
from collections import Counter
from dataclasses import dataclass
from math import ceil, inf
from pathlib import Path
from shutil import disk_usage
from statistics import median
from typing import NamedTuple

import yaml
from rich.filesize import decimal
from safetensors import SafetensorError, safe_open

from lkca.config.load import read_config
from lkca.config.schema import Experiment
from lkca.config.settings import RunSettings, make_split_settings
from lkca.core import gpus
from lkca.core.files import read_csv, read_json, sha256
from lkca.core.locks import lock_path, try_lock
from lkca.core.paths import STATE_PATTERN, WEIGHTS_FILE, RunGroup, RunKey
from lkca.data import patches, splits
from lkca.errors import LkcaError
from lkca.models.registry import MODELS, CostEstimate, estimate_cost
from lkca.pipeline.records import Results

REPOSITORY = Path(__file__).parents[2]
KEPT = 75  # multiply-accumulates that take as long as one number that is kept: so LKCA-Net's time grows with its depth
ASSUMED = 4e10  # multiply-accumulates a second of a core, where nothing was measured
ALIKE = ("precision", "compile", "deterministic")  # settings on which speed depends
NAMED = 2  # jobs in a line of the plan
LONGEST = 24 * 60  # minutes that a job asks for at first: what takes longer is gone on with by its retries


Run = tuple  # (scene, scale, model) and maybe a seed


def network_cost(e: Experiment, run: Run) -> CostEstimate:
    """Return the approximate cost of the network of a run."""
    scene, scale, model = run[:3]
    m = e.models[model]
    return estimate_cost(m.arch, e.scenes[scene].bands, scale, m.args, m.upsampler and m.upsampler.model_dump())


def pixels(e: Experiment, run: Run) -> int:
    """LR pixels of a patch."""
    return (e.patches[f"x{run[1]}"].size // run[1]) ** 2


def work(e: Experiment, run: Run) -> float:
    """What a step of training costs, in multiply-accumulates: forward, backward as twice that, the teacher forward."""
    m = e.models[run[2]]
    student = network_cost(e, run)
    teacher = network_cost(e, (*run[:2], m.distill.teacher)) if m.distill else CostEstimate(0, 0, 0)
    passes = 3 * (student.macs + KEPT * student.activations) + teacher.macs + KEPT * teacher.activations
    return passes * pixels(e, run) * e.train_settings(RunGroup(*run[:3])).batch


def counted(e: Experiment, scene: str, scale: int) -> dict[str, int] | None:
    """Patches `train` and `validation`, images `test`, and `pixels` of a scene; None where only its files know.

    Raises:
        LkcaError: If the scene is too small for the split.
    """
    cube, manifest = e.scenes[scene].resolve_cube(), Path(f"results/{e.experiment}/scenes/{scene}.json")
    if crop := cube.crop or (cube.shape and (0, cube.shape[0], 0, cube.shape[1])):
        rows, columns = crop[1] - crop[0], crop[3] - crop[2]
        uses = [file.use for file in cube.files]
        areas = [{"use": use, "row": i * rows, "rows": rows, "columns": columns} for i, use in enumerate(uses)]
    elif manifest.exists():
        areas = read_json(manifest)["areas"]
    else:
        return None
    split = splits.make_split(make_split_settings(e, scene, scale), areas, f"scenes.{scene}")
    whole = sum(area["rows"] for area in areas) * max(area["columns"] for area in areas)
    parts = {"train": split.train, "validation": split.validation, "test": split.test}
    return {name: len(part) for name, part in parts.items()} | {"pixels": whole}


class Estimate(NamedTuple):
    """Of a job: memory of the machine and of the GPU, bytes; seconds of a GPU or of a core, inf where unknown."""

    memory: float
    gpu_memory: float
    seconds: float

    def mem_mb(self) -> int:
        return ceil(self.memory / 1e6)

    def minutes(self) -> int:
        """What to ask for: twice the estimate and something to begin with, but no more than LONGEST."""
        return ceil(min(LONGEST, 15 + self.seconds / 30))


class Estimates:
    """Of an experiment's jobs on a kind of machine.

    Args:
        e: The experiment.
        gpu: Whether they run on GPUs.
        folder: Of training_*.csv.

    Attributes:
        of_gpu: Whether seconds are those of a GPU: not where none was measured.
        source: What they come from, in words.
        seen: Multiply-accumulates a second that runs of a (model, scale) reached; preferred to what was measured.
    """

    def __init__(self, e: Experiment, gpu: bool, folder: Path = REPOSITORY / "benchmarks") -> None:
        self.e, self.gpu, self.seen, self.scenes, self.rows = e, gpu, {}, {}, []
        here = ["-".join(name.lower().split()) for _, name in gpus.installed_gpus()] if gpu else []
        files = sorted(folder.glob("training_*.csv"), key=lambda file: (not any(n in file.stem for n in here), file))
        on_gpus = [file for file in files if file.stem.startswith("training_nvidia")]
        self.of_gpu = gpu and bool(on_gpus)
        file = next((file for file in files if (file in on_gpus) == self.of_gpu), None)
        self.source = file.name if file else f"a guess, {ASSUMED:.0e} multiply-accumulates a second and core"
        self.source += ", as no GPU was measured" if gpu > self.of_gpu else ""
        if file:
            self.measured = read_config([REPOSITORY / "config.yaml"])
            with file.open(newline="", encoding="utf-8") as lines:
                self.rows = [row for row in csv.DictReader(lines) if row["network"] in self.measured.models]
            self.source += "; vdsr and fcnn3d, not measured, as lkca" if "vdsr" not in str(self.rows) else ""

    def pace(self, run: Run) -> float:
        """Multiply-accumulates a second: as runs of this model reached, or as measured of the network most like it."""
        m, recipe = self.e.models[run[2]], self.e.train_settings(RunGroup(*run[:3]))
        if not self.rows or (run[2], run[1]) in self.seen:
            return self.seen.get((run[2], run[1]), ASSUMED)

        def unlike(row: dict[str, str]) -> tuple:
            other = self.measured.models[row["network"]]
            changed = dict(word.split("=", 1) for word in row["settings"].split())
            settings = other.train.model_dump() | {name: yaml.safe_load(value) for name, value in changed.items()}
            return (
                (m.arch != other.arch) * (1 + (other.arch != "lkca")),
                sum(settings.get(name) != getattr(recipe, name, None) for name in ALIKE),
                row["network"] != run[2],
                (m.distill is None) != (other.distill is None),
                m.upsampler != other.upsampler,
            )

        row = min(self.rows, key=unlike)
        same = "chikusei", 4, row["network"]  # what was measured: 128 bands, x4, LR patches of 16 x 16
        a_sample = work(self.measured, same) / self.measured.train_settings(RunGroup(*same)).batch
        return float(row["samples_per_second"]) * a_sample / (1 if self.of_gpu else int(row["threads"]))

    def scene(self, run: Run) -> dict[str, int] | None:
        """What is counted of its scene, once; None also for one that is too small: its split will say so."""
        if run[:2] not in self.scenes:
            try:
                self.scenes[run[:2]] = counted(self.e, *run[:2])
            except LkcaError:
                self.scenes[run[:2]] = None
        return self.scenes[run[:2]]

    def steps(self, run: Run) -> int | None:
        """Steps of an epoch; None where they are not known yet."""
        recipe, scene = self.e.train_settings(RunGroup(*run[:3])), self.scene(run)
        return scene and min(recipe.steps or inf, ceil(scene["train"] * patches.ORIENTATIONS / recipe.batch))

    def training(self, run: Run) -> Estimate:
        """Of a whole training."""
        recipe, steps, own = self.e.train_settings(RunGroup(*run[:3])), self.steps(run), network_cost(self.e, run)
        images = recipe.batch if self.gpu else min(recipe.batch, patches.CPU_MICRO_BATCH)
        activations = images * pixels(self.e, run) * own.activations
        needs = 4 * activations + 16 * own.parameters  # with gradient and Adam's moments
        return self._estimate(run, needs, recipe.epochs * steps * self.step(run) if steps else inf)

    def step(self, run: Run) -> float:
        """Seconds of a step of training."""
        return work(self.e, run) / self.pace(run)

    def evaluation(self, run: Run) -> Estimate:
        """Of the reconstruction and the scores of all test images."""
        m, own, scene = self.e.models[run[2]], network_cost(self.e, run), self.e.scenes[run[0]]
        image, images = (
            scene.test.tile_shape()[0] * scene.test.tile_shape()[1],
            (self.scene(run) or {"test": 1})["test"],
        )
        wide = 6 * m.args["width"] if MODELS[m.arch].power_of_two_only else 0  # channels as large as the result
        needs = 4 * image * (5 * scene.bands + wide) + 4 * own.parameters
        forward = (own.macs + KEPT * own.activations) / run[1] ** 2 / (self.pace(run) if m.train else ASSUMED)
        return self._estimate(run, needs, 15 + images * image * (forward + 2e-7 * scene.bands))  # and the scores

    def _estimate(self, run: Run, needs: float, seconds: float) -> Estimate:
        scene = 4 * self.e.scenes[run[0]].bands * (self.scene(run) or {"pixels": 10**7})["pixels"]
        if self.gpu:  # it holds the scene, and its allocator half as much again; the host has CUDA's context
            return Estimate(4e9 + scene, 1e9 + scene + 1.5 * needs, seconds)
        return Estimate(5e8 + needs, 0, seconds)  # the scene is mapped from its file


STATES = ["running", "interrupted", "waiting", "needs teacher", "done"]


@dataclass
class Training:
    """A training and how far it is: epochs in all, steps of an epoch and steps done, seconds spent and left."""

    run: Run
    state: str
    epochs: int
    steps: int | None
    done: int
    spent: float
    left: float = 0.0


def trainings(results: Results, estimates: Estimates) -> list[Training]:
    """All trainings of an experiment with what results/ tells of them, ordered by state."""
    e, found = results.experiment, {}
    for run in e.runs():
        if recipe := e.train_settings(RunGroup(*run[:3])):
            state, done, spent = _state(results, run)
            found[run] = Training(run, state, recipe.epochs, estimates.steps(run), done, spent)
    begun = [each for each in found.values() if each.done and each.spent]
    for key in {(each.run[2], each.run[1]) for each in begun}:
        same = [each for each in begun if (each.run[2], each.run[1]) == key]
        estimates.seen[key] = median(each.done * work(e, each.run) / each.spent for each in same)
    for each in found.values():
        teacher = teacher_of(e, each.run)
        if each.state == "waiting" and teacher and found[teacher].state != "done":
            each.state = "needs teacher"
        if each.state != "done":
            steps = each.steps and max(0, each.epochs * each.steps - each.done)
            each.left = inf if steps is None else steps * estimates.step(each.run)
    return sorted(found.values(), key=lambda each: STATES.index(each.state))


def teacher_of(e: Experiment, run: Run) -> Run | None:
    distill = e.models[run[2]].distill
    return (*run[:2], distill.teacher, *run[3:]) if distill else None


def file_of(e: Experiment, run: Run, name: str) -> Path:
    return Path("results/{}/runs/{}_x{}/{}/seed{}/{}".format(e.experiment, *run, name))


def _state(results: Results, run: Run) -> tuple[str, int, float]:
    """State, steps and seconds of a training; of files that belong to other settings or other code nothing counts."""
    e = results.experiment
    settings, history = file_of(e, run, "run.json"), file_of(e, run, "history.csv")
    if (
        not settings.exists()
        or not RunSettings.of(e, RunGroup(*run[:3])).model_dump().items() <= read_json(settings).items()
    ):
        return "waiting", 0, 0.0
    job = results.jobs.get("train", RunKey(*run)._asdict())
    if results.reason(job) is None and not results.changed(job):
        last = read_csv(history)[-1]
        return "done", int(last["steps"]), float(last["seconds"])
    made_from = {"run_sha256": sha256(settings), "code": job.code().digest}
    states = [_metadata(path) for path in settings.parent.glob(STATE_PATTERN)]
    own = [json.loads(state["facts"]) for state in states if made_from.items() <= state.items()]
    done, spent = max(((at["epoch"] * at["steps"] + at["step"], at["seconds"]) for at in own), default=(0, 0.0))
    held = _held(lock_path(settings.with_name(WEIGHTS_FILE)))
    return "running" if held else "interrupted" if own else "waiting", done, spent


def _metadata(path: Path) -> dict[str, str]:
    try:
        with safe_open(path, "numpy") as file:
            return file.metadata() or {}
    except (OSError, SafetensorError):
        return {}


def _held(lock: Path) -> bool:
    """Whether a process holds a lock; to look is to take it for a moment."""
    try:
        with lock.open("r+") as file:  # file systems of a network lock only what may be written
            return not try_lock(file, lock)
    except OSError:
        return False


def plan(config: list[Path]) -> None:
    """Print what runs, how far it is, and what the rest will cost.

    Args:
        config: config.yaml and overlays.

    Raises:
        LkcaError: If a setting is wrong, or a scene too small.
    """
    from rich.console import Console  # which takes longer to import than all the rest
    from rich.table import Table

    results, total = Results(read_config(config)), len(gpus.visible_gpus())
    e = results.experiment
    for scene, scale in sorted({run[:2] for run in e.runs()}):
        counted(e, scene, scale)
    estimates = Estimates(e, gpu=total > 0)
    found, console = trainings(results, estimates), Console(width=None if sys.stdout.isatty() else 100, highlight=False)
    table = Table("state", "scene", "scale", "model", "seed", box=None, pad_edge=False)
    for name in ("epoch", "hours", "left", "GB"):
        table.add_column(name, justify="right")
    for i, each in enumerate(found):
        scene, scale, model, seed = each.run
        first = i == 0 or found[i - 1].state != each.state
        number, whole = sum(other.state == each.state for other in found), estimates.training(each.run)
        epoch = each.done // each.steps if each.steps else 0
        table.add_row(
            f"{each.state}: {number}" if first else "",
            *(scene, f"x{scale}", model, str(seed), f"{epoch}/{each.epochs}"),
            *(_hours(each.spent), _hours(each.left), f"{(whole.gpu_memory or whole.memory) / 1e9:.1f}"),
        )
    console.print(table)
    for name, text in _totals(e, estimates, found, total).items():
        console.print(f"{name:11}{text}", soft_wrap=True)
    pending = results.pending()
    results.hashes.save()
    made = len(results.jobs.all) - len(pending)
    console.print(f"{'jobs':11}{len(results.jobs.all)}: {made} up to date, {len(pending)} to run", soft_wrap=True)
    for text, names in _grouped(pending):
        console.print(f"  {names}: {text}", soft_wrap=True, markup=False)


def _grouped(pending: dict[str, str]) -> list[tuple[str, str]]:
    """The reasons of jobs, each with the names of those that have it, or how many there are."""
    groups: dict[str, list[str]] = {}
    for name, text in pending.items():
        groups.setdefault(text, []).append(name)
    return [
        (text, ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if names[NAMED:] else ""))
        for text, names in groups.items()
    ]


def _totals(e: Experiment, estimates: Estimates, found: list[Training], gpus: int) -> dict[str, str]:
    """The lines below the table; hours are those of what is known."""
    unit, slots = ("GPU", gpus) if estimates.of_gpu else ("core", len(os.sched_getaffinity(0)))
    states, left = Counter(each.state for each in found), {each.run: each.left for each in found if each.left < inf}
    unknown = f"; unknown until the scenes are cut: {len(found) - len(left)}" if len(left) < len(found) else ""
    scoring = sum(estimates.evaluation(r).seconds for r in e.runs() if not file_of(e, r, "scores.json").exists())
    chain = max((hours + left.get(teacher_of(e, run), 0) for run, hours in left.items()), default=0)
    rest = sum(left.values()) + scoring
    return {
        "trainings": f"{len(found)}: "
        + ", ".join(f"{states[name]} {name}" for name in STATES if states[name])
        + unknown,
        "steps": f"{sum(each.epochs * (each.steps or 0) for each in found):,} in all; "
        f"done {sum(each.done for each in found):,}",
        f"{unit} hours": f"{_hours(sum(estimates.training(run).seconds for run in left))} in all; "
        f"left {_hours(rest)}, of which {_hours(scoring)} for scores",
        "here": f"{_hours(max(chain, rest / slots))} hours or more, with {slots} {unit}{'s' * (slots > 1)}",
        "measured": estimates.source,
        "disk": _disk(e, estimates, [each.run for each in found if each.state != "done"]),
    }


def _hours(seconds: float) -> str:
    return "?" if seconds == inf else f"{seconds / 3600:,.1f}"


def _disk(e: Experiment, estimates: Estimates, runs: list[Run]) -> str:
    """What is still to come, and the room for it."""
    downloads, unknown, cut = 0, [], 0
    for scene, scale in {run[0]: run[1] for run in e.runs()}.items():
        cube, of = e.scenes[scene].resolve_cube(), estimates.scene((scene, scale))
        if of and not Path(f"results/{e.experiment}/scenes/{scene}.npy").exists():
            cut += 4 * e.scenes[scene].bands * of["pixels"]
        try:
            cube.resolve_files()
        except LkcaError:
            sizes = [file.bytes for file in cube.files if not file.local_path().is_file()]
            downloads, unknown = downloads + sum(filter(None, sizes)), unknown + [scene] * (None in sizes)
    weights = [4 * network_cost(e, run).parameters for run in runs]
    ends = 2 * sum(weights) + 4 * max(weights, default=0)  # weights, and the state of a training that is over or runs
    more = f" and {', '.join(unknown)} (size unknown)" if unknown else ""
    free = decimal(disk_usage(Path("results") if Path("results").exists() else Path()).free)
    return f"downloads {decimal(downloads)}{more}, scenes {decimal(cut)}, runs {decimal(int(ends))}; free {free}"
