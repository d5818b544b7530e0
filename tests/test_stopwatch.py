"""A stopwatch does not count the time during which its process is stopped, and counts all other time.

The processes under test wait for a line and print what they have measured, so that the first thing that they do after
a stop is to read the stopwatch. They run at the same time.
"""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from lkca.core.stopwatch import Stopwatch
from tests.conftest import REPOSITORY

STOP, TOLERANCE = 2.5, 0.5  # seconds
START = """
import ctypes, json, os, sys, threading, time
from lkca.core.stopwatch import Stopwatch

def busy():
    while True:
        pass

stopwatch, start = Stopwatch(), time.monotonic()
time.sleep(0.5)
print("ready", flush=True)
"""
END = """
if sys.stdin:
    sys.stdin.readline()
measured, end = stopwatch.seconds(), time.monotonic()
print(json.dumps({"passed": end - start, "measured": measured, "stopped": stopwatch.stopped()}))
"""
WORK = {
    "waits": "",
    "computes": "threading.Thread(target=busy, daemon=True).start()",
    "short calls of C": "[ctypes.PyDLL(None).usleep(100_000) for _ in range(5)]",  # PyDLL keeps the interpreter lock
    "has low priority": "os.nice(19)",
}


def start(work: str) -> subprocess.Popen:
    """Start a process that does some work, and wait until it has a stopwatch."""
    command, pipe = [sys.executable, "-c", START + work + END], subprocess.PIPE
    # In a group of its own, because SIGTSTP stops no process of a group whose parents are all in other sessions.
    process = subprocess.Popen(command, cwd=REPOSITORY, stdin=pipe, stdout=pipe, text=True, process_group=0)
    assert process.stdout.readline() == "ready\n"
    return process


def read(process: subprocess.Popen) -> SimpleNamespace:
    """Return what a process has measured: seconds that passed, seconds of its stopwatch, seconds of stops."""
    return SimpleNamespace(**json.loads(process.communicate("\n")[0]))


@pytest.mark.slow
def test_stops_are_not_counted():
    """SIGSTOP, and SIGTSTP as from Ctrl-Z, one or two times."""
    signals = {"waits": signal.SIGSTOP, "computes": signal.SIGTSTP}
    processes = {work: start(code) for work, code in WORK.items()}
    for round in range(2):
        stopped = [process for work, process in processes.items() if round == 0 or work in signals]
        for work, process in processes.items():
            if process in stopped:
                process.send_signal(signals.get(work, signal.SIGSTOP))
        time.sleep(STOP)
        for process in stopped[:: 1 if round else -1]:
            if round:  # the line waits when it goes on
                process.stdin.write("\n")
                process.stdin.flush()
            process.send_signal(signal.SIGCONT)
        time.sleep(0.5)
    for work, process in processes.items():
        result, stops = read(process), 2 if work in signals else 1
        assert result.stopped == pytest.approx(stops * STOP, abs=stops * TOLERANCE), work
        assert result.measured == pytest.approx(result.passed - result.stopped, abs=0.1), work


def test_stop_is_measured_before_its_thread_has_run():
    """The process is stopped in a call of C that keeps the interpreter lock, and reads the stopwatch next."""
    process = start("sys.stdin = None; ctypes.PyDLL(None).usleep(800_000)")
    process.send_signal(signal.SIGSTOP)
    time.sleep(STOP)
    process.send_signal(signal.SIGCONT)
    assert read(process).stopped == pytest.approx(STOP, abs=TOLERANCE)


@contextmanager
def busy_cores(number: int) -> Iterator[None]:
    """Keep all cores busy with a number of processes for each."""
    hog = [sys.executable, "-c", "while True: pass"]
    hogs = [subprocess.Popen(hog) for _ in range(number * len(os.sched_getaffinity(0)))]
    try:
        yield
    finally:
        for process in hogs:
            process.kill()
            process.wait()


@pytest.mark.slow
def test_delays_of_running_process_are_counted():
    """A long call of C that keeps the interpreter lock, asleep or at work; a low priority on a busy machine."""
    works = {
        "sleeps in C": "ctypes.PyDLL(None).usleep(3_500_000)",
        "works in C": "sum(range(3 * 10**7))",
        "has low priority": "os.nice(19); threading.Thread(target=busy, daemon=True).start()",
        "calls C before and after": "for _ in range(3): ctypes.PyDLL(None).usleep(1_200_000)",
    }
    processes = {work: start(code) for work, code in works.items()}
    with busy_cores(2):
        time.sleep(4)
        for work, process in processes.items():
            result = read(process)
            assert result.passed > 3.5, work
            assert result.stopped == 0, work
            assert result.measured == pytest.approx(result.passed, abs=0.1), work


def test_frozen_container_is_not_counted(tmp_path):
    """`docker pause` freezes the cgroup of a container."""
    v1, v2 = Path("/sys/fs/cgroup/freezer"), Path("/sys/fs/cgroup")
    group = (v1 if v1.is_dir() else v2) / f"lkca-test-{os.getpid()}"
    control, words = ("freezer.state", ("FROZEN", "THAWED")) if v1.is_dir() else ("cgroup.freeze", ("1", "0"))
    try:
        group.mkdir()
    except OSError:
        pytest.skip("this user may not make a cgroup")
    try:
        process = start("")
        (group / "cgroup.procs").write_text(str(process.pid))
        (group / control).write_text(words[0])
        time.sleep(STOP)
        (group / control).write_text(words[1])
        result = read(process)
    except OSError as error:
        process.kill()
        pytest.skip(f"this user may not freeze a cgroup ({error})")
    finally:
        time.sleep(0.1)
        group.rmdir()
    assert result.stopped == pytest.approx(STOP, abs=TOLERANCE)


def test_thread_ends_with_stopwatch():
    others = {*threading.enumerate()}
    stopwatch = Stopwatch()
    (thread,) = {*threading.enumerate()} - others
    assert 0 <= stopwatch.seconds() < 1
    del stopwatch
    thread.join(2)
    assert not thread.is_alive()


def test_stopwatch_after_fork():
    """A forked process has no such thread, and does not wait for it."""
    stopwatch, context = Stopwatch(), multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    process = context.Process(target=lambda: (time.sleep(1.5), queue.put((stopwatch.seconds(), Stopwatch().seconds()))))
    process.start()
    process.join(10)
    process.kill()
    assert process.exitcode == 0
    old, new = queue.get()
    assert 1.5 < old < 5 and new < 1
