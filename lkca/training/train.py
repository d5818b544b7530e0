"""Train one network."""

import csv
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lkca.config.run import read_run
from lkca.config.schema import Distill, RunConfig
from lkca.core.environment import default_device, disable_malloc_trim
from lkca.core.files import atomic_write, read_json, sha256
from lkca.core.fingerprint import step_code
from lkca.core.gpus import acquire_gpus
from lkca.core.locks import exclusive_lock
from lkca.data import patches
from lkca.data.degrade import degrade
from lkca.data.resize import resize
from lkca.errors import ConfigError, StaleInput
from lkca.models.registry import class_path
from lkca.training import losses
from lkca.training.checkpoint import save_weights
from lkca.training.distributed import TrainingFiles, World, launch_distributed
from lkca.training.divergence import check_epoch, check_finite
from lkca.training.networks import build_initial_network, load_teacher, teacher_run
from lkca.training.progress import ProgressDisplay
from lkca.training.resume import TrainingProgress, TrainingState
from lkca.training.schedule import derive_seed, epoch_order, learning_rate, micro_batches, steps_per_epoch

HISTORY_COLUMNS = ["epoch", "steps", "loss", "loss_h", "loss_kd", "val_l1", "val_mpsnr", "learning_rate", "seconds"]


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
    """Train the network of a run and write the weights of the epoch with the lowest validation L1.

    A training that was killed resumes from the state next to `out`. It ends with the same weights as a training that
    was not killed: bit by bit on a CPU (with the same number of threads) and, in deterministic mode, on a GPU.

    Args:
        run, scene, split, teacher, out, history: See `TrainingFiles`.
        gpus: Number of GPUs to train on, if the machine has any. Several GPUs divide each batch between them.
        adopted: Digests of adopted code, which gives the same numbers. States that it has saved are resumed, too.

    Raises:
        ConfigError: If the run has nothing to train, or an option is wrong.
        StaleInput: If the files do not belong together.
        Diverged: If losses or weights are not finite or the validation L1 is too high; the last finite state is kept.
    """
    if gpus < 0:
        raise ConfigError(f"--gpus {gpus} is out of range: choose 0 or more.")
    settings = read_run(run)
    if settings.train is None:
        raise ConfigError(f"{run}: {settings.model} has nothing to train: choose another model.")
    if settings.split_sha256 != sha256(split):
        raise StaleInput(f"{split} is not the split that {run} was made for: run snakemake again.")
    files, world = TrainingFiles(run, scene, split, teacher, out, history), World.current()
    if world.size > 1:
        train_network(files, adopted, world)  # the process that launched this one has the lock and the GPUs
        return
    with exclusive_lock(out, wait=True), acquire_gpus(gpus):
        if gpus > 1:
            launch_distributed(gpus, files, adopted)
        else:
            train_network(files, adopted, world)


