"""The command line: commands and flags, settings from files, messages, exit codes; and the public names of lkca."""

import argparse
import ast
import csv
import errno
import inspect
import io
import json
import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import yaml

import lkca
from lkca.cli import main, make_parser
from lkca.errors import LkcaError, ResourceError
from tests.conftest import REPOSITORY, manifest_of, split_settings, without_privileges

COMMANDS = next(a for a in make_parser()._actions if isinstance(a, argparse._SubParsersAction)).choices

# Users and scripts depend on these. Change them on purpose only, with a line in CHANGELOG.md.
FLAGS = {
    "score": "--reference --estimate --scale --peak --axes --variable",
    "resize": "--input --factor --output --axes --variable",
    "cost": "--config --model --bands --scale",
    "sharpen": "INPUT OUTPUT --scale --method --minutes --steps --blur --seed --or-bicubic --mode --bands --set "
    "--dtype --cog",
    "upscale": "INPUT OUTPUT --model --engine --mode --bands --set --dtype --cog",
    "export": "RUN DIR --licence",
    "info": "FILE",
    "plan": "--config",
    "fetch": "SCENE --accept-terms --config",
    "verify": "SCENE FILE --config",
    "score-tables": "FILE.csv",
    "step": "JOB --experiment --outputs --gpus",
    "adopt": "--config --because JOB",
    "check": "FOLDER",
    "scene": "--settings --out --manifest",
    "split": "--settings --image --scene --manifest --out",
    "settings": "--settings --seed --scene --split --teacher --out",
    "train": "--run --scene --split --teacher --out --history --gpus --adopted",
    "evaluate": "--run --scene --split --manifest --weights --history --image --composite --out --picture",
    "spectrum": "--run --weights --out",
    "efficiency": "--settings --out",
    "table": "--settings --scores --printed --csv --markdown --latex --html --verdicts --comparisons",
    "bicubic_check": "--settings --scores --manifests --printed --out --markdown",
    "figure": "--settings --scores --spectra --images --histories --efficiency --manifests --png --pdf",
    "claims": "--settings --scores --spectra --printed --out --csv",
    "report": "--settings --scenes --splits --runs --tables --figures --spectra --efficiency "
    "--claims --printed --out --provenance",
}


def run_lkca(*words: object) -> subprocess.CompletedProcess[str]:
    """Call the command line as users do, in a new process."""
    command = [sys.executable, "-m", "lkca", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY)


def check_error(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """Run a command that fails, check that it prints one sentence on stderr and nothing else, and return it."""
    try:
        code = main([*map(str, words)])
    except SystemExit as exit:  # from argparse
        code = exit.code
    captured = capsys.readouterr()
    assert code == 2
    assert captured.out == ""
    assert len(captured.err.strip().splitlines()) == 1
    assert captured.err.startswith("lkca: ") and captured.err.rstrip().endswith(".")
    return captured.err


def test_commands_and_flags_are_frozen():
    flags = {
        name: " ".join((action.option_strings or [action.metavar])[0] for action in c._actions if action.dest != "help")
        for name, c in COMMANDS.items()
    }
    assert flags == FLAGS


@pytest.mark.parametrize("name", COMMANDS)
def test_options_are_the_parameters_of_the_function(name):
    module, _, function = COMMANDS[name].get_default("function").partition(":")
    parameters = inspect.signature(getattr(import_module(module), function)).parameters
    options = [action.dest for action in COMMANDS[name]._actions if action.dest != "help"]
    assert options == list(parameters)


def test_help_lists_user_commands_and_names_jobs():
    text = make_parser().format_help()
    listed = {line.split()[0] for line in text.splitlines() if line.startswith("    ") and line.strip()}
    assert {"score", "plan", "check"} <= listed and not {"train", "table"} & listed
    assert all(name in text for name in COMMANDS)


def test_version_equals_that_of_the_citation():
    done = run_lkca("--version")
    assert done.stdout == f"lkca {lkca.__version__}\n" and done.returncode == 0
    assert yaml.safe_load((REPOSITORY / "CITATION.cff").read_text())["version"] == lkca.__version__


def test_score_prints_json(tmp_path, rng):
    a = rng.random((4, 16, 16))
    np.save(tmp_path / "a.npy", a)
    np.save(tmp_path / "b.npy", a + 0.1)
    done = run_lkca("score", "--reference", tmp_path / "a.npy", "--estimate", tmp_path / "b.npy", "--scale", 4)
    assert json.loads(done.stdout)["RMSE"] == pytest.approx(0.1)  # an error of 0.1 everywhere


def test_resize_writes_a_file(tmp_path):
    np.save(tmp_path / "x.npy", np.full((3, 16, 8), 0.5, np.float32))
    assert main(["resize", "--input", f"{tmp_path}/x.npy", "--factor", "0.25", "--output", f"{tmp_path}/y.npy"]) == 0
    assert np.load(tmp_path / "y.npy") == pytest.approx(np.full((3, 4, 2), 0.5))


# Settings of jobs are JSON files, checked by the class that the function takes.


def run_split(folder: Path, settings: str) -> list[str]:
    """Write the files that `lkca split` reads; return its arguments."""
    (folder / "settings.json").write_text(settings)
    (folder / "scene.json").write_text(json.dumps(manifest_of((2, 80, 64))))
    files = {"settings": "settings.json", "scene": "scene.npy", "manifest": "scene.json", "out": "split.json"}
    return [
        "split",
        "--image",
        "0",
        *(word for name, file in files.items() for word in (f"--{name}", str(folder / file))),
    ]


def test_settings_are_read_from_a_file(tmp_path):
    assert main(run_split(tmp_path, split_settings(stride=16).model_dump_json())) == 0
    assert json.loads((tmp_path / "split.json").read_text())["stride"] == 16


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"size"', '"sise"', "settings.json: size is missing"),
        ('"stride":8', '"stride":"8"', "settings.json: stride is the text '8', not a number"),
        ('"rows":32', '"rows":null', "settings.json: test.rows"),
        ("{", "", "settings.json"),
    ],
)
def test_wrong_settings_are_reported_in_one_sentence(tmp_path, capsys, old, new, message):
    settings = split_settings().model_dump_json()
    assert old in settings
    assert message in check_error(capsys, *run_split(tmp_path, settings.replace(old, new)))
    assert not (tmp_path / "split.json").exists()


