"""`lkca sharpen`: learn from a cube how to enlarge it, test that on held-out blocks, and enlarge the whole cube."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from lkca import __version__
from lkca.commands.enlarging import (
    check_paths,
    describe_network,
    format_command,
    list_left_out,
    list_notes,
    plain_words,
    print_result,
)
from lkca.config.load import REPOSITORY, read_config
from lkca.config.run import read_run
from lkca.config.schema import Experiment, RunConfig
from lkca.core.environment import default_device
from lkca.core.files import read_json, sha256
from lkca.core.locks import exclusive_lock
from lkca.core.paths import HISTORY_FILE, RUN_FILE, SCORES_FILE, WEIGHTS_FILE
from lkca.core.result_files import ManifestFile, SplitFile, read_result
from lkca.data import patches
from lkca.data.degrade import BICUBIC, degrade, parse_blur
from lkca.data.splits import describe_numbers
from lkca.data.writers import OutputDescription, check_output
from lkca.errors import ConfigError, DataError
from lkca.inference.cube_file import CubeFile
from lkca.inference.enlarge import TensorImage, enlarge_arrays, exact_convolutions, find_device
from lkca.inference.orientations import can_compute_spread, spread_of_block, write_spread
from lkca.inference.own_cube import (
    FILLED_FILE,
    MANIFEST_FILE,
    SCENE_FILE,
    check_reading,
    cut_cube,
    describe_input,
    fill_invalid,
)
from lkca.inference.result import Mode, Result, describe_result, write_result
from lkca.inference.self_training import (
    BICUBIC_FOLDER,
    SPLIT_FILE,
    TEST_FILES,
    count_steps,
    prepare_run,
    prepare_split,
    score_network,
)
from lkca.inference.trust import HeldOutImage, TrustSummary, find_map_path, write_trust_map
from lkca.inference.work_folder import WorkFolder, finish_moves, list_moved, move_result, start_result
from lkca.models.registry import build
from lkca.paper.statistics import estimate_mean
from lkca.report.sharpen_page import ScoreRow, SharpenFacts, write_sharpen_page
from lkca.scoring.evaluate import reconstruct
from lkca.scoring.metrics import SCORES
from lkca.training.checkpoint import load_weights
from lkca.training.networks import build_network
from lkca.training.train import train

SHORT_TRAINING = "The training ended before it had shown every patch in each of its eight orientations."
FOLDER_SUFFIX = ".lkca"  # of the folder next to OUTPUT that holds all that a second call needs
SPREAD_FILE = "spread.npy"


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
    set: Sequence[str],
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
        mode, bands, set, dtype, cog: As in `lkca.commands.upscale.upscale`.

    Raises:
        LkcaError: If the cube cannot be read or is too small, or the result cannot be written.
        ConfigError: If an option is wrong.
        DataError: If the network is not better than bicubic, and bicubic's result is not asked for.
    """
    page = find_page_path(output)
    folder = output.with_name(output.name + FOLDER_SUFFIX)
    check_paths(source, output, find_map_path(output), page, moved=list_moved(folder, output))
    experiment = read_config([REPOSITORY / "config.yaml"])
    check_options(experiment, scale, method, minutes, steps, blur, seed)
    with plain_words():
        cube = describe_input(source, bands, set)
    with plain_words(), announce_stop(), exclusive_lock(folder):
        options: dict[str, Any] = {
            "input": {path: sha256(Path(path)) for path in cube.pixel_files().values()},
            "cube": cube.model_dump(mode="json"),
            "scale": scale,
            "method": method,
            "plan": {"steps": steps} if steps else {"minutes": minutes},
            "blur": blur,
            "seed": seed,
        }
        work = WorkFolder(folder, options)
        form = {"mode": mode, "dtype": dtype, "cog": cog, "or_bicubic": or_bicubic}
        if finish_moves(folder, output, form):
            print(f"{output}: a call that was stopped had computed it; its files are now at their places.")
            return
        work.ensure([SCENE_FILE, MANIFEST_FILE], lambda: cut_cube(cube, folder))
        manifest = read_result(folder / MANIFEST_FILE, ManifestFile)
        check_reading(cube, manifest)
        indices = list(range(len(manifest["bands"])))
        check_output(output, describe_result(manifest, indices, scale, dtype, ""), cog)
        for sentence in list_left_out(manifest):
            print(sentence, flush=True)
        tested = train_and_test(work, experiment, manifest, options, source, minutes, steps)
        words = ["sharpen", source, output, "--scale", scale, "--method", method, "--steps", count_steps(tested.run)]
        words += ["--blur", blur, "--seed", seed, *(["--or-bicubic"] if or_bicubic else [])]
        command = format_command(words, mode, bands, set, dtype, cog)
        facts = collect_facts(tested, (source, options["input"][str(cube.files[0].local_path())]), command)
        if not tested.is_better and not or_bicubic:
            write_sharpen_page(folder / page.name, facts)
            raise DataError(
                f"{output} is not written: on held-out blocks of {source}, {method} is not shown to be better than "
                f"bicubic ({tested.gain}; {folder / page.name}): give --or-bicubic to get bicubic's result, or delete "
                f"{folder} and give more --minutes."
            )
        network, model, digest = load_better(tested)
        history = f"{command}; {describe_network(model, digest)}; on held-out blocks {method} was {tested.gain}"
        description = describe_result(manifest, indices, scale, dtype, history)
        target = start_result(folder) / output.name  # all files move to their places together, when they are complete
        result, trust = write_cube_and_map(tested, network, mode, description, target, cog)
        facts = replace(
            facts,
            written="network" if tested.is_better else "bicubic",
            output=target,
            trust_map=find_map_path(target),
            trust=trust,
            files=[output, find_map_path(output), page],
            notes=[*facts.notes, *list_notes(result)],
        )
        write_sharpen_page(target.with_name(page.name), facts)
        move_result(folder, output, form)
    print_result(output, result, model)
    print(f"{find_map_path(output)}: how far each pixel can be trusted\n{page}: pictures, scores and explanations")


