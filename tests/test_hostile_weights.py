"""Hostile files of weights and saved states are refused with one sentence, or put aside, and nothing in them runs."""

import hashlib
import json
import os
import struct
from dataclasses import asdict

import numpy as np
import pytest
import torch
from conftest import RECIPE
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from lkca.config.run import read_run
from lkca.core.files import sha256
from lkca.errors import DataError, LkcaError, StaleInput
from lkca.training import resume
from lkca.training.checkpoint import load_weights, save_weights
from lkca.training.distributed import TrainingFiles
from lkca.training.networks import build_network
from lkca.training.resume import TrainingProgress, TrainingState


@pytest.fixture
def run(tiny):
    return tiny.run("net", train=RECIPE)


def file_with(header: bytes, data: bytes = b"") -> bytes:
    """Return a safetensors file with this header."""
    return struct.pack("<Q", len(header)) + header + data


HEADERS = {
    "huge header": struct.pack("<Q", 2**60) + b"{}",
    "header of 100 MB": struct.pack("<Q", 10**8) + b"{}",
    "no header": b"",
    "half a length": b"\1\0\0",
    "no JSON": file_with(b"abcd"),
    "deep JSON": file_with(b"[" * 6000),
    "no map": file_with(b"[]"),
    "pickle": b"\x80\x04cos\nsystem\n(S'touch pickle-was-loaded'\ntR.",
    "offsets outside": file_with(b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,99999999]}}'),
    "absurd shape": file_with(b'{"a":{"dtype":"F32","shape":[1000000000000000000,9],"data_offsets":[0,4]}}', b"1234"),
}


@pytest.mark.parametrize("kind", HEADERS)
def test_damaged_weights(tmp_path, monkeypatch, run, kind):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "w.safetensors"
    path.write_bytes(HEADERS[kind])
    with pytest.raises(DataError, match=r"w.safetensors cannot be read as safetensors \(.*\): train"):
        load_weights(path, build_network(read_run(run)), sha256(run))
    assert not (tmp_path / "pickle-was-loaded").exists()


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("/dev/zero"), lambda path: None])
def test_weights_that_are_no_file(tmp_path, run, make):
    path = tmp_path / "w.safetensors"
    make(path)
    with pytest.raises(DataError, match="w.safetensors"):
        load_weights(path, build_network(read_run(run)), sha256(run))


METADATA = ["{}", "[]", "", "NaN", "[" * 3000, '{"run_sha256": 1, "epoch": 1}', '{"run_sha256": "%s"}']
METADATA += [
    '{"run_sha256": "%s", "epoch": ' + epoch + "}" for epoch in ('"2"', "0", "-1", "1.5", "null", "9" * 5000, "1e400")
]


@pytest.mark.parametrize("metadata", METADATA)
def test_hostile_metadata_of_weights(tmp_path, run, metadata):
    network = build_network(read_run(run))
    save_file(network.state_dict(), path := tmp_path / "w.safetensors", {"lkca": metadata.replace("%s", sha256(run))})
    with pytest.raises(DataError, match=r"w.safetensors cannot be read as safetensors \(its metadata are wrong\)"):
        load_weights(path, network, sha256(run))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite(tmp_path, run, value):
    network = build_network(read_run(run))
    weights = network.state_dict()
    next(iter(weights.values())).view(-1)[0] = value
    save_weights(path := tmp_path / "w.safetensors", weights, sha256(run), 1)
    with pytest.raises(DataError, match="has weights that are NaN or infinite"):
        load_weights(path, network, sha256(run))


def test_weights_of_another_network(tmp_path, run):
    network = build_network(read_run(run))
    weights = network.state_dict()
    name = next(iter(weights))
    others = (
        {},
        {"a": torch.zeros(1)},
        {**weights, "a": torch.zeros(1)},
        {**weights, name: torch.zeros(1, 1, 1, 1, 1)},
    )
    for other in (*others, {**weights, name: torch.zeros(0)}):
        save_weights(path := tmp_path / "w.safetensors", other, sha256(run), 1)
        with pytest.raises(StaleInput, match="has the weights of another network"):
            load_weights(path, network, sha256(run))


@pytest.fixture
def open_state(tiny, run):
    """Return a function that opens the state of a training of two epochs, as a new process does."""
    files = TrainingFiles(run, tiny.scene, tiny.split, None, run.with_name("w.safetensors"), run.with_name("h.csv"))

    def open_():
        torch.manual_seed(0)
        network = build_network(read_run(run))
        optimiser = torch.optim.Adam(network.parameters(), 1e-3)
        return TrainingState(files, ["code"], network, optimiser, TrainingProgress(5, 2))

    return open_


@pytest.fixture
def saved(open_state):
    """Save a state after the first epoch and return it."""
    state = open_state()
    for parameter in state.network.parameters():
        parameter.grad = torch.ones_like(parameter)
    state.optimiser.step()
    state.snapshot_best()
    state.progress.epoch, state.progress.step, state.progress.best_epoch, state.progress.best_val_l1 = 1, 2, 1, 0.5
    state.progress.history = [[1, 5, 0.1, 0.1, "", 0.1, 30.0, 0.001, 2.5]]
    state.save()
    return state


def forge(path, change_progress=None, change_tensors=None):
    """Change a state and give it a checksum that fits, as a forger would."""
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    tensors, progress = load_file(path), json.loads(metadata["progress"])
    if change_tensors:
        change_tensors(tensors)
    if change_progress:
        progress = change_progress(progress)
    text = progress if isinstance(progress, str) else json.dumps(progress)
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        digest.update(name.encode() + tensors[name].reshape(-1).view(torch.uint8).numpy().tobytes())
    save_file(tensors, path, metadata | {"progress": text, "sha256": digest.hexdigest()})


