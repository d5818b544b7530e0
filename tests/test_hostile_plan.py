"""`lkca plan` and `lkca adopt` on a results folder of a stranger: a plan or one sentence, in bounded time."""

import os
import shutil

import pytest

from lkca.cli import main
from tests.conftest import REPOSITORY

RUN = "results/paper/runs/chikusei_x4/lkca/seed3000"
FILES = [f"{RUN}/run.json", f"{RUN}/history.csv", f"{RUN}/state-0123456789ab.safetensors", f"{RUN}/weights.safetensors"]
FILES += ["results/paper/scenes/chikusei.json", "results/paper/splits/chikusei_x4.json", f"{RUN}/scores.json"]
FILES += ["results/paper/records/runs/chikusei_x4/lkca/seed3000/train.json", "results/.hashes.json"]
FILES += [".snakemake/lkca/failures/runs/chikusei_x4/lkca/seed3000/train.json"]
KINDS = {
    "pipe": os.mkfifo,
    "folder": os.mkdir,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "deep": lambda path: path.write_text("[" * 3000),
    "list": lambda path: path.write_text("[]"),
    "numbers": lambda path: path.write_text('{"scene": 1e400, "areas": [NaN], "reads": {"a": [' + "9" * 5000 + "]}}"),
    "huge": lambda path: os.truncate(os.open(path, os.O_CREAT | os.O_WRONLY), 2**30),
}


@pytest.mark.parametrize("kind", KINDS)
def test_plan_of_hostile_results(tmp_path, monkeypatch, capsys, kind):
    shutil.copy(REPOSITORY / "config.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    for file in FILES if kind == "numbers" else FILES[:: 1 + len(FILES) // 3]:
        path = tmp_path / file
        path.parent.mkdir(parents=True, exist_ok=True)
        KINDS[kind](path)
        code = main(["plan"])
        captured = capsys.readouterr()
        assert code == 0 or (code == 2 and captured.err.count("\n") == 1 and path.name in captured.err), captured
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert main(["adopt", "--because", "x"]) == 2 and "there is nothing to adopt" in capsys.readouterr().err
