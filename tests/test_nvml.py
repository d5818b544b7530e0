"""What the driver of a GPU tells, with a driver that is fake: functions of pynvml that return known values."""

import pynvml
import pytest

from lkca.scoring import energy, nvml
from lkca.scoring.nvml import Gpu


@pytest.fixture
def driver(monkeypatch):
    """A driver of one GPU, by name of the function; a value that is an error is raised."""
    values = {
        "Init": None,
        "DeviceGetHandleByUUID": "handle",
        "DeviceGetTotalEnergyConsumption": 2500,
        "DeviceGetClockInfo": 1000,
        "DeviceGetCurrentClocksEventReasons": 0,
    }
    calls = []

    def fake(name):
        def function(*arguments):
            calls.append((name, *arguments))
            if isinstance(values[name], Exception):
                raise values[name]
            return values[name]

        return function

    for name in values:
        monkeypatch.setattr(pynvml, f"nvml{name}", fake(name))
    monkeypatch.setattr(nvml, "visible_gpus", lambda: {"0": "GPU-aaaa"})
    values["calls"] = calls
    return values


NOT_SUPPORTED = pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)


def test_energy_is_in_millijoules(driver):
    (counter,) = energy.energy_counters("cuda")
    start = counter.read()
    assert start * counter.joules == 2.5
    driver["DeviceGetTotalEnergyConsumption"] = 4500
    assert counter.joules_since(start) == 2.0
    assert ("DeviceGetHandleByUUID", "GPU-aaaa") in driver["calls"]


def test_gpu_without_counter_has_no_energy(driver):
    driver["DeviceGetTotalEnergyConsumption"] = NOT_SUPPORTED
    assert energy.energy_counters("cuda") == []


def test_no_driver_no_gpu(driver, monkeypatch):
    driver["Init"] = pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)
    assert Gpu.find() is None and energy.energy_counters("cuda") == []
    monkeypatch.setattr(nvml, "visible_gpus", dict)
    assert Gpu.find() is None


def test_clocks_and_reasons_of_all_turns(driver):
    """Bits of nvml.h: 0x4 is the power cap, which is usual at full load, 0x40 the thermal slowdown of the hardware."""
    gpu = Gpu.find()
    assert gpu.describe() == {"clocks_mhz": {"sm": None, "memory": None}, "slowed_by": []}
    driver["DeviceGetCurrentClocksEventReasons"] = 0x4
    assert not gpu.is_slowed()
    driver["DeviceGetClockInfo"] = 900
    driver["DeviceGetCurrentClocksEventReasons"] = 0x44
    assert gpu.is_slowed()
    assert gpu.describe() == {
        "clocks_mhz": {"sm": [900, 1000], "memory": [900, 1000]},
        "slowed_by": ["hardware thermal slowdown", "software power cap"],
    }


def test_driver_that_tells_nothing(driver):
    driver["DeviceGetClockInfo"] = driver["DeviceGetCurrentClocksEventReasons"] = NOT_SUPPORTED
    gpu = Gpu.find()
    assert not gpu.is_slowed()
    assert gpu.describe() == {"clocks_mhz": {"sm": None, "memory": None}, "slowed_by": []}
