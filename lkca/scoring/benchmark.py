"""What networks cost when they run: seconds, images a second, memory and energy, beside what is counted.

Networks are measured as they are built, with untrained weights: time and memory do not depend on them, energy hardly.
The input is an LR image of 16 x 16 pixels, for which multiply-accumulates are counted, or a batch of them, in float32
as torch computes it by default. Let the machine do nothing else meanwhile: the workflow gives this job all cores.
"""

import ctypes
import resource
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import torch
from pydantic import Field, ValidationError
from torch import Tensor, nn

from lkca.config.schema import Scale, Settings
from lkca.core.environment import cpu_name, default_device, die_with_parent, git_commit, package_versions
from lkca.core.files import write_json
from lkca.core.gpus import acquire_gpus, visible_gpus
from lkca.errors import LkcaError
from lkca.models.cost import LR_SIDE, macs, parameters
from lkca.models.registry import MODELS, build

PIXELS = {"cpu": 2**14, "cuda": 2**17}  # of the reconstructions of a batch: 4 and 32 images at x4
SECONDS = {"cpu": 0.1, "cuda": 1.0}  # that a batch is repeated for; GPUs tell their energy a few times a second
LEAST, SHORT = 5, 0.1  # passes and seconds for a latency, ...
LONG = 0.5  # ... but two will do that take so many seconds together
POWERCAP = Path("/sys/class/powercap")
FORK = get_context("fork")  # so that torch starts once; what forks here has started no threads of it and no GPU


class Network(Settings):
    """The arguments of `lkca.models.registry.build`, but for bands and scale."""

    arch: Literal[*MODELS]
    args: dict[str, int | float]
    upsampler: dict[str, int] | None


class Asked(Settings):
    """What is to be measured."""

    scene: str
    scale: Scale
    bands: Annotated[int, Field(ge=2)]
    models: Annotated[dict[str, Network], Field(min_length=1)]

    def network(self, model: str) -> nn.Module:
        """The network of a model, ready for use."""
        of = self.models[model]
        try:
            return build(of.arch, self.bands, self.scale, of.args, of.upsampler).eval()
        except TypeError as error:
            raise LkcaError(f"--settings: models.{model}: {error}: give what the workflow gives.") from None


@acquire_gpus(1)
def efficiency(settings: str, out: Path) -> None:
    """Measure models on the CPU, with as many threads as torch is told to use, and on a GPU where there is one.

    Models whose networks are the same are measured once and share the numbers.

    Args:
        settings: scene, scale, bands and models (name -> arch, args, upsampler), as JSON.
        out: The JSON to write: scene, scale, bands, lr_side, and `measured`: of each device its name, the threads and
            by model what `size` and `cost` return. No two measurements are equal.

    Raises:
        LkcaError: If the settings are wrong, or a measurement ends badly.
    """
    try:
        asked = Asked.model_validate_json(settings)
    except ValidationError as error:
        wrong = error.errors()[0]
        place = ".".join(map(str, wrong["loc"])) or "JSON"
        raise LkcaError(f"--settings: {place}: {wrong['msg']}: give what the workflow gives.") from None
    first: dict[str, str] = {}  # network -> the first model that has it
    same = {model: first.setdefault(of.model_dump_json(), model) for model, of in asked.models.items()}
    each, threads = list(first.values()), torch.get_num_threads()
    with processes(threads) as pool:
        sizes = dict(zip(each, pool.map(size, [asked] * len(each), each), strict=True))
    measured = []
    for on in dict.fromkeys(["cpu", apart(default_device)]):
        groups = [[model] for model in each] if on == "cpu" else [each]  # alone in a process its memory can be told
        name, costs = "", {}
        for group in groups:
            name, found = apart(costs_of, asked, group, on)
            costs |= found
        models = {model: sizes[other] | costs[other] for model, other in same.items()}
        measured.append({"device": on, "name": name, "threads": threads, "models": models})
    write_json(
        out,
        {
            "scene": asked.scene,
            "scale": asked.scale,
            "bands": asked.bands,
            "lr_side": LR_SIDE,
            "measured": measured,
            "versions": package_versions(),
            "commit": git_commit(),
        },
    )


@contextmanager
def processes(number: int) -> Iterator[ProcessPoolExecutor]:
    """So many processes, forked from this one, that end with the block or with this one.

    Raises:
        LkcaError: If one is killed.
    """
    try:
        with ProcessPoolExecutor(number, FORK, initializer=die_with_parent) as pool:
            yield pool
    except BrokenProcessPool:
        raise LkcaError("efficiency: a process was killed, most likely because memory ran out: free some.") from None


def apart(function: Callable[..., Any], *args: Any) -> Any:
    """`function(*args)` in a process of its own."""
    with processes(1) as pool:
        return pool.submit(function, *args).result()


def size(asked: Asked, model: str) -> dict[str, int]:
    """Of a model `params` and `macs`, as the tables have them. On one core: others are counted at the same time."""
    torch.set_num_threads(1)
    net = asked.network(model)
    return {"params": parameters(net), "macs": macs(net, asked.bands)}


