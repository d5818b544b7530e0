"""`lkca check` reports every damage, and nothing else."""

import errno
import hashlib
import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import RECIPE
from safetensors.numpy import save_file

from lkca.cli import main
from lkca.data.catalog import CUBES

LKCA, KD = "runs/chikusei_x4/lkca/seed3000", "runs/chikusei_x4/lkca_kd/seed3000"
BICUBIC, OTHER = "runs/chikusei_x4/bicubic/seed3000", "runs/chikusei_x4/lkca/seed3001"


def sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write(path: Path, value: object) -> str:
    """Write JSON and return its SHA-256."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1))
    return sha(path)


def sealed(scores: dict) -> dict:
    """Return scores.json with its digest, that of the canonical JSON of all other keys."""
    canonical = json.dumps(scores, sort_keys=True, separators=(",", ":"))
    return scores | {"digest": hashlib.sha256(canonical.encode()).hexdigest()}


def train(root: Path, model: str, seed: int, teacher: str | None = None, **settings: object) -> None:
    """Write a run with its training and its scores; bicubic has no training."""
    folder = root / f"runs/chikusei_x4/{model}/seed{seed}"
    who = {"experiment": "demo", "scene": "chikusei", "scale": 4, "model": model, "seed": seed}
    trained = model != "bicubic"
    weights = dict.fromkeys(("alpha", "decay", "cos", "sam", "grad"), 1.0)
    run = {
        **who,
        "bands": 128,
        "arch": "lkca" if trained else "bicubic",
        "args": {},
        "upsampler": {"groups": 1} if trained else None,
        "train": RECIPE if trained else None,
        "distill": {"teacher": teacher, "features": "upsampler", "every": 1, **weights} if teacher else None,
        "scene_sha256": sha(root / "scenes/chikusei.npy"),
        "split_sha256": sha(root / "splits/chikusei_x4.json"),
        "teacher_sha256": sha(root / f"runs/chikusei_x4/{teacher}/seed{seed}/run.json") if teacher else None,
    }
    digest = write(folder / "run.json", run | settings)
    if trained:
        save_weights(folder / "weights.safetensors", seed + len(model), digest)
        (folder / "history.csv").write_text(f"epoch,steps\n1,{seed}\n")
        write(folder / "spectrum.json", {"scene": "chikusei", "scale": 4, "model": model, "seed": seed, "layers": []})
    np.savez(folder / "image.npz", hr=np.full(3, seed))
    score(folder)


def save_weights(path: Path, value: float, run_sha256: str) -> None:
    """Write weights that record their run.json."""
    save_file({"a": np.full(4, value, np.float32)}, path, {"lkca": json.dumps({"run_sha256": run_sha256, "epoch": 2})})


def score(folder: Path, **changes: object) -> None:
    """Write the scores.json of a run."""
    run = json.loads((folder / "run.json").read_text())
    who = {name: run[name] for name in ("experiment", "scene", "scale", "model", "seed")}
    facts = {
        "mean": {"MPSNR": 40.0},
        "device": "cpu",
        "commit": "0123456789ab",
        "versions": {"torch": "2.11.0"},
    } | changes
    hashes = {
        f"{Path(file).stem}_sha256": sha(folder / file) if (folder / file).exists() else None
        for file in ("run.json", "weights.safetensors", "history.csv", "image.npz")
    }
    write(folder / "scores.json", sealed(who | facts | hashes))


def report(root: Path, *, verdict: str = "match") -> None:
    """Write tables, a figure and the report with all that it depends on."""
    for name, text in {
        "tables/V.csv": "scale,row,MPSNR\n4,LKCA-Net,40.0\n",
        "tables/V.verdicts.csv": f"table,scene,scale,row,verdict\nV,chikusei,4,LKCA-Net,{verdict}\n",
        "figures/6.png": "a picture",
        "report.html": "<!doctype html>",
    }.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text)
    (root / "report.json").unlink(missing_ok=True)
    files = [p for p in root.rglob("*") if p.suffix not in (".npy", ".safetensors") and p.is_file()]
    write(root / "report.json", {"files": {p.relative_to(root).as_posix(): sha(p) for p in sorted(files)}})


def again(*names: str) -> str:
    """Return the remedy that makes files again."""
    paths = " ".join(f"results/demo/{name}" for name in names)
    return f"run snakemake -R {paths} to make {'it' if len(names) == 1 else 'them'} again"


def relist(root: Path, *names: str) -> None:
    """Update the report's record of these files."""
    listing = json.loads((root / "report.json").read_text())
    listing["files"] |= {name: sha(root / name) for name in names}
    write(root / "report.json", listing)


