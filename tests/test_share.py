"""Networks to share: exported files say what a network is and do the same; wrong files are refused, never executed."""

import hashlib
import json
import os
import struct
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from conftest import RECIPE
from fake_results import complete_scores, write_scene, write_split
from markdown_it import MarkdownIt
from networks import TRAINABLE, build_small, perturb, small_arguments
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from lkca.commands import share
from lkca.commands.info import info
from lkca.core.files import json_digest, sha256
from lkca.data.resize import resize
from lkca.errors import ConfigError, DataError, FileProblem, StaleInput
from lkca.inference import onnx_export
from lkca.inference.model_file import load_model
from lkca.models.registry import MODELS, build
from lkca.training.checkpoint import save_weights

BANDS, SCALE = 9, 4
DESCRIPTION = {"format": "ENVI", "units": "[x](javascript:alert(1)) <script>\n# heading"}


def write_run(root: Path, arch: str = "lkca", model: str = "net") -> Path:
    """Write a run of a small network on the scene "town", and return its folder."""
    area = {
        "file": "a",
        "use": "both",
        "row": 0,
        "rows": 80,
        "columns": 64,
        "crop": [0, 80, 0, 64],
        "sha256": "5a" * 32,
    }
    scene = write_scene(
        root,
        "town",
        shape=[BANDS, 80, 64],
        bands=list(range(1, BANDS + 1)),
        nanometres=[400.0 + 10 * band for band in range(BANDS)],
        fwhm=[5.5] * BANDS,
        minimum=-3,
        maximum=4000.0,
        divisor=5000.0,
        areas=[{**area, "sha256": "5a" * 32, "description": DESCRIPTION}],
    )
    args, upsampler = small_arguments(arch)
    content = {
        "experiment": "test",
        "scene": "town",
        "scale": SCALE,
        "model": model,
        "seed": 7,
        "bands": BANDS,
        "arch": arch,
        "args": args,
        "upsampler": upsampler,
        "train": RECIPE if MODELS[arch].trainable else None,
        "distill": None,
        "scene_sha256": json.loads(scene.read_text())["sha256"],
        "split_sha256": sha256(write_split(root, "town", SCALE)),
        "teacher_sha256": None,
    }
    folder = root / "runs" / f"town_x{SCALE}" / model / "seed7"
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps(content))
    if MODELS[arch].trainable:
        torch.manual_seed(0)
        network = perturb(build_small(arch, BANDS, SCALE))
        save_weights(folder / "weights.safetensors", network.state_dict(), sha256(folder / "run.json"), 3)
    return folder


def write_scores(folder: Path, mpsnr: list[float], **facts) -> None:
    """Write the scores of a run: the MPSNR of each test image."""
    run, weights = json.loads((folder / "run.json").read_text()), folder / "weights.safetensors"
    images = [{"window": [i, 0, 8, 8], "scores": {"MPSNR": value}} for i, value in enumerate(mpsnr)]
    hashes = {
        "run_sha256": sha256(folder / "run.json"),
        "weights_sha256": sha256(weights) if weights.exists() else None,
    }
    identity = {name: run[name] for name in ("scene", "scale", "model", "seed")}
    content = complete_scores({**identity, "images": images, "epoch": 3, **hashes, **facts})
    (folder / "scores.json").write_text(json.dumps({**content, "digest": json_digest(content)}))


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path / "results")


@pytest.fixture
def shared(run, tmp_path, monkeypatch):
    """The exported file of a run, without ONNX."""
    monkeypatch.setattr(share, "missing_packages", lambda: ["onnx"])
    share.export(run, tmp_path / "out")
    return tmp_path / "out" / "model.safetensors"


def rewrite(path: Path, facts=None, weights=None, metadata=None) -> None:
    """Change the description or the weights of a shared file."""
    with safe_open(path, "pt") as file:
        content = json.loads(file.metadata()["lkca"])
    tensors = load_file(path) | (weights or {})
    save_file(tensors, path, {"lkca": json.dumps(content | (facts or {}))} if metadata is None else metadata)


