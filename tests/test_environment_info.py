"""Which commit a score names: that of this project's own checkout, or none."""

import os
import runpy
import shutil
import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY

pytestmark = pytest.mark.skipif(not shutil.which("git"), reason="no git")
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
CLEAN |= {f"GIT_{who}_{what}": "a" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
CLEAN |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}


def git(folder, *words):
    command = ["git", "-C", str(folder), *words]
    return subprocess.run(command, env=CLEAN, capture_output=True, text=True, check=True).stdout.strip()


def copy_package(folder):
    shutil.copytree(REPOSITORY / "lkca", folder / "lkca", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def commit_all(folder):
    """Commit what lies in a folder; returns the commit as scores name it."""
    git(folder, "init", "--quiet")
    (folder / ".gitignore").write_text(".venv\n")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "all")
    return git(folder, "rev-parse", "HEAD")[:12]


def named(folder):
    """The commit that the package's file in a folder names; what it imports is not the copy."""
    return runpy.run_path(str(folder / "lkca/core/environment.py"))["git_commit"]()


def test_a_checkout_names_its_commit_and_whether_files_differ(tmp_path):
    commit = commit_all(copy_package(tmp_path))
    assert named(tmp_path) == commit
    with (tmp_path / "lkca/scoring/metrics.py").open("a") as file:
        file.write("# changed\n")
    assert named(tmp_path) == f"{commit} with uncommitted changes"


def test_a_package_in_a_virtual_environment_inside_of_another_repository_has_none(tmp_path):
    installed = copy_package(tmp_path / ".venv/lib/python3/site-packages")
    commit_all(tmp_path)
    code = "from lkca.core import environment; print(environment.__file__, environment.git_commit())"
    command, env = [sys.executable, "-c", code], CLEAN | {"PYTHONPATH": str(installed)}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=True)
    assert done.stdout == f"{installed / 'lkca/core/environment.py'} None\n"


def test_a_copy_that_another_repository_tracks_has_none(tmp_path):
    vendored = copy_package(tmp_path / "vendored")
    commit_all(tmp_path)
    assert git(tmp_path, "ls-files", "vendored/lkca/core/environment.py")
    assert named(vendored) is None


def test_a_package_outside_of_git_has_none(tmp_path):
    assert named(copy_package(tmp_path)) is None


def test_a_worktree_names_the_commit_that_is_checked_out_there(tmp_path):
    first = copy_package(tmp_path / "first")
    commit = commit_all(first)
    git(first, "worktree", "add", "--quiet", "--detach", "../second")
    git(first, "commit", "--quiet", "--allow-empty", "--message", "more")
    assert named(tmp_path / "second") == commit


def test_a_hook_of_another_repository_changes_nothing(tmp_path, monkeypatch):
    """Git tells its hooks by variables which repository they run for."""
    ours, theirs = copy_package(tmp_path / "ours"), copy_package(tmp_path / "theirs")
    commit = commit_all(ours)
    commit_all(theirs)
    git(theirs, "commit", "--quiet", "--allow-empty", "--message", "more")
    for name, path in {"GIT_DIR": ".git", "GIT_WORK_TREE": ".", "GIT_INDEX_FILE": ".git/index"}.items():
        monkeypatch.setenv(name, str(theirs / path))
    assert named(ours) == commit


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives files away")
def test_a_checkout_of_another_user_names_its_commit(tmp_path):
    """As in a container that runs as root on a folder of the host."""
    commit = commit_all(copy_package(tmp_path))
    for path in (tmp_path, tmp_path / ".git"):
        os.chown(path, 12345, 12345)
    with pytest.raises(subprocess.CalledProcessError):  # git alone refuses
        git(tmp_path, "rev-parse", "HEAD")
    assert named(tmp_path) == commit
