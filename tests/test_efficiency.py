"""What is measured of networks: made-up ones whose time, memory and energy are known."""

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from lkca.cli import main
from lkca.errors import LkcaError
from lkca.scoring import benchmark as efficiency
from lkca.scoring.benchmark import Asked, apart, cost, gpu_counters, size
from tests.conftest import REPOSITORY

SMALL = {"arch": "lkca", "args": {"width": 16, "blocks": 1, "drop_path": 0.1}, "upsampler": {"groups": 1}}
LKCA_LR = {"arch": "lkca", "args": {"width": 128, "blocks": 16, "drop_path": 0.1}, "upsampler": {"groups": 8}}


def settings(scale: int = 4, bands: int = 4, **models: dict) -> dict:
    return {"scene": "chikusei", "scale": scale, "bands": bands, "models": models}


class Slow(nn.Module):
    """Takes 10 ms an image, and counts what it is given."""

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
    """Takes 5 mJ an image from each of some counters, which begin anew after `turn` microjoules."""

    def __init__(self, counters: list[Path], turn: int) -> None:
        super().__init__()
        self.counters, self.turn = counters, turn

    def forward(self, lr):
        time.sleep(0.005)
        for counter in self.counters:
            counter.write_text(f"{(int(counter.read_text()) + 5000 * len(lr)) % self.turn}\n")


@pytest.mark.parametrize("scale, batch", [(2, 16), (4, 4), (8, 1)])  # 128 x 128 pixels in all
def test_latency_and_throughput_are_those_of_a_network_whose_time_is_known(scale, batch):
    found = cost(Slow(), 2, scale, "cpu")
    assert 0.01 <= found["latency_low_s"] <= found["latency_s"] <= found["latency_high_s"] < 0.1
    assert found["batch"] == batch
    assert 10 < found["throughput_per_s"] <= 100


def test_of_long_passes_there_are_few(monkeypatch):
    """Pretending that 10 ms are long: a small image first, a batch, two for the latency."""
    monkeypatch.setattr(efficiency, "LONG", 0.01)
    monkeypatch.setattr(efficiency, "SHORT", 0.01)
    monkeypatch.setitem(efficiency.SECONDS, "cpu", 0.01)
    net = Slow()
    cost(net, 2, 4, "cpu")
    assert net.shapes == [(1, 2, 8, 8), (4, 2, 16, 16), (1, 2, 16, 16), (1, 2, 16, 16)]


def memories() -> list[float]:
    return [apart(cost, net, 2, 4, "cpu")["memory_mib"] for net in (Hungry(), Slow())]


def test_one_networks_memory_does_not_hide_anothers():
    """From a fresh process, as the command is one: memory that other tests have freed here would count as held."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        hungry, slow = pool.submit(memories).result()
    assert 60 <= hungry < 96  # 64, but systems count pages in lots
    assert 0 <= slow < 16


def test_parameters_and_macs_are_the_papers():
    of = size(Asked.model_validate(settings(bands=48, lkca_lr=LKCA_LR)), "lkca_lr")
    assert (round(of["params"] / 1e6, 3), round(of["macs"] / 1e9, 3)) == (1.364, 0.268)  # Table VI, x4


@pytest.fixture
def powercap(tmp_path, monkeypatch):
    """A folder like Linux's: a function that makes a zone and returns its counter."""
    monkeypatch.setattr(efficiency, "POWERCAP", tmp_path)

    def zone(folder: str, name: str, microjoules: int, turn: int) -> Path:
        (tmp_path / folder).mkdir()
        for file, content in (("name", name), ("energy_uj", microjoules), ("max_energy_range_uj", turn)):
            (tmp_path / folder / file).write_text(f"{content}\n")
        return tmp_path / folder / "energy_uj"

    return zone


