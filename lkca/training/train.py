"""Train one network."""

import csv
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from math import ceil, cos, inf, isfinite, pi
from pathlib import Path
from time import monotonic

import numpy as np
import torch
from torch import Tensor, distributed, nn

from lkca.config.run import read_run
from lkca.config.schema import Distill, RunConfig, Train
from lkca.core.environment import default_device, die_with_parent, disable_malloc_trim
from lkca.core.files import atomic_write, read_json, sha256
from lkca.core.fingerprint import of_step
from lkca.core.gpus import acquire_gpus
from lkca.core.locks import exclusive_lock
from lkca.data import patches
from lkca.data.resize import resize
from lkca.errors import LkcaError
from lkca.models.registry import build, class_path
from lkca.training import checkpoint, losses
from lkca.training.progress import Steps
from lkca.training.resume import Progress, State

HISTORY = ["epoch", "steps", "loss", "loss_h", "loss_kd", "val_l1", "val_mpsnr", "learning_rate", "seconds"]


def train(
    run: Path,
    scene: Path,
    split: Path,
    teacher: Path | None,
    out: Path,
    history: Path,
    gpus: int = 1,
    adopted: Sequence[str] = (),
) -> None:
    """Train the network of a run and keep the epoch with the lowest validation L1.

    A training that was stopped, by whatever, goes on from the state beside `out`. It ends with the weights that it
    would have had: bit by bit on a CPU (with as many threads) and, in the deterministic mode, on a GPU.

    Args:
        run: Its run.json.
        scene: (bands, rows, columns), .npy.
        split: Corners of the HR patches for training and validation.
        teacher: Weights of the teacher if the run distils; its run.json lies beside them.
        out: The weights to write.
        history: The CSV to write, one line an epoch.
        gpus: GPUs to train on, where there are any; several share each batch.
        adopted: Digests of other code that changes no numbers: a training that it has begun goes on, too.

    Raises:
        LkcaError: If the files do not belong together, or the network has diverged; the last good state is kept.
    """
    if gpus < 0:
        raise LkcaError(f"--gpus {gpus} is out of range: choose 0 or more.")
    rank, ranks = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    settings, places = read_run(run), read_json(split)
    if settings.split_sha256 != sha256(split):
        raise LkcaError(f"{split} is not the split that {run} was made for: run snakemake again.")
    recipe = settings.train
    with nullcontext() if ranks > 1 else exclusive_lock(out, wait=True), acquire_gpus(0 if ranks > 1 else gpus):
        if gpus > 1 and not distributed.is_torchelastic_launched():
            return share_out(gpus, adopted, run, scene, split, teacher, out, history)
        on = prepare(recipe, ranks)
        net = seeded(settings).to(on)
        guide = guiding(settings, teacher).to(on) if settings.distill else None
        optimiser = torch.optim.Adam(net.parameters(), recipe.learning_rate, fused=True)
        steps = min(recipe.steps or inf, steps_of_all_patches(recipe, places))
        codes = [training_code(settings, teacher), *adopted]
        state = State(run, teacher, codes, out.parent, net, optimiser, Progress(steps, recipe.epochs))
        at, name, cube = state.at, checkpoint.reads(settings), patches.load_scene(scene, settings.scene_sha256, on)
        if at.finished:
            print(f"{name}: was trained before; to train it again delete {state.path}", flush=True)
        elif at.epoch or at.step:
            print(f"{name}: goes on from epoch {at.epoch + 1}, step {at.step + 1}", flush=True)
        if recipe.compile:
            for each in filter(None, (net, guide)):
                each.compile(dynamic=False)
        forward = nn.parallel.DistributedDataParallel(net, static_graph=True) if ranks > 1 else net
        keep = partial(save_when_due, state, run, rank)

        with Steps(name, at.epochs, steps, at.epoch * steps + at.step, rank == 0) as progress:
            while at.epoch < at.epochs:
                net.train()
                order = shuffled(places, settings.seed, at.epoch)
                while at.step < steps:
                    optimiser.param_groups[0]["lr"] = learning_rate(recipe, at.epoch, at.step / steps)
                    optimiser.zero_grad()
                    torch.manual_seed(seed_of(settings.seed, at.epoch, at.step, rank))  # of the drop path
                    batch = order[at.step * recipe.batch : (at.step + 1) * recipe.batch]
                    for samples, share in parts(batch, rank, ranks, on):
                        hr = patches.gather(cube, places, samples, on)
                        found = objective(forward, guide, hr, settings, at.epoch) * share
                        found[0].backward()
                        state.totals += found.detach()
                    optimiser.step()
                    at.step += 1
                    progress.step()
                    keep()
                validate(net, cube, places, at, on, keep)
                end_epoch(state, run, len(places["validation"]), learning_rate(recipe, at.epoch, 1 - 1 / steps))
                progress.epoch(dict(zip(HISTORY, at.rows[-1], strict=True)))
                keep()
        if rank == 0:
            if not at.finished:
                at.finished = True
                state.save()
            with atomic_write(history, fsync=True) as part, part.open("w", newline="") as file:
                csv.writer(file).writerows([HISTORY, *at.rows])
            checkpoint.save(out, state.best, sha256(run), at.best)
            state.forget_others()
    if ranks > 1:
        distributed.destroy_process_group()