@pytest.fixture(scope="module")
def intact(tmp_path_factory) -> Path:
    """results/ with one experiment: bicubic, a network with two seeds and its student."""
    root = tmp_path_factory.mktemp("check") / "results/demo"
    (root / "scenes").mkdir(parents=True)
    np.save(root / "scenes/chikusei.npy", np.arange(24, dtype=np.float32).reshape(2, 3, 4))
    digest = sha(root / "scenes/chikusei.npy")
    write(root / "scenes/chikusei.json", {"scene": "chikusei", "cube": "chikusei", "sha256": digest})
    windows = {"train": [[96, 0], [96, 16]], "validation": [[128, 0]], "test": [[0, 0, 32, 32]]}
    split = {"scene": "chikusei", "scale": 4, "scene_sha256": digest, "size": 16, **windows}
    write(root / "splits/chikusei_x4.json", split)
    train(root, "bicubic", 3000)
    for seed in (3000, 3001):
        train(root, "lkca", seed)
    train(root, "lkca_kd", 3000, teacher="lkca")
    report(root)
    return root


@pytest.fixture
def root(intact, tmp_path, monkeypatch) -> Path:
    """A copy that tests damage, in the place that it has in a checkout."""
    monkeypatch.chdir(tmp_path)
    return shutil.copytree(intact, Path("results/demo"))


@pytest.fixture
def check(root, capsys):
    """Run the command on the copy; return its exit code, the errors and the notes."""

    def checked(folder: Path = root) -> tuple[int, list[str], list[str]]:
        code = main(["check", str(folder)])
        lines = capsys.readouterr().out.splitlines()
        findings = [
            [line.split(maxsplit=1)[1] for line in lines if line.startswith(f"  {kind}")] for kind in ("WRONG", "note")
        ]
        return code, *findings

    return checked


def edit(path: Path, **changes: object) -> None:
    write(path, json.loads(path.read_text()) | changes)


def test_intact_results_have_no_findings(root, capsys):
    assert main(["check", str(root.parent)]) == 0
    lines = capsys.readouterr().out.splitlines()
    size = sum(p.stat().st_size for p in root.rglob("*") if p.is_file() and p.name != "report.json")
    assert lines == [
        str(root),
        # scene, manifest and split; of four runs settings, scores and image; of three weights, history and spectrum;
        # two files of a table, a figure and the page
        f"  checked  4 runs, weights of 3, scores of 4, tables: 1, figures: 1; 28 files, {size / 1000:.1f} kB.",
        "All checked files are consistent.",
    ]