def test_forged_checksum_fits(open_state, saved):
    """So that the other tests check what comes after it."""
    forge(saved.path, lambda progress: {**progress, "seconds": 77.0})
    state = open_state()
    assert state.progress == TrainingProgress(**{**asdict(saved.progress), "seconds": 77.0})
    assert type(state.progress.history[0][0]) is int
    for new, old in zip(state.network.parameters(), saved.network.parameters(), strict=True):
        assert torch.equal(new, old)


PROGRESS = {
    "no JSON": lambda progress: "{",
    "deep": lambda progress: "[" * 3000,
    "a list": lambda progress: [],
    "lacks a field": lambda progress: {key: value for key, value in progress.items() if key != "epochs"},
    "a text": lambda progress: {**progress, "epoch": "1"},
    "other epochs": lambda progress: {**progress, "epochs": 1},
    "other steps": lambda progress: {**progress, "steps_per_epoch": 10**9},
    "epoch too late": lambda progress: {**progress, "epoch": 3},
    "negative step": lambda progress: {**progress, "step": -1},
    "huge step": lambda progress: {**progress, "step": 10**30},
    "huge number": lambda progress: json.dumps({**progress, "seconds": 0}).replace('"seconds": 0', '"seconds": 1e999'),
    "finished too early": lambda progress: {**progress, "finished": True},
    "history of no lines": lambda progress: {**progress, "history": []},
    "history of texts": lambda progress: {**progress, "history": [["=1+1"] * 9]},
    "short line": lambda progress: {**progress, "history": [[1]]},
    "best epoch in the future": lambda progress: {**progress, "best_epoch": 2},
}


@pytest.mark.parametrize("kind", PROGRESS)
def test_forged_progress_is_put_aside(open_state, saved, capsys, kind):
    forge(saved.path, PROGRESS[kind])
    check_new(open_state(), saved, capsys)


def check_new(state, saved, capsys):
    """Check that a training starts anew, from the weights that a seed gives, and that the file is kept."""
    assert state.progress == TrainingProgress(5, 2) and state.best_weights == {} and not state.loss_sums.any()
    assert not state.optimiser.state_dict()["state"]
    torch.manual_seed(0)
    drawn = build_network(read_run(state.path.with_name("run.json")))
    for new, old in zip(state.network.parameters(), drawn.parameters(), strict=True):
        assert torch.equal(new, old)
    assert (saved.path.with_name(f"refused-{saved.path.name}")).exists() and not saved.path.exists()
    output = capsys.readouterr().out
    assert output.startswith(f"cannot resume from {saved.path} (") and output.count("\n") == 1 and len(output) < 1000


def rename(tensors, old, new):
    tensors[new] = tensors.pop(old)


def first(tensors, prefix):
    return next(name for name in sorted(tensors) if name.startswith(prefix))


TENSORS = {
    "no tensors": dict.clear,
    "lacks a weight": lambda tensors: tensors.pop(first(tensors, "net.")),
    "lacks a best weight": lambda tensors: tensors.pop(first(tensors, "best.")),
    "lacks the sums": lambda tensors: tensors.pop("loss_sums"),
    "long sums": lambda tensors: tensors.update(loss_sums=torch.zeros(4)),
    "another name": lambda tensors: rename(tensors, first(tensors, "net."), "net.x"),
    "another shape": lambda tensors: tensors.update({first(tensors, "net."): torch.zeros(1)}),
    "a text as number": lambda tensors: rename(tensors, first(tensors, "optimiser."), "optimiser.x.step"),
    "a huge number": lambda tensors: rename(tensors, first(tensors, "optimiser."), f"optimiser.{10**9}.step"),
    "another moment": lambda tensors: tensors.update({"optimiser.0.exp_avg": torch.zeros(1)}),
    "NaN in a weight": lambda tensors: tensors[first(tensors, "net.")].view(-1)[:1].fill_(float("nan")),
    "infinity in a moment": lambda tensors: tensors["optimiser.0.exp_avg_sq"].view(-1)[:1].fill_(float("inf")),
}


@pytest.mark.parametrize("kind", TENSORS)
def test_forged_tensors_are_put_aside(open_state, saved, capsys, kind):
    forge(saved.path, change_tensors=TENSORS[kind])
    check_new(open_state(), saved, capsys)


@pytest.mark.parametrize("kind", HEADERS)
def test_damaged_states_are_put_aside(open_state, saved, capsys, kind):
    saved.path.write_bytes(HEADERS[kind])
    check_new(open_state(), saved, capsys)


def test_state_that_is_a_pipe_or_a_folder(open_state, saved):
    for make in (os.mkfifo, os.mkdir):
        if saved.path.is_file() or saved.path.is_fifo():
            saved.path.unlink()
        make(saved.path)
        try:
            open_state()
        except LkcaError as error:
            assert saved.path.name in str(error)
        else:
            assert not saved.path.exists()


def test_layout_is_that_of_the_forger():
    """`forge` repeats the checksum; this fails if that changes."""
    tensors = {"b": torch.arange(3.0), "a": torch.zeros(2, dtype=torch.int64)}
    content = b"{}" + b"a" + bytes(16) + b"b" + np.arange(3, dtype="<f4").tobytes()
    assert resume._digest(tensors, "{}") == hashlib.sha256(content).hexdigest()
