"""Benchmark of networks: time, throughput, memory and energy of a forward pass.

The networks have untrained weights: time and memory do not depend on the weights, and energy hardly does. The input is
an LR image of 16 x 16 pixels, for which the paper's tables count MACs, or a batch of such images, in torch's default
precision for float32. The networks are timed in rounds (`lkca.scoring.rounds`), and what other programs disturbed is
measured again or marked; the workflow gives this job all cores. Throughput and memory are measured between the two
parts of the rounds, so that these are some time apart.
"""

import resource
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple, ParamSpec, TypedDict, TypeVar

import numpy as np
import torch
from torch import nn
from torch.utils.benchmark import timer as synchronised_timer

from lkca.config.settings import REFERENCE, BenchmarkSettings
from lkca.core.environment import (
    cpu_name,
    default_device,
    die_with_parent,
    disable_malloc_trim,
    git_commit,
    package_versions,
    release_freed_memory,
)
from lkca.core.files import write_json
from lkca.core.gpus import acquire_gpus
from lkca.errors import ResourceError
from lkca.models.cost import LR_SIDE
from lkca.models.registry import build
from lkca.scoring.energy import energy_counters
from lkca.scoring.load import Load, LoadMeter, describe_threads
from lkca.scoring.nvml import Gpu
from lkca.scoring.rounds import Rounds, TimedPass, Turn

BATCH_PIXELS = {"cpu": 2**14, "cuda": 2**17}  # pixels of the reconstructions of a batch: 4 and 32 images at x4
# Minimum duration of a throughput measurement; GPUs update their energy counters only a few times a second
THROUGHPUT_SECONDS = {"cpu": 0.1, "cuda": 1.0}
MAX_SECONDS = 1.0  # of all rounds, for each network
# A disturbed measurement of throughput is repeated until its tries have taken this long
RETRY_SECONDS = {"cpu": 0.5, "cuda": 3.0}
FORK = get_context("fork")  # torch is imported once; the forked processes start their own threads and CUDA

P = ParamSpec("P")
T = TypeVar("T")


class BatchCost(TypedDict):
    """Throughput, memory and energy of forward passes of a batch.

    `batch`: number of images of a batch.
    `throughput_per_s`: images per second; None if it was disturbed.
    `memory_mib`: peak memory beyond that of the network and the input, MiB: of the process on a CPU, of the tensors on
        a GPU.
    `energy_j`: energy of the device for one image, joules, including its other work; None without a counter or if the
        passes were disturbed.
    """

    batch: int
    throughput_per_s: float | None
    memory_mib: float
    energy_j: float | None


class Latency(TypedDict):
    """Time of a forward pass of one image.

    `latency_s`, `latency_low_s`, `latency_high_s`: median and quartiles, seconds; None if the limit of time ended the
        measurement before.
    `time_ratio`: ratio to the time of the reference in the same rounds: value, low and high end of its 95 % interval;
        None if there is no reference, or if one of the two times was disturbed.
    `disturbed`: a sentence that says why these times cannot be quoted; empty if they can.
    """

    latency_s: float | None
    latency_low_s: float | None
    latency_high_s: float | None
    time_ratio: dict[str, float] | None
    disturbed: str


