"""Training, evaluation and the spectrum on a tiny scene."""

import csv
import json
import shutil
from itertools import groupby

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from lkca.config.run import read_run
from lkca.data.patches import gather
from lkca.data.resize import resize
from lkca.errors import LkcaError
from lkca.scoring.evaluate import evaluate
from lkca.scoring.metrics import SCORES
from lkca.training.train import learning_rate, shuffled, train
from tests.conftest import RECIPE

DISTILL = {"teacher": "big", "alpha": 0.5, "decay": 0.5, "every": 1, "cos": 0.5, "sam": 0.5, "grad": 0.1}


def trained(tiny, run, teacher=None):
    """Train a run; returns its folder."""
    train(run, tiny.scene, tiny.split, teacher, run.with_name("weights.safetensors"), run.with_name("history.csv"))
    return run.parent


def history(folder):
    return [{k: float(v or 0) for k, v in row.items()} for row in csv.DictReader((folder / "history.csv").open())]


def scored(tiny, run, weights=True):
    folder = run.parent
    evaluate(
        run,
        tiny.scene,
        tiny.split,
        folder / "weights.safetensors" if weights else None,
        folder / "history.csv" if weights else None,
        image=1,
        composite=[8, 4, 1],
        out=folder / "scores.json",
        picture=folder / "image.npz",
    )
    return json.loads((folder / "scores.json").read_text())


def test_training_learns_and_keeps_the_epoch_with_the_lowest_validation_l1(tiny):
    folder = trained(tiny, tiny.run("net", train=RECIPE | {"epochs": 6}))
    lines = history(folder)
    assert lines[-1]["loss"] < lines[0]["loss"]
    best = min(lines, key=lambda line: line["val_l1"])
    scores = scored(tiny, folder / "run.json")
    assert scores["epoch"] == best["epoch"]
    assert (
        scores["steps"] == lines[-1]["steps"] == 6 * len(json.loads(tiny.split.read_text())["train"])
    )  # 8 views, batch 8


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(tiny):
    folders = [trained(tiny, tiny.run(name, seed=seed)) for name, seed in (("a", 1), ("b", 1), ("c", 2))]
    a, b, c = (load_file(folder / "weights.safetensors") for folder in folders)
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not torch.equal(a["head.weight"], c["head.weight"])


def test_an_epoch_shows_every_patch_in_its_eight_orientations(rng):
    cube = torch.rand(1, 8, 8)
    places = {"train": [[0, 0], [2, 3]], "size": 4}
    shown, again, other = (gather(cube, places, shuffled(places, 0, epoch), "cpu").numpy() for epoch in (0, 0, 1))
    patches = [cube[:, :4, :4].numpy(), cube[:, 2:6, 3:7].numpy()]
    wanted = [np.rot90(view, k, (1, 2)) for patch in patches for view in (patch, patch[:, ::-1]) for k in range(4)]
    assert {patch.tobytes() for patch in shown} == {np.ascontiguousarray(view).tobytes() for view in wanted}
    assert len(shown) == 16 and (shown == again).all() and (shown != other).any()


def test_the_learning_rate_is_a_cosine_between_its_ends(paper):
    rates = [learning_rate(paper.train, epoch, done) for epoch, done in ((0, 0), (150, 0), (299, 1))]
    assert rates == pytest.approx([2e-3, 1.1e-3, 2e-4])


def test_the_learning_rates_of_the_baselines_fall_when_their_authors_let_them(paper):
    """How many epochs have which rate in SSPSR's mains.py and MSDformer's main.py, which count epochs from 1."""
    for model, expected in (
        ("sspsr", [(1e-4, 29), (1e-5, 11)]),
        ("msdformer", [(5e-5, 149), (5e-6, 150), (5e-7, 1)]),
    ):
        recipe = paper.models[model].train
        rates = [float(f"{learning_rate(recipe, epoch, 0.9):.3g}") for epoch in range(recipe.epochs)]
        assert [(rate, len(list(epochs))) for rate, epochs in groupby(rates)] == expected


def test_validation_scores_are_those_of_the_metrics(tiny):
    """The history's MPSNR and L1 are the means over patches, here of bicubic: a network that has not learned yet."""
    run = tiny.run(
        "net",
        args={"width": 16, "blocks": 1, "drop_path": 0.0},
        train=RECIPE | {"epochs": 1, "steps": 1, "learning_rate": 1e-30, "cosine_to": 1e-30},
    )
    (line,) = history(trained(tiny, run))
    cube, places = np.load(tiny.scene), json.loads(tiny.split.read_text())
    patches = [cube[:, row : row + 16, column : column + 16] for row, column in places["validation"]]
    reconstructed = [resize(resize(patch, 1 / 4), 4) for patch in patches]
    assert line["val_mpsnr"] == pytest.approx(np.mean(list(map(SCORES["MPSNR"], reconstructed, patches))), abs=1e-4)
    assert line["val_l1"] == pytest.approx(np.abs(np.stack(reconstructed) - np.stack(patches)).mean(), rel=1e-5)


