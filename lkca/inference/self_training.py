"""Train a network on a cube of the user's own and test it on held-out blocks; all files are in one folder.

The cube, degraded by the scale, is the input of the training, and the cube itself is the truth (Wald's protocol).
"""

import time
from contextlib import redirect_stdout
from io import StringIO
from math import floor, log10
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from lkca.config.run import dump_run
from lkca.config.schema import Experiment, RunConfig, Train
from lkca.core.files import sha256, write_json
from lkca.core.paths import HISTORY_FILE, IMAGE_FILE, RUN_FILE, SCORES_FILE, WEIGHTS_FILE
from lkca.data import patches
from lkca.data.degrade import BICUBIC
from lkca.data.splits import read_invalid_pixels, write_split
from lkca.inference.enlarge import exact_convolutions
from lkca.inference.own_cube import MANIFEST_FILE, SCENE, SCENE_FILE, choose_split
from lkca.models.registry import allowed_groups, check_sizes
from lkca.scoring.evaluate import evaluate
from lkca.training.networks import build_initial_network
from lkca.training.schedule import steps_for_all_patches
from lkca.training.train import compute_losses, set_up_device

SPLIT_FILE, BICUBIC_FOLDER = "split.json", "bicubic"
TEST_FILES = [SCORES_FILE, f"{BICUBIC_FOLDER}/{RUN_FILE}", f"{BICUBIC_FOLDER}/{SCORES_FILE}"]
EPOCHS = 10  # each ends with a validation; the epoch with the lowest validation error gives the weights
BATCH = 8
LKCA_RATE = 1e-3  # learning rate of LKCA networks for batches of 8: half of the paper's for batches of 32
FINAL_RATE = 0.1  # of a cosine schedule, as a fraction of the first one: the paper's
SMOOTHED = 0.25  # of the patches of a step
GRID_WEIGHT = 1000  # measured; without it, training makes a visible grid of r pixels in smooth ground
AVERAGES = 20  # the time constant of the average of the weights is this part of the training
TRAINING_SHARE = 0.8  # of the minutes; the rest is for reading, validation, tests and enlarging
WARM_UP_STEPS, TIMED_STEPS = 3, 8  # steps before those that are timed to plan the training, and their number


def prepare_split(folder: Path, manifest: dict[str, Any], scale: int, source: Path) -> None:
    """Write the split of the scene.

    Raises:
        ConfigError: If the scene is too small.
    """
    area, invalid = manifest["areas"][0], read_invalid_pixels(folder / SCENE_FILE, manifest)
    settings = choose_split(area["rows"], area["columns"], scale, invalid, str(source))
    with redirect_stdout(StringIO()):  # it proposes other settings, which this command does not have
        write_split(settings, 0, folder / SCENE_FILE, folder / MANIFEST_FILE, folder / SPLIT_FILE)


def prepare_run(
    folder: Path,
    experiment: Experiment,
    manifest: dict[str, Any],
    split: dict[str, Any],
    options: dict[str, Any],
    minutes: float,
    steps: int | None,
) -> None:
    """Plan the training and write run.json.

    The number of steps is in run.json, so that a training that is stopped and goes on is the same.
    """
    model = experiment.models[options["method"]]
    assert model.train is not None
    bands, upsampler = manifest["bands"], model.upsampler.model_dump() if model.upsampler else None
    if upsampler:  # as many groups as the model has, or fewer if the number of bands does not allow them
        allowed = allowed_groups(model.arch, len(bands), options["scale"], model.args)
        upsampler = {"groups": max(groups for groups in allowed if groups <= upsampler["groups"])}
    check_sizes(model.arch, len(bands), options["scale"], model.args, upsampler)
    rate = LKCA_RATE if model.arch == "lkca" else model.train.learning_rate
    changes = {
        "epochs": 1,
        "steps": None,
        "batch": BATCH,
        "learning_rate": rate,
        "cosine_to": FINAL_RATE * rate,
        "step_epochs": None,
        "step_factor": None,
    }
    run = RunConfig(
        experiment="sharpen",
        scene=SCENE,
        scale=options["scale"],
        model=options["method"],
        seed=options["seed"],
        bands=len(bands),
        arch=model.arch,
        args=model.args,
        upsampler=upsampler,
        train=Train.model_validate(model.train.model_dump() | changes),
        distill=None,
        scene_sha256=manifest["sha256"],
        split_sha256=sha256(folder / SPLIT_FILE),
        teacher_sha256=None,
        blur=None if options["blur"] == BICUBIC else options["blur"],
        smoothed=SMOOTHED,
        grid=GRID_WEIGHT,
    )
    total = steps or plan_steps(run, folder, split, minutes)
    run = run.model_copy(update={"train": divide_steps(run, split, total)})
    averaged = 1 - AVERAGES / number if (number := count_steps(run)) > AVERAGES else None
    write_json(folder / RUN_FILE, dump_run(run.model_copy(update={"averaged": averaged})))


def count_steps(run: RunConfig) -> int:
    """Return the number of steps of a training that `divide_steps` has planned."""
    assert run.train is not None and run.train.steps is not None
    return run.train.epochs * run.train.steps


def divide_steps(run: RunConfig, split: dict[str, Any], total: int) -> Train:
    """Return the training settings with epochs of equal length that have `total` steps together, or a few less.

    For the number of steps that it leads to, `count_steps`, it returns the same settings.
    """
    assert run.train is not None
    steps = min(max(1, total // EPOCHS), steps_for_all_patches(run.train, split))
    return run.train.model_copy(update={"steps": steps, "epochs": total // steps})


def plan_steps(run: RunConfig, folder: Path, split: dict[str, Any], minutes: float) -> int:
    """Return how many training steps take the given time, from the time of a few steps; two digits are not zero."""
    assert run.train is not None
    device = set_up_device(run.train.deterministic)
    network = build_initial_network(run).to(device).train()
    optimiser = torch.optim.Adam(network.parameters(), run.train.learning_rate, fused=True)
    cube = patches.load_scene(folder / SCENE_FILE, run.scene_sha256, device)
    corners = (split["train"] * BATCH)[:BATCH]
    samples = np.array([[row, column, i % patches.ORIENTATIONS] for i, (row, column) in enumerate(corners)])
    seconds = []
    for _ in range(WARM_UP_STEPS + TIMED_STEPS):
        start = time.perf_counter()
        optimiser.zero_grad()
        compute_losses(network, None, patches.gather(cube, split, samples, device), run, 0)[0].backward()
        optimiser.step()
        if device == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    steps = 60 * minutes * TRAINING_SHARE / median(seconds[WARM_UP_STEPS:])
    digits = max(0, floor(log10(max(1, steps))) - 1)
    return max(1, int(steps // 10**digits * 10**digits))


def score_network(folder: Path, run: RunConfig) -> None:
    """Score the network and bicubic on the held-out blocks, and write TEST_FILES."""
    changes: dict[str, Any] = {"model": "bicubic", "arch": "bicubic", "args": {}, "upsampler": None, "train": None}
    write_json(folder / BICUBIC_FOLDER / RUN_FILE, dump_run(run.model_copy(update=changes)))
    for place, weights in ((folder, folder / WEIGHTS_FILE), (folder / BICUBIC_FOLDER, None)):
        with exact_convolutions():  # as the cube is enlarged
            evaluate(
                place / RUN_FILE,
                folder / SCENE_FILE,
                folder / SPLIT_FILE,
                folder / MANIFEST_FILE,
                weights,
                folder / HISTORY_FILE if weights else None,
                0,
                None,
                place / SCORES_FILE,
                place / IMAGE_FILE,
            )