def costs_of(asked: Asked, models: list[str], on: str) -> tuple[str, dict[str, dict[str, Any]]]:
    """The name of a device and, by model, what `cost` returns."""
    costs = {model: cost(asked.network(model).to(on), asked.bands, asked.scale, on) for model in models}
    return torch.cuda.get_device_name() if on == "cuda" else cpu_name(), costs


@torch.no_grad()
def cost(net: nn.Module, bands: int, scale: int, on: str) -> dict[str, Any]:
    """Measure a network on the device where it is.

    Args:
        net: Maps (n, bands, 16, 16) to enlarged images.
        bands: Spectral bands.
        scale: How much it enlarges.
        on: "cpu" or "cuda".

    Returns:
        `latency_s`, `latency_low_s`, `latency_high_s`: seconds of one image, median and quartiles; `batch`: images of
        what follows; `throughput_per_s`: images a second; `memory_mib`: the most that is held at a time, above what was
        held when network and input were there, on a CPU by the process, on a GPU in tensors; `energy_j`: of an image,
        with all that the device does meanwhile; None where it does not tell.
    """
    lr = torch.rand(max(1, PIXELS[on] // (scale * LR_SIDE) ** 2), bands, LR_SIDE, LR_SIDE, device=on)
    small = slice(LR_SIDE // 2)
    net(lr if on == "cuda" else lr[:1, :, small, small])  # loads code, starts threads, has cuDNN choose
    start = memory(on)[0]
    if on == "cuda":
        torch.cuda.reset_peak_memory_stats()
    seconds, joules = passes(net, lr, on, SECONDS[on], 1 if len(lr) > 1 else LEAST)
    peak = memory(on)[1]
    latency = passes(net, lr[:1], on, SHORT, LEAST)[0] if len(lr) > 1 else seconds
    low, median, high = np.quantile(latency, [0.25, 0.5, 0.75]).tolist()
    images = len(seconds) * len(lr)
    return {
        "latency_s": median,
        "latency_low_s": low,
        "latency_high_s": high,
        "batch": len(lr),
        "throughput_per_s": images / sum(seconds),
        "memory_mib": (peak - start) / 2**20,
        "energy_j": joules / images if joules else None,
    }


def passes(net: nn.Module, lr: Tensor, on: str, length: float, least: int) -> tuple[list[float], float]:
    """Seconds of each of some forward passes, and joules of all; 0 where the device tells none."""
    meters, seconds = counters(on), []
    before = [meter.read() for meter in meters]
    while sum(seconds) < length or len(seconds) < (least if sum(seconds) < LONG else min(least, 2)):
        began = perf_counter()
        net(lr)
        settle(on)
        seconds.append(perf_counter() - began)
    spent = [(meter.read() - start) % meter.turn for meter, start in zip(meters, before, strict=True)]
    return seconds, sum(meter.joules * units for meter, units in zip(meters, spent, strict=True))


def settle(on: str) -> None:
    """Wait for the GPU, if that is the device."""
    if on == "cuda":
        torch.cuda.synchronize()


def memory(on: str) -> tuple[int, int]:
    """Bytes held now, and the most so far."""
    if on == "cuda":
        return torch.cuda.memory_allocated(), torch.cuda.max_memory_allocated()
    try:  # Linux; its ru_maxrss would count the process that started this one
        status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        return tuple(int(status[name].split()[0]) * 1024 for name in ("VmRSS", "VmHWM"))
    except (OSError, KeyError):  # elsewhere the most so far must stand for both
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        return most, most


class Counter(NamedTuple):
    """Counts what a device has spent: `read` gives units of so many `joules`, and begins anew after `turn` of them."""

    read: Callable[[], int]
    joules: float
    turn: int


def counters(on: str) -> list[Counter]:
    """The counters of a device that this process may read."""
    if on == "cuda":
        return gpu_counters()
    return [counter for zone in sorted(POWERCAP.glob("intel-rapl:*")) if (counter := package_counter(zone))]


def package_counter(zone: Path) -> Counter | None:
    """Of a folder of Linux's powercap, if it is that of a whole processor (RAPL, of Intel's and AMD's)."""
    try:
        if not (zone / "name").read_text().startswith("package"):
            return None  # a part of one, or the whole machine
        turn = int((zone / "max_energy_range_uj").read_text())
        counter = Counter(lambda: int((zone / "energy_uj").read_text()), 1e-6, turn)
        counter.read()
    except OSError:  # mostly root's
        return None
    return counter


def gpu_counters() -> list[Counter]:
    """That of the GPU that this process sees, which NVIDIA's driver keeps in millijoules since Volta."""
    try:
        driver = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return []
    card, spent = ctypes.c_void_p(), ctypes.c_ulonglong()
    uuid = next(iter(visible_gpus().values()), "").encode()

    def read() -> int | None:
        return None if driver.nvmlDeviceGetTotalEnergyConsumption(card, ctypes.byref(spent)) else spent.value

    ready = not driver.nvmlInit_v2() and not driver.nvmlDeviceGetHandleByUUID(uuid, ctypes.byref(card))
    return [Counter(read, 1e-3, 2**64)] if ready and read() is not None else []
