"""pyproject.toml, constraints.txt and environment.yml agree, and the workflow runs with `--use-conda`.

`test_workflow_runs_with_use_conda` proves that Snakemake takes environment.yml in the rules, that its names and
pins parse and resolve, and that an environment is created from it, activated and used. The solver, the installer and
the activation are real (py-rattler's, behind tests/conda/bin/conda); the packages are stubs made from environment.yml
and constraints.txt, and their Python is a wrapper on the interpreter that runs the tests. So it does not prove that
conda-forge and bioconda have these versions, nor that those work together once installed from there.
"""

import asyncio
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from tests.conftest import REPOSITORY as ROOT
from tests.conftest import copy_checkout

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
ENVIRONMENT = yaml.safe_load((ROOT / "environment.yml").read_text())
LOCK = {
    canonicalize_name(pin.name): str(pin.specifier).removeprefix("==")
    for line in (ROOT / "constraints.txt").read_text().splitlines()
    if not line.startswith("#")
    for pin in [Requirement(line)]
}
# PyPI's names where conda has others.
PYPI = {"matplotlib-base": "matplotlib", "pytorch": "torch", "snakemake-minimal": "snakemake"}
CONDA = {PYPI.get(name, name): spec for name, spec in (line.split() for line in ENVIRONMENT["dependencies"])}
DIRECT = {requirement.name: requirement for requirement in map(Requirement, PROJECT["dependencies"])}
EXTRAS = [Requirement(line) for lines in PROJECT["optional-dependencies"].values() for line in lines]


def test_conda_environment_names_the_direct_dependencies():
    assert CONDA.keys() == DIRECT.keys() | {"python"}
    assert CONDA["python"].removeprefix("=") in SpecifierSet(PROJECT["requires-python"])


@pytest.mark.parametrize("name", DIRECT)
def test_conda_environment_pins_what_the_lock_pins(name):
    # Snakemake alone is a range: a person's own snakemake of that range runs the workflow just as well.
    pinned = DIRECT[name].specifier if name == "snakemake" else SpecifierSet(f"=={LOCK[name]}")
    assert SpecifierSet(CONDA[name]) == pinned


@pytest.mark.parametrize("requirement", [*DIRECT.values(), *EXTRAS], ids=str)
def test_lock_lies_within_the_bounds(requirement):
    assert LOCK[requirement.name] in requirement.specifier


def test_pre_commit_uses_the_locked_linters():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert {hook["rev"] for hook in hooks} == {f"v{LOCK['ruff']}", f"v{LOCK['snakefmt']}"}


def test_rules_with_commands_name_the_conda_environment():
    rules = [
        rule
        for file in [ROOT / "Snakefile", *(ROOT / "workflow/rules").glob("*.smk")]
        for rule in re.split(r"^(?=rule |checkpoint )", file.read_text(), flags=re.MULTILINE)[1:]
        if re.search(r"^    (shell|script|run|notebook|wrapper):", rule, flags=re.MULTILINE)
    ]
    assert rules
    for rule in rules:
        assert re.search(r'^    conda:\s+"../../environment.yml"$', rule, flags=re.MULTILINE), rule


@pytest.mark.parametrize("dependency", ENVIRONMENT["dependencies"])
def test_conda_dependency_parses(dependency):
    pytest.importorskip("rattler").MatchSpec(dependency, strict=True)


def stub(channel: Path, name: str, version: str, files: dict[str, str]) -> None:
    """Write a conda package that holds nothing but `files` (path -> text of a program)."""
    paths = [{"_path": path, "path_type": "hardlink"} for path in files]
    index = {"name": name, "version": version, "build": "0", "build_number": 0, "depends": [], "subdir": "noarch"}
    members = {
        "info/index.json": json.dumps(index),
        "info/paths.json": json.dumps({"paths": paths, "paths_version": 1}),
        **files,
    }
    (channel / "noarch").mkdir(parents=True, exist_ok=True)
    with tarfile.open(channel / f"noarch/{name}-{version}-0.tar.bz2", "w:bz2") as archive:
        for path, text in members.items():
            member = tarfile.TarInfo(path)
            member.size, member.mode = len(text.encode()), 0o755
            archive.addfile(member, io.BytesIO(text.encode()))


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    """Copy the checkout, so that the runs here find no results and leave none."""
    folder = copy_checkout(tmp_path_factory.mktemp("checkout") / "lkca")
    (folder / "one_table.yaml").write_text(
        'report: {tables: [IV], figures: ["4"]}\n'
        'tables: {IV: {rows: {"sam+grad": null}}}\n'
        'figures: {"4": {rows: {LKCA-Net: lkca_kd}}}\n'
    )
    return folder


