"""Failures that a retry would repeat: the job is not run again until the next call of snakemake."""

import subprocess
import sys
from pathlib import Path

import pytest

from lkca.core.paths import FAILURES, WORKFLOW_CACHE
from lkca.errors import Diverged, LkcaError, ResourceError
from lkca.pipeline.failures import forget_failures, remember_failure
from tests.conftest import clean_shell, copy_checkout


class Job:
    """A job that counts how often it runs."""

    def __init__(self, error: Exception | None):
        self.error, self.runs = error, 0

    def run(self, made_from: str = "x") -> None:
        with remember_failure("runs/a/train", {"settings": made_from}):
            self.runs += 1
            if self.error:
                raise self.error


@pytest.fixture(autouse=True)
def workflow_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    WORKFLOW_CACHE.mkdir(parents=True)


def test_deterministic_failure_is_repeated_without_running():
    job = Job(Diverged("the loss became NaN: lower learning_rate."))
    for _ in range(3):
        with pytest.raises(LkcaError, match="the loss became NaN") as error:
            job.run()
        assert error.value.exit_code == 2
    assert job.runs == 1


def test_other_settings_or_another_call_run_the_job_again():
    job = Job(LkcaError("wrong."))
    for made_from, runs in (("x", 1), ("y", 2), ("y", 2)):
        with pytest.raises(LkcaError):
            job.run(made_from)
        assert job.runs == runs
    forget_failures()
    with pytest.raises(LkcaError):
        job.run("y")
    assert job.runs == 3


@pytest.mark.parametrize("error", [ResourceError("the disk is full."), RuntimeError("a bug"), KeyboardInterrupt()])
def test_other_failures_are_retried(error):
    job = Job(error)
    for _ in range(2):
        with pytest.raises(type(error)):
            job.run()
    assert job.runs == 2 and not FAILURES.exists()


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"message": "x"}'])
def test_damaged_note_is_ignored(text):
    note = FAILURES / "runs/a/train.json"
    note.parent.mkdir(parents=True)
    note.write_text(text)
    job = Job(None)
    job.run()
    assert job.runs == 1


def test_outside_of_a_workflow_nothing_is_written():
    WORKFLOW_CACHE.rmdir()
    job = Job(LkcaError("wrong."))
    for _ in range(2):
        with pytest.raises(LkcaError):
            job.run()
    assert job.runs == 2 and not WORKFLOW_CACHE.exists()


@pytest.mark.slow
def test_snakemake_retries_repeat_the_message(tmp_path):
    """A split whose test area leaves no room for patches, with `--retries 2`, then in another call without retries."""
    folder = copy_checkout(tmp_path / "lkca")
    config = folder / "tests/tiny.yaml"
    text = config.read_text()
    assert "rows: 64, columns: 128" in text
    config.write_text(text.replace("rows: 64, columns: 128", "rows: 128, columns: 128"))
    split, repeated = "results/tiny/splits/chikusei_x4", "is not tried again"

    def log_of_call(retries: int) -> str:
        program = Path(sys.executable).with_name("snakemake")
        words = ["--cores", "1", "--retries", str(retries), "--configfile", "config.yaml", "tests/tiny.yaml", "--"]
        done = subprocess.run(
            [program, *words, f"{split}.json"], cwd=folder, env=clean_shell(folder), capture_output=True, text=True
        )
        assert done.returncode != 0
        assert done.stderr.count("Trying to restart job") == retries
        return (folder / f"{split}.log").read_text()

    log = log_of_call(retries=2)
    assert repeated in log and "no room for training" in log
    log = log_of_call(retries=0)
    assert repeated not in log and "no room for training" in log
