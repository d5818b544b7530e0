"""Read the progress of the trainings of an experiment from results/."""

from collections import defaultdict
from dataclasses import dataclass
from math import inf
from pathlib import Path
from statistics import median
from typing import NamedTuple

from pydantic import ValidationError
from safetensors import SafetensorError, safe_open

from lkca.config.settings import RunSettings
from lkca.core.files import open_file, sha256
from lkca.core.locks import lock_path, try_lock
from lkca.core.paths import HISTORY_FILE, RUN_FILE, STATE_PATTERN, WEIGHTS_FILE, RunKey
from lkca.core.result_files import Count, Number, ResultFile, RunIdentity, read_history, read_result
from lkca.errors import LkcaError
from lkca.pipeline.estimates import Estimates, sample_macs
from lkca.pipeline.failures import read_failure
from lkca.pipeline.results import Results

STATES = ["running", "interrupted", "diverged", "failed", "waiting", "needs teacher", "done"]


@dataclass
class Training:
    """A training and its progress.

    Args:
        run: The run.
        state: One of STATES.
        epochs: Number of epochs of the whole training.
        steps_per_epoch: Number of steps in an epoch; None if it is unknown until the scene is cut from its files.
        steps_done: Number of steps that are done.
        seconds_spent: Time that these took.
        failure: Why it diverged or failed; empty if it did not.
        seconds_left: Estimated time for the other steps; inf if unknown.
    """

    run: RunKey
    state: str
    epochs: int
    steps_per_epoch: int | None
    steps_done: int
    seconds_spent: float
    failure: str
    seconds_left: float = 0.0


class SavedProgress(ResultFile):
    """The progress in the metadata of the state of a training; other fields are ignored."""

    epoch: Count
    steps_per_epoch: Count
    step: Count
    seconds: Number


class Status(NamedTuple):
    """The progress of a training according to results/."""

    state: str
    steps_done: int = 0
    seconds_spent: float = 0.0
    failure: str = ""


def list_trainings(results: Results, estimates: Estimates) -> list[Training]:
    """Return all trainings of an experiment, ordered by state.

    The throughput of trainings that have begun becomes part of `estimates`, for the others.
    """
    experiment = results.experiment
    trainings = {}
    for run in experiment.runs():
        if train := experiment.train_settings(run.group):
            status = _read_status(results, run)
            trainings[run] = Training(
                run, status.state, train.epochs, estimates.steps_per_epoch(run.group), *status[1:]
            )
    _observe_throughput(list(trainings.values()), estimates)
    for training in trainings.values():
        teacher = experiment.teacher(training.run)
        if training.state == "waiting" and teacher and trainings[teacher].state != "done":
            training.state = "needs teacher"
        if training.state == "done":
            continue
        if training.steps_per_epoch is None:
            training.seconds_left = inf
        else:
            steps = max(0, training.epochs * training.steps_per_epoch - training.steps_done)
            training.seconds_left = steps * estimates.step_seconds(training.run.group)
    return sorted(trainings.values(), key=lambda training: STATES.index(training.state))


def _observe_throughput(trainings: list[Training], estimates: Estimates) -> None:
    """Set the observed throughput of each model and scale to the median over its trainings that have begun."""
    experiment, throughputs = estimates.experiment, defaultdict(list)
    for training in trainings:
        train = experiment.train_settings(training.run.group)
        if train and training.steps_done and training.seconds_spent:
            macs = training.steps_done * train.batch * sample_macs(experiment, training.run.group)
            throughputs[training.run.model, training.run.scale].append(macs / training.seconds_spent)
    estimates.observed_throughput |= {key: median(values) for key, values in throughputs.items()}


def _read_status(results: Results, run: RunKey) -> Status:
    """Return the progress of a training; files of other settings or other code are ignored."""
    experiment = results.experiment
    run_file = Path(experiment.paths.run_file(run, RUN_FILE))
    settings = RunSettings.of(experiment, run.group).model_dump()
    if not run_file.exists() or not settings.items() <= read_result(run_file, RunIdentity).items():
        return Status("waiting")
    job = results.jobs.get("train", run._asdict())
    if results.reason(job) is None and not results.changed(job):
        last_epoch = read_history(run_file.with_name(HISTORY_FILE), "steps", "seconds")[-1]
        return Status("done", int(last_epoch["steps"]), float(last_epoch["seconds"]))
    key = {"run_sha256": sha256(run_file), "code": job.code().digest}
    metadata = [_read_metadata(path) for path in run_file.parent.glob(STATE_PATTERN)]
    saved = [progress for state in metadata if key.items() <= state.items() and (progress := _read_progress(state))]
    steps, seconds = max(
        ((state.epoch * state.steps_per_epoch + state.step, state.seconds) for state in saved), default=(0, 0.0)
    )
    if _is_locked(lock_path(run_file.with_name(WEIGHTS_FILE))):
        return Status("running", steps, seconds)
    if failure := read_failure(job.name, results.origin(job)):
        return Status("diverged" if failure.diverged else "failed", steps, seconds, failure.message)
    return Status("interrupted" if saved else "waiting", steps, seconds)


def _read_progress(metadata: dict[str, str]) -> SavedProgress | None:
    """Return the progress in the metadata of a state; None if another version of lkca has saved it, or it is bad."""
    try:
        return SavedProgress.model_validate_json(metadata.get("progress", ""))
    except ValidationError:
        return None


def _read_metadata(path: Path) -> dict[str, str]:
    """Return the metadata of a safetensors file; empty if the file is damaged."""
    try:
        open_file(path).close()  # safe_open would wait for the writer of a pipe
        with safe_open(path, "numpy") as file:
            return file.metadata() or {}
    except (OSError, SafetensorError, LkcaError):
        return {}


def _is_locked(lock: Path) -> bool:
    """Return whether a process holds a lock; this tries to take it."""
    try:
        with lock.open("r+") as file:  # network file systems lock only files that are open for writing
            return not try_lock(file, lock)
    except OSError:
        return False
