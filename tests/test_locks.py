"""Locks between processes: one process holds a lock, another is refused or waits; a kill releases the lock."""

import errno
import fcntl
import signal
import subprocess
import sys

import pytest

from lkca.core.locks import exclusive_lock, try_lock
from lkca.errors import DataError, ResourceError
from tests.conftest import REPOSITORY

# Holds a lock and creates a folder, which fails if another process holds the same lock.
HOLD = """
import sys, time
from pathlib import Path
from lkca.core.locks import exclusive_lock
with exclusive_lock(Path(sys.argv[1]), wait=True):
    held = Path(sys.argv[1] + ".held")
    held.mkdir()
    print("locked", flush=True)
    time.sleep(float(sys.argv[2]))
    held.rmdir()
"""


@pytest.fixture
def hold():
    """Return a function that starts a process which locks a path for some seconds."""
    processes = []

    def start(path, seconds) -> subprocess.Popen:
        command = [sys.executable, "-c", HOLD, str(path), str(seconds)]
        processes.append(subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def test_lock_is_refused_while_another_process_holds_it(tmp_path, hold):
    path = tmp_path / "a.txt"
    assert hold(path, 60).stdout.readline() == "locked\n"
    with pytest.raises(ResourceError, match="a.txt is being written by another process"), exclusive_lock(path):
        pass
    with exclusive_lock(tmp_path / "b.txt"):  # another file is free
        pass


def test_lock_waits_prints_one_message_and_removes_its_file(tmp_path, hold, capsys):
    path = tmp_path / "a.txt"
    holder = hold(path, 2.5)
    assert holder.stdout.readline() == "locked\n"
    with exclusive_lock(path, wait=True):
        assert holder.wait(timeout=10) == 0
    assert capsys.readouterr().out.count("a.txt is being written by another process") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_lock_of_a_killed_process_is_free(tmp_path, hold):
    path = tmp_path / "a.txt"
    holder = hold(path, 60)
    assert holder.stdout.readline() == "locked\n"
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert path.with_name(".a.lock").exists()
    with exclusive_lock(path):
        pass
    assert not path.with_name(".a.lock").exists()


@pytest.mark.slow
def test_many_processes_hold_a_lock_one_at_a_time(tmp_path, hold):
    path = tmp_path / "a.txt"
    holders = [hold(path, 0.4) for _ in range(4)]
    assert [holder.wait(timeout=60) for holder in holders] == [0] * 4
    assert list(tmp_path.iterdir()) == []


def test_lock_is_released_after_an_error(tmp_path):
    with pytest.raises(ZeroDivisionError), exclusive_lock(tmp_path / "a.txt"):
        raise ZeroDivisionError
    with exclusive_lock(tmp_path / "a.txt"):
        pass


def test_try_lock_refuses_a_file_that_was_replaced(tmp_path):
    """Otherwise two processes could each lock a file of this name."""
    path = tmp_path / "a.lock"
    for change in (path.unlink, lambda: path.with_name("b").replace(path)):
        path.with_name("b").touch()
        with path.open("a") as file:
            change()
            assert not try_lock(file, path)
    with path.open("a") as file:
        assert try_lock(file, path)


def test_file_system_without_locks_is_used_without_one(tmp_path, monkeypatch):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with exclusive_lock(tmp_path / "a.txt"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_lock_below_a_file_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="file/a.txt cannot be written"), exclusive_lock(tmp_path / "file/a.txt"):
        pass
