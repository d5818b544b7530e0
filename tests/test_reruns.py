"""The jobs that run again after a change: a table, checked on a small experiment that has run.

A column is a rule, a line is a change; a letter means that jobs of the rule run again. This depends on the content of
the files that a job reads and on its code, not on the times of files.
"""

import ast
import base64
import builtins
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lkca import errors
from lkca.cli import main
from lkca.config.load import read_config
from lkca.core.files import sha256
from lkca.core.fingerprint import STEPS
from lkca.errors import StaleInput
from lkca.pipeline.records import read_record
from lkca.pipeline.results import Results
from tests.conftest import copy_checkout

COLUMNS = {
    "F": "fetch",
    "S": "scene",
    "P": "split",
    "R": "settings",
    "T": "train",
    "E": "evaluate",
    "X": "spectrum",
    "L": "efficiency",
    "V": "table",
    "G": "figure",
    "C": "claims",
    "O": "report",
}
CONFIG = ["config.yaml", "tests/small.yaml"]

TABLE = """
                                                 F S P R T E X L V G C O
a comment                                        . . . . . . . . . . . .
a docstring                                      . . . . . . . . . . . .
an annotation                                    . . . . . . . . . . . .
reworded errors, logs and prints                 . . . . . . . . . . . .
all of it formatted otherwise                    . . . . . . . . . . . .
a renamed local variable                         . . . . . . . . . . . .
a renamed function                               . . . . . . . . . . . .
a new function that nothing uses                 . . . . . . . . . . . .
a function moved to another module               . . . . . . . . . . . .
a module moved to another place                  . . . . . . . . . . . .
definitions in another order                     . . . . . . . . . . . .
another network, another cube                    . . . . . . . . . . . .
every file touched                               . . . . . . . . . . . .
results copied without Snakemake's records       . . . . . . . . . . . .
another start of a layer                         . . . . T E X L V G C O
another default of a parameter                   . . . . T E X L V G C O
another loss                                     . . . . T E X . V G C O
another degradation                              . . . . T E X L V G C O
another score                                    . . . . . E . . V G C O
another rank of a layer                          . . . . . . X . . G C O
another direction of a score                     . . . . . E . . V G C O
another interval                                 . . . . . . . . V G C O
another parser of bands                          F S P R T E X . V G C O
another reader                                   F S P R T E X . V G C O
another grid of patches                          . . P R T E X . V G C O
another template of tables                       . . . . . . . . V . . O
another printed number                           . . . . . . . . V . C O
a header mended                                  F S P R T E X . V G C O
another file under the same name                 F S P R T E X . V G C O
a link that leads to another file                F S P R T E X . V G C O
a link that leads to a copy                      . . . . . . . . . . . .
a header that comes to lie beside                F S P R T E X . V G C O
scores edited by hand                            . . . . . E . . V G C O
a comment in config.yaml                         . . . . . . . . . . . .
keys in another order                            . . . . . . . . . . . .
rows in another order                            . . . . . . . . V . . O
the learning rate of one model                   . . . R T E . . V G C O
the title of the experiment                      . . . . . . . . . . . O
the title of the scene                           . . . . . . . . V G . O
the citation of the cube                         . . . . . . . . . . . O
the bands of the picture                         . . . . . E . . V G C O
another seed                                     . . . R T E X . V . C O
"""
EXPECTED = {
    line[:49].strip(): {COLUMNS[letter] for letter in line[49:].split() if letter != "."}
    for line in TABLE.strip("\n").splitlines()[1:]
}

OVERLAY = """
experiment: small
title: Reruns
stand_in: Made-up files.
report: {tables: [V], figures: ["4", T1]}
scenes:
  chikusei:
    title: Ramp
    cube:
      files: [{path: data/q.bsq, axes: bands rows columns}]
      bands: 1-5, 7-12
      sensor: none
      gsd_m: 1
      nanometres: [400, 900]
      source: this test
      citation: nobody
      terms: none
    bands: 9
    test: {rows: 32, columns: 64, tile: 32}
    composite: {image: 0, bands: [1, 5, 9], zoom: null}
patches:
  x4: {size: 16, stride: 16}
train: {epochs: 1, batch: 16}
models:
  lkca: {args: {width: 16, blocks: 1}}
  vdsr: {args: {width: 8, layers: 2}}
  lkca_64: {args: {blocks: 2}}
tables:
  V: {scales: [4], rows: {Bicubic: bicubic, VDSR: vdsr, LKCA-Net: lkca, LKCA-LR: null, LKCA-KD: lkca_kd}}
figures:
  "4": {scenes: [chikusei], rows: {LKCA-Net: lkca}}
  T1: {kind: bands, title: Bands, scenes: [chikusei], scale: 4, rows: {VDSR: vdsr, LKCA-KD: lkca_kd}}
"""
HEADER = (
    "ENVI\nsamples = 64\nlines = 96\nbands = 12\ndata type = 2\ninterleave = {}\nbyte order = 0\nheader offset = 0\n"
)
UNUSED = dict.fromkeys(("SSPSR", "MSDformer", "ESSAformer", "3DFCNN", "LKCA-LR"))


