"""Training, evaluation and the spectrum on a tiny scene."""

import csv
import hashlib
import json
import shutil
from itertools import groupby

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from lkca.config.run import read_run
from lkca.core.files import json_digest, sha256
from lkca.data.patches import gather
from lkca.data.resize import resize
from lkca.errors import LkcaError
from lkca.scoring.evaluate import centres, evaluate
from lkca.scoring.metrics import SCORES
from lkca.scoring.singular_values import rank, singular_values, spectrum
from lkca.training import checkpoint
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


def test_bicubic_needs_no_weights_and_scores_as_resizing_does(tiny):
    run = tiny.run("bicubic", arch="bicubic", args={}, upsampler=None, train=None)
    scores = scored(tiny, run, weights=False)
    assert (scores["params"], scores["macs"], scores["steps"], scores["epoch"]) == (0, 0, 0, None)
    assert (scores["weights_sha256"], scores["history_sha256"]) == (None, None)
    cube = np.load(tiny.scene)
    values = [SCORES["MPSNR"](resize(resize(hr, 1 / 4), 4), hr) for hr in (cube[:, :32, :32], cube[:, :32, 32:])]
    assert scores["mean"]["MPSNR"] == pytest.approx(np.mean(values), abs=1e-4)
    assert [image["window"] for image in scores["images"]] == [[0, 0, 32, 32], [0, 32, 32, 32]]


def test_the_picture_holds_the_chosen_image_and_bands(tiny):
    run = tiny.run("bicubic", arch="bicubic", args={}, upsampler=None, train=None)
    scored(tiny, run, weights=False)
    with np.load(run.with_name("image.npz")) as picture:
        hr = np.load(tiny.scene)[:, :32, 32:]
        assert np.array_equal(picture["hr"], np.stack([hr[7], hr[3], hr[0]], -1))
        sr = resize(resize(hr, 1 / 4), 4)
        assert picture["sr"] == pytest.approx(np.stack([sr[7], sr[3], sr[0]], -1), abs=1e-6)
        assert picture["error"] == pytest.approx(np.abs(sr - hr).mean(0), abs=1e-6)
        middle = [1, 4, 6, 9, 12, 14, 17, 20, 22, 25, 28, 30]  # of twelve parts of 2 2/3 pixels
        assert picture["rows"].tolist() == picture["columns"].tolist() == middle
        assert np.array_equal(picture["spectra_hr"], hr[:, middle][:, :, middle])
        assert picture["spectra_sr"] == pytest.approx(sr[:, middle][:, :, middle], abs=1e-6)
        assert {picture[name].dtype for name in ("hr", "sr", "error", "spectra_hr", "spectra_sr")} == {np.dtype("f4")}


def test_a_short_side_has_fewer_pixels_in_the_grid():
    assert centres(7).tolist() == list(range(7))
    assert centres(512).tolist() == [21, 64, 106, 149, 192, 234, 277, 320, 362, 405, 448, 490]


def test_a_test_image_that_is_not_there_is_refused(tiny):
    run = tiny.run("bicubic", arch="bicubic", args={}, upsampler=None, train=None)
    with pytest.raises(LkcaError, match="image 2: .*split.json has no such test image, choose from 0 to 1"):
        evaluate(run, tiny.scene, tiny.split, None, None, 2, [1, 2, 3], run.with_name("s.json"), run.with_name("i.npz"))


def test_absolute_errors_are_over_all_pixels_and_over_the_strongest_edges(tiny):
    run = tiny.run("bicubic", arch="bicubic", args={}, upsampler=None, train=None)
    hr = torch.from_numpy(np.load(tiny.scene)[:, :32, :32])
    error = (torch.from_numpy(resize(resize(hr.numpy(), 1 / 4), 4)) - hr).abs().mean(0)
    strength = torch.stack(torch.gradient(hr.double(), dim=(1, 2))).square().sum((0, 1))
    strongest = error.flatten()[strength.flatten().topk(103).indices]  # of 32 x 32 pixels
    image = scored(tiny, run, weights=False)["images"][0]
    assert image["mae"] == pytest.approx(float(error.mean()), rel=1e-5)
    assert image["mae_edges"] == pytest.approx(float(strongest.mean()), rel=1e-5)