def test_an_exported_network_is_that_of_the_run(run, shared, tmp_path):
    original, loaded = load_model(run), load_model(shared)
    lr = torch.rand(1, BANDS, 11, 7)
    assert torch.equal(original.network(lr), loaded.network(lr))
    assert original.facts == loaded.facts
    assert not loaded.network.training and not any(weight.requires_grad for weight in loaded.network.parameters())
    assert loaded.sha256 == hashlib.sha256(shared.read_bytes()).hexdigest()
    facts = loaded.facts
    assert (facts.bands, facts.scale, facts.divisor, facts.minimum, facts.maximum) == (9, 4, 5000, -3, 4000)
    assert facts.nanometres[:2] == (400, 410) and facts.fwhm == (5.5,) * 9 and facts.epoch == 3
    assert (facts.sensor, facts.blur) == ("Headwall Hyperspec-VNIR-C", "bicubic")  # of Chikusei, whose cube this names
    assert facts.run_sha256 == hashlib.sha256((run / "run.json").read_bytes()).hexdigest()
    share.export(run, tmp_path / "again")
    assert (tmp_path / "again/model.safetensors").read_bytes() == shared.read_bytes()


def test_another_program_can_read_the_weights(run, shared):
    theirs, ours = load_file(shared), load_file(run / "weights.safetensors")
    assert theirs.keys() == ours.keys() and all(torch.equal(theirs[name], ours[name]) for name in ours)
    with safe_open(shared, "pt") as file:
        assert file.metadata().keys() == {"lkca"}


def test_global_random_numbers_are_not_used(shared):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    load_model(shared)
    assert torch.equal(torch.rand(3), expected)


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("executed",)


def cut(path, size):
    path.write_bytes(path.read_bytes()[:size])


def replace_header(path, header):
    path.write_bytes(struct.pack("<Q", len(header)) + header)


GIGANTIC = {"width": 4096, "blocks": 4096, "drop_path": 0.0}
WRONG_FILES = {
    "pickle in a zip": (lambda path: torch.save(Bomb(), path), "pickle or an archive"),
    "old pickle": (lambda path: torch.save(Bomb(), path, _use_new_zipfile_serialization=False), "pickle or an archive"),
    "empty": (lambda path: path.write_bytes(b""), "cut off"),
    "half a length": (lambda path: cut(path, 5), "cut off"),
    "half a header": (lambda path: cut(path, 300), "cut off"),
    "half the weights": (lambda path: cut(path, path.stat().st_size // 2), "cut off"),
    "one byte short": (lambda path: cut(path, path.stat().st_size - 1), "damaged"),
    "huge header": (lambda path: path.write_bytes(struct.pack("<Q", 2**60) + b"{}"), "header of more than"),
    "text": (lambda path: path.write_text("not a model, but a text of some length"), "header of more than"),
    "deep JSON": (lambda path: replace_header(path, b"[" * 10**5), "header is damaged"),
    "a list": (lambda path: replace_header(path, b"[]"), "header is damaged"),
    "foreign": (lambda path: rewrite(path, metadata={"format": "pt"}), "weights of another program"),
    "without metadata": (lambda path: save_file(load_file(path), path), "weights of another program"),
    "deep description": (lambda path: rewrite(path, metadata={"lkca": "[" * 10**5}), "description is no JSON"),
    "weights of a run": (
        lambda path: rewrite(path, metadata={"lkca": json.dumps({"run_sha256": "5a" * 32, "epoch": 1})}),
        "name the folder of the run",
    ),
    "newer": (lambda path: rewrite(path, {"layout": 3}), "its layout is 3"),
    "unknown fact": (lambda path: rewrite(path, {"code": "import os"}), "description is wrong"),
    "unknown network": (lambda path: rewrite(path, {"arch": "../evil"}), "no network of this version"),
    "no network": (
        lambda path: rewrite(path, {"arch": "bicubic", "args": {}, "upsampler": None}),
        "no network of this",
    ),
    "infinite": (lambda path: rewrite(path, {"divisor": float("inf")}), "description is"),
    "zero": (lambda path: rewrite(path, {"divisor": 0.0}), "divisor"),
    "wavelengths": (lambda path: rewrite(path, {"nanometres": [400.0, 500.0]}), "2 values for 9 bands"),
    "wider": (lambda path: rewrite(path, {"args": {"width": 64, "blocks": 2, "drop_path": 0.0}}), "not those of"),
    "other scale": (lambda path: rewrite(path, {"scale": 2}), "not those of the network"),
    "gigantic": (
        lambda path: rewrite(path, {"args": {"width": 4096, "blocks": 4096, "drop_path": 0.0}}),
        "not those of",
    ),
    "NaN": (
        lambda path: rewrite(path, weights={"blocks.0.norm2.bias": torch.full((48, 1, 1), torch.nan)}),
        "NaN or infinite",
    ),
    "half precision": (
        lambda path: rewrite(path, weights={"blocks.0.norm2.bias": torch.zeros(48, 1, 1).half()}),
        "header is damaged",
    ),
    "one tensor more": (lambda path: rewrite(path, weights={"x": torch.zeros(1)}), "not those of the network"),
    "missing": (lambda path: path.unlink(), "does not exist"),
    "pipe": (lambda path: (path.unlink(), os.mkfifo(path)), "a device or a pipe"),
}


@pytest.mark.parametrize("kind", WRONG_FILES)
def test_wrong_files_are_refused_and_not_executed(shared, monkeypatch, kind):
    monkeypatch.chdir(shared.parent)
    damage, message = WRONG_FILES[kind]
    damage(shared)
    start = time.monotonic()
    with pytest.raises(DataError, match=message) as error:
        load_model(shared)
    assert time.monotonic() - start < 5  # no network of 4096 blocks was built
    text = str(error.value)
    assert text.startswith(str(shared)) and text.endswith(".") and "\n" not in text and len(text) < 700
    assert not Path("executed").exists()


def test_a_header_that_promises_a_huge_network(shared):
    """All shapes fit the network of the description, but the file does not hold them."""
    with safe_open(shared, "pt") as file:
        content = json.loads(file.metadata()["lkca"])
    content["args"] = GIGANTIC
    huge = {"dtype": "F32", "shape": [10**9, 10**9], "data_offsets": [0, 4]}
    replace_header(shared, json.dumps({"__metadata__": {"lkca": json.dumps(content)}, "a": huge}).encode())
    with pytest.raises(DataError, match="it is cut off"):
        load_model(shared)


def test_folders_of_runs(run, tmp_path):
    beside = tmp_path / "OUTPUT.lkca"
    beside.mkdir()
    for name in ("run.json", "weights.safetensors"):
        (beside / name).write_bytes((run / name).read_bytes())
    with pytest.raises(DataError, match="describes the scene"):
        load_model(beside)
    manifest = tmp_path / "results/scenes/town.json"
    (beside / "scene.json").write_bytes(manifest.read_bytes())
    assert load_model(beside).facts == load_model(run).facts
    with pytest.raises(DataError, match=r"has no run.json: name the folder of a run"):
        load_model(run.parent)
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"sha256": "00" * 32}))
    with pytest.raises(StaleInput, match="describes another scene"):
        load_model(run)
    (beside / "weights.safetensors").unlink()
    with pytest.raises(DataError, match="is missing: wait for the end of the training"):
        load_model(beside)


