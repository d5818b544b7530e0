"""Samples a second of our training beside a plain loop as the published repositories of this field have it.

For each network two fresh processes take turns, so that what disturbs the machine meets both alike. Ours is
lkca.train.train on a scene, a split and a run.json. The plain one is float32 and eager: networks and losses of
published.py, torch.optim.Adam, and a DataLoader with worker processes (as many as cores, at most 8) that read patches
stored one a file, as MATLAB scripts write them. Their pixels are made up; all lie in the system's memory after a first
look. Networks and settings are those of config.yaml, at 128 bands, x4 and HR patches of 64 x 64. One line of the CSV:

- settings: what --set changed in our training; a line replaces the one with the same network and settings.
- samples_per_second, plain_samples_per_second: HR patches through forward, loss, backward and optimiser; the median
  over the turns. Not counted: starting, the first step, validation and saving the state, which ours does now and then.
- ratio, ratio_min, ratio_max: ours / plain within a turn, median and range: above 1 ours is faster.
- peak_GiB, plain_peak_GiB, process_GiB, plain_process_GiB: as in networks.py, above what was held before there was a
  network; the loader's processes are not counted.
- data_wait: the share of its time that the plain loop waits for the loader.
- loss_difference: the largest relative difference of the losses of the first three steps, from the same weights, on one
  batch, without drop path and dropout.
"""

import argparse
import csv
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from math import inf
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any, NamedTuple
from unittest.mock import patch

import networks
import numpy as np
import published
import torch
import yaml
from networks import BANDS, REPOSITORY, SCALE, answer, memory_use
from scipy.io import loadmat, savemat
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, RandomSampler, default_collate

from lkca.config import run as run_files
from lkca.config.load import read_config
from lkca.config.run import read_run
from lkca.config.schema import Experiment, RunConfig
from lkca.config.settings import RunSettings
from lkca.core.files import read_json, sha256, write_json
from lkca.core.paths import RunGroup
from lkca.data import splits
from lkca.data.resize import resize
from lkca.data.settings import SplitSettings, TestTiles
from lkca.models.registry import MODELS
from lkca.training import losses, resume, train
from lkca.training.checkpoint import load_weights, save_weights
from lkca.training.networks import build_network
from lkca.training.progress import ProgressDisplay

NETWORKS = ["lkca", "lkca_lr", "lkca_kd", "sspsr", "msdformer", "essaformer"]
TEACHER = "lkca_64"
SIDE, FILES = 64, 64  # of an HR patch, pixels; stored patches
CHECKED = 3  # steps whose losses are compared
FORK = multiprocessing.get_context("fork")  # the loader's usual way


class Pace(NamedTuple):
    """How long is timed. On a GPU a turn outlasts what the loader has read ahead, two batches a process."""

    turns: int
    warm_up: int  # turns before them
    steps: int  # of a turn
    batches: dict[str, int]  # that differ from 32


PACES = {
    "cpu": Pace(turns=3, warm_up=0, steps=1, batches={"sspsr": 8, "msdformer": 8, "essaformer": 8}),
    "cuda": Pace(turns=5, warm_up=1, steps=20, batches={}),
}


class Enough(Exception):
    """No more turns are wanted."""


class Turns:
    """Lets a training wait behind its first step, and behind each turn from then on.

    Args:
        pipe: Asks for a turn by True, for the end by False. Answers are None behind the first step, then the seconds of
            a turn and those of waiting for data.
        device: cpu or cuda.
        steps: Of a turn.
    """

    def __init__(self, pipe: Connection, device: str, steps: int) -> None:
        self.pipe, self.device, self.steps, self.left = pipe, device, steps, 1
        self.began, self.waited, self.mine = None, 0.0, FORK.Event()  # which is set while it is this training's turn
        self.mine.set()

    def step(self) -> None:
        """One step is done."""
        self.left -= 1
        if self.left:
            return
        networks.synchronize(self.device)
        turn = self.began and (perf_counter() - self.began, self.waited)
        self.mine.clear()
        self.pipe.send(turn)
        if not self.pipe.recv():
            raise Enough
        self.mine.set()
        self.left, self.began, self.waited = self.steps, perf_counter(), 0.0


