"""`lkca sharpen` and `lkca upscale`: from a georeferenced file to a sharper one."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import rasterio
import torch
from rasterio.transform import Affine

from lkca.cli import main
from lkca.commands.sharpen import compare_scores
from lkca.config.run import read_run
from lkca.core.files import sha256
from lkca.data.catalog import CUBES
from lkca.data.resize import resize
from lkca.inference.own_cube import describe_input
from lkca.training.train import smooth_patches

ROWS, COLUMNS, BANDS = 72, 88, 10
TRANSFORM = Affine.translation(500_000, 4_480_000) @ Affine.rotation(10) @ Affine.scale(20, -20)
NANOMETRES = [450.25 + 20.5 * i for i in range(BANDS)]
KILLS = int(os.environ.get("LKCA_KILLS", 1))
OPTIONS = ("--scale", "2", "--method", "vdsr", "--steps", "12")


def write_tiff(path, cube, nodata=None, **tags):
    """Write a cube (bands, rows, columns) with a rotated position and wavelengths."""
    bands, height, width = cube.shape
    profile = {"driver": "GTiff", "count": bands, "height": height, "width": width, "dtype": cube.dtype}
    with rasterio.open(path, "w", **profile, crs="EPSG:32616", transform=TRANSFORM, nodata=nodata) as file:
        file.write(cube)
        for i, nanometres in enumerate(NANOMETRES[:bands], 1):
            file.update_tags(i, wavelength=f"{nanometres:.2f}", wavelength_units="Nanometers")
    return path


@pytest.fixture(scope="module")
def cube():
    """Ten bands of a part of a real cube, uint16 (bands, rows, columns)."""
    return np.load(CUBES["indian_pines"].files[0].local_path())[:ROWS, :COLUMNS, 10:50:4].transpose(2, 0, 1).copy()


@pytest.fixture(scope="module")
def sharpened(cube, tmp_path_factory):
    """A folder with in.tif and the out.tif that `lkca sharpen` makes of it, whatever the network is worth."""
    folder = tmp_path_factory.mktemp("sharpened")
    write_tiff(folder / "in.tif", cube)
    assert run("sharpen", folder / "in.tif", folder / "out.tif", *OPTIONS, "--or-bicubic") == 0
    return folder


def run(*words):
    return main([*map(str, words)])


def fail(capsys, *words):
    """Run a command that must fail with one sentence, and return it."""
    code = run(*words)
    message = capsys.readouterr().err
    assert code in (2, 75) and message.startswith("lkca: ") and len(message.strip().splitlines()) == 1, message
    return message


def read(path):
    with rasterio.open(path) as file:
        return file.read()


def test_result_has_position_type_and_wavelengths_of_the_input(sharpened):
    with rasterio.open(sharpened / "in.tif") as source, rasterio.open(sharpened / "out.tif") as result:
        assert (result.height, result.width, result.count) == (2 * ROWS, 2 * COLUMNS, BANDS)
        assert result.crs == source.crs and result.dtypes == source.dtypes
        corners = [(0, 0), (ROWS, 0), (0, COLUMNS), (ROWS, COLUMNS)]
        for row, column in corners:
            assert result.transform @ (2 * column, 2 * row) == pytest.approx(source.transform @ (column, row))
        assert [float(result.tags(i)["wavelength"]) for i in result.indexes] == pytest.approx(NANOMETRES)
        assert "lkca sharpen" in result.tags()["HISTORY"]


def test_held_out_blocks_decide_what_is_written(sharpened, cube, capsys):
    """The better one of the two is written: `scores.json` of the network and of bicubic say which."""
    folder = sharpened / "out.tif.lkca"
    rows = compare_scores(*(json.loads((folder / name / "scores.json").read_text()) for name in ("", "bicubic")))
    is_better = next(row for row in rows if row.name == "MPSNR").outcome == "better"
    bicubic = np.rint(resize(cube.astype(float), 2))
    difference = np.abs(read(sharpened / "out.tif") - bicubic).max()
    assert (difference <= 1) == (not is_better)


def test_map_has_the_spread_of_the_orientations(sharpened):
    with rasterio.open(sharpened / "out_trust.tif") as file:
        names = [(name or "").split(" ")[0] for name in file.descriptions]
        assert file.shape == (2 * ROWS, 2 * COLUMNS) and "spread" in " ".join(file.descriptions)
        assert np.isfinite(file.read()).all() and len(names) == 7


def test_network_that_is_not_better_writes_nothing(sharpened, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("lkca.paper.statistics.Uncertain.interval", lambda self: (-0.1, 0.2))
    message = fail(capsys, "sharpen", sharpened / "in.tif", tmp_path / "out.tif", *OPTIONS[:-1], "1")
    assert "not shown to be better than bicubic" in message and "--or-bicubic" in message
    assert not (tmp_path / "out.tif").exists()


def test_upscale_with_the_folder_gives_the_same_values_in_every_format(sharpened, cube, tmp_path, monkeypatch):
    folder = sharpened / "out.tif.lkca"
    results = {}
    for name in ("a.tif", "a.img", "a.npy"):
        assert run("upscale", sharpened / "in.tif", tmp_path / name, "--model", folder) == 0
        results[name] = np.load(tmp_path / name) if name.endswith("npy") else read(tmp_path / name)
        assert np.array_equal(results[name], results["a.tif"])
    assert run("upscale", sharpened / "in.tif", tmp_path / "w.tif", "--model", folder, "--mode", "whole") == 0
    assert np.abs(read(tmp_path / "w.tif").astype(int) - results["a.tif"]).max() <= 1  # rounding of integers
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.hdr", "a.img", "a.npy", "a.tif", "w.tif"]


@pytest.fixture(scope="module")
def exported(sharpened, tmp_path_factory):
    """The folder that `lkca export` makes of the network."""
    folder = tmp_path_factory.mktemp("exported")
    assert run("export", sharpened / "out.tif.lkca", folder) == 0
    return folder


def test_card_has_the_split_and_the_scores_of_bicubic(exported, sharpened):
    card = (exported / "README.md").read_text()
    numbers = json.loads((sharpened / "out.tif.lkca/split.json").read_text())["numbers"]
    assert f"Split: {numbers['train']} patches for training" in card
    images = json.loads((sharpened / "out.tif.lkca/bicubic/scores.json").read_text())["images"]
    mean = sum(image["scores"]["MPSNR"] for image in images) / len(images)
    assert f"| {mean:.4f}" in next(line for line in card.splitlines() if line.startswith("| MPSNR"))


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_other_engines_give_the_same_values_without_torch(engine, exported, sharpened, tmp_path):
    """A module that cannot be imported stands for a Python without torch."""
    (tmp_path / "torch.py").write_text("raise ModuleNotFoundError('torch is not installed', name='torch')")
    words = [sharpened / "in.tif", tmp_path / "out.tif", "--model", exported / "model.onnx", "--engine", engine]
    command = [sys.executable, "-m", "lkca", "upscale", *map(str, words), "--dtype", "float32"]
    settings = {"env": os.environ | {"PYTHONPATH": str(tmp_path)}, "capture_output": True, "text": True}
    subprocess.run(command, **settings, check=True)
    other = subprocess.run([sys.executable, "-m", "lkca", "export", "a", "b"], **settings)
    message = "lkca: this command needs torch, which is not installed: install it.\n"
    assert (other.returncode, other.stderr) == (2, message)
    model = exported / "model.safetensors"
    assert run("upscale", sharpened / "in.tif", tmp_path / "torch.tif", "--model", model, "--dtype", "float32") == 0
    information = subprocess.run(
        [sys.executable, "-m", "lkca", "info", exported / "model.onnx"], **settings, check=True
    )
    assert "network     vdsr" in information.stdout
    expected = read(tmp_path / "torch.tif")
    assert abs(read(tmp_path / "out.tif") - expected).max() < 2e-6 * expected.max()


@pytest.mark.parametrize("moves", range(6))
def test_call_that_is_killed_between_two_moves_is_finished(moves, sharpened, tmp_path, capsys, monkeypatch):
    shutil.copytree(sharpened / "out.tif.lkca", folder := tmp_path / "out.img.lkca")
    options = [sharpened / "in.tif", tmp_path / "out.img", *OPTIONS, "--or-bicubic"]
    replace, places = Path.replace, []

    def stop(path, target):
        if path.parent.name == "result":
            places.append(Path(target).name)
            if len(places) > moves:
                raise KeyboardInterrupt
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", stop)
    assert run("sharpen", *options) == (130 if moves < 5 else 0)
    monkeypatch.undo()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    before |= {path.name: path.read_bytes() for path in folder.glob("result/*")}
    assert set(before) == {"out.img", "out.hdr", "out_report.html", "out_trust.img", "out_trust.hdr"}
    capsys.readouterr()
    if 0 < moves < 5:
        assert "had other options: delete " in fail(capsys, "sharpen", *options, "--dtype", "float32")
        moved = next(path for path in tmp_path.iterdir() if path.is_file())
        content = moved.read_bytes()
        moved.write_bytes(b"mine")
        assert f"wrote another {moved.name} than there is now" in fail(capsys, "sharpen", *options)
        moved.write_bytes(content)
        record = (folder / "moves.json").read_bytes()
        for wrong in (b"", b"[]", b"[1", b'{"files": {"../x": "0"}}', record.replace(b"out.hdr", b"../x")):
            (folder / "moves.json").write_bytes(wrong)
            assert "exists: move it away" in fail(capsys, "sharpen", *options)
        (folder / "moves.json").write_bytes(record)
    if moves < 5:
        assert run("sharpen", *options) == 0
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before
    assert not (folder / "result").exists() and not (folder / "moves.json").exists()
    capsys.readouterr()
    assert "out.img exists" in fail(capsys, "sharpen", *options)


def test_folder_of_somebody_else_is_not_deleted(sharpened, tmp_path, capsys):
    folder = tmp_path / ".out.tif.upscale"
    folder.mkdir()
    (folder / "thesis.txt").touch()
    words = ["upscale", sharpened / "in.tif", tmp_path / "out.tif", "--model", sharpened / "out.tif.lkca"]
    assert "thesis.txt" in fail(capsys, *words)
    assert (folder / "thesis.txt").exists()
    (folder / "thesis.txt").unlink()
    for name in ("scene.npy", ".filled.part.npy", ".scene.lock"):  # what a killed call leaves
        (folder / name).touch()
    assert run(*words) == 0 and [path.name for path in tmp_path.iterdir()] == ["out.tif"]


def test_engine_must_fit_the_model(exported, sharpened, tmp_path, capsys, monkeypatch):
    graph, weights, folder = exported / "model.onnx", exported / "model.safetensors", sharpened / "out.tif.lkca"
    words = ["upscale", sharpened / "in.tif", tmp_path / "out.tif", "--model"]
    assert "name the .safetensors file" in fail(capsys, *words, graph, "--engine", "torch")
    for model in (weights, folder):
        assert "write one with lkca export" in fail(capsys, *words, model, "--engine", "onnxruntime")
    assert "--mode halo needs --engine torch" in fail(capsys, *words, graph, "--mode", "halo")
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=10**5))
    assert "model.safetensors" in fail(capsys, *words, graph)
    monkeypatch.setattr("lkca.inference.onnx_model.find_spec", lambda name: None if name == "onnxruntime" else name)
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert "openvino cannot be imported" in fail(capsys, *words, graph)  # it is taken, because it is installed
    monkeypatch.setattr("lkca.inference.onnx_model.find_spec", lambda name: None)
    assert "install the extra openvino of lkca" in fail(capsys, *words, graph, "--engine", "openvino")
    monkeypatch.setattr("lkca.inference.engines.find_spec", lambda name: None)
    assert f"{weights} needs torch" in fail(capsys, *words, weights)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_damaged_or_foreign_graphs_are_refused(engine, exported, sharpened, tmp_path, capsys):
    onnx = pytest.importorskip("onnx")
    original = (exported / "model.onnx").read_bytes()

    def change(function):
        model = onnx.load_from_string(original)
        function(model)
        return model.SerializeToString()

    def make_nan(model):
        weight = next(each for each in model.graph.initializer if each.data_type == onnx.TensorProto.FLOAT)
        weight.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(weight) * np.nan, weight.name))

    def store_outside(model):
        weight = next(each for each in model.graph.initializer if len(each.raw_data) > 100)
        onnx.external_data_helper.set_external_data(weight, "in.tif")
        weight.ClearField("raw_data")

    def describe(model, memory="1000", **facts):
        facts = json.loads({each.key: each.value for each in model.metadata_props}["lkca"]) | facts
        onnx.helper.set_model_props(model, {"lkca": json.dumps(facts), "lkca_bytes_per_pixel": memory})

    def add_node(model, kind, inputs, **attributes):
        model.graph.node.append(onnx.helper.make_node(kind, inputs, ["unused"], **attributes))

    def fix_size(model):
        model.graph.input[0].type.tensor_type.shape.dim[2].dim_value = 72

    cases = {
        "empty": (b"", "it is empty"),
        "cut off": (original[: len(original) // 2], "is not a model"),
        "pickle": (b"\x80\x04cos\nsystem\n", "is not a model"),
        "foreign": (change(lambda model: model.ClearField("metadata_props")), "weights of another program"),
        "other bands": (
            change(lambda model: describe(model, bands=9, nanometres=None)),
            "its lr is not float32 (1, 9,",
        ),
        "other scale": (change(lambda model: describe(model, scale=3)), "another size"),
        "newer": (change(lambda model: describe(model, layout=3)), "its layout is 3"),
        "NaN": (change(make_nan), "NaN or infinite"),
        "NaN in a node": (
            change(lambda model: add_node(model, "Constant", [], value_floats=[np.nan])),
            "NaN or infinite",
        ),
        "subgraph": (change(lambda model: add_node(model, "If", ["lr"], then_branch=model.graph)), "If has a graph"),
        "second input": (change(lambda model: model.graph.input.add(name="mask")), "one input lr"),
        "fixed size": (change(fix_size), "of any size"),
        "opset": (change(lambda model: setattr(model.opset_import[0], "version", 99)), "not those of opset 20"),
        "memory": (change(lambda model: describe(model, memory="9" * 5000)), "no valid lkca_bytes_per_pixel"),
        "weights outside": (change(store_outside), "weights in another file"),
    }
    for name, (content, words) in cases.items():
        (tmp_path / "model.onnx").write_bytes(content)
        options = ["--model", tmp_path / "model.onnx", "--engine", engine]
        message = fail(capsys, "upscale", sharpened / "in.tif", tmp_path / "out.tif", *options)
        assert words in message, (name, message)
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


def test_bands_are_matched_by_wavelength(sharpened, cube, tmp_path, capsys):
    """A cube with further bands gives the same result, and one that lacks a band is refused."""
    model, expected = sharpened / "out.tif.lkca", tmp_path / "expected.tif"
    assert run("upscale", sharpened / "in.tif", expected, "--model", model) == 0
    more = tmp_path / "more.tif"
    bands = np.concatenate([cube[:1], cube])
    with rasterio.open(more, "w", driver="GTiff", count=BANDS + 1, height=ROWS, width=COLUMNS, dtype="uint16") as file:
        file.write(bands)
        for i, nanometres in enumerate([400.0, *NANOMETRES], 1):
            file.update_tags(i, wavelength=f"{nanometres:.2f}", wavelength_units="Nanometers")
    assert run("upscale", more, tmp_path / "matched.tif", "--model", model) == 0
    assert "10 of the 11 bands, matched by wavelength" in capsys.readouterr().out
    assert np.array_equal(read(tmp_path / "matched.tif"), read(expected))
    message = fail(capsys, "upscale", more, tmp_path / "no.tif", "--model", model, "--bands", "1-10")
    assert "has no band of its own within 0.5 nm of band 10 of the network, 634.75 nm" in message


def test_other_values_than_those_of_the_training_are_refused(sharpened, cube, tmp_path, capsys):
    model = sharpened / "out.tif.lkca"
    for name, values in (("reflectance", cube / np.float32(10_000)), ("large", cube.astype(np.uint32) * 100)):
        write_tiff(tmp_path / f"{name}.tif", values)
        message = fail(capsys, "upscale", tmp_path / f"{name}.tif", tmp_path / "out.tif", "--model", model)
        assert "the network was trained on values up to" in message
    assert not (tmp_path / "out.tif").exists()


def test_invalid_pixels_stay_invalid_and_do_not_bleed(sharpened, cube, tmp_path):
    """Valid pixels far from invalid ones hardly change; invalid ones have the declared value, in all bands."""
    model = sharpened / "out.tif.lkca"
    holes = cube.astype(np.int16)
    holes[:, 20:30, 40:60] = -9999
    write_tiff(tmp_path / "holes.tif", holes, nodata=-9999)
    assert run("upscale", tmp_path / "holes.tif", tmp_path / "out.tif", "--model", model) == 0
    assert run("upscale", sharpened / "in.tif", tmp_path / "full.tif", "--model", model) == 0
    result, full = read(tmp_path / "out.tif").astype(int), read(tmp_path / "full.tif").astype(int)
    invalid = (holes[0] == -9999).repeat(2, 0).repeat(2, 1)
    with rasterio.open(tmp_path / "out.tif") as file:
        assert file.nodata == -9999
        assert np.array_equal(file.read_masks(1) == 0, invalid)
    assert (result[:, invalid] == -9999).all()
    assert result[:, ~invalid].min() > 0.8 * cube.min() and result[:, ~invalid].max() < 1.2 * cube.max()
    far = ~invalid
    far[: 2 * 30 + 60, 2 * 40 - 60 : 2 * 60 + 60] = False
    assert far.any() and np.abs(result - full)[:, far].max() < 0.01 * cube.max()


@pytest.mark.parametrize("name", ["in.tif", "exists.tif", "out.jpg", "missing/../exists.tif"])
def test_output_that_would_lose_a_file_is_refused(name, sharpened, cube, tmp_path, capsys):
    write_tiff(tmp_path / "in.tif", cube)
    (tmp_path / "exists.tif").write_bytes(b"old")
    (tmp_path / "missing").mkdir()
    before = {path: path.read_bytes() for path in tmp_path.glob("*.*")}
    for command in (("upscale", "--model", sharpened / "out.tif.lkca"), ("sharpen",)):
        message = fail(capsys, command[0], tmp_path / "in.tif", tmp_path / name, *command[1:])
        assert "is the input" in message or "exists" in message or "suffix" in message
    assert {path: path.read_bytes() for path in tmp_path.glob("*.*")} == before


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (["--scale", "1"], "--scale 1 is out of range"),
        (["--scale", "9"], "--scale 9 is out of range"),
        (["--minutes", "0"], "--minutes 0 is out of range"),
        (["--minutes", "nan"], "--minutes nan is out of range"),
        (["--steps", "0"], "--steps 0 is out of range"),
        (["--method", "bicubic"], "choose one of vdsr, "),
        (["--method", "lkca_kd"], "--method lkca_kd cannot be trained on one cube"),
        (["--blur", "mtf:0"], "write bicubic, or mtf:"),
        (["--seed", "-1"], "--seed -1 is out of range"),
        (["--bands", "5-3"], "--bands 5-3: list at least two bands"),
        (["--bands", ""], "list at least two bands"),
        (["--set", "invalid=.nan"], "--set invalid: Input should be a finite number"),
        (["--set", "invalid=dark"], "--set invalid: Input should be a list, as in [1, 2]"),
        (["--set", "gain=red"], "--set gain: "),
        (["--set", "gian=2"], "--set gian=2 is no setting: write KEY=VALUE with a key of variable, axes"),
        (["--set", "gain=2", "gain=3"], "gain is set twice"),
        (["--set", "gain=[2"], "is no value of YAML"),
        (["--set", "variable=cube"], "--set variable: "),
        (["--set", "axes=rows columns"], "--set axes: name the three axes"),
        (["--method", "sspsr", "--scale", "3"], "sspsr upsamples in steps of two"),
        (["--scale", "8"], "has too few valid pixels"),
    ],
)
def test_wrong_options_are_refused(options, part, sharpened, tmp_path, capsys):
    assert part in fail(capsys, "sharpen", sharpened / "in.tif", tmp_path / "out.tif", *options)


def test_second_call_with_other_options_is_refused(sharpened, tmp_path, capsys):
    output = tmp_path / "out.tif"
    assert run("sharpen", sharpened / "in.tif", output, *OPTIONS[:-1], "1", "--or-bicubic") == 0
    for path in tmp_path.glob("out*.*"):
        if path.is_file():
            path.unlink()
    message = fail(capsys, "sharpen", sharpened / "in.tif", output, *OPTIONS[:-1], "1", "--seed", "1")
    assert "is of a call with another seed" in message


def test_blur_is_part_of_the_training(sharpened, tmp_path):
    assert (
        run(
            "sharpen",
            sharpened / "in.tif",
            tmp_path / "out.tif",
            *OPTIONS[:-1],
            "1",
            "--blur",
            "mtf:0.3",
            "--or-bicubic",
        )
        == 0
    )
    folders = [sharpened / "out.tif.lkca", tmp_path / "out.tif.lkca"]
    scores = [json.loads((folder / "bicubic/scores.json").read_text())["mean"]["MPSNR"] for folder in folders]
    assert scores[1] < scores[0]  # bicubic cannot know the blur
    assert json.loads((folders[1] / "run.json").read_text())["blur"] == "mtf:0.3"
    assert "blur" not in json.loads((folders[0] / "run.json").read_text())


def test_a_share_of_the_patches_is_smooth(sharpened):
    """They keep what pixels twice as large as those of the LR image show, and lose what these cannot show."""
    settings = read_run(sharpened / "out.tif.lkca/run.json")
    assert settings.scale == 2 and settings.smoothed == 0.25
    rows, columns = np.mgrid[:32, :32]
    coarse, fine = np.sin(2 * np.pi * rows / 32) + np.sin(2 * np.pi * columns / 32), (-1.0) ** (rows // 2 + columns)
    hr = torch.from_numpy(coarse + fine).expand(8, 3, 32, 32)
    smooth = smooth_patches(hr, settings)
    assert torch.equal(smooth[2:], hr[2:])
    middle = torch.from_numpy(np.sin(2 * np.pi * columns / 6)).expand(8, 3, 32, 32)  # LR pixels of 2, not of 4, show it
    assert smooth_patches(middle, settings)[:2].std() < 0.5 * middle.std()
    inner = smooth[:2, :, 8:-8, 8:-8].numpy()
    assert inner == pytest.approx(np.broadcast_to(coarse[8:-8, 8:-8], inner.shape), abs=0.03)
    assert smooth_patches(hr, settings.model_copy(update={"smoothed": None})) is hr


def test_settings_replace_what_the_file_says(sharpened, cube, tmp_path):
    """The same cube with halved values and a gain of two, its axes transposed and cropped."""
    model = sharpened / "out.tif.lkca"
    np.save(tmp_path / "half.npy", (cube.transpose(1, 2, 0) / 2).astype(np.float32))
    options = ["axes=rows columns bands", "gain=2", "offset=0", f"nanometres={NANOMETRES}", "crop=[0, 40, 0, 60]"]
    assert run("upscale", tmp_path / "half.npy", tmp_path / "a.npy", "--model", model, "--set", *options) == 0
    write_tiff(tmp_path / "part.tif", cube[:, :40, :60])
    assert run("upscale", tmp_path / "part.tif", tmp_path / "b.npy", "--model", model, "--dtype", "float32") == 0
    assert 2 * np.load(tmp_path / "a.npy") == pytest.approx(np.load(tmp_path / "b.npy"), rel=1e-4)


def test_numbers_without_a_point_are_numbers(sharpened):
    """YAML reads 1e30 as text."""
    cube = describe_input(sharpened / "in.tif", "all", ["invalid=1e30", "gain=1e-4"])
    assert cube.files[0].invalid == (1e30,) and cube.files[0].gain == 1e-4


def test_bands_in_another_order_are_matched(sharpened, cube, tmp_path):
    model = sharpened / "out.tif.lkca"
    with rasterio.open(
        tmp_path / "back.tif", "w", driver="GTiff", count=BANDS, height=ROWS, width=COLUMNS, dtype="uint16"
    ) as file:
        file.write(cube[::-1])
        for i, nanometres in enumerate(NANOMETRES[::-1], 1):
            file.update_tags(i, wavelength=f"{nanometres:.2f}", wavelength_units="Nanometers")
    assert run("upscale", tmp_path / "back.tif", tmp_path / "out.tif", "--model", model) == 0
    assert run("upscale", sharpened / "in.tif", tmp_path / "expected.tif", "--model", model) == 0
    assert np.array_equal(read(tmp_path / "out.tif"), read(tmp_path / "expected.tif"))


def test_truncated_file_that_lost_its_wavelengths_is_refused(sharpened, tmp_path, capsys):
    content = (sharpened / "in.tif").read_bytes()
    for length in (10, 500):
        (tmp_path / "short.tif").write_bytes(content[:-length])
        message = fail(
            capsys, "upscale", tmp_path / "short.tif", tmp_path / "out.tif", "--model", sharpened / "out.tif.lkca"
        )
        assert "ends before the end of its description" in message


@pytest.mark.parametrize(
    "name", ["settings.json", "scene.npy", "scene.json", "run.json", "scores.json", "weights.safetensors"]
)
@pytest.mark.parametrize("change", ["flip", "empty", "delete"])
def test_changed_files_of_the_folder_are_refused(name, change, sharpened, tmp_path, capsys):
    folder = tmp_path / "out.tif.lkca"
    shutil.copytree(sharpened / "out.tif.lkca", folder)
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).unlink()
    if change != "delete":
        (folder / name).write_bytes(content if change == "flip" else b"")
    message = fail(capsys, "sharpen", sharpened / "in.tif", tmp_path / "out.tif", *OPTIONS, "--or-bicubic")
    assert "delete" in message and str(folder) in message and not (tmp_path / "out.tif").exists()
    if (change, name) != ("delete", "settings.json"):  # without it, the folder is that of any run
        assert str(folder) in fail(capsys, "upscale", sharpened / "in.tif", tmp_path / "out.tif", "--model", folder)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"far": -30000}, ["set invalid with --set"]),
        ({"far": -9999}, ["give --set invalid='[-9999]', or --set invalid='[]' if"]),
        ({"wrong": "red"}, ["wavelength", "set nanometres with --set"]),
        ({"constant": True}, ["--bands"]),
        ({"noise": True}, ["neighbouring pixels are hardly correlated"]),
    ],
)
def test_messages_name_the_options_of_the_command(change, words, cube, tmp_path, capsys, rng):
    """The readers' messages are about the workflow's config.yaml, which this user does not have."""
    cube = cube.astype(np.int16)
    if "far" in change:
        cube[:, 5, 5] = change["far"]
    if "constant" in change:
        cube[3] = 7
    if "noise" in change:
        cube = rng.integers(0, 3000, cube.shape).astype(np.int16)
    write_tiff(tmp_path / "in.tif", cube)
    if "wrong" in change:
        with rasterio.open(tmp_path / "in.tif", "r+") as file:
            file.update_tags(1, wavelength=change["wrong"], wavelength_units="Nanometers")
    message = fail(capsys, "sharpen", tmp_path / "in.tif", tmp_path / "out.tif", *OPTIONS)
    assert all(word in message for word in words), message
    assert "entry" not in message and "snakemake" not in message and "config" not in message


def test_bands_without_data_are_left_out_and_named(sharpened, cube, tmp_path, capsys):
    """The hint can be pasted, a refused call leaves no folder, and the corrected call names bands and options."""
    cube = cube.astype(np.int16)
    cube[[2, 5, 6]] = -1
    write_tiff(tmp_path / "in.tif", cube, nodata=-1)
    message = fail(capsys, "sharpen", tmp_path / "in.tif", tmp_path / "out.tif", *OPTIONS)
    hint = re.search(r"--bands (\S+)\.", message)[1]
    assert hint == "1-2,4-5,8-10" and [path.name for path in tmp_path.iterdir()] == ["in.tif"]
    options = ("--bands", hint, "--set", "gain=2", "offset=0", "--or-bicubic")
    assert run("sharpen", tmp_path / "in.tif", tmp_path / "out.tif", *OPTIONS[:-1], "1", *options) == 0
    assert "7 of the 10 bands of the file: without 3, 6-7," in capsys.readouterr().out
    assert "without 3, 6-7," in (tmp_path / "out_report.html").read_text()
    with rasterio.open(tmp_path / "out.tif") as file:
        history = file.tags()["HISTORY"]
        assert file.count == 7 and f"--bands {hint} --set gain=2 offset=0" in history and "--or-bicubic" in history


def test_replaced_input_is_noticed(sharpened, cube, tmp_path, capsys):
    shutil.copytree(sharpened / "out.tif.lkca", tmp_path / "out.tif.lkca")
    write_tiff(tmp_path / "in.tif", cube + 1)
    message = fail(capsys, "sharpen", tmp_path / "in.tif", tmp_path / "out.tif", *OPTIONS, "--or-bicubic")
    assert "is of a call with another input" in message


def test_output_that_the_format_cannot_hold_is_refused_before_the_training(sharpened, tmp_path, capsys):
    """The position of the input is rotated and sheared, which ENVI cannot hold; a header of another file is kept."""
    with (
        rasterio.open(sharpened / "in.tif") as source,
        rasterio.open(
            tmp_path / "sheared.tif", "w", **source.profile | {"transform": TRANSFORM @ Affine.shear(20)}
        ) as file,
    ):
        file.write(source.read())
    fail(capsys, "sharpen", tmp_path / "sheared.tif", tmp_path / "out.img", *OPTIONS)
    assert not (tmp_path / "out.img.lkca/weights.safetensors").exists()
    (tmp_path / "own.hdr").write_text("notes")
    assert "own.hdr exists" in fail(capsys, "sharpen", sharpened / "in.tif", tmp_path / "own.img", *OPTIONS)
    assert (tmp_path / "own.hdr").read_text() == "notes"


@pytest.mark.slow
@pytest.mark.parametrize("command", ["sharpen", "upscale"])
def test_killed_calls_end_with_the_same_bytes(command, sharpened, tmp_path):
    """A call that is killed leaves no result or the whole one, and the next call gives the same bytes."""
    source, model = sharpened / "in.tif", sharpened / "out.tif.lkca"
    options = (*OPTIONS, "--or-bicubic") if command == "sharpen" else ("--model", model)
    call = [sys.executable, "-m", "lkca", command, source, "out.tif", *options]
    settings = {"env": os.environ | {"OMP_NUM_THREADS": "1"}, "stdout": subprocess.DEVNULL}
    files = {"out.tif"} | ({"out.tif.lkca", "out_trust.tif", "out_report.html"} if command == "sharpen" else set())
    folders = [tmp_path / str(i) for i in range(KILLS + 1)]  # the files name their own path, so all have one name
    for i, folder in enumerate(folders):
        folder.mkdir()
        start = time.monotonic()
        if i == 0:
            subprocess.run(call, check=True, cwd=folder, **settings)
            duration = time.monotonic() - start
            continue
        process = subprocess.Popen(call, cwd=folder, **settings, stderr=subprocess.DEVNULL)
        time.sleep(duration * (i - 0.5) / KILLS)
        process.kill()
        process.wait()
        if not (folder / "out.tif").exists():
            subprocess.run(call, check=True, cwd=folder, **settings)
        for name in ("out.tif", "out_trust.tif", "out.tif.lkca/weights.safetensors"):
            if (folders[0] / name).exists():
                assert sha256(folder / name) == sha256(folders[0] / name)
        assert {path.name for path in folder.iterdir() if not path.name.endswith(".lock")} == files