def test_a_folder_of_a_method_without_weights(tmp_path):
    with pytest.raises(DataError, match="net is not trained"):
        load_model(write_run(tmp_path, "bicubic"))


@pytest.mark.parametrize("arch", TRAINABLE)
def test_all_networks_can_be_shared(tmp_path, monkeypatch, arch):
    monkeypatch.setattr(share, "missing_packages", lambda: ["onnx"])
    run = write_run(tmp_path / "results", arch)
    share.export(run, tmp_path / "out")
    assert load_model(tmp_path / "out/model.safetensors").facts.arch == arch


def test_scores_on_the_card(run, tmp_path, shared):
    """The interval of 30, 31, 32, 33: t(0.975, 3 degrees of freedom) = 3.182446, times 1.290994 / sqrt(4) = 2.0543."""
    write_scores(run, [30, 31, 32, 33], commit="abc", versions={"torch": "2.11"})
    write_scores(write_run_again(tmp_path), [28, 29, 30, 31])
    share.export(run, shared.parent)
    card = (shared.parent / "README.md").read_text()
    expected = (
        "| MPSNR (dB) ↑ | 31.5000 (29.4457 to 33.5543) | 29.5000 (27.4457 to 31.5543) | +2.0000 (+2.0000 to +2.0000) |"
    )
    assert expected in card
    assert "Means over 4 test images" in card and "commit abc; torch 2.11" in card
    assert load_model(shared).facts.commit == "abc"


def write_run_again(tmp_path: Path) -> Path:
    return write_run(tmp_path / "results", "bicubic", "bicubic")


def test_scores_of_other_test_images_are_not_compared(run, tmp_path, shared):
    write_scores(run, [30, 31])
    write_scores(write_run_again(tmp_path), [28, 29, 30])
    share.export(run, shared.parent)
    card = (shared.parent / "README.md").read_text()
    assert "| MPSNR (dB) ↑ | 30.5000 |\n" in card and "There are no scores of bicubic" in card
    assert "There are no intervals, because that needs at least 3 test images." in card


