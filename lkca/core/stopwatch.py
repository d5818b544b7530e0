"""Measure the time during which this process could run.

A process is stopped by SIGSTOP, by Ctrl-Z, by `docker pause` (the freezer of its cgroup) or with its virtual machine.
Linux' monotonic clock continues meanwhile; it stops only while the whole machine sleeps.

A thread wakes five times a second. Whatever delays it, the kernel tells why: it counts the time for which the thread
was ready and waited for a core (`schedstat`), and how often the thread gave up its core. A thread that waits for
Python's global interpreter lock, which a long call of C code may hold, does so every 5 ms. The delay that these two do
not explain is time in which the process could not run. So a busy machine, a low priority, a limit of the processor time
and a long call of C code do not look like a stop; with the length of the delay alone, they would. Other ways miss
kinds of stops: SIGCONT reports neither a freezer nor a virtual machine, nor when the stop began; CLOCK_BOOTTIME
shows only the sleep of the machine; processor time shows neither the waiting for a GPU nor that for a disk.
"""

import resource
import sys
import time
import weakref
from dataclasses import dataclass, field
from io import FileIO
from threading import Thread
from typing import NamedTuple

INTERVAL = 0.2  # seconds between two wakes; a stop is measured with this precision
MIN_STOP = 1.0  # seconds; a shorter stop counts as running


class Stopwatch:
    """Measures the time since it was made, without the time during which this process was stopped.

    Without Linux' /proc, stops count as running.
    """

    def __init__(self) -> None:
        self._beats = _Beats()
        self._thread = Thread(target=_watch, args=(self._beats,), name="stopwatch", daemon=True)
        self._thread.start()
        weakref.finalize(self, self._beats.end)  # the thread does not keep the stopwatch alive, and ends with it

    def seconds(self) -> float:
        """Return the seconds since this stopwatch was made, without stops."""
        stopped = self.stopped()
        return time.monotonic() - self._beats.start - stopped

    def stopped(self) -> float:
        """Return the seconds of all stops."""
        # After a stop, this thread may run before the other one, which has yet to measure the stop.
        while self._thread.is_alive() and time.monotonic() - self._beats.last > MIN_STOP:
            time.sleep(0.001)
        return self._beats.stopped


@dataclass
class _Beats:
    """What the thread of a stopwatch has measured.

    Args:
        start, last: Times of the first and of the last wake.
        stopped: Seconds of all stops.
        ended: Whether the stopwatch is gone.
    """

    start: float = field(default_factory=time.monotonic)
    last: float = field(default_factory=time.monotonic)
    stopped: float = 0.0
    ended: bool = False

    def end(self) -> None:
        """Make the thread end."""
        self.ended = True


def _watch(beats: _Beats) -> None:
    """Measure stops until the stopwatch is gone."""
    if sys.platform != "linux":
        return
    try:
        schedstat = FileIO("/proc/thread-self/schedstat")
    except OSError:
        return
    with schedstat:
        before = _read_wake(schedstat)
        beats.last = before.time
        while not beats.ended:
            time.sleep(INTERVAL)
            wake = _read_wake(schedstat)
            delay = wake.time - before.time - INTERVAL
            stopped = delay - (wake.explained - before.explained)
            # What is explained is a little too short: the 5 ms of a wait are the least that it takes.
            if stopped > max(MIN_STOP, delay / 2):
                beats.stopped += stopped
            before, beats.last = wake, wake.time


class _Wake(NamedTuple):
    """A time, and the seconds for which this thread has waited for a core or for the interpreter lock until then."""

    time: float
    explained: float


def _read_wake(schedstat: FileIO) -> _Wake:
    """Return what the kernel says about this thread.

    Args:
        schedstat: /proc/thread-self/schedstat: nanoseconds on a core, nanoseconds of waiting for one, number of slices.
    """
    schedstat.seek(0)
    waited = int(schedstat.read().split()[1])
    # These two last, and next to each other: the calls above may wait for the lock, and these do not.
    switches, now = resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw, time.monotonic()
    return _Wake(now, waited / 1e9 + switches * sys.getswitchinterval())