def work(pipe: Connection, side: Callable, folder: Path, device: str, steps: int) -> None:
    """Answer the losses of the check, then take turns; at the end answer base and peak memory."""
    with networks.answering(pipe):
        if device == "cuda":
            networks.halve_memory()
        base = memory_use(device)[0]
        with suppress(Enough):
            side(folder, Turns(pipe, device, steps))
        pipe.send((base, memory_use(device)[1]))


def undropped() -> Any:
    """A context without dropout."""
    return patch.object(nn.Dropout2d, "forward", lambda _, x: x)


class Silent(ProgressDisplay):
    """Shows nothing and tells of each step."""

    turns: Turns | None = None

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.bar.disable = True

    def step(self) -> None:
        super().step()
        if self.turns:
            self.turns.step()

    def epoch(self, *_: Any) -> None:
        pass


def ours(folder: Path, turns: Turns) -> None:
    """Train by lkca.train.train: epochs of one step, whose losses the history tells, and then in turns."""
    train.ProgressDisplay, resume.CHECKPOINT_SECONDS = (
        Silent,
        inf,
    )  # else it would be saved in each turn, as time passes between them

    def run(of: Path) -> None:
        teacher = folder.parent / TEACHER / "weights.safetensors" if read_run(of / "run.json").distill else None
        files = of / "run.json", folder.parent / "scene.npy", of / "split.json"
        train.train(*files, teacher, of / "weights.safetensors", of / "history.csv")

    with undropped():
        run(folder / "check")
    with (folder / "check/history.csv").open() as file:
        turns.pipe.send([float(row["loss"]) for row in csv.DictReader(file)])
    Silent.turns = turns
    run(folder / "timed")


