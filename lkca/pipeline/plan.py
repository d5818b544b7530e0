"""`lkca plan`: print the progress of the trainings, the cost of the rest, and the jobs that would run."""

import os
import sys
from collections import Counter, defaultdict
from math import inf
from pathlib import Path
from shutil import disk_usage
from typing import TYPE_CHECKING

from rich.filesize import decimal

from lkca.config.load import find_config_files, locate_errors, read_config
from lkca.config.schema import Experiment
from lkca.config.settings import make_split_settings
from lkca.core import gpus
from lkca.core.files import is_file
from lkca.core.paths import RESULTS, SCORES_FILE, RunGroup, RunKey
from lkca.core.printing import printable
from lkca.data.splits import describe_split, make_split
from lkca.errors import LkcaError
from lkca.pipeline.estimates import Estimates, find_areas, network_cost
from lkca.pipeline.results import Results
from lkca.pipeline.status import STATES, Training, list_trainings

if TYPE_CHECKING:
    from rich.table import Table

MAX_LISTED_JOBS = 2  # names of jobs in one line
WIDTH = 100  # of the table if the output is not a terminal


def plan(config: list[Path]) -> None:
    """Print the progress of the trainings, the cost of the rest, and the jobs that would run.

    Args:
        config: Overlays of config.yaml, or other files: see `find_config_files`.

    Raises:
        ConfigError: If a setting is wrong, or a scene is too small for its split.
    """
    from rich.console import Console  # here, because it takes longer to import than everything else

    results, num_gpus = Results(read_config(find_config_files(config))), len(gpus.visible_gpus())
    experiment = results.experiment
    with locate_errors(experiment):
        use = _describe_splits(experiment)
    estimates = Estimates(experiment, gpu=num_gpus > 0)
    trainings = list_trainings(results, estimates)
    console = Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False)
    console.print(_make_table(trainings, estimates))
    for training in trainings:
        if training.failure:
            print(f"{training.state:11}{printable(training.failure)}")
    for name, text in _summarize(estimates, trainings, num_gpus).items():
        print(f"{name:11}{text}")
    for line in use:
        print(line)
    pending = results.pending()
    results.hashes.save()
    total = len(results.jobs.all)
    print(f"{'jobs':11}{total}: {total - len(pending)} up to date, {len(pending)} to run")
    for line in _group_by_reason(pending):
        print(f"  {printable(line)}")


def _describe_splits(experiment: Experiment) -> list[str]:
    """Return a line for each split of the experiment: which patches it uses.

    Raises:
        ConfigError: If a scene is too small for its split.
    """
    lines = []
    for scene, scale in sorted({(run.scene, run.scale) for run in experiment.runs()}):
        text = f"unknown until the scene is cut; lkca verify {scene} reads the files"
        if found := find_areas(experiment, scene):
            settings, (areas, invalid) = make_split_settings(experiment, scene, scale), found
            split = make_split(settings, areas, f"scenes.{scene}", invalid)
            text = describe_split(settings, areas, split, invalid)
        lines.append(f"split      {scene} x{scale}: {text}")
    return lines


def _make_table(trainings: list[Training], estimates: Estimates) -> "Table":
    """Return a table with a line for each training; a state is written in the first of its lines."""
    from rich.table import Table

    table = Table("state", "scene", "scale", "model", "seed", box=None, pad_edge=False)
    for name in ("epoch", "spent", "left", "GB"):
        table.add_column(name, justify="right")
    counts, previous = Counter(training.state for training in trainings), None
    for training in trainings:
        scene, scale, model, seed = training.run
        estimate = estimates.training(training.run.group)
        epoch = training.steps_done // training.steps_per_epoch if training.steps_per_epoch else 0
        table.add_row(
            f"{training.state}: {counts[training.state]}" if training.state != previous else "",
            scene,
            f"x{scale}",
            model,
            str(seed),
            f"{epoch}/{training.epochs}",
            _format_time(training.seconds_spent),
            _format_time(training.seconds_left),
            f"{(estimate.gpu_memory or estimate.memory) / 1e9:.1f}",
        )
        previous = training.state
    return table


