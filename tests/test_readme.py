"""What the README says is so."""

import argparse
import re

from lkca.cli import parser
from tests.conftest import REPOSITORY

README = (REPOSITORY / "README.md").read_text()


def test_the_benchmarks_table_is_the_one_that_the_workflow_wrote():
    table = (REPOSITORY / "results/indian_pines/tables/S3.md").read_text()
    lines = [line for line in table.splitlines() if line.startswith("|")]
    assert len(lines) == 7  # head, rule, five methods
    assert "\n".join(lines) in README


def test_every_linked_file_exists():
    for path in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (REPOSITORY / path).exists(), path


def test_every_command_exists():
    commands = next(a for a in parser()._actions if isinstance(a, argparse._SubParsersAction)).choices
    targets = re.findall(r"^([a-z]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    assert set(re.findall(r"^lkca (\w+)", README, re.MULTILINE)) <= set(commands)
    assert set(re.findall(r"(?:^|`)make (\w+)", README, re.MULTILINE)) <= set(targets)
