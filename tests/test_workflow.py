"""The whole workflow on tests/tiny.yaml: its results, what runs again, and the messages about faults."""

import itertools
import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import fake_results
import pandas as pd
import pytest

from lkca.config.load import read_config
from lkca.core.files import read_csv, sha256
from lkca.data.catalog import CUBES
from tests import generated_cubes
from tests.conftest import clean_shell, copy_checkout
from tests.disturbances import Disturber, mounted
from tests.server import Server
from tests.test_docs import check_file_reference

pytestmark = pytest.mark.slow
TINY = ["config.yaml", "tests/tiny.yaml"]
ENVIRONMENT = os.environ | {"PATH": f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"}


def snakemake(folder, *words, **options):
    """Call snakemake for the tiny experiment as a user would who has activated nothing."""
    program = str(Path(sys.executable).with_name("snakemake"))
    command = [program, "--cores", "all", "--configfile", *TINY, "--", *words]
    return subprocess.run(command, cwd=folder, env=clean_shell(folder), capture_output=True, text=True, **options)


def planned(folder, *words) -> dict[str, set]:
    """Return what a call would run: rule -> models ("" where a rule has none)."""
    command = ["snakemake", "--cores", "all", "--dry-run", "--configfile", *TINY, "--", *words]
    done = subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=True)
    jobs = {rule: {""} for rule in re.findall(r"^(?:local)?rule (\w+):$", done.stdout, re.MULTILINE)}
    for name in re.findall(r"^Job \d+: (\S+): .*$", done.stdout, re.MULTILINE):
        run = re.fullmatch(r"runs/\w+/(?P<model>\w+)/seed\d+/(?P<step>\w+)", name)
        kind = name.partition("/")[0]
        step = run["step"] if run else {"tables": "table", "figures": "figure"}.get(kind, kind)
        jobs.setdefault(step, set()).add(run["model"] if run else "")
    return jobs