@acquire_gpus(1)
def efficiency(settings: BenchmarkSettings, out: Path) -> None:
    """Measure networks on the CPU, with the number of threads that torch uses, and on a GPU if there is one.

    Models that have the same network are measured once and share the numbers.

    Args:
        settings: The networks, the scale and the number of bands.
        out: The JSON to write: scene, scale, bands, lr_side, and `measured`: for each device the facts of
            `time_part` and of the rounds and, by model, the fields of `BatchCost` and `Latency`.

    Raises:
        ConfigError: If the scale or the bands do not suit a network.
        ResourceError: If a process is killed, most likely because memory ran out.
    """
    first: dict[str, str] = {}  # network -> the first model that has it
    if REFERENCE in settings.models:
        first[settings.models[REFERENCE].model_dump_json()] = REFERENCE
    measured_as = {
        model: first.setdefault(network.model_dump_json(), model) for model, network in settings.models.items()
    }
    distinct = list(first.values())
    measured = []
    for device in dict.fromkeys(["cpu", run_in_subprocess(default_device)]):
        rounds, batches = new_rounds(distinct), dict[str, BatchCost]()
        with process_pool(1) as timing:
            rounds, _ = timing.submit(time_part, settings, rounds, device).result()
            # On a CPU each network has a process of its own, because the peak memory is that of a process.
            for group in [[model] for model in distinct] if device == "cpu" else [distinct]:
                batches |= run_in_subprocess(measure_batches, settings, group, device)
            rounds, facts = timing.submit(time_part, settings, rounds, device).result()
        models = {model: {**batches[other], **summarise_latency(rounds, other)} for model, other in measured_as.items()}
        measured.append({"device": device, **facts, **rounds.describe(), "models": models})
    write_json(
        out,
        {
            "scene": settings.scene,
            "scale": settings.scale,
            "bands": settings.bands,
            "lr_side": LR_SIDE,
            "measured": measured,
            "versions": package_versions(),
            "commit": git_commit(),
        },
    )


@contextmanager
def process_pool(processes: int) -> Iterator[ProcessPoolExecutor]:
    """Yield a pool of processes that are forked from this one and end with the `with` block or with this process.

    Raises:
        ResourceError: If one of these processes is killed.
    """
    try:
        with ProcessPoolExecutor(processes, FORK, initializer=die_with_parent) as pool:
            yield pool
    except BrokenProcessPool:
        raise ResourceError(
            "efficiency: a process was killed, most likely because memory ran out: free some and run it again."
        ) from None