def training_code(settings: RunConfig, teacher: Path | None) -> str:
    """The digest of the code that this training runs through, its teacher's network included."""
    of_teacher = [read_run(teacher.with_name("run.json")).arch] if teacher else []
    return of_step("train", map(class_path, [settings.arch, *of_teacher])).digest


def share_out(gpus: int, adopted: Sequence[str], *files: Path | None) -> None:
    """Start `train` with these files once for each GPU; together they train one network, whose gradients they share.

    Raises:
        LkcaError: If that ends badly; what went wrong has been said by then.
    """
    run, scene, split, teacher, out, history = map(str, files)
    options = ["--run", run, "--scene", scene, "--split", split, "--out", out, "--history", history]
    options += ["--teacher", teacher] if files[3] else []
    options += ["--adopted", *adopted]
    launcher = ["torch.distributed.run", "--standalone", "--nproc-per-node", str(gpus), "-m", "--", "lkca", "train"]
    command = [sys.executable, "-m", *launcher, *options, "--gpus", str(gpus)]
    done = subprocess.run(command, preexec_fn=die_with_parent)
    if done.returncode:
        raise LkcaError(f"{run}: training on {gpus} GPUs has failed, as said above.")


def prepare(recipe: Train, ranks: int) -> str:
    """Set up how this process computes, and with which others.

    Args:
        recipe: Says whether a GPU must be deterministic.
        ranks: How many processes train together.

    Returns:
        The device: "cuda" or "cpu".
    """
    on = default_device()
    if on == "cuda":
        torch.use_deterministic_algorithms(recipe.deterministic)
        torch.utils.deterministic.fill_uninitialized_memory = False
        torch.backends.cudnn.benchmark = not recipe.deterministic  # tries algorithms, and takes another one next time
        os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # what cuBLAS needs to be deterministic
    else:
        disable_malloc_trim()
    if ranks > 1:
        die_with_parent()
        if on == "cuda":
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        distributed.init_process_group("nccl" if on == "cuda" else "gloo")
    return on


def network(settings: RunConfig) -> nn.Module:
    """The network of a run, with fresh weights."""
    return build(settings.arch, settings.bands, settings.scale, settings.args, settings.upsampler)


def seeded(settings: RunConfig) -> nn.Module:
    """The network of a run at its start: the same seed gives the same weights."""
    torch.manual_seed(settings.seed)
    return network(settings)


def guiding(settings: RunConfig, teacher: Path | None) -> nn.Module:
    """The teacher of a run, frozen and in evaluation mode."""
    if teacher is None:
        raise LkcaError(
            f"{checkpoint.reads(settings)} learns from {settings.distill.teacher}: name its weights by --teacher."
        )
    beside = teacher.with_name("run.json")
    if sha256(beside) != settings.teacher_sha256:
        raise LkcaError(
            f"{beside} is not the teacher that {checkpoint.reads(settings)} was set for: run snakemake again."
        )
    net = network(read_run(beside))
    checkpoint.load(teacher, net, settings.teacher_sha256)
    return net.eval().requires_grad_(False)


def shuffled(places: dict, seed: int, epoch: int) -> np.ndarray:
    """The order of an epoch, a function of seed and epoch: (samples, 3), row and column of a patch and its orientation.

    Every patch comes in each of its 8 orientations.
    """
    corners = np.array(places["train"])
    samples = np.random.default_rng([seed, epoch]).permutation(len(corners) * patches.ORIENTATIONS)
    which, orientations = np.divmod(samples, patches.ORIENTATIONS)
    return np.column_stack([corners[which], orientations])


