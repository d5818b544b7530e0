"""What NVIDIA's driver tells about a GPU: energy, clocks, and why it runs slower than it could."""

from typing import Any

import pynvml

from lkca.core.gpus import visible_gpus

# Reasons of the driver for lower clocks that depend on the moment, such as the temperature -> name in results
SLOWDOWNS = {
    pynvml.nvmlClocksEventReasonHwSlowdown: "hardware slowdown",
    pynvml.nvmlClocksEventReasonHwThermalSlowdown: "hardware thermal slowdown",
    pynvml.nvmlClocksEventReasonHwPowerBrakeSlowdown: "hardware power brake",
    pynvml.nvmlClocksEventReasonSwThermalSlowdown: "software thermal slowdown",
}
# Reasons that are usual at full load, which are recorded only
USUAL_REASONS = {
    pynvml.nvmlClocksEventReasonSwPowerCap: "software power cap",
    pynvml.nvmlClocksEventReasonApplicationsClocksSetting: "application clocks setting",
}
CLOCKS = {"sm": pynvml.NVML_CLOCK_SM, "memory": pynvml.NVML_CLOCK_MEM}


class Gpu:
    """The GPU that this process sees. Values that its driver does not tell are None.

    Args:
        handle: The handle of NVML.
    """

    def __init__(self, handle: Any) -> None:
        self._handle = handle
        self._clocks: dict[str, list[int]] = {name: [] for name in CLOCKS}
        self._reasons: set[str] = set()

    @classmethod
    def find(cls) -> "Gpu | None":
        """Return the GPU that this process sees; None without a GPU or its driver."""
        uuid = next(iter(visible_gpus().values()), None)
        if uuid is None:
            return None
        try:
            pynvml.nvmlInit()
            return cls(pynvml.nvmlDeviceGetHandleByUUID(uuid))
        except pynvml.NVMLError:
            return None

    def read_millijoules(self) -> int | None:
        """Return the energy that the GPU has used; None for GPUs older than Volta."""
        return self._call(pynvml.nvmlDeviceGetTotalEnergyConsumption)

    def is_slowed(self) -> bool:
        """Return whether heat or power slow the GPU down now, and remember its clocks."""
        for name, clock in CLOCKS.items():
            mhz = self._call(pynvml.nvmlDeviceGetClockInfo, clock)
            self._clocks[name] += [] if mhz is None else [mhz]
        reasons = self._call(pynvml.nvmlDeviceGetCurrentClocksEventReasons) or 0
        self._reasons |= {name for bit, name in (SLOWDOWNS | USUAL_REASONS).items() if reasons & bit}
        return any(reasons & bit for bit in SLOWDOWNS)

    def describe(self) -> dict[str, Any]:
        """Return lowest and highest clocks, MHz, and the reasons for lower clocks at all calls of `is_slowed`."""
        clocks = {name: [min(mhz), max(mhz)] if mhz else None for name, mhz in self._clocks.items()}
        return {"clocks_mhz": clocks, "slowed_by": sorted(self._reasons)}

    def _call(self, function: Any, *arguments: int) -> int | None:
        try:
            return function(self._handle, *arguments)
        except pynvml.NVMLError:  # this GPU or this driver does not tell it
            return None
