"""Compare the speed of our training with that of a plain loop like those of published repositories: `make bench`.

For each network, two fresh processes take turns, so that other load on the machine affects both equally, and what the
host of a virtual machine or a limit of processor time disturbed is repeated (`lkca.scoring.rounds`). Our process
runs lkca.training.train on a scene, a split and a run.json. The plain loop is float32 and eager: networks and losses of
published.py, torch.optim.Adam, and a DataLoader with worker processes (one for each core, at most 8). The workers read
each patch from a file of its own, as MATLAB scripts write them. The scene is synthetic; after the first read, all files
are in the system's cache. Networks and settings are those of config.yaml, with 128 bands, x4 and HR patches of 64 x 64.
Columns of the CSV:

- settings: changes of our training settings by --set; a line replaces the one with the same network and settings.
- samples_per_second, plain_samples_per_second: HR patches through forward, loss, backward and optimiser; median over
  the turns that were not disturbed. Startup, the first step, validation and our checkpoints are not measured.
- ratio, ratio_low, ratio_high: ours / plain from the same rounds and its 95 % interval; above 1 ours is faster.
- disturbed: why there is no ratio; empty if there is one.
- peak_GiB, plain_peak_GiB, process_GiB, plain_process_GiB: as in networks.py, but the base is the memory before the
  network was built; the loader's processes are not included.
- data_wait: fraction of its time that the plain loop waits for the loader.
- loss_difference: largest relative difference of the losses of the first three steps, with the same weights, on one
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
from functools import partial
from math import inf, nan
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
from networks import BANDS, REPOSITORY, SCALE, memory_use, request
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
from lkca.scoring.load import LoadMeter
from lkca.scoring.rounds import MIN_ROUNDS, Rounds, Turn
from lkca.training import losses, resume, train
from lkca.training.checkpoint import load_weights, save_weights
from lkca.training.networks import build_network
from lkca.training.progress import ProgressDisplay

NETWORKS = ["lkca", "lkca_lr", "lkca_kd", "sspsr", "msdformer", "essaformer"]
TEACHER = "lkca_64"
PATCH_SIZE, NUM_FILES = 64, 64  # height and width of an HR patch; number of patch files
MAX_SECONDS = 120.0  # limit of time of the turns of a network
COMPARED_STEPS = 3  # steps whose losses are compared
FORK = multiprocessing.get_context("fork")  # the default of DataLoader


class Protocol(NamedTuple):
    """How much is timed.

    On a GPU, a turn has more steps than the loader prefetches batches: two for each of its processes.

    Args:
        warm_up: Turns before them, which are not timed.
        steps: Training steps of a turn.
        batches: Network -> batch size where it is not 32.
    """

    warm_up: int
    steps: int
    batches: dict[str, int]


PROTOCOLS = {
    "cpu": Protocol(warm_up=0, steps=1, batches={"sspsr": 8, "msdformer": 8, "essaformer": 8}),
    "cuda": Protocol(warm_up=1, steps=20, batches={}),
}


class Finished(Exception):
    """The parent has asked for the end."""


class Turns:
    """Make a training wait after its first step, and then after each turn.

    Args:
        pipe: Receives True for a turn and False for the end. Sends None after the first step, then for each turn its
            seconds and the seconds of waiting for data.
        device: "cpu" or "cuda".
        steps: Steps of a turn.

    Attributes:
        waited: Seconds that this turn has waited for data.
        is_running: Event that is set during a turn of this training.
    """

    def __init__(self, pipe: Connection, device: str, steps: int) -> None:
        self.pipe, self.device, self.steps, self.steps_left = pipe, device, steps, 1
        self.started_at, self.waited, self.is_running = None, 0.0, FORK.Event()
        self.is_running.set()

    def step(self) -> None:
        """Count a step; at the end of a turn, send its times and wait for the next one."""
        self.steps_left -= 1
        if self.steps_left:
            return
        networks.synchronize(self.device)
        times = self.started_at and (perf_counter() - self.started_at, self.waited)
        self.is_running.clear()
        self.pipe.send(times)
        if not self.pipe.recv():
            raise Finished
        self.is_running.set()
        self.steps_left, self.started_at, self.waited = self.steps, perf_counter(), 0.0


def serve_training(pipe: Connection, train_side: Callable, folder: Path, device: str, steps: int) -> None:
    """Train by `train_ours` or `train_plain`, then send the memory before it and the peak, in bytes."""
    with networks.send_errors(pipe):
        if device == "cuda":
            networks.limit_gpu_memory()
        base = memory_use(device)[0]
        with suppress(Finished):
            train_side(folder, Turns(pipe, device, steps))
        pipe.send((base, memory_use(device)[1]))


def no_dropout() -> Any:
    """Return a context in which dropout layers return their input."""
    return patch.object(nn.Dropout2d, "forward", lambda _, x: x)


class TurnDisplay(ProgressDisplay):
    """A display that shows nothing and passes each step to `turns`."""

    turns: Turns | None = None

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.bar.disable = True

    def step(self) -> None:
        super().step()
        if self.turns:
            self.turns.step()

    def epoch(self, *_: Any) -> None:
        pass


def train_ours(folder: Path, turns: Turns) -> None:
    """Train by lkca.training.train: send the losses of a few epochs of one step each, then take turns."""
    train.ProgressDisplay = TurnDisplay
    resume.CHECKPOINT_SECONDS = inf  # otherwise each turn would save one, after the long wait for the other process

    def run(run_folder: Path) -> None:
        run_file = run_folder / "run.json"
        teacher = folder.parent / TEACHER / "weights.safetensors" if read_run(run_file).distill else None
        files = run_file, folder.parent / "scene.npy", run_folder / "split.json"
        train.train(*files, teacher, run_folder / "weights.safetensors", run_folder / "history.csv")

    with no_dropout():
        run(folder / "check")
    with (folder / "check/history.csv").open() as file:
        turns.pipe.send([float(row["loss"]) for row in csv.DictReader(file)])
    TurnDisplay.turns = turns
    run(folder / "timed")


class PatchFiles(Dataset):
    """Patches in files, each in 8 orientations, as published repositories load them: LR, bicubic and HR images.

    Args:
        folder: Folder of the files.
        is_running: Event that is set while files may be read.
    """

    def __init__(self, folder: Path, is_running: Any) -> None:
        self.files, self.is_running = sorted(folder.iterdir()), is_running

    def __len__(self) -> int:
        return 8 * len(self.files)

    def __getitem__(self, index: int) -> list[Tensor]:
        while not self.is_running.wait(timeout=1):
            if not multiprocessing.parent_process().is_alive():
                sys.exit()
        images = loadmat(self.files[index // 8])
        return [self._orient(images[name], index % 8) for name in ("ms", "ms_bicubic", "gt")]

    def _orient(self, image: np.ndarray, orientation: int) -> Tensor:
        image = np.rot90(image, orientation % 4)
        if orientation >= 4:
            image = np.flipud(image)
        return torch.from_numpy(image.transpose(2, 0, 1).copy())


def build_plain_network(run: RunConfig) -> nn.Module:
    """Return the network of a run from published.py."""
    return getattr(published, MODELS[run.arch].class_name)(run.bands, run.scale, **run.args, **run.upsampler)


def make_plain_step(folder: Path, device: str) -> Callable[[Tensor, Tensor], float]:
    """Return the training step of the plain loop: a function of LR and HR batches that returns the loss.

    Its network starts with the weights of ours, and its teacher has the weights of ours.
    """
    run = read_run(folder / "run.json")
    torch.manual_seed(run.seed)
    net, teacher = build_plain_network(run).to(device), None
    if run.distill:
        teacher_folder = folder.parents[1] / TEACHER
        teacher_run = read_run(teacher_folder / "run.json")
        our_teacher, teacher = build_network(teacher_run), build_plain_network(teacher_run)
        load_weights(teacher_folder / "weights.safetensors", our_teacher, run.teacher_sha256)
        for theirs, ours in zip(teacher.parameters(), our_teacher.parameters(), strict=True):
            theirs.data = ours.data.view_as(theirs)
        teacher = teacher.to(device).eval()
    optimiser = torch.optim.Adam(net.parameters(), run.train.learning_rate)

    def step(ms: Tensor, gt: Tensor) -> float:
        ms, gt = ms.to(device), gt.to(device)
        optimiser.zero_grad()
        sr = net(ms)
        loss = published.supervised(sr, gt, run.train)
        if teacher:
            with torch.no_grad():
                target = teacher(ms)
            loss = loss + losses.distillation_weight(run.distill, 0) * published.distillation(sr, target, run.distill)
        loss.backward()
        optimiser.step()
        return loss.item()

    return step


def train_plain(folder: Path, turns: Turns) -> None:
    """Train by the plain loop: send the losses of a few steps on one batch, then take turns."""
    data = PatchFiles(folder.parent / "patches", turns.is_running)
    batch = read_run(folder / "timed/run.json").train.batch
    step = make_plain_step(folder / "check", turns.device)
    ms, _, gt = default_collate([data[i] for i in range(batch)])
    with no_dropout():
        turns.pipe.send([step(ms, gt) for _ in range(COMPARED_STEPS)])
    step = make_plain_step(folder / "timed", turns.device)
    sampler = RandomSampler(data, replacement=True, num_samples=10**9)  # so that no epoch ends
    workers = min(8, os.cpu_count())
    loader = iter(DataLoader(data, batch, sampler=sampler, num_workers=workers, multiprocessing_context=FORK))
    while True:
        started = perf_counter()
        ms, _, gt = next(loader)
        turns.waited += perf_counter() - started
        step(ms, gt)
        turns.step()


def write_inputs(folder: Path, experiment: Experiment) -> None:
    """Write a synthetic scene with its split, files of patches, and a teacher whose output differs from bicubic."""
    rows, columns = np.mgrid[0:288, 0:256].astype(np.float32) / 9
    bands = np.arange(BANDS, dtype=np.float32)[:, None, None] / 9
    cube = 0.5 + 0.3 * np.sin(rows + bands) * np.cos(columns - bands)
    cube += np.random.default_rng(0).normal(0, 0.01, cube.shape).astype(np.float32)
    np.save(folder / "scene.npy", cube)
    area = {"use": "both", "row": 0, "rows": 288, "columns": 256, "crop": [0, 288, 0, 256]}
    scene = {"scene": "synthetic", "divisor": 1, "areas": [area], "sha256": sha256(folder / "scene.npy")}
    write_json(folder / "scene.json", scene | {"shape": cube.shape})
    side = PATCH_SIZE
    test = TestTiles(row=0, column=0, rows=side, columns=side, tile=[side, side], invalid="refuse")
    grid = SplitSettings(scale=SCALE, size=PATCH_SIZE, stride=4, sampling="grid", validation=0.01, test=test)
    splits.write_split(grid, 0, folder / "scene.npy", folder / "scene.json", folder / "split.json")
    (folder / "patches").mkdir()
    for i, (row, column) in enumerate(read_json(folder / "split.json")["train"][:NUM_FILES]):
        gt = cube[:, row : row + PATCH_SIZE, column : column + PATCH_SIZE]
        images = {"gt": gt, "ms": resize(gt, 1 / SCALE), "ms_bicubic": resize(resize(gt, 1 / SCALE), SCALE)}
        savemat(folder / f"patches/{i:03}.mat", {name: image.transpose(1, 2, 0) for name, image in images.items()})
    write_run(folder, TEACHER, experiment, TEACHER, read_json(folder / "split.json"), {})
    run, weights = folder / TEACHER / "run.json", folder / TEACHER / "weights.safetensors"
    torch.manual_seed(1)
    teacher = build_network(read_run(run))
    teacher.upsampler.reset_parameters()
    save_weights(weights, teacher.state_dict(), sha256(run), 1)


def write_run(
    folder: Path, name: str, experiment: Experiment, model: str, split: dict, changes: dict, **args: float
) -> None:
    """Write split.json and run.json of a model to folder/name.

    Args:
        folder: Output of `write_inputs`, or the folder that it is writing.
        name: Name of the subfolder.
        experiment: The experiment of config.yaml.
        model: Key of the model.
        split: Content of split.json.
        changes: Changes of the training settings.
        args: Changes of the network's arguments.
    """
    run, run_folder = RunSettings.of(experiment, RunGroup("chikusei", SCALE, model)).model_dump(), folder / name
    run |= {"train": run["train"] | changes, "args": run["args"] | args}
    write_json(run_folder / "split.json", split)
    teacher = folder / TEACHER / "run.json" if run["distill"] else None
    settings = RunSettings.model_validate(run)
    run_files.write_run(settings, 0, folder / "scene.json", run_folder / "split.json", teacher, run_folder / "run.json")


def measure(folder: Path, experiment: Experiment, name: str, changes: dict[str, Any], device: str) -> dict[str, Any]:
    """Let our training of a network and the plain loop take turns, and return their speed and memory.

    Args:
        folder: Output of `write_inputs`.
        experiment: The experiment of config.yaml.
        name: Key of the model.
        changes: Changes of our training settings.
        device: "cpu" or "cuda".

    Returns:
        Column of the CSV -> number.

    Raises:
        LkcaError: If one of the two fails.
    """
    protocol, split = PROTOCOLS[device], read_json(folder / "split.json")
    batch = protocol.batches.get(name, 32)
    changes = changes | {"batch": batch, "steps": None}
    write_run(folder, f"{name}/timed", experiment, name, split, changes)
    one_batch = {"train": split["train"][: batch // 8], "validation": split["validation"][:1]}  # in 8 orientations
    few_steps = {
        "epochs": COMPARED_STEPS,
        "steps": 1,
        "cosine_to": None,
        "step_epochs": COMPARED_STEPS,
        "step_factor": 1.0,
    }
    args = {"drop_path": 0.0} if "drop_path" in experiment.models[name].args else {}
    write_run(folder, f"{name}/check", experiment, name, split | one_batch, changes | few_steps, **args)
    sides = {"ours": train_ours, "plain": train_plain}
    arguments = {f"{name} ({side})": (sides[side], folder / name, device, protocol.steps) for side in sides}
    with networks.workers(serve_training, arguments) as pair:
        our_losses, plain_losses = (np.array(request(pipe, label)) for pipe, label in pair)
        for pipe, label in pair:
            request(pipe, label)  # the first step is done
        for pipe, label in pair * protocol.warm_up:
            request(pipe, label, True)
        rounds, meter = Rounds(sides, "ours", MAX_SECONDS), LoadMeter()
        times: dict[str, list[tuple[float, float]]] = {label: [] for label in arguments}

        def take_turn(pipe: Connection, label: str) -> Turn:
            meter.restart()
            seconds, waited = request(pipe, label, True)
            times[label].append((seconds, waited))
            # To this process, the two trainings and the loader's processes are other programs.
            return Turn(seconds, meter.read()._replace(others=0.0))

        for _ in MIN_ROUNDS:
            rounds.take_part({side: partial(take_turn, *one) for side, one in zip(sides, pair, strict=True)})
        (base, peak), (plain_base, plain_peak) = (request(pipe, label, False) for pipe, label in pair)
    seconds, waited = np.sum(times[f"{name} (plain)"], axis=0)
    samples = protocol.steps * batch
    return {
        "batch": batch,
        "samples_per_second": samples / median(rounds.times("ours") or [nan]),
        "plain_samples_per_second": samples / median(rounds.times("plain") or [nan]),
        **networks.ratio_columns(rounds),
        "peak_GiB": (peak - base) / 2**30,
        "plain_peak_GiB": (plain_peak - plain_base) / 2**30,
        "process_GiB": peak / 2**30,
        "plain_process_GiB": plain_peak / 2**30,
        "data_wait": waited / seconds,
        "loss_difference": np.abs(our_losses / plain_losses - 1).max(),
    }


def main() -> None:
    """Measure the networks, print a table, and write the CSV after each network."""
    parser = argparse.ArgumentParser(description="Compare the speed of our training with a plain loop.")
    parser.add_argument("--device", choices=PROTOCOLS, default="cpu")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=NETWORKS)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change our training settings")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "benchmarks", help="folder of the CSV")
    options = parser.parse_args()
    changes = {key: yaml.safe_load(value) for key, _, value in (text.partition("=") for text in options.set)}
    if changes.keys() & {"batch", "steps", "epochs"}:
        parser.error("--set: this program sets batch, steps and epochs: change other settings.")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that temporary files are deleted
    networks.check_device("training", options.device)
    if options.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # for the workers, which would train on a GPU
    machine = networks.describe_machine(options.device)
    path = options.out / f"training_{networks.make_slug(machine['device'])}.csv"
    with networks.exit_on_error("training"):
        with TemporaryDirectory() as temporary:
            experiment = read_config([REPOSITORY / "config.yaml"])
            write_inputs(Path(temporary), experiment)
            print(f"{machine['device']}, {machine['threads']} threads, torch {machine['torch']}; ours / plain")
            print(f"{'':11}batch{'samples/s':>20}{'times faster':>24}{'wait':>6}{'peak GiB':>16}{'loss differs':>14}")
            for name in options.networks:
                numbers = measure(Path(temporary), experiment, name, changes, options.device)
                line = {"network": name, "settings": " ".join(sorted(options.set))}
                rows = list(csv.DictReader(path.open())) if path.exists() else []
                rows = [row for row in rows if not line.items() <= row.items()]
                rows.append(line | networks.format_numbers(numbers) | machine)
                networks.write_rows(path, rows)
                print(
                    f"{name:11}"
                    + "{batch:5}{samples_per_second:11.2f} /{plain_samples_per_second:7.2f}".format(**numbers)
                    + networks.format_ratio(numbers)
                    + "{data_wait:6.0%}{peak_GiB:9.2f} /{plain_peak_GiB:5.2f}{loss_difference:14.1e}".format(**numbers),
                    flush=True,
                )
        print(path)


if __name__ == "__main__":
    main()
