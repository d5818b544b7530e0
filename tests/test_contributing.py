"""The lists of CONTRIBUTING.md, followed step by step in a copy of the checkout, give what they promise."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY, copy_checkout

STEP = re.compile(r"^\d+\. `([^`]+)`, ([^:]+):.*?^   ```\w+\n(.*?)^   ```", re.MULTILINE | re.DOTALL)


@pytest.fixture
def checkout(tmp_path) -> Path:
    """Return a copy of the checkout, with its tests."""
    folder = copy_checkout(tmp_path / "lkca")
    shutil.copytree(REPOSITORY / "tests", folder / "tests", dirs_exist_ok=True)
    shutil.copy(REPOSITORY / "pyproject.toml", folder)
    return folder


def follow(checkout: Path, title: str) -> None:
    """Do the steps of a section of CONTRIBUTING.md: each names a file and a place in it, and shows the lines to add.

    The place is `a new file`, `before` a line that begins with a text, `under` a line, or `at the end of` a dict.
    """
    text = (REPOSITORY / "CONTRIBUTING.md").read_text()
    (section,) = re.findall(rf"^## {title}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    steps = STEP.findall(section)
    assert steps
    for name, place, code in steps:
        lines = [line.removeprefix("   ") for line in code.splitlines(keepends=True)]
        if place == "a new file":
            (checkout / name).write_text("".join(lines))
            continue
        where, anchor = re.fullmatch(r"(before|under|at the end of) `(.+)`", place).groups()
        old = (checkout / name).read_text().splitlines(keepends=True)
        first = next(i for i, line in enumerate(old) if line.startswith(anchor))
        last = next(i for i in range(first, len(old)) if old[i] == "}\n") if where == "at the end of" else first
        insert = first + 1 if where == "under" else last
        (checkout / name).write_text("".join([*old[:insert], *lines, *old[insert:]]))


def run(checkout: Path, *words: str) -> str:
    """Run Python in the checkout and return what it prints."""
    environment = os.environ | {"PYTHONPATH": f"{checkout}:{checkout / 'tests'}"}
    result = subprocess.run([sys.executable, *words], cwd=checkout, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_kind_of_figure(checkout):
    follow(checkout, "Add a kind of figure")
    output = run(checkout, "-m", "pytest", "-q", "tests/test_figures.py", "-k", "bars")
    assert re.search(r"\d+ passed", output)
