"""Compare time and memory of our networks with a plain implementation of them in published.py: `make bench`.

For each network and case, two fresh processes, one with our network and one with the plain one, have the same weights
and the same input. They take turns, and disturbed turns are repeated (`lkca.scoring.rounds`). Columns of
the CSV:

- seconds, published_seconds: time of our network and of the plain one; median over the turns.
- ratio, ratio_low, ratio_high: plain seconds / our seconds and its 95 % interval; above 1 ours is faster.
- disturbed: why there is no ratio; empty if there is one.
- peak_GiB, published_peak_GiB: peak memory of all turns, minus the memory before the first turn with network and input.
  On a CPU it is the resident memory of the process, on a GPU what torch allocated.
- process_GiB, published_process_GiB: the same peak without the subtraction.
- difference: largest absolute difference of the two outputs in the first turn, in float32.

Run nothing else on the machine: on shared cores there are no ratios.
"""

import argparse
import csv
import multiprocessing
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from importlib import import_module
from math import nan
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn import functional as F

from lkca.config.load import read_config
from lkca.core.environment import cpu_name, git_commit
from lkca.core.files import atomic_write
from lkca.errors import LkcaError
from lkca.models.registry import MODELS, build
from lkca.scoring.benchmark import memory_use, synchronize
from lkca.scoring.load import LoadMeter
from lkca.scoring.nvml import Gpu
from lkca.scoring.rounds import MIN_ROUNDS, Rounds, Turn

REPOSITORY = Path(__file__).parents[1]
BANDS, SCALE, THREADS = 128, 4, 2
MAX_SECONDS = 120.0  # limit of time of a case
NETWORKS = ["sspsr", "msdformer", "essaformer"]  # in the published sizes, which are those of config.yaml


class Case(NamedTuple):
    """A measurement: a forward pass or a training step (forward, L1, backward, Adam)."""

    name: str
    side: int  # height and width of the LR image
    batch: int = 1
    training: bool = False


CASES = {
    "cpu": [
        Case("forward 16x16", 16),
        Case("training step 16x16", 16, training=True),
        Case("forward 128x128", 128),
    ],
    "cuda": [
        Case("forward 16x16", 16),
        Case("training step 16x16", 16, training=True),
        Case("forward 128x128", 128),
        Case("training step 16x16 batch 32", 16, batch=32, training=True),
    ],
}


def build_network(name: str, published: bool) -> torch.nn.Module:
    """Return our network or the plain one. The same seed gives both the same weights (tests/test_published.py)."""
    model = read_config([REPOSITORY / "config.yaml"]).models[name]
    if published:
        return getattr(import_module("published"), MODELS[model.arch].class_name)(BANDS, SCALE, **model.args, groups=1)
    return build(model.arch, BANDS, SCALE, model.args, {"groups": 1})


def serve_turns(pipe: Connection, name: str, published: bool, case: Case, device: str) -> None:
    """Take a turn for each True that is received and send its seconds, the load and, after the first, its output.

    For False, send the memory before the first turn and the peak, in bytes, and end.
    """
    with send_errors(pipe):
        if device == "cpu":
            torch.set_num_threads(THREADS)
        else:
            limit_gpu_memory()
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        torch.manual_seed(0)
        net = build_network(name, published).to(device).train(case.training)
        torch.manual_seed(1)
        lr = torch.rand(case.batch, BANDS, case.side, case.side).to(device)
        hr = torch.rand(case.batch, BANDS, SCALE * case.side, SCALE * case.side).to(device) if case.training else None
        optimiser = torch.optim.Adam(net.parameters(), 1e-4, fused=not published)  # fused as in lkca/training/train.py
        meter = LoadMeter(Gpu.find() if device == "cuda" else None)
        base, turn = memory_use(device)[0], 0
        torch.manual_seed(2)  # for the dropout
        pipe.send(None)  # ready
        while pipe.recv():
            synchronize(device)
            meter.restart()
            start = perf_counter()
            with torch.set_grad_enabled(case.training):
                sr = net(lr)
            if case.training:
                optimiser.zero_grad()
                F.l1_loss(sr, hr).backward()
                optimiser.step()
            synchronize(device)
            seconds = perf_counter() - start
            pipe.send((Turn(seconds, meter.read()), sr.detach().cpu().numpy() if turn == 0 else None))
            del sr
            turn += 1
        pipe.send((base, memory_use(device)[1]))