def test_a_training_cut_short_counts_as_untrained(tiny):
    for name, steps, untrained in (("short", 1, True), ("whole", None, False)):
        run = tiny.run(name, train=RECIPE | {"epochs": 1, "steps": steps})
        trained(tiny, run)
        scores = scored(tiny, run)
        assert scores["untrained"] == untrained
    assert scored(tiny, tiny.folder / "short" / "run.json")["steps"] == 1


def test_half_the_bits_end_close_to_all_of_them(tiny):
    """Losses and weights differ, a little; what bicubic does is never rounded to eight bits (2e-3 of the image)."""
    lines, weights = [], []
    for precision in ("float32", "bfloat16"):
        folder = trained(tiny, tiny.run(precision, model="net", train=RECIPE | {"precision": precision}))
        lines.append(history(folder)[-1])
        weights.append(load_file(folder / "weights.safetensors"))
    assert 0 < abs(lines[0]["loss"] - lines[1]["loss"]) < 1e-3 * lines[0]["loss"]
    assert lines[0]["val_mpsnr"] == pytest.approx(lines[1]["val_mpsnr"], abs=0.02)
    assert all(weight.dtype == torch.float32 for weight in weights[1].values())
    hr = torch.rand(1, 2, 16, 16)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(resize(hr, 1 / 4), resize(hr.clone(), 1 / 4)) and resize(hr, 1 / 4).dtype == torch.float32


@pytest.mark.skipif(not shutil.which("g++"), reason="no C++ compiler")
def test_a_compiled_network_learns_the_same(tiny):
    recipe = RECIPE | {"epochs": 1, "steps": 2}
    args = {"width": 8, "layers": 3}
    folders = [
        trained(tiny, tiny.run(f"{flag}", model="net", arch="vdsr", args=args, train=recipe | {"compile": flag}))
        for flag in (False, True)
    ]
    (eager,), (compiled,) = map(history, folders)
    assert compiled["loss"] == pytest.approx(eager["loss"], rel=1e-5)
    assert scored(tiny, folders[1] / "run.json")["epoch"] == 1


@pytest.mark.parametrize("features", ["reconstruction", "upsampler"])
def test_distillation_pulls_the_student_to_its_teacher(tiny, features):
    big = trained(tiny, tiny.run("big", args={"width": 16, "blocks": 3, "drop_path": 0.0}))
    teacher = big / "run.json"
    student = tiny.run("student", teacher, distill={**DISTILL, "features": features})
    lines = history(trained(tiny, student, big / "weights.safetensors"))
    assert lines[0]["loss"] == pytest.approx(lines[0]["loss_h"] + 0.5 * lines[0]["loss_kd"], rel=1e-5)
    assert lines[1]["loss"] == pytest.approx(lines[1]["loss_h"] + 0.25 * lines[1]["loss_kd"], rel=1e-5)
    assert lines[1]["loss_kd"] < lines[0]["loss_kd"]


def test_a_teacher_of_other_settings_is_refused(tiny):
    big = trained(tiny, tiny.run("big"))
    student = tiny.run("student", big / "run.json", distill={**DISTILL, "features": "reconstruction"})
    tiny.run("big", seed=9)
    with pytest.raises(LkcaError, match="is not the teacher"):
        trained(tiny, student, big / "weights.safetensors")
    with pytest.raises(LkcaError, match="name its weights by --teacher"):
        trained(tiny, student)
    assert not (student.parent / "weights.safetensors").exists()


def test_a_diverging_run_says_so_and_writes_nothing(tiny):
    run = tiny.run("wild", train=RECIPE | {"learning_rate": 1e30, "cosine_to": 1e30})
    with pytest.raises(LkcaError, match="no number any more in epoch .*: lower train.learning_rate"):
        trained(tiny, run)
    assert sorted(path.name for path in run.parent.iterdir()) == ["run.json"]


def test_another_split_is_not_trained_on(tiny):
    run = tiny.run("net")
    tiny.split.write_text(tiny.split.read_text() + "\n")
    with pytest.raises(LkcaError, match="is not the split that"):
        trained(tiny, run)


def test_a_changed_scene_is_refused(tiny):
    run = tiny.run("net")
    np.save(tiny.scene, np.load(tiny.scene)[::-1])
    with pytest.raises(LkcaError, match="scene.npy has changed since run.json was written"):
        trained(tiny, run)


def test_a_damaged_run_is_refused(tiny):
    run = tiny.run("net")
    run.write_text(run.read_text().replace('"seed": 0', '"seed": 0, "sead": 1'))
    with pytest.raises(LkcaError, match="run.json: sead is no setting: did you mean seed"):
        read_run(run)
