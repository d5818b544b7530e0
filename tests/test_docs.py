"""The commands, Python snippets and settings that README, CONTRIBUTING and docs/ print work as printed."""

import argparse
import json
import re
import shlex
import subprocess
from collections import Counter
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from scipy.io import savemat

from lkca.cli import make_parser
from lkca.config.load import read_config
from lkca.core.files import read_csv
from lkca.paper.claims.check import check_on_table, collect_claims
from lkca.paper.claims.numbers import PrintedNumbers
from lkca.scoring.metrics import SCORES
from tests import fake_results
from tests.conftest import REPOSITORY, clean_shell, copy_checkout
from tests.products import write_enmap

PAGES = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]
README = PAGES[0].read_text()
ACTIVATE = ". .venv/bin/activate"

# Commands that are not run here, and why.
NOT_RUN = {
    "make setup": "would reinstall the environment of the tests",
    "make demo": "takes ten minutes",
    "make test": "would run this test",
    "make check": "would run this test",
    "make lint": "runs in CI beside the tests",
    "make docs": "runs in CI beside the tests",
    "sudo tests/slurm.sh": "installs Slurm",
    ".venv/bin/pip install 'snakemake-executor-plugin-slurm>=2.8,<3'": "changes the environment of the tests",
    "snakemake --workflow-profile profiles/slurm": "needs the plugin that the command above installs",
    "cp -r /opt/lkca/. /lkca && cd /lkca": "runs in a pod",
    "snakemake --workflow-profile profiles/kubernetes": "runs in a pod",
    "python3 -m venv small": "installs another environment",
    "echo torch > small/excluded.txt": "needs this environment",
    "uv pip install --python small/bin/python --excludes small/excluded.txt '.[onnx]'": "downloads many packages",
    "small/bin/lkca upscale other.tif other_x4.tif --model shared/model.onnx": "needs this environment",
    "snakemake --cores all --use-conda": "needs conda: see test_environment.py",
}


def read_blocks(language: str) -> list[tuple[str, str]]:
    """Return the code blocks of a language: path of the page, and code without its indentation."""
    blocks = []
    for page in PAGES:
        for indent, code in re.findall(rf"^( *)```{language}\n(.*?)^\1```", page.read_text(), re.MULTILINE | re.DOTALL):
            lines = [line.removeprefix(indent) for line in code.splitlines()]
            blocks.append((str(page.relative_to(REPOSITORY)), "\n".join(lines)))
    return blocks


def read_commands() -> list[tuple[str, str]]:
    """Return the shell commands of all pages, one a line, with the path of the page."""
    lines = [
        (page, re.sub(r"\s+#.*", "", line).strip()) for page, code in read_blocks("sh") for line in code.split("\n")
    ]
    return [(page, line) for page, line in lines if line]


def read_file_reference() -> dict[str, set[str]]:
    """Return what docs/reference/results.md says of results/{experiment}/: pattern of the path -> names of fields."""
    sections = (REPOSITORY / "docs/reference/results.md").read_text().split("\n## ")[1:]
    terms = {section.split("\n")[0]: re.findall(r"^(`.*)\n: ", section, re.MULTILINE) for section in sections}
    patterns = {path: re.sub(r"{\w+}", "*", path.replace("{run}", "runs/*/*/*")) for path in terms}
    return {patterns[path]: set(re.findall(r"`(\S+?)`", " ".join(lines))) for path, lines in terms.items()}


def read_fields(path: Path) -> set[str]:
    """Return the names of the fields of a JSON, CSV or NPZ file; none of other files."""
    if path.suffix == ".json":
        return set(json.loads(path.read_text()))
    if path.suffix == ".csv":
        return set(pd.read_csv(path, comment="#").columns)
    return set(np.load(path)) if path.suffix == ".npz" else set()


def check_file_reference(experiment: Path) -> None:
    """Check that docs/reference/results.md names all files of a finished experiment and all their fields."""
    reference = read_file_reference()
    documented = {path: fields for pattern, fields in reference.items() for path in experiment.glob(pattern)}
    aliases = {".md", ".tex", ".html", ".pdf", ".log", ".tsv"}  # the page names these in sentences
    for path in (path for path in experiment.rglob("*") if path.is_file() and path.suffix not in aliases):
        if path.name == "claims.json" or path.name.startswith("state-") or "records" in path.parts:
            continue
        assert path in documented, path
        fields = {re.sub(rf"^({'|'.join(SCORES)})(?=_|$)", "{score}", name) for name in read_fields(path)}
        fields = {re.sub(r"^\S+(?=_printed$)", "{column}", name) for name in fields}
        optional = {"{column}_printed", "left_out"}  # of tables with such cells; of scenes with invalid pixels
        assert fields | optional == documented[path] | optional, path