@contextmanager
def send_errors(pipe: Connection) -> Iterator[None]:
    """Send an exception of the block to the parent as a string; `request` raises it there."""
    try:
        yield
    except (EOFError, ConnectionError):
        pass  # the parent has ended
    except Exception as error:
        pipe.send(f"{type(error).__name__}: {(str(error).splitlines() or ['no reason given'])[0].rstrip('.')}")


def limit_gpu_memory() -> None:
    """Limit this process to less than half of the GPU's memory, because cuDNN chooses kernels by the free memory."""
    torch.cuda.set_per_process_memory_fraction(0.45)


def request(pipe: Connection, label: str, turn: bool | None = None) -> Any:
    """Send a request to a worker and return its answer; without a request, wait until the worker is ready.

    Args:
        pipe: Connection to the worker.
        label: Label of the worker in errors.
        turn: The request: True for a turn, False for the memory and the end, None for no request.

    Raises:
        LkcaError: If the worker failed or was killed.
    """
    try:
        if turn is not None:
            pipe.send(turn)
        reply = pipe.recv()
    except (EOFError, OSError):
        reply = "the process was killed, most likely because memory ran out"
    if isinstance(reply, str):
        raise LkcaError(f"{label}: {reply}.")
    return reply


@contextmanager
def workers(work: Callable[..., None], arguments: dict[str, tuple]) -> Iterator[list[tuple[Connection, str]]]:
    """Start fresh processes, which are killed at the end of the block.

    Args:
        work: Function that each process calls with its end of a pipe and its own arguments.
        arguments: Label of each process in errors -> its arguments.

    Yields:
        The pipe to each process and its label.
    """
    context, processes, pipes = multiprocessing.get_context("spawn"), [], []
    try:
        for label, process_arguments in arguments.items():
            pipe, end = context.Pipe()
            process = context.Process(target=work, args=(end, *process_arguments))
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # workers inherit that SIGINT is blocked, ...
            process.start()
            processes.append(process)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # ... so that only this process handles it
            end.close()  # so that recv() fails when the worker has died
            pipes.append((pipe, label))
        yield pipes
        for process in processes:
            process.join(timeout=10)  # it has answered its last request and ends by itself
    finally:
        for process in processes:
            process.kill()
            process.join()


def measure(name: str, case: Case, device: str) -> dict[str, Any]:
    """Let our network and the plain one take turns, and return their times and memory.

    Returns:
        Column of the CSV -> number.

    Raises:
        LkcaError: If one of the two fails.
    """
    sides = {f"{name} (ours), {case.name}": False, f"{name} (published.py), {case.name}": True}
    arguments = {label: (name, published, case, device) for label, published in sides.items()}
    rounds = Rounds(["ours", "plain"], "ours", MAX_SECONDS)

    def take_turn(pipe: Connection, label: str) -> Turn:
        return request(pipe, label, True)[0]

    for _ in MIN_ROUNDS:  # each part with new processes, because the speed of a process depends on where its memory is
        with workers(serve_turns, arguments) as pair:
            for pipe, label in pair:
                request(pipe, label)
            outputs = [request(pipe, label, True)[1] for pipe, label in pair]  # the first turn warms up
            rounds.take_part({side: partial(take_turn, *one) for side, one in zip(rounds.turns, pair, strict=True)})
            (base, peak), (plain_base, plain_peak) = (request(pipe, label, False) for pipe, label in pair)
    return {
        "seconds": median(rounds.times("ours") or [nan]),
        "published_seconds": median(rounds.times("plain") or [nan]),
        **ratio_columns(rounds),
        "peak_GiB": (peak - base) / 2**30,
        "published_peak_GiB": (plain_peak - plain_base) / 2**30,
        "process_GiB": peak / 2**30,
        "published_process_GiB": plain_peak / 2**30,
        "difference": float(np.abs(outputs[0] - outputs[1]).max()),
    }