@pytest.mark.parametrize("change", [{"run_sha256": "00" * 32}, {"weights_sha256": "00" * 32}])
def test_scores_of_other_weights_are_refused(run, tmp_path, change):
    write_scores(run, [30, 31, 32], **change)
    with pytest.raises(StaleInput, match="scores of other weights"):
        share.export(run, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_edited_scores_are_refused(run, tmp_path):
    write_scores(run, [30, 31, 32])
    path = run / "scores.json"
    path.write_text(path.read_text().replace("31", "41"))
    with pytest.raises(DataError, match="it was edited"):
        share.export(run, tmp_path / "out")


def test_the_card(shared):
    card = (shared.parent / "README.md").read_text()
    front, body = card.removeprefix("---\n").split("---\n", 1)
    assert yaml.safe_load(front) == {
        "license": "other",
        "library_name": "lkca",
        "pipeline_tag": "image-to-image",
        "tags": ["hyperspectral", "super-resolution", "remote-sensing", "lkca"],
    }
    assert "7 patches for training, 3 for validation and 2 test" in body
    assert "There were no scores at the export" in body and "There is no ONNX file." in body
    assert hashlib.sha256(shared.read_bytes()).hexdigest() in body
    citation = yaml.safe_load(Path("CITATION.cff").read_text())
    paper, text = citation["references"][0], " ".join(body.split())
    for part in (paper["title"], citation["title"], paper["identifiers"][0]["value"], str(paper["year"])):
        assert part in text
    for author in paper["authors"]:
        assert f"{author['given-names']} {author['family-names']}" in text


def test_texts_of_files_are_escaped_on_the_card(shared):
    card = (shared.parent / "README.md").read_text()
    assert load_model(shared).facts.units == DESCRIPTION["units"]
    html = MarkdownIt().render(card.split("---\n", 2)[2])
    assert "[x](javascript:alert(1)) &lt;script&gt; # heading in the training scene" in html
    assert "<script" not in html and 'href="javascript' not in html and html.count("<h1>") == 1


def test_the_example_on_the_card_runs(shared, monkeypatch):
    card = (shared.parent / "README.md").read_text()
    monkeypatch.chdir(shared.parent)
    names = {}
    exec(card.split("```python\n")[1].split("```")[0], names)
    assert names["enlarged"].shape == (1, BANDS, 128, 128)


@pytest.mark.parametrize(("licence", "license"), [("CC-BY-4.0", "cc-by-4.0"), ("Ask: [me](x)\nfirst", "other")])
def test_licence(run, tmp_path, shared, licence, license):
    share.export(run, shared.parent, licence)
    card = (shared.parent / "README.md").read_text()
    assert yaml.safe_load(card.split("---\n")[1])["license"] == license
    assert load_model(shared).facts.licence == licence
    assert '<a href="x">' not in MarkdownIt().render(card.split("---\n", 2)[2])


def test_a_licence_that_is_too_long(run, tmp_path):
    with pytest.raises(ConfigError, match=r"licence: .*: shorten this text\.$"):
        share.export(run, tmp_path / "out", "x" * 2001)


def test_a_run_with_scores_of_an_earlier_training_can_be_applied(run):
    write_scores(run, [30, 31, 32], weights_sha256="00" * 32)
    assert load_model(run).facts.epoch == 3


def test_a_folder_with_other_files_is_refused(run, tmp_path, shared):
    share.export(run, shared.parent)  # an earlier export is replaced
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "README.md").write_text("my text")
    for files in (["README.md"], ["README.md", "model.safetensors"], ["README.md", "model.safetensors", "data.npy"]):
        for name in files[1:]:
            save_file({"a": torch.zeros(1)}, mine / name)
        with pytest.raises(ConfigError, match="did not write"):
            share.export(run, mine)
        assert (mine / "README.md").read_text() == "my text"
    for name in ("README.md", "data.npy"):
        (mine / name).unlink()
    for folder in (mine, run):  # with foreign weights, and the run itself
        with pytest.raises(ConfigError, match="did not write"):
            share.export(run, folder)
    with pytest.raises(DataError, match="is a file"):
        share.export(run, mine / "model.safetensors")
    with pytest.raises(DataError, match="is not a folder"):
        share.export(run / "run.json", tmp_path / "new")


def test_without_the_extra_no_graph_of_an_earlier_export_stays(run, shared, capsys):
    (shared.parent / "model.onnx").write_text("of another network")
    share.export(run, shared.parent)
    assert not (shared.parent / "model.onnx").exists()
    assert "needs onnx: install the extra onnx" in capsys.readouterr().out


