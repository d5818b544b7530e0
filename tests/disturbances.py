"""Disturb a run of snakemake: kills, stops, full disks and dates."""

import os
import random
import resource
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

DATES = ["1990-01-01", "2031-01-01", "1980-01-01 00:00:02"]  # before and after everything; the first of FAT
PATIENCE = 600  # seconds until something must have happened


class Disturber:
    """Runs a command in a folder again and again, and disturbs it.

    Args:
        command: The command.
        folder: The checkout, in a folder that `mounted` has made.
        root: Results in the folder.
        environment: The environment of the command.
        seed: Of the moments and of the files whose dates change.
        stop_seconds: Duration of a stop.

    Attributes:
        done: The disturbances so far, in words.
        output: What the calls have printed.
    """

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        root: str,
        environment: dict[str, str],
        seed: int,
        stop_seconds: float,
    ) -> None:
        self.command, self.folder, self.root = command, folder, folder / root
        self.environment, self.draw, self.stop_seconds = environment, random.Random(seed), stop_seconds
        self.states: set[tuple[Path, int]] = set()
        self.done: list[str] = []
        self.output = ""
        self.run: subprocess.Popen | None = None

    def disturb(self, kind: str, seconds: float) -> None:
        """Disturb a call at a random moment.

        Args:
            kind: Name of a method of this class.
            seconds: The disturbance comes this time, or less, after a training has saved its state.
        """
        deadline, moment = time.monotonic() + PATIENCE, None
        while moment is None or time.monotonic() < moment:
            assert time.monotonic() < deadline
            if self.run is None or self.run.poll() is not None:
                self.start()
                moment = None
            saved = self._find_states()
            if moment is None and saved - self.states:
                self.states |= saved
                moment = time.monotonic() + self.draw.uniform(0, seconds)
            time.sleep(0.1)
        getattr(self, kind)()
        self.done.append(kind)

    def start(self) -> None:
        """Start the command, as a process group. If it ran before, a disturbance has ended it."""
        if self.run:
            self.output += self.read_output()
            assert self.run.returncode, self.output
        self.log = self.folder.parent.with_suffix(".log")
        with self.log.open("w") as file:
            self.run = subprocess.Popen(
                self.command, cwd=self.folder, env=self.environment, stdout=file, stderr=file, start_new_session=True
            )

    def finish(self) -> int:
        """Let a call end, or start one, and return its exit code."""
        if self.run is None or self.run.poll() is not None:
            self.start()
        code = self.run.wait()
        self.output += self.read_output()
        return code

    def read_output(self) -> str:
        """Return what the current call has printed."""
        return self.log.read_text(errors="replace")

    def _find_states(self) -> set[tuple[Path, int]]:
        states = set()
        for path in self.root.rglob("state-*"):
            with suppress(FileNotFoundError):
                states.add((path, path.stat().st_ctime_ns))
        return states

    def kill(self) -> None:
        """Kill the process group, and change dates of results."""
        os.killpg(self.run.pid, signal.SIGKILL)
        self.run.wait()
        self._clean_up()

    def stop(self) -> None:
        """Stop the process group for a while."""
        os.killpg(self.run.pid, signal.SIGSTOP)
        time.sleep(self.stop_seconds)
        os.killpg(self.run.pid, signal.SIGCONT)

    def fill_disk(self) -> None:
        """Have the disk full until the call ends, and change dates of results."""
        with full_disk(self.folder.parent, self.run, self.draw.randrange(2**16)):
            self._wait(PATIENCE)
        self._clean_up()

    def fill_disk_briefly(self) -> None:
        """Have the disk full for some seconds; the call may go on or end."""
        with full_disk(self.folder.parent, self.run, self.draw.randrange(2**16)):
            self._wait(self.draw.uniform(0.5, 5))

    def _wait(self, seconds: float) -> None:
        with suppress(subprocess.TimeoutExpired):
            self.run.wait(seconds)

    def _clean_up(self) -> None:
        subprocess.run(["make", "unlock"], cwd=self.folder, check=True, capture_output=True)
        for path in sorted(self.root.rglob("*")):
            if self.draw.random() < 0.3:
                subprocess.run(["touch", "-h", "-d", self.draw.choice(DATES), str(path)], check=True)


@contextmanager
def mounted(folder: Path, mebibytes: int) -> Iterator[bool]:
    """Mount a small disk in memory at a folder, and yield whether this user may do so."""
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", str(folder)]
    is_mounted = subprocess.run(["mount", *options], capture_output=True, check=False).returncode == 0
    try:
        yield is_mounted
    finally:
        if is_mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def full_disk(folder: Path, run: subprocess.Popen, free: int) -> Iterator[None]:
    """Leave a number of bytes on the disk of a folder; without a disk of its own, let processes write no larger files.

    Args:
        folder: The folder.
        run: The process that writes there, with its children.
        free: Number of bytes.
    """
    if os.path.ismount(folder):
        statistics = os.statvfs(folder)
        size = statistics.f_blocks * statistics.f_frsize
        used = size - statistics.f_bavail * statistics.f_frsize
        _resize(folder, used + free)
        try:
            yield
        finally:
            _resize(folder, size)
        return
    processes = [
        process.pid for process in (*psutil.Process(run.pid).children(recursive=True), psutil.Process(run.pid))
    ]
    limits = {}
    for pid in processes:
        with suppress(ProcessLookupError):
            limits[pid] = resource.prlimit(pid, resource.RLIMIT_FSIZE)
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (free, limits[pid][1]))
    try:
        yield
    finally:
        for pid, limit in limits.items():
            with suppress(ProcessLookupError):
                resource.prlimit(pid, resource.RLIMIT_FSIZE, limit)


def _resize(folder: Path, size: int) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", str(folder)], check=True)
