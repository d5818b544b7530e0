"""`lkca step`: what it refuses, and the record that it leaves."""

import json
from pathlib import Path

import pytest

from lkca.config.load import dump_snapshot, read_config
from lkca.core.files import sha256
from lkca.data import splits
from lkca.errors import ConfigError, StaleInput
from lkca.pipeline.records import read_record
from lkca.pipeline.results import Results
from lkca.pipeline.step import run_step
from tests.conftest import REPOSITORY


def test_input_changed_while_the_job_runs(tmp_path, monkeypatch):
    """Another program replaces the manifest of a split."""
    monkeypatch.chdir(tmp_path)
    experiment = read_config([REPOSITORY / "config.yaml", REPOSITORY / "tests/tiny.yaml"])
    (tmp_path / "e.json").write_text(dump_snapshot(experiment))
    manifest = Path("results/tiny/scenes/chikusei.json")
    manifest.parent.mkdir(parents=True)
    area = {"use": "both", "row": 0, "rows": 145, "columns": 145, "crop": [0, 145, 0, 145]}
    manifest.write_text(json.dumps({"scene": "chikusei", "divisor": 1, "sha256": "c0" * 32, "areas": [area]}))
    record_job(experiment, "scenes/chikusei")
    arguments = "splits/chikusei_x4", tmp_path / "e.json", [Path("results/tiny/splits/chikusei_x4.json")], 0
    run_step(*arguments)
    record = read_record(Path("results/tiny/records/splits/chikusei_x4.json"))
    assert record.reads[str(manifest)][0] == sha256(manifest)
    job = Results(experiment).jobs.by_name("splits/chikusei_x4")
    assert Results(experiment).reason(job) is None
    split = splits.write_split

    def replace_meanwhile(**options):
        split(**options)
        manifest.write_text("{}")

    monkeypatch.setattr(splits, "write_split", replace_meanwhile)
    with pytest.raises(StaleInput, match="scenes/chikusei.json was changed while splits/chikusei_x4 read it"):
        run_step(*arguments)
    assert Results(experiment).reason(job).text == f"{manifest} has changed"


def record_job(experiment, name: str) -> None:
    """Write the record of a job, as if it had written the files that are there."""
    results = Results(experiment)
    job = results.jobs.by_name(name)
    results.write_record(job, job.code(), [])


def test_unknown_job_and_wrong_outputs(paper, tmp_path):
    (tmp_path / "e.json").write_text(dump_snapshot(paper))
    with pytest.raises(ConfigError, match="runs/x_x4/lkca/seed0/train is not a job of paper"):
        run_step("runs/x_x4/lkca/seed0/train", tmp_path / "e.json", [], 0)
    for name in ("tables/NOPE", "splits/chikusei_x5", "runs/chikusei_x4/bicubic/seed3000/train"):
        with pytest.raises(ConfigError, match=f"{name} is not a job of paper"):
            run_step(name, tmp_path / "e.json", [], 0)
    with pytest.raises(ConfigError, match="--outputs: claims writes 2 files, not 1"):
        run_step("claims", tmp_path / "e.json", [tmp_path / "a"], 0)
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(ConfigError, match="bad.json"):
        run_step("claims", tmp_path / "bad.json", [], 0)
    with pytest.raises(ConfigError, match="none.json"):
        run_step("claims", tmp_path / "none.json", [], 0)
