"""Measure how fast networks are applied to images of several sizes, and in how much memory: `make bench`.

The networks have the sizes of config.yaml, random weights, 128 bands and a scale of 4. Each case has a process of its
own. Columns of the CSV:

- network, mode, side: key of config.yaml; mode of `lkca upscale`, or `forward` for the network as it is trained, or
  the program that computes the exported graph for the whole image; height and width of the LR image, pixels.
- seconds: the fastest of several turns; of a single one if it takes more than 20 s.
- microseconds_per_pixel: the same for an LR pixel.
- peak_GiB: peak of the resident memory of the process; for graphs with that of their export.

The result is computed and thrown away. Run nothing else on the machine.
"""

import argparse
import csv
import multiprocessing
import re
import resource
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import NamedTuple, get_args

import torch
from torch import nn

from lkca.config.load import read_config
from lkca.core.environment import cpu_name, disable_malloc_trim, git_commit
from lkca.core.files import atomic_write
from lkca.inference.enlarge import enlarge
from lkca.inference.onnx_export import export_onnx
from lkca.inference.onnx_model import load_graph
from lkca.inference.result import Mode
from lkca.models.registry import build

REPOSITORY = Path(__file__).parents[1]
BANDS, SCALE, THREADS = 128, 4, 2
MAX_SECONDS, TURNS = 20.0, 5


class Case(NamedTuple):
    """A measurement: a network, how it is applied, and the side of the LR image."""

    network: str
    mode: str
    side: int


CASES = [
    *(Case("lkca_lr", "forward", side) for side in (64, 128, 256)),
    *(Case("lkca_lr", "stats", side) for side in (64, 128, 256, 512, 1024)),
    *(Case("lkca_lr", "halo", side) for side in (512,)),
    *(Case("lkca_lr", engine, side) for engine in ("onnxruntime", "openvino") for side in (64, 128, 256)),
    *(Case(network, "forward", 128) for network in ("sspsr", "msdformer", "essaformer")),
]


class _RandomImage:
    """An LR image whose rows are made when they are read, so that a large one needs no memory."""

    def __init__(self, side: int) -> None:
        self.shape = (BANDS, side, side)

    def read(self, rows: tuple[int, int], columns: tuple[int, int] | None = None) -> torch.Tensor:
        left, right = columns or (0, self.shape[2])
        row, column = torch.arange(*rows)[:, None], torch.arange(left, right)
        ground = torch.frac(torch.sin(row * 12.9898 + column * 78.233) * 43758.5453).abs()
        return ground * torch.linspace(0.2, 1, BANDS)[:, None, None]


def measure(case: Case, args: dict, upsampler: dict | None, arch: str) -> dict[str, object]:
    """Return the line of a case."""
    torch.set_num_threads(THREADS)
    disable_malloc_trim()
    torch.manual_seed(0)
    network: nn.Module = build(arch, BANDS, SCALE, args, upsampler).eval()
    image = _RandomImage(case.side)
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        run = _prepare(case, network, image, Path(folder))
        seconds: list[float] = []
        while len(seconds) < TURNS and sum(seconds) < MAX_SECONDS:
            start = perf_counter()
            run()
            seconds.append(perf_counter() - start)
    return {
        **case._asdict(),
        "seconds": f"{min(seconds):.4g}",
        "microseconds_per_pixel": f"{1e6 * min(seconds) / case.side**2:.4g}",
        "peak_GiB": f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.3g}",
    }


def _prepare(case: Case, network: nn.Module, image: _RandomImage, folder: Path) -> Callable[[], object]:
    """Return the function that is timed."""
    if case.mode in get_args(Mode):
        return lambda: enlarge(network, SCALE, image, case.mode, folder, lambda block, row, column: None)
    lr = image.read((0, case.side))[None]
    if case.mode == "forward":
        return lambda: network(lr)
    export_onnx(network, BANDS, folder / "model.onnx", {})
    graph = load_graph((folder / "model.onnx").read_bytes(), case.mode)
    return lambda: graph(lr.numpy())


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    facts = {
        "device": cpu_name(),
        "threads": THREADS,
        "torch": torch.__version__,
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "commit": git_commit(),
    }
    models = read_config([REPOSITORY / "config.yaml"]).models
    lines = []
    for case in CASES:
        model = models[case.network]
        upsampler = model.upsampler.model_dump() if model.upsampler else None
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            lines.append(pool.apply(measure, (case, model.args, upsampler, model.arch)) | facts)
        print(*list(lines[-1].values())[:6], flush=True)
    name = re.sub(r"\W+", "-", cpu_name().lower()).strip("-")
    with atomic_write(REPOSITORY / f"benchmarks/enlarge_{name}.csv") as part, part.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(lines[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)


if __name__ == "__main__":
    main()