DAMAGES = {
    # damage -> the file, the function that damages it, and parts of the error
    "edited table": ("tables/V.csv", lambda p: p.write_text("40.5"), ["tables/V.csv is not", "report.json recorded"]),
    "edited figure": ("figures/6.png", lambda p: p.write_text("x"), ["figures/6.png is not", "report.json recorded"]),
    "edited page": ("report.html", lambda p: p.write_text("x"), ["report.html is not", "report.json recorded"]),
    "edited history": (
        f"{LKCA}/history.csv",
        lambda p: p.write_text("epoch,steps\n1,9\n"),
        [f"{LKCA}/history.csv is not", "report.json and", f"{LKCA}/scores.json recorded"],
    ),
    "edited score": (
        f"{LKCA}/scores.json",
        lambda p: edit(p, mean={"MPSNR": 41.0}),
        [f"{LKCA}/scores.json was damaged or edited", "edited"],
    ),
    "scored again": (
        f"{LKCA}/scores.json",
        lambda p: score(p.parent, mean={"MPSNR": 41.0}),
        [f"{LKCA}/scores.json is not the file that report.json recorded: {again('report.json')}."],
    ),
    "edited settings": (
        f"{LKCA}/run.json",
        lambda p: edit(p, train=RECIPE | {"epochs": 3}),
        [f"{LKCA}/run.json is not", "report.json", f"{LKCA}/scores.json", "weights.safetensors", f"{KD}/run.json"],
    ),
    "edited split": (
        "splits/chikusei_x4.json",
        lambda p: edit(p, test=[[0, 0, 64, 64]]),
        ["splits/chikusei_x4.json is not", "restore the original"],
    ),
    "edited manifest": ("scenes/chikusei.json", lambda p: edit(p, divisor=2), ["scenes/chikusei.json is not"]),
    "another scene": (
        "scenes/chikusei.npy",
        lambda p: np.save(p, np.zeros((2, 3, 4), np.float32)),
        ["scenes/chikusei.npy is not", "restore the original"],
    ),
    "weights of another seed": (
        f"{LKCA}/weights.safetensors",
        lambda p: shutil.copy(p.parent.with_name("seed3001") / p.name, p),
        [f"{LKCA}/weights.safetensors is not", f"{LKCA}/scores.json recorded", "restore the original"],
    ),
    "trained again": (
        f"{LKCA}/weights.safetensors",
        lambda p: save_weights(p, 0, sha(p.with_name("run.json"))),
        [f"{LKCA}/weights.safetensors is not", f"recorded: {again(f'{LKCA}/scores.json')}."],
    ),
    "truncated weights": (
        f"{LKCA}/weights.safetensors",
        lambda p: p.write_bytes(p.read_bytes()[:-1]),
        [f"{LKCA}/weights.safetensors was damaged or edited", "not fully covered"],
    ),
    "weights of nobody": (
        f"{LKCA}/weights.safetensors",
        lambda p: save_file({"a": np.zeros(4, np.float32)}, p),
        [f"{LKCA}/weights.safetensors was damaged or edited", "run_sha256"],
    ),
    "another image": (
        f"{BICUBIC}/image.npz",
        lambda p: p.write_bytes(b"PK"),
        [f"{BICUBIC}/image.npz is not", f"{BICUBIC}/scores.json recorded"],
    ),
    "half a run.json": (
        f"{BICUBIC}/run.json",
        lambda p: p.write_text(p.read_text()[:-40]),
        [f"{BICUBIC}/run.json was damaged or edited"],
    ),
    "half a report.json": ("report.json", lambda p: p.write_text('{"files": {'), ["report.json was damaged or edited"]),
    "no report.json": ("report.json", lambda p: p.unlink(), ["report.html has no report.json next to it"]),
    "a run that is gone": (BICUBIC, shutil.rmtree, [f"{BICUBIC} has lost run.json and scores.json"]),
    "a table that is gone": ("tables/V.csv", lambda p: p.unlink(), ["tables has lost V.csv"]),
    "a page that is gone": ("report.html", lambda p: p.unlink(), ["has lost report.html"]),
    "a link": (
        "tables/V.csv",
        lambda p: (p.rename(p.parents[2] / "V.csv"), p.symlink_to(p.parents[2] / "V.csv")),
        ["tables/V.csv is a link"],
    ),
    "linked runs": (
        "runs",
        lambda p: (p.rename(p.parents[1] / "runs"), p.symlink_to(p.parents[1] / "runs")),
        ["runs is a link"],
    ),
    "a pipe": ("figures/6.png", lambda p: (p.unlink(), os.mkfifo(p)), ["figures/6.png is not a regular file"]),
    "deep JSON": (f"{BICUBIC}/scores.json", lambda p: p.write_text("[" * 10**5), ["scores.json was damaged", "nested"]),
    "bytes": (f"{BICUBIC}/scores.json", lambda p: p.write_bytes(b"\xff\0"), ["scores.json was damaged or edited"]),
    "a list": ("splits/chikusei_x4.json", lambda p: p.write_text("[]"), ["chikusei_x4.json was damaged or edited"]),
    "a huge JSON": (
        "splits/chikusei_x4.json",
        lambda p: os.truncate(p, 2**27),
        ["splits/chikusei_x4.json was damaged or edited (it has more than 67.1 MB)"],
    ),
    "a huge header": (
        f"{LKCA}/weights.safetensors",
        lambda p: p.write_bytes((2**60).to_bytes(8, "little") + p.read_bytes()[8:]),
        [f"{LKCA}/weights.safetensors was damaged or edited", "too large"],
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_each_damage_is_one_error(root, check, damage):
    name, done, expected = DAMAGES[damage]
    done(root / name)
    code, wrong, _ = check()
    assert code == 1
    assert len(wrong) == 1, wrong
    for part in expected:
        assert part in wrong[0]
    assert re.search(": (restore the original|replace it with its target|run snakemake -R).*\\.$", wrong[0])


def test_folder_copied_for_another_seed(root, check):
    shutil.rmtree(root / OTHER)
    shutil.copytree(root / LKCA, root / OTHER)
    code, wrong, _ = check()
    assert code == 1
    assert wrong == [
        f"run.json, scores.json and spectrum.json in {OTHER} belong to {LKCA}: delete that folder, and "
        f"{again(f'{OTHER}/run.json')}."
    ]


def test_student_of_another_teacher(root, check):
    train(root, "lkca", 3000, train=RECIPE | {"epochs": 3})  # trained again with other settings; its student was not
    train(root, "lkca", 3001, train=RECIPE | {"epochs": 3})
    for folder in (LKCA, OTHER):
        relist(root, f"{folder}/run.json", f"{folder}/scores.json")
    assert check()[1] == [f"{LKCA}/run.json is not the file that {KD}/run.json recorded: {again(f'{KD}/run.json')}."]


def test_runs_of_an_older_scene(root, check):
    np.save(root / "scenes/chikusei.npy", np.zeros((2, 3, 4), np.float32))
    digest = sha(root / "scenes/chikusei.npy")
    edit(root / "scenes/chikusei.json", sha256=digest)
    edit(root / "splits/chikusei_x4.json", scene_sha256=digest)
    train(root, "bicubic", 3000)
    report(root)
    runs = [f"{folder}/run.json" for folder in (LKCA, OTHER, KD)]
    assert check()[1] == [
        f"scenes/chikusei.npy and splits/chikusei_x4.json are not the files that {runs[0]}, {runs[1]} and {runs[2]} "
        f"recorded: {again(*runs)}."
    ]


def test_split_of_an_older_scene(root, check):
    edit(root / "splits/chikusei_x4.json", scene_sha256="00" * 32)
    for model, seed, teacher in (("bicubic", 3000, None), ("lkca", 3000, None), ("lkca", 3001, None)):
        train(root, model, seed, teacher)
    train(root, "lkca_kd", 3000, "lkca")
    report(root)
    split = "splits/chikusei_x4.json"
    assert check()[1] == [f"scenes/chikusei.npy is not the file that {split} recorded: {again(split)}."]


@pytest.mark.parametrize(
    ("part", "corner", "shares"),
    [
        ("train", [31, 0], True),  # its first row is the last one of the test image
        ("train", [0, 32], False),  # beside the test image
        ("validation", [0, 17], True),
        ("validation", [0, 31], True),
        ("validation", [32, 31], False),  # below
    ],
)
def test_split_that_trains_on_test_pixels(root, check, part, corner, shares):
    """All files that record the split agree with it, as if somebody had made the results with it."""
    split = root / "splits/chikusei_x4.json"
    edit(split, **{part: [[64, 0], corner]})
    for run in sorted(root.glob("runs/*/*/*/run.json")):
        edit(run, split_sha256=sha(split))
    errors = [error for error in check()[1] if "splits/" in error and "shares" in error]
    patch = f"{'training' if part == 'train' else part} patch at row {corner[0]}, column {corner[1]}"
    problem = f"splits/chikusei_x4.json was edited: the {patch} shares pixels with test image 0"
    expected = [f"{problem}: {again('splits/chikusei_x4.json')}."]
    assert errors == (expected if shares else [])


def test_report_that_lists_itself(root, check):
    relist(root, "report.json")
    (root / "tables/V.csv").write_text("40.5")
    assert sorted(line.split(" is not ")[0] for line in check()[1]) == ["report.json", "tables/V.csv"]


def test_commits_are_errors_and_versions_are_notes(root, check):
    score(root / LKCA, commit="ba9876543210", device="cuda")
    score(root / BICUBIC, commit="0123456789ab with uncommitted changes", versions={"torch": "2.12.0"})
    score(root / KD, commit=None)
    relist(root, *(f"{folder}/scores.json" for folder in (LKCA, BICUBIC, KD)))
    code, wrong, notes = check()
    assert code == 1
    assert [line.partition(": ")[0] for line in wrong] == [
        f"The scores were made at different commits, 0123456789ab (2) and ba9876543210 ({LKCA})",
        "1 of 4 scores.json were made with uncommitted changes, at 0123456789ab (1)",
    ]
    assert notes == [
        "1 of 4 scores.json have no commit: they were made outside of git.",
        f"The scores were made with different values of device: cpu (3) and cuda ({LKCA}).",
        f"The scores were made with different values of torch: 2.11.0 (3) and 2.12.0 ({BICUBIC}).",
    ]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"experiment": "paper"}, f"The runs are of several experiments, demo (3) and paper ({OTHER})"),
        ({"train": RECIPE | {"epochs": 3}}, "The seeds in runs/chikusei_x4/lkca have different settings"),
    ],
)
def test_runs_with_different_settings(root, check, settings, expected):
    train(root, "lkca", 3001, **settings)
    relist(root, f"{OTHER}/run.json", f"{OTHER}/scores.json")
    code, wrong, _ = check()
    assert code == 1
    assert len(wrong) == 1 and wrong[0].startswith(expected)