def train_network(files: TrainingFiles, adopted: Sequence[str], world: World) -> None:
    """Train in this process, which may be one of several that train together; see `train`."""
    run, split = read_run(files.run), read_json(files.split)
    recipe = run.train
    assert recipe is not None
    device = set_up_device(recipe.deterministic)
    world.connect(device)
    net = build_initial_network(run).to(device)
    teacher = load_teacher(run, files.teacher).to(device) if run.distill else None
    optimiser = torch.optim.Adam(net.parameters(), recipe.learning_rate, fused=True)
    steps = steps_per_epoch(recipe, split)
    codes = [training_code(run, files.teacher), *adopted]
    state = TrainingState(files, codes, net, optimiser, TrainingProgress(steps, recipe.epochs), run.averaged)
    progress = state.progress
    cube = patches.load_scene(files.scene, run.scene_sha256, device)
    if progress.finished:
        print(f"{run.label}: already trained; to train it again, delete {state.path}", flush=True)
    elif progress.epoch or progress.step:
        print(f"{run.label}: resumes {progress.next_place()}", flush=True)
    if recipe.compile:
        for network in filter(None, (net, teacher)):
            network.compile(dynamic=False)
    forward = nn.parallel.DistributedDataParallel(net, static_graph=True) if world.size > 1 else net
    checkpoint = partial(checkpoint_if_due, state, run, world)

    steps_done = progress.epoch * steps + progress.step
    with ProgressDisplay(run.label, recipe.epochs, steps, steps_done, visible=world.rank == 0) as display:
        while progress.epoch < recipe.epochs:
            net.train()
            order = epoch_order(split, run.seed, progress.epoch)
            while progress.step < steps:
                optimiser.param_groups[0]["lr"] = learning_rate(recipe, progress.epoch, progress.step / steps)
                optimiser.zero_grad()
                torch.manual_seed(derive_seed(run.seed, progress.epoch, progress.step, world.rank))  # for dropout
                batch = order[progress.step * recipe.batch : (progress.step + 1) * recipe.batch]
                for samples, batch_fraction in micro_batches(batch, *world, device):
                    hr = smooth_patches(patches.gather(cube, split, samples, device), run)
                    batch_losses = compute_losses(forward, teacher, hr, run, progress.epoch) * batch_fraction
                    batch_losses[0].backward()
                    state.loss_sums += batch_losses.detach()
                optimiser.step()
                if state.average:
                    state.average.update_parameters(net)
                progress.step += 1
                display.step()
                checkpoint()
            validate(state.scored_network(), cube, split, run.blur, progress, device, checkpoint)
            end_epoch(state, run, world, len(split["validation"]))
            display.epoch(dict(zip(HISTORY_COLUMNS, progress.history[-1], strict=True)))
            checkpoint()

    if world.rank == 0:
        if not progress.finished:
            progress.finished = True
            state.save()
        with atomic_write(files.history, fsync=True) as part, part.open("w", newline="") as file:
            csv.writer(file).writerows([HISTORY_COLUMNS, *progress.history])
        save_weights(files.out, state.best_weights, sha256(files.run), progress.best_epoch)
        state.delete_stale_states()
    world.disconnect()


def set_up_device(deterministic: bool) -> str:
    """Set torch's global options for training and return the device, "cuda" or "cpu".

    Args:
        deterministic: Whether a GPU must give the same bits every time.
    """
    device = default_device()
    if device == "cuda":
        torch.use_deterministic_algorithms(deterministic)
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        torch.backends.cudnn.benchmark = not deterministic  # autotunes kernels: results are not bit-reproducible
        os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # cuBLAS needs it to be deterministic
    else:
        disable_malloc_trim()
    return device


def training_code(run: RunConfig, teacher: Path | None) -> str:
    """Return the digest of the code of this training, including the networks of student and teacher."""
    archs = [run.arch, read_run(teacher_run(teacher)).arch] if teacher else [run.arch]
    return step_code("train", map(class_path, archs)).digest


def smooth_patches(hr: Tensor, run: RunConfig) -> Tensor:
    """Remove the finest detail of some patches: what pixels twice as large as those of the LR image cannot show.

    A cube is smoother for its pixels than its coarser copy, by the blur of its sensor. Without such patches a network
    makes a faint grid of r pixels of smooth ground.

    Args:
        hr: Patches in random order, (n, bands, size, size).
        run: Settings of the run, which have the share of the patches.

    Returns:
        The patches, the first ones smooth.
    """
    if not (count := int(len(hr) * (run.smoothed or 0))):
        return hr
    factor = 2 * run.scale
    return torch.cat([resize(resize(hr[:count], 1 / factor), factor), hr[count:]])


def compute_losses(net: nn.Module, teacher: nn.Module | None, hr: Tensor, run: RunConfig, epoch: int) -> Tensor:
    """Return the mean losses of some patches.

    Args:
        net: The network.
        teacher: The teacher, or None.
        hr: The ground truth, (n, bands, size, size).
        run: Settings of the run.
        epoch: Counted from 0.

    Returns:
        (3,): the total loss (Eq. 21), L_H (Eq. 17) and L_KD (Eq. 19), which is 0 without a teacher.
    """
    assert run.train is not None
    lr = degrade(hr, run.scale, run.blur)
    with torch.autocast(hr.device.type, torch.bfloat16, run.train.precision == "bfloat16"):
        sr = net(lr)
        with torch.no_grad():
            target = teacher(lr) if teacher else None
    loss_h = losses.supervised(sr.float(), hr, run.train)
    if run.grid:
        loss_h = loss_h + run.grid * losses.grid(sr.float(), resize(lr, run.scale), run.scale)
    if teacher is None or target is None or run.distill is None:
        return torch.stack([loss_h, loss_h, torch.zeros_like(loss_h)])
    loss_kd = distillation_loss(lr, sr.float(), target.float(), teacher, run.distill)
    return torch.stack([loss_h + losses.distillation_weight(run.distill, epoch) * loss_kd, loss_h, loss_kd])