def test_info(run, shared, capsys):
    capsys.readouterr()
    info(run)
    lines = capsys.readouterr().out.splitlines()
    assert "bands       9, 400 to 480 nm, FWHM 5.5 to 5.5 nm" in lines
    assert "licence     not stated" in lines
    assert all(line[11] == " " and line[12] != " " for line in lines)
    info(shared)
    changed = [line for line in capsys.readouterr().out.splitlines() if line not in lines]
    assert changed == [f"SHA-256     {sha256(shared)}"]  # the file has another header


@pytest.mark.parametrize("scale", [2, 3, 4, 5, 8])
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (2, 3), (5, 2), (12, 9)])
def test_bicubic_for_all_sizes(scale, size):
    lr = torch.rand(1, 3, *size)
    expected = resize(lr.double(), scale)
    assert (onnx_export.SymmetricBicubic(scale)(lr) - expected).abs().max() < 1e-6


@pytest.fixture
def runtime():
    pytest.importorskip("onnx")
    return pytest.importorskip("onnxruntime")


@pytest.mark.parametrize("arch", MODELS)
def test_graphs_equal_the_networks_at_all_sizes(tmp_path, runtime, arch):
    torch.manual_seed(1)
    args, upsampler = small_arguments(arch)
    if args:
        args["width"] = max(8, MODELS[arch].arguments["width"].multiple_of)  # float64 is slow
    network = perturb(build(arch, BANDS, SCALE, args, upsampler)).eval()
    path = tmp_path / "model.onnx"
    deviations = onnx_export.export_onnx(network, BANDS, path, {"lkca": "{}"})
    assert len(deviations) == 3 and max(each.onnx for each in deviations) < 5e-6
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert [axis.name for axis in session.get_inputs()] == ["lr"] and session.get_inputs()[0].shape[:2] == [1, BANDS]
    for size in [(1, 1), (4, 2), (26, 40)]:  # for 104 x 160 HR pixels, torch computes in strips
        lr = torch.rand(1, BANDS, *size)
        with torch.no_grad():
            expected = network.double()(lr.double())
        assert np.abs(session.run(None, {"lr": lr.numpy()})[0] - expected.numpy()).max() < 5e-6 * expected.abs().max()


class SizeDependent(nn.Module):
    def forward(self, lr):
        return lr * float(lr.shape[-1])  # tracing stores the traced width


class Unknown(nn.Module):
    def forward(self, lr):
        return torch.linalg.svdvals(lr)


@pytest.mark.parametrize(("network", "reason"), [(SizeDependent(), "differs from torch"), (Unknown(), "cannot be")])
def test_networks_that_cannot_be_exported_are_refused(tmp_path, runtime, network, reason):
    path = tmp_path / "model.onnx"
    with pytest.raises(FileProblem, match=reason) as error:
        onnx_export.export_onnx(network, 3, path, {})
    assert not path.exists() and "\n" not in str(error.value)


def test_export_with_a_graph(run, tmp_path, runtime, capsys):
    share.export(run, tmp_path / "out")
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["README.md", "model.onnx", "model.safetensors"]
    assert "model.onnx was written; it differs from torch by at most" in capsys.readouterr().out
    assert "(1, 9, rows, columns), the values divided by 5000.0" in (tmp_path / "out/README.md").read_text()
    session = runtime.InferenceSession(tmp_path / "out/model.onnx", providers=["CPUExecutionProvider"])
    stored = json.loads(session.get_modelmeta().custom_metadata_map["lkca"])
    assert stored["divisor"] == 5000 and stored["run_sha256"] == sha256(run / "run.json")


def test_a_killed_export_can_be_repeated(run, shared):
    (shared.parent / ".model.part.safetensors").write_bytes(b"half")
    (shared.parent / "README.md").unlink()
    share.export(run, shared.parent)
    assert sorted(path.name for path in shared.parent.iterdir()) == ["README.md", "model.safetensors"]


@pytest.mark.parametrize("length", [640, 896, 1152, 1408])
def test_header_whose_length_looks_like_a_pickle_is_read(length, tmp_path):
    """The first bytes of these files are 80 02 to 80 05, with which pickles begin."""
    header = json.dumps({"__metadata__": {"other": ""}, "w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}})
    header = header.replace('"other": ""', '"other": "' + "x" * (length - len(header)) + '"')
    (tmp_path / "model.safetensors").write_bytes(length.to_bytes(8, "little") + header.encode() + bytes(4))
    with pytest.raises(DataError) as refused:
        load_model(tmp_path / "model.safetensors")
    assert "pickle" not in str(refused.value)