def _summarize(estimates: Estimates, trainings: list[Training], num_gpus: int) -> dict[str, str]:
    """Return the lines below the table: name -> text. Times leave out trainings whose steps are unknown."""
    experiment = estimates.experiment
    unit, num_units = ("GPU", num_gpus) if estimates.per_gpu else ("core", len(os.sched_getaffinity(0)))
    states = Counter(training.state for training in trainings)
    seconds_left = {training.run: training.seconds_left for training in trainings if training.seconds_left < inf}
    unknown = len(trainings) - len(seconds_left)
    unscored = [run for run in experiment.runs() if not Path(experiment.paths.run_file(run, SCORES_FILE)).exists()]
    scoring = sum(estimates.evaluation(run.group).seconds for run in unscored)
    total = sum(estimates.training(run.group).seconds for run in seconds_left)
    rest = sum(seconds_left.values()) + scoring
    longest = max((_chain_seconds(experiment, run, seconds_left) for run in seconds_left), default=0)
    steps = sum(training.epochs * (training.steps_per_epoch or 0) for training in trainings)
    return {
        "trainings": f"{len(trainings)}: "
        + ", ".join(f"{states[name]} {name}" for name in STATES if states[name])
        + (f"; unknown until the scenes are cut: {unknown}" if unknown else ""),
        "steps": f"{steps:,} in total; done {sum(training.steps_done for training in trainings):,}",
        f"{unit} time": f"{_format_time(total)} in total; left {_format_time(rest)}, "
        f"of which {_format_time(scoring)} for scores",
        "here": f"at least {_format_time(max(longest, rest / num_units))}, "
        f"with {num_units} {unit}{'s' * (num_units > 1)}",
        "measured": estimates.source,
        "disk": _describe_disk(estimates, [training.run for training in trainings if training.state != "done"]),
    }


def _chain_seconds(experiment: Experiment, run: RunKey, seconds_left: dict[RunKey, float]) -> float:
    """Return the estimated seconds until a training is done if nothing delays it and its teacher."""
    teacher = experiment.teacher(run)
    return seconds_left[run] + (seconds_left.get(teacher, 0) if teacher else 0)


def _format_time(seconds: float) -> str:
    """Return a time in seconds, minutes or hours, with two digits or more.

    Example:
        >>> [_format_time(seconds) for seconds in (0, 0.2, 59, 90, 5400, 36_000_000, inf)]
        ['0', '1 s', '59 s', '1.5 min', '1.5 h', '10,000 h', '?']
    """
    if seconds in (0, inf):
        return "?" if seconds else "0"
    size, unit = next(((size, unit) for size, unit in ((3600, "h"), (60, "min")) if seconds >= size), (1, "s"))
    number = seconds / size
    return f"{max(1, round(number)):,} {unit}" if unit == "s" or number >= 10 else f"{number:.1f} {unit}"


def _describe_disk(estimates: Estimates, runs: list[RunKey]) -> str:
    """Return the disk space that downloads, scenes and runs will take, and the free space, in words."""
    experiment = estimates.experiment
    downloads, unknown, scenes = 0, [], 0
    for name, group in {run.scene: run.group for run in experiment.runs()}.items():
        cube, counts = experiment.scenes[name].resolve_cube(), estimates.split_counts(group)
        if counts and not Path(experiment.paths.scene(name)).exists():
            scenes += 4 * experiment.scenes[name].bands * counts.pixels
        try:
            cube.resolve_files()
        except LkcaError:
            sizes = [file.bytes for file in cube.files if not is_file(file.local_path())]
            downloads += sum(size or 0 for size in sizes)
            if None in sizes:
                unknown.append(name)
    more = f" and {', '.join(unknown)} (size unknown)" if unknown else ""
    folder = Path(RESULTS) if Path(RESULTS).exists() else Path()
    return (
        f"downloads {decimal(downloads)}{more}, scenes {decimal(scenes)}, "
        f"runs {decimal(_count_run_bytes(experiment, [run.group for run in runs]))}; "
        f"free {decimal(disk_usage(folder).free)}"
    )


def _count_run_bytes(experiment: Experiment, groups: list[RunGroup]) -> int:
    """Return the bytes that the weights and the states of runs will take."""
    weights = [4 * network_cost(experiment, group).parameters for group in groups]
    # A finished training keeps its best weights twice, as output and in its state; a running one also the optimiser's.
    return int(2 * sum(weights) + 4 * max(weights, default=0))


def _group_by_reason(pending: dict[str, str]) -> list[str]:
    """Return a line for each reason, with the first jobs that have it and the number of the others."""
    jobs = defaultdict(list)
    for name, reason in pending.items():
        jobs[reason].append(name)
    lines = []
    for reason, names in jobs.items():
        more = len(names) - MAX_LISTED_JOBS
        lines.append(f"{', '.join(names[:MAX_LISTED_JOBS])}{f' and {more} more' if more > 0 else ''}: {reason}")
    return lines
