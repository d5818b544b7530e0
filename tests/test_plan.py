"""What `lkca plan` prints."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from lkca.config.load import read_config
from lkca.config.settings import RunSettings
from lkca.core.files import write_json
from lkca.core.paths import RUN_FILE, WORKFLOW_CACHE
from lkca.errors import ConfigError, Diverged
from lkca.pipeline.failures import remember_failure
from lkca.pipeline.plan import plan
from lkca.pipeline.results import Results
from tests.conftest import REPOSITORY, paper_settings


def test_plan_fits_100_columns_and_imports_no_torch(tmp_path):
    (tmp_path / "paper.yaml").write_text(yaml.safe_dump(paper_settings(), sort_keys=False))
    words = ["plan", "--config", str(tmp_path / "paper.yaml")]
    command = f"import sys; from lkca.cli import main; sys.exit(main({words}) or 9 * ('torch' in sys.modules))"
    options = {"capture_output": True, "text": True, "cwd": REPOSITORY}
    done = subprocess.run([sys.executable, "-c", command], **options)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(re.findall(r" x[48] ", done.stdout)) == 75
    end = next(i for i, line in enumerate(lines) if line.startswith("trainings"))
    table, totals, splits, jobs = lines[:end], lines[end : end + 6], lines[end + 6 : end + 12], lines[end + 12 :]
    assert max(map(len, table)) <= 100
    assert totals[0].startswith("trainings  75: ")
    assert [line.split()[0] for line in totals[1:]] == ["steps", totals[2].split()[0], "here", "measured", "disk"]
    assert "9,874,760" in totals[1]
    assert "chikusei x4: 3465 patches: 3024 (87 %) for training, 378 (11 %) for validation, 63 (2 %)" in splits[0]
    assert all(line.startswith("split") for line in splits)
    count = re.fullmatch(r"jobs +(\d+): (\d+) up to date, (\d+) to run", jobs[0])
    assert int(count[1]) == int(count[2]) + int(count[3])
    assert all(re.fullmatch(r"  \S.*: \S.*", line) for line in jobs[1:])


def test_plan_tells_what_a_split_leaves_out(monkeypatch, tmp_path, capsys):
    """Patches of 256 every 16 overlap so much that most of Pavia's rows touch the validation rows."""
    (tmp_path / "large.yaml").write_text(json.dumps({"patches": {"x4": {"size": 256, "stride": 16}}}))
    cube = {"cube": {"files": [{"path": str(tmp_path / "a.npy"), "axes": "rows columns bands"}], "bands": "1-128"}}
    (tmp_path / "own.yaml").write_text(json.dumps({"scenes": {"chikusei": cube}}))
    monkeypatch.chdir(tmp_path)
    plan([REPOSITORY / "config.yaml", tmp_path / "large.yaml", tmp_path / "own.yaml"])
    lines = {
        line.split(":")[0].split(maxsplit=1)[1]: line
        for line in capsys.readouterr().out.splitlines()
        if "split  " in line
    }
    grid = ((1096 - 224 - 256) // 16 + 1) * ((715 - 256) // 16 + 1)
    assert f"{grid} patches: " in lines["pavia_centre x4"] and "(overlap with validation)" in lines["pavia_centre x4"]
    assert re.search(r"; patches: {x4: {size: \d+, stride: \d+}} would use", lines["pavia_centre x4"])
    assert "would use" not in lines["pavia_centre x8"]
    assert "unknown until the scene is cut; lkca verify chikusei reads the files" in lines["chikusei x4"]


def test_minutes_and_diverged_trainings_are_named(monkeypatch, tmp_path, capsys):
    """A training of less than an hour does not take 0.0 hours; one that diverged is not waiting."""
    monkeypatch.chdir(tmp_path)
    WORKFLOW_CACHE.mkdir(parents=True)
    overlay = {"train": {"epochs": 1, "steps": 60}, "report": {"tables": ["MINE"], "figures": []}}
    overlay["tables"] = {
        "MINE": {"title": "", "header": "", "scene": "chikusei", "scales": [4], "rows": {"LKCA-LR": "lkca_lr"}}
    }
    (tmp_path / "short.yaml").write_text(json.dumps(overlay))
    files = [REPOSITORY / "config.yaml", tmp_path / "short.yaml"]
    experiment = read_config(files)
    run = experiment.runs()[0]
    path = Path(experiment.paths.run_file(run, RUN_FILE))
    hashes = {"seed": run.seed, "scene_sha256": "0", "split_sha256": "0", "teacher_sha256": None}
    write_json(path, RunSettings.of(experiment, run.group).model_dump() | hashes)
    results = Results(experiment)
    job = results.jobs.get("train", run._asdict())
    with pytest.raises(Diverged), remember_failure(job.name, results.origin(job)):
        raise Diverged("the loss [L1] became NaN: lower train.learning_rate.")
    plan(files)
    lines = capsys.readouterr().out.splitlines()
    assert re.match(r"diverged: 1 +chikusei +x4 +lkca_lr +3000 +0/1 +0 +[\d.]+ (s|min) ", lines[1])
    assert lines[2] == "diverged   the loss [L1] became NaN: lower train.learning_rate."
    assert "trainings  1: 1 diverged" in lines
    assert any(re.match(r"here +at least [\d.]+ (s|min), with ", line) for line in lines)


def test_wrong_setting_is_one_sentence(tmp_path):
    (tmp_path / "wrong.yaml").write_text("modles: {}\n")
    command = [sys.executable, "-m", "lkca", "plan", "--config", "config.yaml", str(tmp_path / "wrong.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY)
    assert done.returncode == 2 and "modles is not a setting" in done.stderr and done.stdout == ""


def test_scene_without_room_for_training_is_an_error(monkeypatch, tmp_path):
    small = {"scenes": {"chikusei": {"test": {"rows": 2048, "columns": 2048, "tile": 512}}}}
    (tmp_path / "small.yaml").write_text(json.dumps(small | {"patches": {"x8": {"size": 256, "stride": 64}}}))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="scenes.chikusei"):
        plan([REPOSITORY / "config.yaml", tmp_path / "small.yaml"])