@dataclass(frozen=True)
class Tested:
    """A network that was trained on a cube and tested on held-out blocks of it.

    Args:
        folder: The folder of its files.
        manifest, split, run, scores: The contents of these files.
        rows: The scores of the network and of bicubic; see `compare_scores`.
    """

    folder: Path
    manifest: dict[str, Any]
    split: dict[str, Any]
    run: RunConfig
    scores: dict[str, Any]
    rows: Sequence[ScoreRow]

    @property
    def is_better(self) -> bool:
        """Whether the network is shown to be better than bicubic, by MPSNR."""
        return self._psnr.outcome == "better"

    @property
    def gain(self) -> str:
        """How much better or worse the network is than bicubic, by MPSNR, in words."""
        psnr = self._psnr
        interval = "no interval" if psnr.low is None else f"95 % interval {psnr.low:.3f} to {psnr.high:.3f}"
        return f"{abs(psnr.difference):.3f} dB {'better' if psnr.difference > 0 else 'worse'} than bicubic ({interval})"

    @property
    def _psnr(self) -> ScoreRow:
        return next(row for row in self.rows if row.name == "MPSNR")


def train_and_test(
    work: WorkFolder,
    experiment: Experiment,
    manifest: dict[str, Any],
    options: dict[str, Any],
    source: Path,
    minutes: float,
    steps: int | None,
) -> Tested:
    """Divide a scene, train a network on it and score it on the held-out blocks, as far as it is not done yet.

    Args:
        work: The folder of the call, with the scene.
        experiment: The settings of the models.
        manifest: The manifest of the scene.
        options: The options of the call.
        source, minutes, steps: As in `sharpen`.

    Raises:
        LkcaError: If the scene is too small, or the training fails.
    """
    folder = work.path
    work.ensure([SPLIT_FILE], lambda: prepare_split(folder, manifest, options["scale"], source))
    split = read_result(folder / SPLIT_FILE, SplitFile)
    work.ensure([RUN_FILE], lambda: prepare_run(folder, experiment, manifest, split, options, minutes, steps))
    run = read_run(folder / RUN_FILE)
    number = count_steps(run)
    print(f"{run.model}: {number} training steps (--steps {number} repeats this training)", flush=True)
    inputs = folder / RUN_FILE, folder / SCENE_FILE, folder / SPLIT_FILE, None
    work.ensure([WEIGHTS_FILE, HISTORY_FILE], lambda: train(*inputs, folder / WEIGHTS_FILE, folder / HISTORY_FILE))
    work.ensure(TEST_FILES, lambda: score_network(folder, run))
    scores, bicubic = (read_json(folder / name / SCORES_FILE) for name in ("", BICUBIC_FOLDER))
    tested = Tested(folder, manifest, split, run, scores, compare_scores(scores, bicubic))
    print(f"On the {len(scores['images'])} held-out blocks, {run.model} is {tested.gain}.", flush=True)
    return tested