def test_stand_in_must_not_be_compared_with_the_paper(root, check, monkeypatch):
    edit(root / "scenes/chikusei.json", cube="indian_pines")
    report(root, verdict="stand-in")
    fact = "chikusei is cut from indian_pines"
    assert check() == (0, [], [f"{fact}: its scores are not scores of the paper's scene."])
    report(root, verdict="outside")
    code, wrong, _ = check()
    assert code == 1
    assert len(wrong) == 1 and wrong[0].startswith("tables/V.verdicts.csv compares chikusei") and fact in wrong[0]
    monkeypatch.delitem(CUBES, "chikusei")  # then it is no scene of the paper
    assert check() == (0, [], [])


def test_own_file_of_a_paper_scene_is_no_stand_in(root, check):
    edit(root / "scenes/chikusei.json", cube=None)
    report(root)
    assert check() == (0, [], [])


def test_published_results_without_scenes_and_weights(root, check):
    for path in [*root.rglob("*.npy"), *root.rglob("*.npz"), *root.rglob("*.safetensors")]:
        path.unlink()
    left_out = "image.npz (4), weights.safetensors (3) and scenes/chikusei.npy"
    assert check() == (0, [], [f"Missing, so not checked: {left_out}."])
    edit(root / "scenes/chikusei.json", sha256="00" * 32)
    relist(root, "scenes/chikusei.json")
    code, wrong, _ = check()
    assert code == 1
    assert len(wrong) == 1 and wrong[0].startswith("scenes/chikusei.npy is missing, but ")
    shutil.rmtree(root / "runs")
    code, wrong, notes = check()
    assert (code, wrong) == (0, [])
    assert notes == ["Missing, so not checked: runs/ (18)."]


