"""Benchmark of networks: time, throughput, memory and energy of a forward pass, beside parameters and MACs.

The networks have untrained weights: time and memory do not depend on the weights, and energy hardly does. The input is
an LR image of 16 x 16 pixels, for which the paper's tables count MACs, or a batch of such images, in torch's default
precision for float32. No other program should run at the same time; the workflow gives this job all cores.
"""

import os
import resource
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter
from typing import ParamSpec, TypedDict, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from lkca.config.settings import BenchmarkSettings
from lkca.core.environment import cpu_name, default_device, die_with_parent, git_commit, package_versions
from lkca.core.files import write_json
from lkca.core.gpus import acquire_gpus
from lkca.core.stopwatch import Stopwatch
from lkca.errors import ResourceError
from lkca.models.cost import LR_SIDE, count_macs, count_parameters
from lkca.models.registry import build
from lkca.scoring.energy import energy_counters

BATCH_PIXELS = {"cpu": 2**14, "cuda": 2**17}  # pixels of the reconstructions of a batch: 4 and 32 images at x4
# Minimum duration of a throughput measurement; GPUs update their energy counters only a few times a second
THROUGHPUT_SECONDS = {"cpu": 0.1, "cuda": 1.0}
LATENCY_SECONDS, LATENCY_PASSES = 0.1, 5  # minimum duration and number of passes of a latency measurement
LONG_SECONDS = 0.5  # after this duration, 2 passes are enough
FORK = get_context("fork")  # torch is imported once; the forked processes start their own threads and CUDA

P = ParamSpec("P")
T = TypeVar("T")


class NetworkSize(TypedDict):
    """Number of parameters and of multiply-accumulates (MACs) of a network, as in the tables."""

    params: int
    macs: int


class NetworkCost(TypedDict):
    """Time, memory and energy of a forward pass.

    `latency_s`, `latency_low_s`, `latency_high_s`: median and quartiles of the time of one image, seconds.
    `batch`: number of images of a batch; the following numbers are measured with batches.
    `throughput_per_s`: images per second.
    `memory_mib`: peak memory beyond that of the network and the input, MiB: of the process on a CPU, of the tensors on
        a GPU.
    `energy_j`: energy of the device for one image, joules, including its other work; None without a counter.
    """

    latency_s: float
    latency_low_s: float
    latency_high_s: float
    batch: int
    throughput_per_s: float
    memory_mib: float
    energy_j: float | None


@acquire_gpus(1)
def efficiency(settings: BenchmarkSettings, out: Path) -> None:
    """Measure networks on the CPU, with the number of threads that torch uses, and on a GPU if there is one.

    Models that have the same network are measured once and share the numbers.

    Args:
        settings: The networks, the scale and the number of bands.
        out: The JSON to write: scene, scale, bands, lr_side, and `measured`: for each device its name, the number of
            threads and, by model, the fields of `NetworkSize` and `NetworkCost`.

    Raises:
        ConfigError: If the scale or the bands do not suit a network.
        ResourceError: If a process is killed, most likely because memory ran out.
    """
    first: dict[str, str] = {}  # network -> the first model that has it
    measured_as = {
        model: first.setdefault(network.model_dump_json(), model) for model, network in settings.models.items()
    }
    distinct, threads = list(first.values()), torch.get_num_threads()
    with process_pool(threads) as pool:
        sizes = dict(zip(distinct, pool.map(measure_size, [settings] * len(distinct), distinct), strict=True))
    measured = []
    for device in dict.fromkeys(["cpu", run_in_subprocess(default_device)]):
        # On a CPU each network has a process of its own, because the peak memory is that of a process.
        groups = [[model] for model in distinct] if device == "cpu" else [distinct]
        costs: dict[str, NetworkCost] = {}
        for group in groups:
            name, group_costs = run_in_subprocess(measure_costs, settings, group, device)
            costs |= group_costs
        missing = {"time_ratio": None, "disturbed": ""}
        models = {model: {**sizes[other], **costs[other], **missing} for model, other in measured_as.items()}
        processors = len(os.sched_getaffinity(0))
        measured.append(
            {"device": device, "name": name, "threads": threads, "processors": processors, "models": models}
        )
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


def measure_size(settings: BenchmarkSettings, model: str) -> NetworkSize:
    """Return the size of a network. Use one core, because other networks are counted at the same time."""
    torch.set_num_threads(1)
    net = build_network(settings, model)
    return {"params": count_parameters(net), "macs": count_macs(net, settings.bands)}


def measure_costs(settings: BenchmarkSettings, models: list[str], device: str) -> tuple[str, dict[str, NetworkCost]]:
    """Return the name of the device and the costs of networks on it, by model."""
    costs = {}
    for model in models:
        costs[model] = measure_cost(build_network(settings, model).to(device), settings.bands, settings.scale, device)
    return torch.cuda.get_device_name() if device == "cuda" else cpu_name(), costs


def build_network(settings: BenchmarkSettings, model: str) -> nn.Module:
    """Return the untrained network of a model, in evaluation mode."""
    network = settings.models[model]
    return build(network.arch, settings.bands, settings.scale, network.args, network.upsampler).eval()


@torch.no_grad()
def measure_cost(net: nn.Module, bands: int, scale: int, device: str) -> NetworkCost:
    """Return the cost of a network.

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
    base, _ = memory_use(device)
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    seconds, joules = time_passes(net, lr, device, THROUGHPUT_SECONDS[device], 1 if batch > 1 else LATENCY_PASSES)
    _, peak = memory_use(device)
    latencies = time_passes(net, lr[:1], device, LATENCY_SECONDS, LATENCY_PASSES)[0] if batch > 1 else seconds
    low, median, high = np.quantile(latencies, [0.25, 0.5, 0.75]).tolist()
    images = len(seconds) * batch
    return {
        "latency_s": median,
        "latency_low_s": low,
        "latency_high_s": high,
        "batch": batch,
        "throughput_per_s": images / sum(seconds),
        "memory_mib": (peak - base) / 2**20,
        "energy_j": joules / images if joules else None,
    }


def time_passes(
    net: nn.Module, lr: Tensor, device: str, min_seconds: float, min_passes: int
) -> tuple[list[float], float]:
    """Return the seconds of each of several forward passes, and the joules of all of them, 0 without a counter.

    If this process is stopped meanwhile, measure again.
    """
    seconds: list[float] = []
    starts, stopwatch = [(counter, counter.read()) for counter in energy_counters(device)], Stopwatch()
    while sum(seconds) < min_seconds or len(seconds) < (
        min_passes if sum(seconds) < LONG_SECONDS else min(min_passes, 2)
    ):
        start = perf_counter()
        net(lr)
        synchronize(device)
        seconds.append(perf_counter() - start)
    if stopwatch.stopped():
        return time_passes(net, lr, device, min_seconds, min_passes)
    return seconds, sum(counter.joules_since(start) for counter, start in starts)


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
