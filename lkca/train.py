"""Train one network."""

import copy
import csv
from collections.abc import Iterator
from itertools import islice
from math import cos, inf, isfinite, nan, pi
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from lkca import checkpoint, losses, metrics, patches
from lkca.config import Distill, Run, Train, read_run
from lkca.errors import InputError
from lkca.files import read_json, replacing, sha256
from lkca.models import build
from lkca.progress import Steps
from lkca.resize import resize

HISTORY = ["epoch", "steps", "loss", "loss_h", "loss_kd", "val_l1", "val_mpsnr", "learning_rate", "seconds"]


def train(run: Path, scene: Path, split: Path, teacher: Path | None, out: Path, history: Path) -> None:
    """Train the network of a run and keep the epoch with the lowest validation L1.

    Args:
        run: Its run.json.
        scene: (bands, rows, columns), .npy.
        split: Corners of the HR patches for training and validation.
        teacher: Weights of the teacher if the run distils; its run.json lies beside them.
        out: The weights to write.
        history: The CSV to write, one line an epoch.

    Raises:
        InputError: If the files do not belong together or the loss is no number any more.
    """
    settings, places, on = read_run(run), read_json(split), device()
    recipe, distill = settings.train, settings.distill
    cube = patches.load(scene, settings.scene_sha256, on)
    net = seeded(settings).to(on)
    guide = guiding(settings, teacher).to(on) if distill else None
    optimiser = torch.optim.Adam(net.parameters(), recipe.learning_rate, fused=True)
    steps = min(recipe.steps or inf, steps_of_all_patches(recipe, places))
    least, best, rows = inf, (0, {}), []

    with Steps(f"{settings.scene} x{settings.scale} {settings.model}", recipe.epochs, steps) as progress:
        for epoch in range(recipe.epochs):
            net.train()
            totals = torch.zeros(3, device=on)
            shown = islice(batches(cube, places, recipe.batch, settings.seed, epoch), steps)
            for step, hr in enumerate(shown):
                rate = learning_rate(recipe, epoch, step / steps)
                optimiser.param_groups[0]["lr"] = rate
                lr = resize(hr, 1 / settings.scale)
                sr = net(lr)
                loss_h = losses.supervised(sr, hr, recipe)  # Eq. 17
                loss_kd = imitation(lr, sr, guide, distill) if guide else torch.zeros_like(loss_h)  # Eq. 19
                loss = loss_h + (losses.share(distill, epoch) * loss_kd if guide else 0)  # Eq. 21
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                totals += torch.stack([loss, loss_h, loss_kd]).detach()
                progress.step()
            loss, loss_h, loss_kd = (totals / steps).tolist()
            val_l1, val_mpsnr = validate(net, cube, places, recipe.batch) if isfinite(loss) else (nan, nan)
            if not isfinite(val_l1):
                raise InputError(
                    f"{run}: the loss is no number any more in epoch {epoch + 1}: lower train.learning_rate."
                )
            if val_l1 < least:
                least, best = val_l1, (epoch + 1, copy.deepcopy(net.state_dict()))
            kd = loss_kd if guide else ""
            rows.append([epoch + 1, (epoch + 1) * steps, loss, loss_h, kd, val_l1, val_mpsnr, rate, progress.seconds()])
            progress.epoch(epoch + 1, loss, val_mpsnr)

    with replacing(history) as part, part.open("w", newline="") as file:
        csv.writer(file).writerows([HISTORY, *rows])
    checkpoint.save(out, {name: weight.cpu() for name, weight in best[1].items()}, sha256(run), best[0])


def device() -> str:
    """Where networks run: on a GPU when there is one."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def network(settings: Run) -> nn.Module:
    """The network of a run, with fresh weights."""
    return build(settings.arch, settings.bands, settings.scale, settings.args, settings.upsampler)


def seeded(settings: Run) -> nn.Module:
    """The network of a run at its start: the same seed gives the same weights."""
    torch.manual_seed(settings.seed)
    return network(settings)


def guiding(settings: Run, teacher: Path | None) -> nn.Module:
    """The teacher of a run, frozen and in evaluation mode."""
    if teacher is None:
        raise InputError(
            f"{checkpoint.reads(settings)} learns from {settings.distill.teacher}: name its weights by --teacher."
        )
    beside = teacher.with_name("run.json")
    if sha256(beside) != settings.teacher_sha256:
        raise InputError(
            f"{beside} is not the teacher that {checkpoint.reads(settings)} was set for: run snakemake again."
        )
    net = network(read_run(beside))
    checkpoint.load(teacher, net, settings.teacher_sha256)
    return net.eval().requires_grad_(False)


def batches(cube: Tensor, places: dict, batch: int, seed: int, epoch: int) -> Iterator[Tensor]:
    """The HR patches of an epoch, each in its 8 orientations, shuffled: (batch, bands, size, size) or fewer.

    What comes when is a function of seed and epoch alone, and so is the drop path, whose random state is set here.
    """
    corners = places["train"]
    order = np.random.default_rng([seed, epoch])
    samples = order.permutation(len(corners) * patches.ORIENTATIONS)
    torch.manual_seed(int(order.integers(2**63)))
    for start in range(0, len(samples), batch):
        which, orientations = np.divmod(samples[start : start + batch], patches.ORIENTATIONS)
        yield patches.gather(cube, [corners[i] for i in which], places["size"], orientations)


def imitation(lr: Tensor, sr: Tensor, guide: nn.Module, distill: Distill) -> Tensor:
    """L_KD between student and teacher, on the reconstructions or on what the upsamplers add to bicubic."""
    with torch.no_grad():
        target = guide(lr)
        shortcut = guide.bicubic(lr) if distill.features == "upsampler" else 0
    return losses.distillation(sr - shortcut, target - shortcut, distill.cos, distill.sam, distill.grad)


def steps_of_all_patches(recipe: Train, places: dict) -> int:
    """Optimiser steps until every patch was shown in its 8 orientations."""
    return -(-len(places["train"]) * patches.ORIENTATIONS // recipe.batch)


def learning_rate(recipe: Train, epoch: int, done: float) -> float:
    """The learning rate in an epoch, from 0, of which a share is done: along a cosine, or in steps of epochs."""
    if recipe.cosine_to is None:
        return recipe.learning_rate * recipe.step_factor ** (epoch // recipe.step_epochs)
    span = recipe.learning_rate - recipe.cosine_to
    return recipe.cosine_to + span * (1 + cos(pi * (epoch + done) / recipe.epochs)) / 2


@torch.no_grad()
def validate(net: nn.Module, cube: Tensor, places: dict, batch: int) -> tuple[float, float]:
    """Mean L1 and MPSNR (dB) over the validation patches."""
    net.eval()
    corners, l1, mpsnr = places["validation"], 0.0, 0.0
    for start in range(0, len(corners), batch):
        chosen = corners[start : start + batch]
        hr = patches.gather(cube, chosen, places["size"], [0] * len(chosen))
        sr = net(resize(hr, 1 / places["scale"]))
        l1 += losses.l1(sr, hr).item() * len(chosen)
        if not isfinite(l1):
            return nan, nan
        mpsnr += sum(metrics.mpsnr(s, h) for s, h in zip(sr.cpu().numpy(), hr.cpu().numpy(), strict=True))
    return l1 / len(corners), mpsnr / len(corners)