def test_counts_of_claims_are_current():
    printed = PrintedNumbers(read_csv(REPOSITORY / "lkca/paper/paper_tables.csv"))
    outcomes = Counter(check_on_table(claim, printed)["outcome"] for claim in collect_claims())
    readings = sum(claim.says.startswith(("Not said", "Our reading")) for claim in collect_claims())
    text = " ".join(" ".join(page.read_text() for page in PAGES).split())
    assert set(re.findall(r"(\d+) claims", text)) == {str(outcomes.total())}
    assert "{holds} hold, {fails} fail, and {cannot be told} need more than tables".format(**outcomes) in text
    assert f"{readings} of the claims are our readings" in text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_linked_files_exist(page):
    prose = re.sub(r"^ *```.*?^ *```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for path in re.findall(r"\]\((?!http)([^)#]+)", prose):
        assert (page.parent / path).exists(), path


def test_named_files_exist():
    """Of the checkout; `{name}` and `*` stand for any text, and CONTRIBUTING names files to be written."""
    text = "".join(page.read_text() for page in PAGES if page.name != "CONTRIBUTING.md")
    paths = set(re.findall(r"(?<![\w/.])((?:lkca|tests|benchmarks|workflow|profiles)/[\w/.*-]+\.\w+)", text))
    assert len(paths) > 20
    assert not [path for path in paths if not list(REPOSITORY.glob(path))]


def test_printed_lkca_commands_are_accepted():
    """Of blocks with all their options; of inline code the name of the command, where options may be missing."""
    commands = next(a for a in make_parser()._actions if isinstance(a, argparse._SubParsersAction)).choices
    in_blocks = [shlex.split(line)[1:] for _, line in read_commands() if line.startswith("lkca ")]
    assert len(in_blocks) > 10
    for words in in_blocks:
        make_parser().parse_args(words)  # exits with an error if it does not accept them
    inline = {name for page in PAGES for name in re.findall(r"`lkca ([^` ]+)", page.read_text())}
    assert inline <= set(commands)


def test_printed_make_targets_exist():
    targets = re.findall(r"^([a-z]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    text = "".join(page.read_text() for page in PAGES)
    assert set(re.findall(r"(?:^|`)make (\w+)", text, re.MULTILINE)) <= set(targets)


def test_excluded_commands_are_printed():
    assert {command for _, command in read_commands()} >= NOT_RUN.keys()


@pytest.mark.parametrize("page", ["README.md", "docs/tutorial.md"])
def test_environment_is_activated_before_use(page):
    commands = [command for name, command in read_commands() if name == page]
    bare = [command for command in commands if command.split()[0] in ("lkca", "snakemake")]
    assert commands.index(ACTIVATE) < commands.index(bare[0])


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    """Return a checkout with its .venv and the files that commands and snippets name."""
    folder = copy_checkout(tmp_path_factory.mktemp("docs") / "lkca")
    (folder / ".venv").symlink_to(REPOSITORY / ".venv")
    transfer = folder / "lkca/data/transfer.py"
    transfer.write_text(re.sub(r"^PAUSES = .*", "PAUSES = (0, 0, 0)", transfer.read_text(), flags=re.MULTILINE))
    rng = np.random.default_rng(0)
    for name in ("truth", "mine", "x"):
        np.save(folder / f"{name}.npy", rng.random((4, 16, 16), np.float32))
    whole = rng.integers(0, 10000, (16, 16, 4), np.int16)
    for name, variable in (("truth", "gt"), ("mine", "sr")):
        savemat(folder / f"{name}.mat", {variable: whole})
    with h5py.File(folder / "truth.h5", "w") as file:
        file["gt"] = whole.transpose(2, 0, 1)
    (folder / "mine.csv").write_text((REPOSITORY / "lkca/paper/paper_tables.csv").read_text())
    fake, table = tmp_path_factory.mktemp("fake"), folder / "results/demo/tables/S3.csv"
    scores = [fake_results.write_run(fake, model) for model in ("bicubic", "vdsr", "lkca")]
    table.parent.mkdir(parents=True)
    table.write_text(fake_results.write_table(fake, scores)["csv"])
    return folder


COMMANDS = dict.fromkeys(command for _, command in read_commands() if command not in NOT_RUN)


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[:70])
def test_command_runs_as_printed(checkout, command):
    """In a shell in which another Python is first on the PATH; the environment is activated if the command needs it.

    Snakemake plans only (--dry-run); nothing is downloaded. What lacks data or finished runs must say so in a message.
    """
    program = command.split()[0]
    line = command.replace("snakemake", "snakemake --dry-run", 1) if program.endswith("snakemake") else command
    line = f"{ACTIVATE}; {line}" if program in ("lkca", "snakemake") else line
    offline = {"HTTPS_PROXY": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}
    shell = {"cwd": checkout, "env": clean_shell(checkout) | {"HOME": str(checkout)} | offline}
    shell["env"]["PYTHONPATH"] = str(checkout)  # its downloads are tried again at once
    result = subprocess.run(["bash", "-c", line], capture_output=True, text=True, **shell)
    output = result.stdout + result.stderr
    assert "Traceback" not in output and "ModuleNotFoundError" not in output, output
    if result.returncode:
        assert program == "lkca" and result.returncode in (1, 2, 75), output
        assert re.search(r"^(lkca|refused)", output, re.MULTILINE), output


def test_another_python_is_first_on_the_path(checkout):
    """In the shell in which the commands run."""
    result = subprocess.run(["bash", "-c", "python -m lkca"], env=clean_shell(checkout), capture_output=True, text=True)
    assert result.returncode == 3 and "not this Python" in result.stderr


def read_snippets(language: str) -> list[tuple[str, str]]:
    """Return the code blocks of a language, except for those that test_contributing.py uses."""
    return [block for block in read_blocks(language) if block[0] != "CONTRIBUTING.md"]


@pytest.mark.slow
@pytest.mark.parametrize(("page", "code"), read_snippets("python"), ids=lambda text: text[:40])
def test_python_snippet_runs(checkout, page, code):
    python = checkout / ".venv/bin/python"
    result = subprocess.run([python, "-W", "error", "-c", code], cwd=checkout, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout, "a snippet shows its result"


@pytest.mark.parametrize(("page", "code"), read_snippets("yaml"), ids=lambda text: text[:40])
def test_printed_settings_are_valid(tmp_path, monkeypatch, page, code):
    monkeypatch.chdir(tmp_path)
    Path("data").mkdir()
    write_enmap(Path("data"))  # docs/howto/products.md names it; other pages name no file that must exist
    (tmp_path / "overlay.yaml").write_text(code)
    read_config([REPOSITORY / "config.yaml", tmp_path / "overlay.yaml"])
