"""Seconds and memory of our networks beside plain code of the same networks (published.py): `make bench`.

For each network and case two fresh processes, ours and the plain one, hold the same weights and the same input and take
turns, so that what disturbs the machine meets both alike. One line of the CSV:

- seconds, published_seconds: the median over the turns.
- ratio, ratio_min, ratio_max: plain seconds / our seconds within a turn, median and range: above 1 ours is faster.
- peak_GiB, published_peak_GiB: the most memory held over all turns, above what was held before the first one, when
  network and input were there. On a CPU resident memory of the process, on a GPU what torch allocated.
- process_GiB, published_process_GiB: the same peak with all that was there before.
- difference: of the two outputs in the first turn, the largest over all values; float32.

Let the machine do nothing else: on shared cores every small operation waits for a thread that does not run, and the
ratios tell of the scheduler instead.
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
from importlib import import_module
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

REPOSITORY = Path(__file__).parents[1]
BANDS, SCALE, THREADS = 128, 4, 2
NETWORKS = ["sspsr", "msdformer", "essaformer"]  # in the sizes of config.yaml, which are the published ones


class Case(NamedTuple):
    """What is timed: a forward pass, or a training step (forward, L1, backward, Adam)."""

    name: str
    side: int  # of the square low-resolution image
    turns: int
    warm_up: int = 1
    batch: int = 1
    training: bool = False


CASES = {
    "cpu": [
        Case("forward 16x16", 16, turns=15),
        Case("training step 16x16", 16, turns=15, training=True),
        Case("forward 128x128", 128, turns=3, warm_up=0),  # long enough not to need one
    ],
    "cuda": [
        Case("forward 16x16", 16, turns=5),
        Case("training step 16x16", 16, turns=5, training=True),
        Case("forward 128x128", 128, turns=5),
        Case("training step 16x16 batch 32", 16, turns=5, batch=32, training=True),
    ],
}


def network(name: str, published: bool) -> torch.nn.Module:
    """Ours or the plain one; the same seed gives both the same weights (tests/test_published.py)."""
    model = read_config([REPOSITORY / "config.yaml"]).models[name]
    if published:
        return getattr(import_module("published"), MODELS[model.arch].class_name)(BANDS, SCALE, **model.args, groups=1)
    return build(model.arch, BANDS, SCALE, model.args, {"groups": 1})


def work(pipe: Connection, name: str, published: bool, case: Case, device: str) -> None:
    """Take a turn whenever True is received and answer its seconds and output; at False answer base and peak memory."""
    with answering(pipe):
        if device == "cpu":
            torch.set_num_threads(THREADS)
        else:
            halve_memory()
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        torch.manual_seed(0)
        net = network(name, published).to(device).train(case.training)
        torch.manual_seed(1)
        lr = torch.rand(case.batch, BANDS, case.side, case.side).to(device)
        hr = torch.rand(case.batch, BANDS, SCALE * case.side, SCALE * case.side).to(device) if case.training else None
        optimiser = torch.optim.Adam(net.parameters(), 1e-4, fused=not published)  # ours as in lkca/training/train.py
        base, turn = memory_use(device)[0], 0
        torch.manual_seed(2)  # of the dropout
        pipe.send(None)  # ready
        while pipe.recv():
            synchronize(device)
            began = perf_counter()
            with torch.set_grad_enabled(case.training):
                sr = net(lr)
            if case.training:
                optimiser.zero_grad()
                F.l1_loss(sr, hr).backward()
                optimiser.step()
            synchronize(device)
            seconds = perf_counter() - began
            pipe.send((seconds, sr.detach().cpu().numpy() if turn == 0 else None))
            del sr
            turn += 1
        pipe.send((base, memory_use(device)[1]))


@contextmanager
def answering(pipe: Connection) -> Iterator[None]:
    """Whatever goes wrong in a worker's block, the parent says it."""
    try:
        yield
    except (EOFError, ConnectionError):
        pass  # the parent is gone
    except Exception as error:
        pipe.send(f"{type(error).__name__}: {(str(error).splitlines() or ['no reason given'])[0].rstrip('.')}")


def halve_memory() -> None:
    """Give this process less than half of the GPU's: cuDNN chooses by what is free, and so each gets as much."""
    torch.cuda.set_per_process_memory_fraction(0.45)


def answer(pipe: Connection, who: str, turn: bool | None = None) -> Any:
    """What a worker answers to a request; without one, that it is ready.

    Raises:
        LkcaError: With its sentence, or with that it died.
    """
    try:
        if turn is not None:
            pipe.send(turn)
        reply = pipe.recv()
    except (EOFError, OSError):
        reply = "the process was killed, most likely because memory ran out"
    if isinstance(reply, str):
        raise LkcaError(f"{who}: {reply}.")
    return reply