def distillation_loss(lr: Tensor, sr: Tensor, target: Tensor, teacher: nn.Module, distill: Distill) -> Tensor:
    """Return L_KD of Eq. 19, a scalar, between student and teacher.

    It compares the reconstructions or, with `features: upsampler`, the outputs of the upsamplers: the reconstructions
    without the bicubic shortcut.

    Args:
        lr: LR images, (n, bands, h, w).
        sr: Reconstructions of the student, (n, bands, r * h, r * w).
        target: Reconstructions of the teacher, of the same shape.
        teacher: The teacher, whose shortcut is used.
        distill: Settings of the distillation.
    """
    shortcut = teacher.get_submodule("bicubic")(lr) if distill.features == "upsampler" else 0
    return losses.distillation(sr - shortcut, target - shortcut, distill.cos, distill.sam, distill.grad)


@torch.no_grad()
def validate(
    net: nn.Module,
    cube: Tensor,
    split: Mapping[str, Any],
    blur: str | None,
    progress: TrainingProgress,
    device: str,
    checkpoint: Callable[[], None],
) -> None:
    """Add L1 and MPSNR (dB) of the remaining validation patches of this epoch to the sums in `progress`.

    Args:
        net: The network.
        cube: The scene, (bands, rows, columns).
        split: Content of split.json.
        blur: How LR images are made; see `lkca.data.degrade.degrade`.
        progress: Progress of the training, which is changed.
        device: "cpu" or "cuda".
        checkpoint: Called after each batch.
    """
    net.eval()
    corners = np.array(split["validation"])
    while progress.num_validated < len(corners):
        batch = corners[progress.num_validated : progress.num_validated + patches.CPU_MICRO_BATCH]
        hr = patches.gather(cube, split, np.column_stack([batch, np.zeros_like(batch[:, 0])]), device)
        sr = net(degrade(hr, split["scale"], blur))
        progress.val_l1_sum += losses.l1(sr, hr).item() * len(batch)
        errors = (sr - hr).square().mean((2, 3), dtype=torch.float64)
        progress.val_mpsnr_sum += -10 * errors.clamp(min=1e-10).log10().mean(1).sum().item()
        progress.num_validated += len(batch)
        checkpoint()


def end_epoch(state: TrainingState, run: RunConfig, world: World, num_validation_patches: int) -> None:
    """Finish an epoch: add a line to the history, and copy the weights if they are the best so far.

    Raises:
        Diverged: If a loss is not finite or the validation L1 is too high.
    """
    progress, recipe = state.progress, run.train
    assert recipe is not None
    mean_losses = world.mean(state.loss_sums / progress.steps_per_epoch)
    val_l1 = progress.val_l1_sum / num_validation_patches
    val_mpsnr = progress.val_mpsnr_sum / num_validation_patches
    check_epoch(state, run, mean_losses, val_l1)
    rate = learning_rate(recipe, progress.epoch, 1 - 1 / progress.steps_per_epoch)  # of the last step of the epoch
    progress.epoch, progress.step, progress.num_validated = progress.epoch + 1, 0, 0
    progress.val_l1_sum = progress.val_mpsnr_sum = 0.0
    state.loss_sums.zero_()
    if progress.best_val_l1 is None or val_l1 < progress.best_val_l1:
        progress.best_val_l1, progress.best_epoch = val_l1, progress.epoch
        state.snapshot_best()
    loss, loss_h, loss_kd = mean_losses.tolist()
    steps, seconds = progress.epoch * progress.steps_per_epoch, state.seconds()
    line = [progress.epoch, steps, loss, loss_h, loss_kd if run.distill else "", val_l1, val_mpsnr, rate, seconds]
    progress.history.append(line)


def checkpoint_if_due(state: TrainingState, run: RunConfig, world: World) -> None:
    """Save the state if the last checkpoint is CHECKPOINT_SECONDS old.

    Raises:
        Diverged: If losses or weights are not finite; the last finite state is kept.
    """
    if state.is_due():
        check_finite(state, run)
        if world.rank == 0:
            state.save()
        state.saved_at = monotonic()
