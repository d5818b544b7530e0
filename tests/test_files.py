"""Files: an atomic write leaves the old or the new content whatever happens; JSON, CSV and hashes."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lkca.core.files import atomic_write, json_digest, read_csv, read_json, sha256, write_csv, write_json
from lkca.errors import DataError, LkcaError, ResourceError
from tests.conftest import REPOSITORY

# Writes a file in a process that kills itself at the moment that its second argument names.
KILLED = """
import os, signal, sys
from pathlib import Path
from lkca.core.files import atomic_write
path, moment, replace = Path(sys.argv[1]), sys.argv[2], os.replace
def kill(): os.kill(os.getpid(), signal.SIGKILL)
def replace_and_kill(*paths):
    if moment == "before rename": kill()
    replace(*paths)
    kill()
os.replace = replace_and_kill
with atomic_write(path, fsync=True) as part:
    part.write_text("ne")
    if moment == "while writing": kill()
    part.write_text("new")
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "moment, content", [("while writing", "old"), ("before rename", "old"), ("after rename", "new")]
)
def test_atomic_write_killed_leaves_old_or_new_content(tmp_path, moment, content):
    path = tmp_path / "a.txt"
    path.write_text("old")
    done = subprocess.run([sys.executable, "-c", KILLED, path, moment], cwd=REPOSITORY)
    assert done.returncode == -signal.SIGKILL
    assert path.read_text() == content
    with atomic_write(path) as part:  # the next write replaces the temporary file that the kill left
        part.write_text("next")
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("a.txt", "next")]


def test_atomic_write_deletes_the_temporary_file_on_failure(tmp_path):
    path = tmp_path / "folder/a.json"
    with pytest.raises(ZeroDivisionError), atomic_write(path) as part:
        assert part.parent == path.parent and part.suffix == path.suffix
        part.write_text("half")
        raise ZeroDivisionError
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize("fsync", [True, False])
def test_atomic_write_calls_fsync_before_the_rename_if_asked(tmp_path, monkeypatch, fsync):
    path, calls, replace = tmp_path / "a.txt", [], os.replace

    def record_replace(source, target):
        calls.append("rename")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", lambda descriptor: calls.append(os.fstat(descriptor).st_size))
    monkeypatch.setattr(os, "replace", record_replace)
    with atomic_write(path, fsync=fsync) as part:
        part.write_text("12345")
    assert calls == [5, "rename"] if fsync else calls == ["rename"]


@pytest.mark.parametrize(
    "code, kind", [(errno.ENOSPC, ResourceError), (errno.EIO, ResourceError), (errno.EACCES, DataError)]
)
def test_atomic_write_distinguishes_temporary_and_permanent_errors(tmp_path, code, kind):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(LkcaError, match=f"a.txt cannot be written .{os.strerror(code)}") as caught, atomic_write(path):
        raise OSError(code, os.strerror(code))
    assert type(caught.value) is kind
    assert path.read_text() == "old"


def test_atomic_write_refuses_a_path_below_a_file(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="file/a.txt cannot be written"), atomic_write(tmp_path / "file/a.txt"):
        pass


def test_atomic_write_refuses_a_folder_as_target(tmp_path):
    (tmp_path / "a.txt").mkdir()
    with pytest.raises(DataError, match="a.txt cannot be written"), atomic_write(tmp_path / "a.txt") as part:
        part.touch()
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.skipif(not os.path.exists("/proc/1"), reason="needs Linux")
def test_atomic_write_refuses_a_folder_that_nobody_may_write():
    with pytest.raises(DataError, match="/proc/1/a.txt cannot be written"), atomic_write(Path("/proc/1/a.txt")) as part:
        part.touch()


def test_write_json_refuses_nan_and_keeps_the_old_file(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"a": [1, 2.5, None], "ä": "ö"})
    with pytest.raises(ValueError):
        write_json(path, {"a": float("nan")})
    assert read_json(path) == {"a": [1, 2.5, None], "ä": "ö"}
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]


def test_read_json_names_the_file_that_is_missing_or_damaged(tmp_path):
    with pytest.raises(DataError, match="a.json does not exist"):
        read_json(tmp_path / "a.json")
    (tmp_path / "b.json").write_text("{")
    with pytest.raises(DataError, match="b.json is not a JSON file"):
        read_json(tmp_path / "b.json")


def test_csv_round_trip(tmp_path):
    path = tmp_path / "a.csv"
    write_csv(path, ["a", "b"], [{"a": 1, "b": 'x, "y"'}, {"b": "line\nbreak"}], "# note\n")
    assert path.read_text().splitlines()[:2] == ["# note", "a,b"]
    path.write_text(path.read_text().removeprefix("# note\n"))
    assert read_csv(path) == [{"a": "1", "b": 'x, "y"'}, {"a": "", "b": "line\nbreak"}]


def test_sha256_of_a_known_file(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-4


def test_json_digest_reveals_edits_and_ignores_order():
    assert json_digest({"a": 1, "b": 2}) == json_digest({"b": 2, "a": 1, "digest": "x"})
    assert json_digest({"a": 1, "b": 2}) != json_digest({"a": 1, "b": 3})


def test_temporary_file_is_hidden(tmp_path):
    """The shell's `*.safetensors` must not match a file that is still being written."""
    with atomic_write(tmp_path / "a.safetensors") as part:
        assert part.name.startswith(".")
        part.touch()