def test_files_outside_of_the_report_are_a_note(root, check):
    train(root, "vdsr", 3000)
    (root / "tables/V.md").write_text("| a |")
    (root / "runs/chikusei_x4/vdsr/seed3000/weights.safetensors").write_bytes(b"")  # but nothing depends on it
    code, wrong, notes = check()
    assert (code, wrong) == (0, [])
    assert notes[0] == "Edits of tables/V.md cannot be detected: report.json does not record them."
    assert notes[1].startswith("The report does not show runs/chikusei_x4/vdsr/seed3000")


def test_runs_without_a_report(root, check):
    for name in ("report.json", "report.html"):
        (root / name).unlink()
    (root / f"{LKCA}/scores.json").unlink()
    (root / f"{OTHER}/history.csv").unlink()
    code, wrong, notes = check()
    assert (code, wrong) == (0, [])
    assert notes[0].startswith("There is no report yet")
    assert notes[1:] == [
        "Missing, so not checked: history.csv.",
        f"Without scores: {LKCA}; a teacher that no table shows, or not finished.",
    ]
    (root / f"{OTHER}/image.npz").write_bytes(b"")
    assert [line.split()[0] for line in check()[1]] == [f"{OTHER}/image.npz"]


HOSTILE = ["../secret", "/etc/passwd", "tables/../../secret", "", "tables//V.csv", "a\0b", "\ud800", "x" * 5000, "."]