def edit(folder, file, old, new):
    path = folder / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A checkout in which the tiny experiment has run."""
    folder = copy_checkout(tmp_path_factory.mktemp("finished") / "lkca")
    done = snakemake(folder)
    assert done.returncode == 0, done.stderr
    assert f"Report: {folder}/results/tiny/report.html" in done.stdout + done.stderr
    return folder


@pytest.fixture
def checkout(finished, tmp_path):
    """A copy of the finished checkout that a test may change."""
    subprocess.run(["cp", "-a", str(finished), str(tmp_path / "lkca")], check=True)
    return tmp_path / "lkca"


def test_results_are_complete(finished):
    root = finished / "results/tiny"
    experiment = read_config([finished / name for name in TINY])
    for scene, scale, model, seed in experiment.runs():
        run = root / f"runs/{scene}_x{scale}/{model}/seed{seed}"
        scores = json.loads((run / "scores.json").read_text())
        assert (run / "weights.safetensors").exists() == (scores["steps"] > 0) == (model != "bicubic")
    for table in ("IV", "V", "T8"):
        assert all((root / f"tables/{table}.{kind}").stat().st_size for kind in fake_results.TABLE_FILES)
    for figure in experiment.report.figures:
        assert all((root / f"figures/{figure}.{kind}").stat().st_size for kind in ("png", "pdf"))
    assert not list(root.rglob(".*"))  # temporary names begin with a dot


def test_reference_names_all_files_and_fields(finished):
    check_file_reference(finished / "results/tiny")


def test_table_has_scores_and_printed_numbers(finished):
    table = pd.read_csv(finished / "results/tiny/tables/V.csv", header=1).set_index(["scale", "row"])
    run = finished / "results/tiny/runs/chikusei_x4/lkca_lr/seed3000/scores.json"
    row = table.loc[(4, "LKCA-LR")]
    assert float(row["MPSNR"]) == json.loads(run.read_text())["mean"]["MPSNR"]
    assert float(row["MPSNR_printed"]) == 40.1691
    methods = ["Bicubic", "VDSR", "3DFCNN", "SSPSR", "MSDformer", "ESSAformer", "LKCA-Net", "LKCA-LR", "LKCA-KD"]
    assert list(table.index) == [(4, method) for method in methods]
    assert table["MPSNR"].between(0, 60).all()
    untrained = table.index[table["steps"] == "untrained: 1 step"]
    assert list(untrained) == [(4, method) for method in methods[2:6]]


def test_stand_in_is_named_everywhere(finished):
    sentence = "the numbers mean nothing"
    for file in ("report.html", "tables/V.csv", "tables/V.md", "tables/V.tex", "tables/V.html"):
        assert sentence in (finished / "results/tiny" / file).read_text()


def test_second_call_does_nothing(finished):
    assert planned(finished) == {}
    assert planned(finished, "table_V") == {}


def test_shorter_report_runs_the_report_only(checkout):
    edit(checkout, "tests/tiny.yaml", 'figures: ["4", "6", T1', 'figures: ["4", T1')
    assert set(planned(checkout)) == {"report", "all"}


@pytest.mark.parametrize(
    ("model", "retrained"), [("lkca_64", {"lkca_64", "lkca_kd", "lkca_kd_nocos"}), ("vdsr", {"vdsr"})]
)
def test_learning_rate_retrains_model_and_students_only(checkout, model, retrained):
    edit(checkout, "tests/tiny.yaml", f"  {model}: {{", f"  {model}: {{train: {{learning_rate: 1.0e-3}}, ")
    assert planned(checkout)["train"] == retrained


def test_one_table_by_name_and_by_file(checkout):
    for file in ("csv", "md", "tex", "html"):
        (checkout / f"results/tiny/tables/IV.{file}").unlink()
    wanted = planned(checkout, "table_IV")
    assert set(wanted) == {"table", "table_IV"}
    assert set(planned(checkout, "results/tiny/tables/IV.csv")) == {"table"}


@pytest.mark.parametrize(
    ("file", "old", "new", "options", "message"),
    [
        (
            "config.yaml",
            "  epochs: 300",
            "  epoch: 300",
            [],
            r"config\.yaml:\d+: train\.epoch is not a setting: did you mean",
        ),
        (
            "config.yaml",
            "validation: 0.1",
            "validation: 0.1\nvalidation: 0.2",
            [],
            r"config\.yaml:\d+: validation is written",
        ),
        (
            "tests/tiny.yaml",
            "  epochs: 2",
            "  epochs: 2\n  epochs: 3",
            [],
            r"tests/tiny\.yaml:\d+: epochs is written twice",
        ),
        ("tests/tiny.yaml", "  epochs: 2", "  epochs: 0", [], r"tests/tiny\.yaml:\d+: train\.epochs is 0: input"),
        (
            "tests/tiny.yaml",
            "  epochs: 2",
            "  epochs: 2",
            ["--config", "seeds=[1, 1]"],
            r"--config: seeds is \[1, 1\]: ",
        ),
    ],
)
def test_wrong_setting_is_one_sentence(checkout, file, old, new, options, message):
    edit(checkout, file, old, new)
    command = ["snakemake", "--dry-run", "--configfile", TINY[1], *options]
    done = subprocess.run(command, cwd=checkout, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode != 0
    assert len(re.findall(f"^lkca: {message}.*$", done.stderr, re.MULTILINE)) == 1, done.stderr
    assert "Traceback" not in done.stderr


def test_numbers_are_read_as_people_write_them(checkout):
    edit(checkout, "tests/tiny.yaml", "  epochs: 2", "  epochs: 2e0\n  learning_rate: 2e-3")  # as before
    assert planned(checkout) == {}


def test_missing_downloads_are_named(checkout):
    """The proxy that is asked for the downloads does not exist; attempts follow each other at once."""
    edit(checkout, "lkca/data/transfer.py", "PAUSES = (1, 3, 10)", "PAUSES = (0, 0, 0)")
    nowhere = {f"{kind}_proxy": "http://127.0.0.1:9" for kind in ("http", "https")}
    command = [
        "snakemake",
        "--cores",
        "all",
        "--",
        "table_V",
        "table_VI",
        "table_VII",
    ]  # no speed is measured for these
    done = subprocess.run(command, cwd=checkout, env=ENVIRONMENT | nowhere, capture_output=True, text=True)
    assert done.returncode != 0
    output = done.stdout + done.stderr
    chikusei = r"lkca: data/raw/chikusei/\S+_ENVI.zip .* downloaded .*: download https://www.sal\S+ in a browser"
    pavia = r"lkca: data/raw/pavia_centre/Pavia.mat .* downloaded .*: download https://www.ehu.eus/\S+ in a browser"
    houston = (
        r"lkca: data/raw/houston2018/phase2.zip .* confirm once with: \S+ -m lkca fetch houston2018 --accept-terms"
    )
    assert all(re.search(sentence, output) for sentence in (chikusei, pavia, houston))
    assert not [path for path in (checkout / "data").rglob("*") if path.is_file()]
    assert "completed successfully" not in done.stderr  # the command's failure is not lost in its pipe
    assert "Traceback" not in done.stderr


def test_killed_training_continues(tmp_path):
    """Kill the whole process group during a training, in three ways: nothing half-written counts as a result."""
    folder = copy_checkout(tmp_path / "lkca")
    target = "results/tiny/runs/chikusei_x4/vdsr/seed3000/weights.safetensors"
    edit(folder, "tests/tiny.yaml", "epochs: 2", "epochs: 60")
    command = ["snakemake", "--cores", "all", "--configfile", *TINY, "--", target]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    log = (folder / target).with_name("train.log")
    for kill in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        log.unlink(missing_ok=True)
        run = subprocess.Popen(command, cwd=folder, env=ENVIRONMENT, start_new_session=True, **quiet)
        deadline = time.monotonic() + 120
        while not (log.exists() and len(re.findall(r"epoch \d+/", log.read_text())) >= 2):
            assert time.monotonic() < deadline and run.poll() is None
            time.sleep(0.1)
        os.killpg(run.pid, kill)
        run.wait(60)
        assert not (folder / target).exists()
    again = snakemake(folder, target)
    assert again.returncode != 0 and "--unlock" in again.stdout + again.stderr
    subprocess.run(["make", "unlock"], cwd=folder, check=True, capture_output=True)
    again = snakemake(folder, target)
    assert again.returncode == 0, again.stderr
    history = (folder / target).with_name("history.csv").read_text().splitlines()
    assert len(history) == 1 + 60


KINDS = ["kill", "stop", "fill_disk", "fill_disk_briefly", "kill"]
RESULTS = [
    "tables/*.csv",
    "tables/*.md",
    "tables/*.tex",
    "tables/*.html",
    "claims.csv",
    "runs/*/*/*/weights.*",
    "runs/*/*/*/image.npz",
    "runs/*/*/*/scores.json",
    "runs/*/*/*/history.csv",
]


def test_disturbed_workflow_has_the_same_results(finished, tmp_path):
    """Kills of the whole process group, stops, full disks, and dates of results before and after everything, at moments
    that are drawn by a seed: tables, weights, scores and claims are those of a run that nothing disturbed.

    With LKCA_SOAK set (make soak) it is the whole demo, which runs for a quarter of an hour, else a table of the tiny
    experiment, with distillation. Without the right to mount a disk, processes may write no large files instead.
    """
    soak = bool(os.environ.get("LKCA_SOAK"))
    overlay, target, root = (
        ("workflow/demo.yaml", "all", "results/demo") if soak else (TINY[1], "table_IV", "results/tiny")
    )
    command = ["snakemake", "--cores", "all", "--configfile", "config.yaml", overlay, "--", target]
    reference = copy_checkout(tmp_path / "reference") if soak else finished
    with mounted(tmp_path / "disk", 8192 if soak else 1024) as is_mounted:
        print(
            "full disks:",
            "a mounted disk" if is_mounted else "a limit on the size of files, as mounting is not allowed",
        )
        disturbed = copy_checkout(tmp_path / "disk" / "lkca")
        if not soak:
            # It saves after each step, which lasts a second, so that trainings of two steps do not end too early.
            edit(
                disturbed,
                "lkca/training/resume.py",
                "monotonic() - self.saved_at >= CHECKPOINT_SECONDS",
                "not __import__('time').sleep(1)",
            )
        stop_seconds = 120 if soak else 6
        disturber = Disturber(command, disturbed, root, ENVIRONMENT, seed=4, stop_seconds=stop_seconds)
        for kind in KINDS * (3 if soak else 1):
            disturber.disturb(kind, 90 if soak else 2)
        while disturber.finish():  # a full disk may have failed jobs of the last call
            assert len(disturber.done) < 30
            disturber.done.append("failed")
        print(disturber.done)
        assert "Traceback" not in disturber.output
        subprocess.run(command, cwd=reference, check=True, env=ENVIRONMENT, capture_output=True)  # nothing, if finished
        results, expected = (read_results(folder / root) for folder in (disturbed, reference))
        check = subprocess.run(
            [sys.executable, "-m", "lkca", "check", root], cwd=disturbed, capture_output=True, text=True
        )
        histories = [read_csv(path) for path in (disturbed / root).rglob("history.csv")]
    assert len(results) >= 4 + 3 and results.keys() == expected.keys() & results.keys()
    assert [path for path in results if results[path] != expected[path]] == []
    assert check.returncode == 0, check.stdout + check.stderr
    for history in histories:
        seconds = [0.0, *(float(line["seconds"]) for line in history)]
        longest = stop_seconds if soak else math.inf  # an epoch of the demo is shorter, on any machine
        assert all(0 < after - before < longest for before, after in itertools.pairwise(seconds))


def read_results(root: Path) -> dict[str, object]:
    """Return the content of the results that a disturbance must not change: path -> content, without durations."""
    results: dict[str, object] = {}
    for path in (path for pattern in RESULTS for path in root.glob(pattern)):
        content: object = path.read_bytes()
        if path.name == "scores.json":
            scores = json.loads(path.read_text())
            content = {name: scores[name] for name in scores.keys() - {"seconds", "commit", "history_sha256", "digest"}}
        elif path.name == "history.csv":
            content = [line | {"seconds": ""} for line in read_csv(path)]
        results[str(path.relative_to(root))] = content
    return results


OFFICIAL = {  # scene -> name on the server, writer, rows, columns and bands as it takes them, what differs from CUBES
    "chikusei": (
        generated_cubes.CHIKUSEI_ZIP,
        generated_cubes.write_chikusei_zip,
        (150, 145, 128),
        {"crop": [4, 148, 3, 143]},
    ),
    "houston2018": (
        generated_cubes.HOUSTON_ZIP,
        generated_cubes.write_houston_zip,
        (140, 150, 50),
        {"shape": [150, 140, 50]},
    ),
    "pavia_centre": ("Pavia.mat", generated_cubes.write_pavia_centre, (146, 140, 102), {"shape": [146, 140, 102]}),
}


def test_served_official_files_to_scores(tmp_path):
    """Small files in the official formats are downloaded, checked, cut, split, trained on and scored.

    The connection breaks once, and Houston's terms have to be confirmed first. The URLs have secrets, which are in no
    other file than the overlay.
    """
    folder, served = copy_checkout(tmp_path / "lkca"), tmp_path / "served"
    served.mkdir()
    overlay = {"scenes": {}, "tables": {}, "figures": {}}
    with Server(
        {name: served / name for name, *_ in OFFICIAL.values()}, {"Pavia.mat": ["cut 60000", "fine"]}
    ) as server:
        for scene, (name, write, size, changes) in OFFICIAL.items():
            write(served / name, generated_cubes.Scene(*size, 8000))
            cube = CUBES[scene].model_dump(mode="json") | {"shape": None} | changes
            sum = sha256(served / name) if scene != "pavia_centre" else None  # of which none is published
            url = f"{server.url(name).replace('//', '//me:SECRET1@')}?token=SECRET2"
            facts = {"sources": [url], "sha256": sum, "bytes": (served / name).stat().st_size}
            cube["files"] = [cube["files"][0] | facts]
            overlay["scenes"][scene] = {"cube": cube, "test": {"rows": 64, "columns": 128, "tile": 64}}
            table = {"title": scene, "header": "Method", "scene": scene, "scales": [4]}
            rows = {"Bicubic": "bicubic"} | ({"LKCA-LR": "lkca_lr"} if scene == "chikusei" else {})
            overlay["tables"][scene] = {**table, "rows": rows}
        overlay["report"] = {"tables": list(OFFICIAL), "figures": []}
        (folder / "tests/served.yaml").write_text(json.dumps(overlay))  # YAML holds JSON
        config = [*TINY, "tests/served.yaml"]
        command = ["snakemake", "--cores", "all", "--configfile", *config, "--", "all", "bicubic_check"]
        words = {"cwd": folder, "env": ENVIRONMENT, "capture_output": True, "text": True}
        first = subprocess.run(command, **words)
        assert first.returncode != 0
        assert re.search(
            r"confirm once with: \S+ -m lkca fetch houston2018 --accept-terms", first.stdout + first.stderr
        )
        accept = [sys.executable, "-m", "lkca", "fetch", "houston2018", "--accept-terms", "--config", *config]
        accepted = subprocess.run(accept, **words)
        assert accepted.returncode == 0 and "promise to cite" in accepted.stdout, accepted.stderr
        second = subprocess.run(command, **words)
        assert second.returncode == 0, second.stderr
        assert not any("SECRET" in each.stdout + each.stderr for each in (first, accepted, second))
        asked = sorted(target for _, target, _ in server.requests)
        names = ["Hyperspec_Chikusei_ENVI.zip", "Pavia.mat", "Pavia.mat", "phase2.zip"]
        assert asked == [f"/{name}?token=SECRET2" for name in names]
        assert all("Authorization" in headers for _, _, headers in server.requests)
    with_secrets = [path.name for path in folder.rglob("*") if path.is_file() and b"SECRET" in path.read_bytes()]
    assert with_secrets == ["served.yaml"]
    planned_again = [*command[:3], "--dry-run", *command[3:]]
    assert "Nothing to be done" in subprocess.run(planned_again, **words).stdout
    pavia = folder / "data/raw/pavia_centre/Pavia.mat"
    pavia.touch()
    assert "Nothing to be done" in subprocess.run(planned_again, **words).stdout
    content = pavia.read_bytes()
    pavia.write_bytes(content[::-1])
    again = subprocess.run(planned_again, **words).stdout
    assert "scenes/pavia_centre.files: data/raw/pavia_centre/Pavia.mat has changed\n" in again
    pavia.write_bytes(content)
    root = folder / "results/tiny"
    for scene, (bands, rows, columns) in {
        "chikusei": (128, 144, 140),
        "houston2018": (48, 150, 140),
        "pavia_centre": (102, 146, 140),
    }.items():
        manifest = json.loads((root / f"scenes/{scene}.json").read_text())
        assert manifest["shape"] == [bands, rows, columns]
        split = json.loads((root / f"splits/{scene}_x4.json").read_text())
        lines, across = (rows - 64) // 32, columns // 32
        assert split["numbers"] == {"grid": lines * across, "train": across, "validation": across, "test": 2}
        assert json.loads((root / f"runs/{scene}_x4/bicubic/seed3000/scores.json").read_text())["mean"]["MPSNR"] > 20
    assert (folder / "data/raw/pavia_centre/SHA256SUMS").read_text() == f"{sha256(served / 'Pavia.mat')}  Pavia.mat\n"
    for scene in OFFICIAL:
        assert "No verdict on 1 row: the scene" in (root / f"bicubic_check/{scene}.md").read_text()
    page = (root / "report.html").read_text()
    assert "E-mail your name" in page and "ROSIS-3" in page and server.url() not in page
