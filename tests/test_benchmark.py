"""The benchmark of networks, on fake networks whose time, memory and energy are known."""

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch
from torch import nn

from lkca.cli import main
from lkca.config.settings import BenchmarkSettings
from lkca.core import gpus
from lkca.core.result_files import EfficiencyFile, read_result
from lkca.errors import ResourceError
from lkca.scoring import benchmark, energy
from lkca.scoring.benchmark import measure_batch, run_in_subprocess
from lkca.scoring.load import LIMITS, Load
from tests.conftest import REPOSITORY

SMALL = {"arch": "lkca", "args": {"width": 16, "blocks": 1, "drop_path": 0.1}, "upsampler": {"groups": 1}}


def settings(scale: int = 4, bands: int = 4, **models: dict) -> dict:
    return {"scene": "chikusei", "scale": scale, "bands": bands, "models": models}


class Slow(nn.Module):
    """Takes 10 ms for each image, and records the shapes of its inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes = []

    def forward(self, lr):
        self.shapes.append(lr.shape)
        time.sleep(0.01 * len(lr))


class Hungry(nn.Module):
    """Holds 64 MiB for a moment."""

    def forward(self, lr):
        torch.ones(2**24)


class Burning(nn.Module):
    """Uses 5 mJ for each image from each of some counters, which wrap around."""

    def __init__(self, counters: list[Path], wraparound: int) -> None:
        super().__init__()
        self.counters, self.wraparound = counters, wraparound

    def forward(self, lr):
        time.sleep(0.005)
        for counter in self.counters:
            counter.write_text(f"{(int(counter.read_text()) + 5000 * len(lr)) % self.wraparound}\n")


@pytest.fixture
def quiet(monkeypatch):
    """Make the machine look as if nothing else ran on it."""
    monkeypatch.setattr(Load, "excess", lambda load: {})


@pytest.mark.parametrize("scale, batch", [(2, 16), (4, 4), (8, 1)])  # 128 x 128 pixels in all
def test_throughput_of_slow_network(scale, batch, quiet):
    cost = measure_batch(Slow(), 2, scale, "cpu")
    assert cost["batch"] == batch
    assert 10 < cost["throughput_per_s"] <= 100


def test_long_batch_passes_once(monkeypatch, quiet):
    """If 10 ms count as long: first a small image, then one batch."""
    monkeypatch.setitem(benchmark.THROUGHPUT_SECONDS, "cpu", 0.01)
    net = Slow()
    measure_batch(net, 2, 4, "cpu")
    assert net.shapes == [(1, 2, 8, 8), (4, 2, 16, 16)]


def test_disturbed_throughput_is_repeated_and_then_unknown(monkeypatch, powercap):
    """Each batch takes 40 ms; repeats end after half a second."""
    counter = powercap("intel-rapl:0", "package-0", 0, 10**9)
    monkeypatch.setattr(Load, "excess", lambda load: {"waited": 0.3})
    net = Burning([counter], 10**9)
    cost = measure_batch(net, 2, 4, "cpu")
    assert (cost["throughput_per_s"], cost["energy_j"]) == (None, None)
    assert int(counter.read_text()) > 5 * 4 * 5000  # several batches of 4 images


def measure_memory() -> list[float]:
    return [run_in_subprocess(measure_batch, net, 2, 4, "cpu")["memory_mib"] for net in (Hungry(), Slow())]


@pytest.mark.slow
def test_memory_of_each_network_is_its_own():
    """Measure in a new process, as the command does: memory that other tests freed in this one would count as used."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        hungry, slow = pool.submit(measure_memory).result()
    assert 60 <= hungry < 96  # 64, but the system counts pages in batches
    assert 0 <= slow < 16


@pytest.fixture
def powercap(tmp_path, monkeypatch):
    """Return a function that adds a zone to a folder like /sys/class/powercap and returns the path of its counter."""
    monkeypatch.setattr(energy, "POWERCAP", tmp_path)

    def zone(folder: str, name: str, microjoules: int, wraparound: int) -> Path:
        (tmp_path / folder).mkdir()
        for file, content in (("name", name), ("energy_uj", microjoules), ("max_energy_range_uj", wraparound)):
            (tmp_path / folder / file).write_text(f"{content}\n")
        return tmp_path / folder / "energy_uj"

    return zone


