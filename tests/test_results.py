"""Which jobs have to run again, and why."""

import errno
import os
from pathlib import Path

import pytest

from lkca.config.load import read_config
from lkca.core.fingerprint import Code
from lkca.pipeline.results import CHANGED, MISSING, Results
from tests.conftest import REPOSITORY

SPLIT = "splits/chikusei_x4"
MANIFEST, OUTPUT = Path("results/tiny/scenes/chikusei.json"), Path(f"results/tiny/{SPLIT}.json")


@pytest.fixture
def experiment(monkeypatch, tmp_path):
    """An experiment with a split that was made, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    experiment = read_config([REPOSITORY / "config.yaml", REPOSITORY / "tests/tiny.yaml"])
    for path in (MANIFEST, OUTPUT):
        path.parent.mkdir(parents=True)
        path.write_text("{}")
    record(experiment)
    return experiment


def record(experiment, **changes):
    """Write the record of the split, as if it had read and written the files that are there."""
    results = Results(experiment)
    job = results.jobs.by_name(SPLIT)
    results.write_record(job, job.code(), [])


def reason(experiment):
    results = Results(experiment)
    return results.reason(results.jobs.by_name(SPLIT))


def test_finished_job_has_no_reason(experiment):
    assert reason(experiment) is None


def test_touched_file_is_no_change(experiment):
    MANIFEST.touch()
    assert reason(experiment) is None


def test_changed_input(experiment):
    MANIFEST.write_text("{ }")
    assert reason(experiment)[:2] == (CHANGED, f"{MANIFEST} has changed")


def test_missing_input_is_no_change(experiment):
    """Its own job makes it again; if the content is then another one, that is a change."""
    MANIFEST.unlink()
    assert reason(experiment) is None


def test_edited_output(experiment):
    OUTPUT.write_text("{ }")
    assert reason(experiment)[:2] == (CHANGED, f"{OUTPUT} is not what this job wrote")


def test_missing_output(experiment):
    OUTPUT.unlink()
    assert reason(experiment)[:2] == (MISSING, f"{OUTPUT} is missing")


def test_no_record_and_no_output(experiment):
    Path(experiment.paths.record(SPLIT)).unlink()
    assert reason(experiment).kind == CHANGED
    OUTPUT.unlink()
    assert reason(experiment).kind == MISSING


def test_changed_setting_names_both_values(experiment):
    other = experiment.model_copy(update={"validation": 0.25})
    kind, text, only_code = reason(other)
    assert (kind, only_code) == (CHANGED, False)
    assert text == f"validation was {experiment.validation}, is 0.25 now"


def test_changed_code(experiment, monkeypatch):
    code = Results(experiment).jobs.by_name(SPLIT).code()
    modules = code.modules | {"lkca.data.splits": "another"}
    monkeypatch.setattr("lkca.config.job.Job.code", lambda job: Code("another", modules))
    kind, text, only_code = reason(experiment)
    assert (kind, only_code) == (CHANGED, True)
    assert "lkca/data/splits.py" in text


def read_files(monkeypatch, *paths):
    """Have the split read these files as well."""
    reads = {str(path): str(path) for path in (MANIFEST, *paths)}
    monkeypatch.setattr("lkca.config.job.Job.reads", lambda job: reads if job.step == "split" else {})


def test_renamed_input_of_the_same_content_is_no_change(experiment, monkeypatch):
    old, new = Path("old.csv"), Path("new.csv")
    old.write_text("printed numbers")
    read_files(monkeypatch, old)
    record(experiment)
    old.rename(new)
    read_files(monkeypatch, new)
    assert reason(experiment) is None
    new.write_text("other numbers")
    assert reason(experiment)[:2] == (CHANGED, f"it now reads {new}")


def test_additional_and_dropped_input(experiment, monkeypatch):
    extra = Path("extra.csv")
    extra.write_text("more numbers")
    read_files(monkeypatch, extra)
    assert reason(experiment)[:2] == (CHANGED, f"it now reads {extra}")
    record(experiment)
    assert reason(experiment) is None
    read_files(monkeypatch)
    assert reason(experiment)[:2] == (CHANGED, f"it no longer reads {extra}")


def test_job_runs_if_one_that_it_needs_changes(experiment):
    """The scene, which the split reads, has no record."""
    results = Results(experiment)
    split = results.jobs.by_name(SPLIT)
    assert results.changed(split) and results.explain(split) == "scenes/chikusei runs again"


def test_forced_job_runs(experiment):
    results = Results(experiment)
    split = results.jobs.by_name(SPLIT)
    for forced in ("split", str(OUTPUT)):
        results.forced = {forced}
        assert results.is_forced(split)
    results.forced = {"train"}
    assert not results.is_forced(split)


def test_unreadable_folder_of_records_is_an_error(experiment, monkeypatch):
    """A folder without permissions, which root may read; so os.scandir fails here, with which os.walk reads folders."""
    folder, scandir = Path(experiment.paths.records()) / "splits", os.scandir

    def scan(path="."):
        if Path(path) == folder:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", scan)
    with pytest.raises(PermissionError, match=str(folder)):
        Results(experiment)