def seed_of(*numbers: int) -> int:
    """One seed made of several numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])


def parts(batch: np.ndarray, rank: int, ranks: int, on: str) -> Iterator[tuple[np.ndarray, float]]:
    """What one of several processes computes of a batch, and which share each part has in the mean over the batch.

    Shares are those of a mean over processes, which is what they take of their gradients. Where there are fewer samples
    than processes, each computes all of them.
    """
    mine, whole = (batch[rank::ranks], len(batch) / ranks) if len(batch) >= ranks else (batch, len(batch))
    number = ceil(whole / patches.CPU_MICRO_BATCH) if on == "cpu" else 1  # as many in each process
    for part in np.array_split(mine, number):
        yield part, len(part) / whole


def objective(net: nn.Module, guide: nn.Module | None, hr: Tensor, settings: RunConfig, epoch: int) -> Tensor:
    """The losses of one batch (n, bands, size, size), a tensor of three: all (Eq. 21), L_H (Eq. 17), L_KD (Eq. 19)."""
    lr = resize(hr, 1 / settings.scale)
    with torch.autocast(hr.device.type, torch.bfloat16, settings.train.precision == "bfloat16"):
        sr = net(lr)
        with torch.no_grad():
            target = guide(lr) if guide else None
    loss_h = losses.supervised(sr.float(), hr, settings.train)
    if not guide:
        return torch.stack([loss_h, loss_h, torch.zeros_like(loss_h)])
    loss_kd = imitation(lr, sr.float(), target.float(), guide, settings.distill)
    return torch.stack([loss_h + losses.share(settings.distill, epoch) * loss_kd, loss_h, loss_kd])


def imitation(lr: Tensor, sr: Tensor, target: Tensor, guide: nn.Module, distill: Distill) -> Tensor:
    """L_KD between student and teacher, on the reconstructions or on what the upsamplers add to bicubic."""
    shortcut = guide.bicubic(lr) if distill.features == "upsampler" else 0
    return losses.distillation(sr - shortcut, target - shortcut, distill.cos, distill.sam, distill.grad)


def steps_of_all_patches(recipe: Train, places: dict) -> int:
    """Optimiser steps until every patch was shown in its 8 orientations."""
    return -(-len(places["train"]) * patches.ORIENTATIONS // recipe.batch)


def learning_rate(recipe: Train, epoch: int, done: float) -> float:
    """Return the learning rate when a share of an epoch is done: along a cosine, or in steps of epochs.

    The steps count epochs from 1, as the published programs do: the first step is one epoch shorter than the others.

    Args:
        recipe: Says which of the two.
        epoch: Counted from 0.
        done: Share of the epoch's steps, in [0, 1].
    """
    if recipe.cosine_to is None:
        return recipe.learning_rate * recipe.step_factor ** ((epoch + 1) // recipe.step_epochs)
    span = recipe.learning_rate - recipe.cosine_to
    return recipe.cosine_to + span * (1 + cos(pi * (epoch + done) / recipe.epochs)) / 2


@torch.no_grad()
def validate(net: nn.Module, cube: Tensor, places: dict, at: Progress, on: str, keep: Callable[[], None]) -> None:
    """Add up L1 and MPSNR (dB) of the validation patches that are still to be checked."""
    net.eval()
    corners = np.array(places["validation"])
    while at.checked < len(corners):
        some = corners[at.checked : at.checked + patches.CPU_MICRO_BATCH]
        hr = patches.gather(cube, places, np.column_stack([some, np.zeros_like(some[:, 0])]), on)
        sr = net(resize(hr, 1 / places["scale"]))
        at.val_l1 += losses.l1(sr, hr).item() * len(some)
        errors = (sr - hr).square().mean((2, 3), dtype=torch.float64)
        at.val_mpsnr += -10 * errors.clamp(min=1e-10).log10().mean(1).sum().item()
        at.checked += len(some)
        keep()


def end_epoch(state: State, run: Path, patches: int, rate: float) -> None:
    """Write the line of an epoch into the history, and keep its weights if they are the best so far.

    Args:
        state: After validation.
        run: Its run.json.
        patches: For validation.
        rate: The learning rate of the last step.

    Raises:
        LkcaError: If the network has diverged.
    """
    at, losses = state.at, state.totals / state.at.steps
    if distributed.is_initialized():
        distributed.all_reduce(losses)
        losses /= distributed.get_world_size()
    val_l1, val_mpsnr = at.val_l1 / patches, at.val_mpsnr / patches
    if not (losses.isfinite().all() and isfinite(val_l1)):
        raise diverged(state, run, "the loss is no number any more")
    if val_l1 > 1:
        raise diverged(state, run, "reconstructions are further from the truth than white is from black")
    at.epoch, at.step, at.checked, at.val_l1, at.val_mpsnr = at.epoch + 1, 0, 0, 0.0, 0.0
    state.totals.zero_()
    if at.least is None or val_l1 < at.least:
        at.least, at.best = val_l1, at.epoch
        state.new_best()
    row = [at.epoch, at.epoch * at.steps, *losses.tolist(), val_l1, val_mpsnr, rate, state.seconds()]
    at.rows.append(row if state.teacher else [*row[:4], "", *row[5:]])


def save_when_due(state: State, run: Path, rank: int) -> None:
    """Save a training now and then, if nothing is wrong with it.

    Raises:
        LkcaError: If the network has diverged.
    """
    if state.due():
        if not state.good():
            raise diverged(state, run, "the loss is no number any more")
        if rank == 0:
            state.save()
        state.saved = monotonic()


def diverged(state: State, run: Path, what: str) -> LkcaError:
    """The sentence that says so."""
    kept = f"; the last good state is {state.path}" if state.path.exists() else ""
    where = f"epoch {state.at.epoch + 1}, step {state.at.step}"
    return LkcaError(f"{run}: {what} in {where}: lower train.learning_rate{kept}.")
