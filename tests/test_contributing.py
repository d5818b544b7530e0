"""The lists of CONTRIBUTING.md, followed step by step in a copy of the checkout, give what they promise."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from tests.conftest import REPOSITORY, copy_checkout

pytestmark = pytest.mark.slow
STEP = re.compile(
    r"^\d+\. `([^`]+)`[^,]*, (a new file|the end|among the imports in alphabetical order|[a-z ]+ `[^`]+`):"
    r".*?^   ```\w+\n(.*?)^   ```",
    re.MULTILINE | re.DOTALL,
)


@pytest.fixture
def checkout(tmp_path) -> Path:
    """Return a copy of the checkout, with its tests."""
    folder = copy_checkout(tmp_path / "lkca")
    shutil.copytree(REPOSITORY / "tests", folder / "tests", dirs_exist_ok=True)
    shutil.copy(REPOSITORY / "pyproject.toml", folder)
    return folder


def follow(checkout: Path, title: str) -> None:
    """Do the steps of a section of CONTRIBUTING.md: each names a file and a place in it, and shows the lines to add.

    The place is `a new file`, `the end` of the file, `among the imports in alphabetical order`, `before` or `under` a
    line, or `at the end of` a dict.
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
        old = (checkout / name).read_text().splitlines(keepends=True)
        if place == "the end":
            (checkout / name).write_text("".join([*old, "\n\n", *lines]))
            continue
        if place.startswith("among the imports"):
            imports = [i for i, line in enumerate(old) if line.startswith("from lkca.")]
            insert = next((i for i in imports if old[i] > lines[0]), imports[-1] + 1)
            (checkout / name).write_text("".join([*old[:insert], *lines, *old[insert:]]))
            continue
        where, anchor = re.fullmatch(r"(before|under|at the end of) `(.+)`", place).groups()
        lines += ["\n", "\n"] if where == "before" and lines[0].startswith("def ") else []
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


def test_score(checkout):
    """A new score has its column in tables and changes no verdict and no comparison of the others."""
    script = """
import sys
from pathlib import Path
import fake_results

for name in sys.argv[2:]:
    fake_results.SCORES[name] = fake_results.SPREAD[name] = 0.01
root, rows = Path(sys.argv[1]), {"Bicubic": "bicubic", "LKCA-Net": "lkca"}
scores = [fake_results.write_run(root, model, seed=seed) for model in rows.values() for seed in (1, 2)]
files = fake_results.write_table(root, scores, seeds=[1, 2], rows=rows)
"""
    run(checkout, "-c", script, "before")
    follow(checkout, "Add a score")
    run(checkout, "-m", "pytest", "-q", "--doctest-modules", "lkca/scoring/metrics.py")
    run(checkout, "-c", script, "after", "MAE")
    before, after = (pd.read_csv(checkout / name / "table.csv", header=1) for name in ("before", "after"))
    assert set(after) - set(before) == {"MAE", "MAE_std", "MAE_low", "MAE_high"}
    pd.testing.assert_frame_equal(after[before.columns], before)
    files = [(checkout / name / "table.verdicts.csv").read_text() for name in ("before", "after")]
    assert files[0] == files[1]
    comparisons = [pd.read_csv(checkout / name / "table.comparisons.csv") for name in ("before", "after")]
    others = comparisons[1][comparisons[1]["score"] != "MAE"].reset_index(drop=True)
    assert len(others) < len(comparisons[1])
    pd.testing.assert_frame_equal(others, comparisons[0])


def test_network(checkout):
    follow(checkout, "Add a network")
    output = run(checkout, "-m", "pytest", "-q", "tests/test_models.py", "tests/test_registry.py", "-k", "espcn")
    assert re.search(r"\d+ passed", output)
    (line,) = run(checkout, "-m", "lkca", "cost", "--model", "espcn", "--bands", "31", "--scale", "4").splitlines()[1:]
    weights = 25 * 31 * 64 + 9 * 64 * 64 + 9 * 64 * 31 * 16
    assert line == f"espcn,31,4,{weights + 64 + 64 + 31 * 16},{weights * 256},"
    (overlay,) = re.findall(
        r"^```yaml\n(.*?)^```", (REPOSITORY / "CONTRIBUTING.md").read_text(), re.MULTILINE | re.DOTALL
    )
    (checkout / "mine.yaml").write_text(overlay)
    configs = ["config.yaml", "tests/tiny.yaml", "mine.yaml"]
    plan = run(checkout, "-m", "lkca", "plan", "--config", *configs)
    assert re.search(r"^trainings +1: ", plan, re.MULTILINE) and "espcn" in plan
    assert f"`snakemake --cores all --configfile {' '.join(configs)}`" in (REPOSITORY / "CONTRIBUTING.md").read_text()


def test_scene(checkout):
    """The command looks for the file of the new cube and names its source, since the file is not there."""
    follow(checkout, "Add a scene")
    run(checkout, "-m", "lkca", "plan")
    command = [sys.executable, "-m", "lkca", "verify", "salinas"]
    result = subprocess.run(command, cwd=checkout, env=os.environ | {"PYTHONPATH": str(checkout)}, capture_output=True)
    assert result.returncode == 2
    assert b"data/raw/salinas/Salinas_corrected.mat" in result.stderr and b"https://www.ehu.eus" in result.stderr


def test_claim(checkout):
    """A new claim holds on the printed tables, and is checked on any table of scores."""
    (checkout / "mine.csv").write_text((REPOSITORY / "lkca/paper/paper_tables.csv").read_text())
    before = run(checkout, "-m", "lkca", "score-tables", "mine.csv")
    follow(checkout, "Add a claim")
    after = run(checkout, "-m", "lkca", "score-tables", "mine.csv")
    number = re.compile(r"(\d+) holds?")
    assert int(number.search(after)[1]) == int(number.search(before)[1]) + 1
