"""Energy counters of processors and GPUs."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from lkca.scoring.nvml import Gpu

POWERCAP = Path("/sys/class/powercap")


class EnergyCounter(NamedTuple):
    """A counter of the energy that a device has used.

    Args:
        read: Returns the current count.
        joules: Energy of one count.
        wraparound: Number of counts after which the counter restarts at 0.
    """

    read: Callable[[], int]
    joules: float
    wraparound: int

    def joules_since(self, start: int) -> float:
        """Return the energy used since the counter had the count `start`, joules."""
        return self.joules * ((self.read() - start) % self.wraparound)


def energy_counters(device: str) -> list[EnergyCounter]:
    """Return the energy counters of a device, "cpu" or "cuda", that this process may read; none if there are none."""
    if device == "cuda":
        return gpu_counters()
    return [counter for zone in sorted(POWERCAP.glob("intel-rapl:*")) if (counter := package_counter(zone))]


def package_counter(zone: Path) -> EnergyCounter | None:
    """Return the counter of a powercap zone of Linux (RAPL of Intel and AMD); None unless it is a whole processor."""
    try:
        if not (zone / "name").read_text().startswith("package"):
            return None  # a part of a processor, or the whole machine
        wraparound = int((zone / "max_energy_range_uj").read_text())
        counter = EnergyCounter(lambda: int((zone / "energy_uj").read_text()), 1e-6, wraparound)
        counter.read()
    except OSError:  # most systems allow only root to read it
        return None
    return counter


def gpu_counters() -> list[EnergyCounter]:
    """Return the counter of the GPU that this process sees, in a list; empty for GPUs older than NVIDIA's Volta."""
    gpu = Gpu.find()
    if gpu is None or gpu.read_millijoules() is None:
        return []
    return [EnergyCounter(lambda: gpu.read_millijoules() or 0, 1e-3, 2**64)]