def snakemake(checkout: Path, *options: str, **variables: str) -> subprocess.CompletedProcess:
    """Call snakemake for one table and one figure of the tiny experiment; stderr goes to stdout."""
    command = [sys.executable, "-m", "snakemake", "--cores", "all", *options]
    command += ["--configfile", "config.yaml", "tests/tiny.yaml", "one_table.yaml"]
    return subprocess.run(
        command,
        cwd=checkout,
        env=os.environ | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.slow
def test_workflow_runs_with_use_conda(checkout, tmp_path):
    pytest.importorskip("rattler")
    from rattler.index import index_fs

    calls = tmp_path / "calls"
    for dependency in ENVIRONMENT["dependencies"]:
        name, spec = dependency.split()
        channel = tmp_path / ("bioconda" if name == "snakemake-minimal" else "conda-forge")
        if name == "python":
            program = f'#!/bin/sh\necho "$CONDA_PREFIX $*" >> "{calls}"\nexec "{sys.executable}" "$@"\n'
            stub(channel, name, spec.removeprefix("="), {"bin/python": program})
        else:
            stub(channel, name, LOCK[PYPI.get(name, name)], {})
    for name in ["conda-forge", "bioconda"]:
        asyncio.run(index_fs(tmp_path / name))

    folders = [str(ROOT / "tests/conda/bin"), str(Path(sys.executable).parent), os.environ["PATH"]]
    conda = {"PATH": os.pathsep.join(folders), "STUB_CHANNELS": str(tmp_path)}
    run = snakemake(checkout, "--use-conda", **conda)
    assert run.returncode == 0, run.stdout

    (prefix,) = (meta.parent for meta in (checkout / ".snakemake/conda").glob("*/conda-meta"))
    assert len(list(prefix.glob("conda-meta/*.json"))) == len(ENVIRONMENT["dependencies"])
    used = re.findall(rf"^{re.escape(str(prefix))} -m lkca step (\S+)", calls.read_text(), flags=re.MULTILINE)
    run = "runs/chikusei_x4/lkca_kd/seed3000"
    steps = {f"{run}/{step}" for step in ("settings", "train", "evaluate")}
    assert steps | {"scenes/chikusei", "splits/chikusei_x4", "tables/IV", "figures/4", "claims", "report"} <= {*used}

    for again in [snakemake(checkout, "-n", "--use-conda", **conda), snakemake(checkout, "-n")]:
        assert "Nothing to be done" in again.stdout


@pytest.mark.slow
def test_use_conda_without_conda_names_miniforge(checkout):
    folders = [folder for folder in os.environ["PATH"].split(os.pathsep) if not Path(folder, "conda").exists()]
    run = snakemake(checkout, "-n", "--use-conda", PATH=os.pathsep.join(folders))
    assert run.returncode != 0
    assert "Traceback" not in run.stdout
    (sentence,) = [line for line in run.stdout.splitlines() if "Miniforge" in line]
    assert "conda" in sentence


@pytest.mark.parametrize("name", ["gpu", "slurm", "kubernetes"])
def test_profiles_repeat_the_default_profile(name):
    """Snakemake reads the named profile instead of the default one."""
    default, other = (
        yaml.safe_load((ROOT / f"profiles/{each}/profile.yaml").read_text()) for each in ("default", name)
    )
    del default["resources"]
    assert default.items() <= other.items() and other["retries"] >= 1


def test_tracked_files_are_neither_links_nor_ignored():
    """A link breaks on other machines, and changes of an ignored file are easily forgotten."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")

    def git(*words: str) -> list[str]:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()

    assert git("ls-files", "--cached", "--ignored", "--exclude-standard") == []
    assert [line for line in git("ls-files", "--stage") if line.startswith("120000")] == []
