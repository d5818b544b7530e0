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
import platform
import re
import resource
import sys
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

from lkca.config import read_config
from lkca.errors import InputError
from lkca.evaluate import commit
from lkca.files import replacing
from lkca.models import MODELS, build

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
        return getattr(import_module("published"), MODELS[model.arch].network)(BANDS, SCALE, **model.args, groups=1)
    return build(model.arch, BANDS, SCALE, model.args, {"groups": 1})


def work(pipe: Connection, name: str, published: bool, case: Case, device: str) -> None:
    """Take a turn whenever True is received and answer its seconds and output; at False answer base and peak memory."""
    try:
        if device == "cpu":
            torch.set_num_threads(THREADS)
        else:  # cuDNN chooses by the memory that is free: each process gets as much
            torch.cuda.set_per_process_memory_fraction(0.45)
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        torch.manual_seed(0)
        net = network(name, published).to(device).train(case.training)
        torch.manual_seed(1)
        lr = torch.rand(case.batch, BANDS, case.side, case.side).to(device)
        hr = torch.rand(case.batch, BANDS, SCALE * case.side, SCALE * case.side).to(device) if case.training else None
        optimiser = torch.optim.Adam(net.parameters(), 1e-4, fused=not published)  # ours as in lkca/train.py
        base, turn = memory(device)[0], 0
        torch.manual_seed(2)  # of the dropout
        pipe.send(None)  # ready
        while pipe.recv():
            settle(device)
            began = perf_counter()
            with torch.set_grad_enabled(case.training):
                sr = net(lr)
            if case.training:
                optimiser.zero_grad()
                F.l1_loss(sr, hr).backward()
                optimiser.step()
            settle(device)
            seconds = perf_counter() - began
            pipe.send((seconds, sr.detach().cpu().numpy() if turn == 0 else None))
            del sr
            turn += 1
        pipe.send((base, memory(device)[1]))
    except (EOFError, ConnectionError):
        pass  # the parent is gone
    except Exception as error:  # whatever it is, the parent says it
        pipe.send(f"{type(error).__name__}: {(str(error).splitlines() or ['no reason given'])[0].rstrip('.')}")


def settle(device: str) -> None:
    """Wait for the GPU, if there is one."""
    if device == "cuda":
        torch.cuda.synchronize()


def memory(device: str) -> tuple[int, int]:
    """Bytes held now, and the most so far."""
    if device == "cuda":
        return torch.cuda.memory_allocated(), torch.cuda.max_memory_allocated()
    try:  # Linux; its ru_maxrss would count the process that started this one
        status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        return tuple(int(status[name].split()[0]) * 1024 for name in ("VmRSS", "VmHWM"))
    except (OSError, KeyError):  # elsewhere the most so far must stand for both
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        return most, most


def answer(pipe: Connection, who: str, turn: bool | None = None) -> Any:
    """What a worker answers to a request; without one, that it is ready.

    Raises:
        InputError: With its sentence, or with that it died.
    """
    try:
        if turn is not None:
            pipe.send(turn)
        reply = pipe.recv()
    except (EOFError, OSError):
        reply = "the process was killed, most likely because memory ran out"
    if isinstance(reply, str):
        raise InputError(f"{who}: {reply}.")
    return reply


def measure(name: str, case: Case, device: str) -> dict[str, Any]:
    """Let ours and the plain network take turns at a case.

    Returns:
        The columns of numbers of a line, by name.

    Raises:
        InputError: If one of the two fails.
    """
    context, workers = multiprocessing.get_context("spawn"), []
    try:
        for published in (False, True):
            pipe, end = context.Pipe()
            process = context.Process(target=work, args=(end, name, published, case, device), daemon=True)
            process.start()
            end.close()  # so that a worker's death is noticed
            who = f"{name} ({'published.py' if published else 'ours'}), {case.name}"
            workers.append((process, pipe, who))
        for _, pipe, who in workers:
            answer(pipe, who)
        turns, outputs = [], []
        for i in range(case.warm_up + case.turns):
            replies = [answer(pipe, who, True) for _, pipe, who in workers]
            turns.append([seconds for seconds, _ in replies])
            if i == 0:
                outputs = [output for _, output in replies]
        (base, peak), (their_base, their_peak) = (answer(pipe, who, False) for _, pipe, who in workers)
    finally:
        for process, _, _ in workers:
            process.kill()
            process.join()
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


def processor() -> str:
    """The CPU's name, as well as the system tells it."""
    try:
        return re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())[1]
    except (OSError, TypeError):
        return platform.processor() or platform.machine()


def main() -> int:
    """Run all cases of a device, print a table and write the CSV. Returns the exit code."""
    parser = argparse.ArgumentParser(description="Time our networks beside plain code of the same networks.")
    parser.add_argument("--device", choices=CASES, default="cpu")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "benchmarks", help="folder of the CSV")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        print("networks: --device cuda needs a GPU and torch finds none: choose cpu.", file=sys.stderr)
        return 1
    if os.getloadavg()[0] > 0.5:
        print(f"networks: the machine is busy (load {os.getloadavg()[0]:.1f}): timings will be off.", file=sys.stderr)
    device = torch.cuda.get_device_name() if options.device == "cuda" else processor()
    facts = {
        "device": device,
        "threads": THREADS if options.device == "cpu" else torch.get_num_threads(),
        "torch": torch.__version__,
        "date": datetime.now(UTC).date().isoformat(),
        "commit": commit() or "",
    }
    rows = []
    try:
        print(f"{device}, {facts['threads']} threads, torch {facts['torch']}; ours / published")
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
        path = options.out / f"networks_{re.sub('[^a-z0-9]+', '-', device.lower()).strip('-')}.csv"
        with replacing(path) as part, part.open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
        print(path)
    except InputError as error:
        print(f"networks: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