@pytest.mark.parametrize("name", [*HOSTILE, "tables"])
def test_paths_outside_of_the_folder_are_refused(root, check, name):
    (root.parent / "secret").write_text("x")
    listing = json.loads((root / "report.json").read_text())
    listing["files"][name] = sha(root.parent / "secret")
    write(root / "report.json", listing)
    code, wrong, _ = check()
    assert code == 1
    assert len(wrong) == 1 and len(wrong[0]) < 1000 and wrong[0].isprintable()
    assert re.search("is not a path inside|cannot be read|is not a regular file", wrong[0])


def test_control_characters_are_escaped(root, check):
    for folder in (LKCA, OTHER, KD, BICUBIC):
        score(root / folder, commit=f"\x1b[2J{folder[-1]} and more\n" + "x" * 10**6)
    relist(root, *(f"{folder}/scores.json" for folder in (LKCA, OTHER, KD, BICUBIC)))
    (root / "tables/\x1b[31m.csv").write_text("")
    (root / os.fsdecode(b"tables/\xff.csv")).write_text("")
    code, wrong, notes = check()
    assert code == 1
    assert all(line.isprintable() and len(line) < 1000 for line in [*wrong, *notes])


def test_several_experiments_and_none(intact, tmp_path, capsys):
    for name in ("a", "b"):
        shutil.copytree(intact, tmp_path / name)
    (tmp_path / "c/tables").mkdir(parents=True)  # no experiment, only a table
    (tmp_path / "b/tables/V.csv").write_text("x")
    assert main(["check", str(tmp_path)]) == 1
    output = capsys.readouterr().out
    assert [line for line in output.splitlines() if line[0] != " "] == [f"{tmp_path}/a", f"{tmp_path}/b", "Wrong: 1."]
    for folder in (tmp_path / "c", tmp_path / "missing", tmp_path / "b/tables/V.csv"):
        assert main(["check", str(folder)]) == 2
        out, err = capsys.readouterr()
        assert out == "" and err.startswith(f"lkca: {folder} ") and len(err.splitlines()) == 1


def test_default_is_the_results_folder(intact, monkeypatch, capsys):
    monkeypatch.chdir(intact.parents[1])
    assert main(["check"]) == 0
    assert capsys.readouterr().out.startswith("results/demo\n")


def test_message_before_slow_hashing(intact, monkeypatch, capsys):
    monkeypatch.setattr("lkca.pipeline.check.SLOW_BYTES", 1000)
    assert main(["check", str(intact)]) == 0
    assert re.fullmatch(rf"{intact}: hashing 28 files, \d+\.\d kB\n", capsys.readouterr().err)


def write_record(root: Path, job: str, inputs: list[str], output: str, **changes: object) -> None:
    """Write the record of a job, as `lkca step` does, for files that are there."""
    entries = [{f"results/demo/{name}": [sha(root / name)] for name in names} for names in (inputs, [output])]
    record = {"step": job.rpartition("/")[2], "archs": ["lkca"], "settings": {}, "code": "", "modules": {}}
    write(root / f"records/{job}.json", sealed(record | {"reads": entries[0], "writes": entries[1]} | changes))


