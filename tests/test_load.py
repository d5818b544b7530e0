"""What disturbs a measurement: on fake files of the kernel, and with a real program that takes this one's processor."""

import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import psutil
import pytest

from lkca.scoring import load
from lkca.scoring.benchmark import run_in_subprocess
from lkca.scoring.load import LIMITS, Load, LoadMeter

QUIET = Load(seconds=1.0, waited=0.0, others=0.0, stolen=0.0, throttled=0.0, stopped=0.0, slowed=0.0)


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Replace the clock and the kernel's files: 3 processors, of which 0 and 2 may be used."""
    machine = SimpleNamespace(
        now=100.0,
        own=10.0,
        stopped=0.0,
        user=[0, 0, 0],  # ticks of each processor
        stolen=[0, 0, 0],
        ran=0,  # nanoseconds of each thread
        waited={"7": 0, "8": 0},
        throttled="throttled_usec 0\n",
    )

    def write() -> None:
        lines = [f"cpu{i} {machine.user[i]} 0 0 50 0 0 0 {machine.stolen[i]} 0 0\n" for i in range(3)]
        (tmp_path / "stat").write_text("cpu  0 0 0 0 0 0 0 0 0 0\n" + "".join(lines))
        for thread, waited in machine.waited.items():
            folder = tmp_path / "self" / "task" / thread
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "schedstat").write_text(f"{machine.ran} {waited} 5\n")
        (tmp_path / "cpu.stat").write_text(f"usage_usec 5\n{machine.throttled}")

    def measure(gpu=None, **changes) -> Load:
        write()
        meter = LoadMeter(gpu)
        for name, value in changes.items():
            setattr(machine, name, value)
        write()
        return meter.read()

    machine.measure = measure
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(tmp_path))
    monkeypatch.setattr(load, "PROC", tmp_path)
    monkeypatch.setattr(load, "CGROUP_CPU", (tmp_path / "absent", tmp_path / "cpu.stat"))
    monkeypatch.setattr(load, "usable_processors", lambda: [0, 2])
    monkeypatch.setattr(load, "Stopwatch", lambda: SimpleNamespace(stopped=lambda: machine.stopped))
    clock = SimpleNamespace(perf_counter=lambda: machine.now, process_time=lambda: machine.own)
    monkeypatch.setattr(load, "time", clock)
    return machine


def test_quiet_machine(machine):
    """Two processors are busy for a second with this process; one that it may not use is busy with something else."""
    assert machine.measure(now=101.0, own=12.0, user=[100, 100, 100]) == QUIET
    assert not QUIET.excess()


@pytest.mark.parametrize(
    ("changes", "kind", "share"),
    [
        ({"waited": {"7": 300_000_000, "8": 200_000_000}}, "waited", 0.3),  # the one that waited longest
        ({"waited": {"7": 0, "8": 0, "9": 250_000_000}}, "waited", 0.25),  # a new thread
        ({"own": 11.0, "user": [100, 0, 100]}, "others", 0.49),  # half, but for a tick of each processor
        ({"stolen": [11, 90, 31]}, "stolen", 0.3),  # but for a tick
        ({"throttled": "nr_throttled 3\nthrottled_usec 400000\n"}, "throttled", 0.4),
        ({"throttled": "throttled_time 400000000\n"}, "throttled", 0.4),  # version 1, nanoseconds
        ({"stopped": 0.5}, "stopped", 0.5),
    ],
)
def test_each_kind_of_disturbance(changes, kind, share, machine):
    measured = machine.measure(**({"now": 101.0, "own": 12.0, "user": [100, 100, 100], "ran": 10**9} | changes))
    assert measured.excess() == {kind: pytest.approx(share)}


def test_one_tick_is_no_disturbance(machine):
    """A turn of 20 ms in which the counters of two processors advance by a tick more than this process."""
    assert not machine.measure(now=100.02, own=10.04, user=[3, 0, 3], stolen=[1, 0, 0]).excess()


def test_small_shares_are_no_disturbance(machine):
    waited, small = {"7": 49_000_000, "8": 0}, {"now": 101.0, "own": 11.85, "user": [100, 100, 100]}
    assert not machine.measure(waited=waited, ran=10**9, **small).excess()


def test_thread_that_hardly_runs_may_wait(machine):
    """Such as the one that watches for stops."""
    waited, quiet = {"7": 900_000_000, "8": 0}, {"now": 101.0, "own": 12.0, "user": [100, 100, 100]}
    assert not machine.measure(waited=waited, ran=5_000_000, **quiet).excess()


def test_system_without_files(machine, monkeypatch, tmp_path):
    """As macOS: processors in use are known, waiting and limits are not."""
    monkeypatch.setattr(load, "PROC", tmp_path / "absent")
    monkeypatch.setattr(load, "CGROUP_CPU", ())
    monkeypatch.setattr(
        psutil, "cpu_times", lambda percpu: [SimpleNamespace(user=machine.now, nice=0.0, system=0.0)] * 3
    )
    assert machine.measure(now=101.0, own=10.5).excess() == {"others": pytest.approx(0.74)}


def test_gpu_that_is_slowed_down(machine):
    """Other programs may use the processor that the one thread of this process leaves free."""
    gpu = SimpleNamespace(is_slowed=lambda: True)
    assert machine.measure(gpu, now=101.0, own=11.0, user=[100, 0, 100]).excess() == {"slowed": 1.0}


def test_mean_is_weighted_by_time():
    mean = Load.mean([QUIET._replace(seconds=3.0, waited=0.1), QUIET._replace(waited=0.5)])
    assert mean == QUIET._replace(seconds=4.0, waited=pytest.approx(0.2))


def test_every_limit_belongs_to_a_share():
    assert {"seconds", *LIMITS} == {*Load._fields}


def wait_for_a_processor(seconds: float) -> Load:
    """Share a processor with a program that needs all of it."""
    processor = {min(os.sched_getaffinity(0))}
    os.sched_setaffinity(0, processor)
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as other:
        try:
            time.sleep(0.5)  # it starts
            meter = LoadMeter()
            end = time.perf_counter() + seconds
            while time.perf_counter() < end:
                pass
            return meter.read()
        finally:
            other.kill()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not bind processes")
def test_real_program_on_the_same_processor():
    """Both get half of it."""
    excess = run_in_subprocess(wait_for_a_processor, 1.0).excess()
    assert excess["waited"] > 0.25
    assert excess["others"] > 0.25


def stop_for_two_seconds() -> Load:
    meter = LoadMeter()
    subprocess.Popen(["sh", "-c", f"sleep 2; kill -CONT {os.getpid()}"])
    os.kill(os.getpid(), signal.SIGSTOP)
    return meter.read()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell stops")
def test_real_stop():
    """In another process, because this one would have to be started again by the shell."""
    assert run_in_subprocess(stop_for_two_seconds).excess()["stopped"] > 0.5