def cube(phase: float) -> np.ndarray:
    """A smooth image, int16, (bands, rows, columns)."""
    rows, columns = np.mgrid[0:96, 0:64] / 9
    bands = [0.5 + 0.3 * np.sin(rows + i / 2 + phase) * np.cos(columns - i / 3) for i in range(12)]
    return np.round(np.array(bands) * 5000).astype("<i2")


def call(folder: Path, *words: str, code: int = 0) -> str:
    """Call snakemake for the small experiment; return what it prints."""
    command = [Path(sys.executable).with_name("snakemake"), "--cores", "2", "--configfile", *CONFIG, *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def planned(folder: Path, *words: str) -> dict[str, str]:
    """Return what a call would run: the name of a job -> the reason."""
    return dict(re.findall(r"^Job \d+: (\S+): (.*)$", call(folder, "--dry-run", *words), re.MULTILINE))


def pending(folder: Path) -> dict[str, str]:
    """Return the same without snakemake, which takes a third of the time."""
    program = (
        "import json; from pathlib import Path; from lkca.config.load import read_config; "
        "from lkca.pipeline.results import Results; "
        f"print(json.dumps(Results(read_config(list(map(Path, {CONFIG})))).pending()))"
    )
    environment = os.environ | {"PYTHONPATH": "."}
    done = subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def lkca(folder: Path, *words: str, code: int = 0) -> str:
    """Call lkca in a folder; return what it prints."""
    command = [sys.executable, "-m", "lkca", *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": "."})
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def steps(jobs: dict[str, str]) -> set[str]:
    """Return the rules of jobs."""
    kinds = {"tables": "table", "figures": "figure", "splits": "split"}
    parts = [name.split("/") for name in jobs]
    last = {"scenes": lambda name: "fetch" if name.endswith(".files") else "scene"}
    return {
        name[-1] if name[0] == "runs" else last[name[0]](name[-1]) if name[0] in last else kinds.get(name[0], name[0])
        for name in parts
    }


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    """A checkout with the small experiment's configuration and data."""
    folder = copy_checkout(tmp_path_factory.mktemp("reruns") / "lkca")
    overlay = OVERLAY.replace("LKCA-LR: null,", "".join(f"{label}: null, " for label in UNUSED))
    (folder / "tests/small.yaml").write_text(overlay)
    (folder / "data").mkdir()
    for name, phase in (("a", 0), ("b", 1)):
        cube(phase).tofile(folder / f"data/{name}.raw")
    shutil.copy(folder / "data/a.raw", folder / "data/copy.raw")
    (folder / "data/q.bsq").symlink_to("a.raw")
    (folder / "data/q.hdr").write_text(HEADER.format("bsq"))
    return folder


@pytest.fixture(scope="module")
def finished(prepared, tmp_path_factory) -> Path:
    """A checkout in which the small experiment has run."""
    folder = tmp_path_factory.mktemp("finished") / "lkca"
    subprocess.run(["cp", "-a", str(prepared), str(folder)], check=True)
    call(folder)
    return folder


@pytest.fixture
def checkout(finished, tmp_path) -> Path:
    """A copy that a test may change."""
    subprocess.run(["cp", "-a", str(finished), str(tmp_path / "lkca")], check=True)
    return tmp_path / "lkca"


def edit(path: Path, *pairs: str) -> None:
    """Replace the first, third, ... text by the one that follows it, each once."""
    text = path.read_text()
    for old, new in zip(pairs[::2], pairs[1::2], strict=True):
        assert old in text, old
        text = text.replace(old, new, 1)
    path.write_text(text)


def move_function(folder: Path) -> None:
    """Take a function out of metrics.py into a module of its own."""
    path = folder / "lkca/scoring/metrics.py"
    function = re.search(r"def absolute_error\(.*?\n\n\n", path.read_text(), re.DOTALL)[0]
    edit(path, function, "", "\nSSIM_WINDOW = 7", "from lkca.error_map import absolute_error\n\nSSIM_WINDOW = 7")
    imports = "import numpy as np\n\nfrom lkca.scoring.jackknife import check_images"
    (folder / "lkca/error_map.py").write_text(f'"""Errors."""\n\n{imports}\n\n\n{function.rstrip()}\n')


def move_module(folder: Path) -> None:
    (folder / "lkca/deep").mkdir()
    (folder / "lkca/deep/__init__.py").touch()
    (folder / "lkca/training/losses.py").rename(folder / "lkca/deep/losses.py")
    edit(folder / "lkca/training/train.py", "from lkca.training import losses", "from lkca.deep import losses")


def reorder(folder: Path) -> None:
    """Put the last function of a module first, and the methods of a class in another order."""
    path = folder / "lkca/training/losses.py"
    function = re.search(r"\n\ndef distillation_weight\(.*", path.read_text(), re.DOTALL)[0]
    edit(path, function, "", "\n\ndef l1(", f"{function.rstrip()}\n\n\ndef l1(")


def reformat(folder: Path) -> None:
    ruff = Path(sys.executable).with_name("ruff")
    subprocess.run([ruff, "format", "--quiet", "--isolated", "--line-length", "60", "lkca"], cwd=folder, check=True)


def touch(folder: Path) -> None:
    """Change the times of all files, as a copy or `git switch` does."""
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_file() and ".snakemake" not in path.parts:
            os.utime(path, (2_000_000_000, 2_000_000_000) if path.suffix == ".json" else None)


def replace_file(folder: Path) -> None:
    """Replace a file by another one of the same size and the same times."""
    path = folder / "data/a.raw"
    status = path.stat()
    (folder / "data/b.raw").replace(path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def link(folder: Path, target: str) -> None:
    (folder / "data/q.bsq").unlink()
    (folder / "data/q.bsq").symlink_to(target)


def reorder_keys(folder: Path) -> None:
    text = (folder / "tests/small.yaml").read_text()
    first, *others = re.split(r"\n(?=\w)", text.strip())
    (folder / "tests/small.yaml").write_text("\n".join([first, *reversed(others)]))


def in_file(name: str, *pairs: str):
    return lambda folder: edit(folder / name, *pairs)


class Reword(ast.NodeTransformer):
    """Change every text that a module raises as an error or prints."""

    def __init__(self) -> None:
        self.in_message = False

    def visit(self, node: ast.AST) -> ast.AST:
        called = node.exc if isinstance(node, ast.Raise) else node.value if isinstance(node, ast.Expr) else None
        name = getattr(called.func, "id", "") if isinstance(called, ast.Call) else ""
        if name == "print" or hasattr(errors, name) or (hasattr(builtins, name) and isinstance(node, ast.Raise)):
            self.in_message = True
            self.generic_visit(node)
            self.in_message = False
            return node
        if isinstance(node, ast.FormattedValue):  # which may hold a format such as .2f
            return node
        if self.in_message and isinstance(node, ast.Constant) and isinstance(node.value, str):
            return ast.Constant(f"Reworded: {node.value}")
        return self.generic_visit(node)


def reword(folder: Path) -> None:
    for path in (folder / "lkca").rglob("*.py"):
        path.write_text(ast.unparse(Reword().visit(ast.parse(path.read_text()))))


SMALL, SCORES = "tests/small.yaml", "results/small/runs/chikusei_x4/vdsr/seed3000/scores.json"
ROWS = "      Bicubic: bicubic\n", "      VDSR: vdsr\n"
NORMS = "norms = vector_norm", "lengths = vector_norm", "for norm in norms", "for norm in lengths"

CHANGES = {
    "a comment": in_file("lkca/scoring/metrics.py", "SSIM_WINDOW = 7", "SSIM_WINDOW = 7  # of SSIM,"),
    "a docstring": in_file("lkca/training/train.py", '"""Train one network."""', '"""Train a network."""'),
    "an annotation": in_file(
        "lkca/training/losses.py", "def l1(sr: Tensor, hr: Tensor)", "def l1(sr, hr: torch.Tensor)"
    ),
    "reworded errors, logs and prints": reword,
    "all of it formatted otherwise": reformat,
    "a renamed local variable": in_file("lkca/training/losses.py", *NORMS),
    "a renamed function": lambda folder: [
        edit(folder / "lkca/training/losses.py", "def l1(", "def absolute(", "loss = l1(", "loss = absolute("),
        edit(folder / "lkca/training/train.py", "losses.l1(", "losses.absolute("),
    ],
    "a new function that nothing uses": in_file(
        "lkca/scoring/metrics.py", "def mpsnr(", "def new():\n    pass\n\n\ndef mpsnr("
    ),
    "a function moved to another module": move_function,
    "a module moved to another place": move_module,
    "definitions in another order": reorder,
    "another network, another cube": lambda folder: [
        edit(folder / "lkca/models/registry.py", '    "vdsr": N', '    "vdsr2": NetworkSpec("VDSR"),\n    "vdsr": N'),
        edit(folder / "lkca/data/catalog.py", "CUBES = {", 'CUBES = {\n    "another": None,'),
    ],
    "every file touched": touch,
    "results copied without Snakemake's records": lambda folder: shutil.rmtree(folder / ".snakemake"),
    "another start of a layer": in_file(
        "lkca/models/layers.py", "(bands * scale**2, 1, 1), 1e-2", "(bands * scale**2, 1, 1), 1e-1"
    ),
    "another default of a parameter": in_file(
        "lkca/models/layers.py", "groups: int = 1, bias: bool = True", "groups: int = 1, bias: bool = False"
    ),
    "another loss": in_file("lkca/training/losses.py", "1 - 1e-6", "1 - 1e-5"),
    "another degradation": in_file("lkca/data/resize.py", "-0.5 * x + 2.5", "-0.6 * x + 2.5"),
    "another score": in_file("lkca/scoring/metrics.py", "SSIM_WINDOW = 7", "SSIM_WINDOW = 5"),
    "another rank of a layer": in_file(
        "lkca/scoring/singular_values.py", "effective_rank(values, 0.9)", "effective_rank(values, 0.8)"
    ),
    "another direction of a score": in_file("lkca/scoring/metrics.py", '"degrees", 4, -1', '"degrees", 4, 1'),
    "another interval": in_file("lkca/paper/statistics.py", "LEVEL = 0.95", "LEVEL = 0.9"),
    "another parser of bands": in_file(
        "lkca/data/catalog.py", "(int(first), int(last", "(int(first) + (',' in text), int(last"
    ),
    "another reader": in_file(
        "lkca/data/readers/raster.py",
        "list(range(first + 1, last + 1)), rows",
        "list(range(last, first, -1)), rows",
    ),
    "another grid of patches": in_file("lkca/data/windows.py", "columns.stop - size + 1", "columns.stop - size"),
    "another template of tables": in_file("lkca/report/templates/table.html.j2", "<table", "<table lang=en"),
    "another printed number": in_file(
        "lkca/paper/paper_tables.csv", "V,chikusei,4,Bicubic,,", "V,chikusei,4,Bicubic,1,"
    ),
    "a header mended": lambda folder: (folder / "data/q.hdr").write_text(HEADER.format("bil")),
    "another file under the same name": replace_file,
    "a link that leads to another file": lambda folder: link(folder, "b.raw"),
    "a link that leads to a copy": lambda folder: link(folder, "copy.raw"),
    "a header that comes to lie beside": lambda folder: shutil.copy(folder / "data/q.hdr", folder / "data/q.bsq.hdr"),
    "scores edited by hand": in_file(SCORES, '"MPSNR": ', '"MPSNR": 1'),
    "a comment in config.yaml": in_file("config.yaml", "seeds: [3000]", "seeds: [3000] # of the siblings"),
    "keys in another order": reorder_keys,
    "rows in another order": in_file("config.yaml", "".join(ROWS), "".join(ROWS[::-1])),
    "the learning rate of one model": in_file(SMALL, "vdsr: {args", "vdsr: {train: {learning_rate: 1.0e-3}, args"),
    "the title of the experiment": in_file(SMALL, "title: Reruns", "title: What runs again"),
    "the title of the scene": in_file(SMALL, "title: Ramp", "title: Waves"),
    "the citation of the cube": in_file(SMALL, "citation: nobody", "citation: somebody"),
    "the bands of the picture": in_file(SMALL, "bands: [1, 5, 9]", "bands: [1, 5, 8]"),
    "another seed": in_file("config.yaml", "seeds: [3000]", "seeds: [3000, 3001]"),
}


# Changes for which a usual run calls snakemake, too: of dates, code, files, settings, and the number of jobs.
WITH_SNAKEMAKE = {
    "every file touched",
    "results copied without Snakemake's records",
    "another start of a layer",
    "another interval",
    "a header mended",
    "scores edited by hand",
    "rows in another order",
    "another seed",
}


def test_table_has_all_changes_and_rules():
    assert EXPECTED.keys() == CHANGES.keys() > WITH_SNAKEMAKE
    assert set(COLUMNS.values()) == STEPS.keys() - {"bicubic_rows"}


@pytest.mark.parametrize(
    "change", sorted(CHANGES.keys() - {"scores edited by hand", "results copied without Snakemake's records"})
)
def test_change_applies_to_the_sources(prepared, tmp_path, change):
    """Every text that a change replaces occurs in the sources."""
    folder = tmp_path / "lkca"
    subprocess.run(["cp", "-a", str(prepared), str(folder)], check=True)
    CHANGES[change](folder)


@pytest.mark.slow
@pytest.mark.parametrize("change", EXPECTED)
def test_jobs_that_run_again(checkout, change):
    CHANGES[change](checkout)
    jobs = pending(checkout)
    assert steps(jobs) == EXPECTED[change], jobs
    if change in WITH_SNAKEMAKE or "LKCA_LONG_TESTS" in os.environ:
        assert planned(checkout) == jobs


@pytest.mark.slow
def test_reasons_in_words(checkout):
    edit(checkout / SMALL, "vdsr: {args", "vdsr: {train: {learning_rate: 1.0e-3}, args")
    edit(checkout / "lkca/scoring/metrics.py", "SSIM_WINDOW = 7", "SSIM_WINDOW = 5")
    jobs, run = planned(checkout), "runs/chikusei_x4/{}/seed3000/{}".format
    assert jobs[run("vdsr", "settings")] == "train.learning_rate was 0.002, is 0.001 now"
    assert jobs[run("vdsr", "train")] == f"{run('vdsr', 'settings')} runs again"
    assert jobs[run("lkca", "evaluate")] == "the code has changed in lkca/scoring/metrics.py"
    plan = lkca(checkout, "plan", "--config", *CONFIG)
    assert f"\n  {run('vdsr', 'settings')}: train.learning_rate was 0.002, is 0.001 now\n" in plan
    assert re.search(r"\n  .* and \d+ more: the code has changed in lkca/scoring/metrics.py\n", plan)
    assert re.search(rf"\njobs +{len(planned(checkout, '--forceall'))}: \d+ up to date, {len(jobs)} to run\n", plan)


@pytest.mark.slow
def test_corrected_header_corrects_the_scores(finished, tmp_path):
    """The cube is stored line by line (BIL), but its header says band by band, so that pixels are mixed up."""
    folder = tmp_path / "lkca"
    subprocess.run(["cp", "-a", str(finished), str(folder)], check=True)
    cube(0).transpose(1, 0, 2).tofile(folder / "data/b.raw")
    link(folder, "b.raw")
    edit(
        folder / "lkca/data/inspection.py", "MIN_CORRELATION = 0.3", "MIN_CORRELATION = -1"
    )  # or the mixture is refused
    scores = folder / SCORES.replace("vdsr", "bicubic")
    right = json.loads(scores.read_text())["mean"]["MPSNR"]
    target = str(scores.relative_to(folder))
    call(folder, "--", target)
    assert json.loads(scores.read_text())["mean"]["MPSNR"] < right - 10
    (folder / "data/q.hdr").write_text(HEADER.format("bil"))
    assert planned(folder)["scenes/chikusei"] == "data/q.hdr has changed"
    assert "data/q.hdr is not the file that" in lkca(folder, "check", code=1)
    call(folder, "--", target)
    assert json.loads(scores.read_text())["mean"]["MPSNR"] == right
    assert "Nothing to be done" in call(folder, "--dry-run", "--", target)


@pytest.mark.slow
def test_adoption(checkout):
    """A formula is written differently: after adoption nothing is computed again, and the report says so."""
    edit(checkout / "lkca/models/vdsr.py", "std=sqrt(2 / (9 * width))", "std=(2 / (9 * width)) ** 0.5")
    edit(
        checkout / SMALL,
        "lkca: {args: {width: 16, blocks: 1}}",
        "lkca: {args: {width: 16, blocks: 1}, train: {batch: 8}}",
    )
    assert steps(planned(checkout)) >= {"train", "evaluate"}
    assert "Made with other code than the current one, in lkca/models/vdsr.py: " in lkca(checkout, "check")
    words = ("adopt", "--config", *CONFIG, "--because", "the root is written as a power")
    refused = lkca(checkout, *words, code=1)
    assert "refused  runs/chikusei_x4/lkca/seed3000/settings: train.batch was 16, is 8 now" in refused
    assert "adopted  runs/chikusei_x4/vdsr/seed3000/train: the code has changed in lkca/models/vdsr.py" in refused
    edit(checkout / SMALL, ", train: {batch: 8}}", "}")
    assert set(planned(checkout)) == {"report"}
    assert "there is nothing to adopt" in lkca(checkout, *words, code=2)
    assert "runs/chikusei_x4/vds is not a job of small" in lkca(checkout, *words, "runs/chikusei_x4/vds", code=2)
    edit(checkout / "lkca/models/vdsr.py", "std=(2 / (9 * width)) ** 0.5", "std=sqrt(2 / (9 * width))")
    assert set(planned(checkout)) == {"report"}  # these results were made by the old code
    edit(checkout / "lkca/models/vdsr.py", "std=sqrt(2 / (9 * width))", "std=(2 / (9 * width)) ** 0.5")
    call(checkout)
    assert planned(checkout) == {}
    assert "the root is written as a power" in (checkout / "results/small/report.html").read_text()
    assert re.search("note +Made with code .* because: the root is written as a power", lkca(checkout, "check"))
    weights = checkout / "results/small/runs/chikusei_x4/vdsr/seed3000/weights.safetensors"
    before = weights.read_bytes()
    weights.unlink()
    assert "already trained" in call(checkout, "--", str(weights.relative_to(checkout)))
    assert weights.read_bytes() == before
    scores = checkout / SCORES
    scores.unlink()
    call(checkout, "--", SCORES)
    record = json.loads((checkout / "results/small/records/runs/chikusei_x4/vdsr/seed3000/evaluate.json").read_text())
    assert record["adopted"] == []  # they were made by the new code


@pytest.mark.slow
def test_killed_job_leaves_no_record(checkout):
    """A job that was killed before it wrote its record runs again."""
    record = checkout / "results/small/records/tables/V.json"
    whole = record.read_text()
    for damage in (record.unlink, lambda: record.write_text(whole[:100])):
        damage()
        assert planned(checkout)["tables/V"] == "there is no record of how it was made"
    call(checkout)
    assert planned(checkout) == {}


@pytest.mark.slow
def test_command_lines_with_100_seeds(checkout):
    """Linux limits an argument to 131,072 bytes, and the command of a rule is one argument of bash."""
    edit(checkout / "config.yaml", "seeds: [3000]", f"seeds: {[*range(3000, 3100)]}")
    output = call(checkout, "--dry-run", "--printshellcmds")
    commands = re.findall(r"^Shell command: (.*)$", output, re.MULTILINE)
    assert len(commands) > 100 * 4 * 3 and max(map(len, commands)) < 2000


@pytest.mark.slow
@pytest.mark.parametrize(
    ("removed", "change"),
    [
        ("scenes/chikusei.npy", None),
        ("scenes/chikusei.npy", "another score"),
        ("runs/chikusei_x4/vdsr/seed3000/weights.safetensors", None),
        ("runs/chikusei_x4/vdsr/seed3000/weights.safetensors", "another score"),
        ("runs/chikusei_x4/lkca_64/seed3000/weights.safetensors", "the learning rate of one model"),
        ("tables/V.md", None),
        ("report.json", None),
        ("splits/chikusei_x4.json", "another seed"),
    ],
)
def test_plan_and_snakemake_agree_on_missing_files(checkout, monkeypatch, removed, change):
    (checkout / "results/small" / removed).unlink()
    if change:
        CHANGES[change](checkout)
    jobs = planned(checkout)
    assert pending(checkout) == jobs
    assert bool(jobs) == bool(
        change or "/" not in removed or "tables" in removed
    )  # a file that nothing needs is not made again


@pytest.mark.slow
def test_forced_rule_runs_dependent_jobs(checkout):
    assert steps(planned(checkout, "--forcerun", "train")) == EXPECTED["another loss"]
    split = "results/small/splits/chikusei_x4.json"
    assert steps(planned(checkout, "--forcerun", split)) == EXPECTED["another grid of patches"]


@pytest.mark.slow
def test_incomplete_mark_hides_no_job(checkout):
    """Snakemake marks the outputs of jobs whose end it did not see, even if they are complete."""
    root = checkout / "results/small"
    run = "results/small/runs/chikusei_x4/bicubic/seed3000/run.json"
    shutil.rmtree(root / "runs/chikusei_x4/vdsr")
    (root / "report.html").unlink()
    (checkout / ".snakemake/incomplete").mkdir(exist_ok=True)
    (checkout / ".snakemake/incomplete" / base64.b64encode(run.encode()).decode()).touch()
    jobs = planned(checkout)
    assert steps(jobs) == {"settings", "train", "evaluate", "table", "figure", "claims", "report"}
    assert not [name for name in jobs if "bicubic" in name]


@pytest.mark.slow
def test_removed_header_runs_the_scene_again(checkout):
    shutil.copy(checkout / "data/q.hdr", checkout / "data/q.bsq.hdr")
    target = "results/small/scenes/chikusei.npy"
    call(checkout, "--", target)
    assert planned(checkout, "--", target) == {}
    (checkout / "data/q.bsq.hdr").unlink()
    assert planned(checkout, "--", target)["scenes/chikusei"] == "it no longer reads data/q.bsq.hdr"


@pytest.mark.slow
def test_change_with_deleted_files(checkout):
    """Whether half or all of a job's outputs are deleted, what depends on the old result is made again."""
    edit(checkout / "lkca/models/vdsr.py", "std=sqrt(2 / (9 * width))", "std=sqrt(1 / (9 * width))")
    expected = planned(checkout).keys()
    run = checkout / "results/small/runs/chikusei_x4/vdsr/seed3000"
    for name in ("weights.safetensors", "image.npz", "scores.json", "history.csv"):
        (run / name).unlink()
        assert planned(checkout).keys() == expected


ROOT, RUN = "results/small", "runs/chikusei_x4/{}/seed3000/{}".format
MADE_BY = {  # file of a finished experiment -> the job that wrote it, and one that reads it
    "scenes/chikusei.files.json": ("scenes/chikusei.files", "scenes/chikusei"),
    "scenes/chikusei.npy": ("scenes/chikusei", RUN("vdsr", "train")),
    "scenes/chikusei.json": ("scenes/chikusei", RUN("bicubic", "evaluate")),
    "splits/chikusei_x4.json": ("splits/chikusei_x4", RUN("vdsr", "train")),
    RUN("vdsr", "run.json"): (RUN("vdsr", "settings"), RUN("vdsr", "train")),
    RUN("lkca_64", "weights.safetensors"): (RUN("lkca_64", "train"), RUN("lkca_kd", "train")),  # a teacher
    RUN("vdsr", "history.csv"): (RUN("vdsr", "train"), RUN("vdsr", "evaluate")),
    RUN("vdsr", "scores.json"): (RUN("vdsr", "evaluate"), "tables/V"),
    RUN("vdsr", "image.npz"): (RUN("vdsr", "evaluate"), "report"),
    RUN("lkca", "spectrum.json"): (RUN("lkca", "spectrum"), "figures/4"),
    "efficiency/chikusei_x4.json": ("efficiency/chikusei_x4", "report"),
    "tables/V.html": ("tables/V", "report"),
    "tables/V.csv": ("tables/V", "report"),
    "figures/4.png": ("figures/4", "report"),
    "claims.json": ("claims", "report"),
    "report.html": ("report", None),
    "report.json": ("report", None),
}


def flip_a_bit(content: bytes) -> bytes:
    """Change one bit in the middle, so that the size stays."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def raise_a_number(content: bytes) -> bytes:
    """Change the last digit of the first number in the text that ends in 1 to 8."""
    return re.sub(rb"[1-8](?=\D)", lambda digit: b"%d" % (int(digit[0]) + 1), content, count=1)


EDITS = {  # kinds of edits of a file
    "one bit": flip_a_bit,
    "another number": raise_a_number,
    "cut in half": lambda content: content[: len(content) // 2],
    "emptied": lambda content: b"",
    "a byte appended": lambda content: content + b" ",
}


@pytest.fixture(scope="module")
def editable(finished, tmp_path_factory) -> Path:
    """A copy of which each test restores what it has changed."""
    folder = tmp_path_factory.mktemp("editable") / "lkca"
    subprocess.run(["cp", "-a", str(finished), str(folder)], check=True)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("file", MADE_BY)
def test_edited_file_is_noticed(editable, monkeypatch, capsys, file):
    """By the next call of snakemake, by the job that reads it in the same call, and by `lkca check`."""
    monkeypatch.chdir(editable)
    experiment, path, (writer, reader) = read_config(list(map(Path, CONFIG))), Path(ROOT, file), MADE_BY[file]
    whole, times = path.read_bytes(), path.stat()
    for kind, edit_content in EDITS.items():
        path.write_bytes(edit_content(whole))
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        results = Results(experiment)
        assert results.pending()[writer] == f"{path} is not what this job wrote", kind
        if reader:
            with pytest.raises(StaleInput, match=re.escape(f"{path} is not what {writer} wrote")):
                results.check_inputs(results.jobs.by_name(reader))
    assert main(["check", ROOT]) == 1
    assert file in capsys.readouterr().out
    path.write_bytes(flip_a_bit(whole))
    record_path = Path(ROOT, f"records/{writer}.json")
    record = read_record(record_path)
    forged = {"writes": record.writes | {str(path): (sha256(path),)}}
    record.model_copy(update=forged).write(record_path)  # with a digest that fits
    assert main(["check", ROOT]) == 1  # other files have its hash, or it has those of others
    record.write(record_path)
    path.write_bytes(whole)
    os.utime(path, (2_000_000_000, 2_000_000_000))  # a date in the future is no edit
    results = Results(experiment)
    assert results.pending() == {}
    if reader:
        results.check_inputs(results.jobs.by_name(reader))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("old", "new"), [('"vdsr"', '"lkca"'), ('"writes": {', '"writes": { '), ('"code": "', '"code": "0')]
)
def test_edited_record_is_noticed(editable, monkeypatch, old, new):
    """All files are compared with the records, so a record has a digest of its own content."""
    monkeypatch.chdir(editable)
    path = Path(ROOT, "records", RUN("vdsr", "settings.json"))
    whole = path.read_text()
    assert old in whole
    path.write_text(whole.replace(old, new))
    is_same = old.strip() == new.strip()  # other white space is the same content
    pending, code = Results(read_config(list(map(Path, CONFIG)))).pending(), main(["check", ROOT])
    path.write_text(whole)
    assert (pending == {}, code) == (is_same, 0 if is_same else 1)


@pytest.mark.slow
def test_run_settings_are_compared_with_the_configuration(editable, monkeypatch):
    """Somebody edits a run.json and its record so that the two agree."""
    monkeypatch.chdir(editable)
    experiment, settings = read_config(list(map(Path, CONFIG))), RUN("vdsr", "settings")
    path, record_path = Path(ROOT, RUN("vdsr", "run.json")), Path(ROOT, f"records/{settings}.json")
    whole, record = path.read_bytes(), read_record(record_path)
    path.write_bytes(whole.replace(b'"epochs": 1', b'"epochs": 2'))
    record.model_copy(update={"writes": {str(path): (sha256(path),)}}).write(record_path)
    results = Results(experiment)
    assert results.pending()[settings] == f"in {path}, train.epochs was 2, is 1 now"
    with pytest.raises(StaleInput, match=r"run\.json, train\.epochs was 2, is 1 now: run snakemake again"):
        results.check_inputs(results.jobs.by_name(RUN("vdsr", "train")))
    path.write_bytes(whole)
    record.write(record_path)
    assert Results(experiment).pending() == {}


@pytest.mark.slow
def test_failed_jobs_leave_the_old_files(checkout):
    """A figure and a training fail although their inputs are right; the next call tries them again."""
    figure, weights = checkout / ROOT / "figures/4.png", checkout / ROOT / RUN("vdsr", "weights.safetensors")
    before = figure.read_bytes(), weights.read_bytes()
    for module, function in (("report/figures/__init__", "draw_figure"), ("training/train", "train_network")):
        path = checkout / f"lkca/{module}.py"
        head = re.search(rf'def {function}\(.*?\n    """.*?"""\n', path.read_text(), re.DOTALL)[0]
        edit(path, head, f"{head}    raise MemoryError\n")
    for _ in range(2):  # the second call does not take the old files for new ones
        assert "MemoryError" in call(checkout, code=1)
        assert (figure.read_bytes(), weights.read_bytes()) == before
        assert {"figures/4", RUN("vdsr", "train")} <= planned(checkout).keys()


@pytest.mark.slow
def test_dates_in_the_future_delete_nothing(checkout):
    """Jobs that have to run read files of another machine, whose clock is ahead."""
    for path in [*(checkout / ROOT).rglob("*"), checkout / "lkca/report/templates/table.html.j2"]:
        os.utime(path, (2_000_000_000, 2_000_000_000))
    assert planned(checkout) == {}
    CHANGES["another score"](checkout)
    call(checkout, "--", f"{ROOT}/tables/V.md")
    assert planned(checkout, "--", f"{ROOT}/tables/V.md") == {}