def load_better(tested: Tested) -> tuple[nn.Module, str, str]:
    """Return the network, or bicubic if the network is not better, its name, and the hash of its weights."""
    run, weights = tested.run, tested.folder / WEIGHTS_FILE
    if not tested.is_better:
        return build("bicubic", run.bands, run.scale, {}, None).eval(), "bicubic", "none"
    network = build_network(run)
    load_weights(weights, network, sha256(tested.folder / RUN_FILE))
    return network.eval().to(default_device()), run.model, sha256(weights)


def write_cube_and_map(
    tested: Tested, network: nn.Module, mode: Mode, description: OutputDescription, target: Path, cog: bool
) -> tuple[Result, TrustSummary]:
    """Enlarge the cube, and write the result and its map of trust.

    Args:
        tested: The network that was tested.
        network: The network to apply, which may be bicubic.
        mode: How it is applied; see `lkca.inference.enlarge`.
        description: What the file says of itself.
        target: The file to write; the map is written next to it.
        cog: Whether to write a Cloud Optimized GeoTIFF.

    Raises:
        LkcaError: If the files cannot be written.
    """
    folder, manifest, run = tested.folder, tested.manifest, tested.run
    fill_invalid(folder / SCENE_FILE, folder / FILLED_FILE)
    apply, indices = partial(enlarge_arrays, network, run.scale), list(range(run.bands))
    divisor = manifest["divisor"]
    result = write_result(apply, run.scale, folder, manifest, divisor, indices, mode, description, target, cog)
    spread = compute_spread(network, folder, run.scale)
    (folder / FILLED_FILE).unlink()  # it is as large as the scene, and quickly made again
    trust = write_trust_map(
        target,
        folder / SCENE_FILE,
        divisor,
        run.scale,
        run.blur or BICUBIC,
        find_training_rows(manifest, tested.split),
        reconstruct_blocks(tested, network, with_spread=spread is not None),
        spread,
    )
    (folder / SPREAD_FILE).unlink(missing_ok=True)
    return result, trust


def collect_facts(tested: Tested, source: tuple[Path, str], command: str) -> SharpenFacts:
    """Return what the page shows if nothing is written.

    Args:
        tested: The network that was tested.
        source: The input, and its SHA-256.
        command: The command line.
    """
    manifest, split, run, scores = tested.manifest, tested.split, tested.run, tested.scores
    return SharpenFacts(
        method=run.model,
        written="nothing",
        output=None,
        trust_map=None,
        trust=None,
        lr=tested.folder / SCENE_FILE,
        divisor=manifest["divisor"],
        scale=run.scale,
        blur=run.blur or BICUBIC,
        bands=manifest["bands"],
        nanometres=manifest.get("nanometres"),
        units=manifest["areas"][0]["description"].get("units"),
        scores=tested.rows,
        interval=f"95 % interval over {len(scores['images'])} held-out blocks",
        input=source,
        command=command,
        split=f"{describe_numbers(split['numbers'], split.get('left_out', {}))}; patches of {split['size']} pixels",
        training=describe_training(run, scores),
        software={
            "Machine": f"{scores['device']}, {scores['threads']} threads",
            "Versions": ", ".join(f"{name} {version}" for name, version in scores["versions"].items()),
            "lkca": f"{__version__}, commit {scores['commit'] or 'unknown'}",
        },
        files=[],
        notes=[*list_left_out(manifest), *([SHORT_TRAINING] if scores["untrained"] else [])],
    )