def ratio_columns(rounds: Rounds) -> dict[str, Any]:
    """Return the columns of the CSV about the ratio of the plain side's time to ours."""
    ratio = rounds.ratio("plain")
    return {
        "ratio": ratio and ratio.value,
        "ratio_low": ratio and ratio.low,
        "ratio_high": ratio and ratio.high,
        "disturbed": rounds.disturbance("ours") or rounds.disturbance("plain"),
    }


def format_ratio(numbers: dict[str, Any]) -> str:
    """Return the ratio and its interval, 24 characters."""
    text = "{ratio:.2f} ({ratio_low:.2f} to {ratio_high:.2f})".format(**numbers) if numbers["ratio"] else "disturbed"
    return f"{text:>24}"


def format_numbers(numbers: dict[str, Any]) -> dict[str, Any]:
    """Return the columns of the CSV with four digits of each number."""
    return {key: f"{value:.4g}" if isinstance(value, float) else value for key, value in numbers.items()}


def check_device(program: str, device: str) -> None:
    """Exit with an error if the device is missing; warn if the machine is busy."""
    if device == "cuda" and not torch.cuda.is_available():
        sys.exit(f"{program}: --device cuda: torch finds no GPU: choose cpu.")
    if os.getloadavg()[0] > 0.5:
        print(
            f"{program}: the machine is busy (load {os.getloadavg()[0]:.1f}): timings will be wrong.", file=sys.stderr
        )


def describe_machine(device: str) -> dict[str, Any]:
    """Return the columns of the CSV that name the machine, the date and the commit of a measurement."""
    return {
        "device": torch.cuda.get_device_name() if device == "cuda" else cpu_name(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "date": datetime.now(UTC).date().isoformat(),
        "commit": git_commit() or "",
    }


def make_slug(device: str) -> str:
    """Return the name of a device as part of a file name: lower-case letters, digits and hyphens."""
    return re.sub("[^a-z0-9]+", "-", device.lower()).strip("-")


@contextmanager
def exit_on_error(program: str) -> Iterator[None]:
    """Exit with a one-line message on an error in the block, and without one on Ctrl-C."""
    try:
        yield
    except (LkcaError, OSError) as error:
        sys.exit(f"{program}: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write a CSV with the columns of the last row."""
    with atomic_write(path) as part, part.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[-1], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)


def main() -> None:
    """Measure all cases on a device, print a table and write the CSV."""
    parser = argparse.ArgumentParser(description="Compare our networks with plain code of the same networks.")
    parser.add_argument("--device", choices=CASES, default="cpu")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "benchmarks", help="folder of the CSV")
    options = parser.parse_args()
    check_device("networks", options.device)
    machine = describe_machine(options.device)
    machine["threads"] = THREADS if options.device == "cpu" else machine["threads"]
    rows = []
    with exit_on_error("networks"):
        print(f"{machine['device']}, {machine['threads']} threads, torch {machine['torch']}; ours / published")
        print(f"{'':40}{'seconds':>18}{'times faster':>24}{'peak GiB':>16}{'difference':>12}")
        for name in NETWORKS:
            for case in CASES[options.device]:
                numbers = measure(name, case, options.device)
                rows.append({"network": name, "case": case.name, **format_numbers(numbers), **machine})
                print(
                    f"{name:11}{case.name:29}"
                    + "{seconds:>9.3f} /{published_seconds:7.3f}".format(**numbers)
                    + format_ratio(numbers)
                    + "{peak_GiB:9.2f} /{published_peak_GiB:5.2f}{difference:12.1e}".format(**numbers),
                    flush=True,
                )
        path = options.out / f"networks_{make_slug(machine['device'])}.csv"
        write_rows(path, rows)
        print(path)


if __name__ == "__main__":
    main()
