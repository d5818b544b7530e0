"""Training on a tiny scene: what it writes, and which files and settings it refuses."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from lkca.config.run import read_run
from lkca.core.files import sha256
from lkca.data.resize import resize
from lkca.errors import ConfigError, Diverged, LkcaError, StaleInput
from lkca.scoring.metrics import SCORES
from lkca.training.checkpoint import load_weights
from lkca.training.networks import build_network
from tests.conftest import RECIPE
from tests.trainings import DISTILL, read_history, train_run


def test_training_learns_and_keeps_best_epoch(tiny):
    run = tiny.run("net", train=RECIPE | {"epochs": 6})
    lines = read_history(train_run(tiny, run))
    assert lines[-1]["loss"] < lines[0]["loss"]
    best = min(lines, key=lambda line: line["val_l1"])
    weights = run.with_name("weights.safetensors")
    assert load_weights(weights, build_network(read_run(run)), sha256(run)) == best["epoch"]
    patches = len(json.loads(tiny.split.read_text())["train"])
    assert lines[-1]["steps"] == 6 * patches  # steps an epoch: 8 orientations of each patch, in batches of 8


def test_seed_decides_weights(tiny):
    folders = [train_run(tiny, tiny.run(name, seed=seed)) for name, seed in (("a", 1), ("b", 1), ("c", 2))]
    a, b, c = (load_file(folder / "weights.safetensors") for folder in folders)
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not torch.equal(a["head.weight"], c["head.weight"])


def test_validation_scores_equal_metrics(tiny):
    """MPSNR and L1 in the history are means over the validation patches; the network is still bicubic."""
    run = tiny.run(
        "net",
        args={"width": 16, "blocks": 1, "drop_path": 0.0},
        train=RECIPE | {"epochs": 1, "steps": 1, "learning_rate": 1e-30, "cosine_to": 1e-30},
    )
    (line,) = read_history(train_run(tiny, run))
    cube, split = np.load(tiny.scene), json.loads(tiny.split.read_text())
    patches = [cube[:, row : row + 16, column : column + 16] for row, column in split["validation"]]
    reconstructed = [resize(resize(patch, 1 / 4), 4) for patch in patches]
    assert line["val_mpsnr"] == pytest.approx(np.mean(list(map(SCORES["MPSNR"], reconstructed, patches))), abs=1e-4)
    assert line["val_l1"] == pytest.approx(np.abs(np.stack(reconstructed) - np.stack(patches)).mean(), rel=1e-5)


def test_bfloat16_is_close_to_float32(tiny):
    """Losses differ a little. Weights and bicubic stay in float32; in bfloat16, bicubic would change by 2e-3."""
    lines, weights = [], []
    for precision in ("float32", "bfloat16"):
        folder = train_run(tiny, tiny.run(precision, model="net", train=RECIPE | {"precision": precision}))
        lines.append(read_history(folder)[-1])
        weights.append(load_file(folder / "weights.safetensors"))
    assert 0 < abs(lines[0]["loss"] - lines[1]["loss"]) < 1e-3 * lines[0]["loss"]
    assert lines[0]["val_mpsnr"] == pytest.approx(lines[1]["val_mpsnr"], abs=0.02)
    assert all(weight.dtype == torch.float32 for weight in weights[1].values())
    hr = torch.rand(1, 2, 16, 16)
    expected = resize(hr, 1 / 4)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(resize(hr, 1 / 4), expected)


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="no C++ compiler")
def test_compiled_network_has_same_loss(tiny):
    recipe = RECIPE | {"epochs": 1, "steps": 2}
    args = {"width": 8, "layers": 3}
    losses = []
    for compile_network in (False, True):
        changes = {"compile": compile_network}
        run = tiny.run(f"{compile_network}", model="net", arch="vdsr", args=args, train=recipe | changes)
        (line,) = read_history(train_run(tiny, run))
        losses.append(line["loss"])
        load_weights(run.with_name("weights.safetensors"), build_network(read_run(run)), sha256(run))
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)


@pytest.mark.parametrize("features", ["reconstruction", "upsampler"])
def test_distillation_pulls_student_to_teacher(tiny, features):
    big = train_run(tiny, tiny.run("big", args={"width": 16, "blocks": 3, "drop_path": 0.0}))
    student = tiny.run("student", big / "run.json", distill={**DISTILL, "features": features})
    lines = read_history(train_run(tiny, student, big / "weights.safetensors"))
    assert lines[0]["loss"] == pytest.approx(lines[0]["loss_h"] + 0.5 * lines[0]["loss_kd"], rel=1e-5)
    assert lines[1]["loss"] == pytest.approx(lines[1]["loss_h"] + 0.25 * lines[1]["loss_kd"], rel=1e-5)
    assert lines[1]["loss_kd"] < lines[0]["loss_kd"]


def test_wrong_teacher_is_refused(tiny):
    big = train_run(tiny, tiny.run("big"))
    student = tiny.run("student", big / "run.json", distill=DISTILL)
    tiny.run("big", seed=9)
    with pytest.raises(StaleInput, match="run.json is not the teacher"):
        train_run(tiny, student, big / "weights.safetensors")
    with pytest.raises(ConfigError, match="--teacher"):
        train_run(tiny, student)
    assert not (student.parent / "weights.safetensors").exists()


def test_divergence_in_first_epoch_writes_nothing(tiny):
    run = tiny.run("wild", train=RECIPE | {"learning_rate": 1000, "cosine_to": 1000})
    with pytest.raises(Diverged, match="tiny x4 wild seed 0: .* became NaN.*lower train.learning_rate .*first step"):
        train_run(tiny, run)
    assert [path.name for path in run.parent.iterdir()] == ["run.json"]


def test_other_split_is_refused(tiny):
    run = tiny.run("net")
    tiny.split.write_text(tiny.split.read_text() + "\n")
    with pytest.raises(StaleInput, match="split.json is not the split"):
        train_run(tiny, run)


def test_changed_scene_is_refused(tiny):
    run = tiny.run("net")
    np.save(tiny.scene, np.load(tiny.scene)[::-1])
    with pytest.raises(StaleInput, match="scene.npy has changed"):
        train_run(tiny, run)


def test_method_without_training_is_refused(tiny):
    run = tiny.run("bicubic", arch="bicubic", args={}, upsampler=None, train=None)
    with pytest.raises(ConfigError, match="bicubic has nothing to train"):
        train_run(tiny, run)


def test_damaged_run_is_refused(tiny):
    run = tiny.run("net")
    run.write_text(run.read_text().replace('"seed": 0', '"seed": 0, "sead": 1'))
    with pytest.raises(LkcaError, match="run.json: sead"):
        train_run(tiny, run)