def test_scores_tell_the_files_they_are_of_and_show_every_edit(tiny):
    folder = trained(tiny, tiny.run("net", train=RECIPE | {"epochs": 1}))
    scores = scored(tiny, folder / "run.json")
    files = {"run": "run.json", "weights": "weights.safetensors", "history": "history.csv", "image": "image.npz"}
    for name, file in files.items():
        assert scores[f"{name}_sha256"] == hashlib.sha256((folder / file).read_bytes()).hexdigest()
    assert list(scores)[-1] == "digest"
    assert scores["digest"] == json_digest(scores)
    assert (
        json_digest({"b": [1, 2.5], "a": None, "digest": ""}) == hashlib.sha256(b'{"a":null,"b":[1,2.5]}').hexdigest()
    )
    scores["images"][1]["without_block"]["SAM"][7] += 1e-12
    assert scores["digest"] != json_digest(scores)


def test_weights_of_another_run_are_refused(tiny):
    a = trained(tiny, tiny.run("a"))
    b = tiny.run("b", seed=1)
    for name in ("weights.safetensors", "history.csv"):
        (a / name).rename(b.with_name(name))
    with pytest.raises(LkcaError, match="trained with other settings"):
        scored(tiny, b)
    b.with_name("weights.safetensors").write_bytes(b"no weights")
    with pytest.raises(LkcaError, match="cannot be read as safetensors"):
        scored(tiny, b)
    checkpoint.save(b.with_name("weights.safetensors"), {"x": torch.ones(1)}, sha256(b), 1)
    with pytest.raises(LkcaError, match="weights of another network"):
        scored(tiny, b)
    assert not b.with_name("scores.json").exists()


def test_another_split_is_refused(tiny):
    run = tiny.run("bicubic", arch="bicubic", args={}, upsampler=None, train=None)
    tiny.split.write_text(tiny.split.read_text() + "\n")
    with pytest.raises(LkcaError, match="is not the split that"):
        scored(tiny, run, weights=False)


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


def test_singular_values_of_a_matrix_that_was_built_from_them(rng):
    left, right = (np.linalg.qr(rng.normal(size=(n, 4)))[0] for n in (9, 6))
    matrix = torch.from_numpy(left @ np.diag([8.0, 4, 2, 1]) @ right.T)
    assert singular_values(matrix)[:4] == pytest.approx([8, 4, 2, 1])


def test_the_rank_that_holds_a_share():
    assert rank(np.ones(10), 0.9) == 9
    assert rank(np.ones(10), 0.91) == 10
    assert rank(np.array([1.0, 0.0, 0.0]), 0.9) == 1


def test_the_spectrum_compares_trained_with_a_default_start(tiny):
    folder = trained(tiny, tiny.run("net", upsampler={"groups": 1}))
    spectrum(folder / "run.json", folder / "weights.safetensors", folder / "spectrum.json")
    made = json.loads((folder / "spectrum.json").read_text())
    (layer,) = made["layers"]
    assert layer["shape"] == [8 * 16, 16 * 9]
    for values in (layer["trained"], layer["start"]):
        assert len(values) == 128 and values == sorted(values, reverse=True) and values[-1] >= 0
    # A uniform matrix on +-1/sqrt(fan) has the variance 1/(3 fan): the squares of the singular values sum to its size.
    assert sum(v * v for v in layer["start"]) == pytest.approx(128 * 144 / (3 * 144), rel=0.05)


def test_the_spectrum_has_every_upsampling_layer_of_a_network(tiny):
    """SSPSR at x4 doubles once in its branch and once in its trunk; of 3DFCNN's kernel only the living third counts."""
    for arch, args, shapes in (
        ("sspsr", {"width": 16, "blocks": 1}, [[64, 16 * 9]] * 2),
        ("fcnn3d", {"width": 9}, [[8 * 16, 9 * 25]]),
    ):
        recipe = RECIPE | {"epochs": 1, "steps": 1}
        folder = trained(tiny, tiny.run(arch, arch=arch, args=args, upsampler={"groups": 1}, train=recipe))
        spectrum(folder / "run.json", folder / "weights.safetensors", folder / "spectrum.json")
        made = json.loads((folder / "spectrum.json").read_text())
        assert [layer["shape"] for layer in made["layers"]] == shapes
        for layer in made["layers"]:
            fan = layer["shape"][1]
            expected = layer["shape"][0] / 3 * (1 if arch == "sspsr" else 1 / 3)  # fan counts the dead weights too
            assert sum(v * v for v in layer["start"]) == pytest.approx(expected, rel=0.08), fan