def test_record_of_a_job_is_compared_with_its_files(root, check):
    split, run = "splits/chikusei_x4.json", f"{LKCA}/run.json"
    write_record(root, f"{LKCA}/settings", [split, "scenes/chikusei.json"], run)
    code, errors, notes = check()
    assert (code, errors) == (0, []) and "other code" in notes[0]
    edit(root / "scenes/chikusei.json", divisor=2)
    relist(root, "scenes/chikusei.json")
    assert check()[1] == [f"scenes/chikusei.json is not the file that {run} recorded: {again(run)}."]


@pytest.mark.parametrize(
    ("job", "output"),
    [
        (f"{LKCA}/settings", f"{BICUBIC}/run.json"),
        (f"{LKCA}/train", f"{LKCA}3001/weights.safetensors"),
        (f"{LKCA}/evaluate", "tables/V.csv"),
        ("tables/VI", "tables/V.csv"),
        ("tables/I", "tables/V.csv"),
        ("scenes/chikusei.files", "scenes/chikusei.npy"),
        ("report", "tables/V.html"),
    ],
)
def test_record_of_another_job(root, check, job, output):
    (root / output).parent.mkdir(exist_ok=True)
    (root / output).touch()
    write_record(root, job, [], output)
    errors = check()[1]
    assert any(f"records/{job}.json is the record of another job" in error for error in errors)


def test_record_of_another_step(root, check):
    write_record(root, f"{LKCA}/settings", [], f"{LKCA}/run.json", step="train")
    [error] = check()[1]
    assert "settings.json is the record of another job" in error and error.endswith(", which runs its job again.")


@pytest.mark.parametrize("content", ["", "{", "[[]]", "{}", '{"step": 1}'])
def test_damaged_record_of_a_job(root, check, content):
    """Snakemake cannot be asked for it, but runs a job that has no record."""
    write_record(root, f"{LKCA}/settings", [], f"{LKCA}/run.json")
    record = root / f"records/{LKCA}/settings.json"
    record.write_text(content)
    [error] = check()[1]
    assert "settings.json was damaged or edited" in error and error.endswith(
        "or run snakemake, which runs its job again."
    )


def test_raw_file_of_a_job_is_compared(root, check, tmp_path):
    raw, run = tmp_path / "cube.npy", f"{LKCA}/run.json"
    raw.write_bytes(b"x")
    write_record(root, f"{LKCA}/settings", [], run, reads={str(raw): [sha(raw)], str(tmp_path / "gone.npy"): ["00"]})
    code, errors, notes = check()
    assert (code, errors) == (0, []) and "gone.npy" in notes[-1]
    raw.write_bytes(b"y")
    assert len(check()[1]) == 1 and "cube.npy is not the file" in check()[1][0]


def test_unreadable_folders_and_files_are_named(root, monkeypatch, capsys):
    """Without permissions, as root has them always: os.scandir reads folders for os.walk, open reads files."""
    scandir, opened = os.scandir, Path.open

    def fail_in(folder, function):
        def call(path=".", *arguments, **options):
            if Path(path).is_relative_to(folder):
                raise PermissionError(errno.EACCES, "Permission denied", str(path))
            return function(path, *arguments, **options)

        return call

    monkeypatch.setattr(os, "scandir", fail_in(root / "records", scandir))
    (root / "records").mkdir(exist_ok=True)
    monkeypatch.setattr(Path, "open", fail_in(root / LKCA / "scores.json", opened))
    assert main(["check", str(root)]) == 1
    wrong = [line for line in capsys.readouterr().out.splitlines() if "WRONG" in line]
    sentences = [
        f"  WRONG    {name} cannot be read (Permission denied): " for name in ("records", f"{LKCA}/scores.json")
    ]
    assert all(any(line.startswith(sentence) for line in wrong) for sentence in sentences)
