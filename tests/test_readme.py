"""What the README and docs/ say is so, and the commands that they print run as printed."""

import argparse
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from lkca.cli import parser
from tests.conftest import REPOSITORY, clean_shell, copy_checkout

PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
README = PAGES[0].read_text()
ACTIVATE = ". .venv/bin/activate"


def printed() -> list[tuple[str, str]]:
    """The commands of the pages, with the page of each."""
    found = []
    for page in PAGES:
        for block in re.findall(r"^```sh\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
            lines = [re.sub(r"\s+#.*", "", line).strip() for line in block.splitlines()]
            found += [(page.name, line) for line in lines if line]
    return found


# What a command cannot do here, and why; each is looked at all the same: see `test_commands_run_as_printed`.
ELSEWHERE = {
    "sudo tests/slurm.sh": "installs Slurm",
    "cp -r /opt/lkca/. /lkca && cd /lkca": "in a pod",
    "snakemake --workflow-profile profiles/kubernetes": "in a pod",
    "snakemake --workflow-profile profiles/slurm": "needs the plugin, which the line above it installs",
    ".venv/bin/pip install 'snakemake-executor-plugin-slurm>=2.8,<3'": "changes the environment of the tests",
    "snakemake --cores all --use-conda": "needs conda: test_environment.py",
    "make test": "this is it",
    "make demo": "ten minutes",
}


def test_the_benchmarks_table_is_the_one_that_the_workflow_wrote():
    table = (REPOSITORY / "results/indian_pines/tables/S3.md").read_text()
    lines = [line for line in table.splitlines() if line.startswith("|")]
    assert len(lines) == 7  # head, rule, five methods
    assert "\n".join(lines) in README


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_linked_file_exists(page):
    for path in re.findall(r"\]\((?!http)([^)#]+)\)", page.read_text()):
        assert (page.parent / path).exists(), path


def test_every_command_exists():
    commands = next(a for a in parser()._actions if isinstance(a, argparse._SubParsersAction)).choices
    targets = re.findall(r"^([a-z]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    text = "".join(page.read_text() for page in PAGES)
    assert set(re.findall(r"(?:^|`)lkca ([a-z-]+)", text, re.MULTILINE)) <= set(commands)
    assert set(re.findall(r"(?:^|`)make (\w+)", text, re.MULTILINE)) <= set(targets)
    assert {command for _, command in printed()} >= ELSEWHERE.keys()


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    """A checkout with its .venv and the files that the commands name."""
    folder = copy_checkout(tmp_path_factory.mktemp("readme") / "lkca")
    (folder / ".venv").symlink_to(REPOSITORY / ".venv")
    rng = np.random.default_rng(0)
    for name, shape in (("truth", (4, 16, 16)), ("mine", (4, 16, 16)), ("x", (4, 16, 16))):
        np.save(folder / f"{name}.npy", rng.random(shape, np.float32))
    table = (REPOSITORY / "lkca/paper/paper_tables.csv").read_text()
    (folder / "mine.csv").write_text(table)
    return folder


@pytest.mark.parametrize(("page", "command"), printed(), ids=lambda text: text[:60])
def test_commands_run_as_printed(checkout, page, command):
    """In a shell where nothing is activated and another Python is first on the PATH.

    Behind the line that activates the environment, where the page prints it first; else as it stands alone. What would
    run for long is planned only (--dry-run); what lacks data or finished runs here has to say so in a sentence.
    """
    if command in ELSEWHERE:
        return
    before = [line for name, line in printed() if name in ("README.md", page)]
    activated = ACTIVATE in before[: before.index(command)]
    dry = command.replace("snakemake", "snakemake --dry-run", 1) if "snakemake" in command.split(" ")[0] else command
    line = f"{ACTIVATE}; {dry}" if activated else dry
    shell = {"cwd": checkout, "env": clean_shell(checkout) | {"HOME": str(checkout)}}
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, **shell)
    said = done.stdout + done.stderr
    assert "Traceback" not in said and "ModuleNotFoundError" not in said, said
    if done.returncode:
        assert done.returncode in (1, 2) and re.search(r"^(lkca|refused) ?.*", said, re.MULTILINE), said
        assert not command.split()[0].endswith("snakemake"), said


def test_another_python_is_first_on_the_path(checkout):
    """Of the shell in which the commands run."""
    done = subprocess.run(["bash", "-c", "python -m lkca"], env=clean_shell(checkout), capture_output=True, text=True)
    assert done.returncode == 3 and "not this Python" in done.stderr