class Stored(Dataset):
    """Stored patches, each in 8 orientations: LR, bicubic and HR, as published repositories load them.

    Args:
        folder: Of the files.
        mine: Set while they may be read.
    """

    def __init__(self, folder: Path, mine: Any) -> None:
        self.files, self.mine = sorted(folder.iterdir()), mine

    def __len__(self) -> int:
        return 8 * len(self.files)

    def __getitem__(self, index: int) -> list[Tensor]:
        while not self.mine.wait(timeout=1):
            if not multiprocessing.parent_process().is_alive():
                sys.exit()
        images = loadmat(self.files[index // 8])
        return [self.tensor(images[name], index % 8) for name in ("ms", "ms_bicubic", "gt")]

    def tensor(self, image: np.ndarray, orientation: int) -> Tensor:
        image = np.rot90(image, orientation % 4)
        if orientation >= 4:
            image = np.flipud(image)
        return torch.from_numpy(image.transpose(2, 0, 1).copy())


def plain_network(run: RunConfig) -> nn.Module:
    return getattr(published, MODELS[run.arch].class_name)(run.bands, run.scale, **run.args, **run.upsampler)


def plain_step(folder: Path, device: str) -> Callable[[Tensor, Tensor], float]:
    """One step of the usual loop, from LR and HR to the loss; the network starts with our weights."""
    run = read_run(folder / "run.json")
    torch.manual_seed(run.seed)
    net, guide = plain_network(run).to(device), None
    if run.distill:
        teacher = folder.parents[1] / TEACHER
        taught, guide = build_network(read_run(teacher / "run.json")), plain_network(read_run(teacher / "run.json"))
        load_weights(teacher / "weights.safetensors", taught, run.teacher_sha256)
        for theirs, mine in zip(guide.parameters(), taught.parameters(), strict=True):
            theirs.data = mine.data.view_as(theirs)
        guide = guide.to(device).eval()
    optimiser = torch.optim.Adam(net.parameters(), run.train.learning_rate)

    def step(ms: Tensor, gt: Tensor) -> float:
        ms, gt = ms.to(device), gt.to(device)
        optimiser.zero_grad()
        sr = net(ms)
        loss = published.supervised(sr, gt, run.train)
        if guide:
            with torch.no_grad():
                target = guide(ms)
            loss = loss + losses.distillation_weight(run.distill, 0) * published.distillation(sr, target, run.distill)
        loss.backward()
        optimiser.step()
        return loss.item()

    return step


def plain(folder: Path, turns: Turns) -> None:
    """Train by the usual loop: some steps on one batch, whose losses are told, and then in turns."""
    data = Stored(folder.parent / "patches", turns.mine)
    batch = read_run(folder / "timed/run.json").train.batch
    step = plain_step(folder / "check", turns.device)
    ms, _, gt = default_collate([data[i] for i in range(batch)])
    with undropped():
        turns.pipe.send([step(ms, gt) for _ in range(CHECKED)])
    step = plain_step(folder / "timed", turns.device)
    endless = RandomSampler(data, replacement=True, num_samples=10**9)  # shuffled; no epoch ends in a turn
    workers = min(8, os.cpu_count())
    loader = iter(DataLoader(data, batch, sampler=endless, num_workers=workers, multiprocessing_context=FORK))
    while True:
        began = perf_counter()
        ms, _, gt = next(loader)
        turns.waited += perf_counter() - began
        step(ms, gt)
        turns.step()


def prepare(folder: Path, e: Experiment) -> None:
    """Make up a scene with its split, stored patches and a teacher that is not just bicubic."""
    rows, columns = np.mgrid[0:288, 0:256].astype(np.float32) / 9
    bands = np.arange(BANDS, dtype=np.float32)[:, None, None] / 9
    cube = 0.5 + 0.3 * np.sin(rows + bands) * np.cos(columns - bands)
    cube += np.random.default_rng(0).normal(0, 0.01, cube.shape).astype(np.float32)
    np.save(folder / "scene.npy", cube)
    area = {"use": "both", "row": 0, "rows": 288, "columns": 256, "crop": [0, 288, 0, 256]}
    scene = {"scene": "fake_results", "divisor": 1, "areas": [area], "sha256": sha256(folder / "scene.npy")}
    write_json(folder / "scene.json", scene | {"shape": cube.shape})
    test = TestTiles(rows=SIDE, columns=SIDE, tile=[SIDE, SIDE])
    grid = SplitSettings(scale=SCALE, size=SIDE, stride=4, sampling="grid", validation=0.01, test=test)
    splits.write_split(grid, folder / "scene.json", folder / "split.json")
    (folder / "patches").mkdir()
    for i, (row, column) in enumerate(read_json(folder / "split.json")["train"][:FILES]):
        gt = cube[:, row : row + SIDE, column : column + SIDE]
        images = {"gt": gt, "ms": resize(gt, 1 / SCALE), "ms_bicubic": resize(resize(gt, 1 / SCALE), SCALE)}
        savemat(folder / f"patches/{i:03}.mat", {name: image.transpose(1, 2, 0) for name, image in images.items()})
    write_run(folder, TEACHER, e, TEACHER, read_json(folder / "split.json"), {})
    run, weights = folder / TEACHER / "run.json", folder / TEACHER / "weights.safetensors"
    torch.manual_seed(1)
    teacher = build_network(read_run(run))
    teacher.upsampler.reset_parameters()
    save_weights(weights, teacher.state_dict(), sha256(run), 1)


def write_run(folder: Path, name: str, e: Experiment, model: str, split: dict, changes: dict, **args: float) -> None:
    """Write split.json and run.json in folder/name: config.yaml's with changes of `train` and of the network's args."""
    run, place = RunSettings.of(e, RunGroup("chikusei", SCALE, model)).model_dump(), folder / name
    run |= {"train": run["train"] | changes, "args": run["args"] | args}
    write_json(place / "split.json", split)
    teacher = folder / TEACHER / "run.json" if run["distill"] else None
    settings = RunSettings.model_validate(run)
    run_files.write_run(settings, 0, folder / "scene.json", place / "split.json", teacher, place / "run.json")


def measure(folder: Path, e: Experiment, name: str, changes: dict[str, Any], device: str) -> dict[str, Any]:
    """Let our training of a network and the plain one take turns.

    Args:
        folder: What `prepare` made.
        e: config.yaml.
        name: Of the network.
        changes: Of our training settings.
        device: cpu or cuda.

    Returns:
        The columns of numbers of a line, by name.

    Raises:
        LkcaError: If one of the two fails.
    """
    pace, split = PACES[device], read_json(folder / "split.json")
    batch = pace.batches.get(name, 32)
    changes = changes | {"batch": batch, "steps": None}
    write_run(folder, f"{name}/timed", e, name, split, changes)
    few = {"train": split["train"][: batch // 8], "validation": split["validation"][:1]}  # a batch shows all of them
    constant = {"epochs": CHECKED, "steps": 1, "cosine_to": None, "step_epochs": CHECKED, "step_factor": 1.0}
    args = {"drop_path": 0.0} if "drop_path" in e.models[name].args else {}
    write_run(folder, f"{name}/check", e, name, split | few, changes | constant, **args)
    sides = {f"{name} ({side.__name__})": (side, folder / name, device, pace.steps) for side in (ours, plain)}
    with networks.workers(work, sides) as pair:
        ours_losses, plain_losses = (np.array(answer(pipe, who)) for pipe, who in pair)
        for pipe, who in pair:
            answer(pipe, who)  # the first step is done
        turns = [[answer(pipe, who, True) for pipe, who in pair] for _ in range(pace.warm_up + pace.turns)]
        (base, peak), (their_base, their_peak) = (answer(pipe, who, False) for pipe, who in pair)
    seconds, waited = np.moveaxis(np.array(turns[pace.warm_up :]), 2, 0)  # of turns and sides
    rates = pace.steps * batch / seconds
    ratios = rates[:, 0] / rates[:, 1]
    return {
        "batch": batch,
        "samples_per_second": median(rates[:, 0]),
        "plain_samples_per_second": median(rates[:, 1]),
        "ratio": median(ratios),
        "ratio_min": min(ratios),
        "ratio_max": max(ratios),
        "peak_GiB": (peak - base) / 2**30,
        "plain_peak_GiB": (their_peak - their_base) / 2**30,
        "process_GiB": peak / 2**30,
        "plain_process_GiB": their_peak / 2**30,
        "data_wait": waited[:, 1].sum() / seconds[:, 1].sum(),
        "loss_difference": np.abs(ours_losses / plain_losses - 1).max(),
    }


def main() -> None:
    """Measure, print a table and write the CSV, a network at a time."""
    parser = argparse.ArgumentParser(description="Time our training beside a plain loop.")
    parser.add_argument("--device", choices=PACES, default="cpu")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=NETWORKS)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change our training settings")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "benchmarks", help="folder of the CSV")
    options = parser.parse_args()
    changes = {key: yaml.safe_load(value) for key, _, value in (text.partition("=") for text in options.set)}
    if changes.keys() & {"batch", "steps", "epochs"}:
        parser.error("--set: batch, steps and epochs are chosen here: change others.")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that it leaves no files either
    networks.ready("training", options.device)
    if options.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # for the workers, whose training takes a GPU that is there
    facts = networks.facts_of(options.device)
    path = options.out / f"training_{networks.file_name(facts['device'])}.csv"
    with networks.ending("training"):
        with TemporaryDirectory() as temporary:
            e = read_config([REPOSITORY / "config.yaml"])
            prepare(Path(temporary), e)
            print(f"{facts['device']}, {facts['threads']} threads, torch {facts['torch']}; ours / plain")
            print(f"{'':11}batch{'samples/s':>20}{'times faster':>24}{'wait':>6}{'peak GiB':>16}{'loss differs':>14}")
            for name in options.networks:
                found = measure(Path(temporary), e, name, changes, options.device)
                line = {"network": name, "settings": " ".join(sorted(options.set))}
                rows = list(csv.DictReader(path.open())) if path.exists() else []
                rows = [row for row in rows if not line.items() <= row.items()]
                rows.append(line | {key: f"{value:.4g}" for key, value in found.items()} | facts)
                networks.write(path, rows)
                print(
                    f"{name:11}"
                    "{batch:5}{samples_per_second:11.2f} /{plain_samples_per_second:7.2f}"
                    "{ratio:9.2f} ({ratio_min:.2f} to {ratio_max:.2f}){data_wait:6.0%}"
                    "{peak_GiB:9.2f} /{plain_peak_GiB:5.2f}{loss_difference:14.1e}".format(**found),
                    flush=True,
                )
        print(path)


if __name__ == "__main__":
    main()