def run_in_subprocess(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function in a process of its own and return its result."""
    with process_pool(1) as pool:
        return pool.submit(function, *args, **kwargs).result()


def measure_batches(settings: BenchmarkSettings, models: list[str], device: str) -> dict[str, BatchCost]:
    """Return what batches of networks cost, by model. Freed memory is kept as in `time_part`."""
    disable_malloc_trim()
    return {
        model: measure_batch(build_network(settings, model).to(device), settings.bands, settings.scale, device)
        for model in models
    }


def new_rounds(models: list[str]) -> Rounds:
    """Return the rounds of networks before the first part."""
    return Rounds(models, REFERENCE if REFERENCE in models else None, MAX_SECONDS * len(models))


@torch.no_grad()
def time_part(settings: BenchmarkSettings, rounds: Rounds, device: str) -> tuple[Rounds, dict[str, Any]]:
    """Time networks on one image, in a part of the rounds. Both parts should be measured in one process.

    Freed memory is kept as in training and evaluation, because their times are those that a user waits for.

    Returns:
        The rounds with the turns of this part; and the name of the device, threads and processors (`describe_threads`)
        and the state of a GPU.
    """
    disable_malloc_trim()
    rounds.take_part(prepare_turns(settings.model_dump_json(), device))
    name = torch.cuda.get_device_name() if device == "cuda" else cpu_name()
    gpu = Gpu.find() if device == "cuda" else None
    return rounds, {"name": name, **describe_threads(), **(gpu.describe() if gpu else {})}


@cache  # so that the second part builds no network and needs no warm-up
def prepare_turns(settings_json: str, device: str) -> dict[str, Callable[[], Turn]]:
    """Return the function of each network that takes a turn of it.

    Args:
        settings_json: The networks, as JSON of `BenchmarkSettings`.
        device: "cpu" or "cuda".
    """
    settings = BenchmarkSettings.model_validate_json(settings_json)
    meter = LoadMeter(Gpu.find() if device == "cuda" else None)
    lr = torch.rand(1, settings.bands, LR_SIDE, LR_SIDE, device=device)
    timer = synchronised_timer if device == "cuda" else perf_counter
    networks = {model: build_network(settings, model).to(device) for model in settings.models}
    return {model: TimedPass(partial(network, lr), meter, timer).take_turn for model, network in networks.items()}


def summarise_latency(rounds: Rounds, model: str) -> Latency:
    """Return the latency of a model that has taken its turns."""
    times, ratio = rounds.times(model), rounds.ratio(model)
    low, median, high = np.quantile(times, [0.25, 0.5, 0.75]).tolist() if times else [None] * 3
    return {
        "latency_s": median,
        "latency_low_s": low,
        "latency_high_s": high,
        "time_ratio": ratio and ratio._asdict(),
        "disturbed": rounds.disturbance(model),
    }


def build_network(settings: BenchmarkSettings, model: str) -> nn.Module:
    """Return the untrained network of a model, in evaluation mode."""
    network = settings.models[model]
    return build(network.arch, settings.bands, settings.scale, network.args, network.upsampler).eval()


@torch.no_grad()
def measure_batch(net: nn.Module, bands: int, scale: int, device: str) -> BatchCost:
    """Return what batches of a network cost.

    Args:
        net: Maps (n, bands, 16, 16) to (n, bands, scale * 16, scale * 16).
        bands: Number of spectral bands.
        scale: Upsampling factor.
        device: "cpu" or "cuda", where the network is.
    """
    batch = max(1, BATCH_PIXELS[device] // (scale * LR_SIDE) ** 2)
    lr = torch.rand(batch, bands, LR_SIDE, LR_SIDE, device=device)
    small = slice(LR_SIDE // 2)
    # The first pass loads code, starts threads and, on a GPU, has cuDNN choose its algorithms.
    net(lr if device == "cuda" else lr[:1, :, small, small])
    release_freed_memory()
    base, _ = memory_use(device)
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    meter, begun = LoadMeter(Gpu.find() if device == "cuda" else None), perf_counter()
    timed = time_passes(partial(net, lr), device, meter, 0.0)  # one pass, which counts if it is long
    while timed.seconds < THROUGHPUT_SECONDS[device] or timed.load.excess():
        if perf_counter() - begun > RETRY_SECONDS[device]:
            break
        timed = time_passes(partial(net, lr), device, meter, THROUGHPUT_SECONDS[device])
    _, peak = memory_use(device)
    images, disturbed = timed.passes * batch, bool(timed.load.excess())
    return {
        "batch": batch,
        "throughput_per_s": None if disturbed else images / timed.seconds,
        "memory_mib": (peak - base) / 2**20,
        "energy_j": None if disturbed or not timed.joules else timed.joules / images,
    }


class TimedPasses(NamedTuple):
    """Seconds and joules of several passes, and what else the machine did; 0 joules without a counter."""

    passes: int
    seconds: float
    joules: float
    load: Load


def time_passes(run: Callable[[], object], device: str, meter: LoadMeter, min_seconds: float) -> TimedPasses:
    """Time passes, at least one, until `min_seconds` have gone by."""
    starts, passes, seconds = [(counter, counter.read()) for counter in energy_counters(device)], 0, 0.0
    meter.restart()
    start = perf_counter()
    while not passes or seconds < min_seconds:
        run()
        synchronize(device)
        passes, seconds = passes + 1, perf_counter() - start
    return TimedPasses(passes, seconds, sum(counter.joules_since(count) for counter, count in starts), meter.read())


def synchronize(device: str) -> None:
    """Wait until a GPU has finished its work; return at once on a CPU."""
    if device == "cuda":
        torch.cuda.synchronize()


def memory_use(device: str) -> tuple[int, int]:
    """Return the memory in use and its peak so far, bytes: of this process on a CPU, of its tensors on a GPU."""
    if device == "cuda":
        return torch.cuda.memory_allocated(), torch.cuda.max_memory_allocated()
    try:  # Linux, where ru_maxrss would include the process that this one was forked from
        status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        current, peak = (int(status[name].split()[0]) * 1024 for name in ("VmRSS", "VmHWM"))
    except (OSError, KeyError):  # other systems report only the peak
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        return peak, peak
    return current, peak