@contextmanager
def announce_stop() -> Iterator[None]:
    """Print what to do after Ctrl-C."""
    try:
        yield
    except KeyboardInterrupt:
        print("lkca: stopped; call the same command again to go on.", file=sys.stderr)
        raise


def find_page_path(output: Path) -> Path:
    """Return the path of the page of a result."""
    return output.with_name(f"{output.stem}_report.html")


def find_training_rows(manifest: dict[str, Any], split: dict[str, Any]) -> list[tuple[int, int]]:
    """Return the rows of the scene that no test image is in, each range as first row and last row + 1."""
    first = min(row for row, *_ in split["test"])
    last = max(row + rows for row, _, rows, _ in split["test"])
    ranges = [(0, first), (last, manifest["areas"][0]["rows"])]
    return [(start, stop) for start, stop in ranges if start < stop]


def reconstruct_blocks(tested: Tested, network: nn.Module, with_spread: bool) -> Iterator[HeldOutImage]:
    """Yield each held-out block with its reconstruction and, if wanted, the spread of its orientations."""
    run, device = tested.run, find_device(network)
    scene = patches.load_scene(tested.folder / SCENE_FILE, run.scene_sha256, "cpu")
    for window in tested.split["test"]:
        with torch.no_grad(), exact_convolutions():
            sr, hr = reconstruct(network, scene, window, run.scale, run.blur, str(device))
        lr = degrade(torch.from_numpy(hr).to(device), run.scale, run.blur)
        yield HeldOutImage(sr, hr, spread_of_block(network, lr) if with_spread else None)


def compute_spread(network: nn.Module, folder: Path, scale: int) -> Callable[[int, int], np.ndarray] | None:
    """Compute the spread of the eight orientations of the cube.

    Returns:
        A function that returns the spread of rows of the result; None if the cube is too large for it.
    """
    with CubeFile(folder / FILLED_FILE) as cube:
        if not can_compute_spread(network, scale, cube.shape):
            return None
        write_spread(network, scale, TensorImage(cube, find_device(network)), folder / SPREAD_FILE)
    spread = np.load(folder / SPREAD_FILE, mmap_mode="r", allow_pickle=False)
    return lambda first, last: np.asarray(spread[first:last])


def describe_training(run: RunConfig, scores: dict[str, Any]) -> dict[str, str]:
    """Return facts on the training for the page: name -> text."""
    assert run.train is not None
    return {
        "Steps": f"{count_steps(run)} of {run.train.batch} patches, in {run.train.epochs} epochs; weights of epoch "
        f"{scores['epoch']}",
        "Duration": f"{scores['seconds']['training'] / 60:.1f} minutes",
        "Parameters": f"{scores['params']:,}",
        "Seed": str(run.seed),
    }


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


def compare_scores(scores: dict[str, Any], bicubic: dict[str, Any]) -> list[ScoreRow]:
    """Return each score of the network and of bicubic; each held-out block is compared with itself.

    The interval is over the blocks and for exactly these weights, because it is this network that enlarges the cube.

    Args:
        scores, bicubic: The contents of scores.json.
    """
    rows = []
    for name, score in SCORES.items():
        ours, theirs = (
            np.array([image["scores"][name] for image in content["images"]]) for content in (scores, bicubic)
        )
        difference = estimate_mean((ours - theirs)[None], images="held-out blocks", seeds=None)
        low, high = difference.interval() or (None, None)
        outcome: Any = "not resolved"
        if low is not None and high is not None and not low <= 0 <= high:
            outcome = "better" if (low > 0) == (score.direction > 0) else "worse"
        rows.append(ScoreRow(name, bicubic["mean"][name], scores["mean"][name], difference.value, low, high, outcome))
    return rows