def test_energy_sums_processors_and_survives_wraparound(powercap, quiet):
    wraparound = 10**6
    zones = [("intel-rapl:0", "package-0"), ("intel-rapl:0:0", "core"), ("intel-rapl:1", "package-1")]
    zones += [("intel-rapl:2", "psys"), ("intel-rapl-mmio:0", "package-0")]  # which count the same energy again
    counters = [powercap(*zone, wraparound - 5001, wraparound) for zone in zones]  # wrap after warm-up
    assert measure_batch(Burning(counters, wraparound), 2, 8, "cpu")["energy_j"] == pytest.approx(2 * 0.005)
    assert all(int(counter.read_text()) < wraparound - 5001 for counter in counters)


def test_energy_is_none_without_counter(powercap, quiet):
    assert measure_batch(Slow(), 2, 8, "cpu")["energy_j"] is None
    powercap("intel-rapl:0", "package-0", 1, 10).unlink()  # like one that only root may read
    powercap("intel-rapl:1", "package-1", 1, 10)  # like one that stands still
    assert measure_batch(Slow(), 2, 8, "cpu")["energy_j"] is None


def test_benchmark_acquires_one_gpu(tmp_path, monkeypatch):
    class Stop(Exception):
        pass

    def stop(processes):
        raise Stop(os.environ["CUDA_VISIBLE_DEVICES"])

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(gpus, "installed_gpus", lambda: (("GPU-a", "NVIDIA A"), ("GPU-b", "NVIDIA A")))
    monkeypatch.setattr(benchmark, "process_pool", stop)
    with pytest.raises(Stop, match="^GPU-a$"):
        benchmark.efficiency(BenchmarkSettings(**settings(lkca=SMALL)), tmp_path / "out.json")


@pytest.mark.slow
def test_command_measures_equal_networks_once(tmp_path):
    path, out = tmp_path / "settings.json", tmp_path / "efficiency" / "chikusei_x4.json"
    bicubic = {"arch": "bicubic", "args": {}, "upsampler": None}
    path.write_text(json.dumps(settings(lkca=SMALL, another=SMALL, bicubic=bicubic)))
    command = [sys.executable, "-m", "lkca", "efficiency", "--settings", str(path), "--out", str(out)]
    subprocess.run(command, cwd=REPOSITORY, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=True)
    content = json.loads(out.read_text())
    assert (content["scene"], content["scale"], content["bands"], content["lr_side"]) == ("chikusei", 4, 4, 16)
    assert {"python", "torch"} <= content["versions"].keys() and "commit" in content
    assert [device["device"] for device in content["measured"]] == ["cpu"] + ["cuda"] * torch.cuda.is_available()
    for device in content["measured"]:
        assert device["name"] and device["threads"] == 1 and device["binding"]["OMP_NUM_THREADS"] == "1"
        assert device["processors"] == len(device["affinity"]) <= device["processors_total"]
        assert device["rounds"] >= 3 and 0 < device["seconds"] < 120
        assert device["load"].keys() == LIMITS.keys()
        models = device["models"]
        assert list(models) == ["lkca", "another", "bicubic"]
        assert models["lkca"] == models["another"]  # two measurements would differ
        assert all(model["latency_s"] > 0 and model["time_ratio"] is None for model in models.values())
    assert read_result(out, EfficiencyFile) == content


@pytest.mark.parametrize(
    "wrong, key",
    [
        (settings(), "models"),
        ({**settings(lkca=SMALL), "bands": "many"}, "bands"),
        (settings(lkca=SMALL | {"arch": "unet"}), "models.lkca.arch"),
        (settings(lkca=SMALL | {"upsampler": {"groups": 3}}), "upsampler.groups: 3"),
    ],
)
def test_wrong_settings_are_one_sentence(wrong, key, tmp_path, capfd):
    path, out = tmp_path / "settings.json", tmp_path / "out.json"
    path.write_text(json.dumps(wrong))
    assert main(["efficiency", "--settings", str(path), "--out", str(out)]) == 2
    stderr = capfd.readouterr().err
    assert stderr.startswith("lkca: ") and key in stderr and stderr.count("\n") == 1
    assert not out.exists()


def test_killed_process_is_a_resource_error():
    with pytest.raises(ResourceError, match="a process was killed"):
        run_in_subprocess(os._exit, 9)
