"""The sandbox: if the process that reads a file crashes or hangs, the caller gets an error of one sentence."""

import ctypes
import errno
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from lkca.data import sandbox
from lkca.data.sandbox import heartbeat, run_sandboxed, set_current_file
from lkca.errors import ConfigError, DataError


def crash(path: Path) -> None:
    set_current_file(path)
    ctypes.string_at(0)


def exceed_memory(path: Path) -> None:
    set_current_file(path)
    np.ones(5 * 2**30, np.uint8)


def hang(path: Path) -> None:
    sandbox.TIMEOUT = 1
    set_current_file(path)
    re.match(r"(a+)+$", "a" * 64 + "b")  # in C, where no signal handler of Python would run


def exit_early(path: Path) -> None:
    set_current_file(path.parent)
    set_current_file(path)
    sys.exit(0)


@pytest.mark.parametrize(
    "function, reason",
    [
        (crash, "the reader crashed"),
        (exceed_memory, "the reader needs more than 3.5 GiB of memory"),
        (hang, "the reader timed out"),
        (exit_early, "the reader crashed"),
    ],
)
def test_sandbox_reports_the_file_and_the_reason(tmp_path, capfd, function, reason):
    path = tmp_path / "a.mat"
    path.write_bytes(b"MATLAB")
    start = time.monotonic()
    with pytest.raises(DataError) as caught:
        run_sandboxed(function, path)
    message = str(caught.value)
    assert message.startswith(f"{path} cannot be read ({reason}): ") and message.endswith(".") and "\n" not in message
    assert time.monotonic() - start < 20
    assert capfd.readouterr() == ("", "")


def work_slowly(path: Path) -> str:
    sandbox.TIMEOUT = 1
    set_current_file(path)
    for _ in range(4):
        time.sleep(0.5)
        heartbeat()
    return "done"


def test_heartbeats_extend_the_time_limit(tmp_path):
    (tmp_path / "a.mat").touch()
    assert run_sandboxed(work_slowly, tmp_path / "a.mat") == "done"


def print_and_return(path: Path) -> dict[str, list[int]]:
    print("a line", flush=True)
    return {"numbers": [1, 2]}


def test_sandbox_returns_results_and_prints(tmp_path, capfd):
    assert run_sandboxed(print_and_return, tmp_path) == {"numbers": [1, 2]}
    assert capfd.readouterr() == ("a line\n", "")


def raise_error(error: Exception) -> None:
    raise error


@pytest.mark.parametrize("error", [ConfigError("one sentence."), OSError(errno.ENOSPC, "No space left on device")])
def test_sandbox_passes_on_errors(error):
    with pytest.raises(type(error)) as caught:
        run_sandboxed(raise_error, error)
    assert type(caught.value) is type(error) and caught.value.args == error.args


def test_heartbeat_outside_the_sandbox_sets_no_limit(tmp_path):
    set_current_file(tmp_path)
    heartbeat()
    assert signal.alarm(0) == 0


def report_pid_and_sleep(path: Path) -> None:
    path.write_text(str(os.getpid()))
    time.sleep(60)


@pytest.mark.slow
@pytest.mark.parametrize("kill", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda s: s.name)
def test_sandbox_ends_with_its_parent(tmp_path, kill):
    file = tmp_path / "pid"
    code = "from pathlib import Path; from tests.test_sandbox import *; "
    code += f"run_sandboxed(report_pid_and_sleep, Path({str(file)!r}))"
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parents[1], stderr=subprocess.DEVNULL)
    while not (file.is_file() and file.read_text()):
        assert parent.poll() is None
        time.sleep(0.05)
    parent.send_signal(kill)
    assert parent.wait(20) != 0
    stat = Path(f"/proc/{file.read_text()}/stat")
    deadline = time.monotonic() + 10
    while stat.exists() and stat.read_text().split()[2] != "Z":  # Z: a zombie, which nobody has waited for
        assert time.monotonic() < deadline
        time.sleep(0.05)


def take_two_seconds(path: Path) -> str:
    sandbox.TIMEOUT = 3
    set_current_file(path)
    path.write_text(path.read_text() + "started ")
    time.sleep(2)
    return "done"


@pytest.mark.slow
def test_stop_is_no_time_limit(tmp_path):
    """Both processes are stopped for longer than the time limit, as by Ctrl-Z; a file that hangs is still found."""
    file = tmp_path / "a.mat"
    file.touch()
    code = "from pathlib import Path; from tests.test_sandbox import *; "
    code += f"print(run_sandboxed(take_two_seconds, Path({str(file)!r})))"
    command = [sys.executable, "-c", code]
    folder = Path(__file__).parents[1]
    parent = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True, start_new_session=True)
    while not file.read_text():
        assert parent.poll() is None
        time.sleep(0.05)
    os.killpg(parent.pid, signal.SIGSTOP)
    time.sleep(4)
    os.killpg(parent.pid, signal.SIGCONT)
    assert parent.communicate(timeout=60)[0] == "done\n"
    assert file.read_text() == "started started "
