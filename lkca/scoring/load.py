"""What kept a measurement from running at full speed: other programs, the host of a virtual machine, limits and stops.

Times of a program say nothing about whether the machine also did other work. The kernel does: for each thread, how long
it was ready and waited for a processor; for each processor, how long it was busy, and how long the host of a virtual
machine took it away; for the cgroup of a container, how long a limit of its processor time stopped it. Where the system
does not tell one of these (macOS has neither waiting nor steal), it counts as 0, and the use of the processors by other
programs and the variation between rounds remain.
"""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Self

import psutil
import torch

from lkca.core.stopwatch import Stopwatch
from lkca.scoring.nvml import Gpu

PROC = Path("/proc")
CGROUP_CPU = (Path("/sys/fs/cgroup/cpu.stat"), Path("/sys/fs/cgroup/cpu/cpu.stat"))  # versions 2 and 1
TICK = 0.01  # seconds; the kernel counts the use of a processor in steps of this length
MIN_RUN = 0.01  # share of the time for which a thread must run so that its waiting counts; the stopwatch runs less
BINDINGS = (
    "OMP_NUM_THREADS",
    "OMP_PROC_BIND",
    "OMP_PLACES",
    "GOMP_CPU_AFFINITY",
    "KMP_AFFINITY",
    "GOMP_SPINCOUNT",
    "OMP_WAIT_POLICY",
)
# Kind of disturbance -> the share of the time above which times are not quoted, and its description. A thread that
# waits for 5 % of the time makes the rest wait, too, so the measured time is at most about 5 % too long.
LIMITS = {
    "stopped": (0.0, "the process was stopped for {:.0%} of the time"),
    "throttled": (0.05, "a limit of processor time (cgroup) stopped it for {:.0%} of the time"),
    "stolen": (0.05, "the host of this virtual machine took a processor for {:.0%} of the time"),
    "waited": (0.05, "a thread waited for a processor for {:.0%} of the time"),
    "slowed": (0.0, "heat or power slowed the GPU down for {:.0%} of the time"),
    "others": (0.10, "other programs used {:.0%} of the processors"),
}


class Load(NamedTuple):
    """What disturbed a measurement: shares of its time, and of the processors that this process may use.

    Args:
        seconds: Length of the measurement.
        waited: Share of the time for which one thread waited for a processor; of the thread that waited longest.
        others: Share of the processors that other programs used.
        stolen: Share of the time for which the host of a virtual machine took a processor; of the processor that it
            took longest.
        throttled: Share of the time for which a limit of processor time stopped this process.
        stopped: Share of the time for which this process was stopped, by Ctrl-Z for example.
        slowed: 1 if heat or power slowed the GPU down at the end of the measurement.
    """

    seconds: float
    waited: float
    others: float
    stolen: float
    throttled: float
    stopped: float
    slowed: float

    def excess(self) -> dict[str, float]:
        """Return the shares that are above their limits."""
        return {kind: share for kind, (limit, _) in LIMITS.items() if (share := getattr(self, kind)) > limit}

    @classmethod
    def mean(cls, loads: list[Self]) -> Self:
        """Return the load of several measurements, which must take some time, as if they were one."""
        total = sum(load.seconds for load in loads)
        shares = (sum(load[i] * load.seconds for load in loads) / total for i in range(1, len(cls._fields)))
        return cls(total, *shares)


class _Counters(NamedTuple):
    """Counters of the system at a moment, seconds."""

    time: float
    own: float
    threads: dict[str, tuple[float, float]]  # thread -> for which it ran, and for which it waited for a processor
    busy: float
    stolen: list[float]  # from each processor
    throttled: float
    stopped: float


class LoadMeter:
    """Measures the load between two calls.

    Args:
        gpu: The GPU that this process uses. One thread is then enough, so other programs may use the other processors.

    Example:
        >>> meter = LoadMeter()
        >>> meter.restart()
        >>> meter.read().stopped
        0.0
    """

    def __init__(self, gpu: Gpu | None = None) -> None:
        self._stopwatch, self._processors, self._gpu = Stopwatch(), usable_processors(), gpu
        self._start = self._read_counters()

    def restart(self) -> None:
        """Start a measurement."""
        self._start = self._read_counters()

    def read(self) -> Load:
        """Return the load since the start of the measurement."""
        start, end = self._start, self._read_counters()
        seconds, num = max(end.time - start.time, 1e-9), len(self._processors)
        waits = []
        for thread, (ran, waited) in end.threads.items():
            before = start.threads.get(thread, (0.0, 0.0))
            if ran - before[0] > MIN_RUN * seconds:
                waits.append(waited - before[1])
        available = seconds * num
        # The kernel counts the time of each processor in ticks, that of this process more precisely.
        others = end.busy - start.busy - (end.own - start.own) - TICK * num
        return Load(
            seconds=seconds,
            # A wait is counted when it ends, and may have begun before the measurement.
            waited=min(1.0, max(waits, default=0.0) / seconds),
            others=0.0 if self._gpu else max(0, others) / available,
            stolen=max(0.0, *(after - before - TICK for before, after in zip(start.stolen, end.stolen, strict=True)))
            / seconds,
            throttled=(end.throttled - start.throttled) / seconds,
            stopped=(end.stopped - start.stopped) / seconds,
            slowed=1.0 if self._gpu and self._gpu.is_slowed() else 0.0,
        )

    def _read_counters(self) -> _Counters:
        try:
            every = psutil.cpu_times(percpu=True)
        except (OSError, psutil.Error):  # a sandbox hides the other programs
            every = []
        used = [every[i] for i in self._processors if i < len(every)]
        return _Counters(
            time=time.perf_counter(),
            own=time.process_time(),
            threads=dict(_read_threads()),
            busy=sum(
                sum(getattr(one, name, 0.0) for name in ("user", "nice", "system", "irq", "softirq")) for one in used
            ),
            stolen=[getattr(one, "steal", 0.0) for one in used],
            throttled=_read_throttling(),
            stopped=self._stopwatch.stopped(),
        )


def usable_processors() -> list[int]:
    """Return the numbers of the processors that this process may use; all where the system has no such choice."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def describe_threads() -> dict[str, Any]:
    """Return the number of threads of torch, the processors that they may use, and what binds them to processors."""
    return {
        "threads": torch.get_num_threads(),
        "processors": len(usable_processors()),
        "processors_total": os.cpu_count(),
        "affinity": usable_processors(),
        "binding": {name: os.environ[name] for name in BINDINGS if name in os.environ},
    }


def _read_threads() -> Iterator[tuple[str, tuple[float, float]]]:
    """Yield each thread of this process, and the seconds for which it has run and for which it has waited to run."""
    for path in PROC.glob("self/task/*/schedstat"):
        try:
            ran, waited, _ = map(int, path.read_text().split())
        except OSError:  # the thread has ended
            continue
        yield path.parent.name, (ran / 1e9, waited / 1e9)


def _read_throttling() -> float:
    """Return the seconds for which a limit of processor time has stopped this container."""
    for path in CGROUP_CPU:
        try:
            counters = dict(line.split() for line in path.read_text().splitlines())
        except OSError:
            continue
        return int(counters.get("throttled_usec", 0)) / 1e6 + int(counters.get("throttled_time", 0)) / 1e9
    return 0.0
