"""The command line: options are parameters, errors are sentences, `cost` prints what the paper does."""

import argparse
import csv
import inspect
import io
import json
import subprocess
import sys
from importlib import import_module

import numpy as np
import pytest

from lkca.cli import main, parser
from tests.conftest import REPOSITORY

COMMANDS = next(a for a in parser()._actions if isinstance(a, argparse._SubParsersAction)).choices


@pytest.mark.parametrize("name", COMMANDS)
def test_each_option_is_a_parameter_of_the_function_it_calls(name):
    module, _, function = COMMANDS[name].get_default("function").partition(":")
    parameters = inspect.signature(getattr(import_module(module), function)).parameters
    options = [action.dest for action in COMMANDS[name]._actions if action.dest != "help"]
    assert options == list(parameters)


def lkca(*words: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "lkca", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY)


def refused(done: subprocess.CompletedProcess) -> str:
    """Check that this is one sentence on stderr, exit code 2 and nothing on stdout; return the sentence."""
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stderr.startswith("lkca: ") and done.stderr.rstrip().endswith(".")
    return done.stderr


def test_score_prints_six_scores_as_json(tmp_path, rng):
    a = rng.random((4, 16, 16))
    np.save(tmp_path / "a.npy", a)
    np.save(tmp_path / "b.npy", a + 0.1)
    done = lkca("score", "--reference", tmp_path / "a.npy", "--estimate", tmp_path / "b.npy", "--scale", 4)
    scores = json.loads(done.stdout)
    assert list(scores) == ["MPSNR", "MSSIM", "SAM", "CC", "RMSE", "ERGAS"]
    assert scores["MPSNR"] == pytest.approx(20) and scores["RMSE"] == pytest.approx(0.1)  # an error of 0.1 everywhere


def test_resize_writes_the_smaller_array(tmp_path):
    np.save(tmp_path / "x.npy", np.full((3, 16, 8), 0.5, np.float32))
    done = lkca("resize", "--input", tmp_path / "x.npy", "--factor", 0.25, "--output", tmp_path / "y.npy")
    assert done.returncode == 0
    assert np.load(tmp_path / "y.npy") == pytest.approx(np.full((3, 4, 2), 0.5))


def test_bad_arrays_end_in_one_sentence(tmp_path):
    np.save(tmp_path / "nan.npy", np.full((2, 8, 8), np.nan))
    np.save(tmp_path / "flat.npy", np.ones((8, 8)))
    for name, told in (("missing.npy", "missing.npy"), ("nan.npy", "nan"), ("flat.npy", "flat.npy")):
        path, out = tmp_path / name, tmp_path / "out.npy"
        assert told in refused(lkca("score", "--reference", path, "--estimate", path, "--scale", 4))
        assert told in refused(lkca("resize", "--input", path, "--factor", 2, "--output", out))
        assert not out.exists()


def test_cost_prints_the_papers_numbers(capsys):
    assert main(["cost", "--config", str(REPOSITORY / "config.yaml"), "--model", "lkca_lr"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [(r["model"], r["bands"], r["scale"]) for r in rows] == [
        ("lkca_lr", str(bands), str(scale)) for bands in (128, 48, 102) for scale in (4, 8)
    ]
    printed = [("1.643", "0.338"), ("2.540", "0.565"), ("1.364", "0.268"), ("1.700", "0.353"), ("1.552", "0.315")]
    printed.append(("2.267", "0.496"))
    assert [(f"{int(r['params']) / 1e6:.3f}", f"{int(r['macs']) / 1e9:.3f}") for r in rows] == printed


def test_a_wrong_option_is_one_sentence():
    assert "invalid int value: 'x'" in refused(lkca("score", "--reference", "a", "--estimate", "b", "--scale", "x"))
    assert "unrecognized arguments: --modle" in refused(lkca("cost", "--modle", "lkca"))


def test_cost_refuses_what_does_not_exist():
    assert "--model lkka does not exist: choose one of bicubic" in refused(lkca("cost", "--model", "lkka"))
    assert "--scale 0 is out of range" in refused(lkca("cost", "--scale", 0))
    assert "none.yaml cannot be read" in refused(lkca("cost", "--config", "none.yaml"))


def test_groups_that_do_not_fit_a_size_are_refused():
    assert "must divide" in refused(lkca("cost", "--model", "lkca_lr", "--bands", 3, "--scale", 3))