def test_energy_is_that_of_all_processors_across_the_turn_of_a_counter(powercap):
    turn = 10**6
    zones = [("intel-rapl:0", "package-0"), ("intel-rapl:0:0", "core"), ("intel-rapl:1", "package-1")]
    zones += [("intel-rapl:2", "psys"), ("intel-rapl-mmio:0", "package-0")]  # which count the same again
    counters = [powercap(*zone, turn - 1, turn) for zone in zones]
    assert cost(Burning(counters, turn), 2, 8, "cpu")["energy_j"] == pytest.approx(2 * 0.005)
    assert all(int(counter.read_text()) < turn - 1 for counter in counters)


def test_energy_is_null_where_no_counter_tells_it(powercap):
    assert cost(Slow(), 2, 8, "cpu")["energy_j"] is None
    powercap("intel-rapl:0", "package-0", 1, 10).unlink()  # like one that only root may read
    powercap("intel-rapl:1", "package-1", 1, 10)  # like one that stands still
    assert cost(Slow(), 2, 8, "cpu")["energy_j"] is None


def test_a_gpus_energy_is_asked_of_its_driver_in_millijoules(monkeypatch):
    """NVML's functions return 0 for success, 3 for what a card does not support."""
    cards, status = [], 0

    def of_card(uuid, card):
        cards.append(uuid)
        return 0

    def energy(card, spent):
        spent._obj.value = 2500
        return status

    driver = SimpleNamespace(
        nvmlInit_v2=lambda: 0, nvmlDeviceGetHandleByUUID=of_card, nvmlDeviceGetTotalEnergyConsumption=energy
    )
    monkeypatch.setattr("ctypes.CDLL", lambda name: driver)
    monkeypatch.setattr(efficiency, "visible_gpus", lambda: {"0": "GPU-aaaa"})
    (counter,) = gpu_counters()
    assert counter.read() * counter.joules == 2.5
    assert cards == [b"GPU-aaaa"]
    status = 3
    assert gpu_counters() == []


def test_the_command_measures_the_same_network_once(tmp_path):
    asked = settings(lkca=SMALL, another=SMALL, bicubic={"arch": "bicubic", "args": {}, "upsampler": None})
    out = tmp_path / "efficiency" / "chikusei_x4.json"
    command = [sys.executable, "-m", "lkca", "efficiency", "--settings", json.dumps(asked), "--out", str(out)]
    subprocess.run(command, cwd=REPOSITORY, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=True)
    made = json.loads(out.read_text())
    assert (made["scene"], made["scale"], made["bands"], made["lr_side"]) == ("chikusei", 4, 4, 16)
    assert {"python", "torch"} <= made["versions"].keys() and "commit" in made
    assert [device["device"] for device in made["measured"]] == ["cpu"] + ["cuda"] * torch.cuda.is_available()
    for device in made["measured"]:
        assert device["name"] and device["threads"] == 1
        models = device["models"]
        assert list(models) == ["lkca", "another", "bicubic"]
        assert models["lkca"] == models["another"]  # two measurements would differ
        assert models["lkca"]["macs"] > models["bicubic"]["macs"] == 0
        assert all(model["latency_s"] > 0 and model["throughput_per_s"] > 0 for model in models.values())


@pytest.mark.parametrize(
    "changes, told",
    [
        ("{", "JSON"),
        (settings(), "models"),
        ({**settings(lkca=SMALL), "bands": "many"}, "bands"),
        (settings(lkca=SMALL | {"arch": "unet"}), "'lkca'"),
        (settings(lkca=SMALL | {"args": {"width": 16, "depth": 1}}), "depth"),
        (settings(lkca=SMALL | {"upsampler": {"groups": 3}}), "upsampler.groups: 3"),
    ],
)
def test_nonsense_ends_in_one_sentence_and_writes_nothing(changes, told, tmp_path, capfd):
    words = changes if isinstance(changes, str) else json.dumps(changes)
    assert main(["efficiency", "--settings", words, "--out", str(tmp_path / "out.json")]) == 2
    said = capfd.readouterr().err
    assert said.startswith("lkca: ") and told in said and said.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_process_that_is_killed_is_said():
    with pytest.raises(LkcaError, match="a process was killed"):
        apart(os._exit, 9)
