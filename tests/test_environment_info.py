"""The commit that scores record, which is that of this project's checkout or None; properties of the machine."""

import os
import runpy
import shutil
import subprocess
import sys

import pytest

from lkca.core import environment
from tests.conftest import REPOSITORY

pytestmark = pytest.mark.skipif(not shutil.which("git"), reason="no git")
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
ENVIRONMENT |= {f"GIT_{role}_{field}": "a" for role in ("AUTHOR", "COMMITTER") for field in ("NAME", "EMAIL")}
ENVIRONMENT |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}


def git(folder, *arguments):
    """Return the output of git in a folder."""
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=True).stdout.strip()


def copy_package(folder):
    """Copy the package lkca into a folder; return the folder."""
    shutil.copytree(REPOSITORY / "lkca", folder / "lkca", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def commit_all(folder):
    """Commit all files of a folder in a new repository; return 12 digits of the commit, as scores record it."""
    git(folder, "init", "--quiet")
    (folder / ".gitignore").write_text(".venv\n")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "all")
    return git(folder, "rev-parse", "HEAD")[:12]


def commit_of(folder):
    """Return the result of `git_commit` of the package that was copied into a folder; run only its environment.py."""
    return runpy.run_path(str(folder / "lkca/core/environment.py"))["git_commit"]()


def test_checkout_has_its_commit_and_a_note_on_changes(tmp_path):
    commit = commit_all(copy_package(tmp_path))
    assert commit_of(tmp_path) == commit
    with (tmp_path / "lkca/scoring/metrics.py").open("a") as file:
        file.write("# changed\n")
    assert commit_of(tmp_path) == f"{commit} with uncommitted changes"


def test_package_installed_inside_another_repository_has_no_commit(tmp_path):
    installed = copy_package(tmp_path / ".venv/lib/python3/site-packages")
    commit_all(tmp_path)
    code = "from lkca.core import environment; print(environment.__file__, environment.git_commit())"
    command, env = [sys.executable, "-c", code], ENVIRONMENT | {"PYTHONPATH": str(installed)}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=True)
    assert done.stdout == f"{installed / 'lkca/core/environment.py'} None\n"


def test_copy_tracked_by_another_repository_has_no_commit(tmp_path):
    vendored = copy_package(tmp_path / "vendored")
    commit_all(tmp_path)
    assert git(tmp_path, "ls-files", "vendored/lkca/core/environment.py")
    assert commit_of(vendored) is None


def test_package_outside_git_has_no_commit(tmp_path):
    assert commit_of(copy_package(tmp_path)) is None


def test_worktree_has_its_own_commit(tmp_path):
    first = copy_package(tmp_path / "first")
    commit = commit_all(first)
    git(first, "worktree", "add", "--quiet", "--detach", "../second")
    git(first, "commit", "--quiet", "--allow-empty", "--message", "more")
    assert commit_of(tmp_path / "second") == commit


def test_hook_of_another_repository_changes_nothing(tmp_path, monkeypatch):
    """Git passes the repository to its hooks in environment variables."""
    ours, theirs = copy_package(tmp_path / "ours"), copy_package(tmp_path / "theirs")
    commit = commit_all(ours)
    commit_all(theirs)
    git(theirs, "commit", "--quiet", "--allow-empty", "--message", "more")
    for name, path in {"GIT_DIR": ".git", "GIT_WORK_TREE": ".", "GIT_INDEX_FILE": ".git/index"}.items():
        monkeypatch.setenv(name, str(theirs / path))
    assert commit_of(ours) == commit


@pytest.mark.skipif(os.getuid() != 0, reason="only root can change the owner")
def test_checkout_of_another_user_has_its_commit(tmp_path):
    """As in a container that runs as root in a folder of the host."""
    commit = commit_all(copy_package(tmp_path))
    for path in (tmp_path, tmp_path / ".git"):
        os.chown(path, 12345, 12345)
    with pytest.raises(subprocess.CalledProcessError):  # git refuses by default
        git(tmp_path, "rev-parse", "HEAD")
    assert commit_of(tmp_path) == commit


def test_total_memory_is_the_limit_of_the_container(monkeypatch):
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for limit, memory in (("max\n", machine), ("1000000\n", 10**6), (f"{2 * machine}\n", machine)):
        monkeypatch.setattr(environment.Path, "read_text", lambda path, limit=limit: limit)
        assert environment.total_memory() == memory


@pytest.mark.parametrize(
    "cpuinfo, name", [("processor\t: 0\nmodel name\t: Fast 9\n", "Fast 9"), ("Hardware: x\n", "arm")]
)
def test_cpu_name_is_the_model_or_else_the_architecture(monkeypatch, cpuinfo, name):
    monkeypatch.setattr(environment.Path, "read_text", lambda path: cpuinfo)
    monkeypatch.setattr("platform.processor", lambda: "")
    monkeypatch.setattr("platform.machine", lambda: "arm")
    assert environment.cpu_name() == name


def test_package_versions_include_python_and_torch():
    versions = environment.package_versions()
    assert versions["python"] == ".".join(map(str, sys.version_info[:3])) and "torch" in versions