@contextmanager
def workers(work: Callable[..., None], arguments: dict[str, tuple]) -> Iterator[list[tuple[Connection, str]]]:
    """Fresh processes that live as long as the block.

    Args:
        work: What each calls, with its end of a pipe and its arguments.
        arguments: Of each process, by what it is called when it fails.

    Returns:
        The pipe to each process and what it is called.
    """
    context, processes, pipes = multiprocessing.get_context("spawn"), [], []
    try:
        for who, of_process in arguments.items():
            pipe, end = context.Pipe()
            process = context.Process(target=work, args=(end, *of_process))
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # Ctrl-C is for this process, which kills ...
            process.start()
            processes.append(process)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # ... those that inherit that they are deaf
            end.close()  # so that a worker's death is noticed
            pipes.append((pipe, who))
        yield pipes
        for process in processes:
            process.join(timeout=10)  # what it still has to end
    finally:
        for process in processes:
            process.kill()
            process.join()


def measure(name: str, case: Case, device: str) -> dict[str, Any]:
    """Let ours and the plain network take turns at a case.

    Returns:
        The columns of numbers of a line, by name.

    Raises:
        LkcaError: If one of the two fails.
    """
    sides = {f"{name} (ours), {case.name}": False, f"{name} (published.py), {case.name}": True}
    with workers(work, {who: (name, published, case, device) for who, published in sides.items()}) as pair:
        for pipe, who in pair:
            answer(pipe, who)
        turns, outputs = [], []
        for i in range(case.warm_up + case.turns):
            replies = [answer(pipe, who, True) for pipe, who in pair]
            turns.append([seconds for seconds, _ in replies])
            if i == 0:
                outputs = [output for _, output in replies]
        (base, peak), (their_base, their_peak) = (answer(pipe, who, False) for pipe, who in pair)
    ours, theirs = zip(*turns[case.warm_up :], strict=True)
    ratios = [their / our for our, their in zip(ours, theirs, strict=True)]
    return {
        "seconds": median(ours),
        "published_seconds": median(theirs),
        "ratio": median(ratios),
        "ratio_min": min(ratios),
        "ratio_max": max(ratios),
        "peak_GiB": (peak - base) / 2**30,
        "published_peak_GiB": (their_peak - their_base) / 2**30,
        "process_GiB": peak / 2**30,
        "published_process_GiB": their_peak / 2**30,
        "difference": float(np.abs(outputs[0] - outputs[1]).max()),
    }


def ready(program: str, device: str) -> None:
    """End the program with a sentence if the device is not there, and warn if the machine is busy."""
    if device == "cuda" and not torch.cuda.is_available():
        sys.exit(f"{program}: --device cuda needs a GPU and torch finds none: choose cpu.")
    if os.getloadavg()[0] > 0.5:
        print(f"{program}: the machine is busy (load {os.getloadavg()[0]:.1f}): timings will be off.", file=sys.stderr)


def facts_of(device: str) -> dict[str, Any]:
    """Columns of every line: what was measured where, when and in which state of the code."""
    return {
        "device": torch.cuda.get_device_name() if device == "cuda" else cpu_name(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "date": datetime.now(UTC).date().isoformat(),
        "commit": git_commit() or "",
    }


def file_name(device: str) -> str:
    """A device's name as part of a file's."""
    return re.sub("[^a-z0-9]+", "-", device.lower()).strip("-")


@contextmanager
def ending(program: str) -> Iterator[None]:
    """Whatever ends a program's block, end the program: with a sentence if something is wrong, silently at Ctrl-C."""
    try:
        yield
    except (LkcaError, OSError) as error:
        sys.exit(f"{program}: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write a CSV with the columns of its last row."""
    with atomic_write(path) as part, part.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[-1], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)


def main() -> None:
    """Run all cases of a device, print a table and write the CSV."""
    parser = argparse.ArgumentParser(description="Time our networks beside plain code of the same networks.")
    parser.add_argument("--device", choices=CASES, default="cpu")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "benchmarks", help="folder of the CSV")
    options = parser.parse_args()
    ready("networks", options.device)
    facts = facts_of(options.device)
    facts["threads"] = THREADS if options.device == "cpu" else facts["threads"]
    rows = []
    with ending("networks"):
        print(f"{facts['device']}, {facts['threads']} threads, torch {facts['torch']}; ours / published")
        print(f"{'':40}{'seconds':>18}{'times faster':>24}{'peak GiB':>16}{'difference':>12}")
        for name in NETWORKS:
            for case in CASES[options.device]:
                found = measure(name, case, options.device)
                rows.append({"network": name, "case": case.name, **{k: f"{v:.4g}" for k, v in found.items()}, **facts})
                print(
                    f"{name:11}{case.name:29}"
                    "{seconds:>9.3f} /{published_seconds:7.3f}{ratio:9.2f} ({ratio_min:.2f} to {ratio_max:.2f})"
                    "{peak_GiB:9.2f} /{published_peak_GiB:5.2f}{difference:12.1e}".format(**found),
                    flush=True,
                )
        path = options.out / f"networks_{file_name(facts['device'])}.csv"
        write(path, rows)
        print(path)


if __name__ == "__main__":
    main()
