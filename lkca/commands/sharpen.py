"""`lkca sharpen`: learn from a cube how to enlarge it, test that on held-out blocks, and enlarge the whole cube."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from math import floor, log10
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from lkca.commands.arrays import join_axes
from lkca.commands.upscale import check_paths, describe_command, print_result
from lkca.config.load import REPOSITORY, read_config
from lkca.config.run import dump_run, read_run
from lkca.config.schema import Experiment, RunConfig, Train
from lkca.core.files import read_json, sha256, write_json
from lkca.core.locks import exclusive_lock
from lkca.core.paths import HISTORY_FILE, IMAGE_FILE, RUN_FILE, SCORES_FILE, WEIGHTS_FILE
from lkca.data import patches
from lkca.data.degrade import BICUBIC, parse_blur
from lkca.data.splits import read_invalid_pixels, write_split
from lkca.errors import ConfigError, DataError
from lkca.inference.enlarge import Mode
from lkca.inference.own_cube import (
    FILLED_FILE,
    MANIFEST_FILE,
    SCENE,
    SCENE_FILE,
    choose_split,
    describe_input,
    prepare_scene,
)
from lkca.inference.result import describe_result, write_result
from lkca.models.registry import build, check_sizes
from lkca.paper.statistics import estimate_mean
from lkca.scoring.evaluate import evaluate
from lkca.training.checkpoint import load_weights
from lkca.training.networks import build_initial_network, build_network
from lkca.training.schedule import steps_for_all_patches
from lkca.training.train import compute_losses, set_up_device, train

FOLDER_SUFFIX = ".lkca"  # of the folder next to OUTPUT that holds all that a second call needs
SPLIT_FILE, SETTINGS_FILE = "split.json", "settings.json"
EPOCHS = 10  # each ends with a validation; the epoch with the lowest validation error gives the weights
BATCH = 8
LKCA_RATE = 1e-3  # learning rate of LKCA networks for batches of 8: half of the paper's for batches of 32
FINAL_RATE = 0.1  # of a cosine schedule, as a fraction of the first one: the paper's
TRAINING_SHARE = 0.8  # of the minutes; the rest is for reading, validation, tests and enlarging
WARM_UP_STEPS, TIMED_STEPS = 3, 8  # steps before those that are timed to plan the training, and their number


@dataclass(frozen=True)
class Gain:
    """How much better the network is than bicubic on the held-out blocks.

    Args:
        difference: MPSNR of the network minus that of bicubic, dB.
        low, high: Its 95 % interval over the test images; None if there are too few.
    """

    difference: float
    low: float | None
    high: float | None

    @property
    def is_shown(self) -> bool:
        """Whether the whole interval is above zero."""
        return self.low is not None and self.low > 0

    def __str__(self) -> str:
        interval = "no interval" if self.low is None else f"95 % interval {self.low:.2f} to {self.high:.2f}"
        return f"{abs(self.difference):.2f} dB {'better' if self.difference > 0 else 'worse'} than bicubic ({interval})"


def sharpen(
    source: Path,
    output: Path,
    scale: int,
    method: str,
    minutes: float,
    steps: int | None,
    blur: str,
    seed: int,
    or_bicubic: bool,
    mode: Mode,
    bands: str,
    axes: Sequence[str] | None,
    variable: str | None,
    invalid: Sequence[float] | None,
    dtype: str | None,
    cog: bool,
) -> None:
    """Train a network on a cube, test it on held-out blocks of the cube, and enlarge the whole cube.

    The cube, degraded by the scale, is the input of the training, and the cube itself is the truth (Wald's protocol).
    All that a second call needs is in the folder OUTPUT.lkca: a call that was stopped goes on where it was.

    Args:
        source: The cube, a file in any format of `lkca.data.readers`.
        output: The file to write.
        scale: The factor r.
        method: Key of a model in config.yaml.
        minutes: Time that the whole call may take, about.
        steps: Number of training steps; None for as many as the minutes allow. With a number, another call with the
            same arguments gives the same result.
        blur: How the cube is degraded: see `lkca.data.degrade.degrade`.
        seed: Seed of the training.
        or_bicubic: Whether to write bicubic's result if the network is not better.
        mode, bands, axes, variable, invalid, dtype, cog: As in `lkca.commands.upscale.upscale`.

    Raises:
        LkcaError: If the cube cannot be read or is too small, or the result cannot be written.
        ConfigError: If an option is wrong.
        DataError: If the network is not better than bicubic, and bicubic's result is not asked for.
    """
    check_paths(source, output)
    experiment = read_config([REPOSITORY / "config.yaml"])
    check_options(experiment, scale, method, minutes, steps, blur, seed)
    cube = describe_input(source, bands, join_axes(axes), variable, invalid)
    folder = output.with_name(output.name + FOLDER_SUFFIX)
    with exclusive_lock(output):
        options = {
            "input": {path: sha256(Path(path)) for path in cube.pixel_files().values()},
            "cube": cube.model_dump(mode="json"),
            "scale": scale,
            "method": method,
            "plan": {"steps": steps} if steps else {"minutes": minutes},
            "blur": blur,
            "seed": seed,
        }
        check_settings(folder, options, output)
        manifest = prepare_scene(cube, folder)
        split = prepare_split(folder, manifest, scale, source)
        run = prepare_run(folder, experiment, manifest, split, options, minutes, steps)
        weights, curve = folder / WEIGHTS_FILE, folder / HISTORY_FILE
        if not (weights.exists() and curve.exists()):
            train(folder / RUN_FILE, folder / SCENE_FILE, folder / SPLIT_FILE, None, weights, curve)
        scores = test_network(folder, run)
        gain = measure_gain(*scores)
        print(f"On the {len(scores[0]['images'])} held-out blocks, {method} is {gain}.", flush=True)
        if not gain.is_shown and not or_bicubic:
            raise DataError(
                f"{output} is not written: on held-out blocks of {source}, {method} is not shown to be better than "
                f"bicubic ({gain}): give more --minutes, or --or-bicubic to get bicubic's result."
            )
        if gain.is_shown:
            network, model, digest = build_network(run), method, sha256(weights)
            load_weights(weights, network, sha256(folder / RUN_FILE))
        else:
            network, model, digest = build("bicubic", run.bands, scale, {}, None), "bicubic", "none"
        indices = list(range(run.bands))
        has_invalid = bool(manifest.get("invalid_pixels"))
        words = ["lkca", "sharpen", source, output, "--scale", scale, "--method", method, "--mode", mode]
        words += ["--steps", count_steps(run), "--blur", blur, "--seed", seed]
        history = f"{describe_command(words, model, digest)}; on held-out blocks {method} was {gain}"
        description = describe_result(manifest, indices, scale, dtype, has_invalid, history)
        result = write_result(
            network.eval(), scale, folder, manifest, manifest["divisor"], indices, mode, description, output, cog
        )
        (folder / FILLED_FILE).unlink()  # it is as large as the scene, and quickly made again
    print_result(output, result)


def check_options(
    experiment: Experiment, scale: int, method: str, minutes: float, steps: int | None, blur: str, seed: int
) -> None:
    """Check the options that are not paths.

    Raises:
        ConfigError: If one of them is wrong.
    """
    choices = [name for name, model in experiment.models.items() if model.train and not model.distill]
    if method not in choices:
        raise ConfigError(f"--method {method} cannot be trained on one cube: choose one of {', '.join(choices)}.")
    if not 2 <= scale <= 8:
        raise ConfigError(f"--scale {scale} is out of range: choose from 2 to 8.")
    if not 0.1 <= minutes <= 10_000:
        raise ConfigError(f"--minutes {minutes:g} is out of range: choose from 0.1 to 10000.")
    if not 0 <= seed < 2**32:
        raise ConfigError(f"--seed {seed} is out of range: choose from 0 to {2**32 - 1}.")
    if steps is not None and not 1 <= steps <= 10**6:
        raise ConfigError(f"--steps {steps} is out of range: choose from 1 to 1000000.")
    try:
        parse_blur(blur)
    except ValueError as error:
        raise ConfigError(f"--blur: {error}.") from None


def check_settings(folder: Path, options: dict[str, Any], output: Path) -> None:
    """Write the options to the folder, or compare them with those of the call that made it.

    Raises:
        ConfigError: If the folder is that of another call.
    """
    path = folder / SETTINGS_FILE
    if not path.exists():
        write_json(path, options)
        return
    known = read_json(path)
    if different := [name for name, value in options.items() if known.get(name) != value]:
        raise ConfigError(
            f"{folder} holds a training with another {' and '.join(different)}: choose another name for the result "
            f"than {output}, or delete that folder."
        )


def prepare_split(folder: Path, manifest: dict[str, Any], scale: int, source: Path) -> dict[str, Any]:
    """Write the split of the scene, unless it is there, and return it.

    Raises:
        ConfigError: If the scene is too small.
    """
    path = folder / SPLIT_FILE
    if not path.exists():
        area, invalid = manifest["areas"][0], read_invalid_pixels(folder / SCENE_FILE, manifest)
        settings = choose_split(area["rows"], area["columns"], scale, invalid, str(source))
        write_split(settings, 0, folder / SCENE_FILE, folder / MANIFEST_FILE, path)
    content: dict[str, Any] = read_json(path)
    return content


def prepare_run(
    folder: Path,
    experiment: Experiment,
    manifest: dict[str, Any],
    split: dict[str, Any],
    options: dict[str, Any],
    minutes: float,
    steps: int | None,
) -> RunConfig:
    """Plan the training and write run.json, unless it is there, and return the run.

    The number of steps is in run.json, so that a training that is stopped and goes on is the same.
    """
    path = folder / RUN_FILE
    if not path.exists():
        model = experiment.models[options["method"]]
        assert model.train is not None
        bands, upsampler = manifest["bands"], model.upsampler.model_dump() if model.upsampler else None
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
        )
        total = steps or plan_steps(run, folder, split, minutes)
        write_json(path, dump_run(run.model_copy(update={"train": divide_steps(run, split, total)})))
    run = read_run(path)
    total = count_steps(run)
    print(f"{run.model}: {total} training steps of {BATCH} patches (--steps {total} repeats this training)", flush=True)
    return run


def count_steps(run: RunConfig) -> int:
    """Return the number of steps of a training that `divide_steps` has planned."""
    assert run.train is not None and run.train.steps is not None
    return run.train.epochs * run.train.steps


def divide_steps(run: RunConfig, split: dict[str, Any], total: int) -> Train:
    """Return the training settings with epochs of equal length that have about `total` steps together."""
    assert run.train is not None
    steps = min(max(1, total // EPOCHS), steps_for_all_patches(run.train, split))
    return run.train.model_copy(update={"steps": steps, "epochs": max(1, round(total / steps))})


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


def test_network(folder: Path, run: RunConfig) -> tuple[dict[str, Any], dict[str, Any]]:
    """Score the network and bicubic on the held-out blocks, unless that is done; return both scores.json."""
    bicubic = folder / "bicubic"
    if not (bicubic / RUN_FILE).exists():
        changes: dict[str, Any] = {"model": "bicubic", "arch": "bicubic", "args": {}, "upsampler": None, "train": None}
        write_json(bicubic / RUN_FILE, dump_run(run.model_copy(update=changes)))
    results = []
    for place, weights in ((folder, folder / WEIGHTS_FILE), (bicubic, None)):
        if not (place / SCORES_FILE).exists():
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
        results.append(read_json(place / SCORES_FILE))
    return results[0], results[1]


def measure_gain(scores: dict[str, Any], bicubic: dict[str, Any]) -> Gain:
    """Return how much better the network is than bicubic; each held-out block is compared with itself."""
    pairs = zip(scores["images"], bicubic["images"], strict=True)
    table = np.array([[ours["scores"]["MPSNR"] - theirs["scores"]["MPSNR"] for ours, theirs in pairs]])
    difference = estimate_mean(table, images="held-out blocks", seeds=None)
    low, high = difference.interval() or (None, None)
    return Gain(difference.value, low, high)