def test_missing_settings_file_is_named(tmp_path, capsys):
    words = run_split(tmp_path, "")
    (tmp_path / "settings.json").unlink()
    assert f"{tmp_path}/settings.json does not exist" in check_error(capsys, *words)


@pytest.mark.parametrize("name", [name for name, flags in FLAGS.items() if "--settings" in flags])
def test_empty_settings_are_refused(tmp_path, capsys, name):
    """Every job checks its settings before it does anything else."""
    (tmp_path / "settings.json").write_text("{}")
    words = []
    for action in COMMANDS[name]._actions:
        if action.required:
            value = tmp_path / "settings.json" if action.dest == "settings" else 0 if action.type is int else "none"
            words += [action.option_strings[0], value]
    assert "settings.json" in check_error(capsys, name, *words)


# Errors.


def test_wrong_option_is_reported_in_one_sentence(capsys):
    assert "invalid int value: 'x'" in check_error(
        capsys, "score", "--reference", "a", "--estimate", "b", "--scale", "x"
    )
    assert "unrecognized arguments: --modle" in check_error(capsys, "cost", "--modle", "lkca")
    assert "invalid choice: 'trian'" in check_error(capsys, "trian")


@pytest.mark.parametrize("error", [LkcaError("x is wrong."), ResourceError("no room.")])
def test_exit_code_is_that_of_the_error(monkeypatch, capsys, error):
    def fail(**options):
        raise error

    monkeypatch.setattr("lkca.commands.arrays.score", fail)
    assert main(["score", "--reference", "a", "--estimate", "b", "--scale", "4"]) == error.exit_code
    assert capsys.readouterr().err == f"lkca: {error}\n"
    assert (LkcaError.exit_code, ResourceError.exit_code) == (2, 75)


@pytest.mark.parametrize(
    ("code", "exit_code", "words"),
    [
        (errno.EACCES, 2, "a.npy cannot be used (Permission denied): give yourself the permission"),
        (errno.EISDIR, 2, "a.npy cannot be used (Is a directory): a file is needed there"),
        (errno.ENAMETOOLONG, 2, "a.npy cannot be used (File name too long): choose a shorter path."),
        (errno.ENOSPC, 75, "a.npy cannot be used (No space left on device): free disk space"),
        (errno.EIO, 75, "a.npy cannot be used (Input/output error): try again"),
        (errno.ENXIO, 2, "a.npy cannot be used (No such device or address): correct the cause"),
    ],
)
def test_error_of_the_system_is_one_sentence(monkeypatch, capsys, code, exit_code, words):
    def fail(**options):
        raise OSError(code, os.strerror(code), "a.npy")

    monkeypatch.setattr("lkca.commands.arrays.resize", fail)
    assert main(["resize", "--input", "a.npy", "--factor", "2", "--output", "b.npy"]) == exit_code
    message = capsys.readouterr().err
    assert message.startswith(f"lkca: {words}") and message.endswith(".\n") and message.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_unreadable_files_are_named_by_every_command(tmp_path, kind):
    """A file, or one in a folder, that the user may not read."""
    file = tmp_path / "a" / "b.npy"
    file.parent.mkdir()
    np.save(file, np.full((4, 16, 16), 0.5, np.float32))
    commands = [
        ["score", "--reference", file, "--estimate", file, "--scale", 4],
        ["resize", "--input", file, "--factor", 2, "--output", tmp_path / "x.npy"],
        ["score-tables", file],
        ["plan", "--config", file],
        ["cost", "--model", "bicubic", "--config", file],
        ["verify", "chikusei", file, "--config", REPOSITORY / "config.yaml"],
        ["step", "claims", "--experiment", file, "--outputs", "x", "y"],
        ["claims", "--settings", file, "--scores", "--spectra", "--printed", "x", "--out", "y", "--csv", "z"],
        ["check", file.parent],
    ]
    code = "import sys; from lkca.cli import main; [print(main(w.split(chr(31)))) for w in sys.argv[1:]]"
    words = [chr(31).join(map(str, command)) for command in commands]
    (file if kind == "file" else file.parent).chmod(0)
    run = [*without_privileges(), sys.executable, "-c", code, *words]
    done = subprocess.run(run, capture_output=True, text=True, cwd=REPOSITORY)
    file.parent.chmod(0o755)
    messages = done.stderr.splitlines()
    assert done.stdout.split() == ["2"] * len(commands), done.stderr
    assert len(messages) == len(commands)
    assert all(re.match(rf"lkca: {tmp_path}/a\S* ", message) for message in messages), done.stderr
    assert sum("(Permission denied): " in message for message in messages) == len(messages) - (kind == "file")


@pytest.mark.slow
def test_full_disk_behind_the_output_is_one_sentence():
    command = f"{sys.executable} -m lkca cost --model bicubic > /dev/full"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=REPOSITORY)
    assert done.returncode == 75
    assert done.stderr == (
        "lkca: standard output or a file cannot be used (No space left on device): "
        "free disk space or choose another folder.\n"
    )


def test_closed_pipe_ends_quietly():
    """`lkca cost | true`."""
    command = f"{sys.executable} -m lkca cost --model bicubic | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=REPOSITORY)
    assert done.returncode in (0, 141) and "Traceback" not in done.stderr


# lkca cost.


def test_cost_prints_the_papers_numbers(capsys):
    assert main(["cost", "--config", str(REPOSITORY / "config.yaml"), "--model", "lkca_lr"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    sizes = [(row["model"], int(row["bands"]), int(row["scale"])) for row in rows]
    assert sizes == [("lkca_lr", bands, scale) for bands in (128, 48, 102) for scale in (4, 8)]
    printed = [
        ("1.643", "0.338"),
        ("2.540", "0.565"),
        ("1.364", "0.268"),
        ("1.700", "0.353"),
        ("1.552", "0.315"),
        ("2.267", "0.496"),
    ]
    assert [(f"{int(row['params']) / 1e6:.3f}", f"{int(row['macs']) / 1e9:.3f}") for row in rows] == printed


@pytest.mark.slow
def test_cost_says_why_a_size_is_not_possible(capsys):
    config = str(REPOSITORY / "config.yaml")
    assert main(["cost", "--config", config, "--bands", "7", "--scale", "4"]) == 0
    rows = {row["model"]: row for row in csv.DictReader(io.StringIO(capsys.readouterr().out))}
    assert rows["sspsr"]["params"] == rows["sspsr"]["macs"] == ""
    assert "sspsr needs at least 8" in rows["sspsr"]["reason"]
    assert "3 must divide" in rows["fcnn3d_lr"]["reason"]  # each row has its own reason
    assert rows["bicubic"]["params"] == "0" and int(rows["vdsr"]["params"]) > 0
    assert not rows["bicubic"]["reason"] and not rows["vdsr"]["reason"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--model", "lkka"], "--model lkka does not exist: choose one of "),
        (["--scale", 0], "--scale 0 is out of range"),
        (["--bands", 5000], "--bands 5000 is out of range"),
        (["--model", "lkca_lr", "--bands", 3, "--scale", 3], "must divide"),
        (["--config", "none.yaml"], "none.yaml cannot be read"),
    ],
)
def test_cost_refuses_wrong_options(monkeypatch, capsys, words, message):
    monkeypatch.chdir(REPOSITORY)
    assert message in check_error(capsys, "cost", *words)


# import lkca.


def test_import_loads_neither_torch_nor_numpy():
    code = "import sys, lkca, lkca.cli; assert not {'torch', 'numpy', 'pydantic'} & {*sys.modules}"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=REPOSITORY)


def test_public_names_are_imported_at_first_use():
    assert set(lkca.__all__) == set(dir(lkca)) - {"__version__"}
    for name in lkca.__all__:
        assert getattr(lkca, name) is getattr(import_module(lkca._MODULES[name]), name)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        lkca.nothing  # noqa: B018


def test_type_checkers_see_the_same_names():
    (block,) = (node for node in ast.parse(Path(lkca.__file__).read_text()).body if isinstance(node, ast.If))
    assert {alias.name: node.module for node in block.body for alias in node.names} == lkca._MODULES
